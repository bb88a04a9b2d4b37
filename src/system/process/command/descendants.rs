//! Kills all processes that a program started, including those in another process group or session.

use std::thread;
use std::time::{Duration, Instant};

use log::warn;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::system::process::Process;

/// How long this may take: each process may have started others.
const LIMIT: Duration = Duration::from_secs(10);

/// While this value lives, orphaned descendants become children of this process, so that none is missed.
pub struct Descendants(());

impl Descendants {
    /// Makes this process the subreaper of its descendants.
    pub fn adopt() -> Descendants {
        // If this fails, only processes that moved to another session are missed.
        let _ = set_child_subreaper(true);
        Descendants(())
    }

    /// Kills every child of this process until there is none: the children of those that end take their place.
    pub fn end(&self) {
        let own = i32::try_from(std::process::id()).ok().and_then(Process::of);
        let until = Instant::now() + LIMIT;
        loop {
            let children = own.map(|own| own.children()).unwrap_or_default();
            if children.is_empty() {
                return;
            }
            if Instant::now() > until {
                return warn!("processes are still running: {children:?}");
            }
            for pid in children {
                // The process may have exited just now.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Descendants {
    fn drop(&mut self) {
        let _ = set_child_subreaper(false);
    }
}
