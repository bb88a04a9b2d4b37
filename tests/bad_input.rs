//! Whatever is wrong with the configuration, the version server or the host: one clear line, and nothing is touched.

use host::{Cert, Host, Package, Ran, Response};
use serde_json::Value;
use std::time::Duration;

/// Asserts that nothing happened to the agent, and that one line says why, with all of `parts` in it.
#[track_caller]
fn fails(host: &Host, ran: Ran, status: i32, parts: &[&str]) {
    let ran = ran.expect(status);
    let said: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(said.len(), 1, "one line: {}", ran.stderr);
    for part in parts {
        assert!(
            said[0].contains(part),
            "{part:?} is missing in: {}",
            said[0]
        );
    }
    assert!(said[0].len() < 600, "{}", said[0]);
    assert_eq!(host.installed("teleport-ent"), "ii 14.3.33");
    assert_eq!(host.property("teleport.service", "ActiveState"), "active");
}

#[test]
fn every_setting_with_an_invalid_value() {
    let host = Host::with_upgrade();
    let endpoint = "releases.example.com/current\n";
    for (name, text, status, parts) in [
        (
            "endpoint",
            "",
            2,
            vec![
                "/etc/teleport-upgrade.d/endpoint: no release channel configured. Set one with: sudo teleport-upgrade enable ",
            ],
        ),
        (
            "endpoint",
            "http://releases.example.com/current",
            2,
            vec!["/endpoint: http:// is not supported", "HTTPS"],
        ),
        (
            "endpoint",
            "releases.example.com/a b",
            2,
            vec!["/endpoint: \"releases.example.com/a b\" contains invalid characters"],
        ),
        (
            "endpoint",
            "\u{1b}[31mred",
            2,
            vec!["/endpoint: \"\\u{1b}[31mred\""],
        ),
        (
            "package",
            "teleprot",
            2,
            vec![
                "/package: invalid value \"teleprot\". Allowed: teleport-ent, teleport-ent-fips, teleport",
            ],
        ),
        (
            "package",
            "teleport",
            2,
            vec!["package is set to teleport, but teleport-ent is installed"],
        ),
        (
            "installer",
            "brew",
            2,
            vec!["/installer: invalid value \"brew\". Allowed: apt"],
        ),
        (
            "insecure",
            "maybe",
            2,
            vec!["/insecure: invalid value \"maybe\". Allowed: yes, no"],
        ),
        (
            "insecure",
            "yes",
            2,
            vec![
                "/endpoint: insecure is enabled, which allows plain HTTP to this host only, not to releases.example.com",
            ],
        ),
        (
            "service",
            "rm -rf /",
            2,
            vec!["/service: invalid unit name \"rm -rf /\""],
        ),
        (
            "rollout-wariness",
            "5%",
            2,
            vec!["/rollout-wariness: invalid value \"5%\". Use a number from 0 to 1"],
        ),
        (
            "lock-wait-seconds",
            "soon",
            2,
            vec!["/lock-wait-seconds: invalid value \"soon\". Use seconds"],
        ),
        (
            "observe-seconds",
            "1.5",
            2,
            vec!["/observe-seconds: invalid value \"1.5\". Use seconds"],
        ),
    ] {
        let before = host.read(&format!("/etc/teleport-upgrade.d/{name}"));
        host.configure(name, text);
        fails(&host, host.upgrader("run"), status, &parts);
        match before {
            Some(text) => host.configure(name, &text),
            None => host.remove(&format!("/etc/teleport-upgrade.d/{name}")),
        }
    }
    host.remove("/etc/teleport-upgrade.d/endpoint");
    fails(
        &host,
        host.upgrader("run"),
        2,
        &["/etc/teleport-upgrade.d/endpoint: no release channel configured"],
    );
    host.configure("endpoint", endpoint);
    host.set_mode("/etc/teleport-upgrade.d/endpoint", 0o666);
    fails(
        &host,
        host.upgrader("run"),
        2,
        &["/endpoint: writable by users other than root (mode 0666). Fix with: chmod go-w /"],
    );
    host.remove("/etc/teleport-upgrade.d");
    fails(
        &host,
        host.upgrader("run"),
        2,
        &[
            "/etc/teleport-upgrade.d: no such file or directory. Create the directory",
            "Create the directory and set endpoint",
        ],
    );
}

