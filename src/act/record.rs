//! Writes what the next pass must know: the history in the state directory.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use log::warn;

use crate::observe::history::{self, History};

/// The history, and the place where it is kept. Only the holder of the lock has one.
#[derive(Debug)]
pub struct Record {
    state: PathBuf,
    history: History,
}

impl Record {
    /// Opens the record of the state directory.
    pub fn open(state: &Path) -> Record {
        Record { state: state.to_path_buf(), history: History::read(state) }
    }

    /// The state directory.
    pub fn directory(&self) -> &Path {
        &self.state
    }

    /// What is recorded.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Changes the record. When this returns, the change survives a power cut; nothing is written if nothing changed.
    pub fn update(&mut self, change: impl FnOnce(&mut History)) -> Result<()> {
        let mut history = self.history.clone();
        change(&mut history);
        if history != self.history {
            let path = self.state.join(history::FILE);
            self.write(&path, &history).with_context(|| format!("{}: cannot write it", path.display()))?;
            self.history = history;
        }
        Ok(())
    }

    /// Writes a new file beside the old one and lets it take the name, so that there is always a whole one.
    fn write(&self, path: &Path, history: &History) -> Result<()> {
        keep_damaged(path);
        let mut text = serde_json::to_string_pretty(history)?;
        text.push('\n');
        let new = path.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(&self.state)?.sync_all()?;
        Ok(())
    }
}

/// Moves a history that cannot be read out of the way; it may tell a person what happened.
fn keep_damaged(path: &Path) {
    let damaged = history::load(path).is_ok_and(|loaded| loaded.is_err());
    if damaged && let Err(error) = fs::rename(path, history::set_aside(path)) {
        warn!("{}: cannot set the damaged history aside: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::history::FILE;

    #[test]
    fn what_is_recorded_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let now = chrono::DateTime::from_timestamp(1_795_140_000, 0);
        Record::open(dir.path()).update(|history| history.schedule_absent_since = now).unwrap();
        assert_eq!(History::read(dir.path()).schedule_absent_since, now);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn nothing_is_written_when_nothing_changed() {
        let dir = tempfile::tempdir().unwrap();
        Record::open(dir.path()).update(|_| ()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_history_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{broken").unwrap();
        let now = chrono::DateTime::from_timestamp(0, 0);
        Record::open(dir.path()).update(|history| history.schedule_absent_since = now).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("history.json.damaged")).unwrap(), "{broken");
        assert_eq!(History::read(dir.path()).schedule_absent_since, now);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let mut record = Record::open(Path::new("/proc/no-such-directory"));
        let error = record.update(|history| history.schedule_absent_since = chrono::DateTime::from_timestamp(0, 0)).unwrap_err();
        assert!(error.to_string().starts_with("/proc/no-such-directory/history.json: cannot write it"), "{error}");
    }
}
