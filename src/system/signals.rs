//! Signals that ask this program to end, put off while a change is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// What a SIGTERM, SIGINT or SIGHUP does: it ends the program at once, except while a `Change` lives.
///
/// Children are in process groups of their own and do not inherit a handler, so nothing changes for them.
#[derive(Debug)]
pub struct Signals {
    obeyed: Arc<AtomicBool>,
    noted: Arc<AtomicBool>,
}

/// While it lives, signals are only noted: what is begun is brought to its end first.
#[derive(Debug)]
pub struct Held<'a>(&'a Signals);

impl Signals {
    /// Takes the signals over. Once for the program: handlers add up.
    pub fn new() -> Result<Signals> {
        let signals = Signals {
            obeyed: Arc::new(AtomicBool::new(true)),
            noted: Arc::default(),
        };
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            flag::register_conditional_default(signal, Arc::clone(&signals.obeyed))
                .context("cannot handle signals")?;
            flag::register(signal, Arc::clone(&signals.noted)).context("cannot handle signals")?;
        }
        Ok(signals)
    }

    /// Puts signals off from now on.
    pub fn hold(&self) -> Held<'_> {
        self.obeyed.store(false, Ordering::SeqCst);
        Held(self)
    }

    /// Whether somebody asked this program to end while signals were put off.
    pub fn asked_to_end(&self) -> bool {
        self.noted.load(Ordering::SeqCst)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.obeyed.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    #[test]
    fn a_signal_is_noted_and_not_obeyed_however_often_a_change_is_made() {
        let signals = Signals::new().unwrap();
        for _ in 0..2 {
            let held = signals.hold();
            raise(Signal::SIGHUP).unwrap();
            assert!(signals.asked_to_end());
            drop(held);
        }
    }
}