#[test]
fn unknown_settings_are_reported_by_status_and_dry_run() {
    let host = Host::with_upgrade();
    let warning =
        "/etc/teleport-upgrade.d/scheduel: unknown setting, ignored. Did you mean \"schedule\"?";
    for name in [
        "scheduel",
        "pin.dpkg-old",
        "pin.rpmsave",
        "pin~",
        ".pin.swp",
    ] {
        host.configure(name, "13\n");
    }
    let dry = host.upgrader("dry-run").expect(0);
    assert_eq!(
        dry.stderr,
        format!("{}warning: {warning}\n", host.cluster_unknown())
    );
    for command in ["status", "dry-run"] {
        let json: Value = serde_json::from_str(
            &host
                .run(&["teleport-upgrade", command, "--json"])
                .expect(0)
                .stdout,
        )
        .unwrap();
        assert_eq!(json["problems"][0], warning, "{command}");
    }
    let page = host.upgrader("status").expect(0).stdout;
    assert!(
        page.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .contains(warning),
        "{page}"
    );
    // Where it is the one that is missing, too.
    host.remove("/etc/teleport-upgrade.d/endpoint");
    host.configure("endpiont", "releases.example.com/current\n");
    let dry = host.upgrader("dry-run").expect(2);
    assert!(
        dry.stderr.contains("Did you mean \"endpoint\"?"),
        "{}",
        dry.stderr
    );
    // A run does not look for such files.
    host.configure("endpoint", "releases.example.com/current\n");
    assert_eq!(
        host.upgrader("run")
            .expect(0)
            .stderr
            .matches("unknown setting")
            .count(),
        0
    );
}

#[test]
fn another_spelling_of_the_endpoint_is_accepted_with_a_warning() {
    let host = Host::with_upgrade();
    for text in [
        "https://releases.example.com/current",
        "releases.example.com/current/",
        "releases.example.com/current/version",
    ] {
        host.configure("endpoint", text);
        let ran = host.upgrader("dry-run").expect(0);
        assert!(
            ran.stdout
                .starts_with("an upgrade is available (14.3.33 -> 14.3.34)"),
            "{}",
            ran.stdout
        );
        let better = "warning: /etc/teleport-upgrade.d/endpoint: accepted, but the canonical form is releases.example.com/current\n";
        assert_eq!(ran.stderr, format!("{better}{}", host.cluster_unknown()));
    }
}

#[test]
fn plain_http_is_allowed_to_this_host() {
    let host = Host::with_upgrade();
    let plain = host.serve_plain("127.0.0.1:8080");
    plain.route("/current/version", Response::ok("14.3.34"));
    host.configure("endpoint", "localhost:8080/current");
    host.configure("insecure", "yes");
    let ran = host.upgrader("dry-run").expect(0);
    assert!(
        ran.stdout
            .starts_with("an upgrade is available (14.3.33 -> 14.3.34)"),
        "{}",
        ran.stdout
    );
}

#[test]
fn every_answer_that_is_no_version() {
    let host = Host::with_upgrade();
    let address = "https://releases.example.com/current/version";
    for (response, parts) in [
        (
            Response::status(404),
            vec!["returned 404 Not Found", "Check endpoint"],
        ),
        (Response::status(403), vec!["returned 403 Forbidden"]),
        (
            Response::ok("<!DOCTYPE html><html><body>Please log in</body></html>"),
            vec!["the response is a web page", "login page"],
        ),
        (Response::ok(""), vec!["empty response"]),
        (Response::ok("\n\n"), vec!["empty response"]),
        (
            Response::ok("9".repeat(10_000_000)),
            vec!["response larger than 1 KiB"],
        ),
        (
            Response::ok("14.3.34; reboot"),
            vec!["\"14.3.34; reboot\" is not a version like 14.3.33"],
        ),
        (
            Response::ok("--allow-unauthenticated"),
            vec!["\"--allow-unauthenticated\" is not a version"],
        ),
        (
            Response::ok("14.3.34\n14.3.35"),
            vec!["\"14.3.34\\n14.3.35\" is not a version"],
        ),
        (
            Response::ok("\u{1b}]0;owned\u{7}"),
            vec!["\"\\u{1b}]0;owned\\u{7}\" is not a version"],
        ),
        (
            Response::ok(vec![0xff, 0xfe, 0x00]),
            vec!["response is not text"],
        ),
        (
            Response::redirect("http://releases.example.com/current/version"),
            vec!["redirected to a non-HTTPS URL"],
        ),
        (
            Response::redirect("https://releases.example.com/current/version"),
            vec!["too many redirects"],
        ),
    ] {
        host.releases.route("/current/version", response);
        fails(
            &host,
            host.upgrader("run"),
            1,
            &[&[address][..], &parts].concat(),
        );
    }
}

