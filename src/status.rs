//! `status` and `dry-run`: observe, decide, and stop.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::{DateTime, Utc};
use log::{LevelFilter, debug, warn};

use crate::agent::Agent;
use crate::agent::schedule::Schedule;
use crate::agent::service::Binary;
use crate::cli::Options;
use crate::config::Config;
use crate::config::unknown::unread;
use crate::decide::policy::{Decision, Observation};
use crate::observe::Asks;
use crate::packages::PackageError;
use crate::report::outcome::Exit;
use crate::report::page;
use crate::report::{DecisionReport, Report, ScheduleReport, State, outcome, words};
use crate::server::http::Patience;
use crate::state::cache;
use crate::state::cache::Cache;
use crate::state::current_run::CurrentRun;
use crate::state::history::{Change, History, LastRun};
use crate::state::record;
use crate::system::terminal::Colours;
use crate::system::text::{io_problem, reasons};
use crate::system::{terminal, timer};
use crate::{observe, packages};

/// How long `status` waits for servers, all in all: it is to be there within a second.
const PATIENCE: Duration = Duration::from_millis(600);

/// Shows how things stand on this host.
pub fn status(options: &Options, json: bool) -> Result<Exit> {
    if !options.verbose {
        // What is strange on the way is on the page.
        log::set_max_level(LevelFilter::Error);
    }
    let mut looked = Looked::at(options, Patience::Until(Instant::now() + PATIENCE));
    looked.timer();
    if json {
        print_json(&looked.report)?;
    } else {
        print(&page::render(&looked.report, Colours::of(&io::stdout())));
    }
    let exit = looked.error.as_ref().map_or(Exit::Fine, Exit::of);
    // That the server does not answer is what it was to find out.
    Ok(if exit == Exit::Usage {
        exit
    } else {
        Exit::Fine
    })
}

/// Says what `run` would do, and changes nothing.
pub fn dry_run(options: &Options, json: bool) -> Result<Exit> {
    let mut looked = Looked::at(options, Patience::Pass);
    let exit = looked.exit();
    if json {
        looked.timer();
        print_json(&looked.report)?;
        return Ok(exit);
    }
    if let Some(change) = &looked.unfinished {
        outcome::say(&words::unfinished(
            change,
            looked.report.in_progress.as_ref(),
        ));
    }
    if let Some((seen, _)) = &looked.decided {
        outcome::announce(seen);
    }
    for problem in &looked.report.problems {
        warn!("{problem}");
    }
    let services = looked.report.agent.iter().flat_map(|agent| &agent.services);
    services
        .filter_map(|service| service.export_advice.as_ref())
        .for_each(|advice| warn!("{advice}"));
    if let Some(error) = looked.error {
        return Err(error);
    }
    if let Some(line) = looked.verdict {
        outcome::would(exit, &line);
    }
    Ok(exit)
}

/// The host, looked at.
struct Looked {
    report: Report,
    /// What was seen and decided, if it came to that.
    decided: Option<(Observation, Decision)>,
    /// The sentence that follows from it, if there is anything to do or to refuse.
    verdict: Option<String>,
    /// A change that was begun and is not ended.
    unfinished: Option<Change>,
    /// Why nothing could be decided.
    error: Option<anyhow::Error>,
}

impl Looked {
    fn at(options: &Options, patience: Patience) -> Looked {
        let mut history = record::history(&options.state_dir);
        let mut report = Report::new(Utc::now(), &history, record::last_run(&options.state_dir));
        report.in_progress = CurrentRun::read(&options.state_dir);
        let unfinished = history.unfinished.take();
        let mut looked = Looked {
            report,
            decided: None,
            verdict: None,
            unfinished,
            error: None,
        };
        if let Err(error) = looked.decide(options, history, patience) {
            looked.report.decision = DecisionReport::unknown(reasons(&error));
            looked.error = Some(error);
        }
        if let Some(change) = &looked.unfinished {
            looked.report.decision =
                DecisionReport::unfinished(change, looked.report.in_progress.as_ref());
        }
        looked
    }

