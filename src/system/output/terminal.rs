//! For terminals only: colors, and a line that shows the current step and how long it has taken.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::debug;

use crate::system::process::command::{self, absolute};
use crate::system::text::{printable, reasons};

/// How often the line is updated: it counts seconds.
const TICK: Duration = Duration::from_millis(250);
/// A shorter step is not shown.
const SHORT: Duration = Duration::from_millis(600);
/// Goes to the start of the line and erases it.
const ERASE: &[u8] = b"\r\x1b[K";

/// How long a message to all terminals may take.
const BROADCAST: Duration = Duration::from_secs(5);
/// The columns that every terminal has.
const WIDTH: usize = 80;

/// A color or another style.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Healthy.
    Green,
    /// Needs attention.
    Yellow,
    /// Failed.
    Red,
    /// A heading.
    Bold,
    /// Less important.
    Dim,
}

impl Colour {
    fn code(self) -> u8 {
        match self {
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Red => 31,
            Colour::Bold => 1,
            Colour::Dim => 2,
        }
    }
}

/// Whether a stream shows colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colours(bool);

impl Colours {
    /// Those of a stream: if it is a terminal that supports them, and they are not disabled (<https://no-color.org>).
    pub fn of(stream: &impl IsTerminal) -> Colours {
        let is_disabled = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Colours(!is_disabled && is_able(stream))
    }

    /// None.
    pub fn none() -> Colours {
        Colours(false)
    }

    /// `text` in `color`, where that is supported.
    pub fn paint(self, color: Colour, text: impl Display) -> String {
        if self.0 {
            format!("\x1b[{}m{text}\x1b[0m", color.code())
        } else {
            text.to_string()
        }
    }
}

/// Whether a stream is a terminal on which the cursor can be moved.
fn is_able(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The columns of a stream: those of its terminal, and at least 80, which is what it has if it is none.
pub fn width(stream: &(impl IsTerminal + AsFd)) -> usize {
    let by_terminal = || {
        let terminal = stream.as_fd().try_clone_to_owned().ok()?;
        let output = Command::new(absolute("stty"))
            .arg("size")
            .stdin(terminal)
            .output()
            .ok()?;
        let size = String::from_utf8(output.stdout).ok()?;
        size.split_whitespace().nth(1)?.parse().ok()
    };
    let known = stream.is_terminal().then(by_terminal).flatten();
    known.map_or(WIDTH, |known: usize| known.max(WIDTH))
}

/// Shows a message on all terminals with a login session, if `wall` is installed.
pub fn broadcast(message: &str) {
    let wall = command::Command::new("wall", [message]);
    match wall.limit(BROADCAST).run() {
        Ok(output) if output.success() => {}
        Ok(output) => debug!("{}", output.summary()),
        Err(error) => debug!("{}", reasons(&error)),
    }
}

/// A step that takes time. While it lives, a terminal shows what it is and how long it has taken.
#[derive(Debug)]
#[must_use = "it is shown until it is dropped"]
pub struct Step {
    shown: bool,
}

/// The line at the end of the terminal. The program has one terminal, and everything that writes to it must erase the line first.
static LINE: Mutex<Line> = Mutex::new(Line {
    enabled: false,
    steps: Vec::new(),
    drawn: false,
    ticking: false,
});

struct Line {
    enabled: bool,
    /// Those in progress; the last one is part of those before it.
    steps: Vec<Shown>,
    drawn: bool,
    /// Whether there is a thread that updates it.
    ticking: bool,
}

struct Shown {
    what: String,
    began: Instant,
    /// How long it takes in all, if that is known.
    length: Option<Duration>,
}

fn line() -> MutexGuard<'static, Line> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows steps from now on, if standard error is a terminal.
pub fn show_steps() {
    line().enabled = is_able(&io::stderr());
}

impl Step {
    /// Begins a step: `Step::new("downloading teleport-ent 14.3.34")`.
    pub fn new(what: impl Display) -> Step {
        Step::begin(what, None)
    }

    /// Begins a step of this length.
    pub fn of(length: Duration, what: impl Display) -> Step {
        Step::begin(what, Some(length))
    }

    fn begin(what: impl Display, length: Option<Duration>) -> Step {
        let mut line = line();
        if !line.enabled {
            return Step { shown: false };
        }
        line.steps.push(Shown {
            what: printable(&what.to_string(), 60),
            began: Instant::now(),
            length,
        });
        if !std::mem::replace(&mut line.ticking, true) {
            thread::spawn(tick);
        }
        Step { shown: true }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.shown {
            let mut line = line();
            line.steps.pop();
            line.erase();
        }
    }
}

/// Updates the line while there are steps.
fn tick() {
    loop {
        thread::sleep(TICK);
        let mut line = line();
        let Some(Shown {
            what,
            began,
            length,
        }) = line.steps.last()
        else {
            line.ticking = false;
            return;
        };
        let elapsed = began.elapsed();
        if elapsed < SHORT {
            continue;
        }
        let of = length
            .map(|length| format!(" of {}", stopwatch(length)))
            .unwrap_or_default();
        // Not wrapped if the terminal is narrow: only one line can be erased again.
        let text = format!(
            "\r\x1b[K\x1b[?7l{what} … {}{of}\x1b[?7h",
            stopwatch(elapsed)
        );
        // A closed terminal does not end the run.
        let _ = io::stderr().write_all(text.as_bytes());
        line.drawn = true;
    }
}

fn stopwatch(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    if seconds < 60 {
        format!("{seconds} s")
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

impl Line {
    fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = io::stderr().write_all(ERASE);
        }
    }
}

/// Writes a line to standard output or standard error, without the steps.
pub fn write(stream: &mut dyn Write, text: &[u8]) -> io::Result<()> {
    let mut line = line();
    line.erase();
    stream.write_all(text)?;
    stream.flush()
}

/// Standard error for the log.
#[derive(Debug)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        write(&mut io::stderr(), text).map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_colors_where_they_are_not_supported() {
        assert_eq!(Colours::none().paint(Colour::Red, "failed"), "failed");
        assert_eq!(
            Colours(true).paint(Colour::Red, "failed"),
            "\x1b[31mfailed\x1b[0m"
        );
    }

    #[test]
    fn minutes_count_only_once_there_are_any() {
        assert_eq!(stopwatch(Duration::from_secs(59)), "59 s");
        assert_eq!(stopwatch(Duration::from_secs(605)), "10 min 05 s");
    }
}
