//! Leaves the agent's control group: an upgrade that is started manually runs in a session through the agent, and a restart of the agent
//! ends everything in its control group.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use log::{info, warn};

use crate::system::process::command::absolute;
use crate::system::text::io_problem;

/// Options that every systemd-run has, back to the one of RHEL 7: with an unknown option it fails, after this program was replaced by it.
const OPTIONS: [&str; 4] = [
    "--scope",
    "--quiet",
    "--description=teleport-upgrade, started manually",
    "--",
];

/// Starts this program again in a scope of its own if it runs inside one of `units`; then it does not return.
pub fn leave(units: &[String]) {
    let groups = own_groups();
    let Some(unit) = units.iter().find(|unit| is_within(&groups, unit)) else {
        return;
    };
    let Ok(program) = env::current_exe() else {
        return;
    };
    info!(
        "running inside {unit}; continuing in a separate scope so that restarting {unit} does not kill this process"
    );
    // Terminal, environment and process stay the same; only the control group changes.
    let mut again = Command::new(absolute("systemd-run"));
    let error = again
        .args(OPTIONS)
        .arg(program)
        .args(env::args_os().skip(1))
        .exec();
    warn!(
        "cannot leave {unit}: {}. Continuing inside it",
        io_problem(&error)
    );
}

/// Whether this program runs in this unit.
pub fn is_in(unit: &str) -> bool {
    is_within(&own_groups(), unit)
}

fn own_groups() -> String {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// Whether a process of these control groups belongs to `unit`.
fn is_within(groups: &str, unit: &str) -> bool {
    groups
        .lines()
        .any(|line| line.split('/').any(|part| part == unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_unit_by_its_control_group() {
        let groups = "1:name=systemd:/system.slice/teleport.service\n0::/system.slice/teleport.service/session-1\n";
        assert!(is_within(groups, "teleport.service"));
        assert!(!is_within(
            "0::/system.slice/teleport-upgrade.service\n",
            "teleport.service"
        ));
        assert!(!is_within(
            "0::/user.slice/user-0.slice/session-3.scope\n",
            "teleport.service"
        ));
        assert!(is_within(
            "0::/system.slice/system-teleport.slice/teleport@a.service\n",
            "teleport@a.service"
        ));
    }
}
