//! Child processes: fixed programs, a clean environment, time limits, captured output.

use std::collections::VecDeque;
use std::env;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use log::{Level, log, warn};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::system::process::stat;
use crate::system::text::printable;

/// Where programs are found, which the system's packages bring; what the caller's environment says about it is not asked.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Where the programs that we run find others: dpkg insists on some of these.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The only variables that pass from our environment to a child: how to reach and trust servers.
const PASSED: [&str; 10] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
];
/// How long a program that was told to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How long to read on after the program ended: a daemon that it started may hold its output open for ever. Else reading ends with the
/// output; on a host that has much else to do that may take a while, and nothing of it may be lost.
const DRAIN: Duration = Duration::from_secs(10);
/// A line longer than this is cut in pieces, so that no program makes us hold all it says.
const MAX_LINE: u64 = 64 * 1024;
/// How many lines are kept, the last ones.
const MAX_LINES: usize = 2000;

/// A program to run.
#[derive(Debug)]
pub struct Command {
    inner: std::process::Command,
    name: &'static str,
    limit: Option<Duration>,
    level: Level,
    /// How loudly what it says is passed on.
    lines: Level,
    /// When it is to be ended rather than waited for.
    waiting: Option<Waiting>,
}

/// What a program says when it begins to wait without end, and whether its process group does.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    sign: &'static str,
    waits: fn(Pid) -> bool,
}

/// The file of a program, which may be named by it already. Where there is none, running it says so.
pub fn absolute(name: &str) -> PathBuf {
    let found = DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| Path::new(DIRECTORIES[1]).join(name))
}

/// Closes what whoever started this program had open, but for the three standard streams: neither we nor what we run has any use for
/// it. To be called before anything is opened.
pub fn close_inherited() {
    let listed = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let inherited: Vec<i32> = listed
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in inherited.into_iter().filter(|descriptor| *descriptor > 2) {
        // The one through which they were listed is closed by now.
        let _ = nix::unistd::close(descriptor);
    }
}

/// What a program said, both streams in order, and how it ended.
#[derive(Debug)]
pub struct Output {
    name: &'static str,
    status: ExitStatus,
    level: Level,
    lines: VecDeque<(Stream, String)>,
    timed_out: Option<Duration>,
    gave_up: bool,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

enum Event {
    Line(Stream, String),
    Exited(std::io::Result<ExitStatus>),
}

impl Command {
    /// A program of the system's, with its arguments, a clean environment and no standard input.
    pub fn new<I, S>(name: &'static str, arguments: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut inner = std::process::Command::new(absolute(name));
        inner.args(arguments).current_dir("/").env_clear();
        inner
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/root")
            .env("TERM", "dumb");
        inner.envs(env::vars_os().filter(|(key, _)| PASSED.iter().any(|passed| key == passed)));
        // A group of its own: Ctrl-C at our terminal must not reach a package manager at work.
        inner.stdin(Stdio::null()).process_group(0);
        Command {
            inner,
            name,
            limit: None,
            level: Level::Debug,
            lines: Level::Debug,
            waiting: None,
        }
    }

    /// Sets one more variable of the child's environment.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.inner.env(key, value);
        self
    }

    /// Ends the program after `limit`: SIGTERM, then SIGKILL. Without a limit it is never ended by us.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Ends the program once it says a line with `sign`, if its process group then waits for somebody, as `waits` finds: it has not
    /// begun what must not be cut off.
    pub fn never_waiting(mut self, sign: &'static str, waits: fn(Pid) -> bool) -> Self {
        self.waiting = Some(Waiting { sign, waits });
        self
    }

    /// Says less of it: for what is asked again and again.
    pub fn often(mut self) -> Self {
        (self.level, self.lines) = (Level::Trace, Level::Trace);
        self
    }

    /// Passes on less of what it says, which is long and much the same on every host.
    pub fn wordy(mut self) -> Self {
        self.lines = Level::Trace;
        self
    }

    /// Runs the program to its end. An exit status other than 0 is not an error here.
    pub fn run(mut self) -> Result<Output> {
        log!(self.level, "running {self}");
        let (out, out_writer) = std::io::pipe().context("cannot make a pipe")?;
        let (err, err_writer) = std::io::pipe().context("cannot make a pipe")?;
        self.inner.stdout(out_writer).stderr(err_writer);
        let started = Instant::now();
        let child = self
            .inner
            .spawn()
            .with_context(|| format!("cannot run {}", self.name))?;
        let group = Pid::from_raw(i32::try_from(child.id()).context("process id out of range")?);
        // Our copies of the pipes' writing ends go with the command; else the end of the output would never be seen.
        self.inner.stdout(Stdio::null()).stderr(Stdio::null());

        let (sender, events) = mpsc::channel();
        let (errors, exits) = (sender.clone(), sender.clone());
        thread::spawn(move || send_lines(BufReader::new(out), Stream::Output, &sender));
        thread::spawn(move || send_lines(BufReader::new(err), Stream::Error, &errors));
        thread::spawn(move || wait(child, &exits));

        let mut output = Output::new(self.name, ExitStatus::from_raw(0), self.lines);
        output.status = self.follow(&events, group, started, &mut output)?;
        output.drain(&events);
        log!(
            self.level,
            "{} ended with {} after {:.1} s",
            self.name,
            output.status,
            started.elapsed().as_secs_f32()
        );
        Ok(output)
    }

