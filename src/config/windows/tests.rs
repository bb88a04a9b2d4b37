use super::*;

fn at(text: &str) -> DateTime<Utc> {
    format!("{text}:00Z").parse().unwrap()
}

/// The offset of a zone that changes from `before` to `after` hours at that moment.
fn changes(moment: &str, before: i32, after: i32) -> impl Fn(DateTime<Utc>) -> FixedOffset + use<> {
    let change = at(moment);
    move |now| FixedOffset::east_opt(3600 * if now < change { before } else { after }).unwrap()
}

/// Central Europe in 2026.
fn spring() -> impl Fn(DateTime<Utc>) -> FixedOffset {
    changes("2026-03-29T01:00", 1, 2)
}

fn autumn() -> impl Fn(DateTime<Utc>) -> FixedOffset {
    changes("2026-10-25T01:00", 2, 1)
}

fn utc(_: DateTime<Utc>) -> FixedOffset {
    FixedOffset::east_opt(0).unwrap()
}

fn windows(text: &str) -> Windows {
    Windows::parse(text).unwrap().unwrap()
}

/// The first windows, as `DD HH:MM-DD HH:MM`.
fn next(
    text: &str,
    now: &str,
    local: impl Fn(DateTime<Utc>) -> FixedOffset,
    count: usize,
) -> String {
    let shown = windows(text).next(at(now), local).into_iter().take(count);
    shown
        .map(|window| {
            format!(
                "{}-{}",
                window.start.format("%d %H:%M"),
                window.stop.format("%d %H:%M")
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn spellings() {
    for (text, same) in [
        ("mon,WED,Friday 2:00-4:00", "Mon,Wed,Fri 02:00-04:00"),
        ("Mon, Wed , Fri 02:00 - 04:00", "Mon,Wed,Fri 02:00-04:00"),
        ("Mon-Wed,Sat 02:00-04:00", "Mon,Tue,Wed,Sat 02:00-04:00"),
        ("Mon..Wed 02:00-04:00", "Mon,Tue,Wed 02:00-04:00"),
        ("Sat-Mon 02:00-04:00", "Sat,Sun,Mon 02:00-04:00"),
        ("daily 02:00-04:00", "Mon-Sun 02:00-04:00"),
        ("* 02:00-04:00", "Daily 02:00-04:00"),
        ("Sun 02:00-04:00 utc", "Sun 02:00-04:00\tUTC"),
        (
            "# ours\r\n\r\n Sun 02:00-04:00 # nights\r\n",
            "Sun 02:00-04:00",
        ),
    ] {
        assert_eq!(windows(text), windows(same), "{text}");
    }
    assert_eq!(Windows::parse("\n# none\n"), Ok(None));
    assert!(windows("Mon 0:00-1:00 UTC\nMon 2:00-3:00").is_local());
    assert!(!windows("Mon 0:00-1:00 UTC").is_local());
}

#[test]
fn errors_name_the_line_and_the_problem() {
    let long = format!("Mon 02:00-04:00 {}", "x".repeat(200));
    let many = "Mon 02:00-04:00\n".repeat(65);
    for (text, problem) in [
        (
            "# a\n\nMo 02:00-04:00",
            "line 3: invalid day \"Mo\" (Mon, Tue,",
        ),
        ("Mon,,Tue 02:00-04:00", "line 1: invalid day \"\""),
        ("Mon-Fri-Sun 02:00-04:00", "line 1: invalid day \"Fri-Sun\""),
        (
            "Mon 02:00-04:00 Europe/Berlin",
            "line 1: unsupported time zone \"Europe/Berlin\" (only UTC",
        ),
        ("Mon 02:00-04:00 +01:00", "line 1: unsupported time zone"),
        ("Mon 02:00", "line 1: expected START-STOP, found \"02:00\""),
        (
            "02:00-04:00",
            "line 1: expected DAYS START-STOP, found \"02:00-04:00\"",
        ),
        ("Mon", "line 1: expected DAYS START-STOP, found \"Mon\""),
        (
            "Mon Tue 02:00-04:00",
            "line 1: expected DAYS START-STOP, found \"Mon Tue 02:00-04:00\"",
        ),
        (
            "Mon 02:00-04:00 UTC UTC",
            "line 1: expected DAYS START-STOP, found \"Mon 02:00-04:00 UTC UTC\"",
        ),
        (
            "Mon 2am-4am",
            "line 1: invalid time \"2am\" (00:00 to 24:00)",
        ),
        ("Mon 02-04", "line 1: invalid time \"02\""),
        ("Mon 02:00-24:01", "line 1: invalid time \"24:01\""),
        ("Mon 02:60-04:00", "line 1: invalid time \"02:60\""),
        ("Mon 02:00:00-04:00", "line 1: invalid time \"02:00:00\""),
        ("Mon +2:00-04:00", "line 1: invalid time \"+2:00\""),
        (
            "Mon 24:00-04:00",
            "line 1: a window cannot start at 24:00 (use 00:00",
        ),
        (
            "Mon 02:00-02:00",
            "line 1: a window cannot start and stop at the same time (a whole day is 00:00-24:00)",
        ),
        (
            "1795140000 1795143600",
            "line 1: invalid day \"1795140000\"",
        ),
        ("Mon \u{1b}[31m02:00-04:00", "line 1: invalid time \""),
        (&long, "line 1: longer than 200 bytes"),
        (&many, "more than 64 windows"),
    ] {
        let error = Windows::parse(text).unwrap_err();
        assert!(error.starts_with(problem), "{text}: {error}");
        assert!(!error.contains('\u{1b}'), "{text}: {error}");
    }
}

#[test]
fn the_next_windows_of_the_week() {
    // 2026-11-20 is a Friday.
    for (text, now, expected) in [
        (
            "Fri 02:00-04:00",
            "2026-11-20T01:59",
            "20 02:00-20 04:00, 27 02:00-27 04:00",
        ),
        (
            "Fri 02:00-04:00",
            "2026-11-20T02:00",
            "20 02:00-20 04:00, 27 02:00-27 04:00",
        ),
        (
            "Fri 02:00-04:00",
            "2026-11-20T03:59",
            "20 02:00-20 04:00, 27 02:00-27 04:00",
        ),
        (
            "Fri 02:00-04:00",
            "2026-11-20T04:00",
            "27 02:00-27 04:00, 04 02:00-04 04:00",
        ),
        (
            "Thu 23:00-01:00",
            "2026-11-20T00:30",
            "19 23:00-20 01:00, 26 23:00-27 01:00",
        ),
        (
            "Sun 23:00-01:00",
            "2026-11-22T23:30",
            "22 23:00-23 01:00, 29 23:00-30 01:00",
        ),
        (
            "Mon,Wed 02:00-04:00",
            "2026-11-20T12:00",
            "23 02:00-23 04:00, 25 02:00-25 04:00",
        ),
        (
            "daily 23:00-22:59",
            "2026-11-20T22:58",
            "19 23:00-20 22:59, 20 23:00-21 22:59",
        ),
        // What overlaps or meets is one window.
        (
            "Sat 22:00-24:00\nSun 00:00-02:00",
            "2026-11-20T12:00",
            "21 22:00-22 02:00, 28 22:00-29 02:00",
        ),
        (
            "Sat 01:00-03:00\nSat 02:00-02:30",
            "2026-11-20T12:00",
            "21 01:00-21 03:00, 28 01:00-28 03:00",
        ),
    ] {
        assert_eq!(next(text, now, utc, 2), expected, "{text} at {now}");
    }
    let always = windows("daily 00:00-24:00").next(at("2026-11-20T12:00"), utc);
    assert_eq!(always.len(), 1, "{always:?}");
}

#[test]
fn times_are_those_of_the_host_unless_they_are_utc() {
    let far_east = |_| FixedOffset::east_opt(14 * 3600).unwrap();
    let far_west = |_| FixedOffset::west_opt(12 * 3600).unwrap();
    let now = "2026-11-20T12:00";
    assert_eq!(
        next("Sun 02:00-04:00", now, far_east, 1),
        "21 12:00-21 14:00"
    );
    assert_eq!(
        next("Sun 02:00-04:00", now, far_west, 1),
        "22 14:00-22 16:00"
    );
    assert_eq!(
        next("Sun 02:00-04:00 UTC", now, far_east, 1),
        "22 02:00-22 04:00"
    );
    let half = |_| FixedOffset::east_opt(5 * 3600 + 1800).unwrap();
    assert_eq!(next("Sun 02:00-04:00", now, half, 1), "21 20:30-21 22:30");
    // Open now: it began on the day before, here.
    assert_eq!(
        next("Fri 23:00-02:30", now, far_east, 1),
        "20 09:00-20 12:30"
    );
}

#[test]
fn in_spring_the_skipped_hour_belongs_to_no_window() {
    // Sunday, 2026-03-29: after 01:59:59 comes 03:00:00, at 01:00 UTC.
    for (text, expected) in [
        ("Sun 01:00-04:00", "29 00:00-29 02:00, 04 23:00-05 02:00"),
        ("Sun 02:30-04:00", "29 01:00-29 02:00, 05 00:30-05 02:00"),
        ("Sun 01:00-02:30", "29 00:00-29 01:00, 04 23:00-05 00:30"),
        ("Sun 03:00-04:00", "29 01:00-29 02:00, 05 01:00-05 02:00"),
        // Wholly within: the clock never shows it that day.
        ("Sun 02:00-03:00", "05 00:00-05 01:00, 12 00:00-12 01:00"),
        ("Sat 23:00-02:15", "28 22:00-29 01:00, 04 21:00-05 00:15"),
        (
            "Sun 02:00-03:00 UTC",
            "29 02:00-29 03:00, 05 02:00-05 03:00",
        ),
    ] {
        assert_eq!(
            next(text, "2026-03-28T12:00", spring(), 2),
            expected,
            "{text}"
        );
    }
}

#[test]
fn in_autumn_the_repeated_hour_belongs_to_its_window_twice() {
    // Sunday, 2026-10-25: after 02:59:59 comes 02:00:00, at 01:00 UTC.
    for (text, expected) in [
        ("Sun 01:00-04:00", "24 23:00-25 03:00, 01 00:00-01 03:00"),
        ("Sun 02:00-03:00", "25 00:00-25 02:00, 01 01:00-01 02:00"),
        ("Sun 02:15-02:45", "25 00:15-25 00:45, 25 01:15-25 01:45"),
        ("Sun 02:30-04:00", "25 00:30-25 01:00, 25 01:30-25 03:00"),
        ("Sun 01:00-02:30", "24 23:00-25 00:30, 25 01:00-25 01:30"),
        ("Sun 03:00-04:00", "25 02:00-25 03:00, 01 02:00-01 03:00"),
    ] {
        assert_eq!(
            next(text, "2026-10-24T12:00", autumn(), 2),
            expected,
            "{text}"
        );
    }
}

#[test]
fn a_clock_that_is_changed_at_midnight_or_skips_a_day() {
    // As in Cairo: Friday, 00:00 is 01:00.
    let cairo = changes("2026-04-23T22:00", 2, 3);
    assert_eq!(
        next("Fri 00:00-02:00", "2026-04-23T12:00", cairo, 1),
        "23 22:00-23 23:00"
    );
    // As on Samoa: Thursday is followed by Saturday.
    let samoa = || changes("2011-12-30T10:00", -10, 14);
    assert_eq!(
        next("Fri 02:00-04:00", "2011-12-29T12:00", samoa(), 1),
        "05 12:00-05 14:00"
    );
    assert_eq!(
        next("Thu 23:00-01:00", "2011-12-29T12:00", samoa(), 1),
        "30 09:00-30 10:00"
    );
    assert_eq!(
        next("Sat 00:00-01:00", "2011-12-29T12:00", samoa(), 1),
        "30 10:00-30 11:00"
    );
}
