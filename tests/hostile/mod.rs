//! The hostile table: one case a row, all of them played, each with the end, the time and the memory that it must have.
//!
//! `tests/hostile_table.rs` prints it.
#![allow(
    clippy::unwrap_used,
    reason = "what goes wrong fails the test, as it should"
)]

mod clock;
mod cluster;
mod disk;
mod files;
mod network;
mod proxy;
mod tls;

use host::{Played, Stage};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// What asking the version server may take in all, as src/README.md has it ("Servers"), on a machine that has a hundred other cases to play.
const TIME: Duration = Duration::from_secs(40 + 20);
/// What this program may have of memory.
const MEMORY: u64 = 16 * 1024;
/// How many cases are played at the same time: most of them wait.
const PLAYERS: usize = 24;

/// A row: what is hostile, and how the program must end. `says` has all the parts that must be in what it says, with `|` between them.
pub struct Case {
    name: &'static str,
    status: i32,
    says: &'static str,
    set: fn(&mut Stage),
}

/// All cases.
fn cases() -> Vec<Case> {
    [
        network::cases(),
        tls::cases(),
        proxy::cases(),
        cluster::cases(),
        files::cases(),
        clock::cases(),
        disk::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Plays the cases whose name contains `part`, prints the table, and returns how many did not end as they must.
pub fn play(part: &str) -> usize {
    let wanted: VecDeque<(usize, Case)> = cases()
        .into_iter()
        .filter(|case| case.name.contains(part))
        .enumerate()
        .collect();
    let count = wanted.len();
    let (waiting, rows) = (Mutex::new(wanted), Mutex::new(Vec::new()));
    // The layer that all stages share is made once, before they ask for it all at the same time.
    drop(Stage::new());
    std::thread::scope(|scope| {
        for _ in 0..PLAYERS.min(count) {
            scope.spawn(|| {
                while let Some((index, case)) = { waiting.lock().unwrap().pop_front() } {
                    let row = std::panic::catch_unwind(|| row(&case));
                    let row = row.unwrap_or_else(|_| {
                        (
                            format!("{:<64} could not be played, see above", case.name),
                            1,
                        )
                    });
                    eprintln!("{}", row.0);
                    rows.lock().unwrap().push((index, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort();
    println!("{:<64} {:>4} {:>6} {:>6}  seen", "case", "exit", "s", "MiB");
    rows.iter().for_each(|(_, (line, _))| println!("{line}"));
    let wrong = rows.iter().map(|(_, (_, wrong))| wrong).sum();
    println!("cases: {count}, not as they must be: {wrong}");
    wrong
}

/// Plays one case. A line of the table, and 1 if it is wrong.
fn row(case: &Case) -> (String, usize) {
    let mut stage = Stage::new();
    (case.set)(&mut stage);
    let before = stage.installed();
    let played = stage.play();
    let seconds = played.elapsed.as_secs_f32();
    // A package manager may take more memory than this program.
    let memory = if stage.command == "dry-run" {
        played.memory
    } else {
        0
    };
    let mut line = format!(
        "{:<64} {:>4} {seconds:>6.1} {:>6.1}  {}",
        case.name,
        played.status,
        played.memory as f32 / 1024.0,
        told(&played)
    );
    let said = format!("{}{}", played.stdout, played.stderr);
    let mut complain = |what: String| line = format!("{line}\n    WRONG: {what}");
    let mut wrong = 0;
    let mut check = |holds: bool, what: String| {
        if !holds {
            complain(what);
            wrong = 1;
        }
    };
    check(
        played.status == case.status,
        format!("must end with {}: {said:?}", case.status),
    );
    for part in case.says.split('|') {
        check(said.contains(part), format!("must say {part:?}: {said:?}"));
    }
    check(played.elapsed < TIME, format!("must end within {TIME:?}"));
    check(memory <= MEMORY, format!("must do with {MEMORY} KiB"));
    check(
        said.chars().all(is_harmless),
        format!("must be fit for a terminal: {said:?}"),
    );
    check(
        said.lines().all(|line| line.len() < 5000),
        "must not be longer than anybody reads".into(),
    );
    check(
        !said.contains("SECRET"),
        format!("must not give a secret away: {said:?}"),
    );
    let may_change = stage.command == "run" && played.status == 0;
    check(
        may_change || before == stage.installed(),
        "must leave the agent's package as it is".into(),
    );
    (line, wrong)
}

fn is_harmless(c: char) -> bool {
    c == '\n'
        || !(c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

/// What tells most of what was said: the error, else the last thing.
fn told(played: &Played) -> String {
    let lines: Vec<&str> = played.stdout.lines().chain(played.stderr.lines()).collect();
    let tells = |start: &&str| lines.iter().find(|line| line.starts_with(*start)).copied();
    let starts = [
        "error: ",
        "not allowed",
        "upgraded",
        "skipping",
        "upgrade ",
        "downgrade ",
        "reinstall",
        "restart",
        "would ",
        "an upgrade",
    ];
    starts
        .iter()
        .find_map(tells)
        .unwrap_or_default()
        .chars()
        .take(240)
        .collect()
}

#[test]
fn every_hostile_case_ends_as_it_must() {
    let count = cases().len();
    assert!(count >= 80, "{count} cases");
    assert_eq!(play(""), 0, "see the table above");
}
