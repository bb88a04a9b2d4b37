//! The systemd services that run the agent. The types are here; what reads and changes a service is in the files below.

pub mod log;
mod processes;
pub mod properties;
pub mod readiness;
mod reload;
pub mod restart;
pub mod systemd;
pub mod verify;

use std::fmt;

use serde::Serialize;

use crate::agent::settings::start::{Exports, Start};

/// How many restarts make a crash loop; a single crash is systemd's to handle.
pub const LOOP: u32 = 3;

/// One service, as it is at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// The unit's name.
    pub unit: String,
    /// Its state.
    pub health: Health,
    /// The newest process of the agent: in charge, or about to be once it is ready.
    pub pid: Option<i32>,
    /// The process that systemd takes for the service's own. After a reload that may be the previous one, until its last session ends.
    pub main: Option<i32>,
    /// Whether the agent's PID file names the process in charge.
    pub pid_file: PidFile,
    /// The control group of its processes, old ones that only end their sessions included.
    pub control_group: String,
    /// How often systemd restarted it since it was last started manually.
    pub restarts: u32,
    /// Whether the unit can reload, which keeps open sessions.
    pub can_reload: bool,
    /// Whether the unit reloads what systemd takes for the main process, and not the one in the PID file.
    pub reloads_main: bool,
    /// Whether the process in charge runs the file that is on the disk now.
    pub binary: Binary,
    /// How the unit starts the agent, and how the process in charge was started, if that is different.
    pub starts: Vec<Start>,
    /// Whether the process in charge exports its maintenance windows.
    pub exports: Exports,
}

/// The state of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// Active, with a process.
    Running,
    /// Activating, deactivating or reloading.
    Changing,
    /// Stopped on purpose, or never started: it is left so.
    #[default]
    Stopped,
    /// systemd gave it up, and why.
    Failed(String),
    /// It crashed, and systemd is about to restart it.
    Crashed,
    /// It crashes again and again.
    CrashLooping,
    /// There is no such unit.
    Absent,
}

/// The agent's PID file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PidFile {
    /// The unit has none.
    #[default]
    None,
    /// There should be one that names a running process of the service, and there is not.
    Useless,
    /// It names a running process of the service.
    Good,
}

/// How the process in charge relates to the program on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binary {
    /// It runs the file on the disk.
    OnDisk,
    /// The file was replaced or removed since it started.
    Replaced,
    /// There is no such process, or its program cannot be seen without root.
    #[default]
    Unknown,
}

impl Service {
    /// Whether it runs the program on the disk.
    pub fn is_current(&self) -> bool {
        self.health == Health::Running && self.binary == Binary::OnDisk
    }
}

impl Health {
    /// Whether a service that was just started has not come up.
    pub fn is_bad(&self) -> bool {
        !matches!(self, Health::Running | Health::Changing)
    }
}

/// Whether the agent's cluster can be reached from this host. No new process of an agent becomes ready without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// One of its servers answers.
    Reachable,
    /// None does, and why.
    Unreachable(String),
    /// No server is configured, or its answer was not understood: an Auth Service requires a client certificate.
    Unknown,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Health::Running => write!(f, "running"),
            Health::Changing => write!(f, "activating or deactivating"),
            Health::Stopped => write!(f, "inactive"),
            Health::Failed(result) => write!(f, "failed ({result})"),
            Health::Crashed => write!(f, "crashed"),
            Health::CrashLooping => write!(f, "crash-looping"),
            Health::Absent => write!(f, "not found"),
        }
    }
}
