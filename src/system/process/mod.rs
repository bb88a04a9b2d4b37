//! Processes, as `/proc` shows them.

pub mod command;
pub mod scope;
pub mod signals;
pub mod user;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A process, told from others that had or will have its PID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Process {
    /// When it started, in clock ticks since the boot.
    started: u64,
    /// Its PID.
    pub pid: i32,
}

impl Process {
    /// The running process of this PID. One that ended and that its parent has not waited for is none.
    pub fn of(pid: i32) -> Option<Process> {
        let stat = stat(pid)?;
        let has_ended = stat.first()?.starts_with(['Z', 'X']);
        let started = stat.get(STARTED)?.parse().ok()?;
        (!has_ended).then_some(Process { started, pid })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        Process::of(self.pid) == Some(*self)
    }

    /// How long ago it started.
    pub fn age(&self) -> Duration {
        age(self.started)
    }

    /// The file of its program, even if that was removed since.
    pub fn program(&self) -> PathBuf {
        let link = fs::read_link(format!("/proc/{}/exe", self.pid)).unwrap_or_default();
        let name = link.to_string_lossy();
        // The kernel marks the name of a file that was removed.
        name.strip_suffix(" (deleted)").unwrap_or(&name).into()
    }

    /// The pipes that it has open: those that are its standard input and outputs, and the others.
    pub fn pipes(&self) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid));
        let (mut standard, mut others) = (BTreeSet::new(), BTreeSet::new());
        for entry in entries.into_iter().flatten().flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let inode = target.to_str().and_then(|name| {
                let inode = name.strip_prefix("pipe:[")?.strip_suffix(']')?;
                inode.parse::<u64>().ok()
            });
            match entry.file_name().to_str() {
                Some("0" | "1" | "2") => standard.extend(inode),
                _ => others.extend(inode),
            }
        }
        (standard, others)
    }

    /// The page faults of the children that have ended and that it has waited for: each had some.
    pub fn faults_of_children(&self) -> Option<u64> {
        stat(self.pid)?.get(FAULTS_OF_CHILDREN)?.parse().ok()
    }

    /// Its children that have ended and that it has not waited for yet, with how long ago they started.
    pub fn ended_children(&self) -> Vec<(i32, Duration)> {
        let ended = |(pid, stat): (i32, Vec<String>)| {
            let is_one = stat.first()? == "Z";
            is_one.then_some((pid, age(stat.get(STARTED)?.parse().ok()?)))
        };
        self.all_children().filter_map(ended).collect()
    }

    /// Its running children.
    pub fn children(&self) -> Vec<i32> {
        let running = |pid: i32| Process::of(pid).map(|process| process.pid);
        self.all_children()
            .filter_map(|(pid, _)| running(pid))
            .collect()
    }

    /// Its children, each with its `stat`.
    fn all_children(&self) -> impl Iterator<Item = (i32, Vec<String>)> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let parent = self.pid.to_string();
        pids.filter_map(|pid: i32| Some((pid, stat(pid)?)))
            .filter(move |(_, stat)| stat.get(PARENT) == Some(&parent))
    }
}

/// Places in `stat`.
const PARENT: usize = 1;
const FAULTS_OF_CHILDREN: usize = 8;
const STARTED: usize = 19;

/// What `/proc/PID/stat` contains behind the name, which may itself contain anything: the state, the parent, the group, and so on.
pub fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit_once(") ")?.1;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// The command line of a process, NUL after each word; nothing if it has ended.
pub fn command_line(pid: i32) -> Option<Vec<u8>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

/// The time since a moment that is given in clock ticks since the boot: hundredths of a second, whatever the kernel itself counts in.
fn age(ticks: u64) -> Duration {
    let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    uptime.saturating_sub(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Process {
        Process::of(std::process::id().try_into().unwrap()).unwrap()
    }

    #[test]
    fn a_process_is_alive_until_it_ends() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().try_into().unwrap();
        while Process::of(pid).is_some() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(Process::of(pid), None);
    }

    #[test]
    fn a_child_that_ended_is_seen_until_its_parent_waits_for_it() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid: i32 = child.id().try_into().unwrap();
        let is_seen = || {
            let ended = own().ended_children();
            let is_it = |(ended, age): &(i32, Duration)| *ended == pid && age.as_secs() < 60;
            ended.iter().any(is_it)
        };
        while !is_seen() {
            std::thread::yield_now();
        }
        let faults = own().faults_of_children().unwrap();
        child.wait().unwrap();
        assert!(!is_seen() && own().faults_of_children().unwrap() > faults);
    }

    #[test]
    fn a_process_is_distinguished_from_another_with_its_pid() {
        assert!(own().is_alive() && own().age() < Duration::from_secs(3600));
        let other = Process {
            started: own().started - 1,
            ..own()
        };
        assert!(!other.is_alive());
        assert_eq!(own().program(), std::env::current_exe().unwrap());
        assert_eq!(Process::of(i32::MAX), None);
    }
}
