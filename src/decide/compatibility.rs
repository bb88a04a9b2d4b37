//! Which version an agent may have at all: Teleport's rule, the cluster's version, the host's own limits.

use std::fmt;
use std::path::PathBuf;

use super::path::Missing;
use crate::observe::cluster::Cluster;
use crate::observe::config::{Address, Pin};
use crate::version::Version;

/// What the configuration of this host lets it have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// What the agent never leaves.
    pub pin: Option<Pin>,
    /// Whether it may have release candidates.
    pub prerelease: bool,
}

/// Why something must not be done here: what was asked, which limit it would break, where that was read, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A change of version that breaks a limit.
    Change {
        /// What is installed.
        from: Version,
        /// What the channel wants.
        to: Version,
        /// Which limit.
        limit: Limit,
    },
    /// This host runs a service of the cluster itself.
    ClusterHost {
        /// The service's name.
        service: &'static str,
        /// Its section in the agent's settings.
        section: &'static str,
        /// The agent's settings.
        file: PathBuf,
    },
    /// Teleport's later updater manages this host: the agent's program is this link of its.
    Managed(PathBuf),
}

/// A limit that a change of version would break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// Releases only.
    PreRelease,
    /// The host is pinned to something else.
    Pin(Pin),
    /// One major version down at most.
    TooFarDown,
    /// Never ahead of the cluster, which runs this.
    AboveCluster(Version, Address),
    /// Never two major versions behind the cluster, which runs this.
    BehindCluster(Version, Address),
    /// One major version at a time, and the repository that is configured there lacks one of them; it has these.
    NoWay(Missing, Vec<Version>, String),
}

/// Whether the agent may go from `from` to `to` by what holds whatever the cluster runs.
pub fn check(from: &Version, to: &Version, limits: &Limits) -> Result<(), Limit> {
    if to.is_pre_release() && !limits.prerelease {
        return Err(Limit::PreRelease);
    }
    if let Some(pin) = limits.pin.as_ref().filter(|pin| !pin.allows(to)) {
        return Err(Limit::Pin(pin.clone()));
    }
    if to.major() < from.major().saturating_sub(1) {
        return Err(Limit::TooFarDown);
    }
    Ok(())
}

/// Whether the agent may go to `to` by what the cluster runs. What lies on the way up there is below `to`, so not ahead of the
/// cluster either.
pub fn check_cluster(to: &Version, cluster: &Cluster) -> Result<(), Limit> {
    match cluster {
        Cluster::Runs(runs, at) if to > runs => Err(Limit::AboveCluster(runs.clone(), at.clone())),
        Cluster::Runs(runs, at) if to.major() < runs.major().saturating_sub(1) => {
            Err(Limit::BehindCluster(runs.clone(), at.clone()))
        }
        _ => Ok(()),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Change { from, to, limit } => {
                let verb = if to < from { "to go back" } else { "to upgrade" };
                write!(f, "{verb} from {from} to {to}: ")?;
                explain(f, from, to, limit)
            }
            Refusal::ClusterHost { service, section, file } => write!(
                f,
                "to change anything on this host: it runs the cluster's {service} ({section} in {}), and those are upgraded by hand, \
                 in an order; see \"The cluster itself\" in the README, and disable teleport-upgrade.timer here",
                file.display()
            ),
            Refusal::Managed(link) => write!(
                f,
                "to change anything on this host: Teleport's own updater, teleport-update, manages it (/usr/local/bin/teleport is a \
                 link to {}); disable teleport-upgrade.timer here, or remove that updater first",
                link.display()
            ),
        }
    }
}

/// The limit, where it was read, and what to do.
fn explain(f: &mut fmt::Formatter<'_>, from: &Version, to: &Version, limit: &Limit) -> fmt::Result {
    match limit {
        Limit::PreRelease => write!(
            f,
            "{to} is not a release, and the file \"prerelease\" does not say yes; have the channel name a release, or write yes there"
        ),
        Limit::Pin(pin) => {
            let what = match pin {
                Pin::Version(version) => version.to_string(),
                Pin::Major(major) => format!("a version {major}"),
            };
            write!(f, "this host is pinned to {pin} (the file \"pin\"); have the channel name {what}, or change the pin")
        }
        Limit::TooFarDown => {
            let below = from.major() - 1;
            write!(
                f,
                "that is more than one major version down (Teleport's compatibility rule); have the channel name a version {below} or {}",
                from.major()
            )
        }
        Limit::AboveCluster(runs, at) => write!(
            f,
            "the cluster at {at} runs {runs} (its /webapi/ping), and an agent must not be ahead of it; \
             upgrade the cluster first, or have the channel name {runs} at most"
        ),
        Limit::BehindCluster(runs, at) => write!(
            f,
            "the cluster at {at} runs {runs} (its /webapi/ping), and {to} is more than one major version behind it; \
             have the channel name a version {} or {}, {runs} at most",
            runs.major() - 1,
            runs.major()
        ),
        Limit::NoWay(missing, offered, source) => {
            let newest = offered.iter().max().map_or("it has none".to_string(), |newest| format!("the newest there is {newest}"));
            match missing {
                Missing::Major(major) => write!(
                    f,
                    "major version {major} comes first (Teleport's compatibility rule), and the repository of {source} has no {major} \
                     ({newest}); point that file at stable/rolling, or at stable/v{major} and have the channel name a version {major} first"
                ),
                Missing::Target => write!(
                    f,
                    "the repository of {source} has no {to} ({newest}), and the way there is not begun before it can be ended; \
                     have the channel name a version that it has, or point that file at stable/rolling"
                ),
            }
        }
    }
}
