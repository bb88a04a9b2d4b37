//! The transaction: install, prove, bring the service up, watch it, or go back.

pub mod predownload;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use chrono::{DateTime, Utc};
use log::{debug, error, info, warn};
use nix::unistd::syncfs;

use crate::agent::service::verify::{Old, Rules, Unhealthy};
use crate::agent::service::{Health, Service, restart, systemd};
use crate::agent::{Agent, PLACES};
use crate::packages::package::Installed;
use crate::packages::{PackageError, PackageManager, Prepared};
use crate::state::history::{Change, Done, FailedTarget, History};
use crate::state::record::Record;
use crate::system::terminal::Step;
use crate::system::text::{io_problem, reasons};
use crate::system::times;
use crate::version::Version;

/// How a transaction ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The wanted version runs, and was watched doing so.
    Upgraded,
    /// All went as for an upgrade, but for the install: there is no package manager that would.
    Tried,
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
        /// Whether its package is whole at least.
        restored: bool,
    },
}

const NO_OTHER: &str = "there is no other version to go back to";

/// What a transaction works with.
pub struct Transaction<'a> {
    /// Installs.
    pub packages: &'a dyn PackageManager,
    /// Remembers.
    pub record: &'a mut Record,
    /// How the service must run before the version counts as sound.
    pub rules: Rules<'a>,
    /// The time of the pass, for the record.
    pub now: DateTime<Utc>,
}

