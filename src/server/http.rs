//! Asks web servers: TLS with the system's trust store, bounded in time and size, again if that may help.

use std::cell::OnceCell;
use std::env;
use std::fmt;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use chrono::DateTime;
use log::{debug, warn};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use rustls_native_certs::CertificateResult;
use ureq::http::StatusCode;
use ureq::http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Proxy, RequestBuilder};

use crate::server::proxy;
use crate::system::address::Address;
use crate::system::text::{io_problem, printable, without_numbers};

/// To look the name up, connect and shake hands.
const CONNECT: Duration = Duration::from_secs(5);
/// For the whole of a question, from looking the name up to the last byte, redirects included.
const ANSWER: Duration = Duration::from_secs(10);
/// The pauses between the tries of a pass.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
const REDIRECTS: u32 = 3;
/// What is said of an answer that is an error, before its status.
const ANSWERED: &str = "the server answered with status ";
/// What comes before an answer proper, cookies and all.
const MAX_HEADER: usize = 16 * 1024;

/// How long servers are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as an upgrade is worth, and more than one try.
    Pass,
    /// Until then: somebody sits at a terminal.
    Until(Instant),
}

impl Patience {
    /// For one question.
    fn limit(self) -> Duration {
        match self {
            Patience::Pass => ANSWER,
            // Nothing at all would be taken for no limit.
            Patience::Until(then) => then
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1)),
        }
    }

    /// Between tries, when what went wrong may pass.
    fn pauses(self) -> &'static [Duration] {
        match self {
            Patience::Pass => &PAUSES,
            Patience::Until(_) => &[],
        }
    }
}

/// Asks servers, and keeps a connection for the next question to the same one.
pub struct Client {
    agent: Agent,
    /// The one that goes by the whole trust store, once that was needed.
    wider: OnceCell<Agent>,
    secure: bool,
    patience: Patience,
}

/// Which part of the system's trust store to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrustStore {
    /// The file that has all authorities, almost always.
    File,
    /// The directories beside it too, in which a few hosts have some more, and the same hundreds over again.
    Whole,
}

/// Why a server gave no usable answer.
#[derive(Debug)]
pub struct Unanswered {
    address: String,
    /// The proxy that leads there, if one does.
    proxy: Option<String>,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    /// The network or the server has a bad time; asking again later may help.
    Unreachable(String),
    /// Asking again will not help: somebody has to do something, and what.
    Lasting(String, &'static str),
}

impl Unanswered {
    /// An answer that is of no use, and what to do about that.
    pub fn useless(address: &str, what: String, remedy: &'static str) -> Unanswered {
        Unanswered {
            address: address.to_string(),
            proxy: None,
            problem: Problem::Lasting(what, remedy),
        }
    }

    /// Whether the same question may get an answer later.
    pub fn is_temporary(&self) -> bool {
        matches!(self.problem, Problem::Unreachable(_))
    }

    /// Whether somebody answered, be it to no use. A gateway that answers for a server that is gone says so by its status.
    pub fn is_an_answer(&self) -> bool {
        match &self.problem {
            Problem::Lasting(..) => true,
            Problem::Unreachable(what) => {
                let gone = [
                    StatusCode::BAD_GATEWAY,
                    StatusCode::SERVICE_UNAVAILABLE,
                    StatusCode::GATEWAY_TIMEOUT,
                ];
                what.starts_with(ANSWERED)
                    && !gone
                        .iter()
                        .any(|status| what.ends_with(&status.to_string()))
            }
        }
    }

    /// What was asked and went wrong, for one who has other advice than that in the whole message.
    pub fn reason(&self) -> String {
        match &self.problem {
            Problem::Unreachable(what) => {
                let through = self
                    .proxy
                    .as_ref()
                    .map(|proxy| format!(" through the proxy {proxy}"))
                    .unwrap_or_default();
                format!("cannot reach {}{through}: {what}", self.address)
            }
            Problem::Lasting(what, _) => format!("{}: {what}", self.address),
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.problem {
            Problem::Unreachable(_) => "the next pass tries again",
            Problem::Lasting(_, remedy) => remedy,
        };
        write!(f, "{}; {advice}", self.reason())
    }
}

impl std::error::Error for Unanswered {}

impl Client {
    /// Prepares to ask over TLS or, not `secure`, over plain http; nothing is sent yet.
    pub fn new(secure: bool, patience: Patience) -> Client {
        Client {
            agent: agent(secure, TrustStore::File),
            wider: OnceCell::new(),
            secure,
            patience,
        }
    }

