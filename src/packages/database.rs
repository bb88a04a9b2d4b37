//! The two package databases that a host may have, and their last answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::packages::apt::dpkg;
use crate::packages::package::{Database, Installed};
use crate::packages::rpm::{database, holds};
use crate::system::files::state::FileState;

/// A database's answer about the agent's packages, and the state that its files were in. As long as they are in that state, the answer
/// holds; a query costs more than everything else in a run with nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    files: Vec<Option<FileState>>,
    found: Vec<Installed>,
}

/// The answer of each database.
pub type Answers = BTreeMap<Database, Answer>;

/// Both, in the order in which they are queried.
///
/// A host may have the tools of both and only one agent. The second is not queried if the first lists an agent, unless `installer` is
/// set to a package manager of the second.
pub fn in_order(first: Option<Database>) -> [Database; 2] {
    if first == Some(Database::Rpm) {
        [Database::Rpm, Database::Dpkg]
    } else {
        [Database::Dpkg, Database::Rpm]
    }
}

/// The packages among `names` that a database lists; none if the host has no such database.
pub fn installed(database: Database, names: &[&str]) -> Result<Vec<Installed>> {
    match database {
        Database::Dpkg if Path::new(dpkg::STATUS).exists() => dpkg::installed(names),
        Database::Rpm if database::FILES.iter().any(|file| Path::new(file).exists()) => {
            database::installed_of(names)
        }
        _ => Ok(Vec::new()),
    }
}

/// The same, without a query if the answer in `known` still holds. A new answer replaces it.
pub fn installed_as_known(
    database: Database,
    names: &[&str],
    known: &mut Answers,
) -> Result<Vec<Installed>> {
    // Before the query: if the files change meanwhile, the answer belongs to a state that is gone, and is never used.
    let files: Vec<_> = files(database)
        .iter()
        .map(|file| FileState::of(file))
        .collect();
    if let Some(answer) = known.get(&database).filter(|answer| answer.files == files) {
        return Ok(answer.found.iter().map(with_current_hold).collect());
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
        // dpkg writes every step to the directory, and the database when it ends.
        Database::Dpkg => [dpkg::STATUS, dpkg::UPDATES].map(PathBuf::from).to_vec(),
        // SQLite writes to a file beside its own first.
        Database::Rpm => database::FILES
            .iter()
            .flat_map(|file| [PathBuf::from(file), format!("{file}-wal").into()])
            .collect(),
    }
}

/// rpm's database does not contain locks; other files do.
fn with_current_hold(package: &Installed) -> Installed {
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
