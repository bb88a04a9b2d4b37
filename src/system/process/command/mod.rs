//! Child processes: fixed programs, a clean environment, timeouts, captured output.

mod descendants;
mod output;
mod waiting;

use std::env;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use log::{Level, log, warn};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::system::process::command::descendants::Descendants;
use crate::system::process::command::output::Stream;
use crate::system::process::command::waiting::Waiting;
use crate::system::text::printable;

pub use output::Output;

/// Where the programs of the system's packages are. The PATH of the caller does not count.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// The PATH of the programs that are run: dpkg requires some of these.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The only variables that are passed from our environment to a child: how to reach and trust servers.
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
/// How long a program may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How long to continue reading after the program ended: a daemon that it started may keep its output open forever. Otherwise reading
/// ends with the output; on a busy host that may take a while, and nothing of it may be lost.
const DRAIN: Duration = Duration::from_secs(10);
/// A longer line is split, so that no program fills the memory.
const MAX_LINE: u64 = 64 * 1024;
/// How many lines may wait to be handled. A program that prints faster is slowed down, so that it does not fill the memory.
const QUEUE: usize = 64;
/// How often to check whether a running program must be ended.
const LOOK: Duration = Duration::from_millis(100);
/// How many lines of a hook are logged and kept.
const MAX_FOREIGN_LINES: usize = 200;

/// A program to run.
#[derive(Debug)]
pub struct Command {
    inner: std::process::Command,
    name: String,
    limit: Option<Duration>,
    level: Level,
    /// The level at which its output is logged.
    lines: Level,
    /// When it is to be ended rather than waited for.
    waiting: Option<Waiting>,
    /// Only for a hook: ends it once this is true.
    stop: Option<Arc<AtomicBool>>,
}

/// The file of a program, which may be given by its path already. If there is none, running it fails.
pub fn absolute(name: &str) -> PathBuf {
    let found = DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| Path::new(DIRECTORIES[1]).join(name))
}

/// Closes the files that the caller of this program left open, except for the three standard streams: neither it nor its children need
/// them. To be called before anything is opened.
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
        let mut command = Command::of(&absolute(name), name);
        command.inner.args(arguments);
        command
    }

    /// A hook, which may do anything, until `stop` is true. A limited part of its output is logged. If the hook has to be ended, all
    /// processes that it started are killed.
    pub fn foreign(file: &Path, name: &str, stop: Arc<AtomicBool>) -> Self {
        Command {
            lines: Level::Info,
            stop: Some(stop),
            ..Command::of(file, name)
        }
    }

    fn of(file: &Path, name: &str) -> Self {
        let mut inner = std::process::Command::new(file);
        inner.current_dir("/").env_clear();
        inner
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/root")
            .env("TERM", "dumb");
        inner.envs(env::vars_os().filter(|(key, _)| PASSED.iter().any(|passed| key == passed)));
        // A group of its own: Ctrl-C at the terminal must not reach a package manager in the middle of an install.
        inner.stdin(Stdio::null()).process_group(0);
        Command {
            inner,
            name: name.into(),
            limit: None,
            level: Level::Debug,
            lines: Level::Debug,
            waiting: None,
            stop: None,
        }
    }

    /// Sets one more variable of the child's environment.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.inner.env(key, value);
        self
    }

    /// Ends the program after `limit`: SIGTERM, then SIGKILL. Without a limit it may run forever.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Ends the program once it prints a line with `sign`, if its process group then waits for another process, as `waits` finds: it has
    /// not begun what must not be interrupted.
    pub fn never_waiting(mut self, sign: &'static str, waits: fn(Pid) -> bool) -> Self {
        self.waiting = Some(Waiting { sign, waits });
        self
    }

    /// Logs less of it: for what is run again and again.
    pub fn often(mut self) -> Self {
        (self.level, self.lines) = (Level::Trace, Level::Trace);
        self
    }

    /// Logs less of its output, which is long and much the same on every host.
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
        let descendants = self.stop.as_ref().map(|_| Descendants::adopt());
        let started = Instant::now();
        let child = self
            .inner
            .spawn()
            .with_context(|| format!("cannot run {}", self.name))?;
        let group = Pid::from_raw(i32::try_from(child.id()).context("process id out of range")?);
        // Closes this process's copies of the pipes' writing ends; otherwise the end of the output would never be seen.
        self.inner.stdout(Stdio::null()).stderr(Stdio::null());

        let (sender, events) = mpsc::sync_channel(QUEUE);
        let (errors, exits) = (sender.clone(), sender.clone());
        thread::spawn(move || send_lines(BufReader::new(out), Stream::Output, &sender));
        thread::spawn(move || send_lines(BufReader::new(err), Stream::Error, &errors));
        thread::spawn(move || wait(child, &exits));

        let mut output = Output::new(&self.name, ExitStatus::from_raw(0), self.lines);
        if self.stop.is_some() {
            output.most = MAX_FOREIGN_LINES;
        }
        output.status = self.follow(&events, group, started, &mut output)?;
        if let Some(descendants) = descendants.filter(|_| output.was_ended()) {
            descendants.end();
        }
        let deadline = Instant::now() + DRAIN;
        let left = || deadline.saturating_duration_since(Instant::now());
        while let Ok(Event::Line(stream, line)) = events.recv_timeout(left()) {
            output.push(stream, line);
        }
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
            let is_to_stop = |stop: &Arc<AtomicBool>| stop.load(Ordering::SeqCst);
            if !output.stopped && self.stop.as_ref().is_some_and(is_to_stop) {
                (output.stopped, deadline) = (true, Some(Instant::now()));
            }
            let left = deadline.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()));
            // Checked before the lines are read: a program that never stops printing must end in time too.
            if left.is_zero() {
                output.timed_out = self.limit.filter(|_| !output.stopped);
                deadline = signals.next().map(|signal| {
                    warn!(
                        "{} is still running after {} s; sending {signal}",
                        self.name,
                        started.elapsed().as_secs()
                    );
                    // It may have ended this very moment.
                    let _ = killpg(group, signal);
                    if signal == Signal::SIGKILL {
                        // A program that moved to another process group would never end.
                        let _ = kill(group, signal);
                    }
                    Instant::now() + GRACE
                });
                continue;
            }
            match events.recv_timeout(left.min(LOOK)) {
                Ok(Event::Line(stream, line)) => {
                    output.gave_up |= self
                        .waiting
                        .is_some_and(|waiting| waiting.ends(&line, group));
                    output.push(stream, line);
                }
                Ok(Event::Exited(status)) => {
                    return status.with_context(|| format!("cannot wait for {}", self.name));
                }
                Err(RecvTimeoutError::Disconnected) => bail!("lost track of {}", self.name),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.inner
            .get_args()
            .try_for_each(|argument| write!(f, " {}", printable(&argument.to_string_lossy(), 200)))
    }
}

fn send_lines(mut reader: impl BufRead, stream: Stream, lines: &SyncSender<Event>) {
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

fn wait(mut child: std::process::Child, exits: &SyncSender<Event>) {
    // Nobody listens any more only when the program itself is ending.
    let _ = exits.send(Event::Exited(child.wait()));
}

#[cfg(test)]
mod tests;
