//! Metrics, for the textfile collector of Prometheus' node exporter.

use std::fmt::Write;
use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::agent::schedule::Window;
use crate::packages::installer::Installer;
use crate::report::decision::State;
use crate::report::{Report, ScheduleState};
use crate::state::changes::{Begun, Ending};
use crate::system::files::{Durability, replace};

/// The name of the file in the collector's directory.
pub const FILE: &str = "teleport-upgrade.prom";

/// Replaces the file. A collector that reads meanwhile sees the previous one.
pub fn write(directory: &Path, report: &Report) -> io::Result<()> {
    replace(&directory.join(FILE), &render(report), Durability::Unsynced)
}

/// The text, in Prometheus' exposition format. Unknown values are left out.
fn render(report: &Report) -> String {
    let mut text = Text::default();
    info(&mut text, report);
    let agent = report.agent.as_ref();
    let channel = report.channel.as_ref().filter(|channel| channel.answered);
    let up_to_date = agent.zip(channel).map(|(agent, channel)| {
        channel
            .target
            .as_ref()
            .is_none_or(|target| *target == agent.installed)
    });
    text.truth(
        "up_to_date",
        "1 if the agent is at the target version or updates are paused.",
        up_to_date,
    );
    text.truth(
        "healthy",
        "1 if the agent's package is intact and its services run.",
        agent.map(|agent| agent.healthy),
    );
    text.truth(
        "critical",
        "1 if the target version is critical; missing if that was not asked.",
        channel.and_then(|channel| channel.critical),
    );
    let rollout = report.rollout.as_ref();
    text.gauge(
        "rollout_percent",
        "Percentage of the hosts that the target version is for; missing if that was not asked.",
        rollout.and_then(|rollout| rollout.percent),
    );
    text.gauge(
        "rollout_position",
        "Position of this host in the rollout, from 0 to 100.",
        rollout.map(|rollout| rollout.position),
    );
    text.heading(
        "state",
        "gauge",
        "Upgrade state of this host (1 for the current state).",
    );
    for state in State::ALL {
        text.sample(
            "state",
            &[("state", state.word())],
            u8::from(state == report.decision.state),
        );
    }
    let schedule = report.schedule.as_ref();
    let open = schedule.map(|schedule| schedule.state == ScheduleState::Open);
    let is_next = |window: &&Window| window.start > report.time;
    let next = schedule.and_then(|schedule| schedule.windows.iter().find(is_next));
    let usable = schedule.map(|schedule| schedule.problem.is_none());
    text.truth(
        "schedule_usable",
        "0 if the maintenance schedule is missing, empty, expired or invalid.",
        usable,
    );
    text.truth("window_open", "1 if a maintenance window is open.", open);
    text.moment(
        "next_window_timestamp_seconds",
        "Start time of the next maintenance window.",
        next.map(|window| window.start),
    );
    let last = report.last_run.as_ref();
    text.moment(
        "last_check_timestamp_seconds",
        "Start time of the last check.",
        last.map(|last| last.at),
    );
    text.moment(
        "last_success_timestamp_seconds",
        "Start time of the last successful check.",
        last.and_then(|last| last.last_success),
    );
    text.gauge(
        "last_duration_seconds",
        "Duration of the last check.",
        last.map(|last| last.seconds),
    );
    text.gauge(
        "last_exit_status",
        "Exit status of the last check.",
        last.map(|last| f64::from(last.exit)),
    );
    if let Some(postponed) = last.and_then(|last| last.postponed.as_ref()) {
        let name = "postponed_since_timestamp_seconds";
        text.heading(
            name,
            "gauge",
            "When a hook first postponed the upgrade to this target version.",
        );
        let labels = [("hook", postponed.hook.as_str())];
        text.sample(name, &labels, postponed.since.timestamp());
    }
    attempt(&mut text, report);
    text.counter(
        "upgrades_total",
        "Completed version changes.",
        report.counts.upgrades,
    );
    text.counter(
        "rollbacks_total",
        "Automatic rollbacks after a failed verification.",
        report.counts.rollbacks,
    );
    text.counter(
        "failures_total",
        "Checks that failed with a non-transient error.",
        report.counts.failures,
    );
    text.0
}

fn info(text: &mut Text, report: &Report) {
    let target = report
        .channel
        .as_ref()
        .and_then(|channel| channel.target.as_ref())
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut labels = vec![("version", report.program), ("target", &target)];
    let installed = report
        .agent
        .as_ref()
        .map(|agent| agent.installed.to_string())
        .unwrap_or_default();
    if let Some(agent) = &report.agent {
        let installer = agent.installer.map_or("", Installer::name);
        labels.extend([
            ("package", agent.package.as_str()),
            ("installed", &installed),
            ("installer", installer),
        ]);
    }
    if let Some(channel) = &report.channel {
        labels.push(("channel", &channel.address));
    }
    text.heading(
        "info",
        "gauge",
        "Installed and target version, and the version of teleport-upgrade.",
    );
    text.sample("info", &labels, 1);
}

