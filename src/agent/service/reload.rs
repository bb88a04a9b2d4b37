//! Reloading the agent: the old process starts a new one, and hands over to it once that one is ready.
//!
//! What Teleport does at a SIGHUP (lib/service/signals.go, lib/service/service.go) is what all of this rests on. The old process starts
//! the program on the disk and waits up to two minutes for its word; meanwhile it serves on, asks about none of its children, and takes
//! no other signal. The new one writes the pid file at once, which says nothing about readiness. If it is not ready after two
//! minutes, it ends itself, and the old process goes on as if nothing had happened; nobody rewrites the pid file.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::service::readiness::Readiness;
use crate::agent::service::restart::{GLANCE, LOOK, Rules, is_bad, look, systemctl};
use crate::agent::service::{Health, Life, PidFile, Service, readiness, runs_what_is_on_disk};
use crate::system::terminal::Step;
use crate::system::text::io_problem;

/// Teleport's own limit for the new process to be ready (`signalPipeTimeout`).
const TELEPORTS_LIMIT: Duration = Duration::from_secs(120);
/// It begins to count once the new process has read its settings; on a busy host that takes a while.
const MARGIN: Duration = Duration::from_secs(10);
/// How long a process of a reload can be on its way: older ones are in charge.
const SETTLED: Duration = TELEPORTS_LIMIT.saturating_add(MARGIN);
/// How long after a reload a new process is usually seen.
const APPEAR: Duration = Duration::from_secs(5);
/// No agent joins its cluster faster.
const JOINING: Duration = Duration::from_secs(1);
/// A process that was not looked at for so long may have become ready in that time, and have crashed after it.
const UNSEEN: Duration = Duration::from_millis(200);
/// How long a process that was just started may be without what handles its signals: SIGHUP would end it.
const YOUNG: Duration = Duration::from_secs(1);
/// How often to ask on `debug.sock` at one look: while both processes live, either of them may answer.
const QUESTIONS: usize = 4;

/// How a reload ended that brought no new process into charge.
#[derive(Debug)]
pub enum Failed {
    /// Nobody started a new process: the old one, if there is one, goes on.
    NotTaken(String),
    /// The new process was never ready, and is gone; the old one goes on.
    NeverReady(String),
    /// The new process crashed or hung before it was ready; the old one goes on.
    Crashed(String),
    /// The new process crashed, and the old one had handed over to it before, or may have: then it has its sessions, and takes no others.
    Abandoned(String, Sure),
    /// Neither the old process nor the new one is there any more.
    Gone(String),
}

/// Whether the old process is known to have handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sure {
    /// It was seen to.
    Yes,
    /// Nobody looked at the right moment.
    No,
}

/// Waits until no reload is under way any more: one of a run that was killed, of a person, or one whose new process has failed
/// already and for which the old process still waits. A signal that comes before is only taken afterwards.
///
/// Tells whether there was one, beside how the service is then.
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
    while Instant::now() < until && is_under_way(&now, rules) {
        if step.is_none() {
            info!(
                "{unit} is being reloaded already; waiting for that to end, up to {} s",
                SETTLED.as_secs()
            );
            step = Some(rules.step(
                SETTLED,
                format!("waiting for an earlier reload of {unit} to end"),
            ));
        }
        thread::sleep(LOOK);
        now = look(&unit)?;
    }
    Ok((now, step.is_some()))
}

/// Whether the service was started so short a while ago that it may not handle signals yet, as it does once it has written its pid file.
fn is_young(now: &Service) -> bool {
    let limit = if now.pid_file == PidFile::Useless {
        YOUNG * 10
    } else {
        YOUNG
    };
    now.health == Health::Running
        && now
            .pid
            .and_then(Life::of)
            .is_some_and(|life| life.age() < limit)
}

/// Whether the newest process is not known to be in charge yet, or an older one may still wait for one that has ended.
fn is_under_way(now: &Service, rules: &Rules) -> bool {
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
    // A process that was started afresh, and not by a reload, has nobody to hand over to it.
    let is_new = !older.is_empty() && newest.age() < SETTLED && !is_ready(rules.socket, newest.pid);
    // A session's process that has ended is asked about at once.
    is_new
        || (waits() && {
            thread::sleep(LOOK);
            waits()
        })
}

/// Whether this very process answers that it is ready.
fn is_ready(socket: &Path, pid: i32) -> bool {
    (0..QUESTIONS).any(|_| readiness::ask(socket) == Readiness::Ready(Some(pid)))
}

