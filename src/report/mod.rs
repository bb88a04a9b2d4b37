//! What people and machines are shown: everything observed and decided as one value, and its forms.
//!
//! `packaging/status.schema.json` describes the JSON. Additions are optional properties; a property that changes its meaning needs
//! another schema number.

pub mod agent;
pub mod decision;
pub mod history;
pub mod metrics;
pub mod notice;
pub mod outcome;
pub mod page;
pub mod words;

use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::agent::schedule::{Absence, Schedule, Window, WindowStatus};
use crate::config::endpoint::Endpoint;
use crate::config::{Config, WINDOWS};
use crate::decide::decision::Decision;
use crate::decide::observation::Observation;
use crate::decide::rollout::Standing;
use crate::packages::installer::Installer;
use crate::report::agent::AgentReport;
use crate::report::decision::DecisionReport;
use crate::server::answers::{Cluster, Percentage, Target};
use crate::state::changes::{Changes, Ended};
use crate::state::current_run::CurrentRun;
use crate::state::history::{Counts, FailedTarget, History, LastRun};
use crate::system::timer::Timer;
use crate::version::Version;

/// The number of the schema.
pub const SCHEMA: u32 = 1;

/// Everything known of a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The number of the schema.
    pub schema: u32,
    /// The version of this program.
    pub program: &'static str,
    /// When this was observed.
    pub time: DateTime<Utc>,
    /// The agent on this host.
    pub agent: Option<AgentReport>,
    /// The release channel.
    pub channel: Option<ChannelReport>,
    /// The rollout of the target version; nothing if it was not asked, because the answer changes nothing.
    pub rollout: Option<RolloutReport>,
    /// The agent's cluster; nothing if it was not asked, because the answer changes nothing.
    pub cluster: Option<ClusterReport>,
    /// What the settings allow.
    pub limits: Option<LimitsReport>,
    /// What would be done now, and why.
    pub decision: DecisionReport,
    /// The maintenance windows.
    pub schedule: Option<ScheduleReport>,
    /// The package hold.
    pub lock: Option<LockReport>,
    /// The timer that starts runs.
    pub timer: Option<Timer>,
    /// The version that failed on this host.
    pub failed_version: Option<FailedTarget>,
    /// The run that is in progress.
    pub in_progress: Option<CurrentRun>,
    /// How the last run went.
    pub last_run: Option<LastRun>,
    /// The last change of the agent, or attempt.
    pub last_change: Option<Ended>,
    /// How often each result occurred.
    pub counts: Counts,
    /// What could not be observed, or would prevent an upgrade.
    pub problems: Vec<String>,
    /// The latest changes, for the metrics.
    #[serde(skip)]
    pub changes: Changes,
    /// The package manager, for the agent's part of the report.
    #[serde(skip)]
    pub installer: Option<Installer>,
}

/// The agent's cluster. An agent must not be newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterReport {
    /// Its version, if a server reports it.
    pub version: Option<Version>,
    /// The server that reports it.
    pub address: Option<String>,
    /// Why no server does.
    pub problem: Option<String>,
}

/// What the settings allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitsReport {
    /// The version or major version that the host is pinned to.
    pub pin: Option<String>,
    /// Whether pre-releases are allowed.
    pub prerelease: bool,
}

/// The release channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelReport {
    /// The channel's address.
    pub address: String,
    /// Whether it answered.
    pub answered: bool,
    /// Its target version; nothing if updates are paused, or it did not answer.
    pub target: Option<Version>,
    /// Whether the target version is critical; nothing if that was not asked, because the answer changes nothing.
    pub critical: Option<bool>,
}

/// The rollout of the target version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RolloutReport {
    /// The percentage of the hosts that the version is for, if the channel reports it.
    pub percent: Option<f64>,
    /// The position of this host, from 0 to 100.
    pub position: f64,
    /// Whether the rollout has reached this host.
    pub reached: bool,
    /// Why the percentage is unknown.
    pub problem: Option<String>,
}

/// The maintenance windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScheduleReport {
    /// Who sets them.
    pub source: ScheduleSource,
    /// The file that contains them.
    pub file: PathBuf,
    /// When it was last written.
    pub written: Option<DateTime<Utc>>,
    /// Whether one is open, or why none is usable.
    pub state: ScheduleState,
    /// Why there are no usable windows.
    pub problem: Option<String>,
    /// The windows that are not over, by their start.
    pub windows: Vec<Window>,
}

/// Who sets the maintenance windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleSource {
    /// The agent exports those of its cluster.
    Agent,
    /// The host's own setting replaces them.
    Host,
}

/// The state of the maintenance windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleState {
    /// A window is open.
    Open,
    /// The next window opens later.
    Closed,
    /// The agent has not exported any.
    Missing,
    /// The agent is new or disconnected from the cluster.
    Empty,
    /// `teleport-update` manages the host.
    Nop,
    /// All windows are over.
    Past,
    /// The file cannot be read or understood.
    Unreadable,
}

/// Whether the package is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LockReport {
    /// Whether the setting `lock` is enabled.
    pub enabled: bool,
    /// Whether the package is held.
    pub held: bool,
    /// Whether this program holds it.
    pub ours: bool,
}

