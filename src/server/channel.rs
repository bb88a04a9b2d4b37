//! The release channel: its files `version` and `critical`.

use log::warn;

use crate::config::endpoint::Endpoint;
use crate::server::answers::{self, Target};
use crate::server::http::Client;
use crate::server::http::error::RequestError;

/// Far more than a version needs.
const MAX_BODY: u64 = 1024;

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

    fn get(&self, name: &str) -> Result<String, RequestError> {
        self.client
            .get(&self.endpoint.file(name), self.endpoint.server(), MAX_BODY)
    }
}
