//! Reloads as Teleport really carries them out: who is in charge, who has the sessions, and when a version counts as running.
//!
//! Teleport's limit of two minutes is the true one everywhere here.

use host::{Host, Manager, Package, Ran, SOON};
use std::time::Duration;

fn agent(version: &str, behaviour: &str) -> Package {
    Package::agent("teleport-ent", version).behaviour(behaviour)
}

/// A host in its window whose agent of `from` could go to `to`.
fn between(manager: Manager, from: &str, to: Package) -> Host {
    let host = Host::with_agent_from(manager, from);
    host.configure("observe-seconds", "1\n");
    host.open_window();
    host.offer(to);
    host
}

#[track_caller]
fn has(ran: &Ran, part: &str) {
    assert!(
        ran.stdout.contains(part) || ran.stderr.contains(part),
        "{part:?} is missing in:\n{}\n{}",
        ran.stdout,
        ran.stderr
    );
}

#[track_caller]
fn lacks(ran: &Ran, part: &str) {
    assert!(
        !ran.stdout.contains(part) && !ran.stderr.contains(part),
        "{part:?} is in:\n{}\n{}",
        ran.stdout,
        ran.stderr
    );
}

/// A release that never joins its cluster is rolled back, with the session and the old process left alone, and is not tried again.
fn a_release_that_never_joins(from: &str, to: &str) {
    let host = between(Manager::Apt, from, agent(to, "never-joins"));
    let session = host.open_session();
    let old = host.agent_pid();
    let ran = host.upgrader("run").expect(11);
    has(
        &ran,
        "the new teleport.service process was not ready within two minutes and exited",
    );
    // For the table of times from the install to the verdict.
    println!(
        "{from} -> {to}: never ready, rolled back after {} s",
        ran.elapsed.as_secs()
    );
    assert!(
        ran.elapsed > Duration::from_secs(120),
        "Teleport's limit is the true one: {:?}",
        ran.elapsed
    );
    assert!(
        session.is_alive() && host.is_alive(old),
        "the old process was left alone"
    );
    host.assert_agent_runs(from);
    has(&host.upgrader("run").expect(0), &format!("skipping {to}: "));
    assert!(host.is_alive(old));
    // The pid file names a process that has ended, so that the unit's own command may fail from now on.
    host.offer(agent(&next(to), "healthy"));
    let ran = host.upgrader("run").expect(0);
    lacks(&ran, "restarting");
    assert!(
        session.is_alive(),
        "the next version takes over without a restart"
    );
    host.assert_agent_runs(&next(to));
}

/// The release after this one.
fn next(version: &str) -> String {
    let (start, last) = version.rsplit_once('.').unwrap();
    format!("{start}.{}", last.parse::<u32>().unwrap() + 1)
}

#[test]
fn a_release_of_14_that_never_joins_is_rolled_back() {
    a_release_that_never_joins("14.3.33", "14.3.34");
}

#[test]
fn a_release_of_16_that_never_joins_is_rolled_back() {
    a_release_that_never_joins("16.4.10", "16.4.11");
}

#[test]
fn a_release_of_17_that_never_joins_is_rolled_back() {
    a_release_that_never_joins("17.4.0", "17.4.1");
}

#[test]
fn a_release_of_18_that_never_joins_is_rolled_back() {
    a_release_that_never_joins("18.1.0", "18.1.1");
}

/// Every edition says its version in its own way.
fn every_edition_is_upgraded(edition: &str) {
    let host = Host::new();
    host.repository
        .publish(&[Package::agent(edition, "14.3.33")]);
    host.set_version("14.3.33");
    host.configure("endpoint", "releases.example.com/current\n");
    host.write(
        "/etc/teleport.yaml",
        "version: v3\nauth_service: {enabled: no}\nproxy_service: {enabled: no}\n",
    );
    host.shell(&format!(
        "apt-get -q update && {} && systemctl enable --now teleport.service",
        Manager::Apt.install(edition, Some("14.3.33"))
    ))
    .expect(0);
    host.open_session().end();
    host.configure("observe-seconds", "1\n");
    host.open_window();
    host.offer(Package::agent(edition, "14.3.34"));
    host.upgrader("run").expect(0);
    assert_eq!(host.installed(edition), "ii 14.3.34");
    assert_eq!(host.running_version(), "14.3.34");
}

#[test]
fn the_community_edition_is_upgraded() {
    every_edition_is_upgraded("teleport");
}

