//! The version of the agent's own cluster: `server_version` of its Proxy's `/webapi/ping`.

use std::fmt;

use log::warn;
use serde::Deserialize;

use crate::agent::settings::Settings;
use crate::config::Config;
use crate::server::http::{Client, Unanswered};
use crate::system::address::Address;
use crate::version::Version;

/// An answer has some 2 KiB.
const MAX_BODY: u64 = 64 * 1024;
/// Of Auth Services, of which an agent's settings may name many, no more are asked.
const MOST: usize = 3;

/// The agent's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cluster {
    /// Nobody says which version it runs, and why: nothing can be held against it.
    Unknown(String, Reach),
    /// It runs this version, and who says so.
    Runs(Version, Address),
}

/// Whether the agent's cluster can be reached from this host. No new process of an agent becomes ready without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// A server of it answers.
    Reachable,
    /// None does, and why.
    Unreachable(String),
    /// Nothing names a server, or what answers is not understood: an Auth Service asks for a certificate first.
    Unknown,
}

/// The part of the answer that matters here.
#[derive(Deserialize)]
struct Ping {
    server_version: String,
}

/// What there is to ask, and where that was found.
#[derive(Debug, PartialEq, Eq)]
struct Servers {
    addresses: Vec<Address>,
    /// What to correct if it is wrong.
    named_by: String,
}

impl Cluster {
    /// Asks for the cluster's version. Says once why there is no answer, if there is none: an agent that cannot reach its cluster
    /// must be mended all the same.
    pub fn ask(config: &Config, settings: &Settings, client: &Client) -> Cluster {
        let cluster = Cluster::look(config, settings, client);
        if let Cluster::Unknown(why, _) = &cluster {
            warn!(
                "the version of the cluster is not known, so the upgrade is not checked against it: {why}"
            );
        }
        cluster
    }

    /// Asks for it, and says nothing.
    pub fn look(config: &Config, settings: &Settings, client: &Client) -> Cluster {
        let Servers {
            addresses,
            named_by,
        } = servers(config, settings);
        let mut problem = None;
        let mut answers = addresses.is_empty();
        for address in addresses.into_iter().take(MOST) {
            match ping(client, &address) {
                Ok(version) => return Cluster::Runs(version, address),
                Err(error) => {
                    answers |= error.is_an_answer();
                    problem = problem.or(Some(error));
                }
            }
        }
        let reason = problem.map_or_else(
            || "nothing names its Proxy".to_string(),
            |error| error.reason(),
        );
        let reach = if answers {
            Reach::Unknown
        } else {
            Reach::Unreachable(reason.clone())
        };
        Cluster::Unknown(format!("{reason}; see {named_by}"), reach)
    }

    /// Whether it can be reached.
    pub fn reach(&self) -> Reach {
        match self {
            Cluster::Runs(..) => Reach::Reachable,
            Cluster::Unknown(_, reach) => reach.clone(),
        }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cluster::Unknown(why, _) => write!(f, "the cluster's version is not known: {why}"),
            Cluster::Runs(version, address) => write!(
                f,
                "the cluster at {address} runs {version} (its /webapi/ping)"
            ),
        }
    }
}

/// Whom to ask: whom the configuration names, else a Proxy whose channel this host follows, else whom the agent itself asks.
fn servers(config: &Config, settings: &Settings) -> Servers {
    if let Some(proxy) = &config.proxy {
        return Servers {
            addresses: vec![proxy.clone()],
            named_by: "the file \"proxy\"".into(),
        };
    }
    if let Some(proxy) = config.endpoint.teleport_proxy() {
        return Servers {
            addresses: vec![proxy.clone()],
            named_by: "the file \"endpoint\", or write the Proxy into the file \"proxy\"".into(),
        };
    }
    let named_by = format!(
        "proxy_server in {}, or write the Proxy into the file \"proxy\"",
        settings.source
    );
    Servers {
        addresses: settings.cluster.clone(),
        named_by,
    }
}

fn ping(client: &Client, address: &Address) -> Result<Version, Unanswered> {
    let url = format!("https://{}/webapi/ping", address.in_url());
    let text = client.get(&url, address, MAX_BODY)?;
    version(&text).map_err(|what| Unanswered::useless(&url, what, "ask the Proxy"))
}

/// Reads the version out of an answer; what is wrong with it else.
pub fn version(text: &str) -> Result<Version, String> {
    let ping: Ping = serde_json::from_str(text)
        .map_err(|_| "the answer is not that of a Teleport Proxy".to_string())?;
    // Build metadata has no order: with it or without, it is the same version.
    let version = ping.server_version.split('+').next().unwrap_or_default();
    version
        .parse()
        .map_err(|error| format!("the answer's server_version {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_proxys_answer() {
        let answer = r#"{"auth":{"type":"local"},"proxy":{"ssh":{}},"server_version":"14.2.0","min_client_version":"13.0.0-aa"}"#;
        assert_eq!(version(answer), Ok("14.2.0".parse().unwrap()));
        assert_eq!(
            version(r#"{"server_version":"v15.0.0-rc.1"}"#),
            Ok("15.0.0-rc.1".parse().unwrap())
        );
        assert_eq!(
            version(r#"{"server_version":"14.2.0+fips"}"#),
            Ok("14.2.0".parse().unwrap())
        );
    }

    #[test]
    fn what_is_no_proxys_answer_is_no_version() {
        let nest = "[".repeat(60_000);
        for (text, part) in [
            ("", "not that of a Teleport Proxy"),
            ("<html>", "not that of a Teleport Proxy"),
            ("{}", "not that of a Teleport Proxy"),
            ("14.2.0", "not that of a Teleport Proxy"),
            (r#"{"server_version":14}"#, "not that of a Teleport Proxy"),
            (nest.as_str(), "not that of a Teleport Proxy"),
            (
                r#"{"server_version":"14"}"#,
                "the answer's server_version \"14\" is not a version",
            ),
            (
                r#"{"server_version":"\u001b[31m"}"#,
                "server_version \"\\u{1b}[31m\" is not a version",
            ),
        ] {
            let problem = version(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
