//! One pass: observe, decide, act, tell. What `run` and `force` differ in.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::path::Path as FilePath;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use log::{debug, warn};

use crate::agent::look;
use crate::agent::service::readiness;
use crate::agent::service::verify::Rules;
use crate::cli::Options;
use crate::config::Config;
use crate::decide::compatibility::NotAllowed;
use crate::decide::path::{Path, Stops};
use crate::decide::policy::{Action, Cause, Decision, Observation, Wait};
use crate::decide::{policy, prefetch};
use crate::observe::Asks;
use crate::packages::package::Installed;
use crate::packages::{PackageManager, Prepared};
use crate::report::outcome::{End, Exit, conclude};
use crate::report::{AgentReport, DecisionReport, Report, State, metrics, notice, outcome};
use crate::server::cluster::{Cluster, Reach};
use crate::server::http::Patience;
use crate::state::cache::Cache;
use crate::state::history::{Change, Download, Failure, Fetched, History, LastRun};
use crate::state::lock::{Lock, Taken};
use crate::state::record::Record;
use crate::state::{cache, lock, record};
use crate::system::signals::Signals;
use crate::system::text::{io_problem, reasons};
use crate::system::{scope, times};
use crate::upgrade::{Outcome, Transaction, predownload};
use crate::version::Version;
use crate::{observe, packages, status};

/// How long "force" waits for a pass that is at work: as long as a download ahead may take, with the package manager's refresh, and the
/// wait for its lock.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Checks, and upgrades if allowed.
pub fn run(options: &Options) -> Result<Exit> {
    outcome::require_root("run")?;
    pass(options, false)
}

/// Upgrades whatever the window says. Somebody wants it now, and the timer does not come again for it, so a pass that is at work is
/// waited for; then all is read anew.
pub fn force(options: &Options) -> Result<Exit> {
    outcome::require_root("force")?;
    let until = Instant::now() + PATIENCE;
    loop {
        match pass(options, true) {
            Err(error) if error.is::<Taken>() => {
                lock::wait(&options.state_dir, error.downcast()?, until)?
            }
            ended => return ended,
        }
    }
}

fn pass(options: &Options, forced: bool) -> Result<Exit> {
    if let Some(refusal) = observe::managed_by_another(options) {
        // What waited for us before waits for nobody now.
        if let Err(error) = notice::remove(FilePath::new(notice::FILE)) {
            warn!("{}: cannot remove it: {}", notice::FILE, io_problem(&error));
        }
        return Ok(outcome::refuse(&Decision::NotAllowed(refusal)).exit);
    }
    let config = Config::read(&options.config_dir)?;
    scope::leave(&config.services);
    record::make_state_directory(&options.state_dir)?;
    let lock = Lock::take(&options.state_dir)?;
    let record = Record::open(&options.state_dir);
    let began = Utc::now();
    let mut pass = Pass {
        config: &config,
        asks: Asks::new(&config, true, Patience::Pass),
        forced,
        lock,
        signals: &Signals::new()?,
        report: Report::new(
            began,
            record.history(),
            record::last_run(&options.state_dir),
        ),
        record,
        prepared: None,
        announced: false,
        restarted: None,
        reached: None,
        ahead: None,
    };
    let stopwatch = Instant::now();
    let ended = pass.run();
    pass.tell(began, stopwatch.elapsed(), &ended);
    ended.map(|end| end.exit)
}

/// A pass that may change the host.
struct Pass<'a> {
    config: &'a Config,
    asks: Asks<'a>,
    forced: bool,
    lock: Lock,
    signals: &'a Signals,
    record: Record,
    /// What it has seen and decided, for whoever was not there.
    report: Report,
    /// The version that the package manager has made ready to install.
    prepared: Option<(Version, Prepared)>,
    /// Whether it was said what is available.
    announced: bool,
    /// The service that was restarted last.
    restarted: Option<String>,
    /// The stop on the way to the target that was reached last.
    reached: Option<Version>,
    /// What this pass has decided about a download ahead; nothing if it has not come to that.
    ahead: Option<Ahead>,
}

/// Whether anything is to be downloaded ahead.
enum Ahead {
    /// Nothing waits.
    Nothing,
    /// This package is to go this way in a window that opens then.
    Waits(Box<(Installed, Path, DateTime<Utc>)>),
}

