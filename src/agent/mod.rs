//! The Teleport agent on this host. The types are here; what reads the host is in the files below.

pub mod look;
pub mod program;
pub mod schedule;
pub mod service;
pub mod settings;

use std::fmt;

use crate::agent::service::{Binary, Health, Service};
use crate::agent::settings::start::Start;
use crate::config::values::PACKAGES;
use crate::packages::package::Installed;

/// Where packages of the agent put files, of whichever version.
pub const PLACES: [&str; 4] = [
    "/usr/local/bin",
    "/usr/lib/systemd/system",
    "/opt/teleport/system/bin",
    "/opt/teleport/system/lib/systemd/system",
];

/// The agent, as it is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The package that holds it.
    pub package: Installed,
    /// The services that run it.
    pub services: Vec<Service>,
}

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
                "no Teleport package is installed (looked for {})",
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

impl Agent {
    /// How each service starts the agent.
    pub fn starts<'a>(&'a self) -> impl Iterator<Item = (&'a str, &'a Start)> {
        let starts = |service: &'a Service| {
            service
                .starts
                .iter()
                .map(|start| (service.unit.as_str(), start))
        };
        self.services.iter().flat_map(starts)
    }

    /// The first service that runs another binary than the one on the disk.
    pub fn outdated(&self) -> Option<&Service> {
        self.services
            .iter()
            .find(|service| service.health == Health::Running && service.binary == Binary::Replaced)
    }
}
