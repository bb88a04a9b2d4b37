//! The hosts that the other tests stand on do what they say.

use host::{Cert, Host, Key, Package, Response, SOON, agent_unit};
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

#[test]
fn a_host_boots_with_the_program_and_without_an_agent() {
    let host = Host::new();
    assert_eq!(
        host.run(&["teleport-upgrade", "version"]).expect(0).stderr,
        ""
    );
    assert_eq!(host.run(&["sh", "-c", "exit 7"]).status, 7);
    assert_eq!(host.installed("teleport-ent"), "");
    assert_eq!(host.property("init.scope", "ActiveState"), "active");
    assert_eq!(
        host.run(&["systemctl", "is-system-running"]).stdout,
        "running\n"
    );
}

#[test]
fn commands_get_their_user_environment_and_input() {
    let host = Host::new();
    assert_eq!(
        host.command(&["id", "-un"])
            .user("alice")
            .run()
            .expect(0)
            .stdout,
        "alice\n"
    );
    assert_eq!(
        host.command(&["printenv", "COLOUR"])
            .env("COLOUR", "deep blue")
            .run()
            .expect(0)
            .stdout,
        "deep blue\n"
    );
    assert_eq!(
        host.command(&["cat"])
            .stdin("text\n")
            .run()
            .expect(0)
            .stdout,
        "text\n"
    );
    assert_eq!(host.run(&["cat"]).expect(0).stdout, "");
    let sleeper = host.spawn(&["sleep", "infinity"]);
    host.wait_for("the sleeper", SOON, || {
        host.property(sleeper.unit(), "SubState") == "running"
    });
    sleeper.signal("SIGTERM");
    let slept = sleeper.wait();
    assert_eq!((slept.status, slept.signal.as_deref()), (-1, Some("TERM")));
    assert_eq!(
        host.run(&["sh", "-c", "kill -KILL $$"]).signal.as_deref(),
        Some("KILL")
    );
}

#[test]
fn an_agent_runs_and_knows_its_upgrader() {
    let host = Host::with_agent("14.3.33");
    assert_eq!(host.installed("teleport-ent"), "ii 14.3.33");
    assert_eq!(host.property("teleport.service", "ActiveState"), "active");
    assert_eq!(
        host.property("teleport.service", "MainPID"),
        host.agent_pid().to_string()
    );
    assert_eq!(
        host.run(&["teleport", "version", "--raw"]).expect(0).stdout,
        "14.3.33\n"
    );
    assert_eq!(
        host.run(&["teleport", "version"]).stdout,
        "Teleport Enterprise v14.3.33 git:v14.3.33-0-gabcdef go1.23.4\n"
    );
    assert_eq!(host.running_version(), "14.3.33");
    assert!(
        host.journal("teleport.service")
            .contains("TELEPORT_EXT_UPGRADER=unit")
    );
    assert_eq!(
        host.read("/etc/teleport-upgrade.d/endpoint").unwrap(),
        "releases.example.com/current\n"
    );
}

fn upgrade(host: &Host, package: Package) {
    host.repository.publish(&[package]);
    host.run(&["apt-get", "-q", "-oAPT::Update::Error-Mode=any", "update"])
        .expect(0);
    host.run(&["apt-get", "-q", "-y", "install", "teleport-ent=14.3.34"])
        .expect(0);
}

#[test]
fn after_a_manual_upgrade_a_reload_starts_the_new_version() {
    let host = Host::with_agent("14.3.33");
    let old = host.agent_pid();
    upgrade(&host, Package::agent("teleport-ent", "14.3.34"));
    assert_eq!(host.running_version(), "14.3.33");
    host.run(&["systemctl", "reload", "teleport.service"])
        .expect(0);
    host.wait_for("another main process", SOON, || {
        host.agent_pid() != old
            && host.property("teleport.service", "MainPID") == host.agent_pid().to_string()
    });
    assert_eq!(host.running_version(), "14.3.34");
    assert_eq!(host.property("teleport.service", "NRestarts"), "0");
    let again = host.agent_pid();
    host.run(&["systemctl", "reload", "teleport.service"])
        .expect(0);
    host.wait_for("a third main process", SOON, || {
        host.agent_pid() != again
            && host.property("teleport.service", "MainPID") == host.agent_pid().to_string()
    });
}

