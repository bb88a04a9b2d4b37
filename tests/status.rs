//! What `status` shows if something is missing or invalid: everything that is known, and no guesses.

use host::{Host, Package, Ran, SOON};
use serde_json::Value;

use crate::operator::SERVICE;

const TIMER: &str = "teleport-upgrade.timer";

/// The page, as one line.
fn page(ran: &Ran) -> String {
    ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn contains(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part:?} is missing in: {page}");
    }
}

#[test]
fn the_agent_is_shown_even_if_settings_are_invalid() {
    let host = Host::with_upgrade();
    host.configure("pin", "latest\n");
    host.configure("observe-seconds", "soon\n");
    let shown = host.upgrader("status").expect(2);
    let pin = "/etc/teleport-upgrade.d/pin: invalid pin \"latest\". Use a version";
    let known = "Installed: teleport-ent 14.3.33 (apt) Service: teleport.service: running 14.3.33";
    let page = page(&shown);
    contains(&page, &[known, &format!("Status: {pin}")]);
    contains(&page, &["observe-seconds: invalid value \"soon\""]);
    assert_eq!(page.matches("invalid pin").count(), 1, "once: {page}");
    assert_eq!(shown.stderr, "");
    let shown = host.run(&["teleport-upgrade", "status", "--json"]);
    let shown: Value = serde_json::from_str(&shown.expect(2).stdout).unwrap();
    assert_eq!(shown["agent"]["installed"], "14.3.33");
    assert_eq!(shown["schedule"], Value::Null);
    let run = host.upgrader("run").expect(2);
    assert!(run.stderr.contains(pin), "{}", run.stderr);
    host.assert_agent_runs("14.3.33");
}

#[test]
fn a_host_without_a_release_channel_has_no_next_check() {
    let host = Host::with_upgrade();
    host.remove("/etc/teleport-upgrade.d/endpoint");
    host.run(&["systemctl", "enable", "--now", TIMER]).expect(0);
    let shown = page(&host.upgrader("status").expect(2));
    contains(
        &shown,
        &[
            "Installed: teleport-ent 14.3.33 (apt)",
            "Status: /etc/teleport-upgrade.d/endpoint: no release channel configured.",
            "Schedule: valid, exported ",
            "Timer: running, but skips every check: no release channel is configured",
        ],
    );
    assert!(!shown.contains("next check"), "{shown}");
    // systemd skips the service.
    host.run(&["systemctl", "start", SERVICE]).expect(0);
    host.assert_agent_runs("14.3.33");
    assert_eq!(host.property(SERVICE, "Result"), "exec-condition");

    // To enable them takes a channel.
    host.run(&["systemctl", "disable", "--now", TIMER])
        .expect(0);
    let shown = page(&host.upgrader("status").expect(2));
    let timer = "Timer: disabled: automatic upgrades are off Last check: never";
    contains(&shown, &[timer]);
    assert_eq!(
        shown.matches("sudo teleport-upgrade enable").count(),
        1,
        "{shown}"
    );
}

#[test]
fn a_prediction_needs_permission_to_read_the_schedule() {
    let host = Host::with_upgrade();
    host.closed_window();
    host.set_mode("/etc/teleport-upgrade.d/schedule", 0o600);
    let problem = "/etc/teleport-upgrade.d/schedule: permission denied, so the next upgrade cannot be predicted. Try again as root";
    let by_alice = |command: &str| {
        host.command(&["teleport-upgrade", command])
            .user("alice")
            .run()
    };
    let shown = page(&by_alice("status").expect(2));
    contains(
        &shown,
        &["running 14.3.33", "Target version: 14.3.34", problem],
    );
    let dry = by_alice("dry-run").expect(2);
    assert!(dry.stderr.contains(problem), "{}", dry.stderr);
    let root = page(&host.upgrader("status").expect(0));
    contains(&root, &["is pending: next maintenance window opens "]);
    // An agent that is up to date does not depend on the schedule.
    host.set_version("14.3.33");
    let shown = page(&by_alice("status").expect(0));
    contains(&shown, &["Status: up to date"]);
}

#[test]
fn a_repository_that_is_not_configured_is_reported() {
    let host = Host::with_upgrade();
    host.remove("/etc/apt/sources.list.d/teleport.list");
    let missing = "teleport-ent not found in any repository configured";
    let run = host.upgrader("run").expect(1);
    assert!(run.stdout.contains(missing), "{run:?}");
    for command in ["status", "dry-run"] {
        let said = host.upgrader(command);
        let said = format!("{}{}", page(&said), said.stderr);
        contains(&said, &[missing]);
    }
    host.assert_agent_runs("14.3.33");
}

