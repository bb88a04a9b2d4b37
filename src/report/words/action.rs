//! Changes and their reasons in words.

use crate::agent::service::Health;
use crate::decide::decision::{Action, Cause, Wait};
use crate::decide::path::{Intermediate, UpgradePath};
use crate::decide::rollout::Standing;
use crate::server::answers::Percentage;
use crate::system::times;

/// Up to so many major versions are listed by name.
const LISTED: u64 = 4;

/// A change as a noun: "upgrade from 12.4.1 to 14.3.34 via 13.4.15".
pub fn noun(action: &Action) -> String {
    match action {
        Action::Upgrade(path) => format!("{} {}", direction(path), whole(path)),
        Action::Reinstall(version, problem) => format!("reinstall of {version} ({problem})"),
        Action::Restart(version, unit) => {
            format!("restart of {unit} to run the installed version {version}")
        }
    }
}

/// The next step of a change as a noun: "upgrade from 12.4.1 to 13.4.15 (intermediate version; target 14.3.34)".
pub fn step(action: &Action) -> String {
    match action {
        Action::Upgrade(path) => format!("{} {}", direction(path), next(path)),
        other => noun(other),
    }
}

/// What `dry-run` answers: "would upgrade from 14.3.33 to 14.3.34 now".
pub fn would(action: &Action) -> String {
    match action {
        Action::Upgrade(_) => format!("would {} now", noun(action)),
        Action::Reinstall(version, problem) => format!("would reinstall {version} now ({problem})"),
        Action::Restart(version, unit) => {
            format!("would restart {unit} now to run the installed version {version}")
        }
    }
}

/// What is being done: "upgrading from 14.3.33 to 14.3.34".
pub fn doing(action: &Action) -> String {
    match action {
        Action::Upgrade(path) if is_down(path) => format!("downgrading {}", next(path)),
        Action::Upgrade(path) => format!("upgrading {}", next(path)),
        Action::Reinstall(version, _) => format!("reinstalling {version}"),
        Action::Restart(version, unit) => format!("restarting {unit} on {version}"),
    }
}

/// What was done: "upgraded from 14.3.33 to 14.3.34".
pub fn done(action: &Action) -> String {
    match action {
        Action::Upgrade(path) if is_down(path) => format!("downgraded {}", next(path)),
        Action::Upgrade(path) => format!("upgraded {}", next(path)),
        Action::Reinstall(version, problem) => format!("reinstalled {version} ({problem})"),
        Action::Restart(version, unit) => {
            format!("restarted {unit} on the installed version {version}")
        }
    }
}

fn is_down(path: &UpgradePath) -> bool {
    path.target < path.from
}

fn direction(path: &UpgradePath) -> &'static str {
    if is_down(path) {
        "downgrade"
    } else {
        "upgrade"
    }
}

/// The next step of a path.
fn next(path: &UpgradePath) -> String {
    match (path.next(), path.goal()) {
        (Some(next), Some(goal)) => format!(
            "from {} to {next} (intermediate version; target {goal})",
            path.from
        ),
        _ => whole(path),
    }
}

/// The whole path.
fn whole(path: &UpgradePath) -> String {
    let ends = format!("from {} to {}", path.from, path.target);
    let first = path.from.major().saturating_add(1);
    match &path.intermediate {
        Intermediate::Known(versions) if versions.is_empty() => ends,
        Intermediate::Known(versions) => {
            format!("{ends} via {}", list(versions.iter()))
        }
        Intermediate::Latest if path.target.major() - first > LISTED => format!(
            "{ends} via the latest of each major version from {first}.x to {}.x in the repository",
            path.target.major() - 1
        ),
        Intermediate::Latest => {
            let majors = (first..path.target.major()).map(|major| format!("{major}.x"));
            format!("{ends} via the latest {} in the repository", list(majors))
        }
    }
}

/// "12.4.1", "12.4.1 and 13.4.15", "12.4.1, 13.4.15 and 14.3.34".
fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let mut items: Vec<String> = items.map(|item| item.to_string()).collect();
    let last = items.pop().unwrap_or_default();
    if items.is_empty() {
        last
    } else {
        format!("{} and {last}", items.join(", "))
    }
}

/// Why a change waits.
pub fn wait(wait: &Wait) -> String {
    match wait {
        Wait::Rollout(Standing {
            percentage,
            position,
        }) => match percentage {
            Percentage::Known(percent) => format!(
                "this host is not in the rollout yet (at {percent} %, this host's position is {position:.2})"
            ),
            Percentage::Unknown(problem) => {
                format!("the percentage of the rollout is unknown ({problem})")
            }
        },
        Wait::Window(window, pause) => format!(
            "next maintenance window opens {} (in {})",
            times::utc(window.start),
            times::span(*pause)
        ),
        Wait::Schedule(absence) => format!("{absence}, and require-window is set to yes"),
        Wait::NextCheck(absence) => format!(
            "{absence}. If this is still the case at the next check, the agent is upgraded outside of any maintenance window"
        ),
    }
}

