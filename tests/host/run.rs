//! Running commands in a host as its systemd runs services: no terminal, no environment but the default one.

use super::machine::Machine;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit status; -1 if a signal ended it.
    pub status: i32,
    /// The signal that ended it, as in `TERM`.
    pub signal: Option<String>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it took, with the 40 ms that starting it costs.
    pub elapsed: Duration,
}

impl Ran {
    /// Itself, if the status was this one; else panics with all that was said.
    #[track_caller]
    pub fn expect(self, status: i32) -> Ran {
        assert_eq!(
            self.status, status,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }
}

/// A command to be run in a host.
pub struct Run<'host> {
    machine: &'host Machine,
    unit: String,
    options: Vec<String>,
    arguments: Vec<String>,
    stdin: String,
}

impl<'host> Run<'host> {
    pub(super) fn new(machine: &'host Machine, arguments: &[&str]) -> Run<'host> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let unit = format!("test-{}.service", NEXT.fetch_add(1, Ordering::Relaxed));
        // systemd would put variables of its own in for `$`.
        let arguments = arguments
            .iter()
            .map(|argument| argument.replace('$', "$$"))
            .collect();
        Run {
            machine,
            unit,
            options: Vec::new(),
            arguments,
            stdin: String::new(),
        }
    }

    /// Adds a variable to its environment.
    pub fn env(self, name: &str, value: &str) -> Self {
        self.option(&format!("--setenv={name}={value}"))
    }

    /// Runs it as another user, such as `alice`.
    pub fn user(self, user: &str) -> Self {
        self.option(&format!("--uid={user}"))
    }

    /// Sets a property of the service it runs as, as in `PrivateTmp=yes`.
    pub fn property(self, property: &str) -> Self {
        self.option(&format!("--property={property}"))
    }

    /// Gives it this on its standard input, which is empty otherwise.
    pub fn stdin(self, text: &str) -> Self {
        Run {
            stdin: text.into(),
            ..self
        }
    }

    /// Runs it to its end.
    pub fn run(self) -> Ran {
        self.spawn().wait()
    }

    /// Starts it.
    pub fn spawn(self) -> Running<'host> {
        let unit = format!("--unit={}", self.unit);
        // The status of systemd-run itself does not tell SIGTERM from success.
        let ending = format!(
            r#"--property=ExecStopPost=+/bin/sh -c 'echo "$EXIT_CODE" "$EXIT_STATUS" >{}'"#,
            ending_file(&self.unit)
        );
        let mut command = self.machine.enter(&[
            "systemd-run",
            "--wait",
            "--pipe",
            "--quiet",
            "--collect",
            &unit,
            &ending,
        ]);
        command.args(&self.options).arg("--").args(&self.arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().expect("nsenter");
        // Small texts only: they fit into the pipe, so nobody has to read them first.
        child
            .stdin
            .take()
            .unwrap()
            .write_all(self.stdin.as_bytes())
            .unwrap();
        Running {
            machine: self.machine,
            unit: self.unit,
            child: Some(child),
            started,
        }
    }

    fn option(mut self, option: &str) -> Self {
        self.options.push(option.into());
        self
    }
}

/// A command that runs in a host.
pub struct Running<'host> {
    machine: &'host Machine,
    unit: String,
    child: Option<Child>,
    started: Instant,
}

impl Running<'_> {
    /// The unit it runs as.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Sends a signal, such as `SIGTERM`, to its main process alone, as an administrator's `kill` does.
    pub fn signal(&self, signal: &str) {
        self.send("main", signal);
    }

    /// Kills it and all that it has started at once, as a power cut would.
    pub fn interrupt(self) -> Ran {
        self.send("all", "SIGKILL");
        self.wait()
    }

    fn send(&self, whom: &str, signal: &str) {
        let whom = format!("--kill-who={whom}");
        let kill = ["systemctl", "kill", &whom, "--signal", signal, &self.unit];
        super::outside(&mut self.machine.enter(&kill));
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ran {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        let elapsed = self.started.elapsed();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (status, signal) = self
            .ending()
            .unwrap_or((output.status.code().unwrap_or(-1), None));
        Ran {
            status,
            signal,
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            elapsed,
        }
    }

    fn ending(&self) -> Option<(i32, Option<String>)> {
        let ending =
            fs::read_to_string(self.machine.root().join(&ending_file(&self.unit)[1..])).ok()?;
        match ending.split_whitespace().collect::<Vec<_>>()[..] {
            ["exited", status] => Some((status.parse().ok()?, None)),
            [_, signal] => Some((-1, Some(signal.to_owned()))),
            _ => None,
        }
    }
}

/// Where systemd notes how a unit has ended, in a directory that snapshots leave out.
fn ending_file(unit: &str) -> String {
    format!("/run/systemd/units/{unit}.ending")
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = Command::output(&mut self.machine.enter(&[
                "systemctl",
                "kill",
                "--signal=SIGKILL",
                &self.unit,
            ]));
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
