//! The version server: a release channel's `version` and `critical`.

use log::warn;

use crate::config::endpoint::Endpoint;
use crate::server::http::{Client, Unanswered};
use crate::version::Version;

/// A version takes 10 bytes.
const MAX_BODY: u64 = 1024;

/// What the release channel wants on its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// No target at present: change nothing.
    None,
    /// This version.
    Version(Version),
}

/// A release channel, and who asks it.
pub struct Channel<'a> {
    endpoint: &'a Endpoint,
    client: &'a Client,
}

impl<'a> Channel<'a> {
    /// The channel at `endpoint`; nothing is sent yet.
    pub fn new(endpoint: &'a Endpoint, client: &'a Client) -> Channel<'a> {
        Channel { endpoint, client }
    }

    /// Asks for the target version.
    pub fn target(&self) -> Result<Target, Unanswered> {
        let text = self.ask("version")?;
        parse_target(&text).map_err(|(what, remedy)| {
            Unanswered::useless(&self.endpoint.file("version"), what, remedy)
        })
    }

    /// Asks whether the target is critical. A strange answer means that it is not.
    pub fn critical(&self) -> Result<bool, Unanswered> {
        let text = self.ask("critical")?;
        Ok(is_critical(&text).unwrap_or_else(|| {
            warn!(
                "{}: the answer is neither yes nor no, and counts as no; have the channel's \"critical\" say one of them",
                self.endpoint.file("critical")
            );
            false
        }))
    }

    /// Gets a file of the channel.
    fn ask(&self, name: &str) -> Result<String, Unanswered> {
        self.client
            .get(&self.endpoint.file(name), self.endpoint.server(), MAX_BODY)
    }
}

/// Reads the `version` file's word; else what is wrong with it, and what to do about that.
pub fn parse_target(text: &str) -> Result<Target, (String, &'static str)> {
    const REMEDY: &str = "have the channel's \"version\" name one version, or the word none";
    const LOGIN: &str =
        "check the address in the file \"endpoint\", and whether a login page stands between";
    let word = text.trim();
    if word.is_empty() {
        return Err(("the answer is empty".into(), REMEDY));
    }
    if word.starts_with('<') {
        return Err(("the answer is a web page, not a version".into(), LOGIN));
    }
    if word.eq_ignore_ascii_case("none") {
        return Ok(Target::None);
    }
    word.parse()
        .map(Target::Version)
        .map_err(|error| (format!("the answer {error}"), REMEDY))
}

/// Reads the `critical` file's word.
pub fn is_critical(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_in_all_its_spellings() {
        for text in ["yes", "true", "YES", "True", " yes\n", "tRuE\r\n"] {
            assert_eq!(is_critical(text), Some(true), "{text:?}");
        }
        for text in ["no", "false", "NO", "False\n"] {
            assert_eq!(is_critical(text), Some(false), "{text:?}");
        }
        for text in ["", "y", "1", "yes please", "<html>", "none"] {
            assert_eq!(is_critical(text), None, "{text:?}");
        }
    }
}
