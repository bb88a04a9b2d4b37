//! Why a change is not allowed, and what to do about it.

use crate::config::values::Pin;
use crate::decide::compatibility::{Limit, NotAllowed};
use crate::decide::path::Missing;
use crate::version::Version;

/// The sentence after "not allowed: ", or the whole sentence of a pin.
pub fn reason(not_allowed: &NotAllowed) -> String {
    match not_allowed {
        NotAllowed::Change {
            to,
            limit: Limit::Pin(pin),
            ..
        } => {
            let what = match pin {
                Pin::Version(version) => version.to_string(),
                Pin::Major(major) => format!("a version {major}"),
            };
            format!(
                "pinned to {pin}, so {to} is not installed. Publish {what} to the release channel, or change the setting \"pin\""
            )
        }
        NotAllowed::Change { from, to, limit } => {
            let verb = if to < from {
                "to go back"
            } else {
                "to upgrade"
            };
            format!("{verb} from {from} to {to}: {}", explain(from, to, limit))
        }
        NotAllowed::ClusterHost(host) => format!("unsupported host: {host}"),
        NotAllowed::Nop => {
            "unsupported host: this agent is managed by teleport-update (the file \"schedule\" contains nop). Use only one updater: \
             run systemctl disable --now teleport-upgrade.timer, or uninstall teleport-update and remove that file"
                .into()
        }
        NotAllowed::Managed(link) => format!(
            "to change anything on this host: Teleport's own updater, teleport-update, manages it (/usr/local/bin/teleport is a \
             link to {}); disable teleport-upgrade.timer here, or remove that updater first",
            link.display()
        ),
    }
}

/// The limit, where it was read, and what to do.
fn explain(from: &Version, to: &Version, limit: &Limit) -> String {
    match limit {
        Limit::PreRelease => format!(
            "{to} is not a release, and the file \"prerelease\" does not say yes; have the channel name a release, or write yes there"
        ),
        // A sentence of its own, above.
        Limit::Pin(pin) => format!("this host is pinned to {pin}"),
        Limit::TooFarDown => {
            let below = from.major() - 1;
            format!(
                "that is more than one major version down (Teleport's compatibility rule); have the channel name a version {below} or {}",
                from.major()
            )
        }
        Limit::AboveCluster(runs, at) => format!(
            "the cluster at {at} runs {runs} (its /webapi/ping), and an agent must not be ahead of it; \
             upgrade the cluster first, or have the channel name {runs} at most"
        ),
        Limit::BehindCluster(runs, at) => format!(
            "the cluster at {at} runs {runs} (its /webapi/ping), and {to} is more than one major version behind it; \
             have the channel name a version {} or {}, {runs} at most",
            runs.major() - 1,
            runs.major()
        ),
        Limit::NoPath(missing, offered, source) => {
            let newest = offered
                .iter()
                .max()
                .map_or("it has none".to_string(), |newest| {
                    format!("the newest there is {newest}")
                });
            match missing {
                Missing::Major(major) => format!(
                    "major version {major} comes first (Teleport's compatibility rule), and the repository of {source} has no {major} \
                     ({newest}); point that repository at stable/rolling, or at stable/v{major} and have the channel name a version {major} first"
                ),
                Missing::Target => format!(
                    "the repository of {source} has no {to} ({newest}), and the way there is not begun before it can be ended; \
                     have the channel name a version that it has, or point that repository at stable/rolling"
                ),
            }
        }
    }
}
