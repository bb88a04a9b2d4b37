//! Makes the agent's services run what is installed: by a reload where that is possible, else by a restart.

use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::agent::schedule::{Absence, Schedule};
use crate::agent::service::Reach;
use crate::agent::service::processes::is_the_agent;
use crate::agent::service::readiness::Readiness;
use crate::agent::service::reload::{Failed, reload};
use crate::agent::service::systemd::{LOOK, look, systemctl};
use crate::agent::service::verify::{Old, Rules, Unhealthy, verify};
use crate::agent::service::{Health, PidFile, Service, readiness, reload};
use crate::agent::settings::start::Exports;
use crate::system::output::terminal::{self, Step};
use crate::system::process::Process;

/// How long a process may take to be in charge after a restart.
const TAKE_OVER: Duration = Duration::from_secs(60);
/// How long to wait for an agent to be ready that is not at first.
const STARTING: Duration = Duration::from_secs(30);

/// Which version a service runs that is to run another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Running {
    /// The previous one. If it is not connected to its cluster, no other version will be.
    Previous,
    /// One that failed verification: that may be why it is not connected.
    Failed,
}

/// Makes `unit` run the program on the disk, and verifies it.
///
/// A reload keeps open sessions. A restart ends them; it is for a service that cannot reload, for an agent without its cluster, of which
/// no new process would ever be ready, and the last resort.
pub fn run_installed(unit: &str, rules: &Rules) -> Result<(), Unhealthy> {
    replace(unit, rules, Running::Previous)
}

/// Makes `unit` run the program on the disk if it does not yet, and verifies it.
pub fn ensure(unit: &str, rules: &Rules) -> Result<(), Unhealthy> {
    let (now, _) = reload::settle(look(unit)?, rules)?;
    if now.is_current() {
        return Ok(verify(&now, rules, false)?);
    }
    run_installed(unit, rules)
}

/// Makes `unit` run the version that was rolled back to. An old process that is in charge needs nothing but to be verified: it always
/// was, and has the sessions. One that handed over ignores signals, and nobody could open a session.
pub fn run_rolled_back(unit: &str, old: Old, rules: &Rules) -> Result<(), Unhealthy> {
    let now = look(unit)?;
    let is_running = now.health == Health::Running && now.pid.is_some();
    match old {
        Old::InCharge if is_running => Ok(verify(&now, rules, false)?),
        Old::Draining if is_running => {
            let why = format!("the remaining process of {unit} accepts no new sessions");
            announce(&why, unit);
            Ok(verify(&restart(&now, rules)?, rules, false)?)
        }
        _ => replace(unit, rules, Running::Failed),
    }
}

/// Makes `unit` run the program on the disk in place of the one that runs.
fn replace(unit: &str, rules: &Rules, running: Running) -> Result<(), Unhealthy> {
    let at_first = look(unit)?;
    let (before, was_reloading) = reload::settle(at_first.clone(), rules)?;
    if (was_reloading && before.is_current()) || is_another(&before, &at_first) {
        return Ok(verify(&before, rules, false)?);
    }
    if before.health != Health::Running {
        return Ok(verify(&restart(&before, rules)?, rules, false)?);
    }
    let was_ready = becomes_ready(rules);
    let why = match without_reload(&before, was_ready, running, rules) {
        Some(why) => why,
        None => match reload(&before, rules) {
            Ok(service) => return Ok(verify(&service, rules, was_ready)?),
            Err(failed) => reason_to_restart(failed, &before, rules)?,
        },
    };
    announce(&why, unit);
    Ok(verify(&restart(&before, rules)?, rules, was_ready)?)
}

/// Announces a restart that ends sessions: in the log, and to everyone at a terminal.
fn announce(why: &str, unit: &str) {
    warn!("{why}; restarting {unit} (this ends open sessions)");
    terminal::broadcast(&format!(
        "teleport-upgrade is restarting the Teleport agent ({unit}). Sessions through this agent will be disconnected."
    ));
}

