//! The rollback: installs the previous version again, and makes the services run it.

use log::{debug, error};

use crate::agent::service::verify::Old;
use crate::agent::service::{Service, restart, systemd};
use crate::packages::PackageError;
use crate::state::history::Change;
use crate::upgrade::services::each;
use crate::upgrade::{Outcome, Transaction, UpgradeError};

pub(super) const NO_PREVIOUS: &str = "there is no previous version to roll back to";

impl Transaction<'_> {
    /// Rolls back. `before` is how the services were, and `old` what became of the previous processes of those that failed.
    pub(super) fn roll_back(
        &mut self,
        change: &Change,
        before: &[Service],
        old: &[(String, Old)],
        reason: String,
    ) -> Outcome {
        if change.from == change.to {
            systemd::start_again(&change.services);
            return Outcome::Broken {
                reason,
                rollback: NO_PREVIOUS.into(),
                restored: self.is_intact(change, &change.from),
            };
        }
        error!(
            "{} {} failed verification: {reason}. Rolling back to {}",
            change.package, change.to, change.from
        );
        // If it is interrupted from here on, the next run resumes the rollback, and does not try that version again.
        self.write_down(|history| {
            if let Some(unfinished) = &mut history.unfinished {
                unfinished.failure = Some(reason.clone());
            }
        });
        let mut intact = self.check(change, &change.from);
        // Twice, since the scripts of the failed version run when it is removed, and may remove what was just installed.
        for _ in 0..2 {
            let Err(problem) = &intact else { break };
            debug!(
                "{} {} is not intact: {problem}",
                change.package, change.from
            );
            if let Err(error) = self.install_previous(change) {
                error!("{error}");
            }
            intact = self.check(change, &change.from);
        }
        if let Err(rollback) = intact {
            // An agent that may run is better than none.
            systemd::start_again(&change.services);
            return Outcome::Broken {
                reason,
                rollback,
                restored: false,
            };
        }
        let old_of = |unit: &str| {
            let pid = before
                .iter()
                .find(|service| service.unit == unit)
                .and_then(|service| service.pid);
            match old.iter().find(|(name, _)| name == unit) {
                Some((_, Old::Draining)) => Old::Draining,
                Some((_, Old::Unknown)) => Old::Unknown,
                _ if pid.is_some() && pid == systemd::look(unit).ok().and_then(|now| now.pid) => {
                    Old::InCharge
                }
                _ => Old::Unknown,
            }
        };
        match each(&change.services, |unit| {
            restart::run_rolled_back(unit, old_of(unit), &self.rules)
        }) {
            Ok(()) => Outcome::RolledBack { reason },
            Err(_) if systemd::host_is_shutting_down() => {
                Outcome::Unfinished(UpgradeError::Shutdown)
            }
            Err(failed) => Outcome::Broken {
                reason,
                rollback: failed.reason,
                restored: true,
            },
        }
    }

    fn install_previous(&self, change: &Change) -> Result<(), PackageError> {
        let installed = self.install(change, &change.from_package_version, None);
        match (&change.rollback_package, installed) {
            (Some(file), Err(_)) => self.packages.install_repacked(file),
            (_, installed) => installed,
        }
    }
}
