//! The table: what to do, now, on this host, and why.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::agent::Agent;
use crate::agent::schedule::{Absence, Window, WindowStatus};
use crate::agent::service::{Health, LOOP, Service};
use crate::agent::settings::Settings;
use crate::decide::compatibility::{Limit, Limits, NotAllowed};
use crate::decide::path::{Offer, Path};
use crate::decide::{compatibility, path};
use crate::server::channel::Target;
use crate::server::cluster::Cluster;
use crate::state::history::{Change, FailedTarget, History};
use crate::system::times;
use crate::version::Version;

/// Everything that a decision rests on.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The time.
    pub now: DateTime<Utc>,
    /// Whether a person wants it now.
    pub forced: bool,
    /// What the operator lets this host have.
    pub limits: Limits,
    /// What runs on this host.
    pub agent: Agent,
    /// What the agent is set to.
    pub settings: Settings,
    /// How the time lies to the maintenance windows.
    pub windows: WindowStatus,
    /// What earlier passes recorded.
    pub history: History,
    /// What the release channel wants; nothing before it was asked.
    pub target: Option<Target>,
    /// Whether it is critical; nothing before that was asked.
    pub critical: Option<bool>,
    /// What the cluster runs; nothing before it was asked.
    pub cluster: Option<Cluster>,
    /// What the repository has; nothing before it was asked.
    pub offer: Option<Offer>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Something must be known first.
    Ask(Question),
    /// End what an earlier pass began, then decide anew.
    Finish(Change),
    /// There is nothing to do.
    Nothing(Idle),
    /// The target must not be installed here.
    NotAllowed(NotAllowed),
    /// The target was found unfit for this host and is not tried again.
    Skip(FailedTarget),
    /// Not now.
    Wait(Action, Wait),
    /// Now.
    Go(Action, Cause),
}

/// What must be asked of others. It is asked only when the answer changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Which version is wanted?
    Target,
    /// Is it critical?
    Critical,
    /// What does the cluster run?
    Cluster,
    /// What does the repository have?
    Offer,
}

/// Why there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idle {
    /// The channel names no version.
    NoTarget,
    /// The agent runs the wanted version, and runs it well.
    UpToDate,
}

/// A change to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Install another version, newer or older: the next on this way.
    Upgrade(Path),
    /// Install the same version again, because the package is damaged, and how.
    Reinstall(Version, String),
    /// Have this service run what is installed: it is down, or still runs an older binary.
    Restart(Version, String),
}

/// Why a change waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// For this window, which opens after so long.
    Window(Window, TimeDelta),
    /// For a second look: there are no windows to go by, and this is the first pass to see it.
    SecondLook(Absence),
}

/// Why a change is made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A person wants it.
    Forced,
    /// The operator calls it critical.
    Critical,
    /// The agent is down, and can only get better: which service, and how it is.
    Down(String, String),
    /// There are still no windows to go by.
    ScheduleAbsent(Absence),
    /// The window is open.
    Window {
        /// When it closes.
        until: DateTime<Utc>,
    },
}

/// The table of the design, row by row: the first that applies.
pub fn decide(seen: &Observation) -> Decision {
    if let Some(change) = &seen.history.unfinished {
        return Decision::Finish(change.clone());
    }
    if seen.windows == WindowStatus::Absent(Absence::Nop) {
        return Decision::NotAllowed(NotAllowed::Nop);
    }
    if let Some(host) = &seen.settings.cluster_service {
        return Decision::NotAllowed(NotAllowed::ClusterHost(host.clone()));
    }
    let target = match &seen.target {
        None => return Decision::Ask(Question::Target),
        Some(Target::None) => return Decision::Nothing(Idle::NoTarget),
        Some(Target::Version(version)) => version,
    };
    if seen.agent.package.version != *target {
        return change(seen, target);
    }
    match repair(seen).or_else(|| outdated(seen)) {
        None => Decision::Nothing(Idle::UpToDate),
        Some(action) => timed(seen, action),
    }
}

