//! The settings that exclude packages from regular updates, of dnf, yum and zypper alike.

use std::fs;
use std::path::PathBuf;

use crate::packages::common::files::with_extension;
use crate::packages::common::glob;
use crate::packages::rpm::ini::{Ini, Style};

/// The list of dnf's version lock plugin.
pub const VERSIONLOCK: &str = "/etc/dnf/plugins/versionlock.list";
/// The lists of locked packages: dnf 4's, yum 3's, zypper's.
const LOCK_FILES: [&str; 3] = [
    VERSIONLOCK,
    "/etc/yum/pluginconf.d/versionlock.list",
    "/etc/zypp/locks",
];
/// dnf 5's list.
const VERSIONLOCK_TOML: &str = "/etc/dnf/versionlock.toml";
/// The settings that exclude packages: for all repositories, and for single ones.
const EXCLUDE_FILES: [&str; 2] = ["/etc/dnf/dnf.conf", "/etc/yum.conf"];
const EXCLUDE_DIRECTORIES: [&str; 8] = [
    "/etc/yum.repos.d",
    "/etc/yum/repos.d",
    "/etc/distro.repos.d",
    "/usr/share/dnf5/repos.d",
    "/usr/share/dnf5/repos.override.d",
    "/etc/dnf/repos.override.d",
    "/usr/share/dnf5/libdnf.conf.d",
    "/etc/dnf/libdnf5.conf.d",
];

/// Whether some file excludes the package from regular updates.
pub fn is_held(name: &str) -> bool {
    let locked = |file: &&str| {
        fs::read_to_string(file).is_ok_and(|text| text.lines().any(|line| locks(line.trim(), name)))
    };
    LOCK_FILES.iter().any(locked)
        || fs::read_to_string(VERSIONLOCK_TOML).is_ok_and(|text| locks_by_toml(&text, name))
        || exclude_files().iter().any(|file| {
            Ini::read(file, Style::Folded).is_ok_and(|settings| excludes(&settings, name))
        })
}

fn exclude_files() -> Vec<PathBuf> {
    let parts = EXCLUDE_DIRECTORIES
        .iter()
        .flat_map(|directory| with_extension(directory, &["repo", "conf"]).unwrap_or_default());
    EXCLUDE_FILES
        .iter()
        .map(PathBuf::from)
        .chain(parts)
        .collect()
}

/// Whether dnf 5's list of version locks has an entry for the package with the condition that its version equals another. An entry
/// without conditions locks nothing, and one with any other condition allows updates.
pub fn locks_by_toml(text: &str, name: &str) -> bool {
    let (mut ours, mut key, mut comparator) = (false, None, None);
    for (word, value) in settings(text) {
        match word.as_str() {
            "name" => (ours, key, comparator) = (glob::fits(&value, name), None, None),
            "key" => key = Some(value),
            "comparator" => comparator = Some(value),
            _ => continue,
        }
        // In either order, once for each condition.
        if key.is_some() && comparator.is_some() {
            let (key, comparator) = (
                key.take().unwrap_or_default(),
                comparator.take().unwrap_or_default(),
            );
            if ours && key == "evr" && ["=", "=="].contains(&comparator.as_str()) {
                return true;
            }
        }
    }
    false
}

/// The settings `word = "value"` of a TOML file, in tables of either way to write them.
fn settings(text: &str) -> Vec<(String, String)> {
    let (mut found, mut word, mut assigns, mut in_word) = (Vec::new(), String::new(), false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let is_word = c.is_alphanumeric() || c == '_' || c == '-';
        match c {
            '#' => rest = rest.split_once('\n').map_or("", |(_, after)| after),
            '"' | '\'' => {
                let (value, after) = rest.split_once(c).unwrap_or((rest, ""));
                if assigns {
                    found.push((word.clone(), value.to_string()));
                } else {
                    // A word may be quoted too.
                    word = value.to_string();
                }
                (rest, assigns) = (after, false);
            }
            '=' => assigns = true,
            c if is_word => {
                if !in_word {
                    (word, assigns) = (String::new(), false);
                }
                word.push(c);
            }
            _ => {}
        }
        in_word = is_word;
    }
    found
}

/// `teleport`, `!teleport`, `teleport-0:14.3.33-1.*`, `0:teleport-14.3.33-1.*`, `solvable_name: teleport`.
pub fn locks(line: &str, name: &str) -> bool {
    let line = line.trim_start_matches('!');
    if let Some(value) = line.strip_prefix("solvable_name:") {
        return value.trim() == name;
    }
    let bare = line
        .split_once(':')
        .filter(|(epoch, _)| epoch.parse::<u32>().is_ok())
        .map_or(line, |(_, rest)| rest);
    bare.strip_prefix(name).is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('-').is_some_and(|version| {
                version.starts_with(|c: char| c.is_ascii_digit() || c == '*')
            })
    })
}

/// Whether dnf's settings in a file exclude the package: `exclude=teleport other`, `excludepkgs = tele?ort*`.
pub fn excludes(settings: &Ini, name: &str) -> bool {
    settings
        .values(&["exclude", "excludepkgs"])
        .flat_map(|value| value.split([' ', ',']))
        .any(|pattern| glob::fits(pattern.trim(), name))
}
#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn knows_what_dnf_5_locks() {
        let entry = |name: &str, comparator: &str| {
            format!(
                "version = \"1.0\"\n\n[[packages]]\nname = \"{name}\"\ncomment = \"Added by 'versionlock add' command\"\n\n\
                 [[packages.conditions]]\nkey = \"evr\"\ncomparator = \"{comparator}\"\nvalue = \"14.3.33-1\"\n\n"
            )
        };
        let locks = |text: &str| locks_by_toml(text, "teleport");
        assert!(locks(&entry("teleport", "=")) && locks(&entry("tele*", "=")));
        assert!(
            !locks(&entry("teleport-ent", "="))
                && !locks(&entry("teleport", "!="))
                && !locks(&entry("teleport", "<"))
        );
        assert!(locks(&(entry("teleport", "!=") + &entry("teleport", "="))));
        assert!(!locks(
            &(entry("teleport", "<") + &entry("teleport-ent", "="))
        ));
        assert!(locks(
            "packages = [ { name = 'teleport', conditions = [ { comparator = '=', value = '0', key = 'evr' } ] } ] # evr"
        ));
        // It locks nothing without conditions; what is not TOML locks nothing either.
        assert!(
            !locks("[[packages]]\nname = \"teleport\"\n")
                && !locks("name = \"")
                && !locks("# name = 'teleport'\nkey = 'evr'")
        );
    }

    #[test]
    fn knows_a_locked_package() {
        for line in [
            "teleport",
            "!teleport",
            "teleport-0:14.3.33-1.*",
            "teleport-14.3.*",
            "0:teleport-14.3.33-1.*",
            "solvable_name: teleport",
        ] {
            assert!(locks(line, "teleport"), "{line}");
        }
        for line in [
            "# teleport",
            "teleport-ent-0:14.3.33-1.*",
            "!teleport-ent",
            "solvable_name: teleport-ent",
            "",
        ] {
            assert!(!locks(line, "teleport"), "{line}");
        }
        let excludes = |text: &str, name: &str| {
            excludes(&Ini::parse(Path::new("/x"), text, Style::Folded), name)
        };
        assert!(
            excludes("exclude = a, t?leport*", "teleport-ent")
                && excludes("[main]\nexcludepkgs=a\n teleport", "teleport")
        );
        assert!(
            !excludes("exclude=teleport", "teleport-ent")
                && !excludes("#exclude=teleport", "teleport")
        );
    }
}
