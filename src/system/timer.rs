//! The timer that starts the runs: its state, its next elapse, and how to enable and disable it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::system::process::command::Command;

/// The unit.
pub const UNIT: &str = "teleport-upgrade.timer";
/// `systemctl` asks over a socket, and a user waits for the answer.
const LIMIT: Duration = Duration::from_secs(1);
/// systemd reads all its units again when one is enabled.
const SWITCH_LIMIT: Duration = Duration::from_secs(90);

/// The timer, as it is at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timer {
    /// Whether it starts with the host.
    pub enabled: bool,
    /// Whether it is started now.
    pub active: bool,
    /// Whether checks are skipped because no release channel is configured.
    pub skips: bool,
    /// When it elapses next, if it does.
    pub next: Option<DateTime<Utc>>,
}

/// Asks systemd. On a host that is not enrolled, the service is skipped.
pub fn read(now: DateTime<Utc>, is_enrolled: bool) -> Result<Timer> {
    let properties =
        "--property=UnitFileState,ActiveState,NextElapseUSecMonotonic,NextElapseUSecRealtime";
    let output = Command::new("systemctl", ["show", properties, "--", UNIT])
        .env("TZ", "UTC")
        .limit(LIMIT)
        .run()?;
    if !output.success() {
        bail!(
            "cannot get the state of {UNIT} from systemd: {}",
            output.summary()
        );
    }
    let uptime = TimeDelta::from_std(Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?))?;
    let timer = timer(&output.answer().collect::<Vec<_>>(), now, uptime);
    Ok(Timer {
        skips: !is_enrolled,
        ..timer
    })
}

/// Whether systemd is running, unlike in an image that is being built.
pub fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// Whether the timer is enabled and, if systemd is running, started. Fails if the timer is masked or not installed.
pub fn is_on(now: DateTime<Utc>) -> Result<bool> {
    let output = Command::new("systemctl", ["is-enabled", "--", UNIT])
        .limit(SWITCH_LIMIT)
        .run()?;
    let state = output.answer().next().unwrap_or("not-found");
    match state {
        "not-found" => bail!("{UNIT} is not installed. Install the package teleport-upgrade"),
        masked if masked.starts_with("masked") => {
            bail!("{UNIT} is masked. Run: systemctl unmask {UNIT}")
        }
        _ => {}
    }
    let is_active = || !systemd_runs() || read(now, true).is_ok_and(|timer| timer.active);
    Ok(state.starts_with("enabled") && is_active())
}

/// Enables and starts the timer, or disables and stops it. If systemd is not running, this takes effect at the next boot.
pub fn switch(verb: &'static str) -> Result<()> {
    let now = systemd_runs().then_some("--now");
    let arguments = [verb].into_iter().chain(now).chain(["--", UNIT]);
    let output = Command::new("systemctl", arguments)
        .limit(SWITCH_LIMIT)
        .run()?;
    if !output.success() {
        bail!("cannot {verb} {UNIT}: {}", output.summary());
    }
    Ok(())
}

fn timer(lines: &[&str], now: DateTime<Utc>, uptime: TimeDelta) -> Timer {
    let get = |name: &str| {
        lines
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
    };
    // The timer counts from its start and from the last run; an administrator may have added times of the day.
    let counted =
        timespan(get("NextElapseUSecMonotonic")).map(|since_boot| now + (since_boot - uptime));
    let dated =
        NaiveDateTime::parse_from_str(get("NextElapseUSecRealtime"), "%a %Y-%m-%d %H:%M:%S UTC")
            .ok();
    Timer {
        enabled: get("UnitFileState").starts_with("enabled"),
        active: get("ActiveState") == "active",
        skips: false,
        next: counted
            .into_iter()
            .chain(dated.map(|dated| dated.and_utc()))
            .min(),
    }
}

/// A time span as systemd prints it: `1h 3min 2.345s`; none for `infinity`, or an empty one.
fn timespan(text: &str) -> Option<TimeDelta> {
    const UNITS: [(&str, f64); 9] = [
        ("us", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("min", 60.0),
        ("h", 3600.0),
        ("d", 86_400.0),
        ("w", 604_800.0),
        // A twelfth of the year below.
        ("month", 2_629_800.0),
        ("y", 31_557_600.0),
    ];
    let mut seconds = 0.0;
    for word in text.split_whitespace() {
        let digits = word.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, name) = word.split_at(digits);
        seconds += number.parse::<f64>().ok()? * UNITS.iter().find(|(unit, _)| *unit == name)?.1;
    }
    (seconds > 0.0).then(|| TimeDelta::milliseconds((seconds * 1000.0) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_spans_that_systemd_prints() {
        for (text, seconds) in [
            ("1h 3min 2.345s", Some(3782.345)),
            ("2w 6d 23h 59min 59s", Some(1_814_399.0)),
            ("950ms", Some(0.95)),
            ("infinity", None),
            ("", None),
            ("3 parsecs", None),
        ] {
            assert_eq!(
                timespan(text).map(|span| span.num_milliseconds() as f64 / 1000.0),
                seconds,
                "{text}"
            );
        }
    }

    #[test]
    fn the_next_run_is_counted_from_the_boot() {
        let now = DateTime::from_timestamp(1_795_140_000, 0).unwrap();
        let lines = [
            "NextElapseUSecRealtime=",
            "NextElapseUSecMonotonic=1h",
            "ActiveState=active",
            "UnitFileState=enabled",
        ];
        let timer = timer(&lines, now, TimeDelta::minutes(35));
        assert_eq!(
            timer,
            Timer {
                enabled: true,
                active: true,
                skips: false,
                next: Some(now + TimeDelta::minutes(25))
            }
        );
    }

    #[test]
    fn an_administrators_time_of_the_day_counts_if_it_comes_first() {
        let now = DateTime::from_timestamp(1_795_140_000, 0).unwrap();
        let dated = [
            "NextElapseUSecRealtime=Fri 2026-11-20 02:10:00 UTC",
            "NextElapseUSecMonotonic=1h",
        ];
        assert_eq!(
            timer(&dated, now, TimeDelta::zero()).next,
            Some(now + TimeDelta::minutes(10))
        );
    }

    #[test]
    fn a_timer_that_is_off_never_elapses() {
        let lines = [
            "NextElapseUSecRealtime=",
            "NextElapseUSecMonotonic=infinity",
            "ActiveState=inactive",
            "UnitFileState=disabled",
        ];
        let timer = timer(&lines, DateTime::UNIX_EPOCH, TimeDelta::minutes(35));
        assert_eq!(
            timer,
            Timer {
                enabled: false,
                active: false,
                skips: false,
                next: None
            }
        );
    }
}