#[test]
fn what_cannot_be_printed_is_an_error() {
    let host = Host::with_upgrade();
    for command in [
        "status --json",
        "status",
        "history",
        "dry-run --json",
        "dry-run",
        "version",
    ] {
        let failed = host.shell(&format!("teleport-upgrade {command} >/dev/full"));
        let why = "error: cannot write to standard output: no space left on device\n";
        let said = failed.expect(1).stderr;
        assert!(said.ends_with(why), "{said}");
        // A reader that closes the pipe early.
        host.shell(&format!("teleport-upgrade {command} | true"))
            .expect(0);
    }
}

#[test]
fn the_page_is_as_wide_as_the_terminal() {
    let host = Host::with_upgrade();
    host.closed_window();
    host.upgrader("run").expect(0);
    let command = "stty cols 150; teleport-upgrade status";
    let script = ["script", "--quiet", "--return", "--command", command];
    let wide = host.command(&[&script[..], &["/dev/null"]].concat());
    let wide = wide.env("TERM", "dumb").run().expect(0).stdout;
    let longest = wide.lines().map(|line| line.chars().count()).max();
    assert!(
        longest.is_some_and(|length| (81..=150).contains(&length)),
        "{wide}"
    );
}

#[test]
fn hosts_that_do_not_report_are_seen_by_node_exporter() {
    const ADDRESS: &str = "127.0.0.1:9100";
    let host = Host::with_upgrade();
    let exporter = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/target/tools/prometheus-node-exporter"
    );
    let copy = host.path("/usr/local/bin/node-exporter");
    std::fs::copy(exporter, copy).expect("run tests/setup");
    let options = ["--collector.disable-defaults", "--collector.systemd"];
    let listen = format!("--web.listen-address={ADDRESS}");
    let _exporter = host.spawn(&[&["node-exporter"], &options[..], &[&listen]].concat());
    let state = |unit: &str| {
        let series = format!("node_systemd_unit_state{{name=\"{unit}\",state=\"active\"");
        let shown = host.run(&["curl", "--silent", &format!("http://{ADDRESS}/metrics")]);
        let mut lines = shown.stdout.lines();
        lines
            .find(|line| line.starts_with(&series))
            .and_then(|line| line.split(' ').next_back().map(String::from))
    };
    host.wait_for("the metrics", SOON, || {
        state("teleport.service").as_deref() == Some("1")
    });
    // The condition of the alert TeleportUpgradeTimerOff.
    assert_ne!(state(TIMER).as_deref(), Some("1"));
    host.run(&["systemctl", "enable", "--now", TIMER]).expect(0);
    host.wait_for("the timer", SOON, || state(TIMER).as_deref() == Some("1"));
}

#[test]
fn a_failed_check_can_notify_people() {
    let host = Host::with_upgrade();
    let example = include_str!("../packaging/files/teleport-upgrade-failed.service");
    host.write("/root/teleport-upgrade-failed.service", example);
    host.write(
        "/usr/local/bin/mail",
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >/run/mail\ncat >>/run/mail\n",
    );
    host.set_mode("/usr/local/bin/mail", 0o755);
    // The commands in the comment of the unit.
    let commands: String = example
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .map(|line| format!("{line}\n"))
        .collect();
    host.shell(&format!("cd /root\n{commands}")).expect(0);
    // A temporary failure.
    host.releases.stop();
    host.run(&["systemctl", "start", SERVICE]).expect(0);
    let said = host.journal(SERVICE);
    assert!(said.contains("https://releases.example.com"), "{said}");
    host.releases.start();
    host.configure("pin", "latest\n");
    host.run(&["systemctl", "start", SERVICE]).expect(1);
    let mut mail = String::new();
    host.wait_for("the mail", SOON, || {
        mail = host.read("/run/mail").unwrap_or_default();
        mail.contains("invalid pin")
    });
    assert!(
        mail.starts_with("-s\nteleport-upgrade failed on "),
        "{mail}"
    );
    assert!(mail.contains("\nroot\n"), "{mail}");
    let reports = host.journal("teleport-upgrade-failed.service");
    assert_eq!(reports.matches("Starting ").count(), 1, "{reports}");
}

#[test]
fn a_rollback_that_failed_is_not_a_version_that_is_skipped() {
    let host = Host::with_upgrade();
    let bad = Package::agent("teleport-ent", "14.3.34").without_reload();
    // From then on no version starts.
    host.offer(bad.postinst("echo crash-at-once >/etc/stand-in-agent"));
    host.upgrader("run").expect(12);
    let shown = page(&host.upgrader("status").expect(0));
    let reason = "its last error: ERROR: this release is broken";
    contains(
        &shown,
        &[
            "Service: teleport.service: crash",
            "Failed version: 14.3.34, failed ",
            " (rollback failed too): teleport.service",
            reason,
        ],
    );
    let history = page(&host.upgrader("history").expect(0));
    let why = format!("{reason}. Rollback failed too, for the same reason");
    contains(&history, &["14.3.33 → 14.3.34 broken", &why]);
}