    /// Whether it asks over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Gets what is at `url`, which is on `server`, if it is text of at most `most` bytes; tries again while that may help.
    pub fn get(&self, url: &str, server: &Address, most: u64) -> Result<String, Unanswered> {
        let named = proxy::for_https(&server.host, server.port).filter(|_| self.secure);
        let Ok(proxy) = named.as_deref().map(Proxy::new).transpose() else {
            return Err(Unanswered::useless(
                url,
                "HTTPS_PROXY is not the address of a proxy".into(),
                CORRECT_PROXY,
            ));
        };
        let mut pauses = self.patience.pauses().iter();
        loop {
            let problem = match self.get_once(url, proxy.clone(), most) {
                Ok(text) => return Ok(text),
                Err(problem) => problem,
            };
            match (&problem, pauses.next()) {
                (Problem::Unreachable(what), Some(pause)) => {
                    debug!("{url}: {what}; trying again in {} s", pause.as_secs());
                    thread::sleep(*pause);
                }
                _ => {
                    return Err(Unanswered {
                        address: url.to_string(),
                        proxy: proxy.as_ref().map(shown),
                        problem,
                    });
                }
            }
        }
    }

    /// One try, and once more if the server's certificate may be in order by the rest of the trust store: its authority may be there
    /// alone, or have a newer key there under the same name.
    fn get_once(&self, url: &str, proxy: Option<Proxy>, most: u64) -> Result<String, Problem> {
        let ask = |agent: &Agent| in_time(agent, url, proxy.clone(), most, self.patience.limit());
        match self.wider.get() {
            Some(wider) => ask(wider).map_err(|failure| failure.problem),
            None => ask(&self.agent).or_else(|failure| match failure.is_certificate {
                true => ask(self
                    .wider
                    .get_or_init(|| agent(self.secure, TrustStore::Whole)))
                .map_err(|failure| failure.problem),
                false => Err(failure.problem),
            }),
        }
    }
}

/// Why a try failed, and whether it was the server's certificate.
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

/// Asks within the time for it. The library's own limits do not hold for a proxy that says one byte at a time; a thread that hangs ends
/// with this program.
fn in_time(
    agent: &Agent,
    url: &str,
    proxy: Option<Proxy>,
    most: u64,
    limit: Duration,
) -> Result<String, Failure> {
    let request = agent
        .get(url)
        .config()
        .proxy(proxy.clone())
        .timeout_global(Some(limit))
        .build();
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || {
        let shown = proxy.map(|proxy| shown(&proxy));
        let explain = |error| {
            let is_certificate = is_certificate(&error);
            Failure {
                problem: explain_way(error, shown.as_deref()),
                is_certificate,
            }
        };
        // Nobody listens any more once the time is over.
        let _ = sender.send(get(request, most, explain));
    });
    let in_time = answer.recv_timeout(limit + Duration::from_millis(500));
    in_time.unwrap_or_else(|_| Err(Problem::Unreachable("no answer in time".into()).into()))
}

fn get(
    request: RequestBuilder<WithoutBody>,
    most: u64,
    explain: impl Fn(ureq::Error) -> Failure,
) -> Result<String, Failure> {
    let mut response = request.call().map_err(&explain)?;
    if response.status() != StatusCode::OK {
        return Err(explain_status(response.status()).into());
    }
    let has = |header: HeaderName| response.headers().contains_key(header);
    let says_its_length = has(CONTENT_LENGTH) || has(TRANSFER_ENCODING);
    let body = response
        .body_mut()
        .with_config()
        .limit(most)
        .read_to_vec()
        .map_err(&explain)?;
    // A version cut short is another version.
    if !says_its_length && !body.ends_with(b"\n") {
        return Err(Problem::Unreachable(
            "the answer may be cut short: it says no length and ends in no line".into(),
        )
        .into());
    }
    String::from_utf8(body)
        .map_err(|_| Problem::Lasting("the answer is not text".into(), CHECK_ENDPOINT).into())
}

/// A proxy as messages name it: what it was given may have a password in it.
fn shown(proxy: &Proxy) -> String {
    format!("{}:{}", proxy.host(), proxy.port())
}

const CORRECT_PROXY: &str = "correct HTTPS_PROXY in /etc/default/teleport, or in this shell";
const NO_PROXY_HOST: &str =
    "there is no host with the proxy's name, or the name service does not answer";
const NO_HOST: &str = "there is no such host, or the name service does not answer";
const CHECK_ENDPOINT: &str =
    "check the address in the file \"endpoint\", and what that server serves";

/// What asks servers, and goes by this part of the trust store if it does so over TLS.
fn agent(secure: bool, store: TrustStore) -> Agent {
    let config = Agent::config_builder()
        .https_only(secure)
        .timeout_connect(Some(CONNECT))
        // Plain http is for this very host; nothing may lead away from it.
        .max_redirects(if secure { REDIRECTS } else { 0 })
        .max_redirects_will_error(true)
        .http_status_as_error(false)
        .max_response_header_size(MAX_HEADER)
        // Larger, for a head that is too large to be seen as that and not as an end.
        .input_buffer_size(MAX_HEADER + 4 * 1024)
        .output_buffer_size(MAX_HEADER)
        .proxy(None)
        .user_agent(concat!("teleport-upgrade/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls(secure, store))
        .build();
    config.new_agent()
}

/// The authorities of the system's trust store, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn authorities(store: TrustStore) -> CertificateResult {
    let file = openssl_probe::probe().cert_file;
    let told = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| env::var_os(name).is_some());
    if store == TrustStore::File && file.is_some() && !told {
        let loaded = rustls_native_certs::load_certs_from_paths(file.as_deref(), None);
        if !loaded.certs.is_empty() {
            return loaded;
        }
    }
    rustls_native_certs::load_native_certs()
}

/// TLS by the system's trust store.
fn tls(needed: bool, store: TrustStore) -> TlsConfig {
    let mut roots = Vec::new();
    if needed {
        let loaded = authorities(store);
        for error in &loaded.errors {
            warn!(
                "a part of the system's trust store cannot be used: {}",
                without_numbers(&error.to_string())
            );
        }
        if loaded.certs.is_empty() {
            warn!(
                "no certificate authority is trusted; install the package ca-certificates, or correct SSL_CERT_FILE where it is set"
            );
        }
        roots = loaded
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect();
    }
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

fn explain_status(status: StatusCode) -> Problem {
    let what = format!("{ANSWERED}{status}");
    if status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
    {
        Problem::Unreachable(what)
    } else {
        Problem::Lasting(what, CHECK_ENDPOINT)
    }
}

/// What goes wrong before the server has been reached is the proxy's, where there is one.
fn explain_way(error: ureq::Error, proxy: Option<&str>) -> Problem {
    use ureq::{Error, Timeout};
    let Some(proxy) = proxy else {
        return explain(error);
    };
    let unreachable = |what: &str| Problem::Unreachable(what.to_string());
    match error {
        // "proxy server responded 407/407"
        Error::ConnectProxyFailed(what) => match what
            .rsplit('/')
            .next()
            .and_then(|status| status.parse::<u16>().ok())
        {
            Some(status @ 400..500) => {
                let what = format!(
                    "the proxy {proxy} does not let this host through: it answered with status {status}"
                );
                Problem::Lasting(what, CORRECT_PROXY)
            }
            Some(status) => {
                Problem::Unreachable(format!("the proxy answered with status {status}"))
            }
            None => unreachable("the proxy does not answer as a proxy does"),
        },
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            unreachable("the proxy does not answer in time, or passes nothing on")
        }
        Error::HostNotFound => unreachable(NO_PROXY_HOST),
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            unreachable("the proxy refuses connections")
        }
        Error::Io(error) if is_lookup(&error) => unreachable(NO_PROXY_HOST),
        other => explain(other),
    }
}

