//! The address of a server.

use std::fmt;

use crate::system::text::printable;

/// The port of HTTPS.
pub const HTTPS: u16 = 443;

/// A server: `HOST:PORT`, with IPv6 addresses in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host's name or address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Parses `host[:port]`.
    pub fn parse(text: &str, default_port: u16) -> Result<Address, String> {
        let invalid = |problem: &str| Err(format!("\"{}\" {problem}", printable(text, 80)));
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if !text.chars().all(allowed) {
            return invalid("contains invalid characters");
        }
        let colon = text.rfind(':').filter(|_| !text.ends_with(']'));
        let (host, port) = colon.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_host = match bracketed {
            Some(ip) => {
                ip.contains(':')
                    && ip
                        .bytes()
                        .all(|b| b.is_ascii_hexdigit() || b":.".contains(&b))
            }
            None => {
                !host.is_empty() && !host.starts_with(['.', '-']) && !host.contains([':', '[', ']'])
            }
        };
        match port.map_or(Ok(default_port), str::parse) {
            Ok(port) if is_host => Ok(Address {
                host: host.to_string(),
                port,
            }),
            _ => invalid("is not a valid host[:port]"),
        }
    }

    /// The address as part of a URL. The default port is left out, so that connections to the server can be reused.
    pub fn in_url(&self) -> String {
        if self.port == HTTPS {
            self.host.clone()
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
