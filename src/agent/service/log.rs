//! The last error that an agent logged to the journal before it failed.
//!
//! Teleport logs to standard error by default. A fatal error is printed on a line of its own, in color even without a terminal: `\e[31mERROR: \e[0mpanic` (`lib/utils/cli.go`, `FatalError`).

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
/// A word of letters and digits of at least this length may be a secret. Teleport's own tokens have 32 characters.
const SECRET: usize = 20;
/// Shown in place of a secret.
const HIDDEN: &str = "[hidden]";

/// The last error that the processes of `unit` logged since a moment.
pub fn last_error(unit: &str, since: DateTime<Utc>) -> Option<String> {
    let journalctl = |arguments: &[&str]| {
        let output = Command::new("journalctl", arguments).limit(LIMIT).run();
        output
            .inspect_err(|error| debug!("{}", reasons(error)))
            .ok()
    };
    // The last lines of a process that has just ended may not be in the journal yet.
    journalctl(&["--sync"]);
    let since = format!("--since=@{}", since.timestamp());
    // This field excludes systemd's own lines about the unit.
    let of_unit = format!("_SYSTEMD_UNIT={unit}");
    let fixed = ["--quiet", "--no-pager", "--output=cat", LINES];
    let output = journalctl(&[&fixed[..], &[&since, &of_unit]].concat())?;
    let lines = output.answer().map(without_colors);
    let error = lines.filter(|line| is_error(line)).last()?;
    Some(printable(&without_secrets(error.trim()), LONGEST))
}

/// The line without words that may be a token, a key or a password: only administrators read the journal, but status and history show
/// quotes from it to all users, and hooks may send them elsewhere.
fn without_secrets(line: &str) -> String {
    let mut parts = line.split("://");
    let mut text = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let server = part.split(['/', ' ', '"']).next().unwrap_or_default();
        let user = server.rfind('@').unwrap_or_default();
        let hidden = if user > 0 { HIDDEN } else { "" };
        text += &format!("://{hidden}{}", &part[user..]);
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_+=".contains(c);
    let is_random = |word: &str| {
        let has = |is: fn(&char) -> bool| word.chars().any(|c| is(&c));
        word.len() >= SECRET && has(char::is_ascii_digit) && has(char::is_ascii_alphabetic)
    };
    let mut shown = String::new();
    for part in text.split_inclusive(|c: char| !is_word(c)) {
        let word = part.trim_end_matches(|c| !is_word(c));
        shown += if is_random(word) { HIDDEN } else { word };
        shown += &part[word.len()..];
    }
    shown
}

/// The line without color sequences.
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

/// Whether the line is an error, in the formats of Teleport and Go: `ERROR: ...`, `2026-01-02T03:04:05Z ERRO [NODE:1] ...`,
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
    fn secrets_are_left_out() {
        for (line, shown) in [
            (
                "ERROR: token 4eb1f0c2a4d64a8bb7ae6bd3f5d3a111 is expired",
                "ERROR: token [hidden] is expired",
            ),
            (
                r#"{"level":"error","token":"eyJhbGciOiJSUzI1NiIs.eyJzdWIiOiIxMjM0NTY3.SflKxwRJSMeKKF2QT4fw"}"#,
                r#"{"level":"error","token":"[hidden].[hidden].[hidden]"}"#,
            ),
            (
                "ERROR: parse https://proxy:s3%40!@cret@web.example.com:3128: invalid",
                "ERROR: parse https://[hidden]@web.example.com:3128: invalid",
            ),
            ("é4eb1f0c2a4d64a8bb7aeé", "é[hidden]é"),
        ] {
            assert_eq!(without_secrets(line), shown);
        }
        for harmless in [
            "",
            "2026-01-02T03:04:05.123456Z ERRO [NODE:1] Failed to dial https://node-17.example.com:3025/x. service/connect.go:122",
            "ERROR: open /var/lib/teleport/host_uuid: permission denied, internationalization-of-errors",
        ] {
            assert_eq!(without_secrets(harmless), harmless);
        }
    }

    #[test]
    fn colors_are_left_out() {
        let colored = "\u{1b}[31mERROR: \u{1b}[0mno \u{1b}[1;31mchance\u{1b}[0m";
        assert_eq!(without_colors(colored), "ERROR: no chance");
        assert_eq!(without_colors("\u{1b}[2Jx"), "Jx");
    }
}
