//! The report as a page for people: sections of aligned lines.

use chrono::{DateTime, Utc};

use crate::agent::schedule::Window;
use crate::agent::service::Binary;
use crate::report::agent::{AgentReport, ServiceReport, ServiceState};
use crate::report::decision::{DecisionReport, State};
use crate::report::{
    ChannelReport, ClusterReport, LimitsReport, LockReport, Report, RolloutReport, ScheduleReport,
    ScheduleSource, history,
};
use crate::state::history::{Counts, FailedTarget, LastRun};
use crate::system::output::terminal::{Colour, Colours};
use crate::system::text::{printable, wrap};
use crate::system::timer::Timer;
use crate::system::times::{ago, local, span, took};

/// The column where the text of a line begins.
const INDENT: usize = 19;
/// The length at which a text is cut.
const LONGEST: usize = 1000;
/// How many windows are shown.
const WINDOWS: usize = 3;

/// Renders the page, in lines of `width` columns.
pub fn render(report: &Report, width: usize, colours: Colours) -> String {
    let mut page = Page {
        text: String::new(),
        width,
        colours,
    };
    let now = report.time;
    if let Some(agent) = &report.agent {
        page.section("Agent");
        page.agent(agent);
    }
    if let Some(lock) = &report.lock {
        page.line("Package hold", None, hold_words(*lock));
    }
    page.section("Upgrade");
    if let Some(channel) = &report.channel {
        page.target(channel, report.last_run.as_ref());
    }
    page.decision(&report.decision);
    if let Some(rollout) = &report.rollout {
        page.rollout(rollout);
    }
    let failed = report.failed_version.as_ref();
    // A skipped version is in the decision already.
    if let Some(failed) = failed.filter(|_| report.decision.state != State::Skipped) {
        page.failed(failed, now);
    }
    if let Some(limits) = &report.limits {
        page.limits(limits);
    }
    if let Some(cluster) = &report.cluster {
        page.cluster(cluster);
    }
    if let Some(channel) = &report.channel {
        page.line("Release channel", None, &channel.address);
    }
    if let Some(schedule) = &report.schedule {
        page.section("Maintenance windows");
        page.schedule(schedule, now);
        for advice in report.export_advice() {
            page.line("Export", Some(Colour::Yellow), advice);
        }
    }
    page.section("Activity");
    page.activity(report);
    if !report.problems.is_empty() {
        page.section("Problems");
        for problem in &report.problems {
            page.line("", Some(Colour::Yellow), problem);
        }
    }
    page.text
}

struct Page {
    text: String,
    width: usize,
    colours: Colours,
}

