//! Why a package manager did not do what it was asked.

use std::fmt;
use std::time::Duration;

use crate::packages::common::trust::Weakness;
use crate::system::text::{printable, reasons};

/// Why a package manager did not do what it was asked. `source` is where the repository is configured, and `detail` is what the package
/// manager printed.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are described above")]
pub enum PackageError {
    /// Another process has used the package manager for longer than we wait.
    Busy { holder: String, waited: Duration },
    /// Settings of this host let unsigned packages in.
    InsecureSettings(Vec<Weakness>),
    /// The repository's server does not respond, or its response is invalid.
    Unreachable { source: String, detail: String },
    /// The repository is not signed by a trusted key.
    UntrustedRepository { source: String, detail: String },
    /// The package is not signed by a trusted key.
    UntrustedPackage { source: String, detail: String },
    /// The package is missing, or is not the one in the repository's index.
    Mismatch { source: String, detail: String },
    /// A disk of this host is full.
    DiskFull(String),
    /// The package needs what is not there, or conflicts with what is.
    UnmetDependencies(String),
    /// A script of the package failed.
    Script(String),
    /// The repository does not have the target.
    NotOffered {
        name: String,
        target: String,
        source: String,
        /// The latest version that it has, if any.
        latest: Option<String>,
    },
    /// The install would change these packages too.
    ChangesOthers(Vec<String>),
    /// Anything else.
    Failed(String),
}

impl PackageError {
    /// Whether the same may work later without anyone's help.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            PackageError::Busy { .. } | PackageError::Unreachable { .. }
        )
    }

    /// Whether the cause may be the version, and not only this host or the network.
    pub fn may_be_the_version(&self) -> bool {
        !self.is_temporary()
            && !matches!(
                self,
                PackageError::InsecureSettings(_) | PackageError::DiskFull(_)
            )
    }
}

impl From<anyhow::Error> for PackageError {
    fn from(error: anyhow::Error) -> Self {
        PackageError::Failed(reasons(&error))
    }
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |text: &str| printable(text, 400);
        match self {
            PackageError::Busy { holder, waited } => write!(
                f,
                "gave up waiting for the package manager lock after {} s (held by {}). Will retry at the next check",
                waited.as_secs(),
                printable(holder, 80)
            ),
            PackageError::InsecureSettings(weaknesses) => {
                let weaknesses: Vec<String> = weaknesses.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "this host accepts unsigned packages: {}",
                    weaknesses.join(". ")
                )
            }
            PackageError::Unreachable { source, detail } => write!(
                f,
                "cannot refresh the repository in {source}: {}. Will retry at the next check",
                short(detail)
            ),
            PackageError::UntrustedRepository { source, detail } => write!(
                f,
                "the repository in {source} is not signed by a trusted key: {}. \
                 Install Teleport's current signing key, or fix the settings of that repository",
                short(detail)
            ),
            PackageError::UntrustedPackage { source, detail } => write!(
                f,
                "the package in the repository in {source} is not signed by a trusted key: {}. \
                 Install Teleport's current signing key, or ask the repository's operator where that package comes from",
                short(detail)
            ),
            PackageError::Mismatch { source, detail } => write!(
                f,
                "the repository in {source} does not serve the package in its index: {}. \
                 Its operator, or the operator of a proxy in between, must fix that",
                short(detail)
            ),
            PackageError::DiskFull(detail) => write!(
                f,
                "not enough disk space: {}. Free up space; will retry at the next check",
                short(detail)
            ),
            PackageError::UnmetDependencies(detail) => write!(
                f,
                "unmet dependencies: {}. Install them, or publish another version",
                short(detail)
            ),
            PackageError::Script(detail) => write!(
                f,
                "a package maintainer script failed: {}. Fix the cause, or publish another version",
                short(detail)
            ),
            PackageError::NotOffered {
                name,
                target,
                source,
                latest: Some(latest),
            } => write!(
                f,
                "{name} {target} not found in the repository configured in {source} (latest: {latest}). \
                 Publish an available version, or switch the repository to stable/rolling (stable/vN has only major version N)"
            ),
            PackageError::NotOffered { name, source, .. } => write!(
                f,
                "{name} not found in any repository configured in {source}. Add Teleport's repository: https://goteleport.com/docs/installation"
            ),
            PackageError::ChangesOthers(others) => write!(
                f,
                "the upgrade would also change other packages: {}. If that is intended, install it manually",
                printable(&others.join(", "), 200)
            ),
            PackageError::Failed(detail) => f.write_str(&printable(detail, 600)),
        }
    }
}

impl std::error::Error for PackageError {}
