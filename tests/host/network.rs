//! A host's network namespace, with nothing in it but the loopback interface.
//!
//! It is made before the host boots and outlives its reboots. A socket stays in the namespace it was made in, so a thread
//! of the test process that enters the namespace for a moment can listen there.

use super::outside;
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;

/// A network namespace; it ends with the last clone and the last process in it.
#[derive(Clone)]
pub struct Network(Arc<File>);

impl Default for Network {
    fn default() -> Network {
        Network::new()
    }
}

impl Network {
    /// Makes a namespace with its loopback interface up.
    pub fn new() -> Network {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace (needs root)");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let network = Network(Arc::new(made.join().unwrap()));
        let mut up = network.command("ip");
        up.args(["link", "set", "lo", "up"]);
        outside(&mut up);
        network
    }

    /// The namespace as a path, valid for other processes as long as this one holds it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// A command of this machine, to be run in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs `work` in a thread that is in the namespace.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&*self.0, CloneFlags::CLONE_NEWNET).expect("enter the network namespace");
                work()
            });
            inside.join().unwrap()
        })
    }

    /// Listens in the namespace, on an address like `127.0.0.1:443`.
    pub fn listen(&self, address: &str) -> TcpListener {
        self.inside(|| TcpListener::bind(address))
            .unwrap_or_else(|error| panic!("listen on {address}: {error}"))
    }

    /// Connects in the namespace, for a server that forwards what it receives (a proxy).
    pub fn connect(&self, address: &str) -> std::io::Result<TcpStream> {
        self.inside(|| TcpStream::connect(address))
    }
}
