//! The certificates of the test servers: one authority a test process, and certificates good and bad.

use super::server::NAMES;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::{Arc, OnceLock};

/// What a server shows when it is asked who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cert {
    /// Signed by the authority that hosts trust, for the server's names and this century.
    Good,
    /// Good, until the year 2001.
    Expired,
    /// Good, from the year 2090 on.
    NotYetValid,
    /// Signed by itself, so by nobody whom hosts trust.
    SelfSigned,
    /// Good, but for `other.example.org`.
    OtherName,
}

/// The certificate of the authority that every host trusts, as PEM.
pub fn authority() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| issuer().pem())
}

/// A good certificate and its key, as PEM, for a server that is a program of its own.
pub fn pem() -> (String, String) {
    let (certificate, key) = made(Cert::Good);
    (certificate.pem(), key.serialize_pem())
}

/// How a server with this certificate speaks TLS 1.2 and 1.3.
pub fn server_config(cert: Cert) -> Arc<ServerConfig> {
    let (certificate, key) = made(cert);
    let chain = vec![CertificateDer::from(certificate)];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

fn made(cert: Cert) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = match cert {
        Cert::OtherName => vec!["other.example.org".into()],
        _ => NAMES.iter().map(|(name, _)| (*name).into()).chain(["localhost".into(), "127.0.0.1".into()]).collect(),
    };
    let mut params = CertificateParams::new(names).unwrap();
    (params.not_before, params.not_after) = match cert {
        Cert::Expired => (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1)),
        Cert::NotYetValid => (date_time_ymd(2090, 1, 1), date_time_ymd(2099, 1, 1)),
        _ => (date_time_ymd(2000, 1, 1), date_time_ymd(2099, 1, 1)),
    };
    let signed = match cert {
        Cert::SelfSigned => params.self_signed(&key),
        _ => params.signed_by(&key, issuer()),
    };
    (signed.unwrap(), key)
}

fn issuer() -> &'static CertifiedIssuer<'static, KeyPair> {
    static ISSUER: OnceLock<CertifiedIssuer<KeyPair>> = OnceLock::new();
    ISSUER.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test Authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2099, 1, 1));
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    })
}
