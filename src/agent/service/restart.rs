//! Reloads or restarts the agent's services, and verifies that they run what is installed.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, info, warn};

use crate::agent::schedule::Schedule;
use crate::agent::service::readiness::Readiness;
use crate::agent::service::reload::{Failed, Sure};
use crate::agent::service::{Binary, Health, Life, PidFile, Service, readiness, reload, services};
use crate::agent::settings::start::Exports;
use crate::server::cluster::Reach;
use crate::system::command::Command;
use crate::system::terminal::Step;
use crate::system::text::reasons;

/// systemd's own limits end a start that hangs (90 s by default), and a stop; this is for a systemd that hangs.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(300);
/// How long a process may take to be in charge, once it was started afresh.
const TAKE_OVER: Duration = Duration::from_secs(60);
/// How long an agent that was ready before may take to be ready again.
const READY: Duration = Duration::from_secs(120);
/// How long to wait for an agent to be ready that is not at first.
const STARTING: Duration = Duration::from_secs(30);
/// How long systemd may give no answer.
const DEAF: Duration = Duration::from_secs(30);
/// How often to ask systemd.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// How often to look for a new process; one that crashes at once lives for some tens of milliseconds.
pub(super) const GLANCE: Duration = Duration::from_millis(10);

/// How a service is verified.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// How long it must run well.
    pub observe: Duration,
    /// Where the agent answers whether it is ready.
    pub socket: &'a Path,
    /// Where the agent exports its maintenance windows to.
    pub schedule: &'a Path,
    /// Whether the agent's cluster can be reached.
    pub cluster: &'a dyn Fn() -> Reach,
    /// Told of what is being done.
    pub progress: &'a dyn Fn(&str),
}

impl Rules<'_> {
    /// Begins a step that takes so long, for people at a terminal and for those who ask elsewhere.
    pub(super) fn step(&self, whole: Duration, what: String) -> Step {
        (self.progress)(&what);
        Step::of(whole, what)
    }
}

/// A service that does not run what is installed.
#[derive(Debug, PartialEq, Eq)]
pub struct Unhealthy {
    /// Why.
    pub reason: String,
    /// What became of the process that ran before.
    pub old: Old,
}

/// What became of the process that ran before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// It is in charge still, and was never anything else: it has its sessions.
    InCharge,
    /// It has handed over to one that is gone: it has its sessions, and takes no others.
    Draining,
    /// It is gone, or may be either.
    Unknown,
}

impl From<String> for Unhealthy {
    fn from(reason: String) -> Unhealthy {
        Unhealthy {
            reason,
            old: Old::Unknown,
        }
    }
}

/// Makes `unit` run the program on the disk, and verifies it.
///
/// A reload keeps open sessions. A restart ends them; it is for a service that cannot reload, for an agent without its cluster, of which
/// no new process would ever be ready, and the last resort.
pub fn bring_up(unit: &str, rules: &Rules) -> Result<(), Unhealthy> {
    replace(unit, rules, Running::Previous)
}

/// Which version a service runs that is to run another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Running {
    /// One that was let run until now. If it has no connection to its cluster, no other version will have one.
    Previous,
    /// One that has failed verification: that it has no connection may be its own fault.
    Failed,
}

/// Makes `unit` run the program on the disk in place of the one that runs.
fn replace(unit: &str, rules: &Rules, running: Running) -> Result<(), Unhealthy> {
    let at_first = look(unit)?;
    let (before, was_reloading) = reload::settle(at_first.clone(), rules)?;
    let is_up = before.health == Health::Running && before.binary == Binary::OnDisk;
    if (was_reloading && is_up) || is_another(&before, &at_first) {
        return Ok(verify(&before, rules, false)?);
    }
    if before.health != Health::Running {
        return Ok(verify(&restart(&before, rules)?, rules, false)?);
    }
    let was_ready = is_ready(rules);
    if !before.can_reload
        || before
            .main
            .and_then(Life::of)
            .is_some_and(|life| !life.is_the_agent())
    {
        // systemd takes a service for ended with its main process: a script that has started the agent, or one it cannot follow.
        warn!("{unit} cannot reload; restarting it (this ends open sessions)");
    } else if let Some(reason) = without_cluster(&before, was_ready, running, rules) {
        warn!(
            "{reason}: no new process of {unit} could be ready; restarting it (this ends open sessions)"
        );
    } else {
        match reload::reload(&before, rules) {
            Ok(service) => return Ok(verify(&service, rules, was_ready)?),
            // It had not come so far that it handles signals: it hung in its start, and has no sessions.
            Err(Failed::Gone(reason)) if before.pid_file == PidFile::Useless => {
                warn!("{reason}; starting {unit} again")
            }
            Err(Failed::Gone(reason) | Failed::Abandoned(reason, Sure::No)) => {
                return Err(reason.into());
            }
            Err(Failed::Abandoned(reason, Sure::Yes)) => {
                return Err(Unhealthy {
                    reason,
                    old: Old::Draining,
                });
            }
            // It is not for us to end the old process, with its sessions, for a version that fails.
            Err(Failed::Crashed(reason)) => {
                return Err(Unhealthy {
                    reason,
                    old: Old::InCharge,
                });
            }
            Err(Failed::NeverReady(reason)) => match (rules.cluster)() {
                // No fault of the version's.
                Reach::Unreachable(why) => {
                    warn!("{reason}, as {why}; restarting {unit} (this ends open sessions)")
                }
                _ => {
                    return Err(Unhealthy {
                        reason,
                        old: Old::InCharge,
                    });
                }
            },
            Err(Failed::NotTaken(reason)) => {
                warn!("{reason}; restarting {unit} (this ends open sessions)")
            }
        }
    }
    Ok(verify(&restart(&before, rules)?, rules, was_ready)?)
}

