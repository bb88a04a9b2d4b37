//! The maintenance windows that the Teleport agent exports: `/etc/teleport-upgrade.d/schedule`.
//!
//! The file belongs to whoever runs the agent, so nothing in it is trusted or quoted, and it is opened so that it cannot
//! lead elsewhere: no links, no devices, a bounded size.

use std::fmt;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::system::text::io_problem;
use crate::system::{times, untrusted};

/// What Teleport's later updater writes in place of windows, alone in the file.
const NOP: &str = "nop";
/// More than any agent writes; three windows take about 100 bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// The agent truncates the file and then writes it, so a reader can meet it half written.
const SETTLE: Duration = Duration::from_millis(100);
const READS: usize = 3;

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

/// What the schedule file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Windows in the order of their start, at least one.
    Windows(Vec<Window>),
    /// There is no file: a new agent, or one that does not know that it should write it.
    Missing,
    /// The agent emptied the file: it has lost its cluster.
    Empty,
    /// Teleport's later updater manages this host, and has written this in place of windows.
    Nop,
    /// The file is there but cannot be used, and why.
    Unreadable(String),
}

/// How a moment lies to the windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowStatus {
    /// Inside a window, which stops then.
    Inside {
        /// The end of the window, or of the last of several that follow each other without a gap.
        until: DateTime<Utc>,
    },
    /// Outside, and the next window is this one.
    Before(Window),
    /// There are no usable windows; the agent is new or unwell.
    Absent(Absence),
}

/// Why there are no windows to go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// There is no schedule file.
    Missing,
    /// The schedule file is empty.
    Empty,
    /// The schedule file has the word of Teleport's later updater.
    Nop,
    /// All windows are over; the last one stopped then.
    Past(DateTime<Utc>),
    /// The schedule file cannot be used, and why.
    Unreadable(String),
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absence::Missing => write!(f, "the agent has exported no maintenance schedule"),
            Absence::Empty => write!(
                f,
                "the maintenance schedule is empty (the agent has lost its cluster, or is new)"
            ),
            Absence::Nop => write!(
                f,
                "the maintenance schedule contains \"{NOP}\" (the agent is managed by teleport-update)"
            ),
            Absence::Past(stop) => {
                write!(
                    f,
                    "the maintenance schedule is outdated (its last window ended {})",
                    times::utc(*stop)
                )
            }
            Absence::Unreadable(why) => {
                write!(f, "the maintenance schedule cannot be used ({why})")
            }
        }
    }
}

impl Schedule {
    /// Reads the schedule file. Whatever is wrong with it is a value, not an error: an updater must work without it.
    pub fn read(path: &Path) -> Schedule {
        let mut schedule = Schedule::Missing;
        for attempt in 0..READS {
            if attempt > 0 {
                thread::sleep(SETTLE);
            }
            let whole;
            (schedule, whole) = match untrusted::read(path, MAX_BYTES) {
                // The word has no end of line.
                Ok(text) => (Schedule::parse(&text), text.ends_with('\n') || text == NOP),
                Err(error) if error.kind() == io::ErrorKind::NotFound => (Schedule::Missing, true),
                Err(error) => (Schedule::Unreadable(io_problem(&error)), true),
            };
            if whole {
                break;
            }
        }
        schedule
    }

    /// Reads the lines `START STOP [-> anything]`, `#` comments and blank lines.
    ///
    /// A line that is none of these is left out, so that a half-written last line does not cost the others.
    pub fn parse(text: &str) -> Schedule {
        if text.trim() == NOP {
            return Schedule::Nop;
        }
        let mut windows = Vec::new();
        let mut unusable = None;
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match window(line) {
                Some(window) => windows.push(window),
                None => unusable = unusable.or(Some(number + 1)),
            }
        }
        windows.sort_unstable();
        match (windows.is_empty(), unusable) {
            (false, _) => Schedule::Windows(windows),
            (true, None) => Schedule::Empty,
            (true, Some(line)) => {
                Schedule::Unreadable(format!("line {line} is not \"START STOP\" in Unix seconds"))
            }
        }
    }

    /// How `now` lies to the windows.
    pub fn status(&self, now: DateTime<Utc>) -> WindowStatus {
        let windows = match self {
            Schedule::Windows(windows) => windows,
            Schedule::Missing => return WindowStatus::Absent(Absence::Missing),
            Schedule::Empty => return WindowStatus::Absent(Absence::Empty),
            Schedule::Nop => return WindowStatus::Absent(Absence::Nop),
            Schedule::Unreadable(why) => {
                return WindowStatus::Absent(Absence::Unreadable(why.clone()));
            }
        };
        // Windows are in order of their start, so one that touches the stretch open now prolongs it.
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
                let last = windows
                    .iter()
                    .map(|window| window.stop)
                    .max()
                    .unwrap_or(now);
                WindowStatus::Absent(Absence::Past(last))
            }
        }
    }
}

