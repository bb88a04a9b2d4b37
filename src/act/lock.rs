//! One pass at a time: a lock on a file in the state directory, which the kernel releases when its holder ends.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use log::{debug, info};

use crate::terminal::Step;
use crate::text::{io_problem, printable};

/// The name of the lock file in the state directory.
pub const FILE: &str = "lock";
/// How often to look whether the lock is free, for whoever waits for it.
const LOOK: Duration = Duration::from_millis(500);
/// More than a holder writes into the file.
const MAX_BYTES: u64 = 256;

/// Holds the lock while it lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Another pass is at work.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    holder: String,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another pass of teleport-upgrade is at work ({}); wait for it to end, then try again", self.holder)
    }
}

impl std::error::Error for Taken {}

impl Lock {
    /// Takes the lock, or says at once who has it.
    pub fn take(state: &Path) -> Result<Lock> {
        let path = state.join(FILE);
        let cannot = || format!("{}: cannot lock it", path.display());
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).with_context(cannot)?;
        // Whoever can open the file can hold the lock, and so keep this program from ever working.
        file.set_permissions(Permissions::from_mode(0o600)).with_context(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Taken { holder: holder(&mut file) }.into()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        // For the message of whoever comes while we are at work.
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).with_context(cannot)?;
        Ok(Lock { file })
    }

    /// Tells whoever comes meanwhile what the lock is held for: "to download 14.3.34 ahead".
    pub fn note(&self, purpose: &str) {
        let text = format!("{}\n{purpose}\n", std::process::id());
        // The number stays where it is: whoever reads it at this moment finds it.
        let noted = self.file.write_all_at(text.as_bytes(), 0).and_then(|()| self.file.set_len(text.len() as u64));
        if let Err(error) = noted {
            debug!("cannot say what the lock is held for: {}", io_problem(&error));
        }
    }
}

/// Waits until nobody has the lock any more, which `taken` has found taken, and says so; at the latest until then. Whoever wants it then
/// takes it: what was looked at before is old by now.
pub fn wait(state: &Path, taken: Taken, until: Instant) -> Result<()> {
    let left = until.saturating_duration_since(Instant::now()).as_secs().div_ceil(60);
    info!(
        "another pass of teleport-upgrade is at work ({}); waiting for it to end, for {left} min at most (nothing is changed before, \
         so this can be ended at any time)",
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

/// Who holds the lock, by what it wrote into the file: its number, and perhaps what for.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(MAX_BYTES).read_to_string(&mut text));
    let mut lines = text.lines();
    match (read, lines.next().unwrap_or_default().trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => {
            let purpose = lines.next().map(|purpose| format!(", {}", printable(purpose, 200))).unwrap_or_default();
            format!("process {pid}{purpose}")
        }
        _ => "it has just begun".to_string(),
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
        let expected = Taken { holder: format!("process {}", std::process::id()) };
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
        lock.note("to upgrade from 12.4.1 to 14.3.34");
        lock.note("to download 14.3.34 ahead");
        let taken: Taken = Lock::take(dir.path()).unwrap_err().downcast().unwrap();
        assert_eq!(taken.holder, format!("process {}, to download 14.3.34 ahead", std::process::id()));
        let error = wait(dir.path(), taken, Instant::now()).unwrap_err();
        let taken: Taken = error.downcast().unwrap();
        drop(lock);
        wait(dir.path(), taken, Instant::now() + Duration::from_secs(3600)).unwrap();
        assert!(dir.path().join(FILE).exists());
    }

    #[test]
    fn nobody_else_can_open_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "").unwrap();
        let _lock = Lock::take(dir.path()).unwrap();
        assert_eq!(std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn what_an_earlier_holder_left_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "4294967295 and more").unwrap();
        let _lock = Lock::take(dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE)).unwrap(), format!("{}\n", std::process::id()));
    }
}
