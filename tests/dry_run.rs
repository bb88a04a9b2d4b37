//! `dry-run` tells and changes nothing; what changes something is for root.

use host::Host;

#[test]
fn dry_run_changes_nothing_whatever_it_finds() {
    let host = Host::with_upgrade();
    // Once before, so that what systemd makes for a first command of a host is there.
    host.upgrader("version").expect(0);
    let before = host.snapshot();
    let would = "would upgrade from 14.3.33 to 14.3.34 now: maintenance window open until ";
    let ran = host.upgrader("dry-run").expect(0);
    assert_eq!(
        ran.stdout.lines().next(),
        Some("an upgrade is available (14.3.33 -> 14.3.34)")
    );
    assert!(
        ran.stdout.lines().nth(1).unwrap().starts_with(would),
        "{}",
        ran.stdout
    );
    let said = host
        .run(&["teleport-upgrade", "dry-run", "-v"])
        .expect(0)
        .stderr;
    assert!(said.contains("debug: running apt-config dump\n"), "{said}");
    assert!(
        !said.contains("debug: apt-config: "),
        "all of apt's settings: {said}"
    );
    host.set_version("14.3.33");
    assert_eq!(
        host.upgrader("dry-run").expect(0).stdout,
        "no upgrades available (14.3.33 == 14.3.33)\n"
    );
    host.set_version("garbage");
    host.upgrader("dry-run").expect(1);
    host.assert_unchanged(&before);
}

#[test]
fn dry_run_leaves_no_mark_for_a_missing_schedule() {
    let host = Host::with_upgrade();
    host.remove("/etc/teleport-upgrade.d/schedule");
    host.upgrader("version").expect(0);
    let before = host.snapshot();
    for _ in 0..2 {
        let said = host.upgrader("dry-run").expect(0).stdout;
        assert!(
            said.contains("upgrade from 14.3.33 to 14.3.34 is pending: the agent has not exported a maintenance schedule"),
            "{said}"
        );
    }
    host.assert_unchanged(&before);
}

#[test]
fn dry_run_works_for_an_ordinary_user() {
    let host = Host::with_upgrade();
    let ran = host
        .command(&["teleport-upgrade", "dry-run"])
        .user("alice")
        .run()
        .expect(0);
    assert!(
        ran.stdout
            .starts_with("an upgrade is available (14.3.33 -> 14.3.34)\nwould upgrade from 14.3.33 to 14.3.34 now"),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.stderr, host.cluster_unknown());
}

#[test]
fn what_changes_the_host_is_for_root() {
    let host = Host::with_upgrade();
    for command in ["run", "force"] {
        let ran = host
            .command(&["teleport-upgrade", command])
            .user("alice")
            .run()
            .expect(2);
        let said =
            format!("error: {command} requires root. Try: sudo teleport-upgrade {command}\n");
        assert_eq!((ran.stdout.as_str(), ran.stderr), ("", said));
    }
    host.assert_agent_runs("14.3.33");
}
