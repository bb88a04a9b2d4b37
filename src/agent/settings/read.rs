//! Reads the agent's settings.
//!
//! Other programs and people write them. Whatever is strange in them is a warning, and what precedes it counts. But a host counts as one of
//! the cluster itself until its settings show otherwise: those are upgraded manually, in an order of their own.

use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::agent::settings::start::Start;
use crate::agent::settings::yaml::Node;
use crate::agent::settings::{ClusterHost, ClusterService, Settings, listed, yaml};
use crate::system::address::Address;
use crate::system::files::untrusted;
use crate::system::text::{io_problem, printable};

/// Where the agent looks for its settings by default.
pub const FILE: &str = "/etc/teleport.yaml";
/// Where the agent keeps its state by default.
const DATA: &str = "/var/lib/teleport";
/// More than anybody writes.
const MAX_BYTES: u64 = 1024 * 1024;
/// The ports of a Proxy, and of an Auth Service, that are named without one.
const PROXY_PORT: u16 = 3080;
const AUTH_PORT: u16 = 3025;

impl Settings {
    /// Those of an agent that is none of the cluster's hosts, and of which nothing else is known.
    pub fn defaults(source: &str) -> Settings {
        Settings {
            source: printable(source, 200),
            cluster: Vec::new(),
            cluster_service: None,
            data_dir: DATA.into(),
            problem: None,
        }
    }

    /// The settings of the agent's services, each given by its unit and the ways in which it starts the agent: the first ones, unless
    /// others make this a host of the cluster itself.
    pub fn read_all<'a>(starts: impl IntoIterator<Item = (&'a str, &'a Start)>) -> Settings {
        let mut all: Vec<Settings> = starts
            .into_iter()
            .map(|(unit, start)| Settings::of(unit, start))
            .collect();
        let found = all
            .iter()
            .position(|settings| settings.cluster_service.is_some());
        if all.is_empty() {
            Settings::of("", &Start::default())
        } else {
            all.swap_remove(found.unwrap_or(0))
        }
    }

    /// The settings of an agent that is started like this.
    pub fn of(unit: &str, start: &Start) -> Settings {
        let mut settings = match &start.encoded {
            None => {
                let file = start.config.as_deref().unwrap_or(Path::new(FILE));
                let source = file.to_string_lossy();
                match untrusted::read_linked(file, MAX_BYTES) {
                    Ok(text) => Settings::parse(&source, &text, start),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        Settings::parse(&format!("{source} (no such file)"), "", start)
                    }
                    Err(error) => Settings::unread(&source, io_problem(&error), {
                        error.kind() == io::ErrorKind::PermissionDenied
                    }),
                }
            }
            Some(encoded) => {
                let source = format!("{} of {unit}", encoded.named_by);
                match encoded.decode() {
                    Ok(text) => Settings::parse(&source, &text, start),
                    Err(problem) => Settings::unread(&source, problem, false),
                }
            }
        };
        if let Some(roles) = &start.roles {
            // As the agent looks for them.
            let is_enabled = |service: &ClusterService| roles.contains(service.role());
            let services: Vec<_> = services_here(start).filter(is_enabled).collect();
            let flag = format!("--roles={} of {unit}", printable(roles, 80));
            settings.cluster_service =
                (!services.is_empty()).then_some(ClusterHost::Enabled(services, flag));
        } else if let Some(unread) = &start.unread {
            // Without root, what decides it may be unreadable.
            let host = ClusterHost::Unread(format!("how {unit} starts the agent"), unread.clone());
            settings.cluster_service = geteuid()
                .is_root()
                .then(|| settings.cluster_service.unwrap_or(host));
        }
        if !start.auth_servers.is_empty() {
            let servers = start.auth_servers.iter();
            settings.cluster.clear();
            settings.find_cluster(servers.map(|server| (bare(server), AUTH_PORT)));
        }
        settings
    }

    /// Settings that cannot be read may be those of a host of the cluster. A file that only root may read is no reason without root.
    fn unread(source: &str, problem: String, is_forbidden: bool) -> Settings {
        let settings = Settings::defaults(source);
        let host = ClusterHost::Unread(settings.source.clone(), problem.clone());
        Settings {
            cluster_service: Some(host).filter(|_| !is_forbidden || geteuid().is_root()),
            problem: Some(problem),
            ..settings
        }
    }

    /// Takes from the text of the settings what matters here.
    pub fn parse(source: &str, text: &str, start: &Start) -> Settings {
        let mut settings = Settings::defaults(source);
        let (root, problem) = yaml::parse(text);
        let general = root.get("teleport");
        settings.cluster_service = cluster_host(&root, &settings.source, problem.as_deref(), start);
        settings.problem = problem;
        let directory = general.get("data_dir").text().map(PathBuf::from);
        if let Some(directory) = directory.filter(|path| path.is_absolute()) {
            settings.data_dir = directory;
        }
        settings.find_cluster(named_servers(general));
        settings
    }

    fn find_cluster<'a>(&mut self, named: impl IntoIterator<Item = (&'a str, u16)>) {
        for (server, port) in named {
            match Address::parse(server, port) {
                Ok(address) => self.cluster.push(address),
                Err(problem) => self.problem = Some(problem),
            }
        }
    }
}

