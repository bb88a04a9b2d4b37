//! A channel, and the hosts that pretend to follow it.

use crate::project;
use crate::prometheus::Prometheus;
use chrono::{DateTime, Utc};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use teleport_upgrade::report::{Report, metrics};
use teleport_upgrade::state::changes::{Begun, Ending, Start};
use teleport_upgrade::state::history::History;
use tempfile::TempDir;

/// What the hosts run before.
pub const OLD: &str = "17.5.1";
/// What is published.
pub const NEW: &str = "17.5.2";

/// What a host reports.
#[derive(Clone)]
pub struct Host {
    /// The version it has.
    pub installed: &'static str,
    /// Whether its agent is healthy.
    pub healthy: bool,
    /// When it last ran a check, in seconds before now.
    pub checked: u64,
    /// How its last upgrade ended, and why; none if there was none.
    pub result: Option<(&'static str, &'static str)>,
    /// Whether it reports at all.
    pub reports: bool,
}

impl Host {
    /// It has upgraded.
    pub fn upgrade(&mut self) {
        (self.installed, self.result) = (NEW, Some(("upgraded", "")));
    }

    /// It has upgraded, and rolled back.
    pub fn roll_back(&mut self) {
        self.result = Some(("rolled-back", "teleport.service crashed"));
    }

    /// Whether it ever ran the new version.
    pub fn tried(&self) -> bool {
        self.result.is_some()
    }
}

/// How a run of `advance` ended.
pub struct Ran {
    /// Its exit status; none if it was killed.
    pub status: Option<i32>,
    /// What it printed.
    pub said: String,
}

/// A channel with its hosts.
pub struct Fleet {
    /// The servers.
    pub prometheus: Arc<Prometheus>,
    /// The hosts, in the order in which a rollout reaches them.
    pub hosts: Vec<Host>,
    name: String,
    directory: TempDir,
}

impl Fleet {
    /// Hosts that run the old version. The new one is published for 1 % of them.
    pub fn new(name: &str, hosts: usize) -> Fleet {
        let host = Host {
            installed: OLD,
            healthy: true,
            checked: 60,
            result: None,
            reports: true,
        };
        let fleet = Fleet {
            prometheus: Prometheus::get(),
            hosts: vec![host; hosts],
            name: name.into(),
            directory: tempfile::tempdir().unwrap(),
        };
        fleet.publish(&[NEW, "--percent", "1"]);
        fleet.report();
        fleet
    }

    /// The directory of the channel, as a web server serves it.
    pub fn channel(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// A file beside it, by the end of its name.
    pub fn beside(&self, end: &str) -> PathBuf {
        self.directory.path().join(format!(".{}.{end}", self.name))
    }

    /// What the hosts read: the version, whether it is critical, and the percentage.
    pub fn files(&self) -> [String; 3] {
        ["version", "critical", "rollout"].map(|file| {
            let text = fs::read_to_string(self.channel().join(file)).unwrap();
            text.trim().into()
        })
    }

    /// The percentage alone.
    pub fn percent(&self) -> String {
        let [_, _, percent] = self.files();
        percent
    }

    /// The hosts that the present percentage is for.
    pub fn reached(&mut self) -> &mut [Host] {
        let count = self.percent().parse::<f64>().unwrap() * self.hosts.len() as f64 / 100.0;
        &mut self.hosts[..count as usize]
    }

    /// Publishes by the script.
    pub fn publish(&self, arguments: &[&str]) {
        let ran = Command::new(kit("publish"))
            .arg(self.channel())
            .args(arguments)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }

    /// Lets Prometheus know what the hosts would report by now.
    pub fn report(&self) {
        let mut text = String::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = now.as_secs();
        for (number, host) in self.hosts.iter().enumerate() {
            if host.reports {
                let instance = format!("instance=\"{}-{number}:9100\"", self.name);
                host.describe(&mut text, &instance, &self.name, now);
            }
        }
        self.prometheus
            .write(&format!("fleet-{}.prom", self.name), &text);
        self.prometheus.scraped(&self.name);
    }

    /// `advance` for this channel, to which one host and no time are enough for a step, and 1 % of failed hosts too many, unless the
    /// arguments have it otherwise.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(kit("advance"));
        command
            .args(["--prometheus", self.prometheus.url()])
            .args(["--steps", "1,25,100", "--min-time", "0s"])
            .args(["--min-hosts", "1", "--max-failed", "0"])
            .args(["--max-failed-percent", "1"])
            .args(arguments)
            .arg(self.channel());
        command
    }

