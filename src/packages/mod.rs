//! Package managers: one trait, one file for each.

pub mod apt;
pub mod database;
pub mod errors;
pub mod glob;
mod locks;
mod nop;
pub mod package;
pub mod rpm;
pub mod trust;
pub mod yum;
pub mod zypper;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::agent::program;
use crate::agent::program::BINARY;
use crate::config::values::Installer;
use crate::config::{Config, ConfigError};
use crate::packages::package::{Database, Installed};
use crate::packages::trust::Weakness;
use crate::system::text::{printable, reasons};
use crate::version::Version;

/// What this program needs of a package manager. All of them check signatures by themselves; nothing here may weaken that.
pub trait PackageManager {
    /// The settings of this host that would have it take packages which nobody whom it trusts has signed. Only reads.
    fn weaknesses(&self) -> anyhow::Result<Vec<Weakness>>;

    /// Refuses to go on while there are any. Whatever prepares or installs a package begins with this.
    fn check_trust(&self) -> Result<(), PackageError> {
        let weaknesses = self.weaknesses()?;
        if weaknesses.is_empty() {
            Ok(())
        } else {
            Err(PackageError::Unchecked(weaknesses))
        }
    }

    /// Where Teleport's repository is configured, for messages.
    fn source(&self) -> String;

    /// Whether it installs anything: one is for trying out the rest.
    fn installs(&self) -> bool {
        true
    }

    /// Refreshes the index of Teleport's repository, and lists the versions of the package in it, as we and as it spells them.
    fn offered(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError>;

    /// The versions of the package in the index as it is, as far as that can be read without changing a file of this host.
    fn peek(&self, name: &str) -> Vec<Version> {
        let _ = name;
        Vec::new()
    }

    /// Refreshes the index of Teleport's repository, and finds `target` in it as the repository spells it.
    fn find(&self, installed: &Installed, target: &Version) -> Result<Prepared, PackageError> {
        choose(
            &self.offered(&installed.name)?,
            installed,
            target,
            &self.source(),
        )
    }

    /// Downloads what was found, for an install that may be in a later pass.
    ///
    /// Changes no package. Fails if installing it would change any other package too.
    fn download(&self, installed: &Installed, package_version: &str) -> Result<(), PackageError>;

    /// The directory that `download` downloads to, if what it downloads stays there for an install in a later pass.
    fn downloads(&self) -> Option<PathBuf> {
        None
    }

    /// Removes this version of the package from that directory.
    fn discard(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        let _ = (name, package_version);
        Ok(())
    }

    /// Keeps the package of the installed version in `directory`, for the way back: the repository no longer has it.
    fn keep(&self, installed: &Installed, directory: &Path) -> Result<PathBuf, PackageError> {
        let _ = directory;
        Err(PackageError::Failed(format!(
            "{} cannot be made into a package again here",
            installed.package_version
        )))
    }

    /// Installs the package that `keep` made.
    fn install_kept(&self, file: &Path) -> Result<(), PackageError> {
        Err(PackageError::Failed(format!(
            "{} cannot be installed",
            file.display()
        )))
    }

    /// Installs exactly this version of the package, up or down, or again, and touches no other package.
    ///
    /// What it returns is what the package manager said. Only `prove` knows what it did.
    fn install(&self, name: &str, package_version: &str) -> Result<(), PackageError>;

    /// Has ordinary system updates leave the package alone. An install of ours goes through that, and may undo it.
    fn hold(&self, name: &str) -> Result<(), PackageError>;

    /// Takes back what `hold` did.
    fn release(&self, name: &str) -> Result<(), PackageError>;

    /// Ends what an interrupted run of the package manager left half done.
    fn repair(&self) -> Result<(), PackageError>;

    /// Reads the package back from the database.
    fn installed(&self, name: &str) -> anyhow::Result<Option<Installed>>;

    /// Whether the package's files are those that the database has, where an install that was cut off leaves a mixture of two
    /// versions that the database knows nothing of. If not, which is not.
    fn verify(&self, _name: &str) -> Result<(), String> {
        Ok(())
    }

    /// Whether `version` is really there: whole in the database, and its program runs. If not, why.
    fn prove(&self, name: &str, version: &Version) -> Result<(), String> {
        match self.installed(name) {
            Err(error) => return Err(reasons(&error)),
            Ok(None) => return Err(format!("{name} is not installed")),
            Ok(Some(Installed {
                damage: Some(damage),
                ..
            })) => return Err(format!("{name} is damaged: {damage}")),
            Ok(Some(installed)) if installed.version != *version => {
                return Err(format!("{name} is still {}", installed.package_version));
            }
            Ok(Some(_)) => {}
        }
        let runs = program::version()?;
        if runs == *version {
            Ok(())
        } else {
            Err(format!(
                "{BINARY} reports version {runs}, expected {version}"
            ))
        }
    }
}

/// Which package manager installs: the one that the configuration names, else the one of the database that has the agent.
pub fn installer(config: &Config, database: Database) -> Installer {
    match (config.installer, database) {
        (Some(installer), _) => installer,
        (None, Database::Dpkg) => Installer::Apt,
        (None, Database::Rpm) => rpm_installer(),
    }
}

/// That package manager, ready to work.
pub fn manager(
    config: &Config,
    database: Database,
) -> Result<Box<dyn PackageManager>, ConfigError> {
    let limits = Limits {
        lock_wait: config.lock_wait,
        refresh: config.refresh,
    };
    let installer = installer(config, database);
    let missing = || {
        let problem =
            format!("the agent was installed with {database}, but {installer} is not available");
        config.error(
            "installer",
            &problem,
            &format!("Install {installer} or change this setting"),
        )
    };
    Ok(match installer {
        Installer::Apt => Box::new(apt::Apt::new(limits)),
        Installer::Yum => Box::new(yum::Yum::new(limits).ok_or_else(missing)?),
        Installer::Zypper => Box::new(zypper::Zypper::new(limits).ok_or_else(missing)?),
        Installer::Nop => Box::new(nop::Nop(database)),
    })
}

/// The package manager that is found by the database that has the agent, without any configuration. Whoever asks for it waits for
/// the end of the run of the package manager that removes this program, however long that is.
pub fn usual(database: Database) -> Result<Box<dyn PackageManager>, PackageError> {
    let limits = Limits {
        lock_wait: REMOVAL_LIMIT,
        refresh: READ_LIMIT,
    };
    let missing = || {
        PackageError::Failed(format!(
            "the agent was installed by {database}, and its package manager is gone"
        ))
    };
    Ok(match database {
        Database::Dpkg => Box::new(apt::Apt::new(limits)),
        Database::Rpm if rpm_installer() == Installer::Zypper => {
            Box::new(zypper::Zypper::new(limits).ok_or_else(missing)?)
        }
        Database::Rpm => Box::new(yum::Yum::new(limits).ok_or_else(missing)?),
    })
}

/// The package manager of a host whose agent rpm's database has.
///
/// Many hosts have the programs of both. Then it is the one that has Teleport's repository; if both or neither do, it is
/// zypper where zypper has any repository at all, which is so on SUSE and nowhere else.
fn rpm_installer() -> Installer {
    if zypper::program().is_none() {
        return Installer::Yum;
    }
    if yum::program().is_none() {
        return Installer::Zypper;
    }
    match (
        rpm::repository_file(&zypper::REPOSITORIES).is_some(),
        yum::has_repository(),
    ) {
        (true, false) => Installer::Zypper,
        (false, true) => Installer::Yum,
        _ if rpm::repo_files(&zypper::REPOSITORIES).is_empty() => Installer::Yum,
        _ => Installer::Zypper,
    }
}

/// How long a package manager may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To get a lock that somebody else holds.
    lock_wait: Duration,
    /// To refresh its index. What is longer hangs on a server that says nothing.
    refresh: Duration,
}