impl Transaction<'_> {
    /// Brings the agent to `target`, which may be the version it has, or only a stop on the way to `goal`, and which the package
    /// manager has prepared.
    pub fn upgrade(
        &mut self,
        agent: &Agent,
        target: &Version,
        goal: Option<&Version>,
        prepared: &Prepared,
    ) -> Result<Outcome> {
        let installed = &agent.package;
        let rollback_package = if prepared.has_installed || installed.version == *target {
            None
        } else {
            self.keep(installed)
        };
        let change = Change {
            package: installed.name.clone(),
            from: installed.version.clone(),
            from_package_version: installed.package_version.clone(),
            to: target.clone(),
            to_package_version: prepared.package_version.clone(),
            goal: goal.cloned(),
            rollback_package,
            failure: None,
            rollback_failed: None,
            held: installed.held,
            services: to_bring_up(agent),
            units: units(agent),
            since: self.now,
        };
        // Nothing is touched before it is known that the next pass will know of it.
        self.record
            .update(|history| history.unfinished = Some(change.clone()))?;
        let outcome = self.install_and_check(&change, &agent.services);
        self.close(&change, &outcome);
        Ok(outcome)
    }

    /// Keeps the installed version's package aside, if that is possible.
    fn keep(&self, installed: &Installed) -> Option<PathBuf> {
        let Installed {
            name,
            package_version,
            ..
        } = installed;
        info!(
            "the repository no longer has {name} {package_version}; keeping it aside for the way back"
        );
        let kept = match &installed.damage {
            None => self
                .packages
                .keep(installed, &self.record.directory().join("rollback")),
            Some(damage) => Err(PackageError::Failed(damage.clone())),
        };
        kept.map_err(|error| warn!("there is no way back to {name} {package_version}: {error}"))
            .ok()
    }

    /// Has a service run the binary on the disk, that is down or still runs an older one.
    pub fn restart(&self, unit: &str) -> Outcome {
        // A reload that somebody else has asked for may have come to its end since it was decided.
        match restart::ensure(unit, &self.rules) {
            Ok(()) => Outcome::Upgraded,
            Err(Unhealthy { reason, .. })
                if systemd::look(unit).is_ok_and(|now| now.health == Health::Running) =>
            {
                Outcome::Untouched(PackageError::Failed(reason))
            }
            Err(Unhealthy { reason, .. }) => Outcome::Broken {
                reason,
                back: NO_OTHER.into(),
                restored: true,
            },
        }
    }

    /// Ends a change that an earlier pass began and did not end. Nothing is returned if nothing of it is left to be done: it had
    /// changed nothing yet, or somebody has changed the package since.
    pub fn finish(&mut self, change: &Change) -> Option<Outcome> {
        let Change {
            package, from, to, ..
        } = change;
        let since = times::utc(change.since);
        warn!(
            "a pass of {since} was cut off while it changed {package} from {from} to {to}; finishing it"
        );
        if let Err(error) = self.packages.repair() {
            warn!("{error}");
        }
        let outcome = match self.packages.installed(package) {
            Ok(None) => None,
            Ok(Some(now)) if now.version != *from && now.version != *to && now.damage.is_none() => {
                None
            }
            _ if change.failure.is_some() => {
                Some(self.roll_back(change, &[], &[], change.failure.clone().unwrap_or_default()))
            }
            Ok(Some(now)) if self.is_whole(change, &now.version) => {
                self.see_to_services(change, &now.version)
            }
            // Whatever is half there is written whole by installing it again.
            _ => Some(self.install_and_check(change, &[])),
        };
        match &outcome {
            Some(outcome) => self.close(change, outcome),
            None => {
                if self
                    .packages
                    .installed(package)
                    .is_ok_and(|now| now.is_some())
                {
                    self.hold_again(change);
                }
                self.bring_to_disk();
                self.write_down(|history| history.unfinished = None);
            }
        }
        outcome
    }

    /// Whether nothing of an install that was cut off or failed is in the package, which is of `version`.
    fn is_whole(&self, change: &Change, version: &Version) -> bool {
        self.whole(change, version)
            .inspect_err(|reason| debug!("{} is not whole: {reason}", change.package))
            .is_ok()
    }

    /// Fails unless all is there that this version brings: its files, a program that runs, and the units that the host had. Newer packages
    /// link the program and copy the unit by a script, so that the package database misses neither.
    fn whole(&self, change: &Change, version: &Version) -> Result<(), String> {
        self.packages.prove(&change.package, version)?;
        self.packages.verify(&change.package)?;
        systemd::read_units_again();
        match systemd::missing(&change.units).as_slice() {
            [] => Ok(()),
            missing => Err(format!("unit {} not found", missing.join(", "))),
        }
    }

    /// The package is whole, of whichever version: has the services run it.
    fn see_to_services(&mut self, change: &Change, installed: &Version) -> Option<Outcome> {
        let ensured = each(&change.services, |unit| restart::ensure(unit, &self.rules));
        match ensured {
            Err(_) if systemd::host_is_shutting_down() => Some(going_down()),
            Err(unfit) if *installed == change.to => {
                Some(self.roll_back(change, &[], &unfit.old, unfit.reason))
            }
            // It is as it was, or as somebody made it since; whether that is well is decided anew.
            Err(unfit) => {
                warn!("{}", unfit.reason);
                None
            }
            Ok(()) => (*installed == change.to).then_some(Outcome::Upgraded),
        }
    }

    /// Installs, checks, and goes back if the version does not run. `before` is how the services were.
    fn install_and_check(&mut self, change: &Change, before: &[Service]) -> Outcome {
        info!(
            "installing {} {}",
            change.package, change.to_package_version
        );
        let step = self.step(format!(
            "installing {} {}",
            change.package, change.to_package_version
        ));
        let installed = self
            .packages
            .install(&change.package, &change.to_package_version);
        drop(step);
        let Err(reason) = self.packages.prove(&change.package, &change.to) else {
            systemd::read_units_again();
            // Nothing could be started any more under its name; what runs, runs on.
            let missing = systemd::missing(&change.units);
            if !missing.is_empty() && self.packages.installs() {
                let reason = format!("unit {} not found after the install", missing.join(", "));
                return self.roll_back(change, before, &[], reason);
            }
            return match each(&change.services, |unit| {
                restart::run_installed(unit, &self.rules)
            }) {
                Ok(()) if self.packages.installs() => Outcome::Upgraded,
                Ok(()) => Outcome::Tried,
                // It comes up with the host; the first pass then sees whether it does so well.
                Err(_) if systemd::host_is_shutting_down() => going_down(),
                Err(unfit) => self.roll_back(change, before, &unfit.old, unfit.reason),
            };
        };
        let unfit = match &installed {
            Ok(()) => reason,
            Err(error) => format!("{error} ({reason})"),
        };
        let error = installed
            .err()
            .unwrap_or_else(|| PackageError::Failed(format!("nothing was installed: {unfit}")));
        if change.from != change.to && self.is_whole(change, &change.from) {
            // Most failures leave the package as it was; but one of its scripts may have stopped the service.
            systemd::start_again(&change.services);
            Outcome::Untouched(error)
        } else if error.is_temporary() {
            systemd::start_again(&change.services);
            Outcome::Unfinished(error)
        } else if !error.is_the_versions() {
            // The version before could not be installed either. The next pass tries this one again.
            systemd::start_again(&change.services);
            Outcome::Broken {
                reason: error.to_string(),
                back: "for the same reason".into(),
                restored: false,
            }
        } else {
            self.roll_back(change, before, &[], unfit)
        }
    }

    /// Installs the version before again, and has the services run it. `before` is how they were, and `old` what became of the processes
    /// of those that the new version did not run in.
    fn roll_back(
        &mut self,
        change: &Change,
        before: &[Service],
        old: &[(String, Old)],
        reason: String,
    ) -> Outcome {
        if change.from == change.to {
            systemd::start_again(&change.services);
            let restored = self.is_whole(change, &change.from);
            return Outcome::Broken {
                reason,
                back: NO_OTHER.into(),
                restored,
            };
        }
        error!(
            "{} {}: {reason}; going back to {}",
            change.package, change.to, change.from
        );
        // Cut off from here on, the next pass goes on with the way back, and does not try that version again.
        self.write_down(|history| {
            if let Some(unfinished) = &mut history.unfinished {
                unfinished.failure = Some(reason.clone());
            }
        });
        let mut whole = self.whole(change, &change.from);
        // A second time if the scripts of the version that failed, which run when it goes, have taken away what was put back.
        for _ in 0..2 {
            let Err(lacks) = &whole else { break };
            debug!("{} {} is not there: {lacks}", change.package, change.from);
            let _step = self.step(format!(
                "installing {} {}",
                change.package, change.from_package_version
            ));
            let installed = self
                .packages
                .install(&change.package, &change.from_package_version);
            let installed = match (&change.rollback_package, installed) {
                (Some(file), Err(_)) => self.packages.install_kept(file),
                (_, installed) => installed,
            };
            if let Err(error) = installed {
                error!("{error}");
            }
            whole = self.whole(change, &change.from);
        }
        if let Err(back) = whole {
            // Whatever is there, an agent that may run is better than none.
            systemd::start_again(&change.services);
            return Outcome::Broken {
                reason,
                back,
                restored: false,
            };
        }
        let old_of = |unit: &str| {
            let was = before
                .iter()
                .find(|service| service.unit == unit)
                .and_then(|service| service.pid);
            match old.iter().find(|(named, _)| named == unit) {
                Some((_, Old::Draining)) => Old::Draining,
                Some((_, Old::Unknown)) => Old::Unknown,
                _ if was.is_some() && was == systemd::look(unit).ok().and_then(|now| now.pid) => {
                    Old::InCharge
                }
                _ => Old::Unknown,
            }
        };
        match each(&change.services, |unit| {
            restart::run_rolled_back(unit, old_of(unit), &self.rules)
        }) {
            Ok(()) => Outcome::RolledBack { reason },
            Err(_) if systemd::host_is_shutting_down() => going_down(),
            Err(unfit) => Outcome::Broken {
                reason,
                back: unfit.reason,
                restored: true,
            },
        }
    }

    /// Leaves the package on hold if it was, and records how the change ended.
    fn close(&mut self, change: &Change, outcome: &Outcome) {
        self.hold_again(change);
        if let (Some(file), false) = (
            &change.rollback_package,
            matches!(outcome, Outcome::Unfinished(_) | Outcome::Broken { .. }),
        ) {
            // It served its purpose, or was not needed; what cannot be removed costs some space.
            let _ = fs::remove_file(file);
        }
        self.bring_to_disk();
        let (at, target, goal) = (self.now, change.to.clone(), change.goal.clone());
        self.write_down(|history| match outcome {
            Outcome::Unfinished(_) => {}
            Outcome::Untouched(_) | Outcome::Tried => history.unfinished = None,
            Outcome::Upgraded if change.from == change.to => {
                // That says nothing of another version, which failed here; only that there is something to lose again.
                let other = history
                    .failed
                    .take()
                    .filter(|failed| failed.target != target);
                history.failed = other.map(|failed| FailedTarget {
                    rollback_failed: false,
                    ..failed
                });
                history.unfinished = None;
            }
            Outcome::Upgraded => {
                let done = Done {
                    from: change.from.clone(),
                    to: target,
                    goal,
                    at,
                    seconds: seconds_since(change.since),
                };
                (history.unfinished, history.failed, history.last_change) =
                    (None, None, Some(done));
                history.counts.upgrades += 1;
            }
            Outcome::RolledBack { reason } | Outcome::Broken { reason, .. } => {
                let rollback_failed = matches!(outcome, Outcome::Broken { .. });
                history.counts.rollbacks += u64::from(!rollback_failed);
                history.failed = Some(FailedTarget {
                    target,
                    goal,
                    reason: reason.clone(),
                    at,
                    rollback_failed,
                });
                // The next pass goes on with a way back that has not come to its end: what kept it from that may have passed.
                match (outcome, &mut history.unfinished) {
                    (
                        Outcome::Broken {
                            restored: false, ..
                        },
                        Some(unfinished),
                    ) => {
                        unfinished.rollback_failed = unfinished.failure.as_ref().map(|_| at);
                    }
                    _ => history.unfinished = None,
                }
            }
        });
    }

    /// Begins a step, for people at a terminal and for those who ask elsewhere.
    fn step(&self, what: String) -> Step {
        (self.rules.progress)(&what);
        Step::new(what)
    }

    fn hold_again(&self, change: &Change) {
        if change.held
            && let Err(error) = self.packages.hold(&change.package)
        {
            warn!(
                "{} was on hold and could not be put on hold again: {error}",
                change.package
            );
        }
    }

    /// Has the disk hold what was installed before it holds that nothing is left to be done. dpkg sees to that itself; rpm
    /// before 4.15 leaves it to the kernel, which takes half a minute, and a power cut in that time leaves empty files.
    fn bring_to_disk(&self) {
        for place in PLACES
            .map(Path::new)
            .into_iter()
            .chain([self.record.directory()])
        {
            match File::open(place).and_then(|file| Ok(syncfs(file)?)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    debug!(
                        "{}: cannot have its file system written to the disk: {}",
                        place.display(),
                        io_problem(&error)
                    );
                }
                _ => {}
            }
        }
    }

    /// What is done is done, recorded or not: the next pass looks at the host itself.
    fn write_down(&mut self, change: impl FnOnce(&mut History)) {
        if let Err(error) = self.record.update(change) {
            warn!("{}", reasons(&error));
        }
    }
}

