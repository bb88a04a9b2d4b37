//! Which changes wait for a percentage rollout.

use chrono::TimeDelta;

use super::{NOW, at, decided, failed, next_window, open, reinstall, seen, target, upgrade};
use crate::agent::schedule::{Absence, WindowStatus};
use crate::agent::service::{Binary, Health};
use crate::decide::decision::{Action, Cause, Decision, Next, Question, Wait};
use crate::decide::observation::Observation;
use crate::decide::policy::decide;
use crate::decide::rollout::Standing;
use crate::server::answers::Percentage;

/// A host in its window whose position is 50, in a rollout of so many percent.
fn rollout(percent: f64) -> Observation {
    Observation {
        windows: open(),
        percentage: Some(Percentage::Known(percent)),
        ..seen()
    }
}

fn waits(percentage: Percentage) -> Decision {
    let position = 50.0;
    let standing = Standing {
        percentage,
        position,
    };
    Decision::Wait(upgrade(), Wait::Rollout(standing))
}

#[test]
fn a_host_waits_until_the_rollout_has_reached_it() {
    for (percent, reached) in [
        (0.0, false),
        (5.0, false),
        (50.0, false),
        (50.1, true),
        (100.0, true),
    ] {
        let mut seen = rollout(percent);
        if reached {
            let cause = Cause::Window {
                until: at(NOW + 60),
            };
            assert_eq!(decided(&seen), Decision::Go(upgrade(), cause));
            seen.windows = WindowStatus::Before(next_window());
            let window = Wait::Window(next_window(), TimeDelta::hours(1));
            assert_eq!(decided(&seen), Decision::Wait(upgrade(), window));
            continue;
        }
        let waits = waits(Percentage::Known(percent));
        let absent = WindowStatus::Absent(Absence::Missing);
        for windows in [open(), WindowStatus::Before(next_window()), absent] {
            seen.windows = windows;
            assert_eq!(decided(&seen), waits);
            // As if the next check found no schedule either.
            seen.history.schedule_absent_since = Some(at(NOW - 1800));
            assert_eq!(decided(&seen), waits);
        }
    }
}

#[test]
fn an_unknown_percentage_waits_even_on_the_first_host() {
    let percentage = Percentage::Unknown("timed out".into());
    let mut seen = rollout(0.0);
    seen.percentage = Some(percentage.clone());
    assert_eq!(decided(&seen), waits(percentage));
}

#[test]
fn critical_and_forced_upgrades_do_not_wait() {
    for percent in [0.0, 100.0] {
        let mut seen = rollout(percent);
        seen.windows = WindowStatus::Before(next_window());
        seen.critical = Some(true);
        assert_eq!(decided(&seen), Decision::Go(upgrade(), Cause::Critical));
        (seen.critical, seen.percentage) = (Some(true), None);
        assert_eq!(decided(&seen), Decision::Go(upgrade(), Cause::Critical));
        (seen.critical, seen.forced) = (None, true);
        assert_eq!(decided(&seen), Decision::Go(upgrade(), Cause::Forced));
    }
}

#[test]
fn repairs_do_not_wait() {
    // The target is installed: nothing is asked.
    let mut seen = rollout(0.0);
    (seen.target, seen.percentage) = (target("14.3.33"), None);
    seen.agent.services[0].binary = Binary::Replaced;
    assert!(matches!(
        decided(&seen),
        Decision::Go(Action::Restart(..), _)
    ));
    seen.agent.package.broken = Some("broken".into());
    assert!(matches!(decided(&seen), Decision::Go(action, _) if action == reinstall()));
    // A broken package is repaired while the next version waits, in a window as ever.
    let mut seen = rollout(5.0);
    seen.agent.package.broken = Some("broken".into());
    assert!(matches!(decided(&seen), Decision::Go(action, _) if action == reinstall()));
    seen.windows = WindowStatus::Before(next_window());
    let window = Wait::Window(next_window(), TimeDelta::hours(1));
    assert_eq!(decided(&seen), Decision::Wait(reinstall(), window));
    // An agent that is down has nothing to lose.
    let mut seen = rollout(0.0);
    seen.percentage = None;
    seen.agent.services[0].health = Health::Failed("exit-code".into());
    assert!(matches!(decided(&seen), Decision::Go(action, Cause::Down(..)) if action == upgrade()));
}

#[test]
fn a_downgrade_waits_too() {
    let mut seen = rollout(5.0);
    seen.target = target("14.3.32");
    let decision = decided(&seen);
    assert!(
        matches!(decision, Decision::Wait(_, Wait::Rollout(_))),
        "{decision:?}"
    );
}

#[test]
fn a_version_that_failed_here_stays_skipped() {
    let mut seen = rollout(5.0);
    seen.history.failed = failed("14.3.34");
    assert!(matches!(decided(&seen), Decision::Skip(_)));
}

#[test]
fn several_major_versions_wait_before_the_repository_is_asked() {
    let mut seen = rollout(5.0);
    seen.target = target("16.0.0");
    assert!(matches!(
        decided(&seen),
        Decision::Wait(_, Wait::Rollout(_))
    ));
    seen.percentage = Some(Percentage::Known(51.0));
    assert_eq!(decide(&seen), Next::Ask(Question::Offer));
}

#[test]
fn the_percentage_is_asked_only_if_the_answer_matters() {
    let unknown = Observation {
        critical: None,
        percentage: None,
        ..rollout(0.0)
    };
    // In a window, critical matters only outside of the rollout.
    assert_eq!(decide(&unknown), Next::Ask(Question::Percentage));
    let mut seen = unknown.clone();
    seen.percentage = Some(Percentage::Known(5.0));
    assert_eq!(decide(&seen), Next::Ask(Question::Critical));
    // Before a window, a critical version needs no percentage.
    let mut seen = unknown.clone();
    seen.windows = WindowStatus::Before(next_window());
    assert_eq!(decide(&seen), Next::Ask(Question::Critical));
    seen.critical = Some(false);
    assert_eq!(decide(&seen), Next::Ask(Question::Percentage));
    // Up to date.
    seen.target = target("14.3.33");
    assert_eq!(decided(&seen), Decision::UpToDate);
}
