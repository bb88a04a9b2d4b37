//! The transaction: install, verify, restart the services, or roll back.

mod close;
mod outcome;
pub mod past;
pub mod predownload;
mod rollback;
mod services;

use std::path::PathBuf;

use anyhow::Result;
use chrono::{DateTime, Utc};
use log::{debug, info, warn};

use crate::agent::service::verify::{Rules, Unhealthy};
use crate::agent::service::{Health, Service, restart, systemd};
use crate::decide::observation::Agent;
use crate::packages::package::Installed;
use crate::packages::{Found, PackageError, PackageManager, Prepared};
use crate::state::changes::{Begun, Start};
use crate::state::history::Change;
use crate::state::record::Record;
use crate::system::output::terminal::Step;
use crate::system::times;
pub use crate::upgrade::outcome::{Outcome, UpgradeError};
use crate::upgrade::rollback::NO_PREVIOUS;
use crate::upgrade::services::each;
use crate::version::Version;

/// What a transaction works with.
pub struct Transaction<'a> {
    /// Installs.
    pub packages: &'a dyn PackageManager,
    /// Remembers.
    pub record: &'a mut Record,
    /// How services are verified.
    pub rules: Rules<'a>,
    /// The time of the run, for the record.
    pub now: DateTime<Utc>,
    /// Why this is done, and by whom, for the record.
    pub start: Start,
}

