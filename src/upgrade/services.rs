//! The services of a change.

use chrono::Utc;

use crate::agent::service::verify::{Old, Unhealthy};
use crate::agent::service::{Health, Service, log};
use crate::decide::observation::Agent;

/// Why some services failed.
pub struct Failed {
    pub reason: String,
    /// What became of the previous process of each.
    pub old: Vec<(String, Old)>,
}

/// Does something to every unit, even if it fails for others.
pub fn each(units: &[String], act: impl Fn(&str) -> Result<(), Unhealthy>) -> Result<(), Failed> {
    let problems: Vec<(&String, Unhealthy)> = units
        .iter()
        .filter_map(|unit| {
            let began = Utc::now();
            let mut problem = act(unit).err()?;
            if let Some(error) = log::last_error(unit, began) {
                problem.reason += &format!("; its last error: {error}");
            }
            Some((unit, problem))
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    let (old, reasons): (Vec<_>, Vec<_>) = problems
        .into_iter()
        .map(|(unit, Unhealthy { reason, old })| ((unit.clone(), old), reason))
        .unzip();
    Err(Failed {
        reason: reasons.join(", and "),
        old,
    })
}

/// The units that the host has.
pub fn present(agent: &Agent) -> Vec<String> {
    units(agent, |health| *health != Health::Absent)
}

/// The services that must run after the change: those that ran, and those that should have.
pub fn to_run(agent: &Agent) -> Vec<String> {
    units(agent, |health| {
        !matches!(health, Health::Stopped | Health::Absent)
    })
}

fn units(agent: &Agent, fits: impl Fn(&Health) -> bool) -> Vec<String> {
    let services = agent.services.iter();
    let fit = services.filter(|service: &&Service| fits(&service.health));
    fit.map(|service| service.unit.clone()).collect()
}
