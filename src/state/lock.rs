//! One run at a time: a lock on a file in the state directory, which the kernel releases when its holder ends.

use std::cell::RefCell;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::Utc;
use log::{debug, info};

use crate::state::current_run;
use crate::state::current_run::CurrentRun;
use crate::system::files::{Durability, write_json};
use crate::system::output::terminal::Step;
use crate::system::process::Process;
use crate::system::text::{io_problem, printable};

/// The name of the lock file in the state directory.
pub const FILE: &str = "lock";
/// How often a waiting run tries to take the lock.
const LOOK: Duration = Duration::from_millis(500);
/// More than a holder writes to the file.
const MAX_BYTES: u64 = 256;

/// Holds the lock while it lives.
#[derive(Debug)]
pub struct Lock {
    /// Locked until it is closed.
    _file: File,
    state: PathBuf,
    noted: RefCell<Option<CurrentRun>>,
}

/// Another run is in progress.
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
    /// Takes the lock, or fails at once with the name of its holder.
    pub fn take(state: &Path) -> Result<Lock> {
        let path = state.join(FILE);
        let cannot = || format!("cannot lock {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(cannot)?;
        // Everyone who can open the file can take the lock, and so keep this program from ever running.
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
        // For the message of a run that finds the lock taken.
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(cannot)?;
        Ok(Lock {
            _file: file,
            state: state.to_path_buf(),
            noted: RefCell::new(None),
        })
    }

    /// Records what this run is doing: "upgrading from 14.3.33 to 14.3.34".
    pub fn note(&self, purpose: &str) {
        let process = i32::try_from(std::process::id()).ok().and_then(Process::of);
        let running = process.map(|process| CurrentRun {
            process,
            purpose: purpose.into(),
            step: None,
            since: Utc::now(),
        });
        self.write(running);
    }

    /// Records the current step: "verifying teleport.service".
    pub fn step(&self, step: &str) {
        let running = self.noted.borrow().clone();
        self.write(running.map(|running| CurrentRun {
            step: Some(step.into()),
            ..running
        }));
    }

    fn write(&self, running: Option<CurrentRun>) {
        let Some(running) = running else { return };
        let path = self.state.join(current_run::FILE);
        if let Err(error) = write_json(&path, &running, Durability::Unsynced) {
            debug!("cannot write {}: {}", path.display(), io_problem(&error));
        }
        self.noted.replace(Some(running));
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.noted.borrow().is_some() {
            // If this fails, the file names a process that has ended.
            let _ = fs::remove_file(self.state.join(current_run::FILE));
        }
    }
}

/// Waits until the lock is free, or until `until`. The caller then takes it and starts over: what was observed before is old by now.
pub fn wait(state: &Path, taken: Taken, until: Instant) -> Result<()> {
    let left = until
        .saturating_duration_since(Instant::now())
        .as_secs()
        .div_ceil(60);
    info!(
        "another teleport-upgrade is running ({}); waiting up to {left} min. Press Ctrl-C to cancel; nothing has been changed yet",
        taken.holder
    );
    let _step = Step::new("waiting for the other run");
    loop {
        thread::sleep(LOOK);
        match Lock::take(state) {
            Err(error) if error.is::<Taken>() && Instant::now() < until => {}
            taken => return taken.map(drop),
        }
    }
}

/// The process that holds the lock, and what it is doing if it has recorded that.
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
    fn a_taken_lock_names_its_holder() {
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
    fn waiting_names_the_run_in_progress_and_ends_in_time() {
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
    fn only_its_owner_can_open_the_file() {
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
    fn the_pid_of_an_earlier_holder_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "4294967295 and more").unwrap();
        let _lock = Lock::take(dir.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join(FILE)).unwrap(),
            format!("{}\n", std::process::id())
        );
    }
}
