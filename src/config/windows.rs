//! The setting `windows`: maintenance windows of this host, which replace those that the agent exports.

use std::ops::RangeInclusive;

use chrono::{
    DateTime, Datelike, Days, FixedOffset, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday,
};

use crate::agent::schedule::Window;
use crate::system::text::printable;

/// More than anybody's week takes, and little enough to go through at every run.
const MAX_WINDOWS: usize = 64;
const MAX_LINE: usize = 200;

/// How far ahead windows are looked for: three of a window that opens once a week.
const AHEAD: TimeDelta = TimeDelta::days(22);
/// How far back: a window lasts at most a day.
const BACK: TimeDelta = TimeDelta::days(2);
/// How many of the next windows are found.
const NEXT: usize = 7;

const DAY: u32 = 24 * 60;

/// The windows of this host, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows(Vec<Weekly>);

/// A window that opens on some days of every week.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Weekly {
    /// By their number, Monday first: the days on which it opens.
    days: [bool; 7],
    /// In minutes after midnight of such a day; `stop` may be on the day after.
    start: u32,
    stop: u32,
    /// Whether these are times in UTC, not in this host's time zone.
    utc: bool,
}

/// A stretch of time in which clocks are not changed.
struct Stretch {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Local time minus UTC.
    offset: TimeDelta,
}

impl Windows {
    /// Reads `DAYS START-STOP [UTC]`, one window a line; nothing if there is no such line. An error names the line.
    pub fn parse(text: &str) -> Result<Option<Windows>, String> {
        let mut windows = Vec::new();
        for (number, line) in text.lines().enumerate() {
            // Comments may be of any length.
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let window = Weekly::parse(line);
            windows.push(window.map_err(|problem| format!("line {}: {problem}", number + 1))?);
            if windows.len() > MAX_WINDOWS {
                return Err(format!("more than {MAX_WINDOWS} windows"));
            }
        }
        Ok((!windows.is_empty()).then_some(Windows(windows)))
    }

    /// The next windows, the one that is open now included, in the order of their start and without overlaps. `local` is the
    /// offset of this host's time zone at a moment.
    ///
    /// The clock on the wall counts: a window is open whenever that clock shows a time in it. Where the clock skips an hour, a
    /// window that would open in it opens after it; where an hour is repeated, so is a window within it.
    pub fn next(
        &self,
        now: DateTime<Utc>,
        local: impl Fn(DateTime<Utc>) -> FixedOffset,
    ) -> Vec<Window> {
        let today = midnight(now.date_naive());
        let (from, until) = (today - BACK, today + AHEAD);
        let here = stretches(from, until, |moment| {
            TimeDelta::seconds(local(moment).local_minus_utc().into())
        });
        let utc = stretches(from, until, |_| TimeDelta::zero());
        let mut all: Vec<Window> = (self.0.iter())
            .flat_map(|weekly| {
                let stretches = if weekly.utc { &utc } else { &here };
                stretches.iter().flat_map(|stretch| weekly.within(stretch))
            })
            .collect();
        all.sort_unstable();
        let mut next: Vec<Window> = Vec::new();
        for window in all {
            match next.last_mut() {
                Some(last) if window.start <= last.stop => last.stop = last.stop.max(window.stop),
                _ => next.push(window),
            }
        }
        next.retain(|window| window.stop > now);
        next.truncate(NEXT);
        next
    }

    /// Whether this host's time zone matters.
    pub fn is_local(&self) -> bool {
        self.0.iter().any(|weekly| !weekly.utc)
    }
}

/// The stretches of `[from, until)`, which are full seconds, found by looking at each day: clocks are not changed twice in one.
fn stretches(
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    offset: impl Fn(DateTime<Utc>) -> TimeDelta,
) -> Vec<Stretch> {
    let mut found = Vec::new();
    let mut begin = from;
    let mut at = from;
    while at < until {
        let next = (at + TimeDelta::days(1)).min(until);
        if offset(at) != offset(next) {
            let (mut before, mut after) = (at, next);
            while after - before > TimeDelta::seconds(1) {
                let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
                if offset(middle) == offset(at) {
                    before = middle;
                } else {
                    after = middle;
                }
            }
            found.push(Stretch {
                from: begin,
                until: after,
                offset: offset(at),
            });
            begin = after;
        }
        at = next;
    }
    found.push(Stretch {
        from: begin,
        until,
        offset: offset(until),
    });
    found
}