impl Pass<'_> {
    fn run(&mut self) -> Result<End> {
        let file = FilePath::new(cache::FILE);
        let before = Cache::read(file);
        let mut cache = before.clone();
        let history = self.record.history().clone();
        let seen = observe::first_look(self.config, history, &mut cache, self.forced)?;
        cache.write(file, &before);
        // Whatever becomes of this pass, the next one must know what this one saw of the schedule.
        let absent_since = policy::schedule_absent_since(&seen);
        let restarts = seen
            .agent
            .services
            .iter()
            .map(|service| (service.unit.clone(), service.restarts))
            .collect();
        let seen_now = |history: &mut History| {
            (history.schedule_absent_since, history.restarts) = (absent_since, restarts);
        };
        if let Err(error) = self.record.update(seen_now) {
            // No reason not to mend what is broken. What changes the agent's version is recorded first, or not done.
            warn!("{}", reasons(&error));
        }
        self.report.installer = Some(packages::installer(
            self.config,
            seen.agent.package.database,
        ));
        let packages = packages::manager(self.config, seen.agent.package.database)?;
        let package = seen.agent.package.clone();
        let is_ours = seen.settings.cluster_service.is_none();
        let end = self.decide_and_act(packages.as_ref(), seen);
        if is_ours && look::managed_by_another().is_none() {
            self.see_to_the_lock(packages.as_ref(), &package);
        }
        if let Some(ahead) = self.ahead.take() {
            self.see_to_the_download(packages.as_ref(), ahead);
        }
        end
    }

    /// Downloads what waits for its window, once its time has come, and removes what was downloaded and is not waited for any more.
    fn see_to_the_download(&mut self, packages: &dyn PackageManager, ahead: Ahead) {
        let (installed, path, opens) = match ahead {
            Ahead::Waits(waits) if self.config.prefetch && packages.downloads().is_some() => *waits,
            _ => return predownload::discard(packages, &mut self.record),
        };
        let now = Utc::now();
        // What leads elsewhere, or to a stop on the way that is behind us.
        let is_past = |fetched: &Fetched| fetched.package_version == installed.package_version;
        let is_stale = |download: &Download| {
            download.target != path.target || download.fetched.as_ref().is_some_and(is_past)
        };
        if self
            .record
            .history()
            .download
            .as_ref()
            .is_some_and(is_stale)
        {
            predownload::discard(packages, &mut self.record);
        }
        let planned = predownload::planned(&self.record, &path.target, opens, || {
            prefetch::due(now, opens, chance())
        });
        if !planned.is_complete() && prefetch::is_time(now, planned.due, opens) {
            match self.asks.next(&installed, &path) {
                Some(version) => {
                    self.lock.note(&format!("downloading {version}"));
                    predownload::fetch(packages, &mut self.record, &planned, &installed, &version);
                }
                None => debug!("the way {path} is not known yet, so nothing is downloaded ahead"),
            }
        } else {
            predownload::plan(&mut self.record, Some(planned));
        }
    }

    fn decide_and_act(
        &mut self,
        packages: &dyn PackageManager,
        mut seen: Observation,
    ) -> Result<End> {
        // A way back that has failed, and from which version; a newer one may still mend the host.
        let mut broken: Option<(End, Version)> = None;
        loop {
            self.report.observed(self.config, &seen);
            let stops = self.reached.clone();
            let decided = self.asks.decide(seen);
            if let Ok((seen, decision)) = &decided {
                self.report.decided(self.config, seen, decision);
            }
            if let Some((end, version)) = &broken
                && !matches!(&decided, Ok((_, Decision::Go(action, _))) if action.target() != version)
            {
                return Ok(end.clone());
            }
            let decision;
            (seen, decision) = decided?;
            let end = match &decision {
                Decision::Finish(change) => {
                    let end = self.finish(packages, &seen, change);
                    // Once a pass: what it could not end, or not write down, is for the next one.
                    seen.history.unfinished = None;
                    match end {
                        Some(end) if end.exit == Exit::Broken => {
                            broken = Some((end, change.to.clone()));
                            None
                        }
                        other => other,
                    }
                }
                Decision::Go(action, cause) => self.act(packages, &seen, action, cause)?,
                other => {
                    self.announce(&seen);
                    self.ahead = match other {
                        Decision::Wait(Action::Upgrade(path), Wait::Window(window, _)) => {
                            Some(Ahead::Waits(Box::new((
                                seen.agent.package.clone(),
                                path.clone(),
                                window.start,
                            ))))
                        }
                        Decision::Wait(Action::Upgrade(_), Wait::SecondLook(_)) => None,
                        _ => Some(Ahead::Nothing),
                    };
                    return Ok(outcome::rest(&seen, other));
                }
            };
            if let Some(end) = end {
                if self.config.metrics.is_some() {
                    self.look_again(seen);
                }
                return Ok(end);
            }
            // The time has gone on, and the host is not what it was: look again before the next step. What counts of the
            // earlier passes is what they had recorded when this one began.
            let failed = self.record.history().failed.clone();
            let history = History {
                failed,
                ..seen.history.clone()
            };
            if self.reached != stops {
                // That took its time, in which the operator may have thought better of the rest of the way.
                (seen.target, seen.critical, seen.offer) = (None, None, None);
            }
            seen = observe::again(self.config, history, self.forced, seen)?;
            // By what was installed just now, or by somebody else meanwhile.
            if let (Some(link), None) = (look::managed_by_another(), &broken) {
                return Ok(outcome::refuse(&Decision::NotAllowed(NotAllowed::Managed(
                    link,
                ))));
            }
        }
    }

    /// Sees, for the metrics, how the host is after a change was tried, and what the next pass would make of it.
    fn look_again(&mut self, seen: Observation) {
        let history = self.record.history().clone();
        match observe::again(self.config, history, false, seen) {
            Ok(seen) => {
                let decision = policy::decide(&seen);
                self.report.decided(self.config, &seen, &decision);
            }
            Err(error) => debug!("cannot look again: {}", reasons(&error)),
        }
    }

    /// Tells of the pass whoever was not there: the record, the metrics and the login notice. None of them is worth failing for.
    fn tell(&mut self, began: DateTime<Utc>, took: Duration, ended: &Result<End>) {
        let end = ended.as_ref().map_or_else(End::by, End::clone);
        if let Err(error) = ended {
            self.report.decision = DecisionReport::unknown(reasons(error));
        }
        let seconds = times::seconds(took);
        let counted = self.record.update(|history| {
            history.counts.failures += u64::from(end.exit.is_failure());
            if end.exit.is_failure() || end.exit == Exit::RolledBack {
                history.last_failure = Some(Failure {
                    at: began,
                    seconds,
                    reason: end.line.clone(),
                });
            }
        });
        let before = self.report.last_run.clone();
        let last_success = if end.exit == Exit::Fine {
            Some(began)
        } else {
            before.as_ref().and_then(|before| before.last_success)
        };
        let target = match self
            .report
            .channel
            .as_ref()
            .filter(|channel| channel.answered)
        {
            Some(channel) => channel.target.clone(),
            None => before.and_then(|before| before.target),
        };
        let running = self
            .report
            .agent
            .as_ref()
            .map(AgentReport::running)
            .unwrap_or_default();
        let pass = LastRun {
            at: began,
            seconds,
            exit: end.exit as u8,
            outcome: end.line,
            target,
            last_success,
            running,
        };
        let noted = self.record.note(&pass);
        self.report.recorded(self.record.history(), pass);
        for told in [
            counted,
            noted,
            self.write_metrics(),
            self.see_to_the_notice(),
        ] {
            if let Err(error) = told {
                warn!("{}", reasons(&error));
            }
        }
    }

    fn write_metrics(&mut self) -> Result<()> {
        let Some(directory) = &self.config.metrics else {
            return Ok(());
        };
        self.report.schedule = Some(status::schedule(&self.config.schedule, Utc::now()));
        let cannot = || {
            format!(
                "{}: cannot write the metrics there; make that directory, or remove the file \"metrics\"",
                directory.display()
            )
        };
        metrics::write(directory, &self.report).with_context(cannot)
    }

    /// While it is not known what is to be done, what was said before may still be so.
    fn see_to_the_notice(&self) -> Result<()> {
        let file = FilePath::new(notice::FILE);
        let seen_to = match (self.config.notice, self.report.decision.state) {
            (false, _) => notice::remove(file),
            (true, State::Unknown) => Ok(()),
            (true, _) => notice::update(file, &self.report),
        };
        seen_to.with_context(|| format!("{}: cannot write it", file.display()))
    }

    /// Has ordinary system updates leave the agent alone, or no longer, as the configuration wants it. An administrator's own lock is
    /// not touched.
    fn see_to_the_lock(&mut self, packages: &dyn PackageManager, package: &Installed) {
        let history = self.record.history();
        if history.unfinished.is_some() {
            return;
        }
        let done = match (self.config.lock, package.held, history.held_by_us) {
            // Recorded first: a lock of which nobody knows whose it is would stay for ever.
            (true, false, _) => self
                .record
                .update(|history| history.held_by_us = true)
                .and_then(|()| Ok(packages.hold(&package.name)?)),
            // It may be a lock that we do not recognise any more; what is ours is marked, and nothing else is taken.
            (false, _, true) => packages
                .release(&package.name)
                .map_err(anyhow::Error::from)
                .and_then(|()| self.record.update(|history| history.held_by_us = false)),
            _ => return,
        };
        if let Err(error) = done {
            warn!(
                "{}: its lock against ordinary system updates is not as it should be: {}; the next pass tries again",
                package.name,
                reasons(&error)
            );
        }
    }

    /// Says what is available, once.
    fn announce(&mut self, seen: &Observation) {
        if !std::mem::replace(&mut self.announced, true) {
            outcome::announce(seen);
        }
    }

    /// Ends what an earlier pass began. Returns nothing if this pass can go on.
    fn finish(
        &mut self,
        packages: &dyn PackageManager,
        seen: &Observation,
        change: &Change,
    ) -> Option<End> {
        self.lock.note(&format!(
            "resuming the change from {} to {}",
            change.from, change.to
        ));
        let signals = self.signals;
        let deferred = signals.defer();
        let outcome = self.transaction(packages, seen, |transaction| transaction.finish(change))?;
        drop(deferred);
        let stops = Stops::Known(change.goal.iter().map(|_| change.to.clone()).collect());
        let target = change.goal.as_ref().unwrap_or(&change.to).clone();
        let action = Action::Upgrade(Path {
            from: change.from.clone(),
            stops,
            target,
        });
        let end = conclude(&action, "an earlier pass was cut off", &outcome);
        (outcome != Outcome::Upgraded || self.signals.asked_to_end()).then_some(end)
    }

    /// Makes a change, or prepares it: that takes its time, and whether it may be made is decided again afterwards.
    fn act(
        &mut self,
        packages: &dyn PackageManager,
        seen: &Observation,
        action: &Action,
        cause: &Cause,
    ) -> Result<Option<End>> {
        self.announce(seen);
        self.lock.note(&action.doing());
        let (version, goal) = match action {
            Action::Restart(_, unit) => {
                return Ok(self.restart(packages, seen, action, cause, unit));
            }
            Action::Reinstall(version, _) => (version, None),
            Action::Upgrade(path) => (
                path.next().context("the way to the target is not known")?,
                path.goal(),
            ),
        };
        let Some((_, prepared)) = self
            .prepared
            .take()
            .filter(|(prepared, _)| prepared == version)
        else {
            let package = &seen.agent.package;
            let download = |found: Prepared| {
                packages
                    .download(package, &found.package_version)
                    .map(|()| found)
            };
            match packages.find(package, version).and_then(download) {
                Ok(prepared) => self.prepared = Some((version.clone(), prepared)),
                Err(error) => return Ok(Some(conclude(action, "", &Outcome::Untouched(error)))),
            }
            return Ok(None);
        };
        let signals = self.signals;
        let _deferred = signals.defer();
        let outcome = self.transaction(packages, seen, |transaction| {
            transaction.upgrade(&seen.agent, version, goal, &prepared)
        })?;
        let end = conclude(action, &cause.to_string(), &outcome);
        let at_a_stop =
            goal.is_some() && outcome == Outcome::Upgraded && !self.signals.asked_to_end();
        // One that is reached twice was taken away meanwhile: whoever does so could keep this pass busy for ever.
        let goes_on = at_a_stop && self.reached.replace(version.clone()).as_ref() != Some(version);
        Ok((!goes_on).then_some(end))
    }

    /// Has a service run what is installed. Returns nothing if this pass can go on: there may be others.
    fn restart(
        &mut self,
        packages: &dyn PackageManager,
        seen: &Observation,
        action: &Action,
        cause: &Cause,
        unit: &str,
    ) -> Option<End> {
        let signals = self.signals;
        let _deferred = signals.defer();
        let outcome = self.transaction(packages, seen, |transaction| transaction.restart(unit));
        let end = conclude(action, &cause.to_string(), &outcome);
        let again = self.restarted.replace(unit.to_string()).as_deref() == Some(unit);
        (outcome != Outcome::Upgraded || again).then_some(end)
    }

    /// Does something in a transaction.
    fn transaction<T>(
        &mut self,
        packages: &dyn PackageManager,
        seen: &Observation,
        act: impl FnOnce(&mut Transaction) -> T,
    ) -> T {
        let socket = seen.settings.data_dir.join(readiness::SOCKET);
        // That it could be reached for the decision is new enough for the first question, and for no other.
        let known = Cell::new(
            seen.cluster
                .as_ref()
                .map(Cluster::reach)
                .filter(|reach| *reach == Reach::Reachable),
        );
        let (asks, lock) = (&self.asks, &self.lock);
        let cluster = || known.take().unwrap_or_else(|| asks.reach(seen));
        let progress = |step: &str| lock.step(step);
        let (observe, schedule) = (self.config.observe, self.config.schedule.as_path());
        let rules = Rules {
            observe,
            socket: &socket,
            schedule,
            cluster: &cluster,
            progress: &progress,
        };
        act(&mut Transaction {
            packages,
            record: &mut self.record,
            rules,
            now: seen.now,
        })
    }
}

/// A number from 0 to 1 that is another each time.
fn chance() -> f64 {
    f64::from(RandomState::new().hash_one(()) as u32) / f64::from(u32::MAX)
}
