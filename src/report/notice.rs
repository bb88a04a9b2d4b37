//! What a person who logs in is told while a change of the agent waits: it may end their session.

use std::fs;
use std::io;
use std::path::Path;

use crate::report::Report;
use crate::report::decision::{ActionName, DecisionReport, State};
use crate::system::files::{Durability, make_directory, replace};
use crate::system::text::wrap;
use crate::system::times;

/// Where pam_motd looks. It is gone with the next boot, and the first pass after that writes it again.
pub const FILE: &str = "/run/motd.d/teleport-upgrade";

/// A terminal's width, less some.
const WIDTH: usize = 78;

/// Has the notice say what waits, or takes it away if nothing does.
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

/// Takes the notice away.
pub fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The notice, in lines that fit a terminal.
fn text(report: &Report) -> Option<String> {
    let DecisionReport {
        state: State::Waiting,
        action: Some(action),
        to: Some(to),
        opens,
        ..
    } = &report.decision
    else {
        return None;
    };
    let agent = report.agent.as_ref()?;
    let what = match *action {
        ActionName::Upgrade if *to < agent.installed => {
            format!(
                "The Teleport agent of this host will go back from {} to {to}",
                agent.installed
            )
        }
        ActionName::Upgrade => format!(
            "The Teleport agent of this host will be upgraded from {} to {to}",
            agent.installed
        ),
        ActionName::Reinstall => {
            format!("The Teleport agent of this host ({to}) will be installed again")
        }
        ActionName::Restart => {
            format!("The Teleport agent of this host will be restarted to run {to}")
        }
    };
    let when = match opens {
        Some(opens) => format!(
            "in the maintenance window that opens {}",
            times::local(*opens)
        ),
        None => "at the next check, within the hour".into(),
    };
    let lines = wrap(
        &format!("{what} {when}. Sessions may be interrupted then."),
        WIDTH,
    );
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
            damage: None,
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
    fn is_there_while_something_waits_and_gone_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("motd.d/teleport-upgrade");
        update(&file, &report(State::UpToDate, None)).unwrap();
        assert!(!file.exists());
        // At noon, which is on the same day nearly everywhere.
        update(&file, &report(State::Waiting, Some(1_795_176_000))).unwrap();
        let text = fs::read_to_string(&file).unwrap().replace('\n', " ");
        let upgraded = "The Teleport agent of this host will be upgraded from 14.3.33 to 14.3.34 in the maintenance window that opens Fri ";
        assert!(
            text.starts_with(upgraded) && text.ends_with("Sessions may be interrupted then. "),
            "{text}"
        );
        update(&file, &report(State::Waiting, None)).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.replace('\n', " ")
                .contains("at the next check, within the hour."),
            "{text}"
        );
        update(&file, &report(State::Due, None)).unwrap();
        assert!(!file.exists());
    }
}
