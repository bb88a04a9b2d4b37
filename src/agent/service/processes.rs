//! The processes of a service: which of them are the agent, and which program they run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use nix::unistd::geteuid;

use crate::agent::service::{Binary, Service};
use crate::system::process::{Process, command_line};

/// Where control groups are: in the unified hierarchy alone, beside the old ones, or in systemd's own among those.
const MOUNTS: [&str; 3] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/unified",
    "/sys/fs/cgroup/systemd",
];

impl Service {
    /// The processes of the agent itself, the oldest first. Those that it starts for sessions have other arguments.
    pub fn agents(&self) -> Vec<Process> {
        let known = [self.main, self.pid].into_iter().flatten();
        let Some(arguments) = known.clone().find_map(command_line) else {
            return Vec::new();
        };
        let mut agents: Vec<Process> = members(&self.control_group)
            .into_iter()
            .filter(|pid| {
                Some(*pid) == self.main || command_line(*pid).as_ref() == Some(&arguments)
            })
            .filter_map(Process::of)
            .collect();
        agents.sort_unstable();
        agents
    }
}

/// Whether a process runs the agent's own program: a script that starts the agent may end by a signal that the agent handles.
pub fn is_the_agent(process: &Process) -> bool {
    process.program().ends_with("teleport")
}

fn members(group: &str) -> Vec<i32> {
    let list = |mount| fs::read_to_string(format!("{mount}{group}/cgroup.procs")).ok();
    let pids = MOUNTS
        .into_iter()
        .find_map(list)
        .filter(|_| !group.is_empty());
    pids.unwrap_or_default()
        .lines()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Whether a process belongs to a control group, or to one below.
pub fn is_member(group: &str, pid: i32) -> bool {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    // `0::/system.slice/teleport.service`.
    let within = |line: &str| {
        let rest = line
            .splitn(3, ':')
            .nth(2)
            .and_then(|path| path.strip_prefix(group));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    !group.is_empty() && groups.lines().any(within)
}

/// Compares the file that a process runs with the one that now has its name.
pub fn binary(process: &Process) -> Binary {
    let link = PathBuf::from(format!("/proc/{}/exe", process.pid));
    let Ok(runs) = fs::metadata(&link) else {
        return Binary::Unknown;
    };
    let is_it = |file: PathBuf| {
        fs::metadata(file).is_ok_and(|file| (file.dev(), file.ino()) == (runs.dev(), runs.ino()))
    };
    // Between its fork and its exec, a process that systemd starts still runs systemd.
    if is_it("/proc/1/exe".into()) {
        Binary::Unknown
    } else if is_it(process.program()) {
        Binary::OnDisk
    } else {
        Binary::Replaced
    }
}

/// The same without root, who alone may see which file a process runs: a process that is younger than `program` was started from it.
pub fn binary_by_age(process: &Process, program: &str) -> Binary {
    let is_younger = || {
        let file = fs::metadata(program).ok()?;
        let changed = Duration::new(
            file.ctime().try_into().ok()?,
            file.ctime_nsec().try_into().ok()?,
        );
        let started = SystemTime::now().checked_sub(process.age())?;
        Some(started > SystemTime::UNIX_EPOCH + changed)
    };
    if !geteuid().is_root() && is_younger() == Some(true) {
        Binary::OnDisk
    } else {
        Binary::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_runs_what_is_on_the_disk_and_is_not_the_agent() {
        let own = Process::of(std::process::id().try_into().unwrap()).unwrap();
        assert_eq!(binary(&own), Binary::OnDisk);
        assert!(!is_the_agent(&own));
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
        let group = groups
            .lines()
            .next()
            .unwrap()
            .splitn(3, ':')
            .nth(2)
            .unwrap();
        assert!(is_member(group, own.pid) && !is_member("", own.pid));
        assert!(!is_member(&format!("{group}x"), own.pid));
    }
}
