//! Which maintenance windows apply.

use std::env;

use chrono::{DateTime, Local, Utc};

use crate::agent::schedule::{Absence, Schedule, WindowStatus};
use crate::config::Config;
use crate::config::windows::Windows;
use crate::system::text::printable;

/// The maintenance windows that apply: the host's own replace those that the agent exports, but not the word of `teleport-update`.
pub fn schedule(config: &Config, now: DateTime<Utc>) -> Schedule {
    let exported = Schedule::read(&config.schedule);
    match &config.windows {
        Some(windows) if exported.status(now) != WindowStatus::Absent(Absence::Nop) => {
            Schedule::Windows(windows.next(now, |moment| *DateTime::<Local>::from(moment).offset()))
        }
        _ => exported,
    }
}

/// Why the windows of this host are in another time zone than for the timer's runs, if they are.
pub fn other_time_zone(config: &Config) -> Option<String> {
    let is_local = config.windows.as_ref().is_some_and(Windows::is_local);
    let zone = env::var("TZ").ok().filter(|_| is_local)?;
    (!["", ":/etc/localtime"].contains(&zone.as_str())).then(|| {
        format!(
            "TZ is set to {}, so windows are in that time zone here. Runs of the timer use that of the host",
            printable(&zone, 40)
        )
    })
}
