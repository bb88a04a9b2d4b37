//! The stand-in agent does what Teleport's agent does: what the other tests rest on.

use host::{Host, Manager, Package, SOON, agent_unit};
use std::time::{Duration, Instant};

const UNIT: &str = "teleport.service";

fn agent(version: &str) -> Package {
    Package::agent("teleport-ent", version)
}

/// Installs it as an administrator would.
fn install(host: &Host, package: Package) {
    let version = package.version().to_string();
    host.repository.publish(&[package]);
    host.shell(host.manager.refresh()).expect(0);
    host.shell(&host.manager.install("teleport-ent", Some(&version)))
        .expect(0);
    assert_eq!(host.installed("teleport-ent"), format!("ii {version}"));
}

/// Downgrades to an older version that is still in the repository.
fn roll_back(host: &Host, version: &str) {
    let command = match host.manager {
        Manager::Apt => format!("apt-get -q -y --allow-downgrades install teleport-ent={version}"),
        Manager::Yum | Manager::Dnf5 => format!("dnf -y downgrade teleport-ent-{version}"),
        Manager::Zypper => {
            format!("zypper --non-interactive install --oldpackage teleport-ent={version}")
        }
    };
    host.shell(&command).expect(0);
    assert_eq!(host.installed("teleport-ent"), format!("ii {version}"));
    assert_eq!(
        host.run(&["teleport", "version", "--raw"]).stdout,
        format!("{version}\n")
    );
    assert!(host.read("/lib/systemd/system/teleport.service").is_some());
    assert_eq!(host.property(UNIT, "LoadState"), "loaded");
}

fn logged(host: &Host, text: &str) -> bool {
    host.journal(UNIT).contains(text)
}

/// Whether the process of the pid file is ready.
fn is_ready(host: &Host) -> bool {
    host.read("/run/teleport.pid")
        .is_some_and(|pid| logged(host, &format!("is ready, pid {}\n", pid.trim())))
}

/// Sends SIGHUP to a process, and waits for the child to have written its pid file.
fn hang_up(host: &Host, pid: u32) -> u32 {
    host.run(&["kill", "-HUP", &pid.to_string()]).expect(0);
    host.wait_for("a new process's pid file", SOON, || host.agent_pid() != pid);
    host.agent_pid()
}

/// The state of a process: `S`, `Z`, or nothing if there is none.
fn state(host: &Host, pid: u32) -> String {
    host.shell(&format!("ps -o stat= -p {pid} | cut -c1"))
        .stdout
        .trim()
        .to_owned()
}

fn readyz(host: &Host) -> (String, String) {
    let ask = "curl -s -o /run/body -w '%{http_code}' --unix-socket /var/lib/teleport/debug.sock http://x/readyz";
    let code = host.shell(ask).stdout;
    (code, host.read("/run/body").unwrap_or_default())
}

#[test]
fn each_edition_says_its_version_in_its_own_way() {
    for (edition, name) in [
        ("teleport", "Teleport"),
        ("teleport-ent", "Teleport Enterprise"),
        ("teleport-ent-fips", "Teleport Enterprise"),
    ] {
        let host = Host::new();
        host.repository
            .publish(&[Package::agent(edition, "17.2.1")]);
        host.shell(&format!(
            "apt-get -q update && apt-get -q -y install {edition}"
        ))
        .expect(0);
        let said = host.run(&["teleport", "version"]).expect(0).stdout;
        assert_eq!(
            said,
            format!("{name} v17.2.1 git:v17.2.1-0-gabcdef go1.23.4\n")
        );
        assert_eq!(
            host.run(&["teleport", "version", "--raw"]).expect(0).stdout,
            "17.2.1\n"
        );
        host.agent_settings(&["no-raw"]);
        assert_eq!(
            host.run(&["teleport", "version", "--raw"]).expect(1).stdout,
            ""
        );
    }
}

#[test]
fn the_pid_file_is_locked_from_15_1_1_on() {
    let host = Host::with_agent("15.1.0");
    assert_eq!(
        host.run(&["pkill", "-0", "-L", "-F", "/run/teleport.pid"])
            .status,
        1
    );
    host.run(&["systemctl", "reload", UNIT]).expect(0);
    let host = Host::with_agent("15.1.1");
    host.run(&["pkill", "-0", "-L", "-F", "/run/teleport.pid"])
        .expect(0);
    host.run(&["systemctl", "reload", UNIT]).expect(0);
}

