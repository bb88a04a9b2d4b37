//! When a change is made.

use chrono::TimeDelta;

use super::{NOW, at, decided, next_window, open, seen, target, upgrade, version};
use crate::agent::schedule::{Absence, Schedule, WindowStatus};
use crate::agent::service::Health;
use crate::decide::decision::{Action, Cause, Decision, Next, Question, Wait};
use crate::decide::observation::Observation;
use crate::decide::path::UpgradePath;
use crate::decide::policy::{decide, schedule_absent_since};

#[test]
fn a_critical_upgrade_is_made_now() {
    let mut seen = Observation {
        critical: Some(true),
        ..seen()
    };
    let now = Decision::Go(upgrade(), Cause::Critical);
    assert_eq!(decided(&seen), now);
    seen.windows = WindowStatus::Absent(Absence::Missing);
    assert_eq!(decided(&seen), now);
}

#[test]
fn critical_is_asked_only_for_an_upgrade_that_would_wait() {
    let mut seen = Observation {
        critical: None,
        ..seen()
    };
    assert_eq!(decide(&seen), Next::Ask(Question::Critical));
    seen.windows = open();
    assert!(matches!(decided(&seen), Decision::Go(..)));
}

#[test]
fn restarts_of_long_ago_are_no_crash_loop() {
    let mut seen = seen();
    seen.agent.services[0].health = Health::CrashLooping;
    for (before, now, loops) in [
        (0, 3, true),
        (2, 3, false),
        (3, 3, false),
        (40, 43, true),
        (40, 42, false),
        (40, 3, true),
    ] {
        seen.agent.services[0].restarts = now;
        seen.history.restarts = [("teleport.service".to_string(), before)].into();
        let is_down = matches!(decided(&seen), Decision::Go(..));
        assert_eq!(is_down, loops, "{before} -> {now}");
    }
}

#[test]
fn an_agent_that_is_down_is_upgraded_now() {
    for health in [Health::Failed("exit-code".into()), Health::CrashLooping] {
        let mut seen = Observation {
            critical: None,
            ..seen()
        };
        seen.agent.services[0].health = health.clone();
        let cause = Cause::Down("teleport.service".into(), health);
        assert_eq!(decided(&seen), Decision::Go(upgrade(), cause));
    }
}

#[test]
fn without_windows_the_first_check_waits_and_the_second_upgrades() {
    for absence in [
        Absence::Missing,
        Absence::Empty,
        Absence::Past(at(NOW - 1)),
        Absence::Unreadable("x".into()),
    ] {
        let mut seen = Observation {
            windows: WindowStatus::Absent(absence.clone()),
            ..seen()
        };
        let waits = Decision::Wait(upgrade(), Wait::NextCheck(absence.clone()));
        assert_eq!(decided(&seen), waits);
        seen.history.schedule_absent_since = schedule_absent_since(&seen);
        seen.now += TimeDelta::minutes(30);
        let goes = Decision::Go(upgrade(), Cause::ScheduleAbsent(absence));
        assert_eq!(decided(&seen), goes);
        let since = schedule_absent_since(&seen);
        assert_eq!(since, Some(at(NOW)), "the first check's time is kept");
    }
}

#[test]
fn a_host_that_requires_a_window_waits_for_a_schedule() {
    let mut seen = Observation {
        require_window: true,
        windows: WindowStatus::Absent(Absence::Missing),
        ..seen()
    };
    for since in [None, Some(at(NOW - 1800))] {
        seen.history.schedule_absent_since = since;
        let waits = Decision::Wait(upgrade(), Wait::Schedule(Absence::Missing));
        assert_eq!(decided(&seen), waits);
        seen.critical = None;
        assert_eq!(decide(&seen), Next::Ask(Question::Critical));
        seen.critical = Some(true);
        assert_eq!(decided(&seen), Decision::Go(upgrade(), Cause::Critical));
        seen.critical = Some(false);
        seen.forced = true;
        assert_eq!(decided(&seen), Decision::Go(upgrade(), Cause::Forced));
        seen.forced = false;
        seen.agent.services[0].health = Health::Failed("exit-code".into());
        assert!(matches!(decided(&seen), Decision::Go(_, Cause::Down(..))));
        seen.agent.services[0].health = Health::Running;
    }
    seen.windows = WindowStatus::Before(next_window());
    assert!(matches!(
        decided(&seen),
        Decision::Wait(_, Wait::Window(..))
    ));
    seen.windows = open();
    assert!(matches!(
        decided(&seen),
        Decision::Go(_, Cause::Window { .. })
    ));
}

#[test]
fn a_usable_schedule_starts_that_count_again() {
    let mut seen = seen();
    seen.history.schedule_absent_since = Some(at(NOW - 1800));
    for windows in [WindowStatus::Before(next_window()), open()] {
        seen.windows = windows;
        assert_eq!(schedule_absent_since(&seen), None);
    }
}

#[test]
fn a_window_includes_its_first_second_and_not_its_last() {
    let schedule = Schedule::parse(&format!("{} {}\n", NOW, NOW + 3600));
    let decision = |now| {
        decided(&Observation {
            now: at(now),
            windows: schedule.status(at(now)),
            ..seen()
        })
    };
    let waits = |decision| matches!(decision, Decision::Wait(_, Wait::Window(..)));
    assert!(waits(decision(NOW - 1)));
    for now in [NOW, NOW + 3599] {
        let goes = decision(now);
        assert!(
            matches!(goes, Decision::Go(_, Cause::Window { .. })),
            "{now}"
        );
    }
    let after = decision(NOW + 3600);
    assert!(matches!(
        after,
        Decision::Wait(_, Wait::NextCheck(Absence::Past(_)))
    ));
}

#[test]
fn a_downgrade_is_timed_like_an_upgrade() {
    let mut seen = Observation {
        target: target("14.3.32"),
        ..seen()
    };
    assert!(matches!(decided(&seen), Decision::Wait(..)));
    seen.windows = open();
    let down = Action::Upgrade(UpgradePath::direct(
        &version("14.3.33"),
        &version("14.3.32"),
    ));
    let cause = Cause::Window {
        until: at(NOW + 60),
    };
    assert_eq!(decided(&seen), Decision::Go(down, cause));
}
