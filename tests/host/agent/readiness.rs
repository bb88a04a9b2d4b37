//! What the agent says of itself on `debug.sock`.

use crate::cluster;
use crate::which::Agent;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What is known of this process's readiness.
#[derive(Default)]
pub struct State {
    /// All of its services have joined the cluster.
    pub joined: AtomicBool,
    /// When the cluster was seen to be lost last, or to be back after that.
    lost: Mutex<Option<Lost>>,
}

#[derive(Clone, Copy)]
enum Lost {
    Still,
    BackSince(Instant),
}

/// `debug.sock`, served by this process, and by the one that it got the socket from or gave it to.
pub struct DebugSocket {
    pub path: PathBuf,
    pub listener: UnixListener,
    close: Option<PipeWriter>,
}

impl DebugSocket {
    /// Serves it, if this version has it: the one that the process before this one has passed, if it is at the right place.
    pub fn serve(
        agent: &Arc<Agent>,
        state: &Arc<State>,
        passed: Option<(PathBuf, OwnedFd)>,
    ) -> Option<DebugSocket> {
        let answer = agent.value("readyz");
        let has_socket = answer.is_some() || agent.is_from(&[[16, 2, 0]]);
        if !has_socket || answer.as_deref() == Some("none") {
            return None;
        }
        let data = cluster::data_directory();
        let path = Path::new(&data).join("debug.sock");
        let listener = match passed {
            Some((at, socket)) if at == path => UnixListener::from(socket),
            _ => {
                fs::create_dir_all(&data).expect("make the data directory");
                let _ = fs::remove_file(&path);
                UnixListener::bind(&path).expect("listen on debug.sock")
            }
        };
        // Two processes wait for the same connection, and one of them gets it.
        listener
            .set_nonblocking(true)
            .expect("a listener that does not block");
        let (closed, close) = std::io::pipe().expect("a pipe");
        let served = listener.try_clone().expect("the listener once more");
        let (agent, state) = (Arc::clone(agent), Arc::clone(state));
        thread::spawn(move || {
            let mut unanswered = Vec::new();
            loop {
                let mut events = [
                    PollFd::new(served.as_fd(), PollFlags::POLLIN),
                    PollFd::new(closed.as_fd(), PollFlags::POLLIN),
                ];
                let _ = poll(&mut events, PollTimeout::NONE);
                if events[1].any().unwrap_or(true) {
                    return;
                }
                let Ok((stream, _)) = served.accept() else {
                    continue;
                };
                match agent.value("readyz").as_deref() {
                    Some("silent") => unanswered.push(stream),
                    _ => answer_readyz(&agent, &state, stream),
                }
            }
        });
        Some(DebugSocket {
            path,
            listener,
            close: Some(close),
        })
    }

    /// Leaves it to the process that has taken over.
    pub fn close(mut self) {
        drop(self.close.take());
    }
}

fn answer_readyz(agent: &Agent, state: &State, mut stream: UnixStream) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut request = [0; 4096];
    let _ = stream.read(&mut request);
    let wanted = agent.value("readyz");
    if wanted.is_none() && !agent.is_from(&[[16, 4, 17], [17, 2, 9]]) {
        return reply(
            &mut stream,
            "404 Not Found",
            "text/plain; charset=utf-8",
            "404 page not found\n",
        );
    }
    let (code, status) = match wanted.as_deref() {
        Some("unready") => (
            "503 Service Unavailable",
            "teleport is in a degraded state, check logs for details",
        ),
        _ => state.readiness(agent),
    };
    let with_pid = match wanted.as_deref() {
        Some("no-pid") => false,
        Some("pid") => true,
        _ => agent.is_from(&[[16, 5, 0], [17, 3, 0]]),
    };
    let pid = if with_pid {
        format!(r#","pid":{}"#, std::process::id())
    } else {
        String::new()
    };
    reply(
        &mut stream,
        code,
        "application/json",
        &format!(r#"{{"status":"{status}"{pid}}}"#),
    );
}

fn reply(stream: &mut UnixStream, code: &str, kind: &str, body: &str) {
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}

impl State {
    fn readiness(&self, agent: &Agent) -> (&'static str, &'static str) {
        if !self.joined.load(Ordering::SeqCst) {
            return (
                "400 Bad Request",
                "teleport is starting and hasn't joined the cluster yet",
            );
        }
        let mut lost = self.lost.lock().expect("nobody panics with it");
        if !cluster::is_reachable(agent) {
            *lost = Some(Lost::Still);
            return (
                "503 Service Unavailable",
                "teleport is in a degraded state, check logs for details",
            );
        }
        match *lost {
            Some(Lost::Still) => *lost = Some(Lost::BackSince(Instant::now())),
            Some(Lost::BackSince(since)) if since.elapsed() >= agent.seconds("recover", 10.0) => {
                *lost = None
            }
            _ => {}
        }
        match *lost {
            Some(_) => (
                "400 Bad Request",
                "teleport is recovering from a degraded state, check logs for details",
            ),
            None => ("200 OK", "ok"),
        }
    }
}
