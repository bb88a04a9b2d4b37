//! The release channel: its files `version`, `critical` and `rollout`.

use log::warn;
use ureq::http::StatusCode;

use crate::config::endpoint::Endpoint;
use crate::server::answers::{self, Percentage, Target};
use crate::server::http::Client;
use crate::server::http::error::RequestError;

/// Far more than a version needs.
const MAX_BODY: u64 = 1024;

/// What to do about a percentage that cannot be used.
const PUBLISH_PERCENTAGE: &str =
    "Publish a number from 0 to 100 there, or make the server return 404 Not Found";

/// A release channel.
pub struct Channel<'a> {
    endpoint: &'a Endpoint,
    client: &'a Client,
}

impl<'a> Channel<'a> {
    /// The channel at `endpoint`. Nothing is requested yet.
    pub fn new(endpoint: &'a Endpoint, client: &'a Client) -> Channel<'a> {
        Channel { endpoint, client }
    }

    /// Requests the target version.
    pub fn target(&self) -> Result<Target, RequestError> {
        let text = self.get("version")?;
        answers::target(&text).map_err(|(problem, remedy)| {
            RequestError::invalid(&self.endpoint.file("version"), problem, remedy)
        })
    }

    /// Requests whether the target version is critical. An invalid answer is not.
    pub fn critical(&self) -> Result<bool, RequestError> {
        let text = self.get("critical")?;
        Ok(answers::is_critical(&text).unwrap_or_else(|| {
            warn!(
                "{}: invalid value (expected yes or no); treated as no",
                self.endpoint.file("critical")
            );
            false
        }))
    }

    /// Requests the percentage of the hosts that the target version is for: all of them if there is no such file.
    pub fn percentage(&self) -> Percentage {
        let (problem, advice) = match self.get("rollout") {
            Ok(text) => match answers::percentage(&text) {
                Some(percent) => return Percentage::Known(percent),
                None => {
                    let file = self.endpoint.file("rollout");
                    let problem = format!("{file}: invalid value (expected 0 to 100)");
                    (problem, PUBLISH_PERCENTAGE)
                }
            },
            Err(error) if error.status().is_some_and(|status| self.is_missing(status)) => {
                return Percentage::Known(100.0);
            }
            Err(error) if error.is_temporary() => (error.reason(), "Will retry at the next check"),
            Err(error) => (error.reason(), PUBLISH_PERCENTAGE),
        };
        warn!("{problem}. The upgrade waits. {advice}");
        Percentage::Unknown(problem)
    }

    /// Whether the status means that the channel has no such file. A Teleport Proxy calls every request a bad one that is not for
    /// `version` or `critical`.
    fn is_missing(&self, status: StatusCode) -> bool {
        let is_proxy = self.endpoint.teleport_proxy().is_some();
        status == StatusCode::NOT_FOUND || status == StatusCode::BAD_REQUEST && is_proxy
    }

    fn get(&self, name: &str) -> Result<String, RequestError> {
        self.client
            .get(&self.endpoint.file(name), self.endpoint.server(), MAX_BODY)
    }
}
