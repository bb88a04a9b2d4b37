//! What earlier passes recorded: `history.json` in the state directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use log::warn;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::agent::service;
use crate::packages::database;
use crate::system::text::{io_problem, printable};
use crate::version::Version;

/// More than any history takes: it has a handful of versions, and some sentences.
const MAX_BYTES: u64 = 1024 * 1024;

/// The name of the history file in the state directory.
pub const FILE: &str = "history.json";

/// What one pass leaves for the next.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When a pass first saw that there are no usable windows; nothing if the last one saw some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_absent_since: Option<DateTime<Utc>>,
    /// A change that was begun and not ended: the pass that made it was cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Change>,
    /// The target that was found unfit for this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedTarget>,
    /// Whether we locked the package against ordinary system updates. A lock that was there before is somebody else's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held_by_us: bool,
    /// How often systemd had restarted each service when the last pass looked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<String, u32>,
    /// A package that is downloaded ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<Download>,
    /// What others were asked, and said.
    #[serde(deserialize_with = "if_understood")]
    pub known: Known,
    /// The last change of the agent's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_change: Option<Done>,
    /// The last pass that failed, for a reason that does not pass by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// How often what has happened on this host.
    pub counts: Counts,
}

/// How often what has happened on this host, since the history began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Changes of the agent's version, up or down, that went well.
    pub upgrades: u64,
    /// Versions that were found unfit and taken back.
    pub rollbacks: u64,
    /// Passes that failed in another way, for a reason that does not pass by itself.
    pub failures: u64,
}

/// A package that is downloaded while its install waits for the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// The target that it leads to.
    pub target: Version,
    /// When the window opens that it waits for.
    pub opens: DateTime<Utc>,
    /// When to begin.
    pub due: DateTime<Utc>,
    /// What was downloaded, from the moment at which it is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<Fetched>,
    /// Whether it was tried in vain, and that was said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// A package that was downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Its name.
    pub package: String,
    /// Its version, as the repository spells it.
    pub package_version: String,
    /// Whether all of it is there. If not, a pass is at it, or was cut off, or failed.
    #[serde(default)]
    pub whole: bool,
}

impl Download {
    /// Whether nothing is left to be downloaded.
    pub fn is_whole(&self) -> bool {
        self.fetched.as_ref().is_some_and(|fetched| fetched.whole)
    }
}

/// What others said when they were asked, for the pass that finds nothing changed: it need not ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The version of this program that asked.
    by: String,
    /// The package databases.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub databases: database::Answers,
    /// systemd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<service::Answer>,
}

impl Default for Known {
    fn default() -> Known {
        Known {
            by: env!("CARGO_PKG_VERSION").into(),
            databases: database::Answers::default(),
            services: None,
        }
    }
}

/// Another version of this program may have asked for less, or in other words. That costs a question, and not the rest of the history.
fn if_understood<'de, D: Deserializer<'de>>(from: D) -> Result<Known, D::Error> {
    let nothing = Known::default();
    let value = serde_json::Value::deserialize(from)?;
    let read = serde_json::from_value::<Known>(value).ok();
    Ok(read
        .filter(|known| known.by == nothing.by)
        .unwrap_or(nothing))
}

/// A change of the agent from one version to another, or to the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The package.
    pub package: String,
    /// The version before, which is the way back.
    pub from: Version,
    /// That version as the package database spells it.
    pub from_package_version: String,
    /// The version to install.
    pub to: Version,
    /// That version as the repository spells it.
    pub to_package_version: String,
    /// The target, if that version is only a stop on the way to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Version>,
    /// The package of the version before, where it was kept aside because no repository has it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_package: Option<PathBuf>,
    /// Why the version is not fit, once that is known: the way back has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfit: Option<String>,
    /// When the rollback failed, if it did. It is tried again by every run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_failed: Option<DateTime<Utc>>,
    /// Whether the package was on hold, and must be again afterwards.
    #[serde(default)]
    pub held: bool,
    /// The services that were up, or should have been, and must be up again afterwards.
    pub services: Vec<String>,
    /// The units that the host had, running or not: packages bring them, and take them away.
    #[serde(default)]
    pub units: Vec<String>,
    /// When it began.
    pub since: DateTime<Utc>,
}

/// A target that was installed here, found unfit and taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTarget {
    /// The version.
    pub target: Version,
    /// The target proper, if that version was only a stop on the way to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Version>,
    /// What was wrong with it.
    pub reason: String,
    /// When that was found.
    pub at: DateTime<Utc>,
    /// Whether the version before did not run either; then there is nothing to lose by trying again.
    #[serde(default)]
    pub rollback_failed: bool,
}

