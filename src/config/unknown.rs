//! Files of the configuration directory whose names say nothing to this program: most likely somebody's typing error.

use std::fs;
use std::path::Path;

use strsim::damerau_levenshtein;

use crate::config::FILES;
use crate::system::text::printable;

/// How the names end of what package managers and editors leave, and people who keep a copy.
const LEFTOVERS: [&str; 8] = [
    "~", ".bak", ".old", ".orig", ".rpmsave", ".rpmnew", ".rpmorig", ".swp",
];
/// What is within them, of what dpkg and ucf leave.
const WITHIN: [&str; 2] = [".dpkg-", ".ucf-"];
/// A name with more letters too many, too few, other or exchanged than this is another name.
const NEAR: usize = 2;

/// A sentence for every file that is not read. To be asked for whoever looks, not in every pass: it reads the directory.
pub fn unread(directory: &Path) -> Vec<String> {
    let listed = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = listed
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.retain(|name| !is_known(name));
    names.sort();
    names.iter().map(|name| sentence(directory, name)).collect()
}

/// Whether a file is read, or known not to be.
fn is_known(name: &str) -> bool {
    FILES.contains(&name)
        || name == "README"
        || name.starts_with(['.', '#'])
        || LEFTOVERS.iter().any(|end| name.ends_with(end))
        || WITHIN.iter().any(|part| name.contains(part))
}

fn sentence(directory: &Path, name: &str) -> String {
    let remedy = match meant(name) {
        Some(known) => format!("did you mean \"{known}\"? Rename it, or remove it"),
        None => "remove it, or see teleport-upgrade(8) for the files that there are".into(),
    };
    format!(
        "{}/{}: no file of this name is read; {remedy}",
        directory.display(),
        printable(name, 80)
    )
}

/// The name that is nearest, if one is near, whatever it is written with at its end: `Pin.txt` is near to `pin`.
fn meant(name: &str) -> Option<&'static str> {
    let written = name.to_lowercase();
    let bare = written.split('.').next().unwrap_or_default();
    let measured = FILES
        .iter()
        .map(|known| (damerau_levenshtein(bare, known), *known));
    let (count, known) = measured.min_by_key(|(count, _)| *count)?;
    (count <= NEAR.min(known.len() / 3)).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found() {
        for (name, expected) in [
            ("scheduel", Some("schedule")),
            ("installler", Some("installer")),
            ("Endpoint", Some("endpoint")),
            ("pin.txt", Some("pin")),
            ("pins", Some("pin")),
            ("services", Some("service")),
            ("observe_seconds", Some("observe-seconds")),
            ("lock-wait", None),
            ("pen-and-paper", None),
            ("p", None),
            ("", None),
        ] {
            assert_eq!(meant(name), expected, "{name}");
        }
    }

    #[test]
    fn only_what_somebody_wrote_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let quiet = [
            "README",
            "README.dpkg-new",
            "pin.dpkg-old",
            "pin.rpmsave",
            "x.rpmnew",
            "endpoint~",
            ".pin.swp",
            ".hidden",
        ];
        for name in FILES.into_iter().chain(quiet).chain(["scheduel", "notes"]) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let at = dir.path().display();
        let expected = [
            format!(
                "{at}/notes: no file of this name is read; remove it, or see teleport-upgrade(8) for the files that there are"
            ),
            format!(
                "{at}/scheduel: no file of this name is read; did you mean \"schedule\"? Rename it, or remove it"
            ),
        ];
        assert_eq!(unread(dir.path()), expected);
        assert!(unread(&dir.path().join("absent")).is_empty());
    }
}