    /// Observes and decides, and keeps what it finds out even if it does not come to an end.
    fn decide(&mut self, options: &Options, history: History, patience: Patience) -> Result<()> {
        if let Some(refusal) = observe::managed_by_another(options) {
            self.report.decision = DecisionReport::refused(&refusal);
            self.verdict = Some(self.report.decision.sentence.clone());
            return Ok(());
        }
        // Not in every pass, which reads no directory; and before the file that this one may have been meant to be is missed.
        self.report.problems.extend(unread(&options.config_dir));
        let config = Config::read(&options.config_dir)?;
        self.report.schedule = Some(schedule(&config.schedule, self.report.time));
        let mut cache = Cache::read(Path::new(cache::FILE));
        let mut seen = observe::first_look(&config, history, &mut cache, false)?;
        self.report
            .last_run
            .iter()
            .for_each(|last| recall(&mut seen.agent, last));
        self.report.installer = Some(packages::installer(&config, seen.agent.package.database));
        self.report.observed(&config, &seen);
        let asks = Asks::new(&config, false, patience);
        let (mut seen, decision) = asks.path_too(asks.decide(seen)?)?;
        if matches!(patience, Patience::Until(_)) {
            asks.what_people_ask(&mut seen)?;
        }
        self.report.decided(&config, &seen, &decision);
        if let (Some(problem), Some(channel)) = (asks.unanswered.take(), &mut self.report.channel) {
            channel.critical = None;
            // "dry-run" has said so on the way.
            self.report
                .problems
                .extend(Some(problem).filter(|_| patience != Patience::Pass));
        }
        self.verdict = words::verdict(&decision);
        if let Some(error) = observe::distrust(&config, &seen, &decision)? {
            self.distrusted(&decision, &error);
        }
        self.decided = Some((seen, decision));
        Ok(())
    }

    /// Asks for the timer as well.
    fn timer(&mut self) {
        match timer::read(self.report.time) {
            Ok(timer) => self.report.timer = Some(timer),
            Err(error) => self.report.problems.push(reasons(&error)),
        }
    }

    /// The host's settings stand against what was decided: now, or when its time has come.
    fn distrusted(&mut self, decision: &Decision, error: &PackageError) {
        let Decision::Go(action, _) = decision else {
            self.report.problems.push(error.to_string());
            return;
        };
        let line = format!("could not {}: {error}", action.attempt());
        (self.report.decision.state, self.report.decision.sentence) =
            (State::InsecureConfig, line.clone());
        self.verdict = Some(line);
    }

    /// The exit status that a pass would have without doing anything.
    fn exit(&self) -> Exit {
        match (&self.error, self.report.decision.state, &self.decided) {
            (Some(error), _, _) => Exit::of(error),
            (_, State::Pinned, _) => Exit::Fine,
            (_, State::NotAllowed, _) | (_, _, Some((_, Decision::NotAllowed(_)))) => {
                Exit::NotAllowed
            }
            (_, State::InsecureConfig, _) => Exit::Failed,
            _ => Exit::Fine,
        }
    }
}

/// An ordinary user may not see which program a process runs; what the last pass saw of the same process is still so.
fn recall(agent: &mut Agent, last: &LastRun) {
    let installed = &agent.package.version;
    for service in agent
        .services
        .iter_mut()
        .filter(|service| service.binary == Binary::Unknown)
    {
        let known = last
            .running
            .get(&service.unit)
            .filter(|known| Some(known.pid) == service.pid);
        if known.is_some_and(|known| known.version != *installed) {
            service.binary = Binary::Replaced;
        }
    }
}

/// The schedule as it is now, and when the agent wrote it.
pub fn schedule(file: &Path, now: DateTime<Utc>) -> ScheduleReport {
    let written = std::fs::symlink_metadata(file)
        .and_then(|metadata| metadata.modified())
        .ok();
    ScheduleReport::of(
        file.to_path_buf(),
        &Schedule::read(file),
        written.map(DateTime::from),
        now,
    )
}

fn print_json(report: &Report) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(report)?));
    Ok(())
}

fn print(text: &str) {
    if let Err(error) = terminal::write(&mut io::stdout(), text.as_bytes()) {
        debug!("cannot write to standard output: {}", io_problem(&error));
    }
}
