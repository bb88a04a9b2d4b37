//! Which change, if any.

use super::{
    NOW, at, decided, failed, host, interrupted, next_window, open, reinstall, restart, seen,
    target, upgrade, version,
};
use crate::agent::schedule::{Absence, WindowStatus};
use crate::agent::service::Reach;
use crate::agent::service::{Binary, Health};
use crate::agent::settings::Settings;
use crate::agent::settings::start::Start;
use crate::decide::compatibility::NotAllowed;
use crate::decide::decision::{Action, Cause, Decision, Next, Question, Wait};
use crate::decide::observation::Observation;
use crate::decide::path::{Intermediate, Offer};
use crate::decide::policy::{decide, schedule_absent_since};
use crate::server::answers::Cluster;
use crate::server::answers::Target;
use crate::state::history::FailedTarget;

fn installed_is_target() -> Observation {
    Observation {
        target: target("14.3.33"),
        ..seen()
    }
}

fn offer(versions: &[&str]) -> Option<Offer> {
    let versions = versions.iter().map(|text| version(text)).collect();
    Some(Offer::Versions(versions, "teleport.list".into()))
}

#[test]
fn an_interrupted_change_is_resumed_first() {
    let mut seen = seen();
    seen.history.unfinished = Some(interrupted());
    seen.forced = true;
    assert_eq!(decided(&seen), Decision::Resume(interrupted().into()));
    seen.target = None;
    let without_a_server = decided(&seen);
    assert_eq!(without_a_server, Decision::Resume(interrupted().into()));
}

#[test]
fn the_target_is_asked_for() {
    let seen = Observation {
        target: None,
        ..seen()
    };
    assert_eq!(decide(&seen), Next::Ask(Question::Target));
}

#[test]
fn no_target_version_pauses_upgrades() {
    let none = Observation {
        target: Some(Target::None),
        forced: true,
        ..seen()
    };
    assert_eq!(decided(&none), Decision::Paused);
}

#[test]
fn the_compatibility_rule_holds_for_forced_and_critical_upgrades() {
    for version in ["16.0.0", "12.0.0", "14.3.34-rc.1"] {
        let seen = Observation {
            target: target(version),
            offer: offer(&[]),
            forced: true,
            critical: Some(true),
            ..seen()
        };
        let decision = decided(&seen);
        assert!(matches!(decision, Decision::NotAllowed(_)), "{version}");
    }
}

#[test]
fn the_target_version_is_left_alone() {
    let mut seen = Observation {
        critical: None,
        ..installed_is_target()
    };
    assert_eq!(decided(&seen), Decision::UpToDate);
    seen.forced = true;
    assert_eq!(decided(&seen), Decision::UpToDate);
}

#[test]
fn a_broken_package_is_reinstalled_in_the_window_or_if_the_service_is_down() {
    let mut seen = installed_is_target();
    seen.agent.package.broken = Some("broken".into());
    let waits = Decision::Wait(
        reinstall(),
        Wait::Window(next_window(), next_window().start - at(NOW)),
    );
    assert_eq!(decided(&seen), waits);
    for health in [
        Health::Failed("exit-code".into()),
        Health::CrashLooping,
        Health::Crashed,
    ] {
        seen.agent.services[0].health = health.clone();
        let cause = Cause::Down("teleport.service".into(), health);
        assert_eq!(decided(&seen), Decision::Go(reinstall(), cause));
    }
}

#[test]
fn a_service_that_is_down_is_restarted() {
    let mut seen = installed_is_target();
    seen.agent.services[0].health = Health::CrashLooping;
    let cause = Cause::Down("teleport.service".into(), Health::CrashLooping);
    assert_eq!(decided(&seen), Decision::Go(restart(), cause));
    // systemd restarts it, or an administrator has stopped it.
    for health in [Health::Stopped, Health::Crashed, Health::Changing] {
        seen.agent.services[0].health = health;
        assert_eq!(decided(&seen), Decision::UpToDate);
    }
}

#[test]
fn a_service_with_an_older_binary_is_restarted_in_the_window() {
    let mut seen = installed_is_target();
    seen.agent.services[0].binary = Binary::Replaced;
    assert!(matches!(decided(&seen), Decision::Wait(action, _) if action == restart()));
    seen.windows = open();
    let cause = Cause::Window {
        until: at(NOW + 60),
    };
    assert_eq!(decided(&seen), Decision::Go(restart(), cause));
    seen.agent.services[0].health = Health::Stopped;
    assert_eq!(
        decided(&seen),
        Decision::UpToDate,
        "a stopped service stays so"
    );
}

#[test]
fn a_failed_version_is_skipped_until_the_target_changes() {
    let mut seen = Observation {
        critical: Some(true),
        windows: open(),
        ..seen()
    };
    seen.history.failed = failed("14.3.34");
    assert_eq!(decided(&seen), Decision::Skip(failed("14.3.34").unwrap()));
    seen.history.failed = failed("14.3.35");
    assert!(
        matches!(decided(&seen), Decision::Go(..)),
        "another version failed"
    );
    seen.history.failed = failed("14.3.34").map(|failed| FailedTarget {
        rollback_failed: true,
        ..failed
    });
    assert!(
        matches!(decided(&seen), Decision::Go(..)),
        "nothing to lose"
    );
}

