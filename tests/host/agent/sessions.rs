//! Sessions: each is a process of its own, in the control group of the service, that ends with its connection. Anyone who connects to
//! the socket opens one and receives its process id.

use crate::which::park;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where the process that became ready last takes sessions: in a directory that snapshots of a host leave out.
const SOCKET: &str = "/run/systemd/stand-in-agent.sock";

/// The sessions of this process.
#[derive(Clone, Default)]
pub struct Sessions(Arc<AtomicUsize>);

impl Sessions {
    /// Takes sessions from now on, in place of the process that took them until now.
    pub fn take(&self) {
        let own = format!("{SOCKET}.{}", std::process::id());
        let _ = fs::remove_file(&own);
        let listener = UnixListener::bind(&own).expect("listen for sessions");
        fs::rename(&own, SOCKET).expect("put the socket in place");
        let sessions = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                sessions.open(stream);
            }
        });
    }

    fn open(&self, mut asked: UnixStream) {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(std::env::args_os().next().expect("the program's own name"))
            .arg("exec")
            .env_remove("TELEPORT_OS_FILES");
        // The connection: it breaks when this process ends, however it ends.
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut session = command.spawn().expect("start a session");
        self.0.fetch_add(1, Ordering::SeqCst);
        let count = Arc::clone(&self.0);
        let _ = writeln!(asked, "{}", session.id());
        thread::spawn(move || {
            let connection = session.stdin.take();
            let _ = session.wait();
            drop(connection);
            count.fetch_sub(1, Ordering::SeqCst);
        });
    }

    /// Waits for all of them to end, but not longer than this.
    pub fn wait(&self, limit: Duration) {
        let began = Instant::now();
        while self.0.load(Ordering::SeqCst) > 0 && began.elapsed() < limit {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What `teleport exec` does: it is a session until its connection ends or someone ends it.
pub fn be_one() {
    let mut connection = std::io::stdin();
    let mut rest = [0; 64];
    loop {
        match connection.read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(_) => park(),
        }
    }
}
