//! Reads and writes what runs record, in the state directory: the history, and how the last run went.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use log::warn;
use serde_json::{Map, Value};

use crate::config::ownership::not_roots;
use crate::state::history::{History, LastRun};
use crate::system::files::{Durability, make_directory, read_json, write_json};
use crate::system::text::io_problem;

/// The name of the history file in the state directory.
pub const HISTORY: &str = "history.json";
/// The name of the file about the last run.
pub const LAST_RUN: &str = "last-run.json";

/// The history, and the place where it is kept. Only the holder of the lock has one.
#[derive(Debug)]
pub struct Record {
    state: PathBuf,
    history: History,
}

impl Record {
    /// Opens the record in the state directory.
    pub fn open(state: &Path) -> Record {
        Record {
            state: state.to_path_buf(),
            history: history(state),
        }
    }

    /// The state directory.
    pub fn directory(&self) -> &Path {
        &self.state
    }

    /// What is recorded.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Changes the record. When this returns, the change survives a power cut. Nothing is written if nothing changed.
    pub fn update(&mut self, change: impl FnOnce(&mut History)) -> Result<()> {
        let mut history = self.history.clone();
        change(&mut history);
        if history != self.history {
            let path = self.state.join(HISTORY);
            save_corrupt(&path);
            write_json(&path, &history, Durability::Synced)
                .with_context(|| format!("cannot write {}", path.display()))?;
            self.history = history;
        }
        Ok(())
    }

