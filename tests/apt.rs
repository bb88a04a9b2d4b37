//! What the real apt and dpkg do, and what is made of it.

use crate::host::{Host, Key, Package, Ran, SOON};

/// Asserts that the upgrade could not be made, the agent runs on, and the outcome says why.
#[track_caller]
fn could_not(host: &Host, ran: Ran, status: i32, parts: &[&str]) {
    let ran = ran.expect(status);
    let outcome = ran.stdout.lines().last().unwrap_or_default();
    assert!(outcome.starts_with("could not upgrade from 14.3.33 to 14.3.34: "), "{outcome}");
    for part in parts {
        assert!(outcome.contains(part), "{part:?} is missing in: {outcome}");
    }
    host.assert_agent_runs("14.3.33");
}

#[test]
fn a_target_that_the_repository_does_not_have() {
    let host = Host::with_upgrade();
    host.repository.remove("teleport-ent", "14.3.34");
    let reason =
        "the repository of /etc/apt/sources.list.d/teleport.list has no teleport-ent 14.3.34 (the newest there is 14.3.33)";
    could_not(&host, host.upgrader("run"), 1, &[reason, "stable/rolling"]);
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_repository_signed_by_an_unknown_key_with_older_lists_cached() {
    let host = Host::with_upgrade();
    // The cached lists offer the target; apt itself would go by them.
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.repository.sign_with(Key::Unknown);
    could_not(&host, host.upgrader("run"), 1, &["teleport.list is not signed by a key that this host trusts", "signing key"]);
    host.repository.sign_with(Key::Trusted);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_repository_that_does_not_answer_is_temporary() {
    let host = Host::with_upgrade();
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.packages.stop();
    could_not(&host, host.upgrader("run"), 75, &["teleport.list cannot be reached", "the next pass tries again"]);
    host.packages.start();
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_package_that_was_tampered_with() {
    let host = Host::with_upgrade();
    let file = host.repository.file("teleport-ent", "14.3.34");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    could_not(&host, host.upgrader("run"), 1, &["apt-get ended with status 100", "Hash Sum mismatch"]);
}

#[test]
fn only_teleports_repository_is_asked_when_it_has_its_own_file() {
    let host = Host::with_upgrade();
    host.write("/etc/apt/sources.list.d/dead.list", "deb [trusted=yes] https://dead.example.com/ x main\n");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_repository_in_a_file_with_others_is_found_too() {
    let host = Host::with_upgrade();
    let line = host.read("/etc/apt/sources.list.d/teleport.list").unwrap();
    host.remove("/etc/apt/sources.list.d/teleport.list");
    host.write("/etc/apt/sources.list", &format!("{line}deb https://dead.example.com/ x main\n"));
    let ran = host.upgrader("run").expect(0);
    assert!(ran.stderr.contains("going on with the index as it is"), "{}", ran.stderr);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn no_other_package_is_changed() {
    let host = Host::with_upgrade();
    host.repository.publish(&[Package::new("library", "1.0.0"), Package::new("unrelated", "1.0.0")]);
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.run(&["apt-get", "-q", "-y", "install", "library", "unrelated"]).expect(0);
    host.repository.publish(&[Package::new("library", "2.0.0"), Package::new("unrelated", "2.0.0")]);
    host.offer(Package::agent("teleport-ent", "14.3.34").depends("library (>= 2)"));
    could_not(&host, host.upgrader("run"), 1, &["it would change other packages too (library)"]);
    host.offer(Package::agent("teleport-ent", "14.3.34").depends("library (>= 1)"));
    host.upgrader("run").expect(0);
    assert_eq!((host.installed("library").as_str(), host.installed("unrelated").as_str()), ("ii 1.0.0", "ii 1.0.0"));
}

#[test]
fn a_package_on_hold_is_upgraded_and_stays_on_hold() {
    let host = Host::with_upgrade();
    host.run(&["apt-mark", "hold", "teleport-ent"]).expect(0);
    host.upgrader("run").expect(0);
    assert_eq!(host.installed("teleport-ent"), "hi 14.3.34");
    assert_eq!(host.running_version(), "14.3.34");
}

#[test]
fn an_edition_stays_what_it_is() {
    let host = Host::new();
    host.configure("endpoint", "releases.example.com/current");
    host.configure("observe-seconds", "1");
    host.open_window();
    let packages = ["14.3.33", "14.3.34"].map(|version| Package::agent("teleport-ent-fips", version));
    host.repository.publish(&packages);
    host.repository.publish(&[Package::agent("teleport-ent", "14.3.34"), Package::agent("teleport", "14.3.34")]);
    host.set_version("14.3.34");
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.run(&["apt-get", "-q", "-y", "install", "teleport-ent-fips=14.3.33"]).expect(0);
    host.run(&["systemctl", "enable", "--now", "teleport.service"]).expect(0);
    host.wait_for("the agent", SOON, || host.read("/run/teleport.pid").is_some());
    host.upgrader("run").expect(0);
    assert_eq!(host.installed("teleport-ent-fips"), "ii 14.3.34");
    assert_eq!(host.running_version(), "14.3.34");
    assert_eq!((host.installed("teleport-ent").as_str(), host.installed("teleport").as_str()), ("", ""));
}

#[test]
fn a_run_of_dpkg_that_was_interrupted_is_ended_first() {
    let host = Host::with_upgrade();
    host.repository.publish(&[Package::new("other", "1.0.0").postinst("test -e /run/sound")]);
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.run(&["apt-get", "-q", "-y", "install", "other"]).expect(100);
    host.write("/run/sound", "");
    // What an interrupted dpkg leaves behind, and apt-get refuses to work with.
    host.write("/var/lib/dpkg/updates/0001", "");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    assert_eq!(host.installed("other"), "ii 1.0.0");
}

#[test]
fn needrestart_restarts_nothing_on_our_account() {
    let host = Host::with_upgrade();
    host.write("/etc/needrestart/conf.d/auto.conf", "$nrconf{restart} = 'a';\n");
    host.write("/etc/systemd/system/bystander.service", "[Service]\nExecStart=/usr/local/bin/bystander infinity\n");
    host.shell("cp /bin/sleep /usr/local/bin/bystander && systemctl daemon-reload && systemctl start bystander").expect(0);
    // The service now runs a binary that is no longer there: needrestart's business.
    host.shell("cp /bin/sleep /usr/local/bin/new && mv /usr/local/bin/new /usr/local/bin/bystander").expect(0);
    let pid = host.property("bystander.service", "MainPID");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    assert_eq!(host.property("bystander.service", "MainPID"), pid);
    // The same install by hand does restart it, else this test would show nothing.
    host.run(&["apt-get", "-q", "-y", "--allow-downgrades", "install", "teleport-ent=14.3.33"]).expect(0);
    assert_ne!(host.property("bystander.service", "MainPID"), pid);
}
