//! DNS, connections, and what a server says once there is a secure one.

use super::Case;
use host::stage::{bare, drip, silence};
use host::{Cert, Response, Server, Stage};
use std::io::Write;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const UP: &str = "an upgrade is available (14.3.33 -> 14.3.34)|is pending: ";
const OVER: &str =
    "cannot reach https://releases.example.com/current/version|Will retry at the next check";

pub fn cases() -> Vec<Case> {
    [
        names(),
        connections(),
        heads(),
        bodies(),
        redirects(),
        words(),
    ]
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

/// Answers the question for the version with these bytes, and ends the connection.
fn answer(stage: &Stage, bytes: impl Into<Vec<u8>>) {
    let bytes = bytes.into();
    stage
        .releases
        .raw_route("/current/version", move |_, stream| {
            let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
        });
}

/// The same without an end.
fn pour(stage: &Stage, head: &'static str, piece: Vec<u8>) {
    stage
        .releases
        .raw_route("/current/version", move |_, stream| {
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(&piece).is_ok() {}
        });
}

fn names() -> Vec<Case> {
    vec![
        case(
            "names: the name server's answers are dropped",
            75,
            OVER,
            |stage| {
                stage.dns();
                stage.filter("udp dport 53 drop");
            },
        ),
        case(
            "names: there is no name server",
            75,
            "cannot resolve host name",
            |stage| {
                stage.dns();
            },
        ),
        case(
            "names: no such host",
            75,
            "cannot resolve host name",
            |stage| {
                stage.dns();
                stage.answer_names(|question| {
                    [&question[..2], &[0x81, 0x83], &question[4..]].concat()
                });
            },
        ),
        case(
            "names: a name server that answers nonsense",
            75,
            OVER,
            |stage| {
                stage.dns();
                stage.answer_names(|question| [&question[..2], &[0xff; 600]].concat());
            },
        ),
        case("names: a name that leads to itself", 75, OVER, |stage| {
            stage.dns();
            // One answer: an alias for the name that was asked for.
            stage.answer_names(|question| {
                let asked = &question[12..];
                [
                    &question[..2],
                    &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0],
                    asked,
                    &[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12],
                ]
                .concat()
            });
        }),
    ]
}

fn connections() -> Vec<Case> {
    vec![
        case("connect: packets are dropped", 75, "timed out", |stage| {
            stage.filter("tcp dport 443 drop")
        }),
        case(
            "connect: packets are dropped after the connection is made",
            75,
            "timed out",
            |stage| {
                stage.filter("tcp dport 443 ct state established ct original packets > 2 drop");
            },
        ),
        case("connect: refused", 75, "connection refused", |stage| {
            stage.releases.stop()
        }),
        case("connect: rejected by a firewall", 75, OVER, |stage| {
            stage.filter("tcp dport 443 reject with icmp type admin-prohibited");
        }),
        case(
            "connect: no route",
            75,
            "cannot reach https://203.0.113.1/current/version",
            |stage| stage.configure("endpoint", "203.0.113.1/current"),
        ),
        case(
            "connect: accepted, and nothing more",
            75,
            "timed out",
            |stage| {
                stage.releases.stop();
                stage.keep(bare(&stage.network, "127.0.0.1:443", |mut stream| {
                    silence(&mut stream)
                }));
            },
        ),
        case(
            "connect: accepted, and closed",
            75,
            "connection reset",
            |stage| {
                stage.releases.stop();
                stage.keep(bare(&stage.network, "127.0.0.1:443", drop));
            },
        ),
        case("handshake: a byte a second", 75, "timed out", |stage| {
            stage.releases.stop();
            // The head of a long record, and then what may still become a greeting.
            let bytes = || {
                [22, 3, 3, 0x3f, 0xff, 2, 0, 0x3f, 0xf0]
                    .into_iter()
                    .chain(std::iter::repeat(3))
            };
            stage.keep(bare(&stage.network, "127.0.0.1:443", move |mut stream| {
                drip(&mut stream, bytes(), SECOND)
            }));
        }),
        case(
            "handshake: a message of 16 MiB",
            1,
            "not a TLS server",
            |stage| {
                stage.releases.stop();
                stage.keep(bare(&stage.network, "127.0.0.1:443", |mut stream| {
                    let record =
                        [&[22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff][..], &[0; 16379]].concat();
                    while stream.write_all(&record).is_ok() {}
                }));
            },
        ),
        case("handshake: random bytes", 1, "not a TLS server", |stage| {
            stage.releases.stop();
            stage.keep(bare(&stage.network, "127.0.0.1:443", |mut stream| {
                let _ = stream.write_all(&[0x5a; 4096]);
                silence(&mut stream);
            }));
        }),
        case(
            "handshake: plain http on the port",
            1,
            "not a TLS server",
            |stage| {
                stage.releases.stop();
                stage.keep(bare(&stage.network, "127.0.0.1:443", |mut stream| {
                    let _ =
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n14.3.34\n");
                    silence(&mut stream);
                }));
            },
        ),
    ]
}