/// Makes `unit` run the program on the disk if it does not yet, and verifies it.
pub fn ensure(unit: &str, rules: &Rules) -> Result<(), Unhealthy> {
    let (now, _) = reload::settle(look(unit)?, rules)?;
    if now.health == Health::Running && now.binary == Binary::OnDisk {
        return Ok(verify(&now, rules, false)?);
    }
    bring_up(unit, rules)
}

/// Makes `unit` run the version that was rolled back to. An old process that is in charge needs nothing but to be verified: it never was
/// anything else, and has the sessions. One that has handed over takes no signal any more, and nobody could open a session.
pub fn bring_back(unit: &str, old: Old, rules: &Rules) -> Result<(), Unhealthy> {
    let now = look(unit)?;
    let runs = now.health == Health::Running && now.pid.is_some();
    match old {
        Old::InCharge if runs => Ok(verify(&now, rules, false)?),
        Old::Draining if runs => {
            warn!(
                "the process that is left of {unit} takes no new sessions; restarting it (this ends open sessions)"
            );
            Ok(verify(&restart(&now, rules)?, rules, false)?)
        }
        _ => replace(unit, rules, Running::Failed),
    }
}

/// Whether the agent answers that it is ready. It gets some time for it: it may be starting, or recover at this moment.
fn is_ready(rules: &Rules) -> bool {
    let until = Instant::now() + STARTING;
    loop {
        match readiness::ask(rules.socket) {
            Readiness::Ready(_) => return true,
            Readiness::Absent => return false,
            _ if Instant::now() > until => return false,
            _ => thread::sleep(LOOK),
        }
    }
}

/// Why no new process of this agent could be ready now, if so: its cluster cannot be reached.
fn without_cluster(
    service: &Service,
    is_ready: bool,
    running: Running,
    rules: &Rules,
) -> Option<String> {
    if is_ready {
        return None;
    }
    // An agent empties its schedule some minutes after it has lost its cluster.
    let schedule = if service.exports == Exports::Yes {
        Schedule::read(rules.schedule)
    } else {
        Schedule::Missing
    };
    let answer = readiness::ask(rules.socket);
    match (rules.cluster)() {
        Reach::Reachable => None,
        // We may take another way there than the agent does. If it cannot reach it either, the reload tells, and costs two minutes.
        Reach::Unreachable(_) if answer == Readiness::Absent && matches!(schedule, Schedule::Windows(_)) => None,
        Reach::Unreachable(why) => Some(why),
        Reach::Unknown if running == Running::Failed => None,
        Reach::Unknown => match answer {
            Readiness::NotReady(how, _) => Some(format!("the agent is not connected to its cluster ({how})")),
            _ if schedule == Schedule::Empty => {
                Some("the agent is not connected to its cluster (it has emptied its maintenance schedule)".into())
            }
            _ => None,
        },
    }
}

/// Restarts the service, and waits until its process is in charge.
fn restart(before: &Service, rules: &Rules) -> Result<Service, String> {
    let unit = &before.unit;
    info!("restarting {unit}");
    (rules.progress)(&format!("restarting {unit}"));
    let _step = Step::of(TAKE_OVER, format!("waiting for the new process of {unit}"));
    // A service that was given up for failing too often may not be started before this.
    systemctl("reset-failed", Some(unit))?;
    systemctl("restart", Some(unit))?;
    let started = Instant::now();
    loop {
        let now = look(unit)?;
        if is_another(&now, before) {
            return Ok(now);
        }
        if is_bad(&now.health) {
            return Err(format!("{unit} {} after the restart", now.health));
        }
        if started.elapsed() > TAKE_OVER {
            let limit = TAKE_OVER.as_secs();
            return Err(match now.pid_file {
                PidFile::Useless => {
                    format!("{unit} did not write its PID file within {limit} s of the restart")
                }
                _ => format!(
                    "{unit} is still not running {limit} s after the restart: it {}",
                    now.health
                ),
            });
        }
        thread::sleep(LOOK);
    }
}

