//! Leaves the agent's control group: who upgrades an agent by hand came in through it, and a restart ends all that is in its group.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use log::{info, warn};

use crate::system::command::absolute;
use crate::system::text::io_problem;

/// What every systemd-run knows, back to the one of RHEL 7: one that does not know an option does nothing, and we are gone by then.
const OPTIONS: [&str; 4] = [
    "--scope",
    "--quiet",
    "--description=teleport-upgrade, by hand",
    "--",
];

/// Starts this program again in a scope of its own if it runs within one of `units`; then it does not return.
pub fn leave(units: &[String]) {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(unit) = units.iter().find(|unit| is_within(&groups, unit)) else {
        return;
    };
    let Ok(program) = env::current_exe() else {
        return;
    };
    info!(
        "this runs within {unit}; going on in a scope of its own, so that a restart of {unit} does not end it"
    );
    // The terminal, the environment and the process stay what they are; only the control group changes.
    let mut again = Command::new(absolute("systemd-run"));
    let error = again
        .args(OPTIONS)
        .arg(program)
        .args(env::args_os().skip(1))
        .exec();
    warn!(
        "cannot leave {unit} ({}); going on within it",
        io_problem(&error)
    );
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
    fn knows_its_unit_by_its_control_group() {
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