impl Page {
    fn section(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&self.colours.paint(Colour::Bold, title));
        self.text.push('\n');
    }

    /// A line with its name; a long text continues below.
    fn line(&mut self, name: &str, colour: Option<Colour>, text: impl AsRef<str>) {
        let text = printable(text.as_ref(), LONGEST);
        let mut name = if name.is_empty() {
            String::new()
        } else {
            format!("{name}:")
        };
        for part in wrap(&text, self.width - INDENT) {
            let part = colour.map_or(part.clone(), |colour| self.colours.paint(colour, &part));
            let line = format!("  {name:<width$}{part}\n", width = INDENT - 2);
            self.text.push_str(&line);
            name.clear();
        }
    }

    fn agent(&mut self, agent: &AgentReport) {
        let AgentReport {
            package,
            installed,
            installer,
            ..
        } = agent;
        let by = installer.map(|installer| format!(" ({installer})"));
        let by = by.unwrap_or_default();
        self.line("Installed", None, format!("{package} {installed}{by}"));
        if let Some(broken) = &agent.broken {
            self.line("Broken", Some(Colour::Red), broken);
        }
        for service in &agent.services {
            let (words, colour) = service_words(service, agent);
            self.line("Service", Some(colour), words);
        }
    }

    fn target(&mut self, channel: &ChannelReport, last: Option<&LastRun>) {
        let critical = match channel.critical {
            Some(true) => ", critical",
            Some(false) => ", not critical",
            None => "",
        };
        let known = last.and_then(|last| last.target.as_ref());
        let target = match (&channel.target, channel.answered, known) {
            (Some(target), ..) => format!("{target}{critical}"),
            (None, true, _) => "none (updates are paused)".into(),
            (None, false, Some(known)) => format!("unknown (last known: {known})"),
            (None, false, None) => "unknown".into(),
        };
        self.line("Target version", None, target);
    }

    fn cluster(&mut self, cluster: &ClusterReport) {
        let ClusterReport {
            version,
            address,
            problem,
        } = cluster;
        let (colour, words) = match (version, address, problem) {
            (Some(version), Some(address), _) => (None, format!("{version} (from {address})")),
            (.., Some(problem)) => (Some(Colour::Dim), format!("unknown: {problem}")),
            _ => (Some(Colour::Dim), "unknown".into()),
        };
        self.line("Cluster version", colour, words);
    }

    fn limits(&mut self, limits: &LimitsReport) {
        if let Some(pin) = &limits.pin {
            self.line("Pinned to", None, pin);
        }
        if limits.prerelease {
            self.line("Pre-releases", None, "allowed");
        }
    }

    fn decision(&mut self, decision: &DecisionReport) {
        let colour = match decision.state {
            State::UpToDate | State::Paused | State::Pinned | State::Due => Colour::Green,
            State::Waiting
            | State::Unknown
            | State::Skipped
            | State::InProgress
            | State::Interrupted => Colour::Yellow,
            State::NotAllowed | State::InsecureConfig => Colour::Red,
        };
        let words = match decision.state {
            State::UpToDate => "up to date",
            _ => &decision.sentence,
        };
        self.line("Status", Some(colour), words);
    }

    fn rollout(&mut self, rollout: &RolloutReport) {
        let percent = match rollout.percent {
            // As for most versions: the position does not matter.
            Some(percent) if percent >= 100.0 => return,
            Some(percent) => format!("{percent} % of the hosts"),
            None => "unknown".into(),
        };
        let position = rollout.position;
        let words = format!("{percent}; this host's position is {position:.2}");
        self.line("Rollout", None, words);
    }

    fn failed(&mut self, failed: &FailedTarget, now: DateTime<Utc>) {
        let FailedTarget {
            target, at, reason, ..
        } = failed;
        // While the agent is down, the version is tried again.
        let (name, rollback) = if failed.rollback_failed {
            ("Failed version", " (rollback failed too)")
        } else {
            ("Skipped version", "")
        };
        let words = format!("{target}, failed {}{rollback}: {reason}", ago(*at, now));
        self.line(name, None, words);
    }

    fn schedule(&mut self, schedule: &ScheduleReport, now: DateTime<Utc>) {
        let exported = schedule.written.map(|written| ago(written, now));
        match (&schedule.problem, exported) {
            _ if schedule.source == ScheduleSource::Host => {
                let set = format!("set in {}", schedule.file.display());
                self.line("Schedule", None, set);
            }
            (Some(problem), _) => self.line("Schedule", Some(Colour::Yellow), problem),
            (None, Some(ago)) => self.line("Schedule", None, format!("valid, exported {ago}")),
            (None, None) => self.line("Schedule", None, "valid"),
        }
        for (number, window) in schedule.windows.iter().take(WINDOWS).enumerate() {
            let name = match number {
                0 if window.start <= now => "Window open",
                0 => "Next window",
                _ => "Then",
            };
            self.line(name, None, window_words(window, now));
        }
    }

    fn activity(&mut self, report: &Report) {
        let now = report.time;
        if let Some(timer) = &report.timer {
            // The message of an unsupported host advises to disable the timer.
            let (words, advice) = timer_words(timer, now);
            let advice = advice.filter(|_| !report.decision.is_of_the_host);
            let colour = advice.map(|_| Colour::Yellow);
            self.line("Timer", colour, words);
            advice
                .iter()
                .for_each(|advice| self.line("", colour, advice));
        }
        if let Some(run) = &report.in_progress {
            let (pid, since) = (run.process.pid, local(run.since));
            let words = format!("PID {pid}, since {since}: {}", run.doing());
            self.line("In progress", Some(Colour::Yellow), words);
        }
        match &report.last_run {
            Some(last) => {
                let colour = (last.exit != 0).then_some(Colour::Yellow);
                let (at, took) = (local(last.at), took(last.seconds));
                let words = format!("{at}, {}, took {took}", ago(last.at, now));
                self.line("Last check", colour, words);
                if last.outcome != report.decision.sentence {
                    self.line("", colour, &last.outcome);
                }
                if let Some(one) = &last.postponed {
                    let words = format!("since {}, by {}", local(one.since), one.hook);
                    self.line("Postponed", Some(Colour::Yellow), words);
                }
            }
            None => self.line("Last check", None, "never"),
        }
        if let Some(change) = &report.last_change {
            let colour = (!change.is_done()).then_some(Colour::Yellow);
            let (at, took) = (local(change.ended), took(change.seconds));
            let (what, result) = (history::what(change), history::result(change));
            let words = format!("{at}, {what}, {result}, took {took}");
            self.line("Last change", colour, words);
            change
                .reason
                .iter()
                .for_each(|why| self.line("", colour, why));
        }
        self.line("Totals", None, count_words(report.counts));
    }
}