/// Whether a service that was just started is not coming up.
pub(super) fn is_bad(health: &Health) -> bool {
    !matches!(health, Health::Running | Health::Changing)
}

/// Whether another process than before runs, with the program on the disk.
fn is_another(now: &Service, before: &Service) -> bool {
    // An agent that had its pid file writes it again. One that had none may never have had one.
    let says_so = now.pid_file == PidFile::Good
        || (before.pid_file != PidFile::Good && before.health == Health::Running);
    now.health == Health::Running
        && now.binary == Binary::OnDisk
        && now.pid.is_some()
        && now.pid != before.pid
        && (says_so || now.pid_file == PidFile::None)
}

/// Verifies for a while that the service stays as it was when its process was first in charge, and is ready if it has to be.
fn verify(start: &Service, rules: &Rules, must_be_ready: bool) -> Result<(), String> {
    let (unit, observe) = (&start.unit, rules.observe);
    info!("verifying {unit} for {} s", observe.as_secs());
    let began = Instant::now();
    let age = start
        .pid
        .and_then(Life::of)
        .map(|life| life.age())
        .unwrap_or_default();
    let _step = rules.step(observe, format!("verifying {unit}"));
    loop {
        let now = look(unit)?;
        let elapsed = began.elapsed();
        let age = (age + elapsed).as_secs();
        if now.health != Health::Running {
            return Err(format!("{unit} {}, {age} s after it started", now.health));
        }
        if now.restarts != start.restarts || now.pid != start.pid || now.binary != start.binary {
            return Err(format!("{unit} exited {age} s after it started"));
        }
        if elapsed >= observe {
            match readiness::ask(rules.socket).problem() {
                Some(how) if must_be_ready => {
                    if elapsed >= observe.max(READY) {
                        let reason = format!(
                            "{unit} is running but no longer ready (it was ready before the upgrade): {how}"
                        );
                        // Without its cluster no agent is ready, whatever its version.
                        return match (rules.cluster)() {
                            Reach::Unreachable(why) => {
                                warn!("{reason}; but {why}");
                                Ok(())
                            }
                            _ => Err(reason),
                        };
                    }
                }
                _ => return Ok(()),
            }
        }
        thread::sleep(LOOK);
    }
}

/// Makes systemd read its units again: a package may have brought others and not have said so.
pub fn read_units_again() {
    if let Err(error) = systemctl("daemon-reload", None) {
        warn!("{error}");
    }
}

/// The units of these that systemd has no file of.
pub fn missing(units: &[String]) -> Vec<String> {
    let is_missing =
        |unit: &&String| look(unit).is_ok_and(|service| service.health == Health::Absent);
    units.iter().filter(is_missing).cloned().collect()
}

/// Whether the host is going down, and no service can be started any more.
pub fn host_is_going_down() -> bool {
    let output = Command::new("systemctl", ["is-system-running"])
        .limit(SYSTEMCTL_LIMIT)
        .run();
    output.is_ok_and(|output| output.says("stopping"))
}

/// The process in charge of a service.
pub fn process_in_charge(unit: &str) -> Option<i32> {
    look(unit).ok()?.pid
}

/// Whether a service runs, be it by an older binary.
pub fn runs(unit: &str) -> bool {
    look(unit).is_ok_and(|service| service.health == Health::Running)
}

/// Whether a service of one shot is being carried out.
pub fn is_at_work(unit: &str) -> bool {
    let output = Command::new("systemctl", ["is-active", "--", unit])
        .limit(SYSTEMCTL_LIMIT)
        .run();
    output.is_ok_and(|output| {
        output
            .lines()
            .any(|line| line == "activating" || line == "deactivating")
    })
}

/// Starts again those of `units` that do not run: they did before.
pub fn start_again(units: &[String]) {
    for unit in units {
        if look(unit).is_ok_and(|service| is_bad(&service.health)) {
            warn!("{unit} was stopped during the upgrade; starting it");
            if let Err(error) = systemctl("start", Some(unit)) {
                warn!("{error}");
            }
        }
    }
}

pub(super) fn look(unit: &str) -> Result<Service, String> {
    let until = Instant::now() + DEAF;
    loop {
        match services(&[unit.to_string()]) {
            Ok(mut found) => return found.pop().ok_or_else(|| format!("unit {unit} not found")),
            Err(error) if Instant::now() > until => return Err(reasons(&error)),
            // An answer that does not come says nothing of the agent: systemd may be executing itself anew.
            Err(error) => debug!("{}; asking again", reasons(&error)),
        }
        thread::sleep(LOOK);
    }
}

pub(super) fn systemctl(verb: &str, unit: Option<&str>) -> Result<(), String> {
    let arguments = [verb, "--"].into_iter().chain(unit);
    let output = Command::new("systemctl", arguments)
        .limit(SYSTEMCTL_LIMIT)
        .run()
        .map_err(|error| reasons(&error))?;
    if output.success() {
        Ok(())
    } else {
        Err(output.summary())
    }
}