    /// Records how the run went.
    pub fn note(&self, run: &LastRun) -> Result<()> {
        let path = self.state.join(LAST_RUN);
        write_json(&path, run, Durability::Unsynced)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Makes the state directory. An existing one must be root's: what is in it is trusted later.
pub fn make_state_directory(path: &Path) -> Result<()> {
    make_directory(path).with_context(|| format!("cannot create {}", path.display()))?;
    let metadata =
        fs::metadata(path).with_context(|| format!("cannot access {}", path.display()))?;
    match not_roots(&metadata) {
        Some(problem) => bail!(
            "{}: {problem}. Inspect it, then remove it; it is recreated automatically",
            path.display()
        ),
        None => Ok(()),
    }
}

/// The history in the state directory. A host without one is new; a corrupt one must not leave a host without upgrades.
pub fn history(state: &Path) -> History {
    let (history, problem) = read(state);
    problem.iter().for_each(|problem| warn!("{problem}"));
    history
}

/// The same, with why not all of it can be read.
pub fn read(state: &Path) -> (History, Option<String>) {
    let path = state.join(HISTORY);
    match read_json(&path) {
        Ok(Ok(history)) => (history, None),
        Ok(Err(error)) => {
            let known = without_changes(&path);
            let what = match known {
                Some(_) => "list of changes is corrupt or of another version",
                None => "corrupt",
            };
            let problem = format!(
                "{}: {what} ({error}); starting a new one, old one saved as {}",
                path.display(),
                corrupt(&path).display()
            );
            (known.unwrap_or_default(), Some(problem))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Default::default(),
        Err(error) => {
            let (path, problem) = (path.display(), io_problem(&error));
            let problem = format!("cannot read {path}: {problem}. Continuing without a history");
            (History::default(), Some(problem))
        }
    }
}

/// How the last run went, if there was one. A corrupt file is not worth a message: the next run replaces it.
pub fn last_run(state: &Path) -> Option<LastRun> {
    read_json(&state.join(LAST_RUN)).ok()?.ok()
}

/// The name under which the next run that writes saves a corrupt history.
fn corrupt(path: &Path) -> PathBuf {
    path.with_extension("json.corrupt")
}

/// A history of which only the list of changes cannot be read. Later runs depend on the rest.
fn without_changes(path: &Path) -> Option<History> {
    let mut fields: Map<String, Value> = read_json(path).ok()?.ok()?;
    fields.remove("changes")?;
    serde_json::from_value(fields.into()).ok()
}

/// Saves a history that cannot be read; it may show what happened. The file itself stays until it is replaced in one step.
fn save_corrupt(path: &Path) {
    let is_corrupt = read_json::<History>(path).is_ok_and(|read| read.is_err());
    if is_corrupt && let Err(error) = link_as(path, &corrupt(path)) {
        warn!(
            "cannot save the corrupt history {}: {}",
            path.display(),
            io_problem(&error)
        );
    }
}

/// Gives a file a second name, and takes that from another file.
fn link_as(path: &Path, name: &Path) -> io::Result<()> {
    match fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::hard_link(path, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_host_without_history_is_new() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(history(dir.path()), History::default());
    }

    #[test]
    fn a_corrupt_history_is_not_fatal() {
        let dir = tempfile::tempdir().unwrap();
        for text in [
            "",
            "{",
            "[]",
            "\0\0\0",
            "{\"failed\": 3}",
            "{\"unfinished\":{\"to\":\"x\"}}",
        ] {
            fs::write(dir.path().join(HISTORY), text).unwrap();
            assert_eq!(history(dir.path()), History::default(), "{text:?}");
        }
    }

    #[test]
    fn what_a_later_version_adds_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join(HISTORY),
            r#"{"schedule_absent_since":"2026-11-20T00:00:00Z","new":1}"#,
        )
        .unwrap();
        assert!(history(dir.path()).schedule_absent_since.is_some());
    }

    #[test]
    fn what_is_recorded_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let now = DateTime::from_timestamp(1_795_140_000, 0);
        Record::open(dir.path())
            .update(|history| history.schedule_absent_since = now)
            .unwrap();
        assert_eq!(history(dir.path()).schedule_absent_since, now);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn everybody_can_read_how_the_last_run_went() {
        let dir = tempfile::tempdir().unwrap();
        let at = DateTime::from_timestamp(1_795_140_000, 0).unwrap();
        let run = LastRun {
            at,
            seconds: 0.4,
            exit: 75,
            outcome: "cannot reach".into(),
            target: None,
            last_success: Some(at),
            postponed: None,
            running: BTreeMap::new(),
        };
        Record::open(dir.path()).note(&run).unwrap();
        assert_eq!(last_run(dir.path()), Some(run));
        let file = dir.path().join(LAST_RUN);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        fs::write(&file, "").unwrap();
        assert_eq!(last_run(dir.path()), None);
    }

    #[test]
    fn nothing_is_written_when_nothing_changed() {
        let dir = tempfile::tempdir().unwrap();
        Record::open(dir.path()).update(|_| ()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_corrupt_history_is_saved() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(HISTORY), "{broken").unwrap();
        let now = DateTime::from_timestamp(0, 0);
        Record::open(dir.path())
            .update(|history| history.schedule_absent_since = now)
            .unwrap();
        let saved = fs::read_to_string(dir.path().join("history.json.corrupt")).unwrap();
        assert_eq!(saved, "{broken");
        assert_eq!(history(dir.path()).schedule_absent_since, now);
    }

    #[test]
    fn a_list_of_changes_of_another_version_costs_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"held_by_us":true,"changes":[{"result":"teleported"}]}"#;
        for saved in ["", "saved before"] {
            fs::write(dir.path().join("history.json.corrupt"), saved).unwrap();
            fs::write(dir.path().join(HISTORY), text).unwrap();
            let now = DateTime::from_timestamp(0, 0);
            let mut record = Record::open(dir.path());
            assert!(record.history().held_by_us);
            record
                .update(|history| history.schedule_absent_since = now)
                .unwrap();
            let saved = fs::read_to_string(dir.path().join("history.json.corrupt")).unwrap();
            assert_eq!(saved, text);
            let history = history(dir.path());
            assert!(history.held_by_us && history.schedule_absent_since == now);
        }
    }

    #[test]
    fn a_history_that_cannot_be_written_is_named() {
        let mut record = Record::open(Path::new("/proc/no-such-directory"));
        let error = record
            .update(|history| history.schedule_absent_since = DateTime::from_timestamp(0, 0))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot write /proc/no-such-directory/history.json"
        );
    }
}
