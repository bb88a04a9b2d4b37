//! The package database of Red Hat, SUSE and their kin, asked through `rpm`, and the files that lock packages there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::packages::glob;
use crate::packages::package::{Database, Installed};
use crate::system::command::Command;
use crate::system::text::printable;
use crate::version::Version;

/// A host with one of these has such a database. The directory alone tells nothing: Debian's rpm makes it too.
pub const FILES: [&str; 6] = [
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/var/lib/rpm/Packages.db",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages",
    "/usr/lib/sysimage/rpm/Packages.db",
];
/// The list of dnf's version lock plugin.
pub const VERSIONLOCK: &str = "/etc/dnf/plugins/versionlock.list";
/// Where else ordinary updates are told to leave packages alone: by yum 3, zypper.
const LOCK_FILES: [&str; 3] = [
    VERSIONLOCK,
    "/etc/yum/pluginconf.d/versionlock.list",
    "/etc/zypp/locks",
];
/// The same of dnf 5.
const VERSIONLOCK_TOML: &str = "/etc/dnf/versionlock.toml";
/// Where packages are excluded: for all repositories, and for those of `*.repo` files.
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

/// What the database says of each of `names` that is on the host, whole or in part.
pub fn installed(names: &[&str]) -> Result<Vec<Installed>> {
    // The time of the install comes first, for entries to sort by it.
    let arguments = [
        "-q",
        "--qf",
        "%{INSTALLTIME}|%{NAME}|%{VERSION}-%{RELEASE}\\n",
    ]
    .iter()
    .chain(names);
    let output = Command::new("rpm", arguments).run()?;
    // The status only says how many of the names are unknown to it.
    if output.code().is_none() {
        bail!("cannot read the package database: {}", output.summary());
    }
    let mut lines: Vec<&str> = output
        .answer()
        .filter(|line| !line.ends_with(" is not installed"))
        .collect();
    lines.sort_unstable();
    let mut found: Vec<Installed> = Vec::new();
    for line in lines {
        let entry = parse(line)?;
        match found.iter_mut().find(|earlier| earlier.name == entry.name) {
            Some(earlier) => *earlier = twice(earlier, entry),
            None => found.push(entry),
        }
    }
    Ok(found)
}

/// Reads `1700000000|teleport-ent|14.3.33-1`.
pub fn parse(line: &str) -> Result<Installed> {
    let mut fields = line.splitn(3, '|');
    let (Some(_), Some(name), Some(version)) = (fields.next(), fields.next(), fields.next()) else {
        bail!(
            "rpm said \"{}\", which is not what it was asked; see \"rpm --rebuilddb\"",
            printable(line, 200)
        );
    };
    Ok(Installed {
        name: name.to_string(),
        version: Version::from_rpm(version)
            .with_context(|| format!("the package database lists {name}"))?,
        package_version: version.to_string(),
        held: is_held(name),
        damage: None,
        database: Database::Rpm,
    })
}

/// A transaction that was cut off between its two halves leaves both versions in the database.
fn twice(earlier: &Installed, later: Installed) -> Installed {
    let damage = format!(
        "rpm lists it twice, as {} and {}",
        earlier.package_version, later.package_version
    );
    Installed {
        damage: Some(damage),
        ..later
    }
}

/// Whether some file tells ordinary updates to leave the package alone.
pub fn is_held(name: &str) -> bool {
    let any_line = |file: &Path, names_it: fn(&str, &str) -> bool| {
        fs::read_to_string(file)
            .is_ok_and(|text| text.lines().any(|line| names_it(line.trim(), name)))
    };
    let parts = EXCLUDE_DIRECTORIES
        .iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flatten()
        .flatten();
    let mut parts = parts.map(|entry| entry.path()).filter(|file| {
        file.extension()
            .is_some_and(|end| end == "repo" || end == "conf")
    });
    LOCK_FILES
        .iter()
        .any(|file| any_line(Path::new(file), locks))
        || fs::read_to_string(VERSIONLOCK_TOML).is_ok_and(|text| locks_by_toml(&text, name))
        || EXCLUDE_FILES
            .iter()
            .any(|file| any_line(Path::new(file), excludes))
        || parts.any(|file| any_line(&file, excludes))
}

/// Whether dnf 5's list of version locks has an entry for the package with the condition that its version is one and no other. An entry
/// without conditions locks nothing; one with another leaves room for updates.
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

/// `exclude=teleport other`, `excludepkgs = tele?ort*`.
pub fn excludes(line: &str, name: &str) -> bool {
    let Some((key, value)) = line.split_once('=') else {
        return false;
    };
    ["exclude", "excludepkgs"].contains(&key.trim())
        && value
            .split([' ', ','])
            .any(|pattern| glob::fits(pattern.trim(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_version_as_the_database_spells_it() {
        let installed = parse("1700000000|teleport|15.0.0~rc.1-2.el9").unwrap();
        assert_eq!(
            (installed.name.as_str(), installed.package_version.as_str()),
            ("teleport", "15.0.0~rc.1-2.el9")
        );
        assert_eq!(installed.version, "15.0.0-rc.1".parse().unwrap());
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        assert!(
            parse("error: rpmdb: damaged header")
                .unwrap_err()
                .to_string()
                .contains("rpm --rebuilddb")
        );
        let error = format!("{:#}", parse("1|teleport|garbage-1").unwrap_err());
        assert_eq!(
            error,
            "the package database lists teleport: \"garbage\" is not a version like 14.3.33"
        );
    }

    #[test]
    fn knows_a_package_that_is_listed_twice() {
        let both = twice(
            &parse("1|teleport|14.3.33-1").unwrap(),
            parse("2|teleport|14.3.34-1").unwrap(),
        );
        assert_eq!(both.package_version, "14.3.34-1");
        assert_eq!(
            both.damage.unwrap(),
            "rpm lists it twice, as 14.3.33-1 and 14.3.34-1"
        );
    }

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
        assert!(
            excludes("exclude = a, t?leport*", "teleport-ent")
                && excludes("excludepkgs=teleport", "teleport")
        );
        assert!(
            !excludes("exclude=teleport", "teleport-ent")
                && !excludes("#exclude=teleport", "teleport")
        );
    }
}
