//! The run that is made a million times, the one that finds nothing to do: it asks little, and overlooks nothing.

use host::{Host, Manager, Package, SOON, WAITS};

const CACHE: &str = "/run/teleport-upgrade/cache.json";
const HISTORY: &str = "/var/lib/teleport-upgrade/history.json";

/// Runs checks until one finds nothing new; what changed just now is asked for again.
fn settle(host: &Host) {
    let kept = || [CACHE, HISTORY].map(|file| host.read(file).unwrap_or_default());
    host.wait_for("a check that learns nothing", SOON, || {
        let before = kept();
        host.upgrader("run").expect(0);
        before == kept()
            && ["\"package_version\"", "\"program\": {"]
                .iter()
                .all(|part| before[0].contains(part))
    });
}

fn dry_run(host: &Host) -> String {
    host.upgrader("dry-run").expect(0).stdout
}

#[test]
fn an_idle_run_starts_no_program_and_makes_one_request() {
    for manager in [Manager::Apt, Manager::Yum] {
        let host = Host::with_agent_from(manager, "14.3.33");
        host.closed_window();
        settle(&host);
        let kept = || [CACHE, HISTORY].map(|file| host.read(file));
        let before = kept();
        host.releases.forget_requests();
        let trace = "strace -f -qq -o /run/trace -e trace=execve,getdents64,open,openat /usr/sbin/teleport-upgrade run";
        host.shell(trace).expect(0);
        let trace = host.read("/run/trace").unwrap();
        let programs: Vec<&str> = trace
            .lines()
            .filter(|line| line.contains("execve(") && line.ends_with("= 0"))
            .collect();
        assert_eq!(programs.len(), 1, "itself: {programs:?}");
        assert_eq!(host.releases.paths(), ["/current/version"]);
        assert_eq!(
            trace.matches("/etc/ssl/certs").count(),
            1,
            "the trust store is read once, as one file: {trace}"
        );
        if manager == Manager::Apt {
            let mut directories = trace.lines().filter(|line| line.contains("O_DIRECTORY"));
            assert!(
                directories.all(|line| line.contains("\"/proc/self/fd\"")),
                "only what it was left open is looked for: {trace}"
            );
        }
        assert_eq!(kept(), before);
    }
}

#[test]
fn what_others_do_to_the_package_is_seen_at_once() {
    for manager in [Manager::Apt, Manager::Yum, Manager::Zypper] {
        let host = Host::with_agent_from(manager, "14.3.33");
        host.configure("lock", "no\n");
        host.closed_window();
        host.repository
            .publish(&[Package::agent("teleport-ent", "14.3.34")]);
        settle(&host);
        host.shell(manager.refresh()).expect(0);
        host.shell(&manager.install("teleport-ent", Some("14.3.34")))
            .expect(0);
        assert!(
            dry_run(&host).starts_with("an upgrade is available (14.3.34 -> 14.3.33)"),
            "{manager:?}: {}",
            dry_run(&host)
        );
        host.set_version("14.3.34");
        host.run(&["systemctl", "restart", "teleport.service"])
            .expect(0);
        settle(&host);
        assert_eq!(
            dry_run(&host),
            "no upgrades available (14.3.34 == 14.3.34)\n",
            "{manager:?}"
        );
        // Someone's lock is seen, and so not set once more.
        host.shell(&manager.locks("teleport-ent")[0]).expect(0);
        host.configure("lock", "yes\n");
        host.upgrader("run").expect(0);
        let history = host.read(HISTORY).unwrap();
        assert!(!history.contains("held_by_us"), "{manager:?}: {history}");
    }
}

#[test]
fn what_happens_to_the_service_is_seen_at_once() {
    let host = Host::with_agent("14.3.33");
    host.closed_window();
    let up_to_date = "no upgrades available (14.3.33 == 14.3.33)\n";
    let restarts = || host.property("teleport.service", "NRestarts");
    settle(&host);
    // What systemd repairs by itself is none of our business, as long as it is not again and again.
    let old = host.agent_pid();
    host.run(&["kill", "-KILL", &old.to_string()]).expect(0);
    host.wait_for("another process", SOON, || {
        restarts() == "1"
            && host
                .read("/run/teleport.pid")
                .is_some_and(|_| host.is_alive(host.agent_pid()))
    });
    assert_eq!(dry_run(&host), up_to_date);
    host.upgrader("run").expect(0);
    assert!(
        host.read(HISTORY)
            .unwrap()
            .contains("\"teleport.service\": 1"),
        "the restart is counted"
    );
    settle(&host);
    // Running, and then given up by systemd.
    host.write(
        "/etc/systemd/system/teleport.service.d/no.conf",
        "[Service]\nRestart=no\n",
    );
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    host.run(&["kill", "-KILL", &host.agent_pid().to_string()])
        .expect(0);
    host.wait_for("the failure", SOON, || {
        host.property("teleport.service", "ActiveState") == "failed"
    });
    assert!(
        dry_run(&host).contains(
            "would restart teleport.service now to run the installed version 14.3.33: teleport.service is down (failed"
        ),
        "{}",
        dry_run(&host)
    );
    // It was stopped by someone, and is left so.
    host.run(&["systemctl", "reset-failed", "teleport.service"])
        .expect(0);
    host.run(&["systemctl", "start", "teleport.service"])
        .expect(0);
    host.wait_for("the agent", SOON, || {
        host.read("/run/teleport.pid")
            .is_some_and(|_| host.is_alive(host.agent_pid()))
    });
    settle(&host);
    host.run(&["systemctl", "stop", "teleport.service"])
        .expect(0);
    assert_eq!(dry_run(&host), up_to_date);
}