#[test]
fn a_reload_leaves_the_old_process_its_sessions() {
    let host = Host::with_agent("14.3.33");
    let old = host.agent_pid();
    let session = host.open_session();
    host.run(&["systemctl", "reload", "teleport.service"])
        .expect(0);
    host.wait_for("the new process's pid file", SOON, || {
        host.agent_pid() != old
    });
    host.wait_for("its first line", SOON, || {
        host.journal("teleport.service")
            .contains("shutting down gracefully")
    });
    assert!(host.is_alive(old));
    session.end();
    host.wait_for("the old one's end", SOON, || !host.is_alive(old));
    host.wait_for("the new one to be the main one", SOON, || {
        host.property("teleport.service", "MainPID") == host.agent_pid().to_string()
    });
    assert_eq!(host.property("teleport.service", "NRestarts"), "0");
}

#[test]
fn agents_fail_as_requested() {
    let host = Host::with_agent("14.3.33");
    host.agent_settings(&["dead-child=noticed"]);
    let agent = |behaviour| Package::agent("teleport-ent", "14.3.34").behaviour(behaviour);
    upgrade(&host, agent("crash-at-once"));
    let healthy = host.agent_pid();
    host.run(&["systemctl", "reload", "teleport.service"])
        .expect(0);
    host.wait_for("the failure", SOON, || {
        host.journal("teleport.service")
            .contains("failed to start new process")
    });
    assert_eq!(host.agent_pid(), healthy);
    host.run(&["systemctl", "restart", "teleport.service"]);
    host.wait_for("a failed start", SOON, || {
        host.property("teleport.service", "Result") == "exit-code"
    });
    assert_eq!(
        host.property("teleport.service", "SubState"),
        "auto-restart"
    );
}

#[test]
fn an_agent_can_fail_after_a_reload_only() {
    let host = Host::with_agent("14.3.33");
    let unit = agent_unit("14.3.34").replace("RestartSec=5", "RestartSec=0");
    upgrade(
        &host,
        Package::agent("teleport-ent", "14.3.34")
            .behaviour("crash-on-reload,bad-version")
            .unit(&unit),
    );
    assert!(
        !host
            .run(&["teleport", "version"])
            .expect(0)
            .stdout
            .contains("14.3.34")
    );
    host.run(&["systemctl", "reload", "teleport.service"])
        .expect(0);
    host.wait_for("a restart by systemd", SOON, || {
        host.property("teleport.service", "NRestarts") == "1"
    });
    host.wait_for("the new version", SOON, || {
        host.property("teleport.service", "SubState") == "running"
    });
}

