//! Reloads or restarts the agent's services through systemctl, and watches whether they come up well.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::Command;
use crate::observe::readiness::{self, Readiness};
use crate::observe::service::{Binary, Health, PidFile, Service, Succession, services};
use crate::terminal::Step;
use crate::text::reasons;

/// systemd's own limits end a start that hangs (90 s by default); this is for a systemd that hangs.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(300);
/// How long the new process may take to be in charge, once it was started.
const TAKE_OVER: Duration = Duration::from_secs(60);
/// How long after a reload a new process must be seen; an agent that knows how to reload starts it at once.
const APPEAR: Duration = Duration::from_secs(5);
/// How long an agent that answers may take to call itself ready.
const READY: Duration = Duration::from_secs(60);
/// How often to ask systemd.
const LOOK: Duration = Duration::from_millis(500);
/// How often to look for a new process; one that crashes at once lives for some tens of milliseconds.
const GLANCE: Duration = Duration::from_millis(10);

/// How a service is watched that was just brought up.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// How long it must run well.
    pub observe: Duration,
    /// Where the agent says whether it is ready.
    pub socket: &'a Path,
}

/// Why a reload did not bring a new process into charge.
enum Reload {
    /// None was ever seen: this agent, or its unit, does not know how to reload after all.
    NotTaken(String),
    /// One was, and is not fit.
    Unfit(String),
}

/// Has `unit` run the binary on the disk, and watches it. If that does not go well, why.
///
/// A reload keeps open sessions; a restart is for a service that cannot reload, or does not do what it was told.
pub fn bring_up(unit: &str, rules: &Watch) -> Result<(), String> {
    let at_first = look(unit)?;
    // An agent that cannot reach its cluster is not ready, whatever its version.
    let must_be_ready = readiness::ask(rules.socket) == Readiness::Ready;
    let before = after_a_reload(at_first.clone())?;
    if has_taken_over(&before, &at_first) {
        return watch(&before, rules, must_be_ready);
    }
    if before.health == Health::Running && before.can_reload {
        match reload(&before) {
            Ok(service) => return watch(&service, rules, must_be_ready),
            // The old process goes on, with its sessions. It is not for us to end it for a version that is no good.
            Err(Reload::Unfit(reason)) => return Err(reason),
            Err(Reload::NotTaken(reason)) => warn!("{reason}; restarting {unit}"),
        }
    }
    let service = restart(&before)?;
    watch(&service, rules, must_be_ready)
}

/// Has `unit` run the binary on the disk if it does not yet, and watches it.
pub fn ensure(unit: &str, rules: &Watch) -> Result<(), String> {
    let now = look(unit)?;
    if now.health == Health::Running && now.binary == Binary::OnDisk { watch(&now, rules, false) } else { bring_up(unit, rules) }
}

/// Has `unit` run the version that was put back. If the process that `before` had is still in charge, nothing needs to be done to
/// it but to watch it: it never was anything else, and has the sessions. One that has handed over is on its way out.
pub fn bring_back(unit: &str, before: Option<&Service>, rules: &Watch) -> Result<(), String> {
    let now = look(unit)?;
    let in_charge = now.health == Health::Running && now.pid.is_some() && now.pid_file != PidFile::Useless;
    let is_the_same = in_charge && before.is_some_and(|before| before.pid == now.pid);
    if is_the_same { watch(&now, rules, false) } else { bring_up(unit, rules) }
}

/// Waits for the end of a reload that is under way: of a pass that was killed, or of a person. Asked for another one in its midst the old
/// process would start a second successor, and be gone before that one can take over.
fn after_a_reload(mut now: Service) -> Result<Service, String> {
    let started = Instant::now();
    while Succession::of(&now).is_some_and(|succession| succession.is_under_way()) && started.elapsed() < TAKE_OVER {
        debug!("{} is being reloaded already; waiting for that to end", now.unit);
        thread::sleep(LOOK);
        now = look(&now.unit)?;
    }
    Ok(now)
}

/// Reloads the service, and waits until another process with the binary on the disk is in charge.
fn reload(before: &Service) -> Result<Service, Reload> {
    let unit = &before.unit;
    let Some(succession) = Succession::of(before) else { return Err(Reload::NotTaken(format!("{unit} has just ended"))) };
    info!("reloading {unit}");
    let _step = Step::of(TAKE_OVER, format!("waiting for the new process of {unit}"));
    systemctl("reload", Some(unit)).map_err(Reload::NotTaken)?;
    let started = Instant::now();
    let mut seen = false;
    loop {
        seen |= glance(&succession);
        let now = look(unit).map_err(Reload::Unfit)?;
        if has_taken_over(&now, before) {
            return Ok(now);
        }
        let elapsed = started.elapsed();
        // Early on, a child that ended may have been a session's.
        let lost = seen || (elapsed > APPEAR && succession.has_lost_a_child());
        if is_bad(&now.health) {
            return Err(Reload::Unfit(format!("{unit} {} after the reload", now.health)));
        }
        // Asked once more: it may have taken over since, and be no successor of the old process any longer.
        if lost && succession.successors().is_empty() && !look(unit).is_ok_and(|now| has_taken_over(&now, before)) {
            return Err(Reload::Unfit(format!("the new process of {unit} ended right after the reload")));
        }
        if !seen && elapsed > APPEAR {
            return Err(Reload::NotTaken(format!("{unit} started no new process in the {} s after the reload", APPEAR.as_secs())));
        }
        if elapsed > TAKE_OVER {
            // Left alone it might still take over, later, when nobody watches it.
            for pid in succession.successors() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let reason = format!("the new process of {unit} did not take over in the {} s after the reload", TAKE_OVER.as_secs());
            return Err(Reload::Unfit(reason));
        }
    }
}

