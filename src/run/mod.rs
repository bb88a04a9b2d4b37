//! One run: observe, decide, act, record. How `run` and `force` differ.

mod hooks;
mod publish;
mod steps;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::Utc;
use log::{debug, warn};

use crate::agent::managed;
use crate::cli::Options;
use crate::config::Config;
use crate::decide::{policy, prefetch};
use crate::exit::{Exit, require_root};
use crate::observe::sources::Sources;
use crate::packages::PackageManager;
use crate::packages::package::Installed;
use crate::report::outcome::End;
use crate::report::{Report, notice, outcome};
use crate::run::steps::{Finished, Prefetch};
use crate::server::http::Patience;
use crate::state::cache::Cache;
use crate::state::history::{Download, Fetched, Postponed};
use crate::state::lock::{Lock, Taken};
use crate::state::record::Record;
use crate::state::{cache, lock, record};
use crate::system::process::signals::Signals;
use crate::system::process::{scope, user};
use crate::system::text::{io_problem, reasons};
use crate::upgrade::predownload;
use crate::{observe, packages};

/// How long `force` waits for a run in progress: as long as a pre-download may take, with the refresh of the index and the wait for the
/// package manager's lock.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Checks, and upgrades if allowed.
pub fn run(options: &Options) -> Result<Exit> {
    require_root("run")?;
    start(options, false)
}

/// Upgrades whatever the window. The timer does not do this again later, so a run in progress is waited for.
pub fn force(options: &Options) -> Result<Exit> {
    require_root("force")?;
    let until = Instant::now() + PATIENCE;
    loop {
        match start(options, true) {
            Err(error) if error.is::<Taken>() => {
                lock::wait(&options.state_dir, error.downcast()?, until)?
            }
            ended => return ended,
        }
    }
}

fn start(options: &Options, forced: bool) -> Result<Exit> {
    if let Some(reason) = observe::managed_by_another(options) {
        // Whatever it announced will not happen.
        if let Err(error) = notice::remove(Path::new(notice::FILE)) {
            warn!("cannot remove {}: {}", notice::FILE, io_problem(&error));
        }
        return Ok(outcome::disallow(&reason).exit);
    }
    let config = Config::read(&options.config_dir)?;
    scope::leave(&config.services);
    record::make_state_directory(&options.state_dir)?;
    let lock = Lock::take(&options.state_dir)?;
    let record = Record::open(&options.state_dir);
    let (began, stopwatch) = (Utc::now(), Instant::now());
    let last_run = record::last_run(&options.state_dir);
    let mut run = Run {
        config: &config,
        sources: Sources::new(&config, true, Patience::Run),
        forced,
        user: user::of_this_run(),
        lock,
        signals: &Signals::new()?,
        postponed: last_run.as_ref().and_then(|last| last.postponed.clone()),
        hooks_ran: false,
        report: Report::new(began, record.history(), last_run),
        record,
    };
    let ended = run.complete();
    run.publish(began, stopwatch.elapsed(), &ended);
    ended.map(|end| end.exit)
}

/// A run, and what it works with.
struct Run<'a> {
    config: &'a Config,
    sources: Sources<'a>,
    forced: bool,
    /// Who started this run; nothing if the timer did.
    user: Option<String>,
    lock: Lock,
    signals: &'a Signals,
    record: Record,
    /// The hook that postponed the pending change.
    postponed: Option<Postponed>,
    /// Whether the hooks before the recorded change ran in this run.
    hooks_ran: bool,
    /// What was observed and decided.
    report: Report,
}

