//! What can be decided.

use chrono::{DateTime, TimeDelta, Utc};

use crate::agent::schedule::{Absence, Window};
use crate::agent::service::Health;
use crate::decide::compatibility::NotAllowed;
use crate::decide::path::UpgradePath;
use crate::decide::rollout::Standing;
use crate::state::history::{Change, FailedTarget};
use crate::version::Version;

/// What follows from an observation.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// This is to be done.
    Decide(Decision),
    /// The answer to this question is missing.
    Ask(Question),
}

/// A question to a server or the repository. It is asked only if the answer changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Which version is the target?
    Target,
    /// Is it critical?
    Critical,
    /// For how many percent of the hosts is it?
    Percentage,
    /// Which version does the cluster run?
    Cluster,
    /// Which versions are in the repository?
    Offer,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Resume what an interrupted run began, then decide again.
    Resume(Box<Change>),
    /// Nothing: the release channel has no target version.
    Paused,
    /// Nothing: the agent runs the target version and is healthy.
    UpToDate,
    /// Nothing: the target version, or any change at all, is not allowed here.
    NotAllowed(NotAllowed),
    /// Nothing: that version failed on this host.
    Skip(FailedTarget),
    /// A change, later.
    Wait(Action, Wait),
    /// A change, now.
    Go(Action, Cause),
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Install the next version on this path.
    Upgrade(UpgradePath),
    /// Reinstall the same version, because the package is broken in this way.
    Reinstall(Version, String),
    /// Restart this service, or reload it, to run the installed version: it is down, or runs an older binary.
    Restart(Version, String),
}

impl Action {
    /// The version that the agent runs afterwards.
    pub fn target(&self) -> &Version {
        match self {
            Action::Upgrade(path) => path.next().unwrap_or(&path.target),
            Action::Reinstall(version, _) | Action::Restart(version, _) => version,
        }
    }
}

/// Why a change waits.
#[derive(Debug, Clone, PartialEq)]
pub enum Wait {
    /// For the rollout of the target version, which has not reached this host.
    Rollout(Standing),
    /// For this maintenance window, which opens after so long.
    Window(Window, TimeDelta),
    /// For the next check: this is the first one to find no usable windows.
    NextCheck(Absence),
    /// For usable windows, without which this host must not be changed.
    Schedule(Absence),
}

/// Why a change is made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// An administrator requested it.
    Forced,
    /// The target version is critical.
    Critical,
    /// This service is down, so there is nothing to lose.
    Down(String, Health),
    /// There are still no usable windows.
    ScheduleAbsent(Absence),
    /// A maintenance window is open.
    Window {
        /// When it closes.
        until: DateTime<Utc>,
    },
}

impl Cause {
    /// The word that hooks receive. Scripts compare it, so it must never change.
    pub fn word(&self) -> &'static str {
        match self {
            Cause::Forced => "forced",
            Cause::Critical => "critical",
            Cause::Down(..) => "down",
            Cause::ScheduleAbsent(_) => "no-schedule",
            Cause::Window { .. } => "window",
        }
    }
}
