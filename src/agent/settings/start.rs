//! How an agent is started: what its command line and its environment contain of its settings.

use std::fmt;
use std::path::PathBuf;

use crate::agent::settings::base64;

/// What the command line and the environment of an agent contain of its settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Start {
    /// The settings file, if the command line names one.
    pub config: Option<PathBuf>,
    /// Settings in place of a file.
    pub encoded: Option<Encoded>,
    /// The services to run, whatever the settings enable.
    pub roles: Option<String>,
    /// The servers of the cluster, whatever the settings contain.
    pub auth_servers: Vec<String>,
    /// Why there may be more than was read.
    pub unread: Option<String>,
}

/// Settings in base64. They may contain secrets, so they are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Where they are.
    pub named_by: &'static str,
    /// The settings as they are there.
    pub text: String,
}

impl Encoded {
    /// The settings themselves.
    pub fn decode(&self) -> Result<String, String> {
        let bytes = base64::decode(&self.text).ok_or("not base64")?;
        String::from_utf8(bytes).map_err(|_| "not text".to_string())
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.named_by, self.text.len())
    }
}

/// Whether an agent exports its maintenance windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exports {
    /// There is no such process, or its environment cannot be read without root.
    #[default]
    Unknown,
    /// Its environment makes it.
    Yes,
    /// The unit makes it, and did not when the agent was started. A reload keeps the environment.
    AfterRestart,
    /// Nor will the next process.
    No,
}
