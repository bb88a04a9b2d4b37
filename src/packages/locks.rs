//! The locks of package managers: waiting until nobody else holds one.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use log::info;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::unistd::Pid;

use crate::packages::PackageError;
use crate::system::command::Output;
use crate::system::process::stat;
use crate::system::terminal::Step;

/// How often to look whether a lock is free.
const LOOK: Duration = Duration::from_millis(500);

/// How a package manager keeps others of its kind away.
#[derive(Debug, Clone, Copy)]
pub enum Lock {
    /// A file that is locked with `fcntl`; the kernel knows by whom.
    Record(&'static str),
    /// A file with the number of a process, which holds the lock for as long as it lives.
    PidFile(&'static str),
}

/// Patience with whoever uses the package manager.
#[derive(Debug, Clone, Copy)]
pub struct Locks {
    /// What must be free before it is worth trying.
    pub held: &'static [Lock],
    /// Who holds a lock, if that is why the package manager did nothing.
    pub refusal: fn(&Output) -> Option<String>,
    /// How long to wait.
    pub limit: Duration,
}

impl Locks {
    /// Runs `attempt` when nobody holds a lock, and again if somebody was faster, until the time for waiting is over.
    pub fn run(&self, attempt: impl Fn() -> Result<Output>) -> Result<Output, PackageError> {
        let deadline = Instant::now() + self.limit;
        let mut told = None;
        loop {
            self.wait(deadline, &mut told)?;
            let output = attempt()?;
            let Some(holder) = (self.refusal)(&output) else {
                return Ok(output);
            };
            self.pause(deadline, holder, "its lock", &mut told)?;
        }
    }

    fn wait(&self, deadline: Instant, told: &mut Option<String>) -> Result<(), PackageError> {
        let mut step = None;
        while let Some((path, holder)) = self
            .held
            .iter()
            .find_map(|lock| Some((lock.path(), lock.holder()?)))
        {
            step.get_or_insert_with(|| Step::new(format!("waiting for {holder}")));
            self.pause(deadline, holder, path, told)?;
        }
        Ok(())
    }

    /// Says once who is waited for, and waits a moment, or fails if the time for that is over.
    fn pause(
        &self,
        deadline: Instant,
        holder: String,
        what: &str,
        told: &mut Option<String>,
    ) -> Result<(), PackageError> {
        if Instant::now() >= deadline {
            return Err(PackageError::Busy {
                holder,
                waited: self.limit,
            });
        }
        if told.as_ref() != Some(&holder) {
            info!("waiting for {holder}, which holds {what}");
            *told = Some(holder);
        }
        thread::sleep(LOOK);
        Ok(())
    }
}

impl Lock {
    fn path(self) -> &'static str {
        match self {
            Lock::Record(path) | Lock::PidFile(path) => path,
        }
    }

    /// Who holds the lock, if somebody does.
    pub fn holder(self) -> Option<String> {
        match self {
            Lock::Record(path) => record_holder(Path::new(path)),
            Lock::PidFile(path) => fs::read_to_string(path)
                .ok()?
                .trim()
                .parse()
                .ok()
                .filter(|pid| stat(*pid).is_some()),
        }
        .map(process)
    }
}

/// A process as messages name it.
pub fn process(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!(
        "{} (process {pid})",
        if name.trim().is_empty() {
            "another program"
        } else {
            name.trim()
        }
    )
}

/// Whether a file is locked by a process of another group than this.
pub fn is_held_outside(path: &Path, group: Pid) -> bool {
    record_holder(path).is_some_and(|holder| group_of(holder) != Some(group.as_raw()))
}

fn group_of(pid: i32) -> Option<i32> {
    stat(pid)?.get(2)?.parse().ok()
}

fn record_holder(path: &Path) -> Option<i32> {
    let file = File::open(path).ok()?;
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    (lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock.l_pid)
}