/// The agent is some 150 MB; a slow line may take its time, but not for ever.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(30 * 60);
/// The run of a package manager that removes this program may have much else to do, a release upgrade for instance.
const REMOVAL_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);
/// For what only reads what is on the disk.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// Finds the target in what the repository of `source` offers, newest first.
pub fn choose(
    offered: &[(Version, String)],
    installed: &Installed,
    target: &Version,
    source: &str,
) -> Result<Prepared, PackageError> {
    let spelled = |wanted: &Version| {
        offered
            .iter()
            .find(|(version, _)| version == wanted)
            .map(|(_, spelled)| spelled)
    };
    // The very package that is installed, if it is to be installed again.
    let again = offered
        .iter()
        .map(|(_, spelled)| spelled)
        .find(|spelled| **spelled == installed.package_version);
    let chosen = again
        .filter(|_| installed.version == *target)
        .or_else(|| spelled(target));
    let Some(package_version) = chosen.cloned() else {
        return Err(PackageError::NotOffered {
            name: installed.name.clone(),
            target: target.to_string(),
            source: source.to_string(),
            newest: offered
                .iter()
                .map(|(version, _)| version)
                .max()
                .map(ToString::to_string),
        });
    };
    Ok(Prepared {
        package_version,
        has_installed: again.is_some(),
    })
}

/// Passes if `changed`, the packages that a simulated install would change, is `name` and nothing else.
pub fn only(name: &str, changed: impl IntoIterator<Item = String>) -> Result<(), PackageError> {
    let (ours, mut others): (Vec<String>, Vec<String>) =
        changed.into_iter().partition(|package| package == name);
    // One that is replaced is listed with the one that replaces it.
    others.dedup();
    if !others.is_empty() {
        Err(PackageError::TouchesOthers(others))
    } else if ours.is_empty() {
        Err(PackageError::Failed(format!(
            "a simulated install of {name} does not say what it would change"
        )))
    } else {
        Ok(())
    }
}

/// The files of a directory whose names begin like this.
fn files(directory: &Path, start: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(start))
        .map(|entry| entry.path())
        .collect()
}

