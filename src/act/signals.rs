//! Signals that ask this program to end, put off while a change is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// While it lives, a SIGTERM, SIGINT or SIGHUP is only noted: what is begun is brought to its end first.
///
/// Children are in process groups of their own and do not inherit a handler, so nothing changes for them.
#[derive(Debug)]
pub struct Held {
    noted: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Held {
    /// Puts signals off from now on.
    pub fn new() -> Result<Held> {
        let held = Held { noted: Arc::default(), over: Arc::default() };
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            flag::register_conditional_default(signal, Arc::clone(&held.over)).context("cannot handle signals")?;
            flag::register(signal, Arc::clone(&held.noted)).context("cannot handle signals")?;
        }
        Ok(held)
    }

    /// Whether somebody asked this program to end meanwhile.
    pub fn asked_to_end(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    #[test]
    fn a_signal_is_noted_and_not_obeyed() {
        let held = Held::new().unwrap();
        assert!(!held.asked_to_end());
        raise(Signal::SIGHUP).unwrap();
        assert!(held.asked_to_end());
        // The test's own process would end by a SIGHUP after this; nobody sends it one.
    }
}
