//! `status` and `dry-run`: observe, decide, and stop.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::Utc;
use log::{LevelFilter, warn};
use serde::Serialize;

use crate::agent::service::Binary;
use crate::cli::Options;
use crate::config::hooks::PRE_UPGRADE;
use crate::config::{Config, ENDPOINT, SCHEDULE, unknown};
use crate::decide::decision::{Cause, Decision, Wait};
use crate::decide::observation::Agent;
use crate::decide::observation::Observation;
use crate::exit::Exit;
use crate::observe::sources::Sources;
use crate::packages::PackageError;
use crate::report::decision::{DecisionReport, State};
use crate::report::history::HistoryReport;
use crate::report::words::{self, action};
use crate::report::{Report, ScheduleReport, history, outcome, page};
use crate::server::http::Patience;
use crate::state::cache;
use crate::state::cache::Cache;
use crate::state::current_run::CurrentRun;
use crate::state::history::{Change, History, LastRun};
use crate::state::record;
use crate::system::files::untrusted;
use crate::system::output::terminal;
use crate::system::output::terminal::Colours;
use crate::system::text::reasons;
use crate::system::timer;
use crate::{observe, packages};

/// How long `status` waits for servers in total: people wait for it.
const PATIENCE: Duration = Duration::from_millis(600);

/// Shows the agent, the target version, maintenance windows and recent activity.
pub fn status(options: &Options, json: bool) -> Result<Exit> {
    if !options.verbose {
        // Warnings are on the page.
        log::set_max_level(LevelFilter::Error);
    }
    let mut survey = Survey::of(options, Patience::Until(Instant::now() + PATIENCE), None);
    survey.timer(options);
    if json {
        print_json(&survey.report)?;
    } else {
        let stdout = io::stdout();
        let width = terminal::width(&stdout);
        outcome::print(&page::render(&survey.report, width, Colours::of(&stdout)))?;
    }
    let exit = survey.error.as_ref().map_or(Exit::Success, Exit::of);
    // A server that does not answer is a result like any other.
    Ok(if exit == Exit::Usage {
        exit
    } else {
        Exit::Success
    })
}

/// Shows the latest changes.
pub fn history(options: &Options, json: bool) -> Result<Exit> {
    let changes = record::history(&options.state_dir).changes;
    if json {
        print_json(&HistoryReport::new(&changes, Utc::now()))?;
    } else {
        let stdout = io::stdout();
        let width = terminal::width(&stdout);
        outcome::print(&history::render(&changes, width, Colours::of(&stdout)))?;
    }
    Ok(Exit::Success)
}

/// Shows what `run` would do.
pub fn dry_run(options: &Options, json: bool) -> Result<Exit> {
    let mut survey = Survey::of(options, Patience::Run, None);
    let exit = survey.exit();
    if json {
        survey.timer(options);
        print_json(&survey.report)?;
        return Ok(exit);
    }
    survey.announce()?;
    if let Some(error) = survey.error {
        return Err(error);
    }
    if let Some(line) = survey.verdict {
        outcome::would(exit, &line)?;
    }
    Ok(exit)
}

/// What was observed and decided on the host.
pub(crate) struct Survey {
    pub(crate) report: Report,
    /// The settings, what was observed and what was decided, unless that failed.
    pub(crate) decided: Option<(Config, Observation, Decision)>,
    /// The sentence about the decision, unless there is nothing to do.
    pub(crate) verdict: Option<String>,
    /// A change that was begun and has not ended.
    pub(crate) unfinished: Option<Change>,
    /// Why nothing could be decided.
    pub(crate) error: Option<anyhow::Error>,
}

impl Survey {
    /// Observes and decides. `channel` replaces the configured release channel, and the index of the repository is refreshed then.
    pub(crate) fn of(options: &Options, patience: Patience, channel: Option<&str>) -> Survey {
        let (mut history, problem) = record::read(&options.state_dir);
        let mut report = Report::new(Utc::now(), &history, record::last_run(&options.state_dir));
        report.problems.extend(problem);
        report.in_progress = CurrentRun::read(&options.state_dir);
        let unfinished = history.unfinished.take();
        let mut survey = Survey {
            report,
            decided: None,
            verdict: None,
            unfinished,
            error: None,
        };
        if let Err(error) = survey.decide(options, history, patience, channel) {
            survey.report.decision = DecisionReport::unknown(reasons(&error));
            survey.error = Some(error);
        }
        if let Some(change) = &survey.unfinished {
            survey.report.decision =
                DecisionReport::unfinished(change, survey.report.in_progress.as_ref());
        }
        survey
    }

