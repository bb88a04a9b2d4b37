//! What an agent said before it failed: the errors among the lines that it logged to the journal.
//!
//! Teleport logs to standard error unless its settings say otherwise. An error that ends it is a line of its own, colored even where
//! that is no terminal: `\e[31mERROR: \e[0mpanic` (`lib/utils/cli.go`, `FatalError`).

use std::time::Duration;

use chrono::{DateTime, Utc};
use log::debug;

use crate::system::process::command::Command;
use crate::system::text::{printable, reasons};

/// The journal of a busy host is large.
const LIMIT: Duration = Duration::from_secs(10);
/// How many lines to look through, the last ones first.
const LINES: &str = "--lines=1000";
/// A longer line is truncated.
const LONGEST: usize = 200;

/// The last error that the processes of `unit` have logged since then, if there is one.
pub fn last_error(unit: &str, since: DateTime<Utc>) -> Option<String> {
    let journalctl = |arguments: &[&str]| {
        let output = Command::new("journalctl", arguments).limit(LIMIT).run();
        output
            .inspect_err(|error| debug!("{}", reasons(error)))
            .ok()
    };
    // What a process wrote just before it ended may not be there yet.
    journalctl(&["--sync"]);
    let since = format!("--since=@{}", since.timestamp());
    // By this field, systemd's own lines about the unit are left out.
    let of_unit = format!("_SYSTEMD_UNIT={unit}");
    let fixed = ["--quiet", "--no-pager", "--output=cat", LINES];
    let output = journalctl(&[&fixed[..], &[&since, &of_unit]].concat())?;
    let lines = output.answer().map(without_colors);
    let error = lines.filter(|line| is_error(line)).last()?;
    Some(printable(error.trim(), LONGEST))
}

/// The line without the sequences that color it.
fn without_colors(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut shown = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let is_parameter = |c: char| c.is_ascii_digit() || c == ';';
        let rest = part.trim_start_matches(is_parameter);
        shown += rest.strip_prefix('m').unwrap_or(rest);
    }
    shown
}

/// Whether it is one, in the forms that Teleport and Go give it: `ERROR: ...`, `2026-01-02T03:04:05Z ERRO [NODE:1] ...`,
/// `{"level":"error", ...`, `panic: ...`.
fn is_error(line: &str) -> bool {
    const LEVELS: [&str; 6] = ["ERRO", "ERROR", "FATA", "FATAL", "PANI", "PANIC"];
    const FIELDS: [&str; 2] = [r#""level":"error""#, r#""level":"fatal""#];
    // The level comes first, or after the time.
    let mut words = line.split_whitespace().take(3);
    line.contains("panic: ")
        || line.starts_with("fatal error: ")
        || FIELDS.iter().any(|field| line.contains(field))
        || words.any(|word| LEVELS.contains(&word.trim_end_matches(':')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_distinguished_from_other_lines() {
        for error in [
            "ERROR: initialization failed",
            "2026-01-02T03:04:05Z ERRO [NODE:1]  Failed to dial. service/connect.go:1",
            "2026-01-02 03:04:05 FATAL broken release",
            r#"{"caller":"x.go:1","level":"error","message":"no"}"#,
            "panic: runtime error: index out of range",
            "fatal error: all goroutines are asleep - deadlock!",
        ] {
            assert!(is_error(error), "{error}");
        }
        for other in [
            "",
            "2026-01-02T03:04:05Z INFO [PROC:1] 2 ERROR lines were skipped",
            "goroutine 1 [running]:",
            r#"{"level":"info","message":"error"}"#,
        ] {
            assert!(!is_error(other), "{other}");
        }
    }

    #[test]
    fn colors_are_left_out() {
        let colored = "\u{1b}[31mERROR: \u{1b}[0mno \u{1b}[1;31mchance\u{1b}[0m";
        assert_eq!(without_colors(colored), "ERROR: no chance");
        assert_eq!(without_colors("\u{1b}[2Jx"), "Jx");
    }
}