/// Removes them.
fn remove_files(directory: &Path, start: &str) -> anyhow::Result<()> {
    for file in files(directory, start) {
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

/// A version that is ready to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// How the repository spells it.
    pub package_version: String,
    /// Whether the repository still has the version that is installed.
    pub has_installed: bool,
}

/// Why a package manager did not do what it was asked.
#[derive(Debug, PartialEq, Eq)]
pub enum PackageError {
    /// Somebody else is using it, and has been for longer than we wait.
    Busy {
        /// Who.
        holder: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Settings of this host let packages in that nobody has checked.
    Unchecked(Vec<Weakness>),
    /// A repository's server does not answer, or not as it should.
    Unreachable {
        /// Where the repository is configured.
        source: String,
        /// What the package manager said.
        said: String,
    },
    /// A repository is not signed by a key that this host trusts.
    Untrusted {
        /// Where the repository is configured.
        source: String,
        /// What the package manager said.
        said: String,
    },
    /// The package is not signed by a key that this host trusts.
    Unauthentic {
        /// Where the repository is configured.
        source: String,
        /// What the package manager said.
        said: String,
    },
    /// The package is missing, or is not the one that the repository's index names.
    Mismatch {
        /// Where the repository is configured.
        source: String,
        /// What the package manager said.
        said: String,
    },
    /// There is no room for the package on a disk of this host.
    NoRoom(String),
    /// It needs what is not there, or cannot be beside what is.
    Unsolvable(String),
    /// A script of the package failed.
    Script(String),
    /// The repository does not have the target.
    NotOffered {
        /// The package.
        name: String,
        /// The version.
        target: String,
        /// Where the repository is configured.
        source: String,
        /// The newest version that it has, if any.
        newest: Option<String>,
    },
    /// Installing it would change these packages too.
    TouchesOthers(Vec<String>),
    /// Anything else; what the package manager said.
    Failed(String),
}

impl PackageError {
    /// Whether the same thing may work later by itself.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            PackageError::Busy { .. } | PackageError::Unreachable { .. }
        )
    }
}

impl PackageError {
    /// Whether it says anything about the version that was to be installed, and not only about this host or the network.
    pub fn is_the_versions(&self) -> bool {
        !self.is_temporary()
            && !matches!(self, PackageError::Unchecked(_) | PackageError::NoRoom(_))
    }
}

impl From<anyhow::Error> for PackageError {
    fn from(error: anyhow::Error) -> Self {
        PackageError::Failed(reasons(&error))
    }
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackageError::Busy { holder, waited } => write!(
                f,
                "the package manager is in use by {}, for longer than {} s; the next pass tries again",
                printable(holder, 80),
                waited.as_secs()
            ),
            PackageError::Unchecked(weaknesses) => {
                let weaknesses: Vec<String> = weaknesses.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "this host would take packages that nobody it trusts has signed: {}",
                    weaknesses.join(", and ")
                )
            }
            PackageError::Unreachable { source, said } => {
                write!(
                    f,
                    "the repository of {source} cannot be reached or read: {}; the next pass tries again",
                    printable(said, 400)
                )
            }
            PackageError::Untrusted { source, said } => write!(
                f,
                "the repository of {source} is not signed by a key that this host trusts: {}; \
                 install Teleport's present signing key, or correct the settings of that repository",
                printable(said, 400)
            ),
            PackageError::Unauthentic { source, said } => write!(
                f,
                "the package in the repository of {source} is not signed by a key that this host trusts: {}; \
                 install Teleport's present signing key, or have the repository's operator say where that package comes from",
                printable(said, 400)
            ),
            PackageError::Mismatch { source, said } => write!(
                f,
                "the repository of {source} does not serve the package that its index names: {}; \
                 have its operator, or that of a proxy in between, mend it",
                printable(said, 400)
            ),
            PackageError::NoRoom(said) => {
                write!(
                    f,
                    "there is no room for it on the disk: {}; make room, and the next pass tries again",
                    printable(said, 400)
                )
            }
            PackageError::Unsolvable(said) => write!(
                f,
                "it does not fit this host: {}; install what it needs, or have the channel name another version",
                printable(said, 400)
            ),
            PackageError::Script(said) => write!(
                f,
                "a script of the package failed: {}; see what it lacks on this host, or have the channel name another version",
                printable(said, 400)
            ),
            PackageError::NotOffered {
                name,
                target,
                source,
                newest,
            } => {
                let newest = newest.as_ref().map_or("it has none".to_string(), |newest| {
                    format!("the newest there is {newest}")
                });
                write!(
                    f,
                    "the repository of {source} has no {name} {target} ({newest}); have the channel name a version that it has, \
                     or point that repository at stable/rolling (a stable/vN holds only major version N)"
                )
            }
            PackageError::TouchesOthers(others) => write!(
                f,
                "it would change other packages too ({}); install it by hand if that is wanted",
                printable(&others.join(", "), 200)
            ),
            PackageError::Failed(said) => f.write_str(&printable(said, 600)),
        }
    }
}

impl std::error::Error for PackageError {}
