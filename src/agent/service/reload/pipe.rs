//! The pipe through which a new process notifies the old one that it is ready. Without `/readyz` nothing else shows whether a process that
//! crashed had taken over.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::agent::service::reload::{MARGIN, TELEPORTS_LIMIT};
use crate::system::process::Process;

/// No agent joins its cluster faster.
const JOINING: Duration = Duration::from_secs(1);
/// A process that was not looked at for so long may have become ready in that time, and have crashed after it.
const UNSEEN: Duration = Duration::from_millis(200);

/// Whether the old process still waits for the new one. Both have an end of the pipe open, and the old one closes its ends once it is
/// notified, or has waited for two minutes, or has seen the new one end.
pub struct Pipe {
    candidates: BTreeSet<u64>,
    /// Whether the new process was seen to take over.
    pub is_notified: bool,
    /// When both lived and the old one still waited.
    waited: Instant,
}

impl Pipe {
    pub fn new() -> Pipe {
        Pipe {
            candidates: BTreeSet::new(),
            is_notified: false,
            waited: Instant::now(),
        }
    }

    /// Looks, while the new process lives.
    pub fn look(&mut self, old: &Process, new: &Process) {
        let (standard, open) = old.pipes();
        if self.candidates.is_empty() {
            let (theirs, others) = new.pipes();
            let is_shared = |pipe: &&u64| {
                !standard.contains(pipe) && (theirs.contains(pipe) || others.contains(pipe))
            };
            self.candidates = open.iter().filter(is_shared).copied().collect();
        }
        let waits = !self.candidates.is_disjoint(&open);
        if !new.is_alive() {
            return;
        }
        if waits {
            self.waited = Instant::now();
        } else if !self.candidates.is_empty() && is_within_limit(new) {
            self.is_notified = true;
        }
    }

    /// Whether the new process, which has ended, may have taken over unseen.
    pub fn may_be_notified(&self, new: &Process) -> bool {
        let had_time = if self.candidates.is_empty() {
            new.age() > JOINING
        } else {
            // From 15.1.1 on the old process closes it as well when the new one ends.
            self.waited.elapsed() > UNSEEN
        };
        had_time && is_within_limit(new)
    }
}

/// Whether the old process had not given up waiting yet.
fn is_within_limit(new: &Process) -> bool {
    new.age() + MARGIN < TELEPORTS_LIMIT
}
