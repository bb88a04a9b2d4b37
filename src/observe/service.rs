//! The systemd services that run the agent, asked through `systemctl show` and `/proc`.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use nix::time::{ClockId, clock_gettime};

use crate::command::Command;

/// `systemctl` asks over a socket; when nobody answers there is nothing to wait for.
const LIMIT: Duration = Duration::from_secs(30);
/// Restarts that systemd counted tell of a crash loop only while the last of them is this fresh.
const FRESH: Duration = Duration::from_secs(120);
/// How many restarts make a crash loop; a single crash is systemd's to mend.
const LOOP: u32 = 3;
/// What is asked, in one go, of all units.
const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,Result,MainPID,NRestarts,CanReload,PIDFile,ExecStart,\
    ControlGroup,ActiveEnterTimestampMonotonic";

/// One service, as it is at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// The unit's name.
    pub unit: String,
    /// How it is doing.
    pub health: Health,
    /// The process in charge: the one that takes new sessions.
    pub pid: Option<i32>,
    /// How often systemd restarted it since a person last did.
    pub restarts: u32,
    /// Whether the unit knows how to reload, which keeps open sessions.
    pub can_reload: bool,
    /// Whether that process runs the file that is on the disk now.
    pub binary: Binary,
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
    /// It keeps crashing and being restarted.
    CrashLooping,
    /// There is no such unit.
    Absent,
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

impl Health {
    /// Whether the agent is down although it should be up.
    pub fn is_down(&self) -> bool {
        matches!(self, Health::Failed(_) | Health::CrashLooping)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Health::Running => write!(f, "is running"),
            Health::Changing => write!(f, "is starting or stopping"),
            Health::Stopped => write!(f, "is stopped"),
            Health::Failed(result) => write!(f, "has failed ({result})"),
            Health::CrashLooping => write!(f, "keeps crashing"),
            Health::Absent => write!(f, "does not exist"),
        }
    }
}

/// The state of `units`, in that order.
pub fn services(units: &[String]) -> Result<Vec<Service>> {
    let arguments = ["show", PROPERTIES, "--"].into_iter().chain(units.iter().map(String::as_str));
    let output = Command::new("systemctl", arguments).limit(LIMIT).often().run()?;
    if !output.success() {
        bail!("cannot ask systemd for {}: {}", units.join(", "), output.summary());
    }
    let text: Vec<&str> = output.lines().collect();
    let uptime = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    let services: Vec<Service> = text.split(|line| line.is_empty()).map(|lines| service(&Properties(lines), uptime)).collect();
    if services.len() != units.len() {
        bail!("systemd answered for {} units, and was asked for {}", services.len(), units.len());
    }
    Ok(services.into_iter().zip(units).map(|(service, unit)| Service { unit: unit.clone(), ..service }).collect())
}

/// The lines `Name=value` of one unit.
struct Properties<'a>(&'a [&'a str]);

impl<'a> Properties<'a> {
    fn get(&self, name: &str) -> &'a str {
        self.0.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    }
}

fn service(properties: &Properties, uptime: Duration) -> Service {
    let pid = pid_in_charge(properties);
    Service {
        unit: properties.get("Id").to_string(),
        health: health(properties, uptime),
        pid,
        restarts: restarts(properties),
        can_reload: properties.get("CanReload") == "yes",
        binary: pid.map_or(Binary::Unknown, binary),
    }
}

fn restarts(properties: &Properties) -> u32 {
    properties.get("NRestarts").parse().unwrap_or(0)
}

fn health(properties: &Properties, uptime: Duration) -> Health {
    let since = Duration::from_micros(properties.get("ActiveEnterTimestampMonotonic").parse().unwrap_or(0));
    let looping = restarts(properties) >= LOOP && uptime.saturating_sub(since) < FRESH;
    match (properties.get("LoadState"), properties.get("ActiveState"), properties.get("SubState")) {
        ("not-found", _, _) => Health::Absent,
        (_, "failed", _) => Health::Failed(properties.get("Result").to_string()),
        (_, "activating", "auto-restart") => Health::CrashLooping,
        (_, "active" | "activating" | "reloading" | "deactivating", _) if looping => Health::CrashLooping,
        (_, "active", "running" | "exited") => Health::Running,
        (_, "active" | "activating" | "reloading" | "deactivating", _) => Health::Changing,
        _ => Health::Stopped,
    }
}

/// The process that takes new sessions. After a reload the old one may live on for its sessions, and systemd keeps it as the
/// main process until it ends; the agent's pid file already names the new one.
fn pid_in_charge(properties: &Properties) -> Option<i32> {
    let main = properties.get("MainPID").parse().ok().filter(|pid| *pid != 0);
    let cgroup = properties.get("ControlGroup");
    let from_file = || {
        let pid = fs::read_to_string(pid_file(properties)?).ok()?.trim().parse().ok()?;
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let ours = !cgroup.is_empty() && groups.lines().any(|line| line.ends_with(cgroup));
        ours.then_some(pid)
    };
    main.and_then(|main| from_file().or(Some(main)))
}

/// The pid file: what the unit says, else what the agent's command line says.
fn pid_file(properties: &Properties) -> Option<PathBuf> {
    let unit = properties.get("PIDFile");
    let path = if unit.is_empty() {
        let start = properties.get("ExecStart");
        start.split_once("--pid-file=")?.1.split([' ', ';']).next()?
    } else {
        unit
    };
    Some(Path::new(path).to_path_buf()).filter(|path| path.is_absolute())
}

/// Compares the file that a process runs with the one that now has its name.
fn binary(pid: i32) -> Binary {
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    let (Ok(name), Ok(runs)) = (fs::read_link(&link), fs::metadata(&link)) else { return Binary::Unknown };
    // Between its fork and its exec, a process that systemd starts still runs systemd.
    if fs::metadata("/proc/1/exe").is_ok_and(|init| (init.dev(), init.ino()) == (runs.dev(), runs.ino())) {
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
            ("LoadState=loaded ActiveState=active SubState=running NRestarts=0", Health::Running),
            ("LoadState=loaded ActiveState=active SubState=exited", Health::Running),
            ("LoadState=loaded ActiveState=inactive SubState=dead", Health::Stopped),
            ("LoadState=loaded ActiveState=failed SubState=failed Result=exit-code", Health::Failed("exit-code".into())),
            ("LoadState=loaded ActiveState=activating SubState=auto-restart NRestarts=1", Health::CrashLooping),
            ("LoadState=loaded ActiveState=activating SubState=start", Health::Changing),
            ("LoadState=loaded ActiveState=reloading SubState=reload", Health::Changing),
            ("LoadState=loaded ActiveState=deactivating SubState=stop-sigterm", Health::Changing),
            ("LoadState=not-found ActiveState=inactive SubState=dead", Health::Absent),
            ("LoadState=masked ActiveState=inactive SubState=dead", Health::Stopped),
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
        assert_eq!(file(&["PIDFile=/run/b.pid", start]), Some("/run/b.pid".into()));
        assert_eq!(file(&["PIDFile=", start]), Some("/run/a.pid".into()));
        assert_eq!(file(&["PIDFile="]), None);
        assert_eq!(file(&["ExecStart={ argv[]=teleport start --pid-file=a.pid ; x }"]), None);
    }

    #[test]
    fn this_very_process_runs_what_is_on_the_disk() {
        assert_eq!(binary(std::process::id().try_into().unwrap()), Binary::OnDisk);
        assert_eq!(binary(i32::MAX), Binary::Unknown);
    }
}
