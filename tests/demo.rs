//! The main job, shown: a real host is upgraded by its timer. Prints every command that is run on it and what it says.

use host::{Host, Key, Package};
use std::time::Duration;

fn main() {
    say(
        "A throwaway host: real Debian, real systemd, real apt. Its agent is a stand-in for the Enterprise Edition of 14.3.33.",
    );
    let host = Host::with_agent("14.3.33");
    show(&host, "teleport version");
    show(
        &host,
        "systemctl show --property=ActiveState,MainPID,NRestarts teleport.service",
    );

    say("Someone has a session open on it: a process of the agent's service.");
    let session = host.open_session();
    show(&host, &format!("ps -o pid,lstart,args -p {}", session.pid));

    say(
        "The target version of the release channel, served over TLS, is 15.4.22, and is not critical.",
    );
    host.offer(Package::agent("teleport-ent", "15.4.22"));
    host.set_critical("no");
    show(&host, "cat /etc/teleport-upgrade.d/endpoint");
    show(
        &host,
        "curl --silent https://releases.example.com/current/version",
    );
    show(
        &host,
        "curl --silent https://releases.example.com/current/critical",
    );

    say("Outside the maintenance window that the agent has exported, nothing happens.");
    host.closed_window();
    show(&host, "cat /etc/teleport-upgrade.d/schedule");
    show(&host, "teleport-upgrade dry-run");

    say("Inside the window it would.");
    host.open_window();
    show(&host, "cat /etc/teleport-upgrade.d/schedule");
    show(&host, "teleport-upgrade dry-run");

    say(
        "Were the repository signed by a key that the host does not trust, apt would refuse it, and so the upgrade.",
    );
    host.repository.sign_with(Key::Unknown);
    show(&host, "teleport-upgrade run");
    show(&host, "teleport version");
    host.repository.sign_with(Key::Trusted);

    say(
        "It is signed by the right one. Upgrades are enabled, and the timer does the rest; here it fires after a second, not after half an hour.",
    );
    let hurry = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nOnUnitInactiveSec=30min\nRandomizedDelaySec=0\nAccuracySec=1ms\n";
    host.write(
        "/etc/systemd/system/teleport-upgrade.timer.d/hurry.conf",
        hurry,
    );
    let verbose = "[Service]\nEnvironment=RUST_LOG=teleport_upgrade=debug\n";
    host.write(
        "/etc/systemd/system/teleport-upgrade.service.d/verbose.conf",
        verbose,
    );
    show(&host, "systemctl daemon-reload");
    show(&host, "teleport-upgrade enable --yes");
    println!(
        "(waiting for the timer, the upgrade, two minutes in which the new process has to prove itself beside the session, and 20 s more)"
    );
    let ended =
        || host.property("teleport-upgrade.service", "ExecMainExitTimestampMonotonic") != "0";
    host.wait_for("the end of the run", Duration::from_secs(600), ended);
    show(
        &host,
        "journalctl --quiet --no-pager --output=short-iso --unit=teleport-upgrade.service",
    );

    say("The new version runs, and systemd counted no crash.");
    show(&host, "teleport version");
    show(
        &host,
        "systemctl show --property=ActiveState,MainPID,NRestarts teleport.service",
    );
    show(
        &host,
        "journalctl --quiet --no-pager --output=short-iso --unit=teleport.service --lines=4",
    );
    show(&host, "teleport-upgrade run");

    say("The session is still open.");
    show(&host, &format!("ps -o pid,lstart,args -p {}", session.pid));
    assert!(session.is_alive());
    assert_eq!(host.installed("teleport-ent"), "ii 15.4.22");
    assert_eq!(host.running_version(), "15.4.22");
    assert_eq!(
        host.property("teleport-upgrade.service", "ExecMainStatus"),
        "0"
    );
    say("Done: 14.3.33 was upgraded to 15.4.22, and the host is gone again.");
}

fn say(text: &str) {
    println!("\n== {text}");
}

/// Runs a command on the host and prints what an administrator at its terminal would see.
fn show(host: &Host, line: &str) {
    println!("host# {line}");
    let ran = host.shell(line);
    for text in [ran.stderr, ran.stdout] {
        text.lines().for_each(|line| println!("  {line}"));
    }
    if ran.status != 0 {
        println!("  (exit status {})", ran.status);
    }
}
