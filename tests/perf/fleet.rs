//! The hosts: their timers, and what they decide.

use super::MINUTE;
use super::timer::{Random, Running, Timer};
use chrono::{DateTime, Utc};
use std::ops::Range;
use teleport_upgrade::agent::schedule::Schedule;
use teleport_upgrade::agent::service::Reach;
use teleport_upgrade::agent::service::{Binary, Health, Service};
use teleport_upgrade::agent::settings::Settings;
use teleport_upgrade::decide::compatibility::Limits;
use teleport_upgrade::decide::decision::{Action, Decision, Next, Question, Wait};
use teleport_upgrade::decide::observation::{Agent, Observation};
use teleport_upgrade::decide::rollout::Place;
use teleport_upgrade::decide::{policy, prefetch};
use teleport_upgrade::packages::package::{Database, Installed};
use teleport_upgrade::server::answers::{Cluster, Percentage, Target};
use teleport_upgrade::state::history::History;
use teleport_upgrade::version::Version;

/// A run that has nothing to do takes so long, and one that upgrades so much longer: an install, and the watch over it.
const PASS: f64 = 0.1;
const UPGRADE: f64 = 40.0;
/// The simulation begins at this time, in Unix seconds: a midnight.
const MIDNIGHT: i64 = 1_795_132_800;

/// Hosts, and what happens to them.
pub struct Fleet {
    /// How many.
    pub hosts: usize,
    /// The timer of each.
    pub timer: Timer,
    /// When they were booted.
    pub boot: Boot,
    /// What there is to upgrade to.
    pub release: Option<Release>,
    /// Whether hosts that wait pre-download.
    pub prefetch: bool,
}

/// When hosts were booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// At some time of the two days before.
    Spread,
    /// All in the first second.
    AtOnce,
}

impl Boot {
    /// For the tables.
    pub fn name(self) -> &'static str {
        if self == Boot::Spread {
            "at any time"
        } else {
            "all at once"
        }
    }
}

/// A new version, and when hosts may go to it; in minutes from the beginning.
#[derive(Debug, Clone)]
pub struct Release {
    /// When the channel names it.
    pub at: usize,
    /// The maintenance window of all hosts.
    pub window: Range<usize>,
}

/// What happened, by the minute.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Requests to the version server.
    pub requests: Vec<u32>,
    /// Downloads of the package that began.
    pub downloads: Vec<u32>,
    /// Agents that were restarted.
    pub restarts: Vec<u32>,
    /// The longest time from the beginning of a host's pass to that of its next, in seconds.
    pub longest_gap: f64,
    /// Hosts that have not come to the new version.
    pub not_upgraded: usize,
}

impl Fleet {
    /// Lets so many minutes pass.
    pub fn run(&self, minutes: usize) -> Outcome {
        let mut outcome = Outcome {
            requests: vec![0; minutes],
            downloads: vec![0; minutes],
            restarts: vec![0; minutes],
            ..Outcome::default()
        };
        let mut random = Random(1);
        let mut host = Host::new(self);
        for _ in 0..self.hosts {
            self.run_host(&mut host, &mut random, &mut outcome);
        }
        outcome
    }
    fn run_host(&self, host: &mut Host, random: &mut Random, outcome: &mut Outcome) {
        let end = outcome.requests.len() as f64 * MINUTE;
        let booted = if self.boot == Boot::AtOnce {
            random.up_to(1.0)
        } else {
            -random.up_to(48.0 * 60.0 * MINUTE)
        };
        let timer = Running::new(self.timer, random);
        let mut now = timer.first(booted, random);
        host.reset();
        while now < end {
            let did = if now < 0.0 {
                Did::default()
            } else {
                host.pass(now, random)
            };
            if now >= 0.0 {
                let minute = (now / MINUTE) as usize;
                outcome.requests[minute] += did.requests;
                outcome.downloads[minute] += u32::from(did.downloaded);
                outcome.restarts[minute] += u32::from(did.restarted);
            }
            let next = timer.next(now + if did.restarted { UPGRADE } else { PASS }, random);
            if !did.restarted {
                outcome.longest_gap = outcome.longest_gap.max(next - now);
            }
            now = next;
        }
        outcome.not_upgraded += usize::from(self.release.is_some() && !host.is_new());
    }
}

impl Outcome {
    /// Requests a second.
    pub fn mean(&self) -> f64 {
        super::sum(&self.requests) / (MINUTE * self.requests.iter().map(|_| 1.0).sum::<f64>())
    }

    /// Requests a second, in the busiest stretch of so many minutes.
    pub fn peak(&self, minutes: usize) -> f64 {
        let length = MINUTE * (0..minutes).map(|_| 1.0).sum::<f64>();
        self.requests
            .windows(minutes)
            .map(|stretch| super::sum(stretch) / length)
            .fold(0.0, f64::max)
    }

