//! The table of hostile cases: every server, network, file, disk and clock that this program is known to meet and to survive.
//!
//! As root, after `tests/setup`:
//!
//!     cargo build --locked && cargo run --locked --example hostile -- [PART]
//!
//! plays all cases, or those whose name contains PART, and prints a line for each: what it is, how the program ended, how long it
//! took, how much memory it had at most, and what it said. Each case has a host of its own, which is not booted: real files, a real
//! network with real packet filters, real TLS servers. With `--release` before `--example` (and before, at the build) the program is
//! the one that users have. The exit status is 1 if a case did not end as it must.

#[path = "hostile/mod.rs"]
mod hostile;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let part = arguments.first().map(String::as_str).unwrap_or_default();
    if hostile::play(part) == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
