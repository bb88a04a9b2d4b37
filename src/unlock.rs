//! Takes back the lock that earlier passes have set on the agent's package, for whoever removes this program.
//!
//! It reads no configuration: that may be gone already.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::agent::service::systemd;
use crate::cli::Options;
use crate::config::values::PACKAGES;
use crate::exit::{Exit, require_root};
use crate::packages;
use crate::packages::database;
use crate::packages::package::Installed;
use crate::report::outcome;
use crate::state::lock::{Lock, Taken};
use crate::state::record;
use crate::state::record::Record;

/// The service that the timer starts.
const SERVICE: &str = "teleport-upgrade.service";
/// How often to look whether it has ended.
const LOOK: Duration = Duration::from_secs(1);

/// Has ordinary system updates see to the agent again, if it was a pass that told them not to.
///
/// With `recorded`, the history was seen to say so before the state directory went; then a pass that is at work is waited for.
pub fn unlock(options: &Options, recorded: bool) -> Result<Exit> {
    require_root("unlock")?;
    if !recorded && !record::history(&options.state_dir).held_by_us {
        outcome::say(
            "this program has not locked the agent of this host: there is nothing to take back",
        );
        return Ok(Exit::Success);
    }
    while recorded && systemd::is_in_progress(SERVICE) {
        thread::sleep(LOOK);
    }
    let lock = alone(&options.state_dir, recorded)?;
    if let Some(locked) = locked()? {
        packages::usual(locked.database)?.release(&locked.name)?;
        let line = format!("{} is left to ordinary system updates again", locked.name);
        outcome::say(&line);
    }
    if lock.is_some() && options.state_dir.exists() {
        Record::open(&options.state_dir).update(|history| history.held_by_us = false)?;
    }
    Ok(Exit::Success)
}

/// Keeps passes away, where there is a state directory, which a purge may take meanwhile. With `wait`, one that a person has begun
/// is waited for: there is no second try once this program is removed.
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

/// The agent's package, if it is locked.
fn locked() -> Result<Option<Installed>> {
    for database in database::in_order(None) {
        let mut found = database::installed(database, &PACKAGES)?;
        found.retain(|package| package.held);
        if found.len() > 1 {
            let names: Vec<String> = found.into_iter().map(|package| package.name).collect();
            bail!(
                "several editions of the agent are locked ({}); unlock by hand what is to be",
                names.join(", ")
            );
        }
        if !found.is_empty() {
            return Ok(found.pop());
        }
    }
    Ok(None)
}
