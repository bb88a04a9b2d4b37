//! Signals that ask this program to end are deferred while a change is in progress.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use log::warn;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;

/// What a SIGTERM, SIGINT or SIGHUP does: it ends the program at once, except while a [`Deferred`] lives.
///
/// Children are in process groups of their own and do not inherit a handler, so nothing changes for them.
#[derive(Debug)]
pub struct Signals {
    at_once: Arc<AtomicBool>,
    received: Arc<AtomicBool>,
    /// Whether the current step ends by itself once a signal was received.
    interruptible: Arc<AtomicBool>,
}

/// While it lives, signals are recorded and announced, but not obeyed: the change is finished first.
#[derive(Debug)]
pub struct Deferred<'a>(&'a Signals);

impl Signals {
    /// Installs the handlers. Once for the program: they add up.
    pub fn new() -> Result<Signals> {
        let signals = Signals {
            at_once: Arc::new(AtomicBool::new(true)),
            received: Arc::default(),
            interruptible: Arc::default(),
        };
        let (received, woken) = UnixStream::pair().context("cannot handle signals")?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            flag::register_conditional_default(signal, Arc::clone(&signals.at_once))
                .context("cannot handle signals")?;
            flag::register(signal, Arc::clone(&signals.received))
                .context("cannot handle signals")?;
            let woken = woken.try_clone().context("cannot handle signals")?;
            pipe::register(signal, woken).context("cannot handle signals")?;
        }
        // A handler must not print.
        let interruptible = Arc::clone(&signals.interruptible);
        thread::spawn(move || say_when_deferred(received, &interruptible));
        Ok(signals)
    }

    /// Defers signals from now on.
    pub fn defer(&self) -> Deferred<'_> {
        self.at_once.store(false, Ordering::SeqCst);
        Deferred(self)
    }

    /// Takes a step that ends by itself once its argument is true: a signal was received.
    pub fn interruptible<T>(&self, step: impl FnOnce(Arc<AtomicBool>) -> T) -> T {
        self.interruptible.store(true, Ordering::SeqCst);
        let ended = step(Arc::clone(&self.received));
        self.interruptible.store(false, Ordering::SeqCst);
        ended
    }

    /// Whether a signal was received while they were deferred.
    pub fn asked_to_end(&self) -> bool {
        self.received.load(Ordering::SeqCst)
    }
}

/// Waits for the first signal. A signal that is not deferred ends the program before it is received here.
fn say_when_deferred(mut received: UnixStream, interruptible: &AtomicBool) {
    if received.read_exact(&mut [0]).is_ok() && !interruptible.load(Ordering::SeqCst) {
        warn!(
            "stop requested: the current step is finished first, since an install must not be interrupted"
        );
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
