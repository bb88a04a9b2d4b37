//! What is said on the way: one line format for a terminal, one for the journal, both on standard error.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use env_logger::Builder;
use env_logger::fmt::Formatter;
use log::{Level, LevelFilter, Record};

use crate::text::printable;

/// A line longer than this is cut. Whatever it quotes, from whichever part of this program or of a library it comes: it is one line,
/// and a terminal or the journal has nothing to obey in it.
const LONGEST: usize = 4000;

/// Sets up logging. `RUST_LOG`, where it is set, counts and not the options.
pub fn set_up(verbose: bool, quiet: bool) {
    let level = match (verbose, quiet) {
        (true, _) => LevelFilter::Debug,
        (_, true) => LevelFilter::Error,
        _ => LevelFilter::Info,
    };
    let mut builder = Builder::new();
    match env::var("RUST_LOG") {
        Ok(filters) => builder.parse_filters(&filters),
        // What the libraries have to say is for whoever asks for it.
        Err(_) => builder.filter_level(LevelFilter::Error).filter_module(env!("CARGO_CRATE_NAME"), level),
    };
    if is_journal(2) {
        builder.format(for_journal);
    } else {
        builder.format(for_terminal);
    }
    builder.init();
}

/// Says a line of the outcome, on standard output. Somebody who has stopped listening, or whose terminal is gone, is no reason to
/// stop working.
pub fn outcome(level: Level, line: &str) {
    let line = printable(line, LONGEST);
    let written =
        if is_journal(1) { writeln!(io::stdout(), "<{}>{line}", priority(level)) } else { writeln!(io::stdout(), "{line}") };
    if let Err(error) = written {
        log::debug!("cannot write to standard output: {error}");
    }
}

/// Whether this file descriptor is the journal's: systemd names the file that it gave us.
fn is_journal(descriptor: u8) -> bool {
    let file = fs::metadata(format!("/proc/self/fd/{descriptor}"));
    let (Ok(named), Ok(file)) = (env::var("JOURNAL_STREAM"), file) else { return false };
    named == format!("{}:{}", file.dev(), file.ino())
}

/// What syslog calls it.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// `<4>message`: the journal takes the number as the priority, and has the time and our name itself.
fn for_journal(out: &mut Formatter, record: &Record) -> io::Result<()> {
    writeln!(out, "<{}>{}", priority(record.level()), message(record))
}

/// `warning: message`, coloured where that is seen; ordinary messages bare.
fn for_terminal(out: &mut Formatter, record: &Record) -> io::Result<()> {
    let name = match record.level() {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info => "",
        Level::Debug | Level::Trace => "debug: ",
    };
    let style = out.default_level_style(record.level());
    let message = message(record);
    if name.is_empty() { writeln!(out, "{message}") } else { writeln!(out, "{style}{name}{style:#}{message}") }
}

fn message(record: &Record) -> String {
    printable(&record.args().to_string(), LONGEST)
}