/// The rows for a target that is not installed.
fn change(seen: &Observation, target: &Version) -> Decision {
    let installed = &seen.agent.package.version;
    // It must not be installed; but an agent in pieces is no use to anybody, whatever its version.
    let or_repair = |decision| repair(seen).map_or(decision, |action| timed(seen, action));
    let refuse = |limit| {
        or_repair(Decision::NotAllowed(NotAllowed::Change {
            from: installed.clone(),
            to: target.clone(),
            limit,
        }))
    };
    if let Err(limit) = compatibility::check(installed, target, &seen.limits) {
        return refuse(limit);
    }
    let Some(cluster) = &seen.cluster else {
        return Decision::Ask(Question::Cluster);
    };
    if let Err(limit) = compatibility::check_cluster(target, cluster) {
        return refuse(limit);
    }
    let path = match &seen.offer {
        _ if path::is_one_step(installed, target) => Path::direct(installed, target),
        Some(Offer::Versions(offered, source)) => match Path::through(installed, target, offered) {
            Ok(path) => path,
            Err(missing) => return refuse(Limit::NoWay(missing, offered.clone(), source.clone())),
        },
        // What an old index lacks may be there by now.
        Some(Offer::Cached(known)) => {
            Path::through(installed, target, known).unwrap_or(Path::unseen(installed, target))
        }
        // Asking takes a refresh of the index, which only a change that is made now is worth.
        None => {
            return match timed(seen, Action::Upgrade(Path::unseen(installed, target))) {
                Decision::Go(..) => Decision::Ask(Question::Offer),
                other => other,
            };
        }
    };
    match &seen.history.failed {
        Some(failed) if !seen.forced && is_held(failed, &path) => {
            or_repair(Decision::Skip(failed.clone()))
        }
        _ => timed(seen, Action::Upgrade(path)),
    }
}

/// When the schedule was first seen to be of no use: what the history must say after this pass.
pub fn schedule_absent_since(seen: &Observation) -> Option<DateTime<Utc>> {
    match seen.windows {
        // That says nothing of the agent.
        WindowStatus::Absent(Absence::Nop) => None,
        WindowStatus::Absent(_) => seen.history.schedule_absent_since.or(Some(seen.now)),
        _ => None,
    }
}

/// Whether an earlier failure speaks against the next step. It does not when the agent was left in pieces: it can only get better.
fn is_held(failed: &FailedTarget, path: &Path) -> bool {
    // A stop that failed on the way to another target may be tried again on the way to this one.
    let same_goal = path.goal().is_none() || path.goal() == failed.goal.as_ref();
    !failed.rollback_failed && path.next() == Some(&failed.target) && same_goal
}

/// What has to be done for a service to run the version that is installed, if it still runs an older one.
fn outdated(seen: &Observation) -> Option<Action> {
    seen.agent
        .outdated()
        .map(|service| Action::Restart(seen.agent.package.version.clone(), service.unit.clone()))
}

/// What has to be done for the agent to run the version that is installed, if it is in pieces or down.
fn repair(seen: &Observation) -> Option<Action> {
    let installed = &seen.agent.package;
    if let Some(damage) = &installed.damage {
        return Some(Action::Reinstall(installed.version.clone(), damage.clone()));
    }
    down(seen).map(|service| Action::Restart(installed.version.clone(), service.unit.clone()))
}

/// The first service that is down although it should be up. A single crash is systemd's to mend, unless what it would start again
/// is known to be broken.
fn down(seen: &Observation) -> Option<&Service> {
    let broken = seen.agent.package.damage.is_some()
        || seen
            .history
            .failed
            .as_ref()
            .is_some_and(|failed| failed.rollback_failed);
    let is_down = |service: &&Service| match service.health {
        Health::Failed(_) => true,
        Health::CrashLooping => broken || restarts_since(&seen.history, service) >= LOOP,
        Health::Crashed => broken,
        _ => false,
    };
    seen.agent.services.iter().find(is_down)
}

/// How often systemd has restarted a service since the last pass looked. It counts from the service's start, months ago perhaps.
fn restarts_since(history: &History, service: &Service) -> u32 {
    let known = history.restarts.get(&service.unit).copied().unwrap_or(0);
    // A start by hand sets the count back.
    service
        .restarts
        .checked_sub(known)
        .unwrap_or(service.restarts)
}

