//! What dnf, yum and zypper have in common: the rpm database, and repositories in `*.repo` files.

pub mod database;
pub mod holds;
pub mod ini;
pub mod verify;

use std::path::{Path, PathBuf};

use crate::packages::common::files::with_extension;
use crate::packages::common::locks::Lock;
use crate::packages::package::Installed;
pub use crate::packages::rpm::database::{installed, installed_once, repair};
use crate::packages::rpm::ini::{Ini, Style};
use crate::version::Version;

/// The id of Teleport's repository, in the `*.repo` file of Teleport's documentation.
pub const REPOSITORY: &str = "teleport";
/// What every transaction of rpm locks, in the two places where the database may be.
pub const TRANSACTION_LOCKS: [Lock; 2] = [
    Lock::Record("/var/lib/rpm/.rpm.lock"),
    Lock::Record("/usr/lib/sysimage/rpm/.rpm.lock"),
];

/// The file in which Teleport's repository is configured, if it has its usual id.
pub fn repository_file<D: AsRef<Path>>(directories: &[D]) -> Option<PathBuf> {
    repo_files(directories).into_iter().find(|file| {
        Ini::read(file, Style::Plain).is_ok_and(|ini| ini.sections().contains(&REPOSITORY))
    })
}

/// The files in which repositories are configured.
pub fn repo_files<D: AsRef<Path>>(directories: &[D]) -> Vec<PathBuf> {
    let in_directory = |directory: &D| with_extension(directory, &["repo"]).unwrap_or_default();
    let mut files: Vec<PathBuf> = directories.iter().flat_map(in_directory).collect();
    files.sort_unstable();
    files
}

/// The first of `names` that is a program of this host, and its file with links resolved.
pub fn find_program(names: &[&'static str]) -> Option<(&'static str, PathBuf)> {
    names
        .iter()
        .find_map(|name| Some((*name, Path::new("/usr/bin").join(name).canonicalize().ok()?)))
}

/// Versions as the package manager listed them, latest first. What is no version of Teleport's is left out.
pub fn versions<'a>(spelled: impl Iterator<Item = &'a str>) -> Vec<(Version, String)> {
    let mut versions: Vec<_> = spelled
        .filter_map(|text| Some((Version::from_rpm(text).ok()?, text.to_string())))
        .collect();
    versions.sort_unstable();
    versions.reverse();
    versions
}

/// Whether `wanted`, which may lack the release, is the installed version.
pub fn is(installed: &Installed, wanted: &str) -> bool {
    installed.package_version == wanted
        || installed
            .package_version
            .rsplit_once('-')
            .is_some_and(|(version, _)| version == wanted)
}
