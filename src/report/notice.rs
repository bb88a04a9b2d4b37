//! The login message while a change is pending: it may end sessions.

use std::fs;
use std::io;
use std::path::Path;

use crate::report::Report;
use crate::report::decision::{ActionName, DecisionReport, State, WaitsFor};
use crate::system::files::{Durability, make_directory, replace};
use crate::system::text::wrap;
use crate::system::times;

/// Where pam_motd finds it. A reboot removes it; the next run writes it again.
pub const FILE: &str = "/run/motd.d/teleport-upgrade";

/// Somewhat less than a terminal's width.
const WIDTH: usize = 78;

/// Writes the message, or removes it if no change is pending.
pub fn update(file: &Path, report: &Report) -> io::Result<()> {
    let Some(text) = text(report) else {
        return remove(file);
    };
    if fs::read_to_string(file).is_ok_and(|there| there == text) {
        return Ok(());
    }
    make_directory(file.parent().unwrap_or(Path::new("/")))?;
    replace(file, &text, Durability::Unsynced)
}

/// Removes the message.
pub fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The message, in lines that fit a terminal.
fn text(report: &Report) -> Option<String> {
    let DecisionReport {
        state: State::Waiting,
        action: Some(action),
        to: Some(to),
        waits_for,
        opens,
        ..
    } = &report.decision
    else {
        return None;
    };
    // Nobody knows when, or whether, the rollout reaches this host.
    if *waits_for == Some(WaitsFor::Rollout) {
        return None;
    }
    let agent = report.agent.as_ref()?;
    let from = &agent.installed;
    let what = match *action {
        ActionName::Upgrade if to < from => format!("downgraded from {from} to {to}"),
        ActionName::Upgrade => format!("upgraded from {from} to {to}"),
        ActionName::Reinstall => format!("reinstalled ({to})"),
        ActionName::Restart => format!("restarted to run {to}"),
    };
    let when = match opens {
        _ if *waits_for == Some(WaitsFor::Schedule) => {
            "in a maintenance window that is not known yet".into()
        }
        Some(opens) => format!("on {}", times::local(*opens)),
        None => "within the next hour".into(),
    };
    let text = format!(
        "The Teleport agent on this host will be {what} {when}. Open sessions may be disconnected."
    );
    let lines = wrap(&text, WIDTH);
    Some(lines.iter().map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::agent::AgentReport;
    use crate::state::history::History;
    use chrono::DateTime;

    fn report(state: State, opens: Option<i64>) -> Report {
        let mut report = Report::new(DateTime::UNIX_EPOCH, &History::default(), None);
        report.agent = Some(AgentReport {
            package: "teleport-ent".into(),
            installed: "14.3.33".parse().unwrap(),
            running: None,
            installer: None,
            broken: None,
            healthy: true,
            services: Vec::new(),
        });
        report.decision = DecisionReport {
            action: Some(ActionName::Upgrade),
            to: Some("14.3.34".parse().unwrap()),
            opens: opens.map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap()),
            ..DecisionReport::new(state, String::new())
        };
        report
    }

    #[test]
    fn is_there_while_a_change_is_pending_and_gone_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("motd.d/teleport-upgrade");
        let read = || fs::read_to_string(&file).unwrap().replace('\n', " ");
        update(&file, &report(State::UpToDate, None)).unwrap();
        assert!(!file.exists());
        // At noon, which is on the same day nearly everywhere.
        update(&file, &report(State::Waiting, Some(1_795_176_000))).unwrap();
        let text = read();
        let start =
            "The Teleport agent on this host will be upgraded from 14.3.33 to 14.3.34 on Fri ";
        let end = "Open sessions may be disconnected. ";
        assert!(text.starts_with(start) && text.ends_with(end), "{text}");
        update(&file, &report(State::Waiting, None)).unwrap();
        assert!(read().contains(" within the next hour. "), "{}", read());
        update(&file, &report(State::Due, None)).unwrap();
        assert!(!file.exists());
        let mut waits = report(State::Waiting, None);
        waits.decision.waits_for = Some(WaitsFor::Rollout);
        update(&file, &waits).unwrap();
        assert!(!file.exists());
    }
}
