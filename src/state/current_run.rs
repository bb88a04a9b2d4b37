//! The run in progress, if there is one: `current-run.json` in the state directory.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::system::files::read_json;
use crate::system::process::Process;

/// The name of the file.
pub const FILE: &str = "current-run.json";

/// A run that changes the host. A killed one leaves its file behind, but not its process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentRun {
    /// The process.
    pub process: Process,
    /// What it is doing: "upgrading from 14.3.33 to 14.3.34".
    pub purpose: String,
    /// The current step: "verifying teleport.service".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// When that began.
    pub since: DateTime<Utc>,
}

impl CurrentRun {
    /// What it is doing, with the current step: "upgrading from 14.3.33 to 14.3.34: verifying teleport.service".
    pub fn doing(&self) -> String {
        self.step.as_ref().map_or(self.purpose.clone(), |step| {
            format!("{}: {step}", self.purpose)
        })
    }

    /// Reads the file of a run that is in progress.
    pub fn read(state: &Path) -> Option<CurrentRun> {
        read_json::<CurrentRun>(&state.join(FILE))
            .ok()?
            .ok()
            .filter(|running| running.process.is_alive())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_run_that_was_killed_is_not_in_progress() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(CurrentRun::read(dir.path()), None);
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let process = Process::of(child.id().try_into().unwrap()).unwrap();
        let running = CurrentRun {
            process,
            purpose: "upgrading".into(),
            step: None,
            since: Utc::now(),
        };
        fs::write(
            dir.path().join(FILE),
            serde_json::to_string(&running).unwrap(),
        )
        .unwrap();
        assert_eq!(CurrentRun::read(dir.path()), Some(running));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(CurrentRun::read(dir.path()), None);
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(CurrentRun::read(dir.path()), None);
    }
}
