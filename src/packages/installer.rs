//! The names of the package managers, as the setting `installer` has them.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::packages::package::Database;

/// Which package manager installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installer {
    /// apt, on Debian, Ubuntu and their kin.
    Apt,
    /// dnf or yum, on Red Hat, Fedora, Amazon Linux and their kin.
    Yum,
    /// zypper, on SUSE and its kin.
    Zypper,
    /// None: does everything but install, for tests.
    Nop,
}

impl Installer {
    /// All of them.
    pub const ALL: [Installer; 4] = [
        Installer::Apt,
        Installer::Yum,
        Installer::Zypper,
        Installer::Nop,
    ];

    /// Its name in the setting `installer`.
    pub fn name(self) -> &'static str {
        match self {
            Installer::Apt => "apt",
            Installer::Yum => "yum",
            Installer::Zypper => "zypper",
            Installer::Nop => "nop",
        }
    }

    /// The database of the packages that it installs; none if it installs nothing.
    pub fn database(self) -> Option<Database> {
        match self {
            Installer::Apt => Some(Database::Dpkg),
            Installer::Yum | Installer::Zypper => Some(Database::Rpm),
            Installer::Nop => None,
        }
    }

    /// The names of those that install into this database.
    pub fn names_for(database: Database) -> Vec<&'static str> {
        let fits = |installer: &Installer| installer.database() == Some(database);
        Installer::ALL
            .into_iter()
            .filter(fits)
            .map(Installer::name)
            .collect()
    }
}

impl fmt::Display for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Installer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
