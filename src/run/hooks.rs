//! Runs hooks before and after changes. A hook before a change can postpone it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Error, Result};
use log::{info, warn};
use nix::libc::{ENOENT, ENOEXEC};

use crate::config::hooks::{POST_UPGRADE, PRE_UPGRADE};
use crate::decide::decision::{Action, Cause};
use crate::decide::observation::Observation;
use crate::report::outcome::{End, postpone};
use crate::report::words::action;
use crate::run::Run;
use crate::run::steps::Finished;
use crate::server::answers::Target;
use crate::state::history::{Hooked, Postponed};
use crate::system::output::terminal::Step;
use crate::system::process::command::Command;
use crate::system::text::{printable, reasons};
use crate::upgrade::Outcome;

/// The length at which a reason is cut.
const LONGEST: usize = 1000;

/// What to do about a hook that cannot be run: usually its first line is missing, or ends with a carriage return.
const FIRST_LINE: &str = ". Check the interpreter in its first line, such as #!/bin/sh";

/// The result of the hooks before a change.
pub(super) enum Before {
    /// The change is made.
    Go,
    /// The hooks took time: decide again whether the change may be made.
    DecideAgain,
    /// The change is not made now.
    Postponed(End),
}

impl Run<'_> {
    /// Runs the hooks before a change, once. If the agent is down, they cannot postpone the change.
    pub(super) fn before(
        &mut self,
        seen: &Observation,
        action: &Action,
        cause: &Cause,
    ) -> Result<Before> {
        let change = Hooked {
            from: seen.agent.package.version.clone(),
            to: action.target().clone(),
            cause: cause.word().into(),
        };
        let postponed = |reason: &str| {
            let line = format!("{} is postponed: {reason}", action::step(action));
            Ok(Before::Postponed(postpone(line)))
        };
        let is_same = |ran: &Hooked| (&ran.from, &ran.to) == (&change.from, &change.to);
        if self.hooks_ran && self.record.history().hooked.as_ref().is_some_and(is_same) {
            if self.signals.asked_to_end() {
                return postponed("a stop was requested");
            }
            self.postponed = None;
            return Ok(Before::Go);
        }
        let is_down = matches!(cause, Cause::Down(..));
        let hooks = match self.begin(&change) {
            Err(error) if is_down => {
                warn!("{}", reasons(&error));
                Vec::new()
            }
            hooks => hooks?,
        };
        for hook in &hooks {
            let ended = self.hook(hook, &change, &[]);
            let name = name(hook);
            match ended {
                _ if self.signals.asked_to_end() => {
                    return postponed(&format!("a stop was requested during {name}"));
                }
                Ok(()) => {}
                Err(reason) if is_down => warn!("{reason}. Continuing, since the agent is down"),
                Err(reason) => {
                    self.postponed_by(name, seen, action);
                    return postponed(&reason);
                }
            }
        }
        if hooks.is_empty() {
            self.postponed = None;
            return Ok(Before::Go);
        }
        Ok(Before::DecideAgain)
    }

    /// The hooks before a change. The change is recorded first, so that the hooks after it run even if this run is killed.
    fn begin(&mut self, change: &Hooked) -> Result<Vec<PathBuf>> {
        let hooks = self.config.hooks(PRE_UPGRADE)?;
        // A hook that was copied without its mode, for example.
        let problems = self.config.hook_problems();
        problems.iter().for_each(|problem| warn!("{problem}"));
        let after = self.config.hooks(POST_UPGRADE);
        let is_none = hooks.is_empty() && after.is_ok_and(|after| after.is_empty());
        self.record
            .update(|history| history.hooked = (!is_none).then(|| change.clone()))?;
        self.hooks_ran = true;
        Ok(hooks)
    }

    fn postponed_by(&mut self, hook: String, seen: &Observation, action: &Action) {
        let target = match &seen.target {
            Some(Target::Version(target)) => target,
            _ => action.target(),
        };
        let before = self.postponed.take().filter(|one| one.target == *target);
        self.postponed = Some(Postponed {
            hook,
            since: before.map_or(seen.now, |before| before.since),
            target: target.clone(),
        });
    }

    /// Runs the hooks after a change, once it has ended.
    pub(super) fn after(&mut self, outcome: &Outcome) {
        let (result, reason) = match outcome {
            Outcome::Unfinished(_) => return,
            Outcome::Upgraded => ("upgraded", String::new()),
            Outcome::Simulated => ("upgraded", "installer is set to nop".into()),
            Outcome::Untouched(error) => ("failed", error.to_string()),
            Outcome::RolledBack { reason } => ("rolled-back", reason.clone()),
            Outcome::Broken {
                reason, rollback, ..
            } => (
                "broken",
                format!("{reason}. Rollback failed too: {rollback}"),
            ),
        };
        self.run_after(result, &reason);
    }

    /// Runs the hooks after a change that was not made although hooks ran before it, in this run or in one that was killed.
    pub(super) fn after_no_change(&mut self, finished: &Result<Finished>) {
        if self.record.history().unfinished.is_none() {
            let _deferred = self.signals.defer();
            let reason = match finished {
                Ok(finished) => finished.end.line.clone(),
                Err(error) => reasons(error),
            };
            self.run_after("postponed", &reason);
        }
    }

    fn run_after(&mut self, result: &str, reason: &str) {
        let Some(change) = self.record.history().hooked.clone() else {
            return;
        };
        self.hooks_ran = false;
        // A hook that kills this run must not kill every later run.
        let recorded = self.record.update(|history| {
            // A failed rollback is resumed by every run, and the hooks run after each attempt.
            history.hooked = history
                .hooked
                .take()
                .filter(|_| history.unfinished.is_some());
        });
        // On a full disk they run again, since a host must not stay drained.
        let problem = |error: Error| warn!("{}", reasons(&error));
        recorded.unwrap_or_else(problem);
        let hooks = self.config.hooks(POST_UPGRADE);
        let hooks = hooks.map_err(|error| problem(error.into()));
        let reason = printable(reason, LONGEST);
        let ended = [
            ("TELEPORT_UPGRADE_RESULT", result),
            ("TELEPORT_UPGRADE_REASON", &reason),
        ];
        for hook in hooks.unwrap_or_default() {
            if let Err(problem) = self.hook(&hook, &change, &ended) {
                warn!("{problem}");
            }
        }
    }

    /// Runs one hook and returns why it failed. `ended` is empty before the change; then a request to stop ends the hook.
    fn hook(&self, file: &Path, change: &Hooked, ended: &[(&str, &str)]) -> Result<(), String> {
        let what = format!("running {}", name(file));
        info!("{what}");
        self.lock.step(&what);
        let _step = Step::new(what);
        let run = |stop| {
            let command = Command::foreign(file, &name(file), stop)
                .limit(self.config.hook)
                .env("TELEPORT_UPGRADE_FROM", &change.from.to_string())
                .env("TELEPORT_UPGRADE_TO", &change.to.to_string())
                .env("TELEPORT_UPGRADE_CAUSE", &change.cause);
            let variables = ended.iter();
            variables
                .fold(command, |command, (key, value)| command.env(key, value))
                .run()
        };
        let ran = match ended {
            [] => self.signals.interruptible(run),
            _ => run(Arc::default()),
        };
        match ran {
            Ok(output) if output.success() => Ok(()),
            Ok(output) => Err(output.summary()),
            Err(error) => {
                let cause = error.root_cause().downcast_ref();
                let number = cause.and_then(io::Error::raw_os_error);
                let is_unknown = matches!(number, Some(ENOENT | ENOEXEC));
                Err(reasons(&error) + if is_unknown { FIRST_LINE } else { "" })
            }
        }
    }
}

/// The name of a hook, with its directory: "pre-upgrade.d/50-drain".
fn name(file: &Path) -> String {
    let directory = file.ancestors().nth(2).unwrap_or(file);
    let name = file.strip_prefix(directory).unwrap_or(file);
    printable(&name.to_string_lossy(), 100)
}