/// Why a service cannot be reloaded, if it cannot.
fn without_reload(
    service: &Service,
    is_ready: bool,
    running: Running,
    rules: &Rules,
) -> Option<String> {
    let unit = &service.unit;
    let main = service.main.and_then(Process::of);
    // For systemd a service ends with its main process: a script that started the agent, or a process that it cannot follow.
    if !service.can_reload || main.is_some_and(|main| !is_the_agent(&main)) {
        return Some(format!("{unit} cannot reload"));
    }
    if is_ready {
        return None;
    }
    let reason = without_cluster(service, running, rules)?;
    Some(format!(
        "{reason}, so no new process of {unit} could become ready"
    ))
}

/// Why a restart is the answer to a reload that failed; otherwise the version failed, and what became of the old process.
fn reason_to_restart(failed: Failed, before: &Service, rules: &Rules) -> Result<String, Unhealthy> {
    let unhealthy = |reason, old| Err(Unhealthy { reason, old });
    match failed {
        // It had not come so far that it handles signals: it hung in its start, and has no sessions.
        Failed::Gone(reason) if before.pid_file == PidFile::Useless => Ok(reason),
        Failed::Gone(reason) => unhealthy(reason, Old::Unknown),
        Failed::Abandoned(reason, old) => unhealthy(reason, old),
        // The old process, with its sessions, is not to be ended for a version that fails.
        Failed::Crashed(reason) => unhealthy(reason, Old::InCharge),
        Failed::NeverReady(reason) => match (rules.cluster)() {
            // No fault of the version's.
            Reach::Unreachable(why) => Ok(format!("{reason}: {why}")),
            _ => unhealthy(reason, Old::InCharge),
        },
        Failed::NotStarted(reason) => Ok(reason),
    }
}

/// Whether the agent answers that it is ready. It gets some time for it: it may be starting, or recovering at this moment.
fn becomes_ready(rules: &Rules) -> bool {
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

/// Why no new process of this agent, which is not ready, could be ready now, if so: its cluster cannot be reached.
fn without_cluster(service: &Service, running: Running, rules: &Rules) -> Option<String> {
    let schedule = (service.exports == Exports::Yes).then(|| Schedule::read(rules.schedule));
    let answer = readiness::ask(rules.socket);
    let is_connected =
        answer == Readiness::Absent && matches!(schedule, Some(Schedule::Windows(_)));
    match (rules.cluster)() {
        Reach::Reachable => None,
        // We may take another way there than the agent. If the agent cannot reach it either, the reload shows it, and costs two minutes.
        Reach::Unreachable(_) if is_connected => None,
        Reach::Unreachable(why) => Some(why),
        Reach::Unknown if running == Running::Failed => None,
        Reach::Unknown => match answer {
            Readiness::NotReady(how, _) => {
                Some(format!("the agent is not connected to its cluster ({how})"))
            }
            // An agent empties its schedule some minutes after it has lost its cluster.
            _ if schedule == Some(Schedule::Absent(Absence::Empty)) => Some(
                "the agent is not connected to its cluster (it has emptied its maintenance schedule)"
                    .into(),
            ),
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
    // A service that systemd gave up for failing too often may not be started before this.
    systemctl("reset-failed", Some(unit))?;
    systemctl("restart", Some(unit))?;
    let started = Instant::now();
    loop {
        let now = look(unit)?;
        if is_another(&now, before) {
            return Ok(now);
        }
        if now.health.is_bad() {
            return Err(format!(
                "{unit} is not running after the restart: {}",
                now.health
            ));
        }
        if started.elapsed() > TAKE_OVER {
            let limit = TAKE_OVER.as_secs();
            return Err(match now.pid_file {
                PidFile::Useless => {
                    format!("{unit} did not write its PID file within {limit} s of the restart")
                }
                _ => format!(
                    "{unit} is still not running {limit} s after the restart: {}",
                    now.health
                ),
            });
        }
        thread::sleep(LOOK);
    }
}

/// Whether another process than before runs, with the program on the disk.
fn is_another(now: &Service, before: &Service) -> bool {
    // An agent that had its PID file writes it again. One that had none may never have had one.
    let is_in_charge = match now.pid_file {
        PidFile::Good | PidFile::None => true,
        PidFile::Useless => before.pid_file != PidFile::Good && before.health == Health::Running,
    };
    now.is_current() && now.pid.is_some() && now.pid != before.pid && is_in_charge
}
