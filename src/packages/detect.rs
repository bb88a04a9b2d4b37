//! Which package manager installs the agent of this host.

use std::time::Duration;

use crate::packages::common::locks::Limits;
use crate::packages::error::PackageError;
use crate::packages::installer::Installer;
use crate::packages::package::Database;
use crate::packages::{PackageManager, READ_LIMIT, apt, nop, rpm, yum, zypper};

/// A package manager that is removing this program may have much else to do, such as a release upgrade.
const REMOVAL_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// The package manager to use: the one that is configured, else the one for the database that lists the agent.
pub fn installer(configured: Option<Installer>, database: Database) -> Installer {
    configured.unwrap_or_else(|| detected(database))
}

/// The package manager for the database that lists the agent, without any configuration: to release the hold when this program is
/// removed. Waits for the package manager that removes it.
pub fn usual(database: Database) -> Result<Box<dyn PackageManager>, PackageError> {
    let limits = Limits {
        lock_wait: REMOVAL_LIMIT,
        refresh: READ_LIMIT,
    };
    open(detected(database), database, limits).ok_or_else(|| {
        PackageError::Failed(format!(
            "the agent was installed with {database}, whose package manager is no longer installed"
        ))
    })
}

/// A package manager, ready for use, if this host has it.
pub fn open(
    installer: Installer,
    database: Database,
    limits: Limits,
) -> Option<Box<dyn PackageManager>> {
    Some(match installer {
        Installer::Apt => Box::new(apt::Apt::new(limits)),
        Installer::Yum => Box::new(yum::Yum::new(limits)?),
        Installer::Zypper => Box::new(zypper::Zypper::new(limits)?),
        Installer::Nop => Box::new(nop::Nop(database)),
    })
}

/// The package manager of a host whose agent is in this database.
///
/// Many hosts with rpm have the programs of both dnf and zypper. Then the one with Teleport's repository is used; if both or neither
/// have it, zypper where it has any repository at all, which is so on SUSE and nowhere else.
fn detected(database: Database) -> Installer {
    if database == Database::Dpkg {
        return Installer::Apt;
    }
    if zypper::program().is_none() {
        return Installer::Yum;
    }
    if yum::program().is_none() {
        return Installer::Zypper;
    }
    match (zypper::has_repository(), yum::has_repository()) {
        (true, false) => Installer::Zypper,
        (false, true) => Installer::Yum,
        _ if rpm::repo_files(&zypper::REPOSITORIES).is_empty() => Installer::Yum,
        _ => Installer::Zypper,
    }
}
