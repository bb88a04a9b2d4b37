//! The main job, on a real host: from the timer to the running agent.

use host::{Host, Package, SOON};
use std::time::Duration;

/// An upgrade takes some seconds; a loaded machine may take its time.
const UPGRADE: Duration = Duration::from_secs(120);

/// Makes the timer that is installed fire after a second instead of after half an hour.
fn hurry_the_timer(host: &Host) {
    let hurry = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nOnUnitInactiveSec=2s\nRandomizedDelaySec=0\nAccuracySec=1ms\n";
    host.write(
        "/etc/systemd/system/teleport-upgrade.timer.d/hurry.conf",
        hurry,
    );
    host.run(&["systemctl", "daemon-reload"]).expect(0);
}

#[test]
fn the_timer_upgrades_the_agent_and_takes_it_back_when_the_channel_says_so() {
    let host = Host::with_upgrade();
    hurry_the_timer(&host);
    host.run(&["systemctl", "enable", "--now", "teleport-upgrade.timer"])
        .expect(0);
    host.wait_for("the upgrade", UPGRADE, || {
        host.journal("teleport-upgrade.service")
            .contains("upgraded from 14.3.33 to 14.3.34")
    });
    host.assert_agent_runs("14.3.34");
    host.wait_for("the run's end", SOON, || {
        host.property("teleport-upgrade.service", "ExecMainStatus") == "0"
    });
    host.wait_for("a run with nothing to do", UPGRADE, || {
        host.journal("teleport-upgrade.service")
            .contains("no upgrades available (14.3.34 == 14.3.34)")
    });

    host.set_version("14.3.33");
    host.wait_for("the rollback", UPGRADE, || {
        host.journal("teleport-upgrade.service")
            .contains("downgraded from 14.3.34 to 14.3.33 in ")
    });
    host.assert_agent_runs("14.3.33");
    assert_eq!(
        host.property("teleport-upgrade.service", "Result"),
        "success"
    );
}

#[test]
fn disabling_the_timer_suspends_upgrades_and_enabling_resumes_them() {
    let host = Host::with_upgrade();
    hurry_the_timer(&host);
    host.set_version("14.3.33");
    host.run(&["systemctl", "enable", "--now", "teleport-upgrade.timer"])
        .expect(0);
    host.wait_for("a first run", UPGRADE, || !host.releases.paths().is_empty());
    host.run(&["systemctl", "disable", "--now", "teleport-upgrade.timer"])
        .expect(0);
    host.wait_for("the run's end", SOON, || {
        host.property("teleport-upgrade.service", "ActiveState") == "inactive"
    });
    assert_eq!(
        host.property("teleport-upgrade.timer", "ActiveState"),
        "inactive"
    );
    // No time is set for another run, now or after the next boot.
    assert_eq!(
        host.property("teleport-upgrade.timer", "NextElapseUSecMonotonic"),
        "infinity"
    );
    assert_eq!(
        host.run(&["systemctl", "is-enabled", "teleport-upgrade.timer"])
            .stdout,
        "disabled\n"
    );

    host.set_version("14.3.34");
    host.run(&["systemctl", "enable", "--now", "teleport-upgrade.timer"])
        .expect(0);
    host.wait_for("the upgrade", UPGRADE, || {
        host.installed("teleport-ent") == "ii 14.3.34"
    });
}

#[test]
fn the_timer_as_installed_fires_after_boot_and_then_at_least_once_in_an_hour() {
    let mut host = Host::with_agent("14.3.33");
    host.run(&["systemctl", "enable", "teleport-upgrade.timer"])
        .expect(0);
    host.reboot();
    assert_eq!(
        host.property("teleport-upgrade.timer", "ActiveState"),
        "active"
    );
    let timers = host.property("teleport-upgrade.timer", "TimersMonotonic");
    assert!(
        timers.contains("OnActiveUSec=1min") && timers.contains("OnUnitInactiveUSec=27min"),
        "{timers}"
    );
    assert_eq!(
        host.property("teleport-upgrade.timer", "RandomizedDelayUSec"),
        "30min"
    );
}