impl Transaction<'_> {
    /// Brings the agent to `target`, which was found and prepared, and may be the installed version, or an intermediate version on the
    /// upgrade path to `goal`.
    pub fn upgrade(
        &mut self,
        agent: &Agent,
        target: &Version,
        goal: Option<&Version>,
        (found, prepared): (Found, Prepared),
    ) -> Result<Outcome> {
        let installed = &agent.package;
        let rollback_package = if found.has_installed || installed.version == *target {
            None
        } else {
            self.save_previous(installed)
        };
        let change = Change {
            package: installed.name.clone(),
            from: installed.version.clone(),
            from_package_version: installed.package_version.clone(),
            to: target.clone(),
            to_package_version: found.package_version,
            goal: goal.cloned(),
            rollback_package,
            failure: None,
            rollback_failed: None,
            held: installed.held,
            services: services::to_run(agent),
            units: services::present(agent),
            since: self.now,
            start: self.start.clone(),
        };
        // Nothing is changed before the next run can know about it.
        self.record
            .update(|history| history.unfinished = Some(change.clone()))?;
        let outcome = self.install_and_verify(&change, Some(prepared), &agent.services);
        self.close(&change, &outcome);
        Ok(outcome)
    }

    /// Saves a copy of the installed package, if that is possible.
    fn save_previous(&self, installed: &Installed) -> Option<PathBuf> {
        let package = format!("{} {}", installed.name, installed.package_version);
        info!("{package} is no longer in the repository; saving a copy for rollback");
        let saved = match &installed.broken {
            None => self
                .packages
                .repack(installed, &self.record.directory().join("rollback")),
            Some(problem) => Err(PackageError::Failed(problem.clone())),
        };
        saved
            .map_err(|error| warn!("rollback to {package} will not be possible: {error}"))
            .ok()
    }

    /// Makes a service that is down or runs an older program run the one on the disk, which is of `version`.
    pub fn restart(&mut self, version: &Version, unit: &str) -> Outcome {
        let outcome = self.run_installed(unit);
        let begun = Begun {
            began: self.now,
            from: version.clone(),
            to: version.clone(),
            goal: None,
            service: Some(unit.into()),
            start: self.start.clone(),
        };
        if let Some(ended) = past::ended(begun, &outcome) {
            self.write_down(|history| history.changes.add(ended));
        }
        outcome
    }

    fn run_installed(&self, unit: &str) -> Outcome {
        // Another reload may have ended since that was decided.
        match restart::ensure(unit, &self.rules) {
            Ok(()) => Outcome::Upgraded,
            Err(Unhealthy { reason, .. })
                if systemd::look(unit).is_ok_and(|now| now.health == Health::Running) =>
            {
                Outcome::Untouched(UpgradeError::Service(reason))
            }
            Err(Unhealthy { reason, .. }) => Outcome::Broken {
                reason,
                rollback: NO_PREVIOUS.into(),
                restored: true,
            },
        }
    }

    /// Resumes a change that an earlier run began. Returns nothing if nothing of it is left to do: it had changed nothing yet, or the
    /// package was changed by others since.
    pub fn finish(&mut self, change: &Change) -> Option<Outcome> {
        let Change {
            package, from, to, ..
        } = change;
        let since = times::utc(change.since);
        warn!(
            "the upgrade of {package} from {from} to {to} started at {since} was interrupted; resuming"
        );
        if let Err(error) = self.packages.repair() {
            warn!("{error}");
        }
        let outcome = match self.packages.installed(package) {
            Ok(None) => None,
            Ok(Some(now)) if now.version != *from && now.version != *to && now.broken.is_none() => {
                None
            }
            _ if change.failure.is_some() => {
                let failure = change.failure.clone().unwrap_or_default();
                Some(self.roll_back(change, &[], &[], failure))
            }
            Ok(Some(now)) if self.is_intact(change, &now.version) => {
                self.ensure_services(change, &now.version)
            }
            // A new install completes whatever is there in part.
            _ => Some(self.install_and_verify(change, None, &[])),
        };
        match &outcome {
            Some(outcome) => self.close(change, outcome),
            None => {
                let installed = self.packages.installed(package);
                if installed.is_ok_and(|now| now.is_some()) {
                    self.hold_again(change);
                }
                self.sync();
                self.write_down(|history| history.unfinished = None);
            }
        }
        outcome
    }

    /// Whether nothing of an interrupted or failed install is left in the package, which is of `version`.
    fn is_intact(&self, change: &Change, version: &Version) -> bool {
        self.check(change, version)
            .inspect_err(|problem| debug!("{} is not intact: {problem}", change.package))
            .is_ok()
    }

    /// Fails unless everything of this version is there: its files, a program that runs, and the units that the host had. Newer packages
    /// link the program and copy the unit in a script, so that the package database does not list either.
    fn check(&self, change: &Change, version: &Version) -> Result<(), String> {
        self.packages.prove(&change.package, version)?;
        self.packages.verify(&change.package)?;
        systemd::read_units_again();
        match systemd::missing(&change.units).as_slice() {
            [] => Ok(()),
            missing => Err(format!("unit {} not found", missing.join(", "))),
        }
    }

    /// Makes the services run the installed version, whichever of the two it is.
    fn ensure_services(&mut self, change: &Change, installed: &Version) -> Option<Outcome> {
        match each(&change.services, |unit| restart::ensure(unit, &self.rules)) {
            Ok(()) => (*installed == change.to).then_some(Outcome::Upgraded),
            Err(_) if systemd::host_is_shutting_down() => {
                Some(Outcome::Unfinished(UpgradeError::Shutdown))
            }
            Err(failed) if *installed == change.to => {
                Some(self.roll_back(change, &[], &failed.old, failed.reason))
            }
            // It is as it was before the change; what to do about it is decided next.
            Err(failed) => {
                warn!("{}", failed.reason);
                None
            }
        }
    }

    /// Installs a version of the package, which is prepared first if it is not yet.
    fn install(
        &self,
        change: &Change,
        package_version: &str,
        prepared: Option<Prepared>,
    ) -> Result<(), PackageError> {
        let name = &change.package;
        let what = format!("installing {name} {package_version}");
        (self.rules.progress)(&what);
        let _step = Step::new(what);
        let prepared = match prepared {
            Some(prepared) => prepared,
            None => self.packages.prepare(name, package_version)?,
        };
        self.packages.install(prepared)
    }

    /// Installs, verifies, and rolls back if the version does not run. `before` is how the services were.
    fn install_and_verify(
        &mut self,
        change: &Change,
        prepared: Option<Prepared>,
        before: &[Service],
    ) -> Outcome {
        info!(
            "installing {} {}",
            change.package, change.to_package_version
        );
        let installed = self.install(change, &change.to_package_version, prepared);
        if let Err(problem) = self.packages.prove(&change.package, &change.to) {
            return self.not_installed(change, before, installed, problem);
        }
        systemd::read_units_again();
        // Without its unit, a service could not be started again; what runs, runs on.
        let missing = systemd::missing(&change.units);
        if !missing.is_empty() && self.packages.installs() {
            let reason = format!("unit {} not found after the install", missing.join(", "));
            return self.roll_back(change, before, &[], reason);
        }
        match each(&change.services, |unit| {
            restart::run_installed(unit, &self.rules)
        }) {
            Ok(()) if self.packages.installs() => Outcome::Upgraded,
            Ok(()) => Outcome::Simulated,
            // The services start with the host; the next run verifies them.
            Err(_) if systemd::host_is_shutting_down() => {
                Outcome::Unfinished(UpgradeError::Shutdown)
            }
            Err(failed) => self.roll_back(change, before, &failed.old, failed.reason),
        }
    }

    /// The outcome of an install after which the version is not there, because of `problem`.
    fn not_installed(
        &mut self,
        change: &Change,
        before: &[Service],
        installed: Result<(), PackageError>,
        problem: String,
    ) -> Outcome {
        let (error, reason) = match installed {
            Ok(()) => (UpgradeError::NotInstalled(problem.clone()), problem),
            Err(error) => {
                let reason = format!("{error} ({problem})");
                (UpgradeError::Package(error), reason)
            }
        };
        let is_unchanged = change.from != change.to && self.is_intact(change, &change.from);
        if !is_unchanged && error.may_be_the_version() {
            return self.roll_back(change, before, &[], reason);
        }
        // A script of the package may have stopped a service.
        systemd::start_again(&change.services);
        if is_unchanged {
            Outcome::Untouched(error)
        } else if error.is_temporary() {
            Outcome::Unfinished(error)
        } else {
            // The previous version could not be installed either. The next run tries this one again.
            let reason = error.to_string();
            Outcome::Broken {
                rollback: reason.clone(),
                reason,
                restored: false,
            }
        }
    }
}
