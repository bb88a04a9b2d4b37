//! Reloads or restarts the agent's services through systemctl, and watches whether they come up well.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use log::{info, warn};

use crate::command::Command;
use crate::observe::service::{Binary, Health, Service, services};

/// systemd's own limits end a start that hangs (90 s by default); this is for a systemd that hangs.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(300);
/// How long the new process may take to be in charge after a reload or a restart.
const TAKE_OVER: Duration = Duration::from_secs(30);
/// How often to look.
const LOOK: Duration = Duration::from_millis(500);

/// Has `unit` run the binary on the disk, and watches it for `observe`. If that does not go well, why.
///
/// A reload keeps open sessions; a restart is for a service that cannot reload, or does not do what it was told.
pub fn bring_up(unit: &str, observe: Duration) -> Result<(), String> {
    let before = look(unit)?;
    if before.health == Health::Running && before.can_reload {
        info!("reloading {unit}");
        match systemctl("reload", unit).and_then(|()| taken_over(unit, before.pid)) {
            Ok(service) => return watch(&service, observe),
            Err(reason) => warn!("after a reload, {reason}; restarting {unit}"),
        }
    }
    info!("restarting {unit}");
    // A service that was given up for failing too often may not be started before this.
    systemctl("reset-failed", unit)?;
    systemctl("restart", unit)?;
    taken_over(unit, before.pid).and_then(|service| watch(&service, observe))
}

/// Waits until another process than `before` is in charge, and runs the binary on the disk.
fn taken_over(unit: &str, before: Option<i32>) -> Result<Service, String> {
    let deadline = Instant::now() + TAKE_OVER;
    loop {
        let service = look(unit)?;
        if service.health.is_down() {
            return Err(format!("{unit} {}", service.health));
        }
        if service.health == Health::Running
            && service.binary == Binary::OnDisk
            && service.pid.is_some_and(|pid| Some(pid) != before)
        {
            return Ok(service);
        }
        if Instant::now() >= deadline {
            let doing = match service.binary {
                _ if service.health != Health::Running => service.health.to_string(),
                Binary::Replaced => "still runs the older binary".to_string(),
                _ => "still has the same process".to_string(),
            };
            return Err(format!("{unit} {doing} after {} s", TAKE_OVER.as_secs()));
        }
        thread::sleep(LOOK);
    }
}

/// Looks for `observe` whether the service stays as it was when its new process took over.
fn watch(start: &Service, observe: Duration) -> Result<(), String> {
    let unit = &start.unit;
    info!("watching {unit} for {} s", observe.as_secs());
    let deadline = Instant::now() + observe;
    loop {
        let now = look(unit)?;
        if now.health != Health::Running {
            return Err(format!("{unit} {}", now.health));
        }
        if now.restarts != start.restarts || now.pid != start.pid {
            return Err(format!("the process of {unit} ended and was replaced"));
        }
        if Instant::now() >= deadline {
            return Ok(());
        }
        thread::sleep(LOOK.min(deadline.saturating_duration_since(Instant::now())));
    }
}

fn look(unit: &str) -> Result<Service, String> {
    let mut found = services(&[unit.to_string()]).map_err(|error| format!("{error:#}"))?;
    found.pop().ok_or_else(|| format!("systemd does not know {unit}"))
}

fn systemctl(verb: &str, unit: &str) -> Result<(), String> {
    let output =
        Command::new("systemctl", [verb, "--", unit]).limit(SYSTEMCTL_LIMIT).run().map_err(|error| format!("{error:#}"))?;
    if output.success() { Ok(()) } else { Err(output.summary()) }
}
