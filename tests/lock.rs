//! One pass at a time.

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
