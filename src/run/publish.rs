//! What a run leaves for people and machines: its record, the metrics and the login message. A run never fails because of them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, Utc};
use log::warn;

use crate::exit::Exit;
use crate::observe::windows;
use crate::report::agent::AgentReport;
use crate::report::decision::{DecisionReport, State};
use crate::report::outcome::End;
use crate::report::{ScheduleReport, metrics, notice};
use crate::run::Run;
use crate::state::history::LastRun;
use crate::system::text::{io_problem, reasons};
use crate::system::times;

impl Run<'_> {
    /// Records and reports how the run went.
    pub(super) fn publish(&mut self, began: DateTime<Utc>, took: Duration, ended: &Result<End>) {
        let end = ended.as_ref().map_or_else(End::by, End::clone);
        if let Err(error) = ended {
            self.report.decision = DecisionReport::unknown(reasons(error));
        }
        let seconds = times::seconds(took);
        let counted = self.record.update(|history| {
            history.counts.failures += u64::from(end.exit.is_failure());
        });
        let last_run = self.last_run(began, seconds, end);
        let noted = self.record.note(&last_run);
        self.report.recorded(self.record.history(), last_run);
        for published in [counted, noted, self.write_metrics(), self.write_notice()] {
            if let Err(error) = published {
                warn!("{}", reasons(&error));
            }
        }
    }

    fn last_run(&self, at: DateTime<Utc>, seconds: f64, end: End) -> LastRun {
        let before = self.report.last_run.as_ref();
        let last_success = before.and_then(|before| before.last_success);
        let channel = self.report.channel.as_ref();
        let target = match channel.filter(|channel| channel.answered) {
            Some(channel) => channel.target.clone(),
            None => before.and_then(|before| before.target.clone()),
        };
        let agent = self.report.agent.as_ref();
        let is_pending = matches!(
            self.report.decision.state,
            State::Due | State::Waiting | State::Unknown
        );
        let postponed = self.postponed.clone();
        LastRun {
            at,
            seconds,
            exit: end.exit as u8,
            outcome: end.line,
            postponed: postponed.filter(|one| is_pending && target.as_ref() == Some(&one.target)),
            target,
            last_success: if end.exit == Exit::Success {
                Some(at)
            } else {
                last_success
            },
            running: agent.map(AgentReport::running).unwrap_or_default(),
        }
    }

    fn write_metrics(&mut self) -> Result<()> {
        let Some(directory) = &self.config.metrics else {
            return Ok(());
        };
        let now = Utc::now();
        let schedule = windows::schedule(self.config, now);
        self.report.schedule = Some(ScheduleReport::of(self.config, schedule, now));
        metrics::write(directory, &self.report).map_err(|error| {
            anyhow!(
                "cannot write metrics to {}: {}. Create the directory or unset metrics",
                directory.display(),
                io_problem(&error)
            )
        })
    }

    fn write_notice(&self) -> Result<()> {
        let file = Path::new(notice::FILE);
        let written = match (self.config.notice, self.report.decision.state) {
            (false, _) => notice::remove(file),
            // What was announced before may still be true.
            (true, State::Unknown) => Ok(()),
            (true, _) => notice::update(file, &self.report),
        };
        written.with_context(|| format!("cannot write {}", file.display()))
    }
}