/// A change that was carried out and checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The version before.
    pub from: Version,
    /// The version since.
    pub to: Version,
    /// The target, if that version is only a stop on the way to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Version>,
    /// When.
    pub at: DateTime<Utc>,
    /// How long it took from the first step, in seconds.
    #[serde(default)]
    pub seconds: f64,
}

/// A pass that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// When it began.
    pub at: DateTime<Utc>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it said.
    pub reason: String,
}

/// How the last pass went: `last-run.json` in the state directory. Nothing that a pass does rests on it, so nobody waits for the
/// disk to have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it began.
    pub at: DateTime<Utc>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The exit status.
    pub exit: u8,
    /// What it said at last.
    pub outcome: String,
    /// The target that it, or one before it, was last told of; nothing if that was none.
    #[serde(default)]
    pub target: Option<Version>,
    /// When the last one began that ended with exit status 0.
    #[serde(default)]
    pub last_success: Option<DateTime<Utc>>,
    /// Which version each service ran. Once the program on the disk is another, nobody else can tell.
    #[serde(default)]
    pub running: BTreeMap<String, Running>,
}

/// A process that runs the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its number.
    pub pid: i32,
    /// The version that it runs.
    pub version: Version,
}

/// The name of its file in the state directory.
pub const LAST_RUN: &str = "last-run.json";

impl LastRun {
    /// Reads it, if there was one. A damaged one is worth no words: the next pass writes it anew.
    pub fn read(state: &Path) -> Option<LastRun> {
        load_json(&state.join(LAST_RUN)).ok()?.ok()
    }
}

impl History {
    /// Reads the history. A host without one is new; a damaged one is no reason to leave a host without an updater.
    pub fn read(state: &Path) -> History {
        let path = state.join(FILE);
        match load(&path) {
            Ok(loaded) => loaded.unwrap_or_else(|error| {
                let aside = set_aside(&path);
                warn!(
                    "{}: damaged ({error}); starting a new one, and keeping this one as {}",
                    path.display(),
                    aside.display()
                );
                History::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => History::default(),
            Err(error) => {
                warn!(
                    "{}: {}; going on as if there were no history",
                    path.display(),
                    io_problem(&error)
                );
                History::default()
            }
        }
    }
}

/// What is in the file, or how it is damaged.
pub fn load(path: &Path) -> io::Result<Result<History, String>> {
    load_json(path)
}

/// A JSON file, or how it is damaged.
pub(super) fn load_json<T: DeserializeOwned>(path: &Path) -> io::Result<Result<T, String>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(Err(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(serde_json::from_slice(&bytes).map_err(|error| printable(&error.to_string(), 120)))
}

/// The name under which a damaged history is kept by the next pass that writes.
pub fn set_aside(path: &Path) -> PathBuf {
    path.with_extension("json.damaged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_host_without_history_is_new() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(History::read(dir.path()), History::default());
    }

    #[test]
    fn a_damaged_history_is_not_fatal() {
        let dir = tempfile::tempdir().unwrap();
        for text in [
            "",
            "{",
            "[]",
            "\0\0\0",
            "{\"failed\": 3}",
            "{\"unfinished\":{\"to\":\"x\"}}",
        ] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert_eq!(History::read(dir.path()), History::default(), "{text:?}");
        }
    }

    #[test]
    fn what_a_later_version_adds_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join(FILE),
            r#"{"schedule_absent_since":"2026-11-20T00:00:00Z","new":1}"#,
        )
        .unwrap();
        assert!(History::read(dir.path()).schedule_absent_since.is_some());
        // Or means by something else.
        let known = r#"{"schedule_absent_since":"2026-11-20T00:00:00Z","known":{"databases":{"Dpkg":{"files":3}},"services":[]}}"#;
        fs::write(dir.path().join(FILE), known).unwrap();
        let history = History::read(dir.path());
        assert!(history.schedule_absent_since.is_some() && history.known == Known::default());
    }

    #[test]
    fn what_another_version_of_this_program_was_told_is_asked_anew() {
        let dir = tempfile::tempdir().unwrap();
        for (by, holds) in [(env!("CARGO_PKG_VERSION"), true), ("0.0.1", false)] {
            let known = format!(
                r#"{{"known":{{"by":"{by}","databases":{{"dpkg":{{"files":[null],"found":[]}}}}}}}}"#
            );
            fs::write(dir.path().join(FILE), known).unwrap();
            assert_eq!(
                History::read(dir.path()).known != Known::default(),
                holds,
                "{by}"
            );
        }
    }
}
