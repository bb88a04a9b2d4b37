//! The systemd services that run the agent, asked through `systemctl show` and `/proc`.

pub mod readiness;
pub mod reload;
pub mod restart;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::agent::settings::start;
use crate::agent::settings::start::{Exports, Start};
use crate::system::command::{Command, stat};
use crate::system::file_state::FileState;
use crate::system::untrusted;

/// `systemctl` asks over a socket; when nobody answers there is nothing to wait for.
const LIMIT: Duration = Duration::from_secs(30);
/// Restarts that systemd counted tell of a crash loop only while the last of them is this fresh.
const FRESH: Duration = Duration::from_secs(120);
/// How many restarts make a crash loop; a single crash is systemd's to mend.
pub const LOOP: u32 = 3;
/// What systemd makes anew whenever it reads its units again (`daemon-reload`): the directory of the units that generators have made.
/// Where they have made none, it comes and goes in the one above.
const GENERATED: [&str; 2] = ["/run/systemd/generator", "/run/systemd"];
/// What is asked, in one go, of all units.
const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,Result,MainPID,NRestarts,CanReload,Type,PIDFile,ExecStart,ExecReload,\
    ControlGroup,ActiveEnterTimestampMonotonic,Environment,EnvironmentFiles";

/// One service, as it is at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// The unit's name.
    pub unit: String,
    /// How it is doing.
    pub health: Health,
    /// The newest process of the agent: in charge, or about to be once it is ready.
    pub pid: Option<i32>,
    /// The process that systemd takes for the service's own. After a reload it may be the previous one, until its last session ends.
    pub main: Option<i32>,
    /// Whether the agent says itself which one that is, in its pid file.
    pub pid_file: PidFile,
    /// The processes of the service, old ones that only end their sessions included.
    pub processes: Processes,
    /// How often systemd restarted it since a person last did.
    pub restarts: u32,
    /// Whether the unit knows how to reload, which keeps open sessions.
    pub can_reload: bool,
    /// Whether the unit reloads what systemd takes for the main process, and not the one in the pid file.
    pub reloads_main: bool,
    /// Whether that process runs the file that is on the disk now.
    pub binary: Binary,
    /// How the unit starts the agent, and how the process in charge was started, if that is another way.
    pub starts: Vec<Start>,
    /// Whether that process exports its maintenance windows.
    pub exports: Exports,
}

/// How a service is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// Active, with a process.
    Running,
    /// On its way up or down, or reloading.
    Changing,
    /// Stopped on purpose, or never started: it is left so.
    #[default]
    Stopped,
    /// systemd gave it up, and why.
    Failed(String),
    /// It has crashed, and systemd is about to restart it.
    Crashed,
    /// It keeps crashing and being restarted.
    CrashLooping,
    /// There is no such unit.
    Absent,
}

/// A process of the agent, told from others that had its number before or will have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its number.
    pub pid: i32,
    /// When it began, in clock ticks since the boot.
    began: u64,
}

impl Life {
    /// The living process of this number.
    pub fn of(pid: i32) -> Option<Life> {
        is_alive(pid).then_some(Life {
            pid,
            began: began(pid)?,
        })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        Life::of(self.pid) == Some(*self)
    }

    /// How long it has been there.
    pub fn age(&self) -> Duration {
        let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME)
            .map(Duration::from)
            .unwrap_or_default();
        uptime.saturating_sub(ticks(self.began))
    }

    /// Whether it runs the agent's own program: a script that starts the agent may end by a signal that the agent obeys.
    pub fn is_the_agent(&self) -> bool {
        let program = fs::read_link(format!("/proc/{}/exe", self.pid)).unwrap_or_default();
        program
            .to_string_lossy()
            .trim_end_matches(" (deleted)")
            .ends_with("/teleport")
    }

    /// The pipes that it has open: those that are its standard input and outputs, and the others.
    pub fn pipes(&self) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid))
            .into_iter()
            .flatten()
            .flatten();
        let (mut standard, mut others) = (BTreeSet::new(), BTreeSet::new());
        for entry in entries {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let inode = target.to_str().and_then(|name| {
                name.strip_prefix("pipe:[")?
                    .strip_suffix(']')?
                    .parse::<u64>()
                    .ok()
            });
            let is_standard = matches!(entry.file_name().to_str(), Some("0" | "1" | "2"));
            if is_standard {
                &mut standard
            } else {
                &mut others
            }
            .extend(inode);
        }
        (standard, others)
    }

    /// The page faults of the children that have ended and that it has asked about: every one that ran had some.
    pub fn buried(&self) -> Option<u64> {
        stat(self.pid)?.get(8)?.parse().ok()
    }

    /// Its children that have ended and that it has not asked about yet, with how long ago they began. An agent that waits for the
    /// process of a reload asks about none of them.
    pub fn ended_children(&self) -> Vec<(i32, Duration)> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME)
            .map(Duration::from)
            .unwrap_or_default();
        let ended = |pid: i32| {
            let stat = stat(pid)?;
            let is_one = stat.first().is_some_and(|state| state == "Z")
                && stat.get(1)?.parse() == Ok(self.pid);
            is_one.then_some((pid, uptime.saturating_sub(ticks(began(pid)?))))
        };
        pids.filter_map(ended).collect()
    }
}

