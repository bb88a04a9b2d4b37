//! Answers of the package databases and of systemd, for a run that finds nothing changed and need not ask again. They are in a file
//! that may vanish at any time; without it, everything is asked again.

use std::path::Path;

use log::debug;
use serde::{Deserialize, Serialize};

use crate::agent::service::systemd::Answer;
use crate::packages::database;
use crate::system::files::state::FileState;
use crate::system::files::{Durability, make_directory, read_json, write_json};
use crate::system::text::io_problem;

/// The file. A reboot, after which the answers are worthless, removes it.
pub const FILE: &str = "/run/teleport-upgrade/cache.json";

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// The version of this program that asked.
    by: String,
    /// By the package databases.
    #[serde(default)]
    pub databases: database::Answers,
    /// The agent's program: the state of its file, if that was seen to run.
    #[serde(default)]
    pub program: Option<FileState>,
    /// By systemd.
    #[serde(default)]
    pub services: Option<Answer>,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            by: env!("CARGO_PKG_VERSION").into(),
            databases: database::Answers::default(),
            program: None,
            services: None,
        }
    }
}

impl Cache {
    /// Reads the file. A missing or corrupt one, or one of another version of this program, counts as empty.
    pub fn read(file: &Path) -> Cache {
        let empty = Cache::default();
        match read_json::<Cache>(file) {
            Ok(Ok(cache)) if cache.by == empty.by => cache,
            _ => empty,
        }
    }

    /// Writes the file, if this is not what `before` was.
    pub fn write(&self, file: &Path, before: &Cache) {
        if self == before {
            return;
        }
        let written = make_directory(file.parent().unwrap_or(Path::new("/")))
            .and_then(|()| write_json(file, self, Durability::Unsynced));
        if let Err(error) = written {
            debug!("cannot write {}: {}", file.display(), io_problem(&error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_answers_to_this_version_of_the_program_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run/cache.json");
        assert_eq!(Cache::read(&file), Cache::default());
        let answers = r#"{"dpkg":{"files":[null],"found":[]}}"#;
        let text = |by: &str| format!(r#"{{"by":"{by}","databases":{answers}}}"#);
        let cache = Cache {
            databases: serde_json::from_str(answers).unwrap(),
            ..Cache::default()
        };
        cache.write(&file, &Cache::default());
        assert_eq!(Cache::read(&file), cache);
        for (text, is_read) in [
            (text(env!("CARGO_PKG_VERSION")), true),
            (text("0.0.1"), false),
            ("{".into(), false),
            (r#"{"by":"0.1.0","databases":{"Dpkg":1}}"#.into(), false),
        ] {
            fs::write(&file, &text).unwrap();
            assert_eq!(Cache::read(&file) == cache, is_read, "{text}");
        }
    }
}
