//! What dnf, yum and zypper have in common: the rpm database, and repositories in `*.repo` files.

pub mod database;
pub mod ini;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::agent::PLACES;
use crate::config::values::PACKAGES;
use crate::packages::errors::complaint;
use crate::packages::locks::Lock;
use crate::packages::package::Installed;
use crate::packages::{PackageError, READ_LIMIT};
use crate::system::command::Command;
use crate::system::text::reasons;
use crate::version::Version;

/// The id of Teleport's repository, in every `*.repo` file that Teleport's documentation has people make.
pub const REPOSITORY: &str = "teleport";
/// What every transaction of rpm locks, in the two places where the database may be.
pub const TRANSACTION_LOCKS: [Lock; 2] = [
    Lock::Record("/var/lib/rpm/.rpm.lock"),
    Lock::Record("/usr/lib/sysimage/rpm/.rpm.lock"),
];

/// The file in which Teleport's repository is configured, if it is there by its id.
pub fn repository_file<D: AsRef<Path>>(directories: &[D]) -> Option<PathBuf> {
    let heading = format!("[{REPOSITORY}]");
    let has_it = |file: &PathBuf| {
        fs::read_to_string(file).is_ok_and(|text| text.lines().any(|line| line.trim() == heading))
    };
    repo_files(directories).into_iter().find(has_it)
}

/// The files in which repositories are configured.
pub fn repo_files<D: AsRef<Path>>(directories: &[D]) -> Vec<PathBuf> {
    let entries = directories
        .iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flatten()
        .flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "repo")
    });
    files.sort_unstable();
    files
}

/// The first of `names` that is a program of this host, and the file that it really is.
pub fn find_program(names: &[&'static str]) -> Option<(&'static str, PathBuf)> {
    names
        .iter()
        .find_map(|name| Some((*name, Path::new("/usr/bin").join(name).canonicalize().ok()?)))
}

/// Versions as the package manager listed them. A repository may hold what is no version of ours; it is not for us.
pub fn versions<'a>(spelled: impl Iterator<Item = &'a str>) -> Vec<(Version, String)> {
    spelled
        .filter_map(|text| Some((Version::from_rpm(text).ok()?, text.to_string())))
        .collect()
}

/// Reads the package back from the database.
pub fn installed(name: &str) -> Result<Option<Installed>> {
    Ok(database::installed(&[name])?.pop())
}

/// As `installed`, after what a transaction that was cut off has left in the database was taken out of it.
pub fn installed_once(name: &str) -> Result<Option<Installed>, PackageError> {
    let found = installed(name)?;
    if found
        .as_ref()
        .is_none_or(|installed| installed.damage.is_none())
    {
        return Ok(found);
    }
    repair()?;
    Ok(installed(name)?)
}

/// Whether `wanted`, which may lack the release, is what the package is already.
pub fn is(installed: &Installed, wanted: &str) -> bool {
    installed.package_version == wanted
        || installed
            .package_version
            .rsplit_once('-')
            .is_some_and(|(version, _)| version == wanted)
}

/// Takes out of the database all but the latest entry of an agent that it lists twice, as a transaction that was cut off
/// leaves it. The files stay: they are written whole by the install that follows. Those that it had not put in place go.
pub fn repair() -> Result<(), PackageError> {
    // They may be somebody's who is at it right now.
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
        let output = Command::new("rpm", erase).run()?;
        if !output.success() {
            return Err(PackageError::Failed(complaint(&output)));
        }
    }
    Ok(())
}

/// Compares the package's files with the database. rpm puts the new ones in place before the database knows of any.
pub fn verify(name: &str) -> Result<(), String> {
    let output = Command::new("rpm", ["-V", "--nodeps", "--noscripts", name])
        .run()
        .map_err(|error| reasons(&error))?;
    output.lines().find_map(differs).map_or(Ok(()), |file| {
        Err(format!("{file} is not the one that {name} has"))
    })
}

/// Reads `S.5....T.    /usr/local/bin/tctl` or `missing     /usr/local/bin/tctl`: the file, if its contents are others. What was
/// done to a configuration file (`c`), or to a file's times and owners, was done by a person.
pub fn differs(line: &str) -> Option<&str> {
    let (result, rest) = line.split_once(' ')?;
    let file = &rest[rest.find('/')?..];
    let other = result == "missing" || (result.len() > 7 && result.contains('5'));
    (other && !rest.trim_start().starts_with("c ")).then_some(file)
}

/// Removes files that a transaction that was cut off had not yet put in place of the agent's. They take as much room as the agent,
/// and an install within the same second would stumble over them.
fn remove_unplaced() -> Result<(), PackageError> {
    let output = Command::new("rpm", ["-ql"].iter().chain(&PACKAGES))
        .limit(READ_LIMIT)
        .run()?;
    let own = output.answer().filter_map(|file| Path::new(file).parent());
    // The version that was not installed may have had others.
    let mut directories: Vec<&Path> = own.chain(PLACES.map(Path::new)).collect();
    directories.sort_unstable();
    directories.dedup();
    for entry in directories
        .into_iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flatten()
        .flatten()
    {
        if is_unplaced(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Whether a name is of the kind that rpm gives to a file before it is put in place: `teleport;6b0068db`.
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
    fn a_file_of_another_version_is_seen() {
        assert_eq!(
            differs("S.5....T.    /usr/local/bin/tctl"),
            Some("/usr/local/bin/tctl")
        );
        assert_eq!(
            differs("missing     /usr/local/bin/tctl"),
            Some("/usr/local/bin/tctl")
        );
        for line in [
            ".M....GT.    /usr/local/bin/tctl",
            "S.5....T.  c /etc/teleport.yaml",
            "missing   c /etc/teleport.yaml",
            "",
        ] {
            assert_eq!(differs(line), None, "{line}");
        }
    }

    #[test]
    fn a_file_that_was_not_put_in_place_is_known_by_its_name() {
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