impl Service {
    /// The living processes of the agent itself, the oldest first. Those that it starts for sessions have other arguments.
    pub fn agents(&self) -> Vec<Life> {
        let Some(called) = [self.main, self.pid]
            .into_iter()
            .flatten()
            .find_map(arguments)
        else {
            return Vec::new();
        };
        let mut agents: Vec<Life> = self
            .processes
            .all()
            .into_iter()
            .filter_map(Life::of)
            .collect();
        agents.retain(|life| {
            Some(life.pid) == self.main || arguments(life.pid).as_ref() == Some(&called)
        });
        agents.sort_by_key(|life| (life.began, life.pid));
        agents
    }
}

/// Whether a process runs the file that is on the disk now.
pub fn runs_what_is_on_disk(life: &Life) -> bool {
    binary(life.pid) == Binary::OnDisk
}

fn arguments(pid: i32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/cmdline"))
        .ok()
        .filter(|arguments| !arguments.is_empty())
}

/// When `pid` began, in clock ticks since the boot.
fn began(pid: i32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// Ticks are hundredths of a second, whatever the kernel itself counts in.
fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

/// What the agent's pid file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PidFile {
    /// The unit has none.
    #[default]
    None,
    /// There should be one that names a living process of the service, and there is not.
    Useless,
    /// It names a living process of the service.
    Good,
}

/// Where to find the processes of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Processes {
    cgroup: String,
}

impl Processes {
    fn all(&self) -> Vec<i32> {
        // Where the unified hierarchy is: alone, beside the old ones, or not at all but for systemd's own.
        let mounts = [
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/unified",
            "/sys/fs/cgroup/systemd",
        ];
        let list = |mount| fs::read_to_string(format!("{mount}{}/cgroup.procs", self.cgroup)).ok();
        let pids = mounts
            .into_iter()
            .find_map(list)
            .filter(|_| !self.cgroup.is_empty())
            .unwrap_or_default();
        pids.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    fn include(&self, pid: &str) -> bool {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        // `0::/system.slice/teleport.service`, perhaps with groups of its own below.
        let within = |line: &str| {
            let path = line.splitn(3, ':').nth(2).unwrap_or_default();
            path.strip_prefix(&self.cgroup)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        !self.cgroup.is_empty() && groups.lines().any(within)
    }
}

/// How the process in charge relates to the program on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Binary {
    /// It runs the file on the disk.
    OnDisk,
    /// The file was replaced or removed since it started.
    Replaced,
    /// There is no such process, or we may not look.
    #[default]
    Unknown,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Health::Running => write!(f, "is running"),
            Health::Changing => write!(f, "is starting or stopping"),
            Health::Stopped => write!(f, "is stopped"),
            Health::Failed(result) => write!(f, "has failed ({result})"),
            Health::Crashed => write!(f, "has crashed"),
            Health::CrashLooping => write!(f, "keeps crashing"),
            Health::Absent => write!(f, "does not exist"),
        }
    }
}

/// What systemd said of some units that were well, and their processes then: those in charge, and those that systemd takes for it.
/// While these live and are in charge, nothing was stopped, has crashed or was restarted; while systemd has not read its units again,
/// they are what they were. Then it would say the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    boot: String,
    units: Vec<String>,
    lines: Vec<String>,
    lives: Vec<Life>,
    read: Option<FileState>,
}