/// Reloads the service, and waits until a new process with the program on the disk is in charge.
pub fn reload(before: &Service, rules: &Rules) -> Result<Service, Failed> {
    let unit = &before.unit;
    let Some(old) = before.pid.and_then(Life::of) else {
        return Err(Failed::NotTaken(format!("{unit} exited")));
    };
    let known = before.agents();
    let ended_before: Vec<i32> = old
        .ended_children()
        .into_iter()
        .map(|(pid, _)| pid)
        .collect();
    let buried = old.buried();
    info!("reloading {unit}");
    (rules.progress)(&format!("waiting for the new process of {unit}"));
    let _step = Step::of(
        TELEPORTS_LIMIT,
        format!("waiting for the new process of {unit} to be ready"),
    );
    let began = Instant::now();
    signal(before, &old)?;
    // The process of this reload, once it was seen; and one that had ended before it was.
    let (mut new, mut ended): (Option<Life>, Option<i32>) = (None, None);
    let mut word = Word::new();
    let mut said = false;
    loop {
        new = glance(before, &known, &old, new, &mut word);
        let now = look(unit).map_err(Failed::Gone)?;
        if is_bad(&now.health) {
            return Err(Failed::Gone(format!(
                "{unit} {} after the reload",
                now.health
            )));
        }
        let elapsed = began.elapsed();
        let Some(life) = new else {
            // One that has crashed at once. The old process asks about a session's process that has ended; about this one not yet.
            let lost = old
                .ended_children()
                .into_iter()
                .map(|(pid, _)| pid)
                .find(|pid| !ended_before.contains(pid));
            if lost.is_some() && lost == ended {
                return Err(Failed::Crashed(format!(
                    "the new process of {unit} ended right after the reload"
                )));
            }
            ended = lost;
            if !old.is_alive() {
                return Err(Failed::Gone(format!("{unit} exited at the reload")));
            }
            if elapsed > APPEAR && !std::mem::replace(&mut said, true) {
                info!(
                    "{unit} has not started a new process yet: it may still wait for an earlier one, for two minutes at most"
                );
            }
            if elapsed > SETTLED + APPEAR {
                let seconds = elapsed.as_secs();
                // From 15.1.1 on the old process asks about a new one as soon as that has ended: what it was asked about is all that is
                // left of one that ended before anybody saw it. It may have been a session's: the old process must take new ones still.
                if old.buried() != buried && readiness::ask(rules.socket).is_ready() {
                    return Err(Failed::Crashed(format!(
                        "the new process of {unit} ended right after the reload"
                    )));
                }
                return Err(Failed::NotTaken(format!(
                    "{unit} did not start a new process within {seconds} s of the reload"
                )));
            }
            continue;
        };
        if !life.is_alive() {
            let exited = format!(
                "the new process of {unit} exited {} s after it started",
                life.age().as_secs()
            );
            if !old.is_alive() {
                return Err(Failed::Gone(format!(
                    "{exited}, after it had replaced the old one"
                )));
            }
            // A process that has handed over has closed its socket, too: whoever answers there now is in charge.
            if word.given {
                return Err(Failed::Abandoned(exited, Sure::Yes));
            }
            if word.may_be_given(&life) && !readiness::ask(rules.socket).is_ready() {
                return Err(Failed::Abandoned(exited, Sure::No));
            }
            // It ends itself at Teleport's limit and not before.
            return Err(if life.age() + MARGIN > TELEPORTS_LIMIT {
                Failed::NeverReady(format!(
                    "the new process of {unit} was not ready within two minutes and ended itself"
                ))
            } else {
                Failed::Crashed(format!("{exited}, before it was ready"))
            });
        }
        if is_ready(rules.socket, life.pid) {
            debug!("the new process {} of {unit} is ready", life.pid);
            return in_charge(unit, &life);
        }
        if !old.is_alive() {
            debug!("the old process {} of {unit} has gone", old.pid);
            return in_charge(unit, &life);
        }
        if life.age() > SETTLED {
            return outlived(before, &now, &old, &life, &word, rules);
        }
    }
}

/// Whether the old process still waits for the new one's word. Both hold an end of the pipe that it comes through, and the old one
/// closes its ends once it has it, or has waited for two minutes, or has seen the new one end.
struct Word {
    pipes: BTreeSet<u64>,
    given: bool,
    /// When both lived and the old one still waited.
    waited: Instant,
}

impl Word {
    fn new() -> Word {
        Word {
            pipes: BTreeSet::new(),
            given: false,
            waited: Instant::now(),
        }
    }

    /// Looks, while the new process lives.
    fn look(&mut self, old: &Life, new: &Life) {
        let (standard, open) = old.pipes();
        if self.pipes.is_empty() {
            let (theirs, others) = new.pipes();
            let shared = |pipe: &&u64| {
                !standard.contains(pipe) && (theirs.contains(pipe) || others.contains(pipe))
            };
            self.pipes = open.iter().filter(shared).copied().collect();
        }
        let waits = !self.pipes.is_disjoint(&open);
        if !new.is_alive() {
            return;
        }
        if waits {
            self.waited = Instant::now();
        } else if !self.pipes.is_empty() && new.age() + MARGIN < TELEPORTS_LIMIT {
            self.given = true;
        }
    }

