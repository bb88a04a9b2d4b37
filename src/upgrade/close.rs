//! The end of a change: what is held again, synced and recorded.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use log::{debug, warn};
use nix::unistd::syncfs;

use crate::agent::PLACES;
use crate::state::changes::Begun;
use crate::state::history::{Change, FailedTarget, History};
use crate::system::text::{io_problem, reasons};
use crate::upgrade::{Outcome, Transaction, past};

impl Transaction<'_> {
    /// Holds the package again if it was held, and records how the change ended.
    pub(super) fn close(&mut self, change: &Change, outcome: &Outcome) {
        self.hold_again(change);
        let is_open = matches!(outcome, Outcome::Unfinished(_) | Outcome::Broken { .. });
        if let Some(file) = change.rollback_package.as_ref().filter(|_| !is_open) {
            // A file that cannot be removed costs only space.
            let _ = fs::remove_file(file);
        }
        self.sync();
        let (at, target, goal) = (self.now, change.to.clone(), change.goal.clone());
        let ended = past::ended(Begun::from(change), outcome);
        self.write_down(|history| {
            if let Some(ended) = ended {
                history.changes.add(ended);
            }
            match outcome {
                Outcome::Unfinished(_) => {}
                Outcome::Untouched(_) | Outcome::Simulated => history.unfinished = None,
                Outcome::Upgraded if change.from == change.to => {
                    // A reinstall proves nothing about another version that failed here, only that there is something to lose again.
                    history.failed = history
                        .failed
                        .take()
                        .filter(|failed| failed.target != target)
                        .map(|failed| FailedTarget {
                            rollback_failed: false,
                            ..failed
                        });
                    history.unfinished = None;
                }
                Outcome::Upgraded => {
                    (history.unfinished, history.failed) = (None, None);
                    history.counts.upgrades += 1;
                }
                Outcome::RolledBack { reason } | Outcome::Broken { reason, .. } => {
                    let rollback_failed = matches!(outcome, Outcome::Broken { .. });
                    history.counts.rollbacks += u64::from(!rollback_failed);
                    history.failed = Some(FailedTarget {
                        target,
                        goal,
                        reason: reason.clone(),
                        at,
                        rollback_failed,
                    });
                    match (outcome, &mut history.unfinished) {
                        // The next run resumes a rollback that did not end: its obstacle may be gone.
                        (
                            Outcome::Broken {
                                restored: false, ..
                            },
                            Some(unfinished),
                        ) => unfinished.rollback_failed = unfinished.failure.as_ref().map(|_| at),
                        _ => history.unfinished = None,
                    }
                }
            }
        });
    }

    pub(super) fn hold_again(&self, change: &Change) {
        if change.held
            && let Err(error) = self.packages.hold(&change.package)
        {
            warn!("cannot restore the hold on {}: {error}", change.package);
        }
    }

    /// Syncs what was installed before it is recorded. dpkg does that itself; rpm before 4.15 leaves it to the kernel, which takes half a
    /// minute, and a power cut in that time leaves empty files.
    pub(super) fn sync(&self) {
        let places = PLACES.map(Path::new).into_iter();
        for place in places.chain([self.record.directory()]) {
            match File::open(place).and_then(|file| Ok(syncfs(file)?)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => debug!(
                    "cannot sync the file system of {}: {}",
                    place.display(),
                    io_problem(&error)
                ),
                _ => {}
            }
        }
    }

    /// Records something that is already done; if that fails, the next run looks at the host itself.
    pub(super) fn write_down(&mut self, change: impl FnOnce(&mut History)) {
        if let Err(error) = self.record.update(change) {
            warn!("{}", reasons(&error));
        }
    }
}
