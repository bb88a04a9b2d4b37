//! Files of the configuration directory that are no settings, most likely because of a typing error.

use std::fs;
use std::path::Path;

use crate::config::SETTINGS;
use crate::config::hooks::{POST_UPGRADE, PRE_UPGRADE};
use crate::system::text::printable;

/// Suffixes of files that package managers and editors leave, and of copies.
const LEFTOVERS: [&str; 8] = [
    "~", ".bak", ".old", ".orig", ".rpmsave", ".rpmnew", ".rpmorig", ".swp",
];
/// Parts of names of files that dpkg and ucf leave.
const DEBIAN_LEFTOVERS: [&str; 2] = [".dpkg-", ".ucf-"];

/// A warning for every file that is ignored. For `status` and `dry-run` only, since it reads the directory.
pub fn warnings(directory: &Path) -> Vec<String> {
    let listed = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = listed
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !is_known(name))
        .collect();
    names.sort();
    names.iter().map(|name| warning(directory, name)).collect()
}

fn is_known(name: &str) -> bool {
    SETTINGS.contains(&name)
        || [PRE_UPGRADE, POST_UPGRADE, "README"].contains(&name)
        || is_leftover(name)
}

/// Whether the file was left by a package manager or an editor, or is hidden.
pub(super) fn is_leftover(name: &str) -> bool {
    name.starts_with(['.', '#'])
        || LEFTOVERS.iter().any(|end| name.ends_with(end))
        || DEBIAN_LEFTOVERS.iter().any(|part| name.contains(part))
}

fn warning(directory: &Path, name: &str) -> String {
    let advice = match meant(name) {
        Some(known) => format!("Did you mean \"{known}\"?"),
        None => "All settings are listed in: man teleport-upgrade".into(),
    };
    let path = directory.display();
    format!(
        "{path}/{}: unknown setting, ignored. {advice}",
        printable(name, 80)
    )
}

/// The setting that was probably meant, whatever the extension: `Pin.txt` is close to `pin`.
fn meant(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let stem = name.split('.').next().unwrap_or_default();
    let directories = [PRE_UPGRADE, POST_UPGRADE];
    let mut known = SETTINGS.iter().copied().chain(directories);
    known.find(|known| is_close(stem, known.trim_end_matches(".d")))
}

/// Whether one character added, removed, changed, or swapped with its neighbor makes the names equal.
fn is_close(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (&one[same..], &other[same..]);
    let ends = one.iter().rev().zip(other.iter().rev());
    let same = ends.take_while(|(a, b)| a == b).count();
    match (&one[..one.len() - same], &other[..other.len() - same]) {
        ([] | [_], [] | [_]) => true,
        ([a, b], [c, d]) => a == d && b == c,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_was_meant_is_found() {
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
            ("post-upgrade", Some("post-upgrade.d")),
            ("pre-upgrades.d", Some("pre-upgrade.d")),
            ("", None),
        ] {
            assert_eq!(meant(name), expected, "{name}");
        }
    }

    #[test]
    fn leftovers_are_not_reported() {
        let dir = tempfile::tempdir().unwrap();
        let quiet = [
            "README",
            "pre-upgrade.d",
            "post-upgrade.d",
            "README.dpkg-new",
            "pin.dpkg-old",
            "pin.rpmsave",
            "x.rpmnew",
            "endpoint~",
            ".pin.swp",
            ".hidden",
        ];
        for name in SETTINGS.iter().chain(&quiet).chain(&["scheduel", "notes"]) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let at = dir.path().display();
        let expected = [
            format!(
                "{at}/notes: unknown setting, ignored. All settings are listed in: man teleport-upgrade"
            ),
            format!("{at}/scheduel: unknown setting, ignored. Did you mean \"schedule\"?"),
        ];
        assert_eq!(warnings(dir.path()), expected);
        assert!(warnings(&dir.path().join("absent")).is_empty());
    }
}
