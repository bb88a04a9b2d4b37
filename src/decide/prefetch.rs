//! When a host pre-downloads an upgrade that waits for its maintenance window.

use chrono::{DateTime, TimeDelta, Utc};

/// Hosts that wait for the same window spread their downloads over this time.
const SPREAD: TimeDelta = TimeDelta::hours(12);
/// A download that starts later than this before the window might delay the upgrade: half an hour for the download, and an hour until
/// the next run.
const LATEST: TimeDelta = TimeDelta::minutes(90);
/// No download is planned for later than this before the window: the next run is within the hour.
const LAST: TimeDelta = TimeDelta::minutes(150);

/// When a host downloads what waits for a window that opens at `opens`. `chance` is a random number from 0 to 1.
pub fn due(now: DateTime<Utc>, opens: DateTime<Utc>, chance: f64) -> DateTime<Utc> {
    let last = opens - LAST;
    let first = now.max(last - SPREAD);
    let span = (last - first).max(TimeDelta::zero()).as_seconds_f64();
    first + TimeDelta::milliseconds((span * chance * 1000.0) as i64)
}

/// Whether that time has come, and the window is far enough away.
pub fn is_time(now: DateTime<Utc>, due: DateTime<Utc>, opens: DateTime<Utc>) -> bool {
    now >= due && opens - now >= LATEST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_140_000 + 60 * minutes, 0).unwrap()
    }

    #[test]
    fn downloads_are_spread_over_the_time_before_the_window() {
        let opens = at(48 * 60);
        for (chance, before) in [(0.0, 14 * 60 + 30), (0.5, 8 * 60 + 30), (1.0, 2 * 60 + 30)] {
            assert_eq!(
                opens - due(at(0), opens, chance),
                TimeDelta::minutes(before),
                "{chance}"
            );
        }
        assert_eq!(
            due(at(0), at(4 * 60 + 30), 0.5),
            at(60),
            "over what is left of that time"
        );
        assert_eq!(due(at(0), at(120), 0.5), at(0), "at once");
    }

    #[test]
    fn a_download_starts_when_it_is_due_and_ends_before_the_window() {
        let opens = at(600);
        assert!(!is_time(at(99), at(100), opens) && is_time(at(100), at(100), opens));
        assert!(is_time(at(510), at(100), opens) && !is_time(at(511), at(100), opens));
    }
}
