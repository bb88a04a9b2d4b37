//! Never ahead of the cluster, never two major versions behind, one major version at a time; and who is not to be touched at all.

use host::{Cert, Host, Manager, Package, Response, SOON, WAITS, pong};
use std::fs;

/// A host whose agent of 12.4.1 is wanted to be 14.3.34; the repository has the newest 13 too, and an older one.
fn two_behind(manager: Manager) -> Host {
    let host = two_behind_without_13(manager);
    host.repository.publish(&[
        Package::agent("teleport-ent", "13.4.9"),
        Package::agent("teleport-ent", "13.4.15"),
    ]);
    host
}

fn two_behind_without_13(manager: Manager) -> Host {
    let host = Host::with_agent_from(manager, "12.4.1");
    host.configure("observe-seconds", "1\n");
    host.open_window();
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host
}

fn agent(version: &str) -> Package {
    Package::agent("teleport-ent", version)
}

/// The versions of the agent that have run on the host, in their order.
fn versions_run(host: &Host) -> Vec<String> {
    let journal = host.journal("teleport.service");
    let started = journal
        .lines()
        .filter_map(|line| line.strip_prefix("Teleport v")?.split_once(" started pid"));
    started.map(|(version, _)| version.to_owned()).collect()
}

#[track_caller]
fn last_line(stdout: &str) -> &str {
    stdout.lines().last().unwrap_or_default()
}

fn goes_through_the_major_version_between(manager: Manager) {
    let host = two_behind(manager);
    let ran = host.upgrader("run").expect(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], "an upgrade is available (12.4.1 -> 14.3.34)");
    for (line, done) in [
        (
            lines[1],
            "upgraded from 12.4.1 to 13.4.15 (intermediate version; target 14.3.34) in ",
        ),
        (lines[2], "upgraded from 13.4.15 to 14.3.34 in "),
    ] {
        assert!(
            line.starts_with(done) && line.contains(" s (maintenance window open until "),
            "{line}"
        );
    }
    // Each was watched: it ran as a service, the one after the other.
    assert_eq!(versions_run(&host), ["12.4.1", "13.4.15", "14.3.34"]);
    assert_eq!(
        ran.stderr
            .matches("verifying teleport.service for 1 s")
            .count(),
        2,
        "{}",
        ran.stderr
    );
    host.assert_agent_runs("14.3.34");
    assert_eq!(
        host.upgrader("run").expect(0).stdout,
        "no upgrades available (14.3.34 == 14.3.34)\n"
    );
}

fn is_not_allowed_when_the_repository_has_none_of_the_major_version_between(manager: Manager) {
    let host = two_behind_without_13(manager);
    // Nor is one of its release candidates any good.
    host.repository.publish(&[agent("13.0.0~rc.1")]);
    for command in ["run", "force"] {
        let ran = host.upgrader(command).expect(10);
        let reason = format!(
            "not allowed: upgrade from 12.4.1 to 14.3.34. Major version 13 must be installed first, and the repository configured in {} \
             has no 13.x release (latest: 14.3.34). Switch the repository to stable/rolling, or to stable/v13 and publish a 13.x version \
             first",
            manager.source_file()
        );
        assert_eq!(last_line(&ran.stdout), reason);
    }
    host.assert_agent_runs("12.4.1");
}

