//! One pass at a time: a lock on a file in the state directory, which the kernel releases when its holder ends.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

/// The name of the lock file in the state directory.
pub const FILE: &str = "lock";

/// Holds the lock while it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
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
        Ok(Lock { _file: file })
    }
}

/// Who holds the lock, by the number that it wrote into the file.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(32).read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
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
