//! The agent: its package and its services.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::agent::service::{Binary, Health, Service};
use crate::agent::settings::start::Exports;
use crate::decide::observation::Agent;
use crate::packages::installer::Installer;
use crate::report::words;
use crate::state::history::{LastRun, Running};
use crate::version::Version;

/// The agent on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentReport {
    /// The package.
    pub package: String,
    /// Its version.
    pub installed: Version,
    /// The version that all services run; nothing if they differ, or if it is unknown.
    pub running: Option<Version>,
    /// The package manager.
    pub installer: Option<Installer>,
    /// Why the package is broken, if it is.
    pub broken: Option<String>,
    /// Whether the package is intact and every service runs.
    pub healthy: bool,
    /// The services.
    pub services: Vec<ServiceReport>,
}

/// A service of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceReport {
    /// The unit.
    pub unit: String,
    /// The process in charge.
    pub pid: Option<i32>,
    /// The version that it runs; nothing if it runs none, or if it is unknown.
    pub version: Option<Version>,
    /// Its state.
    pub state: ServiceState,
    /// The same in words, after the unit's name.
    pub sentence: String,
    /// Whether it runs the binary on the disk.
    pub binary: Binary,
    /// How often systemd has restarted it since it was started.
    pub restarts: u32,
    /// Whether the process in charge exports its maintenance windows; nothing if that requires root to see.
    pub exports_windows: Option<bool>,
    /// What to do so that it exports them.
    #[serde(skip)]
    pub export_advice: Option<String>,
}

/// The state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// Active, with a process.
    Running,
    /// Activating or deactivating.
    Changing,
    /// Inactive.
    Stopped,
    /// Given up by systemd.
    Failed,
    /// Crashed, and about to be restarted.
    Crashed,
    /// Crashing again and again.
    CrashLooping,
    /// Not found.
    Absent,
}

impl AgentReport {
    /// Describes the agent. The last run knew what a process runs whose program was replaced since.
    pub fn of(
        agent: &Agent,
        installer: Option<Installer>,
        last_run: Option<&LastRun>,
    ) -> AgentReport {
        let package = &agent.package;
        let known = |unit: &str| last_run.and_then(|last| last.running.get(unit));
        let services: Vec<ServiceReport> = agent
            .services
            .iter()
            .map(|service| ServiceReport::of(service, &package.version, known(&service.unit)))
            .collect();
        let is_up = |service: &ServiceReport| {
            matches!(
                service.state,
                ServiceState::Running | ServiceState::Changing
            )
        };
        let healthy =
            package.broken.is_none() && !services.is_empty() && services.iter().all(is_up);
        let first = services.first().and_then(|service| service.version.clone());
        let running = first.filter(|first| {
            services
                .iter()
                .all(|one| one.version.as_ref() == Some(first))
        });
        AgentReport {
            package: package.name.clone(),
            installed: package.version.clone(),
            running,
            installer,
            broken: package.broken.clone(),
            healthy,
            services,
        }
    }

    /// Which version each service runs, for the next run.
    pub fn running(&self) -> BTreeMap<String, Running> {
        let running = |service: &ServiceReport| {
            Some(Running {
                pid: service.pid?,
                version: service.version.clone()?,
            })
        };
        self.services
            .iter()
            .filter_map(|service| Some((service.unit.clone(), running(service)?)))
            .collect()
    }
}

impl ServiceReport {
    fn of(service: &Service, installed: &Version, known: Option<&Running>) -> ServiceReport {
        let runs = |pid: i32| match service.binary {
            Binary::OnDisk => Some(installed.clone()),
            _ => known
                .filter(|known| known.pid == pid)
                .map(|known| known.version.clone()),
        };
        ServiceReport {
            unit: service.unit.clone(),
            pid: service.pid,
            version: service.pid.and_then(runs),
            state: match service.health {
                Health::Running => ServiceState::Running,
                Health::Changing => ServiceState::Changing,
                Health::Stopped => ServiceState::Stopped,
                Health::Failed(_) => ServiceState::Failed,
                Health::Crashed => ServiceState::Crashed,
                Health::CrashLooping => ServiceState::CrashLooping,
                Health::Absent => ServiceState::Absent,
            },
            sentence: service.health.to_string(),
            binary: service.binary,
            restarts: service.restarts,
            exports_windows: match service.exports {
                Exports::Unknown => None,
                Exports::Yes => Some(true),
                Exports::AfterRestart | Exports::No => Some(false),
            },
            export_advice: words::export_advice(service),
        }
    }
}
