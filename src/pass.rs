//! One pass: observe, decide, act. What `run`, `dry-run` and `force` differ in.

use std::cell::OnceCell;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;

use anyhow::{Context, Result, bail};
use chrono::Utc;
use log::{Level, debug, warn};
use nix::unistd::geteuid;

use crate::act::lock::{Lock, Taken};
use crate::act::packages::{self, PackageError, PackageManager, Prepared};
use crate::act::record::Record;
use crate::act::scope;
use crate::act::service::Watch;
use crate::act::signals::Signals;
use crate::act::upgrade::{Outcome, Transaction};
use crate::cli::Options;
use crate::decide::compatibility::{Limits, Refusal};
use crate::decide::path::{Offer, Path, Stops};
use crate::decide::policy::{self, Action, Cause, Decision, Idle, Observation, Question};
use crate::logging;
use crate::observe::agent::{self, Agent, NoAgent};
use crate::observe::channel::{Channel, Target};
use crate::observe::cluster::Cluster;
use crate::observe::config::{Config, ConfigError, not_roots};
use crate::observe::history::{Change, FailedTarget, History, Known};
use crate::observe::http::{Client, Unanswered};
use crate::observe::package::Installed;
use crate::observe::readiness;
use crate::observe::schedule::Schedule;
use crate::observe::teleport::Settings;
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
    /// Refused: by the compatibility rule, by a limit of this host, or because the host is not for this program.
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
        } else if error.is::<Taken>()
            || error.downcast_ref().is_some_and(Unanswered::is_temporary)
            || error.downcast_ref().is_some_and(PackageError::is_temporary)
        {
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

/// Fails unless root has given this command.
pub fn require_root(command: &'static str) -> Result<()> {
    if geteuid().is_root() { Ok(()) } else { Err(NotRoot(command).into()) }
}

/// Says what `run` would do, and changes nothing.
pub fn dry_run(options: &Options) -> Result<Exit> {
    if let Some(refusal) = managed_by_another(options) {
        return Ok(report(&Decision::Refuse(refusal)));
    }
    let config = Config::read(&options.config_dir)?;
    let mut history = History::read(&options.state_dir);
    if let Some(change) = history.unfinished.take() {
        let since = change.since.format("%Y-%m-%d %H:%M UTC");
        say(&format!(
            "a pass of {since} began the change from {} to {} and has not ended it: it is at work, or \"run\" finishes it first",
            change.from, change.to
        ));
    }
    let asks = Asks::new(&config, false);
    let (seen, decision) = asks.path_too(asks.decide(first_look(&config, history, false)?)?)?;
    available(&seen).iter().for_each(|line| say(line));
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
    require_root(if forced { "force" } else { "run" })?;
    if let Some(refusal) = managed_by_another(options) {
        return Ok(report(&Decision::Refuse(refusal)));
    }
    let config = Config::read(&options.config_dir)?;
    scope::leave(&config.services);
    make_state_dir(&options.state_dir)?;
    let _lock = Lock::take(&options.state_dir)?;
    Pass {
        config: &config,
        asks: Asks::new(&config, true),
        forced,
        signals: &Signals::new()?,
        record: Record::open(&options.state_dir),
        prepared: None,
        announced: false,
        restarted: None,
        reached: None,
    }
    .run()
}

/// A pass that may change the host.
struct Pass<'a> {
    config: &'a Config,
    asks: Asks<'a>,
    forced: bool,
    signals: &'a Signals,
    record: Record,
    /// The version that the package manager has made ready to install.
    prepared: Option<(Version, Prepared)>,
    /// Whether it was said what is available.
    announced: bool,
    /// The service that was restarted last.
    restarted: Option<String>,
    /// The stop on the way to the target that was reached last.
    reached: Option<Version>,
}

