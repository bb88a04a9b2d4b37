//! Why a change is not allowed, and what to do about it.

use crate::config::values::Pin;
use crate::decide::compatibility::{Limit, NotAllowed};
use crate::decide::path::Missing;
use crate::version::Version;

/// The reason after "not allowed: ", or the whole sentence if the host is pinned.
pub(super) fn reason(not_allowed: &NotAllowed) -> String {
    match not_allowed {
        NotAllowed::Change {
            to,
            limit: Limit::Pin(pin),
            ..
        } => {
            let what = match pin {
                Pin::Version(version) => version.to_string(),
                Pin::Major(major) => format!("a {major}.x version"),
            };
            format!(
                "pinned to {pin}, so {to} is not installed. Publish {what} to the release channel, or change the setting \"pin\""
            )
        }
        NotAllowed::Change { from, to, limit } => {
            let change = if to < from { "downgrade" } else { "upgrade" };
            format!("{change} from {from} to {to}. {}", explain(from, to, limit))
        }
        NotAllowed::ClusterHost(host) => format!("unsupported host: {host}"),
        NotAllowed::Nop => managed(
            "the file \"schedule\" contains nop",
            "uninstall teleport-update and remove that file",
        ),
        NotAllowed::Managed(link) => managed(
            &format!("/usr/local/bin/teleport links to {}", link.display()),
            "run teleport-update uninstall",
        ),
    }
}

fn managed(sign: &str, alternative: &str) -> String {
    format!(
        "unsupported host: this agent is managed by teleport-update ({sign}). Use only one updater: run sudo teleport-upgrade \
         disable, or {alternative}"
    )
}

/// The limit, where it comes from, and what to do.
fn explain(from: &Version, to: &Version, limit: &Limit) -> String {
    match limit {
        Limit::PreRelease => format!(
            "{to} is a pre-release, and prerelease is not enabled. Publish a release, or set prerelease to yes"
        ),
        // A sentence of its own, above.
        Limit::Pin(pin) => format!("This host is pinned to {pin}"),
        Limit::TooFarDown => format!(
            "Teleport does not support downgrading by more than one major version. Publish a {}.x or {}.x version",
            from.major() - 1,
            from.major()
        ),
        Limit::AboveCluster(runs, at) => format!(
            "The cluster runs {runs} (reported by {at}), and agents must not be newer than the cluster. Upgrade the cluster first, or \
             publish {runs} or older"
        ),
        Limit::BehindCluster(runs, at) => format!(
            "The cluster runs {runs} (reported by {at}), and {to} is more than one major version behind. Publish a {}.x or {}.x version, \
             no newer than {runs}",
            runs.major() - 1,
            runs.major()
        ),
        Limit::NoPath(missing, offered, source) => {
            let latest = offered.iter().max();
            let latest = latest.map_or("none".to_string(), |latest| format!("latest: {latest}"));
            match missing {
                Missing::Major(major) => format!(
                    "Major version {major} must be installed first, and the repository configured in {source} has no {major}.x release \
                     ({latest}). Switch the repository to stable/rolling, or to stable/v{major} and publish a {major}.x version first"
                ),
                Missing::Target => format!(
                    "The repository configured in {source} has no {to} ({latest}), so the upgrade is not started. Publish an available \
                     version, or switch the repository to stable/rolling"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::settings::ClusterHost;
    use crate::system::address::Address;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn every_limit_has_its_reason_and_advice() {
        let at = Address {
            host: "proxy.example.com".into(),
            port: 443,
        };
        let offered = vec![version("12.4.1"), version("16.1.0")];
        let source = "/etc/apt/sources.list.d/teleport.list".to_string();
        let no_path = |missing| Limit::NoPath(missing, offered.clone(), source.clone());
        for (from, to, limit, expected) in [
            (
                "14.3.33",
                "15.0.0-rc.1",
                Limit::PreRelease,
                "upgrade from 14.3.33 to 15.0.0-rc.1. 15.0.0-rc.1 is a pre-release, and prerelease is not enabled. Publish a release, or \
                 set prerelease to yes",
            ),
            (
                "14.3.33",
                "15.0.0",
                Limit::Pin(Pin::Version(version("14.3.33"))),
                "pinned to 14.3.33, so 15.0.0 is not installed. Publish 14.3.33 to the release channel, or change the setting \"pin\"",
            ),
            (
                "14.3.33",
                "15.0.0",
                Limit::Pin(Pin::Major(14)),
                "pinned to major version 14, so 15.0.0 is not installed. Publish a 14.x version to the release channel, or change the \
                 setting \"pin\"",
            ),
            (
                "16.0.0",
                "14.3.34",
                Limit::TooFarDown,
                "downgrade from 16.0.0 to 14.3.34. Teleport does not support downgrading by more than one major version. Publish a 15.x \
                 or 16.x version",
            ),
            (
                "14.3.33",
                "15.0.0",
                Limit::AboveCluster(version("14.3.34"), at.clone()),
                "upgrade from 14.3.33 to 15.0.0. The cluster runs 14.3.34 (reported by proxy.example.com:443), and agents must not be \
                 newer than the cluster. Upgrade the cluster first, or publish 14.3.34 or older",
            ),
            (
                "14.3.33",
                "14.3.34",
                Limit::BehindCluster(version("16.0.0"), at),
                "upgrade from 14.3.33 to 14.3.34. The cluster runs 16.0.0 (reported by proxy.example.com:443), and 14.3.34 is more than \
                 one major version behind. Publish a 15.x or 16.x version, no newer than 16.0.0",
            ),
            (
                "12.4.1",
                "14.3.34",
                no_path(Missing::Major(13)),
                "upgrade from 12.4.1 to 14.3.34. Major version 13 must be installed first, and the repository configured in \
                 /etc/apt/sources.list.d/teleport.list has no 13.x release (latest: 16.1.0). Switch the repository to stable/rolling, or \
                 to stable/v13 and publish a 13.x version first",
            ),
            (
                "12.4.1",
                "14.3.34",
                no_path(Missing::Target),
                "upgrade from 12.4.1 to 14.3.34. The repository configured in /etc/apt/sources.list.d/teleport.list has no 14.3.34 \
                 (latest: 16.1.0), so the upgrade is not started. Publish an available version, or switch the repository to stable/rolling",
            ),
        ] {
            let (from, to) = (version(from), version(to));
            let change = NotAllowed::Change { from, to, limit };
            assert_eq!(reason(&change), expected);
        }
    }

    #[test]
    fn unsupported_hosts_are_named() {
        let host =
            NotAllowed::ClusterHost(ClusterHost::Unread("/etc/teleport.yaml".into(), "x".into()));
        assert!(host.is_of_the_host());
        assert!(reason(&host).starts_with("unsupported host: "));
        let by = "unsupported host: this agent is managed by teleport-update";
        assert_eq!(
            reason(&NotAllowed::Nop),
            format!(
                "{by} (the file \"schedule\" contains nop). Use only one updater: run sudo teleport-upgrade disable, \
                 or uninstall teleport-update and remove that file"
            )
        );
        let link = NotAllowed::Managed("/opt/teleport/default/bin/teleport".into());
        assert_eq!(
            reason(&link),
            format!(
                "{by} (/usr/local/bin/teleport links to /opt/teleport/default/bin/teleport). Use only one updater: run \
                 sudo teleport-upgrade disable, or run teleport-update uninstall"
            )
        );
    }
}