fn heads() -> Vec<Case> {
    vec![
        case("head: never comes", 75, "timed out", |stage| {
            stage
                .releases
                .raw_route("/current/version", |_, mut stream| silence(&mut stream))
        }),
        case("head: a byte a second", 75, "timed out", |stage| {
            stage.releases.raw_route("/current/version", |_, stream| {
                let head = b"HTTP/1.1 200 OK\r\nX: "
                    .iter()
                    .copied()
                    .chain(std::iter::repeat(b'x'));
                drip(stream, head, SECOND);
            });
        }),
        case("head: a line without an end", 1, "", |stage| {
            pour(stage, "HTTP/1.1 200 OK\r\nX: ", vec![b'x'; 65536])
        }),
        case("head: lines without an end", 1, "", |stage| {
            pour(stage, "HTTP/1.1 200 OK\r\n", b"X: y\r\n".repeat(1000))
        }),
        case("head: 200 cookies of 4 KB", 1, "", |stage| {
            answer(
                stage,
                format!(
                    "HTTP/1.1 200 OK\r\n{}\r\n14.3.34\n",
                    format!("Set-Cookie: a={}\r\n", "x".repeat(4000)).repeat(200)
                ),
            );
        }),
        case("head: \"continue\" without an end", 75, OVER, |stage| {
            pour(stage, "", b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())
        }),
        case("head: nonsense", 1, "invalid response", |stage| {
            answer(stage, "\u{1b}[2J\u{9b}31m SECRET is not said\r\n\r\n")
        }),
        case("head: of http/0.9", 1, "invalid response", |stage| {
            answer(stage, "14.3.34\n")
        }),
        case("head: control characters in the status", 1, "", |stage| {
            answer(
                stage,
                "HTTP/1.1 404 \u{1b}]0;SECRET\u{7}\r\nContent-Length: 0\r\n\r\n",
            );
        }),
        case("head: status 999", 1, "", |stage| {
            answer(
                stage,
                "HTTP/1.1 999 Odd\r\nContent-Length: 8\r\n\r\n14.3.34\n",
            )
        }),
        case("head: status 204", 1, "returned 204", |stage| {
            stage
                .releases
                .route("/current/version", Response::status(204))
        }),
        case(
            "head: status 206, a part of the answer",
            1,
            "returned 206",
            |stage| {
                stage
                    .releases
                    .route("/current/version", Response::status(206).body("14.3.34"));
            },
        ),
        case(
            "head: status 500, three times",
            75,
            "returned 500",
            |stage| {
                stage
                    .releases
                    .route("/current/version", Response::status(500))
            },
        ),
        case("head: the connection is cut within it", 75, OVER, |stage| {
            answer(stage, "HTTP/1.1 200 OK\r\nContent-Le")
        }),
    ]
}

