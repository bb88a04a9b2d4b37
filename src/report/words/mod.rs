//! The sentences that say what was decided and why: `run`, `dry-run`, `status`, JSON and the journal have them from here.

pub mod action;
mod not_allowed;

use std::cmp::Ordering;

use crate::agent::service::Service;
use crate::agent::settings::start::Exports;
use crate::decide::compatibility::NotAllowed;
use crate::decide::decision::Decision;
use crate::decide::observation::Observation;
use crate::server::channel::Target;
use crate::state::current_run::CurrentRun;
use crate::state::history::{Change, FailedTarget};
use crate::system::times;

/// What the channel has for this host. People grep for two of these: to the letter.
pub fn available(seen: &Observation) -> Vec<String> {
    let installed = &seen.agent.package.version;
    let mut lines = vec![match &seen.target {
        // It was not asked.
        None => return Vec::new(),
        Some(Target::Version(target)) if target == installed => {
            format!("no upgrades available ({installed} == {target})")
        }
        Some(Target::Version(target)) => {
            format!("an upgrade is available ({installed} -> {target})")
        }
        Some(Target::None) => format!(
            "no upgrades available ({installed} stays: the release channel names no version)"
        ),
    }];
    // Why a host is on a version that nobody has asked for.
    if let Some(last) = seen
        .history
        .last_change
        .as_ref()
        .filter(|last| last.to == *installed)
        && let Some(goal) = last.goal.as_ref().filter(|goal| *goal != installed)
    {
        let at = times::utc(last.at);
        lines.push(format!(
            "{installed} is a stop on the way from {} to {goal}, reached by the pass of {at}",
            last.from
        ));
    }
    lines
}

/// What follows from a decision, as long as nothing is done about it; nothing if there is nothing to do.
pub fn verdict(decision: &Decision) -> Option<String> {
    Some(match decision {
        Decision::Paused | Decision::UpToDate => return None,
        Decision::Resume(change) => unfinished(change, None),
        Decision::Wait(change, wait) => {
            format!(
                "waiting to {}: {}",
                action::plan(change),
                action::wait(wait)
            )
        }
        Decision::Go(change, cause) => {
            format!(
                "would now {}: {}",
                action::plan(change),
                action::cause(cause)
            )
        }
        Decision::NotAllowed(reason) => not_allowed(reason),
        Decision::Skip(failed) => skipped(failed),
    })
}

/// What is not for this host, and why.
pub fn not_allowed(reason: &NotAllowed) -> String {
    let sentence = not_allowed::reason(reason);
    if reason.is_a_pin() {
        sentence
    } else {
        format!("not allowed: {sentence}")
    }
}

/// How a change stands that was begun and not ended. `running` is the run that is at it.
pub fn unfinished(change: &Change, running: Option<&CurrentRun>) -> String {
    let Change {
        from, to, since, ..
    } = change;
    let what = match from.cmp(to) {
        Ordering::Less => format!("upgrade from {from} to {to}"),
        Ordering::Equal => format!("reinstall of {to}"),
        Ordering::Greater => format!("downgrade from {from} to {to}"),
    };
    let rollback = format!("rollback from {to} to {from}");
    match (running, change.rollback_failed, &change.failure) {
        (Some(CurrentRun { process, step, .. }), _, failure) => {
            let what = if failure.is_some() { rollback } else { what };
            let step = step
                .as_ref()
                .map(|step| format!(": {step}"))
                .unwrap_or_default();
            format!(
                "{what} in progress since {} (PID {}{step})",
                times::utc(*since),
                process.pid
            )
        }
        (None, Some(failed), _) => format!(
            "{rollback} failed at {}; it is retried at every check",
            times::utc(failed)
        ),
        (None, None, Some(reason)) => {
            format!(
                "{rollback} was interrupted; the next run resumes it. {to} failed on this host: {reason}"
            )
        }
        (None, None, None) => format!(
            "{what} of {} was interrupted; the next run resumes it",
            times::utc(*since)
        ),
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
    let on_the_way = goal
        .as_ref()
        .map(|goal| format!(", which is on the way to {goal},"))
        .unwrap_or_default();
    let newer = goal
        .as_ref()
        .map(|_| format!("have the repository offer a newer {}, ", target.major()))
        .unwrap_or_default();
    format!(
        "not trying {target}{on_the_way} again: on {} it failed on this host ({reason}); {newer}have the channel name another version, \
         or try it with \"teleport-upgrade force\"",
        times::utc(*at)
    )
}

/// What has to be done for an agent to export its maintenance windows, if it does not.
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
