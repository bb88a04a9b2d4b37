//! The latest changes of the agent, as a table for people and as JSON.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::report::SCHEMA;
use crate::state::changes::{Begun, Changes, Ended, Ending};
use crate::system::output::terminal::{Colour, Colours};
use crate::system::text::{printable, wrap};
use crate::system::times;

/// The length at which a text is cut.
const LONGEST: usize = 1000;
/// The last column is at least that wide; where there is no space for it, its text is below each row, indented.
const NARROWEST: usize = 40;
const INDENT: usize = 2;
/// The headings of the columns, but for the last.
const HEADINGS: [&str; 5] = ["Ended (UTC)", "Change", "Result", "Took", "By"];
const LAST_HEADING: &str = "Why";

/// What `history --json` prints. `$defs/history` in `packaging/status.schema.json` describes it.
#[derive(Debug, Serialize)]
pub struct HistoryReport<'a> {
    schema: u32,
    program: &'static str,
    time: DateTime<Utc>,
    changes: Vec<&'a Ended>,
}

impl HistoryReport<'_> {
    /// The changes of this host.
    pub fn new(changes: &Changes, time: DateTime<Utc>) -> HistoryReport<'_> {
        HistoryReport {
            schema: SCHEMA,
            program: env!("CARGO_PKG_VERSION"),
            time,
            changes: changes.newest_first().collect(),
        }
    }
}

/// The table, newest first, in lines of `width` columns.
pub fn render(changes: &Changes, width: usize, colours: Colours) -> String {
    let rows: Vec<(&Ended, [String; 5])> = changes
        .newest_first()
        .map(|one| (one, cells(one)))
        .collect();
    if rows.is_empty() {
        return "No changes recorded.\n".into();
    }
    let headings = HEADINGS.map(String::from);
    let widths: [usize; 5] = std::array::from_fn(|column| {
        let all = rows.iter().map(|(_, cells)| cells).chain([&headings]);
        all.map(|cells| cells[column].chars().count())
            .max()
            .unwrap_or_default()
    });
    let row = |cells: &[String; 5]| -> String {
        let cells = cells.iter().zip(widths);
        cells
            .map(|(cell, width)| format!("{cell:<width$}  "))
            .collect()
    };
    let used = widths.iter().map(|width| width + 2).sum();
    let is_wide = width >= used + NARROWEST;
    let indent = if is_wide { used } else { INDENT };
    let heading = row(&headings) + if is_wide { LAST_HEADING } else { "" };
    let mut text = colours.paint(Colour::Bold, heading.trim_end()) + "\n";
    for (change, cells) in &rows {
        let mut line = row(cells);
        let mut whys = wrap(&why(change), width - indent).into_iter();
        if is_wide {
            line += &whys.next().unwrap_or_default();
        }
        let lines = [line.trim_end().into()].into_iter();
        for line in lines.chain(whys.map(|why| " ".repeat(indent) + &why)) {
            let line = match change.result {
                Ending::RolledBack => colours.paint(Colour::Yellow, line),
                Ending::Failed | Ending::Broken => colours.paint(Colour::Red, line),
                _ => line,
            };
            text += &(line + "\n");
        }
    }
    text
}

fn cells(change: &Ended) -> [String; 5] {
    let start = &change.begun.start;
    let by = start.user.as_deref().unwrap_or("timer");
    let forced = if start.forced { " (force)" } else { "" };
    [
        change.ended.format("%Y-%m-%d %H:%M").to_string(),
        what(change),
        result(change),
        times::took(change.seconds),
        printable(&format!("{by}{forced}"), LONGEST),
    ]
}

/// What was to change: "14.3.33 → 14.3.34".
pub fn what(change: &Ended) -> String {
    let Begun { from, to, .. } = &change.begun;
    if change.is_of_version() {
        format!("{from} → {to}")
    } else {
        to.to_string()
    }
}

/// How that ended: "rolled back".
pub fn result(change: &Ended) -> String {
    change.result.word().replace('-', " ")
}

/// Why it was made, and why it failed.
fn why(change: &Ended) -> String {
    let Begun {
        goal,
        service,
        start,
        ..
    } = &change.begun;
    let parts = [
        // Mostly the service is named by the cause.
        service
            .clone()
            .filter(|unit| !start.cause.starts_with(unit)),
        goal.as_ref()
            .map(|goal| format!("intermediate version; target {goal}")),
        Some(start.cause.clone()).filter(|cause| !cause.is_empty()),
        change
            .reason
            .as_ref()
            .map(|reason| format!("Reason: {reason}")),
        (change.tries > 1).then(|| format!("{} runs in a row", change.tries)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    printable(&parts.join(". "), LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::changes::Start;

    fn changes() -> Changes {
        let at = |minutes: i64| DateTime::from_timestamp(1_795_140_000 + minutes * 60, 0).unwrap();
        let begun = |minutes, to: &str, user: Option<&str>| Begun {
            began: at(minutes),
            from: "14.3.33".parse().unwrap(),
            to: to.parse().unwrap(),
            goal: None,
            service: None,
            start: Start {
                cause: "maintenance window open until 2026-11-20 02:00 UTC".into(),
                user: user.map(String::from),
                forced: user.is_some(),
            },
        };
        let mut changes = Changes::default();
        let why = "teleport.service crashed \u{1b}[31m 8 s after it started: signal".into();
        let failed = Some((Ending::RolledBack, why));
        changes.add(begun(0, "14.3.34", None).end(at(1), failed));
        changes.add(begun(10, "14.3.32", Some("alice")).end(at(11), None));
        changes
    }

    #[test]
    fn narrow_terminals_show_why_below_each_row() {
        let expected = "\
Ended (UTC)       Change             Result       Took       By
2026-11-20 02:11  14.3.33 → 14.3.32  downgraded   1 min 0 s  alice (force)
  maintenance window open until 2026-11-20 02:00 UTC
2026-11-20 02:01  14.3.33 → 14.3.34  rolled back  1 min 0 s  timer
  maintenance window open until 2026-11-20 02:00 UTC. Reason: teleport.service
  crashed \\u{1b}[31m 8 s after it started: signal
";
        assert_eq!(render(&changes(), 80, Colours::none()), expected);
    }

    #[test]
    fn wide_terminals_show_why_in_the_last_column() {
        let text = render(&changes(), 120, Colours::none());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("By             Why"), "{text}");
        assert!(
            lines[1].ends_with("alice (force)  maintenance window open until 2026-11-20"),
            "{text}"
        );
        assert_eq!(lines[2].trim_start(), "02:00 UTC");
        assert!(
            lines.iter().all(|line| line.chars().count() <= 120),
            "{text}"
        );
    }

    #[test]
    fn a_host_without_changes_shows_that() {
        let none = Changes::default();
        let text = render(&none, 80, Colours::none());
        assert_eq!(text, "No changes recorded.\n");
        let json = HistoryReport::new(&none, DateTime::UNIX_EPOCH);
        let json = serde_json::to_value(json).unwrap();
        assert_eq!(json["changes"], serde_json::json!([]));
    }
}
