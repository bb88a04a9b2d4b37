//! Everything that a decision depends on.

use chrono::{DateTime, Utc};

use crate::agent::schedule::WindowStatus;
use crate::agent::service::{Binary, Health, Service};
use crate::agent::settings::Settings;
use crate::agent::settings::start::Start;
use crate::decide::compatibility::Limits;
use crate::decide::path::Offer;
use crate::decide::rollout::Place;
use crate::packages::package::Installed;
use crate::server::answers::{Cluster, Percentage, Target};
use crate::state::history::History;

/// A host at one moment, and what servers have answered so far.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The time.
    pub now: DateTime<Utc>,
    /// Whether an administrator requested the upgrade with `force`.
    pub forced: bool,
    /// What the settings of this program allow.
    pub limits: Limits,
    /// What the position of this host in rollouts depends on.
    pub place: Place,
    /// The package and its services.
    pub agent: Agent,
    /// The agent's own settings.
    pub settings: Settings,
    /// Whether a change waits as long as there are no usable windows.
    pub require_window: bool,
    /// Whether a maintenance window is open.
    pub windows: WindowStatus,
    /// What earlier runs recorded.
    pub history: History,
    /// The release channel's target version, once it was asked for.
    pub target: Option<Target>,
    /// Whether the target version is critical, once that was asked.
    pub critical: Option<bool>,
    /// The percentage of the hosts that the target version is for, once it was asked for.
    pub percentage: Option<Percentage>,
    /// The cluster's version, once it was asked for.
    pub cluster: Option<Cluster>,
    /// The versions in the repository, once they were asked for.
    pub offer: Option<Offer>,
}

/// The agent, as it is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The package that holds it.
    pub package: Installed,
    /// The services that run it.
    pub services: Vec<Service>,
}

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
