//! All that is known of a host and decided for it, as one value: `status`, JSON, the metrics and the login notice tell of it.
//!
//! `packaging/status.schema.json` describes it for programs. What is added there is optional; what has another meaning than before
//! needs another number.

pub mod metrics;
pub mod notice;
pub mod outcome;
pub mod page;
pub mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::agent::Agent;
use crate::agent::schedule::{Absence, Schedule, Window, WindowStatus};
use crate::agent::service::{Binary, Health, Service};
use crate::agent::settings::start::Exports;
use crate::config::{Config, Installer};
use crate::decide::compatibility::NotAllowed;
use crate::decide::path::{Path, Stops};
use crate::decide::policy::{Action, Decision, Idle, Observation, Wait};
use crate::server::channel::Target;
use crate::server::cluster::Cluster;
use crate::state::current_run::CurrentRun;
use crate::state::history::{
    Change, Counts, Done, FailedTarget, Failure, History, LastRun, Running,
};
use crate::system::timer::Timer;
use crate::version::Version;

/// Which description of the object is meant.
pub const SCHEMA: u32 = 1;

/// The whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Which description this follows.
    pub schema: u32,
    /// The version of this program.
    pub program: &'static str,
    /// When all this was so.
    pub time: DateTime<Utc>,
    /// What runs on this host.
    pub agent: Option<AgentReport>,
    /// What is wanted.
    pub channel: Option<ChannelReport>,
    /// What the agent's cluster runs; nothing if it was not asked, because the answer changes nothing.
    pub cluster: Option<ClusterReport>,
    /// What the operator lets this host have.
    pub limits: Option<LimitsReport>,
    /// What would be done now, and why.
    pub decision: DecisionReport,
    /// When it may be done.
    pub schedule: Option<ScheduleReport>,
    /// Whether ordinary system updates leave the agent alone.
    pub lock: Option<LockReport>,
    /// What has passes made.
    pub timer: Option<Timer>,
    /// The version that was found unfit for this host.
    pub failed_version: Option<FailedTarget>,
    /// The run that is changing the host at this moment.
    pub in_progress: Option<CurrentRun>,
    /// How the last pass went.
    pub last_run: Option<LastRun>,
    /// The last change that went well.
    pub last_upgrade: Option<Done>,
    /// The last pass that failed for a reason that does not pass by itself.
    pub last_failure: Option<Failure>,
    /// How often what has happened.
    pub counts: Counts,
    /// What could not be found out, or stands against an upgrade to come.
    pub problems: Vec<String>,
    /// What installs the agent: known once, and not seen with it.
    #[serde(skip)]
    pub installer: Option<Installer>,
}

/// What the agent's cluster runs. An agent must not be newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterReport {
    /// The version; nothing if nobody says it.
    pub version: Option<Version>,
    /// Who says it.
    pub address: Option<String>,
    /// Why nobody does.
    pub problem: Option<String>,
}

/// What the operator lets this host have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitsReport {
    /// The version or major version that it is pinned to.
    pub pin: Option<String>,
    /// Whether it may have release candidates.
    pub prerelease: bool,
}

/// What runs on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentReport {
    /// The package.
    pub package: String,
    /// Its version.
    pub installed: Version,
    /// The version that all services run; nothing if they do not agree, or nobody knows which.
    pub running: Option<Version>,
    /// What installs it.
    pub installer: Option<Installer>,
    /// What is wrong with the package.
    pub damage: Option<String>,
    /// Whether the package is whole and every service runs.
    pub healthy: bool,
    /// The services.
    pub services: Vec<ServiceReport>,
}

/// A service that runs the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceReport {
    /// The unit.
    pub unit: String,
    /// The process in charge.
    pub pid: Option<i32>,
    /// The version that it runs; nothing if it runs none, or nobody knows which.
    pub version: Option<Version>,
    /// How it is doing, in a word.
    pub state: &'static str,
    /// The same in a sentence, after the unit's name.
    pub sentence: String,
    /// Whether it runs the binary on the disk.
    pub binary: &'static str,
    /// How often systemd has restarted it since a person last did.
    pub restarts: u32,
    /// Whether the process in charge exports its maintenance windows; nothing if nobody may look.
    pub exports_windows: Option<bool>,
    /// What has to be done for it to export them, as a sentence.
    #[serde(skip)]
    pub export_advice: Option<String>,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelReport {
    /// The channel's address.
    pub address: String,
    /// Whether it has answered.
    pub answered: bool,
    /// The version that it names; nothing if it names none, or has not answered.
    pub target: Option<Version>,
    /// Whether that is critical; nothing if that was not asked, because the answer changes nothing.
    pub critical: Option<bool>,
}

