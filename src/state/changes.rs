//! The changes of the agent on this host, for people, fleets and one sentence. Plain values; they are part of the history.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::state::history::Change;
use crate::system::text::printable;
use crate::system::times;
use crate::version::Version;

/// How many are kept.
const MOST: usize = 50;
/// The length at which a text is cut.
const LONGEST: usize = 300;

/// Why a change is made, and who started its run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Start {
    /// Why: "maintenance window open until 2026-11-20 02:00 UTC".
    pub cause: String,
    /// The user who started the run; nothing if the timer did.
    pub user: Option<String>,
    /// Whether it was `force`.
    pub forced: bool,
}

/// A change that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// When.
    pub began: DateTime<Utc>,
    /// The previous version.
    pub from: Version,
    /// The version to install; the same for a repair.
    pub to: Version,
    /// The target version, if `to` is an intermediate version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<Version>,
    /// The service, if only that was to be restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Why, and by whom.
    #[serde(flatten)]
    pub start: Start,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// A higher version runs.
    Upgraded,
    /// A lower version runs, as the release channel has it.
    Downgraded,
    /// The same version was installed again.
    Reinstalled,
    /// The service runs the installed version.
    Restarted,
    /// The version failed verification; the previous one runs.
    RolledBack,
    /// Nothing was changed.
    Failed,
    /// Neither version runs.
    Broken,
}

/// A change that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// What was begun.
    #[serde(flatten)]
    pub begun: Begun,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How it ended.
    pub result: Ending,
    /// Why, unless it went well.
    pub reason: Option<String>,
    /// How many runs in a row ended like that.
    pub tries: u32,
}

/// The latest changes, oldest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Changes(Vec<Ended>);

impl Begun {
    /// Ends it. `failure` is how it failed, and why.
    pub fn end(mut self, ended: DateTime<Utc>, failure: Option<(Ending, String)>) -> Ended {
        let done = match self.from.cmp(&self.to) {
            Ordering::Less => Ending::Upgraded,
            Ordering::Greater => Ending::Downgraded,
            Ordering::Equal if self.service.is_some() => Ending::Restarted,
            Ordering::Equal => Ending::Reinstalled,
        };
        let (result, reason) = failure.map_or((done, None), |(failed, why)| (failed, Some(why)));
        self.start.cause = printable(&self.start.cause, LONGEST);
        Ended {
            // The clock may have been set back.
            seconds: times::seconds((ended - self.began).to_std().unwrap_or_default()),
            begun: self,
            ended,
            result,
            reason: reason.map(|reason| printable(&reason, LONGEST)),
            tries: 1,
        }
    }
}

impl From<&Change> for Begun {
    fn from(change: &Change) -> Begun {
        Begun {
            began: change.since,
            from: change.from.clone(),
            to: change.to.clone(),
            goal: change.goal.clone(),
            service: None,
            start: change.start.clone(),
        }
    }
}

impl Ending {
    /// All of them, for the documents.
    pub const ALL: [Ending; 7] = [
        Ending::Upgraded,
        Ending::Downgraded,
        Ending::Reinstalled,
        Ending::Restarted,
        Ending::RolledBack,
        Ending::Failed,
        Ending::Broken,
    ];

    /// Its name in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Ending::Upgraded => "upgraded",
            Ending::Downgraded => "downgraded",
            Ending::Reinstalled => "reinstalled",
            Ending::Restarted => "restarted",
            Ending::RolledBack => "rolled-back",
            Ending::Failed => "failed",
            Ending::Broken => "broken",
        }
    }
}

impl Ended {
    /// Whether it went well.
    pub fn is_done(&self) -> bool {
        self.reason.is_none()
    }

    /// Whether it was to change the version.
    pub fn is_of_version(&self) -> bool {
        self.begun.from != self.begun.to
    }

    /// Whether `newer` is the same change, which a later run completed, or another try that ended the same way.
    fn is_continued_by(&self, newer: &Ended) -> bool {
        let (old, new) = (&self.begun, &newer.begun);
        let is_repeated = self.result == newer.result
            && !matches!(
                self.result,
                Ending::Upgraded | Ending::Downgraded | Ending::RolledBack
            )
            && (old.start.user == new.start.user && old.start.forced == new.start.forced);
        (&old.from, &old.to, &old.service) == (&new.from, &new.to, &new.service)
            && (old.began == new.began || is_repeated)
    }
}

impl Changes {
    /// Adds one. A failure that every run repeats takes one place, and so does a change that several runs completed.
    pub fn add(&mut self, mut new: Ended) {
        if let Some(last) = self.0.pop_if(|last| last.is_continued_by(&new)) {
            new.tries = last.tries.saturating_add(1);
        }
        self.0.push(new);
        self.0.drain(..self.0.len().saturating_sub(MOST));
    }

    /// The latest changes, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Ended> {
        self.0.iter().rev().take(MOST)
    }

    /// The last change of the version that went well.
    pub fn last_version(&self) -> Option<&Ended> {
        self.newest_first()
            .find(|change| change.is_of_version() && change.is_done())
    }

    /// The last attempt at this target, or else at any; repairs do not count.
    pub fn last_attempt(&self, target: Option<&Version>) -> Option<&Ended> {
        let attempts = || self.newest_first().filter(|change| change.is_of_version());
        let is_at = |change: &&Ended| {
            let Begun { to, goal, .. } = &change.begun;
            Some(to) == target || (goal.is_some() && goal.as_ref() == target)
        };
        attempts().find(is_at).or_else(|| attempts().next())
    }
}

#[cfg(test)]
mod tests;
