//! TLS: the system's trust store, and what can be wrong with a server's certificate.

use std::env;
use std::sync::Arc;

use chrono::DateTime;
use log::warn;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use rustls_native_certs::CertificateResult;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use crate::server::http::error::Problem;
use crate::system::text::{printable, without_numbers};

/// Which part of the system's trust store to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustStore {
    /// The file that has all CAs, almost always.
    File,
    /// The directories beside it too, in which a few hosts have more, and which contain hundreds of CAs a second time.
    Whole,
}

/// The CAs in the system's trust store, or in `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn authorities(store: TrustStore) -> CertificateResult {
    let file = openssl_probe::probe().cert_file;
    let is_overridden = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| env::var_os(name).is_some());
    if store == TrustStore::File && file.is_some() && !is_overridden {
        let loaded = rustls_native_certs::load_certs_from_paths(file.as_deref(), None);
        if !loaded.certs.is_empty() {
            return loaded;
        }
    }
    rustls_native_certs::load_native_certs()
}

/// TLS that trusts the CAs of the system.
pub fn config(store: TrustStore) -> TlsConfig {
    let loaded = authorities(store);
    for error in &loaded.errors {
        let error = without_numbers(&error.to_string());
        warn!("some CA certificates could not be loaded: {error}");
    }
    if loaded.certs.is_empty() {
        warn!(
            "no trusted CA certificates found. Install ca-certificates, or correct SSL_CERT_FILE if it is set"
        );
    }
    let roots: Vec<_> = loaded
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

/// The TLS error in an error of the HTTP client.
pub fn error_in(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(tls) => Some(tls),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// Whether a server's certificate was not accepted.
pub fn is_certificate(error: &ureq::Error) -> bool {
    matches!(error_in(error), Some(rustls::Error::InvalidCertificate(_)))
}

/// Explains why there is no TLS connection.
pub fn explain(error: &rustls::Error) -> Problem {
    use PeerIncompatible as P;
    const SERVER: &str = "Fix the server's TLS configuration";
    let what = match error {
        rustls::Error::InvalidCertificate(error) => {
            let (what, remedy) = explain_certificate(error);
            return Problem::Permanent(format!("the server's certificate {what}"), remedy);
        }
        rustls::Error::PeerIncompatible(
            P::ServerTlsVersionIsDisabledByOurConfig | P::ServerDoesNotSupportTls12Or13,
        )
        | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "no common TLS version (1.2 or later required)".into()
        }
        rustls::Error::PeerIncompatible(
            P::NoCipherSuitesInCommon | P::NoKxGroupsInCommon | P::NoSignatureSchemesInCommon,
        )
        | rustls::Error::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
        ) => "no common cipher suite, or the server requires a client certificate".into(),
        rustls::Error::InvalidMessage(_) => "not a TLS server".into(),
        other => format!(
            "TLS handshake failed ({})",
            printable(&other.to_string(), 120)
        ),
    };
    Problem::Permanent(what, SERVER)
}

fn explain_certificate(error: &CertificateError) -> (String, &'static str) {
    use CertificateError as C;
    const RENEW: &str = "Renew it, or fix the clock";
    const CLOCK: &str = "Fix the clock, or replace the certificate";
    const TRUST: &str =
        "Add the CA to the system trust store, or fix the server's certificate chain";
    const NAME: &str = "Fix the certificate or endpoint";
    const REPLACE: &str = "Replace the certificate";
    match error {
        C::ExpiredContext { time, not_after } => (
            format!(
                "expired on {} (this host's time: {})",
                minute(not_after),
                minute(time)
            ),
            RENEW,
        ),
        C::Expired => ("has expired".into(), RENEW),
        C::NotValidYetContext { time, not_before } => (
            format!(
                "is not valid before {} (this host's time: {})",
                minute(not_before),
                minute(time)
            ),
            CLOCK,
        ),
        C::NotValidYet => ("is not valid yet".into(), CLOCK),
        C::UnknownIssuer => ("is signed by an unknown CA".into(), TRUST),
        C::NotValidForNameContext {
            expected,
            presented,
        } => (
            format!(
                "is not valid for {} (valid for: {})",
                expected.to_str(),
                printable(&names(presented), 120)
            ),
            NAME,
        ),
        C::NotValidForName => ("is not valid for this host name".into(), NAME),
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            ("has no serverAuth usage".into(), REPLACE)
        }
        C::BadSignature | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            ("has an invalid signature or a weak key".into(), REPLACE)
        }
        C::UnsupportedSignatureAlgorithmContext { .. } => (
            "uses a weak or unsupported signature algorithm".into(),
            REPLACE,
        ),
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            ("is a CA certificate".into(), REPLACE)
        }
        other => (
            format!("is invalid ({})", printable(&other.to_string(), 120)),
            REPLACE,
        ),
    }
}

/// The names in a certificate, which rustls has as `DnsName("elsewhere.test")`.
fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name".into();
    }
    let bare = presented
        .iter()
        .map(|name| name.split('"').nth(1).unwrap_or(name));
    bare.collect::<Vec<_>>().join(", ")
}

fn minute(time: &UnixTime) -> String {
    let time = i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map_or("a time out of range".into(), |time| {
        time.format("%Y-%m-%d %H:%M UTC").to_string()
    })
}
