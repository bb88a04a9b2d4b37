//! Writes what the next pass must know, and what people ask for: the history in the state directory, and how the last pass went.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use log::warn;
use serde::Serialize;

use crate::config::not_roots;
use crate::state::history;
use crate::state::history::{History, LastRun};
use crate::system::text::io_problem;

/// The history, and the place where it is kept. Only the holder of the lock has one.
#[derive(Debug)]
pub struct Record {
    state: PathBuf,
    history: History,
}

impl Record {
    /// Opens the record of the state directory.
    pub fn open(state: &Path) -> Record {
        Record {
            state: state.to_path_buf(),
            history: History::read(state),
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

    /// Changes the record. When this returns, the change survives a power cut; nothing is written if nothing changed.
    pub fn update(&mut self, change: impl FnOnce(&mut History)) -> Result<()> {
        let mut history = self.history.clone();
        change(&mut history);
        if history != self.history {
            let path = self.state.join(history::FILE);
            keep_damaged(&path);
            self.write(&path, &history)
                .with_context(|| format!("{}: cannot write it", path.display()))?;
            self.history = history;
        }
        Ok(())
    }

    /// Writes a file so that the disk has it before this returns.
    fn write(&self, path: &Path, history: &History) -> Result<()> {
        replace(path, &json(history)?, Disk::HasIt)?;
        File::open(&self.state)?.sync_all()?;
        Ok(())
    }

    /// Notes how the pass went.
    pub fn note(&self, pass: &LastRun) -> Result<()> {
        let path = self.state.join(history::LAST_RUN);
        json(pass)
            .and_then(|text| Ok(replace(&path, &text, Disk::MayHaveIt)?))
            .with_context(|| format!("{}: cannot write it", path.display()))
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}

/// Whether a file must be on the disk before one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// It must: what is done next rests on it.
    HasIt,
    /// It need not: losing it costs nothing, and the disk's time is not ours.
    MayHaveIt,
}

/// Makes a directory that everybody may look into, whatever our umask is. One that is there stays as it is.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Makes the state directory. One that is there must be ours: what is written there is believed later.
pub fn make_state_directory(path: &Path) -> Result<()> {
    make_directory(path).with_context(|| format!("{}: cannot make it", path.display()))?;
    let metadata =
        fs::metadata(path).with_context(|| format!("{}: cannot be used", path.display()))?;
    match not_roots(&metadata) {
        Some(problem) => bail!(
            "{0}: {problem}; see what is in it, then remove it: {0} is made anew",
            path.display()
        ),
        None => Ok(()),
    }
}

/// Writes a new file beside the old one and lets it take the name, so that whoever reads it finds a whole one.
pub fn replace(path: &Path, text: &str, disk: Disk) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // A pass that was cut off may have left one. A new one leads nowhere else, even where others may write to the directory.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&new)?;
    // For everybody to read, whatever our umask is.
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    if disk == Disk::HasIt {
        file.sync_all()?;
    }
    fs::rename(&new, path)
}

/// Moves a history that cannot be read out of the way; it may tell a person what happened.
fn keep_damaged(path: &Path) {
    let damaged = history::load(path).is_ok_and(|loaded| loaded.is_err());
    if damaged && let Err(error) = fs::rename(path, history::set_aside(path)) {
        warn!(
            "{}: cannot set the damaged history aside: {}",
            path.display(),
            io_problem(&error)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::history::FILE;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_recorded_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let now = chrono::DateTime::from_timestamp(1_795_140_000, 0);
        Record::open(dir.path())
            .update(|history| history.schedule_absent_since = now)
            .unwrap();
        assert_eq!(History::read(dir.path()).schedule_absent_since, now);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn how_a_pass_went_is_for_everybody_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = chrono::DateTime::from_timestamp(1_795_140_000, 0).unwrap();
        let pass = LastRun {
            at,
            seconds: 0.4,
            exit: 75,
            outcome: "cannot reach".into(),
            target: None,
            last_success: Some(at),
            running: BTreeMap::new(),
        };
        Record::open(dir.path()).note(&pass).unwrap();
        assert_eq!(LastRun::read(dir.path()), Some(pass));
        let mode = fs::metadata(dir.path().join(history::LAST_RUN))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o644);
        fs::write(dir.path().join(history::LAST_RUN), "").unwrap();
        assert_eq!(LastRun::read(dir.path()), None);
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
        Record::open(dir.path())
            .update(|history| history.schedule_absent_since = now)
            .unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("history.json.damaged")).unwrap(),
            "{broken"
        );
        assert_eq!(History::read(dir.path()).schedule_absent_since, now);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let mut record = Record::open(Path::new("/proc/no-such-directory"));
        let error = record
            .update(|history| {
                history.schedule_absent_since = chrono::DateTime::from_timestamp(0, 0)
            })
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/proc/no-such-directory/history.json: cannot write it"),
            "{error}"
        );
    }
}
