//! Which versions an agent may have: Teleport's compatibility rule, the cluster's version, the host's own limits.

use std::path::PathBuf;

use crate::agent::settings::ClusterHost;
use crate::config::values::Pin;
use crate::decide::path::Missing;
use crate::server::answers::Cluster;
use crate::system::address::Address;
use crate::version::Version;

/// What the settings of this program allow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// The version or major version that the host is pinned to.
    pub pin: Option<Pin>,
    /// Whether pre-releases are allowed.
    pub prerelease: bool,
}

/// Why a change is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAllowed {
    /// This change of version breaks a limit.
    Change {
        /// The installed version.
        from: Version,
        /// The target version.
        to: Version,
        /// The limit.
        limit: Limit,
    },
    /// The host runs services of the cluster, or its settings do not rule that out.
    ClusterHost(ClusterHost),
    /// `teleport-update` manages the host: the agent's program is this link.
    Managed(PathBuf),
    /// `teleport-update` manages the host: the schedule contains `nop`.
    Nop,
}

/// A limit for changes of version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// Releases only.
    PreRelease,
    /// The host is pinned.
    Pin(Pin),
    /// One major version down at most.
    TooFarDown,
    /// Not newer than the cluster, which runs this version, as this server reports.
    AboveCluster(Version, Address),
    /// Not two major versions older than the cluster, which runs this version, as this server reports.
    BehindCluster(Version, Address),
    /// One major version at a time: the repository configured in this file lacks one, and has these versions.
    NoPath(Missing, Vec<Version>, String),
}

/// Checks a change against the limits that hold whatever the cluster runs.
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

/// Checks a target version against the cluster's. Intermediate versions are older than the target, so not newer than the cluster.
pub fn check_cluster(to: &Version, cluster: &Cluster) -> Result<(), Limit> {
    match cluster {
        Cluster::Runs(runs, at) if to > runs => Err(Limit::AboveCluster(runs.clone(), at.clone())),
        Cluster::Runs(runs, at) if to.major() < runs.major().saturating_sub(1) => {
            Err(Limit::BehindCluster(runs.clone(), at.clone()))
        }
        _ => Ok(()),
    }
}

impl NotAllowed {
    /// Whether the host is unsupported, whatever the target version is: no run is of any use to it.
    pub fn is_of_the_host(&self) -> bool {
        !matches!(self, NotAllowed::Change { .. })
    }

    /// Whether it is the pin that an administrator has set, so that nothing is wrong.
    pub fn is_a_pin(&self) -> bool {
        matches!(
            self,
            NotAllowed::Change {
                limit: Limit::Pin(_),
                ..
            }
        )
    }
}
