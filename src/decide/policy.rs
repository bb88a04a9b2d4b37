//! The table: what to do on this host now, and why.

use chrono::{DateTime, Utc};

use crate::agent::schedule::{Absence, WindowStatus};
use crate::agent::service::{Health, LOOP, Service};
use crate::decide::compatibility::{self, Limit, NotAllowed};
use crate::decide::decision::{Action, Cause, Decision, Next, Question, Wait};
use crate::decide::observation::Observation;
use crate::decide::path::{self, Offer, UpgradePath};
use crate::decide::rollout::Standing;
use crate::server::answers::Target;
use crate::state::history::{FailedTarget, History};
use crate::version::Version;

/// The table in `src/README.md`, row by row: the first one that applies.
pub fn decide(seen: &Observation) -> Next {
    if let Some(change) = &seen.history.unfinished {
        return Next::Decide(Decision::Resume(change.clone().into()));
    }
    if seen.windows == WindowStatus::Absent(Absence::Nop) {
        return Next::Decide(Decision::NotAllowed(NotAllowed::Nop));
    }
    if let Some(host) = &seen.settings.cluster_service {
        return Next::Decide(Decision::NotAllowed(NotAllowed::ClusterHost(host.clone())));
    }
    let target = match &seen.target {
        None => return Next::Ask(Question::Target),
        Some(Target::None) => return Next::Decide(Decision::Paused),
        Some(Target::Version(version)) => version,
    };
    if seen.agent.package.version != *target {
        return change(seen, target);
    }
    match repair(seen).or_else(|| outdated(seen)) {
        None => Next::Decide(Decision::UpToDate),
        Some(action) => timed(seen, action),
    }
}

/// The rows for a target version that is not installed.
fn change(seen: &Observation, target: &Version) -> Next {
    let installed = &seen.agent.package.version;
    // A version that must not be installed does not keep the installed one from being repaired.
    let or_repair =
        |decision| repair(seen).map_or(Next::Decide(decision), |action| timed(seen, action));
    let not_allowed = |limit| {
        or_repair(Decision::NotAllowed(NotAllowed::Change {
            from: installed.clone(),
            to: target.clone(),
            limit,
        }))
    };
    let upgrade = |path| match timed(seen, Action::Upgrade(path)) {
        Next::Decide(waits @ Decision::Wait(_, Wait::Rollout(_))) => or_repair(waits),
        other => other,
    };
    if let Err(limit) = compatibility::check(installed, target, &seen.limits) {
        return not_allowed(limit);
    }
    let Some(cluster) = &seen.cluster else {
        return Next::Ask(Question::Cluster);
    };
    if let Err(limit) = compatibility::check_cluster(target, cluster) {
        return not_allowed(limit);
    }
    let path = match &seen.offer {
        _ if path::is_one_step(installed, target) => UpgradePath::direct(installed, target),
        Some(Offer::Versions(offered, source)) => {
            match UpgradePath::through(installed, target, offered) {
                Ok(path) => path,
                Err(missing) => {
                    return not_allowed(Limit::NoPath(missing, offered.clone(), source.clone()));
                }
            }
        }
        // What an old index lacks may be in the repository by now.
        Some(Offer::Cached(known)) => UpgradePath::through(installed, target, known)
            .unwrap_or(UpgradePath::unknown(installed, target)),
        // Asking takes a refresh of the index, which is worth it only for a change that is made now.
        None => {
            let path = UpgradePath::unknown(installed, target);
            return match upgrade(path) {
                Next::Decide(Decision::Go(Action::Upgrade(_), _)) => Next::Ask(Question::Offer),
                other => other,
            };
        }
    };
    match &seen.history.failed {
        Some(failed) if !seen.forced && forbids(failed, &path) => {
            or_repair(Decision::Skip(failed.clone()))
        }
        _ => upgrade(path),
    }
}

/// Since when there are no usable windows: what the history must contain after this run.
pub fn schedule_absent_since(seen: &Observation) -> Option<DateTime<Utc>> {
    match seen.windows {
        // Written by `teleport-update`, not by the agent.
        WindowStatus::Absent(Absence::Nop) => None,
        WindowStatus::Absent(_) => seen.history.schedule_absent_since.or(Some(seen.now)),
        _ => None,
    }
}

