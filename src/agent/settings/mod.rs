//! The agent's own settings: what `/etc/teleport.yaml`, or what stands in its place, says of its cluster, its services and its data
//! directory.
//!
//! Other programs and people write it, by hand or not. Whatever is strange in it is a warning, and what stands before it counts. But a
//! host counts as one of the cluster itself until its settings say otherwise: an upgrade of those has an order, which is a person's.

pub mod start;
mod yaml;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::agent::settings::start::Start;
use crate::agent::settings::yaml::Node;
use crate::config::values::Address;
use crate::system::text::{io_problem, printable};
use crate::system::untrusted;

/// Where the agent looks for its settings, unless it is told otherwise.
pub const FILE: &str = "/etc/teleport.yaml";
/// Where the agent keeps its state, unless it is told otherwise.
pub const DATA: &str = "/var/lib/teleport";
/// More than anybody writes.
const MAX_BYTES: u64 = 1024 * 1024;
/// What the agent takes for the port of a Proxy, and of an Auth Service, that are named without one.
const PROXY_PORT: u16 = 3080;
const AUTH_PORT: u16 = 3025;

/// A service that makes a host part of the cluster itself. The agent enables both unless it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterService {
    /// Section `auth_service`, role `auth`.
    Auth,
    /// Section `proxy_service`, role `proxy`.
    Proxy,
}

/// Why a host counts as one of the cluster itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterHost {
    /// Its settings, which are there, enable these services.
    Enabled(Vec<ClusterService>, String),
    /// Its settings, which are there, do not disable these services, which are then enabled; and whether each has a section.
    ByDefault(Vec<(ClusterService, bool)>, String),
    /// There is no such file, so that all services are enabled.
    NoFile(String),
    /// The command line of a unit enables these services by this flag.
    Roles(Vec<ClusterService>, String),
    /// Its settings cannot be read there, and why.
    Unread(String, String),
}

/// What the agent is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where that was read: a file, or words such as `TELEPORT_CONFIG of teleport.service`.
    pub source: String,
    /// Where the agent finds its cluster: the Proxy, else Auth Services.
    pub cluster: Vec<Address>,
    /// Why this host counts as one of the cluster itself, if it does.
    pub cluster_service: Option<ClusterHost>,
    /// Where the agent keeps its state.
    pub data_dir: PathBuf,
    /// What is wrong with the settings, if anything is.
    pub problem: Option<String>,
}

/// Whether a service of the cluster is enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    On,
    Off,
    Default,
}

impl Settings {
    /// Those of an agent that is none of the cluster's hosts, and of which nothing else is known.
    pub fn defaults(source: &Path) -> Settings {
        let source = printable(&source.to_string_lossy(), 200);
        Settings {
            source,
            cluster: Vec::new(),
            cluster_service: None,
            data_dir: DATA.into(),
            problem: None,
        }
    }

    /// Reads the file. Whatever is wrong with it is a value, not an error.
    pub fn read(file: &Path) -> Settings {
        let defaults = Settings::defaults(file);
        match untrusted::read_linked(file, MAX_BYTES) {
            Ok(text) => Settings::parse(file, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Settings {
                cluster_service: Some(ClusterHost::NoFile(defaults.source.clone())),
                ..defaults
            },
            Err(error) => defaults.unread(
                io_problem(&error),
                error.kind() == io::ErrorKind::PermissionDenied,
            ),
        }
    }

    /// What the agent's services are set to, each by its unit and the ways in which it starts the agent: the first, unless another makes
    /// this a host of the cluster itself.
    pub fn read_all<'a>(starts: impl IntoIterator<Item = (&'a str, &'a Start)>) -> Settings {
        let mut all: Vec<Settings> = starts
            .into_iter()
            .map(|(unit, start)| Settings::of(unit, start))
            .collect();
        match all
            .iter()
            .position(|settings| settings.cluster_service.is_some())
        {
            Some(index) => all.swap_remove(index),
            None => all
                .into_iter()
                .next()
                .unwrap_or_else(|| Settings::read(Path::new(FILE))),
        }
    }

