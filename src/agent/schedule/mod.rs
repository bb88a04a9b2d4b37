//! The maintenance windows that the Teleport agent exports: `/etc/teleport-upgrade.d/schedule`.

pub mod read;

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::system::times;

/// What teleport-update writes in place of windows, alone in the file.
const NOP: &str = "nop";
/// Agents export the next few windows, days ahead. What is further away is no window but a mistake, such as milliseconds.
const FAR: TimeDelta = TimeDelta::days(366);

/// A time during which the agent may be restarted: from `start`, and up to but without `stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Window {
    /// The first second of the window.
    pub start: DateTime<Utc>,
    /// The first second after the window.
    pub stop: DateTime<Utc>,
}

/// What the schedule file contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Windows in the order of their start, at least one.
    Windows(Vec<Window>),
    /// None that can be used.
    Absent(Absence),
}

/// Where a moment is among the windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowStatus {
    /// Inside a window.
    Inside {
        /// The end of the window, or of the last of several that follow each other without a gap.
        until: DateTime<Utc>,
    },
    /// Outside, and the next window is this one.
    Before(Window),
    /// There are no usable windows.
    Absent(Absence),
}

/// Why there are no windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// There is no schedule file: the agent is new, or is not configured to write it.
    Missing,
    /// The schedule file is empty: the agent has lost its cluster, or is new.
    Empty,
    /// teleport-update manages this host, and has written its word in place of windows.
    Nop,
    /// All windows are over; the last one stopped then.
    Past(DateTime<Utc>),
    /// The schedule file cannot be used, and why.
    Unreadable(String),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absence::Missing => write!(f, "the agent has not exported a maintenance schedule"),
            Absence::Empty => write!(
                f,
                "the maintenance schedule is empty (agent new or disconnected from the cluster)"
            ),
            Absence::Nop => write!(
                f,
                "the maintenance schedule contains \"{NOP}\" (the agent is managed by teleport-update)"
            ),
            Absence::Past(stop) => {
                let stop = times::utc(*stop);
                write!(
                    f,
                    "the maintenance schedule has expired (last window ended {stop})"
                )
            }
            Absence::Unreadable(why) => write!(f, "the maintenance schedule is invalid ({why})"),
        }
    }
}

impl Schedule {
    /// Where `now` is among the windows.
    pub fn status(&self, now: DateTime<Utc>) -> WindowStatus {
        let windows = match self {
            Schedule::Windows(windows) => windows,
            Schedule::Absent(absence) => return WindowStatus::Absent(absence.clone()),
        };
        // Windows are in the order of their start, so one that touches the open one extends it.
        let mut until = None;
        for window in windows {
            if window.start <= until.unwrap_or(now) && window.stop > now {
                until = until.max(Some(window.stop));
            }
        }
        if let Some(until) = until {
            return WindowStatus::Inside { until };
        }
        match windows.iter().find(|window| window.start > now) {
            Some(next) if next.start - now > FAR => WindowStatus::Absent(Absence::Unreadable(
                "its next window is more than a year away".into(),
            )),
            Some(next) => WindowStatus::Before(*next),
            None => {
                let last = windows.iter().map(|window| window.stop).max();
                WindowStatus::Absent(Absence::Past(last.unwrap_or(now)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
