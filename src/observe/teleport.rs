//! The agent's own settings: what `/etc/teleport.yaml` says of its cluster, its services and its data directory.
//!
//! Other programs and people write this file, by hand or not. Whatever is strange in it is a warning; the defaults do then.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::config::Address;
use super::untrusted;
use crate::text::{io_problem, printable};

/// Where the agent looks for its settings, unless it is told otherwise.
pub const FILE: &str = "/etc/teleport.yaml";
/// Where the agent keeps its state, unless it is told otherwise.
pub const DATA: &str = "/var/lib/teleport";
/// More than anybody writes.
const MAX_BYTES: u64 = 1024 * 1024;
/// How deep maps and lists may be nested; the agent's settings have about six levels.
const MAX_DEPTH: usize = 32;
/// What the agent takes for the port of a Proxy, and of an Auth Service, that are named without one.
const PROXY_PORT: u16 = 3080;
const AUTH_PORT: u16 = 3025;
/// The services that make a host part of the cluster itself, and what they are called.
const CLUSTER_SERVICES: [(&str, &str); 2] = [("auth_service", "Auth Service"), ("proxy_service", "Proxy Service")];

/// What the agent is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file that says so.
    pub file: PathBuf,
    /// Where the agent finds its cluster: the Proxy, else Auth Services.
    pub cluster: Vec<Address>,
    /// A service of the cluster itself that is explicitly enabled on this host: its section, and its name.
    pub cluster_service: Option<(&'static str, &'static str)>,
    /// Where the agent keeps its state.
    pub data_dir: PathBuf,
    /// What is wrong with the file, if anything is.
    pub problem: Option<String>,
}

impl Settings {
    /// What holds without the file.
    pub fn defaults(file: &Path) -> Settings {
        Settings { file: file.into(), cluster: Vec::new(), cluster_service: None, data_dir: DATA.into(), problem: None }
    }

    /// Reads the file. Whatever is wrong with it is a value, not an error: an updater must work without it.
    pub fn read(file: &Path) -> Settings {
        match untrusted::read_linked(file, MAX_BYTES) {
            Ok(text) => Settings::parse(file, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Settings::defaults(file),
            Err(error) => Settings { problem: Some(io_problem(&error)), ..Settings::defaults(file) },
        }
    }

    /// Takes from the text of the file what matters here.
    pub fn parse(file: &Path, text: &str) -> Settings {
        let mut settings = Settings::defaults(file);
        let root = match parse(text) {
            Ok(root) => root,
            Err(problem) => return Settings { problem: Some(problem), ..settings },
        };
        let general = root.get("teleport");
        settings.cluster_service = CLUSTER_SERVICES.into_iter().find(|(section, _)| is_enabled(root.get(section)));
        if let Some(directory) = general.get("data_dir").text().map(Path::new).filter(|path| path.is_absolute()) {
            settings.data_dir = directory.into();
        }
        let named = named_servers(general);
        for (server, port) in &named {
            match Address::parse(server, *port) {
                Ok(address) => settings.cluster.push(address),
                Err(problem) => settings.problem = Some(problem),
            }
        }
        settings
    }
}

/// The Proxy that is named, else the Auth Services, each with the port that holds when it names none.
fn named_servers(general: &Node) -> Vec<(&str, u16)> {
    if let Some(proxy) = general.get("proxy_server").text() {
        return vec![(proxy, PROXY_PORT)];
    }
    let auth = [general.get("auth_server"), general.get("auth_servers")];
    auth.into_iter().flat_map(Node::texts).map(|server| (bare(server), AUTH_PORT)).collect()
}

/// Older settings may name the protocol: `tcp://auth.example.com:3025`.
fn bare(server: &str) -> &str {
    server.split_once("://").map_or(server, |(_, rest)| rest)
}

/// Whether a section says that its service is enabled, in one of the words that the agent knows. Only what is written counts: the
/// agent would also enable some that are not mentioned, but then hosts that run no such service would have to say so.
fn is_enabled(section: &Node) -> bool {
    let word = section.get("enabled").text().map(str::to_ascii_lowercase);
    word.is_some_and(|word| ["yes", "yeah", "y", "true", "1", "on"].contains(&word.as_str()))
}

/// A value in a YAML file. What an alias stands for is shared, never copied: no file can grow by being read.
#[derive(Debug, Clone)]
enum Node {
    Text(String),
    List(Vec<Rc<Node>>),
    Map(BTreeMap<String, Rc<Node>>),
    Nothing,
}

impl Node {
    /// The value of a key, or of one of the map that this one extends (`<<`); nothing if this is no map, or has no such key.
    fn get(&self, key: &str) -> &Node {
        let Node::Map(entries) = self else { return &Node::Nothing };
        match (entries.get(key), entries.get("<<")) {
            (Some(value), _) => value,
            (None, Some(extended)) => extended.get(key),
            (None, None) => &Node::Nothing,
        }
    }