/// Whether Teleport's later updater has written its word in the schedule file.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn windows(pairs: &[(i64, i64)]) -> Schedule {
        Schedule::Windows(
            pairs
                .iter()
                .map(|&(start, stop)| Window {
                    start: at(start),
                    stop: at(stop),
                })
                .collect(),
        )
    }

    #[test]
    fn parses_what_agents_write() {
        let plain = "# generated by Teleport\n1709510400 1709514000\n1709596800 1709600400\n";
        let annotated = "# comment\n\n1709510400 1709514000 -> Mon Mar  4 00:00:00 UTC 2024\n1709596800\t1709600400 ->\r\n";
        let expected = windows(&[(1709510400, 1709514000), (1709596800, 1709600400)]);
        assert_eq!(Schedule::parse(plain), expected);
        assert_eq!(Schedule::parse(annotated), expected);
        assert_eq!(
            Schedule::parse("300 400\n100 200\n"),
            windows(&[(100, 200), (300, 400)]),
            "sorted"
        );
    }

    #[test]
    fn a_half_written_file_keeps_its_whole_lines() {
        let whole = "# comment\n1709510400 1709514000\n";
        for end in 0..whole.len() {
            let parsed = Schedule::parse(&whole[..end]);
            let complete = end == whole.len() - 1;
            assert_eq!(
                matches!(parsed, Schedule::Windows(_)),
                complete,
                "{:?}",
                &whole[..end]
            );
        }
        assert_eq!(Schedule::parse("100 200\n300 4"), windows(&[(100, 200)]));
    }

    #[test]
    fn refuses_what_is_no_window() {
        for line in [
            "abc def",
            "100",
            "100 200 300",
            "200 100",
            "100 100",
            "9223372036854775807 9223372036854775807",
            "-1 x",
            "1e3 2e3",
            "99999999999999999999 1",
            "-> 1 2",
            "<html>",
            "100 200 # comment",
        ] {
            assert!(
                matches!(Schedule::parse(line), Schedule::Unreadable(_)),
                "{line}"
            );
        }
        assert_eq!(Schedule::parse(""), Schedule::Empty);
        assert_eq!(Schedule::parse("# only a comment\n\n"), Schedule::Empty);
    }

    #[test]
    fn the_word_of_the_later_updater_stands_alone() {
        for text in ["nop", "nop\n", " nop \r\n"] {
            assert_eq!(Schedule::parse(text), Schedule::Nop, "{text:?}");
        }
        assert!(matches!(Schedule::parse("nope"), Schedule::Unreadable(_)));
        assert_eq!(Schedule::parse("nop\n100 200\n"), windows(&[(100, 200)]));
        assert_eq!(
            Schedule::Nop.status(at(0)),
            WindowStatus::Absent(Absence::Nop)
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("schedule");
        for (text, expected) in [("nop", true), ("100 200\n", false), ("", false)] {
            fs::write(&path, text).unwrap();
            assert_eq!(
                (is_nop(&path), Schedule::read(&path) == Schedule::Nop),
                (expected, expected),
                "{text}"
            );
        }
        fs::remove_file(&path).unwrap();
        assert!(!is_nop(&path));
    }

    #[test]
    fn garbage_is_never_quoted() {
        let Schedule::Unreadable(why) = Schedule::parse("# x\nroot:$6$secret\n") else {
            panic!("must be unreadable")
        };
        assert_eq!(why, "line 2 is not \"START STOP\" in Unix seconds");
    }

    #[test]
    fn status_at_the_corner_seconds() {
        let schedule = windows(&[(100, 200), (300, 400)]);
        let first = Window {
            start: at(100),
            stop: at(200),
        };
        let second = Window {
            start: at(300),
            stop: at(400),
        };
        for (now, expected) in [
            (0, WindowStatus::Before(first)),
            (99, WindowStatus::Before(first)),
            (100, WindowStatus::Inside { until: at(200) }),
            (199, WindowStatus::Inside { until: at(200) }),
            (200, WindowStatus::Before(second)),
            (250, WindowStatus::Before(second)),
            (300, WindowStatus::Inside { until: at(400) }),
            (399, WindowStatus::Inside { until: at(400) }),
            (400, WindowStatus::Absent(Absence::Past(at(400)))),
            (
                i64::from(u32::MAX),
                WindowStatus::Absent(Absence::Past(at(400))),
            ),
        ] {
            assert_eq!(schedule.status(at(now)), expected, "at {now}");
        }
    }

    #[test]
    fn windows_that_touch_or_overlap_are_one_stretch() {
        assert_eq!(
            windows(&[(100, 200), (200, 300)]).status(at(150)),
            WindowStatus::Inside { until: at(300) }
        );
        assert_eq!(
            windows(&[(100, 400), (200, 300)]).status(at(350)),
            WindowStatus::Inside { until: at(400) }
        );
        assert_eq!(
            windows(&[(100, 200), (150, 300)]).status(at(250)),
            WindowStatus::Inside { until: at(300) }
        );
    }

    #[test]
    fn a_window_in_another_age_is_none() {
        let milliseconds = windows(&[(1_795_140_000_000, 1_795_143_600_000)]);
        assert!(matches!(
            milliseconds.status(at(1_795_140_000)),
            WindowStatus::Absent(Absence::Unreadable(_))
        ));
        let endless = windows(&[(0, 1_795_143_600_000)]);
        assert!(matches!(
            endless.status(at(100)),
            WindowStatus::Inside { .. }
        ));
    }

    #[test]
    fn without_windows_the_status_says_why() {
        assert_eq!(
            Schedule::Missing.status(at(0)),
            WindowStatus::Absent(Absence::Missing)
        );
        assert_eq!(
            Schedule::Empty.status(at(0)),
            WindowStatus::Absent(Absence::Empty)
        );
        let unreadable = Schedule::Unreadable("why".into());
        assert_eq!(
            unreadable.status(at(0)),
            WindowStatus::Absent(Absence::Unreadable("why".into()))
        );
    }

    #[test]
    fn only_a_file_of_its_own_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("schedule");
        let other = dir.path().join("other");
        fs::write(&other, "100 200\n").unwrap();

        assert_eq!(Schedule::read(&path), Schedule::Missing);
        symlink(&other, &path).unwrap();
        assert!(
            matches!(Schedule::read(&path), Schedule::Unreadable(why) if why.contains("symbolic link"))
        );
        fs::remove_file(&path).unwrap();
        fs::hard_link(&other, &path).unwrap();
        assert!(
            matches!(Schedule::read(&path), Schedule::Unreadable(why) if why.contains("hard link"))
        );
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(
            matches!(Schedule::read(&path), Schedule::Unreadable(why) if why.contains("regular file"))
        );
        fs::remove_dir(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(
            matches!(Schedule::read(&path), Schedule::Unreadable(why) if why.contains("regular file"))
        );
        fs::remove_file(&path).unwrap();
        fs::write(&path, "1 2\n".repeat(20_000)).unwrap();
        assert!(
            matches!(Schedule::read(&path), Schedule::Unreadable(why) if why.contains("larger than 65536 bytes"))
        );
        fs::write(&path, [0xff, 0xfe, 0]).unwrap();
        assert!(
            matches!(Schedule::read(&path), Schedule::Unreadable(why) if why.contains("not text"))
        );
        fs::write(&path, "100 200\n").unwrap();
        assert_eq!(Schedule::read(&path), windows(&[(100, 200)]));
    }
}
