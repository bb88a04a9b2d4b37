//! Sessions on a host, and what holds for its agent whatever the version.

use super::{Host, SOON};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;

/// Where the agent's process that became ready last takes sessions.
pub(super) const SOCKET: &str = "run/systemd/stand-in-agent.sock";
/// Behaviours that hold for every version on the host; `agent/main.rs` lists them.
const SETTINGS: &str = "/etc/stand-in-agent";

/// Someone's session: a process of its own, in the control group of the agent's service.
pub struct Session<'host> {
    host: &'host Host,
    /// Its process, in the host's own numbering.
    pub pid: u32,
}

impl Session<'_> {
    /// Whether it has not been interrupted.
    pub fn is_alive(&self) -> bool {
        self.host.is_alive(self.pid)
    }

    /// Ends it, as its user does.
    #[track_caller]
    pub fn end(self) {
        assert!(self.is_alive(), "the session was interrupted");
        self.host.run(&["kill", &self.pid.to_string()]).expect(0);
        self.host
            .wait_for("the end of the session", SOON, || !self.is_alive());
    }
}

impl Host {
    /// Opens a session with the agent, which has to be ready: with the process that became ready last.
    #[track_caller]
    pub fn open_session(&self) -> Session<'_> {
        let socket = self.root().join(SOCKET);
        let mut stream = None;
        self.wait_for("an agent that takes sessions", SOON, || {
            stream = UnixStream::connect(&socket).ok();
            stream.is_some()
        });
        let mut pid = String::new();
        BufReader::new(stream.unwrap()).read_line(&mut pid).unwrap();
        Session {
            host: self,
            pid: pid.trim().parse().expect("the process of a session"),
        }
    }

    /// Ends the agent so that systemd takes its service for failed, and does not start it again.
    #[track_caller]
    pub fn fail_agent(&self) {
        self.write(
            "/etc/systemd/system/teleport.service.d/no.conf",
            "[Service]\nRestart=no\n",
        );
        self.run(&["systemctl", "daemon-reload"]).expect(0);
        self.run(&["systemctl", "kill", "--signal=SIGKILL", "teleport.service"])
            .expect(0);
        self.wait_for("the agent's failure", SOON, || {
            self.property("teleport.service", "ActiveState") == "failed"
        });
    }

    /// Has agents of every version on the host behave like this, from now on: `&["limit=5", "cluster=down"]`. Those in a package
    /// hold besides, and these win; `&[]` takes them back.
    pub fn agent_settings(&self, behaviours: &[&str]) {
        self.write(
            SETTINGS,
            &behaviours
                .iter()
                .map(|behaviour| format!("{behaviour}\n"))
                .collect::<String>(),
        );
    }
}