    /// What an agent that is started like this is set to.
    fn of(unit: &str, start: &Start) -> Settings {
        let settings = match &start.encoded {
            None => Settings::read(start.config.as_deref().unwrap_or(Path::new(FILE))),
            Some(encoded) => {
                let source = format!("{} of {unit}", encoded.named_by);
                match encoded.decode() {
                    Ok(text) => Settings::parse(Path::new(&source), &text),
                    Err(problem) => Settings::defaults(Path::new(&source)).unread(problem, false),
                }
            }
        };
        settings.started_by(unit, start)
    }

    /// The same with what the command line has to say.
    pub fn started_by(self, unit: &str, start: &Start) -> Settings {
        let mut settings = self;
        settings.cluster_service = settings
            .cluster_service
            .and_then(|host| host.unless_disabled_by(start));
        if let Some(roles) = &start.roles {
            // As the agent looks for them.
            let enabled = |service: &ClusterService| roles.contains(service.role());
            let services: Vec<_> = ClusterService::ALL.into_iter().filter(enabled).collect();
            let flag = format!("--roles={} of {unit}", printable(roles, 80));
            settings.cluster_service = Some(ClusterHost::Roles(services, flag))
                .and_then(|host| host.unless_disabled_by(start));
        } else if let Some(unseen) = &start.unseen {
            // Where an ordinary user may not look, there may be what decides it.
            let host = ClusterHost::Unread(format!("how {unit} starts the agent"), unseen.clone());
            settings.cluster_service = geteuid()
                .is_root()
                .then(|| settings.cluster_service.unwrap_or(host));
        }
        if !start.auth_servers.is_empty() {
            settings.cluster.clear();
            settings.find_cluster(
                start
                    .auth_servers
                    .iter()
                    .map(|server| (bare(server), AUTH_PORT)),
            );
        }
        settings
    }

    /// Settings that cannot be read may be those of a host of the cluster. An ordinary user is not told so of a file that only root may read.
    fn unread(self, problem: String, is_forbidden: bool) -> Settings {
        let host = ClusterHost::Unread(self.source.clone(), problem.clone());
        let cluster_service = Some(host).filter(|_| !is_forbidden || geteuid().is_root());
        Settings {
            cluster_service,
            problem: Some(problem),
            ..self
        }
    }

    /// Takes from the text of the file what matters here.
    pub fn parse(file: &Path, text: &str) -> Settings {
        let mut settings = Settings::defaults(file);
        let (root, problem) = yaml::parse(text);
        let general = root.get("teleport");
        settings.cluster_service = cluster_host(&root, &settings.source, problem.as_deref());
        settings.problem = problem;
        if let Some(directory) = general
            .get("data_dir")
            .text()
            .map(Path::new)
            .filter(|path| path.is_absolute())
        {
            settings.data_dir = directory.into();
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

    /// What is wrong with the settings, unless that is why the host is not upgraded.
    pub fn warning(&self) -> Option<&str> {
        self.problem
            .as_deref()
            .filter(|_| !matches!(self.cluster_service, Some(ClusterHost::Unread(..))))
    }
}

impl ClusterService {
    const ALL: [ClusterService; 2] = [ClusterService::Auth, ClusterService::Proxy];

    fn section(self) -> &'static str {
        match self {
            ClusterService::Auth => "auth_service",
            ClusterService::Proxy => "proxy_service",
        }
    }

    fn role(self) -> &'static str {
        match self {
            ClusterService::Auth => "auth",
            ClusterService::Proxy => "proxy",
        }
    }
}

impl fmt::Display for ClusterService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClusterService::Auth => "the Auth Service",
            ClusterService::Proxy => "the Proxy Service",
        })
    }
}