/// Whether an earlier failure speaks against the next step. It does not if the rollback failed too: then there is nothing to lose.
fn forbids(failed: &FailedTarget, path: &UpgradePath) -> bool {
    // An intermediate version that failed on the path to another target may be tried again on the path to this one.
    let same_goal = path.goal().is_none() || path.goal() == failed.goal.as_ref();
    !failed.rollback_failed && path.next() == Some(&failed.target) && same_goal
}

/// The restart of a service that runs an older version than the installed one.
fn outdated(seen: &Observation) -> Option<Action> {
    seen.agent
        .outdated()
        .map(|service| Action::Restart(seen.agent.package.version.clone(), service.unit.clone()))
}

/// The repair of a broken package, or of a service that is down.
fn repair(seen: &Observation) -> Option<Action> {
    let installed = &seen.agent.package;
    if let Some(problem) = &installed.broken {
        return Some(Action::Reinstall(
            installed.version.clone(),
            problem.clone(),
        ));
    }
    down(seen).map(|service| Action::Restart(installed.version.clone(), service.unit.clone()))
}

/// The first service that is down although it should be up. systemd restarts a service after a single crash, which helps unless the
/// package is known to be broken.
fn down(seen: &Observation) -> Option<&Service> {
    let rollback_failed = |failed: &FailedTarget| failed.rollback_failed;
    let broken = seen.agent.package.broken.is_some()
        || seen.history.failed.as_ref().is_some_and(rollback_failed);
    let is_down = |service: &&Service| match service.health {
        Health::Failed(_) => true,
        Health::CrashLooping => broken || restarts_since(&seen.history, service) >= LOOP,
        Health::Crashed => broken,
        _ => false,
    };
    seen.agent.services.iter().find(is_down)
}

/// How often systemd has restarted a service since the last run. systemd counts since the service was started, months ago perhaps.
fn restarts_since(history: &History, service: &Service) -> u32 {
    let known = history.restarts.get(&service.unit).copied().unwrap_or(0);
    // A manual start resets the count.
    service
        .restarts
        .checked_sub(known)
        .unwrap_or(service.restarts)
}

/// Whether a change is made now or later.
fn timed(seen: &Observation, action: Action) -> Next {
    let go = |cause| Next::Decide(Decision::Go(action.clone(), cause));
    if seen.forced {
        return go(Cause::Forced);
    }
    if let Some(service) = down(seen) {
        return go(Cause::Down(service.unit.clone(), service.health.clone()));
    }
    let now = now(seen);
    let rollout = rollout(seen, &action);
    // Both are asked only here: everywhere else the answer would change nothing. What is critical does not wait for the rollout.
    match (now, rollout, seen.critical) {
        (Ok(_), Err(question), _) => Next::Ask(question),
        (Ok(cause), Ok(None), _) => go(cause),
        (_, _, None) => Next::Ask(Question::Critical),
        (_, _, Some(true)) => go(Cause::Critical),
        (_, Err(question), _) => Next::Ask(question),
        (_, Ok(Some(wait)), _) | (Err(wait), Ok(None), _) => {
            Next::Decide(Decision::Wait(action, wait))
        }
    }
}

/// The cause of a change that is made now by the windows alone; else what it waits for.
fn now(seen: &Observation) -> Result<Cause, Wait> {
    match &seen.windows {
        WindowStatus::Inside { until } => Ok(Cause::Window { until: *until }),
        WindowStatus::Absent(absence) if seen.require_window => {
            Err(Wait::Schedule(absence.clone()))
        }
        WindowStatus::Absent(absence) if seen.history.schedule_absent_since.is_some() => {
            Ok(Cause::ScheduleAbsent(absence.clone()))
        }
        WindowStatus::Absent(absence) => Err(Wait::NextCheck(absence.clone())),
        WindowStatus::Before(window) => Err(Wait::Window(*window, window.start - seen.now)),
    }
}

/// The wait for the rollout, unless it has reached this host. Repairs do not wait for it.
fn rollout(seen: &Observation, action: &Action) -> Result<Option<Wait>, Question> {
    if !matches!(action, Action::Upgrade(_)) {
        return Ok(None);
    }
    let standing = Standing::of(seen).ok_or(Question::Percentage)?;
    Ok((!standing.is_reached()).then_some(Wait::Rollout(standing)))
}
