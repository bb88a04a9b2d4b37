//! What the history keeps of a change.

use chrono::Utc;

use crate::state::changes::{Begun, Ended, Ending};
use crate::upgrade::Outcome;

/// How a change ended; nothing if it has not, or if a transient error prevented it.
pub fn ended(begun: Begun, outcome: &Outcome) -> Option<Ended> {
    let failure = match outcome {
        Outcome::Simulated | Outcome::Unfinished(_) => return None,
        Outcome::Untouched(error) if error.is_temporary() => return None,
        Outcome::Upgraded => None,
        Outcome::Untouched(error) => Some((Ending::Failed, error.to_string())),
        Outcome::RolledBack { reason } => Some((Ending::RolledBack, reason.clone())),
        Outcome::Broken {
            reason,
            rollback,
            restored,
        } => {
            let why = match reason == rollback {
                _ if begun.from == begun.to => reason.clone(),
                // No rollback was tried, or both failed for the same reason.
                true if !restored => reason.clone(),
                true => format!("{reason}. Rollback failed too, for the same reason"),
                false => format!("{reason}. Rollback failed too: {rollback}"),
            };
            Some((Ending::Broken, why))
        }
    };
    Some(begun.end(Utc::now(), failure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::PackageError;
    use crate::state::changes::Start;
    use crate::upgrade::UpgradeError;

    fn end(outcome: &Outcome) -> Option<(Ending, Option<String>)> {
        let begun = Begun {
            began: Utc::now(),
            from: "14.3.33".parse().unwrap(),
            to: "14.3.34".parse().unwrap(),
            goal: None,
            service: None,
            start: Start::default(),
        };
        ended(begun, outcome).map(|ended| (ended.result, ended.reason))
    }

    #[test]
    fn only_what_has_ended_is_kept() {
        assert_eq!(end(&Outcome::Upgraded), Some((Ending::Upgraded, None)));
        assert_eq!(end(&Outcome::Simulated), None);
        assert_eq!(end(&Outcome::Unfinished(UpgradeError::Shutdown)), None);
        let untouched = |error: PackageError| end(&Outcome::Untouched(error.into()));
        let busy = PackageError::Busy {
            holder: "apt".into(),
            waited: std::time::Duration::from_secs(600),
        };
        assert_eq!(untouched(busy), None);
        let failed = untouched(PackageError::Failed("no".into()));
        assert_eq!(failed, Some((Ending::Failed, Some("no".into()))));
        let broken = end(&Outcome::Broken {
            reason: "a".into(),
            rollback: "b".into(),
            restored: false,
        });
        let why = Some("a. Rollback failed too: b".into());
        assert_eq!(broken, Some((Ending::Broken, why)));
        let alike = |restored| {
            let (reason, rollback) = ("a".into(), "a".into());
            end(&Outcome::Broken {
                reason,
                rollback,
                restored,
            })
        };
        let why = Some("a. Rollback failed too, for the same reason".into());
        assert_eq!(alike(true), Some((Ending::Broken, why)));
        assert_eq!(alike(false), Some((Ending::Broken, Some("a".into()))));
    }
}
