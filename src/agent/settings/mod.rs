//! The agent's own settings: what `/etc/teleport.yaml`, or what replaces it, contains of its cluster, its services and its data directory.
//! The types are here; what reads them is in the files below.

mod base64;
mod command_line;
mod environment;
pub mod read;
pub mod start;
pub mod unit;
mod yaml;

use std::fmt;
use std::path::PathBuf;

use crate::system::address::Address;

/// The settings of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where they are: a file, or words such as `TELEPORT_CONFIG of teleport.service`.
    pub source: String,
    /// The servers of its cluster: the Proxy, else Auth Services.
    pub cluster: Vec<Address>,
    /// Why this host counts as one of the cluster itself, if it does.
    pub cluster_service: Option<ClusterHost>,
    /// Where the agent keeps its state.
    pub data_dir: PathBuf,
    /// What is wrong with the settings, if anything is.
    pub problem: Option<String>,
}

/// A service that makes a host part of the cluster itself. The agent enables both by default.
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
    /// These services are enabled by the settings there, or by that flag of the command line.
    Enabled(Vec<ClusterService>, String),
    /// The settings there do not disable these services, so they are enabled.
    ByDefault(Vec<ClusterService>, String),
    /// The settings there cannot be read, and why.
    Unread(String, String),
}

impl Settings {
    /// What is wrong with the settings, unless that is why the host is not upgraded.
    pub fn warning(&self) -> Option<&str> {
        let is_reason = matches!(self.cluster_service, Some(ClusterHost::Unread(..)));
        self.problem.as_deref().filter(|_| !is_reason)
    }
}

impl ClusterService {
    /// The section of its settings.
    pub fn section(self) -> &'static str {
        match self {
            ClusterService::Auth => "auth_service",
            ClusterService::Proxy => "proxy_service",
        }
    }

    /// Its name in `--roles`.
    pub fn role(self) -> &'static str {
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

impl fmt::Display for ClusterHost {
    /// Why, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MANUALLY: &str = "Upgrade cluster services manually (man teleport-upgrade, CLUSTER) and run: \
                                sudo teleport-upgrade disable";
        match self {
            ClusterHost::Enabled(services, by) => {
                write!(f, "it runs {} ({by}). {MANUALLY}", listed(services))
            }
            ClusterHost::ByDefault(services, source) => {
                let are = if services.len() == 1 { "is" } else { "are" };
                let sections = listed(services.iter().map(|service| service.section()));
                write!(
                    f,
                    "{} {are} enabled by default and not disabled in {source}. If this host runs an agent only, set \
                     \"enabled: no\" under {sections} there. {MANUALLY}",
                    listed(services)
                )
            }
            ClusterHost::Unread(source, problem) => write!(
                f,
                "it may run the Auth Service or the Proxy Service: cannot read {source}: {problem}. Correct that; \
                 nothing is upgraded until then"
            ),
        }
    }
}

/// One, or two with "and" between them.
pub fn listed(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(" and ")
}
