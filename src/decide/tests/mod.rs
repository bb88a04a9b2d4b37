//! Every row of the table, and every path through a small world of versions.

mod compatibility;
mod policy;
mod rollout;
mod timing;
mod world;

use chrono::{DateTime, Utc};

use crate::agent::schedule::{Window, WindowStatus};
use crate::agent::service::Reach;
use crate::agent::service::{Binary, Health, LOOP, Service};
use crate::agent::settings::Settings;
use crate::config::values::Pin;
use crate::decide::compatibility::Limits;
use crate::decide::decision::{Action, Decision, Next};
use crate::decide::observation::{Agent, Observation};
use crate::decide::path::UpgradePath;
use crate::decide::policy::decide;
use crate::decide::rollout::Place;
use crate::packages::package::{Database, Installed};
use crate::server::answers::{Cluster, Percentage, Target};
use crate::state::changes::Start;
use crate::state::history::{Change, FailedTarget, History};
use crate::system::address::Address;
use crate::version::Version;

/// 2026-11-20 02:00 UTC.
const NOW: i64 = 1_795_140_000;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn target(text: &str) -> Option<Target> {
    Some(Target::Version(version(text)))
}

fn next_window() -> Window {
    Window {
        start: at(NOW + 3600),
        stop: at(NOW + 7200),
    }
}

fn open() -> WindowStatus {
    WindowStatus::Inside {
        until: at(NOW + 60),
    }
}

/// A healthy agent of 14.3.33, outside the window; the target version is 14.3.34 and not critical.
fn seen() -> Observation {
    Observation {
        now: at(NOW),
        forced: false,
        require_window: false,
        agent: Agent {
            package: Installed {
                name: "teleport-ent".into(),
                version: version("14.3.33"),
                package_version: "14.3.33".into(),
                broken: None,
                held: false,
                database: Database::Dpkg,
            },
            services: vec![Service {
                unit: "teleport.service".into(),
                health: Health::Running,
                pid: Some(1),
                binary: Binary::OnDisk,
                restarts: LOOP,
                ..Service::default()
            }],
        },
        windows: WindowStatus::Before(next_window()),
        history: History::default(),
        target: target("14.3.34"),
        critical: Some(false),
        percentage: Some(Percentage::Known(100.0)),
        place: Place::Wariness(0.5),
        limits: Limits::default(),
        settings: Settings::defaults("/etc/teleport.yaml"),
        cluster: Some(Cluster::Unknown(String::new(), Reach::Unknown)),
        offer: None,
    }
}

fn decided(seen: &Observation) -> Decision {
    match decide(seen) {
        Next::Decide(decision) => decision,
        Next::Ask(question) => panic!("{question:?}"),
    }
}

fn upgrade() -> Action {
    Action::Upgrade(UpgradePath::direct(
        &version("14.3.33"),
        &version("14.3.34"),
    ))
}

fn reinstall() -> Action {
    Action::Reinstall(version("14.3.33"), "broken".into())
}

fn restart() -> Action {
    Action::Restart(version("14.3.33"), "teleport.service".into())
}

fn failed(target: &str) -> Option<FailedTarget> {
    Some(FailedTarget {
        target: version(target),
        goal: None,
        reason: "it crashed".to_string(),
        at: at(NOW - 86_400),
        rollback_failed: false,
    })
}

fn interrupted() -> Change {
    Change {
        package: "teleport-ent".into(),
        from: version("14.3.33"),
        from_package_version: "14.3.33".into(),
        to: version("14.3.34"),
        to_package_version: "14.3.34".into(),
        goal: None,
        rollback_package: None,
        failure: None,
        rollback_failed: None,
        held: false,
        services: vec!["teleport.service".into()],
        units: vec!["teleport.service".into()],
        since: at(NOW - 60),
        start: Start::default(),
    }
}

/// A pin, from `14`, `14.3.33` or `-`.
fn pin(text: &str) -> Option<Pin> {
    match text {
        "-" => None,
        major if !major.contains('.') => Some(Pin::Major(major.parse().unwrap())),
        exact => Some(Pin::Version(version(exact))),
    }
}

/// A cluster of this version, or an unknown one for `-`.
fn cluster(text: &str) -> Cluster {
    match text {
        "-" => Cluster::Unknown(String::new(), Reach::Unknown),
        runs => Cluster::Runs(version(runs), proxy()),
    }
}

fn proxy() -> Address {
    Address {
        host: "proxy.example.com".into(),
        port: 443,
    }
}

/// A host inside the window, with this much of it set.
fn host(
    installed: &Version,
    target: &Version,
    cluster: Cluster,
    pin: Option<Pin>,
    prerelease: bool,
) -> Observation {
    let mut seen = Observation {
        target: Some(Target::Version(target.clone())),
        cluster: Some(cluster),
        limits: Limits { pin, prerelease },
        windows: open(),
        ..seen()
    };
    seen.agent.package.version = installed.clone();
    seen
}