    /// Collects lines until the program has ended, and ends it when its time is over.
    fn follow(
        &self,
        events: &Receiver<Event>,
        group: Pid,
        started: Instant,
        output: &mut Output,
    ) -> Result<ExitStatus> {
        let mut signals = [Signal::SIGTERM, Signal::SIGKILL].into_iter();
        let mut deadline = self.limit.map(|limit| started + limit);
        loop {
            let event = match deadline {
                Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => events.recv().map_err(RecvTimeoutError::from),
            };
            match event {
                Ok(Event::Line(stream, line)) => {
                    if let Some(waiting) =
                        self.waiting.filter(|waiting| line.contains(waiting.sign))
                    {
                        output.gave_up |= end_if(group, waiting.waits);
                    }
                    output.push(stream, line);
                }
                Ok(Event::Exited(status)) => {
                    return status.with_context(|| format!("cannot wait for {}", self.name));
                }
                Err(RecvTimeoutError::Disconnected) => bail!("lost sight of {}", self.name),
                Err(RecvTimeoutError::Timeout) => {
                    output.timed_out = self.limit;
                    deadline = signals.next().map(|signal| {
                        warn!(
                            "{} has not ended after {} s: sending it {signal}",
                            self.name,
                            started.elapsed().as_secs()
                        );
                        // It may have ended this very moment; then there is nobody to tell.
                        let _ = killpg(group, signal);
                        Instant::now() + GRACE
                    });
                }
            }
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.inner
            .get_args()
            .try_for_each(|argument| write!(f, " {}", printable(&argument.to_string_lossy(), 200)))
    }
}

impl Output {
    /// What a program that ended with this status would have said on its standard output.
    pub fn of(name: &'static str, code: u8, answer: &str) -> Output {
        let mut output = Output::new(
            name,
            ExitStatus::from_raw(i32::from(code) << 8),
            Level::Trace,
        );
        answer
            .lines()
            .for_each(|line| output.push(Stream::Output, line.to_string()));
        output
    }

    fn new(name: &'static str, status: ExitStatus, level: Level) -> Output {
        Output {
            name,
            status,
            level,
            lines: VecDeque::new(),
            timed_out: None,
            gave_up: false,
        }
    }

    /// Whether the program was ended because it began to wait.
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Whether the program said that it succeeded. Package managers say so when they did not: look at what they changed.
    pub fn success(&self) -> bool {
        self.status.success() && self.timed_out.is_none()
    }

    /// Whether the program was ended because its time was over.
    pub fn timed_out(&self) -> bool {
        self.timed_out.is_some()
    }

    /// The exit status, if the program ended by itself.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Everything it said, a line each.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|(_, line)| line.as_str())
    }

    /// What it said on standard output, a line each: its answer, without what it complains of on the way.
    pub fn answer(&self) -> impl Iterator<Item = &str> {
        self.lines
            .iter()
            .filter(|(stream, _)| *stream == Stream::Output)
            .map(|(_, line)| line.as_str())
    }

    /// Whether any line contains `part`.
    pub fn says(&self, part: &str) -> bool {
        self.lines().any(|line| line.contains(part))
    }

    /// How it ended and the last things it said, on one line.
    pub fn summary(&self) -> String {
        let end = match (self.timed_out, self.status.code(), self.status.signal()) {
            (Some(limit), _, _) => {
                format!("{} did not end within {} s", self.name, limit.as_secs())
            }
            (_, Some(code), _) => format!("{} ended with status {code}", self.name),
            (_, _, signal) => format!(
                "{} was killed by signal {}",
                self.name,
                signal.unwrap_or_default()
            ),
        };
        let errors: Vec<&str> = self
            .lines()
            .filter(|line| line.starts_with("E: ") || line.starts_with("dpkg: "))
            .collect();
        let told: Vec<&str> = if errors.is_empty() {
            self.lines()
                .filter(|line| !line.trim().is_empty())
                .collect()
        } else {
            errors
        };
        match &told[told.len().saturating_sub(3)..] {
            [] => end,
            last => format!("{end}: {}", printable(&last.join(" / "), 400)),
        }
    }

    fn push(&mut self, stream: Stream, line: String) {
        log!(self.level, "{}: {}", self.name, printable(&line, 500));
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((stream, line));
    }

