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
    /// The package is in pieces and could not be mended now; the next pass tries again.
    Unfinished(PackageError),
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
            Outcome::Untouched(error) | Outcome::Unfinished(error) => error.fmt(f),
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
            held: installed.held,
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

    /// Makes the change and checks it, goes back if it does not run, and records how that ended.
    fn carry_out(&mut self, change: &Change, package_version: &str) -> Result<Outcome> {
        let outcome = self.install_and_check(change, package_version);
        if change.held
            && let Err(error) = self.packages.hold(&change.package)
        {
            warn!("{} was on hold and could not be put on hold again: {error}", change.package);
        }
        let (at, target) = (self.now, change.to.clone());
        self.record
            .update(|history| match &outcome {
                Outcome::Unfinished(_) => {}
                Outcome::Untouched(_) => history.unfinished = None,
                Outcome::Upgraded => {
                    let done = Done { from: change.from.clone(), to: target, at };
                    (history.unfinished, history.failed, history.last_change) = (None, None, Some(done));
                }
                Outcome::RolledBack { reason } | Outcome::Broken { reason, .. } => {
                    let way_back_failed = matches!(outcome, Outcome::Broken { .. });
                    let failed = FailedTarget { target, reason: reason.clone(), at, way_back_failed };
                    (history.unfinished, history.failed) = (None, Some(failed));
                }
            })
            .with_context(|| format!("this could not be recorded: {outcome}"))?;
        Ok(outcome)
    }

    fn install_and_check(&self, change: &Change, package_version: &str) -> Outcome {
        info!("installing {} {package_version}", change.package);
        let installed = self.packages.install(&change.package, package_version);
        let reason = match (self.packages.prove(&change.package, &change.to), installed) {
            (Ok(()), _) => match self.bring_up(change) {
                Ok(()) => return Outcome::Upgraded,
                Err(reason) => reason,
            },
            // Most failures leave the package as it was: then there is nothing to restart or to take back.
            (Err(_), Err(error)) if self.is_as_before(change) => return Outcome::Untouched(error),
            (Err(_), Err(error)) if error.is_temporary() => return Outcome::Unfinished(error),
            (Err(reason), Err(error)) => format!("{error} ({reason})"),
            (Err(reason), Ok(())) => reason,
        };
        self.go_back(change, reason)
    }

    fn is_as_before(&self, change: &Change) -> bool {
        change.from != change.to && self.packages.prove(&change.package, &change.from).is_ok()
    }

    fn bring_up(&self, change: &Change) -> Result<(), String> {
        change.services.iter().try_for_each(|unit| service::bring_up(unit, self.observe))
    }

    fn go_back(&self, change: &Change, reason: String) -> Outcome {
        error!("{} {}: {reason}; going back to {}", change.package, change.to, change.from);
        if let Err(error) = self.packages.install(&change.package, &change.from_package_version) {
            error!("{error}");
        }
        match self.packages.prove(&change.package, &change.from).and_then(|()| self.bring_up(change)) {
            Ok(()) => Outcome::RolledBack { reason },
            Err(back) => Outcome::Broken { reason, back },
        }
    }
}

/// The services that must run after the change: those that ran, and those that should have.
fn to_bring_up(agent: &Agent) -> Vec<String> {
    let wanted = |health: &Health| !matches!(health, Health::Stopped | Health::Absent);
    agent.services.iter().filter(|service| wanted(&service.health)).map(|service| service.unit.clone()).collect()
}
