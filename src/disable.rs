//! `disable`: stops the timer, and releases the hold on the agent's package that runs have set. Reads no configuration, which may be
//! gone already.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use chrono::Utc;

use crate::agent::service::systemd;
use crate::cli::Options;
use crate::exit::{Exit, require_root};
use crate::packages;
use crate::packages::database;
use crate::packages::package::Installed;
use crate::packages::package::PACKAGES;
use crate::report::outcome;
use crate::state::current_run::CurrentRun;
use crate::state::lock::{Lock, Taken};
use crate::state::record;
use crate::state::record::Record;
use crate::system::process::user::SERVICE;
use crate::system::timer;

/// How often to check whether it has ended.
const LOOK: Duration = Duration::from_secs(1);

/// Disables automatic upgrades, and releases the hold with `unhold`. With `recorded`, the history contained the hold before the state
/// directory was removed, and the package manager stops the timer.
pub fn disable(options: &Options, unhold: bool, recorded: bool) -> Result<Exit> {
    require_root("disable")?;
    if !recorded {
        stop(options)?;
    }
    if unhold {
        release(options, recorded)?;
    }
    Ok(Exit::Success)
}

/// Disables and stops the timer. A run in progress continues.
fn stop(options: &Options) -> Result<()> {
    if timer::read(Utc::now(), true).is_ok_and(|timer| !timer.enabled && !timer.active) {
        outcome::say("automatic upgrades are already disabled");
        return Ok(());
    }
    timer::switch("disable")?;
    outcome::say(&format!(
        "automatic upgrades are disabled; the settings in {} are kept",
        options.config_dir.display()
    ));
    if let Some(run) = CurrentRun::read(&options.state_dir) {
        outcome::say(&format!(
            "the run in progress is not interrupted (PID {}: {})",
            run.process.pid,
            run.doing()
        ));
    }
    Ok(())
}

/// Releases the hold if a run has set it. With `recorded`, a run in progress is waited for.
fn release(options: &Options, recorded: bool) -> Result<()> {
    if !recorded && !record::history(&options.state_dir).held_by_us {
        outcome::say("no hold was set by teleport-upgrade");
        return Ok(());
    }
    while recorded && systemd::is_in_progress(SERVICE) {
        thread::sleep(LOOK);
    }
    let lock = alone(&options.state_dir, recorded)?;
    if let Some(held) = held()? {
        packages::usual(held.database)?.release(&held.name)?;
        let line = format!(
            "released the hold on {}; regular system updates can upgrade it",
            held.name
        );
        outcome::say(&line);
    }
    if lock.is_some() && options.state_dir.exists() {
        Record::open(&options.state_dir).update(|history| history.held_by_us = false)?;
    }
    Ok(())
}

/// Prevents other runs, if there is a state directory, which a purge may remove meanwhile. With `wait`, a run in progress is waited for:
/// there is no second try once this program is removed.
fn alone(state: &Path, wait: bool) -> Result<Option<Lock>> {
    loop {
        if !state.exists() {
            return Ok(None);
        }
        match Lock::take(state) {
            Err(error) if wait && (error.is::<Taken>() || !state.exists()) => thread::sleep(LOOK),
            taken => return taken.map(Some),
        }
    }
}

/// The agent's package, if it is held.
fn held() -> Result<Option<Installed>> {
    for database in database::in_order(None) {
        let mut found = database::installed(database, &PACKAGES)?;
        found.retain(|package| package.held);
        if found.len() > 1 {
            let names: Vec<String> = found.into_iter().map(|package| package.name).collect();
            bail!(
                "several editions of the agent are held: {}. Release the hold manually",
                names.join(", ")
            );
        }
        if !found.is_empty() {
            return Ok(found.pop());
        }
    }
    Ok(None)
}
