//! A version that does not run is rolled back; a run that was interrupted is finished by the next.

use host::{Host, Package, Ran, SOON, WAITS, agent_unit};

/// Publishes a version that is no good, and asserts that it is rolled back, not tried again, and that a good one
/// is. The outcome must name `reason`.
#[track_caller]
fn is_rolled_back(bad: Package, reason: &str) -> Ran {
    let host = Host::with_upgrade();
    host.configure("observe-seconds", "20\n");
    host.offer(bad);
    let ran = host.upgrader("run").expect(11);
    let outcome = ran.stdout.lines().last().unwrap();
    assert!(
        outcome.starts_with("upgrade from 14.3.33 to 14.3.34 failed and was rolled back: "),
        "{outcome}"
    );
    assert!(
        outcome.contains(reason),
        "{reason:?} is missing in: {outcome}"
    );
    assert!(
        outcome.ends_with(". 14.3.33 is installed again and healthy"),
        "{outcome}"
    );
    host.assert_agent_runs("14.3.33");
    let pid = host.agent_pid();
    let held = host.upgrader("run").expect(0);
    assert!(
        held.stdout
            .contains("skipping 14.3.34: it failed on this host at "),
        "{}",
        held.stdout
    );
    assert!(held.stdout.contains(reason), "{}", held.stdout);
    assert_eq!(host.agent_pid(), pid, "the agent is left alone");
    host.configure("observe-seconds", "1\n");
    host.offer(Package::agent("teleport-ent", "14.3.35"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.35");
    ran
}

fn agent(behaviour: &str) -> Package {
    Package::agent("teleport-ent", "14.3.34").behaviour(behaviour)
}

#[test]
fn a_version_that_crashes_at_once() {
    // The agent prints the error in color; the message contains plain text.
    let quoted = "; its last error: ERROR: this release is broken";
    is_rolled_back(agent("crash-at-once"), quoted);
}

#[test]
fn a_version_that_crashes_after_8_seconds() {
    let quoted = " s after it started; its last error: ERROR: this release is broken";
    is_rolled_back(agent("crash-after=8"), quoted);
}

#[test]
fn a_version_that_crashes_after_8_seconds_in_a_service_that_cannot_reload() {
    is_rolled_back(
        agent("crash-after=8").without_reload(),
        " s after it started",
    );
}

#[test]
fn a_version_that_crashes_only_after_a_reload() {
    is_rolled_back(agent("crash-on-reload"), "teleport.service");
}

#[test]
fn a_version_that_hangs_in_its_start() {
    is_rolled_back(
        agent("hang-in-start"),
        "the new teleport.service process did not replace the old one within 130 s",
    );
}

#[test]
fn a_version_that_hangs_in_its_start_in_a_service_that_cannot_reload() {
    is_rolled_back(
        agent("hang-in-start").without_reload(),
        "teleport.service did not write its PID file within 60 s of the restart",
    );
}

#[test]
fn a_version_that_exits_at_once_and_calls_that_success() {
    is_rolled_back(agent("exit-zero"), "teleport.service");
}

#[test]
fn a_version_that_never_becomes_ready() {
    let host = Host::with_agent("17.2.9");
    host.open_window();
    host.configure("observe-seconds", "1\n");
    host.offer(Package::agent("teleport-ent", "17.2.10").behaviour("readyz=unready"));
    let ran = host.upgrader("run").expect(11);
    assert!(
        ran.stdout
            .contains("no longer ready (it was ready before the upgrade): /readyz returned 503"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("17.2.9");
}

#[test]
fn an_agent_that_was_not_ready_before_is_upgraded_all_the_same() {
    let host = Host::with_upgrade();
    host.offer(agent("readyz=unready"));
    host.upgrader("run").expect(0);
    host.offer(Package::agent("teleport-ent", "14.3.35").behaviour("readyz=silent"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.35");
}

#[test]
fn a_version_whose_program_says_nonsense() {
    is_rolled_back(
        agent("bad-version"),
        "cannot determine the version of /usr/local/bin/teleport",
    );
}

#[test]
fn a_version_whose_program_is_truncated() {
    let cut = agent("healthy").postinst("truncate --size=100000 /usr/local/bin/teleport");
    is_rolled_back(cut, "/usr/local/bin/teleport");
}

#[test]
fn a_version_whose_program_is_for_another_machine() {
    let other =
        r"printf '\267\000' | dd of=/usr/local/bin/teleport bs=1 seek=18 conv=notrunc status=none";
    is_rolled_back(
        agent("healthy").postinst(other),
        "cannot run /usr/local/bin/teleport",
    );
}

#[test]
fn a_version_whose_install_script_fails() {
    is_rolled_back(
        agent("healthy").postinst("echo the database is on fire >&2; exit 1"),
        "teleport-ent",
    );
}

#[test]
fn a_version_without_its_unit() {
    let without = agent("healthy")
        .postinst("rm /lib/systemd/system/teleport.service; systemctl daemon-reload");
    is_rolled_back(without, "teleport.service");
}

#[test]
fn a_version_that_never_takes_over_does_not_cost_the_sessions() {
    let host = Host::with_upgrade();
    let old = host.agent_pid();
    let session = host.open_session();
    host.offer(agent("crash-at-once"));
    host.upgrader("run").expect(11);
    assert!(session.is_alive());
    assert_eq!(
        host.agent_pid(),
        old,
        "the process with the session is still in charge"
    );
    assert!(host.is_alive(old));
    host.assert_agent_runs("14.3.33");
}

#[test]
fn a_version_that_takes_over_and_then_crashes_leaves_no_agent_that_only_ends_its_sessions() {
    let host = Host::with_upgrade();
    let old = host.agent_pid();
    host.open_session();
    host.configure("observe-seconds", "5\n");
    host.offer(agent("crash-on-reload"));
    host.upgrader("run").expect(11);
    assert_ne!(host.agent_pid(), old);
    host.assert_agent_runs("14.3.33");
}

#[test]
fn an_agent_that_ignores_the_reload_is_restarted() {
    let host = Host::with_upgrade();
    host.offer(agent("ignore-reload"));
    host.upgrader("run").expect(0);
    host.offer(Package::agent("teleport-ent", "14.3.35"));
    let ran = host.upgrader("run").expect(0);
    assert!(
        ran.stderr.contains(
            "did not start a new process within 135 s of the reload; restarting teleport.service (this ends open sessions)"
        ),
        "{}",
        ran.stderr
    );
    host.assert_agent_runs("14.3.35");
}

#[test]
fn an_upgrade_begun_within_the_agents_service_survives_its_restart() {
    let host = Host::with_upgrade();
    host.offer(agent("healthy").without_reload());
    // As on RHEL 7, which does not know all that later ones do.
    let old = "#!/bin/sh\ncase \" $* \" in *' --scope '*' --collect '*) echo 'unrecognized option --collect' >&2; exit 1 ;; esac\n\
               exec /usr/bin/systemd-run.real \"$@\"\n";
    host.shell("mv /usr/bin/systemd-run /usr/bin/systemd-run.real")
        .expect(0);
    host.write("/usr/bin/systemd-run", old);
    host.set_mode("/usr/bin/systemd-run", 0o755);
    // An administrator who came in through the agent.
    let within = "echo $$ > /sys/fs/cgroup/system.slice/teleport.service/cgroup.procs && exec teleport-upgrade force";
    let ran = host.shell(within).expect(0);
    assert!(
        ran.stderr
            .contains("running inside teleport.service; continuing in a separate scope"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout.contains("upgraded from 14.3.33 to 14.3.34"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_shutdown_during_an_upgrade_ends_well_on_the_next_boot() {
    let mut host = Host::with_upgrade();
    // The install ends only when the shutdown is under way.
    host.offer(
        agent("healthy").postinst("touch /run/installing; until systemctl is-system-running | grep -q stopping; do sleep 0.1; done"),
    );
    host.run(&[
        "systemctl",
        "start",
        "--no-block",
        "teleport-upgrade.service",
    ])
    .expect(0);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    host.reboot();
    host.wait_for("the agent", SOON, || {
        host.read("/run/teleport.pid").is_some()
    });
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn when_neither_version_runs_manual_intervention_is_required_and_the_next_version_still_tried() {
    let host = Host::with_upgrade();
    // A crash is seen when it happens; a loaded machine gets the time to get there.
    host.configure("observe-seconds", "5\n");
    host.offer(agent("crash-at-once").without_reload());
    host.repository
        .publish(&[Package::agent("teleport-ent", "14.3.33").behaviour("crash-at-once")]);
    let ran = host.upgrader("run").expect(12);
    assert!(
        ran.stdout.contains("Rollback to 14.3.33 failed too: "),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("Manual intervention required"),
        "{}",
        ran.stdout
    );
    host.offer(Package::agent("teleport-ent", "14.3.35"));
    host.closed_window();
    let ran = host.upgrader("run").expect(0);
    assert!(
        ran.stdout.contains("(teleport.service is down ("),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.35");
}

#[test]
fn an_agent_that_is_down_is_upgraded_outside_the_window() {
    let host = Host::with_upgrade();
    host.closed_window();
    host.set_critical("no");
    host.write(
        "/etc/systemd/system/teleport.service.d/broken.conf",
        "[Service]\nRestart=no\n",
    );
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    host.run(&["systemctl", "kill", "--signal=SIGKILL", "teleport.service"])
        .expect(0);
    host.wait_for("the failure", SOON, || {
        host.property("teleport.service", "ActiveState") == "failed"
    });
    let ran = host.upgrader("run").expect(0);
    assert!(
        ran.stdout
            .contains("(teleport.service is down (failed: signal), so there is nothing to lose)"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_signal_during_an_install_waits_for_its_end() {
    for signal in ["SIGTERM", "SIGINT", "SIGHUP"] {
        let host = Host::with_upgrade();
        host.offer(Package::agent("teleport-ent", "14.3.34").postinst(WAITS));
        let mut upgrade = host.spawn(&["teleport-upgrade", "run"]);
        host.wait_for("the install", SOON, || {
            host.read("/run/installing").is_some()
        });
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
    host.run(&[
        "systemctl",
        "start",
        "--no-block",
        "teleport-upgrade.service",
    ])
    .expect(0);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    let stop = host.spawn(&["systemctl", "stop", "teleport-upgrade.service"]);
    host.wait_for("the stop", SOON, || {
        host.property("teleport-upgrade.service", "ActiveState") == "deactivating"
    });
    host.write("/run/go-on", "");
    stop.wait().expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_version_that_failed_is_tried_again_by_force() {
    let host = Host::with_upgrade();
    host.configure("observe-seconds", "5\n");
    host.offer(agent("crash-at-once"));
    host.upgrader("run").expect(11);
    host.repository
        .publish(&[Package::agent("teleport-ent", "14.3.34")]);
    host.upgrader("force").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_copy_is_saved_for_rollback_if_the_repository_no_longer_has_it() {
    let host = Host::with_upgrade();
    host.configure("observe-seconds", "5\n");
    host.repository.remove("teleport-ent", "14.3.33");
    host.shell("apt-get clean").expect(0);
    // As on hosts that leave out documentation.
    host.remove("/usr/local/bin/tctl");
    host.offer(agent("crash-on-reload"));
    let before = host.shell("dpkg-query --status teleport-ent; md5sum $(dpkg-query --listfiles teleport-ent) 2>/dev/null").stdout;
    let ran = host.upgrader("run").expect(11);
    assert!(
        ran.stderr.contains(
            "teleport-ent 14.3.33 is no longer in the repository; saving a copy for rollback"
        ),
        "{}",
        ran.stderr
    );
    host.assert_agent_runs("14.3.33");
    let after = host.shell("dpkg-query --status teleport-ent; md5sum $(dpkg-query --listfiles teleport-ent) 2>/dev/null").stdout;
    assert_eq!(
        after.replace("hold ok", "install ok"),
        before,
        "the package is what it was"
    );
    assert!(
        host.shell("ls /var/lib/teleport-upgrade/rollback")
            .expect(0)
            .stdout
            .is_empty(),
        "the copy is removed"
    );
}

#[test]
fn a_rollback_that_was_interrupted_is_finished() {
    let host = Host::with_upgrade();
    host.repository
        .publish(&[Package::agent("teleport-ent", "14.3.33").postinst(WAITS)]);
    host.offer(agent("bad-version"));
    let pass = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the rollback", SOON, || {
        host.read("/run/installing").is_some()
    });
    let status = || {
        let page = host.upgrader("status").expect(0).stdout;
        page.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let now = status();
    assert!(
        now.contains("rollback from 14.3.34 to 14.3.33 in progress since "),
        "{now}"
    );
    assert_ne!(pass.interrupt().status, 0);
    let now = status();
    assert!(
        now.contains("rollback from 14.3.34 to 14.3.33 was interrupted; the next run resumes it. 14.3.34 failed on this host: "),
        "{now}"
    );
    host.write("/run/go-on", "");
    let ran = host.upgrader("run").expect(11);
    assert!(
        ran.stdout
            .contains("cannot determine the version of /usr/local/bin/teleport"),
        "{}",
        ran.stdout
    );
    assert!(
        !ran.stderr.contains("installing teleport-ent 14.3.34"),
        "{}",
        ran.stderr
    );
    host.assert_agent_runs("14.3.33");
    assert!(
        host.upgrader("run")
            .expect(0)
            .stdout
            .contains("skipping 14.3.34: ")
    );
}

#[test]
fn services_of_other_types_are_watched_too() {
    for (kind, start) in [
        (
            "Type=notify\nNotifyAccess=all",
            "/usr/local/bin/teleport start --pid-file=/run/teleport.pid",
        ),
        // A process of its own that the shell leaves behind.
        (
            "Type=forking",
            "/bin/sh -c '/usr/local/bin/teleport start --pid-file=/run/teleport.pid & sleep 1'",
        ),
    ] {
        let host = Host::with_agent("14.3.33");
        let type_of = |text: &str| {
            text.replace("Type=simple", kind)
                .lines()
                .map(|line| {
                    if line.starts_with("ExecStart=") {
                        format!("ExecStart={start}\n")
                    } else {
                        format!("{line}\n")
                    }
                })
                .collect::<String>()
        };
        let unit = type_of(&agent_unit("14.3.34"));
        host.write("/etc/systemd/system/teleport.service", &unit);
        host.shell("systemctl daemon-reload && systemctl restart teleport.service")
            .expect(0);
        host.wait_for("the agent", SOON, || {
            host.property("teleport.service", "SubState") == "running"
        });
        host.open_window();
        host.configure("observe-seconds", "3\n");
        host.offer(agent("crash-on-reload"));
        host.upgrader("run").expect(11);
        host.assert_agent_runs("14.3.33");
        host.offer(Package::agent("teleport-ent", "14.3.35"));
        host.upgrader("run").expect(0);
        host.assert_agent_runs("14.3.35");
    }
}
