//! The locks of package managers: waits until no other process holds one.

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
use crate::system::output::terminal::Step;
use crate::system::process::command::Output;
use crate::system::process::stat;

/// How often to check whether a lock is free.
const LOOK: Duration = Duration::from_millis(500);

/// How long a package manager may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To get a lock that another process holds.
    pub lock_wait: Duration,
    /// To refresh its index. What takes longer hangs on a silent server.
    pub refresh: Duration,
}

/// How a package manager keeps others out.
#[derive(Debug, Clone, Copy)]
pub enum Lock {
    /// A file that is locked with `fcntl`; the kernel knows by which process.
    Record(&'static str),
    /// A file with the PID of a process, which holds the lock for as long as it lives.
    PidFile(&'static str),
}

/// The locks of a package manager.
#[derive(Debug, Clone, Copy)]
pub struct Locks {
    /// What must be free before it is started.
    pub held: &'static [Lock],
    /// The holder of a lock, if that is why the package manager did nothing.
    pub busy: fn(&Output) -> Option<String>,
    /// How long to wait.
    pub limit: Duration,
}

impl Locks {
    /// Runs `attempt` when no lock is held, and again if another process was faster, until the limit.
    pub fn run(&self, attempt: impl Fn() -> Result<Output>) -> Result<Output, PackageError> {
        let deadline = Instant::now() + self.limit;
        let mut logged = None;
        loop {
            self.wait(deadline, &mut logged)?;
            let output = attempt()?;
            let Some(holder) = (self.busy)(&output) else {
                return Ok(output);
            };
            self.pause(deadline, holder, "its lock", &mut logged)?;
        }
    }

    fn wait(&self, deadline: Instant, logged: &mut Option<String>) -> Result<(), PackageError> {
        let mut step = None;
        while let Some((path, holder)) = self
            .held
            .iter()
            .find_map(|lock| Some((lock.path(), lock.holder()?)))
        {
            step.get_or_insert_with(|| Step::new(format!("waiting for {holder}")));
            self.pause(deadline, holder, path, logged)?;
        }
        Ok(())
    }

    /// Waits a moment, and logs once for whom; fails after the deadline.
    fn pause(
        &self,
        deadline: Instant,
        holder: String,
        lock: &str,
        logged: &mut Option<String>,
    ) -> Result<(), PackageError> {
        if Instant::now() >= deadline {
            return Err(PackageError::Busy {
                holder,
                waited: self.limit,
            });
        }
        if logged.as_ref() != Some(&holder) {
            info!("waiting for {holder} to release {lock}");
            *logged = Some(holder);
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

    /// The process that holds the lock, if any.
    pub fn holder(self) -> Option<String> {
        let pid = match self {
            Lock::Record(path) => record_holder(Path::new(path))?,
            Lock::PidFile(path) => {
                let pid = fs::read_to_string(path).ok()?.trim().parse().ok()?;
                stat(pid).map(|_| pid)?
            }
        };
        Some(process(Some(pid)))
    }
}

/// A process as messages name it.
pub fn process(pid: Option<i32>) -> String {
    let Some(pid) = pid else {
        return "another program".into();
    };
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match name.trim() {
        "" => format!("another program (PID {pid})"),
        name => format!("{name} (PID {pid})"),
    }
}

/// The PID that follows `label` in a message.
pub fn pid_after(output: &Output, label: &str) -> Option<i32> {
    output.lines().find_map(|line| {
        let (_, after) = line.split_once(label)?;
        let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    })
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
