//! A bare TLS 1.3 handshake with the library that the program uses, and one trusted authority: the floor of what a run can cost.
//!
//!     handshake NAME ADDRESS AUTHORITY.pem

#![allow(
    clippy::unwrap_used,
    reason = "what goes wrong here ends it, as it should"
)]

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, address, authority] = &arguments[..] else {
        panic!("usage: handshake NAME ADDRESS AUTHORITY.pem")
    };
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority).unwrap())
        .unwrap();
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let mut connection = ClientConnection::new(
        Arc::new(config),
        ServerName::try_from(name.as_str()).unwrap().to_owned(),
    )
    .unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    connection
        .writer()
        .write_all(b"GET /current/version HTTP/1.0\r\n\r\n")
        .unwrap();
    while connection.is_handshaking() || connection.wants_write() {
        connection.complete_io(&mut socket).unwrap();
    }
    let mut answer = Vec::new();
    let _ = rustls::Stream::new(&mut connection, &mut socket).read_to_end(&mut answer);
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}
