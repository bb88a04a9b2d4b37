//! What would be done now, and why.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::decide::compatibility::NotAllowed;
use crate::decide::decision::{Action, Decision, Wait};
use crate::decide::observation::Observation;
use crate::decide::path::{Intermediate, UpgradePath};
use crate::report::words;
use crate::state::current_run::CurrentRun;
use crate::state::history::Change;
use crate::version::Version;

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionReport {
    /// In a word.
    pub state: State,
    /// In a sentence, the last line of `dry-run` and `run`.
    pub sentence: String,
    /// What is to be changed.
    pub action: Option<ActionName>,
    /// The version that the agent runs in the end.
    pub to: Option<Version>,
    /// The intermediate versions, as far as they are known.
    pub via: Vec<Version>,
    /// What the change waits for.
    pub waits_for: Option<WaitsFor>,
    /// When the maintenance window opens, if the change waits for one.
    pub opens: Option<DateTime<Utc>>,
    /// Whether this host is unsupported. The sentence says so.
    #[serde(skip)]
    pub is_of_the_host: bool,
}

/// What would be done now, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Unknown: something could not be observed, or a server did not answer.
    Unknown,
    /// A change is in progress.
    InProgress,
    /// A change was interrupted, or its rollback failed.
    Interrupted,
    /// Nothing: updates are paused.
    Paused,
    /// Nothing: the agent runs the target version and is healthy.
    UpToDate,
    /// Nothing: the target version is not allowed on this host.
    NotAllowed,
    /// Nothing: the host is pinned to another version.
    Pinned,
    /// Nothing: the version failed on this host.
    Skipped,
    /// A change, later.
    Waiting,
    /// A change that the host's settings prevent: they accept unsigned packages.
    InsecureConfig,
    /// A change, now.
    Due,
}

impl State {
    /// All states, for the metrics.
    pub const ALL: [State; 11] = [
        State::Unknown,
        State::InProgress,
        State::Interrupted,
        State::Paused,
        State::UpToDate,
        State::NotAllowed,
        State::Pinned,
        State::Skipped,
        State::Waiting,
        State::InsecureConfig,
        State::Due,
    ];

    /// The word, as JSON has it.
    pub fn word(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::InProgress => "in-progress",
            State::Interrupted => "interrupted",
            State::Paused => "paused",
            State::UpToDate => "up-to-date",
            State::NotAllowed => "not-allowed",
            State::Pinned => "pinned",
            State::Skipped => "skipped",
            State::Waiting => "waiting",
            State::InsecureConfig => "insecure-config",
            State::Due => "due",
        }
    }
}

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionName {
    /// Another version, newer or older.
    Upgrade,
    /// The same version again.
    Reinstall,
    /// A restart or reload.
    Restart,
}

/// What a change waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// The rollout, which has not reached this host.
    Rollout,
    /// A maintenance window.
    Window,
    /// The next check, as there are no usable windows.
    NextCheck,
    /// Usable windows, as they are required.
    Schedule,
}

impl DecisionReport {
    /// A state without a change.
    pub fn new(state: State, sentence: String) -> DecisionReport {
        DecisionReport {
            state,
            sentence,
            action: None,
            to: None,
            via: Vec::new(),
            waits_for: None,
            opens: None,
            is_of_the_host: false,
        }
    }

    /// Nothing could be decided.
    pub fn unknown(why: String) -> DecisionReport {
        DecisionReport::new(State::Unknown, why)
    }

    /// The target version, or any change at all, is not allowed here.
    pub fn not_allowed(reason: &NotAllowed) -> DecisionReport {
        let state = if reason.is_a_pin() {
            State::Pinned
        } else {
            State::NotAllowed
        };
        DecisionReport {
            is_of_the_host: reason.is_of_the_host(),
            ..DecisionReport::new(state, words::not_allowed(reason))
        }
    }

    /// A change that has to be finished first. `run` is the run that is doing so.
    pub fn unfinished(change: &Change, run: Option<&CurrentRun>) -> DecisionReport {
        let state = if run.is_some() {
            State::InProgress
        } else {
            State::Interrupted
        };
        DecisionReport {
            action: Some(ActionName::Upgrade),
            to: Some(change.goal.as_ref().unwrap_or(&change.to).clone()),
            ..DecisionReport::new(state, words::unfinished(change, run))
        }
    }

    /// What was decided.
    pub fn of(seen: &Observation, decision: &Decision) -> DecisionReport {
        let (state, action) = match decision {
            Decision::Resume(change) => return DecisionReport::unfinished(change, None),
            Decision::NotAllowed(reason) => return DecisionReport::not_allowed(reason),
            Decision::Paused => (State::Paused, None),
            Decision::UpToDate => (State::UpToDate, None),
            Decision::Skip(_) => (State::Skipped, None),
            Decision::Wait(action, _) => (State::Waiting, Some(action)),
            Decision::Go(action, _) => (State::Due, Some(action)),
        };
        let sentence =
            words::verdict(decision).unwrap_or_else(|| words::available(seen).join("; "));
        let mut report = DecisionReport::new(state, sentence);
        if let Decision::Wait(_, wait) = decision {
            report.waits_for = Some(match wait {
                Wait::Rollout(_) => WaitsFor::Rollout,
                Wait::Window(..) => WaitsFor::Window,
                Wait::NextCheck(_) => WaitsFor::NextCheck,
                Wait::Schedule(_) => WaitsFor::Schedule,
            });
            if let Wait::Window(window, _) = wait {
                report.opens = Some(window.start);
            }
        }
        let Some(action) = action else { return report };
        report.action = Some(match action {
            Action::Upgrade(_) => ActionName::Upgrade,
            Action::Reinstall(..) => ActionName::Reinstall,
            Action::Restart(..) => ActionName::Restart,
        });
        report.to = match action {
            Action::Upgrade(path) => Some(path.target.clone()),
            other => Some(other.target().clone()),
        };
        if let Action::Upgrade(UpgradePath {
            intermediate: Intermediate::Known(versions),
            ..
        }) = action
        {
            report.via.clone_from(versions);
        }
        report
    }
}
