//! The package database of Red Hat, SUSE and their kin, asked through `rpm`, and the files that lock packages there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::package::{Database, Installed};
use crate::command::Command;
use crate::text::printable;
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
/// Where else ordinary updates are told to leave packages alone: by dnf 5, yum 3, zypper.
const LOCK_FILES: [&str; 4] =
    [VERSIONLOCK, "/etc/dnf/versionlock.toml", "/etc/yum/pluginconf.d/versionlock.list", "/etc/zypp/locks"];
/// Where packages are excluded.
const EXCLUDE_FILES: [&str; 2] = ["/etc/dnf/dnf.conf", "/etc/yum.conf"];
const REPOSITORIES: &str = "/etc/yum.repos.d";

/// What the database says of each of `names` that is on the host, whole or in part.
pub fn installed(names: &[&str]) -> Result<Vec<Installed>> {
    // The time of the install comes first, for entries to sort by it.
    let arguments = ["-q", "--qf", "%{INSTALLTIME}|%{NAME}|%{VERSION}-%{RELEASE}\\n"].iter().chain(names);
    let output = Command::new("rpm", arguments).run()?;
    // The status only says how many of the names are unknown to it.
    if output.code().is_none() {
        bail!("cannot read the package database: {}", output.summary());
    }
    let mut lines: Vec<&str> = output.answer().filter(|line| !line.ends_with(" is not installed")).collect();
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
        bail!("rpm said \"{}\", which is not what it was asked; see \"rpm --rebuilddb\"", printable(line, 200));
    };
    Ok(Installed {
        name: name.to_string(),
        version: Version::from_rpm(version).with_context(|| format!("the package database lists {name}"))?,
        package_version: version.to_string(),
        held: is_held(name),
        damage: None,
        database: Database::Rpm,
    })
}

/// A transaction that was cut off between its two halves leaves both versions in the database.
fn twice(earlier: &Installed, later: Installed) -> Installed {
    let damage = format!("rpm lists it twice, as {} and {}", earlier.package_version, later.package_version);
    Installed { damage: Some(damage), ..later }
}

/// Whether some file tells ordinary updates to leave the package alone.
pub fn is_held(name: &str) -> bool {
    let any_line = |file: &Path, names_it: fn(&str, &str) -> bool| {
        fs::read_to_string(file).is_ok_and(|text| text.lines().any(|line| names_it(line.trim(), name)))
    };
    let repositories = fs::read_dir(REPOSITORIES).into_iter().flatten().flatten().map(|entry| entry.path());
    LOCK_FILES.iter().any(|file| any_line(Path::new(file), locks))
        || EXCLUDE_FILES.iter().any(|file| any_line(Path::new(file), excludes))
        || repositories.filter(|file| file.extension().is_some_and(|end| end == "repo")).any(|file| any_line(&file, excludes))
}

/// `teleport`, `!teleport`, `teleport-0:14.3.33-1.*`, `0:teleport-14.3.33-1.*`, `name = "teleport"`, `solvable_name: teleport`.
pub fn locks(line: &str, name: &str) -> bool {
    let line = line.trim_start_matches('!');
    if let Some(value) = line.strip_prefix("solvable_name:").or_else(|| line.strip_prefix("name =")) {
        return value.trim().trim_matches('"') == name;
    }
    let bare = line.split_once(':').filter(|(epoch, _)| epoch.parse::<u32>().is_ok()).map_or(line, |(_, rest)| rest);
    bare.strip_prefix(name).is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix('-').is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit() || c == '*'))
    })
}

/// `exclude=teleport other`, `excludepkgs = teleport*`.
pub fn excludes(line: &str, name: &str) -> bool {
    let Some((key, value)) = line.split_once('=') else { return false };
    let matches = |pattern: &str| pattern == name || pattern.strip_suffix('*').is_some_and(|start| name.starts_with(start));
    ["exclude", "excludepkgs"].contains(&key.trim()) && value.split([' ', ',']).any(|pattern| matches(pattern.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_version_as_the_database_spells_it() {
        let installed = parse("1700000000|teleport|15.0.0~rc.1-2.el9").unwrap();
        assert_eq!((installed.name.as_str(), installed.package_version.as_str()), ("teleport", "15.0.0~rc.1-2.el9"));
        assert_eq!(installed.version, "15.0.0-rc.1".parse().unwrap());
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        assert!(parse("error: rpmdb: damaged header").unwrap_err().to_string().contains("rpm --rebuilddb"));
        let error = format!("{:#}", parse("1|teleport|garbage-1").unwrap_err());
        assert_eq!(error, "the package database lists teleport: \"garbage\" is not a version like 14.3.33");
    }

    #[test]
    fn knows_a_package_that_is_listed_twice() {
        let both = twice(&parse("1|teleport|14.3.33-1").unwrap(), parse("2|teleport|14.3.34-1").unwrap());
        assert_eq!(both.package_version, "14.3.34-1");
        assert_eq!(both.damage.unwrap(), "rpm lists it twice, as 14.3.33-1 and 14.3.34-1");
    }

    #[test]
    fn knows_a_locked_package() {
        for line in [
            "teleport",
            "!teleport",
            "teleport-0:14.3.33-1.*",
            "teleport-14.3.*",
            "0:teleport-14.3.33-1.*",
            "name = \"teleport\"",
            "solvable_name: teleport",
        ] {
            assert!(locks(line, "teleport"), "{line}");
        }
        for line in ["# teleport", "teleport-ent-0:14.3.33-1.*", "!teleport-ent", "solvable_name: teleport-ent", ""] {
            assert!(!locks(line, "teleport"), "{line}");
        }
        assert!(excludes("exclude = a, teleport*", "teleport-ent") && excludes("excludepkgs=teleport", "teleport"));
        assert!(!excludes("exclude=teleport", "teleport-ent") && !excludes("#exclude=teleport", "teleport"));
    }
}
