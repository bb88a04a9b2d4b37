//! Changes and their reasons in words.

use std::fmt;

use crate::decide::decision::{Action, Cause, Wait};
use crate::decide::path::{Intermediate, UpgradePath};
use crate::system::times;

/// What is to be done: "upgrade from ...".
pub fn plan(action: &Action) -> String {
    match action {
        Action::Upgrade(path) if path.target < path.from => format!("go back {}", Way(path)),
        Action::Upgrade(path) => format!("upgrade {}", Way(path)),
        Action::Reinstall(version, damage) => format!("install {version} again ({damage})"),
        Action::Restart(version, unit) => format!("have {unit} run the installed {version}"),
    }
}

/// What is done next, where that is only a part of it: "upgrade from 12.4.1 to 13.4.15 on the way to 14.3.34".
pub fn attempt(action: &Action) -> String {
    match action {
        Action::Upgrade(path) if path.goal().is_some() => format!("upgrade {}", step(path)),
        other => plan(other),
    }
}

/// What is being done: "upgrading from ...".
pub fn doing(action: &Action) -> String {
    match action {
        Action::Upgrade(path) if path.target < path.from => {
            format!("downgrading {}", step(path))
        }
        Action::Upgrade(path) => format!("upgrading {}", step(path)),
        Action::Reinstall(version, _) => format!("reinstalling {version}"),
        Action::Restart(version, unit) => format!("restarting {unit} on {version}"),
    }
}

/// What was done: "upgraded from ...".
pub fn done(action: &Action) -> String {
    match action {
        Action::Upgrade(path) if path.target < path.from => format!("went back {}", step(path)),
        Action::Upgrade(path) => format!("upgraded {}", step(path)),
        Action::Reinstall(version, damage) => format!("installed {version} again ({damage})"),
        Action::Restart(version, unit) => format!("had {unit} run the installed {version}"),
    }
}

/// The next step of a path.
fn step(path: &UpgradePath) -> String {
    match (path.next(), path.goal()) {
        (Some(next), Some(goal)) => format!("from {} to {next} on the way to {goal}", path.from),
        _ => Way(path).to_string(),
    }
}

/// A path: "from 12.4.1 to 14.3.34 via 13.4.15".
struct Way<'a>(&'a UpgradePath);

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UpgradePath {
            from,
            intermediate,
            target,
        } = self.0;
        write!(f, "from {from} to {target}")?;
        let (first, last) = (
            from.major().saturating_add(1),
            target.major().saturating_sub(1),
        );
        match intermediate {
            Intermediate::Known(versions) if versions.is_empty() => Ok(()),
            Intermediate::Known(versions) => {
                let names: Vec<String> = versions.iter().map(ToString::to_string).collect();
                write!(f, " via {}", names.join(" and "))
            }
            Intermediate::Latest if first == last => {
                write!(f, " via the newest {first} that the repository offers")
            }
            Intermediate::Latest => write!(
                f,
                " via the newest of each major version from {first} to {last} that the repository offers"
            ),
        }
    }
}

/// Why a change waits.
pub fn wait(wait: &Wait) -> String {
    match wait {
        Wait::Window(window, pause) => format!(
            "outside the maintenance window; the next one opens {} (in {})",
            times::utc(window.start),
            times::span(*pause)
        ),
        Wait::NextCheck(absence) => {
            format!("{absence}; if the next pass still finds it so, it upgrades without a window")
        }
    }
}

/// Why a change is made now.
pub fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Forced => "it was asked for with \"force\"".into(),
        Cause::Critical => "the release channel calls it critical".into(),
        Cause::Down(unit, health) => {
            format!("{unit} is down ({health}), so there is nothing to lose")
        }
        Cause::ScheduleAbsent(absence) => format!("{absence}, as an earlier pass already saw"),
        Cause::Window { until } => format!(
            "the maintenance window is open until {}",
            times::utc(*until)
        ),
    }
}
