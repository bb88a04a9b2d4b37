//! The report as a page for a person: sections of aligned lines that fit a terminal of 80 columns.

use chrono::{DateTime, Utc};

use crate::agent::schedule::Window;
use crate::report::agent::{AgentReport, BinaryState, ServiceReport, ServiceState};
use crate::report::decision::{DecisionReport, State};
use crate::report::{
    ChannelReport, ClusterReport, LimitsReport, LockReport, Report, ScheduleReport,
};
use crate::state::history::{Counts, FailedTarget, LastRun};
use crate::system::terminal::{Colour, Colours};
use crate::system::text::{printable, wrap};
use crate::system::timer::Timer;
use crate::system::times::{ago, local, span, took};

/// A terminal's width.
const WIDTH: usize = 80;
/// Where the text of a line begins.
const INDENT: usize = 17;
/// A text longer than this is cut.
const LONGEST: usize = 1000;
/// How many windows are shown.
const WINDOWS: usize = 3;

/// The page.
pub fn render(report: &Report, colours: Colours) -> String {
    let mut page = Page {
        text: String::new(),
        colours,
    };
    let now = report.time;
    if let Some(agent) = &report.agent {
        page.section("Agent");
        page.agent(agent);
    }
    if let Some(lock) = &report.lock {
        page.line("system updates", None, lock_words(*lock));
    }
    page.section("Upgrade");
    if let Some(channel) = &report.channel {
        page.wanted(channel, report.last_run.as_ref());
    }
    page.decision(&report.decision);
    // Unless that is what the decision says already.
    if let Some(failed) = report
        .failed_version
        .as_ref()
        .filter(|_| report.decision.state != State::Skipped)
    {
        page.failed(failed, now);
    }
    if let Some(limits) = &report.limits {
        page.limits(limits);
    }
    if let Some(cluster) = &report.cluster {
        page.cluster(cluster);
    }
    if let Some(channel) = &report.channel {
        page.line("channel", None, &channel.address);
    }
    if let Some(schedule) = &report.schedule {
        page.section("Maintenance windows");
        page.schedule(schedule, now);
        page.export(report.agent.iter().flat_map(|agent| &agent.services));
    }
    page.section("Passes");
    page.passes(report);
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

    /// A line with its name before it; what does not fit goes on below.
    fn line(&mut self, name: &str, colour: Option<Colour>, text: impl AsRef<str>) {
        let text = printable(text.as_ref(), LONGEST);
        for (number, part) in wrap(&text, WIDTH - INDENT).iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            let part = colour.map_or(part.clone(), |colour| self.colours.paint(colour, part));
            self.text
                .push_str(&format!("  {name:<width$}{part}\n", width = INDENT - 2));
        }
    }

    fn agent(&mut self, agent: &AgentReport) {
        let by = agent
            .installer
            .map(|installer| format!(", by {installer}"))
            .unwrap_or_default();
        self.line(
            "installed",
            None,
            format!("{} {}{by}", agent.package, agent.installed),
        );
        if let Some(damage) = &agent.damage {
            self.line("damaged", Some(Colour::Red), damage);
        }
        for (number, service) in agent.services.iter().enumerate() {
            let runs = match (service.state, &service.version, service.binary) {
                (ServiceState::Running, Some(version), BinaryState::Replaced) => {
                    format!(" {version} (restart pending)")
                }
                (ServiceState::Running, Some(version), _) => format!(" {version}"),
                (ServiceState::Running, None, BinaryState::Replaced) => {
                    " another version than the installed one (restart pending)".into()
                }
                (ServiceState::Running, None, _) => ", version unknown (requires root)".into(),
                _ => String::new(),
            };
            let colour = match (service.state, service.binary) {
                (ServiceState::Running, BinaryState::Replaced)
                | (ServiceState::Changing | ServiceState::Stopped, _) => Colour::Yellow,
                (ServiceState::Running, _) => Colour::Green,
                _ => Colour::Red,
            };
            let name = if number == 0 { "running" } else { "" };
            self.line(
                name,
                Some(colour),
                format!("{}: {}{runs}", service.unit, service.sentence),
            );
        }
    }

    fn wanted(&mut self, channel: &ChannelReport, last: Option<&LastRun>) {
        let wanted = match (&channel.target, channel.answered) {
            (Some(target), _) => {
                let critical = match channel.critical {
                    Some(true) => ", critical",
                    Some(false) => ", not critical",
                    None => "",
                };
                format!("{target}{critical}")
            }
            (None, true) => "no version: nothing is to change".into(),
            (None, false) => match last.and_then(|last| last.target.as_ref()) {
                Some(target) => format!("not known now; the last pass was told {target}"),
                None => "not known now".into(),
            },
        };
        self.line("wanted", None, wanted);
    }

    fn cluster(&mut self, cluster: &ClusterReport) {
        match (&cluster.version, &cluster.address, &cluster.problem) {
            (Some(version), Some(address), _) => {
                self.line("cluster", None, format!("{version}, says {address}"))
            }
            (_, _, problem) => {
                let why = problem
                    .as_ref()
                    .map(|problem| format!(": {problem}"))
                    .unwrap_or_default();
                self.line(
                    "cluster",
                    Some(Colour::Dim),
                    format!("its version is not known{why}"),
                );
            }
        }
    }

    fn limits(&mut self, limits: &LimitsReport) {
        if let Some(pin) = &limits.pin {
            self.line("pinned to", None, format!("{pin}, by the file \"pin\""));
        }
        if limits.prerelease {
            self.line(
                "follows",
                None,
                "release candidates too, by the file \"prerelease\"",
            );
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
        self.line("decision", Some(colour), &decision.sentence);
    }

    fn failed(&mut self, failed: &FailedTarget, now: DateTime<Utc>) {
        self.line(
            "failed here",
            None,
            format!(
                "{}, {}: {}",
                failed.target,
                ago(failed.at, now),
                failed.reason
            ),
        );
    }

    fn schedule(&mut self, schedule: &ScheduleReport, now: DateTime<Utc>) {
        let written = schedule
            .written
            .map(|written| format!("the agent wrote it {}", ago(written, now)));
        match (&schedule.problem, written) {
            (Some(problem), _) => self.line("schedule", Some(Colour::Yellow), problem),
            (None, Some(written)) => self.line("schedule", None, format!("good; {written}")),
            (None, None) => self.line("schedule", None, "good"),
        }
        for (number, window) in schedule.windows.iter().take(WINDOWS).enumerate() {
            let name = match number {
                0 if window.start <= now => "open",
                0 => "next",
                _ => "then",
            };
            self.line(name, None, window_words(window, now));
        }
    }

    /// Which services export none, and what to do.
    fn export<'a>(&mut self, services: impl Iterator<Item = &'a ServiceReport>) {
        for advice in services.filter_map(|service| service.export_advice.as_ref()) {
            self.line("export", Some(Colour::Yellow), advice);
        }
    }

    fn passes(&mut self, report: &Report) {
        let now = report.time;
        if let Some(timer) = &report.timer {
            // A host that is not for this program is told to disable the timer: both would contradict each other.
            let (words, advice) = timer_words(timer, now);
            let advice = advice.filter(|_| !report.decision.is_of_the_host);
            self.line("timer", advice.map(|_| Colour::Yellow), words);
            advice
                .iter()
                .for_each(|advice| self.line("", Some(Colour::Yellow), advice));
        }
        if let Some(run) = &report.in_progress {
            let text = format!(
                "PID {}, since {}: {}",
                run.process.pid,
                local(run.since),
                run.doing()
            );
            self.line("in progress", Some(Colour::Yellow), text);
        }
        match &report.last_run {
            Some(last) => {
                let colour = if last.exit == 0 {
                    None
                } else {
                    Some(Colour::Yellow)
                };
                self.line(
                    "last pass",
                    colour,
                    format!(
                        "{}, {}, took {}",
                        local(last.at),
                        ago(last.at, now),
                        took(last.seconds)
                    ),
                );
                let same = last.outcome == report.decision.sentence;
                self.line(
                    "",
                    colour,
                    if same {
                        "it decided the same"
                    } else {
                        &last.outcome
                    },
                );
            }
            None => self.line("last pass", None, "none is recorded on this host"),
        }
        if let Some(done) = &report.last_upgrade {
            self.line(
                "last upgrade",
                None,
                format!("{}, took {}", local(done.at), took(done.seconds)),
            );
            self.line("", None, format!("from {} to {}", done.from, done.to));
        }
        if let Some(failure) = &report.last_failure {
            let colour = Some(Colour::Yellow);
            self.line(
                "last failure",
                colour,
                format!("{}, took {}", local(failure.at), took(failure.seconds)),
            );
            self.line("", colour, &failure.reason);
        }
        self.line("in total", None, count_words(report.counts));
    }
}

