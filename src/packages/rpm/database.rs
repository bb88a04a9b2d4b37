//! The package database of Red Hat, SUSE and their kin, queried through `rpm`.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::agent::PLACES;
use crate::packages::common::files;
use crate::packages::common::messages::succeeded;
use crate::packages::package::PACKAGES;
use crate::packages::package::{Database, Installed};
use crate::packages::rpm::TRANSACTION_LOCKS;
use crate::packages::rpm::holds::is_held;
use crate::packages::{PackageError, READ_LIMIT};
use crate::system::process::command::Command;
use crate::system::text::printable;
use crate::version::Version;

/// A host with one of these has such a database. The directory alone proves nothing: Debian's rpm creates it too.
pub const FILES: [&str; 6] = [
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/var/lib/rpm/Packages.db",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages",
    "/usr/lib/sysimage/rpm/Packages.db",
];
/// The packages among `names` that the database lists, complete or not.
pub fn installed_of(names: &[&str]) -> Result<Vec<Installed>> {
    // The time of the install comes first, to sort by it.
    let arguments = [
        "-q",
        "--qf",
        "%{INSTALLTIME}|%{NAME}|%{VERSION}-%{RELEASE}\\n",
    ]
    .iter()
    .chain(names);
    let output = Command::new("rpm", arguments).run()?;
    // The status only counts the names that are unknown to it.
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
            "unexpected output from rpm: \"{}\". Try: rpm --rebuilddb",
            printable(line, 200)
        );
    };
    Ok(Installed {
        name: name.to_string(),
        version: Version::from_rpm(version)
            .with_context(|| format!("the package database lists {name}"))?,
        package_version: version.to_string(),
        held: is_held(name),
        broken: None,
        database: Database::Rpm,
    })
}

/// A transaction that was interrupted between its two halves leaves both versions in the database.
fn twice(earlier: &Installed, later: Installed) -> Installed {
    let problem = format!(
        "rpm lists it twice, as {} and {}",
        earlier.package_version, later.package_version
    );
    Installed {
        broken: Some(problem),
        ..later
    }
}

/// Reads the package back from the database.
pub fn installed(name: &str) -> Result<Option<Installed>> {
    Ok(installed_of(&[name])?.pop())
}

/// As `installed`, after a repair if the database lists the package twice.
pub fn installed_once(name: &str) -> Result<Option<Installed>, PackageError> {
    let found = installed(name)?;
    if found
        .as_ref()
        .is_none_or(|installed| installed.broken.is_none())
    {
        return Ok(found);
    }
    repair()?;
    Ok(installed(name)?)
}

/// Removes all but the latest entry of an agent that an interrupted transaction has left twice in the database. The files stay: the
/// install that follows writes all of them. Files that were not yet put in place are removed.
pub fn repair() -> Result<(), PackageError> {
    // They may belong to a transaction in progress.
    if !TRANSACTION_LOCKS.iter().any(|lock| lock.holder().is_some()) {
        remove_unplaced()?;
    }
    let entries = [
        "-q",
        "--qf",
        "%{INSTALLTIME}|%{NAME}|%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\\n",
    ]
    .iter()
    .chain(&PACKAGES);
    let output = Command::new("rpm", entries).limit(READ_LIMIT).run()?;
    let mut lines: Vec<&str> = output.lines().filter(|line| line.contains('|')).collect();
    lines.sort_unstable();
    for pair in surplus(&lines) {
        let erase = [
            "-e",
            "--justdb",
            "--noscripts",
            "--notriggers",
            "--nodeps",
            pair,
        ];
        succeeded(&Command::new("rpm", erase).run()?)?;
    }
    Ok(())
}

/// Removes files that an interrupted transaction had not yet put in place. They take as much space as the agent, and an install within
/// the same second would fail on them.
fn remove_unplaced() -> Result<(), PackageError> {
    let output = Command::new("rpm", ["-ql"].iter().chain(&PACKAGES))
        .limit(READ_LIMIT)
        .run()?;
    let own = output.answer().filter_map(|file| Path::new(file).parent());
    // The version that was not installed may have had other directories.
    let mut directories: Vec<&Path> = own.chain(PLACES.map(Path::new)).collect();
    directories.sort_unstable();
    directories.dedup();
    for directory in directories {
        let mut files = files::list(directory).unwrap_or_default();
        files.retain(|file| is_unplaced(&file.file_name().unwrap_or_default().to_string_lossy()));
        files::remove(files)?;
    }
    Ok(())
}

/// Whether a name is one that rpm gives to a file before it is put in place: `teleport;6b0068db`.
pub fn is_unplaced(name: &str) -> bool {
    let time = name.rsplit_once(';').map(|(_, time)| time);
    time.is_some_and(|time| time.len() == 8 && time.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Of lines like `1700000000|teleport|teleport-14.3.33-1.x86_64`, oldest first, the entries that a later one supersedes.
pub fn surplus<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let name = |line: &&'a str| line.split('|').nth(1);
    let superseded = |(index, line): &(usize, &&'a str)| {
        lines[index + 1..]
            .iter()
            .any(|later| name(later) == name(line))
    };
    lines
        .iter()
        .enumerate()
        .filter(superseded)
        .filter_map(|(_, line)| line.split('|').nth(2))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_keeps_the_databases_spelling() {
        let installed = parse("1700000000|teleport|15.0.0~rc.1-2.el9").unwrap();
        assert_eq!(
            (installed.name.as_str(), installed.package_version.as_str()),
            ("teleport", "15.0.0~rc.1-2.el9")
        );
        assert_eq!(installed.version, "15.0.0-rc.1".parse().unwrap());
    }

    #[test]
    fn unexpected_output_is_an_error() {
        assert!(
            parse("error: rpmdb: broken header")
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
    fn a_package_listed_twice_is_broken() {
        let both = twice(
            &parse("1|teleport|14.3.33-1").unwrap(),
            parse("2|teleport|14.3.34-1").unwrap(),
        );
        assert_eq!(both.package_version, "14.3.34-1");
        assert_eq!(
            both.broken.unwrap(),
            "rpm lists it twice, as 14.3.33-1 and 14.3.34-1"
        );
    }

    #[test]
    fn files_not_yet_put_in_place_are_recognized_by_name() {
        assert!(is_unplaced("teleport;6b0068db"));
        assert!(
            !is_unplaced("teleport")
                && !is_unplaced("teleport;1")
                && !is_unplaced("teleport;6b0068dx")
        );
    }

    #[test]
    fn the_latest_entry_of_each_package_stays() {
        let lines = ["1|a|a-1-1.x86_64", "2|b|b-1-1.x86_64", "3|a|a-2-1.x86_64"];
        assert_eq!(surplus(&lines), ["a-1-1.x86_64"]);
        assert_eq!(surplus(&lines[1..]), [""; 0]);
    }
}
