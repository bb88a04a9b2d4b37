//! The two package databases that a host may have.

use std::path::Path;

use anyhow::Result;

use super::package::{Database, Installed};
use super::{dpkg, rpm};

/// Both, in the order in which they are asked.
///
/// A host may have the tools of both and only one agent. The second is not asked once the first has answered: what is
/// in both is the first one's, unless the file `installer` names a package manager of the other.
pub fn in_order(first: Option<Database>) -> [Database; 2] {
    if first == Some(Database::Rpm) { [Database::Rpm, Database::Dpkg] } else { [Database::Dpkg, Database::Rpm] }
}

/// What a database says of those of `names` that are on the host; nothing if the host has no such database.
pub fn installed(database: Database, names: &[&str]) -> Result<Vec<Installed>> {
    match database {
        Database::Dpkg if Path::new(dpkg::STATUS).exists() => dpkg::installed(names),
        Database::Rpm if rpm::FILES.iter().any(|file| Path::new(file).exists()) => rpm::installed(names),
        _ => Ok(Vec::new()),
    }
}
