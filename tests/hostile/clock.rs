//! A clock that is wrong, or jumps.

use super::Case;
use host::stage::set_clock;
use host::{Cert, Stage};

const UP: &str = "an upgrade is available (14.3.33 -> 14.3.34)";
/// 2026-11-01 05:30 UTC: in New York it is 1:30, for the first time that night; an hour later for the second.
const AUTUMN: i64 = 1_793_511_000;
/// 2026-03-08 06:59:59 UTC: in New York it is 1:59:59, and a second later 3:00.
const SPRING: i64 = 1_772_953_199;
/// Its clock, for hosts without a database of time zones.
const NEW_YORK: &str = "EST5EDT,M3.2.0,M11.1.0";

pub fn cases() -> Vec<Case> {
    vec![
        case(
            "clock: 1970, and a certificate of these years",
            1,
            "is not valid before 2024-01-01 00:00 UTC (this host's time: 1970-01-01 |Fix the clock",
            |stage| {
                stage.releases.set_cert(Cert::Recent);
                stage.clock(60);
            },
        ),
        case(
            "clock: 2100, and a certificate of these years",
            1,
            "expired on 2038-01-01 00:00 UTC (this host's time: 2100-01-01 |or fix the clock",
            |stage| {
                stage.releases.set_cert(Cert::Recent);
                stage.clock(4_102_444_800);
            },
        ),
        case(
            "clock: before 2000, the windows of today",
            0,
            "its next window is more than a year away",
            |stage| {
                stage.clock(951_782_400);
            },
        ),
        case(
            "clock: in 2090, the windows of today",
            0,
            "the maintenance schedule has expired",
            |stage| stage.clock(3_786_912_000),
        ),
        case(
            "clock: the last second before the window",
            0,
            "is pending: next maintenance window opens 2026-11-20 02:00 UTC (in 1 min)",
            |stage| {
                stage.configure("schedule", "1795140000 1795143600\n");
                stage.clock(1_795_140_000 - 30);
            },
        ),
        case(
            "clock: jumps into the window during the run",
            0,
            UP,
            |stage| {
                stage.configure("schedule", "1795140000 1795143600\n");
                jump(stage, 1_795_130_000, 1_795_141_000);
            },
        ),
        case(
            "clock: jumps back by years during the run",
            0,
            UP,
            |stage| {
                stage.configure("schedule", "1795140000 1795143600\n");
                jump(stage, 1_795_130_000, 978_307_200);
            },
        ),
        case("clock: jumps on by years during the run", 0, UP, |stage| {
            stage.configure("schedule", "1795140000 1795143600\n");
            jump(stage, 1_795_130_000, 3_786_912_000);
        }),
        case(
            "clock: an install whose window a jump has closed waits",
            0,
            "is pending: |the maintenance schedule has expired",
            |stage| {
                // Found open; while the package manager prepares, the time leaps over the rest of the window.
                stage.command = "run";
                stage.configure("schedule", "1795140000 1795143600\n");
                stage
                    .repository
                    .publish(&[host::Package::agent("teleport-ent", "14.3.34")]);
                stage.clock(1_795_141_000);
                stage
                    .releases
                    .raw_route("/current/version", jumping(stage, 1_795_150_000));
            },
        ),
        case(
            "clock: summer time ends, inside the window in UTC",
            0,
            "would upgrade from 14.3.33 to 14.3.34 now|open until 2026-11-01 06:00 UTC",
            |stage| {
                stage.configure("schedule", format!("{} {}\n", AUTUMN - 1800, AUTUMN + 1800));
                stage.clock(AUTUMN);
                stage.env("TZ", "America/New_York");
            },
        ),
        case(
            "clock: the same hour again is another one in UTC",
            0,
            "is pending: ",
            |stage| {
                stage.configure(
                    "schedule",
                    format!(
                        "{} {}\n{} {}\n",
                        AUTUMN - 1800,
                        AUTUMN + 1800,
                        AUTUMN + 86_400,
                        AUTUMN + 90_000
                    ),
                );
                stage.clock(AUTUMN + 3600);
                stage.env("TZ", "America/New_York");
            },
        ),
        case(
            "clock: summer time begins, and the window is in the hour that is not",
            0,
            "would upgrade from 14.3.33 to 14.3.34 now|open until 2026-03-08 08:00 UTC",
            |stage| {
                stage.configure("schedule", format!("{} {}\n", SPRING + 1, SPRING + 3601));
                stage.clock(SPRING + 60);
                stage.env("TZ", "America/New_York");
            },
        ),
        case(
            "clock: summer time begins, and the host's own window is in the hour that is not",
            0,
            "would upgrade from 14.3.33 to 14.3.34 now|open until 2026-03-08 08:00 UTC",
            |stage| {
                stage.configure("windows", "Sun 02:30-04:00\n");
                stage.clock(SPRING + 60);
                stage.env("TZ", NEW_YORK);
            },
        ),
        case(
            "clock: the same hour again is in the host's own window again",
            0,
            "would upgrade from 14.3.33 to 14.3.34 now|open until 2026-11-01 06:45 UTC",
            |stage| {
                stage.configure("windows", "Sun 01:15-01:45\n");
                stage.clock(AUTUMN + 3600);
                stage.env("TZ", NEW_YORK);
            },
        ),
        case(
            "clock: a time zone of nonsense",
            0,
            "2026-11-20 02:00 UTC",
            |stage| {
                stage.configure("schedule", "1795140000 1795143600\n");
                stage.clock(1_795_130_000);
                stage.env("TZ", "\u{1b}[31m/../../etc/shadow");
            },
        ),
    ]
}

fn case(name: &'static str, status: i32, says: &'static str, set: fn(&mut Stage)) -> Case {
    Case {
        name,
        status,
        says,
        set,
    }
}

/// Has the clock jump while the server is asked.
fn jump(stage: &mut Stage, from: i64, to: i64) {
    stage.clock(from);
    stage
        .releases
        .raw_route("/current/version", jumping(stage, to));
}

fn jumping(
    stage: &Stage,
    to: i64,
) -> impl Fn(&host::Request, &mut dyn host::Stream) + Send + Sync + use<> {
    let clock = stage.path("/clock");
    move |_, stream| {
        set_clock(&clock, to);
        let _ = stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n14.3.34\n",
            )
            .and_then(|()| stream.flush());
    }
}