#[test]
fn an_install_that_is_under_way_is_seen() {
    let host = Host::with_agent("14.3.33");
    host.configure("lock", "no\n");
    host.closed_window();
    settle(&host);
    host.repository
        .publish(&[Package::agent("teleport-ent", "14.3.34").postinst(WAITS)]);
    host.shell(Manager::Apt.refresh()).expect(0);
    let install = host.spawn(&[
        "sh",
        "-c",
        &Manager::Apt.install("teleport-ent", Some("14.3.34")),
    ]);
    host.wait_for("dpkg to run", SOON, || {
        host.read("/run/installing").is_some()
    });
    // dpkg has noted so far what it does, and not yet rewritten its status file.
    assert!(
        dry_run(&host).starts_with("an upgrade is available (14.3.34 -> 14.3.33)"),
        "{}",
        dry_run(&host)
    );
    host.write("/run/go-on", "");
    install.wait().expect(0);
}

#[test]
fn an_authority_beside_the_main_file_of_the_trust_store_counts_too() {
    only_the_whole_store_knows_the_server("", "signed by an unknown CA");
}

#[test]
fn an_authority_with_a_newer_key_beside_the_main_file_counts_too() {
    // The main file still has the authority's old key, under the same name.
    let old = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj '/CN=Test Authority'";
    only_the_whole_store_knows_the_server(old, "the server's certificate has an invalid signature");
}

/// The server's authority is taken out of the main file, for what a command prints, and comes back beside it.
fn only_the_whole_store_knows_the_server(instead: &str, objection: &str) {
    let host = Host::with_agent("14.3.33");
    let store = "/etc/ssl/certs/ca-certificates.crt";
    let trusted = host.read(store).unwrap();
    let (others, own) = trusted.split_at(trusted.rfind("-----BEGIN").unwrap());
    let instead = host.shell(instead).expect(0).stdout;
    host.write(store, &format!("{others}{instead}"));
    let stranger = host.upgrader("dry-run").expect(1).stderr;
    assert!(stranger.contains(objection), "{stranger}");
    host.write("/etc/ssl/certs/own.pem", own);
    assert_eq!(
        dry_run(&host),
        "no upgrades available (14.3.33 == 14.3.33)\n"
    );
}

#[test]
fn what_others_do_to_the_unit_is_seen_at_once() {
    // Whether or not some generator has made units.
    let none = "cd /usr/lib/systemd/system-generators; mkdir -p /etc/systemd/system-generators; \
                for generator in *; do ln -s /dev/null /etc/systemd/system-generators/$generator; done";
    for (generators, has_units) in [("", true), (none, false)] {
        let host = Host::with_agent("14.3.33");
        host.shell(generators).expect(0);
        host.run(&["systemctl", "daemon-reload"]).expect(0);
        assert_eq!(host.path("/run/systemd/generator").exists(), has_units);
        changes_of_the_unit_are_seen(&host);
    }
}

fn changes_of_the_unit_are_seen(host: &Host) {
    host.closed_window();
    settle(host);
    // The running process does not use it, and is in charge as before.
    let start =
        "/usr/local/bin/teleport start --config /etc/other.yaml --pid-file=/run/teleport.pid";
    host.write(
        "/etc/systemd/system/teleport.service.d/other.conf",
        &format!("[Service]\nExecStart=\nExecStart={start}\n"),
    );
    host.write("/etc/other.yaml", "auth_service:\n  enabled: yes\n");
    // Nor does systemd, until it is reloaded.
    host.upgrader("run").expect(0);
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    let said = host.upgrader("dry-run").expect(10).stdout;
    assert!(said.contains("auth_service in /etc/other.yaml"), "{said}");
    host.remove("/etc/systemd/system/teleport.service.d/other.conf");
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    host.run(&["systemctl", "restart", "teleport.service"])
        .expect(0);
    settle(host);
    // A unit that is gone, and came back.
    let unit = "/usr/lib/systemd/system/teleport.service";
    host.shell(&format!("mv {unit} /run/kept; systemctl daemon-reload"))
        .expect(0);
    let said = host.upgrader("dry-run").expect(0).stderr;
    assert!(said.contains("unit teleport.service not found"), "{said}");
    host.shell(&format!("mv /run/kept {unit}; systemctl daemon-reload"))
        .expect(0);
    assert_eq!(host.upgrader("dry-run").expect(0).stderr, "");
}

#[test]
fn a_cache_that_is_lost_or_makes_no_sense_is_recreated() {
    let host = Host::with_agent("14.3.33");
    host.closed_window();
    settle(&host);
    let cache = host.read(CACHE).unwrap();
    let history = host.read(HISTORY);
    let torn = cache.replace("\"LoadState=loaded\"", "\"\", \"LoadState=loaded\"");
    assert_ne!(torn, cache);
    let (empty, cut) = (String::new(), cache[..cache.len() / 2].to_string());
    for text in [Some(torn), Some(empty), Some(cut), None] {
        match &text {
            Some(text) => host.write(CACHE, text),
            None => host.remove(CACHE),
        }
        let ran = host.upgrader("run").expect(0);
        assert_eq!(ran.stderr, "", "{text:?}");
        assert_eq!(host.read(CACHE).unwrap(), cache, "{text:?}");
        assert_eq!(host.read(HISTORY), history, "{text:?}");
    }
}
