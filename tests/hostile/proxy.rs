//! A proxy in between, with credentials: it works, and what is its fault is not said of the server.

use super::Case;
use host::network::Network;
use host::stage::{bare, drip, silence};
use host::{Cert, Stage};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

const UP: &str = "an upgrade is available (14.3.33 -> 14.3.34)|is pending: ";
const THROUGH: &str = "cannot reach https://releases.example.com/current/version through the proxy proxy.example.com:3128";
/// Base64 of `alice:SECRET/1`, which HTTPS_PROXY has with `%2F`.
const CREDENTIALS: &str = "Proxy-Authorization: Basic YWxpY2U6U0VDUkVULzE=";

pub fn cases() -> Vec<Case> {
    vec![
        case("proxy: with credentials", 0, UP, |stage| {
            proxy(stage, "HTTP/1.1 200 OK\r\n\r\n", "127.0.0.1:443");
        }),
        case(
            "proxy: wants other credentials",
            1,
            "the proxy proxy.example.com:3128 denied the request: 407 Proxy Authentication Required|HTTPS_PROXY",
            |stage| {
                proxy(
                    stage,
                    "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
                    "",
                );
            },
        ),
        case(
            "proxy: does not let anybody there",
            1,
            "the proxy proxy.example.com:3128 denied the request: 403 Forbidden",
            |stage| {
                proxy(
                    stage,
                    "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\n\u{1b}[2Jx",
                    "",
                );
            },
        ),
        case(
            "proxy: cannot reach the server",
            75,
            "through the proxy proxy.example.com:3128: proxy returned 502 Bad Gateway",
            |stage| {
                proxy(
                    stage,
                    "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
                    "",
                );
            },
        ),
        case(
            "proxy: is down",
            75,
            "through the proxy proxy.example.com:3128: proxy refused the connection",
            set,
        ),
        case(
            "proxy: has no such name",
            75,
            "cannot resolve the proxy's host name",
            |stage| {
                stage.env(
                    "HTTPS_PROXY",
                    "http://alice:SECRET@no-such-proxy.example.com:3128",
                );
            },
        ),
        case(
            "proxy: its packets are dropped",
            75,
            "proxy timed out",
            |stage| {
                set(stage);
                stage.filter("tcp dport 3128 drop");
            },
        ),
        case("proxy: says nothing", 75, THROUGH, |stage| {
            set(stage);
            stage.keep(bare(&stage.network, ADDRESS, |mut stream| {
                silence(&mut stream)
            }));
        }),
        case("proxy: a byte a second", 75, THROUGH, |stage| {
            set(stage);
            let bytes = || {
                b"HTTP/1.1 200 OK\r\nX: "
                    .iter()
                    .copied()
                    .chain(std::iter::repeat(b'x'))
            };
            stage.keep(bare(&stage.network, ADDRESS, move |mut stream| {
                drip(&mut stream, bytes(), Duration::from_secs(1))
            }));
        }),
        case("proxy: a head without an end", 75, THROUGH, |stage| {
            set(stage);
            stage.keep(bare(&stage.network, ADDRESS, |mut stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
                while stream.write_all(&[b'x'; 65536]).is_ok() {}
            }));
        }),
        case("proxy: nonsense", 1, "invalid response", |stage| {
            set(stage);
            stage.keep(bare(&stage.network, ADDRESS, |mut stream| {
                let _ = stream.write_all(b"\x1b[2J SECRET\r\n\r\n");
                silence(&mut stream);
            }));
        }),
        case("proxy: closes", 75, THROUGH, |stage| {
            set(stage);
            stage.keep(bare(&stage.network, ADDRESS, drop));
        }),
        case(
            "proxy: works, and the server's certificate has expired",
            1,
            "/version: the server's certificate expired",
            |stage| {
                stage.releases.set_cert(Cert::Expired);
                proxy(stage, "HTTP/1.1 200 OK\r\n\r\n", "127.0.0.1:443");
            },
        ),
        case(
            "proxy: shows a certificate of its own",
            1,
            "signed by an unknown CA",
            |stage| {
                // It looks into what it passes on.
                let own = host::Server::https(&stage.network, "127.0.0.3:443", Cert::SelfSigned);
                stage.keep(own);
                proxy(stage, "HTTP/1.1 200 OK\r\n\r\n", "127.0.0.3:443");
            },
        ),
        case(
            "proxy: lets through, and then says nothing",
            75,
            THROUGH,
            |stage| {
                set(stage);
                stage.keep(bare(&stage.network, ADDRESS, |mut stream| {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                    silence(&mut stream);
                }));
            },
        ),
        case(
            "proxy: its address is nonsense",
            1,
            "HTTPS_PROXY is not a valid proxy address. Check HTTPS_PROXY",
            |stage| {
                stage.env("HTTPS_PROXY", "ht!tp://alice:SECRET@\u{1b}[31m");
            },
        ),
        case("proxy: is down, and not for this server", 0, UP, |stage| {
            set(stage);
            stage.env("NO_PROXY", "localhost,.example.com");
        }),
    ]
}

const ADDRESS: &str = "127.0.0.3:3128";

fn case(name: &'static str, status: i32, says: &'static str, set: fn(&mut Stage)) -> Case {
    Case {
        name,
        status,
        says,
        set,
    }
}

fn set(stage: &mut Stage) {
    stage.env(
        "HTTPS_PROXY",
        "http://alice:SECRET%2F1@proxy.example.com:3128",
    );
}

/// A proxy that answers with `head`, and then passes on to `server`, if one is named.
fn proxy(stage: &mut Stage, head: &'static str, server: &'static str) {
    set(stage);
    let network = stage.network.clone();
    stage.keep(bare(&stage.network, ADDRESS, move |stream| {
        pass_on(&network, stream, head, server)
    }));
}

fn pass_on(network: &Network, mut stream: TcpStream, head: &str, server: &str) {
    let mut asked = Vec::new();
    let lines = BufReader::new(stream.try_clone().unwrap())
        .lines()
        .map_while(Result::ok);
    asked.extend(lines.take_while(|line| !line.is_empty()));
    let expected = asked
        .first()
        .is_some_and(|line| line.starts_with("CONNECT releases.example.com:443 "));
    if !expected || !asked.iter().any(|line| line == CREDENTIALS) {
        // What the case says will not be said.
        eprintln!("the proxy was asked: {asked:?}");
        return;
    }
    let _ = stream.write_all(head.as_bytes());
    if server.is_empty() {
        return silence(&mut stream);
    }
    let Ok(mut up) = network.connect(server) else {
        return;
    };
    let (mut from, mut to) = (up.try_clone().unwrap(), stream.try_clone().unwrap());
    let back = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut stream, &mut up);
    let _ = up.shutdown(std::net::Shutdown::Both);
    let _ = back.join();
}
