//! Observes the host, and asks servers until there is enough to decide: what `run`, `dry-run` and `status` have in common.

pub mod agent;
pub mod sources;
pub mod windows;

use std::fs;

use anyhow::Result;
use chrono::Utc;
use log::{debug, warn};

use crate::agent::managed;
use crate::agent::schedule::read::is_nop;
use crate::agent::settings::Settings;
use crate::cli::Options;
use crate::config::{Config, ConfigError, SCHEDULE};
use crate::decide::compatibility::{Limits, NotAllowed};
use crate::decide::decision::{Action, Decision};
use crate::decide::observation::Observation;
use crate::decide::rollout::Place;
use crate::packages;
use crate::packages::common::locks;
use crate::packages::package::{Database, Installed};
use crate::packages::{PackageError, PackageManager};
use crate::state::cache::Cache;
use crate::state::history::History;
use crate::state::record;
use crate::system::text::io_problem;

/// The ID that systemd gave this host at its first boot.
const MACHINE_ID: &str = "/etc/machine-id";

/// Why no change is allowed on a host that `teleport-update` manages; checked before anything of this program's own is read or
/// written. An interrupted change is resumed first: the package that it installed may have brought `teleport-update`.
pub fn managed_by_another(options: &Options) -> Option<NotAllowed> {
    let by_link = managed::managed_by_another().map(NotAllowed::Managed);
    let contains_nop = || is_nop(&options.config_dir.join(SCHEDULE));
    let reason = by_link.or_else(|| contains_nop().then_some(NotAllowed::Nop))?;
    let unfinished = record::history(&options.state_dir).unfinished;
    unfinished.is_none().then_some(reason)
}

/// Observes the host for the first time: answers in the cache count, and problems of the agent's settings are logged.
pub fn first(
    config: &Config,
    history: History,
    cache: &mut Cache,
    forced: bool,
) -> Result<Observation> {
    let seen = observe(config, history, cache, forced)?;
    if let Some(problem) = seen.settings.warning() {
        warn!(
            "{}: {problem}. Using the parts that could be read",
            seen.settings.source
        );
    }
    Ok(seen)
}

/// Observes the host again. What servers have answered stays.
pub fn again(config: &Config, history: History, before: Observation) -> Result<Observation> {
    let now = observe(config, history, &mut Cache::default(), before.forced)?;
    Ok(Observation {
        target: before.target,
        critical: before.critical,
        percentage: before.percentage,
        cluster: before.cluster,
        offer: before.offer,
        ..now
    })
}

/// Reads everything on this host that a decision depends on.
fn observe(
    config: &Config,
    history: History,
    cache: &mut Cache,
    forced: bool,
) -> Result<Observation> {
    let agent = agent::look(config, cache)?;
    let now = Utc::now();
    let windows = windows::schedule(config, now).status(now);
    let settings = Settings::read_all(agent.starts());
    debug!("observed: {agent:?}, {settings:?}, {windows:?}, {history:?}");
    Ok(Observation {
        now,
        forced,
        limits: Limits {
            pin: config.pin.clone(),
            prerelease: config.prerelease,
        },
        place: place(config),
        agent,
        settings,
        require_window: config.require_window,
        windows,
        history,
        target: None,
        critical: None,
        percentage: None,
        cluster: None,
        offer: None,
    })
}

/// What the position of this host in rollouts depends on.
fn place(config: &Config) -> Place {
    match config.rollout_wariness {
        Some(wariness) => Place::Wariness(wariness),
        None => fs::read_to_string(MACHINE_ID).map_or_else(
            |error| Place::Unknown(io_problem(&error)),
            |text| Place::of_machine(&text),
        ),
    }
}

/// The package manager that installs the agent.
pub fn package_manager(
    config: &Config,
    database: Database,
) -> Result<Box<dyn PackageManager>, ConfigError> {
    let limits = locks::Limits {
        lock_wait: config.lock_wait,
        refresh: config.refresh,
    };
    let installer = packages::installer(config.installer, database);
    packages::open(installer, database, limits).ok_or_else(|| {
        let problem =
            format!("the agent was installed with {database}, but {installer} is not available");
        let remedy = format!("Install {installer} or change this setting");
        config.error("installer", &problem, &remedy)
    })
}

/// What would keep `run` from installing what is decided: settings that accept unsigned packages, or no repository.
pub fn obstacle(
    config: &Config,
    seen: &Observation,
    decision: &Decision,
) -> Result<Option<PackageError>> {
    let (Decision::Go(action, _) | Decision::Wait(action, _)) = decision else {
        return Ok(None);
    };
    if matches!(action, Action::Restart(..)) {
        return Ok(None);
    }
    let Installed { name, database, .. } = &seen.agent.package;
    let packages = package_manager(config, *database)?;
    match packages.check_trust() {
        Ok(()) => {}
        Err(error @ PackageError::InsecureSettings(_)) => return Ok(Some(error)),
        // Not every file can be read without root.
        Err(other) => warn!("{other}"),
    }
    Ok(
        (!packages.may_offer(name)).then(|| PackageError::NotOffered {
            name: name.clone(),
            target: action.target().to_string(),
            source: packages.source(),
            latest: None,
        }),
    )
}
