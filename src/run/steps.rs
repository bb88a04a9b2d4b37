//! The steps of a run: decide, make one change, look again, until there is nothing more to do now.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use log::{debug, warn};

use crate::agent::managed;
use crate::agent::service::Reach;
use crate::agent::service::readiness;
use crate::agent::service::verify::Rules;
use crate::decide::compatibility::NotAllowed;
use crate::decide::decision::{Action, Cause, Decision, Next, Wait};
use crate::decide::observation::Observation;
use crate::decide::path::{Intermediate, UpgradePath};
use crate::decide::policy;
use crate::exit::Exit;
use crate::observe;
use crate::packages::package::Installed;
use crate::packages::{Found, PackageManager, Prepared};
use crate::report::decision::DecisionReport;
use crate::report::outcome;
use crate::report::outcome::{Attempt, End, conclude};
use crate::report::words::action;
use crate::run::Run;
use crate::run::hooks::Before;
use crate::server::answers::{Cluster, Percentage};
use crate::state::changes::{Begun, Start};
use crate::state::history::{Change, History};
use crate::system::text::reasons;
use crate::upgrade::{Outcome, Transaction, past};
use crate::version::Version;

/// What follows from a step of a run.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Step {
    /// Look at the host again and decide again. What servers have answered to this observation stays.
    Look(Observation, Carried),
    /// Nothing more is to be done now.
    Finish(Finished),
}

/// What a run hands from one step to the next.
#[derive(Default)]
struct Carried {
    /// Whether the available version was announced.
    announced: bool,
    /// The package that is ready to install.
    prepared: Option<(Version, Found, Prepared)>,
    /// The changes made so far. None is made twice: a host that undoes them would keep the run busy forever.
    made: Vec<Action>,
    /// A rollback that failed in this run, and from which version; another version may still repair the host.
    broken: Option<(End, Version)>,
}

/// How a run ended.
pub(super) struct Finished {
    pub(super) end: End,
    pub(super) prefetch: Prefetch,
}

/// What to do about the pre-download.
pub(super) enum Prefetch {
    /// Nothing: it is not known whether an upgrade waits for a window.
    Keep,
    /// Remove it: no upgrade waits for a window.
    Discard,
    /// Advance it: an upgrade of this package on this path waits for a window that opens then.
    For(Box<(Installed, UpgradePath, DateTime<Utc>)>),
}