/// Whether `action` is for now or for later.
fn timed(seen: &Observation, action: Action) -> Decision {
    if seen.forced {
        return Decision::Go(action, Cause::Forced);
    }
    if let Some(service) = down(seen) {
        return Decision::Go(
            action,
            Cause::Down(service.unit.clone(), service.health.to_string()),
        );
    }
    let wait = match &seen.windows {
        WindowStatus::Inside { until } => {
            return Decision::Go(action, Cause::Window { until: *until });
        }
        WindowStatus::Absent(absence) if seen.history.schedule_absent_since.is_some() => {
            return Decision::Go(action, Cause::ScheduleAbsent(absence.clone()));
        }
        WindowStatus::Absent(absence) => Wait::SecondLook(absence.clone()),
        WindowStatus::Before(window) => Wait::Window(*window, window.start - seen.now),
    };
    // Asked only here: everywhere else the answer would change nothing.
    match seen.critical {
        None => Decision::Ask(Question::Critical),
        Some(true) => Decision::Go(action, Cause::Critical),
        Some(false) => Decision::Wait(action, wait),
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Window(window, pause) => write!(
                f,
                "outside the maintenance window; the next one opens {} (in {})",
                times::utc(window.start),
                times::span(*pause)
            ),
            Wait::SecondLook(absence) => {
                write!(
                    f,
                    "{absence}; if the next pass still finds it so, it upgrades without a window"
                )
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Forced => write!(f, "it was asked for with \"force\""),
            Cause::Critical => write!(f, "the release channel calls it critical"),
            Cause::Down(unit, health) => write!(f, "{unit} {health}, and it can only get better"),
            Cause::ScheduleAbsent(absence) => {
                write!(f, "{absence}, as an earlier pass already saw")
            }
            Cause::Window { until } => write!(
                f,
                "the maintenance window is open until {}",
                times::utc(*until)
            ),
        }
    }
}

impl Action {
    /// The version that the agent runs afterwards.
    pub fn target(&self) -> &Version {
        match self {
            Action::Upgrade(path) => path.next().unwrap_or(&path.target),
            Action::Reinstall(version, _) | Action::Restart(version, _) => version,
        }
    }

    /// What has been done, as a sentence has it: "upgraded from ...".
    pub fn done(&self) -> String {
        match self {
            Action::Upgrade(path) if path.target < path.from => format!("went back {}", step(path)),
            Action::Upgrade(path) => format!("upgraded {}", step(path)),
            Action::Reinstall(version, damage) => format!("installed {version} again ({damage})"),
            Action::Restart(version, unit) => format!("had {unit} run the installed {version}"),
        }
    }

    /// What is being done: "upgrading from ...".
    pub fn doing(&self) -> String {
        match self {
            Action::Upgrade(path) if path.target < path.from => {
                format!("downgrading {}", step(path))
            }
            Action::Upgrade(path) => format!("upgrading {}", step(path)),
            Action::Reinstall(version, _) => format!("reinstalling {version}"),
            Action::Restart(version, unit) => format!("restarting {unit} on {version}"),
        }
    }

    /// What is done next, where that is only a part of it: "upgrade from 12.4.1 to 13.4.15 on the way to 14.3.34".
    pub fn attempt(&self) -> String {
        match self {
            Action::Upgrade(path) if path.goal().is_some() => format!("upgrade {}", step(path)),
            other => other.to_string(),
        }
    }
}

/// The next step on a way.
fn step(path: &Path) -> String {
    match (path.next(), path.goal()) {
        (Some(next), Some(goal)) => format!("from {} to {next} on the way to {goal}", path.from),
        _ => path.to_string(),
    }
}