fn explain(error: ureq::Error) -> Problem {
    use ureq::Error;
    let lasting = |what: String| Problem::Lasting(what, CHECK_ENDPOINT);
    match error {
        Error::Rustls(error) => explain_tls(&error),
        Error::Io(error) => match tls_error(&error) {
            Some(tls) => explain_tls(tls),
            None => Problem::Unreachable(explain_io(&error)),
        },
        Error::Timeout(phase) => {
            Problem::Unreachable(format!("no answer in time ({})", phase_name(phase)))
        }
        Error::HostNotFound => Problem::Unreachable(NO_HOST.into()),
        Error::ConnectionFailed => Problem::Unreachable("no connection".into()),
        Error::TooManyRedirects => {
            lasting("the server sends from one address to another without end".into())
        }
        Error::RequireHttpsOnly(_) => lasting("the server sends to an address without TLS".into()),
        Error::BodyExceedsLimit(limit) => {
            lasting(format!("the answer is longer than {} KiB", limit / 1024))
        }
        Error::LargeResponseHeader(..) => {
            lasting("the answer's header is larger than 16 KiB".into())
        }
        other => lasting(format!(
            "the answer cannot be understood ({})",
            printable(&other.to_string(), 120)
        )),
    }
}

fn is_certificate(error: &ureq::Error) -> bool {
    let tls = match error {
        ureq::Error::Rustls(tls) => Some(tls),
        ureq::Error::Io(error) => tls_error(error),
        _ => None,
    };
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn explain_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection was refused".into(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            "the connection was cut".into()
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".into(),
        _ if is_lookup(error) => NO_HOST.into(),
        _ => printable(&io_problem(error), 120),
    }
}