impl Run<'_> {
    /// Makes every change that is due.
    pub(super) fn changes(
        &mut self,
        packages: &dyn PackageManager,
        seen: Observation,
    ) -> Result<Finished> {
        let mut step = self.step(packages, seen, Carried::default())?;
        loop {
            match step {
                Step::Finish(finished) => return Ok(finished),
                Step::Look(before, carried) => {
                    // Time has passed and the host has changed. Of the history, what earlier runs recorded counts.
                    let history = History {
                        failed: self.record.history().failed.clone(),
                        ..before.history.clone()
                    };
                    let seen = observe::again(self.config, history, before)?;
                    // By what was just installed, or by an administrator meanwhile.
                    if let (Some(link), None) = (managed::managed_by_another(), &carried.broken) {
                        return Ok(Finished {
                            end: outcome::disallow(&NotAllowed::Managed(link)),
                            prefetch: Prefetch::Keep,
                        });
                    }
                    step = self.step(packages, seen, carried)?;
                }
            }
        }
    }

    /// Decides, and makes the change that is due, if there is one.
    fn step(
        &mut self,
        packages: &dyn PackageManager,
        seen: Observation,
        mut carried: Carried,
    ) -> Result<Step> {
        self.report.observed(self.config, &seen);
        let decided = self.sources.decide(seen);
        if let Ok((seen, decision)) = &decided {
            self.report.decided(self.config, seen, decision);
        }
        if let Some((end, version)) = &carried.broken {
            let repairs = |decision: &Decision| matches!(decision, Decision::Go(action, _) if action.target() != version);
            if !decided
                .as_ref()
                .is_ok_and(|(_, decision)| repairs(decision))
            {
                return Ok(Step::Finish(Finished {
                    end: end.clone(),
                    prefetch: Prefetch::Keep,
                }));
            }
        }
        let (seen, decision) = decided?;
        if !matches!(decision, Decision::Resume(_)) && !carried.announced {
            // A run does not depend on its output being read.
            let _ = outcome::announce(&seen);
            carried.announced = true;
        }
        match decision {
            Decision::Resume(change) => Ok(self.resume(packages, seen, carried, *change)),
            Decision::Go(action, cause) => self.act(packages, seen, carried, action, &cause),
            decision => Ok(Step::Finish(Finished {
                end: outcome::rest(&seen, &decision),
                prefetch: prefetch(seen, decision),
            })),
        }
    }

    /// Resumes a change that an earlier run began.
    fn resume(
        &mut self,
        packages: &dyn PackageManager,
        mut seen: Observation,
        mut carried: Carried,
        change: Change,
    ) -> Step {
        let Change { from, to, .. } = &change;
        self.lock
            .note(&format!("resuming the change from {from} to {to}"));
        let began = Instant::now();
        let signals = self.signals;
        let deferred = signals.defer();
        let outcome = self.transaction(packages, &seen, change.start.clone(), |transaction| {
            transaction.finish(&change)
        });
        outcome.iter().for_each(|outcome| self.after(outcome));
        drop(deferred);
        // Resumed once a run: what it could not finish, or not record, is left to the next one.
        seen.history.unfinished = None;
        let Some(outcome) = outcome else {
            return Step::Look(seen, carried);
        };
        let between = change.goal.iter().map(|_| change.to.clone()).collect();
        let action = Action::Upgrade(UpgradePath {
            from: change.from.clone(),
            intermediate: Intermediate::Known(between),
            target: change.goal.as_ref().unwrap_or(&change.to).clone(),
        });
        let attempt = Attempt {
            seen: &seen,
            action: &action,
            cause: "a previous upgrade was interrupted",
            took: began.elapsed(),
        };
        let end = conclude(&attempt, &outcome);
        if end.exit == Exit::Broken {
            carried.broken = Some((end, change.to));
        } else if outcome != Outcome::Upgraded || self.signals.asked_to_end() {
            return self.finish(seen, end);
        }
        Step::Look(seen, carried)
    }

    /// Prepares a change, runs the hooks before it, or makes it. The first two take time, so the decision is made again afterwards.
    fn act(
        &mut self,
        packages: &dyn PackageManager,
        mut seen: Observation,
        mut carried: Carried,
        action: Action,
        cause: &Cause,
    ) -> Result<Step> {
        self.lock.note(&action::doing(&action));
        let prepared = carried.prepared.take();
        let goal = goal(&action);
        let start = Start {
            cause: action::cause(cause),
            user: self.user.clone(),
            forced: self.forced,
        };
        let ready = match &action {
            Action::Restart(..) => None,
            action => {
                let version = match action {
                    Action::Upgrade(path) => {
                        path.next().context("the upgrade path is not known")?
                    }
                    other => other.target(),
                };
                let Some(ready) = prepared.filter(|(prepared, ..)| prepared == version) else {
                    return Ok(self.prepare(packages, seen, carried, (action, version), start));
                };
                Some(ready)
            }
        };
        let signals = self.signals;
        let _deferred = signals.defer();
        match self.before(&seen, &action, cause)? {
            Before::Go => {}
            Before::DecideAgain => {
                carried.prepared = ready;
                return Ok(Step::Look(seen, carried));
            }
            Before::Postponed(end) => return Ok(self.finish(seen, end)),
        }
        let began = Instant::now();
        let outcome = self.transaction(packages, &seen, start, |transaction| {
            match (&action, ready) {
                (Action::Restart(version, unit), _) => Ok(transaction.restart(version, unit)),
                (_, Some((version, found, prepared))) => {
                    transaction.upgrade(&seen.agent, &version, goal.as_ref(), (found, prepared))
                }
                (_, None) => bail!("no package is prepared"),
            }
        })?;
        let attempt = Attempt {
            seen: &seen,
            action: &action,
            cause: &action::cause(cause),
            took: began.elapsed(),
        };
        let end = conclude(&attempt, &outcome);
        self.after(&outcome);
        // After a restart there may be other services; after an intermediate version there is the next one.
        let goes_on = matches!(action, Action::Restart(..))
            || (goal.is_some() && !self.signals.asked_to_end());
        if outcome != Outcome::Upgraded || !goes_on || carried.made.contains(&action) {
            return Ok(self.finish(seen, end));
        }
        if goal.is_some() {
            // That took a while, and the release channel may have changed meanwhile.
            (seen.target, seen.critical) = (None, None);
            (seen.percentage, seen.offer) = (None, None);
        }
        carried.broken = None;
        carried.made.push(action);
        Ok(Step::Look(seen, carried))
    }

    /// Downloads what is to be installed.
    fn prepare(
        &mut self,
        packages: &dyn PackageManager,
        seen: Observation,
        mut carried: Carried,
        (action, version): (&Action, &Version),
        start: Start,
    ) -> Step {
        let package = &seen.agent.package;
        let download = |found: Found| Ok((packages.download(package, &found)?, found));
        match packages.find(package, version).and_then(download) {
            Ok((prepared, found)) => {
                carried.prepared = Some((version.clone(), found, prepared));
                Step::Look(seen, carried)
            }
            Err(error) => {
                let begun = Begun {
                    began: seen.now,
                    from: package.version.clone(),
                    to: version.clone(),
                    goal: goal(action),
                    service: None,
                    start,
                };
                let outcome = Outcome::Untouched(error.into());
                if let Some(ended) = past::ended(begun, &outcome)
                    && let Err(error) = self.record.update(|history| history.changes.add(ended))
                {
                    warn!("{}", reasons(&error));
                }
                let attempt = Attempt {
                    seen: &seen,
                    action,
                    cause: "",
                    took: Duration::ZERO,
                };
                let end = conclude(&attempt, &outcome);
                self.finish(seen, end)
            }
        }
    }

    /// Finishes the run after a change, or an attempt. The metrics then show the host as it is now.
    fn finish(&mut self, seen: Observation, end: End) -> Step {
        if self.config.metrics.is_some() {
            let history = self.record.history().clone();
            let before = Observation {
                forced: false,
                ..seen
            };
            match observe::again(self.config, history, before) {
                Ok(seen) => {
                    self.report.observed(self.config, &seen);
                    self.report.decision = match policy::decide(&seen) {
                        Next::Decide(decision) => DecisionReport::of(&seen, &decision),
                        Next::Ask(_) => DecisionReport::unknown(end.line.clone()),
                    };
                }
                Err(error) => debug!("cannot observe the host again: {}", reasons(&error)),
            }
        }
        Step::Finish(Finished {
            end,
            prefetch: Prefetch::Keep,
        })
    }

    /// Does something in a transaction.
    fn transaction<T>(
        &mut self,
        packages: &dyn PackageManager,
        seen: &Observation,
        start: Start,
        act: impl FnOnce(&mut Transaction) -> T,
    ) -> T {
        let socket = seen.settings.data_dir.join(readiness::SOCKET);
        // If the cluster answered for the decision, that is recent enough for the first question, and for no other.
        let reach = seen.cluster.as_ref().map(Cluster::reach);
        let known = Cell::new(reach.filter(|reach| *reach == Reach::Reachable));
        let (sources, lock) = (&self.sources, &self.lock);
        let cluster = || known.take().unwrap_or_else(|| sources.reach(seen));
        let progress = |step: &str| lock.step(step);
        let rules = Rules {
            observe: self.config.observe,
            socket: &socket,
            schedule: self.config.schedule.as_path(),
            cluster: &cluster,
            progress: &progress,
        };
        act(&mut Transaction {
            packages,
            record: &mut self.record,
            rules,
            now: seen.now,
            start,
        })
    }
}

/// The target version, if the next step leads to an intermediate version.
fn goal(action: &Action) -> Option<Version> {
    match action {
        Action::Upgrade(path) => path.goal().cloned(),
        _ => None,
    }
}

/// What a decision to do nothing now means for the pre-download.
fn prefetch(seen: Observation, decision: Decision) -> Prefetch {
    match decision {
        Decision::Wait(Action::Upgrade(path), Wait::Window(window, _)) => {
            Prefetch::For(Box::new((seen.agent.package, path, window.start)))
        }
        Decision::Wait(Action::Upgrade(_), Wait::NextCheck(_) | Wait::Schedule(_)) => {
            Prefetch::Keep
        }
        // It was known before, perhaps, and will be at the next check.
        Decision::Wait(_, Wait::Rollout(standing))
            if matches!(standing.percentage, Percentage::Unknown(_)) =>
        {
            Prefetch::Keep
        }
        _ => Prefetch::Discard,
    }
}
