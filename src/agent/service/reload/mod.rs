//! Reloading the agent: the old process starts a new one, and hands over to it once that one is ready.
//!
//! What Teleport does at a SIGHUP (lib/service/signals.go, lib/service/service.go) is what all of this rests on. The old process starts
//! the program on the disk and waits up to two minutes until the new one is ready; meanwhile it keeps serving, waits for none of its
//! other children, and ignores other signals. The new one writes the PID file at once, which means nothing. If it is not ready
//! after two minutes, it exits, and the old process continues as if nothing had happened; the PID file stays as it is.

mod pipe;
mod settle;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::service::processes::{binary, is_the_agent};
use crate::agent::service::readiness::Readiness;
use crate::agent::service::reload::pipe::Pipe;
use crate::agent::service::systemd::{LOOK, look, systemctl};
use crate::agent::service::verify::{Old, Rules};
use crate::agent::service::{Binary, PidFile, Service, readiness};
use crate::system::output::terminal::Step;
use crate::system::process::Process;
use crate::system::text::io_problem;

pub use settle::settle;

/// Teleport's own limit for the new process to be ready (`signalPipeTimeout`).
const TELEPORTS_LIMIT: Duration = Duration::from_secs(120);
/// It begins to count once the new process has read its settings; on a busy host that takes a while.
const MARGIN: Duration = Duration::from_secs(10);
/// How long after its start a process may not be in charge yet, but an older one.
const SETTLED: Duration = TELEPORTS_LIMIT.saturating_add(MARGIN);
/// How long after a reload a new process is usually seen.
const APPEAR: Duration = Duration::from_secs(5);
/// How often to look for a new process; one that crashes at once lives for some tens of milliseconds.
const GLANCE: Duration = Duration::from_millis(10);
/// How often to ask on `debug.sock` at one look: while both processes live, either of them may answer.
const QUESTIONS: usize = 4;

/// Why a reload brought no new process into charge.
#[derive(Debug)]
pub enum Failed {
    /// No new process was started: the old one, if there is one, continues.
    NotStarted(String),
    /// The new process was not ready in time, and exited; the old one continues.
    NeverReady(String),
    /// The new process crashed or hung before it was ready; the old one continues.
    Crashed(String),
    /// The new process crashed, and the old one had handed over to it before (then it is draining), or may have.
    Abandoned(String, Old),
    /// Neither the old process nor the new one is there any more.
    Gone(String),
}

/// Whether this very process answers that it is ready.
fn is_ready(socket: &Path, pid: i32) -> bool {
    (0..QUESTIONS).any(|_| readiness::ask(socket) == Readiness::Ready(Some(pid)))
}

/// A reload in progress.
struct Reload<'a> {
    before: &'a Service,
    /// The agent's processes before.
    known: Vec<Process>,
    old: Process,
    /// Children of the old process that had ended before.
    ended_before: Vec<i32>,
    /// The faults of those that it had waited for before.
    faults_before: Option<u64>,
    pipe: Pipe,
    rules: &'a Rules<'a>,
}

/// Reloads the service, and waits until a new process with the program on the disk is in charge.
pub fn reload(before: &Service, rules: &Rules) -> Result<Service, Failed> {
    let unit = &before.unit;
    let Some(old) = before.pid.and_then(Process::of) else {
        return Err(Failed::NotStarted(format!("{unit} exited")));
    };
    let mut reload = Reload {
        before,
        known: before.agents(),
        old,
        ended_before: ended(&old),
        faults_before: old.faults_of_children(),
        pipe: Pipe::new(),
        rules,
    };
    info!("reloading {unit}");
    (rules.progress)(&format!("waiting for the new process of {unit}"));
    let _step = Step::of(
        TELEPORTS_LIMIT,
        format!("waiting for the new process of {unit} to be ready"),
    );
    let began = Instant::now();
    signal(before, &old)?;
    let new = reload.appears(began)?;
    reload.takes_over(&new)
}

