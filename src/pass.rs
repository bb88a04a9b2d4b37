//! One pass: observe, decide, act. What `run`, `dry-run` and `force` differ in.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use chrono::Utc;
use log::{Level, debug, warn};
use nix::unistd::geteuid;

use crate::act::lock::{Lock, Taken};
use crate::act::packages::{self, PackageError, PackageManager, Prepared};
use crate::act::record::Record;
use crate::act::scope;
use crate::act::signals::Signals;
use crate::act::upgrade::{Outcome, Transaction};
use crate::cli::Options;
use crate::decide::policy::{self, Action, Cause, Decision, Idle, Observation, Question};
use crate::observe::agent::{Agent, NoAgent};
use crate::observe::channel::{Channel, ChannelError, Target};
use crate::observe::config::{Config, ConfigError, not_roots};
use crate::observe::history::{Change, History};
use crate::observe::package::Installed;

use crate::logging;
use crate::observe::schedule::Schedule;
use crate::version::Version;

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
        let since = change.since.format("%Y-%m-%d %H:%M UTC");
        say(&format!(
            "a pass of {since} began the change from {} to {} and has not ended it: it is at work, or \"run\" finishes it first",
            change.from, change.to
        ));
    }
    let seen = observe(&config, history, false)?;
    let (seen, decision) = decide(&config, seen)?;
    say(&available(&seen));
    match (&decision, distrust(&config, &seen, &decision)?) {
        (Decision::Go(action, _), Some(error)) => return Ok(conclude(action, "", &Outcome::Untouched(error))),
        (Decision::Go(action, cause), None) => say(&format!("would now {action}: {cause}")),
        (_, Some(error)) => warn!("{error}"),
        _ => {}
    }
    Ok(report(&decision))
}

/// Checks, and upgrades if allowed; with `forced`, whatever the window says.
pub fn run(options: &Options, forced: bool) -> Result<Exit> {
    if !geteuid().is_root() {
        return Err(NotRoot(if forced { "force" } else { "run" }).into());
    }
    let config = Config::read(&options.config_dir)?;
    scope::leave(&config.services);
    make_state_dir(&options.state_dir)?;
    let _lock = Lock::take(&options.state_dir)?;
    Pass {
        config: &config,
        forced,
        signals: Signals::new()?,
        record: Record::open(&options.state_dir),
        prepared: None,
        announced: false,
        restarted: None,
    }
    .run()
}

/// A pass that may change the host.
struct Pass<'a> {
    config: &'a Config,
    forced: bool,
    signals: Signals,
    record: Record,
    /// The version that the package manager has made ready to install.
    prepared: Option<(Version, Prepared)>,
    /// Whether it was said what is available.
    announced: bool,
    /// The service that was restarted last.
    restarted: Option<String>,
}