fn lock_words(lock: LockReport) -> &'static str {
    match (lock.held, lock.ours, lock.wanted) {
        (true, true, _) => "leave the agent alone: it is locked",
        (true, false, _) => "leave the agent alone: an administrator has locked it",
        (false, _, true) => "may change the agent; the next pass locks it",
        (false, _, false) => "may change the agent: the file \"lock\" says no",
    }
}

fn window_words(window: &Window, now: DateTime<Utc>) -> String {
    let length = span(window.stop - window.start);
    if window.start <= now {
        format!(
            "until {}, for another {}",
            local(window.stop),
            span(window.stop - now)
        )
    } else {
        format!(
            "{} for {length}, in {}",
            local(window.start),
            span(window.start - now)
        )
    }
}

/// What to say of the timer, and what to do if it is not as it should be.
fn timer_words(timer: &Timer, now: DateTime<Utc>) -> (String, Option<&'static str>) {
    const ENABLE: Option<&str> = Some("try: sudo systemctl enable --now teleport-upgrade.timer");
    match (timer.enabled, timer.active, timer.next) {
        (true, true, Some(next)) => (
            format!("enabled; next {}, in {}", local(next), span(next - now)),
            None,
        ),
        (true, true, None) => ("enabled; a pass is at work".into(), None),
        (false, true, _) => (
            "started, but not enabled: it will be off after the next boot".into(),
            ENABLE,
        ),
        (true, false, _) => (
            "enabled, but stopped: nothing is upgraded by itself".into(),
            ENABLE,
        ),
        (false, false, _) => ("off: nothing is upgraded by itself".into(), ENABLE),
    }
}

fn count_words(counts: Counts) -> String {
    let of = |count: u64, one: &str, many: &str| {
        format!("{count} {}", if count == 1 { one } else { many })
    };
    format!(
        "{}, {}, {}",
        of(counts.upgrades, "upgrade", "upgrades"),
        of(counts.rollbacks, "rollback", "rollbacks"),
        of(counts.failures, "failure", "failures")
    )
}
