//! Reads the schedule file.
//!
//! It belongs to the user who runs the agent, so nothing in it is trusted or quoted, and it is opened so that it cannot lead elsewhere:
//! no links, no devices, a bounded size.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use chrono::DateTime;

use crate::agent::schedule::{Absence, NOP, Schedule, Window};
use crate::system::files::untrusted;
use crate::system::text::io_problem;

/// More than any agent writes; three windows take about 100 bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// The agent truncates the file and then writes it, so it may be half written when it is read.
const SETTLE: Duration = Duration::from_millis(100);
const READS: usize = 3;

impl Schedule {
    /// Reads the schedule file. Whatever is wrong with it is a value, not an error: upgrades must work without it.
    pub fn read(path: &Path) -> Schedule {
        let mut attempt = 1;
        loop {
            let text = match untrusted::read(path, MAX_BYTES) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Schedule::Absent(Absence::Missing);
                }
                Err(error) => return Schedule::Absent(Absence::Unreadable(io_problem(&error))),
            };
            // The word has no end of line.
            if text.ends_with('\n') || text == NOP || attempt == READS {
                return Schedule::parse(&text);
            }
            attempt += 1;
            thread::sleep(SETTLE);
        }
    }

    /// Reads the lines `START STOP [-> anything]`, `#` comments and blank lines.
    ///
    /// A line that is none of these is left out, so that a half-written last line does not cost the others.
    pub fn parse(text: &str) -> Schedule {
        if text.trim() == NOP {
            return Schedule::Absent(Absence::Nop);
        }
        let mut windows = Vec::new();
        let mut invalid = None;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match window(line) {
                Some(window) => windows.push(window),
                None => invalid = invalid.or(Some(number)),
            }
        }
        windows.sort_unstable();
        match (windows.is_empty(), invalid) {
            (false, _) => Schedule::Windows(windows),
            (true, None) => Schedule::Absent(Absence::Empty),
            (true, Some(line)) => Schedule::Absent(Absence::Unreadable(format!(
                "line {line}: expected two Unix timestamps"
            ))),
        }
    }
}

/// Whether the schedule file contains the word of teleport-update.
pub fn is_nop(path: &Path) -> bool {
    untrusted::read(path, MAX_BYTES).is_ok_and(|text| text.trim() == NOP)
}

/// Reads a window off a line; none if it is not one, or stops before it starts.
fn window(line: &str) -> Option<Window> {
    // Copies in the field carry a human-readable ` -> Mon Mar 4 ...` after the two numbers.
    let numbers = line.split_once("->").map_or(line, |(numbers, _)| numbers);
    let mut words = numbers.split_whitespace();
    let mut moment = || DateTime::from_timestamp(words.next()?.parse().ok()?, 0);
    let window = Window {
        start: moment()?,
        stop: moment()?,
    };
    (words.next().is_none() && window.start < window.stop).then_some(window)
}