/// Why a change is made now.
pub fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Forced => "requested with \"teleport-upgrade force\"".into(),
        Cause::Critical => "the release channel marks it critical".into(),
        Cause::Down(unit, health) => {
            let how = match health {
                Health::Failed(result) => format!("failed: {result}"),
                other => other.to_string(),
            };
            format!("{unit} is down ({how}), so there is nothing to lose")
        }
        Cause::ScheduleAbsent(absence) => format!("{absence} for two checks in a row"),
        Cause::Window { until } => {
            format!("maintenance window open until {}", times::utc(*until))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::schedule::{Absence, Window};
    use crate::version::Version;
    use chrono::{DateTime, TimeDelta};

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn path(from: &str, between: &str, target: &str) -> Action {
        let (from, target) = (version(from), version(target));
        Action::Upgrade(match between {
            "?" => UpgradePath::unknown(&from, &target),
            between => UpgradePath {
                intermediate: Intermediate::Known(
                    between.split_whitespace().map(version).collect(),
                ),
                ..UpgradePath::direct(&from, &target)
            },
        })
    }

    #[test]
    fn changes_are_described_with_their_path() {
        for (from, between, to, expected) in [
            ("14.3.33", "", "14.3.34", "upgrade from 14.3.33 to 14.3.34"),
            (
                "14.3.34",
                "",
                "14.3.33",
                "downgrade from 14.3.34 to 14.3.33",
            ),
            (
                "12.4.1",
                "13.4.15 14.3.34 15.1.0",
                "16.0.0",
                "upgrade from 12.4.1 to 16.0.0 via 13.4.15, 14.3.34 and 15.1.0",
            ),
            (
                "12.4.1",
                "?",
                "14.3.34",
                "upgrade from 12.4.1 to 14.3.34 via the latest 13.x in the repository",
            ),
            (
                "12.4.1",
                "?",
                "16.0.0",
                "upgrade from 12.4.1 to 16.0.0 via the latest 13.x, 14.x and 15.x in the repository",
            ),
            (
                "12.4.1",
                "?",
                "18446744073709551615.0.0",
                "upgrade from 12.4.1 to 18446744073709551615.0.0 via the latest of each major version from 13.x to \
                 18446744073709551614.x in the repository",
            ),
        ] {
            assert_eq!(noun(&path(from, between, to)), expected);
        }
        let up = path("12.4.1", "13.4.15", "14.3.34");
        let to = "from 12.4.1 to 13.4.15 (intermediate version; target 14.3.34)";
        assert_eq!(step(&up), format!("upgrade {to}"));
        assert_eq!(doing(&up), format!("upgrading {to}"));
        assert_eq!(done(&up), format!("upgraded {to}"));
        let down = path("14.3.34", "", "14.3.33");
        assert_eq!(done(&down), "downgraded from 14.3.34 to 14.3.33");
    }

    #[test]
    fn repairs_are_described_with_their_reason() {
        let reinstall = Action::Reinstall(version("14.3.33"), "half-installed".into());
        assert_eq!(noun(&reinstall), "reinstall of 14.3.33 (half-installed)");
        assert_eq!(
            would(&reinstall),
            "would reinstall 14.3.33 now (half-installed)"
        );
        assert_eq!(done(&reinstall), "reinstalled 14.3.33 (half-installed)");
        let restart = Action::Restart(version("14.3.33"), "teleport.service".into());
        assert_eq!(
            would(&restart),
            "would restart teleport.service now to run the installed version 14.3.33"
        );
        assert_eq!(
            done(&restart),
            "restarted teleport.service on the installed version 14.3.33"
        );
    }

    #[test]
    fn reasons_contain_the_time_and_the_next_step() {
        // 2026-11-20 02:00 UTC.
        let at = |seconds: i64| DateTime::from_timestamp(1_795_140_000 + seconds, 0).unwrap();
        let window = Window {
            start: at(3600),
            stop: at(7200),
        };
        assert_eq!(
            wait(&Wait::Window(window, TimeDelta::seconds(3600))),
            "next maintenance window opens 2026-11-20 03:00 UTC (in 1 h)"
        );
        let rollout = |percentage| {
            let position = 37.2049;
            wait(&Wait::Rollout(Standing {
                percentage,
                position,
            }))
        };
        assert_eq!(
            rollout(Percentage::Known(0.1)),
            "this host is not in the rollout yet (at 0.1 %, this host's position is 37.20)"
        );
        assert_eq!(
            rollout(Percentage::Unknown("timed out".into())),
            "the percentage of the rollout is unknown (timed out)"
        );
        let advice = ". If this is still the case at the next check, the agent is upgraded outside of any maintenance window";
        assert_eq!(
            wait(&Wait::NextCheck(Absence::Missing)),
            format!("{}{advice}", Absence::Missing)
        );
        assert_eq!(
            cause(&Cause::Window { until: at(0) }),
            "maintenance window open until 2026-11-20 02:00 UTC"
        );
        let failed = Health::Failed("signal".into());
        assert_eq!(
            cause(&Cause::Down("teleport.service".into(), failed)),
            "teleport.service is down (failed: signal), so there is nothing to lose"
        );
    }
}
