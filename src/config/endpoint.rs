//! The address of the release channel.

use std::fmt;
use std::net::IpAddr;

use crate::system::address::{Address, HTTPS};
use crate::system::text::printable;

/// The address of a release channel: `https://HOST[:PORT]/PATH`, or plain HTTP to localhost. Displayed in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    is_secure: bool,
    server: Address,
    /// `HOST[:PORT]/PATH`, as configured.
    rest: String,
    /// What precedes `rest` in the canonical form: `https://` if an address without a scheme would mean plain HTTP.
    scheme: &'static str,
}

impl Endpoint {
    /// Parses `host[:port]/path`. The second value is the canonical form, if the text is not in it.
    pub fn parse(text: &str, insecure: bool) -> Result<(Endpoint, Option<String>), String> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let is_secure = match scheme.as_deref() {
            Some("https") => true,
            Some("http") if insecure => false,
            Some("http") => {
                return Err("http:// is not supported: release channels must use HTTPS".into());
            }
            Some(_) => return Err(format!("\"{}\" has an unknown scheme", printable(text, 80))),
            None => !insecure,
        };
        let trimmed = rest.trim_end_matches('/');
        let rest = trimmed
            .strip_suffix("/version")
            .unwrap_or(trimmed)
            .trim_end_matches('/');
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~/:[]%+=,".contains(c);
        if !rest.chars().all(allowed) {
            return Err(format!(
                "\"{}\" contains invalid characters",
                printable(rest, 80)
            ));
        }
        let host = rest.split('/').next().unwrap_or_default();
        let server = Address::parse(host, if is_secure { HTTPS } else { 80 })?;
        if !is_secure && !is_loopback(&server.host) {
            return Err(format!(
                "insecure is enabled, which allows plain HTTP to this host only, not to {}",
                server.host
            ));
        }
        let endpoint = Endpoint {
            is_secure,
            server,
            rest: rest.to_string(),
            scheme: if insecure && is_secure {
                "https://"
            } else {
                ""
            },
        };
        let canonical = Some(endpoint.to_string()).filter(|canonical| canonical != text);
        Ok((endpoint, canonical))
    }

    /// The address of a file of the channel, such as `version`.
    pub fn file(&self, name: &str) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}/{name}", self.rest)
    }

    /// The server of the channel.
    pub fn server(&self) -> &Address {
        &self.server
    }

    /// The Teleport Proxy that serves the channel, if a Proxy does.
    pub fn teleport_proxy(&self) -> Option<&Address> {
        let (_, path) = self.rest.split_once('/').filter(|_| self.is_secure)?;
        let path = path.strip_prefix("v1/").unwrap_or(path);
        path.starts_with("webapi/automaticupgrades/channel/")
            .then_some(&self.server)
    }

    /// Whether the channel uses HTTPS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.scheme, self.rest)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_spellings() {
        for (text, insecure, expected) in [
            (
                "example.com/current",
                false,
                Ok("https://example.com/current/version"),
            ),
            ("example.com", false, Ok("https://example.com/version")),
            (
                "https://example.com/current/",
                false,
                Ok("https://example.com/current/version"),
            ),
            (
                "https://example.com/current/version",
                false,
                Ok("https://example.com/current/version"),
            ),
            (
                "example.com:3080/v1/webapi/automaticupgrades/channel/default",
                false,
                Ok("https://example.com:3080/v1/webapi/automaticupgrades/channel/default/version"),
            ),
            (
                "[2001:db8::1]:8443/x",
                false,
                Ok("https://[2001:db8::1]:8443/x/version"),
            ),
            (
                "localhost:8080/x",
                true,
                Ok("http://localhost:8080/x/version"),
            ),
            ("http://127.0.0.1/x", true, Ok("http://127.0.0.1/x/version")),
            ("[::1]:80/x", true, Ok("http://[::1]:80/x/version")),
            (
                "http://example.com/x",
                false,
                Err("http:// is not supported"),
            ),
            ("http://localhost/x", false, Err("http:// is not supported")),
            (
                "https://localhost/x",
                true,
                Ok("https://localhost/x/version"),
            ),
            (
                "HTTPS://example.com/x",
                false,
                Ok("https://example.com/x/version"),
            ),
            (
                "example.com/x",
                true,
                Err(
                    "insecure is enabled, which allows plain HTTP to this host only, not to example.com",
                ),
            ),
            (
                "localhost.example.com/x",
                true,
                Err("to this host only, not to localhost.example.com"),
            ),
            ("ftp://example.com/x", false, Err("unknown scheme")),
            (
                "user@example.com/x",
                false,
                Err("contains invalid characters"),
            ),
            ("example.com/x?y", false, Err("contains invalid characters")),
            ("example.com/x y", false, Err("contains invalid characters")),
            (
                "example.com:port/x",
                false,
                Err("is not a valid host[:port]"),
            ),
            (
                "example.com:99999/x",
                false,
                Err("is not a valid host[:port]"),
            ),
            ("/current", false, Err("is not a valid host[:port]")),
            (":443/x", false, Err("is not a valid host[:port]")),
            ("https://", false, Err("is not a valid host[:port]")),
        ] {
            match (Endpoint::parse(text, insecure), expected) {
                (Ok((endpoint, _)), Ok(address)) => {
                    assert_eq!(endpoint.file("version"), address, "{text}")
                }
                (Err(problem), Err(part)) => assert!(problem.contains(part), "{text}: {problem}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn other_spellings_have_a_canonical_form() {
        let canonical = |text| Endpoint::parse(text, false).unwrap().1;
        assert_eq!(canonical("example.com/current"), None);
        for text in [
            "https://example.com/current",
            "example.com/current/",
            "example.com/current/version",
        ] {
            assert_eq!(
                canonical(text).as_deref(),
                Some("example.com/current"),
                "{text}"
            );
        }
        let insecure = |text: &str| Endpoint::parse(text, true).unwrap();
        let (secure, canonical) = insecure("HTTPS://localhost/x/");
        assert_eq!(canonical.as_deref(), Some("https://localhost/x"));
        assert_eq!(insecure(&secure.to_string()), (secure, None));
        assert_eq!(
            insecure("http://localhost/x").1.as_deref(),
            Some("localhost/x")
        );
    }

    #[test]
    fn a_proxys_own_channel_is_recognized_by_its_path() {
        for (text, expected) in [
            (
                "p.example.com/v1/webapi/automaticupgrades/channel/default",
                Some("p.example.com:443"),
            ),
            (
                "p.example.com:3080/webapi/automaticupgrades/channel/stable/cloud",
                Some("p.example.com:3080"),
            ),
            (
                "p.example.com/x/webapi/automaticupgrades/channel/default",
                None,
            ),
            ("updates.example.com/v1/stable/cloud", None),
            ("p.example.com", None),
        ] {
            let proxy = Endpoint::parse(text, false)
                .unwrap()
                .0
                .teleport_proxy()
                .map(|proxy| proxy.to_string());
            assert_eq!(proxy.as_deref(), expected, "{text}");
        }
        let plain = Endpoint::parse(
            "localhost:8080/webapi/automaticupgrades/channel/default",
            true,
        )
        .unwrap()
        .0;
        assert_eq!(plain.teleport_proxy(), None, "a Proxy always uses TLS");
    }
}
