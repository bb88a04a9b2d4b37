//! `measure REPORT PROGRAM...` runs the program, and writes to the report how many milliseconds it took, and how many KiB of memory
//! it, or one of the programs that it ran, had at most. A program of its own, and a small one: a new process counts as its memory
//! what its parent had.
#![allow(
    clippy::unwrap_used,
    reason = "what goes wrong here fails the test, as it should"
)]

use nix::sys::resource::{UsageWho, getrusage};
use std::process::{Command, exit};
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [report, program, arguments @ ..] = &arguments[..] else {
        panic!("usage: measure REPORT PROGRAM...");
    };
    let started = Instant::now();
    let status = Command::new(program).args(arguments).status().unwrap();
    let elapsed = started.elapsed().as_millis();
    let memory = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    std::fs::write(report, format!("{elapsed} {memory}\n")).unwrap();
    exit(status.code().unwrap_or(-1));
}
