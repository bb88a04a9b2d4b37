//! systemd: the state of units, and what it is asked to do with them.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use log::{debug, warn};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::agent::service::properties::{NAMES, parse};
use crate::agent::service::{Health, PidFile, Service};
use crate::system::files::state::FileState;
use crate::system::process::Process;
use crate::system::process::command::Command;
use crate::system::text::reasons;

/// `systemctl show` asks over a socket: without an answer there is nothing to wait for.
const SHOW_LIMIT: Duration = Duration::from_secs(30);
/// systemd's own limits end a start that hangs (90 s by default), and a stop; this is for a systemd that hangs.
const LIMIT: Duration = Duration::from_secs(300);
/// How long systemd may give no answer.
const NO_ANSWER: Duration = Duration::from_secs(30);
/// How often to look at a service.
pub const LOOK: Duration = Duration::from_millis(500);
/// What systemd recreates whenever it reads its units again (`daemon-reload`): the directory of the units that generators have made.
/// Where they have made none, it comes and goes in the directory above.
const GENERATED: [&str; 2] = ["/run/systemd/generator", "/run/systemd"];

/// What systemd answered for some units that were healthy, and their processes then: those in charge, and those that systemd takes for
/// the main ones. While these live and are in charge, nothing was stopped, crashed or was restarted; while systemd has not read its units
/// again, they are what they were. So it would give the same answer again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    boot: String,
    units: Vec<String>,
    lines: Vec<String>,
    processes: Vec<Process>,
    read: Option<FileState>,
}

/// The state of `units`, in that order, without asking systemd if its answer in `known` still holds. A new answer replaces it.
pub fn services(units: &[String], known: &mut Option<Answer>) -> Result<Vec<Service>> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // Looked at before systemd is asked: if it reads its units meanwhile, the answer is never used.
    let read = GENERATED
        .iter()
        .find_map(|path| FileState::of(Path::new(path)));
    let holds = |answer: &&Answer| {
        answer.units == units && answer.boot == boot && answer.read == read && read.is_some()
    };
    if let Some(answer) = known.as_ref().filter(holds)
        && let Ok(services) = services_in(&answer.lines, units)
        && healthy_processes(&services).as_ref() == Some(&answer.processes)
    {
        return Ok(services);
    }
    let lines = show(units)?;
    let services = services_in(&lines, units)?;
    *known = healthy_processes(&services).map(|processes| Answer {
        boot,
        units: units.to_vec(),
        lines,
        processes,
        read,
    });
    Ok(services)
}

/// The processes, if every service is healthy and its PID file names the one in charge.
fn healthy_processes(services: &[Service]) -> Option<Vec<Process>> {
    let is_healthy = |service: &Service| service.is_current() && service.pid_file == PidFile::Good;
    let pids = services
        .iter()
        .flat_map(|service| [service.pid, service.main]);
    let processes = pids.map(|pid| pid.and_then(Process::of)).collect();
    services.iter().all(is_healthy).then_some(processes)?
}

fn show(units: &[String]) -> Result<Vec<String>> {
    let properties = format!("--property={NAMES}");
    let arguments = ["show", &properties, "--"].into_iter();
    let arguments = arguments.chain(units.iter().map(String::as_str));
    let output = Command::new("systemctl", arguments)
        .limit(SHOW_LIMIT)
        .often()
        .run()?;
    if !output.success() {
        let units = units.join(", ");
        bail!(
            "cannot get the state of {units} from systemd: {}",
            output.summary()
        );
    }
    Ok(output.answer().map(str::to_string).collect())
}

/// The services in an answer, by the names under which they were asked for.
fn services_in(lines: &[String], units: &[String]) -> Result<Vec<Service>> {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut services = parse(&lines, clock_gettime(ClockId::CLOCK_MONOTONIC)?.into());
    if services.len() != units.len() {
        let (found, asked) = (services.len(), units.len());
        bail!("systemd answered for {found} units instead of {asked}");
    }
    for (service, unit) in services.iter_mut().zip(units) {
        service.unit.clone_from(unit);
    }
    Ok(services)
}

/// The state of one unit.
pub fn look(unit: &str) -> Result<Service, String> {
    let until = Instant::now() + NO_ANSWER;
    loop {
        match services(&[unit.to_string()], &mut None) {
            Ok(mut found) => return found.pop().ok_or_else(|| format!("unit {unit} not found")),
            Err(error) if Instant::now() > until => return Err(reasons(&error)),
            // Without an answer nothing is known of the agent: systemd may be re-executing itself.
            Err(error) => debug!("{}; retrying", reasons(&error)),
        }
        thread::sleep(LOOK);
    }
}

/// Runs `systemctl VERB`, for a unit or for systemd itself.
pub fn systemctl(verb: &str, unit: Option<&str>) -> Result<(), String> {
    let output = Command::new("systemctl", [verb, "--"].into_iter().chain(unit))
        .limit(LIMIT)
        .run();
    match output {
        Ok(output) if output.success() => Ok(()),
        Ok(output) => Err(output.summary()),
        Err(error) => Err(reasons(&error)),
    }
}

/// Makes systemd read its units again: a package may have brought others without a `daemon-reload`.
pub fn read_units_again() {
    if let Err(error) = systemctl("daemon-reload", None) {
        warn!("{error}");
    }
}

/// Those of `units` of which systemd has no file.
pub fn missing(units: &[String]) -> Vec<String> {
    let is_missing =
        |unit: &&String| look(unit).is_ok_and(|service| service.health == Health::Absent);
    units.iter().filter(is_missing).cloned().collect()
}

/// Whether the host is shutting down, so that no service can be started any more.
pub fn host_is_shutting_down() -> bool {
    answers(&["is-system-running"], &["stopping"])
}

/// Whether a service of type `oneshot` is running.
pub fn is_in_progress(unit: &str) -> bool {
    answers(&["is-active", "--", unit], &["activating", "deactivating"])
}

fn answers(arguments: &[&str], expected: &[&str]) -> bool {
    let output = Command::new("systemctl", arguments).limit(LIMIT).run();
    output.is_ok_and(|output| output.answer().any(|line| expected.contains(&line)))
}

/// Starts those of `units` that were running before and are not.
pub fn start_again(units: &[String]) {
    for unit in units {
        if look(unit).is_ok_and(|service| service.health.is_bad()) {
            warn!("{unit} was stopped during the upgrade; starting it");
            if let Err(error) = systemctl("start", Some(unit)) {
                warn!("{error}");
            }
        }
    }
}
