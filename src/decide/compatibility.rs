//! Which version an agent may have at all: Teleport's rule, the cluster's version, the host's own limits.

use std::fmt;
use std::path::PathBuf;

use crate::agent::settings::ClusterHost;
use crate::config::{Address, Pin};
use crate::decide::path::Missing;
use crate::server::cluster::Cluster;
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
pub enum NotAllowed {
    /// A change of version that breaks a limit.
    Change {
        /// What is installed.
        from: Version,
        /// What the channel wants.
        to: Version,
        /// Which limit.
        limit: Limit,
    },
    /// This host runs a service of the cluster itself, or does not say that it runs none.
    ClusterHost(ClusterHost),
    /// Teleport's later updater manages this host: the agent's program is this link of its.
    Managed(PathBuf),
    /// The same: it has written `nop` in place of a schedule.
    Nop,
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

impl NotAllowed {
    /// Whether it is the host that is refused, whichever version is wanted: then passes are of no use to it.
    pub fn is_of_the_host(&self) -> bool {
        !matches!(self, NotAllowed::Change { .. })
    }

    /// Whether it is the operator's own pin, which is as it should be.
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

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAllowed::Change {
                to,
                limit: Limit::Pin(pin),
                ..
            } => {
                let what = match pin {
                    Pin::Version(version) => version.to_string(),
                    Pin::Major(major) => format!("a version {major}"),
                };
                write!(
                    f,
                    "pinned to {pin}, so {to} is not installed. Publish {what} to the release channel, or change the setting \"pin\""
                )
            }
            NotAllowed::Change { from, to, limit } => {
                let verb = if to < from {
                    "to go back"
                } else {
                    "to upgrade"
                };
                write!(f, "{verb} from {from} to {to}: ")?;
                explain(f, from, to, limit)
            }
            NotAllowed::ClusterHost(host) => write!(f, "unsupported host: {host}"),
            NotAllowed::Nop => write!(
                f,
                "unsupported host: this agent is managed by teleport-update (the file \"schedule\" contains nop). Use only one updater: \
                 run systemctl disable --now teleport-upgrade.timer, or uninstall teleport-update and remove that file"
            ),
            NotAllowed::Managed(link) => write!(
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
        // A sentence of its own, above.
        Limit::Pin(pin) => write!(f, "this host is pinned to {pin}"),
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
            let newest = offered
                .iter()
                .max()
                .map_or("it has none".to_string(), |newest| {
                    format!("the newest there is {newest}")
                });
            match missing {
                Missing::Major(major) => write!(
                    f,
                    "major version {major} comes first (Teleport's compatibility rule), and the repository of {source} has no {major} \
                     ({newest}); point that repository at stable/rolling, or at stable/v{major} and have the channel name a version {major} first"
                ),
                Missing::Target => write!(
                    f,
                    "the repository of {source} has no {to} ({newest}), and the way there is not begun before it can be ended; \
                     have the channel name a version that it has, or point that repository at stable/rolling"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::schedule::WindowStatus;
    use crate::agent::settings::Settings;
    use crate::agent::settings::start::Start;
    use crate::decide::path::{Offer, Stops};
    use crate::decide::policy::tests::{at, seen};
    use crate::decide::policy::{Action, Decision, Observation, decide};
    use crate::server::channel::Target;
    use crate::server::cluster::Reach;
    use crate::state::history::FailedTarget;

    const SOURCE: &str = "/etc/apt/sources.list.d/teleport.list";
    /// What the repository has: of 17 no release.
    const OFFERED: [&str; 19] = [
        "10.3.16",
        "11.3.27",
        "12.4.1",
        "12.4.35",
        "13.0.0",
        "13.4.9",
        "13.4.15",
        "13.5.0-rc.1",
        "14.0.0",
        "14.3.33",
        "14.3.34",
        "15.0.0-rc.1",
        "15.0.0",
        "15.1.0",
        "16.0.0",
        "16.4.2",
        "17.0.0-rc.1",
        "18.0.0",
        "18446744073709551615.0.0",
    ];

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn pin(text: &str) -> Option<Pin> {
        match text {
            "" => None,
            major if !major.contains('.') => Some(Pin::Major(major.parse().unwrap())),
            exact => Some(Pin::Version(version(exact))),
        }
    }

    fn cluster(text: &str) -> Cluster {
        let at = || Address {
            host: "proxy.example.com".into(),
            port: 443,
        };
        if text.is_empty() {
            Cluster::Unknown(String::new(), Reach::Unknown)
        } else {
            Cluster::Runs(version(text), at())
        }
    }

    /// What is decided within the window.
    fn observation(
        installed: &Version,
        target: &Version,
        cluster: Cluster,
        pin: Option<Pin>,
        prerelease: bool,
    ) -> Observation {
        let mut seen = Observation {
            target: Some(Target::Version(target.clone())),
            cluster: Some(cluster),
            ..seen()
        };
        seen.agent.package.version = installed.clone();
        seen.limits = Limits { pin, prerelease };
        seen.windows = WindowStatus::Inside { until: seen.now };
        seen
    }

    /// The decision in words: what it does, or why it is refused.
    fn verdict(seen: &Observation) -> String {
        match decide(seen) {
            Decision::Go(action, _) => action.to_string(),
            Decision::Nothing(_) => "nothing".into(),
            Decision::NotAllowed(refusal) => format!("not allowed: {refusal}"),
            other => panic!("{other:?}"),
        }
    }

    // What the sentences of the table say, but for its versions.

    fn upgrade(rest: &str) -> String {
        format!("upgrade {rest}")
    }

    fn back(rest: &str) -> String {
        format!("go back {rest}")
    }

    const RELEASES: &str = "is not a release, and the file \"prerelease\" does not say yes; have the channel name a release, or write yes there";

    fn pinned(to: &str, name: &str) -> String {
        format!("Publish {name} to the release channel, or change the setting \"pin\"#{to}")
    }

    fn down(choice: &str) -> String {
        format!(
            "that is more than one major version down (Teleport's compatibility rule); have the channel name a version {choice}"
        )
    }

    fn ahead(runs: &str) -> String {
        format!(
            "the cluster at proxy.example.com:443 runs {runs} (its /webapi/ping), and an agent must not be ahead of it; \
             upgrade the cluster first, or have the channel name {runs} at most"
        )
    }

    fn behind(target: &str, runs: &str, choice: &str) -> String {
        format!(
            "the cluster at proxy.example.com:443 runs {runs} (its /webapi/ping), and {target} is more than one major version \
             behind it; have the channel name a version {choice}, {runs} at most"
        )
    }

    fn lacks(major: u64) -> String {
        format!(
            "major version {major} comes first (Teleport's compatibility rule), and the repository of {SOURCE} has no {major} \
             (the newest there is 18446744073709551615.0.0); point that repository at stable/rolling, or at stable/v{major} and have the \
             channel name a version {major} first"
        )
    }

    fn lacks_target(target: &str) -> String {
        format!(
            "the repository of {SOURCE} has no {target} (the newest there is 18446744073709551615.0.0), and the way there is not \
             begun before it can be ended; have the channel name a version that it has, or point that repository at stable/rolling"
        )
    }

    /// Installed, target, cluster, pin, whether pre-releases are allowed; and what is decided, for a refusal without its beginning.
    type Row = (
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        bool,
        Result<String, String>,
    );

    fn table() -> Vec<Row> {
        let nothing = || Ok("nothing".to_string());
        let up = |rest: &str| Ok(upgrade(rest));
        let to_back = |rest: &str| Ok(back(rest));
        vec![
            // The installed version is always fine: nothing is asked of it.
            ("14.3.33", "14.3.33", "", "", false, nothing()),
            ("14.3.33", "14.3.33", "13.0.0", "", false, nothing()),
            ("14.3.33", "14.3.33", "17.0.0", "", false, nothing()),
            ("14.3.33", "14.3.33", "", "15", false, nothing()),
            ("15.0.0-rc.1", "15.0.0-rc.1", "", "", false, nothing()),
            // Within a major version, whatever the way.
            (
                "14.3.33",
                "14.3.34",
                "",
                "",
                false,
                up("from 14.3.33 to 14.3.34"),
            ),
            (
                "14.3.33",
                "14.0.0",
                "",
                "",
                false,
                to_back("from 14.3.33 to 14.0.0"),
            ),
            (
                "14.0.0",
                "14.99.99",
                "",
                "",
                false,
                up("from 14.0.0 to 14.99.99"),
            ),
            // One major version up, at both of its ends, offered or not: that is seen when it is prepared.
            (
                "14.3.33",
                "15.0.0",
                "",
                "",
                false,
                up("from 14.3.33 to 15.0.0"),
            ),
            (
                "14.0.0",
                "15.9.9",
                "",
                "",
                false,
                up("from 14.0.0 to 15.9.9"),
            ),
            ("0.1.0", "1.0.0", "", "", false, up("from 0.1.0 to 1.0.0")),
            // More than one: through the newest release of each between.
            (
                "12.4.1",
                "14.3.34",
                "",
                "",
                false,
                up("from 12.4.1 to 14.3.34 via 13.4.15"),
            ),
            (
                "12.4.35",
                "14.0.0",
                "",
                "",
                false,
                up("from 12.4.35 to 14.0.0 via 13.4.15"),
            ),
            (
                "12.4.1",
                "15.0.0",
                "",
                "",
                false,
                up("from 12.4.1 to 15.0.0 via 13.4.15 and 14.3.34"),
            ),
            (
                "11.3.27",
                "16.4.2",
                "",
                "",
                false,
                up("from 11.3.27 to 16.4.2 via 12.4.35 and 13.4.15 and 14.3.34 and 15.1.0"),
            ),
            (
                "14.3.34",
                "16.0.0",
                "",
                "",
                false,
                up("from 14.3.34 to 16.0.0 via 15.1.0"),
            ),
            // A major version of which only a release candidate is offered is not offered; nor is it with prerelease.
            ("16.4.2", "18.0.0", "", "", false, Err(lacks(17))),
            ("16.4.2", "18.0.0", "", "", true, Err(lacks(17))),
            ("15.1.0", "18.0.0", "", "", false, Err(lacks(17))),
            ("18.0.0", "20.0.0", "", "", false, Err(lacks(19))),
            (
                "18.0.0",
                "18446744073709551615.0.0",
                "",
                "",
                false,
                Err(lacks(19)),
            ),
            (
                "12.4.1",
                "14.3.99",
                "",
                "",
                false,
                Err(lacks_target("14.3.99")),
            ),
            ("14.3.33", "143.3.34", "", "", false, Err(lacks(17))),
            // Down: one major version at most in all.
            (
                "14.3.33",
                "13.9.9",
                "",
                "",
                false,
                to_back("from 14.3.33 to 13.9.9"),
            ),
            (
                "14.0.0",
                "13.0.0",
                "",
                "",
                false,
                to_back("from 14.0.0 to 13.0.0"),
            ),
            ("14.3.33", "12.99.99", "", "", false, Err(down("13 or 14"))),
            ("14.0.0", "12.4.1", "", "", false, Err(down("13 or 14"))),
            ("16.0.0", "12.4.1", "", "", false, Err(down("15 or 16"))),
            ("2.0.0", "0.9.9", "", "", false, Err(down("1 or 2"))),
            // Never ahead of the cluster.
            (
                "14.3.33",
                "14.3.34",
                "14.3.34",
                "",
                false,
                up("from 14.3.33 to 14.3.34"),
            ),
            (
                "14.3.33",
                "14.3.34",
                "14.3.33",
                "",
                false,
                Err(ahead("14.3.33")),
            ),
            (
                "14.3.33",
                "14.4.0",
                "14.3.99",
                "",
                false,
                Err(ahead("14.3.99")),
            ),
            (
                "14.3.33",
                "15.0.0",
                "14.99.99",
                "",
                false,
                Err(ahead("14.99.99")),
            ),
            (
                "14.3.33",
                "15.0.0",
                "15.0.0",
                "",
                false,
                up("from 14.3.33 to 15.0.0"),
            ),
            (
                "14.3.33",
                "15.0.0",
                "15.0.0-rc.1",
                "",
                false,
                Err(ahead("15.0.0-rc.1")),
            ),
            (
                "14.3.33",
                "15.0.0-rc.1",
                "15.0.0",
                "",
                true,
                up("from 14.3.33 to 15.0.0-rc.1"),
            ),
            (
                "12.4.1",
                "14.3.34",
                "14.3.34",
                "",
                false,
                up("from 12.4.1 to 14.3.34 via 13.4.15"),
            ),
            (
                "12.4.1",
                "14.3.34",
                "14.3.33",
                "",
                false,
                Err(ahead("14.3.33")),
            ),
            (
                "12.4.1",
                "14.3.34",
                "13.4.15",
                "",
                false,
                Err(ahead("13.4.15")),
            ),
            (
                "16.0.0",
                "15.0.0",
                "14.3.34",
                "",
                false,
                Err(ahead("14.3.34")),
            ),
            // Never two major versions behind it.
            (
                "14.3.33",
                "14.3.34",
                "15.0.0",
                "",
                false,
                up("from 14.3.33 to 14.3.34"),
            ),
            (
                "14.3.33",
                "14.3.34",
                "15.99.99",
                "",
                false,
                up("from 14.3.33 to 14.3.34"),
            ),
            (
                "14.3.33",
                "14.3.34",
                "16.0.0",
                "",
                false,
                Err(behind("14.3.34", "16.0.0", "15 or 16")),
            ),
            (
                "14.3.33",
                "14.3.34",
                "16.0.0-rc.1",
                "",
                false,
                Err(behind("14.3.34", "16.0.0-rc.1", "15 or 16")),
            ),
            (
                "14.3.33",
                "13.4.15",
                "14.3.33",
                "",
                false,
                to_back("from 14.3.33 to 13.4.15"),
            ),
            (
                "14.3.33",
                "13.4.15",
                "15.0.0",
                "",
                false,
                Err(behind("13.4.15", "15.0.0", "14 or 15")),
            ),
            (
                "12.4.1",
                "13.4.15",
                "15.0.0",
                "",
                false,
                Err(behind("13.4.15", "15.0.0", "14 or 15")),
            ),
            // An agent that is outside already comes back in by steps.
            (
                "12.4.1",
                "15.0.0",
                "16.0.0",
                "",
                false,
                up("from 12.4.1 to 15.0.0 via 13.4.15 and 14.3.34"),
            ),
            (
                "11.3.27",
                "14.3.34",
                "15.0.0",
                "",
                false,
                up("from 11.3.27 to 14.3.34 via 12.4.35 and 13.4.15"),
            ),
            (
                "15.1.0",
                "14.3.34",
                "14.3.34",
                "",
                false,
                to_back("from 15.1.0 to 14.3.34"),
            ),
            (
                "14.3.34",
                "14.3.33",
                "14.3.33",
                "",
                false,
                to_back("from 14.3.34 to 14.3.33"),
            ),
            (
                "16.0.0",
                "14.3.34",
                "14.3.34",
                "",
                false,
                Err(down("15 or 16")),
            ),
            // A pinned version.
            (
                "14.3.33",
                "14.3.34",
                "",
                "14.3.34",
                false,
                up("from 14.3.33 to 14.3.34"),
            ),
            (
                "14.3.33",
                "14.3.34",
                "",
                "14.3.33",
                false,
                Err(pinned("14.3.33", "14.3.33")),
            ),
            (
                "14.3.33",
                "14.3.32",
                "",
                "14.3.33",
                false,
                Err(pinned("14.3.33", "14.3.33")),
            ),
            (
                "14.3.33",
                "15.0.0",
                "",
                "14.3.33",
                false,
                Err(pinned("14.3.33", "14.3.33")),
            ),
            (
                "12.4.1",
                "14.3.34",
                "",
                "14.3.34",
                false,
                up("from 12.4.1 to 14.3.34 via 13.4.15"),
            ),
            // A pinned major version, at both of its ends.
            (
                "14.3.33",
                "14.0.0",
                "",
                "14",
                false,
                to_back("from 14.3.33 to 14.0.0"),
            ),
            (
                "14.3.33",
                "14.99.99",
                "",
                "14",
                false,
                up("from 14.3.33 to 14.99.99"),
            ),
            (
                "14.3.33",
                "15.0.0",
                "",
                "14",
                false,
                Err(pinned("major version 14", "a version 14")),
            ),
            (
                "14.0.0",
                "13.99.99",
                "",
                "14",
                false,
                Err(pinned("major version 14", "a version 14")),
            ),
            (
                "13.4.15",
                "14.3.34",
                "",
                "14",
                false,
                up("from 13.4.15 to 14.3.34"),
            ),
            (
                "15.0.0",
                "14.3.34",
                "",
                "14",
                false,
                to_back("from 15.0.0 to 14.3.34"),
            ),
            (
                "12.4.1",
                "14.3.34",
                "",
                "14",
                false,
                up("from 12.4.1 to 14.3.34 via 13.4.15"),
            ),
            (
                "12.4.1",
                "14.3.34",
                "",
                "13",
                false,
                Err(pinned("major version 13", "a version 13")),
            ),
            ("16.0.0", "14.3.34", "", "14", false, Err(down("15 or 16"))),
            // A pin is one limit, the cluster another.
            (
                "14.3.33",
                "14.3.34",
                "14.3.33",
                "14",
                false,
                Err(ahead("14.3.33")),
            ),
            (
                "14.3.33",
                "14.3.34",
                "16.0.0",
                "14",
                false,
                Err(behind("14.3.34", "16.0.0", "15 or 16")),
            ),
            // Release candidates.
            (
                "14.3.34",
                "15.0.0-rc.1",
                "",
                "",
                false,
                Err(format!("15.0.0-rc.1 {RELEASES}")),
            ),
            (
                "14.3.34",
                "15.0.0-rc.1",
                "",
                "",
                true,
                up("from 14.3.34 to 15.0.0-rc.1"),
            ),
            (
                "15.0.0-rc.1",
                "15.0.0",
                "",
                "",
                false,
                up("from 15.0.0-rc.1 to 15.0.0"),
            ),
            (
                "15.0.0-rc.1",
                "15.0.0-rc.2",
                "",
                "",
                true,
                up("from 15.0.0-rc.1 to 15.0.0-rc.2"),
            ),
            (
                "15.0.0",
                "15.0.0-rc.1",
                "",
                "",
                true,
                to_back("from 15.0.0 to 15.0.0-rc.1"),
            ),
            (
                "15.0.0",
                "15.0.0-rc.1",
                "",
                "",
                false,
                Err(format!("15.0.0-rc.1 {RELEASES}")),
            ),
            (
                "13.4.15",
                "15.0.0-rc.1",
                "",
                "",
                true,
                up("from 13.4.15 to 15.0.0-rc.1 via 14.3.34"),
            ),
            (
                "14.3.34",
                "15.0.0-rc.1",
                "14.3.34",
                "",
                true,
                Err(ahead("14.3.34")),
            ),
            (
                "14.3.34",
                "15.0.0-rc.1",
                "",
                "14",
                true,
                Err(pinned("major version 14", "a version 14")),
            ),
            (
                "14.3.34",
                "15.0.0-rc.1",
                "",
                "15.0.0-rc.1",
                false,
                Err(format!("15.0.0-rc.1 {RELEASES}")),
            ),
        ]
    }

    #[test]
    fn the_rule_as_a_table() {
        let rows = table();
        assert!(rows.len() >= 60, "{}", rows.len());
        let offer = Offer::Versions(OFFERED.map(version).to_vec(), SOURCE.into());
        for (installed, target, runs, pinned_to, prerelease, expected) in rows {
            let (from, to) = (version(installed), version(target));
            let verb = if to < from {
                "to go back"
            } else {
                "to upgrade"
            };
            let expected = expected.unwrap_or_else(|why| match why.split_once('#') {
                Some((advice, pin)) => {
                    format!("not allowed: pinned to {pin}, so {target} is not installed. {advice}")
                }
                None => format!("not allowed: {verb} from {installed} to {target}: {why}"),
            });
            let mut seen = observation(&from, &to, cluster(runs), pin(pinned_to), prerelease);
            seen.offer = Some(offer.clone());
            let row = format!(
                "{installed} -> {target}, cluster {runs:?}, pin {pinned_to:?}, prerelease {prerelease}"
            );
            assert_eq!(verdict(&seen), expected, "{row}");
            seen.forced = true;
            assert_eq!(verdict(&seen), expected, "{row}, by force");
            (seen.forced, seen.critical, seen.windows) = (
                false,
                Some(true),
                WindowStatus::Absent(crate::agent::schedule::Absence::Missing),
            );
            assert_eq!(verdict(&seen), expected, "{row}, critical");
            assert!(!expected.contains('\n'));
        }
    }

    #[test]
    fn hosts_that_are_not_for_us_are_told_so() {
        let settings = Settings::parse(
            "/etc/teleport.yaml",
            "proxy_service: {enabled: no}",
            &Start::default(),
        );
        assert_eq!(
            NotAllowed::ClusterHost(settings.cluster_service.unwrap()).to_string(),
            "unsupported host: the Auth Service is enabled by default and not disabled in /etc/teleport.yaml. If this host runs an agent \
             only, set \"enabled: no\" under auth_service there. Upgrade cluster services manually \
             (man teleport-upgrade, CLUSTER) and run: systemctl disable --now teleport-upgrade.timer"
        );
        assert!(
            NotAllowed::Nop
                .to_string()
                .contains("managed by teleport-update (the file \"schedule\" contains nop)")
        );
        assert!(NotAllowed::Nop.is_of_the_host());
        let managed = NotAllowed::Managed("/opt/teleport/default/bin/teleport".into()).to_string();
        assert!(managed.contains("teleport-update, manages it (/usr/local/bin/teleport is a link to /opt/teleport/default/bin"));
    }

    /// Every version there is in the small world of the next test.
    fn world() -> Vec<Version> {
        let of =
            |major: u64| ["0.0-rc.1", "0.0", "1.0"].map(|rest| version(&format!("{major}.{rest}")));
        (10..=15).flat_map(of).collect()
    }

    /// Every step from `seen`, whichever the target, is one that may be taken; and the way has an end, at the target.
    fn follow(mut seen: Observation, target: &Version, offered: &[Version]) -> usize {
        let mut steps = 0;
        while let Decision::Go(Action::Upgrade(path), _) = decide(&seen) {
            let (from, next) = (
                seen.agent.package.version.clone(),
                path.next().unwrap().clone(),
            );
            let told = || {
                format!(
                    "{from} -> {next} -> {target}, {:?}, {:?}",
                    seen.cluster, seen.limits
                )
            };
            assert!(
                next.major().abs_diff(from.major()) <= 1,
                "a step of two major versions: {}",
                told()
            );
            assert!(
                next == *target || (next > from && next < *target && offered.contains(&next)),
                "an odd stop: {}",
                told()
            );
            assert!(
                seen.limits.prerelease || !next.is_pre_release(),
                "a pre-release: {}",
                told()
            );
            if let Some(Cluster::Runs(runs, _)) = &seen.cluster {
                let least = runs.major() - 1;
                assert!(next <= *runs, "ahead of the cluster: {}", told());
                assert!(
                    target.major() >= least,
                    "a target that is too old: {}",
                    told()
                );
                // One that is too old already comes nearer at least.
                assert!(
                    next.major() >= least || (from.major() < least && next.major() > from.major()),
                    "left behind: {}",
                    told()
                );
            }
            if let Some(pin) = &seen.limits.pin {
                assert!(
                    pin.allows(target) && (pin.allows(&next) || !pin.allows(&from)),
                    "off its pin: {}",
                    told()
                );
            }
            // A version that failed here is not tried again, whatever it was on the way to.
            let (reason, at) = ("it crashed".to_string(), at(0));
            let failed = FailedTarget {
                target: next.clone(),
                goal: path.goal().cloned(),
                reason,
                at,
                rollback_failed: false,
            };
            seen.history.failed = Some(failed.clone());
            assert_eq!(decide(&seen), Decision::Skip(failed));
            seen.history.failed = None;
            seen.agent.package.version = next;
            steps += 1;
            assert!(steps <= 6, "no end: {target}");
        }
        assert!(
            steps == 0 || seen.agent.package.version == *target,
            "stuck at {} before {target}",
            seen.agent.package.version
        );
        steps
    }

    /// All that can be decided in a small world, and all that follows from it. Every sequence of decisions, with whatever target,
    /// cluster and limits at each of them, is made of these steps.
    #[test]
    fn no_sequence_of_decisions_leaves_the_limits() {
        let world = world();
        let clusters: Vec<Cluster> = world
            .iter()
            .map(|version| cluster(&version.to_string()))
            .chain([Cluster::Unknown(String::new(), Reach::Unknown)])
            .collect();
        let pins: Vec<Option<Pin>> = ["", "11", "13", "13.1.0"].map(pin).to_vec();
        // All there is, or all but one major version, or nothing.
        let without = |major: u64| {
            world
                .iter()
                .filter(|version| version.major() != major)
                .cloned()
                .collect()
        };
        let offers: Vec<Vec<Version>> = [world.clone(), Vec::new()]
            .into_iter()
            .chain((11..=14).map(without))
            .collect();
        let (mut went, mut stayed, mut longest) = (0, 0, 0);
        for (installed, target) in world
            .iter()
            .flat_map(|from| world.iter().map(move |to| (from, to)))
        {
            for cluster in &clusters {
                for (pin, prerelease) in pins.iter().flat_map(|pin| [(pin, false), (pin, true)]) {
                    for offered in &offers {
                        let mut seen = observation(
                            installed,
                            target,
                            cluster.clone(),
                            pin.clone(),
                            prerelease,
                        );
                        seen.offer = Some(Offer::Versions(offered.clone(), SOURCE.into()));
                        let steps = follow(seen, target, offered);
                        *(if steps > 0 { &mut went } else { &mut stayed }) += 1;
                        longest = longest.max(steps);
                    }
                }
            }
        }
        // Else it shows nothing.
        assert!(
            went > 10_000 && stayed > 10_000 && longest == 5,
            "{went} {stayed} {longest}"
        );
    }

    #[test]
    fn a_step_that_failed_is_tried_again_when_there_is_a_newer_one_or_another_target() {
        let (from, to) = (version("12.4.1"), version("14.3.34"));
        let offered = |texts: &[&str]| {
            Some(Offer::Versions(
                texts.iter().map(|text| version(text)).collect(),
                SOURCE.into(),
            ))
        };
        let mut seen = observation(
            &from,
            &to,
            Cluster::Unknown(String::new(), Reach::Unknown),
            None,
            false,
        );
        seen.offer = offered(&["13.4.15", "14.3.34"]);
        let failed = FailedTarget {
            target: version("13.4.15"),
            goal: Some(to),
            reason: "it crashed".into(),
            at: at(0),
            rollback_failed: false,
        };
        seen.history.failed = Some(failed.clone());
        assert_eq!(decide(&seen), Decision::Skip(failed));
        let goes_via = |seen: &Observation, stop: &str| match decide(seen) {
            Decision::Go(Action::Upgrade(path), _) => {
                path.stops == Stops::Known(vec![version(stop)])
            }
            _ => false,
        };
        let newer = Observation {
            offer: offered(&["13.4.15", "13.4.16", "14.3.34"]),
            ..seen.clone()
        };
        assert!(goes_via(&newer, "13.4.16"));
        let other = Observation {
            target: Some(Target::Version(version("14.3.33"))),
            offer: offered(&["13.4.15", "14.3.33"]),
            ..seen.clone()
        };
        assert!(goes_via(&other, "13.4.15"));
        assert!(goes_via(
            &Observation {
                forced: true,
                ..seen.clone()
            },
            "13.4.15"
        ));
        let itself = Observation {
            target: Some(Target::Version(version("13.4.15"))),
            ..seen
        };
        assert!(
            matches!(decide(&itself), Decision::Skip(_)),
            "as the target itself it is the version that failed"
        );
    }
}