#[test]
fn an_agent_answers_readyz_on_its_socket() {
    let host = Host::with_agent("17.2.9");
    let asked = host.run(&[
        "curl",
        "-s",
        "--unix-socket",
        "/var/lib/teleport/debug.sock",
        "http://x/readyz",
    ]);
    assert_eq!(asked.expect(0).stdout, r#"{"status":"ok"}"#);
}

#[test]
fn an_agent_of_type_notify_is_started_when_it_says_so() {
    let host = Host::with_agent("14.3.33");
    let unit = agent_unit("14.3.34").replace("Type=simple", "Type=notify\nNotifyAccess=all");
    upgrade(&host, Package::agent("teleport-ent", "14.3.34").unit(&unit));
    host.run(&["systemctl", "restart", "teleport.service"])
        .expect(0);
    let old = host.agent_pid();
    host.run(&["systemctl", "reload", "teleport.service"])
        .expect(0);
    host.wait_for("another main process", SOON, || {
        host.agent_pid() != old
            && host.property("teleport.service", "MainPID") == host.agent_pid().to_string()
    });
    assert_eq!(host.property("teleport.service", "ActiveState"), "active");
}

#[test]
fn apt_refuses_a_repository_signed_with_an_unknown_key() {
    let host = Host::new();
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.repository.sign_with(Key::Unknown);
    let refused = host.run(&["apt-get", "-q", "-oAPT::Update::Error-Mode=any", "update"]);
    assert_eq!(refused.status, 100, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("NO_PUBKEY") || refused.stderr.contains("not signed"),
        "{}",
        refused.stderr
    );
}

#[test]
fn two_editions_and_other_packages_can_be_installed_beside_the_agent() {
    let host = Host::with_agent("14.3.33");
    host.repository.publish(&[
        Package::agent("teleport-ent-fips", "14.3.33")
            .below("/opt/fips")
            .depends("libwidget (>= 2)"),
        Package::new("libwidget", "2.1").file("/usr/lib/widget", 0o644, "widget\n"),
    ]);
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.run(&["apt-get", "-q", "-y", "install", "teleport-ent-fips"])
        .expect(0);
    assert_eq!(host.installed("teleport-ent"), "ii 14.3.33");
    assert_eq!(host.installed("teleport-ent-fips"), "ii 14.3.33");
    assert_eq!(host.installed("libwidget"), "ii 2.1");
    host.repository.remove("libwidget", "2.1");
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.run(&[
        "apt-get",
        "-q",
        "-y",
        "--reinstall",
        "install",
        "libwidget=2.1",
    ]);
}

#[test]
fn certificates_are_as_good_or_bad_as_they_say() {
    let host = Host::new();
    let url = "https://releases.example.com/current/version";
    let answer = host
        .run(&["curl", "-sS", "--tls-max", "1.2", url])
        .expect(0);
    assert_eq!(answer.stdout, "none\n");
    assert_eq!(host.run(&["curl", "-sS", url]).expect(0).stdout, "none\n");
    let versions: Vec<_> = host
        .releases
        .requests()
        .into_iter()
        .map(|request| request.tls.unwrap())
        .collect();
    assert_eq!(versions, ["TLSv1_2", "TLSv1_3"]);
    for (cert, reason) in [
        (Cert::Expired, "expired"),
        (Cert::NotYetValid, "not yet valid"),
        (Cert::SelfSigned, "self-signed"),
        (
            Cert::OtherName,
            "no alternative certificate subject name matches",
        ),
    ] {
        host.releases.set_cert(cert);
        let refused = host.run(&["curl", "-sS", url]);
        assert_eq!(refused.status, 60, "{cert:?}: {}", refused.stderr);
        assert!(
            refused.stderr.contains(reason),
            "{cert:?}: {}",
            refused.stderr
        );
    }
}

#[test]
fn servers_count_connections_stop_and_misbehave() {
    let host = Host::new();
    let url = "https://releases.example.com/current";
    host.set_version("14.3.34");
    let both = host
        .run(&[
            "curl",
            "-sS",
            &format!("{url}/version"),
            &format!("{url}/critical"),
        ])
        .expect(0);
    assert_eq!(both.stdout, "14.3.34\nno\n");
    let asked: Vec<_> = host
        .releases
        .requests()
        .into_iter()
        .map(|request| (request.connection, request.path))
        .collect();
    assert_eq!(
        asked,
        [
            (0, "/current/version".into()),
            (0, "/current/critical".into())
        ]
    );
    assert_eq!(
        host.run(&["curl", "-sSf", &format!("{url}/nothing")])
            .status,
        22
    );

    host.releases.raw_route("/current/version", |_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n14")
            .unwrap()
    });
    let interrupted = host.run(&["curl", "-sS", &format!("{url}/version")]);
    assert_eq!(
        (interrupted.status, interrupted.stdout.as_str()),
        (18, "14"),
        "{}",
        interrupted.stderr
    );
    host.releases.stop();
    assert_eq!(
        host.run(&["curl", "-sS", &format!("{url}/version")]).status,
        7
    );
    host.releases.start();
    assert_eq!(
        host.run(&["curl", "-sS", &format!("{url}/critical")])
            .expect(0)
            .stdout,
        "no\n"
    );

    let plain = host.serve_plain("127.0.0.1:8080");
    plain.route("/x", Response::redirect("/y"));
    plain.route("/y", Response::ok("here"));
    assert_eq!(
        host.run(&["curl", "-sSL", "http://localhost:8080/x"])
            .expect(0)
            .stdout,
        "here"
    );
    drop(plain);
    assert_eq!(
        host.run(&["curl", "-sS", "http://localhost:8080/x"]).status,
        7
    );
}

#[test]
fn a_snapshot_shows_what_changed_and_nothing_else() {
    let host = Host::with_agent("14.3.33");
    let before = host.snapshot();
    host.run(&["cat", "/etc/hosts"]).expect(0);
    host.run(&["dpkg-query", "-W", "teleport-ent"]).expect(0);
    host.run(&["systemctl", "status", "teleport.service"])
        .expect(0);
    host.assert_unchanged(&before);
    for change in [
        "touch /var/lib/dpkg/lock",
        "chmod 600 /etc/hosts",
        "touch /run/lock/x",
        "rm /etc/hostname",
        "date >/tmp/x",
    ] {
        let before = host.snapshot();
        host.shell(change).expect(0);
        assert_ne!(host.snapshot(), before, "{change}");
    }
}