#[test]
fn a_redirect_to_another_secure_address_is_followed() {
    let host = Host::with_upgrade();
    host.releases.route(
        "/current/version",
        Response::redirect("https://releases.example.com/elsewhere"),
    );
    host.releases.route("/elsewhere", Response::ok("v14.3.34"));
    assert!(
        host.upgrader("dry-run")
            .expect(0)
            .stdout
            .starts_with("an upgrade is available (14.3.33 -> 14.3.34)")
    );
}

#[test]
fn a_transient_failure_is_tried_three_times_and_then_temporary() {
    let host = Host::with_upgrade();
    host.releases
        .route("/current/version", Response::status(500));
    fails(
        &host,
        host.upgrader("run"),
        75,
        &[
            "https://releases.example.com/current/version returned 500 Internal Server Error. Will retry at the next check",
        ],
    );
    assert_eq!(host.releases.paths().len(), 3);
    host.releases.stop();
    fails(&host, host.upgrader("run"), 75, &["connection refused"]);
    host.configure("endpoint", "no-such-host.example.com/current");
    fails(
        &host,
        host.upgrader("run"),
        75,
        &[
            "https://no-such-host.example.com/current/version",
            "cannot resolve host name",
        ],
    );
}

#[test]
fn the_service_counts_a_temporary_failure_as_success() {
    let host = Host::with_upgrade();
    host.releases.stop();
    host.run(&["systemctl", "start", "teleport-upgrade.service"])
        .expect(0);
    assert!(
        host.journal("teleport-upgrade.service")
            .contains("cannot reach https://releases.example.com/current/version")
    );
    assert_eq!(
        host.property("teleport-upgrade.service", "Result"),
        "success"
    );
}

#[test]
fn a_server_that_says_nothing_costs_a_bounded_time() {
    let host = Host::with_upgrade();
    host.releases.raw_route("/current/version", |_, stream| {
        // Until the client hangs up.
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let ran = host.upgrader("run");
    assert!(ran.elapsed < Duration::from_secs(60), "{:?}", ran.elapsed);
    fails(&host, ran, 75, &["timed out"]);
}

#[test]
fn critical_that_is_no_answer_is_not_critical() {
    for response in [
        Response::status(404),
        Response::ok("<html>"),
        Response::ok(""),
        Response::ok("maybe"),
    ] {
        let host = Host::with_upgrade();
        host.closed_window();
        host.releases.route("/current/critical", response);
        let ran = host.upgrader("run").expect(0);
        assert!(ran.stdout.contains("is pending: "), "{}", ran.stdout);
        assert!(
            ran.stderr
                .contains("warning: https://releases.example.com/current/critical"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn certificates_that_must_not_be_trusted() {
    let host = Host::with_upgrade();
    for (certificate, part) in [
        (
            Cert::Expired,
            "the server's certificate expired on 2001-01-01 00:00 UTC (this host's time: 20",
        ),
        (
            Cert::NotYetValid,
            "the server's certificate is not valid before 2090-01-01 00:00 UTC (this host's time: 20",
        ),
        (
            Cert::SelfSigned,
            "the server's certificate is signed by an unknown CA",
        ),
        (
            Cert::OtherName,
            "the server's certificate is not valid for ",
        ),
    ] {
        host.releases.set_cert(certificate);
        fails(
            &host,
            host.upgrader("run"),
            1,
            &["https://releases.example.com/current/version: ", part],
        );
    }
    host.releases.set_cert(Cert::Good);
    host.upgrader("run").expect(0);
}

#[test]
fn no_agent_on_the_host() {
    let host = Host::new();
    host.configure("endpoint", "releases.example.com/current");
    let ran = host.upgrader("run").expect(2);
    assert!(
        ran.stderr
            .contains("no Teleport package is installed (looked for "),
        "{}",
        ran.stderr
    );
}

#[test]
fn two_editions_on_the_host() {
    let host = Host::with_upgrade();
    host.repository
        .publish(&[Package::agent("teleport", "14.3.33").below("/opt/second")]);
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.run(&["apt-get", "-q", "-y", "install", "teleport"])
        .expect(0);
    fails(
        &host,
        host.upgrader("run"),
        2,
        &[
            "several Teleport packages are installed (teleport",
            "set package to the one to upgrade",
        ],
    );
    host.configure("package", "teleport-ent\n");
    host.upgrader("run").expect(0);
    assert_eq!(host.installed("teleport-ent"), "ii 14.3.34");
    assert_eq!(host.installed("teleport"), "ii 14.3.33");
}
