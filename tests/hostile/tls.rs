//! Certificates that must not be trusted, and TLS that must not be spoken.

use super::Case;
use host::{Cert, Response, Stage, authority, authority_key};
use std::fs;

const UP: &str = "an upgrade is available (14.3.33 -> 14.3.34)|is pending: ";
const UNKNOWN: &str =
    "the server's certificate is signed by an unknown CA|Add the CA to the system trust store";

pub fn cases() -> Vec<Case> {
    [certificates(), protocols()]
        .into_iter()
        .flatten()
        .collect()
}

fn case(name: &'static str, status: i32, says: &'static str, set: fn(&mut Stage)) -> Case {
    Case {
        name,
        status,
        says,
        set,
    }
}

fn certificates() -> Vec<Case> {
    vec![
        case(
            "certificate: expired",
            1,
            "expired on 2001-01-01 00:00 UTC (this host's time: 20",
            |stage| {
                stage.releases.set_cert(Cert::Expired);
            },
        ),
        case(
            "certificate: not valid yet",
            1,
            "is not valid before 2090-01-01 00:00 UTC",
            |stage| {
                stage.releases.set_cert(Cert::NotYetValid);
            },
        ),
        case("certificate: self-signed", 1, UNKNOWN, |stage| {
            stage.releases.set_cert(Cert::SelfSigned)
        }),
        case(
            "certificate: for another name",
            1,
            "the server's certificate is not valid for ",
            |stage| stage.releases.set_cert(Cert::OtherName),
        ),
        case(
            "certificate: its name in the subject alone",
            1,
            "the server's certificate is not valid for ",
            |stage| {
                stage.releases.set_cert(Cert::NameInSubject);
            },
        ),
        case(
            "certificate: for any name below the domain",
            0,
            UP,
            |stage| stage.releases.set_cert(Cert::Wildcard),
        ),
        case(
            "certificate: the same, and the name is two below",
            1,
            "the server's certificate is not valid for ",
            |stage| {
                stage.releases.set_cert(Cert::Wildcard);
                stage.write(
                    "/etc/hosts",
                    "127.0.0.1 a.b.example.com\n127.0.0.2 apt.example.com\n",
                );
                stage.configure("endpoint", "a.b.example.com/current");
            },
        ),
        case(
            "certificate: the address is not in it",
            1,
            "the server's certificate is not valid for ",
            |stage| {
                stage.releases.set_cert(Cert::Wildcard);
                stage.configure("endpoint", "127.0.0.1/current");
            },
        ),
        case(
            "certificate: for clients",
            1,
            "has no serverAuth usage",
            |stage| stage.releases.set_cert(Cert::ForClients),
        ),
        case(
            "certificate: that of an authority",
            1,
            "is a CA certificate",
            |stage| {
                stage.releases.set_cert(Cert::Authority);
            },
        ),
        case("certificate: with the one between", 0, UP, |stage| {
            stage.releases.set_cert(Cert::Chain)
        }),
        case(
            "certificate: without the one between",
            1,
            UNKNOWN,
            |stage| stage.releases.set_cert(Cert::IncompleteChain),
        ),
        case(
            "certificate: the one between has expired",
            1,
            "expired on 2001-01-01",
            |stage| {
                stage.releases.set_cert(Cert::ChainExpired);
            },
        ),
        case(
            "certificate: the one between is no authority",
            1,
            "the server's certificate is",
            |stage| {
                stage.releases.set_cert(Cert::ChainOfALeaf);
            },
        ),
        case(
            "certificate: the one between is for other names",
            1,
            "the server's certificate is",
            |stage| {
                stage.releases.set_cert(Cert::ChainForOthers);
            },
        ),
        case(
            "certificate: one more between than allowed",
            1,
            "the server's certificate is",
            |stage| {
                stage.releases.set_cert(Cert::ChainTooLong);
            },
        ),
        case(
            "certificate: its authority was removed from the store",
            1,
            UNKNOWN,
            |stage| {
                let store = "/etc/ssl/certs/ca-certificates.crt";
                let text = fs::read_to_string(stage.path(store)).unwrap();
                stage.write(store, text.replace(authority(), ""));
            },
        ),
        case(
            "certificate: there is no store at all",
            1,
            "no trusted CA certificates found",
            |stage| {
                stage.shell("rm -rf \"$root/etc/ssl/certs\"");
            },
        ),
        case("certificate: the store is nonsense", 1, UNKNOWN, |stage| {
            stage.write(
                "/etc/junk.pem",
                "-----BEGIN CERTIFICATE-----\n\u{1b}[31m\n-----END CERTIFICATE-----\n",
            );
            stage.env("SSL_CERT_FILE", "/etc/junk.pem");
        }),
        case(
            "certificate: signed with SHA-1",
            1,
            "uses a weak or unsupported signature algorithm",
            |stage| openssl(stage, "ec", "-sha1", &["-cipher", "DEFAULT@SECLEVEL=0"]),
        ),
        case(
            "certificate: an RSA key of 1024 bits",
            1,
            "has an invalid signature or a weak key",
            |stage| {
                openssl(
                    stage,
                    "rsa:1024",
                    "-sha256",
                    &["-cipher", "DEFAULT@SECLEVEL=0"],
                );
            },
        ),
        case("certificate: an RSA key of 2048 bits", 0, UP, |stage| {
            openssl(stage, "rsa:2048", "-sha256", &[])
        }),
    ]
}