impl Reload<'_> {
    /// Waits for the new process.
    fn appears(&mut self, began: Instant) -> Result<Process, Failed> {
        let unit = &self.before.unit;
        let (mut ended_at_last_look, mut was_logged) = (None, false);
        let ended_at_once = || {
            Failed::Crashed(format!(
                "the new {unit} process exited right after the reload"
            ))
        };
        loop {
            if let Some(new) = self.glance(None) {
                return Ok(new);
            }
            self.look()?;
            // The old process waits at once for a session's process that has ended; for the one of the reload only later.
            let ended = ended(&self.old);
            let ended = ended
                .into_iter()
                .find(|pid| !self.ended_before.contains(pid));
            if ended.is_some() && ended == ended_at_last_look {
                return Err(ended_at_once());
            }
            ended_at_last_look = ended;
            if !self.old.is_alive() {
                return Err(Failed::Gone(format!("{unit} exited at the reload")));
            }
            let elapsed = began.elapsed();
            if elapsed > APPEAR && !was_logged {
                info!(
                    "{unit} has not started a new process yet: it may still wait for an earlier one, up to two minutes"
                );
                was_logged = true;
            }
            if elapsed > SETTLED + APPEAR {
                // From 15.1.1 on the old process waits for a new one as soon as that has ended: its page faults are all that is left of
                // one that ended unseen. They may have been a session's: the old process must still be ready.
                let has_waited = self.old.faults_of_children() != self.faults_before;
                if has_waited && readiness::ask(self.rules.socket).is_ready() {
                    return Err(ended_at_once());
                }
                return Err(Failed::NotStarted(format!(
                    "{unit} did not start a new process within {} s of the reload",
                    elapsed.as_secs()
                )));
            }
        }
    }

    /// Waits until the new process is in charge.
    fn takes_over(&mut self, new: &Process) -> Result<Service, Failed> {
        let unit = &self.before.unit;
        loop {
            self.glance(Some(new));
            let now = self.look()?;
            if !new.is_alive() {
                return Err(self.why_it_ended(new));
            }
            if is_ready(self.rules.socket, new.pid) {
                debug!("the new process {} of {unit} is ready", new.pid);
                return in_charge(unit, new);
            }
            if !self.old.is_alive() {
                debug!("the old process {} of {unit} has exited", self.old.pid);
                return in_charge(unit, new);
            }
            if new.age() > SETTLED {
                return self.outlived(now, new);
            }
        }
    }

    fn look(&self) -> Result<Service, Failed> {
        let unit = &self.before.unit;
        let now = look(unit).map_err(Failed::Gone)?;
        if now.health.is_bad() {
            let reason = format!("{unit} is not running after the reload: {}", now.health);
            return Err(Failed::Gone(reason));
        }
        Ok(now)
    }

    /// Looks for the new process for a while, or at it; returns at once when it comes or goes.
    fn glance(&mut self, new: Option<&Process>) -> Option<Process> {
        let until = Instant::now() + LOOK;
        loop {
            if let Some(new) = new {
                self.pipe.look(&self.old, new);
                if !new.is_alive() {
                    return None;
                }
            } else {
                // The agent starts processes for sessions, which look the same for a moment, but run the old program.
                let is_new = |agent: &Process| {
                    !self.known.contains(agent) && binary(agent) == Binary::OnDisk
                };
                if let Some(new) = self.before.agents().into_iter().rev().find(is_new) {
                    self.pipe.look(&self.old, &new);
                    return Some(new);
                }
            }
            if Instant::now() > until {
                return None;
            }
            thread::sleep(GLANCE);
        }
    }

    /// What it means that the new process has ended.
    fn why_it_ended(&self, new: &Process) -> Failed {
        let unit = &self.before.unit;
        let age = new.age();
        let exited = format!(
            "the new {unit} process exited {} s after it started",
            age.as_secs()
        );
        if !self.old.is_alive() {
            return Failed::Gone(format!("{exited}, after it had replaced the old one"));
        }
        // A process that has handed over has closed its socket, too: the one that answers there now is in charge.
        if self.pipe.is_notified {
            return Failed::Abandoned(exited, Old::Draining);
        }
        if self.pipe.may_be_notified(new) && !readiness::ask(self.rules.socket).is_ready() {
            return Failed::Abandoned(exited, Old::Unknown);
        }
        // It exits by itself at Teleport's limit and not before.
        if age + MARGIN > TELEPORTS_LIMIT {
            let reason =
                format!("the new {unit} process was not ready within two minutes and exited");
            return Failed::NeverReady(reason);
        }
        Failed::Crashed(format!("{exited}, before it was ready"))
    }

    /// The new process has outlived Teleport's limit, so it is in charge: unless it hangs so early that it does not enforce that limit, or
    /// reports that it is not ready.
    fn outlived(&self, now: Service, new: &Process) -> Result<Service, Failed> {
        let hangs = self.before.pid_file == PidFile::Good && now.pid != Some(new.pid);
        let mut answers = (0..QUESTIONS).map(|_| readiness::ask(self.rules.socket));
        let is_unready = answers.any(|answer| {
            matches!(&answer, Readiness::NotReady(_, Some(pid)) if *pid == new.pid)
                || matches!(&answer, Readiness::Ready(Some(pid)) if *pid == self.old.pid)
        });
        // One to which the old process has handed over is in charge, ready or not.
        if self.pipe.is_notified || (!hangs && !is_unready) {
            return Ok(now);
        }
        // Otherwise it might still take over later, unverified.
        if let Err(error) = kill(Pid::from_raw(new.pid), Signal::SIGKILL) {
            debug!("cannot kill process {}: {error}", new.pid);
        }
        Err(Failed::Crashed(format!(
            "the new {} process did not replace the old one within {} s of the reload",
            self.before.unit,
            SETTLED.as_secs()
        )))
    }
}

