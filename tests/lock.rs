//! One pass at a time, and patience with other users of the package manager.

use crate::host::{Host, Package, SOON, WAITS};

#[test]
fn a_second_run_is_told_which_process_is_at_work() {
    let host = Host::with_upgrade();
    host.offer(Package::agent("teleport-ent", "14.3.34").postinst(WAITS));
    let first = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || host.read("/run/installing").is_some());
    let pid = host.property(first.unit(), "MainPID");
    for command in ["run", "force"] {
        let second = host.upgrader(command).expect(75);
        let said =
            format!("error: another pass of teleport-upgrade is at work (process {pid}); wait for it to end, then try again\n");
        assert_eq!(second.stderr, said);
    }
    host.upgrader("dry-run").expect(0);
    host.write("/run/go-on", "");
    first.wait().expect(0);
    host.assert_agent_runs("14.3.34");
}

/// Holds a lock as its owner would, until the file `/run/let-go` is there.
const HOLD: &str = "import fcntl, os, sys, time
lock = open(sys.argv[1], 'w')
fcntl.lockf(lock, fcntl.LOCK_EX)
open('/run/held', 'w').close()
while not os.path.exists('/run/let-go'): time.sleep(0.05)
";

const LOCKS: [&str; 3] = ["/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock"];

#[test]
fn a_lock_that_is_let_go_in_time_costs_only_time() {
    for path in LOCKS {
        let host = Host::with_upgrade();
        let holder = host.spawn(&["python3", "-c", HOLD, path]);
        host.wait_for("the lock", SOON, || host.read("/run/held").is_some());
        let pid = host.property(holder.unit(), "MainPID");
        let upgrade = host.spawn(&["systemd-cat", "-t", "upgrade", "teleport-upgrade", "run"]);
        let waits = format!("waiting for python3 (process {pid}), which holds {path}");
        host.wait_for("the line that names the holder", SOON, || {
            host.shell("journalctl -q -o cat -t upgrade").stdout.contains(&waits)
        });
        host.write("/run/let-go", "");
        upgrade.wait().expect(0);
        host.assert_agent_runs("14.3.34");
    }
}

#[test]
fn a_lock_that_is_held_too_long_is_temporary() {
    let host = Host::with_upgrade();
    host.configure("lock-wait-seconds", "1\n");
    let holder = host.spawn(&["python3", "-c", HOLD, LOCKS[0]]);
    host.wait_for("the lock", SOON, || host.read("/run/held").is_some());
    let pid = host.property(holder.unit(), "MainPID");
    let ran = host.upgrader("run").expect(75);
    let said = format!("the package manager is in use by python3 (process {pid}), for longer than 1 s; the next pass tries again");
    assert!(ran.stdout.contains(&said), "{}", ran.stdout);
    host.assert_agent_runs("14.3.33");
    host.write("/run/let-go", "");
    holder.wait().expect(0);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}