/// The last attempt to change the version: the one at the target version, if there was one, since that is what a rollout waits for.
fn attempt(text: &mut Text, report: &Report) {
    let channel = report.channel.as_ref().filter(|channel| channel.answered);
    let target = match channel {
        Some(channel) => channel.target.as_ref(),
        None => report
            .last_run
            .as_ref()
            .and_then(|last| last.target.as_ref()),
    };
    let Some(last) = report.changes.last_attempt(target) else {
        return;
    };
    let Begun { from, to, goal, .. } = &last.begun;
    let (to, result) = match last.result {
        // A downgrade is ordered by the channel, and went as well as an upgrade.
        Ending::Upgraded | Ending::Downgraded => (to, Ending::Upgraded),
        // Where an intermediate version fails, the target version is not reached.
        failed => (goal.as_ref().unwrap_or(to), failed),
    };
    let (from, to) = (from.to_string(), to.to_string());
    let labels = [
        ("from", from.as_str()),
        ("to", &to),
        ("result", result.word()),
        ("reason", last.reason.as_deref().unwrap_or_default()),
    ];
    let name = "last_upgrade_timestamp_seconds";
    let help = "End of the last attempt to change the version, and its result.";
    text.heading(name, "gauge", help);
    text.sample(name, &labels, last.ended.timestamp());
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn heading(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(
            self.0,
            "# HELP teleport_upgrade_{name} {help}\n# TYPE teleport_upgrade_{name} {kind}"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.0, "teleport_upgrade_{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.heading(name, "gauge", help);
            self.sample(name, &[], value);
        }
    }

    fn truth(&mut self, name: &str, help: &str, value: Option<bool>) {
        self.gauge(name, help, value.map(|value| f64::from(u8::from(value))));
    }

    fn moment(&mut self, name: &str, help: &str, value: Option<DateTime<Utc>>) {
        self.gauge(name, help, value.map(|value| value.timestamp() as f64));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.heading(name, "counter", help);
        self.sample(name, &[], value);
    }
}

/// A label's value, escaped.
fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::changes::Start;
    use crate::state::history::{Counts, History, LastRun};
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn report() -> Report {
        let at = DateTime::from_timestamp(1_795_140_000, 0).unwrap();
        let history = History {
            counts: Counts {
                upgrades: 3,
                rollbacks: 1,
                failures: 0,
            },
            ..History::default()
        };
        let last = LastRun {
            at,
            seconds: 0.4,
            exit: 0,
            outcome: String::new(),
            target: None,
            last_success: Some(at),
            postponed: None,
            running: BTreeMap::new(),
        };
        Report::new(at, &history, Some(last))
    }

    #[test]
    fn unknown_values_are_left_out() {
        let text = render(&report());
        for line in [
            "teleport_upgrade_upgrades_total 3",
            "teleport_upgrade_state{state=\"unknown\"} 1",
            "teleport_upgrade_state{state=\"waiting\"} 0",
            "teleport_upgrade_last_check_timestamp_seconds 1795140000",
            "teleport_upgrade_last_duration_seconds 0.4",
            "# TYPE teleport_upgrade_rollbacks_total counter",
        ] {
            assert!(
                text.lines().any(|have| have == line),
                "{line:?} is missing in:\n{text}"
            );
        }
        assert!(
            !text.contains("up_to_date") && !text.contains("healthy"),
            "{text}"
        );
    }

    fn series(report: &Report) -> Vec<String> {
        let text = render(report);
        let prefix = "teleport_upgrade_last_upgrade_timestamp_seconds";
        let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.map(String::from).collect()
    }

    #[test]
    fn the_last_attempt_is_one_series() {
        let mut report = report();
        assert_eq!(series(&report), [""; 0]);
        let at = report.time;
        let begun = |from: &str, to: &str, goal: Option<&str>| Begun {
            began: at,
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            goal: goal.map(|goal| goal.parse().unwrap()),
            service: None,
            start: Start::default(),
        };
        let why = || "exit \"1\"".to_string();
        for (begun, failure, labels) in [
            (
                begun("14.3.33", "15.0.1", Some("16.0.0")),
                None,
                r#"from="14.3.33",to="15.0.1",result="upgraded",reason="""#,
            ),
            (
                begun("15.0.1", "15.0.0", None),
                None,
                r#"from="15.0.1",to="15.0.0",result="upgraded",reason="""#,
            ),
            (
                begun("14.3.33", "15.0.2", Some("16.0.0")),
                Some((Ending::RolledBack, why())),
                r#"from="14.3.33",to="16.0.0",result="rolled-back",reason="exit \"1\"""#,
            ),
            (
                begun("14.3.33", "14.3.34", None),
                Some((Ending::Failed, why())),
                r#"from="14.3.33",to="14.3.34",result="failed",reason="exit \"1\"""#,
            ),
            (
                begun("14.3.33", "14.3.35", None),
                Some((Ending::Broken, why())),
                r#"from="14.3.33",to="14.3.35",result="broken",reason="exit \"1\"""#,
            ),
        ] {
            report.changes.add(begun.end(at, failure));
            assert_eq!(series(&report), [format!("{{{labels}}} 1795140000")]);
        }
        // The last attempt at the target, as far as that is known.
        let last = report.last_run.as_mut().unwrap();
        last.target = Some("16.0.0".parse().unwrap());
        assert!(series(&report)[0].contains("to=\"16.0.0\",result=\"rolled-back\""));
    }

    #[test]
    fn labels_cannot_end_their_line() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    #[test]
    fn follows_no_link_that_others_leave_in_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, "kept").unwrap();
        for name in ["teleport-upgrade.prom", "teleport-upgrade.prom.new"] {
            symlink(&secret, dir.path().join(name)).unwrap();
        }
        write(dir.path(), &report()).unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "kept");
        assert!(
            fs::read_to_string(dir.path().join(FILE))
                .unwrap()
                .contains("teleport_upgrade_info")
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "no temporary file is left"
        );
    }
}
