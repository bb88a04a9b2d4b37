//! Signals that ask this program to end are deferred while a change is in progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// What a SIGTERM, SIGINT or SIGHUP does: it ends the program at once, except while a [`Deferred`] lives.
///
/// Children are in process groups of their own and do not inherit a handler, so nothing changes for them.
#[derive(Debug)]
pub struct Signals {
    at_once: Arc<AtomicBool>,
    received: Arc<AtomicBool>,
}

/// While it lives, signals are only recorded: the change is finished first.
#[derive(Debug)]
pub struct Deferred<'a>(&'a Signals);

impl Signals {
    /// Installs the handlers. Once for the program: they add up.
    pub fn new() -> Result<Signals> {
        let signals = Signals {
            at_once: Arc::new(AtomicBool::new(true)),
            received: Arc::default(),
        };
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            flag::register_conditional_default(signal, Arc::clone(&signals.at_once))
                .context("cannot handle signals")?;
            flag::register(signal, Arc::clone(&signals.received))
                .context("cannot handle signals")?;
        }
        Ok(signals)
    }

    /// Defers signals from now on.
    pub fn defer(&self) -> Deferred<'_> {
        self.at_once.store(false, Ordering::SeqCst);
        Deferred(self)
    }

    /// Whether a signal was received while they were deferred.
    pub fn asked_to_end(&self) -> bool {
        self.received.load(Ordering::SeqCst)
    }
}

impl Drop for Deferred<'_> {
    fn drop(&mut self) {
        self.0.at_once.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    #[test]
    fn a_signal_is_deferred_in_every_change() {
        let signals = Signals::new().unwrap();
        for _ in 0..2 {
            let deferred = signals.defer();
            raise(Signal::SIGHUP).unwrap();
            assert!(signals.asked_to_end());
            drop(deferred);
        }
    }
}
