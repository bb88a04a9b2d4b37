//! Whether the agent reports that it is ready: `GET /readyz` on its `debug.sock`, which agents have since about 16.4.17 and 17.2.9.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::system::text::printable;

/// The name of the socket in the agent's data directory.
pub const SOCKET: &str = "debug.sock";
/// A healthy agent answers at once.
const LIMIT: Duration = Duration::from_secs(2);
/// The whole response is a few lines.
const MAX_ANSWER: usize = 4096;

/// Whether the agent reports that it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// No process listens: an older agent, or none.
    Absent,
    /// Ready; and the process that answered, where the agent is new enough to include it. During a reload the old and the new process
    /// listen on the same socket, and either may answer.
    Ready(Option<i32>),
    /// Not ready: the response, and the process that answered.
    NotReady(String, Option<i32>),
    /// A process listens, but sends no valid response.
    Silent(&'static str),
}

impl Readiness {
    /// Why the agent is not ready, if a process listens and is not.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Readiness::NotReady(how, _) => Some(how),
            Readiness::Silent(how) => Some(how),
            Readiness::Absent | Readiness::Ready(_) => None,
        }
    }

    /// Whether some process is ready.
    pub fn is_ready(&self) -> bool {
        matches!(self, Readiness::Ready(_))
    }
}

/// The part of the answer's body that matters here.
#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    pid: Option<i32>,
}

/// Asks the agent that listens on `socket`.
pub fn ask(socket: &Path) -> Readiness {
    ask_within(LIMIT, socket)
}

fn ask_within(limit: Duration, socket: &Path) -> Readiness {
    let Ok(stream) = UnixStream::connect(socket) else {
        return Readiness::Absent;
    };
    match exchange(stream, limit) {
        Err(_) => Readiness::Silent("no response on debug.sock"),
        Ok(answer) => parse(&answer),
    }
}

/// Reads the line `HTTP/1.0 200 OK`, and the process out of `{"status": "ok", "pid": 4242}`.
pub fn parse(answer: &str) -> Readiness {
    let head_ends = answer.find("\r\n\r\n").map_or(answer.len(), |end| end + 4);
    let pid = serde_json::from_str::<Body>(&answer[head_ends..])
        .unwrap_or_default()
        .pid;
    match answer
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .nth(1)
    {
        Some("200") => Readiness::Ready(pid),
        // From 16.2 on there is a socket, and /readyz on it only later.
        Some("404") => Readiness::Absent,
        Some(status) => {
            Readiness::NotReady(format!("/readyz returned {}", printable(status, 10)), pid)
        }
        None => Readiness::Silent("invalid response on debug.sock"),
    }
}

fn exchange(mut stream: UnixStream, limit: Duration) -> io::Result<String> {
    let deadline = Instant::now() + limit;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    // The response comes in parts, and ends with the connection. What was received by the deadline counts if it includes the status.
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A timeout of zero would mean none at all.
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut piece = [0; 512];
        let more = match stream.read(&mut piece) {
            Ok(0) => false,
            Ok(read) => {
                answer.extend_from_slice(&piece[..read]);
                answer.len() < MAX_ANSWER && !left.is_zero()
            }
            Err(_) if answer.contains(&b'\n') => false,
            Err(error) => return Err(error),
        };
        if !more {
            break;
        }
    }
    if !answer.contains(&b'\n') && Instant::now() >= deadline {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    fn answered(answer: &'static str) -> Readiness {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 256];
            let read = stream.read(&mut question).unwrap();
            assert!(question[..read].starts_with(b"GET /readyz HTTP/1.0\r\n"));
            // In as many pieces as there are bytes.
            for byte in answer.as_bytes() {
                let _ = stream.write_all(&[*byte]);
                thread::yield_now();
            }
        });
        // On a busy machine, each piece takes a while.
        let readiness = ask_within(Duration::from_secs(60), &path);
        server.join().unwrap();
        readiness
    }

    #[test]
    fn ready_is_status_200() {
        assert_eq!(
            answered("HTTP/1.0 200 OK\r\n\r\n{\"status\":\"ok\"}"),
            Readiness::Ready(None)
        );
        let degraded = answered("HTTP/1.1 503 Service Unavailable\r\n\r\n");
        assert_eq!(
            degraded,
            Readiness::NotReady("/readyz returned 503".into(), None)
        );
        assert_eq!(
            answered("\r\n"),
            Readiness::Silent("invalid response on debug.sock")
        );
        assert_eq!(
            answered("HTTP/1.0 404 Not Found\r\n\r\n404 page not found\n"),
            Readiness::Absent
        );
    }

    #[test]
    fn the_process_is_known_where_the_agent_includes_it() {
        let head = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n";
        for (body, pid) in [
            ("{\"status\": \"ok\", \"pid\": 4242}\n", Some(4242)),
            ("{\"pid\": 4242}", Some(4242)),
            ("{\"status\": \"ok\"}", None),
            ("{\"pid\": \"4242\"}", None),
            ("{\"pid\": 1e99}", None),
            ("[[[[", None),
            ("", None),
        ] {
            assert_eq!(
                parse(&format!("{head}{body}")),
                Readiness::Ready(pid),
                "{body}"
            );
        }
        let starting = "HTTP/1.0 400 Bad Request\r\n\r\n{\"status\":\"starting\",\"pid\":7}";
        assert_eq!(
            parse(starting),
            Readiness::NotReady("/readyz returned 400".into(), Some(7))
        );
    }

    #[test]
    fn without_a_listener_nothing_is_known() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ask(&dir.path().join("debug.sock")), Readiness::Absent);
        // What an agent that was killed leaves behind.
        drop(UnixListener::bind(dir.path().join("debug.sock")).unwrap());
        assert_eq!(ask(&dir.path().join("debug.sock")), Readiness::Absent);
    }
}