/// Looks for a successor for a while; returns at once when one is seen to come or go.
fn glance(succession: &Succession) -> bool {
    let until = Instant::now() + LOOK;
    let at_first = !succession.successors().is_empty();
    while Instant::now() < until {
        thread::sleep(GLANCE);
        if succession.successors().is_empty() == at_first {
            return true;
        }
    }
    at_first
}

/// Whether a service that was just started is not coming up.
fn is_bad(health: &Health) -> bool {
    !matches!(health, Health::Running | Health::Changing)
}

/// Restarts the service, and waits until its process is in charge.
fn restart(before: &Service) -> Result<Service, String> {
    let unit = &before.unit;
    info!("restarting {unit}");
    let _step = Step::of(TAKE_OVER, format!("waiting for the new process of {unit}"));
    // A service that was given up for failing too often may not be started before this.
    systemctl("reset-failed", Some(unit))?;
    systemctl("restart", Some(unit))?;
    let started = Instant::now();
    loop {
        let now = look(unit)?;
        if has_taken_over(&now, before) {
            return Ok(now);
        }
        if is_bad(&now.health) {
            return Err(format!("{unit} {} after the restart", now.health));
        }
        if started.elapsed() > TAKE_OVER {
            let limit = TAKE_OVER.as_secs();
            return Err(match now.pid_file {
                PidFile::Useless => format!("{unit} hangs: it has written no pid file in the {limit} s after the restart"),
                _ => format!("{unit} is not in order {limit} s after the restart: it {}", now.health),
            });
        }
        thread::sleep(LOOK);
    }
}

/// Whether another process than before is in charge, and runs the binary on the disk.
fn has_taken_over(now: &Service, before: &Service) -> bool {
    // An agent that had its pid file writes it again, when it is up. One that had none may never have had one.
    let says_so = now.pid_file == PidFile::Good || (before.pid_file != PidFile::Good && before.health == Health::Running);
    now.health == Health::Running
        && now.binary == Binary::OnDisk
        && now.pid.is_some()
        && now.pid != before.pid
        && (says_so || now.pid_file == PidFile::None)
}

/// Looks for a while whether the service stays as it was when its new process took over, and becomes ready.
fn watch(start: &Service, rules: &Watch, must_be_ready: bool) -> Result<(), String> {
    let (unit, observe) = (&start.unit, rules.observe);
    info!("watching {unit} for {} s", observe.as_secs());
    let began = Instant::now();
    let _step = Step::of(observe, format!("watching {unit}"));
    loop {
        let now = look(unit)?;
        if now.health != Health::Running {
            return Err(format!("{unit} {}, {} s after its start", now.health, began.elapsed().as_secs()));
        }
        if now.restarts != start.restarts || now.pid != start.pid || now.binary != start.binary {
            return Err(format!("the process of {unit} ended {} s after its start", began.elapsed().as_secs()));
        }
        if began.elapsed() >= observe {
            match readiness::ask(rules.socket) {
                Readiness::NotReady(reason) if must_be_ready => {
                    if began.elapsed() >= observe.max(READY) {
                        return Err(format!("{unit} runs, but is not ready as it was before: {reason}"));
                    }
                }
                _ => return Ok(()),
            }
        }
        thread::sleep(LOOK);
    }
}

/// Has systemd read its units again: a package may have brought others and not have said so.
pub fn read_units_again() {
    if let Err(error) = systemctl("daemon-reload", None) {
        warn!("{error}");
    }
}

/// Whether the host is going down, and no service can be started any more.
pub fn host_is_going_down() -> bool {
    let output = Command::new("systemctl", ["is-system-running"]).limit(SYSTEMCTL_LIMIT).run();
    output.is_ok_and(|output| output.says("stopping"))
}

/// Whether a service runs, be it by an older binary.
pub fn runs(unit: &str) -> bool {
    look(unit).is_ok_and(|service| service.health == Health::Running)
}

/// Whether a service of one shot is being carried out.
pub fn is_at_work(unit: &str) -> bool {
    let output = Command::new("systemctl", ["is-active", "--", unit]).limit(SYSTEMCTL_LIMIT).run();
    output.is_ok_and(|output| output.lines().any(|line| line == "activating" || line == "deactivating"))
}

/// Starts again those of `units` that do not run: they did before.
pub fn start_again(units: &[String]) {
    for unit in units {
        if look(unit).is_ok_and(|service| is_bad(&service.health)) {
            warn!("{unit} was stopped on the way; starting it again");
            if let Err(error) = systemctl("start", Some(unit)) {
                warn!("{error}");
            }
        }
    }
}

fn look(unit: &str) -> Result<Service, String> {
    let mut found = services(&[unit.to_string()]).map_err(|error| reasons(&error))?;
    found.pop().ok_or_else(|| format!("systemd does not know {unit}"))
}

fn systemctl(verb: &str, unit: Option<&str>) -> Result<(), String> {
    let arguments = [verb, "--"].into_iter().chain(unit);
    let output = Command::new("systemctl", arguments).limit(SYSTEMCTL_LIMIT).run().map_err(|error| reasons(&error))?;
    if output.success() { Ok(()) } else { Err(output.summary()) }
}