impl Run<'_> {
    /// The whole run, but for its report.
    fn complete(&mut self) -> Result<End> {
        let file = Path::new(cache::FILE);
        let before = Cache::read(file);
        let mut cache = before.clone();
        let history = self.record.history().clone();
        let seen = observe::first(self.config, history, &mut cache, self.forced)?;
        if let Some(problem) = observe::windows::other_time_zone(self.config) {
            warn!("{problem}");
        }
        cache.write(file, &before);
        // Recorded whatever becomes of this run: the next one must know.
        let absent_since = policy::schedule_absent_since(&seen);
        let services = seen.agent.services.iter();
        let restarts = services
            .map(|service| (service.unit.clone(), service.restarts))
            .collect();
        let recorded = self.record.update(|history| {
            (history.schedule_absent_since, history.restarts) = (absent_since, restarts);
        });
        if let Err(error) = recorded {
            // Repairs need no record. A change of version does, and is not made without one.
            warn!("{}", reasons(&error));
        }
        let package = seen.agent.package.clone();
        self.report.installer = Some(packages::installer(self.config.installer, package.database));
        let packages = observe::package_manager(self.config, package.database)?;
        let is_agent_only = seen.settings.cluster_service.is_none();
        let finished = self.changes(packages.as_ref(), seen);
        if is_agent_only && managed::managed_by_another().is_none() {
            self.hold(packages.as_ref(), &package);
        }
        self.after_no_change(&finished);
        let Finished { end, prefetch } = finished?;
        self.prefetch(packages.as_ref(), prefetch);
        Ok(end)
    }

    /// Holds the package, or releases it, as the setting `lock` has it. An administrator's own hold is left alone.
    fn hold(&mut self, packages: &dyn PackageManager, package: &Installed) {
        let history = self.record.history();
        if history.unfinished.is_some() {
            return;
        }
        let done = match (self.config.lock, package.held, history.held_by_us) {
            // Recorded first: a hold whose owner is unknown would stay forever.
            (true, false, _) => self
                .record
                .update(|history| history.held_by_us = true)
                .and_then(|()| Ok(packages.hold(&package.name)?)),
            // Even if no hold is seen: it may be there in a form that is not recognized any more. Only what is marked as ours is released.
            (false, _, true) => packages
                .release(&package.name)
                .map_err(anyhow::Error::from)
                .and_then(|()| self.record.update(|history| history.held_by_us = false)),
            _ => return,
        };
        if let Err(error) = done {
            warn!(
                "cannot {} {}: {}. Will retry at the next check",
                if self.config.lock {
                    "hold"
                } else {
                    "release the hold on"
                },
                package.name,
                reasons(&error)
            );
        }
    }

    /// Downloads what waits for its window once it is due, and removes what was downloaded in vain.
    fn prefetch(&mut self, packages: &dyn PackageManager, prefetch: Prefetch) {
        let (installed, path, opens) = match prefetch {
            Prefetch::Keep => return,
            Prefetch::For(waits) if self.config.prefetch && packages.downloads().is_some() => {
                *waits
            }
            Prefetch::For(_) | Prefetch::Discard => {
                return predownload::discard(packages, &mut self.record);
            }
        };
        let now = Utc::now();
        // What leads to another target, or is installed by now.
        let is_past = |fetched: &Fetched| fetched.package_version == installed.package_version;
        let is_stale = |download: &Download| {
            download.target != path.target || download.fetched.as_ref().is_some_and(is_past)
        };
        let history = self.record.history();
        if history.download.as_ref().is_some_and(is_stale) {
            predownload::discard(packages, &mut self.record);
        }
        let planned = predownload::planned(&self.record, &path.target, opens, || {
            prefetch::due(now, opens, chance())
        });
        if planned.is_complete() || !prefetch::is_time(now, planned.due, opens) {
            return predownload::plan(&mut self.record, Some(planned));
        }
        match self.sources.next_version(&installed, &path) {
            Some(version) => {
                self.lock.note(&format!("downloading {version}"));
                predownload::fetch(packages, &mut self.record, &planned, &installed, &version);
            }
            None => debug!("no pre-download: the intermediate versions are not known yet"),
        }
    }
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    f64::from(RandomState::new().hash_one(()) as u32) / f64::from(u32::MAX)
}