/// What would be done now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionReport {
    /// In a word.
    pub state: State,
    /// In a sentence, the one that `dry-run` and `run` end with.
    pub sentence: String,
    /// What is to be changed.
    pub action: Option<&'static str>,
    /// The version that the agent has in the end.
    pub to: Option<Version>,
    /// The versions that it has on the way there, as far as that is known.
    pub via: Vec<Version>,
    /// When the window opens that it waits for.
    pub opens: Option<DateTime<Utc>>,
    /// Whether this host is not for this program, so that no pass is of use to it. The sentence says so.
    #[serde(skip)]
    pub is_of_the_host: bool,
}

/// What would be done now, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not known: something could not be asked.
    Unknown,
    /// A change is being made at this moment.
    InProgress,
    /// A change was begun, and the run that made it is not there any more; or its rollback failed.
    Interrupted,
    /// Nothing: no version is wanted.
    Paused,
    /// Nothing: the agent runs the wanted version well.
    UpToDate,
    /// Nothing: this host must not run that version.
    NotAllowed,
    /// Nothing: the host is pinned to another version.
    Pinned,
    /// Nothing: that version has failed here.
    Skipped,
    /// A change, later.
    Waiting,
    /// A change, but the host's settings stand against it.
    InsecureConfig,
    /// A change, now.
    Due,
}

impl State {
    /// All of them, for the metrics.
    pub const ALL: [State; 11] = [
        State::Unknown,
        State::InProgress,
        State::Interrupted,
        State::Paused,
        State::UpToDate,
        State::NotAllowed,
        State::Pinned,
        State::Skipped,
        State::Waiting,
        State::InsecureConfig,
        State::Due,
    ];

    /// The word, as JSON has it.
    pub fn word(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::InProgress => "in-progress",
            State::Interrupted => "interrupted",
            State::Paused => "paused",
            State::UpToDate => "up-to-date",
            State::NotAllowed => "not-allowed",
            State::Pinned => "pinned",
            State::Skipped => "skipped",
            State::Waiting => "waiting",
            State::InsecureConfig => "insecure-config",
            State::Due => "due",
        }
    }
}

/// When the agent may be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScheduleReport {
    /// The file that the agent writes.
    pub file: PathBuf,
    /// When it last wrote it.
    pub written: Option<DateTime<Utc>>,
    /// How the time lies to the windows, in a word.
    pub state: &'static str,
    /// Why there are no windows to go by.
    pub problem: Option<String>,
    /// The windows that are not over, in the order of their start.
    pub windows: Vec<Window>,
}

/// Whether ordinary system updates leave the agent alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LockReport {
    /// Whether the configuration wants it so.
    pub wanted: bool,
    /// Whether it is so.
    pub held: bool,
    /// Whether that was our doing.
    pub ours: bool,
}

impl Report {
    /// What the host's own records say, before anything is asked.
    pub fn new(time: DateTime<Utc>, history: &History, last_run: Option<LastRun>) -> Report {
        Report {
            schema: SCHEMA,
            program: env!("CARGO_PKG_VERSION"),
            time,
            agent: None,
            channel: None,
            cluster: None,
            limits: None,
            decision: DecisionReport::unknown("nothing could be found out".into()),
            schedule: None,
            lock: None,
            timer: None,
            failed_version: history.failed.clone(),
            in_progress: None,
            last_run,
            last_upgrade: history.last_change.clone(),
            last_failure: history.last_failure.clone(),
            counts: history.counts,
            problems: Vec::new(),
            installer: None,
        }
    }

