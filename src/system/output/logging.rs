//! Logging: one line format for a terminal, one for the journal, both on standard error; and the result on standard output.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use env_logger::fmt::Formatter;
use env_logger::{Builder, Target};
use log::{Level, LevelFilter, Record, debug, error, log};

use crate::system::output::journal::Event;
use crate::system::output::terminal::{Colour, Colours, Stderr};
use crate::system::output::{journal, terminal};
use crate::system::text::{io_problem, printable};

/// A longer line is truncated. Whatever it quotes, it is one line without control characters.
const LONGEST: usize = 4000;

/// Sets up logging. `RUST_LOG` overrides the options.
pub fn set_up(verbose: bool, quiet: bool) {
    let level = match (verbose, quiet) {
        (true, _) => LevelFilter::Debug,
        (_, true) => LevelFilter::Error,
        _ => LevelFilter::Info,
    };
    let mut builder = Builder::new();
    match env::var("RUST_LOG") {
        Ok(filters) => builder.parse_filters(&filters),
        // Messages of libraries are shown with RUST_LOG only.
        Err(_) => builder
            .filter_level(LevelFilter::Error)
            .filter_module(env!("CARGO_CRATE_NAME"), level),
    };
    if is_journal(2) {
        builder.format(for_journal);
    } else {
        let colours = Colours::of(&io::stderr());
        builder.format(move |out, record| for_terminal(out, record, colours));
        if level == LevelFilter::Info {
            terminal::show_steps();
        }
    }
    builder.target(Target::Pipe(Box::new(Stderr)));
    builder.init();
}

/// Prints a line of the result on standard output. A run goes on if that fails.
pub fn outcome(level: Level, line: &str) -> io::Result<()> {
    let line = printable(line, LONGEST);
    let text = if is_journal(1) {
        format!("<{}>{line}\n", priority(level))
    } else {
        let colours = Colours::of(&io::stdout());
        let line = match level {
            Level::Error => colours.paint(Colour::Red, &line),
            Level::Warn => colours.paint(Colour::Yellow, &line),
            _ => line,
        };
        format!("{line}\n")
    };
    terminal::write(&mut io::stdout(), text.as_bytes())
        .inspect_err(|error| debug!("cannot write to standard output: {}", io_problem(error)))
}

/// Prints a line of the result that has an event. In the journal it can be found by its MESSAGE_ID, wherever it was printed.
pub fn event(event: Event, level: Level, line: &str, fields: &[(&str, String)]) {
    let is_sent = journal::send(line, priority(level), event, fields).is_ok();
    if !is_sent || !is_journal(1) {
        let _ = outcome(level, line);
    }
}

/// Logs why the program ends without a result: as an error on a terminal, with `level` in the journal, where an event is sent in any case.
pub fn failure(event: Option<Event>, level: Level, line: &str) {
    let is_sent =
        event.is_some_and(|event| journal::send(line, priority(level), event, &[]).is_ok());
    if !is_journal(2) {
        error!("{line}");
    } else if !is_sent {
        log!(level, "{line}");
    }
}

/// Whether this file descriptor is the journal's: systemd names the file that it gave us.
fn is_journal(descriptor: u8) -> bool {
    let file = fs::metadata(format!("/proc/self/fd/{descriptor}"));
    let (Ok(named), Ok(file)) = (env::var("JOURNAL_STREAM"), file) else {
        return false;
    };
    named == format!("{}:{}", file.dev(), file.ino())
}

/// syslog's number.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// `<4>message`: the journal takes the number as the priority, and adds time and name.
fn for_journal(out: &mut Formatter, record: &Record) -> io::Result<()> {
    writeln!(out, "<{}>{}", priority(record.level()), message(record))
}

/// `warning: message`, in color where supported; ordinary messages without a prefix.
fn for_terminal(out: &mut Formatter, record: &Record, colours: Colours) -> io::Result<()> {
    let (name, colour) = match record.level() {
        Level::Error => ("error: ", Colour::Red),
        Level::Warn => ("warning: ", Colour::Yellow),
        Level::Info => return writeln!(out, "{}", message(record)),
        Level::Debug | Level::Trace => ("debug: ", Colour::Dim),
    };
    writeln!(out, "{}{}", colours.paint(colour, name), message(record))
}

fn message(record: &Record) -> String {
    printable(&record.args().to_string(), LONGEST)
}
