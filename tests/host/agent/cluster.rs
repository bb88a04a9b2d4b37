//! The cluster, and this host's settings that name it.

use crate::which::Agent;
use std::fs;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The agent's settings.
const SETTINGS: &str = "/etc/teleport.yaml";
/// Where it keeps its state and its `debug.sock`, unless its settings have another `data_dir`.
const DATA: &str = "/var/lib/teleport";
/// A host of a test is on the same machine.
const CONNECT: Duration = Duration::from_secs(2);

/// Whether the agent can reach its cluster now.
pub fn is_reachable(agent: &Agent) -> bool {
    match agent.value("cluster").as_deref() {
        Some("down") => false,
        Some("tcp") => address().is_some_and(|address| takes_connections(&address)),
        _ => true,
    }
}

/// The agent's data directory.
pub fn data_directory() -> String {
    setting(
        &fs::read_to_string(SETTINGS).unwrap_or_default(),
        "data_dir",
    )
    .unwrap_or_else(|| DATA.into())
}

fn takes_connections(address: &str) -> bool {
    let addresses = address.to_socket_addrs().into_iter().flatten();
    addresses
        .into_iter()
        .any(|address| TcpStream::connect_timeout(&address, CONNECT).is_ok())
}

fn address() -> Option<String> {
    let settings = fs::read_to_string(SETTINGS).unwrap_or_default();
    let first_of_list = || {
        let mut lines = settings
            .lines()
            .skip_while(|line| line.trim() != "auth_servers:")
            .skip(1);
        Some(unquoted(lines.next()?.trim().strip_prefix('-')?))
    };
    setting(&settings, "proxy_server")
        .or_else(|| setting(&settings, "auth_server"))
        .or_else(first_of_list)
}

/// Good enough for settings that tests write.
fn setting(settings: &str, key: &str) -> Option<String> {
    let value = settings
        .lines()
        .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'))?;
    Some(unquoted(value))
}

fn unquoted(value: &str) -> String {
    value.trim().trim_matches('"').to_owned()
}