    /// Runs it.
    pub fn advance(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        Ran {
            status: output.status.code(),
            said,
        }
    }

    /// Runs it, and asserts how it ends: its status, a part of what it prints, and the percentage.
    #[track_caller]
    pub fn expect(&self, arguments: &[&str], status: i32, part: &str, percent: &str) {
        let ran = self.advance(arguments);
        assert!(
            ran.status == Some(status) && ran.said.contains(part),
            "{:?} instead of {status}, without {part:?}: {}",
            ran.status,
            ran.said
        );
        assert_eq!(self.percent(), percent, "{}", ran.said);
    }
}

impl Host {
    /// In Prometheus' format, as src/report/metrics.rs has it. The last upgrade is written by the program's own code.
    fn describe(&self, text: &mut String, instance: &str, channel: &str, now: u64) {
        let installed = self.installed;
        let _ = write!(
            text,
            "teleport_upgrade_info{{{instance},version=\"0.1.0\",target=\"{NEW}\",package=\"teleport-ent\",installed=\"{installed}\",\
             installer=\"apt\",channel=\"https://releases.example.com/{channel}\"}} 1\n\
             teleport_upgrade_healthy{{{instance}}} {}\n\
             teleport_upgrade_last_check_timestamp_seconds{{{instance}}} {}\n\
             teleport_upgrade_up_to_date{{{instance}}} {}\n\
             teleport_upgrade_state{{{instance},state=\"up-to-date\"}} {}\n\
             teleport_upgrade_next_window_timestamp_seconds{{{instance}}} {}\n",
            u8::from(self.healthy),
            now - self.checked,
            u8::from(installed == NEW),
            u8::from(installed == NEW),
            now + 1800
        );
        if let Some((result, reason)) = self.result {
            let at = i64::try_from(now - self.checked).unwrap();
            let written = last_upgrade(DateTime::from_timestamp(at, 0).unwrap(), result, reason);
            let _ = writeln!(
                text,
                "{}",
                written.replacen('{', &format!("{{{instance},"), 1)
            );
        }
    }
}

/// What the program itself writes of a host's last upgrade.
fn last_upgrade(at: DateTime<Utc>, result: &str, reason: &str) -> String {
    let ending = Ending::ALL
        .into_iter()
        .find(|ending| ending.word() == result);
    let failure = ending.filter(|ending| *ending != Ending::Upgraded);
    let begun = Begun {
        began: at,
        from: OLD.parse().unwrap(),
        to: NEW.parse().unwrap(),
        goal: None,
        service: None,
        start: Start::default(),
    };
    let mut history = History::default();
    let failure = failure.map(|ending| (ending, reason.to_string()));
    history.changes.add(begun.end(at, failure));
    let directory = tempfile::tempdir().unwrap();
    metrics::write(directory.path(), &Report::new(at, &history, None)).unwrap();
    let text = fs::read_to_string(directory.path().join(metrics::FILE)).unwrap();
    let name = "teleport_upgrade_last_upgrade_timestamp_seconds{";
    text.lines()
        .find(|line| line.starts_with(name))
        .unwrap()
        .into()
}

/// A file of the version server's.
pub fn kit(file: &str) -> PathBuf {
    project("packaging/version-server").join(Path::new(file))
}
