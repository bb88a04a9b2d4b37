//! The HTTP client's errors, in words for operators.

use std::io;

use ureq::http::StatusCode;
use ureq::{Error, Timeout};

use crate::server::http::error::{CHECK_ENDPOINT, Problem};
use crate::server::http::tls;
use crate::system::text::{io_problem, printable};

/// What to do about a web proxy that cannot be used.
pub const CHECK_PROXY: &str = "Check HTTPS_PROXY in /etc/default/teleport or in this shell";

/// Explains an error. Before the server is reached, it is the web proxy's, if there is one.
pub fn explain(error: Error, proxy: Option<&str>) -> Problem {
    let Some(proxy) = proxy else {
        return explain_direct(error);
    };
    let unreachable = |what: &str| Problem::Unreachable(what.to_string());
    match error {
        Error::ConnectProxyFailed(what) => match proxy_status(&what) {
            Some(status) if status.is_client_error() => Problem::Permanent(
                format!("the proxy {proxy} denied the request: {status}"),
                CHECK_PROXY,
            ),
            Some(status) => Problem::Unreachable(format!("proxy returned {status}")),
            None => unreachable("invalid response from proxy"),
        },
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => unreachable("proxy timed out"),
        Error::HostNotFound => unreachable("cannot resolve the proxy's host name"),
        Error::Io(error) if is_lookup(&error) => {
            unreachable("cannot resolve the proxy's host name")
        }
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            unreachable("proxy refused the connection")
        }
        other => explain_direct(other),
    }
}

/// The status in `proxy server responded 407/407`.
fn proxy_status(what: &str) -> Option<StatusCode> {
    what.rsplit('/').next()?.parse().ok()
}

fn explain_direct(error: Error) -> Problem {
    let permanent = |what: String| Problem::Permanent(what, CHECK_ENDPOINT);
    if let Some(tls) = tls::error_in(&error) {
        return tls::explain(tls);
    }
    match error {
        Error::Io(error) => Problem::Unreachable(explain_io(&error)),
        Error::Timeout(phase) => Problem::Unreachable(format!("timed out ({})", phase_name(phase))),
        Error::HostNotFound => Problem::Unreachable("cannot resolve host name".into()),
        Error::ConnectionFailed => Problem::Unreachable("connection failed".into()),
        Error::TooManyRedirects => permanent("too many redirects".into()),
        Error::RequireHttpsOnly(_) => permanent("redirected to a non-HTTPS URL".into()),
        Error::BodyExceedsLimit(limit) => {
            permanent(format!("response larger than {} KiB", limit / 1024))
        }
        Error::LargeResponseHeader(..) => permanent("response header larger than 16 KiB".into()),
        other => permanent(format!(
            "invalid response ({})",
            printable(&other.to_string(), 120)
        )),
    }
}

fn explain_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => "connection reset".into(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "timed out".into(),
        _ if is_lookup(error) => "cannot resolve host name".into(),
        _ => printable(&io_problem(error), 120),
    }
}

/// Whether DNS had no answer, for which the standard library has no error kind.
fn is_lookup(error: &io::Error) -> bool {
    error.to_string().contains("lookup address")
}

fn phase_name(phase: Timeout) -> &'static str {
    match phase {
        Timeout::Resolve => "DNS lookup",
        Timeout::Connect => "connecting",
        _ => "waiting for a response",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_have_no_number() {
        let error = io::Error::from_raw_os_error(nix::libc::ENETUNREACH);
        assert_eq!(explain_io(&error), "network is unreachable");
    }
}