#[test]
fn an_upgrade_says_what_is_available_and_what_was_done() {
    let host = Host::with_upgrade();
    let ran = host.upgrader("run").expect(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "an upgrade is available (14.3.33 -> 14.3.34)");
    let done = "upgraded from 14.3.33 to 14.3.34 in ";
    assert!(lines[1].starts_with(done), "{}", lines[1]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    host.assert_agent_runs("14.3.34");
    assert_eq!(
        host.upgrader("run").expect(0).stdout,
        "no upgrades available (14.3.34 == 14.3.34)\n"
    );
}

#[test]
fn open_sessions_survive_an_upgrade() {
    let host = Host::with_upgrade();
    let old = host.agent_pid();
    let session = host.open_session();
    host.upgrader("run").expect(0);
    assert!(session.is_alive());
    assert_ne!(host.agent_pid(), old);
    assert_eq!(host.running_version(), "14.3.34");
    assert_eq!(
        host.property("teleport.service", "MainPID"),
        old.to_string(),
        "the old process keeps its session"
    );
    session.end();
    host.wait_for("the old process's end", SOON, || {
        host.property("teleport.service", "MainPID") == host.agent_pid().to_string()
    });
}

#[test]
fn a_service_that_cannot_reload_is_restarted() {
    let host = Host::with_agent("14.3.33");
    host.configure("observe-seconds", "1\n");
    host.open_window();
    host.offer(Package::agent("teleport-ent", "14.3.34").without_reload());
    let ran = host.upgrader("run").expect(0);
    assert!(
        ran.stderr.contains("restarting teleport.service"),
        "{}",
        ran.stderr
    );
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_stopped_service_is_left_stopped() {
    let host = Host::with_upgrade();
    host.run(&["systemctl", "stop", "teleport.service"])
        .expect(0);
    host.upgrader("run").expect(0);
    assert_eq!(host.installed("teleport-ent"), "ii 14.3.34");
    assert_eq!(host.property("teleport.service", "ActiveState"), "inactive");
}

#[test]
fn the_services_that_are_named_are_the_ones_that_are_reloaded() {
    let host = Host::with_upgrade();
    let unit = host.read("/lib/systemd/system/teleport.service").unwrap();
    host.write(
        "/etc/systemd/system/second.service",
        &unit.replace("/run/teleport.pid", "/run/second.pid"),
    );
    host.run(&["systemctl", "enable", "--now", "second.service"])
        .expect(0);
    host.wait_for("the second agent", SOON, || {
        host.read("/run/second.pid").is_some()
    });
    let (first, second) = (host.agent_pid(), host.read("/run/second.pid"));
    host.configure("service", "# both\nteleport\nsecond.service\n");
    host.upgrader("run").expect(0);
    assert_ne!(host.agent_pid(), first);
    assert_ne!(host.read("/run/second.pid"), second);
}

#[test]
fn a_service_that_runs_an_older_binary_is_reloaded_in_the_window() {
    let host = Host::with_upgrade();
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.run(&["apt-get", "-q", "-y", "install", "teleport-ent=14.3.34"])
        .expect(0);
    assert_eq!(host.running_version(), "14.3.33");
    host.closed_window();
    let waits = host.upgrader("run").expect(0).stdout;
    assert!(
        waits.contains(
            "restart of teleport.service to run the installed version 14.3.34 is pending"
        ),
        "{waits}"
    );
    host.open_window();
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_broken_program_is_installed_again_at_once_when_the_agent_is_down() {
    let host = Host::with_upgrade();
    host.set_version("14.3.33");
    host.closed_window();
    host.run(&["truncate", "--size=0", "/usr/local/bin/teleport"]);
    host.remove("/usr/local/bin/teleport");
    host.run(&["systemctl", "kill", "--signal=SIGKILL", "teleport.service"])
        .expect(0);
    host.wait_for("the agent's failure", SOON, || {
        host.property("teleport.service", "SubState") == "auto-restart"
    });
    let ran = host.upgrader("run").expect(0);
    assert!(
        ran.stdout
            .contains("reinstalled 14.3.33 (cannot run /usr/local/bin/teleport: no such file"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.33");
}

#[test]
fn the_nop_installer_does_everything_but_install() {
    let host = Host::with_upgrade();
    host.configure("installer", "nop\n");
    let old = host.agent_pid();
    let ran = host.upgrader("run").expect(0);
    let end = "). Nothing was installed: installer is set to nop\n";
    let tried = "\nsimulated: upgrade from 14.3.33 to 14.3.34 (maintenance window open until ";
    assert!(
        ran.stdout.contains(tried) && ran.stdout.ends_with(end) && !ran.stdout.contains("upgraded"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("is not actually installed"),
        "{}",
        ran.stderr
    );
    let told = host.upgrader("status").expect(0).stdout;
    assert!(
        told.contains("0 version changes, 0 automatic rollbacks, 0 failed checks")
            && !told.contains("Last upgrade"),
        "{told}"
    );
    assert_eq!(host.installed("teleport-ent"), "ii 14.3.33");
    assert_ne!(
        host.agent_pid(),
        old,
        "the service is reloaded all the same"
    );
    assert!(
        host.packages.paths().is_empty(),
        "no repository is asked: {:?}",
        host.packages.paths()
    );
}

#[test]
fn one_connection_one_question_when_there_is_nothing_to_decide() {
    let host = Host::with_upgrade();
    host.set_version("14.3.33");
    host.upgrader("run").expect(0);
    assert_eq!(host.releases.paths(), ["/current/version"]);
    host.releases.forget_requests();
    host.set_version("14.3.34");
    host.closed_window();
    host.upgrader("run").expect(0);
    assert_eq!(
        host.releases.paths(),
        ["/current/version", "/current/critical", "/current/rollout"]
    );
    let requests = host.releases.requests();
    let first = requests[0].connection;
    assert!(requests.iter().all(|request| request.connection == first));
}
