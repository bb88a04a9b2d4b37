//! An HTTPS client that is bounded in time and size, and retries where that may help.

pub mod error;
mod explain;
pub mod proxy;
mod tls;

use std::cell::OnceCell;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use log::debug;
use ureq::http::StatusCode;
use ureq::http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Proxy, RequestBuilder};

use crate::system::address::Address;
use error::{CHECK_ENDPOINT, Problem, RequestError};
use explain::CHECK_PROXY;
use tls::TrustStore;

/// The timeout for DNS, connecting and the TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// The timeout for a whole request, redirects included.
const RESPONSE: Duration = Duration::from_secs(10);
/// The pauses between the tries of a run.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
const REDIRECTS: u32 = 3;
/// Enough for a response's header with its cookies.
const MAX_HEADER: usize = 16 * 1024;

/// How long to wait for servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as an upgrade is worth, with retries.
    Run,
    /// Until then, since a user waits at a terminal.
    Until(Instant),
}

impl Patience {
    fn timeout(self) -> Duration {
        match self {
            Patience::Run => RESPONSE,
            // Zero would mean no timeout.
            Patience::Until(then) => then
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1)),
        }
    }

    fn pauses(self) -> &'static [Duration] {
        match self {
            Patience::Run => &PAUSES,
            Patience::Until(_) => &[],
        }
    }
}

/// An HTTP client that reuses its connections.
pub struct Client {
    agent: Agent,
    /// One that trusts the whole trust store, once that was needed.
    wider: OnceCell<Agent>,
    is_secure: bool,
    patience: Patience,
}

impl Client {
    /// A client for HTTPS or, if not `is_secure`, for plain HTTP. Nothing is requested yet.
    pub fn new(is_secure: bool, patience: Patience) -> Client {
        Client {
            agent: agent(is_secure, TrustStore::File),
            wider: OnceCell::new(),
            is_secure,
            patience,
        }
    }

    /// Whether it uses HTTPS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Gets a text of at most `max_body` bytes at `url`, which is on `server`. Retries temporary failures.
    pub fn get(&self, url: &str, server: &Address, max_body: u64) -> Result<String, RequestError> {
        let configured = proxy::for_https(&server.host, server.port).filter(|_| self.is_secure);
        let Ok(proxy) = configured.as_deref().map(Proxy::new).transpose() else {
            let problem = "HTTPS_PROXY is not a valid proxy address".into();
            return Err(RequestError::invalid(url, problem, CHECK_PROXY));
        };
        let mut pauses = self.patience.pauses().iter();
        loop {
            let problem = match self.get_once(url, proxy.clone(), max_body) {
                Ok(text) => return Ok(text),
                Err(problem) => problem,
            };
            let pause = pauses.next().filter(|_| problem.is_temporary());
            let error = RequestError {
                url: url.to_string(),
                proxy: proxy.as_ref().map(shown),
                problem,
            };
            let Some(pause) = pause else {
                return Err(error);
            };
            debug!("{}; trying again in {} s", error.reason(), pause.as_secs());
            thread::sleep(*pause);
        }
    }

    /// One try; and another with the whole trust store if the server's certificate may be valid by that: its CA may be there alone, or
    /// have a newer key there under the same name.
    fn get_once(&self, url: &str, proxy: Option<Proxy>, max_body: u64) -> Result<String, Problem> {
        let get = |agent: &Agent| {
            let timeout = self.patience.timeout();
            get_in_time(agent, url, proxy.clone(), max_body, timeout)
        };
        let first = self.wider.get().unwrap_or(&self.agent);
        get(first).or_else(|failure| {
            if failure.is_certificate && self.wider.get().is_none() {
                let wider = || agent(self.is_secure, TrustStore::Whole);
                get(self.wider.get_or_init(wider)).map_err(|failure| failure.problem)
            } else {
                Err(failure.problem)
            }
        })
    }
}

/// Why a try failed, and whether it was because of the server's certificate.
struct Failure {
    problem: Problem,
    is_certificate: bool,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure {
            problem,
            is_certificate: false,
        }
    }
}

/// Gets a text within the timeout. The library's own timeouts fail with a proxy that sends one byte at a time; a thread that hangs
/// ends with this program.
fn get_in_time(
    agent: &Agent,
    url: &str,
    proxy: Option<Proxy>,
    max_body: u64,
    timeout: Duration,
) -> Result<String, Failure> {
    let request = agent
        .get(url)
        .config()
        .proxy(proxy.clone())
        .timeout_global(Some(timeout))
        .build();
    let (sender, response) = mpsc::channel();
    thread::spawn(move || {
        let proxy = proxy.as_ref().map(shown);
        let failure = |error| Failure {
            is_certificate: tls::is_certificate(&error),
            problem: explain::explain(error, proxy.as_deref()),
        };
        // After the timeout, nobody receives it.
        let _ = sender.send(get(request, max_body, failure));
    });
    response
        .recv_timeout(timeout + Duration::from_millis(500))
        .unwrap_or_else(|_| Err(Problem::Unreachable("timed out".into()).into()))
}

fn get(
    request: RequestBuilder<WithoutBody>,
    max_body: u64,
    failure: impl Fn(ureq::Error) -> Failure,
) -> Result<String, Failure> {
    let mut response = request.call().map_err(&failure)?;
    if response.status() != StatusCode::OK {
        return Err(Problem::Status(response.status()).into());
    }
    let has = |header: HeaderName| response.headers().contains_key(header);
    let has_length = has(CONTENT_LENGTH) || has(TRANSFER_ENCODING);
    let body = response
        .body_mut()
        .with_config()
        .limit(max_body)
        .read_to_vec()
        .map_err(&failure)?;
    // A truncated version is another version.
    if !has_length && !body.ends_with(b"\n") {
        let problem = "response may be truncated: no Content-Length and no trailing newline";
        return Err(Problem::Unreachable(problem.into()).into());
    }
    String::from_utf8(body)
        .map_err(|_| Problem::Permanent("response is not text".into(), CHECK_ENDPOINT).into())
}

/// A web proxy as messages show it, without a password.
fn shown(proxy: &Proxy) -> String {
    format!("{}:{}", proxy.host(), proxy.port())
}

fn agent(is_secure: bool, store: TrustStore) -> Agent {
    let mut config = Agent::config_builder()
        .https_only(is_secure)
        .timeout_connect(Some(CONNECT))
        // Plain HTTP is for localhost only, and nothing may redirect away from it.
        .max_redirects(if is_secure { REDIRECTS } else { 0 })
        .max_redirects_will_error(true)
        .http_status_as_error(false)
        .max_response_header_size(MAX_HEADER)
        // Larger, so that a header that is too large is recognized as such.
        .input_buffer_size(MAX_HEADER + 4 * 1024)
        .output_buffer_size(MAX_HEADER)
        .proxy(None)
        .user_agent(concat!("teleport-upgrade/", env!("CARGO_PKG_VERSION")));
    if is_secure {
        config = config.tls_config(tls::config(store));
    }
    config.build().new_agent()
}
