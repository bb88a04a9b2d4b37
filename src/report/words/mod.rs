//! Sentences about observations and decisions, for `run`, `dry-run`, `status`, JSON and the journal.

pub mod action;
mod not_allowed;

use std::cmp::Ordering;

use crate::agent::service::Service;
use crate::agent::settings::start::Exports;
use crate::decide::compatibility::NotAllowed;
use crate::decide::decision::Decision;
use crate::decide::observation::Observation;
use crate::server::answers::Target;
use crate::state::current_run::CurrentRun;
use crate::state::history::{Change, FailedTarget};
use crate::system::times;

/// What is available for this host. People grep for two of these lines: they stay to the letter.
pub fn available(seen: &Observation) -> Vec<String> {
    let installed = &seen.agent.package.version;
    let mut lines = match &seen.target {
        None => return Vec::new(),
        Some(Target::Version(target)) if target == installed => {
            vec![format!("no upgrades available ({installed} == {target})")]
        }
        Some(Target::Version(target)) => {
            vec![format!("an upgrade is available ({installed} -> {target})")]
        }
        Some(Target::None) => vec![format!(
            "no upgrades available ({installed}): updates are paused, the release channel contains \"none\""
        )],
    };
    if matches!(&seen.target, Some(Target::Version(target)) if target < installed) {
        lines.push("this is a downgrade: the release channel's target version is lower than the installed one".into());
    }
    let last = seen.history.changes.last_version();
    if let Some(last) = last.filter(|last| last.begun.to == *installed)
        && let Some(goal) = last.begun.goal.as_ref().filter(|goal| *goal != installed)
    {
        lines.push(format!(
            "{installed} is an intermediate version on the upgrade path from {} to {goal} (installed {})",
            last.begun.from,
            times::utc(last.ended)
        ));
    }
    lines
}

/// The sentence about a decision, before anything is done about it; nothing if there is nothing to do.
pub fn verdict(decision: &Decision) -> Option<String> {
    Some(match decision {
        Decision::Paused | Decision::UpToDate => return None,
        Decision::Resume(change) => unfinished(change, None),
        Decision::Wait(change, wait) => {
            format!(
                "{} is pending: {}",
                action::noun(change),
                action::wait(wait)
            )
        }
        Decision::Go(change, cause) => {
            format!("{}: {}", action::would(change), action::cause(cause))
        }
        Decision::NotAllowed(reason) => not_allowed(reason),
        Decision::Skip(failed) => skipped(failed),
    })
}

/// Why a change is not allowed.
pub fn not_allowed(reason: &NotAllowed) -> String {
    let sentence = not_allowed::reason(reason);
    if reason.is_a_pin() {
        sentence
    } else {
        format!("not allowed: {sentence}")
    }
}

/// The state of a change that was begun and has not ended. `run` is the run that is at it, if one is.
pub fn unfinished(change: &Change, run: Option<&CurrentRun>) -> String {
    let Change {
        from,
        to,
        since,
        failure,
        rollback_failed,
        ..
    } = change;
    let since = times::utc(*since);
    let name = match from.cmp(to) {
        Ordering::Less => format!("upgrade from {from} to {to}"),
        Ordering::Equal => format!("reinstall of {to}"),
        Ordering::Greater => format!("downgrade from {from} to {to}"),
    };
    let rollback = format!("rollback from {to} to {from}");
    match (run, rollback_failed, failure) {
        (Some(CurrentRun { process, step, .. }), _, failure) => {
            let name = if failure.is_some() { rollback } else { name };
            let step = step.as_ref().map(|step| format!(": {step}"));
            format!(
                "{name} in progress since {since} (PID {}{})",
                process.pid,
                step.unwrap_or_default()
            )
        }
        (None, Some(failed), _) => format!(
            "{rollback} failed at {}; it is retried at every check",
            times::utc(*failed)
        ),
        (None, None, Some(reason)) => format!(
            "{rollback} was interrupted; the next run resumes it. {to} failed on this host: {reason}"
        ),
        (None, None, None) => {
            format!("{name}, started {since}, was interrupted; the next run resumes it")
        }
    }
}

/// Why a version is not tried again, and what to do.
fn skipped(failed: &FailedTarget) -> String {
    let FailedTarget {
        target,
        goal,
        reason,
        at,
        ..
    } = failed;
    let at = times::utc(*at);
    let (what, newer) = match goal {
        Some(goal) => (
            format!("{target} (intermediate version; target {goal})"),
            format!(
                "Add a newer {}.x version to the repository, p",
                target.major()
            ),
        ),
        None => (target.to_string(), "P".into()),
    };
    format!(
        "skipping {what}: it failed on this host at {at} ({reason}). {newer}ublish a different version, or retry now with: sudo \
         teleport-upgrade force"
    )
}

/// What to do so that an agent exports its maintenance windows, if it does not.
pub fn export_advice(service: &Service) -> Option<String> {
    let unit = &service.unit;
    match service.exports {
        Exports::Unknown | Exports::Yes => None,
        Exports::AfterRestart => Some(format!(
            "the agent will export its maintenance windows after its next restart. Run when no session is open: systemctl restart {unit}"
        )),
        Exports::No => Some(format!(
            "the agent exports no maintenance windows: {unit} does not set TELEPORT_EXT_UPGRADER=unit in its environment. Set it with \
             systemctl edit {unit}, then restart {unit}"
        )),
    }
}