#[test]
fn from_14_to_15_the_new_units_command_does_not_reach_the_old_process_and_a_signal_does() {
    let host = Host::with_agent("14.3.33");
    let old = host.agent_pid();
    let session = host.open_session();
    install(&host, agent("15.4.22"));
    assert_ne!(host.run(&["systemctl", "reload", UNIT]).status, 0);
    let new = hang_up(&host, old);
    host.wait_for("the hand-over", SOON, || {
        logged(&host, "successfully started new process")
    });
    assert_eq!(host.running_version(), "15.4.22");
    assert!(host.is_alive(old) && host.is_alive(new));
    session.end();
    host.wait_for("the old process's end", SOON, || !host.is_alive(old));
}

#[test]
fn a_version_that_never_joins_ends_itself_after_two_minutes_and_nothing_else_happens() {
    let host = Host::with_agent("17.2.9");
    let (old, session) = (host.agent_pid(), host.open_session());
    install(&host, agent("17.2.10").behaviour("never-joins"));
    let began = Instant::now();
    let new = hang_up(&host, old);
    // Waits for its turn, which comes after the two minutes.
    host.wait_for("its end", Duration::from_secs(150), || !host.is_alive(new));
    let lived = began.elapsed();
    assert!(
        lived > Duration::from_secs(119) && lived < Duration::from_secs(130),
        "{lived:?}"
    );
    assert_eq!(
        host.read("/run/teleport.pid").unwrap().trim(),
        new.to_string(),
        "nobody writes the pid file again"
    );
    assert!(host.is_alive(old) && session.is_alive());
    assert_ne!(host.run(&["systemctl", "reload", UNIT]).status, 0);
    assert_eq!(host.property(UNIT, "NRestarts"), "0");
}

#[test]
fn while_a_child_is_waited_for_signals_wait_too() {
    let host = Host::with_agent("15.4.22");
    host.agent_settings(&["never-joins", "limit=6"]);
    let old = host.agent_pid();
    let child = hang_up(&host, old);
    host.run(&["kill", "-HUP", &old.to_string()]).expect(0);
    host.run(&["kill", "-TERM", &old.to_string()]).expect(0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        host.agent_pid(),
        child,
        "it has not taken the second signal"
    );
    assert!(host.is_alive(old), "nor the third");
    host.wait_for("the child's end", SOON, || !host.is_alive(child));
    host.wait_for("a second child", SOON, || host.agent_pid() != child);
}

#[test]
fn a_dead_child_is_noticed_from_15_1_1_on_and_not_before() {
    let host = Host::with_agent("14.3.33");
    let old = host.agent_pid();
    host.agent_settings(&["crash-after=0.1", "ready-after=1", "limit=5"]);
    let child = hang_up(&host, old);
    host.wait_for("a zombie", SOON, || state(&host, child) == "Z");
    assert!(!logged(&host, "failed to start new process"));
    host.wait_for("the limit", SOON, || {
        logged(&host, "failed to start new process")
    });
    host.wait_for("the child to be reaped", SOON, || {
        state(&host, child).is_empty()
    });

    let host = Host::with_agent("15.4.22");
    host.agent_settings(&["crash-after=0.1", "ready-after=1"]);
    let child = hang_up(&host, host.agent_pid());
    host.wait_for("the news", Duration::from_secs(10), || {
        logged(&host, "failed to start new process")
    });
    host.wait_for("the child to be reaped", SOON, || {
        state(&host, child).is_empty()
    });
}

#[test]
fn a_signal_before_the_pid_file_is_written_ends_the_process() {
    let host = Host::with_agent("14.3.33");
    host.agent_settings(&["hang-in-start"]);
    host.run(&["systemctl", "restart", UNIT]).expect(0);
    assert_eq!(host.read("/run/teleport.pid"), None);
    let pid = host.property(UNIT, "MainPID");
    host.run(&["kill", "-HUP", &pid]).expect(0);
    host.wait_for("its end", SOON, || {
        host.property(UNIT, "SubState") == "auto-restart"
    });
}

#[test]
fn the_child_has_the_environment_that_its_parent_began_with() {
    let host = Host::with_agent("16.4.3");
    host.write(
        "/etc/systemd/system/teleport.service.d/new.conf",
        "[Service]\nEnvironment=NEW=yes\n",
    );
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    let old = host.agent_pid();
    let new = hang_up(&host, old);
    let environment = host.read(&format!("/proc/{new}/environ")).unwrap();
    assert!(!environment.contains("NEW=yes"), "{environment}");
    assert!(
        environment.contains("TELEPORT_EXT_UPGRADER=unit")
            && environment.contains("TELEPORT_OS_FILES="),
        "{environment}"
    );
    assert_eq!(
        host.read(&format!("/proc/{new}/cmdline")),
        host.read(&format!("/proc/{old}/cmdline"))
    );
}

