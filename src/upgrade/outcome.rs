//! How a transaction ends.

use std::fmt;

use crate::packages::PackageError;

/// How a transaction ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target version runs, and was verified.
    Upgraded,
    /// As for an upgrade, but `installer` is set to `nop`: nothing was installed.
    Simulated,
    /// Nothing was changed; the agent runs what it ran before.
    Untouched(UpgradeError),
    /// The change could not be completed now; the next run resumes it.
    Unfinished(UpgradeError),
    /// The target version failed verification; the agent runs the previous one again.
    RolledBack {
        /// Why it failed.
        reason: String,
    },
    /// Neither version runs.
    Broken {
        /// Why the target version failed.
        reason: String,
        /// Why the rollback failed.
        rollback: String,
        /// Whether the previous version's package is intact at least.
        restored: bool,
    },
}

/// Why a transaction changed nothing, or did not end.
#[derive(Debug, PartialEq, Eq)]
pub enum UpgradeError {
    /// The package manager failed.
    Package(PackageError),
    /// It succeeded, but the version is not installed.
    NotInstalled(String),
    /// A service does not run what is installed.
    Service(String),
    /// The host is shutting down.
    Shutdown,
}

impl UpgradeError {
    /// Whether the same may work later without anyone's help.
    pub fn is_temporary(&self) -> bool {
        match self {
            UpgradeError::Package(error) => error.is_temporary(),
            UpgradeError::Shutdown => true,
            UpgradeError::NotInstalled(_) | UpgradeError::Service(_) => false,
        }
    }

    /// Whether the cause may be the version, and not only this host or the network.
    pub fn may_be_the_version(&self) -> bool {
        match self {
            UpgradeError::Package(error) => error.may_be_the_version(),
            error => !error.is_temporary(),
        }
    }
}

impl From<PackageError> for UpgradeError {
    fn from(error: PackageError) -> Self {
        UpgradeError::Package(error)
    }
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpgradeError::Package(error) => error.fmt(f),
            UpgradeError::NotInstalled(reason) => write!(f, "nothing was installed: {reason}"),
            UpgradeError::Service(reason) => f.write_str(reason),
            UpgradeError::Shutdown => f.write_str("the host is shutting down"),
        }
    }
}

impl std::error::Error for UpgradeError {}
