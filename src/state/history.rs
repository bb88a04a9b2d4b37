//! What earlier runs recorded and later ones depend on. Plain values; [`crate::state::record`] reads and writes them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::state::changes::{Changes, Start};
use crate::version::Version;

/// What one run leaves for the next. Nothing in it can be found out again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When a run first found no usable maintenance windows; nothing if the last run found some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_absent_since: Option<DateTime<Utc>>,
    /// A change that was begun and has not ended: its run was interrupted, or its rollback failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Change>,
    /// The version that failed on this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedTarget>,
    /// Whether this program holds the package. A hold that was there before is an administrator's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held_by_us: bool,
    /// How often systemd had restarted each service at the last run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<String, u32>,
    /// The change before which hooks ran, until the hooks after it have run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooked: Option<Hooked>,
    /// A package that is pre-downloaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<Download>,
    /// How often each result occurred.
    pub counts: Counts,
    /// The latest changes of the agent.
    pub changes: Changes,
}

/// How often each result occurred on this host, since the history began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Completed changes of the agent's version, up or down.
    pub upgrades: u64,
    /// Automatic rollbacks.
    pub rollbacks: u64,
    /// Runs that failed with an error that is not transient.
    pub failures: u64,
}

/// A package that is downloaded while its install waits for the maintenance window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// The target version that it leads to.
    pub target: Version,
    /// When the window opens.
    pub opens: DateTime<Utc>,
    /// When to start.
    pub due: DateTime<Utc>,
    /// What was downloaded, from the start of the download on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Fetched>,
    /// Whether a download failed, and that was logged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// A package that was downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Its name.
    pub package: String,
    /// Its version, as the repository spells it.
    pub package_version: String,
    /// Whether all of it is there. If not, the download is in progress, was interrupted, or failed.
    #[serde(default)]
    pub complete: bool,
}

impl Download {
    /// Whether nothing is left to download.
    pub fn is_complete(&self) -> bool {
        self.fetched
            .as_ref()
            .is_some_and(|fetched| fetched.complete)
    }
}

/// A change of the agent from one version to another, or a reinstall of the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The package.
    pub package: String,
    /// The previous version.
    pub from: Version,
    /// That version as the package database spells it.
    pub from_package_version: String,
    /// The version to install.
    pub to: Version,
    /// That version as the repository spells it.
    pub to_package_version: String,
    /// The target version, if `to` is an intermediate version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Version>,
    /// The package of the previous version, if a copy was saved because the repository no longer has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_package: Option<PathBuf>,
    /// Why the version failed verification, once it did: the rollback has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// When the rollback failed, if it did. It is retried by every run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_failed: Option<DateTime<Utc>>,
    /// Whether the package was held, and must be held again afterwards.
    #[serde(default)]
    pub held: bool,
    /// The services that were running, or should have been, and must run afterwards.
    pub services: Vec<String>,
    /// The units that the host had, running or not: packages add and remove them.
    #[serde(default)]
    pub units: Vec<String>,
    /// When it began.
    pub since: DateTime<Utc>,
    /// Why, and who started the run that began it.
    #[serde(default)]
    pub start: Start,
}

/// A change, as hooks receive it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooked {
    /// The installed version.
    pub from: Version,
    /// The version to install; the same for a repair.
    pub to: Version,
    /// Why the change is made, in one word.
    pub cause: String,
}

/// A version that was installed here, failed verification, and was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTarget {
    /// The version.
    pub target: Version,
    /// The target version, if `target` was an intermediate version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Version>,
    /// Why it failed.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether the rollback failed too; then there is nothing to lose by another try.
    #[serde(default)]
    pub rollback_failed: bool,
}

/// How the last run went, for people and metrics; no run depends on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it began.
    pub at: DateTime<Utc>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The exit status.
    pub exit: u8,
    /// Its last line.
    pub outcome: String,
    /// The last known target version; nothing if updates are paused.
    #[serde(default)]
    pub target: Option<Version>,
    /// When the last run began that ended with exit status 0.
    #[serde(default)]
    pub last_success: Option<DateTime<Utc>>,
    /// The hook that postponed a change, until the change is made or no longer due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postponed: Option<Postponed>,
    /// Which version each service ran. Once the program on the disk is replaced, this is the only trace of it.
    #[serde(default)]
    pub running: BTreeMap<String, Running>,
}

/// A change that a hook postponed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Postponed {
    /// The hook, with its directory.
    pub hook: String,
    /// When hooks first postponed a change to this target version.
    pub since: DateTime<Utc>,
    /// The target version.
    pub target: Version,
}

/// A process that runs the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its PID.
    pub pid: i32,
    /// The version that it runs.
    pub version: Version,
}