impl fmt::Display for Action {
    /// What is to be done: "upgrade from ...".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Upgrade(path) if path.target < path.from => write!(f, "go back {path}"),
            Action::Upgrade(path) => write!(f, "upgrade {path}"),
            Action::Reinstall(version, damage) => write!(f, "install {version} again ({damage})"),
            Action::Restart(version, unit) => write!(f, "have {unit} run the installed {version}"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::agent::schedule::Schedule;
    use crate::agent::service::Binary;
    use crate::agent::settings::start::Start;
    use crate::packages::package::{Database, Installed};
    use crate::server::cluster::Reach;

    /// 2026-11-20 02:00 UTC, in the middle of nowhere.
    const NOW: i64 = 1_795_140_000;

    pub(in crate::decide) fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn next_window() -> Window {
        Window {
            start: at(NOW + 3600),
            stop: at(NOW + 7200),
        }
    }

    /// A sound agent of 14.3.33, outside the window; the channel wants 14.3.34 and does not call it critical.
    pub(in crate::decide) fn seen() -> Observation {
        Observation {
            now: at(NOW),
            forced: false,
            agent: Agent {
                package: Installed {
                    name: "teleport-ent".into(),
                    version: version("14.3.33"),
                    package_version: "14.3.33".into(),
                    damage: None,
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
            target: Some(Target::Version(version("14.3.34"))),
            critical: Some(false),
            limits: Limits::default(),
            settings: Settings::defaults("/etc/teleport.yaml"),
            cluster: Some(Cluster::Unknown(String::new(), Reach::Unknown)),
            offer: None,
        }
    }

    fn up() -> Action {
        Action::Upgrade(Path::direct(&version("14.3.33"), &version("14.3.34")))
    }

    fn failed(target: &str) -> Option<FailedTarget> {
        let (target, reason) = (version(target), "it crashed".to_string());
        Some(FailedTarget {
            target,
            goal: None,
            reason,
            at: at(NOW - 86_400),
            rollback_failed: false,
        })
    }

    fn change() -> Change {
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
        }
    }

    #[test]
    fn a_pass_that_was_cut_off_is_finished_first() {
        let mut seen = seen();
        seen.history.unfinished = Some(change());
        seen.forced = true;
        assert_eq!(decide(&seen), Decision::Finish(change()));
        seen.target = None;
        assert_eq!(
            decide(&seen),
            Decision::Finish(change()),
            "without asking any server"
        );
    }

    #[test]
    fn the_target_is_asked_for() {
        assert_eq!(
            decide(&Observation {
                target: None,
                ..seen()
            }),
            Decision::Ask(Question::Target)
        );
    }

    #[test]
    fn no_target_nothing() {
        let none = Observation {
            target: Some(Target::None),
            forced: true,
            ..seen()
        };
        assert_eq!(decide(&none), Decision::Nothing(Idle::NoTarget));
    }

    #[test]
    fn what_breaks_the_compatibility_rule_is_refused() {
        for target in ["16.0.0", "12.0.0", "14.3.34-rc.1"] {
            let mut seen = Observation {
                target: Some(Target::Version(version(target))),
                ..seen()
            };
            seen.offer = Some(Offer::Versions(
                Vec::new(),
                "/etc/apt/sources.list.d/teleport.list".into(),
            ));
            (seen.forced, seen.critical) = (true, Some(true));
            assert!(
                matches!(decide(&seen), Decision::NotAllowed(_)),
                "{target}, forced and critical"
            );
        }
    }

    #[test]
    fn versions_match_nothing() {
        let mut seen = Observation {
            target: Some(Target::Version(version("14.3.33"))),
            critical: None,
            ..seen()
        };
        let nothing = Decision::Nothing(Idle::UpToDate);
        assert_eq!(decide(&seen), nothing);
        seen.forced = true;
        assert_eq!(decide(&seen), nothing, "not even by force");
    }

    #[test]
    fn a_damaged_package_is_installed_again_in_its_time() {
        let mut seen = Observation {
            target: Some(Target::Version(version("14.3.33"))),
            ..seen()
        };
        seen.agent.package.damage = Some("broken".into());
        let again = Action::Reinstall(version("14.3.33"), "broken".into());
        assert!(matches!(decide(&seen), Decision::Wait(action, _) if action == again));
        for health in [
            Health::Failed("exit-code".into()),
            Health::CrashLooping,
            Health::Crashed,
        ] {
            seen.agent.services[0].health = health;
            assert!(
                matches!(decide(&seen), Decision::Go(action, Cause::Down(..)) if action == again)
            );
        }
    }

    #[test]
    fn an_agent_that_is_down_is_not_up_to_date() {
        let mut seen = Observation {
            target: Some(Target::Version(version("14.3.33"))),
            ..seen()
        };
        seen.agent.services[0].health = Health::CrashLooping;
        let again = Action::Restart(version("14.3.33"), "teleport.service".into());
        assert!(matches!(decide(&seen), Decision::Go(action, Cause::Down(..)) if action == again));
        for health in [Health::Stopped, Health::Crashed, Health::Changing] {
            seen.agent.services[0].health = health;
            assert!(
                matches!(decide(&seen), Decision::Nothing(_)),
                "systemd sees to it, or a person has stopped it"
            );
        }
    }

    #[test]
    fn a_service_with_an_older_binary_is_restarted_in_its_time() {
        let mut seen = Observation {
            target: Some(Target::Version(version("14.3.33"))),
            ..seen()
        };
        seen.agent.services[0].binary = Binary::Replaced;
        let restart = Action::Restart(version("14.3.33"), "teleport.service".into());
        assert!(matches!(decide(&seen), Decision::Wait(action, _) if action == restart));
        seen.windows = WindowStatus::Inside {
            until: at(NOW + 60),
        };
        assert!(
            matches!(decide(&seen), Decision::Go(action, Cause::Window { .. }) if action == restart)
        );
        seen.agent.services[0].health = Health::Stopped;
        assert!(
            matches!(decide(&seen), Decision::Nothing(_)),
            "a stopped service is left stopped"
        );
    }

    #[test]
    fn force_goes_whatever_the_window_and_an_earlier_failure() {
        let mut seen = Observation {
            forced: true,
            ..seen()
        };
        seen.history.failed = failed("14.3.34");
        assert_eq!(decide(&seen), Decision::Go(up(), Cause::Forced));
    }

    #[test]
    fn a_target_that_failed_here_is_held_until_it_changes() {
        let mut seen = Observation {
            critical: Some(true),
            ..seen()
        };
        seen.windows = WindowStatus::Inside {
            until: at(NOW + 60),
        };
        seen.history.failed = failed("14.3.34");
        assert_eq!(decide(&seen), Decision::Skip(failed("14.3.34").unwrap()));
        seen.history.failed = failed("14.3.35");
        assert!(
            matches!(decide(&seen), Decision::Go(..)),
            "another target did"
        );
        seen.history.failed = failed("14.3.34").map(|failed| FailedTarget {
            rollback_failed: true,
            ..failed
        });
        assert!(matches!(decide(&seen), Decision::Go(..)), "nothing to lose");
    }

    #[test]
    fn a_target_that_may_not_be_installed_does_not_keep_what_is_there_from_being_mended() {
        for (target, held) in [("14.3.34", true), ("12.0.0", false)] {
            let mut seen = Observation {
                target: Some(Target::Version(version(target))),
                ..seen()
            };
            seen.history.failed = failed("14.3.34").filter(|_| held);
            seen.agent.services[0].health = Health::Failed("exit-code".into());
            let restart = Action::Restart(version("14.3.33"), "teleport.service".into());
            assert!(
                matches!(decide(&seen), Decision::Go(action, Cause::Down(..)) if action == restart),
                "{target}"
            );
            seen.agent.package.damage = Some("broken".into());
            let again = Action::Reinstall(version("14.3.33"), "broken".into());
            assert!(
                matches!(decide(&seen), Decision::Go(action, Cause::Down(..)) if action == again),
                "{target}"
            );
        }
    }

    #[test]
    fn force_mends_at_once_what_may_not_be_upgraded() {
        let mut seen = Observation {
            target: Some(Target::Version(version("12.0.0"))),
            forced: true,
            ..seen()
        };
        seen.agent.package.damage = Some("broken".into());
        let again = Action::Reinstall(version("14.3.33"), "broken".into());
        assert_eq!(
            decide(&seen),
            Decision::Go(again.clone(), Cause::Forced),
            "outside the window"
        );
        seen.forced = false;
        assert!(matches!(decide(&seen), Decision::Wait(action, _) if action == again));
    }

    #[test]
    fn a_host_of_the_cluster_itself_is_refused_before_anything_is_asked() {
        let mut seen = Observation {
            target: None,
            cluster: None,
            forced: true,
            ..seen()
        };
        seen.settings = Settings::parse("/etc/teleport.yaml", "", &Start::default());
        seen.agent.services[0].health = Health::Failed("exit-code".into());
        assert!(matches!(
            decide(&seen),
            Decision::NotAllowed(NotAllowed::ClusterHost(_))
        ));
        seen.history.unfinished = Some(change());
        assert!(
            matches!(decide(&seen), Decision::Finish(_)),
            "what was begun is ended"
        );
    }

    #[test]
    fn a_host_of_the_later_updater_is_refused_before_anything_is_asked() {
        let mut seen = Observation {
            target: None,
            cluster: None,
            forced: true,
            ..seen()
        };
        seen.windows = WindowStatus::Absent(Absence::Nop);
        seen.agent.services[0].health = Health::Failed("exit-code".into());
        assert_eq!(decide(&seen), Decision::NotAllowed(NotAllowed::Nop));
        assert_eq!(
            schedule_absent_since(&seen),
            None,
            "a schedule that comes later is waited for"
        );
        seen.history.unfinished = Some(change());
        assert!(
            matches!(decide(&seen), Decision::Finish(_)),
            "what was begun is ended"
        );
    }

    #[test]
    fn the_cluster_is_asked_only_for_a_change_of_version_that_nothing_else_forbids() {
        let asked = |target: &str| {
            let seen = Observation {
                target: Some(Target::Version(version(target))),
                cluster: None,
                ..seen()
            };
            decide(&seen) == Decision::Ask(Question::Cluster)
        };
        assert!(asked("14.3.34") && asked("13.0.0") && asked("18.0.0"));
        assert!(!asked("14.3.33") && !asked("12.0.0") && !asked("15.0.0-rc.1"));
    }

    #[test]
    fn the_repository_is_asked_only_for_a_way_that_is_gone_now() {
        let mut seen = Observation {
            target: Some(Target::Version(version("16.0.0"))),
            ..seen()
        };
        let wait = decide(&seen);
        assert!(
            matches!(&wait, Decision::Wait(Action::Upgrade(path), _) if path.next().is_none()),
            "{wait:?}"
        );
        assert_eq!(
            decide(&Observation {
                forced: true,
                ..seen.clone()
            }),
            Decision::Ask(Question::Offer)
        );
        seen.critical = Some(true);
        assert_eq!(decide(&seen), Decision::Ask(Question::Offer));
        seen.offer = Some(Offer::Cached(vec![version("16.0.0")]));
        let decision = decide(&seen);
        assert!(
            matches!(decision, Decision::Go(Action::Upgrade(path), _) if path.next().is_none()),
            "an old index proves nothing"
        );
        seen.offer = Some(Offer::Versions(
            vec![version("15.1.0"), version("16.0.0")],
            "x".into(),
        ));
        assert!(
            matches!(decide(&seen), Decision::Go(action, Cause::Critical) if *action.target() == version("15.1.0"))
        );
    }

    #[test]
    fn critical_goes() {
        assert_eq!(
            decide(&Observation {
                critical: Some(true),
                ..seen()
            }),
            Decision::Go(up(), Cause::Critical)
        );
        let mut absent = Observation {
            critical: Some(true),
            ..seen()
        };
        absent.windows = WindowStatus::Absent(Absence::Missing);
        assert_eq!(decide(&absent), Decision::Go(up(), Cause::Critical));
    }

    #[test]
    fn critical_is_asked_only_when_it_changes_something() {
        assert_eq!(
            decide(&Observation {
                critical: None,
                ..seen()
            }),
            Decision::Ask(Question::Critical)
        );
        let mut inside = Observation {
            critical: None,
            ..seen()
        };
        inside.windows = WindowStatus::Inside {
            until: at(NOW + 60),
        };
        assert!(matches!(decide(&inside), Decision::Go(..)));
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
            assert_eq!(
                matches!(decide(&seen), Decision::Go(..)),
                loops,
                "{before} -> {now}"
            );
        }
    }

    #[test]
    fn a_service_that_is_down_goes() {
        for health in [Health::Failed("exit-code".into()), Health::CrashLooping] {
            let mut seen = Observation {
                critical: None,
                ..seen()
            };
            seen.agent.services[0].health = health.clone();
            assert_eq!(
                decide(&seen),
                Decision::Go(
                    up(),
                    Cause::Down("teleport.service".into(), health.to_string())
                )
            );
        }
    }

    #[test]
    fn without_windows_the_first_pass_waits_and_the_second_goes() {
        for absence in [
            Absence::Missing,
            Absence::Empty,
            Absence::Past(at(NOW - 1)),
            Absence::Unreadable("x".into()),
        ] {
            let mut seen = seen();
            seen.windows = WindowStatus::Absent(absence.clone());
            assert_eq!(
                decide(&seen),
                Decision::Wait(up(), Wait::SecondLook(absence.clone()))
            );
            seen.history.schedule_absent_since = schedule_absent_since(&seen);
            seen.now += TimeDelta::minutes(30);
            assert_eq!(
                decide(&seen),
                Decision::Go(up(), Cause::ScheduleAbsent(absence))
            );
            assert_eq!(
                schedule_absent_since(&seen),
                Some(at(NOW)),
                "the mark keeps its time"
            );
        }
    }

    #[test]
    fn a_good_schedule_in_between_clears_the_mark() {
        let mut seen = seen();
        seen.history.schedule_absent_since = Some(at(NOW - 1800));
        for windows in [
            WindowStatus::Before(next_window()),
            WindowStatus::Inside { until: at(NOW + 1) },
        ] {
            seen.windows = windows;
            assert_eq!(schedule_absent_since(&seen), None);
        }
    }

    #[test]
    fn inside_goes_and_outside_waits_at_the_corner_seconds() {
        let schedule = Schedule::parse(&format!("{} {}\n", NOW, NOW + 3600));
        for (now, inside) in [(NOW - 1, false), (NOW, true), (NOW + 3599, true)] {
            let seen = Observation {
                now: at(now),
                windows: schedule.status(at(now)),
                ..seen()
            };
            assert_eq!(
                matches!(decide(&seen), Decision::Go(_, Cause::Window { .. })),
                inside,
                "{now}"
            );
            assert_eq!(
                matches!(decide(&seen), Decision::Wait(_, Wait::Window(..))),
                !inside,
                "{now}"
            );
        }
        let after = Observation {
            now: at(NOW + 3600),
            windows: schedule.status(at(NOW + 3600)),
            ..seen()
        };
        assert!(matches!(
            decide(&after),
            Decision::Wait(_, Wait::SecondLook(Absence::Past(_)))
        ));
    }

    #[test]
    fn a_lower_target_is_a_rollback_and_timed_like_an_upgrade() {
        let mut seen = Observation {
            target: Some(Target::Version(version("14.3.32"))),
            ..seen()
        };
        assert!(matches!(decide(&seen), Decision::Wait(..)));
        seen.windows = WindowStatus::Inside {
            until: at(NOW + 60),
        };
        let down = Action::Upgrade(Path::direct(&version("14.3.33"), &version("14.3.32")));
        assert_eq!(
            decide(&seen),
            Decision::Go(
                down,
                Cause::Window {
                    until: at(NOW + 60)
                }
            )
        );
    }

    #[test]
    fn sentences_name_the_reason_and_the_next_step() {
        let wait = Wait::Window(next_window(), TimeDelta::seconds(3600));
        assert_eq!(
            wait.to_string(),
            "outside the maintenance window; the next one opens 2026-11-20 03:00 UTC (in 1 h)"
        );
        let look = Wait::SecondLook(Absence::Missing).to_string();
        assert_eq!(
            look,
            "the agent has exported no maintenance schedule; if the next pass still finds it so, it upgrades without a window"
        );
        let open = Cause::Window { until: at(NOW) }.to_string();
        assert_eq!(
            open,
            "the maintenance window is open until 2026-11-20 02:00 UTC"
        );
    }
}
