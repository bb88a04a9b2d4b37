//! Verification: does a service stay healthy with what is installed, and is it ready?

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::agent::service::Reach;
use crate::agent::service::systemd::{LOOK, look};
use crate::agent::service::{Health, Service, readiness};
use crate::system::output::terminal::Step;
use crate::system::process::Process;

/// How long an agent that was ready before may take to be ready again.
const READY: Duration = Duration::from_secs(120);

/// How a service is verified.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// How long it must be healthy.
    pub observe: Duration,
    /// Where the agent answers whether it is ready.
    pub socket: &'a Path,
    /// Where the agent exports its maintenance windows to.
    pub schedule: &'a Path,
    /// Whether the agent's cluster can be reached.
    pub cluster: &'a dyn Fn() -> Reach,
    /// Called with each step.
    pub progress: &'a dyn Fn(&str),
}

impl Rules<'_> {
    /// Begins a step of this length, for people at a terminal and in `status`.
    pub fn step(&self, length: Duration, what: String) -> Step {
        (self.progress)(&what);
        Step::of(length, what)
    }
}

/// A service that does not run what is installed.
#[derive(Debug, PartialEq, Eq)]
pub struct Unhealthy {
    /// Why.
    pub reason: String,
    /// What became of the previous process.
    pub old: Old,
}

/// What became of the previous process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// It is still in charge and always was: it has its sessions.
    InCharge,
    /// It handed over to one that is gone: it has its sessions, and accepts no others.
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

/// Verifies for `observe-seconds` that the service stays as it was when its process was first in charge, and is ready if it has to be.
pub fn verify(start: &Service, rules: &Rules, must_be_ready: bool) -> Result<(), String> {
    let (unit, observe) = (&start.unit, rules.observe);
    info!("verifying {unit} for {} s", observe.as_secs());
    let began = Instant::now();
    let age = start
        .pid
        .and_then(Process::of)
        .map_or(Duration::ZERO, |process| process.age());
    let _step = rules.step(observe, format!("verifying {unit}"));
    loop {
        let now = look(unit)?;
        let elapsed = began.elapsed();
        let age = (age + elapsed).as_secs();
        if now.health != Health::Running {
            let what = match now.health {
                Health::Crashed | Health::CrashLooping => "crashed".to_string(),
                Health::Failed(_) => now.health.to_string(),
                _ => "stopped".to_string(),
            };
            return Err(format!("{unit} {what} {age} s after it started"));
        }
        if now.restarts != start.restarts || now.pid != start.pid || now.binary != start.binary {
            return Err(format!("{unit} exited {age} s after it started"));
        }
        if elapsed >= observe {
            match readiness::ask(rules.socket).problem() {
                Some(how) if must_be_ready && elapsed >= READY => {
                    let reason = format!(
                        "{unit} is running but no longer ready (it was ready before the upgrade): {how}"
                    );
                    // Without its cluster no agent is ready, whatever its version.
                    let Reach::Unreachable(why) = (rules.cluster)() else {
                        return Err(reason);
                    };
                    warn!("{reason}; but {why}");
                    return Ok(());
                }
                Some(_) if must_be_ready => {}
                _ => return Ok(()),
            }
        }
        thread::sleep(LOOK);
    }
}