    /// Observes and decides, and keeps what was found out before an error.
    fn decide(
        &mut self,
        options: &Options,
        history: History,
        patience: Patience,
        channel: Option<&str>,
    ) -> Result<()> {
        if let Some(reason) = observe::managed_by_another(options) {
            self.report.decision = DecisionReport::not_allowed(&reason);
            self.verdict = Some(self.report.decision.sentence.clone());
            return Ok(());
        }
        // Before the settings are read, which may lack what an unknown file was meant to be. Runs do not list the directory.
        self.report
            .problems
            .extend(unknown::warnings(&options.config_dir));
        let (config, problems) = Config::read_usable(&options.config_dir, channel);
        let mut problems = problems.into_iter();
        let unusable = problems.next();
        let hooks = config.hook_problems();
        self.report
            .problems
            .extend(problems.map(|problem| problem.to_string()).chain(hooks));
        // The agent is shown even if the settings are invalid.
        let seen = self.observe(&config, history, unusable.is_none());
        if let Some(problem) = unusable {
            return Err(problem.into());
        }
        config.channel()?;
        let seen = seen?;
        let mut sources = Sources::new(&config, channel.is_some(), patience);
        let (mut seen, decision) = sources.decide_with_path(seen)?;
        if matches!(patience, Patience::Until(_)) {
            sources.ask_the_rest(&mut seen)?;
        }
        self.report.decided(&config, &seen, &decision);
        let file = &config.schedule;
        if depends_on_the_schedule(&decision) && is_hidden(file) {
            let problem = "permission denied, so the next upgrade cannot be predicted";
            return Err(config.error(SCHEDULE, problem, "Try again as root").into());
        }
        if let (Some(problem), Some(channel)) = (sources.problem, &mut self.report.channel) {
            channel.critical = None;
            // `dry-run` has logged it.
            self.report
                .problems
                .extend(Some(problem).filter(|_| patience != Patience::Run));
        }
        self.verdict = words::verdict(&decision);
        if let Decision::Go(_, cause) = &decision
            && !matches!(cause, Cause::Down(..))
            && let Err(error) = config.hooks(PRE_UPGRADE)
        {
            let is_other = |problem: &String| *problem != error.to_string();
            self.report.problems.retain(is_other);
            return Err(error.into());
        }
        if let Some(error) = observe::obstacle(&config, &seen, &decision)? {
            self.obstacle(&decision, &error);
        }
        self.decided = Some((config, seen, decision));
        Ok(())
    }

    /// Observes the host, and adds the result to the report; the maintenance windows only if the settings show which ones apply.
    fn observe(
        &mut self,
        config: &Config,
        history: History,
        knows_windows: bool,
    ) -> Result<Observation> {
        if knows_windows {
            self.report
                .problems
                .extend(observe::windows::other_time_zone(config));
            let now = self.report.time;
            let schedule = observe::windows::schedule(config, now);
            self.report.schedule = Some(ScheduleReport::of(config, schedule, now));
        }
        let mut cache = Cache::read(Path::new(cache::FILE));
        let mut seen = observe::first(config, history, &mut cache, false)?;
        self.report
            .last_run
            .iter()
            .for_each(|last| recall(&mut seen.agent, last));
        let database = seen.agent.package.database;
        self.report.installer = Some(packages::installer(config.installer, database));
        self.report.observed(config, &seen);
        Ok(seen)
    }

    /// Logs what was observed, without the decision.
    pub(crate) fn announce(&self) -> Result<()> {
        if let Some(change) = &self.unfinished {
            outcome::say(&words::unfinished(change, self.report.in_progress.as_ref()));
        }
        if let Some((_, seen, _)) = &self.decided {
            outcome::announce(seen)?;
        }
        let problems = self.report.problems.iter();
        problems
            .chain(self.report.export_advice())
            .for_each(|problem| warn!("{problem}"));
        Ok(())
    }

    /// Adds the timer.
    fn timer(&mut self, options: &Options) {
        // The condition in the service unit.
        let is_enrolled = options.config_dir.join(ENDPOINT).exists();
        match timer::read(self.report.time, is_enrolled) {
            Ok(timer) => self.report.timer = Some(timer),
            Err(error) => self.report.problems.push(reasons(&error)),
        }
    }

    /// Adds why the decision cannot be carried out: now, or once it is due.
    fn obstacle(&mut self, decision: &Decision, error: &PackageError) {
        let (Decision::Go(change, _), PackageError::InsecureSettings(_)) = (decision, error) else {
            self.report.problems.push(error.to_string());
            return;
        };
        let line = format!("{} is blocked: {error}", action::step(change));
        (self.report.decision.state, self.report.decision.sentence) =
            (State::InsecureConfig, line.clone());
        self.verdict = Some(line);
    }

    /// The exit status of a run that would end here.
    fn exit(&self) -> Exit {
        match (&self.error, self.report.decision.state, &self.decided) {
            (Some(error), _, _) => Exit::of(error),
            (_, State::Pinned, _) => Exit::Success,
            (_, State::NotAllowed, _) | (_, _, Some((.., Decision::NotAllowed(_)))) => {
                Exit::NotAllowed
            }
            (_, State::InsecureConfig, _) => Exit::Failed,
            _ => Exit::Success,
        }
    }
}

/// Whether a schedule that this user cannot read could change the decision.
fn depends_on_the_schedule(decision: &Decision) -> bool {
    matches!(
        decision,
        Decision::Wait(_, Wait::NextCheck(_) | Wait::Schedule(_))
            | Decision::Go(_, Cause::ScheduleAbsent(_))
    )
}

/// Whether this user is not permitted to read a file.
fn is_hidden(file: &Path) -> bool {
    // Its owner may have replaced it by a FIFO.
    untrusted::read(file, 0).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Which program a process runs requires root to see. The last run saw it.
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

fn print_json(report: &impl Serialize) -> Result<()> {
    outcome::print(&format!("{}\n", serde_json::to_string_pretty(report)?))
}