/// Whether the name service had no answer; the standard library has no kind of its own for it.
fn is_lookup(error: &io::Error) -> bool {
    error.to_string().contains("lookup address")
}

fn phase_name(phase: ureq::Timeout) -> &'static str {
    match phase {
        ureq::Timeout::Resolve => "looking up its address",
        ureq::Timeout::Connect => "connecting",
        _ => "waiting for its answer",
    }
}

fn explain_tls(error: &rustls::Error) -> Problem {
    use CertificateError as C;
    use PeerIncompatible as P;
    const RENEW: &str = "renew it on the server, and check this host's clock";
    const CLOCK: &str = "set this host's clock if that is wrong; else give the server a certificate that is valid already";
    const TRUST: &str = "have the server send its whole chain, of an authority in this host's trust store, or add that authority there";
    const NAME: &str =
        "give the server a certificate for that name, or correct the file \"endpoint\"";
    const SERVER: &str = "have the server speak TLS 1.2 or newer with a proper certificate";
    let lasting = |what: &str, remedy| Problem::Lasting(what.into(), remedy);
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            C::ExpiredContext { time, not_after } => Problem::Lasting(
                format!(
                    "the server's certificate has expired on {}, and this host's clock says {}",
                    day(not_after),
                    day(time)
                ),
                RENEW,
            ),
            C::NotValidYetContext { time, not_before } => Problem::Lasting(
                format!(
                    "the server's certificate is not valid yet but from {}, and this host's clock says {}",
                    day(not_before),
                    day(time)
                ),
                CLOCK,
            ),
            C::Expired => lasting("the server's certificate has expired", RENEW),
            C::NotValidYet => lasting("the server's certificate is not valid yet", CLOCK),
            C::UnknownIssuer => lasting(
                "the server's certificate is signed by nobody this host trusts",
                TRUST,
            ),
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                lasting("the server's certificate is for another name", NAME)
            }
            C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
                lasting("the server's certificate is not one for servers", SERVER)
            }
            C::BadSignature | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                lasting(
                    "the signature of the server's certificate is wrong, or its key is too weak",
                    SERVER,
                )
            }
            C::UnsupportedSignatureAlgorithmContext { .. } => lasting(
                "the server's certificate is signed in a way that is too weak, or not known here",
                SERVER,
            ),
            other if other.to_string().contains("CaUsedAsEndEntity") => lasting(
                "the server's certificate is that of an authority, not of a server",
                SERVER,
            ),
            other => Problem::Lasting(
                format!(
                    "the server's certificate is not in order ({})",
                    printable(&other.to_string(), 120)
                ),
                SERVER,
            ),
        },
        rustls::Error::PeerIncompatible(
            P::ServerTlsVersionIsDisabledByOurConfig | P::ServerDoesNotSupportTls12Or13,
        )
        | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            lasting("the server speaks no version of TLS that is safe", SERVER)
        }
        rustls::Error::PeerIncompatible(
            P::NoCipherSuitesInCommon | P::NoKxGroupsInCommon | P::NoSignatureSchemesInCommon,
        )
        | rustls::Error::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
        ) => lasting(
            "the server knows no cipher, key exchange or signature that is safe, or wants a certificate of ours",
            SERVER,
        ),
        rustls::Error::InvalidMessage(_) => {
            lasting("what answers there does not speak TLS", SERVER)
        }
        other => Problem::Lasting(
            format!(
                "no secure connection ({})",
                printable(&other.to_string(), 120)
            ),
            SERVER,
        ),
    }
}

fn day(time: &UnixTime) -> String {
    let time = i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map_or("a time out of range".into(), |time| {
        time.format("%Y-%m-%d %H:%M UTC").to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_said_without_its_number() {
        assert_eq!(
            explain_io(&io::Error::from_raw_os_error(nix::libc::ENETUNREACH)),
            "network is unreachable"
        );
    }

    #[test]
    fn only_what_may_pass_is_temporary() {
        for (status, temporary) in [
            (500, true),
            (502, true),
            (503, true),
            (429, true),
            (408, true),
            (404, false),
            (403, false),
            (204, false),
        ] {
            let problem = explain_status(StatusCode::from_u16(status).unwrap());
            assert_eq!(
                matches!(problem, Problem::Unreachable(_)),
                temporary,
                "{status}"
            );
        }
    }
}
