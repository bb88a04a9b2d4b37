//! Requests the version of the agent's cluster from its Proxy, and the cluster name from a Proxy.

use log::warn;

use crate::agent::service::Reach;
use crate::agent::settings::Settings;
use crate::config::Config;
use crate::config::endpoint::Endpoint;
use crate::server::answers::{self, Cluster};
use crate::server::http::error::RequestError;
use crate::server::http::{Client, Patience};
use crate::system::address::Address;
use crate::version::Version;

/// A response has some 2 KiB.
const MAX_BODY: u64 = 64 * 1024;
/// An agent's settings may list many Auth Services; only the first ones are tried.
const MAX_SERVERS: usize = 3;

/// Requests the cluster's version. A failure is a warning: an agent that cannot reach its cluster may need the upgrade.
pub fn ask(config: &Config, settings: &Settings, client: &Client) -> Cluster {
    let cluster = look(config, settings, client);
    if let Cluster::Unknown(why, _) = &cluster {
        warn!("cannot determine the cluster version, so compatibility is not checked: {why}");
    }
    cluster
}

/// Requests the cluster's version, and logs nothing.
pub fn look(config: &Config, settings: &Settings, client: &Client) -> Cluster {
    let (addresses, advice) = servers(config, settings);
    let mut first_error = None;
    let mut is_answered = addresses.is_empty();
    for address in addresses.iter().take(MAX_SERVERS) {
        match ping(client, address) {
            Ok(version) => return Cluster::Runs(version, (*address).clone()),
            Err(error) => {
                is_answered |= error.is_an_answer();
                first_error = first_error.or(Some(error));
            }
        }
    }
    let reason = first_error.map_or_else(
        || "no Proxy address configured".to_string(),
        |error| error.reason(),
    );
    let reach = if is_answered {
        Reach::Unknown
    } else {
        Reach::Unreachable(reason.clone())
    };
    Cluster::Unknown(format!("{reason}. {advice}"), reach)
}

/// The servers to ask, and what to do if none of them answers: the setting `proxy`, else the Proxy that serves the release channel, else
/// those in the agent's own settings.
fn servers<'a>(config: &'a Config, settings: &'a Settings) -> (Vec<&'a Address>, String) {
    if let Some(proxy) = &config.proxy {
        (vec![proxy], "Check proxy".into())
    } else if let Some(proxy) = config.endpoint.as_ref().and_then(Endpoint::teleport_proxy) {
        (vec![proxy], "Check endpoint, or set proxy".into())
    } else {
        let advice = format!("Check proxy_server in {}, or set proxy", settings.source);
        (settings.cluster.iter().collect(), advice)
    }
}

/// Whether a Proxy belongs to the agent's cluster.
pub enum Membership {
    /// It does, or the agent's settings contain no server to compare it with.
    Same,
    /// It does not: the names of its cluster and of the agent's, and the agent's server.
    Other(String, String, Address),
    /// A server did not report the name of its cluster, for this reason.
    Unknown(String),
}

/// Whether `proxy` belongs to the agent's cluster: its host name is in the agent's settings, or the names of the clusters are equal,
/// since a Proxy may have several addresses.
pub fn membership(proxy: &Address, settings: &Settings) -> Membership {
    let servers = &settings.cluster;
    let is_proxy = |server: &Address| server.host.eq_ignore_ascii_case(&proxy.host);
    if servers.is_empty() || servers.iter().any(is_proxy) {
        return Membership::Same;
    }
    let client = Client::new(true, Patience::Run);
    let name = |server| get(&client, server, answers::cluster_name);
    let theirs = match name(proxy) {
        Ok(theirs) => theirs,
        Err(error) => return Membership::Unknown(error.reason()),
    };
    let mut problem = None;
    for server in servers.iter().take(MAX_SERVERS) {
        match name(server) {
            Ok(ours) if ours == theirs => return Membership::Same,
            Ok(ours) => return Membership::Other(theirs, ours, server.clone()),
            Err(error) => problem = problem.or(Some(error.reason())),
        }
    }
    Membership::Unknown(problem.unwrap_or_default())
}

fn ping(client: &Client, address: &Address) -> Result<Version, RequestError> {
    get(client, address, answers::cluster_version)
}

/// Gets what `parse` finds in a Proxy's `/webapi/ping`.
fn get<T>(
    client: &Client,
    address: &Address,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, RequestError> {
    let url = format!("https://{}/webapi/ping", address.in_url());
    let text = client.get(&url, address, MAX_BODY)?;
    parse(&text)
        .map_err(|problem| RequestError::invalid(&url, problem, "Check the Proxy's address"))
}