fn bodies() -> Vec<Case> {
    const LONG: &str = "response larger than 1 KiB";
    vec![
        case("body: never comes", 75, "timed out", |stage| {
            stage
                .releases
                .raw_route("/current/version", |_, mut stream| {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
                    silence(&mut stream);
                });
        }),
        case("body: a byte a second", 75, "timed out", |stage| {
            stage.releases.raw_route("/current/version", |_, stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
                drip(stream, std::iter::repeat(b'1'), SECOND);
            });
        }),
        case(
            "body: a chunk of one byte a second",
            75,
            "timed out",
            |stage| {
                stage.releases.raw_route("/current/version", |_, stream| {
                    let _ =
                        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    while stream
                        .write_all(b"1\r\n1\r\n")
                        .and_then(|()| stream.flush())
                        .is_ok()
                    {
                        std::thread::sleep(SECOND);
                    }
                });
            },
        ),
        case("body: without an end", 1, LONG, |stage| {
            pour(stage, "HTTP/1.1 200 OK\r\n\r\n", vec![b'1'; 65536])
        }),
        case("body: of 10 GB, so it says", 1, LONG, |stage| {
            pour(
                stage,
                "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n",
                vec![b'1'; 65536],
            );
        }),
        case("body: chunks without an end", 1, LONG, |stage| {
            pour(
                stage,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                [&b"1000\r\n"[..], &[b'1'; 4096], b"\r\n"].concat(),
            );
        }),
        case("body: longer than its length", 0, UP, |stage| {
            answer(
                stage,
                "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n14.3.34\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n66.6.66\n",
            );
        }),
        case("body: shorter than its length", 75, OVER, |stage| {
            answer(
                stage,
                "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n14.3.34\n",
            )
        }),
        case(
            "body: no length, cut within the version",
            75,
            "response may be truncated",
            |stage| answer(stage, "HTTP/1.1 200 OK\r\n\r\n14.3.3"),
        ),
        case("body: two lengths", 1, "", |stage| {
            answer(
                stage,
                "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nContent-Length: 6\r\n\r\n14.3.34\n",
            )
        }),
        case("body: a length below nothing", 1, "", |stage| {
            answer(
                stage,
                "HTTP/1.1 200 OK\r\nContent-Length: -8\r\n\r\n14.3.34\n",
            )
        }),
        case("body: a length beyond 64 bits", 1, "", |stage| {
            answer(
                stage,
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n14.3.34\n",
            );
        }),
        case("body: broken chunks", 1, "invalid response", |stage| {
            answer(
                stage,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n14.3.34\n\r\n0\r\n\r\n",
            );
        }),
        case("body: a chunk of 2^64 bytes", 1, "", |stage| {
            pour(
                stage,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                vec![b'1'; 65536],
            );
        }),
        case("body: chunks without the last", 75, OVER, |stage| {
            answer(
                stage,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n14.3.34\n\r\n",
            );
        }),
        case("body: a chunk's extension without an end", 1, "", |stage| {
            pour(
                stage,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8;",
                vec![b'x'; 65536],
            );
        }),
        case("body: a compressed bomb", 1, "", |stage| {
            // 10 MB of zeros in 10 KB, and what a client that unpacks must not unpack.
            let bomb = std::process::Command::new("sh")
                .args(["-c", "head -c 10000000 /dev/zero | gzip -9"])
                .output()
                .unwrap()
                .stdout;
            stage.releases.route(
                "/current/version",
                Response::ok(bomb).header("Content-Encoding", "gzip"),
            );
        }),
        case(
            "body: a small answer that says it is compressed",
            1,
            "",
            |stage| {
                stage.releases.route(
                    "/current/version",
                    Response::ok(vec![0x1f, 0x8b, 8, 0, 0xff, 0xfe])
                        .header("Content-Encoding", "gzip"),
                );
            },
        ),
    ]
}

fn redirects() -> Vec<Case> {
    const INSECURE: &str = "redirected to a non-HTTPS URL";
    const ENDLESS: &str = "too many redirects";
    fn to(stage: &Stage, address: &str) {
        stage
            .releases
            .route("/current/version", Response::redirect(address));
    }
    vec![
        case("redirect: to itself", 1, ENDLESS, |stage| {
            to(stage, "/current/version")
        }),
        case(
            "redirect: to a new address each time",
            1,
            ENDLESS,
            |stage| {
                to(stage, "/a/0");
                for hop in 0..9 {
                    stage.releases.route(
                        &format!("/a/{hop}"),
                        Response::redirect(&format!("/a/{}", hop + 1)),
                    );
                }
            },
        ),
        case("redirect: to http", 1, INSECURE, |stage| {
            to(stage, "http://releases.example.com/current/version")
        }),
        case(
            "redirect: to http at the second step",
            1,
            INSECURE,
            |stage| {
                to(stage, "/b");
                stage
                    .releases
                    .route("/b", Response::redirect("http://releases.example.com/c"));
            },
        ),
        case("redirect: to a file", 1, "", |stage| {
            to(stage, "file:///etc/shadow")
        }),
        case("redirect: to ftp", 1, "", |stage| {
            to(stage, "ftp://releases.example.com/version")
        }),
        case("redirect: to nowhere", 1, "", |stage| {
            stage
                .releases
                .route("/current/version", Response::status(302))
        }),
        case("redirect: to control characters", 1, "", |stage| {
            answer(
                stage,
                "HTTP/1.1 302 Found\r\nLocation: https://\u{1b}[31m\u{202e}/\r\nContent-Length: 0\r\n\r\n",
            );
        }),
        case(
            "redirect: to a server with a bad certificate",
            1,
            "signed by an unknown CA",
            |stage| {
                let other = Server::https(&stage.network, "127.0.0.3:443", Cert::SelfSigned);
                stage.keep(other);
                to(stage, "https://proxy.example.com/version");
            },
        ),
        case(
            "redirect: each step as slow as it may be",
            75,
            OVER,
            |stage| {
                for (path, next) in [("/current/version", "/d1"), ("/d1", "/d2"), ("/d2", "/d3")] {
                    stage.releases.raw_route(path, move |_, stream| {
                    std::thread::sleep(4 * SECOND);
                    let _ =
                        stream.write_all(format!("HTTP/1.1 302 Found\r\nLocation: {next}\r\nContent-Length: 0\r\n\r\n").as_bytes());
                    let _ = stream.flush();
                });
                }
            },
        ),
    ]
}