    /// The text of a scalar.
    fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// The text of a scalar, or of those in a list.
    fn texts(&self) -> Vec<&str> {
        match self {
            Node::List(items) => items.iter().filter_map(|item| item.text()).collect(),
            other => other.text().into_iter().collect(),
        }
    }
}

/// A value, and how many levels of lists and maps are in it.
type Measured = (Rc<Node>, usize);

/// A list or map whose end has not been seen.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<String>,
    /// The levels of what is in it.
    levels: usize,
}

impl Open {
    fn new(node: Node, anchor: usize) -> Open {
        Open { node, anchor, key: None, levels: 0 }
    }

    fn add(&mut self, (node, levels): Measured) {
        self.levels = self.levels.max(levels);
        match (&mut self.node, self.key.take()) {
            (Node::List(items), _) => items.push(node),
            (Node::Map(entries), Some(key)) => drop(entries.insert(key, node)),
            // A key that is no text names nothing that is asked for.
            _ => self.key = Some(node.text().unwrap_or_default().to_string()),
        }
    }
}

/// Reads the first document of a YAML text.
fn parse(text: &str) -> Result<Rc<Node>, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: BTreeMap<usize, Measured> = BTreeMap::new();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, _) = event.map_err(|error| format!("it is not YAML: {}", printable(&error.to_string(), 120)))?;
        let (value, anchor) = match event {
            Event::MappingStart(anchor, _) => {
                open.push(Open::new(Node::Map(BTreeMap::new()), anchor));
                within_limits(open.len())?;
                continue;
            }
            Event::SequenceStart(anchor, _) => {
                open.push(Open::new(Node::List(Vec::new()), anchor));
                within_limits(open.len())?;
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                let Some(ended) = open.pop() else { break };
                ((Rc::new(ended.node), ended.levels + 1), ended.anchor)
            }
            Event::Scalar(text, style, anchor, _) => ((Rc::new(scalar(&text, style)), 0), anchor),
            Event::Alias(anchor) => (anchors.get(&anchor).cloned().unwrap_or_else(|| (Rc::new(Node::Nothing), 0)), 0),
            Event::DocumentEnd | Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
        };
        within_limits(open.len() + value.1)?;
        if anchor > 0 {
            anchors.insert(anchor, value.clone());
        }
        match open.last_mut() {
            Some(outer) => outer.add(value),
            None => return Ok(value.0),
        }
    }
    Ok(Rc::new(Node::Nothing))
}

/// A nest is taken apart level by level, one within the other: too deep a one, and there is no room to do so.
fn within_limits(levels: usize) -> Result<(), String> {
    if levels > MAX_DEPTH { Err(format!("it is nested more than {MAX_DEPTH} levels deep")) } else { Ok(()) }
}

