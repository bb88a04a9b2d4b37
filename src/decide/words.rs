//! The sentences that say what was decided and why: `run`, `dry-run`, `status`, JSON and the journal have them from here.

use super::policy::{Decision, Observation};
use crate::observe::channel::Target;
use crate::observe::history::Change;
use crate::times;

/// What the channel has for this host. People grep for two of these: to the letter.
pub fn available(seen: &Observation) -> String {
    let installed = &seen.agent.package.version;
    match &seen.target {
        Some(Target::Version(target)) if target == installed => format!("no upgrades available ({installed} == {target})"),
        Some(Target::Version(target)) => format!("an upgrade is available ({installed} -> {target})"),
        _ => format!("no upgrades available ({installed} stays: the release channel names no version)"),
    }
}

/// What follows from a decision, as long as nothing is done about it; nothing if there is nothing to do.
pub fn verdict(decision: &Decision) -> Option<String> {
    Some(match decision {
        Decision::Ask(_) | Decision::Nothing(_) => return None,
        Decision::Finish(change) => unfinished(change),
        Decision::Wait(action, wait) => format!("waiting to {action}: {wait}"),
        Decision::Go(action, cause) => format!("would now {action}: {cause}"),
        Decision::Refuse(refusal) => format!("refused: {refusal}"),
        Decision::Hold(failed) => format!(
            "not trying {} again: on {} it failed on this host ({}); have the channel name another version, \
             or try it with \"teleport-upgrade force\"",
            failed.target,
            times::utc(failed.at),
            failed.reason
        ),
    })
}

/// What is said of a change that was begun and not ended.
pub fn unfinished(change: &Change) -> String {
    format!(
        "a pass of {} began the change from {} to {} and has not ended it: it is at work, or \"run\" finishes it first",
        times::utc(change.since),
        change.from,
        change.to
    )
}