impl Report {
    /// What the services need to export their maintenance windows, unless the host's own replace them.
    pub fn export_advice(&self) -> impl Iterator<Item = &String> {
        let schedule = self.schedule.as_ref();
        let is_needed = schedule.is_none_or(|schedule| schedule.source == ScheduleSource::Agent);
        let services = self.agent.iter().flat_map(|agent| &agent.services);
        services
            .filter_map(|service| service.export_advice.as_ref())
            .filter(move |_| is_needed)
    }

    /// What the records of this host contain, before anything is observed.
    pub fn new(time: DateTime<Utc>, history: &History, last_run: Option<LastRun>) -> Report {
        Report {
            schema: SCHEMA,
            program: env!("CARGO_PKG_VERSION"),
            time,
            agent: None,
            channel: None,
            rollout: None,
            cluster: None,
            limits: None,
            decision: DecisionReport::unknown("nothing was observed".into()),
            schedule: None,
            lock: None,
            timer: None,
            failed_version: history.failed.clone(),
            in_progress: None,
            last_run,
            last_change: history.changes.newest_first().next().cloned(),
            counts: history.counts,
            problems: Vec::new(),
            changes: history.changes.clone(),
            installer: None,
        }
    }

    /// Adds what was observed.
    pub fn observed(&mut self, config: &Config, seen: &Observation) {
        let last_run = self.last_run.as_ref();
        self.agent = Some(AgentReport::of(&seen.agent, self.installer, last_run));
        let channel = config.endpoint.as_ref();
        self.channel = channel.map(|channel| ChannelReport::of(channel, seen));
        self.rollout = Standing::of(seen).map(RolloutReport::of);
        self.cluster = seen.cluster.as_ref().map(ClusterReport::of);
        let pin = seen.limits.pin.as_ref().map(ToString::to_string);
        self.limits = Some(LimitsReport {
            pin,
            prerelease: seen.limits.prerelease,
        });
        // Without a channel there are no checks, so nothing changes the hold.
        self.lock = channel.map(|_| LockReport {
            enabled: config.lock,
            held: seen.agent.package.held,
            ours: seen.history.held_by_us,
        });
    }

    /// Adds what was observed and decided.
    pub fn decided(&mut self, config: &Config, seen: &Observation, decision: &Decision) {
        self.observed(config, seen);
        self.decision = DecisionReport::of(seen, decision);
    }

    /// Adds what this run recorded.
    pub fn recorded(&mut self, history: &History, last_run: LastRun) {
        self.failed_version.clone_from(&history.failed);
        self.last_change = history.changes.newest_first().next().cloned();
        self.changes.clone_from(&history.changes);
        self.counts = history.counts;
        self.last_run = Some(last_run);
    }
}

impl ChannelReport {
    fn of(channel: &Endpoint, seen: &Observation) -> ChannelReport {
        let target = match &seen.target {
            Some(Target::Version(version)) => Some(version.clone()),
            _ => None,
        };
        ChannelReport {
            address: channel.to_string(),
            answered: seen.target.is_some(),
            target,
            critical: seen.critical,
        }
    }
}

impl RolloutReport {
    fn of(standing: Standing) -> RolloutReport {
        let reached = standing.is_reached();
        let (percent, problem) = match standing.percentage {
            Percentage::Known(percent) => (Some(percent), None),
            Percentage::Unknown(problem) => (None, Some(problem)),
        };
        RolloutReport {
            percent,
            position: standing.position,
            reached,
            problem,
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

impl ScheduleReport {
    /// The schedule that applies at this moment.
    pub fn of(config: &Config, schedule: Schedule, now: DateTime<Utc>) -> ScheduleReport {
        let status = schedule.status(now);
        let state = match &status {
            WindowStatus::Inside { .. } => ScheduleState::Open,
            WindowStatus::Before(_) => ScheduleState::Closed,
            WindowStatus::Absent(Absence::Missing) => ScheduleState::Missing,
            WindowStatus::Absent(Absence::Empty) => ScheduleState::Empty,
            WindowStatus::Absent(Absence::Nop) => ScheduleState::Nop,
            WindowStatus::Absent(Absence::Past(_)) => ScheduleState::Past,
            WindowStatus::Absent(Absence::Unreadable(_)) => ScheduleState::Unreadable,
        };
        let (source, file) = match config.windows {
            Some(_) if state != ScheduleState::Nop => (
                ScheduleSource::Host,
                config.schedule.with_file_name(WINDOWS),
            ),
            _ => (ScheduleSource::Agent, config.schedule.clone()),
        };
        let metadata = fs::symlink_metadata(&file);
        let written = metadata.and_then(|metadata| metadata.modified()).ok();
        let problem = match &status {
            WindowStatus::Absent(absence) => Some(absence.to_string()),
            _ => None,
        };
        let windows = match schedule {
            Schedule::Windows(windows) => windows,
            _ => Vec::new(),
        };
        ScheduleReport {
            source,
            file,
            written: written.map(DateTime::from),
            state,
            problem,
            windows: windows
                .into_iter()
                .filter(|window| window.stop > now)
                .collect(),
        }
    }
}