impl ClusterHost {
    /// The same without what the command line disables: `--auth-server` means that the Auth Service is elsewhere.
    fn unless_disabled_by(self, start: &Start) -> Option<ClusterHost> {
        let stays = |service: &ClusterService| {
            start.auth_servers.is_empty() || *service != ClusterService::Auth
        };
        Some(match self {
            ClusterHost::Enabled(mut services, source) => {
                services.retain(stays);
                ClusterHost::Enabled(
                    Some(services).filter(|services| !services.is_empty())?,
                    source,
                )
            }
            ClusterHost::ByDefault(mut services, source) => {
                services.retain(|(service, _)| stays(service));
                ClusterHost::ByDefault(
                    Some(services).filter(|services| !services.is_empty())?,
                    source,
                )
            }
            ClusterHost::Roles(mut services, flag) => {
                services.retain(stays);
                ClusterHost::Roles(
                    Some(services).filter(|services| !services.is_empty())?,
                    flag,
                )
            }
            other => other,
        })
    }
}

impl fmt::Display for ClusterHost {
    /// Why, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MANUALLY: &str = "Cluster services are upgraded manually (man teleport-upgrade, CLUSTER). Run: \
                                systemctl disable --now teleport-upgrade.timer";
        let both = ClusterService::ALL;
        let line = |service: ClusterService| format!("\"{}: {{enabled: no}}\"", service.section());
        match self {
            ClusterHost::Enabled(services, source) => {
                let sections = listed(services.iter().map(|service| service.section()));
                write!(
                    f,
                    "it runs {} ({sections} in {source}). {MANUALLY}",
                    listed(services)
                )
            }
            ClusterHost::Roles(services, flag) => {
                write!(f, "it runs {} ({flag}). {MANUALLY}", listed(services))
            }
            ClusterHost::ByDefault(services, source) => {
                let lines = listed(services.iter().map(
                    |(service, has_section)| match has_section {
                        true => format!("\"enabled: no\" under {}", service.section()),
                        false => line(*service),
                    },
                ));
                let names = listed(services.iter().map(|(service, _)| service));
                let are = if services.len() == 1 { "is" } else { "are" };
                write!(
                    f,
                    "{names} {are} enabled by default and not disabled in {source}. If this host runs an agent only, add {lines} there. \
                     {MANUALLY}"
                )
            }
            ClusterHost::NoFile(file) => write!(
                f,
                "{} are enabled by default, and {file} does not exist. If this host is to run an agent only, write {} in that file, a \
                 line each. {MANUALLY}",
                listed(both),
                listed(both.map(line))
            ),
            ClusterHost::Unread(source, problem) => {
                let names = both.map(|service| service.to_string()).join(" or ");
                write!(
                    f,
                    "it may run {names}: cannot read {source}: {problem}. Correct that; nothing is upgraded until then"
                )
            }
        }
    }
}

/// One, or two with "and" between them.
fn listed(items: impl IntoIterator<Item = impl ToString>) -> String {
    items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(" and ")
}

/// Why a host with these settings is one of the cluster itself, if it is.
fn cluster_host(root: &Node, source: &str, problem: Option<&str>) -> Option<ClusterHost> {
    // An agent with settings that name a Proxy starts only with both services disabled, so nothing need be said of them.
    let names_proxy = root.get("version").text() == Some("v3")
        && root.get("teleport").get("proxy_server").text().is_some();
    let switches =
        ClusterService::ALL.map(|service| (service, switch(root.get(service.section()))));
    let having = |wanted| {
        switches
            .iter()
            .filter(move |(_, switch)| *switch == wanted)
            .map(|(service, _)| *service)
    };
    let enabled: Vec<_> = having(Switch::On).collect();
    let by_default: Vec<_> = having(Switch::Default)
        .map(|service| (service, !root.get(service.section()).is_nothing()))
        .collect();
    match problem {
        _ if !enabled.is_empty() => Some(ClusterHost::Enabled(enabled, source.to_string())),
        _ if by_default.is_empty() || names_proxy => None,
        // What disables them may stand behind the place up to which it was read.
        Some(problem) => Some(ClusterHost::Unread(source.to_string(), problem.to_string())),
        None => Some(ClusterHost::ByDefault(by_default, source.to_string())),
    }
}