/// The services that the command line does not disable: `--auth-server` means that the Auth Service is elsewhere.
fn services_here(start: &Start) -> impl Iterator<Item = ClusterService> {
    let auth = start
        .auth_servers
        .is_empty()
        .then_some(ClusterService::Auth);
    auth.into_iter().chain([ClusterService::Proxy])
}

/// Why a host with these settings is one of the cluster itself, if it is.
fn cluster_host(
    root: &Node,
    source: &str,
    problem: Option<&str>,
    start: &Start,
) -> Option<ClusterHost> {
    // An agent with settings that name a Proxy starts only with both services disabled, so they need not be disabled there.
    let names_proxy = root.get("version").text() == Some("v3")
        && root.get("teleport").get("proxy_server").text().is_some();
    let with = |expected: Option<bool>| -> Vec<ClusterService> {
        services_here(start)
            .filter(|service| is_enabled(root.get(service.section())) == expected)
            .collect()
    };
    let (enabled, by_default) = (with(Some(true)), with(None));
    let source = source.to_string();
    match problem {
        _ if !enabled.is_empty() => {
            let sections = listed(enabled.iter().map(|service| service.section()));
            Some(ClusterHost::Enabled(
                enabled,
                format!("{sections} in {source}"),
            ))
        }
        _ if by_default.is_empty() || names_proxy => None,
        // They may be disabled behind the place up to which it was read.
        Some(problem) => Some(ClusterHost::Unread(source, problem.to_string())),
        None => Some(ClusterHost::ByDefault(by_default, source)),
    }
}

/// The Proxy that is named, else the Auth Services, each with the port that it has if none is named.
fn named_servers(general: &Node) -> Vec<(&str, u16)> {
    if let Some(proxy) = general.get("proxy_server").text() {
        return vec![(bare(proxy), PROXY_PORT)];
    }
    let auth = [general.get("auth_server"), general.get("auth_servers")];
    let auth = auth.into_iter().flat_map(Node::texts);
    auth.map(|server| (bare(server), AUTH_PORT)).collect()
}

/// The agent lets a protocol stand before a server and a path behind it: `tcp://auth.example.com:3025`, `https://proxy.example.com/`.
fn bare(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

/// Whether a section enables its service. The agent takes any other word for a no; but its author may have meant a yes.
fn is_enabled(section: &Node) -> Option<bool> {
    let word = section.get("enabled").text().map(str::to_ascii_lowercase);
    match word.as_deref() {
        Some("yes" | "yeah" | "y" | "true" | "1" | "on") => Some(true),
        Some("no" | "nope" | "n" | "false" | "0" | "off") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
