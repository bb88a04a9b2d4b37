//! Ends everything that a program started, whatever process group or session that moved to.

use std::thread;
use std::time::{Duration, Instant};

use log::warn;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::system::process::Process;

/// How long that may take: each of them may have started others.
const LIMIT: Duration = Duration::from_secs(10);

/// While it lives, processes whose parent ended become children of this one, so that none is lost.
pub struct Descendants(());

impl Descendants {
    /// Begins.
    pub fn adopt() -> Descendants {
        // Without it, one that moved to another session is missed.
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
                // It may have ended this very moment.
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
