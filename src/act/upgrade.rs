//! The transaction: install, prove, bring the service up, watch it, or go back.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use log::{error, info, warn};

use super::packages::{PackageError, PackageManager};
use super::record::Record;
use super::service;
use crate::observe::agent::Agent;
use crate::observe::history::{Change, Done, FailedTarget};
use crate::observe::service::Health;
use crate::version::Version;

/// How a transaction ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The wanted version runs, and was watched doing so.
    Upgraded,
    /// Nothing was changed; the agent runs what it ran before.
    Untouched(PackageError),
    /// The wanted version was unfit; the agent runs the one before again.
    RolledBack {
        /// What was wrong with the wanted version.
        reason: String,
    },
    /// Neither version runs.
    Broken {
        /// What was wrong with the wanted version.
        reason: String,
        /// What kept the one before from running.
        back: String,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Upgraded => write!(f, "done"),
            Outcome::Untouched(error) => error.fmt(f),
            Outcome::RolledBack { reason } => write!(f, "{reason}"),
            Outcome::Broken { reason, back } => write!(f, "{reason}; and the way back failed: {back}"),
        }
    }
}

/// What a transaction works with.
pub struct Transaction<'a> {
    /// Installs.
    pub packages: &'a dyn PackageManager,
    /// Remembers.
    pub record: &'a mut Record,
    /// How long the service must run well before the version counts as sound.
    pub observe: Duration,
    /// The time of the pass, for the record.
    pub now: DateTime<Utc>,
}

impl Transaction<'_> {
    /// Brings the agent to `target`, which may be the version it has.
    pub fn upgrade(&mut self, agent: &Agent, target: &Version) -> Result<Outcome> {
        let installed = &agent.package;
        let package_version = match self.packages.prepare(installed, target) {
            Ok(package_version) => package_version,
            Err(error) => return Ok(Outcome::Untouched(error)),
        };
        let change = Change {
            package: installed.name.clone(),
            from: installed.version.clone(),
            from_package_version: installed.package_version.clone(),
            to: target.clone(),
            services: to_bring_up(agent),
            since: self.now,
        };
        self.record.update(|history| history.unfinished = Some(change.clone()))?;
        self.carry_out(&change, &package_version)
    }

    /// Restarts a service that still runs an older binary than the one installed.
    pub fn restart(&mut self, unit: &str) -> Outcome {
        match service::bring_up(unit, self.observe) {
            Ok(()) => Outcome::Upgraded,
            Err(reason) => Outcome::Untouched(PackageError::Failed(reason)),
        }
    }

    /// Ends a change that an earlier pass began and did not end.
    pub fn finish(&mut self, change: &Change) -> Result<Outcome> {
        warn!(
            "a pass of {} was cut off while it changed {} from {} to {}; finishing it",
            change.since, change.package, change.from, change.to
        );
        if let Err(error) = self.packages.mend() {
            warn!("{error}");
        }
        // Whatever was half there is written whole by installing it again.
        self.carry_out(change, &change.to.to_string())
    }

    /// Installs and checks, and goes back if the new version does not run.
    fn carry_out(&mut self, change: &Change, package_version: &str) -> Result<Outcome> {
        info!("installing {} {package_version}", change.package);
        let installed = self.packages.install(&change.package, package_version);
        let unfit = match (self.packages.prove(&change.package, &change.to), installed) {
            (Ok(()), _) => match self.bring_up(change) {
                Ok(()) => return self.end_well(change),
                Err(reason) => reason,
            },
            (Err(_), Err(error)) if self.is_as_before(change) => {
                // Most failures leave the package as it was: then there is nothing to restart or to take back.
                self.record.update(|history| history.unfinished = None)?;
                return Ok(Outcome::Untouched(error));
            }
            // Nothing could be tried. The change stays unfinished, and the next pass tries again.
            (Err(_), Err(error)) if error.is_temporary() => return Ok(Outcome::Untouched(error)),
            (Err(reason), Err(error)) => format!("{error} ({reason})"),
            (Err(reason), Ok(())) => reason,
        };
        self.go_back(change, unfit)
    }

    fn is_as_before(&self, change: &Change) -> bool {
        change.from != change.to && self.packages.prove(&change.package, &change.from).is_ok()
    }

    fn bring_up(&self, change: &Change) -> Result<(), String> {
        change.services.iter().try_for_each(|unit| service::bring_up(unit, self.observe))
    }

    fn end_well(&mut self, change: &Change) -> Result<Outcome> {
        let done = Done { from: change.from.clone(), to: change.to.clone(), at: self.now };
        self.record.update(|history| {
            history.unfinished = None;
            history.failed = None;
            history.last_change = Some(done);
        })?;
        Ok(Outcome::Upgraded)
    }

    fn go_back(&mut self, change: &Change, reason: String) -> Result<Outcome> {
        error!("{} {}: {reason}; going back to {}", change.package, change.to, change.from);
        if let Err(error) = self.packages.install(&change.package, &change.from_package_version) {
            error!("{error}");
        }
        let back = self.packages.prove(&change.package, &change.from).and_then(|()| self.bring_up(change));
        let way_back_failed = back.is_err();
        let failed = FailedTarget { target: change.to.clone(), reason: reason.clone(), at: self.now, way_back_failed };
        self.record
            .update(|history| {
                history.unfinished = None;
                history.failed = Some(failed);
            })
            .context("the failure of this version could not be recorded")?;
        Ok(match back {
            Ok(()) => Outcome::RolledBack { reason },
            Err(back) => Outcome::Broken { reason, back },
        })
    }
}

/// The services that must run after the change: those that ran, and those that should have.
fn to_bring_up(agent: &Agent) -> Vec<String> {
    let wanted = |health: &Health| !matches!(health, Health::Stopped | Health::Absent);
    agent.services.iter().filter(|service| wanted(&service.health)).map(|service| service.unit.clone()).collect()
}