/// The Proxy that is named, else the Auth Services, each with the port that holds when it names none.
fn named_servers(general: &Node) -> Vec<(&str, u16)> {
    if let Some(proxy) = general.get("proxy_server").text() {
        return vec![(bare(proxy), PROXY_PORT)];
    }
    let auth = [general.get("auth_server"), general.get("auth_servers")];
    auth.into_iter()
        .flat_map(Node::texts)
        .map(|server| (bare(server), AUTH_PORT))
        .collect()
}

/// The agent lets a protocol stand before a server and a path behind it: `tcp://auth.example.com:3025`, `https://proxy.example.com/`.
fn bare(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

/// What a section says of its service. The agent takes a word that it does not know for a no; a person may have meant a yes.
fn switch(section: &Node) -> Switch {
    let word = section.get("enabled").text().map(str::to_ascii_lowercase);
    match word.as_deref() {
        Some("yes" | "yeah" | "y" | "true" | "1" | "on") => Switch::On,
        Some("no" | "nope" | "n" | "false" | "0" | "off") => Switch::Off,
        _ => Switch::Default,
    }
}

#[cfg(test)]
mod tests {
    use super::start;
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::parse(Path::new(FILE), text)
    }

    fn cluster(text: &str) -> Vec<String> {
        settings(text)
            .cluster
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    const AGENT: &str = "version: v3\nteleport:\n  nodename: host\n  proxy_server: proxy.example.com:443\n  data_dir: /srv/teleport\n\
        auth_service:\n  enabled: \"no\"\nproxy_service:\n  enabled: no\nssh_service:\n  enabled: yes\n";

    #[test]
    fn reads_an_agents_settings() {
        let settings = settings(AGENT);
        assert_eq!(
            settings.cluster,
            [Address::parse("proxy.example.com:443", 0).unwrap()]
        );
        assert_eq!(
            (settings.cluster_service, settings.problem, settings.source),
            (None, None, FILE.into())
        );
        assert_eq!(settings.data_dir, Path::new("/srv/teleport"));
    }

    #[test]
    fn finds_the_cluster_where_the_agent_finds_it() {
        for (text, expected) in [
            (
                "teleport: {proxy_server: p.example.com}",
                &["p.example.com:3080"][..],
            ),
            (
                "teleport: {auth_server: a.example.com}",
                &["a.example.com:3025"],
            ),
            (
                "teleport: {auth_server: p.example.com:443}",
                &["p.example.com:443"],
            ),
            (
                "teleport:\n  auth_servers:\n    - a.example.com:3025\n    - tcp://b.example.com\n",
                &["a.example.com:3025", "b.example.com:3025"],
            ),
            (
                "teleport:\n  auth_servers: [\"a.example.com:1\"]\n",
                &["a.example.com:1"],
            ),
            (
                "teleport: {proxy_server: p.example.com:443, auth_server: a.example.com}",
                &["p.example.com:443"],
            ),
            (
                "teleport: {proxy_server: \"https://p.example.com:443\"}",
                &["p.example.com:443"],
            ),
            (
                "teleport: {proxy_server: https://p.example.com/web/}",
                &["p.example.com:3080"],
            ),
            (
                "teleport: {auth_server: \"https://[2001:db8::1]:443/\"}",
                &["[2001:db8::1]:443"],
            ),
            (
                "x: &p {proxy_server: p.example.com}\nteleport: {<<: [{nodename: a}, *p]}",
                &["p.example.com:3080"],
            ),
            ("teleport: {proxy_server: }", &[]),
            ("teleport: {proxy_server: [a, b]}", &[]),
            ("auth_service: {enabled: no}", &[]),
            ("", &[]),
        ] {
            assert_eq!(cluster(text), expected, "{text}");
        }
    }

    /// Both services disabled.
    const NONE: &str = "auth_service: {enabled: no}\nproxy_service: {enabled: no}\n";

    fn said(settings: &Settings) -> String {
        settings
            .cluster_service
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    #[test]
    fn a_service_of_the_cluster_is_enabled_until_its_section_disables_it() {
        for (text, expected) in [
            (
                "auth_service: {enabled: yes}\nproxy_service: {enabled: no}",
                "it runs the Auth Service (auth_service in ",
            ),
            (
                "auth_service:\n  enabled: \"yes\"\n",
                "it runs the Auth Service (auth_service in ",
            ),
            (
                "proxy_service:\n  enabled: true\n",
                "it runs the Proxy Service (proxy_service in ",
            ),
            (
                "proxy_service: {enabled: On}\nauth_service: {enabled: Yeah}",
                "Auth Service and the Proxy Service (auth_service and ",
            ),
            (
                "x: &on {enabled: yes}\nproxy_service: *on",
                "it runs the Proxy Service",
            ),
            (
                "x: &on {enabled: yes}\nproxy_service: {<<: *on, web_listen_addr: a}",
                "it runs the Proxy Service",
            ),
            (
                "x: &on {enabled: yes}\nauth_service: {enabled: no}\nproxy_service: {<<: *on, enabled: no}",
                "",
            ),
            (
                "x: &on {enabled: yes}\nproxy_service: {<<: [{a: b}, *on]}",
                "it runs the Proxy Service",
            ),
            (
                "x: &on {enabled: yes}\nauth_service: {enabled: no}\nproxy_service: {<<: [{enabled: no}, *on]}",
                "",
            ),
            (
                "",
                "the Auth Service and the Proxy Service are enabled by default and not disabled in /etc/teleport.yaml. If",
            ),
            (
                "",
                "add \"auth_service: {enabled: no}\" and \"proxy_service: {enabled: no}\" there",
            ),
            (
                "auth_service: {enabled: no}",
                "the Proxy Service is enabled by default",
            ),
            (
                "auth_service: {enabled: no}",
                "add \"proxy_service: {enabled: no}\" there",
            ),
            (
                "auth_service: {cluster_name: x}\nproxy_service: {enabled: no}",
                "add \"enabled: no\" under auth_service there",
            ),
            (
                "auth_service:\nproxy_service: {enabled: no}",
                "add \"auth_service: {enabled: no}\" there",
            ),
            (
                "auth_service: {enabled: }\nproxy_service: {enabled: no}",
                "the Auth Service is enabled by default",
            ),
            (
                "auth_service: {enabled: ~}\nproxy_service: {enabled: no}",
                "the Auth Service is enabled by default",
            ),
            // The agent takes that for a no.
            (
                "auth_service: {enabled: yess}\nproxy_service: {enabled: no}",
                "the Auth Service is enabled by default",
            ),
            (
                "auth_service: no\nproxy_service: no",
                "are enabled by default",
            ),
            ("ssh_service: {enabled: yes}", "are enabled by default"),
            (NONE, ""),
            // With a Proxy named, the agent starts only if both are disabled.
            ("version: v3\nteleport: {proxy_server: p.example.com}", ""),
            (
                "version: \"v3\"\nteleport: {proxy_server: p.example.com}\nproxy_service: {enabled: yes}",
                "it runs the Proxy Service",
            ),
            (
                "version: v2\nteleport: {proxy_server: p.example.com}",
                "are enabled by default",
            ),
            (
                "teleport: {proxy_server: p.example.com}",
                "are enabled by default",
            ),
            (
                "version: v3\nteleport: {proxy_server: }",
                "are enabled by default",
            ),
            (
                "version: v3\nteleport: {auth_server: a.example.com}",
                "are enabled by default",
            ),
            (
                "teleport: {auth_servers: [a.example.com]}",
                "are enabled by default",
            ),
            // What comes before something strange.
            (
                "auth_service: {enabled: yes}\nssh_service: @",
                "it runs the Auth Service",
            ),
            (
                "auth_service:\n  enabled: yes\n  tokens: [\"a",
                "it runs the Auth Service",
            ),
            (
                "auth_service: {enabled: \"yes",
                "it may run the Auth Service or the Proxy Service: cannot read /etc/teleport.yaml: it is",
            ),
            (
                "auth_service: {enabled: no}\nproxy_service: {ena",
                "cannot read /etc/teleport.yaml: it is not YAML",
            ),
            (&format!("{NONE}ssh_service: @"), ""),
        ] {
            let settings = settings(text);
            let said = said(&settings);
            assert!(
                said.contains(expected) && said.is_empty() == expected.is_empty(),
                "{text}: {said}"
            );
        }
        for no in [
            "no",
            "No",
            "NO",
            "nope",
            "n",
            "N",
            "false",
            "False",
            "0",
            "off",
            "Off",
            "\"no\"",
            "'false'",
            "!!str no",
            "!!bool no",
        ] {
            let text =
                format!("auth_service:\n  enabled: {no}\nproxy_service: {{enabled: {no}}}\n");
            assert_eq!(said(&settings(&text)), "", "{no}");
        }
    }

    /// A file of settings, and how an agent is started with it.
    fn written(dir: &tempfile::TempDir, name: &str, text: &str) -> Start {
        std::fs::write(dir.path().join(name), text).unwrap();
        Start {
            config: Some(dir.path().join(name)),
            ..Start::default()
        }
    }

    fn with(start: &Start, arguments: &str) -> Start {
        let unit = start::Unit {
            command: &format!("argv[]=teleport start {arguments}"),
            environment: "",
            files: Vec::new(),
        };
        Start {
            config: start.config.clone(),
            ..unit.look(None).0.remove(0)
        }
    }

    #[test]
    fn the_command_line_has_the_last_word() {
        let dir = tempfile::tempdir().unwrap();
        let (agent, auth) = (
            written(&dir, "agent", NONE),
            written(&dir, "auth", "auth_service: {enabled: yes}\n"),
        );
        let (empty, nowhere) = (
            written(&dir, "empty", ""),
            Start {
                config: Some("/nowhere".into()),
                ..Start::default()
            },
        );
        let bytes = Start {
            config: Some("/dev/zero".into()),
            ..Start::default()
        };
        for (start, arguments, expected) in [
            (&agent, "", ""),
            (
                &agent,
                "--roles=proxy,node",
                "it runs the Proxy Service (--roles=proxy,node of x.service)",
            ),
            (
                &agent,
                "-r auth",
                "it runs the Auth Service (--roles=auth of x.service)",
            ),
            (&auth, "--roles=node,app", ""),
            (&nowhere, "--roles=node --token=x --auth-server=a:3025", ""),
            (&bytes, "--roles=node", ""),
            (
                &bytes,
                "",
                "cannot read /dev/zero: it is not a regular file. Correct that; nothing",
            ),
            (
                &nowhere,
                "",
                "are enabled by default, and /nowhere does not exist. If this host is to run an agent only, write \"auth_s",
            ),
            (
                &empty,
                "--auth-server=a:3025",
                "the Proxy Service is enabled by default",
            ),
            (&auth, "--auth-server=a:3025 --roles=auth", ""),
            (
                &agent,
                "--config-string=eA==",
                "are enabled by default and not disabled in --config-string of x.service",
            ),
            (
                &agent,
                "--config-string=x",
                "cannot read --config-string of x.service: it is not base64",
            ),
            (
                &auth,
                "--config-string=YXV0aF9zZXJ2aWNlOiB7ZW5hYmxlZDogbm99CnByb3h5X3NlcnZpY2U6IHtlbmFibGVkOiBub30K",
                "",
            ),
        ] {
            let settings = Settings::of("x.service", &with(start, arguments));
            let said = said(&settings);
            assert!(
                said.contains(expected) && said.is_empty() == expected.is_empty(),
                "{start:?} {arguments}: {said}"
            );
        }
        let settings = Settings::of(
            "x.service",
            &with(&agent, "--auth-server=p.example.com:443 --auth-server=b"),
        );
        assert_eq!(
            settings
                .cluster
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            ["p.example.com:443", "b:3025"]
        );
    }

    #[test]
    fn any_service_may_make_a_host_one_of_the_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let (agent, auth) = (
            written(&dir, "agent", AGENT),
            written(&dir, "auth", "auth_service: {enabled: yes}"),
        );
        for starts in [[&agent, &auth], [&auth, &agent]] {
            let settings = Settings::read_all(starts.map(|start| ("x.service", start)));
            assert!(
                settings.source.ends_with("/auth") && settings.cluster_service.is_some(),
                "{settings:?}"
            );
        }
        let other = written(
            &dir,
            "other",
            &format!("teleport: {{auth_server: other.example.com}}\n{NONE}"),
        );
        let first = Settings::read_all([&agent, &other].map(|start| ("x.service", start)));
        assert!(
            first.source.ends_with("/agent") && first.cluster_service.is_none(),
            "{first:?}"
        );
    }

    #[test]
    fn strange_yaml_is_named_and_the_defaults_do() {
        let (deep, deeper) = (
            format!("{}{}", "[".repeat(40), "]".repeat(40)),
            "[".repeat(100_000),
        );
        for (text, part) in [
            ("\t- a\n b", "it is not YAML: "),
            ("teleport: [unclosed", "it is not YAML: "),
            (
                "teleport: {proxy_server: \"not an address\"}",
                "\"not an address\" contains invalid characters",
            ),
            (
                "teleport: {proxy_server: unix:///run/teleport}",
                "is not a valid host",
            ),
            ("a: *nobody", "it is not YAML: "),
            (deep.as_str(), "it is nested more than 32 levels deep"),
            (deeper.as_str(), ""),
        ] {
            let settings = settings(text);
            let problem = settings.problem.clone().unwrap_or_default();
            assert!(
                problem.contains(part) && problem.len() < 200,
                "{part}: {problem}"
            );
            let plain = Settings {
                problem: None,
                cluster_service: None,
                ..settings
            };
            assert_eq!(plain, Settings::defaults(Path::new(FILE)));
        }
        for text in [
            "just text",
            "- a\n- b",
            "3",
            "--- !!map\n",
            "%YAML 1.2\n---\n",
            "? [a, b]\n: c\n",
            "\0",
        ] {
            assert_eq!(cluster(text), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn a_bomb_of_aliases_takes_no_more_room_than_its_text() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_string();
        for level in 1..25 {
            let below = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", "));
        }
        bomb += "teleport: {proxy_server: p.example.com}\n";
        assert_eq!(cluster(&bomb), ["p.example.com:3080"]);
        let chain: String = (1..50_000)
            .map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1))
            .collect();
        assert!(
            settings(&format!("a0: &a0 x\n{chain}"))
                .problem
                .unwrap()
                .contains("32 levels deep")
        );
        // Nor does one of maps that extend each other take longer.
        let extended = |level: usize| [format!("*a{}", level - 1).as_str(); 9].join(", ");
        let bomb: String = (1..14)
            .map(|level| format!("a{level}: &a{level} {{<<: [{}]}}\n", extended(level)))
            .collect();
        assert_eq!(
            cluster(&format!("a0: &a0 {{x: y}}\n{bomb}teleport: {{<<: *a13}}\n")),
            [""; 0]
        );
    }

    #[test]
    fn whatever_is_cut_or_changed_in_the_file_it_is_read_to_an_end() {
        let alphabet = b":-[{}&*!|'\"%,?#\n\t\\";
        for at in 0..AGENT.len() {
            settings(&AGENT[..at]);
            for byte in alphabet {
                let mut text = AGENT.as_bytes().to_vec();
                text[at] = *byte;
                settings(std::str::from_utf8(&text).unwrap());
            }
        }
    }
}