impl Pass<'_> {
    fn run(mut self) -> Result<Exit> {
        let seen = observe(self.config, self.record.history().clone(), self.forced)?;
        // Whatever becomes of this pass, the next one must know what this one saw of the schedule.
        let absent_since = policy::schedule_absent_since(&seen);
        let restarts = seen.agent.services.iter().map(|service| (service.unit.clone(), service.restarts)).collect();
        let seen_now = |history: &mut History| (history.schedule_absent_since, history.restarts) = (absent_since, restarts);
        if let Err(error) = self.record.update(seen_now) {
            // No reason not to mend what is broken. What changes the agent's version is recorded first, or not done.
            warn!("{error:#}");
        }
        let packages = packages::manager(self.config, seen.agent.package.database)?;
        let package = seen.agent.package.clone();
        let exit = self.decide_and_act(packages.as_ref(), seen);
        self.see_to_the_lock(packages.as_ref(), &package);
        exit
    }

    fn decide_and_act(&mut self, packages: &dyn PackageManager, mut seen: Observation) -> Result<Exit> {
        // A way back that has failed, and from which version; a newer one may still mend the host.
        let mut broken: Option<(Exit, Version)> = None;
        loop {
            let decided = decide(self.config, seen);
            if let Some((exit, version)) = &broken
                && !matches!(&decided, Ok((_, Decision::Go(action, _))) if action.target() != version)
            {
                return Ok(*exit);
            }
            let decision;
            (seen, decision) = decided?;
            let exit = match &decision {
                Decision::Finish(change) => {
                    let exit = self.finish(packages, &seen, change);
                    // Once a pass: what it could not end, or not write down, is for the next one.
                    seen.history.unfinished = None;
                    broken = exit.filter(|exit| *exit == Exit::Broken).map(|exit| (exit, change.to.clone()));
                    exit.filter(|_| broken.is_none())
                }
                Decision::Go(action, cause) => self.act(packages, &seen, action, cause)?,
                other => {
                    self.announce(&seen);
                    Some(report(other))
                }
            };
            if let Some(exit) = exit {
                return Ok(exit);
            }
            // The time has gone on, and the host is not what it was: look again before the next step. What counts of the
            // earlier passes is what they had recorded when this one began.
            let history = History { failed: self.record.history().failed.clone(), ..seen.history };
            seen = Observation { target: seen.target, critical: seen.critical, ..observe(self.config, history, self.forced)? };
        }
    }

    /// Has ordinary system updates leave the agent alone, or no longer, as the configuration wants it. An administrator's own lock is
    /// not touched.
    fn see_to_the_lock(&mut self, packages: &dyn PackageManager, package: &Installed) {
        let history = self.record.history();
        if history.unfinished.is_some() {
            return;
        }
        let done = match (self.config.lock, package.held, history.locked_by_us) {
            // Recorded first: a lock of which nobody knows whose it is would stay for ever.
            (true, false, _) => {
                self.record.update(|history| history.locked_by_us = true).and_then(|()| Ok(packages.hold(&package.name)?))
            }
            // It may be a lock that we do not recognise any more; what is ours is marked, and nothing else is taken.
            (false, _, true) => packages
                .release(&package.name)
                .map_err(anyhow::Error::from)
                .and_then(|()| self.record.update(|history| history.locked_by_us = false)),
            _ => return,
        };
        if let Err(error) = done {
            warn!(
                "{}: its lock against ordinary system updates is not as it should be: {error:#}; the next pass tries again",
                package.name
            );
        }
    }

    /// Says what is available, once.
    fn announce(&mut self, seen: &Observation) {
        if !std::mem::replace(&mut self.announced, true) {
            say(&available(seen));
        }
    }

    /// Ends what an earlier pass began. Returns nothing if this pass can go on.
    fn finish(&mut self, packages: &dyn PackageManager, seen: &Observation, change: &Change) -> Option<Exit> {
        let held = self.signals.hold();
        let mut transaction = Transaction { packages, record: &mut self.record, observe: self.config.observe, now: seen.now };
        let outcome = transaction.finish(change)?;
        drop(held);
        let action = Action::Upgrade { from: change.from.clone(), to: change.to.clone() };
        let exit = conclude(&action, "an earlier pass was cut off", &outcome);
        (outcome != Outcome::Upgraded || self.signals.asked_to_end()).then_some(exit)
    }

    /// Makes a change, or prepares it: that takes its time, and whether it may be made is decided again afterwards.
    fn act(&mut self, packages: &dyn PackageManager, seen: &Observation, action: &Action, cause: &Cause) -> Result<Option<Exit>> {
        self.announce(seen);
        let target = match action {
            Action::Upgrade { to: version, .. } | Action::Reinstall(version, _) => Some(version),
            Action::Restart(..) => None,
        };
        let prepared = self.prepared.take().filter(|(version, _)| Some(version) == target);
        if let (Some(target), None) = (target, &prepared) {
            match packages.prepare(&seen.agent.package, target) {
                Ok(prepared) => self.prepared = Some((target.clone(), prepared)),
                Err(error) => return Ok(Some(conclude(action, "", &Outcome::Untouched(error)))),
            }
            return Ok(None);
        }
        let _held = self.signals.hold();
        let mut transaction = Transaction { packages, record: &mut self.record, observe: self.config.observe, now: seen.now };
        if let Action::Restart(_, unit) = action {
            let outcome = transaction.restart(unit);
            let exit = conclude(action, &cause.to_string(), &outcome);
            // There may be others.
            let again = self.restarted.replace(unit.clone()).as_ref() == Some(unit);
            return Ok((outcome != Outcome::Upgraded || again).then_some(exit));
        }
        let outcome = match prepared {
            Some((version, prepared)) => transaction.upgrade(&seen.agent, &version, &prepared)?,
            None => return Ok(None),
        };
        Ok(Some(conclude(action, &cause.to_string(), &outcome)))
    }
}

