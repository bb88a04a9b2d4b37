//! What a program printed, and how it ended.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use log::{Level, log};

use crate::system::text::printable;

/// How many lines are kept, the last ones.
pub(super) const MAX_LINES: usize = 2000;

/// What a program printed, both streams in order, and how it ended.
#[derive(Debug)]
pub struct Output {
    name: String,
    pub(super) status: ExitStatus,
    level: Level,
    pub(super) lines: VecDeque<(Stream, String)>,
    pub(super) timed_out: Option<Duration>,
    pub(super) gave_up: bool,
    /// Whether it was ended by a request to stop.
    pub(super) stopped: bool,
    /// How many lines are logged (the first ones) and kept (the last ones).
    pub(super) most: usize,
    logged: usize,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

impl Output {
    /// The output of a program that printed this on its standard output and ended with this status.
    pub fn of(name: &'static str, code: u8, answer: &str) -> Output {
        let mut output = Output::new(
            name,
            ExitStatus::from_raw(i32::from(code) << 8),
            Level::Trace,
        );
        answer
            .lines()
            .for_each(|line| output.push(Stream::Output, line.to_string()));
        output
    }

    pub(super) fn new(name: &str, status: ExitStatus, level: Level) -> Output {
        Output {
            name: name.into(),
            status,
            level,
            lines: VecDeque::new(),
            timed_out: None,
            gave_up: false,
            stopped: false,
            most: usize::MAX,
            logged: 0,
        }
    }

    /// Whether the program was ended because it began to wait.
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Whether the program reported success. Package managers also do so when they did not succeed: look at what they changed.
    pub fn success(&self) -> bool {
        self.status.success() && self.timed_out.is_none()
    }

    /// Whether the program was ended because its time was over.
    pub fn timed_out(&self) -> bool {
        self.timed_out.is_some()
    }

    /// Whether the program was ended, by its timeout or by a request to stop.
    pub(super) fn was_ended(&self) -> bool {
        self.timed_out() || self.stopped
    }

    /// The exit status, if the program ended by itself.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Everything it printed, a line each.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|(_, line)| line.as_str())
    }

    /// What it printed on standard output, a line each: its answer, without its warnings.
    pub fn answer(&self) -> impl Iterator<Item = &str> {
        self.lines
            .iter()
            .filter(|(stream, _)| *stream == Stream::Output)
            .map(|(_, line)| line.as_str())
    }

    /// Whether any line contains `part`.
    pub fn says(&self, part: &str) -> bool {
        self.lines().any(|line| line.contains(part))
    }

    /// How it ended and the last lines that it printed, on one line.
    pub fn summary(&self) -> String {
        let end = match (self.timed_out, self.status.code(), self.status.signal()) {
            (Some(limit), _, _) => {
                format!("{} did not end within {} s", self.name, limit.as_secs())
            }
            (_, Some(code), _) => format!("{} ended with status {code}", self.name),
            (_, _, signal) => format!(
                "{} was killed by signal {}",
                self.name,
                signal.unwrap_or_default()
            ),
        };
        let errors: Vec<&str> = self
            .lines()
            .filter(|line| line.starts_with("E: ") || line.starts_with("dpkg: "))
            .collect();
        let lines: Vec<&str> = if errors.is_empty() {
            self.lines()
                .filter(|line| !line.trim().is_empty())
                .collect()
        } else {
            errors
        };
        match &lines[lines.len().saturating_sub(3)..] {
            [] => end,
            last => format!("{end}: {}", printable(&last.join(" / "), 400)),
        }
    }

    pub(super) fn push(&mut self, stream: Stream, line: String) {
        if self.logged < self.most {
            log!(self.level, "{}: {}", self.name, printable(&line, 500));
        } else if self.logged == self.most {
            log!(self.level, "{}: further output is not logged", self.name);
        }
        self.logged = self.logged.saturating_add(1);
        if self.lines.len() == self.most.min(MAX_LINES) {
            self.lines.pop_front();
        }
        self.lines.push_back((stream, line));
    }
}
