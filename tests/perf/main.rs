//! What a run and an upgrade cost, beside what people would use instead. Prints figures and asserts none.
//!
//! `tests/perf/all` sets the machine up and runs this with every subject.

#![allow(
    clippy::unwrap_used,
    reason = "what goes wrong here ends it, as it should"
)]

mod clock;
mod load;
mod nginx;
mod pass;
mod timer;
mod tools;
mod upgrade;

use std::process::ExitCode;

fn main() -> ExitCode {
    for subject in std::env::args().skip(1) {
        match subject.as_str() {
            "pass" => pass::measure(),
            "upgrade" => upgrade::measure(),
            "load" => load::measure(),
            "timer" => clock::measure(),
            other => {
                eprintln!("{other}: unknown; usage: perf pass|upgrade|load|timer...");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::SUCCESS
}
