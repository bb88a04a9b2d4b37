//! Times and time spans for people.

use std::time::Duration;

use chrono::{DateTime, Local, Offset, TimeDelta, TimeZone, Utc};

/// A time in UTC: `2026-11-23 02:00 UTC`.
pub fn utc(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A time in this host's time zone, and in UTC where that differs: `Mon 2026-11-23 03:00 (02:00 UTC)`.
pub fn local(moment: DateTime<Utc>) -> String {
    in_zone(moment, &Local)
}

fn in_zone<Z: TimeZone>(moment: DateTime<Utc>, zone: &Z) -> String {
    let here = moment.with_timezone(zone);
    let shown = here.naive_local();
    if here.offset().fix().local_minus_utc() == 0 {
        return moment.format("%a %Y-%m-%d %H:%M UTC").to_string();
    }
    let in_utc = if shown.date() == moment.date_naive() {
        "%H:%M UTC"
    } else {
        "%a %H:%M UTC"
    };
    format!(
        "{} ({})",
        shown.format("%a %Y-%m-%d %H:%M"),
        moment.format(in_utc)
    )
}

/// A time span: the two largest units, rounded up to whole minutes.
pub fn span(length: TimeDelta) -> String {
    let minutes = (length.num_seconds().max(0) + 59) / 60;
    let (days, hours, rest) = (minutes / (24 * 60), minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{rest} min"),
        (0, _) if rest == 0 => format!("{hours} h"),
        (0, _) => format!("{hours} h {rest} min"),
        (_, 0) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

/// How long ago a time is: `12 min ago`. `just now` if the clock was set back.
pub fn ago(moment: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let length = now - moment;
    if length < TimeDelta::minutes(1) {
        "just now".into()
    } else {
        format!("{} ago", span(length - TimeDelta::seconds(59)))
    }
}

/// A time span in seconds, to the millisecond.
pub fn seconds(length: Duration) -> f64 {
    length.as_millis() as f64 / 1000.0
}

/// A duration: `0.4 s`, `48 s`, `2 min 5 s`.
pub fn took(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        _ => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// 2026-11-20 02:00 UTC.
    const NOW: i64 = 1_795_140_000;

    #[test]
    fn local_time_comes_with_utc_where_that_differs() {
        let hours = |hours: i32| FixedOffset::east_opt(hours * 3600).unwrap();
        assert_eq!(in_zone(at(NOW), &hours(0)), "Fri 2026-11-20 02:00 UTC");
        assert_eq!(
            in_zone(at(NOW), &hours(1)),
            "Fri 2026-11-20 03:00 (02:00 UTC)"
        );
        assert_eq!(
            in_zone(at(NOW), &hours(-5)),
            "Thu 2026-11-19 21:00 (Fri 02:00 UTC)"
        );
    }

    #[test]
    fn spans_are_for_people() {
        for (minutes, expected) in [
            (0, "0 min"),
            (59, "59 min"),
            (60, "1 h"),
            (1440, "1 d"),
            (192, "3 h 12 min"),
            (2 * 1440 + 660, "2 d 11 h"),
        ] {
            assert_eq!(span(TimeDelta::minutes(minutes)), expected);
        }
        assert_eq!(span(TimeDelta::seconds(1)), "1 min");
    }

    #[test]
    fn the_past_is_not_rounded_up() {
        assert_eq!(ago(at(NOW - 30), at(NOW)), "just now");
        assert_eq!(ago(at(NOW + 3600), at(NOW)), "just now");
        assert_eq!(ago(at(NOW - 60), at(NOW)), "1 min ago");
        assert_eq!(ago(at(NOW - 119), at(NOW)), "1 min ago");
        assert_eq!(ago(at(NOW - 7200), at(NOW)), "2 h ago");
    }

    #[test]
    fn durations_have_tenths_while_they_are_short() {
        assert_eq!(
            (took(0.42), took(48.4), took(125.0)),
            ("0.4 s".into(), "48 s".into(), "2 min 5 s".into())
        );
    }
}
