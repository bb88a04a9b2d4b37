//! One pass at a time: a lock on a file in the state directory, which the kernel releases when its holder ends.

use std::cell::RefCell;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::Utc;
use log::{debug, info};

use crate::agent::service::Life;
use crate::state::current_run;
use crate::state::current_run::CurrentRun;
use crate::state::record::{Disk, replace};
use crate::system::terminal::Step;
use crate::system::text::{io_problem, printable};

/// The name of the lock file in the state directory.
pub const FILE: &str = "lock";
/// How often to look whether the lock is free, for whoever waits for it.
const LOOK: Duration = Duration::from_millis(500);
/// More than a holder writes into the file.
const MAX_BYTES: u64 = 256;

/// Holds the lock while it lives.
#[derive(Debug)]
pub struct Lock {
    /// Locked until it is closed.
    _file: File,
    state: PathBuf,
    noted: RefCell<Option<CurrentRun>>,
}

/// Another pass is at work.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    holder: String,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "another teleport-upgrade is running ({}). Try again when it has finished",
            self.holder
        )
    }
}

impl std::error::Error for Taken {}

impl Lock {
    /// Takes the lock, or says at once who has it.
    pub fn take(state: &Path) -> Result<Lock> {
        let path = state.join(FILE);
        let cannot = || format!("{}: cannot lock it", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(cannot)?;
        // Whoever can open the file can hold the lock, and so keep this program from ever working.
        file.set_permissions(Permissions::from_mode(0o600))
            .with_context(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Taken {
                    holder: holder(&mut file, state),
                }
                .into());
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        // For the message of whoever comes while we are at work.
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(cannot)?;
        Ok(Lock {
            _file: file,
            state: state.to_path_buf(),
            noted: RefCell::new(None),
        })
    }

    /// Notes what this run does, for whoever comes meanwhile: "upgrading from 14.3.33 to 14.3.34".
    pub fn note(&self, purpose: &str) {
        let process = i32::try_from(std::process::id()).ok().and_then(Life::of);
        let running = process.map(|process| CurrentRun {
            process,
            purpose: purpose.into(),
            step: None,
            since: Utc::now(),
        });
        self.write(running);
    }

    /// Notes which step of that it is at: "verifying teleport.service".
    pub fn step(&self, step: &str) {
        let running = self.noted.borrow().clone();
        self.write(running.map(|running| CurrentRun {
            step: Some(step.into()),
            ..running
        }));
    }

    fn write(&self, running: Option<CurrentRun>) {
        let Some(running) = running else { return };
        let written = serde_json::to_string(&running)
            .map_err(io::Error::from)
            .and_then(|text| replace(&self.state.join(current_run::FILE), &text, Disk::MayHaveIt));
        if let Err(error) = written {
            debug!("cannot note what this run does: {}", io_problem(&error));
        }
        self.noted.replace(Some(running));
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.noted.borrow().is_some() {
            // Left there, it names a process that has ended.
            let _ = fs::remove_file(self.state.join(current_run::FILE));
        }
    }
}

/// Waits until nobody has the lock any more, which `taken` has found taken, and says so; at the latest until then. Whoever wants it then
/// takes it: what was looked at before is old by now.
pub fn wait(state: &Path, taken: Taken, until: Instant) -> Result<()> {
    let left = until
        .saturating_duration_since(Instant::now())
        .as_secs()
        .div_ceil(60);
    info!(
        "another teleport-upgrade is running ({}); waiting up to {left} min. Press Ctrl-C to cancel; nothing has been changed yet",
        taken.holder
    );
    let _step = Step::new("waiting for the other pass");
    loop {
        thread::sleep(LOOK);
        match Lock::take(state) {
            Err(error) if error.is::<Taken>() && Instant::now() < until => {}
            taken => return taken.map(drop),
        }
    }
}

/// Who holds the lock: its process, and what that does if it has noted it.
fn holder(file: &mut File, state: &Path) -> String {
    if let Some(run) = CurrentRun::read(state) {
        return printable(&format!("PID {}: {}", run.process.pid, run.doing()), 200);
    }
    let mut text = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(MAX_BYTES).read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("PID {pid}"),
        _ => "starting".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        let error = Lock::take(dir.path()).unwrap_err();
        let expected = Taken {
            holder: format!("PID {}", std::process::id()),
        };
        assert_eq!(error.downcast_ref::<Taken>(), Some(&expected));
        drop(lock);
        // A child that another test starts at this moment has a copy of the file until it runs its program.
        while Lock::take(dir.path()).is_err() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_waits_is_told_what_for_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        lock.note("upgrading from 12.4.1 to 14.3.34");
        lock.step("verifying teleport.service");
        let taken: Taken = Lock::take(dir.path()).unwrap_err().downcast().unwrap();
        assert_eq!(
            taken.holder,
            format!(
                "PID {}: upgrading from 12.4.1 to 14.3.34: verifying teleport.service",
                std::process::id()
            )
        );
        let error = wait(dir.path(), taken, Instant::now()).unwrap_err();
        let taken: Taken = error.downcast().unwrap();
        drop(lock);
        wait(
            dir.path(),
            taken,
            Instant::now() + Duration::from_secs(3600),
        )
        .unwrap();
        assert!(dir.path().join(FILE).exists());
    }

    #[test]
    fn nobody_else_can_open_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "").unwrap();
        let _lock = Lock::take(dir.path()).unwrap();
        assert_eq!(
            std::fs::metadata(dir.path().join(FILE))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777,
            0o600
        );
    }

    #[test]
    fn what_an_earlier_holder_left_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "4294967295 and more").unwrap();
        let _lock = Lock::take(dir.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join(FILE)).unwrap(),
            format!("{}\n", std::process::id())
        );
    }
}