    fn drain(&mut self, events: &Receiver<Event>) {
        let deadline = Instant::now() + DRAIN;
        while let Ok(Event::Line(stream, line)) =
            events.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.push(stream, line);
        }
    }
}

/// Ends a process group that waits. It is stopped while that is looked at: whoever it waited for may be done this very moment, and
/// then it is at work and must not be ended.
fn end_if(group: Pid, waits: fn(Pid) -> bool) -> bool {
    let _ = killpg(group, Signal::SIGSTOP);
    let ends = is_stopped(group) && waits(group);
    if ends {
        let _ = killpg(group, Signal::SIGTERM);
    }
    let _ = killpg(group, Signal::SIGCONT);
    ends
}

/// Whether the leader of a group has come to the stop that it was told, which takes it less than a millisecond.
fn is_stopped(group: Pid) -> bool {
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        match stat(group.as_raw())
            .as_ref()
            .and_then(|stat| stat.first())
            .map(String::as_str)
        {
            Some("T") => return true,
            None | Some("Z") => return false,
            Some(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
    false
}

fn send_lines(mut reader: impl BufRead, stream: Stream, lines: &Sender<Event>) {
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line).trim_end().to_string();
                if lines.send(Event::Line(stream, text)).is_err() {
                    return;
                }
            }
        }
    }
}

fn wait(mut child: std::process::Child, exits: &Sender<Event>) {
    // Nobody listens any more only when the program itself is ending.
    let _ = exits.send(Event::Exited(child.wait()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        Command::new("sh", ["-c", script])
    }

    #[test]
    fn captures_both_streams_and_the_status() {
        let output = sh("echo one; echo two >&2; exit 3").run().unwrap();
        assert_eq!(output.answer().collect::<Vec<_>>(), ["one"]);
        assert!(output.says("one") && output.says("two"));
        assert_eq!(output.code(), Some(3));
        assert!(!output.success());
        let failed = sh("echo E: why >&2; echo how; exit 3").run().unwrap();
        assert_eq!(failed.summary(), "sh ended with status 3: E: why");
    }

    #[test]
    fn the_environment_is_clean() {
        let output = Command::new("env", [""; 0])
            .env("EXTRA", "yes")
            .run()
            .unwrap();
        let allowed = |line: &str| {
            [
                "PATH=/usr/local/sbin:",
                "LC_ALL=C.UTF-8",
                "HOME=/root",
                "TERM=dumb",
                "EXTRA=yes",
            ]
            .iter()
            .any(|a| line.starts_with(a))
                || PASSED
                    .iter()
                    .any(|passed| line.starts_with(&format!("{passed}=")))
        };
        assert!(output.lines().all(allowed), "{:?}", output.lines);
        assert!(output.says("EXTRA=yes"));
    }

    #[test]
    fn a_program_that_overruns_is_ended_with_its_children() {
        let started = Instant::now();
        let output = sh("sleep 600 & sleep 600")
            .limit(Duration::from_millis(200))
            .run()
            .unwrap();
        assert!(started.elapsed() < Duration::from_secs(60));
        assert!(!output.success());
        assert!(
            output.summary().contains("did not end within"),
            "{}",
            output.summary()
        );
    }

    #[test]
    fn a_program_that_begins_to_wait_is_ended_and_one_that_goes_on_is_not() {
        // Of one process: a shell that starts another at this moment cannot be stopped until that has begun.
        let output = sh("echo waiting for you; exec sleep 600")
            .never_waiting("waiting for", |_| true)
            .run()
            .unwrap();
        assert!(output.gave_up() && !output.success());
        let output = sh("echo waiting for you; sleep 1; echo done")
            .never_waiting("waiting for", |_| false)
            .run()
            .unwrap();
        assert!(!output.gave_up() && output.success() && output.says("done"));
    }

    #[test]
    fn a_daemon_that_keeps_the_output_open_does_not_hold_us() {
        let started = Instant::now();
        let output = sh("echo before; sleep 120 & echo $!; exit 0")
            .run()
            .unwrap();
        assert!(output.success() && started.elapsed() < Duration::from_secs(60));
        let daemon = output.lines().nth(1).unwrap().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(daemon), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn what_comes_late_is_not_lost() {
        let output = sh("(sleep 1; echo late) & echo soon").run().unwrap();
        assert_eq!(output.answer().collect::<Vec<_>>(), ["soon", "late"]);
    }

    #[test]
    fn a_flood_of_output_is_bounded() {
        let output = sh("yes | head -c 1000000; echo; echo last").run().unwrap();
        assert_eq!(output.lines.len(), MAX_LINES);
        assert_eq!(output.answer().last(), Some("last"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Command::new("no-such-program", [""; 0]).run().unwrap_err();
        assert_eq!(error.to_string(), "cannot run no-such-program");
    }
}
