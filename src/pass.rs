//! One pass: observe, decide, act. What `run`, `dry-run` and `force` differ in.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result};
use chrono::Utc;
use log::debug;
use nix::unistd::geteuid;

use crate::act::lock::{Lock, Taken};
use crate::act::packages;
use crate::act::record::Record;
use crate::act::signals::Held;
use crate::act::upgrade::{Outcome, Transaction};
use crate::cli::Options;
use crate::decide::policy::{self, Action, Decision, Idle, Observation, Question};
use crate::observe::agent::{Agent, NoAgent};
use crate::observe::channel::{Channel, ChannelError, Target};
use crate::observe::config::{Config, ConfigError};
use crate::observe::history::History;
use crate::observe::schedule::Schedule;

/// How the program ends, as its callers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Nothing to do, or waiting for a window, or upgraded.
    Fine = 0,
    /// Failed; the agent runs what it ran before.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Refused by the compatibility rule.
    Refused = 3,
    /// Upgraded, found unhealthy, rolled back.
    RolledBack = 4,
    /// Neither the new nor the old version runs.
    Broken = 5,
    /// Something that passes by itself.
    Temporary = 75,
}

impl Exit {
    /// What an error that ended the pass means to the caller.
    pub fn of(error: &anyhow::Error) -> Exit {
        if error.is::<ConfigError>() || error.is::<NoAgent>() || error.is::<NotRoot>() {
            Exit::Usage
        } else if error.is::<Taken>() || error.downcast_ref().is_some_and(ChannelError::is_temporary) {
            Exit::Temporary
        } else {
            Exit::Failed
        }
    }
}

/// A command that changes the host, by somebody who may not.
#[derive(Debug)]
struct NotRoot(&'static str);

impl std::fmt::Display for NotRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\" must be run as root; try: sudo teleport-upgrade {} (\"dry-run\" needs no root)", self.0, self.0)
    }
}

impl std::error::Error for NotRoot {}

/// Says what `run` would do, and changes nothing.
pub fn dry_run(options: &Options) -> Result<Exit> {
    let config = Config::read(&options.config_dir)?;
    let mut history = History::read(&options.state_dir);
    if let Some(change) = history.unfinished.take() {
        say(&format!("would first finish the change from {} to {} that a pass of {} began", change.from, change.to, change.since))?;
    }
    let seen = observe(&config, history, false)?;
    let (seen, decision) = decide(&config, seen)?;
    say(&available(&seen))?;
    match decision {
        Decision::Go(action, cause) => say(&format!("would {action} now: {cause}"))?,
        other => return report(&other),
    }
    Ok(Exit::Fine)
}

/// Checks, and upgrades if allowed; with `forced`, whatever the window says.
pub fn run(options: &Options, forced: bool) -> Result<Exit> {
    if !geteuid().is_root() {
        return Err(NotRoot(if forced { "force" } else { "run" }).into());
    }
    let config = Config::read(&options.config_dir)?;
    make_state_dir(&options.state_dir)?;
    let _lock = Lock::take(&options.state_dir)?;
    let mut record = Record::open(&options.state_dir);
    loop {
        let seen = observe(&config, record.history().clone(), forced)?;
        let packages = packages::manager(&config, seen.agent.package.database)?;
        let since = policy::schedule_absent_since(&seen);
        let (seen, decision) = decide(&config, seen)?;
        let mut transaction =
            Transaction { packages: packages.as_ref(), record: &mut record, observe: config.observe, now: seen.now };
        match decision {
            Decision::Finish(change) => {
                let signals = Held::new()?;
                let outcome = transaction.finish(&change)?;
                if outcome != Outcome::Upgraded || signals.asked_to_end() {
                    let action = Action::Upgrade { from: change.from, to: change.to };
                    return conclude(&action, "an earlier pass was cut off", &outcome);
                }
            }
            Decision::Go(action, cause) => {
                let _signals = Held::new()?;
                say(&available(&seen))?;
                transaction.record.update(|history| history.schedule_absent_since = since)?;
                let outcome = match &action {
                    Action::Upgrade { to: version, .. } | Action::Reinstall(version, _) => {
                        transaction.upgrade(&seen.agent, version)?
                    }
                    Action::Restart(_, unit) => transaction.restart(unit),
                };
                return conclude(&action, &cause.to_string(), &outcome);
            }
            other => {
                say(&available(&seen))?;
                record.update(|history| history.schedule_absent_since = since)?;
                return report(&other);
            }
        }
    }
}

