//! The fuzzers' targets with every input that is kept in `tests/fuzz/corpus`, and with what becomes of it when bytes of it change: the
//! fuzzers in short, for a compiler of any kind. The changes are the same each time.

#![allow(
    clippy::unwrap_used,
    reason = "what goes wrong fails the test, as it should"
)]

#[path = "fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// How many changed inputs each target gets.
const CHANGED: usize = 3000;

#[test]
fn every_input_that_is_kept_and_what_becomes_of_it() {
    std::thread::scope(|scope| {
        for (name, _) in targets::TARGETS {
            scope.spawn(move || replay(name));
        }
    });
    targets::clean_up();
}

fn replay(name: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no corpus");
    let inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    for input in [&Vec::new()].into_iter().chain(&inputs) {
        run(name, input);
    }
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..CHANGED {
        let mut input = inputs[dice.below(inputs.len())].clone();
        for _ in 0..=dice.below(4) {
            change(&mut input, &inputs, &mut dice);
        }
        run(name, &input);
    }
}

/// Runs a target, and says which input it was that it did not stand.
fn run(name: &str, input: &[u8]) {
    if std::panic::catch_unwind(|| targets::run(name, input)).is_err() {
        panic!("{name} does not stand this input: {input:?}");
    }
}

fn change(input: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(input.len() + 1);
    match dice.below(5) {
        0 => input.insert(at, dice.below(256) as u8),
        1 => input.truncate(at),
        2 if at < input.len() => input[at] ^= 1 << dice.below(8),
        3 if at < input.len() => drop(input.remove(at)),
        _ => {
            let other = &others[dice.below(others.len())];
            input.truncate(at);
            input.extend_from_slice(&other[dice.below(other.len() + 1)..]);
        }
    }
}

/// Numbers that look like chance, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}
