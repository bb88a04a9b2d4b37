//! What this program is built from: crates of crates.io alone, under licences that are known, each of them once. Prints the list.
#![allow(clippy::unwrap_used, reason = "what goes wrong fails the test, as it should")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// As in `.deny.toml`, which cargo-deny reads.
const LICENCES: [&str; 6] = ["Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0"];
const BANNED: [&str; 6] = ["aws-lc-rs", "native-tls", "openssl", "openssl-sys", "tokio", "webpki-roots"];

#[test]
fn the_program_is_built_from_what_is_known() {
    let crates = crates();
    assert!(crates.len() > 20, "{}", crates.len());
    let mut names = BTreeSet::new();
    for (id, (name, licence, source)) in &crates {
        println!("{name:<32} {licence}");
        assert_eq!(source, REGISTRY, "{id} is from elsewhere");
        assert!(is_allowed(licence), "{id} has the licence {licence}");
        assert!(!BANNED.contains(&name.as_str()), "{id} is not wanted");
        assert!(names.insert(name), "{name} is there in two versions");
    }
    let deny = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.deny.toml")).unwrap();
    for word in LICENCES.iter().chain(&BANNED) {
        assert!(deny.contains(&format!("\"{word}\"")), "{word} is not in .deny.toml");
    }
}

#[test]
fn licences_are_read_as_they_are_written() {
    for good in ["MIT", "MIT/Apache-2.0", "Unlicense OR MIT", "(MIT OR GPL-3.0) AND Unicode-3.0", "Apache-2.0 AND ISC"] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "GPL-3.0 OR AGPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND OpenSSL", "MIT WITH x"] {
        assert!(!is_allowed(bad), "{bad}");
    }
}

/// The crates that the program itself is built from, as cargo has them: name, licence and source by their ids.
fn crates() -> BTreeMap<String, (String, String, String)> {
    let cargo = std::env::var("CARGO").unwrap_or("cargo".into());
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments = ["metadata", "--locked", "--format-version", "1", "--filter-platform", &target];
    let output = Command::new(cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let packages: BTreeMap<String, &Value> =
        metadata["packages"].as_array().unwrap().iter().map(|package| (text(&package["id"]), package)).collect();
    let nodes: BTreeMap<String, &Value> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| (text(&node["id"]), node)).collect();
    let root = text(&metadata["resolve"]["root"]);
    let (mut found, mut waiting) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(id) = waiting.pop() {
        for dependency in nodes[&id]["deps"].as_array().unwrap() {
            // What only tests need is in no program.
            let is_in_it = dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev");
            let id = text(&dependency["pkg"]);
            let package = packages[&id];
            let entry = (text(&package["name"]), text(&package["license"]), text(&package["source"]));
            if is_in_it && found.insert(id.clone(), entry).is_none() {
                waiting.push(id);
            }
        }
    }
    found
}

/// Whether an expression of SPDX's can be kept with licences that are allowed: of `OR` one is enough, of `AND` all are needed.
fn is_allowed(expression: &str) -> bool {
    let mut depth = 0;
    let mut splits = BTreeMap::new();
    let words: Vec<&str> = expression.split(' ').collect();
    for (index, word) in words.iter().enumerate() {
        depth += word.matches('(').count();
        depth -= word.matches(')').count();
        if depth == 0 && ["AND", "OR"].contains(word) {
            splits.entry(*word).or_insert(index);
        }
    }
    let halves = |at: usize| [&words[..at], &words[at + 1..]].map(|half| is_allowed(&half.join(" ")));
    match (splits.get("OR"), splits.get("AND")) {
        (Some(at), _) => halves(*at).contains(&true),
        (_, Some(at)) => !halves(*at).contains(&false),
        _ => match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            Some(inner) => is_allowed(inner),
            // As it was written before there was an `OR`.
            None => expression.split('/').any(|licence| LICENCES.contains(&licence)),
        },
    }
}
