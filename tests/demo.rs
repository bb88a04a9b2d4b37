//! The main job, shown: a real host is upgraded by its timer. Prints every command that is run on it and what it says.

#[path = "host/mod.rs"]
mod host;

use host::{Host, Key, Package};
use std::time::Duration;

fn main() {
    say("A throwaway host: real Debian, real systemd, real apt; its agent is a stand-in of version 14.3.33.");
    let host = Host::with_agent("14.3.33");
    show(&host, "teleport version");
    show(&host, "systemctl show --property=ActiveState,MainPID,NRestarts teleport.service");

    say("The release channel, served over TLS, wants 14.3.34 and does not call it critical.");
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host.set_critical("no");
    show(&host, "cat /etc/teleport-upgrade.d/endpoint");
    show(&host, "curl --silent https://releases.example.com/current/version");
    show(&host, "curl --silent https://releases.example.com/current/critical");

    say("Outside the maintenance window that the agent has exported, nothing happens.");
    host.closed_window();
    show(&host, "cat /etc/teleport-upgrade.d/schedule");
    show(&host, "teleport-upgrade dry-run");

    say("Inside the window it would.");
    host.open_window();
    show(&host, "cat /etc/teleport-upgrade.d/schedule");
    show(&host, "teleport-upgrade dry-run");

    say("Were the repository signed by a key that the host does not trust, apt would refuse it, and so the upgrade.");
    host.repository.sign_with(Key::Unknown);
    show(&host, "teleport-upgrade run");
    show(&host, "teleport version");
    host.repository.sign_with(Key::Trusted);

    say("It is signed by the right one. The timer does the rest; here it fires after a second, not after half an hour.");
    let hurry = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nOnUnitInactiveSec=30min\nRandomizedDelaySec=0\nAccuracySec=1ms\n";
    host.write("/etc/systemd/system/teleport-upgrade.timer.d/hurry.conf", hurry);
    let verbose = "[Service]\nEnvironment=RUST_LOG=teleport_upgrade=debug\n";
    host.write("/etc/systemd/system/teleport-upgrade.service.d/verbose.conf", verbose);
    show(&host, "systemctl daemon-reload");
    show(&host, "systemctl enable --now teleport-upgrade.timer");
    println!("(waiting for the timer, the upgrade, and the 20 s for which the new version is watched)");
    let ended = || host.property("teleport-upgrade.service", "ExecMainExitTimestampMonotonic") != "0";
    host.wait_for("the end of the pass", Duration::from_secs(300), ended);
    show(&host, "journalctl --quiet --no-pager --output=short-iso --unit=teleport-upgrade.service");

    say("The new version runs, and systemd counted no crash.");
    show(&host, "teleport version");
    show(&host, "systemctl show --property=ActiveState,MainPID,NRestarts teleport.service");
    show(&host, "journalctl --quiet --no-pager --output=short-iso --unit=teleport.service --lines=4");
    show(&host, "teleport-upgrade run");
    assert_eq!(host.installed("teleport-ent"), "ii 14.3.34");
    assert_eq!(host.running_version(), "14.3.34");
    assert_eq!(host.property("teleport-upgrade.service", "ExecMainStatus"), "0");
    say("Done: 14.3.33 was upgraded to 14.3.34, and the host is gone again.");
}

fn say(text: &str) {
    println!("\n== {text}");
}

/// Runs a command on the host and prints what a person at its terminal would see.
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