#[test]
fn a_version_that_must_not_be_installed_does_not_prevent_repairs() {
    for (version, skipped) in [("14.3.34", true), ("12.0.0", false)] {
        let mut seen = Observation {
            target: target(version),
            ..seen()
        };
        seen.history.failed = failed("14.3.34").filter(|_| skipped);
        let health = Health::Failed("exit-code".into());
        seen.agent.services[0].health = health.clone();
        let cause = Cause::Down("teleport.service".into(), health);
        let restarts = Decision::Go(restart(), cause.clone());
        assert_eq!(decided(&seen), restarts, "{version}");
        seen.agent.package.broken = Some("broken".into());
        let reinstalls = Decision::Go(reinstall(), cause);
        assert_eq!(decided(&seen), reinstalls, "{version}");
    }
}

#[test]
fn force_repairs_at_once_what_must_not_be_upgraded() {
    let mut seen = Observation {
        target: target("12.0.0"),
        forced: true,
        ..seen()
    };
    seen.agent.package.broken = Some("broken".into());
    let now = Decision::Go(reinstall(), Cause::Forced);
    assert_eq!(decided(&seen), now);
    seen.forced = false;
    assert!(matches!(decided(&seen), Decision::Wait(action, _) if action == reinstall()));
}

#[test]
fn a_host_of_the_cluster_is_not_changed_and_nothing_is_asked() {
    let mut seen = Observation {
        target: None,
        cluster: None,
        forced: true,
        settings: Settings::parse("/etc/teleport.yaml", "", &Start::default()),
        ..seen()
    };
    seen.agent.services[0].health = Health::Failed("exit-code".into());
    assert!(matches!(
        decided(&seen),
        Decision::NotAllowed(NotAllowed::ClusterHost(_))
    ));
    seen.history.unfinished = Some(interrupted());
    assert_eq!(decided(&seen), Decision::Resume(interrupted().into()));
}

#[test]
fn a_host_of_teleport_update_is_not_changed_and_nothing_is_asked() {
    let mut seen = Observation {
        target: None,
        cluster: None,
        forced: true,
        windows: WindowStatus::Absent(Absence::Nop),
        ..seen()
    };
    seen.agent.services[0].health = Health::Failed("exit-code".into());
    assert_eq!(decided(&seen), Decision::NotAllowed(NotAllowed::Nop));
    let since = schedule_absent_since(&seen);
    assert_eq!(since, None, "a later schedule is waited for");
    seen.history.unfinished = Some(interrupted());
    assert_eq!(decided(&seen), Decision::Resume(interrupted().into()));
}

#[test]
fn the_cluster_is_asked_only_for_a_change_that_nothing_else_forbids() {
    let asked = |version: &str| {
        let seen = Observation {
            target: target(version),
            cluster: None,
            ..seen()
        };
        decide(&seen) == Next::Ask(Question::Cluster)
    };
    assert!(asked("14.3.34") && asked("13.0.0") && asked("18.0.0"));
    assert!(!asked("14.3.33") && !asked("12.0.0") && !asked("15.0.0-rc.1"));
}

#[test]
fn the_repository_is_asked_only_for_an_upgrade_that_starts_now() {
    let mut seen = Observation {
        target: target("16.0.0"),
        ..seen()
    };
    let wait = decided(&seen);
    assert!(
        matches!(&wait, Decision::Wait(Action::Upgrade(path), _) if path.next().is_none()),
        "{wait:?}"
    );
    let forced = Observation {
        forced: true,
        ..seen.clone()
    };
    assert_eq!(decide(&forced), Next::Ask(Question::Offer));
    seen.critical = Some(true);
    assert_eq!(decide(&seen), Next::Ask(Question::Offer));
    seen.offer = Some(Offer::Cached(vec![version("16.0.0")]));
    assert!(
        matches!(decided(&seen), Decision::Go(Action::Upgrade(path), _) if path.next().is_none()),
        "an old index proves nothing"
    );
    seen.offer = offer(&["15.1.0", "16.0.0"]);
    assert!(
        matches!(decided(&seen), Decision::Go(action, Cause::Critical) if *action.target() == version("15.1.0"))
    );
}

#[test]
fn a_failed_intermediate_version_is_retried_for_another_target_or_if_there_is_a_newer_one() {
    let (from, to) = (version("12.4.1"), version("14.3.34"));
    let unknown = Cluster::Unknown(String::new(), Reach::Unknown);
    let mut seen = host(&from, &to, unknown, None, false);
    seen.offer = offer(&["13.4.15", "14.3.34"]);
    let failed = FailedTarget {
        goal: Some(to),
        ..failed("13.4.15").unwrap()
    };
    seen.history.failed = Some(failed.clone());
    assert_eq!(decided(&seen), Decision::Skip(failed));
    let goes_via = |seen: &Observation, between: &str| match decided(seen) {
        Decision::Go(Action::Upgrade(path), _) => {
            path.intermediate == Intermediate::Known(vec![version(between)])
        }
        _ => false,
    };
    let newer = Observation {
        offer: offer(&["13.4.15", "13.4.16", "14.3.34"]),
        ..seen.clone()
    };
    assert!(goes_via(&newer, "13.4.16"));
    let other = Observation {
        target: target("14.3.33"),
        offer: offer(&["13.4.15", "14.3.33"]),
        ..seen.clone()
    };
    assert!(goes_via(&other, "13.4.15"));
    let forced = Observation {
        forced: true,
        ..seen.clone()
    };
    assert!(goes_via(&forced, "13.4.15"));
    let itself = Observation {
        target: target("13.4.15"),
        ..seen
    };
    assert!(
        matches!(decided(&itself), Decision::Skip(_)),
        "as the target it is the version that failed"
    );
}

#[test]
fn force_ignores_the_window_and_an_earlier_failure() {
    let mut seen = Observation {
        forced: true,
        ..seen()
    };
    seen.history.failed = failed("14.3.34");
    assert_eq!(decided(&seen), Decision::Go(upgrade(), Cause::Forced));
}
