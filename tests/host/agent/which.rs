//! Which agent this is, and how it is to behave.

use crate::releases;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// Behaviours and settings that hold for every version on the host, one a line.
const OF_THE_HOST: &str = "/etc/stand-in-agent";

/// Which agent this is.
pub struct Agent {
    edition: String,
    pub version: String,
    behaviours: Vec<String>,
}

impl Agent {
    /// As the line in the file says that this process was started from.
    pub fn from_own_file() -> Agent {
        let line = own_last_line().unwrap_or_default();
        let value = |key: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(key))
                .map(str::to_owned)
        };
        Agent {
            edition: value("edition=").unwrap_or_else(|| "teleport".into()),
            version: value("version=").unwrap_or_else(|| "0.0.0".into()),
            behaviours: value("behaviour=")
                .unwrap_or_default()
                .split(',')
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Whether it behaves like this.
    pub fn has(&self, behaviour: &str) -> bool {
        self.all().iter().any(|have| have == behaviour)
    }

    /// The value of a behaviour that has one.
    pub fn value(&self, behaviour: &str) -> Option<String> {
        self.all().iter().find_map(|have| {
            have.strip_prefix(behaviour)?
                .strip_prefix('=')
                .map(str::to_owned)
        })
    }

    /// The same in seconds.
    pub fn seconds(&self, behaviour: &str, otherwise: f64) -> Duration {
        let seconds = self
            .value(behaviour)
            .map_or(otherwise, |text| text.parse().expect("a number of seconds"));
        Duration::from_secs_f64(seconds)
    }

    /// Teleport's limit for a process that a reload has started (`signalPipeTimeout`).
    pub fn limit(&self) -> Duration {
        self.seconds("limit", 120.0)
    }

    /// Whether its version is one of these or a later one.
    pub fn is_from(&self, first: &[[u32; 3]]) -> bool {
        releases::is_from(&self.version, first)
    }

    /// What `teleport version` does.
    pub fn print_version(&self, options: &[String]) -> ExitCode {
        let raw = options.iter().any(|option| option == "--raw");
        if self.has("version-hangs") {
            park();
        } else if self.has("bad-version") {
            println!("\u{1b}[31mnot a version at all");
        } else if raw && (self.has("no-raw") || !self.is_from(&[[10, 0, 0]])) {
            eprintln!("teleport: error: unknown long flag '--raw', try --help");
            return ExitCode::from(1);
        } else if raw {
            println!("{}", self.version);
        } else {
            let name = if self.edition == "teleport" {
                "Teleport"
            } else {
                "Teleport Enterprise"
            };
            println!("{name} v{0} git:v{0}-0-gabcdef go1.23.4", self.version);
        }
        ExitCode::SUCCESS
    }

    /// Those of the host first, so that they win.
    fn all(&self) -> Vec<String> {
        let host = fs::read_to_string(OF_THE_HOST).unwrap_or_default();
        host.lines()
            .map(|line| line.trim().to_owned())
            .chain(self.behaviours.iter().cloned())
            .collect()
    }
}

/// The line that the harness appended to the file this process was started from.
fn own_last_line() -> Option<String> {
    let mut file = File::open("/proc/self/exe").ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(1024)))
        .ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines()
        .rev()
        .find_map(|line| line.strip_prefix("stand-in-agent ").map(str::to_owned))
}

/// Does nothing more.
pub fn park() -> ! {
    loop {
        thread::park();
    }
}
