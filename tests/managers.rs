//! What apt, dnf and zypper have in common: one table of cases, run on each of them.

use host::{Host, Key, Manager, Package, Ran, Repository, SOON, Server, WAITS, flip};
use std::io::Read;

/// Makes a test of every case, for every package manager that it is for.
macro_rules! cases {
    (for all: $($case:ident)* ; for rpm: $($rpm:ident)*) => {
        mod apt { $(#[test] fn $case() { super::$case(super::Manager::Apt); })* }
        mod yum {
            $(#[test] fn $case() { super::$case(super::Manager::Yum); })*
            $(#[test] fn $rpm() { super::$rpm(super::Manager::Yum); })*
        }
        mod dnf5 {
            $(#[test] fn $case() { super::$case(super::Manager::Dnf5); })*
            $(#[test] fn $rpm() { super::$rpm(super::Manager::Dnf5); })*
        }
        mod zypper {
            $(#[test] fn $case() { super::$case(super::Manager::Zypper); })*
            $(#[test] fn $rpm() { super::$rpm(super::Manager::Zypper); })*
        }
    };
}

cases! {
    for all:
        up_down_again_and_exactly
        a_target_that_the_repository_does_not_have
        a_package_that_was_tampered_with
        a_package_that_is_missing
        an_index_that_was_tampered_with
        a_repository_signed_by_an_unknown_key_with_older_lists_cached
        an_older_index_that_is_replayed
        a_repository_that_does_not_answer
        a_repository_that_says_nothing
        a_script_that_fails_before_the_install
        a_script_that_fails_after_the_install
        a_full_disk_on_the_target
        a_full_disk_in_the_cache
        a_lock_that_is_let_go_in_time_costs_only_time
        a_lock_that_is_held_too_long
        no_other_package_is_changed
        a_dependency_that_nothing_provides
        a_locked_agent_is_left_alone_by_others_and_upgraded_by_us
        a_hold_that_was_lost_is_restored_once
        the_agent_is_locked_from_the_first_run_on
        a_lock_of_the_administrators_is_never_taken_away
        a_dead_second_repository
        a_repository_among_others
        an_installer_that_contradicts_the_database
        no_process_too_many
    ;
    for rpm:
        a_package_that_is_not_signed
        a_package_signed_by_an_unknown_key
        any_release_of_the_target_will_do
        a_run_that_was_killed_is_finished_by_the_next
        an_agent_that_the_database_lists_twice
}

/// Asserts that the upgrade could not be made, the agent runs on, and the outcome says why.
#[track_caller]
fn could_not(host: &Host, ran: Ran, status: i32, parts: &[&str]) {
    let ran = ran.expect(status);
    let outcome = ran.stdout.lines().last().unwrap_or_default();
    println!("{outcome}");
    assert!(
        outcome.starts_with("upgrade from 14.3.33 to 14.3.34 failed"),
        "{outcome}"
    );
    for part in parts {
        assert!(outcome.contains(part), "{part:?} is missing in: {outcome}");
    }
    host.assert_agent_runs("14.3.33");
}

/// Asserts that a run fails, and shows its output if that fails the test.
fn pass(host: &Host) -> Ran {
    let ran = host
        .command(&["teleport-upgrade", "--verbose", "run"])
        .run();
    let debug = ran
        .stderr
        .lines()
        .filter(|line| !line.contains("systemctl"))
        .collect::<Vec<_>>()
        .join("\n");
    println!("{debug}\n");
    ran
}

/// Asserts that a run upgrades the agent with nobody's help.
#[track_caller]
fn upgrades(host: &Host) -> Ran {
    let ran = host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    ran
}

fn up_down_again_and_exactly(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.repository
        .publish(&[Package::agent("teleport-ent", "14.3.35")]);
    upgrades(&host);
    host.set_version("14.3.33");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.33");
    host.remove("/usr/local/bin/teleport");
    host.upgrader("run").expect(0);
    assert_eq!(
        host.run(&["teleport", "version", "--raw"]).expect(0).stdout,
        "14.3.33\n"
    );
    host.assert_agent_runs("14.3.33");
}

fn a_target_that_the_repository_does_not_have(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.repository.remove("teleport-ent", "14.3.34");
    let reason = format!(
        "teleport-ent 14.3.34 not found in the repository configured in {} (latest: 14.3.33). \
         Publish an available version, or switch the repository to stable/rolling (stable/vN has only major version N)",
        manager.source_file()
    );
    could_not(&host, pass(&host), 1, &[&reason]);
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    upgrades(&host);
}

fn a_package_that_was_tampered_with(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    flip(&host.repository.file("teleport-ent", "14.3.34"));
    let reason = format!(
        "{} does not serve the package in its index",
        manager.source_file()
    );
    could_not(&host, pass(&host), 1, &[&reason, "Its operator, "]);
    flip(&host.repository.file("teleport-ent", "14.3.34"));
    upgrades(&host);
}

fn a_package_that_is_missing(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    let file = host.repository.file("teleport-ent", "14.3.34");
    std::fs::rename(&file, file.with_extension("away")).unwrap();
    let reason = format!(
        "{} does not serve the package in its index",
        manager.source_file()
    );
    could_not(&host, pass(&host), 1, &[&reason, "Its operator, "]);
    std::fs::rename(file.with_extension("away"), &file).unwrap();
    upgrades(&host);
}

fn an_index_that_was_tampered_with(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.shell(manager.refresh()).expect(0);
    // Another index than the one that the host has, else it would not be fetched.
    host.repository.publish(&[Package::new("other", "1.0.0")]);
    host.repository.keep();
    host.repository.damage_index();
    could_not(
        &host,
        pass(&host),
        75,
        &[
            "cannot refresh the repository in ",
            "Will retry at the next check",
        ],
    );
    host.repository.restore();
    upgrades(&host);
}

fn a_repository_signed_by_an_unknown_key_with_older_lists_cached(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    // The cached lists offer the target; package managers themselves would go by them.
    host.shell(manager.refresh()).expect(0);
    // Another index than the one that the host has, else zypper sees no need to fetch it.
    host.repository.publish(&[Package::new("other", "1.0.0")]);
    host.repository.sign_with(Key::Unknown);
    let reason = format!("{} is not signed by a trusted key", manager.source_file());
    could_not(
        &host,
        pass(&host),
        1,
        &[&reason, "Install Teleport's current signing key"],
    );
    host.repository.sign_with(Key::Trusted);
    upgrades(&host);
}

fn an_older_index_that_is_replayed(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.repository.remove("teleport-ent", "14.3.34");
    host.repository.keep();
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host.shell(manager.refresh()).expect(0);
    host.repository.restore();
    // An older index offers older versions only. It cannot have the agent go anywhere but to the target.
    let ran = host.upgrader("run");
    println!("{manager:?}: {}", ran.stdout);
    could_not(&host, ran, 1, &[manager.source_file()]);
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    upgrades(&host);
}

fn a_repository_that_does_not_answer(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.shell(manager.refresh()).expect(0);
    host.packages.stop();
    let reason = format!(
        "cannot refresh the repository in {}: ",
        manager.source_file()
    );
    could_not(
        &host,
        pass(&host),
        75,
        &[&reason, "Will retry at the next check"],
    );
    host.packages.start();
    upgrades(&host);
}

fn a_repository_that_says_nothing(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.configure("refresh-seconds", "2\n");
    host.packages.stop();
    let silent = Server::raw(&host.network, "127.0.0.2:443", |mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    could_not(
        &host,
        pass(&host),
        75,
        &[
            "cannot refresh the repository in ",
            "did not end within 2 s",
            "Will retry at the next check",
        ],
    );
    drop(silent);
    host.packages.start();
    host.remove("/etc/teleport-upgrade.d/refresh-seconds");
    upgrades(&host);
}

fn a_script_that_fails_before_the_install(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.offer(Package::agent("teleport-ent", "14.3.34").preinst("test -e /run/healthy"));
    could_not(
        &host,
        pass(&host),
        1,
        &["a package maintainer script failed: ", "Fix the cause"],
    );
    host.write("/run/healthy", "");
    upgrades(&host);
}

fn a_script_that_fails_after_the_install(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.offer(Package::agent("teleport-ent", "14.3.34").postinst("exit 1"));
    if manager == Manager::Apt {
        // dpkg does not call such a package installed.
        could_not(&host, pass(&host), 11, &["is installed again and healthy"]);
        host.offer(Package::agent("teleport-ent", "14.3.35"));
        host.upgrader("run").expect(0);
        host.assert_agent_runs("14.3.35");
    } else {
        // rpm does, and so it is a matter of whether the agent runs.
        upgrades(&host);
    }
}

/// Puts a file system of its own, with little room in it, over a directory that keeps its files.
fn fill(host: &Host, directory: &str) {
    let lines = format!(
        "mkdir -p {directory}; cp -a {directory} /run/copy; size=$(($(du -sk /run/copy | cut -f 1) + 150)); \
         mount -t tmpfs -o size=${{size}}k,mode=755 small {directory}; cp -a /run/copy/. {directory}"
    );
    host.shell(&lines).expect(0);
}

fn make_room(host: &Host, directory: &str) {
    host.run(&["mount", "-o", "remount,size=100m", directory])
        .expect(0);
}

fn a_full_disk_on_the_target(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    fill(&host, "/usr/local/bin");
    could_not(
        &host,
        pass(&host),
        1,
        &["not enough disk space", "Free up space"],
    );
    make_room(&host, "/usr/local/bin");
    upgrades(&host);
}

fn a_full_disk_in_the_cache(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.shell(manager.refresh()).expect(0);
    fill(&host, manager.cache());
    could_not(
        &host,
        pass(&host),
        1,
        &["not enough disk space", "Free up space"],
    );
    make_room(&host, manager.cache());
    upgrades(&host);
}

/// Holds a lock as its owner would, until the file `/run/let-go` is there.
const HOLD: &str = "import fcntl, os, sys, time
lock = open(sys.argv[1], 'w')
if sys.argv[1].endswith('.pid'): print(os.getpid(), file=lock, flush=True)
else: fcntl.lockf(lock, fcntl.LOCK_EX)
open('/run/held', 'w').close()
while not os.path.exists('/run/let-go'): time.sleep(0.05)
";

/// What others hold while they work.
fn locks(manager: Manager) -> &'static [&'static str] {
    match manager {
        Manager::Apt => &[
            "/var/lib/dpkg/lock-frontend",
            "/var/lib/apt/lists/lock",
            "/var/cache/apt/archives/lock",
        ],
        Manager::Dnf5 => &["/var/lib/dnf/system-repo.lock", "/var/lib/rpm/.rpm.lock"],
        Manager::Yum => &[
            "/var/cache/dnf/metadata_lock.pid",
            "/var/lib/dnf/rpmdb_lock.pid",
            "/var/lib/rpm/.rpm.lock",
        ],
        Manager::Zypper => &["/run/zypp.pid", "/var/lib/rpm/.rpm.lock"],
    }
}

fn a_lock_that_is_let_go_in_time_costs_only_time(manager: Manager) {
    for path in locks(manager) {
        let host = Host::with_upgrade_from(manager);
        let holder = host.spawn(&["python3", "-c", HOLD, path]);
        host.wait_for("the lock", SOON, || host.read("/run/held").is_some());
        let pid = host.property(holder.unit(), "MainPID");
        let upgrade = host.spawn(&["systemd-cat", "-t", "upgrade", "teleport-upgrade", "run"]);
        let waits = format!("waiting for python3 (PID {pid}) to release ");
        host.wait_for("the line that names the holder", SOON, || {
            host.shell("journalctl -q -o cat -t upgrade")
                .stdout
                .contains(&waits)
        });
        host.write("/run/let-go", "");
        upgrade.wait().expect(0);
        host.assert_agent_runs("14.3.34");
    }
}

fn a_lock_that_is_held_too_long(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.configure("lock-wait-seconds", "1\n");
    for path in locks(manager) {
        let holder = host.spawn(&["python3", "-c", HOLD, path]);
        host.wait_for("the lock", SOON, || host.read("/run/held").is_some());
        let pid = host.property(holder.unit(), "MainPID");
        let said =
            format!("lock after 1 s (held by python3 (PID {pid})). Will retry at the next check");
        could_not(&host, pass(&host), 75, &[&said]);
        host.write("/run/let-go", "");
        holder.wait().expect(0);
        host.remove("/run/let-go");
        host.remove("/run/held");
    }
    upgrades(&host);
}

fn no_other_package_is_changed(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.repository.publish(&[
        Package::new("library", "1.0.0"),
        Package::new("unrelated", "1.0.0"),
    ]);
    host.shell(manager.refresh()).expect(0);
    host.shell(&manager.install("library", None)).expect(0);
    host.shell(&manager.install("unrelated", None)).expect(0);
    host.repository.publish(&[
        Package::new("library", "2.0.0"),
        Package::new("unrelated", "2.0.0"),
    ]);
    host.offer(Package::agent("teleport-ent", "14.3.34").depends("library (>= 2)"));
    could_not(
        &host,
        pass(&host),
        1,
        &[
            "the upgrade would also change other packages: library",
            "manually",
        ],
    );
    host.offer(Package::agent("teleport-ent", "14.3.34").depends("library (>= 1)"));
    upgrades(&host);
    assert_eq!(
        (
            host.installed("library").as_str(),
            host.installed("unrelated").as_str()
        ),
        ("ii 1.0.0", "ii 1.0.0")
    );
}

fn a_dependency_that_nothing_provides(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.offer(Package::agent("teleport-ent", "14.3.34").depends("library (>= 2)"));
    could_not(
        &host,
        pass(&host),
        1,
        &[
            "unmet dependencies: ",
            "library",
            "Install them, or publish another version",
        ],
    );
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    upgrades(&host);
}

fn a_locked_agent_is_left_alone_by_others_and_upgraded_by_us(manager: Manager) {
    for lock in manager.locks("teleport-ent") {
        let host = Host::with_upgrade_from(manager);
        host.shell(&lock).expect(0);
        let update = host.shell(manager.update_all()).expect(0);
        assert!(
            host.installed("teleport-ent").ends_with(" 14.3.33"),
            "{lock}: {}",
            update.stdout
        );
        host.upgrader("run").expect(0);
        assert!(
            host.installed("teleport-ent").ends_with(" 14.3.34"),
            "{lock}"
        );
        assert_eq!(host.running_version(), "14.3.34");
        // The lock is still there, and no obstacle to the rollback either.
        host.offer(Package::agent("teleport-ent", "14.3.35"));
        let update = host.shell(manager.update_all()).expect(0);
        assert!(
            host.installed("teleport-ent").ends_with(" 14.3.34"),
            "{lock}: {}",
            update.stdout
        );
        host.set_version("14.3.33");
        host.upgrader("run").expect(0);
        assert_eq!(host.running_version(), "14.3.33");
    }
}

/// Has the system updated in the ordinary way, and asserts whether that changed the agent.
#[track_caller]
fn regular_update(host: &Host, expected: &str) {
    let update = host.shell(host.manager.update_all()).expect(0);
    assert_eq!(
        host.installed("teleport-ent"),
        format!("ii {expected}"),
        "{}",
        update.stdout
    );
}

fn the_agent_is_locked_from_the_first_run_on(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.set_version("14.3.33");
    // A dry run locks nothing.
    host.upgrader("dry-run").expect(0);
    host.upgrader("run").expect(0);
    regular_update(&host, "14.3.33");
    host.set_version("14.3.34");
    upgrades(&host);
    host.repository
        .publish(&[Package::agent("teleport-ent", "14.3.35")]);
    regular_update(&host, "14.3.34");
    // The lock is ours, and goes when it is not wanted any more.
    host.configure("lock", "no\n");
    host.upgrader("run").expect(0);
    regular_update(&host, "14.3.35");
}

fn a_lock_of_the_administrators_is_never_taken_away(manager: Manager) {
    for lock in manager.locks("teleport-ent") {
        let host = Host::with_upgrade_from(manager);
        host.shell(&lock).expect(0);
        host.upgrader("run").expect(0);
        host.configure("lock", "no\n");
        host.upgrader("run").expect(0);
        host.repository
            .publish(&[Package::agent("teleport-ent", "14.3.35")]);
        regular_update(&host, "14.3.34");
    }
}

/// What a run has recorded that was interrupted while it upgraded a locked agent.
const INTERRUPTED: &str = r#"{"unfinished": {"package": "teleport-ent", "from": "14.3.33", "from_package_version": "14.3.33",
    "to": "14.3.34", "to_package_version": "14.3.34", "held": true, "services": ["teleport.service"], "since": "2026-01-01T00:00:00Z"}}"#;

fn puts_the_lock_back_once(host: &Host) {
    host.shell(host.manager.refresh()).expect(0);
    host.write("/var/lib/teleport-upgrade/history.json", INTERRUPTED);
    host.remove("/usr/local/bin/teleport");
    let ran = pass(host).expect(0);
    assert!(
        !ran.stderr.contains("cannot restore the hold"),
        "{}",
        ran.stderr
    );
    host.repository
        .publish(&[Package::agent("teleport-ent", "14.3.35")]);
    host.shell(host.manager.update_all()).expect(0);
    assert!(host.installed("teleport-ent").ends_with(" 14.3.34"));
    let files = "/var/lib/dpkg/status /etc/dnf/plugins/versionlock.list /etc/zypp/locks /etc/yum.repos.d/teleport.repo";
    let locks = || {
        host.shell(&format!(
            "grep -h -A 1 -E 'hold|!teleport|solvable_name|exclude=' {files}"
        ))
        .stdout
    };
    let before = locks();
    assert!(!before.is_empty());
    host.set_version("14.3.35");
    pass(host).expect(0);
    assert_eq!(
        (host.running_version().as_str(), locks()),
        ("14.3.35", before)
    );
}

fn a_hold_that_was_lost_is_restored_once(manager: Manager) {
    puts_the_lock_back_once(&Host::with_upgrade_from(manager));
}

#[test]
fn without_the_version_lock_plugin_the_repositorys_file_excludes_the_agent() {
    let host = Host::with_upgrade_from(Manager::Yum);
    host.shell("rm /etc/dnf/plugins/versionlock.* /usr/lib/python3/dist-packages/dnf-plugins/versionlock.py").expect(0);
    puts_the_lock_back_once(&host);
    let file = host.read(Manager::Yum.source_file()).unwrap();
    let mark = "[teleport]\n# teleport-upgrade: excluded from regular updates; managed by teleport-upgrade\n\
                exclude=teleport-ent\nname=";
    assert!(file.starts_with(mark), "{file}");
}

#[test]
fn an_exclude_in_a_file_of_another_name_is_recognized_and_released() {
    let host = Host::with_upgrade_from(Manager::Yum);
    host.set_version("14.3.33");
    host.shell("rm /etc/dnf/plugins/versionlock.* /usr/lib/python3/dist-packages/dnf-plugins/versionlock.py").expect(0);
    host.shell("cd /etc/yum.repos.d && mv teleport.repo teleport-yum.repo")
        .expect(0);
    let before = host.read("/etc/yum.repos.d/teleport-yum.repo");
    host.upgrader("run").expect(0);
    assert_ne!(host.read("/etc/yum.repos.d/teleport-yum.repo"), before);
    assert_eq!(host.upgrader("run").expect(0).stderr, "");
    host.configure("lock", "no\n");
    host.upgrader("run").expect(0);
    assert_eq!(host.read("/etc/yum.repos.d/teleport-yum.repo"), before);
}

fn a_dead_second_repository(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    let file = manager.source_file().replace("teleport", "dead");
    host.write(
        &file,
        &manager.source(
            "dead",
            "https://dead.example.com/",
            host.generation.codename(),
        ),
    );
    upgrades(&host);
}

fn a_repository_among_others(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    let file = manager.source_file().replace("teleport", "packages");
    let ours = host
        .read(manager.source_file())
        .unwrap()
        .replace("teleport]", "packages]");
    host.remove(manager.source_file());
    host.write(
        &file,
        &format!(
            "{ours}\n{}",
            manager.source(
                "dead",
                "https://dead.example.com/",
                host.generation.codename()
            )
        ),
    );
    let ran = pass(&host).expect(0);
    // dnf does not say when it goes on without a repository.
    assert!(
        manager != Manager::Zypper && manager != Manager::Apt
            || ran.stderr.contains("Using the existing index"),
        "{}",
        ran.stderr
    );
    host.assert_agent_runs("14.3.34");
}

fn a_run_that_was_killed_is_finished_by_the_next(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.offer(Package::agent("teleport-ent", "14.3.34").postinst(WAITS));
    let interrupted = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    // The whole group of processes at once, as a power cut would.
    assert_ne!(interrupted.interrupt().status, 0);
    println!("{manager:?} leaves: {}", host.installed("teleport-ent"));
    host.write("/run/go-on", "");
    // Neither the window nor any server has a say in whether a half-installed agent is repaired.
    host.closed_window();
    host.releases.stop();
    host.packages.stop();
    let ran = host.upgrader("run").expect(75);
    let said = "was interrupted; resuming";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    host.assert_agent_runs("14.3.34");
    host.releases.start();
    assert_eq!(
        host.upgrader("run").expect(0).stdout,
        "no upgrades available (14.3.34 == 14.3.34)\n"
    );
}

fn an_installer_that_contradicts_the_database(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    let (database, right, wrong) = match manager {
        Manager::Apt => ("dpkg", "apt", ["yum", "zypper"].as_slice()),
        Manager::Yum | Manager::Dnf5 => ("rpm", "yum", ["apt"].as_slice()),
        Manager::Zypper => ("rpm", "zypper", ["apt"].as_slice()),
    };
    for installer in wrong {
        host.configure("installer", installer);
        let said = format!(
            "error: /etc/teleport-upgrade.d/installer: installer is set to {installer}, but teleport-ent was installed with \
             {database}. Set it to "
        );
        for command in ["run", "force", "dry-run"] {
            let failed = host.upgrader(command).expect(2);
            assert!(
                failed.stderr.starts_with(&said) && failed.stderr.contains(right),
                "{}",
                failed.stderr
            );
        }
    }
    host.configure("installer", right);
    upgrades(&host);
}

/// How many of each program a run has run.
fn processes(ran: &Ran, programs: &[&str]) -> Vec<usize> {
    let runs = |program: &&str| {
        ran.stderr
            .lines()
            .filter(|line| line.contains(&format!("debug: running {program} ")))
            .count()
    };
    programs.iter().map(runs).collect()
}

/// Waits until the databases' files are so old that an answer is kept: how soon after a change a run comes is a matter of the machine.
fn settled(host: &Host) {
    let changed_lately =
        "find /var/lib/dpkg/status /var/lib/dpkg/updates /var/lib/rpm -newerct '-4 seconds'";
    host.wait_for("the package databases to be 4 s old", SOON, || {
        host.shell(changed_lately).stdout.is_empty()
    });
}

fn no_process_too_many(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    let programs = [
        "dpkg-query",
        "apt-get",
        "apt-cache",
        "dpkg",
        "rpm",
        "dnf",
        "zypper",
        "rpmkeys",
    ];
    // Locking the package costs another process, once.
    host.configure("lock", "no\n");
    settled(&host);
    // Refresh, look, simulate, download, install. The database: when the run begins, once all is prepared, and to see what the install
    // did; rpm's right before the install too. These hosts have both databases; Debian's does not change where rpm's does, and is not asked again.
    let (upgrade, look) = match manager {
        Manager::Apt => ([3, 4, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]),
        Manager::Yum | Manager::Dnf5 => ([2, 0, 0, 0, 4, 3, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0]),
        Manager::Zypper => ([2, 0, 0, 0, 4, 0, 4, 1], [0, 0, 0, 0, 1, 0, 0, 0]),
    };
    assert_eq!(processes(&pass(&host).expect(0), &programs), upgrade);
    host.assert_agent_runs("14.3.34");
    settled(&host);
    assert_eq!(processes(&pass(&host).expect(0), &programs), look);
    // A host without Debian's database is not asked for it.
    if manager != Manager::Apt {
        host.remove("/var/lib/dpkg/status");
        assert_eq!(processes(&pass(&host).expect(0), &programs), [0; 8]);
    }
}

fn a_package_that_is_not_signed(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.offer(Package::agent("teleport-ent", "14.3.34").signed(None));
    let reason = format!(
        "the package in the repository in {} is not signed by a trusted key",
        manager.source_file()
    );
    could_not(
        &host,
        pass(&host),
        1,
        &[&reason, "Install Teleport's current signing key"],
    );
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    upgrades(&host);
}

fn a_package_signed_by_an_unknown_key(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.offer(Package::agent("teleport-ent", "14.3.34").signed(Some(Key::Unknown)));
    let reason = format!(
        "the package in the repository in {} is not signed by a trusted key",
        manager.source_file()
    );
    could_not(
        &host,
        pass(&host),
        1,
        &[&reason, "Install Teleport's current signing key"],
    );
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    upgrades(&host);
}

fn any_release_of_the_target_will_do(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    host.repository.remove("teleport-ent", "14.3.34");
    host.offer(Package::agent("teleport-ent", "14.3.34").release("2.el9"));
    upgrades(&host);
    assert_eq!(
        host.run(&["rpm", "-q", "--qf", "%{RELEASE}", "teleport-ent"])
            .expect(0)
            .stdout,
        "2.el9"
    );
}

fn an_agent_that_the_database_lists_twice(manager: Manager) {
    let host = Host::with_upgrade_from(manager);
    let file = host.repository.file("teleport-ent", "14.3.34");
    std::fs::copy(file, host.path("/run/agent.rpm")).unwrap();
    // What a transaction leaves that was interrupted between its two halves.
    host.run(&[
        "rpm",
        "--install",
        "--justdb",
        "--force",
        "--noscripts",
        "/run/agent.rpm",
    ])
    .expect(0);
    assert_eq!(
        host.run(&["rpm", "-q", "teleport-ent"])
            .stdout
            .lines()
            .count(),
        2
    );
    for target in ["14.3.34", "14.3.33"] {
        host.set_version(target);
        pass(&host).expect(0);
        host.assert_agent_runs(target);
    }
    // The older one of the two is wanted, which package managers take for there already.
    host.run(&[
        "rpm",
        "--install",
        "--justdb",
        "--force",
        "--noscripts",
        "/run/agent.rpm",
    ])
    .expect(0);
    pass(&host).expect(0);
    host.assert_agent_runs("14.3.33");
    assert_eq!(
        host.run(&["rpm", "-q", "teleport-ent"])
            .expect(0)
            .stdout
            .lines()
            .count(),
        1
    );
}

/// yum 3 as its manual describes it, made of dnf: it knows none of dnf's options, and goes down when told so only.
const YUM_3: &str = r#"#!/bin/sh
echo "$*" >>/run/yum.log
verb= spec=
for word; do
    case $word in
        --version) echo 3.4.3; exit ;;
        --refresh | repoquery | --qf | --best | --allowerasing | --setopt=\** | --setopt=exit_on_lock=True) echo "no such option: $word"; exit 1 ;;
        -*) ;;
        *) verb=${verb:-$word} spec=$word ;;
    esac
done
if [ "$verb" = install ] && [ "$(printf '%s\n' "$spec" "$(rpm -q --qf '%{NAME}-%{VERSION}-%{RELEASE}' teleport-ent)" | sort -V | head -1)" = "$spec" ]; then
    echo "Nothing to do"
    exit 0
fi
exec dnf-3 "$@"
"#;

#[test]
fn yum_3_is_spoken_to_by_its_documented_command_line() {
    let host = Host::with_upgrade_from(Manager::Yum);
    host.remove("/usr/bin/dnf");
    host.remove("/usr/bin/yum");
    host.write("/usr/bin/yum", YUM_3);
    host.set_mode("/usr/bin/yum", 0o755);
    pass(&host).expect(0);
    host.assert_agent_runs("14.3.34");
    host.set_version("14.3.33");
    pass(&host).expect(0);
    host.assert_agent_runs("14.3.33");
    host.remove("/usr/local/bin/teleport");
    pass(&host).expect(0);
    host.assert_agent_runs("14.3.33");
    let log = host.read("/run/yum.log").unwrap();
    let verb = |verb: &str| log.lines().filter(|line| line.contains(verb)).count();
    // Each of the three simulated and carried out.
    assert_eq!(
        [
            verb(" install "),
            verb(" downgrade "),
            verb(" reinstall "),
            verb(" expire-cache")
        ],
        [2, 2, 2, 3],
        "{log}"
    );
}

#[test]
fn a_package_in_both_databases_is_dpkgs_unless_the_installer_is_of_rpm() {
    let host = Host::with_agent("14.3.33");
    let rpms = Repository::new(Manager::Yum, &host.directory().join("rpms"));
    rpms.publish(&[Package::agent("teleport-ent", "14.3.30")]);
    std::fs::copy(
        rpms.file("teleport-ent", "14.3.30"),
        host.path("/run/agent.rpm"),
    )
    .unwrap();
    host.run(&[
        "rpm",
        "--install",
        "--justdb",
        "--nodeps",
        "--nosignature",
        "/run/agent.rpm",
    ])
    .expect(0);
    host.set_version("14.3.34");
    for (installer, found) in [
        ("", "14.3.33"),
        ("apt", "14.3.33"),
        ("yum", "14.3.30"),
        ("zypper", "14.3.30"),
        ("nop", "14.3.33"),
    ] {
        host.configure("installer", installer);
        let ran = host.upgrader("dry-run").expect(0);
        assert_eq!(
            ran.stdout.lines().next().unwrap(),
            format!("an upgrade is available ({found} -> 14.3.34)"),
            "{installer}"
        );
    }
}