fn words() -> Vec<Case> {
    const NO_VERSION: &str = "is not a version like 14.3.33";
    fn says(stage: &Stage, body: &str) {
        stage.releases.route("/current/version", Response::ok(body));
    }
    vec![
        case("answer: empty", 1, "empty response", |stage| {
            says(stage, "")
        }),
        case(
            "answer: a login page",
            1,
            "the response is a web page",
            |stage| says(stage, "<!DOCTYPE html><title>SECRET</title>"),
        ),
        case(
            "answer: colours and a window's title",
            1,
            NO_VERSION,
            |stage| says(stage, "\u{1b}[31m\u{1b}]0;x\u{7}14.3.34"),
        ),
        case(
            "answer: control characters, and libraries log all they see",
            1,
            NO_VERSION,
            |stage| {
                stage.env("RUST_LOG", "trace");
                let odd = "14.3.34\u{1b}[31m\u{9b}2J\u{202e}";
                stage.releases.route(
                    "/current/version",
                    Response::ok(odd).header("X-Odd", "\u{9b}31m\u{202e}\u{85}"),
                );
            },
        ),
        case("answer: text turned around", 1, NO_VERSION, |stage| {
            says(stage, "14.3.\u{202e}43")
        }),
        case(
            "answer: a second line for the journal",
            1,
            NO_VERSION,
            |stage| says(stage, "14.3.34\n<0>kernel: on fire"),
        ),
        case("answer: C1 controls", 1, NO_VERSION, |stage| {
            says(stage, "14.3.34\u{9b}2J\u{85}x")
        }),
        case("answer: a NUL byte", 1, NO_VERSION, |stage| {
            says(stage, "14.3.34\0")
        }),
        case(
            "answer: bytes that are no text",
            1,
            "response is not text",
            |stage| {
                stage
                    .releases
                    .route("/current/version", Response::ok(vec![0xff, 0xfe, 0x31, 0]));
            },
        ),
        case(
            "answer: an option of a package manager",
            1,
            NO_VERSION,
            |stage| says(stage, "--allow-unauthenticated"),
        ),
        case(
            "answer: another version for the package manager",
            1,
            NO_VERSION,
            |stage| says(stage, "14.3.34/../../x"),
        ),
        case("answer: a version of 900 digits", 1, NO_VERSION, |stage| {
            says(stage, &"9".repeat(900))
        }),
        case(
            "answer: a version beyond the rule",
            10,
            "not allowed: downgrade from 14.3.33 to 12.0.0",
            |stage| says(stage, "12.0.0"),
        ),
        case(
            "answer: the largest version there is",
            0,
            "is pending: ",
            |stage| says(stage, "18446744073709551615.0.0"),
        ),
        case("answer: critical is a megabyte of yes", 0, UP, |stage| {
            stage
                .releases
                .route("/current/critical", Response::ok("yes ".repeat(250_000)));
        }),
        case("answer: critical hangs", 0, UP, |stage| {
            stage
                .releases
                .raw_route("/current/critical", |_, mut stream| silence(&mut stream))
        }),
        case(
            "answer: the critical one of another server",
            0,
            UP,
            |stage| {
                stage.releases.route(
                    "/current/critical",
                    Response::redirect("http://proxy.example.com/yes"),
                );
            },
        ),
    ]
}
