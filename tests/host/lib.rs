//! Real hosts to test on: Debian with systemd, apt, dnf and zypper, a network of their own, and the servers they ask.
//!
//! `Host::with_agent("14.3.33")` is where to begin. A host is booted by systemd-nspawn from an overlay of a base root
//! file system that `tests/setup` builds; it is gone when it is dropped, or when the test process ends, however it ends.
#![allow(
    clippy::unwrap_used,
    reason = "what goes wrong here fails the test, as it should"
)]

mod apt;
mod debian;
pub mod kill;
mod layer;
mod machine;
mod manager;
pub mod network;
pub mod package;
#[path = "agent/releases.rs"]
mod releases;
mod repository;
mod rpm;
mod run;
mod scratch;
pub mod server;
mod session;
pub mod signing;
mod snapshot;
pub mod stage;
mod throwaway;
mod tls;
mod unit;
mod upgrader;

pub use debian::{Generation, System};
pub use layer::package_files;
pub use manager::{Format, Manager};
pub use package::Package;
pub use repository::{Repository, flip};
pub use run::{Ran, Run, Running};
pub use server::{Request, Response, Server, Stream};
pub use session::Session;
pub use signing::Key;
pub use snapshot::Snapshot;
pub use stage::{Played, Stage};
pub use throwaway::{Host, SOON};
pub use tls::{Cert, authority, authority_key, pem};
pub use unit::agent_unit;
pub use upgrader::{WAITS, pong};

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top directory of the project.
fn project() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap()
}

/// The compiled program under test, found beside the running test or example.
pub fn program() -> PathBuf {
    compiled("teleport-upgrade")
}

/// The compiled stand-in for Teleport's agent.
fn stand_in_agent() -> PathBuf {
    compiled("stand-in-agent")
}

/// A compiled file of this profile: this process is `target/PROFILE/deps/NAME` or `target/PROFILE/examples/NAME`.
pub fn compiled(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let file = own.ancestors().nth(2).unwrap().join(name);
    assert!(
        file.exists(),
        "{} is missing: run cargo build --bins --example generate",
        file.display()
    );
    file
}

/// Runs a command on this machine, outside all hosts, and returns what it wrote; panics with all it said if it fails.
#[track_caller]
pub fn outside(command: &mut Command) -> String {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?}: {error} (run tests/setup as root)"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let wrote = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{wrote}{said}",
        output.status
    );
    wrote
}
