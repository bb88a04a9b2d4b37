//! No package manager: everything but the install, to try out a configuration.

use anyhow::Result;
use log::warn;

use crate::packages::common::trust::Weakness;
use crate::packages::package::{Database, Installed};
use crate::packages::{Found, PackageError, PackageManager, Prepared, database};
use crate::version::Version;

/// Installs nothing, and reports success. Reads the database that lists the agent.
pub struct Nop(pub Database);

impl PackageManager for Nop {
    fn weaknesses(&self) -> Result<Vec<Weakness>> {
        Ok(Vec::new())
    }

    fn source(&self) -> String {
        "installer (nop)".into()
    }

    fn installs(&self) -> bool {
        false
    }

    fn offered(&self, _: &str) -> Result<Vec<(Version, String)>, PackageError> {
        Err(PackageError::Failed(
            "installer is set to nop: intermediate versions are not looked up".into(),
        ))
    }

    fn find(&self, _: &Installed, target: &Version) -> Result<Found, PackageError> {
        let package_version = match self.0 {
            Database::Dpkg => target.to_debian(),
            Database::Rpm => target.to_rpm(),
        };
        Ok(Found {
            package_version,
            has_installed: true,
        })
    }

    fn download(&self, installed: &Installed, found: &Found) -> Result<Prepared, PackageError> {
        self.prepare(&installed.name, &found.package_version)
    }

    fn prepare(&self, name: &str, package_version: &str) -> Result<Prepared, PackageError> {
        Ok(Prepared::new(name, package_version))
    }

    fn install(&self, prepared: Prepared) -> Result<(), PackageError> {
        let Prepared {
            name,
            package_version,
        } = prepared;
        warn!("installer is set to nop: {name} {package_version} is not actually installed");
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
