//! Looks for the agent on this host: its package, its program, the state of its services.

use std::fmt;

use anyhow::{Context, Result};
use log::warn;

use crate::agent::program;
use crate::agent::service::systemd::{self, Answer};
use crate::agent::service::{Health, Service};
use crate::config::{Config, DEFAULT_SERVICE};
use crate::decide::observation::Agent;
use crate::packages::database;
use crate::packages::installer::Installer;
use crate::packages::package::{Installed, PACKAGES};
use crate::state::cache::Cache;
use crate::system::timer;

/// Why it is not clear what to upgrade on a host.
#[derive(Debug, PartialEq, Eq)]
pub enum NoAgent {
    /// None of the packages is installed.
    Absent,
    /// The package in `package` is not installed; these are.
    Other(String, Vec<String>),
    /// Several packages are installed.
    Several(Vec<String>),
}

impl fmt::Display for NoAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAgent::Absent => write!(
                f,
                "no Teleport package is installed (looked for {}). Install the agent first",
                PACKAGES.join(", ")
            ),
            NoAgent::Other(target, found) => {
                let found = found.join(", ");
                let found = if found.is_empty() {
                    "no Teleport package"
                } else {
                    &found
                };
                write!(f, "package is set to {target}, but {found} is installed")
            }
            NoAgent::Several(found) => write!(
                f,
                "several Teleport packages are installed ({}). Remove all but one, or set package to the one to upgrade",
                found.join(", ")
            ),
        }
    }
}

impl std::error::Error for NoAgent {}

/// Looks at the host. What the cache has and still holds is not looked for again: the answers of the databases, the state of the
/// program's file when that was seen to run, the answer of systemd.
pub fn look(config: &Config, cache: &mut Cache) -> Result<Agent> {
    let found = find(config, &mut cache.databases)?;
    let mut package = select(found, config.package.as_deref())?;
    package.broken = package
        .broken
        .or_else(|| program::problem(&mut cache.program));
    let services = services(config, &mut cache.services)?;
    let mut services_without_unit = services
        .iter()
        .filter(|service| service.health == Health::Absent);
    if let Some(Service { unit, .. }) = services_without_unit.next() {
        // A broken package may lack its unit; installing it again brings it back.
        if *unit != DEFAULT_SERVICE && package.broken.is_none() {
            let problem = format!("unit {unit} not found");
            let remedy = "Set service to the unit that runs the agent";
            return Err(config.error("service", &problem, remedy).into());
        }
        warn!("unit {unit} not found; no service will be restarted after an upgrade");
    }
    Ok(Agent { package, services })
}

/// Asks one package database, and the other if that one has no agent.
fn find(config: &Config, known: &mut database::Answers) -> Result<Vec<Installed>> {
    let expected = config.installer.and_then(Installer::database);
    for database in database::in_order(expected) {
        let found = database::installed_as_known(database, &PACKAGES, known)
            .context("cannot determine which Teleport package is installed")?;
        if let (Some(package), Some(installer)) = (found.first(), config.installer)
            && expected.is_some_and(|expected| expected != database)
        {
            return Err(config
                .wrong_installer(installer, &package.name, database)
                .into());
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// The services that run the agent.
fn services(config: &Config, known: &mut Option<Answer>) -> Result<Vec<Service>> {
    // For example in a container that is being built.
    if !timer::systemd_runs() {
        warn!("systemd is not running; services are not managed");
        return Ok(Vec::new());
    }
    systemd::services(&config.services, known)
}

/// Picks the package to upgrade: the one in `package`, else the only one there is.
fn select(mut found: Vec<Installed>, named: Option<&str>) -> Result<Installed, NoAgent> {
    let names = |found: &[Installed]| found.iter().map(|package| package.name.clone()).collect();
    match named {
        Some(named) => match found.iter().position(|package| package.name == named) {
            Some(index) => Ok(found.swap_remove(index)),
            None => Err(NoAgent::Other(named.to_string(), names(&found))),
        },
        None if found.len() > 1 => Err(NoAgent::Several(names(&found))),
        None => found.pop().ok_or(NoAgent::Absent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::package::Database;

    fn package(name: &str) -> Installed {
        Installed {
            name: name.into(),
            version: "14.3.33".parse().unwrap(),
            package_version: "14.3.33".into(),
            broken: None,
            held: false,
            database: Database::Dpkg,
        }
    }

    fn selected(found: &[&str], named: Option<&str>) -> Result<String, String> {
        let found = found.iter().map(|name| package(name)).collect();
        select(found, named)
            .map(|package| package.name)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn selects_the_only_package_or_the_named_one() {
        assert_eq!(selected(&["teleport"], None).unwrap(), "teleport");
        assert_eq!(
            selected(&["teleport", "teleport-ent"], Some("teleport-ent")).unwrap(),
            "teleport-ent"
        );
    }

    #[test]
    fn does_not_guess() {
        assert!(
            selected(&[], None)
                .unwrap_err()
                .contains("no Teleport package is installed")
        );
        assert!(
            selected(&["teleport", "teleport-ent"], None)
                .unwrap_err()
                .contains("(teleport, teleport-ent)")
        );
        let error = selected(&["teleport"], Some("teleport-ent")).unwrap_err();
        assert!(
            error.contains("package is set to teleport-ent, but teleport is installed"),
            "{error}"
        );
    }
}