impl Pass<'_> {
    fn run(mut self) -> Result<Exit> {
        let seen = first_look(self.config, self.record.history().clone(), self.forced)?;
        // Whatever becomes of this pass, the next one must know what this one saw of the schedule.
        let absent_since = policy::schedule_absent_since(&seen);
        let restarts = seen.agent.services.iter().map(|service| (service.unit.clone(), service.restarts)).collect();
        let known = seen.history.known.clone();
        let seen_now = |history: &mut History| {
            (history.schedule_absent_since, history.restarts, history.known) = (absent_since, restarts, known);
        };
        if let Err(error) = self.record.update(seen_now) {
            // No reason not to mend what is broken. What changes the agent's version is recorded first, or not done.
            warn!("{error:#}");
        }
        let packages = packages::manager(self.config, seen.agent.package.database)?;
        let package = seen.agent.package.clone();
        let is_ours = seen.settings.cluster_service.is_none();
        let exit = self.decide_and_act(packages.as_ref(), seen);
        if is_ours {
            self.see_to_the_lock(packages.as_ref(), &package);
        }
        exit
    }

    fn decide_and_act(&mut self, packages: &dyn PackageManager, mut seen: Observation) -> Result<Exit> {
        // A way back that has failed, and from which version; a newer one may still mend the host.
        let mut broken: Option<(Exit, Version)> = None;
        loop {
            let decided = self.asks.decide(seen);
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
            let failed = self.record.history().failed.clone();
            let history = History { failed, known: Known::default(), ..seen.history };
            let Observation { target, critical, cluster, offer, .. } = seen;
            seen = Observation { target, critical, cluster, offer, ..observe(self.config, history, self.forced)? };
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
            available(seen).iter().for_each(|line| say(line));
        }
    }

    /// Ends what an earlier pass began. Returns nothing if this pass can go on.
    fn finish(&mut self, packages: &dyn PackageManager, seen: &Observation, change: &Change) -> Option<Exit> {
        let signals = self.signals;
        let held = signals.hold();
        let outcome = self.transaction(packages, seen, |transaction| transaction.finish(change))?;
        drop(held);
        let stops = Stops::Known(change.goal.iter().map(|_| change.to.clone()).collect());
        let target = change.goal.as_ref().unwrap_or(&change.to).clone();
        let action = Action::Upgrade(Path { from: change.from.clone(), stops, target });
        let exit = conclude(&action, "an earlier pass was cut off", &outcome);
        (outcome != Outcome::Upgraded || self.signals.asked_to_end()).then_some(exit)
    }

    /// Makes a change, or prepares it: that takes its time, and whether it may be made is decided again afterwards.
    fn act(&mut self, packages: &dyn PackageManager, seen: &Observation, action: &Action, cause: &Cause) -> Result<Option<Exit>> {
        self.announce(seen);
        let (version, goal) = match action {
            Action::Restart(_, unit) => return Ok(self.restart(packages, seen, action, cause, unit)),
            Action::Reinstall(version, _) => (version, None),
            Action::Upgrade(path) => (path.next().context("the way to the target is not known")?, path.goal()),
        };
        let Some((_, prepared)) = self.prepared.take().filter(|(prepared, _)| prepared == version) else {
            match packages.prepare(&seen.agent.package, version) {
                Ok(prepared) => self.prepared = Some((version.clone(), prepared)),
                Err(error) => return Ok(Some(conclude(action, "", &Outcome::Untouched(error)))),
            }
            return Ok(None);
        };
        let signals = self.signals;
        let _held = signals.hold();
        let outcome = self.transaction(packages, seen, |transaction| transaction.upgrade(&seen.agent, version, goal, &prepared))?;
        let exit = conclude(action, &cause.to_string(), &outcome);
        let at_a_stop = goal.is_some() && outcome == Outcome::Upgraded && !self.signals.asked_to_end();
        // One that is reached twice was not really reached: "nop" installs nothing.
        let goes_on = at_a_stop && self.reached.replace(version.clone()).as_ref() != Some(version);
        Ok((!goes_on).then_some(exit))
    }

    /// Has a service run what is installed. Returns nothing if this pass can go on: there may be others.
    fn restart(
        &mut self,
        packages: &dyn PackageManager,
        seen: &Observation,
        action: &Action,
        cause: &Cause,
        unit: &str,
    ) -> Option<Exit> {
        let signals = self.signals;
        let _held = signals.hold();
        let outcome = self.transaction(packages, seen, |transaction| transaction.restart(unit));
        let exit = conclude(action, &cause.to_string(), &outcome);
        let again = self.restarted.replace(unit.to_string()).as_deref() == Some(unit);
        (outcome != Outcome::Upgraded || again).then_some(exit)
    }

    /// Does something in a transaction.
    fn transaction<T>(&mut self, packages: &dyn PackageManager, seen: &Observation, act: impl FnOnce(&mut Transaction) -> T) -> T {
        let socket = seen.settings.data_dir.join(readiness::SOCKET);
        let watch = Watch { observe: self.config.observe, socket: &socket };
        act(&mut Transaction { packages, record: &mut self.record, watch, now: seen.now })
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

/// The refusal of a host that Teleport's later updater manages, before anything is read or written that is this program's own. What
/// was begun here is finished first: the package that it installed may have brought that updater.
fn managed_by_another(options: &Options) -> Option<Refusal> {
    let link = agent::managed_by_another()?;
    History::read(&options.state_dir).unfinished.is_none().then_some(Refusal::Managed(link))
}

/// As `observe`, and says what is strange about the agent's settings.
fn first_look(config: &Config, history: History, forced: bool) -> Result<Observation> {
    let seen = observe(config, history, forced)?;
    if let Some(problem) = &seen.settings.problem {
        warn!("{}: {problem}; going on as if it did not say so", seen.settings.file.display());
    }
    Ok(seen)
}

/// Reads everything on this host that a decision rests on.
fn observe(config: &Config, mut history: History, forced: bool) -> Result<Observation> {
    let agent = Agent::look(config, &mut history.known)?;
    let now = Utc::now();
    let windows = Schedule::read(&config.schedule).status(now);
    let settings = Settings::read(agent.settings_file());
    let limits = Limits { pin: config.pin.clone(), prerelease: config.prerelease };
    debug!("observed: {agent:?}, {settings:?}, {windows:?}, {history:?}");
    let (target, critical, cluster, offer) = (None, None, None, None);
    Ok(Observation { now, forced, limits, agent, settings, windows, history, target, critical, cluster, offer })
}

/// Asks others for what a decision needs and no more.
struct Asks<'a> {
    config: &'a Config,
    /// Whether the index of the repository may be refreshed for it.
    refresh: bool,
    /// Who asks the release channel and, over TLS, the cluster, which may be on one server.
    client: OnceCell<Client>,
}