#[test]
fn files_are_followed_as_the_host_follows_them() {
    let host = Host::new();
    host.write("/var/run/inside", "text");
    assert_eq!(host.read("/run/inside").unwrap(), "text");
    host.shell("ln -s /run/inside /etc/link").expect(0);
    assert_eq!(host.read("/etc/link").unwrap(), "text");
    assert!(!fs::exists("/run/inside").unwrap());
    host.set_mode("/run/inside", 0o640);
    assert_eq!(host.mode("/etc/link"), 0o640);
    host.remove("/etc/link");
    assert_eq!(
        (host.read("/etc/link"), host.read("/run/inside").is_some()),
        (None, true)
    );
}

#[test]
fn a_host_keeps_its_files_and_network_over_a_reboot() {
    let mut host = Host::with_agent("14.3.33");
    host.write("/var/lib/kept", "text");
    host.reboot();
    assert_eq!(host.read("/var/lib/kept").unwrap(), "text");
    host.wait_for("the agent", SOON, || {
        host.read("/run/teleport.pid").is_some()
    });
    host.crash_and_reboot();
    assert_eq!(host.read("/var/lib/kept").unwrap(), "text");
    assert_eq!(
        host.run(&[
            "curl",
            "-sS",
            "https://releases.example.com/current/version"
        ])
        .expect(0)
        .stdout,
        "14.3.33\n"
    );
}

/// Lines of this machine's mounts and directories that name a host.
fn traces(name: &str, directory: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut traces: Vec<String> = mounts
        .lines()
        .filter(|line| line.contains(directory))
        .map(str::to_owned)
        .collect();
    let found = Command::new("find")
        .args(["/sys/fs/cgroup", "/run", "-name", name])
        .output()
        .unwrap();
    traces.extend(
        String::from_utf8_lossy(&found.stdout)
            .lines()
            .map(str::to_owned),
    );
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if command.contains(name) {
            traces.push(command);
        }
    }
    traces
}

#[test]
fn nothing_of_a_host_is_left_when_it_is_dropped() {
    let host = Host::with_agent("14.3.33");
    let (name, directory) = (
        host.name().to_owned(),
        host.directory().to_str().unwrap().to_owned(),
    );
    let in_host = format!("/proc/{}", host.leader());
    assert!(traces(&name, &directory).len() > 3);
    drop(host);
    assert_eq!(
        traces(&name, &format!("{directory}/")),
        Vec::<String>::new()
    );
    assert!(!fs::exists(directory).unwrap());
    assert!(!fs::exists(in_host).unwrap());
}

#[test]
fn nothing_is_left_when_a_test_process_is_killed() {
    // This test is also the process that is killed while it has a host.
    const KILLED: &str = "TELEPORT_UPGRADE_TEST_IS_KILLED";
    if std::env::var_os(KILLED).is_some() {
        let _host = Host::new();
        loop {
            thread::park();
        }
    }
    let own = std::env::current_exe().unwrap();
    let test = [
        "--exact",
        "hosts_work::nothing_is_left_when_a_test_process_is_killed",
    ];
    let mut other = Command::new(own)
        .args(test)
        .env(KILLED, "1")
        .spawn()
        .unwrap();
    let directory = format!("{}/target/hosts/{}", env!("CARGO_MANIFEST_DIR"), other.id());
    let name = format!("tu-{}-1", other.id());
    until("a host of the other process", || {
        assert_eq!(
            other.try_wait().unwrap(),
            None,
            "the other process has ended"
        );
        traces(&name, &directory)
            .iter()
            .any(|trace| trace.contains("notify-ready"))
    });
    other.kill().unwrap();
    other.wait().unwrap();
    until("its end", || !fs::exists(&directory).unwrap());
    assert_eq!(
        traces(&name, &format!("{directory}/")),
        Vec::<String>::new()
    );
}

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + 2 * SOON;
    while !is_true() {
        assert!(
            std::time::Instant::now() < deadline,
            "waited in vain for {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}
