//! How a pass ends: what is said, how loudly, and the exit status.

use log::Level;

use crate::decide::compatibility::NotAllowed;
use crate::decide::decision::{Action, Decision};
use crate::decide::observation::Observation;
use crate::exit::Exit;
use crate::report::words;
use crate::report::words::action;
use crate::system::journal::Event;
use crate::system::logging;
use crate::system::text::reasons;
use crate::upgrade::Outcome;

/// How loudly it is said. A transient error is not worth waking anybody.
fn level(exit: Exit) -> Level {
    match exit {
        Exit::Success => Level::Info,
        Exit::Temporary => Level::Warn,
        _ => Level::Error,
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
    if let Decision::NotAllowed(reason) = decision {
        return refuse(reason);
    }
    match words::verdict(decision) {
        Some(line) => {
            say(&line);
            End {
                exit: Exit::Success,
                line,
            }
        }
        None => End {
            exit: Exit::Success,
            line: words::available(seen).pop().unwrap_or_default(),
        },
    }
}

/// Says that this host must not have what is wanted.
pub fn refuse(reason: &NotAllowed) -> End {
    let line = words::not_allowed(reason);
    if reason.is_a_pin() {
        say(&line);
        return End {
            exit: Exit::Success,
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
    logging::outcome(level(exit), line);
}

/// Says how a change went.
pub fn conclude(change: &Action, cause: &str, outcome: &Outcome) -> End {
    let attempt = action::attempt(change);
    let (exit, line) = match outcome {
        Outcome::Upgraded => (
            Exit::Success,
            format!("done: {}, because {cause}", action::done(change)),
        ),
        Outcome::Simulated => {
            let line = format!(
                "tried to {attempt}, because {cause}; nothing was installed, as the file \"installer\" says nop"
            );
            // It is no event: the agent is what it was.
            say(&line);
            return End {
                exit: Exit::Success,
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
        Outcome::Broken {
            reason, rollback, ..
        } => {
            let line = format!(
                "could not {attempt}: {reason}; and the way back failed: {rollback}; a person is needed, and every pass tries again"
            );
            (Exit::Broken, line)
        }
    };
    let event = match exit {
        Exit::Success => Event::Upgraded,
        Exit::RolledBack => Event::RolledBack,
        Exit::Temporary => {
            logging::outcome(level(exit), &line);
            return End { exit, line };
        }
        _ => Event::Failed,
    };
    logging::event(event, level(exit), &line, &versions(change));
    End { exit, line }
}

/// Says why the program ends without an outcome.
pub fn fail(error: &anyhow::Error) -> Exit {
    let End { exit, line } = End::by(error);
    logging::failure(
        (exit != Exit::Temporary).then_some(Event::Failed),
        level(exit),
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
