//! The two package databases that a host may have, and what they said before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::packages::apt::dpkg;
use crate::packages::package::{Database, Installed};
use crate::packages::rpm::{database, holds};
use crate::system::file_state::FileState;

/// What a database said of the agent's packages, and the state that its files were in. While they are in that state it would say the
/// same again, and asking costs more than all else that a pass does when there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    files: Vec<Option<FileState>>,
    found: Vec<Installed>,
}

/// What each database said.
pub type Answers = BTreeMap<Database, Answer>;

/// Both, in the order in which they are asked.
///
/// A host may have the tools of both and only one agent. The second is not asked once the first has answered: what is
/// in both is the first one's, unless the file `installer` names a package manager of the other.
pub fn in_order(first: Option<Database>) -> [Database; 2] {
    if first == Some(Database::Rpm) {
        [Database::Rpm, Database::Dpkg]
    } else {
        [Database::Dpkg, Database::Rpm]
    }
}

/// What a database says of those of `names` that are on the host; nothing if the host has no such database.
pub fn installed(database: Database, names: &[&str]) -> Result<Vec<Installed>> {
    match database {
        Database::Dpkg if Path::new(dpkg::STATUS).exists() => dpkg::installed(names),
        Database::Rpm if database::FILES.iter().any(|file| Path::new(file).exists()) => {
            database::installed_of(names)
        }
        _ => Ok(Vec::new()),
    }
}

/// The same, without asking if the answer among `known` still holds. A new answer takes its place.
pub fn installed_as_known(
    database: Database,
    names: &[&str],
    known: &mut Answers,
) -> Result<Vec<Installed>> {
    // Looked at before it is asked: if it changes meanwhile, the answer counts for a state that is gone, and is never used.
    let files: Vec<_> = files(database)
        .iter()
        .map(|file| FileState::of(file))
        .collect();
    if let Some(answer) = known.get(&database).filter(|answer| answer.files == files) {
        return Ok(answer.found.iter().map(with_locks_of_now).collect());
    }
    let found = installed(database, names)?;
    known.remove(&database);
    if files.iter().flatten().all(FileState::is_settled) && files.iter().any(Option::is_some) {
        known.insert(
            database,
            Answer {
                files,
                found: found.clone(),
            },
        );
    }
    Ok(found)
}

/// The files that a database consists of, as far as a change of it must touch one of them.
fn files(database: Database) -> Vec<PathBuf> {
    match database {
        // A run of dpkg notes every step in the directory, and writes the whole at its end.
        Database::Dpkg => [dpkg::STATUS, dpkg::UPDATES].map(PathBuf::from).to_vec(),
        // SQLite writes to a file beside its own first.
        Database::Rpm => database::FILES
            .iter()
            .flat_map(|file| [PathBuf::from(file), format!("{file}-wal").into()])
            .collect(),
    }
}

/// rpm's database does not know of locks; other files have those.
fn with_locks_of_now(package: &Installed) -> Installed {
    let held = if package.database == Database::Rpm {
        holds::is_held(&package.name)
    } else {
        package.held
    };
    Installed {
        held,
        ..package.clone()
    }
}
