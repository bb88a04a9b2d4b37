//! A run that is interrupted or kept waiting, and a host that changes meanwhile: nothing is done twice, late, or to the wrong thing.

use host::{Host, Package, Running, SOON, WAITS};

const STATE: &str = "/var/lib/teleport-upgrade";

/// A host on which an upgrade was interrupted while the package's script ran. The version server is down and the window closed since:
/// neither has a say in whether a half-installed agent is repaired.
fn interrupted_in_the_install(package: Package) -> Host {
    let host = Host::with_upgrade();
    host.offer(package.postinst(WAITS));
    let pass = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    assert_ne!(pass.interrupt().status, 0);
    assert!(
        host.installed("teleport-ent").starts_with("iF "),
        "{}",
        host.installed("teleport-ent")
    );
    host.write("/run/go-on", "");
    host.closed_window();
    host
}

fn agent(version: &str) -> Package {
    Package::agent("teleport-ent", version)
}

#[test]
fn a_run_that_was_killed_is_finished_by_the_next() {
    let host = interrupted_in_the_install(agent("14.3.34"));
    host.releases.stop();
    let said = host.upgrader("dry-run").expect(75).stdout;
    assert!(
        said.contains("upgrade from 14.3.33 to 14.3.34, started ")
            && said.contains(" was interrupted; the next run resumes it"),
        "{said}"
    );
    let ran = host.upgrader("run").expect(75);
    assert!(
        ran.stderr.contains("was interrupted; resuming"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout
            .starts_with("upgraded from 14.3.33 to 14.3.34 in ")
            && ran
                .stdout
                .ends_with(" s (a previous upgrade was interrupted)\n"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.34");
    host.releases.start();
    let pid = host.agent_pid();
    assert_eq!(
        host.upgrader("run").expect(0).stdout,
        "no upgrades available (14.3.34 == 14.3.34)\n"
    );
    assert_eq!(host.agent_pid(), pid);
}

#[test]
fn a_version_is_finished_as_the_repository_spells_it() {
    let host = Host::with_upgrade();
    host.repository.remove("teleport-ent", "14.3.34");
    host.repository
        .publish(&[agent("14.3.34-1").preinst(WAITS)]);
    let pass = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    assert_ne!(pass.interrupt().status, 0);
    host.write("/run/go-on", "");
    host.upgrader("run").expect(0);
    assert_eq!(
        (
            host.installed("teleport-ent").as_str(),
            host.running_version().as_str()
        ),
        ("ii 14.3.34-1", "14.3.34")
    );
}

#[test]
fn a_run_that_was_killed_before_the_install_has_changed_nothing() {
    let host = Host::with_upgrade();
    let path = host.served_as("teleport-ent", "14.3.34");
    // A server that never sends the package.
    host.packages.raw_route(&path, |_, stream| {
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let pass = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the download", SOON, || {
        host.packages.paths().contains(&path)
    });
    assert_ne!(pass.interrupt().status, 0);
    host.packages.remove_route(&path);
    host.closed_window();
    // The operator has thought better of it.
    host.set_version("none");
    let pid = host.agent_pid();
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.33");
    assert_eq!(host.agent_pid(), pid);
}

#[test]
fn what_an_administrator_installed_meanwhile_is_left_alone() {
    let host = interrupted_in_the_install(agent("14.3.34"));
    host.offer(agent("14.3.36"));
    host.shell(
        "dpkg --configure -a && apt-get -q update && apt-get -q -y install teleport-ent=14.3.36 && systemctl restart teleport",
    )
    .expect(0);
    host.wait_for("the agent", SOON, || host.running_version() == "14.3.36");
    let pid = host.agent_pid();
    assert!(
        host.upgrader("run")
            .expect(0)
            .stdout
            .contains("no upgrades available (14.3.36 == 14.3.36)")
    );
    host.assert_agent_runs("14.3.36");
    assert_eq!(host.agent_pid(), pid);
}

#[test]
fn another_edition_installed_meanwhile_is_left_alone() {
    let host = interrupted_in_the_install(agent("14.3.34"));
    host.repository
        .publish(&[Package::agent("teleport", "14.3.34")]);
    host.shell("dpkg --configure -a && apt-get -q update && apt-get -q -y purge teleport-ent && apt-get -q -y install teleport")
        .expect(0);
    host.shell("systemctl enable teleport && systemctl restart teleport")
        .expect(0);
    host.upgrader("run").expect(0);
    assert_eq!(
        (
            host.installed("teleport").as_str(),
            host.installed("teleport-ent").as_str()
        ),
        ("ii 14.3.34", "")
    );
    assert_eq!(host.property("teleport.service", "ActiveState"), "active");
}

#[test]
fn a_half_installed_agent_is_not_forgotten_while_the_repository_is_down() {
    let host = interrupted_in_the_install(agent("14.3.34"));
    // What a kill in the middle of the unpacking leaves.
    let half =
        "/^Package: teleport-ent$/,/^$/s/^Status: .*/Status: install reinstreq half-installed/";
    host.shell(&format!("rm -f /var/cache/apt/archives/*.deb; dpkg --configure -a; sed -i '{half}' /var/lib/dpkg/status"))
        .expect(0);
    assert_eq!(host.installed("teleport-ent"), "iHR14.3.34");
    host.packages.stop();
    host.upgrader("run").expect(75);
    host.packages.start();
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_stop_after_finishing_does_not_kill_the_next_install() {
    let host = interrupted_in_the_install(agent("14.3.34"));
    host.open_window();
    let waits = WAITS
        .replace("/run/installing", "/run/installing-2")
        .replace("/run/go-on", "/run/go-on-2");
    host.offer(agent("14.3.35").postinst(&waits));
    host.run(&[
        "systemctl",
        "start",
        "--no-block",
        "teleport-upgrade.service",
    ])
    .expect(0);
    host.wait_for("the second install", SOON, || {
        host.read("/run/installing-2").is_some()
    });
    let stop = host.spawn(&["systemctl", "stop", "teleport-upgrade.service"]);
    host.wait_for("the stop", SOON, || {
        host.property("teleport-upgrade.service", "ActiveState") == "deactivating"
    });
    host.wait_for("the answer to the stop", SOON, || {
        host.journal("teleport-upgrade.service")
            .contains("stop requested: the current step is finished first")
    });
    host.write("/run/go-on-2", "");
    stop.wait().expect(0);
    host.assert_agent_runs("14.3.35");
}

#[test]
fn a_history_that_cannot_be_written_afterwards_costs_no_second_install() {
    let host = Host::with_upgrade();
    host.offer(agent("14.3.34").postinst(&format!("mkdir -p {STATE}/history.json.new")));
    let ran = host.upgrader("run").expect(0);
    assert!(
        ran.stdout.contains("upgraded from 14.3.33 to 14.3.34"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr
            .contains("warning: cannot write /var/lib/teleport-upgrade/history.json: "),
        "{}",
        ran.stderr
    );
    host.remove(&format!("{STATE}/history.json.new"));
    host.closed_window();
    let pid = host.agent_pid();
    host.upgrader("run").expect(0);
    assert_eq!(host.agent_pid(), pid, "the agent is left alone");
    assert!(
        !host
            .read(&format!("{STATE}/history.json"))
            .unwrap()
            .contains("unfinished")
    );
}

#[test]
fn nothing_is_touched_that_could_not_be_recorded_first() {
    let host = Host::with_upgrade();
    host.upgrader("dry-run").expect(0);
    host.shell(&format!("mkdir -p {STATE}/history.json.new"))
        .expect(0);
    let ran = host.upgrader("run").expect(1);
    assert!(
        ran.stderr
            .contains("error: cannot write /var/lib/teleport-upgrade/history.json: "),
        "{}",
        ran.stderr
    );
    host.assert_agent_runs("14.3.33");
}

/// Holds dpkg's lock as its owner would, until the file `/run/let-go` is there.
const HOLD: &str = "import fcntl, os, time
lock = open('/var/lib/dpkg/lock-frontend', 'w')
fcntl.lockf(lock, fcntl.LOCK_EX)
open('/run/held', 'w').close()
while not os.path.exists('/run/let-go'): time.sleep(0.05)
";

/// A run of the service that waits for a lock that someone else holds.
fn kept_waiting(host: &Host) -> Running<'_> {
    let holder = host.spawn(&["python3", "-c", HOLD]);
    host.wait_for("the lock", SOON, || host.read("/run/held").is_some());
    host.run(&[
        "systemctl",
        "start",
        "--no-block",
        "teleport-upgrade.service",
    ])
    .expect(0);
    host.wait_for("the run", SOON, || {
        host.journal("teleport-upgrade.service")
            .contains("waiting for python3")
    });
    holder
}

#[test]
fn a_window_that_closes_while_a_run_waits_is_closed() {
    let host = Host::with_upgrade();
    let holder = kept_waiting(&host);
    host.closed_window();
    host.write("/run/let-go", "");
    holder.wait().expect(0);
    host.wait_for("the run's end", SOON, || {
        host.journal("teleport-upgrade.service")
            .contains("upgrade from 14.3.33 to 14.3.34 is pending")
    });
    host.assert_agent_runs("14.3.33");
}

#[test]
fn a_stop_before_anything_is_begun_is_obeyed_at_once() {
    let host = Host::with_upgrade();
    let holder = kept_waiting(&host);
    host.run(&["systemctl", "stop", "teleport-upgrade.service"])
        .expect(0);
    host.write("/run/let-go", "");
    holder.wait().expect(0);
    host.assert_agent_runs("14.3.33");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn the_mark_is_cleared_even_if_the_version_server_is_down() {
    let host = Host::with_upgrade();
    host.remove("/etc/teleport-upgrade.d/schedule");
    host.upgrader("run").expect(0);
    host.closed_window();
    host.releases.stop();
    host.upgrader("run").expect(75);
    host.releases.start();
    host.configure("schedule", "");
    let ran = host.upgrader("run").expect(0);
    assert!(
        ran.stdout
            .contains(". If this is still the case at the next check, "),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.33");
}

#[test]
fn a_service_that_a_failing_script_stopped_is_started_again() {
    let host = Host::with_upgrade();
    host.offer(agent("14.3.34").preinst("systemctl stop teleport.service; exit 1"));
    let ran = host.upgrader("run").expect(1);
    assert!(
        ran.stderr
            .contains("teleport.service was stopped during the upgrade; starting it"),
        "{}",
        ran.stderr
    );
    host.wait_for("the agent", SOON, || {
        host.property("teleport.service", "ActiveState") == "active"
    });
    assert_eq!(host.installed("teleport-ent"), "ii 14.3.33");
}

#[test]
fn one_crash_is_left_to_systemd() {
    let host = Host::with_upgrade();
    host.closed_window();
    host.run(&["systemctl", "kill", "--signal=SIGKILL", "teleport.service"])
        .expect(0);
    host.wait_for("the crash", SOON, || {
        host.property("teleport.service", "SubState") == "auto-restart"
    });
    let ran = host.upgrader("run").expect(0);
    assert!(ran.stdout.contains("is pending: "), "{}", ran.stdout);
}

#[test]
fn an_agent_that_is_down_at_the_target_version_is_not_up_to_date() {
    let host = Host::with_upgrade();
    host.set_version("14.3.33");
    host.closed_window();
    let short = "head -c 4096 /usr/local/bin/teleport > /usr/local/bin/new; chmod 755 /usr/local/bin/new; mv /usr/local/bin/new /usr/local/bin/teleport";
    host.shell(&format!(
        "{short}; systemctl kill --signal=SIGKILL teleport.service"
    ))
    .expect(0);
    host.wait_for("the crash", SOON, || {
        host.property("teleport.service", "SubState") != "running"
    });
    let ran = host.upgrader("run").expect(0);
    assert!(
        ran.stdout
            .contains("reinstalled 14.3.33 (/usr/local/bin/teleport was killed by signal "),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.33");
}

#[test]
fn no_user_can_keep_the_updater_from_working() {
    let host = Host::with_upgrade();
    host.set_version("14.3.33");
    host.upgrader("run").expect(0);
    let ran = host
        .command(&[
            "flock",
            "--exclusive",
            "/var/lib/teleport-upgrade/lock",
            "true",
        ])
        .user("alice")
        .run();
    assert_ne!(ran.status, 0, "{}", ran.stdout);
    // A FIFO where the agent's pid file should be.
    host.shell("rm /run/teleport.pid && mkfifo /run/teleport.pid")
        .expect(0);
    host.upgrader("run").expect(0);
}

#[test]
fn what_dpkg_complains_of_in_other_packages_is_not_our_business() {
    let host = Host::with_upgrade();
    let odd = "Package: odd\\nStatus: install ok installed\\nArchitecture: all\\nVersion: odd-1\\nDescription: x\\n";
    host.shell(&format!("printf '\\n{odd}' >> /var/lib/dpkg/status"))
        .expect(0);
    assert_ne!(
        host.run(&["dpkg-query", "-W", "teleport-ent"])
            .expect(0)
            .stderr,
        "",
        "else this test shows nothing"
    );
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_service_that_does_not_exist_is_named() {
    let host = Host::with_upgrade();
    host.configure("service", "teleprot\n");
    let ran = host.upgrader("run").expect(2);
    assert!(
        ran.stderr.contains(
            "/etc/teleport-upgrade.d/service: unit teleprot.service not found. Set service to"
        ),
        "{}",
        ran.stderr
    );
    host.assert_agent_runs("14.3.33");
}

#[test]
fn an_outcome_that_nobody_reads_stops_nothing() {
    let host = Host::with_upgrade();
    host.shell("teleport-upgrade run > /dev/full").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_service_that_a_failing_repair_stopped_is_not_taken_for_stopped_on_purpose() {
    let host = Host::with_upgrade();
    host.set_version("14.3.33");
    host.repository.publish(&[
        agent("14.3.33").preinst("systemctl stop teleport.service; test -e /run/repaired")
    ]);
    let half =
        "/^Package: teleport-ent$/,/^$/s/^Status: .*/Status: install reinstreq half-installed/";
    host.shell(&format!(
        "rm -f /var/cache/apt/archives/*.deb; sed -i '{half}' /var/lib/dpkg/status"
    ))
    .expect(0);
    host.upgrader("run").expect(12);
    host.write("/run/repaired", "");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.33");
}

#[test]
fn a_rollback_that_cannot_be_downloaded_now_is_finished_later() {
    let host = Host::with_upgrade();
    host.configure("observe-seconds", "5\n");
    host.shell("apt-get clean").expect(0);
    // The repository goes away as soon as the bad version is there.
    let gone = "sed -i s/apt.example.com/gone.example.com/ /etc/hosts";
    host.offer(
        agent("14.3.34")
            .behaviour("crash-at-once")
            .without_reload()
            .postinst(gone),
    );
    host.upgrader("run").expect(12);
    for command in ["status", "dry-run"] {
        let said = host.upgrader(command).stdout;
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            said.contains("rollback from 14.3.34 to 14.3.33 failed at ")
                && said.contains("; it is retried at every check")
                && !said.contains("in progress since")
                && !said.contains("was interrupted"),
            "{command}: {said}"
        );
    }
    host.releases.stop();
    host.upgrader("run").expect(12);
    host.releases.start();
    host.shell("sed -i s/gone.example.com/apt.example.com/ /etc/hosts")
        .expect(0);
    let ran = host.upgrader("run").expect(11);
    assert!(
        ran.stdout.contains("is installed again and healthy"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.33");
}

#[test]
fn a_host_without_a_rollback_gets_a_newer_version() {
    let host = Host::with_upgrade();
    host.configure("observe-seconds", "5\n");
    host.repository
        .publish(&[agent("14.3.33").postinst("exit 1")]);
    host.offer(agent("14.3.34").behaviour("crash-at-once").without_reload());
    host.upgrader("run").expect(12);
    host.offer(agent("14.3.35"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.35");
}

#[test]
fn a_history_that_stays_as_it_is_ends_the_run_all_the_same() {
    let host = Host::with_upgrade();
    host.set_version("14.3.33");
    let unfinished = r#"{"unfinished": {"package": "teleport-ent", "from": "14.3.32", "from_package_version": "14.3.32", "to": "14.3.33",
        "to_package_version": "14.3.33", "services": ["teleport.service"], "since": "2026-01-01T00:00:00Z"}}"#;
    host.write(&format!("{STATE}/history.json"), unfinished);
    host.shell(&format!("mkdir -p {STATE}/history.json.new"))
        .expect(0);
    let ran = host.upgrader("run").expect(0);
    assert_eq!(
        ran.stdout
            .matches("upgraded from 14.3.32 to 14.3.33")
            .count(),
        1,
        "{}",
        ran.stdout
    );
}

#[test]
fn an_administrators_hold_survives_a_run_that_was_interrupted_before_the_unpacking() {
    let host = Host::with_upgrade();
    host.set_version("14.3.33");
    host.configure("lock", "no\n");
    let unfinished = r#"{"unfinished": {"package": "teleport-ent", "from": "14.3.33", "from_package_version": "14.3.33", "to": "14.3.34",
        "to_package_version": "14.3.34", "held": true, "services": ["teleport.service"], "since": "2026-01-01T00:00:00Z"}}"#;
    host.write(&format!("{STATE}/history.json"), unfinished);
    host.upgrader("run").expect(0);
    assert!(host.is_on_hold("teleport-ent"));
}

#[test]
fn one_service_that_is_down_does_not_cost_the_sessions_of_another() {
    let host = Host::with_upgrade();
    host.set_version("14.3.33");
    host.closed_window();
    host.write(
        "/etc/systemd/system/second.service",
        "[Service]\nExecStart=/bin/false\n",
    );
    host.shell("systemctl daemon-reload; systemctl start second.service")
        .expect(0);
    host.wait_for("the failure", SOON, || {
        host.property("second.service", "ActiveState") == "failed"
    });
    host.configure("service", "teleport\nsecond\n");
    let pid = host.agent_pid();
    host.upgrader("run").expect(12);
    assert_eq!(host.agent_pid(), pid);
}

#[test]
fn a_reload_that_is_under_way_is_waited_for() {
    let host = Host::with_upgrade();
    host.shell("apt-get -q update && apt-get -y -q install teleport-ent=14.3.34")
        .expect(0);
    // As by a run that was killed right after it had asked for it, or by an administrator. A second one in its middle would be one too many.
    let ran = host
        .shell("systemctl reload teleport.service; teleport-upgrade run")
        .expect(0);
    host.assert_agent_runs("14.3.34");
    assert!(!ran.stderr.contains("reloading"), "{}", ran.stderr);
}