    /// Adds what was observed.
    pub fn observed(&mut self, config: &Config, seen: &Observation) {
        let known = self.last_run.as_ref().map(|last| &last.running);
        self.agent = Some(AgentReport::of(
            &seen.agent,
            self.installer,
            known.unwrap_or(&BTreeMap::new()),
        ));
        self.channel = Some(ChannelReport::of(config, seen));
        self.cluster = seen.cluster.as_ref().map(ClusterReport::of);
        let pin = seen.limits.pin.as_ref().map(ToString::to_string);
        self.limits = Some(LimitsReport {
            pin,
            prerelease: seen.limits.prerelease,
        });
        self.lock = Some(LockReport {
            wanted: config.lock,
            held: seen.agent.package.held,
            ours: seen.history.held_by_us,
        });
    }

    /// Adds what was observed and decided.
    pub fn decided(&mut self, config: &Config, seen: &Observation, decision: &Decision) {
        self.observed(config, seen);
        self.decision = DecisionReport::of(seen, decision);
    }

    /// Brings the host's own records up to date.
    pub fn recorded(&mut self, history: &History, last_run: LastRun) {
        self.failed_version.clone_from(&history.failed);
        self.last_upgrade.clone_from(&history.last_change);
        self.last_failure.clone_from(&history.last_failure);
        self.counts = history.counts;
        self.last_run = Some(last_run);
    }
}

impl AgentReport {
    fn of(
        agent: &Agent,
        installer: Option<Installer>,
        known: &BTreeMap<String, Running>,
    ) -> AgentReport {
        let package = &agent.package;
        let services: Vec<ServiceReport> = agent
            .services
            .iter()
            .map(|service| ServiceReport::of(service, &package.version, known.get(&service.unit)))
            .collect();
        let is_well = |service: &ServiceReport| ["running", "changing"].contains(&service.state);
        let running = services.first().and_then(|service| service.version.clone());
        AgentReport {
            package: package.name.clone(),
            installed: package.version.clone(),
            running: running.filter(|version| {
                services
                    .iter()
                    .all(|service| service.version.as_ref() == Some(version))
            }),
            installer,
            damage: package.damage.clone(),
            healthy: package.damage.is_none()
                && !services.is_empty()
                && services.iter().all(is_well),
            services,
        }
    }

    /// Which version each service runs, for the next pass to know.
    pub fn running(&self) -> BTreeMap<String, Running> {
        let running = |service: &ServiceReport| {
            Some(Running {
                pid: service.pid?,
                version: service.version.clone()?,
            })
        };
        self.services
            .iter()
            .filter_map(|service| Some((service.unit.clone(), running(service)?)))
            .collect()
    }
}

impl ServiceReport {
    /// `known` is what the last pass knew of it.
    fn of(service: &Service, installed: &Version, known: Option<&Running>) -> ServiceReport {
        let runs = |pid: i32| match service.binary {
            Binary::OnDisk => Some(installed.clone()),
            _ => known
                .filter(|known| known.pid == pid)
                .map(|known| known.version.clone()),
        };
        ServiceReport {
            unit: service.unit.clone(),
            pid: service.pid,
            version: service.pid.and_then(runs),
            state: match service.health {
                Health::Running => "running",
                Health::Changing => "changing",
                Health::Stopped => "stopped",
                Health::Failed(_) => "failed",
                Health::Crashed => "crashed",
                Health::CrashLooping => "crash-looping",
                Health::Absent => "absent",
            },
            sentence: service.health.to_string(),
            binary: match service.binary {
                Binary::OnDisk => "on-disk",
                Binary::Replaced => "replaced",
                Binary::Unknown => "unknown",
            },
            restarts: service.restarts,
            exports_windows: match service.exports {
                Exports::Unknown => None,
                Exports::Yes => Some(true),
                Exports::AfterRestart | Exports::No => Some(false),
            },
            export_advice: words::export_advice(service),
        }
    }
}

impl ChannelReport {
    fn of(config: &Config, seen: &Observation) -> ChannelReport {
        let target = match &seen.target {
            Some(Target::Version(version)) => Some(version.clone()),
            _ => None,
        };
        ChannelReport {
            address: config.endpoint.to_string(),
            answered: seen.target.is_some(),
            target,
            critical: seen.critical,
        }
    }
}

impl ClusterReport {
    fn of(cluster: &Cluster) -> ClusterReport {
        let (version, address, problem) = match cluster {
            Cluster::Runs(version, address) => {
                (Some(version.clone()), Some(address.to_string()), None)
            }
            Cluster::Unknown(why, _) => (None, None, Some(why.clone())),
        };
        ClusterReport {
            version,
            address,
            problem,
        }
    }
}