impl<'a> Asks<'a> {
    fn new(config: &'a Config, refresh: bool) -> Asks<'a> {
        Asks { config, refresh, client: OnceCell::new() }
    }

    fn decide(&self, mut seen: Observation) -> Result<(Observation, Decision)> {
        loop {
            match policy::decide(&seen) {
                Decision::Ask(question) => self.answer(question, &mut seen)?,
                decision => return Ok((seen, decision)),
            }
        }
    }

    /// Where the path of what was decided is not known because the change waits, finds it out.
    fn path_too(&self, (mut seen, decision): (Observation, Decision)) -> Result<(Observation, Decision)> {
        match &decision {
            Decision::Wait(Action::Upgrade(path), _) if path.next().is_none() => {
                self.answer(Question::Offer, &mut seen)?;
                self.decide(seen)
            }
            _ => Ok((seen, decision)),
        }
    }

    fn answer(&self, question: Question, seen: &mut Observation) -> Result<()> {
        let client = || self.client.get_or_init(|| Client::new(self.config.endpoint.is_secure()));
        let channel = || Channel::new(&self.config.endpoint, client());
        match question {
            Question::Target => seen.target = Some(channel().target()?),
            // The files may have been exchanged between the two requests: then it is another version that is critical.
            Question::Critical => seen.critical = Some(channel().critical() && seen.target == Some(channel().target()?)),
            Question::Cluster if self.config.endpoint.is_secure() => {
                seen.cluster = Some(Cluster::ask(self.config, &seen.settings, client()));
            }
            Question::Cluster => seen.cluster = Some(Cluster::ask(self.config, &seen.settings, &Client::new(true))),
            Question::Offer => seen.offer = Some(self.offer(&seen.agent.package)?),
        }
        Ok(())
    }

    fn offer(&self, package: &Installed) -> Result<Offer> {
        let packages = packages::manager(self.config, package.database)?;
        if !self.refresh {
            return Ok(Offer::Cached(packages.peek(&package.name)));
        }
        let offered = packages.offered(&package.name);
        let offered = offered.with_context(|| format!("cannot find the way from {} to the target", package.version))?;
        Ok(Offer::Versions(offered.into_iter().map(|(version, _)| version).collect(), packages.source()))
    }
}

/// The lines that say what the channel has for this host. People grep for two of these: to the letter.
fn available(seen: &Observation) -> Vec<String> {
    let installed = &seen.agent.package.version;
    let mut lines = vec![match &seen.target {
        // It was not asked.
        None => return Vec::new(),
        Some(Target::Version(target)) if target == installed => format!("no upgrades available ({installed} == {target})"),
        Some(Target::Version(target)) => format!("an upgrade is available ({installed} -> {target})"),
        Some(Target::None) => format!("no upgrades available ({installed} stays: the release channel names no version)"),
    }];
    // Why a host is on a version that nobody has asked for.
    if let Some(last) = seen.history.last_change.as_ref().filter(|last| last.to == *installed)
        && let Some(goal) = last.goal.as_ref().filter(|goal| *goal != installed)
    {
        let at = last.at.format("%Y-%m-%d %H:%M UTC");
        lines.push(format!("{installed} is a stop on the way from {} to {goal}, reached by the pass of {at}", last.from));
    }
    lines
}

/// Says why nothing is done.
fn report(decision: &Decision) -> Exit {
    match decision {
        Decision::Nothing(Idle::NoTarget | Idle::UpToDate) => {}
        Decision::Wait(action, wait) => say(&format!("waiting to {action}: {wait}")),
        Decision::Hold(failed) => say(&held(failed)),
        Decision::Refuse(refusal) => {
            logging::outcome(Level::Error, &format!("refused: {refusal}"));
            return Exit::Refused;
        }
        Decision::Ask(_) | Decision::Finish(_) | Decision::Go(..) => {}
    }
    Exit::Fine
}

/// Why a version is not tried again, and what to do.
fn held(failed: &FailedTarget) -> String {
    let FailedTarget { target, goal, reason, at, .. } = failed;
    let on_the_way = goal.as_ref().map(|goal| format!(", which is on the way to {goal},")).unwrap_or_default();
    let newer = goal.as_ref().map(|_| format!("have the repository offer a newer {}, ", target.major())).unwrap_or_default();
    format!(
        "not trying {target}{on_the_way} again: on {} it failed on this host ({reason}); {newer}have the channel name another version, \
         or try it with \"teleport-upgrade force\"",
        at.format("%Y-%m-%d %H:%M UTC")
    )
}

/// Says how a change went.
fn conclude(action: &Action, cause: &str, outcome: &Outcome) -> Exit {
    let attempt = action.attempt();
    let (line, exit) = match outcome {
        Outcome::Upgraded => (format!("done: {}, because {cause}", action.done()), Exit::Fine),
        Outcome::Untouched(error) => {
            let exit = if error.is_temporary() { Exit::Temporary } else { Exit::Failed };
            (format!("could not {attempt}: {error}"), exit)
        }
        Outcome::Unfinished(error) => (format!("began to {attempt}: {error}"), Exit::Temporary),
        Outcome::RolledBack { reason } => {
            (format!("could not {attempt}: {reason}; the version before is back and runs well"), Exit::RolledBack)
        }
        Outcome::Broken { reason, back, .. } => {
            let line = format!(
                "could not {attempt}: {reason}; and the way back failed: {back}; a person is needed, and every pass tries again"
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

fn make_state_dir(path: &std::path::Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).with_context(|| format!("{}: cannot make it", path.display()))?;
    let metadata = fs::metadata(path).with_context(|| format!("{}: cannot be used", path.display()))?;
    // What is written and believed there must be ours.
    if let Some(problem) = not_roots(&metadata) {
        bail!("{0}: {problem}; see what is in it, then remove it: {0} is made anew", path.display());
    }
    Ok(())
}
