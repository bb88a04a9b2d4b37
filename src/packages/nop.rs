//! No package manager: everything but the install, to try out a configuration.

use anyhow::Result;
use log::warn;

use crate::packages::package::{Database, Installed};
use crate::packages::trust::Weakness;
use crate::packages::{PackageError, PackageManager, Prepared, database};
use crate::version::Version;

/// Installs nothing, and says that it did. Reads the database that has the agent.
pub struct Nop(pub Database);

impl PackageManager for Nop {
    fn weaknesses(&self) -> Result<Vec<Weakness>> {
        Ok(Vec::new())
    }

    fn source(&self) -> String {
        "the file \"installer\" (nop)".into()
    }

    fn installs(&self) -> bool {
        false
    }

    fn offered(&self, _: &str) -> Result<Vec<(Version, String)>, PackageError> {
        let said = "the file \"installer\" says nop, so no repository is asked for the major versions between";
        Err(PackageError::Failed(said.into()))
    }

    fn find(&self, _: &Installed, target: &Version) -> Result<Prepared, PackageError> {
        let package_version = if self.0 == Database::Dpkg {
            target.to_debian()
        } else {
            target.to_rpm()
        };
        Ok(Prepared {
            package_version,
            has_installed: true,
        })
    }

    fn download(&self, _: &Installed, _: &str) -> Result<(), PackageError> {
        Ok(())
    }

    fn install(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        warn!("the file \"installer\" says nop: {name} {package_version} is not really installed");
        Ok(())
    }

    fn hold(&self, _: &str) -> Result<(), PackageError> {
        Ok(())
    }

    fn release(&self, _: &str) -> Result<(), PackageError> {
        Ok(())
    }

    fn repair(&self) -> Result<(), PackageError> {
        Ok(())
    }

    fn installed(&self, name: &str) -> Result<Option<Installed>> {
        Ok(database::installed(self.0, &[name])?.pop())
    }

    fn prove(&self, _: &str, _: &Version) -> Result<(), String> {
        Ok(())
    }
}
