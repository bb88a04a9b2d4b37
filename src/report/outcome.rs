//! How a pass ends: what is said, how loudly, and the exit status.

use log::Level;
use nix::unistd::geteuid;

use crate::agent::NoAgent;
use crate::config::ConfigError;
use crate::decide::policy::{Action, Decision, Observation};
use crate::packages::PackageError;
use crate::report::words;
use crate::server::http::Unanswered;
use crate::state::lock::Taken;
use crate::system::journal::Event;
use crate::system::logging;
use crate::system::text::reasons;
use crate::upgrade::Outcome;

/// How the program ends, as its callers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Nothing to do, or waiting for a window, or upgraded.
    Fine = 0,
    /// Failed; the agent runs what it ran before.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Refused: by the compatibility rule, by a limit of this host, or because the host is not for this program.
    NotAllowed = 10,
    /// Upgraded, found unhealthy, rolled back.
    RolledBack = 11,
    /// Neither the new nor the old version runs.
    Broken = 12,
    /// Something that passes by itself.
    Temporary = 75,
}

impl Exit {
    /// What an error that ended the pass means to the caller.
    pub fn of(error: &anyhow::Error) -> Exit {
        if error.is::<ConfigError>() || error.is::<NoAgent>() || error.is::<NotRoot>() {
            Exit::Usage
        } else if error.is::<Taken>()
            || error.downcast_ref().is_some_and(Unanswered::is_temporary)
            || error.downcast_ref().is_some_and(PackageError::is_temporary)
        {
            Exit::Temporary
        } else {
            Exit::Failed
        }
    }

    /// How loudly it is said. What passes by itself is nothing to wake anybody for.
    fn level(self) -> Level {
        match self {
            Exit::Fine => Level::Info,
            Exit::Temporary => Level::Warn,
            _ => Level::Error,
        }
    }

    /// Whether it is a failure that does not pass by itself.
    pub fn is_failure(self) -> bool {
        matches!(self, Exit::Failed | Exit::Usage | Exit::Broken)
    }
}

/// A command that changes the host, by somebody who may not.
#[derive(Debug)]
struct NotRoot(&'static str);

impl std::fmt::Display for NotRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let command = self.0;
        write!(
            f,
            "\"{command}\" must be run as root; try: sudo teleport-upgrade {command} (\"dry-run\" and \"status\" need no root)"
        )
    }
}

impl std::error::Error for NotRoot {}

/// Fails unless root has given this command.
pub fn require_root(command: &'static str) -> anyhow::Result<()> {
    if geteuid().is_root() {
        Ok(())
    } else {
        Err(NotRoot(command).into())
    }
}

/// How a pass ended, and the line that said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The exit status.
    pub exit: Exit,
    /// What was said at last.
    pub line: String,
}

impl End {
    /// The end of a pass by an error, which is said later.
    pub fn by(error: &anyhow::Error) -> End {
        End {
            exit: Exit::of(error),
            line: reasons(error),
        }
    }
}

/// Says what the channel has for this host.
pub fn announce(seen: &Observation) {
    words::available(seen).iter().for_each(|line| say(line));
}

/// Says why nothing is done.
pub fn rest(seen: &Observation, decision: &Decision) -> End {
    match words::verdict(decision) {
        _ if matches!(decision, Decision::NotAllowed(_)) => refuse(decision),
        Some(line) => {
            say(&line);
            End {
                exit: Exit::Fine,
                line,
            }
        }
        None => End {
            exit: Exit::Fine,
            line: words::available(seen).pop().unwrap_or_default(),
        },
    }
}

/// Says that this host must not have what is wanted.
pub fn refuse(decision: &Decision) -> End {
    let line = words::verdict(decision).unwrap_or_default();
    if matches!(decision, Decision::NotAllowed(refusal) if refusal.is_a_pin()) {
        say(&line);
        return End {
            exit: Exit::Fine,
            line,
        };
    }
    logging::event(Event::Refused, Level::Error, &line, &[]);
    End {
        exit: Exit::NotAllowed,
        line,
    }
}

/// Says what a pass would do, and how it would end if it did nothing else. It is no event.
pub fn would(exit: Exit, line: &str) {
    logging::outcome(exit.level(), line);
}

/// Says how a change went.
pub fn conclude(action: &Action, cause: &str, outcome: &Outcome) -> End {
    let attempt = action.attempt();
    let (exit, line) = match outcome {
        Outcome::Upgraded => (
            Exit::Fine,
            format!("done: {}, because {cause}", action.done()),
        ),
        Outcome::Tried => {
            let line = format!(
                "tried to {attempt}, because {cause}; nothing was installed, as the file \"installer\" says nop"
            );
            // It is no event: the agent is what it was.
            say(&line);
            return End {
                exit: Exit::Fine,
                line,
            };
        }
        Outcome::Untouched(error) => {
            let exit = if error.is_temporary() {
                Exit::Temporary
            } else {
                Exit::Failed
            };
            (exit, format!("could not {attempt}: {error}"))
        }
        Outcome::Unfinished(error) => (Exit::Temporary, format!("began to {attempt}: {error}")),
        Outcome::RolledBack { reason } => (
            Exit::RolledBack,
            format!("could not {attempt}: {reason}; the version before is back and runs well"),
        ),
        Outcome::Broken { reason, back, .. } => {
            let line = format!(
                "could not {attempt}: {reason}; and the way back failed: {back}; a person is needed, and every pass tries again"
            );
            (Exit::Broken, line)
        }
    };
    let event = match exit {
        Exit::Fine => Event::Upgraded,
        Exit::RolledBack => Event::RolledBack,
        Exit::Temporary => {
            logging::outcome(exit.level(), &line);
            return End { exit, line };
        }
        _ => Event::Failed,
    };
    logging::event(event, exit.level(), &line, &versions(action));
    End { exit, line }
}

/// Says why the program ends without an outcome.
pub fn fail(error: &anyhow::Error) -> Exit {
    let End { exit, line } = End::by(error);
    logging::failure(
        (exit != Exit::Temporary).then_some(Event::Failed),
        exit.level(),
        &line,
    );
    exit
}

/// The versions that a change is about, as fields of the journal.
fn versions(action: &Action) -> Vec<(&'static str, String)> {
    let mut fields = vec![("TELEPORT_UPGRADE_TO", action.target().to_string())];
    if let Action::Upgrade(path) = action {
        fields.push(("TELEPORT_UPGRADE_FROM", path.from.to_string()));
    }
    fields
}

/// Says a line of the outcome.
pub fn say(line: &str) {
    logging::outcome(Level::Info, line);
}
