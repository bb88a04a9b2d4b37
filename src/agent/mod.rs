//! The agent on this host: its package, its version, the state of its services.

pub mod program;
pub mod schedule;
pub mod service;
pub mod settings;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use log::warn;

use crate::agent::service::{Binary, Health, Service};
use crate::agent::settings::start::Start;
use crate::config::values::{Installer, PACKAGES};
use crate::config::{Config, DEFAULT_SERVICE};
use crate::packages::database;
use crate::packages::package::Installed;

/// Where every edition's package puts the agent.
pub const BINARY: &str = "/usr/local/bin/teleport";

/// Where Teleport's later updater, `teleport-update`, has the agents that it manages.
const MANAGED: &str = "/opt/teleport";
/// Where, within that, newer packages put the agent: it is their package manager's all the same.
const PACKAGED: &str = "/opt/teleport/system";

/// Where packages of the agent put files, of whichever version.
pub const PLACES: [&str; 4] = [
    "/usr/local/bin",
    "/usr/lib/systemd/system",
    "/opt/teleport/system/bin",
    "/opt/teleport/system/lib/systemd/system",
];

/// What the agent's program is a link to, if that is an agent of Teleport's later updater.
pub fn managed_by_another() -> Option<PathBuf> {
    let link = fs::read_link(BINARY).ok()?;
    let directory = Path::new(BINARY).parent()?;
    // A link may name its target from where it is, and lead to another link.
    let whole = [
        directory.join(&link),
        fs::canonicalize(BINARY).unwrap_or_default(),
    ];
    whole.iter().any(|path| is_managed(path)).then_some(link)
}

fn is_managed(path: &Path) -> bool {
    path.starts_with(MANAGED) && !path.starts_with(PACKAGED)
}

/// The agent, as it is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The package that holds it.
    pub package: Installed,
    /// The services that run it.
    pub services: Vec<Service>,
}

/// A host on which there is no saying what to upgrade.
#[derive(Debug, PartialEq, Eq)]
pub enum NoAgent {
    /// None of the packages is installed.
    Absent,
    /// The package that the configuration names is not installed; these are.
    Other(String, Vec<String>),
    /// Several editions are installed.
    Several(Vec<String>),
}

impl fmt::Display for NoAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAgent::Absent => write!(
                f,
                "no Teleport agent is installed on this host (none of the packages {}); install one of them first",
                PACKAGES.join(", ")
            ),
            NoAgent::Other(wanted, found) => {
                let found = if found.is_empty() {
                    "no other is".to_string()
                } else {
                    format!("{} is", found.join(", "))
                };
                write!(
                    f,
                    "the file \"package\" names {wanted}, which is not installed ({found}); correct that file or install {wanted}"
                )
            }
            NoAgent::Several(found) => write!(
                f,
                "several editions of the agent are installed ({}); remove all but one, or name the one to upgrade in the file \"package\"",
                found.join(", ")
            ),
        }
    }
}

impl std::error::Error for NoAgent {}

impl Agent {
    /// Looks at the host. Package databases and systemd are asked only if what they answered before may not hold any more.
    pub fn look(
        config: &Config,
        databases: &mut database::Answers,
        answer: &mut Option<service::Answer>,
    ) -> Result<Agent> {
        let found = find(config, databases)?;
        let mut package = select(found, config.package.as_deref())?;
        package.damage = package
            .damage
            .or_else(|| program::damage(Path::new(BINARY)));
        let services = services(config, answer)?;
        if let Some(absent) = services
            .iter()
            .find(|service| service.health == Health::Absent)
        {
            let unit = &absent.unit;
            // A damaged package may lack its unit; installing it again brings it back.
            if *unit != DEFAULT_SERVICE && package.damage.is_none() {
                let remedy = "Set service to the unit that runs the agent";
                return Err(config
                    .error("service", &format!("unit {unit} not found"), remedy)
                    .into());
            }
            warn!("unit {unit} not found; no service will be restarted after an upgrade");
        }
        Ok(Agent { package, services })
    }

    /// How each service starts the agent.
    pub fn starts(&self) -> impl Iterator<Item = (&str, &Start)> {
        self.services.iter().flat_map(|service| {
            service
                .starts
                .iter()
                .map(|start| (service.unit.as_str(), start))
        })
    }

    /// The first service that runs another binary than the one on the disk.
    pub fn outdated(&self) -> Option<&Service> {
        let outdated = |service: &&Service| {
            service.health == Health::Running && service.binary == Binary::Replaced
        };
        self.services.iter().find(outdated)
    }
}

/// Asks one package database, and the other if that one has no agent.
fn find(config: &Config, known: &mut database::Answers) -> Result<Vec<Installed>> {
    let expected = config.installer.and_then(Installer::database);
    for database in database::in_order(expected) {
        let found = database::installed_as_known(database, &PACKAGES, known)
            .context("cannot find out which Teleport agent is installed")?;
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
fn services(config: &Config, known: &mut Option<service::Answer>) -> Result<Vec<Service>> {
    // A container that is being built, say.
    if !Path::new("/run/systemd/system").exists() {
        warn!("systemd does not run on this host; there is no service to look after");
        return Ok(Vec::new());
    }
    service::services_as_known(&config.services, known)
}

/// Picks the package to upgrade: the one that the configuration names, else the only one there is.
fn select(mut found: Vec<Installed>, wanted: Option<&str>) -> Result<Installed, NoAgent> {
    let names = |found: &[Installed]| found.iter().map(|package| package.name.clone()).collect();
    match wanted {
        Some(wanted) => match found.iter().position(|package| package.name == wanted) {
            Some(index) => Ok(found.swap_remove(index)),
            None => Err(NoAgent::Other(wanted.to_string(), names(&found))),
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
            damage: None,
            held: false,
            database: Database::Dpkg,
        }
    }

    fn selected(found: &[&str], wanted: Option<&str>) -> Result<String, String> {
        let found = found.iter().map(|name| package(name)).collect();
        select(found, wanted)
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
    fn knows_the_agents_of_the_later_updater() {
        for (path, expected) in [
            ("/opt/teleport/default/versions/17.2.0/bin/teleport", true),
            ("/opt/teleport/bin/teleport", true),
            ("/opt/teleport/system/bin/teleport", false),
            ("/opt/teleport-14/bin/teleport", false),
            ("/usr/local/bin/teleport", false),
        ] {
            assert_eq!(is_managed(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn refuses_to_guess() {
        assert!(
            selected(&[], None)
                .unwrap_err()
                .contains("no Teleport agent is installed")
        );
        assert!(
            selected(&["teleport", "teleport-ent"], None)
                .unwrap_err()
                .contains("(teleport, teleport-ent)")
        );
        let error = selected(&["teleport"], Some("teleport-ent")).unwrap_err();
        assert!(
            error.contains("names teleport-ent, which is not installed (teleport is)"),
            "{error}"
        );
    }
}