/// To a release candidate, on to its release, and back.
fn follows_release_candidates_if_it_may(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.repository
        .publish(&[agent("15.0.0~rc.1"), agent("15.0.0")]);
    host.set_version("15.0.0-rc.1");
    let ran = host.upgrader("run").expect(10);
    assert!(
        last_line(&ran.stdout).contains("is a pre-release, and prerelease is not enabled. "),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.33");
    host.configure("prerelease", "yes\n");
    for (target, package) in [
        ("15.0.0-rc.1", "15.0.0~rc.1"),
        ("15.0.0", "15.0.0"),
        ("15.0.0-rc.1", "15.0.0~rc.1"),
    ] {
        host.set_version(target);
        host.upgrader("run").expect(0);
        assert_eq!(
            (host.installed("teleport-ent"), host.running_version()),
            (format!("ii {package}"), target.to_string())
        );
        assert_eq!(
            host.upgrader("run").expect(0).stdout,
            format!("no upgrades available ({target} == {target})\n")
        );
    }
}

macro_rules! on_every_package_manager {
    ($($case:ident)*) => {
        mod apt { $(#[test] fn $case() { super::$case(super::Manager::Apt); })* }
        mod yum { $(#[test] fn $case() { super::$case(super::Manager::Yum); })* }
        mod zypper { $(#[test] fn $case() { super::$case(super::Manager::Zypper); })* }
    };
}

on_every_package_manager! {
    goes_through_the_major_version_between
    is_not_allowed_when_the_repository_has_none_of_the_major_version_between
    follows_release_candidates_if_it_may
}

#[test]
fn dry_run_shows_the_path_and_changes_nothing() {
    for manager in [Manager::Apt, Manager::Yum, Manager::Zypper] {
        let host = two_behind(manager);
        host.upgrader("version").expect(0);
        let before = (manager == Manager::Apt).then(|| host.snapshot());
        // The index that is there is of the time before the packages.
        let in_words = "upgrade from 12.4.1 to 14.3.34 via the latest 13.x in the repository";
        let said = host.upgrader("dry-run").expect(0).stdout;
        assert!(
            last_line(&said).starts_with(&format!("would {in_words} now: ")),
            "{said}"
        );
        // A mere look at rpm's database by root leaves a trace beside it.
        before
            .iter()
            .for_each(|before| host.assert_unchanged(before));
        host.shell(manager.refresh()).expect(0);
        host.closed_window();
        let before = (manager == Manager::Apt).then(|| host.snapshot());
        let said = host.upgrader("dry-run").expect(0).stdout;
        // Only apt's can be read without leaving a trace.
        let known = if manager == Manager::Apt {
            "upgrade from 12.4.1 to 14.3.34 via 13.4.15"
        } else {
            in_words
        };
        assert!(
            last_line(&said).starts_with(&format!("{known} is pending: ")),
            "{said}"
        );
        before
            .iter()
            .for_each(|before| host.assert_unchanged(before));
    }
}

#[test]
fn a_stop_that_does_not_run_is_rolled_back_and_held() {
    let host = two_behind(Manager::Apt);
    // How long the old process waits for one that crashed is a matter of `reload.rs`.
    host.agent_settings(&["dead-child=noticed"]);
    host.configure("observe-seconds", "5\n");
    host.repository
        .publish(&[agent("13.4.15").behaviour("never-joins,crash-after=1")]);
    let ran = host.upgrader("run").expect(11);
    assert!(
        last_line(&ran.stdout)
            .starts_with("upgrade from 12.4.1 to 13.4.15 (intermediate version; target 14.3.34) failed and was rolled back: "),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("12.4.1");
    let held = host.upgrader("run").expect(0).stdout;
    assert!(
        last_line(&held).starts_with(
            "skipping 13.4.15 (intermediate version; target 14.3.34): it failed on this host at "
        ),
        "{held}"
    );
    assert!(
        last_line(&held).contains(
            ". Add a newer 13.x version to the repository, publish a different version, or retry now with: sudo teleport-upgrade force"
        ),
        "{held}"
    );
    host.assert_agent_runs("12.4.1");
    host.repository.publish(&[agent("13.4.16")]);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_run_that_was_killed_between_two_steps_is_continued_by_the_next() {
    let host = two_behind(Manager::Apt);
    let path = host.served_as("teleport-ent", "14.3.34");
    host.packages.raw_route(&path, |_, stream| {
        // Until the client is gone.
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let pass = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the second step", SOON, || {
        host.packages.paths().contains(&path)
    });
    assert_ne!(pass.interrupt().status, 0);
    host.assert_agent_runs("13.4.15");
    host.packages.remove_route(&path);
    let said = host.upgrader("run").expect(0).stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "an upgrade is available (13.4.15 -> 14.3.34)");
    assert!(
        lines[1].starts_with(
            "13.4.15 is an intermediate version on the upgrade path from 12.4.1 to 14.3.34 (installed "
        ),
        "{said}"
    );
    assert!(
        lines[2].starts_with("upgraded from 13.4.15 to 14.3.34 in "),
        "{said}"
    );
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_run_that_was_killed_within_the_first_step_is_finished_and_continued() {
    let host = two_behind(Manager::Apt);
    host.repository.publish(&[agent("13.4.15").postinst(WAITS)]);
    let pass = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    assert_ne!(pass.interrupt().status, 0);
    host.write("/run/go-on", "");
    let said = host.upgrader("run").expect(0).stdout;
    assert!(
        said.contains("upgraded from 12.4.1 to 13.4.15 (intermediate version; target 14.3.34) in "),
        "{said}"
    );
    host.assert_agent_runs("14.3.34");
}

#[test]
fn an_operator_may_think_better_of_the_way_while_it_is_gone() {
    let host = two_behind(Manager::Apt);
    host.repository.publish(&[agent("13.4.15").postinst(WAITS)]);
    let pass = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the first step", SOON, || {
        host.read("/run/installing").is_some()
    });
    host.set_version("none");
    host.write("/run/go-on", "");
    let ran = pass.wait().expect(0);
    assert!(
        last_line(&ran.stdout).starts_with(
            "upgraded from 12.4.1 to 13.4.15 (intermediate version; target 14.3.34) in "
        ),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("13.4.15");
}

#[test]
fn a_version_that_failed_is_held_after_the_agent_was_repaired_too() {
    let host = two_behind(Manager::Apt);
    // How long the old process waits for one that crashed is a matter of `reload.rs`.
    host.agent_settings(&["dead-child=noticed"]);
    host.configure("observe-seconds", "5\n");
    host.repository
        .publish(&[agent("14.3.34").behaviour("never-joins,crash-after=1")]);
    host.upgrader("run").expect(11);
    host.assert_agent_runs("13.4.15");
    host.shell("rm /usr/local/bin/teleport").expect(0);
    let repaired = host.upgrader("run").expect(0).stdout;
    assert!(
        last_line(&repaired).starts_with("reinstalled 13.4.15 ("),
        "{repaired}"
    );
    host.assert_agent_runs("13.4.15");
    let said = host.upgrader("run").expect(0).stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[1].starts_with(
            "13.4.15 is an intermediate version on the upgrade path from 12.4.1 to 14.3.34 (installed "
        ),
        "{said}"
    );
    assert!(
        lines[2].starts_with("skipping 14.3.34: it failed on this host at "),
        "{said}"
    );
    host.assert_agent_runs("13.4.15");
}

#[test]
fn a_window_that_closes_between_two_steps_leaves_the_second_to_the_next() {
    let host = two_behind(Manager::Apt);
    // As an agent that exports its next window would.
    let closes =
        "now=$(date +%s); echo $((now + 86400)) $((now + 90000)) >/etc/teleport-upgrade.d/schedule";
    host.repository
        .publish(&[agent("13.4.15").postinst(closes)]);
    let said = host.upgrader("run").expect(0).stdout;
    assert!(
        said.contains("upgraded from 12.4.1 to 13.4.15 (intermediate version; target 14.3.34) in "),
        "{said}"
    );
    assert!(
        last_line(&said)
            .starts_with("upgrade from 13.4.15 to 14.3.34 is pending: next maintenance window"),
        "{said}"
    );
    host.assert_agent_runs("13.4.15");
    let recorded = host.read("/var/lib/teleport-upgrade/history.json").unwrap();
    assert!(
        recorded.contains("\"to\": \"13.4.15\"") && recorded.contains("\"goal\": \"14.3.34\""),
        "{recorded}"
    );
    host.open_window();
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn force_goes_all_the_way() {
    let host = two_behind(Manager::Apt);
    host.closed_window();
    host.upgrader("force").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_target_ahead_of_the_cluster_is_not_allowed_even_when_critical_and_by_force() {
    let host = Host::with_upgrade();
    let proxy = host.named_cluster("14.3.33");
    host.set_critical("yes");
    for command in ["run", "force", "dry-run"] {
        let ran = host.upgrader(command).expect(10);
        let reason = "not allowed: upgrade from 14.3.33 to 14.3.34. The cluster runs 14.3.33 (reported by proxy.example.com:443), and \
                      agents must not be newer than the cluster. Upgrade the cluster first, or publish 14.3.33 or older";
        assert_eq!(last_line(&ran.stdout), reason, "{command}");
    }
    host.assert_agent_runs("14.3.33");
    // Two major versions behind is not allowed either.
    proxy.route("/webapi/ping", pong("16.0.0"));
    let ran = host.upgrader("force").expect(10);
    assert!(
        last_line(&ran.stdout).contains("14.3.34 is more than one major version behind. "),
        "{}",
        ran.stdout
    );
    // An agent that is down is repaired all the same.
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
    let ran = host.upgrader("run").expect(10);
    assert!(
        ran.stdout
            .contains("restarted teleport.service on the installed version 14.3.33"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.33");
    proxy.route("/webapi/ping", pong("14.3.34"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_host_that_is_up_to_date_asks_no_cluster() {
    let host = Host::with_upgrade();
    let proxy = host.named_cluster("13.0.0");
    host.set_version("14.3.33");
    assert_eq!(
        host.upgrader("run").expect(0).stdout,
        "no upgrades available (14.3.33 == 14.3.33)\n"
    );
    assert!(proxy.requests().is_empty());
    assert_eq!(host.releases.requests().len(), 1);
}

/// The one line that says that the cluster's version is not known.
#[track_caller]
fn warning(stderr: &str) -> &str {
    let warnings: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with("warning: "))
        .collect();
    assert_eq!(warnings.len(), 1, "once: {stderr}");
    let start = "warning: cannot determine the cluster version, so compatibility is not checked: ";
    warnings[0]
        .strip_prefix(start)
        .unwrap_or_else(|| panic!("{}", warnings[0]))
}

#[test]
fn a_cluster_that_does_not_say_its_version_holds_nothing_up() {
    let host = Host::with_upgrade();
    let proxy = host.named_cluster("14.3.33");
    let address = "https://proxy.example.com/webapi/ping";
    for (response, part) in [
        (Response::status(404), " returned 404 Not Found"),
        (
            Response::ok("<html>"),
            ": the server is not a Teleport Proxy",
        ),
        (
            Response::ok("{\"server_version\": \"\\u001b[31m\"}"),
            ": invalid server_version: \"\\u{1b}[31m\" is not a version",
        ),
        (
            Response::ok(vec![b' '; 64 * 1024 + 1]),
            ": response larger than 64 KiB",
        ),
        (
            Response::redirect("http://proxy.example.com/webapi/ping"),
            ": redirected to a non-HTTPS URL",
        ),
    ] {
        proxy.route("/webapi/ping", response);
        let ran = host.upgrader("dry-run").expect(0);
        let said = warning(&ran.stderr);
        assert!(
            said.starts_with(&format!("{address}{part}")) && said.ends_with(". Check proxy"),
            "{said}"
        );
        assert!(
            ran.stdout
                .contains("would upgrade from 14.3.33 to 14.3.34 now"),
            "{}",
            ran.stdout
        );
    }
    proxy.set_cert(Cert::OtherName);
    let ran = host.upgrader("dry-run").expect(0);
    assert!(
        warning(&ran.stderr).contains("the server's certificate is not valid for "),
        "{}",
        ran.stderr
    );
    proxy.stop();
    let ran = host.upgrader("run").expect(0);
    let unknown = "compatibility is not checked: cannot reach https://proxy.example.com/webapi/ping: connection refused";
    assert_eq!(ran.stderr.matches(unknown).count(), 1, "{}", ran.stderr);
    // The agent's windows say that it is connected, whatever the Proxy answers.
    assert!(
        ran.stderr.contains("reloading teleport.service") && !ran.stderr.contains("restarting"),
        "{}",
        ran.stderr
    );
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_proxys_own_channel_and_its_version_come_over_one_connection() {
    let host = Host::with_upgrade();
    let channel = "/v1/webapi/automaticupgrades/channel/default";
    host.configure("endpoint", &format!("releases.example.com{channel}\n"));
    host.releases
        .route(&format!("{channel}/version"), Response::ok("v14.3.34"));
    host.releases
        .route(&format!("{channel}/critical"), Response::ok("yes"));
    host.releases.route("/webapi/ping", pong("14.3.33"));
    let ran = host.upgrader("run").expect(10);
    assert!(
        last_line(&ran.stdout)
            .contains("The cluster runs 14.3.33 (reported by releases.example.com:443)"),
        "{}",
        ran.stdout
    );
    host.releases.route("/webapi/ping", pong("15.1.0"));
    host.closed_window();
    host.releases.forget_requests();
    host.upgrader("run").expect(0);
    let version = format!("{channel}/version");
    // The version once more, since the two files may have been exchanged in between.
    assert_eq!(
        host.releases.paths(),
        [
            &version,
            "/webapi/ping",
            &format!("{channel}/critical"),
            &version
        ]
    );
    let connections: Vec<usize> = host
        .releases
        .requests()
        .iter()
        .map(|request| request.connection)
        .collect();
    assert!(
        connections
            .iter()
            .all(|connection| *connection == connections[0]),
        "{connections:?}"
    );
    host.assert_agent_runs("14.3.34");
}

/// An agent's settings, with these lines in their first section.
fn settings(lines: &str) -> String {
    format!(
        "version: v3\nteleport:\n  nodename: host\n{lines}ssh_service:\n  enabled: yes\n{AGENT_ONLY}"
    )
}

/// What makes a host one of an agent only.
const AGENT_ONLY: &str = "auth_service:\n  enabled: \"no\"\nproxy_service: {enabled: no}\n";

#[test]
fn the_cluster_is_found_where_the_agent_finds_it() {
    let host = Host::with_upgrade();
    let _proxy = host.cluster("14.3.33");
    let ahead = "The cluster runs 14.3.33 (reported by proxy.example.com:443)";
    for lines in [
        "  proxy_server: proxy.example.com:443\n",
        "  auth_server: proxy.example.com:443\n",
        "  auth_servers:\n    - nobody.example.com:3025\n    - proxy.example.com:443\n",
    ] {
        host.write("/etc/teleport.yaml", &settings(lines));
        let ran = host.upgrader("dry-run").expect(10);
        assert!(
            last_line(&ran.stdout).contains(ahead),
            "{lines}: {}",
            ran.stdout
        );
    }
    // The service may start the agent with other settings.
    host.write("/etc/teleport.yaml", &settings(""));
    host.write(
        "/srv/agent.yaml",
        &settings("  proxy_server: proxy.example.com:443\n"),
    );
    let start = "ExecStart=\nExecStart=/usr/local/bin/teleport start --config=/srv/agent.yaml --pid-file=/run/teleport.pid\n";
    host.write(
        "/etc/systemd/system/teleport.service.d/settings.conf",
        &format!("[Service]\n{start}"),
    );
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    assert!(last_line(&host.upgrader("dry-run").expect(10).stdout).contains(ahead));
    // What the file "proxy" names comes first.
    host.configure("proxy", "releases.example.com\n");
    host.releases.route("/webapi/ping", pong("14.3.34"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn strange_settings_of_the_agent_are_a_warning_where_they_leave_no_doubt() {
    let host = Host::with_upgrade();
    for (text, part) in [
        ("teleport: [", "not YAML: "),
        (
            "teleport: {proxy_server: \"a b\"}",
            "\"a b\" contains invalid characters",
        ),
    ] {
        host.write("/etc/teleport.yaml", &format!("{AGENT_ONLY}{text}"));
        let ran = host.upgrader("dry-run").expect(0);
        let first = ran.stderr.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("warning: /etc/teleport.yaml: ") && first.contains(part),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stdout
                .contains("would upgrade from 14.3.33 to 14.3.34 now"),
            "{}",
            ran.stdout
        );
    }
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_host_whose_settings_cannot_be_read_is_left_alone() {
    let host = Host::with_upgrade();
    host.set_critical("yes");
    let before = |command: &str| {
        let ran = host.upgrader(command).expect(10);
        assert!(
            !ran.stderr.contains("root:") && !ran.stdout.contains("root:"),
            "{} {}",
            ran.stdout,
            ran.stderr
        );
        last_line(&ran.stdout).to_string()
    };
    for (text, part) in [
        (
            format!("teleport: [\n{AGENT_ONLY}"),
            "cannot read /etc/teleport.yaml: not YAML: ",
        ),
        ("{".repeat(80), "nested more than 32 levels deep"),
        (
            AGENT_ONLY.to_string() + &"# much\n".repeat(200_000),
            "larger than 1048576 bytes",
        ),
    ] {
        host.write("/etc/teleport.yaml", &text);
        let said = before("run");
        assert!(
            said.contains(part)
                && said.contains("it may run the Auth Service or the Proxy Service"),
            "{said}"
        );
    }
    for (lines, part) in [
        (
            "mkfifo /etc/teleport.yaml",
            "cannot read /etc/teleport.yaml: not a regular file",
        ),
        (
            "mkdir /etc/teleport.yaml",
            "cannot read /etc/teleport.yaml: not a regular file",
        ),
        ("ln -s /etc/shadow /etc/teleport.yaml", "/etc/teleport.yaml"),
        (
            "true",
            "are enabled by default and not disabled in /etc/teleport.yaml (no such file).",
        ),
    ] {
        host.remove("/etc/teleport.yaml");
        host.shell(lines).expect(0);
        for command in ["run", "force", "dry-run"] {
            let said = before(command);
            assert!(
                said.starts_with("not allowed: unsupported host: ") && said.contains(part),
                "{lines}: {said}"
            );
        }
    }
    host.assert_agent_runs("14.3.33");
    // What only root may read says nothing to others.
    host.write("/etc/teleport.yaml", &settings(""));
    host.set_mode("/etc/teleport.yaml", 0o600);
    let ran = host
        .command(&["teleport-upgrade", "dry-run"])
        .user("alice")
        .run()
        .expect(0);
    assert!(
        ran.stdout
            .contains("would upgrade from 14.3.33 to 14.3.34 now"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("/etc/teleport.yaml: permission denied"),
        "{ran:?}"
    );
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn an_agent_is_as_ready_as_it_says_in_its_own_data_directory() {
    let host = Host::with_agent("17.2.9");
    host.write(
        "/etc/teleport.yaml",
        &settings("  data_dir: /srv/teleport\n"),
    );
    host.run(&["systemctl", "restart", "teleport.service"])
        .expect(0);
    host.wait_for("the agent", SOON, || {
        host.path("/srv/teleport/debug.sock").exists()
    });
    host.remove("/var/lib/teleport");
    host.open_window();
    host.configure("observe-seconds", "1\n");
    host.offer(agent("17.2.10").behaviour("readyz=unready"));
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
fn a_pin_is_held_and_moved_by_its_file_alone() {
    let host = Host::with_upgrade();
    for (pin, name) in [
        ("14.3.33", "pinned to 14.3.33, so 14.3.34 is not installed"),
        (
            "13",
            "pinned to major version 13, so 14.3.34 is not installed",
        ),
    ] {
        host.configure("pin", pin);
        host.set_critical("yes");
        for command in ["run", "force"] {
            let ran = host.upgrader(command).expect(0);
            assert!(last_line(&ran.stdout).contains(name), "{}", ran.stdout);
        }
    }
    host.assert_agent_runs("14.3.33");
    host.configure("pin", "14\n");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    host.offer(agent("15.0.0"));
    host.upgrader("run").expect(0);
    host.configure("pin", "15.0.0\n");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("15.0.0");
}

#[test]
fn a_host_of_the_cluster_itself_is_left_alone() {
    const ADVICE: &str = "Upgrade cluster services manually (man teleport-upgrade, CLUSTER) and run: \
                          sudo teleport-upgrade disable";
    for (text, reason) in [
        (
            "auth_service: {enabled: yes}\nproxy_service: {enabled: no}\n",
            "it runs the Auth Service (auth_service in /etc/teleport.yaml)",
        ),
        (
            "proxy_service:\n  enabled: On\n",
            "it runs the Proxy Service (proxy_service in /etc/teleport.yaml)",
        ),
        (
            "teleport:\n  nodename: host\nauth_service: {cluster_name: example}\n",
            "the Auth Service and the Proxy Service are enabled by default and not disabled in /etc/teleport.yaml. If this host runs an agent \
             only, set \"enabled: no\" under auth_service and proxy_service there",
        ),
    ] {
        let host = Host::with_upgrade();
        host.set_critical("yes");
        host.write("/etc/teleport.yaml", text);
        for command in ["run", "force", "dry-run"] {
            let ran = host.upgrader(command).expect(10);
            assert_eq!(
                ran.stdout,
                format!("not allowed: unsupported host: {reason}. {ADVICE}\n"),
                "{command}"
            );
        }
        let page = host.upgrader("status").expect(0).stdout;
        assert!(
            page.contains("disabled: automatic upgrades are off")
                && !page.contains("teleport-upgrade enable"),
            "{page}"
        );
        assert!(host.releases.requests().is_empty(), "nobody is asked");
        assert_eq!(
            host.run(&["apt-mark", "showhold"]).expect(0).stdout,
            "",
            "nor is its package locked"
        );
        host.assert_agent_runs("14.3.33");
    }
}

/// Has the unit start the agent in another way.
fn starts_with(host: &Host, lines: &str) {
    host.write(
        "/etc/systemd/system/teleport.service.d/test.conf",
        &format!("[Service]\n{lines}\n"),
    );
    host.run(&["systemctl", "daemon-reload"]).expect(0);
}

#[test]
fn the_command_line_and_the_environment_have_the_last_word() {
    let host = Host::with_upgrade();
    let start = |arguments: &str| {
        let command = "/usr/local/bin/teleport start --config /etc/teleport.yaml --pid-file=/run/teleport.pid";
        starts_with(
            &host,
            &format!("ExecStart=\nExecStart={command} {arguments}"),
        );
    };
    let not_allowed = |part: &str| {
        let said = last_line(&host.upgrader("dry-run").expect(10).stdout).to_string();
        assert!(said.contains(part), "{part}: {said}");
    };
    let allowed = || {
        assert!(
            host.upgrader("dry-run")
                .expect(0)
                .stdout
                .contains("would upgrade from 14.3.33 to 14.3.34 now")
        )
    };
    start("--roles=auth,node");
    not_allowed("it runs the Auth Service (--roles=auth,node of teleport.service)");
    host.write("/etc/default/teleport", "ROLES='-r proxy'\n");
    start("$ROLES");
    not_allowed("it runs the Proxy Service (--roles=proxy of teleport.service)");
    host.remove("/etc/default/teleport");
    // The process that runs is what it was, whatever the unit says by now.
    start("--roles=proxy");
    host.run(&["systemctl", "restart", "teleport.service"])
        .expect(0);
    start("--roles=node");
    host.write("/etc/teleport.yaml", "");
    not_allowed("it runs the Proxy Service (--roles=proxy of teleport.service)");
    host.run(&["systemctl", "restart", "teleport.service"])
        .expect(0);
    host.wait_for("the agent", SOON, || {
        host.property("teleport.service", "SubState") == "running"
    });
    allowed();
    start("--auth-server=auth.example.com");
    host.run(&["systemctl", "restart", "teleport.service"])
        .expect(0);
    not_allowed("the Proxy Service is enabled by default");
    host.write("/etc/teleport.yaml", "proxy_service: {enabled: no}\n");
    allowed();
    // In place of the file: `auth_service: {enabled: yes}`, and neither service.
    let (auth, neither) = (
        "YXV0aF9zZXJ2aWNlOiB7ZW5hYmxlZDogeWVzfQo=",
        "YXV0aF9zZXJ2aWNlOiB7ZW5hYmxlZDogbm99CnByb3h5X3NlcnZpY2U6IHtlbmFibGVkOiBub30K",
    );
    host.write("/etc/teleport.yaml", &settings(""));
    for lines in [
        format!("Environment=\"A=b c\" TELEPORT_CONFIG={auth}"),
        "EnvironmentFile=/etc/default/other".to_string(),
    ] {
        host.write(
            "/etc/default/other",
            &format!("# of the agent\nTELEPORT_CONFIG=\"{auth}\"\n"),
        );
        starts_with(&host, &lines);
        not_allowed(
            "it runs the Auth Service (auth_service in TELEPORT_CONFIG of teleport.service)",
        );
    }
    // One that was given to the process by nothing that the unit names.
    starts_with(&host, "");
    host.run(&[
        "systemctl",
        "set-environment",
        &format!("TELEPORT_CONFIG={auth}"),
    ])
    .expect(0);
    host.run(&["systemctl", "restart", "teleport.service"])
        .expect(0);
    host.run(&["systemctl", "unset-environment", "TELEPORT_CONFIG"])
        .expect(0);
    not_allowed("it runs the Auth Service (auth_service in TELEPORT_CONFIG of teleport.service)");
    start(&format!("--config-string={neither}"));
    host.run(&["systemctl", "restart", "teleport.service"])
        .expect(0);
    host.wait_for("the agent", SOON, || {
        host.property("teleport.service", "SubState") == "running"
    });
    host.write("/etc/teleport.yaml", "auth_service: {enabled: yes}\n");
    allowed();
    start("--config-string=what?");
    not_allowed("cannot read --config-string of teleport.service: not base64");
    host.assert_agent_runs("14.3.33");
}

#[test]
fn any_service_of_a_host_may_make_it_one_of_the_cluster() {
    let host = Host::with_upgrade();
    let unit = host
        .run(&["systemctl", "cat", "teleport.service"])
        .expect(0)
        .stdout;
    let other = unit
        .replace("/etc/teleport.yaml", "/srv/auth.yaml")
        .replace("/run/teleport.pid", "/run/auth.pid");
    host.write("/etc/systemd/system/auth.service", &other);
    host.write("/srv/auth.yaml", "auth_service: {enabled: yes}\n");
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    host.configure("service", "teleport.service\nauth.service\n");
    let not_allowed = "it runs the Auth Service (auth_service in /srv/auth.yaml)";
    assert!(last_line(&host.upgrader("run").expect(10).stdout).contains(not_allowed));
    // The other way round.
    host.write("/srv/auth.yaml", &settings(""));
    host.write("/etc/teleport.yaml", "auth_service: {enabled: yes}\n");
    assert!(
        last_line(&host.upgrader("run").expect(10).stdout)
            .contains("Auth Service (auth_service in /etc/teleport.yaml)")
    );
    host.assert_agent_runs("14.3.33");
}

#[test]
fn the_word_nop_in_the_schedule_is_the_later_updaters() {
    let host = Host::with_upgrade();
    host.set_critical("yes");
    host.configure("schedule", "nop");
    host.upgrader("version").expect(0);
    let before = host.snapshot();
    let reason = "not allowed: unsupported host: this agent is managed by teleport-update (the file \"schedule\" contains nop). Use only one \
                  updater: run sudo teleport-upgrade disable, or uninstall teleport-update and remove that file";
    for command in ["run", "run", "force", "dry-run"] {
        let ran = host.upgrader(command).expect(10);
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.as_str()),
            (format!("{reason}\n").as_str(), ""),
            "{command}"
        );
    }
    let page = host
        .upgrader("status")
        .expect(0)
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(
        page.contains(reason) && !page.contains("teleport-upgrade enable"),
        "{page}"
    );
    host.assert_unchanged(&before);
    assert!(host.releases.requests().is_empty(), "nobody is asked");
    host.assert_agent_runs("14.3.33");
    // The agent exports windows again.
    host.open_window();
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn what_was_begun_before_the_word_nop_is_ended_first() {
    let host = Host::with_upgrade();
    host.offer(agent("14.3.34").postinst(WAITS));
    let pass = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    assert_ne!(pass.interrupt().status, 0);
    host.write("/run/go-on", "");
    host.configure("schedule", "nop");
    // By then there is another.
    host.offer(agent("14.3.35"));
    let ran = host.upgrader("run").expect(10);
    assert!(
        ran.stdout.contains("from 14.3.33 to 14.3.34"),
        "{}",
        ran.stdout
    );
    assert!(
        last_line(&ran.stdout).contains("managed by teleport-update"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.34");
    host.upgrader("run").expect(10);
}

#[test]
fn a_host_of_teleports_later_updater_is_not_allowed_before_anything_is_changed() {
    let host = Host::with_upgrade();
    let link_into = |directory: &str| {
        let lines = format!(
            "cp -L /usr/local/bin/teleport {directory} && ln -sf {directory}/teleport /usr/local/bin/teleport"
        );
        host.shell(&format!("mkdir -p {directory} && {lines}"))
            .expect(0);
    };
    // There newer packages have their agents: those are still the package manager's.
    link_into("/opt/teleport/system/bin");
    assert!(
        host.upgrader("dry-run")
            .expect(0)
            .stdout
            .contains("would upgrade from 14.3.33 to 14.3.34 now")
    );
    link_into("/opt/teleport/default/bin");
    host.upgrader("version").expect(0);
    let before = host.snapshot();
    for command in ["run", "force", "dry-run"] {
        let ran = host.upgrader(command).expect(10);
        let reason = "not allowed: unsupported host: this agent is managed by teleport-update (/usr/local/bin/teleport links to \
                      /opt/teleport/default/bin/teleport). Use only one updater: run sudo teleport-upgrade disable, or \
                      run teleport-update uninstall\n";
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.as_str()),
            (reason, ""),
            "{command}"
        );
    }
    host.assert_unchanged(&before);
    // One that has no configuration of ours, and no package, gets the same message.
    host.remove("/etc/teleport-upgrade.d/endpoint");
    host.write(
        "/run/motd.d/teleport-upgrade",
        "The Teleport agent of this host will be upgraded\n",
    );
    host.upgrader("run").expect(10);
    assert!(
        !host.path("/run/motd.d/teleport-upgrade").exists(),
        "no login message announces anything"
    );
    assert!(
        fs::read_dir(host.path("/var/lib/teleport-upgrade")).is_err(),
        "no state is kept"
    );
}

#[test]
fn what_was_begun_before_the_later_updater_came_is_ended_first() {
    let host = Host::with_upgrade();
    let links = "mkdir -p /opt/teleport/default/bin; cp -f /usr/local/bin/teleport /opt/teleport/default/bin; \
                 ln -sf /opt/teleport/default/bin/teleport /usr/local/bin/teleport";
    host.offer(agent("14.3.34").postinst(&format!(
        "test -L /usr/local/bin/teleport || {{ {links}; }}; {WAITS}"
    )));
    let pass = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    assert_ne!(pass.interrupt().status, 0);
    host.write("/run/go-on", "");
    // By then there is another.
    host.offer(agent("14.3.35"));
    let ran = host.upgrader("run").expect(10);
    assert!(
        ran.stdout.contains("upgraded from 14.3.33 to 14.3.34 in "),
        "{}",
        ran.stdout
    );
    assert!(
        last_line(&ran.stdout).contains("managed by teleport-update"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        host.run(&["apt-mark", "showhold"]).expect(0).stdout,
        "",
        "nor is its package locked"
    );
    host.assert_agent_runs("14.3.34");
    host.upgrader("run").expect(10);
}
