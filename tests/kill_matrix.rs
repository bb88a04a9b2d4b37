//! The kill matrix: upgrades that are killed, with their package manager and all, at instants spread over the whole of them.
//!
//! As root, after `tests/setup`:
//!
//!     cargo build --bins --examples && cargo run --example kill_matrix -- [apt|yum|dnf5|zypper] [N]
//!
//! Without a package manager it goes through all of them; N is the number of instants (40 for apt, 25 for the others). On top of
//! these come kills at single changes of files: of the updater's record, and by dpkg or rpm of the package's files and the
//! database. Every point has a fresh host; after the kill, passes run until nothing changes any more, with the maintenance window
//! open in half of the points and closed in the others. A line tells what the kill left and what the host came to. A host has
//! converged if, after two passes at most, it soundly runs the target or the version before, and a lock is as it was. The exit
//! status is 1 if one has not.

#[path = "host/mod.rs"]
mod host;

use host::Manager;
use host::kill::{self, Cut};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (names, count): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|word| word.parse::<usize>().is_err());
    let managers: Option<Vec<Manager>> = names.iter().map(|name| named(name)).collect();
    let Some(mut managers) = managers else {
        eprintln!("usage: kill_matrix [apt|yum|dnf5|zypper] [N]");
        return ExitCode::from(2);
    };
    if managers.is_empty() {
        managers = vec![Manager::Apt, Manager::Yum, Manager::Zypper];
    }
    let count: Option<usize> = count.first().and_then(|count| count.parse().ok());
    let lost: usize = managers.into_iter().map(|manager| matrix(manager, count)).sum();
    println!("did not converge: {lost}");
    if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn matrix(manager: Manager, count: Option<usize>) -> usize {
    let renames = |count| (1..=count).map(Cut::Rename);
    let (count_by_default, further): (usize, Vec<Cut>) = match manager {
        Manager::Apt => (40, renames(14).collect()),
        // dnf writes to databases of its own before and after rpm's.
        Manager::Yum | Manager::Dnf5 => (25, renames(5).chain((25..=200).step_by(25).map(Cut::Database)).collect()),
        Manager::Zypper => (25, renames(5).chain((15..=120).step_by(15).map(Cut::Database)).collect()),
    };
    kill::sweep(manager, count.unwrap_or(count_by_default), &further)
}

fn named(name: &str) -> Option<Manager> {
    match name {
        "apt" => Some(Manager::Apt),
        "yum" | "dnf" => Some(Manager::Yum),
        "dnf5" => Some(Manager::Dnf5),
        "zypper" => Some(Manager::Zypper),
        _ => None,
    }
}
