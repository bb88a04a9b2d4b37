//! A graceful restart: a child takes over, if it becomes ready.

use crate::readiness::DebugSocket;
use crate::which::Agent;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

/// In the environment of a process that a reload has started: which file descriptor is what.
const PASSED: &str = "TELEPORT_OS_FILES";

/// What the process before this one has passed. Teleport passes descriptors from 3 on; from 0 on they can be taken up without unsafe
/// code: `debug.sock` is the standard input, the pipe is the standard output.
pub struct Passed {
    pub debug_socket: Option<(PathBuf, OwnedFd)>,
}

impl Passed {
    /// Something, if a reload has started this process.
    pub fn take() -> Option<Passed> {
        let files: serde_json::Value = serde_json::from_str(&std::env::var(PASSED).ok()?).ok()?;
        let files = files.as_array()?;
        let debug = files.iter().find(|file| file["type"] == "debug");
        let debug_socket = debug.and_then(|file| {
            let socket = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
            Some((PathBuf::from(file["addr"].as_str()?), socket))
        });
        Some(Passed { debug_socket })
    }

    /// Tells the process before this one that this one is ready.
    pub fn say_ready(&self) {
        use std::io::Write;
        let _ = writeln!(
            std::io::stdout(),
            "Process {} has started.",
            std::process::id()
        );
        let _ = std::io::stdout().flush();
    }
}

/// Children that have to be reaped.
#[derive(Default)]
pub struct Children(Vec<Child>);

impl Children {
    /// Starts the program on disk in place of this process, and waits for it to be ready.
    pub fn fork(
        &mut self,
        agent: &Agent,
        debug_socket: Option<&DebugSocket>,
    ) -> Result<u32, String> {
        let mut child = command(debug_socket)
            .spawn()
            .map_err(|error| error.to_string())?;
        let pid = child.id();
        let limit = agent.limit();
        let pipe = child.stdout.take().expect("a piped standard output");
        let notices = match agent.value("dead-child").as_deref() {
            Some("noticed") => true,
            Some("unnoticed") => false,
            _ => agent.is_from(&[[15, 1, 1]]),
        };
        let word = read_word(pipe, notices);
        if notices {
            thread::spawn(move || {
                let ended = child.wait();
                eprintln!("process {pid} that a reload has started has ended: {ended:?}");
            });
        } else {
            self.0.push(child);
        }
        match word.recv_timeout(limit) {
            Ok(()) => Ok(pid),
            Err(RecvTimeoutError::Disconnected) => {
                Err(format!("process {pid} ended before it was ready"))
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("process {pid} was not ready within {limit:?}"))
            }
        }
    }

    /// Reaps those that have ended. Until someone does, they are zombies.
    pub fn reap(&mut self) {
        self.0.retain_mut(|child| match child.try_wait() {
            Ok(Some(ended)) => {
                eprintln!(
                    "process {} that a reload has started has ended: {ended}",
                    child.id()
                );
                false
            }
            _ => true,
        });
    }
}

/// The same program by the same name, with the same arguments and the same environment.
fn command(debug_socket: Option<&DebugSocket>) -> Command {
    let mut arguments = std::env::args_os();
    let mut command = Command::new(arguments.next().expect("the program's own name"));
    command.args(arguments).stdout(Stdio::piped());
    let mut files =
        vec![serde_json::json!({"addr": "127.0.0.1:0", "type": "teleport-signal-pipe", "fd": 1})];
    let listener =
        debug_socket.and_then(|socket| Some((socket, socket.listener.try_clone().ok()?)));
    if let Some((socket, listener)) = listener {
        files.push(serde_json::json!({"addr": socket.path, "type": "debug", "fd": 0}));
        command.stdin(Stdio::from(OwnedFd::from(listener)));
    } else {
        command.stdin(Stdio::null());
    }
    command.env(PASSED, serde_json::Value::Array(files).to_string());
    command
}

/// Something is received once the child is ready; the sender is gone once the child is, if that is noticed.
fn read_word(mut pipe: ChildStdout, notices_the_end: bool) -> Receiver<()> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut word = [0; 1024];
        match pipe.read(&mut word) {
            Ok(1..) => _ = sender.send(()),
            _ if notices_the_end => drop(sender),
            // Teleport had the pipe's other end itself, so that it never heard of its end.
            _ => std::mem::forget(sender),
        }
    });
    receiver
}