/// `~`, `null` and an empty value are nothing, unless they are quoted.
fn scalar(text: &str, style: ScalarStyle) -> Node {
    let is_plain = matches!(style, ScalarStyle::Plain);
    if is_plain && ["", "~", "null"].contains(&text) { Node::Nothing } else { Node::Text(text.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::parse(Path::new(FILE), text)
    }

    fn cluster(text: &str) -> Vec<String> {
        settings(text).cluster.iter().map(ToString::to_string).collect()
    }

    const AGENT: &str = "version: v3\nteleport:\n  nodename: host\n  proxy_server: proxy.example.com:443\n  data_dir: /srv/teleport\n\
        auth_service:\n  enabled: \"no\"\nproxy_service:\n  enabled: no\nssh_service:\n  enabled: yes\n";

    #[test]
    fn reads_an_agents_settings() {
        let settings = settings(AGENT);
        assert_eq!(settings.cluster, [Address::parse("proxy.example.com:443", 0).unwrap()]);
        assert_eq!((settings.cluster_service, settings.problem), (None, None));
        assert_eq!(settings.data_dir, Path::new("/srv/teleport"));
    }

    #[test]
    fn finds_the_cluster_where_the_agent_finds_it() {
        for (text, expected) in [
            ("teleport: {proxy_server: p.example.com}", &["p.example.com:3080"][..]),
            ("teleport: {auth_server: a.example.com}", &["a.example.com:3025"]),
            ("teleport: {auth_server: p.example.com:443}", &["p.example.com:443"]),
            (
                "teleport:\n  auth_servers:\n    - a.example.com:3025\n    - tcp://b.example.com\n",
                &["a.example.com:3025", "b.example.com:3025"],
            ),
            ("teleport:\n  auth_servers: [\"a.example.com:1\"]\n", &["a.example.com:1"]),
            ("teleport: {proxy_server: p.example.com:443, auth_server: a.example.com}", &["p.example.com:443"]),
            ("teleport: {proxy_server: }", &[]),
            ("teleport: {proxy_server: [a, b]}", &[]),
            ("auth_service: {enabled: no}", &[]),
            ("", &[]),
        ] {
            assert_eq!(cluster(text), expected, "{text}");
        }
    }

    #[test]
    fn a_service_of_the_cluster_counts_when_it_is_explicitly_enabled() {
        for (text, expected) in [
            ("auth_service: {enabled: yes}", Some("Auth Service")),
            ("auth_service:\n  enabled: \"yes\"\n", Some("Auth Service")),
            ("proxy_service:\n  enabled: true\n", Some("Proxy Service")),
            ("proxy_service: {enabled: On}", Some("Proxy Service")),
            ("x: &on {enabled: yes}\nproxy_service: *on", Some("Proxy Service")),
            ("x: &on {enabled: yes}\nproxy_service: {<<: *on, web_listen_addr: a}", Some("Proxy Service")),
            ("x: &on {enabled: yes}\nproxy_service: {<<: *on, enabled: no}", None),
            ("auth_service: {enabled: no}\nproxy_service: {enabled: false}", None),
            ("auth_service: {cluster_name: example}", None),
            ("auth_service:\n", None),
            ("auth_service: yes", None),
            ("ssh_service: {enabled: yes}", None),
        ] {
            assert_eq!(settings(text).cluster_service.map(|(_, name)| name), expected, "{text}");
        }
    }

    #[test]
    fn strange_yaml_is_named_and_the_defaults_do() {
        let (deep, deeper) = (format!("{}{}", "[".repeat(40), "]".repeat(40)), "[".repeat(100_000));
        for (text, part) in [
            ("\t- a\n b", "it is not YAML: "),
            ("teleport: [unclosed", "it is not YAML: "),
            ("teleport: {proxy_server: \"not an address\"}", "\"not an address\" has characters that do not belong there"),
            ("teleport: {proxy_server: https://p.example.com}", "is not a host"),
            ("a: *nobody", "it is not YAML: "),
            (deep.as_str(), "it is nested more than 32 levels deep"),
            (deeper.as_str(), ""),
        ] {
            let settings = settings(text);
            let problem = settings.problem.clone().unwrap_or_default();
            assert!(problem.contains(part) && problem.len() < 200, "{part}: {problem}");
            assert_eq!(Settings { problem: None, ..settings }, Settings::defaults(Path::new(FILE)));
        }
        for text in ["just text", "- a\n- b", "3", "--- !!map\n", "%YAML 1.2\n---\n", "? [a, b]\n: c\n", "\0"] {
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
        let chain: String = (1..50_000).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1)).collect();
        assert!(settings(&format!("a0: &a0 x\n{chain}")).problem.unwrap().contains("32 levels deep"));
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