/// A service, and the colour of its state.
fn service_words(service: &ServiceReport, agent: &AgentReport) -> (String, Colour) {
    let ServiceReport { unit, sentence, .. } = service;
    if service.state != ServiceState::Running {
        let colour = match service.state {
            ServiceState::Changing | ServiceState::Stopped => Colour::Yellow,
            _ => Colour::Red,
        };
        return (format!("{unit}: {sentence}"), colour);
    }
    let is_replaced = service.binary == Binary::Replaced;
    let (version, pending) = match &service.version {
        Some(version) if *version == agent.installed => (version.to_string(), is_replaced),
        Some(version) => (version.to_string(), true),
        None if is_replaced => ("another version than the installed one".into(), true),
        None => {
            return (
                format!("{unit}: running, version unknown (requires root)"),
                Colour::Green,
            );
        }
    };
    let (pending, colour) = if pending {
        (" (restart pending)", Colour::Yellow)
    } else {
        ("", Colour::Green)
    };
    (format!("{unit}: running {version}{pending}"), colour)
}

fn hold_words(lock: LockReport) -> &'static str {
    match (lock.held, lock.ours, lock.enabled) {
        (true, true, _) => "on (set by teleport-upgrade)",
        (true, false, _) => "on (set by an administrator)",
        (false, _, true) => "off (set at the next check)",
        (false, _, false) => "off (lock is set to no)",
    }
}

fn window_words(window: &Window, now: DateTime<Utc>) -> String {
    if window.start <= now {
        let left = span(window.stop - now);
        return format!("until {} ({left} left)", local(window.stop));
    }
    let (length, pause) = (window.stop - window.start, window.start - now);
    format!(
        "{}, {} long, opens in {}",
        local(window.start),
        span(length),
        span(pause)
    )
}

/// The timer, and what to do unless it is enabled and running.
fn timer_words(timer: &Timer, now: DateTime<Utc>) -> (String, Option<&'static str>) {
    const ENABLE: Option<&str> = Some("Try: sudo teleport-upgrade enable");
    if timer.active && timer.skips {
        let words = "running, but skips every check: no release channel is configured";
        return (words.into(), None);
    }
    let problem = match (timer.enabled, timer.active, timer.next) {
        (true, true, Some(next)) => {
            let words = format!(
                "enabled, next check {}, in {}",
                local(next),
                span(next - now)
            );
            return (words, None);
        }
        (true, true, None) => return ("enabled, a check is in progress".into(), None),
        (false, true, _) => "running but not enabled: automatic upgrades stop at the next boot",
        (true, false, _) => "enabled but not running: automatic upgrades are paused",
        (false, false, _) => "disabled: automatic upgrades are off",
    };
    // Without a channel, the status names the command.
    (problem.into(), ENABLE.filter(|_| !timer.skips))
}

fn count_words(counts: Counts) -> String {
    let of =
        |count: u64, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}, {}",
        of(counts.upgrades, "version change"),
        of(counts.rollbacks, "automatic rollback"),
        of(counts.failures, "failed check")
    )
}
