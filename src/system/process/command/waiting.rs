//! Ends a program that would wait for another process without end.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::system::process::stat;

/// How long a program may take to stop at SIGSTOP; it takes less than a millisecond.
const STOPPING: Duration = Duration::from_secs(10);

/// What a program prints when it begins to wait, and whether its process group does.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    pub sign: &'static str,
    pub waits: fn(Pid) -> bool,
}

impl Waiting {
    /// Ends the group if it printed the sign and waits. It is stopped while that is looked at: the other process may end this very moment,
    /// and then the program begins its work and must not be ended.
    pub fn ends(&self, line: &str, group: Pid) -> bool {
        if !line.contains(self.sign) {
            return false;
        }
        let _ = killpg(group, Signal::SIGSTOP);
        let ends = is_stopped(group) && (self.waits)(group);
        if ends {
            let _ = killpg(group, Signal::SIGTERM);
        }
        let _ = killpg(group, Signal::SIGCONT);
        ends
    }
}

/// Whether the leader of a group has stopped, once it has.
fn is_stopped(group: Pid) -> bool {
    let deadline = Instant::now() + STOPPING;
    while Instant::now() < deadline {
        let state = stat(group.as_raw()).and_then(|stat| stat.into_iter().next());
        match state.as_deref() {
            Some("T") => return true,
            None | Some("Z") => return false,
            Some(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
    false
}