#[test]
fn old_and_new_process_answer_readyz_until_the_new_one_is_ready() {
    let host = Host::with_agent("17.3.3");
    let old = host.agent_pid();
    assert_eq!(
        readyz(&host),
        ("200".into(), format!(r#"{{"status":"ok","pid":{old}}}"#))
    );
    host.agent_settings(&["ready-after=3600"]);
    let new = hang_up(&host, old);
    let answers = || readyz(&host).1;
    for pid in [old, new, old, new] {
        host.wait_for("an answer of either", SOON, || {
            answers().contains(&format!(r#""pid":{pid}}}"#))
        });
    }
    host.wait_for("400 of the new one", SOON, || readyz(&host).0 == "400");
}

#[test]
fn readyz_is_as_old_as_it_is() {
    for (version, code, body) in [
        ("16.1.8", "000", None),
        ("16.4.16", "404", None),
        ("16.4.17", "200", Some(r#"{"status":"ok"}"#)),
        ("17.2.8", "404", None),
        ("17.2.9", "200", Some(r#"{"status":"ok"}"#)),
    ] {
        let host = Host::with_agent(version);
        let answer = readyz(&host);
        assert_eq!(answer.0, code, "{version}");
        assert!(body.is_none_or(|body| body == answer.1), "{answer:?}");
    }
    let host = Host::with_agent("17.2.9");
    host.agent_settings(&["cluster=down"]);
    assert_eq!(readyz(&host).0, "503");
    host.agent_settings(&["recover=1"]);
    assert_eq!(readyz(&host).0, "400");
    host.wait_for("its recovery", SOON, || readyz(&host).0 == "200");
}

#[test]
fn without_its_cluster_an_agent_runs_and_a_reload_fails() {
    let host = Host::with_agent("15.4.22");
    let yaml = host.read("/etc/teleport.yaml").unwrap();
    host.write(
        "/etc/teleport.yaml",
        &yaml.replace(
            "  nodename:",
            "  proxy_server: proxy.example.com:443\n  nodename:",
        ),
    );
    host.agent_settings(&["cluster=tcp", "limit=2"]);
    let old = host.agent_pid();
    let new = hang_up(&host, old);
    host.wait_for("the new one's end", SOON, || !host.is_alive(new));
    assert!(host.is_alive(old));
    host.run(&["systemctl", "restart", UNIT]).expect(0);
    host.wait_for("another process", SOON, || {
        host.read("/run/teleport.pid")
            .is_some_and(|pid| pid.trim() != new.to_string())
    });
    let proxy = host.cluster("15.4.22");
    host.wait_for("readiness", SOON, || is_ready(&host));
    drop(proxy);
}

#[test]
fn sessions_are_processes_that_a_restart_ends() {
    let host = Host::with_agent("15.4.22");
    let sessions = [host.open_session(), host.open_session()];
    let group = host
        .run(&[
            "cat",
            "/sys/fs/cgroup/system.slice/teleport.service/cgroup.procs",
        ])
        .expect(0)
        .stdout;
    for session in &sessions {
        assert!(
            group.lines().any(|pid| pid == session.pid.to_string()),
            "{group}"
        );
        let command = host
            .read(&format!("/proc/{}/cmdline", session.pid))
            .unwrap();
        assert_eq!(command, "/usr/local/bin/teleport\0exec\0");
    }
    let old = host.agent_pid();
    let new = hang_up(&host, old);
    host.wait_for("the hand-over", SOON, || {
        logged(&host, "shutting down gracefully")
    });
    let later = host.open_session();
    host.run(&["kill", "-KILL", &old.to_string()]).expect(0);
    host.wait_for("the end of the old process's sessions", SOON, || {
        sessions.iter().all(|session| !session.is_alive())
    });
    assert!(later.is_alive() && host.is_alive(new));
    host.run(&["systemctl", "restart", UNIT]).expect(0);
    assert!(!later.is_alive());
}

#[test]
fn the_unit_is_that_of_the_version() {
    let unit = |version| agent_unit(version);
    assert!(unit("14.3.33").contains("ExecReload=/bin/kill -HUP $MAINPID\n"));
    assert!(
        unit("15.4.22")
            .contains("ExecReload=/bin/sh -c \"exec pkill -HUP -L -F /run/teleport.pid\"\n")
    );
    assert!(unit("15.1.1").contains("Restart=on-failure\nEnvironmentFile"));
    assert!(unit("18.0.0").contains("Restart=always\nRestartSec=5\n"));
}

#[test]
fn the_schedule_is_written_in_place_and_emptied_without_the_cluster() {
    let host = Host::with_agent("15.4.22");
    host.agent_settings(&[
        "export=-60..3600/86400..90000",
        "export-after=0",
        "export-lost=1",
    ]);
    host.write("/etc/teleport-upgrade.d/schedule", "");
    host.set_mode("/etc/teleport-upgrade.d/schedule", 0o640);
    host.run(&["systemctl", "restart", UNIT]).expect(0);
    let read = || host.read("/etc/teleport-upgrade.d/schedule").unwrap();
    host.wait_for("an export", SOON, || read().lines().count() == 3);
    assert_eq!(read().lines().next(), Some("# generated by teleport"));
    host.agent_settings(&[
        "export=-60..3600",
        "export-after=0",
        "export-lost=1",
        "cluster=down",
    ]);
    host.wait_for("an empty file", SOON, || read().is_empty());
    assert_eq!(host.mode("/etc/teleport-upgrade.d/schedule"), 0o640);
    host.agent_settings(&["export=nop", "export-after=0"]);
    host.write(
        "/etc/systemd/system/teleport.service.d/without.conf",
        "[Service]\nUnsetEnvironment=TELEPORT_EXT_UPGRADER\n",
    );
    host.shell("systemctl daemon-reload && systemctl restart teleport.service")
        .expect(0);
    host.wait_for("readiness", SOON, || is_ready(&host));
    assert_eq!(read(), "");
}

fn is_linked(host: &Host) -> bool {
    let linked = |name: &str| {
        host.run(&["readlink", &format!("/usr/local/bin/{name}")])
            .stdout
    };
    ["teleport", "tctl"]
        .iter()
        .all(|name| linked(name) == format!("/opt/teleport/system/bin/{name}\n"))
        && host.read("/lib/systemd/system/teleport.service").is_some()
}

fn from_one_layout_to_the_other_and_back(manager: Manager) {
    let host = Host::with_agent_from(manager, "17.2.9");
    assert!(!is_linked(&host) && host.read("/opt/teleport/system/bin/teleport").is_none());
    install(&host, agent("17.3.3"));
    assert!(is_linked(&host));
    assert_eq!(
        host.run(&["teleport", "version", "--raw"]).stdout,
        "17.3.3\n"
    );
    host.run(&["systemctl", "reload", UNIT]).expect(0);
    host.wait_for("the new process", SOON, || {
        host.running_version() == "17.3.3"
    });
    install(&host, agent("17.7.3"));
    assert!(is_linked(&host));
    roll_back(&host, "17.3.3");
    assert!(is_linked(&host));
    roll_back(&host, "17.2.9");
    assert!(!is_linked(&host));
}

#[test]
fn from_one_layout_to_the_other_and_back_with_apt() {
    from_one_layout_to_the_other_and_back(Manager::Apt);
}

#[test]
fn from_one_layout_to_the_other_and_back_with_dnf() {
    from_one_layout_to_the_other_and_back(Manager::Yum);
}

#[test]
fn from_one_layout_to_the_other_and_back_with_zypper() {
    from_one_layout_to_the_other_and_back(Manager::Zypper);
}

#[test]
fn the_rpm_of_17_3_0_leaves_no_program_behind() {
    for manager in [Manager::Yum, Manager::Zypper] {
        let host = Host::with_agent_from(manager, "17.2.9");
        host.repository.publish(&[agent("17.3.0")]);
        host.shell(host.manager.refresh()).expect(0);
        // Whatever the status.
        host.shell(&host.manager.install("teleport-ent", Some("17.3.0")));
        assert_eq!(host.installed("teleport-ent"), "ii 17.3.0");
        assert_ne!(
            host.run(&["test", "-e", "/usr/local/bin/teleport"]).status,
            0
        );
        assert_eq!(host.read("/lib/systemd/system/teleport.service"), None);
        assert!(host.is_alive(host.agent_pid()), "what runs, runs on");
        roll_back(&host, "17.2.9");
    }
}