fn ended(process: &Process) -> Vec<i32> {
    process
        .ended_children()
        .into_iter()
        .map(|(pid, _)| pid)
        .collect()
}

/// The service, once its PID file names the new process.
fn in_charge(unit: &str, new: &Process) -> Result<Service, Failed> {
    let until = Instant::now() + APPEAR;
    loop {
        let now = look(unit).map_err(Failed::Gone)?;
        if now.pid == Some(new.pid) || Instant::now() > until {
            return Ok(now);
        }
        thread::sleep(GLANCE);
    }
}

/// Makes the process in charge start a new one.
fn signal(before: &Service, old: &Process) -> Result<(), Failed> {
    let (unit, pid) = (&before.unit, old.pid);
    // A process that has handed over ignores signals, and a PID file may name one that has ended.
    let reaches_it = if before.reloads_main {
        before.main == Some(pid)
    } else {
        before.pid_file != PidFile::Useless
    };
    if reaches_it {
        match systemctl("reload", Some(unit)) {
            Ok(()) => return Ok(()),
            // From 15 on the unit's command requires a lock on the PID file, which the process of an older version does not hold.
            Err(reason) if old.is_alive() => {
                warn!("{reason}; sending SIGHUP to process {pid} instead")
            }
            Err(reason) => return Err(Failed::NotStarted(reason)),
        }
    }
    if !is_the_agent(old) {
        return Err(Failed::NotStarted(format!(
            "process {pid} of {unit} is not the agent itself and gets no SIGHUP"
        )));
    }
    debug!("sending SIGHUP to process {pid} of {unit}");
    kill(Pid::from_raw(pid), Signal::SIGHUP).map_err(|error| {
        let error = io_problem(&error.into());
        Failed::NotStarted(format!("cannot send SIGHUP to process {pid}: {error}"))
    })
}