impl DecisionReport {
    /// Nothing could be decided, and why.
    pub fn unknown(why: String) -> DecisionReport {
        DecisionReport::without_a_look(State::Unknown, why)
    }

    /// What was decided before anything else was looked at.
    pub fn without_a_look(state: State, sentence: String) -> DecisionReport {
        DecisionReport {
            state,
            sentence,
            action: None,
            to: None,
            via: Vec::new(),
            opens: None,
            is_of_the_host: false,
        }
    }

    /// This host must not have what is wanted, or anything at all.
    pub fn refused(refusal: &NotAllowed) -> DecisionReport {
        let state = if refusal.is_a_pin() {
            State::Pinned
        } else {
            State::NotAllowed
        };
        let report = DecisionReport::without_a_look(state, words::refused(refusal));
        DecisionReport {
            is_of_the_host: refusal.is_of_the_host(),
            ..report
        }
    }

    /// A change that has to be ended first.
    pub fn unfinished(change: &Change, running: Option<&CurrentRun>) -> DecisionReport {
        let state = if running.is_some() {
            State::InProgress
        } else {
            State::Interrupted
        };
        DecisionReport {
            action: Some("upgrade"),
            to: Some(change.goal.as_ref().unwrap_or(&change.to).clone()),
            ..DecisionReport::without_a_look(state, words::unfinished(change, running))
        }
    }

    /// What was decided.
    pub fn of(seen: &Observation, decision: &Decision) -> DecisionReport {
        let state = match decision {
            Decision::Ask(_) => State::Unknown,
            Decision::Finish(change) => return DecisionReport::unfinished(change, None),
            Decision::Nothing(Idle::NoTarget) => State::Paused,
            Decision::Nothing(Idle::UpToDate) => State::UpToDate,
            Decision::NotAllowed(refusal) => return DecisionReport::refused(refusal),
            Decision::Skip(_) => State::Skipped,
            Decision::Wait(..) => State::Waiting,
            Decision::Go(..) => State::Due,
        };
        let action = match decision {
            Decision::Wait(action, _) | Decision::Go(action, _) => Some(action),
            _ => None,
        };
        let opens = match decision {
            Decision::Wait(_, Wait::Window(window, _)) => Some(window.start),
            _ => None,
        };
        let sentence =
            words::verdict(decision).unwrap_or_else(|| words::available(seen).join("; "));
        let report = DecisionReport {
            opens,
            ..DecisionReport::without_a_look(state, sentence)
        };
        let Some(action) = action else { return report };
        let (name, to, via) = match action {
            Action::Upgrade(Path {
                target,
                stops: Stops::Known(stops),
                ..
            }) => ("upgrade", target, stops.clone()),
            Action::Upgrade(Path {
                target,
                stops: Stops::Newest,
                ..
            }) => ("upgrade", target, Vec::new()),
            Action::Reinstall(version, _) => ("reinstall", version, Vec::new()),
            Action::Restart(version, _) => ("restart", version, Vec::new()),
        };
        DecisionReport {
            action: Some(name),
            to: Some(to.clone()),
            via,
            ..report
        }
    }
}

impl ScheduleReport {
    /// What the schedule says at this moment.
    pub fn of(
        file: PathBuf,
        schedule: &Schedule,
        written: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> ScheduleReport {
        let windows = match schedule {
            Schedule::Windows(windows) => windows
                .iter()
                .filter(|window| window.stop > now)
                .copied()
                .collect(),
            _ => Vec::new(),
        };
        let (state, problem) = match schedule.status(now) {
            WindowStatus::Inside { .. } => ("open", None),
            WindowStatus::Before(_) => ("closed", None),
            WindowStatus::Absent(absence) => (
                match absence {
                    Absence::Missing => "missing",
                    Absence::Empty => "empty",
                    Absence::Nop => "nop",
                    Absence::Past(_) => "past",
                    Absence::Unreadable(_) => "unreadable",
                },
                Some(absence.to_string()),
            ),
        };
        ScheduleReport {
            file,
            written,
            state,
            problem,
            windows,
        }
    }
}
