//! What dnf 5 alone has: its lock, its plugins, its list of version locks.

use host::{Host, Key, Manager, Package, SOON, outside};
use std::process::Command;

/// A second dnf 5 that an administrator has started, and that waits for an answer.
const AT_A_QUESTION: &str = "sleep infinity | dnf5 --refresh --disablerepo=* --enablerepo=teleport upgrade >/run/question 2>&1";

fn is_asking(host: &Host) -> bool {
    host.read("/run/question")
        .is_some_and(|said| said.contains("Is this ok"))
}

#[test]
fn a_dnf_at_a_persons_question_is_waited_for_and_named() {
    let host = Host::with_upgrade_from(Manager::Dnf5);
    host.configure("lock-wait-seconds", "1\n");
    let person = host.spawn(&["sh", "-c", AT_A_QUESTION]);
    host.wait_for("the question", SOON, || is_asking(&host));
    let ran = host.upgrader("run").expect(75);
    assert!(ran.stdout.contains("(held by dnf5 (PID "), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("Will retry at the next check"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.33");
    drop(person);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

/// A dnf that is not the program itself, and before whose install someone is always faster.
const OVERTAKEN: &str = "#!/bin/sh
case $* in *tsflags=test*) ;; *' install '*)
    if [ -e /run/overtake ]; then
        systemd-run -q --unit=person sh -c 'sleep infinity | dnf5 --disablerepo=* --enablerepo=teleport upgrade >/run/question 2>&1'
        until grep -q 'Is this ok' /run/question; do sleep 0.05; done
    fi ;;
esac
exec /usr/bin/dnf5 \"$@\"
";

#[test]
fn a_dnf_that_was_faster_costs_a_bounded_time_and_no_transaction() {
    let host = Host::with_upgrade_from(Manager::Dnf5);
    host.configure("lock-wait-seconds", "1\n");
    host.remove("/usr/bin/dnf");
    host.write("/usr/bin/dnf", OVERTAKEN);
    host.set_mode("/usr/bin/dnf", 0o755);
    host.write("/run/overtake", "");
    // It waits without end, and is ended.
    let ran = host
        .command(&["teleport-upgrade", "--verbose", "run"])
        .run();
    assert!(
        ran.stderr
            .contains("Waiting for a lock on the system repository"),
        "{}",
        ran.stderr
    );
    let ran = ran.expect(75);
    assert!(ran.stdout.contains("(held by "), "{}", ran.stdout);
    host.assert_agent_runs("14.3.33");
    host.remove("/run/overtake");
    host.run(&["systemctl", "kill", "--signal=SIGKILL", "person.service"]);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_plugin_that_fails_after_a_good_install_is_no_failure() {
    let host = Host::with_upgrade_from(Manager::Dnf5);
    host.configure("lock", "no\n");
    // As Debian has it: it runs a program that is not there.
    host.shell("sed -i 's/^enabled = 0$/enabled = host-only/' /etc/dnf/libdnf5-plugins/local.conf")
        .expect(0);
    let ran = host
        .command(&["teleport-upgrade", "--verbose", "run"])
        .run()
        .expect(0);
    assert!(
        ran.stderr.contains("Createrepo_c process exited with code"),
        "{}",
        ran.stderr
    );
    host.assert_agent_runs("14.3.34");
    // Such an end is one for it.
    let said = host.run(&["dnf", "-y", "reinstall", "teleport-ent"]);
    assert_eq!(said.status, 1, "{said:?}");
}

#[test]
fn a_plugin_that_stops_it_is_said_in_its_words() {
    let host = Host::with_upgrade_from(Manager::Dnf5);
    host.write(
        "/etc/dnf/libdnf5-plugins/zz.conf",
        "[main]\nname = nothing\nenabled = 1\n",
    );
    // No server is to blame, and the next run will find the same.
    let ran = host.upgrader("run").expect(1);
    assert!(
        ran.stdout
            .contains("Cannot load libdnf plugin enabled from: /etc/dnf/libdnf5-plugins/zz.conf"),
        "{}",
        ran.stdout
    );
    host.remove("/etc/dnf/libdnf5-plugins/zz.conf");
    host.write(
        "/etc/dnf/libdnf5-plugins/actions.d/a.actions",
        "pre_transaction:::raise_error=1:/bin/false\n",
    );
    let ran = host.upgrader("run").expect(1);
    assert!(
        ran.stdout
            .contains("/etc/dnf/libdnf5-plugins/actions.d/a.actions"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.33");
}

#[test]
fn a_list_of_version_locks_is_read_as_dnf_reads_it() {
    let host = Host::with_upgrade_from(Manager::Dnf5);
    let update = || {
        host.shell(host.manager.update_all()).expect(0);
        host.installed("teleport-ent")
    };
    host.write(
        "/etc/dnf/versionlock.toml",
        "version = \"1.0\"\n[[packages]]\nname = \"teleport-ent\"\n",
    );
    host.set_version("14.3.33");
    host.upgrader("run").expect(0);
    // Without conditions it locks nothing, and so the agent is locked in another way.
    assert!(
        host.read(Manager::Dnf5.source_file())
            .unwrap()
            .contains("\nexclude=teleport-ent\n")
    );
    assert_eq!(update(), "ii 14.3.33");
    host.configure("lock", "no\n");
    host.upgrader("run").expect(0);
    assert_eq!(update(), "ii 14.3.34");
    // One of all versions but the one that is there.
    host.remove("/etc/teleport-upgrade.d/lock");
    let all = "packages = [ { name = \"tele*\", conditions = [ { key = \"evr\", comparator = \"=\", value = \"0\" } ] } ]\nversion = \"1.0\"\n";
    host.write("/etc/dnf/versionlock.toml", all);
    let before = host.read(Manager::Dnf5.source_file());
    host.upgrader("run").expect(0);
    assert_eq!(
        (
            host.read(Manager::Dnf5.source_file()),
            host.running_version()
        ),
        (before, "14.3.33".into())
    );
    host.offer(Package::agent("teleport-ent", "14.3.35"));
    assert_eq!(update(), "ii 14.3.33");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.35");
    // What is malformed stops dnf, but not us.
    host.write("/etc/dnf/versionlock.toml", "garbage[");
    host.offer(Package::agent("teleport-ent", "14.3.36"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.36");
}

#[test]
fn what_no_file_shows_does_not_let_an_unsigned_package_in() {
    let host = Host::with_upgrade_from(Manager::Dnf5);
    host.configure("lock", "no\n");
    host.offer(Package::agent("teleport-ent", "14.3.34").signed(None));
    let action = "repos_configured:::enabled=1:/bin/sh -c echo\\ conf.*.gpgcheck=0\n";
    host.write("/etc/dnf/libdnf5-plugins/actions.d/hurry.actions", action);
    let ran = host.upgrader("run").expect(1);
    assert!(
        ran.stdout.contains("is not signed by a trusted key"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.33");
    host.run(&["dnf", "-y", "install", "teleport-ent-14.3.34"])
        .expect(0);
    assert_eq!(
        host.installed("teleport-ent"),
        "ii 14.3.34",
        "the same command installs it manually"
    );
}

#[test]
fn a_repository_that_a_plugin_makes_unchecked_is_not_used() {
    let host = Host::with_upgrade_from(Manager::Dnf5);
    host.configure("lock", "no\n");
    // Teleport's repository has another id, so all are used.
    let ours = host
        .read(Manager::Dnf5.source_file())
        .unwrap()
        .replace("teleport]", "packages]");
    host.write(Manager::Dnf5.source_file(), &ours);
    host.offer(Package::agent("teleport-ent", "14.3.34").signed(None));
    // What the plugin leaves of an install without a check.
    host.shell("sed -i 's/^enabled = 0$/enabled = host-only/' /etc/dnf/libdnf5-plugins/local.conf")
        .expect(0);
    let unchecked = host.directory().join("unchecked");
    std::fs::create_dir(&unchecked).unwrap();
    std::fs::copy(
        host.repository.file("teleport-ent", "14.3.34"),
        unchecked.join("teleport-ent-14.3.34-1.rpm"),
    )
    .unwrap();
    outside(Command::new("createrepo_c").arg("--quiet").arg(&unchecked));
    host.shell("mkdir -p /var/lib/dnf/plugins").expect(0);
    outside(
        Command::new("cp")
            .arg("-r")
            .arg(&unchecked)
            .arg(host.path("/var/lib/dnf/plugins/local-nogpgcheck")),
    );
    let ran = host.upgrader("run").expect(1);
    assert!(
        ran.stdout.contains("is not signed by a trusted key"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.33");
    host.run(&[
        "dnf",
        "-y",
        "--setopt=*.gpgcheck=1",
        "install",
        "teleport-ent-14.3.34",
    ]);
    assert_eq!(
        host.installed("teleport-ent"),
        "ii 14.3.34",
        "it is installed from there manually"
    );
}

#[test]
fn what_is_pre_downloaded_is_checked_first() {
    for package in [Some(Key::Unknown), None] {
        let host = Host::with_agent_from(Manager::Dnf5, "14.3.33");
        host.export_windows(&[(100 * 60, 160 * 60)]);
        host.offer(Package::agent("teleport-ent", "14.3.34").signed(package));
        let ran = host.upgrader("run").expect(0);
        assert!(
            ran.stderr.contains("the package in the repository in"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("is not signed by a trusted key"),
            "{}",
            ran.stderr
        );
        assert_eq!(host.installed("teleport-ent"), "ii 14.3.33");
    }
}

#[test]
fn the_key_is_imported_by_the_download_as_by_the_install() {
    let host = Host::with_upgrade_from(Manager::Dnf5);
    host.shell("rpm -q gpg-pubkey && rpm -e --allmatches gpg-pubkey")
        .expect(0);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}