/// The state of `units`, in that order, without asking systemd if `known`, what it said before, still holds. A new answer becomes
/// `known`.
pub fn services_as_known(units: &[String], known: &mut Option<Answer>) -> Result<Vec<Service>> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // Looked at before it is asked: if it reads them meanwhile, the answer is never used.
    let reread = GENERATED
        .iter()
        .find_map(|directory| FileState::of(Path::new(directory)));
    let holds = |answer: &&Answer| {
        answer.units == units && answer.boot == boot && answer.read == reread && reread.is_some()
    };
    if let Some(answer) = known.as_ref().filter(holds)
        // What makes no sense is asked for anew.
        && let Ok(services) = read(units, &answer.lines)
        && lives(&services, &answer.lines).as_ref() == Some(&answer.lives)
    {
        return Ok(services);
    }
    let lines = ask(units)?;
    let services = read(units, &lines)?;
    *known = lives(&services, &lines).map(|lives| Answer {
        boot,
        units: units.to_vec(),
        lines,
        lives,
        read: reread,
    });
    Ok(services)
}

/// The state of `units`, in that order.
pub fn services(units: &[String]) -> Result<Vec<Service>> {
    read(units, &ask(units)?)
}

/// The processes, if every service is well and says itself in its pid file which one is in charge.
fn lives(services: &[Service], lines: &[String]) -> Option<Vec<Life>> {
    let well = (&Health::Running, PidFile::Good, Binary::OnDisk);
    let in_charge = services.iter().map(|service| {
        service
            .pid
            .filter(|_| (&service.health, service.pid_file, service.binary) == well)
    });
    let main = lines
        .iter()
        .filter_map(|line| line.strip_prefix("MainPID="))
        .map(|pid| pid.parse().ok());
    in_charge
        .chain(main)
        .map(|pid| pid.and_then(Life::of))
        .collect()
}

/// Has systemd tell its properties of `units`.
fn ask(units: &[String]) -> Result<Vec<String>> {
    let arguments = ["show", PROPERTIES, "--"]
        .into_iter()
        .chain(units.iter().map(String::as_str));
    let output = Command::new("systemctl", arguments)
        .limit(LIMIT)
        .often()
        .run()?;
    if !output.success() {
        bail!(
            "cannot ask systemd for {}: {}",
            units.join(", "),
            output.summary()
        );
    }
    Ok(output.answer().map(str::to_string).collect())
}

/// Reads what systemd said of `units`, and looks at what else there is to see of them at this moment.
fn read(units: &[String], lines: &[String]) -> Result<Vec<Service>> {
    let text: Vec<&str> = lines.iter().map(String::as_str).collect();
    let uptime = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    let services = parse(&text, uptime);
    if services.len() != units.len() {
        bail!(
            "systemd answered for {} units, and was asked for {}",
            services.len(),
            units.len()
        );
    }
    Ok(services
        .into_iter()
        .zip(units)
        .map(|(service, unit)| Service {
            unit: unit.clone(),
            ..service
        })
        .collect())
}

/// Reads the answer of `systemctl show`: a paragraph a unit. What it names of processes and files is looked at.
pub fn parse(lines: &[&str], uptime: Duration) -> Vec<Service> {
    lines
        .split(|line| line.is_empty())
        .map(|lines| service(&Properties(lines), uptime))
        .collect()
}

