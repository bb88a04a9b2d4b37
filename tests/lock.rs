//! One run at a time.

use host::{Host, Package, SOON, WAITS};

#[test]
fn a_second_run_names_the_process_in_progress() {
    let host = Host::with_upgrade();
    host.offer(Package::agent("teleport-ent", "14.3.34").postinst(WAITS));
    let first = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    let pid = host.property(first.unit(), "MainPID");
    let in_progress = format!(
        "another teleport-upgrade is running (PID {pid}: upgrading from 14.3.33 to 14.3.34: installing teleport-ent 14.3.34)"
    );
    let second = host.upgrader("run").expect(75);
    assert_eq!(
        second.stderr,
        format!("error: {in_progress}. Try again when it has finished\n")
    );
    // What someone wants now waits, and is given up where it stands, or goes on by what there is then.
    let force = |name: &str| {
        let said = format!("/run/said-by-{name}");
        let running = host.spawn(&["sh", "-c", &format!("exec teleport-upgrade force 2>{said}")]);
        host.wait_for("the wait", SOON, || {
            host.read(&said).is_some_and(|said| said.ends_with('\n'))
        });
        assert!(
            host.read(&said)
                .unwrap()
                .starts_with(&format!("{in_progress}; waiting up to 60 min"))
        );
        running
    };
    let (given_up, patient) = (force("one"), force("another"));
    given_up.signal("SIGINT");
    assert_eq!(given_up.wait().signal.as_deref(), Some("INT"));
    host.upgrader("dry-run").expect(0);
    host.write("/run/go-on", "");
    first.wait().expect(0);
    assert_eq!(
        patient.wait().expect(0).stdout,
        "no upgrades available (14.3.34 == 14.3.34)\n"
    );
    host.assert_agent_runs("14.3.34");
}
