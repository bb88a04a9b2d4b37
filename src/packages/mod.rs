//! Package managers: one trait, a folder for each.

pub mod apt;
pub mod common;
pub mod database;
mod detect;
pub mod error;
pub mod installer;
mod nop;
pub mod package;
pub mod rpm;
pub mod yum;
pub mod zypper;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::program;
use crate::agent::program::BINARY;
use crate::packages::common::trust::Weakness;
pub use crate::packages::detect::{installer, open, usual};
pub use crate::packages::error::PackageError;
use crate::packages::package::Installed;
use crate::system::text::reasons;
use crate::version::Version;

/// The agent is about 150 MB; a slow connection may take its time, but not for ever.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(30 * 60);
/// For commands that only read what is on the disk.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// What this program needs of a package manager. All of them verify signatures themselves; nothing here may weaken that.
pub trait PackageManager {
    /// The settings of this host that let unsigned packages in. Only reads.
    fn weaknesses(&self) -> anyhow::Result<Vec<Weakness>>;

    /// Fails if there are any. Everything that prepares or installs a package begins with this.
    fn check_trust(&self) -> Result<(), PackageError> {
        match self.weaknesses()? {
            none if none.is_empty() => Ok(()),
            weaknesses => Err(PackageError::InsecureSettings(weaknesses)),
        }
    }

    /// Where Teleport's repository is configured, for messages.
    fn source(&self) -> String;

    /// Whether it installs anything: `nop` does not.
    fn installs(&self) -> bool {
        true
    }

    /// Refreshes the index of Teleport's repository, and lists the versions of the package in it, with the repository's spelling.
    fn offered(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError>;

    /// Whether a repository may have the package, as far as that is known without asking its server.
    fn may_offer(&self, _name: &str) -> bool {
        true
    }

    /// The versions of the package in the index as it is, if that can be read without changing a file of this host.
    fn peek(&self, _name: &str) -> Vec<Version> {
        Vec::new()
    }

    /// Refreshes the index of Teleport's repository, and looks up `target` in it.
    fn find(&self, installed: &Installed, target: &Version) -> Result<Found, PackageError> {
        choose(
            &self.offered(&installed.name)?,
            installed,
            target,
            &self.source(),
        )
    }

    /// Downloads what was found, for this run or a later one. Changes no package, and fails if the install would change others too.
    fn download(&self, installed: &Installed, found: &Found) -> Result<Prepared, PackageError>;

    /// The directory of the downloads, if they stay there for an install in a later run.
    fn downloads(&self) -> Option<PathBuf> {
        None
    }

    /// Removes the download of this version.
    fn discard(&self, _name: &str, _package_version: &str) -> Result<(), PackageError> {
        Ok(())
    }

    /// Prepares this version without looking it up first: for a repair or a rollback, which install what is recorded.
    fn prepare(&self, name: &str, package_version: &str) -> Result<Prepared, PackageError>;

    /// Installs exactly the prepared version, up or down, or again, and changes no other package.
    ///
    /// Returns what the package manager reported. Only `prove` knows what it did.
    fn install(&self, prepared: Prepared) -> Result<(), PackageError>;

    /// Builds the package of the installed version from its files in `directory`, for a rollback: the repository no longer has it.
    fn repack(&self, installed: &Installed, _directory: &Path) -> Result<PathBuf, PackageError> {
        Err(PackageError::Failed(format!(
            "cannot repack {} from the installed files",
            installed.package_version
        )))
    }

    /// Installs a package that `repack` built.
    fn install_repacked(&self, file: &Path) -> Result<(), PackageError> {
        Err(PackageError::Failed(format!(
            "cannot install {}",
            file.display()
        )))
    }

    /// Excludes the package from regular system updates. Our own installs are not affected, and may undo it.
    fn hold(&self, name: &str) -> Result<(), PackageError>;

    /// Undoes `hold`.
    fn release(&self, name: &str) -> Result<(), PackageError>;

    /// Completes what an interrupted run of the package manager left behind.
    fn repair(&self) -> Result<(), PackageError>;

    /// Reads the package back from the database.
    fn installed(&self, name: &str) -> anyhow::Result<Option<Installed>>;

    /// Compares the package's files with the database, where an interrupted install may leave files of two versions that the database
    /// does not know about. If they differ, which one.
    fn verify(&self, _name: &str) -> Result<(), String> {
        Ok(())
    }

    /// Whether `version` is really installed: intact in the database, and its program runs. If not, why.
    fn prove(&self, name: &str, version: &Version) -> Result<(), String> {
        let Some(installed) = self.installed(name).map_err(|error| reasons(&error))? else {
            return Err(format!("package {name} is not installed"));
        };
        if let Some(problem) = &installed.broken {
            return Err(format!("package {name} is broken: {problem}"));
        }
        if installed.version != *version {
            return Err(format!(
                "{name} is still at version {}",
                installed.package_version
            ));
        }
        match program::version()? {
            runs if runs == *version => Ok(()),
            runs => Err(format!(
                "{BINARY} reports version {runs}, expected {version}"
            )),
        }
    }
}

/// A version that the repository has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The repository's spelling.
    pub package_version: String,
    /// Whether the repository still has the installed version too.
    pub has_installed: bool,
}

/// A version that can be installed: settings checked, and downloaded where the package manager can download on its own. Good for one
/// install.
#[derive(Debug, PartialEq, Eq)]
pub struct Prepared {
    name: String,
    package_version: String,
}

impl Prepared {
    fn new(name: &str, package_version: &str) -> Prepared {
        Prepared {
            name: name.into(),
            package_version: package_version.into(),
        }
    }
}

/// Looks up the target among the versions that the repository of `source` offers, newest first.
pub fn choose(
    offered: &[(Version, String)],
    installed: &Installed,
    target: &Version,
    source: &str,
) -> Result<Found, PackageError> {
    let has_installed = offered
        .iter()
        .any(|(_, spelled)| *spelled == installed.package_version);
    // To install the same version again, the very package that is installed.
    let package_version = if has_installed && installed.version == *target {
        Some(installed.package_version.clone())
    } else {
        offered
            .iter()
            .find(|(version, _)| version == target)
            .map(|(_, spelled)| spelled.clone())
    };
    match package_version {
        Some(package_version) => Ok(Found {
            package_version,
            has_installed,
        }),
        None => Err(PackageError::NotOffered {
            name: installed.name.clone(),
            target: target.to_string(),
            source: source.to_string(),
            latest: offered
                .iter()
                .map(|(version, _)| version)
                .max()
                .map(ToString::to_string),
        }),
    }
}

/// Fails unless `changed`, the packages that a simulated install would change, is `name` and nothing else.
pub fn only(name: &str, changed: impl IntoIterator<Item = String>) -> Result<(), PackageError> {
    let (ours, mut others): (Vec<String>, Vec<String>) =
        changed.into_iter().partition(|package| package == name);
    // A package that is replaced is listed with the one that replaces it.
    others.dedup();
    if !others.is_empty() {
        Err(PackageError::ChangesOthers(others))
    } else if ours.is_empty() {
        Err(PackageError::Failed(format!(
            "cannot tell from a simulated install of {name} which packages would change"
        )))
    } else {
        Ok(())
    }
}
