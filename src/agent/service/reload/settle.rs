//! Waits for a reload that is in progress already.

use std::thread;
use std::time::{Duration, Instant};

use log::info;

use crate::agent::service::reload::{SETTLED, is_ready};
use crate::agent::service::systemd::{LOOK, look};
use crate::agent::service::verify::Rules;
use crate::agent::service::{Health, PidFile, Service};
use crate::system::process::Process;

/// How long a process that was just started may not handle signals yet: SIGHUP would end it.
const YOUNG: Duration = Duration::from_secs(1);

/// Waits until no reload is in progress any more: one of a run that was killed, one that was started manually, or one whose new process
/// has failed already and for which the old process still waits. A signal that comes before that is only handled afterwards.
///
/// Returns the service as it is then, and whether there was one.
pub fn settle(mut now: Service, rules: &Rules) -> Result<(Service, bool), String> {
    let unit = now.unit.clone();
    let until = Instant::now() + SETTLED;
    let mut step = None;
    // One that crashes again and again is always young.
    let grown = Instant::now() + YOUNG * 20;
    while is_young(&now) && Instant::now() < grown {
        thread::sleep(LOOK);
        now = look(&unit)?;
    }
    while Instant::now() < until && is_in_progress(&now, rules) {
        step.get_or_insert_with(|| {
            let seconds = SETTLED.as_secs();
            info!("{unit} is being reloaded already; waiting for that to end, up to {seconds} s");
            rules.step(
                SETTLED,
                format!("waiting for an earlier reload of {unit} to end"),
            )
        });
        thread::sleep(LOOK);
        now = look(&unit)?;
    }
    Ok((now, step.is_some()))
}

/// Whether the service was started so recently that it may not handle signals yet, as it does once it has written its PID file.
fn is_young(now: &Service) -> bool {
    let limit = match now.pid_file {
        PidFile::Useless => YOUNG * 10,
        _ => YOUNG,
    };
    let process = now.pid.and_then(Process::of);
    now.health == Health::Running && process.is_some_and(|process| process.age() < limit)
}

/// Whether the newest process is not known to be in charge yet, or still waits for one that has ended.
fn is_in_progress(now: &Service, rules: &Rules) -> bool {
    let agents = now.agents();
    let Some((newest, older)) = agents.split_last() else {
        return false;
    };
    let waits = || {
        newest
            .ended_children()
            .iter()
            .any(|(_, age)| *age < SETTLED)
    };
    // A process that was started by systemd, and not by a reload, has no other one to take over from.
    let is_new = !older.is_empty() && newest.age() < SETTLED && !is_ready(rules.socket, newest.pid);
    // It waits for a session's process at once, so a second look does not see that any more.
    is_new
        || (waits() && {
            thread::sleep(LOOK);
            waits()
        })
}