/// What went wrong with some services.
struct Unfit {
    reason: String,
    /// What became of the process that each of them ran in before.
    old: Vec<(String, Old)>,
}

/// Does something to every unit, whatever becomes of the others, and says what went wrong.
fn each(units: &[String], act: impl Fn(&str) -> Result<(), Unhealthy>) -> Result<(), Unfit> {
    let problems: Vec<(&String, Unhealthy)> = units
        .iter()
        .filter_map(|unit| Some((unit, act(unit).err()?)))
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    let old = problems
        .iter()
        .map(|(unit, problem)| (unit.to_string(), problem.old))
        .collect();
    let reasons: Vec<String> = problems
        .into_iter()
        .map(|(_, problem)| problem.reason)
        .collect();
    Err(Unfit {
        reason: reasons.join(", and "),
        old,
    })
}

/// How long ago `moment` was, in seconds, by a clock that somebody may have set back.
fn seconds_since(moment: DateTime<Utc>) -> f64 {
    times::seconds((Utc::now() - moment).to_std().unwrap_or_default())
}

fn going_down() -> Outcome {
    Outcome::Unfinished(PackageError::Failed(
        "the host is going down; the next pass goes on".into(),
    ))
}

/// The units that the host has.
fn units(agent: &Agent) -> Vec<String> {
    agent
        .services
        .iter()
        .filter(|service| service.health != Health::Absent)
        .map(|service| service.unit.clone())
        .collect()
}

/// The services that must run after the change: those that ran, and those that should have.
fn to_bring_up(agent: &Agent) -> Vec<String> {
    let wanted = |health: &Health| !matches!(health, Health::Stopped | Health::Absent);
    agent
        .services
        .iter()
        .filter(|service| wanted(&service.health))
        .map(|service| service.unit.clone())
        .collect()
}
