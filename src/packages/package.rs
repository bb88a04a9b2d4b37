//! A package, as a package database lists it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// The agent packages that Teleport publishes.
pub const PACKAGES: [&str; 3] = ["teleport-ent", "teleport-ent-fips", "teleport"];

/// A package on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The package's name, which is also the edition.
    pub name: String,
    /// The version of the agent in it.
    pub version: Version,
    /// The version in the package database's spelling, with its revision.
    pub package_version: String,
    /// What is wrong with the package, if anything is.
    pub broken: Option<String>,
    /// Whether it is excluded from regular system updates.
    pub held: bool,
    /// The database that lists it.
    pub database: Database,
}

/// A package database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Database {
    /// Of Debian and its kin.
    Dpkg,
    /// Of Red Hat, SUSE and their kin.
    Rpm,
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Database::Dpkg => "dpkg",
            Database::Rpm => "rpm",
        })
    }
}
