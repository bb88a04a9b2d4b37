//! A version that does not run is taken back; a pass that was cut off is finished by the next.

use crate::host::{Host, Package, SOON, WAITS};

#[test]
fn a_version_that_crashes_is_taken_back_and_not_tried_again() {
    let host = Host::with_upgrade();
    // A crash is seen when it happens; a loaded machine gets the time to get there.
    host.configure("observe-seconds", "5\n");
    host.offer(Package::agent("teleport-ent", "14.3.34").behaviour("crash-at-once"));
    let ran = host.upgrader("run").expect(4);
    assert!(ran.stdout.contains("could not upgrade from 14.3.33 to 14.3.34: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("the version before is back and runs well"), "{}", ran.stdout);
    host.assert_agent_runs("14.3.33");

    let held = host.upgrader("run").expect(0);
    assert!(held.stdout.contains("not trying 14.3.34 again: on "), "{}", held.stdout);
    host.upgrader("force").expect(4);
    host.assert_agent_runs("14.3.33");

    host.offer(Package::agent("teleport-ent", "14.3.35"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.35");
}

#[test]
fn a_version_whose_program_does_not_run_is_taken_back() {
    let host = Host::with_upgrade();
    host.offer(Package::agent("teleport-ent", "14.3.34").behaviour("bad-version"));
    let ran = host.upgrader("run").expect(4);
    assert!(ran.stdout.contains("/usr/local/bin/teleport does not say its version"), "{}", ran.stdout);
    host.assert_agent_runs("14.3.33");
}

#[test]
fn when_neither_version_runs_a_person_is_called_and_the_next_version_still_tried() {
    let host = Host::with_upgrade();
    // A crash is seen when it happens; a loaded machine gets the time to get there.
    host.configure("observe-seconds", "5\n");
    host.offer(Package::agent("teleport-ent", "14.3.34").behaviour("crash-at-once"));
    host.repository.publish(&[Package::agent("teleport-ent", "14.3.33").behaviour("crash-at-once")]);
    let ran = host.upgrader("run").expect(5);
    assert!(ran.stdout.contains("and the way back failed: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("a person is needed"), "{}", ran.stdout);
    host.offer(Package::agent("teleport-ent", "14.3.35"));
    host.closed_window();
    let ran = host.upgrader("run").expect(0);
    assert!(ran.stdout.contains("because teleport.service "), "{}", ran.stdout);
    host.assert_agent_runs("14.3.35");
}

#[test]
fn an_agent_that_is_down_is_upgraded_outside_the_window() {
    let host = Host::with_upgrade();
    host.closed_window();
    host.set_critical("no");
    host.write("/etc/systemd/system/teleport.service.d/broken.conf", "[Service]\nRestart=no\n");
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    host.run(&["systemctl", "kill", "--signal=SIGKILL", "teleport.service"]).expect(0);
    host.wait_for("the failure", SOON, || host.property("teleport.service", "ActiveState") == "failed");
    let ran = host.upgrader("run").expect(0);
    assert!(ran.stdout.contains("because teleport.service has failed (signal), and can only get better"), "{}", ran.stdout);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_pass_that_was_killed_is_finished_by_the_next() {
    let host = Host::with_upgrade();
    host.offer(Package::agent("teleport-ent", "14.3.34").postinst(WAITS));
    let cut_off = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || host.read("/run/installing").is_some());
    // The whole group of processes at once, as a power cut would.
    host.run(&["systemctl", "kill", "--kill-whom=all", "--signal=SIGKILL", cut_off.unit()]).expect(0);
    assert_ne!(cut_off.wait().status, 0);
    assert_eq!(host.installed("teleport-ent"), "iF 14.3.34");
    host.write("/run/go-on", "");
    // Neither the window nor the version server has a say in whether a half-installed agent is mended.
    host.closed_window();
    host.releases.stop();
    let ran = host.upgrader("run").expect(75);
    assert!(
        ran.stderr.contains("was cut off while it changed teleport-ent from 14.3.33 to 14.3.34; finishing it"),
        "{}",
        ran.stderr
    );
    host.assert_agent_runs("14.3.34");
    host.releases.start();
    assert_eq!(host.upgrader("run").expect(0).stdout, "no upgrades available (14.3.34 == 14.3.34)\n");
}

#[test]
fn a_signal_during_an_install_waits_for_its_end() {
    for signal in ["SIGTERM", "SIGINT", "SIGHUP"] {
        let host = Host::with_upgrade();
        host.offer(Package::agent("teleport-ent", "14.3.34").postinst(WAITS));
        let mut upgrade = host.spawn(&["teleport-upgrade", "run"]);
        host.wait_for("the install", SOON, || host.read("/run/installing").is_some());
        let pid = host.property(upgrade.unit(), "MainPID");
        host.run(&["kill", "-s", &signal[3..], &pid]).expect(0);
        assert!(upgrade.is_running());
        host.write("/run/go-on", "");
        upgrade.wait().expect(0);
        host.assert_agent_runs("14.3.34");
    }
}

#[test]
fn stopping_the_service_during_an_install_waits_for_its_end() {
    let host = Host::with_upgrade();
    host.offer(Package::agent("teleport-ent", "14.3.34").postinst(WAITS));
    host.run(&["systemctl", "start", "--no-block", "teleport-upgrade.service"]).expect(0);
    host.wait_for("the install", SOON, || host.read("/run/installing").is_some());
    let stop = host.spawn(&["systemctl", "stop", "teleport-upgrade.service"]);
    host.wait_for("the stop", SOON, || host.property("teleport-upgrade.service", "ActiveState") == "deactivating");
    host.write("/run/go-on", "");
    stop.wait().expect(0);
    host.assert_agent_runs("14.3.34");
}
