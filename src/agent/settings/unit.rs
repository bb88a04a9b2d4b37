//! How a service starts the agent: what its unit contains, and how the process that runs was started. The two differ between a change of
//! the unit and the next restart.

use std::io;
use std::path::Path;

use crate::agent::settings::environment::Environment;
use crate::agent::settings::start::{Exports, Start};
use crate::agent::settings::{command_line, environment};
use crate::system::files::untrusted;
use crate::system::text::{io_problem, printable};

/// The variable that makes the agent export its maintenance windows, and its value for that.
const UPGRADER: (&str, &str) = ("TELEPORT_EXT_UPGRADER", "unit");
/// No file of variables is larger.
const MAX_BYTES: u64 = 1024 * 1024;

/// The properties of a unit by which it starts the agent, as `systemctl show` prints them.
pub struct Unit<'a> {
    /// `ExecStart=`.
    pub command: &'a str,
    /// `Environment=`.
    pub environment: &'a str,
    /// `EnvironmentFiles=`, one a line.
    pub files: Vec<&'a str>,
}

impl Unit<'_> {
    /// How the agent is started, and how the process in charge was, if that is different; and whether that one exports its windows.
    pub fn look(&self, pid: Option<i32>) -> (Vec<Start>, Exports) {
        let (variables, unread) = self.variables();
        let own = pid.and_then(environment::of_process);
        let exports = match &own {
            None => Exports::Unknown,
            Some(own) if exports(own) => Exports::Yes,
            Some(_) if exports(&variables) => Exports::AfterRestart,
            Some(_) => Exports::No,
        };
        let words = command_line::in_unit(self.command, &variables);
        let mut unit = Start::of(&words, &variables).unwrap_or_default();
        // The process has what the unit gave it.
        unit.unread = unit.unread.or(unread.filter(|_| own.is_none()));
        let process = pid
            .and_then(|pid| Start::of(&command_line::of_process(pid), &own.unwrap_or(variables)));
        let process = process.filter(|process| *process != unit);
        ([unit].into_iter().chain(process).collect(), exports)
    }

    /// The variables that the unit sets, and why there may be more.
    fn variables(&self) -> (Environment, Option<String>) {
        let mut variables = environment::in_line(self.environment);
        let mut unread = None;
        for file in &self.files {
            // `/etc/default/teleport (ignore_errors=yes)`.
            let file = file.split(" (ignore_errors=").next().unwrap_or_default();
            match untrusted::read_linked(Path::new(file), MAX_BYTES) {
                Ok(text) => variables.extend(environment::in_file(&text)),
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && !file.contains(['*', '?', '[']) => {}
                Err(error) => {
                    unread = Some(format!("{}: {}", printable(file, 200), io_problem(&error)))
                }
            }
        }
        (variables, unread)
    }
}

fn exports(environment: &Environment) -> bool {
    environment
        .get(UPGRADER.0)
        .is_some_and(|kind| kind == UPGRADER.1)
}

#[cfg(test)]
mod tests;
