//! No package manager: everything but the install, to try out a configuration.

use anyhow::Result;
use log::warn;

use super::{PackageError, PackageManager};
use crate::observe::agent::Installed;
use crate::observe::database::Database;
use crate::observe::trust::Weakness;
use crate::version::Version;

/// Installs nothing, and says that it did. Reads the database that has the agent.
pub struct Nop(pub Database);

impl PackageManager for Nop {
    fn weaknesses(&self) -> Result<Vec<Weakness>> {
        Ok(Vec::new())
    }

    fn prepare(&self, _: &Installed, target: &Version) -> Result<String, PackageError> {
        Ok(target.to_string())
    }

    fn install(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        warn!("the file \"installer\" says nop: {name} {package_version} is not really installed");
        Ok(())
    }

    fn hold(&self, _: &str) -> Result<(), PackageError> {
        Ok(())
    }

    fn mend(&self) -> Result<(), PackageError> {
        Ok(())
    }

    fn installed(&self, name: &str) -> Result<Option<Installed>> {
        Ok(self.0.installed(&[name])?.pop())
    }

    fn prove(&self, _: &str, _: &Version) -> Result<(), String> {
        Ok(())
    }
}
