//! What the agent says of itself: `GET /readyz` on its `debug.sock`, which agents have from version 17 on.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::text::printable;

/// What the socket is called on which the agent listens, in its data directory.
pub const SOCKET: &str = "debug.sock";
/// An agent that is well answers at once.
const LIMIT: Duration = Duration::from_secs(2);
/// The line that has the status is short.
const MAX_LINE: usize = 1024;

/// Whether the agent calls itself ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Nobody listens: an older agent, or none.
    Absent,
    /// It does.
    Ready,
    /// It does not, and what it says instead.
    NotReady(String),
}

/// Asks the agent that listens on `socket`.
pub fn ask(socket: &Path) -> Readiness {
    let Ok(stream) = UnixStream::connect(socket) else { return Readiness::Absent };
    match exchange(stream) {
        Err(_) => Readiness::NotReady("it does not answer on debug.sock".into()),
        Ok(answer) => parse(&answer),
    }
}

/// Reads the line `HTTP/1.0 200 OK`, and whatever came with it.
pub fn parse(answer: &str) -> Readiness {
    match answer.split_whitespace().nth(1) {
        Some("200") => Readiness::Ready,
        Some(status) => Readiness::NotReady(format!("it answers /readyz with status {}", printable(status, 10))),
        None => Readiness::NotReady("it answers nonsense on debug.sock".into()),
    }
}

fn exchange(mut stream: UnixStream) -> io::Result<String> {
    let deadline = Instant::now() + LIMIT;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    // The status is on the first line, which may come in pieces; whatever follows is for people.
    while !answer.contains(&b'\n') && answer.len() < MAX_LINE {
        let left = deadline.saturating_duration_since(Instant::now());
        // A limit of nothing would be none at all.
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut piece = [0; 64];
        match stream.read(&mut piece)? {
            0 => break,
            read => answer.extend_from_slice(&piece[..read]),
        }
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
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
        let readiness = ask(&path);
        server.join().unwrap();
        readiness
    }

    #[test]
    fn ready_is_status_200() {
        assert_eq!(answered("HTTP/1.0 200 OK\r\n\r\n{\"status\":\"ok\"}"), Readiness::Ready);
        let degraded = answered("HTTP/1.1 503 Service Unavailable\r\n\r\n");
        assert_eq!(degraded, Readiness::NotReady("it answers /readyz with status 503".into()));
        assert!(matches!(answered("\r\n"), Readiness::NotReady(_)));
    }

    #[test]
    fn nobody_there_is_no_verdict() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ask(&dir.path().join("debug.sock")), Readiness::Absent);
        // What an agent that was killed leaves behind.
        drop(UnixListener::bind(dir.path().join("debug.sock")).unwrap());
        assert_eq!(ask(&dir.path().join("debug.sock")), Readiness::Absent);
    }
}
