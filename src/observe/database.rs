//! The two package databases that a host may have, and which of them holds the agent.

use std::fmt;
use std::path::Path;

use anyhow::Result;

use super::agent::Installed;
use super::{dpkg, rpm};

/// A package database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// Of Debian and its kin.
    Dpkg,
    /// Of Red Hat, SUSE and their kin.
    Rpm,
}

impl Database {
    /// Both, in the order in which they are asked.
    ///
    /// A host may have the tools of both and only one agent. The second is not asked once the first has answered: what is
    /// in both is the first one's, unless the file `installer` names a package manager of the other.
    pub fn in_order(first: Option<Database>) -> [Database; 2] {
        if first == Some(Database::Rpm) { [Database::Rpm, Database::Dpkg] } else { [Database::Dpkg, Database::Rpm] }
    }

    /// What this database says of those of `names` that are on the host; nothing if the host has no such database.
    pub fn installed(self, names: &[&str]) -> Result<Vec<Installed>> {
        match self {
            Database::Dpkg if Path::new(dpkg::STATUS).exists() => dpkg::installed(names),
            Database::Rpm if rpm::FILES.iter().any(|file| Path::new(file).exists()) => rpm::installed(names),
            _ => Ok(Vec::new()),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Database::Dpkg => "dpkg",
            Database::Rpm => "rpm",
        })
    }
}
