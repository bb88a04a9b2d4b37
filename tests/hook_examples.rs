//! The hooks that ship as examples.

use crate::hooks::{POST, PRE, hook};
use host::{Host, Manager, SOON};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// Installs an example hook with the changes that an administrator would make.
fn example(host: &Host, name: &str, changes: &[(&str, &str)]) -> String {
    let file = format!(
        "{}/packaging/files/hooks/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut text = std::fs::read_to_string(file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} lacks {from}");
        text = text.replace(from, to);
    }
    let directory = if ["undrain", "webhook"].contains(&name) {
        POST
    } else {
        PRE
    };
    hook(
        host,
        directory,
        name,
        text.strip_prefix("#!/bin/sh\n").unwrap(),
    )
}

/// Runs a hook as the updater does.
fn run_as_hook(host: &Host, file: &str, variables: &[(&str, &str)]) -> host::Ran {
    let defaults = [
        ("FROM", "14.3.33"),
        ("TO", "14.3.34"),
        ("CAUSE", "window"),
        ("RESULT", "upgraded"),
        ("REASON", ""),
    ];
    let mut all = BTreeMap::from(defaults);
    all.extend(variables.iter().copied());
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let command = host.command(&[file]).env("PATH", path);
    let named = all
        .iter()
        .map(|(name, value)| (format!("TELEPORT_UPGRADE_{name}"), value));
    named
        .fold(command, |command, (name, value)| command.env(&name, value))
        .run()
}

#[test]
fn the_example_about_black_friday() {
    let host = Host::new();
    // A wrapper of GNU date with the current day of the test.
    host.write(
        "/usr/local/sbin/date",
        "#!/bin/sh\nexec /bin/date -d \"$(cat /run/today) $2\" \"$3\"\n",
    );
    host.set_mode("/usr/local/sbin/date", 0o755);
    let file = example(&host, "not-on-black-friday", &[]);
    for (today, status) in [
        ("2026-11-26", 0),
        ("2026-11-27", 75),
        ("2026-11-29", 75),
        ("2026-11-30", 75),
        ("2026-12-01", 0),
        ("2024-11-22", 0),
        ("2024-11-29", 75),
        ("2024-12-02", 75),
        ("2024-12-03", 0),
        ("2027-01-29", 0),
    ] {
        host.write("/run/today", today);
        let ran = run_as_hook(&host, &file, &[]);
        assert_eq!(ran.status, status, "{today}: {ran:?}");
        assert_eq!(ran.stdout.is_empty(), status == 0, "{today}: {ran:?}");
    }
    host.write("/run/today", "2026-11-27");
    for cause in ["critical", "forced"] {
        run_as_hook(&host, &file, &[("CAUSE", cause)]).expect(0);
    }
}

#[test]
fn the_example_about_users_and_sessions() {
    let host = Host::with_agent("14.3.33");
    let file = example(&host, "defer-while-logged-in", &[]);
    run_as_hook(&host, &file, &[]).expect(0);
    let session = host.open_session();
    let ran = run_as_hook(&host, &file, &[]).expect(75);
    assert_eq!(
        ran.stdout,
        format!(
            "a session through the agent is open (PID {})\n",
            session.pid
        )
    );
    run_as_hook(&host, &file, &[("CAUSE", "critical")]).expect(0);
    session.end();
    run_as_hook(&host, &file, &[]).expect(0);
    host.write(
        "/usr/local/sbin/who",
        "#!/bin/sh\necho 'alice    pts/0        2026-11-30 10:00'\n",
    );
    host.set_mode("/usr/local/sbin/who", 0o755);
    let ran = run_as_hook(&host, &file, &[]).expect(75);
    assert_eq!(ran.stdout, "logged in: alice\n");
}

#[test]
fn the_examples_drain_and_undrain_are_a_pair() {
    let host = Host::with_upgrade();
    let quick = [
        ("port=443", "port=8899"),
        ("sleep 10", "sleep 0"),
        ("limit=240", "limit=2"),
        ("sleep 5", "sleep 1"),
        ("limit - 5", "limit - 1"),
    ];
    let drain = example(&host, "drain", &quick);
    example(&host, "undrain", &[]);
    let listener = host.network.listen("127.0.0.1:8899");
    let client = host.network.connect("127.0.0.1:8899").unwrap();
    let (server, _) = listener.accept().unwrap();
    let ran = host.upgrader("run").expect(75);
    assert!(
        ran.stdout.ends_with(
            "pre-upgrade.d/drain ended with status 75: connections to port 8899 still open: 1\n"
        ),
        "{ran:?}"
    );
    assert_eq!(
        host.read("/run/drained"),
        None,
        "the host is in service again"
    );
    drop((client, server));
    run_as_hook(&host, &drain, &[]).expect(0);
    assert!(host.read("/run/drained").is_some());
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    assert_eq!(host.read("/run/drained"), None);
    let undrain = format!("/etc/teleport-upgrade.d/{POST}/undrain");
    host.write("/run/drained", "");
    run_as_hook(&host, &undrain, &[("RESULT", "broken")]).expect(0);
    assert!(host.read("/run/drained").is_some());
}

#[test]
fn the_example_of_a_webhook_reports_what_happened() {
    let host = Host::of(Manager::Apt);
    let (sender, received) = std::sync::mpsc::channel();
    let _server = host::Server::raw(&host.network, "127.0.0.1:8899", move |mut stream| {
        let mut text = String::new();
        let mut part = [0; 4096];
        while !text.ends_with('}') {
            let length = stream.read(&mut part).unwrap();
            assert!(length > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&part[..length]));
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        sender.send(text).unwrap();
    });
    let url = [(
        "https://hooks.example.com/teleport-upgrade",
        "http://127.0.0.1:8899/hook",
    )];
    let file = example(&host, "webhook", &url);
    let reason = "it \"crashed\" \\u{1b}";
    run_as_hook(&host, &file, &[("RESULT", "postponed")]).expect(0);
    run_as_hook(
        &host,
        &file,
        &[("RESULT", "rolled-back"), ("REASON", reason)],
    )
    .expect(0);
    let request = received.recv_timeout(SOON).unwrap();
    assert!(request.starts_with("POST /hook "), "{request}");
    let body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let text = format!("Teleport on host: rolled-back, from 14.3.33 to 14.3.34: {reason}");
    assert_eq!(body["text"], text.as_str());
    drop(_server);
    assert_ne!(run_as_hook(&host, &file, &[]).status, 0);
}