/// The lines `Name=value` of one unit.
struct Properties<'a>(&'a [&'a str]);

impl<'a> Properties<'a> {
    fn get(&self, name: &str) -> &'a str {
        self.all(name).next().unwrap_or_default()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter_map(move |line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

fn service(properties: &Properties, uptime: Duration) -> Service {
    let processes = Processes {
        cgroup: properties.get("ControlGroup").to_string(),
    };
    let main = properties
        .get("MainPID")
        .parse()
        .ok()
        .filter(|pid| *pid > 0);
    let named = main.and_then(|_| named_by_pid_file(properties, &processes));
    let pid_file = match (pid_file(properties), named) {
        (None, _) => PidFile::None,
        (Some(_), None) => PidFile::Useless,
        (Some(_), Some(_)) => PidFile::Good,
    };
    let mut service = Service {
        unit: properties.get("Id").to_string(),
        health: health(properties, uptime),
        pid: named.or(main),
        main,
        pid_file,
        processes,
        restarts: restarts(properties),
        can_reload: properties.get("CanReload") == "yes" && follows(properties),
        reloads_main: properties.get("ExecReload").contains("MAINPID"),
        binary: Binary::Unknown,
        starts: Vec::new(),
        exports: Exports::default(),
    };
    // After a reload the old process may live on for its sessions, and systemd may keep it as the main process until it ends; the
    // agent's pid file already names the new one. It names nobody once a new process has ended before it was ready.
    if pid_file == PidFile::Useless {
        service.pid = service.agents().last().map(|life| life.pid).or(main);
    }
    service.binary = service
        .pid
        .map_or(Binary::Unknown, |pid| match binary(pid) {
            Binary::Unknown => by_age(pid, properties),
            known => known,
        });
    let files = properties.all("EnvironmentFiles").collect();
    let unit = start::Unit {
        command: properties.get("ExecStart"),
        environment: properties.get("Environment"),
        files,
    };
    (service.starts, service.exports) = unit.look(service.pid);
    service
}

/// Whether systemd follows the service to the process of a reload: by the unit's pid file, or because the service tells. Otherwise the
/// service has ended for it when the old process has, and it kills the new one.
fn follows(properties: &Properties) -> bool {
    !properties.get("PIDFile").is_empty() || properties.get("Type").starts_with("notify")
}

fn restarts(properties: &Properties) -> u32 {
    properties.get("NRestarts").parse().unwrap_or(0)
}

fn health(properties: &Properties, uptime: Duration) -> Health {
    let since = Duration::from_micros(
        properties
            .get("ActiveEnterTimestampMonotonic")
            .parse()
            .unwrap_or(0),
    );
    let looping = restarts(properties) >= LOOP && uptime.saturating_sub(since) < FRESH;
    match (
        properties.get("LoadState"),
        properties.get("ActiveState"),
        properties.get("SubState"),
    ) {
        ("not-found", _, _) => Health::Absent,
        // Nothing can be started or reloaded under that name.
        ("masked", _, _) => Health::Stopped,
        (_, "failed", _) => Health::Failed(properties.get("Result").to_string()),
        (_, "active" | "activating" | "reloading" | "deactivating", _) if looping => {
            Health::CrashLooping
        }
        (_, "activating", "auto-restart") => Health::Crashed,
        (_, "active", "running" | "exited") => Health::Running,
        (_, "active" | "activating" | "reloading" | "deactivating", _) => Health::Changing,
        _ => Health::Stopped,
    }
}

/// The process that the pid file names, if it lives and is the service's own.
fn named_by_pid_file(properties: &Properties, processes: &Processes) -> Option<i32> {
    let pid: i32 = untrusted::read(&pid_file(properties)?, 32)
        .ok()?
        .trim()
        .parse()
        .ok()?;
    (processes.include(&pid.to_string()) && is_alive(pid)).then_some(pid)
}

/// Whether a process runs, and has not merely not been buried yet.
fn is_alive(pid: i32) -> bool {
    let state = stat(pid).and_then(|stat| stat.into_iter().next());
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// The pid file: what the unit says, else what the agent's command line says.
fn pid_file(properties: &Properties) -> Option<PathBuf> {
    let unit = properties.get("PIDFile");
    let path = if unit.is_empty() {
        // `--pid-file=/run/teleport.pid`, or the same in two words.
        let start = properties.get("ExecStart").split_once("--pid-file")?.1;
        start
            .trim_start_matches(['=', ' '])
            .split([' ', ';'])
            .next()?
    } else {
        unit
    };
    Some(Path::new(path).to_path_buf()).filter(|path| path.is_absolute())
}

/// Compares the file that a process runs with the one that now has its name.
fn binary(pid: i32) -> Binary {
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    let (Ok(name), Ok(runs)) = (fs::read_link(&link), fs::metadata(&link)) else {
        return Binary::Unknown;
    };
    // Between its fork and its exec, a process that systemd starts still runs systemd.
    if fs::metadata("/proc/1/exe")
        .is_ok_and(|init| (init.dev(), init.ino()) == (runs.dev(), runs.ino()))
    {
        return Binary::Unknown;
    }
    // The kernel marks the name of a file that is gone.
    let text = name.to_string_lossy();
    let on_disk = fs::metadata(text.strip_suffix(" (deleted)").unwrap_or(&text));
    match on_disk {
        Ok(disk) if (disk.dev(), disk.ino()) == (runs.dev(), runs.ino()) => Binary::OnDisk,
        _ => Binary::Replaced,
    }
}

/// For one who may not see which file a process runs: a process that is younger than the file was started from it.
fn by_age(pid: i32, properties: &Properties) -> Binary {
    let younger = || {
        let program = properties
            .get("ExecStart")
            .split_once("path=")?
            .1
            .split([' ', ';'])
            .next()?;
        let on_disk = fs::metadata(program).ok()?;
        let started = ticks(began(pid)?);
        let age =
            Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?).checked_sub(started)?;
        let started =
            Duration::from(clock_gettime(ClockId::CLOCK_REALTIME).ok()?).checked_sub(age)?;
        let changed = Duration::new(
            on_disk.ctime().try_into().ok()?,
            on_disk.ctime_nsec().try_into().ok()?,
        );
        (!geteuid().is_root() && started > changed).then_some(Binary::OnDisk)
    };
    younger().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health_of(text: &str, uptime: u64) -> Health {
        let lines: Vec<&str> = text.split_whitespace().collect();
        health(&Properties(&lines), Duration::from_secs(uptime))
    }

    #[test]
    fn health_of_every_state() {
        for (text, expected) in [
            (
                "LoadState=loaded ActiveState=active SubState=running NRestarts=0",
                Health::Running,
            ),
            (
                "LoadState=loaded ActiveState=active SubState=exited",
                Health::Running,
            ),
            (
                "LoadState=loaded ActiveState=inactive SubState=dead",
                Health::Stopped,
            ),
            (
                "LoadState=loaded ActiveState=failed SubState=failed Result=exit-code",
                Health::Failed("exit-code".into()),
            ),
            (
                "LoadState=loaded ActiveState=activating SubState=auto-restart NRestarts=2",
                Health::Crashed,
            ),
            (
                "LoadState=loaded ActiveState=activating SubState=start",
                Health::Changing,
            ),
            (
                "LoadState=loaded ActiveState=reloading SubState=reload",
                Health::Changing,
            ),
            (
                "LoadState=loaded ActiveState=deactivating SubState=stop-sigterm",
                Health::Changing,
            ),
            (
                "LoadState=not-found ActiveState=inactive SubState=dead",
                Health::Absent,
            ),
            (
                "LoadState=masked ActiveState=active SubState=running",
                Health::Stopped,
            ),
        ] {
            assert_eq!(health_of(text, 10_000), expected, "{text}");
        }
    }

    #[test]
    fn many_restarts_are_a_crash_loop_only_while_fresh() {
        let text = "LoadState=loaded ActiveState=active SubState=running NRestarts=7 ActiveEnterTimestampMonotonic=1000000000";
        assert_eq!(health_of(text, 1001), Health::CrashLooping);
        assert_eq!(health_of(text, 1119), Health::CrashLooping);
        assert_eq!(health_of(text, 1120), Health::Running);
        assert_eq!(health_of(&text.replace("=7", "=2"), 1001), Health::Running);
    }

    #[test]
    fn the_pid_file_is_the_units_else_the_agents() {
        let start = "ExecStart={ path=/usr/local/bin/teleport ; argv[]=/usr/local/bin/teleport start --pid-file=/run/a.pid ; x }";
        let file = |lines: &[&str]| pid_file(&Properties(lines));
        assert_eq!(
            file(&["PIDFile=/run/b.pid", start]),
            Some("/run/b.pid".into())
        );
        assert_eq!(file(&["PIDFile=", start]), Some("/run/a.pid".into()));
        assert_eq!(
            file(&["PIDFile=", &start.replace("file=", "file ")]),
            Some("/run/a.pid".into())
        );
        assert_eq!(file(&["PIDFile="]), None);
        assert_eq!(
            file(&["ExecStart={ argv[]=teleport start --pid-file=a.pid ; x }"]),
            None
        );
    }

    #[test]
    fn a_process_is_alive_until_it_ends() {
        assert!(is_alive(std::process::id().try_into().unwrap()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().try_into().unwrap();
        while is_alive(pid) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!is_alive(pid));
    }

    #[test]
    fn a_child_that_ended_is_seen_until_it_is_asked_about() {
        let own = Life::of(std::process::id().try_into().unwrap()).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid: i32 = child.id().try_into().unwrap();
        let is_seen = || {
            own.ended_children()
                .iter()
                .any(|(ended, age)| *ended == pid && *age < Duration::from_secs(60))
        };
        while !is_seen() {
            std::thread::yield_now();
        }
        let buried = own.buried().unwrap();
        child.wait().unwrap();
        assert!(!is_seen() && own.buried().unwrap() > buried);
    }

    #[test]
    fn a_process_is_told_from_one_that_has_its_number() {
        let own = Life::of(std::process::id().try_into().unwrap()).unwrap();
        assert!(own.is_alive() && own.age() < Duration::from_secs(3600));
        assert!(
            !Life {
                began: own.began - 1,
                ..own
            }
            .is_alive()
        );
        assert!(!own.is_the_agent());
        assert_eq!(Life::of(i32::MAX), None);
    }

    #[test]
    fn this_very_process_runs_what_is_on_the_disk() {
        assert_eq!(
            binary(std::process::id().try_into().unwrap()),
            Binary::OnDisk
        );
        assert_eq!(binary(i32::MAX), Binary::Unknown);
    }
}
