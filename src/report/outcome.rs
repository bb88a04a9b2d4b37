//! How a run ends: its last line, the priority of that line, and the exit status.

use std::io;
use std::time::Duration;

use anyhow::{Result, anyhow};
use log::Level;

use crate::decide::compatibility::NotAllowed;
use crate::decide::decision::{Action, Decision};
use crate::decide::observation::Observation;
use crate::exit::Exit;
use crate::packages::PackageError;
use crate::report::words;
use crate::report::words::action;
use crate::system::output::journal::Event;
use crate::system::output::logging;
use crate::system::output::terminal;
use crate::system::text::{io_problem, reasons};
use crate::system::times;
use crate::upgrade::{Outcome, UpgradeError};

/// The priority of the last line. A transient error needs no action.
fn level(exit: Exit) -> Level {
    match exit {
        Exit::Success => Level::Info,
        Exit::Temporary => Level::Warn,
        _ => Level::Error,
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The exit status.
    pub exit: Exit,
    /// The last line.
    pub line: String,
}

impl End {
    /// The end by an error, which is logged later.
    pub fn by(error: &anyhow::Error) -> End {
        End {
            exit: Exit::of(error),
            line: reasons(error),
        }
    }
}

/// Logs what is available for this host.
pub fn announce(seen: &Observation) -> Result<()> {
    let mut lines = words::available(seen).into_iter();
    lines.try_for_each(|line| printed(logging::outcome(Level::Info, &line)))
}

/// Logs why nothing is done now.
pub fn rest(seen: &Observation, decision: &Decision) -> End {
    if let Decision::NotAllowed(reason) = decision {
        return disallow(reason);
    }
    match words::verdict(decision) {
        Some(line) => said(line),
        None => End {
            exit: Exit::Success,
            line: words::available(seen).pop().unwrap_or_default(),
        },
    }
}

/// Logs why a change is not allowed.
pub fn disallow(reason: &NotAllowed) -> End {
    let line = words::not_allowed(reason);
    if reason.is_a_pin() {
        return said(line);
    }
    logging::event(Event::NotAllowed, Level::Error, &line, &[]);
    End {
        exit: Exit::NotAllowed,
        line,
    }
}

/// Logs what a run would do, with the priority of its end. It is no event.
pub fn would(exit: Exit, line: &str) -> Result<()> {
    printed(logging::outcome(level(exit), line))
}

/// Logs why a change is postponed.
pub fn postpone(line: String) -> End {
    let exit = Exit::Temporary;
    let _ = logging::outcome(level(exit), &line);
    End { exit, line }
}

/// A change that was made, or tried.
pub struct Attempt<'a> {
    /// What was seen before.
    pub seen: &'a Observation,
    /// The change.
    pub action: &'a Action,
    /// Why it was made.
    pub cause: &'a str,
    /// How long it took.
    pub took: Duration,
}

/// Logs how a change ended.
pub fn conclude(attempt: &Attempt, outcome: &Outcome) -> End {
    let Attempt {
        seen,
        action,
        cause,
        took,
    } = attempt;
    let step = action::step(action);
    let previous = match action {
        Action::Upgrade(path) => &path.from,
        repair => repair.target(),
    };
    let (exit, line) = match outcome {
        Outcome::Upgraded => {
            let took = times::took(took.as_secs_f64());
            let done = action::done(action);
            (Exit::Success, format!("{done} in {took} ({cause})"))
        }
        Outcome::Simulated => {
            // It is no event: the agent was not changed.
            return said(format!(
                "simulated: {step} ({cause}). Nothing was installed: installer is set to nop"
            ));
        }
        Outcome::Untouched(error) => {
            let exit = if error.is_temporary() {
                Exit::Temporary
            } else {
                Exit::Failed
            };
            let line = match (error, action) {
                (UpgradeError::Package(PackageError::InsecureSettings(_)), _) => {
                    format!("{step} is blocked: {error}")
                }
                (_, Action::Upgrade(_)) => {
                    format!("{step} failed: {error}. The agent still runs {previous}")
                }
                _ => format!("{step} failed: {error}"),
            };
            (exit, line)
        }
        Outcome::Unfinished(error) => (
            Exit::Temporary,
            format!("{step} was interrupted: {error}. It is resumed at the next check"),
        ),
        Outcome::RolledBack { reason } => (
            Exit::RolledBack,
            format!(
                "{step} failed and was rolled back: {reason}. {previous} is installed again and healthy"
            ),
        ),
        Outcome::Broken {
            reason, rollback, ..
        } => {
            let rollback = match action {
                Action::Upgrade(_) => format!(". Rollback to {previous} failed too: {rollback}"),
                _ => format!(": {rollback}"),
            };
            let services = seen.agent.services.iter();
            let units: Vec<String> = services.map(|one| format!(" -u {}", one.unit)).collect();
            let line = format!(
                "{step} failed: {reason}{rollback}. Manual intervention required; recovery is retried at every check. See: journalctl{}",
                units.concat()
            );
            (Exit::Broken, line)
        }
    };
    let event = match exit {
        Exit::Success => Event::Upgraded,
        Exit::RolledBack => Event::RolledBack,
        Exit::Temporary => return postpone(line),
        _ => Event::Failed,
    };
    logging::event(event, level(exit), &line, &versions(action));
    End { exit, line }
}

/// Logs an error that ends the program. It is an event if a run failed.
pub fn fail(error: &anyhow::Error, is_run: bool) -> Exit {
    let End { exit, line } = End::by(error);
    let is_event = is_run && exit != Exit::Temporary;
    logging::failure(is_event.then_some(Event::Failed), level(exit), &line);
    exit
}

/// Logs why a command other than a run ends without a result.
pub fn end_without_result(exit: Exit, line: &str) -> Exit {
    logging::failure(None, level(exit), line);
    exit
}

/// The versions of a change, as fields of the journal.
fn versions(action: &Action) -> Vec<(&'static str, String)> {
    let mut fields = vec![("TELEPORT_UPGRADE_TO", action.target().to_string())];
    if let Action::Upgrade(path) = action {
        fields.push(("TELEPORT_UPGRADE_FROM", path.from.to_string()));
    }
    fields
}

/// Ends with a line that needs no action.
fn said(line: String) -> End {
    say(&line);
    End {
        exit: Exit::Success,
        line,
    }
}

/// Logs a line of the result.
pub fn say(line: &str) {
    let _ = logging::outcome(Level::Info, line);
}

/// Prints the requested output, and nothing else.
pub fn print(text: &str) -> Result<()> {
    printed(terminal::write(&mut io::stdout(), text.as_bytes()))
}

/// Fails if the requested output could not be printed. A reader that closes the pipe early, such as head, is no failure.
fn printed(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(anyhow!(
            "cannot write to standard output: {}",
            io_problem(&error)
        )),
        _ => Ok(()),
    }
}
