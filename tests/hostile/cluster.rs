//! The agent's own settings, which other programs write, and what its cluster says of itself.

use super::Case;
use host::stage::silence;
use host::{Response, Stage};

const UP: &str = "an upgrade is available (14.3.33 -> 14.3.34)";
const UNKNOWN: &str =
    "an upgrade is available (14.3.33 -> 14.3.34)|cannot determine the cluster version";
/// The settings may be those of a host of the cluster itself.
const UNREAD: &str = "cannot read /etc/teleport.yaml";
const AGENT_ONLY: &str = "auth_service: {enabled: no}\nproxy_service: {enabled: no}\n";

pub fn cases() -> Vec<Case> {
    vec![
        case("cluster: runs what is wanted", 0, UP, |stage| {
            ping(stage, r#"{"server_version":"14.3.34"}"#)
        }),
        case("cluster: is behind", 10, "not allowed", |stage| {
            ping(stage, r#"{"server_version":"14.3.0"}"#)
        }),
        case("cluster: says nothing", 0, UNKNOWN, |stage| {
            named(stage);
            stage
                .releases
                .raw_route("/webapi/ping", |_, mut stream| silence(&mut stream));
        }),
        case("cluster: an answer without an end", 0, UNKNOWN, |stage| {
            named(stage);
            stage.releases.raw_route("/webapi/ping", |_, stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{");
                while stream.write_all(&[b'['; 65536]).is_ok() {}
            });
        }),
        case("cluster: brackets 60 000 deep", 0, UNKNOWN, |stage| {
            ping(stage, &"[".repeat(60_000))
        }),
        case(
            "cluster: a version of control characters",
            0,
            UNKNOWN,
            |stage| {
                ping(stage, r#"{"server_version":"\u001b[31m\u202e14.3.34"}"#);
            },
        ),
        case("cluster: leads away to http", 0, UNKNOWN, |stage| {
            named(stage);
            stage.releases.route(
                "/webapi/ping",
                Response::redirect("http://proxy.example.com/"),
            );
        }),
        case("teleport.yaml: a FIFO", 10, UNREAD, |stage| {
            stage.shell("rm \"$root/etc/teleport.yaml\"; mkfifo \"$root/etc/teleport.yaml\"")
        }),
        case("teleport.yaml: an endless device", 10, UNREAD, |stage| {
            stage.shell("rm \"$root/etc/teleport.yaml\"; mknod \"$root/etc/teleport.yaml\" c 1 5");
        }),
        case("teleport.yaml: a link to a secret", 10, UNREAD, |stage| {
            stage.write("/root/secret", "SECRET: [\n");
            stage.shell(
                "rm \"$root/etc/teleport.yaml\"; ln -s /root/secret \"$root/etc/teleport.yaml\"",
            );
        }),
        case("teleport.yaml: 1 GB", 10, UNREAD, |stage| {
            let file = std::fs::File::options()
                .write(true)
                .open(stage.path("/etc/teleport.yaml"))
                .unwrap();
            file.set_len(1_000_000_000).unwrap();
        }),
        case("teleport.yaml: a bomb of aliases", 0, UP, |stage| {
            let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_string();
            for level in 1..25 {
                let below = format!("*a{}", level - 1);
                bomb += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", "));
            }
            stage.write("/etc/teleport.yaml", bomb + AGENT_ONLY);
        }),
        case(
            "teleport.yaml: a server of control characters",
            0,
            UP,
            |stage| {
                let server = "teleport: {proxy_server: \"\\e[31m\\u202e.example.com\"}\n";
                stage.write("/etc/teleport.yaml", format!("{server}{AGENT_ONLY}"));
            },
        ),
    ]
}

fn case(name: &'static str, status: i32, says: &'static str, set: fn(&mut Stage)) -> Case {
    Case {
        name,
        status,
        says,
        set,
    }
}

/// Names the release channel's server as the cluster's Proxy too, and has the program want to upgrade now.
fn named(stage: &Stage) {
    stage.configure("proxy", "releases.example.com:443\n");
    stage.export_windows(&[(-1, 2)]);
}

fn ping(stage: &Stage, answer: &str) {
    named(stage);
    stage.releases.route("/webapi/ping", Response::ok(answer));
}
