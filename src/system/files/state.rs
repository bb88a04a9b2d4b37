//! The state of a file: what was read from it holds while that is the same.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A file that was changed so recently may be changed once more without a sign of it: its time is as coarse as a clock tick.
const SETTLED: Duration = Duration::from_secs(3);

/// A file at a moment. Whatever replaces it is another inode; whatever is written to it changes its `ctime`, which cannot be set.
/// In a directory, every entry that comes or goes does so, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    pub inode: u64,
    pub size: u64,
    pub changed: Duration,
}

impl FileState {
    /// The state of a file or directory now, if there is one.
    pub fn of(file: &Path) -> Option<FileState> {
        // SQLite's write-ahead log is emptied by every reader of the database; an empty one counts as none.
        let metadata = fs::metadata(file)
            .ok()
            .filter(|metadata| metadata.is_dir() || metadata.size() > 0)?;
        let changed = Duration::new(
            metadata.ctime().try_into().ok()?,
            metadata.ctime_nsec().try_into().ok()?,
        );
        Some(FileState {
            inode: metadata.ino(),
            size: metadata.size(),
            changed,
        })
    }

    /// Whether the last change is so old that the next one will have another time.
    pub fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap_or_default() > self.changed.saturating_add(SETTLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_file_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (file, new) = (dir.path().join("status"), dir.path().join("status-new"));
        let mut seen = vec![FileState::of(&file)];
        assert_eq!(seen, [None]);
        let mut changed = |what: &str| {
            let now = FileState::of(&file);
            assert!(!seen.contains(&now), "{what}: {now:?}");
            seen.push(now);
            // A tick, so that the next change has a time of its own.
            std::thread::sleep(Duration::from_millis(20));
        };
        fs::write(&file, "one").unwrap();
        changed("made");
        fs::write(&file, "two").unwrap();
        changed("written to, of the same length");
        fs::copy(&file, &new).unwrap();
        fs::rename(&new, &file).unwrap();
        changed("replaced by another of the same content");
        let old = fs::metadata(&file).unwrap().modified().unwrap() - Duration::from_secs(60);
        fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(old)
            .unwrap();
        changed("given an older time");
    }

    #[test]
    fn what_was_changed_just_now_is_not_settled() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let changed = |changed| FileState {
            inode: 1,
            size: 1,
            changed,
        };
        assert!(changed(now - Duration::from_secs(10)).is_settled());
        assert!(!changed(now).is_settled());
        let later = now + Duration::from_secs(1000);
        assert!(!changed(later).is_settled(), "the clock was set back");
    }

    #[test]
    fn an_entry_that_comes_or_goes_changes_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let before = FileState::of(dir.path());
        std::thread::sleep(Duration::from_millis(20));
        fs::write(dir.path().join("0000"), "").unwrap();
        assert_ne!(FileState::of(dir.path()), before);
    }
}