fn protocols() -> Vec<Case> {
    const OLD: &str = "no common TLS version";
    const WEAK: &str = "no common cipher suite";
    vec![
        case("tls: 1.0", 1, OLD, |stage| {
            openssl(
                stage,
                "rsa:2048",
                "-sha256",
                &["-tls1", "-cipher", "ALL@SECLEVEL=0"],
            )
        }),
        case("tls: 1.1", 1, OLD, |stage| {
            openssl(
                stage,
                "rsa:2048",
                "-sha256",
                &["-tls1_1", "-cipher", "ALL@SECLEVEL=0"],
            )
        }),
        case("tls: 1.2", 0, UP, |stage| {
            openssl(stage, "rsa:2048", "-sha256", &["-tls1_2"])
        }),
        case("tls: 1.3", 0, UP, |stage| {
            openssl(stage, "rsa:2048", "-sha256", &["-tls1_3"])
        }),
        case("tls: 1.2 with CBC alone", 1, WEAK, |stage| {
            openssl(
                stage,
                "rsa:2048",
                "-sha256",
                &[
                    "-tls1_2",
                    "-cipher",
                    "ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA",
                ],
            );
        }),
        case("tls: 1.2 without forward secrecy", 1, WEAK, |stage| {
            openssl(
                stage,
                "rsa:2048",
                "-sha256",
                &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
            );
        }),
        case("tls: 1.2 without encryption", 1, WEAK, |stage| {
            openssl(
                stage,
                "rsa:2048",
                "-sha256",
                &["-tls1_2", "-cipher", "NULL-SHA256@SECLEVEL=0"],
            );
        }),
        case("tls: 1.2 without a certificate", 1, WEAK, |stage| {
            openssl(
                stage,
                "rsa:2048",
                "-sha256",
                &["-tls1_2", "-cipher", "ADH-AES128-GCM-SHA256@SECLEVEL=0"],
            );
        }),
        case(
            "tls: wants a certificate of ours",
            1,
            "TLS handshake failed",
            |stage| openssl(stage, "rsa:2048", "-sha256", &["-Verify", "1"]),
        ),
        case(
            "tls: a server of before 2011 is not asked for less",
            75,
            "",
            |stage| {
                // What closes at a greeting that it does not know must not be greeted in an older way.
                stage.releases.stop();
                stage.keep(host::stage::bare(
                    &stage.network,
                    "127.0.0.1:443",
                    |mut stream| {
                        let mut greeting = [0; 5];
                        let _ = std::io::Read::read_exact(&mut stream, &mut greeting);
                        assert!(
                            greeting[0] == 22 && greeting[1] == 3,
                            "a greeting of TLS: {greeting:?}"
                        );
                    },
                ));
            },
        ),
        case(
            "tls: the answer comes without an end of the session",
            0,
            UP,
            |stage| {
                stage.releases.route(
                    "/current/version",
                    Response::ok("14.3.34\n").header("Connection", "close"),
                );
            },
        ),
    ]
}

/// Has OpenSSL serve the channel, with a key of this kind and a certificate of the trusted authority that is signed in this way.
fn openssl(stage: &mut Stage, key: &str, digest: &str, options: &[&str]) {
    let directory = stage.directory().to_path_buf();
    fs::create_dir(directory.join("current")).unwrap();
    // OpenSSL serves a file with the head of the answer in it.
    for (name, body) in [("version", "14.3.34"), ("critical", "no")] {
        let answer = format!(
            "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}\n",
            body.len() + 1
        );
        fs::write(directory.join("current").join(name), answer).unwrap();
    }
    fs::write(directory.join("ca.pem"), authority()).unwrap();
    fs::write(directory.join("ca.key"), authority_key()).unwrap();
    let key = if key == "ec" {
        "ec -pkeyopt ec_paramgen_curve:P-256".to_string()
    } else {
        key.to_string()
    };
    stage.shell(&format!(
        "cd '{}'; exec 2>&1
         openssl req -new -nodes -newkey {key} -subj /CN=releases.example.com -keyout key.pem -out csr.pem
         echo 'subjectAltName=DNS:releases.example.com' >ext
         openssl x509 -req {digest} -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 100 -extfile ext -out cert.pem",
        directory.display()
    ));
    stage.openssl(&[&["-cert", "cert.pem", "-key", "key.pem"], options].concat());
}