#[test]
fn the_fips_edition_is_upgraded() {
    every_edition_is_upgraded("teleport-ent-fips");
}

#[test]
fn an_agent_that_does_not_know_raw_is_upgraded() {
    let host = between(Manager::Apt, "14.3.33", agent("14.3.34", "healthy"));
    host.agent_settings(&["no-raw"]);
    let said = host.run(&["teleport", "version"]).expect(0).stdout;
    assert!(said.starts_with("Teleport Enterprise v14.3.33 "), "{said}");
    host.run(&["teleport", "version", "--raw"]).expect(1);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

/// The agent's cluster cannot be reached: a reload could not succeed, and the upgrade must go through all the same.
fn without_its_cluster(manager: Manager, from: &str, to: &str) {
    let host = between(manager, from, agent(to, "healthy"));
    host.configure("proxy", "proxy.example.com\n");
    host.agent_settings(&["cluster=down"]);
    // The agent has emptied it by then. Without windows the second run upgrades.
    host.configure("schedule", "");
    host.upgrader("run").expect(0);
    let ran = host.upgrader("run").expect(0);
    has(
        &ran,
        "no new process of teleport.service could become ready; restarting teleport.service (this ends open sessions)",
    );
    host.assert_agent_runs(to);
    let pid = host.agent_pid();
    // Nothing flaps: the next run finds nothing to do, and the agent joins once its cluster is back.
    host.upgrader("run").expect(0);
    assert_eq!(host.agent_pid(), pid);
    host.agent_settings(&[]);
    host.upgrader("run").expect(0);
    assert_eq!(host.agent_pid(), pid);
}

#[test]
fn an_agent_of_14_without_its_cluster_is_restarted() {
    without_its_cluster(Manager::Apt, "14.3.33", "14.3.34");
}

#[test]
fn an_agent_of_17_without_its_cluster_is_restarted() {
    without_its_cluster(Manager::Yum, "17.4.0", "17.4.1");
}

#[test]
fn a_cluster_that_goes_down_during_an_upgrade_rolls_nothing_back() {
    let host = between(Manager::Apt, "17.4.0", agent("17.4.1", "healthy"));
    let proxy = host.named_cluster("17.5.0");
    host.repository
        .publish(&[agent("17.4.1", "healthy").postinst("touch /run/installing")]);
    let run = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    host.agent_settings(&["cluster=down"]);
    proxy.stop();
    let ran = run.wait().expect(0);
    has(
        &ran,
        "restarting teleport.service (this ends open sessions)",
    );
    host.assert_agent_runs("17.4.1");
}

#[test]
fn an_agent_that_has_lost_its_cluster_by_its_own_fault_is_repaired_by_the_new_version() {
    let host = Host::with_agent("17.4.0");
    host.repository.publish(&[
        agent("17.4.1", "readyz=unready"),
        agent("17.4.2", "healthy"),
    ]);
    host.configure("observe-seconds", "1\n");
    host.open_window();
    let _proxy = host.named_cluster("17.5.0");
    host.shell(
        "apt-get -q update; apt-get -q -y -o Dpkg::Use-Pty=0 install teleport-ent=17.4.1 && systemctl restart teleport.service",
    )
    .expect(0);
    host.set_version("17.4.2");
    let session = host.open_session();
    let ran = host.upgrader("run").expect(0);
    lacks(&ran, "restarting");
    assert!(session.is_alive());
    host.assert_agent_runs("17.4.2");
}

fn from_14_to_15(manager: Manager) {
    let host = between(manager, "14.3.33", agent("15.4.22", "healthy"));
    let session = host.open_session();
    let ran = host.upgrader("run").expect(0);
    // The new unit's command asks for a lock on the pid file, which the old process does not hold.
    has(&ran, "sending SIGHUP to process ");
    lacks(&ran, "restarting");
    assert!(session.is_alive(), "{manager:?}: {}", ran.stderr);
    host.assert_agent_runs("15.4.22");
    session.end();
}

#[test]
fn the_step_from_14_to_15_keeps_an_open_session_with_apt() {
    from_14_to_15(Manager::Apt);
}

#[test]
fn the_step_from_14_to_15_keeps_an_open_session_with_yum() {
    from_14_to_15(Manager::Yum);
}

#[test]
fn the_step_from_14_to_15_keeps_an_open_session_with_zypper() {
    from_14_to_15(Manager::Zypper);
}

#[test]
fn a_reload_that_still_waits_for_a_process_that_has_failed_is_waited_out() {
    let host = between(Manager::Apt, "14.3.33", agent("14.3.34", "crash-at-once"));
    let session = host.open_session();
    let old = host.agent_pid();
    let ran = host.upgrader("run").expect(11);
    has(&ran, "the new teleport.service process ");
    assert!(host.is_alive(old) && session.is_alive());
    // Before 15.1.1 the old process waits for the one that has crashed for two minutes, and takes no other signal.
    host.offer(agent("14.3.35", "healthy"));
    let ran = host.upgrader("run").expect(0);
    has(
        &ran,
        "teleport.service is being reloaded already; waiting for that to end",
    );
    lacks(&ran, "restarting");
    assert!(session.is_alive());
    host.assert_agent_runs("14.3.35");
}

#[test]
fn the_process_in_charge_is_reloaded_where_systemd_still_has_the_one_before() {
    let host = between(Manager::Apt, "14.3.33", agent("14.3.34", "healthy"));
    let session = host.open_session();
    let first = host.agent_pid();
    host.upgrader("run").expect(0);
    assert_eq!(
        host.property("teleport.service", "MainPID"),
        first.to_string(),
        "it lives on for its session"
    );
    host.offer(agent("14.3.35", "healthy"));
    let ran = host.upgrader("run").expect(0);
    lacks(&ran, "restarting");
    assert!(session.is_alive());
    host.assert_agent_runs("14.3.35");
}

#[test]
fn while_a_new_process_is_waited_for_status_says_so() {
    let host = between(Manager::Apt, "14.3.33", agent("14.3.34", "never-joins"));
    let run = host.spawn(&["teleport-upgrade", "run"]);
    let status = || {
        host.shell("teleport-upgrade status")
            .stdout
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    host.wait_for("the wait", SOON, || {
        status().contains("waiting for the new process of teleport.service")
    });
    let pid = host.property(run.unit(), "MainPID");
    let now = status();
    assert!(
        now.contains("upgrade from 14.3.33 to 14.3.34 in progress since "),
        "{now}"
    );
    assert!(
        now.contains(&format!(
            "(PID {pid}: waiting for the new process of teleport.service)"
        )),
        "{now}"
    );
    let second = host.upgrader("run").expect(75);
    has(
        &second,
        &format!(
            "another teleport-upgrade is running (PID {pid}: upgrading from 14.3.33 to 14.3.34: waiting for"
        ),
    );
    run.interrupt();
    let now = status();
    assert!(
        now.contains("was interrupted; the next run resumes it") && !now.contains("in progress"),
        "{now}"
    );
    // The next run waits for the process that is on its way, and rolls back what has failed.
    host.upgrader("run").expect(11);
    host.assert_agent_runs("14.3.33");
    assert!(!status().contains("interrupted"));
}

fn without_links(manager: Manager) {
    let host = between(
        manager,
        "17.2.9",
        agent("17.3.0", "healthy").links_too_early(),
    );
    let session = host.open_session();
    let old = host.agent_pid();
    host.upgrader("run").expect(11);
    host.assert_agent_runs("17.2.9");
    assert!(
        session.is_alive() && host.is_alive(old),
        "nothing was stopped for it"
    );
    let files = "test -x /usr/local/bin/teleport && test ! -L /usr/local/bin/teleport && test -s /lib/systemd/system/teleport.service";
    host.shell(files).expect(0);
    assert_eq!(host.property("teleport.service", "LoadState"), "loaded");
    has(&host.upgrader("run").expect(0), "skipping 17.3.0: ");
    session.end();
    // The release after it is healthy, and brings the layout with links.
    host.offer(agent("17.3.1", "healthy"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("17.3.1");
    assert_eq!(
        host.shell("readlink /usr/local/bin/teleport").stdout.trim(),
        "/opt/teleport/system/bin/teleport"
    );
}

#[test]
fn a_package_that_leaves_no_links_is_rolled_back_whole_with_yum() {
    without_links(Manager::Yum);
}

#[test]
fn a_package_that_leaves_no_links_is_rolled_back_whole_with_zypper() {
    without_links(Manager::Zypper);
}

fn to_links_and_back(manager: Manager) {
    let host = between(manager, "17.2.9", agent("17.3.1", "healthy"));
    let session = host.open_session();
    for version in ["17.3.1", "17.3.2", "17.2.9"] {
        host.offer(agent(version, "healthy"));
        let ran = host.upgrader("run").expect(0);
        lacks(&ran, "restarting");
        host.assert_agent_runs(version);
        assert!(session.is_alive(), "{manager:?} {version}");
    }
}

#[test]
fn an_upgrade_to_linked_files_and_back_with_apt() {
    to_links_and_back(Manager::Apt);
}

#[test]
fn an_upgrade_to_linked_files_and_back_with_yum() {
    to_links_and_back(Manager::Yum);
}

#[test]
fn an_upgrade_to_linked_files_and_back_with_zypper() {
    to_links_and_back(Manager::Zypper);
}

#[test]
fn a_version_that_takes_over_and_is_never_ready_is_rolled_back_by_a_reload() {
    let host = between(Manager::Apt, "17.4.0", agent("17.4.1", "readyz=unready"));
    let session = host.open_session();
    let ran = host.upgrader("run").expect(11);
    has(
        &ran,
        "is running but no longer ready (it was ready before the upgrade): /readyz returned 503",
    );
    lacks(&ran, "restarting");
    assert!(session.is_alive());
    host.assert_agent_runs("17.4.0");
    // The old process has handed over twice by now: it has the session, and someone else takes new ones.
    host.open_session().end();
}

#[test]
fn an_agent_whose_unit_has_no_pid_file_is_restarted() {
    let host = between(Manager::Apt, "14.3.33", agent("14.3.34", "healthy"));
    // systemd takes the service for ended when the old process ends, and would kill the new one.
    let unit = "[Service]\nPIDFile=\nExecStart=\nExecStart=/usr/local/bin/teleport start --config=/etc/teleport.yaml\n";
    host.write("/etc/systemd/system/teleport.service.d/own.conf", unit);
    host.shell(
        "systemctl daemon-reload && systemctl restart teleport.service && rm -f /run/teleport.pid",
    )
    .expect(0);
    let ran = host.upgrader("run").expect(0);
    has(
        &ran,
        "teleport.service cannot reload; restarting teleport.service (this ends open sessions)",
    );
    let version =
        "/proc/$(systemctl show --value --property=MainPID teleport.service)/exe version --raw";
    assert_eq!(host.shell(version).stdout, "14.3.34\n");
}

/// A terminal on which alice is logged in (an entry in utmp). Its output is in `/run/screen`.
const TERMINAL: &str = "import os, pty, struct, time
main, terminal = pty.openpty()
name = os.ttyname(terminal).removeprefix('/dev/').encode()
login = struct.pack('hi32s4s32s256shhiii16s20x', 7, os.getpid(), name, name[-4:], b'alice', b'', 0, 0, 0, int(time.time()), 0, b'')
open('/run/utmp', 'wb').write(login)
screen = open('/run/screen', 'ab', 0)
while True: screen.write(os.read(main, 4096))
";

#[test]
fn a_restart_that_ends_sessions_is_announced_on_all_terminals() {
    let host = Host::with_upgrade();
    host.write("/run/terminal.py", TERMINAL);
    let terminal = host.spawn(&["python3", "/run/terminal.py"]);
    host.wait_for("the login", SOON, || host.read("/run/screen").is_some());
    // A reload keeps sessions, so there is no message.
    host.run(&["systemctl", "start", "teleport-upgrade.service"])
        .expect(0);
    host.assert_agent_runs("14.3.34");
    assert_eq!(host.read("/run/screen").as_deref(), Some(""));
    host.offer(Package::agent("teleport-ent", "14.3.35").without_reload());
    host.run(&["systemctl", "start", "teleport-upgrade.service"])
        .expect(0);
    host.assert_agent_runs("14.3.35");
    let text = "teleport-upgrade is restarting the Teleport agent (teleport.service). Sessions";
    let mut screen = String::new();
    host.wait_for("the message", SOON, || {
        screen = host.read("/run/screen").unwrap_or_default();
        screen
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .contains(text)
    });
    // A host without wall gets no warning about it.
    host.shell("mv /usr/bin/wall /usr/bin/no-wall").expect(0);
    host.offer(Package::agent("teleport-ent", "14.3.36").without_reload());
    let ran = host.upgrader("run").expect(0);
    assert!(!ran.stderr.contains("wall"), "{ran:?}");
    host.assert_agent_runs("14.3.36");
    terminal.interrupt();
}
