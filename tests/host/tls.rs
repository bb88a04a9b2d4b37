//! The certificates of the test servers: one authority a test process, and certificates good and bad.

use super::server::NAMES;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, date_time_ymd,
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
    /// Good, of this year and the years around it.
    Recent,
    /// Signed by itself, so by nobody whom hosts trust.
    SelfSigned,
    /// Good, but for `other.example.org`.
    OtherName,
    /// Good, for `*.example.com`.
    Wildcard,
    /// With its name in the subject alone, where nobody looks any more.
    NameInSubject,
    /// Good, but for clients.
    ForClients,
    /// That of an authority.
    Authority,
    /// Signed by an authority below the one that hosts trust, which is sent too.
    Chain,
    /// The same, and it is not sent.
    IncompleteChain,
    /// The same as `Chain`, and what is below the trusted authority has expired.
    ChainExpired,
    /// The same as `Chain`, and what is below the trusted authority is no authority.
    ChainOfALeaf,
    /// The same as `Chain`, and what is below the trusted authority may sign for other names only.
    ChainForOthers,
    /// The authority below the trusted one may have none below it, and has.
    ChainTooLong,
}

/// The certificate of the authority that every host trusts, as PEM.
pub fn authority() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| issuer().pem())
}

/// The key of that authority, as PEM, for signatures that are not to be made here.
pub fn authority_key() -> String {
    issuer().key().serialize_pem()
}

/// A good certificate and its key, as PEM, for a server that is a program of its own.
pub fn pem() -> (String, String) {
    let (certificate, _, key) = made(Cert::Good);
    (certificate.pem(), key.serialize_pem())
}

/// How a server with this certificate speaks TLS 1.2 and 1.3.
pub fn server_config(cert: Cert) -> Arc<ServerConfig> {
    let (certificate, above, key) = made(cert);
    let chain = [vec![CertificateDer::from(certificate)], above].concat();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config =
        ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    Arc::new(config)
}

/// The certificate, those above it that are sent with it, and its key.
fn made(cert: Cert) -> (Certificate, Vec<CertificateDer<'static>>, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = match cert {
        Cert::OtherName => vec!["other.example.org".into()],
        Cert::Wildcard => vec!["*.example.com".into()],
        Cert::NameInSubject => Vec::new(),
        _ => NAMES
            .iter()
            .map(|(name, _)| (*name).into())
            .chain(["localhost".into(), "127.0.0.1".into()])
            .collect(),
    };
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, NAMES[0].0);
    (params.not_before, params.not_after) = match cert {
        Cert::Expired => (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1)),
        Cert::NotYetValid => (date_time_ymd(2090, 1, 1), date_time_ymd(2099, 1, 1)),
        Cert::Recent => (date_time_ymd(2024, 1, 1), date_time_ymd(2038, 1, 1)),
        _ => (date_time_ymd(2000, 1, 1), date_time_ymd(2099, 1, 1)),
    };
    match cert {
        Cert::ForClients => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        Cert::Authority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        _ => {}
    }
    let (signed, above) = match cert {
        Cert::SelfSigned => (params.self_signed(&key), Vec::new()),
        Cert::Chain
        | Cert::IncompleteChain
        | Cert::ChainExpired
        | Cert::ChainOfALeaf
        | Cert::ChainForOthers => {
            let between = below(issuer(), cert);
            let sent = if cert == Cert::IncompleteChain {
                Vec::new()
            } else {
                vec![between.der().clone()]
            };
            (params.signed_by(&key, &between), sent)
        }
        Cert::ChainTooLong => {
            let between = below(issuer(), cert);
            let lowest = below(&between, Cert::Chain);
            (
                params.signed_by(&key, &lowest),
                vec![lowest.der().clone(), between.der().clone()],
            )
        }
        _ => (params.signed_by(&key, issuer()), Vec::new()),
    };
    (signed.unwrap(), above, key)
}

fn issuer() -> &'static CertifiedIssuer<'static, KeyPair> {
    static ISSUER: OnceLock<CertifiedIssuer<KeyPair>> = OnceLock::new();
    ISSUER.get_or_init(|| {
        CertifiedIssuer::self_signed(
            authority_params("Test Authority"),
            KeyPair::generate().unwrap(),
        )
        .unwrap()
    })
}

/// An authority below another one, as `cert` wants it.
fn below(above: &Issuer<'static, KeyPair>, cert: Cert) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = authority_params(&format!("Test Authority Below, {cert:?}"));
    match cert {
        Cert::ChainExpired => params.not_after = date_time_ymd(2001, 1, 1),
        Cert::ChainOfALeaf => params.is_ca = IsCa::NoCa,
        Cert::ChainTooLong => params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
        Cert::ChainForOthers => {
            let permitted_subtrees = vec![GeneralSubtree::DnsName("example.org".into())];
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees,
                excluded_subtrees: Vec::new(),
            });
        }
        _ => {}
    }
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), above).unwrap()
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2099, 1, 1));
    params
}
