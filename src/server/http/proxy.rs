//! Web proxies: `HTTPS_PROXY` and `NO_PROXY`, by the rules of Go, since Teleport reads the same `/etc/default/teleport`.

use std::env;
use std::net::IpAddr;

/// The proxy for HTTPS to `host:port`, from the environment.
pub fn for_https(host: &str, port: u16) -> Option<String> {
    let set = |names: [&str; 2]| {
        names
            .iter()
            .find_map(|name| env::var(name).ok().filter(|value| !value.trim().is_empty()))
    };
    let proxy = set(["HTTPS_PROXY", "https_proxy"])?;
    let exceptions = set(["NO_PROXY", "no_proxy"]).unwrap_or_default();
    (!is_exempt(host, port, &exceptions)).then(|| proxy.trim().to_string())
}

/// Whether `NO_PROXY`, a list such as `localhost,.example.com,10.0.0.0/8`, contains this server.
pub fn is_exempt(host: &str, port: u16, exceptions: &str) -> bool {
    let bare = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase();
    let address = bare.parse::<IpAddr>().ok();
    if bare == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    exceptions
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            entry == "*"
                || match address {
                    Some(address) => covers_address(entry, address, port),
                    None => covers_name(&entry.to_ascii_lowercase(), &bare, port),
                }
        })
}

/// `example.com` covers itself and its subdomains, `.example.com` only its subdomains; either may have a port.
fn covers_name(entry: &str, host: &str, port: u16) -> bool {
    let (name, only) = entry
        .rsplit_once(':')
        .map_or((entry, None), |(name, port)| {
            (name, port.parse::<u16>().ok())
        });
    let name = name.strip_prefix('*').unwrap_or(name);
    let below = |suffix: &str| {
        host.strip_suffix(suffix)
            .is_some_and(|rest| !rest.is_empty() && rest.ends_with('.'))
    };
    let covered = match name.strip_prefix('.') {
        Some(suffix) => below(suffix),
        None => host == name || below(name),
    };
    covered && only.is_none_or(|only| only == port)
}

/// `10.0.0.1`, `10.0.0.1:8080`, `[::1]:8080` or `10.0.0.0/8`.
fn covers_address(entry: &str, address: IpAddr, port: u16) -> bool {
    if let Some((network, bits)) = entry.split_once('/') {
        let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
            return false;
        };
        return same_network(network, address, bits);
    }
    if let Ok(socket) = entry.parse::<std::net::SocketAddr>() {
        return socket.ip() == address && socket.port() == port;
    }
    entry.trim_start_matches('[').trim_end_matches(']').parse() == Ok(address)
}

fn same_network(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    let (one, other, width) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (u128::from(one.to_bits()), u128::from(other.to_bits()), 32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    bits <= width && (one ^ other).checked_shr(width - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_by_the_rules_of_go() {
        for (host, exceptions, expected) in [
            ("releases.example.com", "", false),
            ("releases.example.com", "*", true),
            ("releases.example.com", "example.com", true),
            ("releases.example.com", ".example.com", true),
            ("releases.example.com", "*.example.com", true),
            ("example.com", "example.com", true),
            ("example.com", ".example.com", false),
            ("notexample.com", "example.com", false),
            ("releases.example.com", "a.org , Releases.Example.Com", true),
            ("releases.example.com", "example.com:443", true),
            ("releases.example.com", "example.com:8443", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3:443", true),
            ("10.1.2.3", "10.1.2.3:80", false),
            ("[2001:db8::1]", "2001:db8::/32", true),
            ("[2001:db8::1]", "10.0.0.0/8", false),
            ("localhost", "", true),
            ("127.0.0.1", "", true),
        ] {
            assert_eq!(
                is_exempt(host, 443, exceptions),
                expected,
                "{host} with NO_PROXY={exceptions}"
            );
        }
    }
}
