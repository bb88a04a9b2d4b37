//! The exit statuses, and which one an error means.

use std::fmt;

use nix::unistd::geteuid;

use crate::config::ConfigError;
use crate::observe::agent::NoAgent;
use crate::packages::PackageError;
use crate::server::http::error::RequestError;
use crate::state::lock::Taken;

/// How the program ends, as its callers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Up to date, pending, pinned, skipped, or upgraded.
    Success = 0,
    /// Failed; the agent was not changed.
    Failed = 1,
    /// Wrong usage or configuration, not root, or no agent installed.
    Usage = 2,
    /// The version or the host is not supported.
    NotAllowed = 10,
    /// Failed verification, and was rolled back.
    RolledBack = 11,
    /// Neither the new nor the previous version runs.
    Broken = 12,
    /// A transient error: the next check tries again.
    Temporary = 75,
}

impl Exit {
    /// What an error means.
    pub fn of(error: &anyhow::Error) -> Exit {
        if error.is::<ConfigError>() || error.is::<NoAgent>() || error.is::<NotRoot>() {
            Exit::Usage
        } else if error.is::<Taken>()
            || error.downcast_ref().is_some_and(RequestError::is_temporary)
            || error.downcast_ref().is_some_and(PackageError::is_temporary)
        {
            Exit::Temporary
        } else {
            Exit::Failed
        }
    }

    /// Whether it is a failure that is not transient.
    pub fn is_failure(self) -> bool {
        matches!(self, Exit::Failed | Exit::Usage | Exit::Broken)
    }
}

/// A command that changes the host, from a user who must not.
#[derive(Debug)]
struct NotRoot(&'static str);

impl fmt::Display for NotRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = self.0;
        write!(
            f,
            "{command} requires root. Try: sudo teleport-upgrade {command}"
        )
    }
}

impl std::error::Error for NotRoot {}

/// Fails unless this is root.
pub fn require_root(command: &'static str) -> anyhow::Result<()> {
    if geteuid().is_root() {
        Ok(())
    } else {
        Err(NotRoot(command).into())
    }
}