/// Reads everything on this host that a decision rests on.
fn observe(config: &Config, history: History, forced: bool) -> Result<Observation> {
    let agent = Agent::look(config)?;
    let now = Utc::now();
    let windows = Schedule::read(&config.schedule).status(now);
    debug!("observed: {agent:?}, {windows:?}, {history:?}");
    Ok(Observation { now, forced, agent, windows, history, target: None, critical: None })
}

/// Decides, asking the version server for what the decision needs and no more.
fn decide(config: &Config, mut seen: Observation) -> Result<(Observation, Decision), ChannelError> {
    let mut channel = None;
    loop {
        match policy::decide(&seen) {
            Decision::Ask(question) => {
                let channel = channel.get_or_insert_with(|| Channel::new(&config.endpoint));
                match question {
                    Question::Target => seen.target = Some(channel.target()?),
                    Question::Critical => seen.critical = Some(channel.critical()),
                }
            }
            decision => return Ok((seen, decision)),
        }
    }
}

/// The line that says what the channel has for this host. People grep for two of these: to the letter.
fn available(seen: &Observation) -> String {
    let installed = &seen.agent.package.version;
    match &seen.target {
        Some(Target::Version(target)) if target == installed => format!("no upgrades available ({installed} == {target})"),
        Some(Target::Version(target)) => format!("an upgrade is available ({installed} -> {target})"),
        _ => format!("no upgrades available ({installed} stays: the release channel names no version)"),
    }
}

/// Says why nothing is done.
fn report(decision: &Decision) -> Result<Exit> {
    match decision {
        Decision::Nothing(Idle::NoTarget | Idle::UpToDate(_)) => {}
        Decision::Wait(action, wait) => say(&format!("waiting to {action}: {wait}"))?,
        Decision::Hold(failed) => say(&format!(
            "not trying {} again: on {} it failed on this host ({}); have the channel name another version, \
             or try it with \"teleport-upgrade force\"",
            failed.target,
            failed.at.format("%Y-%m-%d %H:%M UTC"),
            failed.reason
        ))?,
        Decision::Refuse(refusal) => {
            say(&format!("refused: {refusal}"))?;
            return Ok(Exit::Refused);
        }
        Decision::Ask(_) | Decision::Finish(_) | Decision::Go(..) => {}
    }
    Ok(Exit::Fine)
}

/// Says how a change went.
fn conclude(action: &Action, cause: &str, outcome: &Outcome) -> Result<Exit> {
    let (line, exit) = match outcome {
        Outcome::Upgraded => (format!("done: {action}, because {cause}"), Exit::Fine),
        Outcome::Untouched(error) | Outcome::Unfinished(error) => {
            let exit = if error.is_temporary() { Exit::Temporary } else { Exit::Failed };
            (format!("could not {action}: {error}"), exit)
        }
        Outcome::RolledBack { .. } => {
            (format!("could not {action}: {outcome}; the version before is back and runs well"), Exit::RolledBack)
        }
        Outcome::Broken { .. } => (format!("could not {action}: {outcome}; a person is needed"), Exit::Broken),
    };
    say(&line)?;
    Ok(exit)
}

/// Says a line of the outcome. Somebody who stopped listening is no reason to stop working.
fn say(line: &str) -> Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

fn make_state_dir(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).with_context(|| format!("{}: cannot make it", path.display()))
}
