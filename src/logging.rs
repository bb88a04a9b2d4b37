//! What is said on the way: one line format for a terminal, one for the journal, both on standard error.

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use env_logger::Builder;
use env_logger::fmt::Formatter;
use log::{Level, LevelFilter, Record};

/// Sets up logging. `RUST_LOG` says more than the options do.
pub fn set_up(verbose: bool, quiet: bool) {
    let level = match (verbose, quiet) {
        (true, _) => LevelFilter::Debug,
        (_, true) => LevelFilter::Error,
        _ => LevelFilter::Info,
    };
    let mut builder = Builder::new();
    // What the libraries have to say is for whoever asks for it in RUST_LOG.
    builder.filter_level(LevelFilter::Error).filter_module(env!("CARGO_CRATE_NAME"), level).parse_default_env();
    if is_journal() {
        builder.format(for_journal);
    } else {
        builder.format(for_terminal);
    }
    builder.init();
}

/// Reports why the program ends without having done what it was told.
pub fn failure(error: &dyn Display) {
    log::error!("{error:#}");
}

/// Whether standard error is the journal's: systemd names the file that it gave us.
fn is_journal() -> bool {
    let (Ok(named), Ok(stderr)) = (env::var("JOURNAL_STREAM"), std::fs::metadata("/proc/self/fd/2")) else { return false };
    named == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// `<4>message`: the journal takes the number as the priority, and has the time and our name itself.
fn for_journal(out: &mut Formatter, record: &Record) -> io::Result<()> {
    let priority = match record.level() {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    writeln!(out, "<{priority}>{}", record.args())
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
    if name.is_empty() { writeln!(out, "{}", record.args()) } else { writeln!(out, "{style}{name}{style:#}{}", record.args()) }
}