/// The settings of this host, if there are any, for which `run` would refuse to install what is decided on.
fn distrust(config: &Config, seen: &Observation, decision: &Decision) -> Result<Option<PackageError>> {
    let (Decision::Go(action, _) | Decision::Wait(action, _)) = decision else { return Ok(None) };
    if matches!(action, Action::Restart(..)) {
        return Ok(None);
    }
    let checked = packages::manager(config, seen.agent.package.database)?.check_trust();
    Ok(checked.err().and_then(|error| match error {
        PackageError::Unchecked(_) => Some(error),
        // An ordinary user may not see all.
        other => {
            warn!("{other}");
            None
        }
    }))
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
fn report(decision: &Decision) -> Exit {
    match decision {
        Decision::Nothing(Idle::NoTarget | Idle::UpToDate) => {}
        Decision::Wait(action, wait) => say(&format!("waiting to {action}: {wait}")),
        Decision::Hold(failed) => say(&format!(
            "not trying {} again: on {} it failed on this host ({}); have the channel name another version, \
             or try it with \"teleport-upgrade force\"",
            failed.target,
            failed.at.format("%Y-%m-%d %H:%M UTC"),
            failed.reason
        )),
        Decision::Refuse(refusal) => {
            logging::outcome(Level::Error, &format!("refused: {refusal}"));
            return Exit::Refused;
        }
        Decision::Ask(_) | Decision::Finish(_) | Decision::Go(..) => {}
    }
    Exit::Fine
}

/// Says how a change went.
fn conclude(action: &Action, cause: &str, outcome: &Outcome) -> Exit {
    let (line, exit) = match outcome {
        Outcome::Upgraded => (format!("done: {}, because {cause}", action.done()), Exit::Fine),
        Outcome::Untouched(error) => {
            let exit = if error.is_temporary() { Exit::Temporary } else { Exit::Failed };
            (format!("could not {action}: {error}"), exit)
        }
        Outcome::Unfinished(error) => (format!("began to {action}: {error}"), Exit::Temporary),
        Outcome::RolledBack { reason } => {
            (format!("could not {action}: {reason}; the version before is back and runs well"), Exit::RolledBack)
        }
        Outcome::Broken { reason, back, .. } => {
            let line = format!(
                "could not {action}: {reason}; and the way back failed: {back}; a person is needed, and every pass tries again"
            );
            (line, Exit::Broken)
        }
    };
    match exit {
        Exit::Fine => say(&line),
        _ => logging::outcome(Level::Error, &line),
    }
    exit
}

/// Says a line of the outcome.
fn say(line: &str) {
    logging::outcome(Level::Info, line);
}

fn make_state_dir(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).with_context(|| format!("{}: cannot make it", path.display()))?;
    let metadata = fs::metadata(path).with_context(|| format!("{}: cannot be used", path.display()))?;
    // What is written and believed there must be ours.
    if let Some(problem) = not_roots(&metadata) {
        bail!("{0}: {problem}; see what is in it, then remove it: {0} is made anew", path.display());
    }
    Ok(())
}