impl Weekly {
    fn parse(line: &str) -> Result<Weekly, String> {
        if line.len() > MAX_LINE {
            return Err(format!("longer than {MAX_LINE} bytes"));
        }
        // `Mon, Wed 02:00 - 04:00` is as clear as without the spaces.
        let mut joined = line.split_whitespace().collect::<Vec<_>>().join(" ");
        for mark in [",", "-"] {
            joined = joined
                .replace(&format!("{mark} "), mark)
                .replace(&format!(" {mark}"), mark);
        }
        let words: Vec<&str> = joined.split(' ').collect();
        let (days, times, utc) = match words[..] {
            [days, times] => (days, times, false),
            [days, times, zone] if zone.eq_ignore_ascii_case("utc") => (days, times, true),
            [_, times, zone] if times.contains(':') => {
                return Err(format!(
                    "unsupported time zone \"{}\" (only UTC, or none for this host's time zone)",
                    printable(zone, 40)
                ));
            }
            _ => {
                return Err(format!(
                    "expected DAYS START-STOP, found \"{}\"",
                    printable(line, 60)
                ));
            }
        };
        let days = parse_days(days)?;
        let (start, stop) = times
            .split_once('-')
            .ok_or_else(|| format!("expected START-STOP, found \"{}\"", printable(times, 40)))?;
        let (start, stop) = (parse_time(start)?, parse_time(stop)?);
        if start == DAY {
            return Err("a window cannot start at 24:00 (use 00:00 of the next day)".into());
        }
        if start == stop {
            return Err(
                "a window cannot start and stop at the same time (a whole day is 00:00-24:00)"
                    .into(),
            );
        }
        Ok(Weekly {
            days,
            start,
            stop: if stop < start { stop + DAY } else { stop },
            utc,
        })
    }

    /// The times in `stretch` at which a clock with its offset shows a time in this window.
    fn within<'a>(&'a self, stretch: &'a Stretch) -> impl Iterator<Item = Window> + 'a {
        let local = |moment: DateTime<Utc>| (moment + stretch.offset).date_naive();
        let first = local(stretch.from) - Days::new(1);
        let last = local(stretch.until);
        let at = |day: NaiveDate, minutes: u32| {
            midnight(day) + TimeDelta::minutes(minutes.into()) - stretch.offset
        };
        first
            .iter_days()
            .take_while(move |day| *day <= last)
            .filter(|day| self.days[day_number(day.weekday())])
            .map(move |day| Window {
                start: at(day, self.start).max(stretch.from),
                stop: at(day, self.stop).min(stretch.until),
            })
            .filter(|window| window.start < window.stop)
    }
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn day_number(day: Weekday) -> usize {
    day.num_days_from_monday() as usize
}

/// Reads `Mon,Wed,Fri`, `Mon-Fri` (`Mon..Fri` as in systemd.time), `daily` and `*`; English names, short or in full.
fn parse_days(text: &str) -> Result<[bool; 7], String> {
    if text == "*" || text.eq_ignore_ascii_case("daily") {
        return Ok([true; 7]);
    }
    let day = |name: &str| {
        name.parse::<Weekday>().map_err(|_| {
            format!(
                "invalid day \"{}\" (Mon, Tue, Wed, Thu, Fri, Sat, Sun or daily)",
                printable(name, 40)
            )
        })
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let range = part.split_once("..").or_else(|| part.split_once('-'));
        let (first, last) = range.unwrap_or((part, part));
        let (mut next, last) = (day(first)?, day(last)?);
        days[day_number(next)] = true;
        while next != last {
            next = next.succ();
            days[day_number(next)] = true;
        }
    }
    Ok(days)
}

/// Reads `02:00` as minutes after midnight, up to `24:00`.
fn parse_time(text: &str) -> Result<u32, String> {
    let number = |digits: &str, lengths: RangeInclusive<usize>| {
        (lengths.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse::<u32>().ok())?
    };
    let minutes = text.split_once(':').and_then(|(hours, minutes)| {
        let (hours, minutes) = (number(hours, 1..=2)?, number(minutes, 2..=2)?);
        (minutes < 60 && hours * 60 + minutes <= DAY).then_some(hours * 60 + minutes)
    });
    minutes.ok_or_else(|| format!("invalid time \"{}\" (00:00 to 24:00)", printable(text, 40)))
}

#[cfg(test)]
mod tests;
