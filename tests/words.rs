//! Words that must not come back: for each, people in this field use another one.

use std::fs;
use std::path::{Path, PathBuf};

/// What the words are looked for in.
const PLACES: &[&str] = &[
    "src",
    "tests",
    "packaging",
    "systemd",
    ".github",
    "README.md",
    "Cargo.toml",
];

/// Phrases of words, and what to use instead; `|` separates alternatives.
const FORBIDDEN: &[(&str, &str)] = &[
    (
        "a|the|one|each|every|next|last|this|that|earlier|another|no|some|two|second|previous|idle|interrupted|single|whole pass|passes",
        "run, check",
    ),
    ("passes of|that|which|make|run|have", "runs"),
    ("pass|passes by itself", "transient"),
    ("make|makes|made|making passes", "run"),
    ("is|are|was|were|be refused", "not allowed, fails"),
    ("whoever", "a noun"),
    ("unfit", "failed verification"),
    ("way back", "rollback, rollback package"),
    ("go|goes|going|went|gone back", "roll back, downgrade"),
    ("take|takes|taken|took|taking back", "roll back, release"),
    ("put|puts|putting back", "restore"),
    ("version|versions before", "previous version"),
    ("mend|mends|mended|mending", "repair"),
    ("anew", "again, re-"),
    ("by hand", "manually"),
    ("cut|cuts|cutting off", "interrupt, truncate"),
    ("cut short", "truncated"),
    ("in pieces", "broken, partially installed"),
    ("at work", "in progress"),
    ("is|are|was|were|been|be|being told", "shows, reports"),
    ("told|tells|tell|telling of", "report"),
    ("name service", "DNS"),
    ("have|has|having the channel", "publish"),
    ("a person", "manually, an administrator"),
    ("somebody", "someone"),
    ("wanted version", "target version"),
    ("say|says|said yes|no", "is set to, is enabled"),
    ("who logs|log in", "users at login"),
    ("damaged", "broken"),
    ("is|are|was|were|runs|run well", "healthy"),
    ("sound|sounds|soundly|unsound", "healthy, intact"),
    ("on the way", "intermediate version, meanwhile"),
    ("no way", "missing version"),
    (
        "download|downloads|downloaded|downloading ahead",
        "pre-download",
    ),
    ("ordinary update|updates|system", "regular updates"),
    ("believe|believes|believed", "verify, trust"),
    (
        "bring|brings|brought|bringing up|back",
        "start, restart, restore",
    ),
    ("looked|looks after", "manage, verify"),
    ("held back", "skipped, blocked"),
    ("knows|know nothing of", "does not use"),
    ("time limit|limits", "timeout"),
    ("people who log", "users at login"),
    ("host that is not for", "unsupported host"),
    ("signed by nobody", "signed by an unknown CA"),
    ("as it should be", "what is expected"),
    ("the next pass tries", "retried at the next check"),
];

/// What may stand between two words of a phrase: in comments, identifiers and file names.
const BETWEEN: &str = " \t\n_-/#*!\"'`";

/// The words of a text in lower case, with their lines; `SomeName` has two. The last value says whether the word follows the one before
/// it with nothing but `BETWEEN` in between.
fn words(text: &str) -> Vec<(String, usize, bool)> {
    let mut words: Vec<(String, usize, bool)> = Vec::new();
    let (mut line, mut is_next, mut last) = (1, false, ' ');
    for c in text.chars() {
        if c.is_alphanumeric() {
            let is_hump = c.is_uppercase() && (last.is_lowercase() || last.is_ascii_digit());
            if !last.is_alphanumeric() || is_hump {
                words.push((String::new(), line, is_next || is_hump));
            }
            if let Some((word, ..)) = words.last_mut() {
                word.extend(c.to_lowercase());
            }
            is_next = true;
        } else {
            is_next &= BETWEEN.contains(c);
            line += usize::from(c == '\n');
        }
        last = c;
    }
    words
}

/// The lines that contain a phrase.
fn lines_with(words: &[(String, usize, bool)], phrase: &str) -> Vec<usize> {
    let phrase: Vec<Vec<&str>> = phrase
        .split(' ')
        .map(|word| word.split('|').collect())
        .collect();
    let is_phrase = |part: &&[(String, usize, bool)]| {
        part[1..].iter().all(|(.., is_next)| *is_next)
            && part
                .iter()
                .zip(&phrase)
                .all(|((word, ..), allowed)| allowed.contains(&word.as_str()))
    };
    let found = words.windows(phrase.len()).filter(is_phrase);
    found.map(|part| part[0].1).collect()
}

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    // Neither what fuzzers have found nor what others have written.
    let is_ours = !["corpus", "target", "Cargo.lock"]
        .iter()
        .any(|name| path.ends_with(name));
    if path.is_dir() && is_ours {
        for entry in fs::read_dir(path).unwrap() {
            files(&entry.unwrap().path(), found);
        }
    } else if path.is_file() && is_ours && !path.ends_with(file!()) {
        found.push(path.to_path_buf());
    }
}

#[test]
fn words_that_must_not_come_back_do_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    PLACES
        .iter()
        .for_each(|place| files(&root.join(place), &mut paths));
    assert!(paths.len() > 200, "{}", paths.len());
    let mut hits = Vec::new();
    for path in paths {
        let text = String::from_utf8(fs::read(&path).unwrap()).unwrap_or_default();
        let words = words(&text);
        for (phrase, instead) in FORBIDDEN {
            for line in lines_with(&words, phrase) {
                let path = path.strip_prefix(root).unwrap().display();
                hits.push(format!("{path}:{line}: {phrase:?}; use: {instead}"));
            }
        }
    }
    assert!(hits.is_empty(), "{}", hits.join("\n"));
}

#[test]
fn phrases_are_found_in_comments_and_identifiers_and_nowhere_else() {
    for (text, expected) in [
        ("the way\n/// back", vec![1]),
        ("fn way_back() {\n let wayBack = 1;", vec![1, 2]),
        ("a way. Back again", vec![]),
        ("way(back)", vec![]),
        ("a wayback machine", vec![]),
    ] {
        assert_eq!(lines_with(&words(text), "way back"), expected, "{text}");
    }
}