    /// Whether the old process may have got it from the new one, which has ended, although nobody saw that.
    fn may_be_given(&self, new: &Life) -> bool {
        match self.pipes.is_empty() {
            // No pipe was ever seen. To join a cluster takes longer than this.
            true => new.age() > JOINING && new.age() + MARGIN < TELEPORTS_LIMIT,
            // From 15.1.1 on the old process closes it as well when the new one ends.
            false => self.waited.elapsed() > UNSEEN && new.age() + MARGIN < TELEPORTS_LIMIT,
        }
    }
}

/// The service, once its pid file names the new process.
fn in_charge(unit: &str, new: &Life) -> Result<Service, Failed> {
    let until = Instant::now() + APPEAR;
    loop {
        let now = look(unit).map_err(Failed::Gone)?;
        if now.pid == Some(new.pid) || Instant::now() > until {
            return Ok(now);
        }
        thread::sleep(GLANCE);
    }
}

/// The new process has outlived Teleport's limit, so that it is in charge: unless it hangs so early that it does not even know of that
/// limit, or says itself that it is not ready.
fn outlived(
    before: &Service,
    now: &Service,
    old: &Life,
    new: &Life,
    word: &Word,
    rules: &Rules,
) -> Result<Service, Failed> {
    let hangs = before.pid_file == PidFile::Good && now.pid != Some(new.pid);
    let mut answers = (0..QUESTIONS).map(|_| readiness::ask(rules.socket));
    let refuses = answers.any(|answer| {
        matches!(&answer, Readiness::NotReady(_, Some(pid)) if *pid == new.pid)
            || matches!(&answer, Readiness::Ready(Some(pid)) if *pid == old.pid)
    });
    // One to which the old process has handed over is in charge, ready or not.
    if word.given || (!hangs && !refuses) {
        return Ok(now.clone());
    }
    // Left alone it might still take over, later, when nobody verifies it.
    if let Err(error) = kill(Pid::from_raw(new.pid), Signal::SIGKILL) {
        debug!("cannot end process {}: {error}", new.pid);
    }
    let unit = &before.unit;
    Err(Failed::Crashed(format!(
        "the new process of {unit} did not replace the old one within {} s",
        SETTLED.as_secs()
    )))
}

/// Has the process in charge start a new one.
fn signal(before: &Service, old: &Life) -> Result<(), Failed> {
    let unit = &before.unit;
    // A process that has handed over takes no signal any more, and a pid file may name one that has ended.
    let reaches_it = if before.reloads_main {
        before.main == Some(old.pid)
    } else {
        before.pid_file != PidFile::Useless
    };
    if reaches_it {
        match systemctl("reload", Some(unit)) {
            Ok(()) => return Ok(()),
            // From 15 on it asks for a lock on the pid file, which the process of an older version does not hold.
            Err(reason) if old.is_alive() => {
                warn!("{reason}; sending SIGHUP to process {} instead", old.pid)
            }
            Err(reason) => return Err(Failed::NotTaken(reason)),
        }
    }
    if !old.is_the_agent() {
        return Err(Failed::NotTaken(format!(
            "process {} of {unit} does not run the agent itself, and gets no SIGHUP",
            old.pid
        )));
    }
    debug!("sending SIGHUP to process {} of {unit}", old.pid);
    let sent = kill(Pid::from_raw(old.pid), Signal::SIGHUP);
    sent.map_err(|error| {
        Failed::NotTaken(format!(
            "cannot send SIGHUP to process {}: {}",
            old.pid,
            io_problem(&error.into())
        ))
    })
}

/// Looks for the process of the reload for a while, or at it; returns at once when it comes or goes.
fn glance(
    before: &Service,
    known: &[Life],
    old: &Life,
    new: Option<Life>,
    word: &mut Word,
) -> Option<Life> {
    let until = Instant::now() + LOOK;
    loop {
        match new {
            Some(life) => word.look(old, &life),
            None => {
                // The agent starts processes for sessions, which are of its own kind for a moment; but of the old program.
                let is_new = |life: &Life| !known.contains(life) && runs_what_is_on_disk(life);
                let found = before.agents().into_iter().rev().find(is_new);
                if let Some(life) = &found {
                    word.look(old, life);
                    return found;
                }
            }
        }
        if new.is_some_and(|life| !life.is_alive()) || Instant::now() > until {
            return new;
        }
        thread::sleep(GLANCE);
    }
}