    /// How much more the busiest stretch has than the mean of the last hours, in which nothing is left of how it began.
    pub fn peak_to_mean(&self, minutes: usize) -> f64 {
        let late = &self.requests[self.requests.len() / 2..];
        self.peak(minutes) / (super::sum(late) / (MINUTE * late.iter().map(|_| 1.0).sum::<f64>()))
    }
}

/// One host after the other: what it sees, in the form in which the program decides on it.
struct Host {
    seen: Observation,
    schedule: Schedule,
    release: Option<Release>,
    versions: [Version; 2],
    prefetch: bool,
    /// When to pre-download, once that is known.
    due: Option<DateTime<Utc>>,
    downloaded: bool,
}

/// What a run did.
#[derive(Default)]
struct Did {
    requests: u32,
    downloaded: bool,
    restarted: bool,
}

impl Host {
    fn new(fleet: &Fleet) -> Host {
        let versions: [Version; 2] = ["14.3.33", "14.3.34"].map(|text| text.parse().unwrap());
        let minute = |minute: usize| MIDNIGHT + 60 * i64::try_from(minute).unwrap();
        let window = fleet
            .release
            .as_ref()
            .map_or(26 * 60..27 * 60, |release| release.window.clone());
        let schedule = Schedule::parse(&format!(
            "{} {}\n",
            minute(window.start),
            minute(window.end)
        ));
        let service = Service {
            unit: "teleport.service".into(),
            health: Health::Running,
            pid: Some(1),
            binary: Binary::OnDisk,
            ..Service::default()
        };
        let package = Installed {
            name: "teleport-ent".into(),
            version: versions[0].clone(),
            package_version: "14.3.33".into(),
            broken: None,
            held: true,
            database: Database::Dpkg,
        };
        let seen = Observation {
            now: time(0.0),
            forced: false,
            require_window: false,
            limits: Limits {
                pin: None,
                prerelease: false,
            },
            settings: Settings::defaults("/etc/teleport.yaml"),
            agent: Agent {
                package,
                services: vec![service],
            },
            windows: schedule.status(time(0.0)),
            history: History::default(),
            target: None,
            critical: None,
            place: Place::Wariness(0.0),
            percentage: None,
            cluster: None,
            offer: None,
        };
        Host {
            seen,
            schedule,
            release: fleet.release.clone(),
            versions,
            prefetch: fleet.prefetch,
            due: None,
            downloaded: false,
        }
    }

    /// Another host, with the old version.
    fn reset(&mut self) {
        self.seen.agent.package.version = self.versions[0].clone();
        (self.due, self.downloaded) = (None, false);
    }

    fn is_new(&self) -> bool {
        self.seen.agent.package.version == self.versions[1]
    }

    /// A run at this time.
    fn pass(&mut self, now: f64, random: &mut Random) -> Did {
        let mut did = Did::default();
        self.seen.now = time(now);
        self.seen.windows = self.schedule.status(self.seen.now);
        (self.seen.target, self.seen.critical, self.seen.cluster) = (None, None, None);
        self.seen.percentage = None;
        loop {
            match policy::decide(&self.seen) {
                Next::Ask(Question::Target) => {
                    did.requests += 1;
                    self.seen.target = Some(Target::Version(self.wanted(now)));
                }
                Next::Ask(Question::Critical) => {
                    did.requests += 1;
                    self.seen.critical = Some(false);
                }
                Next::Ask(Question::Percentage) => {
                    did.requests += 1;
                    self.seen.percentage = Some(Percentage::Known(100.0));
                }
                // Asked of another server.
                Next::Ask(Question::Cluster) => {
                    self.seen.cluster = Some(Cluster::Unknown(String::new(), Reach::Unknown))
                }
                Next::Decide(Decision::Wait(Action::Upgrade(_), Wait::Window(window, _))) => {
                    let (now, opens) = (self.seen.now, window.start);
                    let due = *self
                        .due
                        .get_or_insert_with(|| prefetch::due(now, opens, random.up_to(1.0)));
                    did.downloaded =
                        self.prefetch && !self.downloaded && prefetch::is_time(now, due, opens);
                    self.downloaded |= did.downloaded;
                    return did;
                }
                Next::Decide(Decision::Go(Action::Upgrade(path), _)) => {
                    did.downloaded = !self.downloaded;
                    did.restarted = true;
                    self.downloaded = true;
                    self.seen.agent.package.version = path.target;
                    return did;
                }
                _ => return did,
            }
        }
    }

    /// What the channel says.
    fn wanted(&self, now: f64) -> Version {
        let is_out = self
            .release
            .as_ref()
            .is_some_and(|release| now >= release.at as f64 * MINUTE);
        self.versions[usize::from(is_out)].clone()
    }
}

fn time(seconds: f64) -> DateTime<Utc> {
    DateTime::from_timestamp(MIDNIGHT + seconds as i64, 0).unwrap()
}
