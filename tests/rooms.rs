//! The rooms of `src/`: who may use whom, as `src/README.md` has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What only code with an effect on, or a look at, the outside world needs.
const EFFECTS: [&str; 12] = [
    "fs::",
    "std::fs",
    "std::process",
    "std::net",
    "std::thread",
    "std::env",
    "env::var",
    "Instant::now",
    "Utc::now",
    "SystemTime::now",
    "nix::",
    "ureq",
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of every file without its comments and unit tests, by its path below `src`.
fn sources() -> BTreeMap<PathBuf, String> {
    let (mut found, mut paths) = (BTreeMap::new(), vec![src()]);
    while let Some(path) = paths.pop() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        } else if name.ends_with(".rs")
            && name != "tests.rs"
            && !path.iter().any(|one| one == "tests")
        {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let code = code.lines().map(|line| line.split("//").next().unwrap());
            let relative = path.strip_prefix(src()).unwrap().to_path_buf();
            found.insert(relative, code.collect::<Vec<_>>().join("\n"));
        }
    }
    found
}

/// The paths after every `crate::` in the code, with groups in braces taken apart.
fn uses(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || "_:{},* \n".contains(c)))
            .unwrap_or(rest.len());
        expand("", &rest[..end], false, &mut found);
    }
    found
}

/// Takes `a::{b, c::{d, e}}` apart. Returns how much of the text that was.
fn expand(prefix: &str, text: &str, in_group: bool, found: &mut Vec<String>) -> usize {
    let mut path = prefix.to_string();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        at += 1;
        match c {
            '{' => loop {
                at += expand(&path, &text[at..], true, found);
                if text[..at].ends_with('}') || at >= text.len() {
                    return at;
                }
            },
            ',' | '}' => break,
            c if c.is_whitespace() && !in_group => break,
            c if c.is_whitespace() => {}
            c => path.push(c),
        }
    }
    found.push(path);
    at
}

/// The file that a path such as `agent::service::Health` leads to.
fn file_of(path: &str, sources: &BTreeMap<PathBuf, String>) -> Option<PathBuf> {
    let mut parts: Vec<&str> = path.split("::").collect();
    while !parts.is_empty() {
        let base: PathBuf = parts.iter().collect();
        let candidates = [base.with_extension("rs"), base.join("mod.rs")];
        let found = candidates
            .into_iter()
            .find(|file| sources.contains_key(file));
        if found.is_some() {
            return found;
        }
        parts.pop();
    }
    None
}

/// The room that a file is in: a folder or file of `src`.
fn room(file: &Path) -> String {
    let first = file.iter().next().unwrap().to_string_lossy();
    first.trim_end_matches(".rs").to_string()
}

/// The rooms in the order of the tree in `src/README.md`.
fn order() -> Vec<String> {
    let readme = fs::read_to_string(src().join("README.md")).unwrap();
    let tree = readme.split_once("\n    src/\n").unwrap().1;
    let lines = tree.lines().take_while(|line| line.starts_with("    "));
    lines
        .filter_map(|line| line.strip_prefix("      ")?.split(' ').next())
        .filter(|name| name.ends_with('/') || name.ends_with(".rs"))
        .map(|name| {
            name.trim_end_matches('/')
                .trim_end_matches(".rs")
                .to_string()
        })
        .collect()
}

#[test]
fn every_room_uses_only_rooms_above_it() {
    let (order, sources) = (order(), sources());
    let rooms: BTreeSet<String> = sources.keys().map(|file| room(file)).collect();
    assert_eq!(
        rooms,
        order.iter().cloned().collect(),
        "the tree in src/README.md"
    );
    let rank = |name: &str| order.iter().position(|other| other == name).unwrap();
    let mut back = BTreeSet::new();
    for (file, code) in &sources {
        for path in uses(code) {
            let used =
                file_of(&path, &sources).unwrap_or_else(|| panic!("{}: {path}", file.display()));
            let (user, used) = (room(file), room(&used));
            if user != used && rank(&used) > rank(&user) {
                back.insert(format!("{}: {path}", file.display()));
            }
        }
    }
    assert!(back.is_empty(), "{back:#?}");
}

#[test]
fn a_decision_depends_on_plain_values_only() {
    let sources = sources();
    let mut reached: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut files: Vec<PathBuf> = sources
        .keys()
        .filter(|file| room(file) == "decide")
        .cloned()
        .collect();
    assert!(files.len() > 5, "{files:?}");
    let mut effects = BTreeSet::new();
    while let Some(file) = files.pop() {
        let code = &sources[&file];
        for effect in EFFECTS.iter().filter(|effect| code.contains(**effect)) {
            let by = reached.get(&file).unwrap_or(&file);
            effects.insert(format!(
                "{}: {effect} (used by {})",
                file.display(),
                by.display()
            ));
        }
        for used in uses(code).iter().filter_map(|path| file_of(path, &sources)) {
            if !reached.contains_key(&used) {
                reached.insert(used.clone(), file.clone());
                files.push(used);
            }
        }
    }
    assert!(effects.is_empty(), "{effects:#?}");
}
