//! The kill matrix: upgrades that are killed, with their package manager and all, at instants spread over the whole of them.
//!
//! As root, after `tests/setup`:
//!
//!     cargo build && cargo run --example kill_matrix -- [apt|yum|dnf5|zypper] [files|to-links|links] [N]
//!
//! Without a package manager it goes through apt, yum and zypper, and without a layout of packages through all of them; N is the number
//! of instants (40 for apt, 25 for the others). On top of these come kills at single changes of files: of the updater's record, and
//! by dpkg or rpm of the package's files and the database. Every point has a fresh host; after the kill, the program runs until nothing
//! changes any more, with the maintenance window
//! open in half of the points and closed in the others. A line tells what the kill left and what the host came to. A host has
//! converged if, after two runs at most, a healthy agent runs the target or the previous version, and a hold is as it was. The exit
//! status is 1 if one has not.

use host::Manager;
use host::kill::{self, Cut, Layout};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (names, count): (Vec<&String>, Vec<&String>) = arguments
        .iter()
        .partition(|word| word.parse::<usize>().is_err());
    let mut managers: Vec<Manager> = names.iter().filter_map(|name| named(name)).collect();
    let mut layouts: Vec<Layout> = names.iter().filter_map(|name| layout(name)).collect();
    if managers.len() + layouts.len() != names.len() {
        eprintln!("usage: kill_matrix [apt|yum|dnf5|zypper] [files|to-links|links] [N]");
        return ExitCode::from(2);
    }
    if managers.is_empty() {
        managers = vec![Manager::Apt, Manager::Yum, Manager::Zypper];
    }
    if layouts.is_empty() {
        layouts = Layout::ALL.to_vec();
    }
    let count: Option<usize> = count.first().and_then(|count| count.parse().ok());
    let pairs = managers
        .iter()
        .flat_map(|manager| layouts.iter().map(|layout| (*manager, *layout)));
    let lost: usize = pairs
        .map(|(manager, layout)| matrix(manager, layout, count))
        .sum();
    println!("did not converge: {lost}");
    if lost == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn matrix(manager: Manager, layout: Layout, count: Option<usize>) -> usize {
    let renames = |count| (1..=count).map(Cut::Rename);
    let (count_by_default, further): (usize, Vec<Cut>) = match manager {
        Manager::Apt => (40, renames(14).collect()),
        // dnf writes to databases of its own before and after rpm's.
        Manager::Yum | Manager::Dnf5 => (
            25,
            renames(5)
                .chain((25..=200).step_by(25).map(Cut::Database))
                .collect(),
        ),
        Manager::Zypper => (
            25,
            renames(5)
                .chain((15..=120).step_by(15).map(Cut::Database))
                .collect(),
        ),
    };
    kill::sweep(manager, layout, count.unwrap_or(count_by_default), &further)
}

fn layout(name: &str) -> Option<Layout> {
    match name {
        "files" => Some(Layout::Files),
        "to-links" => Some(Layout::ToLinks),
        "links" => Some(Layout::Links),
        _ => None,
    }
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
