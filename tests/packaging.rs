//! The packages that people install, made by `packaging/build`, on real hosts: what they do to the timer, to the agent, to its lock.

use host::{Format, Host, Manager, Package, Ran, SOON, package_files};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// Makes a test of every case, for every package manager.
macro_rules! cases {
    ($($case:ident)*) => {
        mod apt { $(#[test] fn $case() { super::$case(super::Manager::Apt); })* }
        mod yum { $(#[test] fn $case() { super::$case(super::Manager::Yum); })* }
        mod zypper { $(#[test] fn $case() { super::$case(super::Manager::Zypper); })* }
    };
}

cases! {
    installed_upgraded_downgraded_reinstalled_and_removed
    what_teleports_own_updater_did_is_taken_over
    a_disabled_timer_stays_disabled
}

const TIMER: &str = "teleport-upgrade.timer";
const SERVICE: &str = "teleport-upgrade.service";
/// The timer fires at once, and never again: what the test does then is what happens.
const HURRY: &str =
    "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=1ms\n";
/// The timer as it is, but that it never fires while a test runs.
const PATIENCE: &str = "[Timer]\nOnActiveSec=\nOnActiveSec=1d\n";
/// The advice of the install to restart the agent.
const RESTART_FIRST: &str = "IMPORTANT: restart the agent before you enable upgrades: sudo systemctl restart teleport.service";
/// The warning about an agent that has not been restarted since the first install.
const EXPORTS_LATER: &str = "the agent will export its maintenance windows after its next restart";
/// Waits for the last trace of a package manager, on a machine with much else to do.
const LATER: Duration = Duration::from_secs(120);

/// The packages of the version in `Cargo.toml`, and of a later one that differs in nothing else.
struct Packages {
    directory: PathBuf,
    own: String,
    later: String,
}

impl Packages {
    fn get() -> &'static Packages {
        static PACKAGES: OnceLock<Packages> = OnceLock::new();
        PACKAGES.get_or_init(|| {
            let project = Path::new(env!("CARGO_MANIFEST_DIR"));
            let directory = project.join("target/packages");
            let own = env!("CARGO_PKG_VERSION").to_string();
            let later = format!("{own}.1");
            let packages = Packages {
                directory,
                own,
                later,
            };
            let missing = "is missing: run packaging/build";
            for file in Format::ALL.map(|format| packages.file(format, &packages.own)) {
                assert!(file.exists(), "{} {missing}", file.display());
                fs::create_dir_all(packages.directory.join("later")).unwrap();
            }
            package_as(&packages.later, &packages.directory.join("later"));
            packages
        })
    }

    fn file(&self, format: Format, version: &str) -> PathBuf {
        let below = if version == self.later { "later" } else { "." };
        self.directory
            .join(below)
            .join(Packages::file_name(format, version))
    }

    fn file_name(format: Format, version: &str) -> String {
        let arch = std::env::consts::ARCH;
        let debian = if arch == "x86_64" { "amd64" } else { "arm64" };
        match format {
            Format::Deb => format!("teleport-upgrade_{version}_{debian}.deb"),
            Format::Rpm => format!("teleport-upgrade-{version}-1.{arch}.rpm"),
        }
    }
}

/// Packages what was built as another version.
fn package_as(version: &str, directory: &Path) {
    let mut build = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/build"));
    let output = build
        .args(["--as", version])
        .arg(directory)
        .env("TZ", "Asia/Tokyo")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A host with an agent that does not export windows, and with both versions of ours in its repository.
fn host_without_the_program(manager: Manager) -> Host {
    let host = Host::with_agent_from(manager, "14.3.33");
    host.shell(
        "rm -r /usr/sbin/teleport-upgrade /usr/lib/systemd/system/teleport-upgrade.* /usr/lib/systemd/system/teleport.service.d",
    )
    .expect(0);
    host.shell("systemctl daemon-reload && systemctl restart teleport.service")
        .expect(0);
    host.wait_for("the agent's pid file", SOON, || {
        host.read("/run/teleport.pid").is_some()
    });
    let packages = Packages::get();
    for version in [&packages.own, &packages.later] {
        host.repository
            .publish_file(&packages.file(manager.format(), version));
    }
    if manager != Manager::Apt {
        // rpm does not know what comes from Debian's packages.
        host.repository.publish(&[Package::new("c-library", "2.36")
            .provides("libc.so.6(GLIBC_2.17)(64bit)")
            .provides("/bin/sh")]);
        host.shell(manager.refresh()).expect(0);
        install(&host, "c-library", None);
    }
    host.shell(manager.refresh()).expect(0);
    host
}

/// Installs as an administrator would, up or down or again.
fn install(host: &Host, name: &str, version: Option<&str>) -> Ran {
    let at = |sign: &str| {
        version
            .map(|version| format!("{name}{sign}{version}"))
            .unwrap_or(name.into())
    };
    host.shell(&match host.manager {
        Manager::Apt => format!(
            "DEBIAN_FRONTEND=noninteractive apt-get -q -y --allow-downgrades install {}",
            at("=")
        ),
        Manager::Yum | Manager::Dnf5 => format!("dnf -y install {}", at("-")),
        Manager::Zypper => format!(
            "zypper --non-interactive --no-gpg-checks install --oldpackage --force {}",
            at("=")
        ),
    })
    .expect(0)
}

fn reinstall(host: &Host, version: &str) {
    host.shell(&match host.manager {
        Manager::Apt => format!("apt-get -q -y --reinstall install teleport-upgrade={version}"),
        Manager::Yum | Manager::Dnf5 => format!("dnf -y reinstall teleport-upgrade-{version}"),
        Manager::Zypper => {
            format!("zypper --non-interactive install --force teleport-upgrade={version}")
        }
    })
    .expect(0);
}

fn remove(host: &Host) -> Ran {
    host.shell(match host.manager {
        Manager::Apt => "apt-get -q -y remove teleport-upgrade",
        Manager::Yum | Manager::Dnf5 => "dnf -y remove teleport-upgrade",
        Manager::Zypper => "zypper --non-interactive remove teleport-upgrade",
    })
    .expect(0)
}

/// Whether the package is held.
fn is_locked(host: &Host) -> bool {
    match host.manager {
        Manager::Apt => host.is_on_hold("teleport-ent"),
        Manager::Yum | Manager::Dnf5 => {
            let files = [
                "/etc/dnf/plugins/versionlock.list",
                "/etc/dnf/versionlock.toml",
                host.manager.source_file(),
            ];
            files.iter().any(|file| {
                host.read(file).is_some_and(|text| {
                    text.contains("!teleport-ent")
                        || text.contains("\"teleport-ent\"")
                        || text.contains("exclude=")
                })
            })
        }
        Manager::Zypper => host
            .read("/etc/zypp/locks")
            .is_some_and(|text| text.contains("teleport-ent")),
    }
}

fn timer(host: &Host) -> String {
    let state = host.run(&["systemctl", "is-enabled", TIMER]).stdout;
    format!("{} {}", state.trim(), host.property(TIMER, "ActiveState"))
}

/// All that was said, without the ends of lines.
fn flat(ran: &Ran) -> String {
    format!("{} {}", ran.stdout, ran.stderr)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[track_caller]
fn assert_installed(host: &Host, version: &str) {
    assert_eq!(host.installed("teleport-upgrade"), format!("ii {version}"));
    let own = &Packages::get().own;
    assert_eq!(
        host.run(&["teleport-upgrade", "version"])
            .expect(0)
            .stdout
            .trim(),
        own,
        "the program is the same in both"
    );
    assert_eq!(timer(host), "enabled active");
    assert_ne!(host.property(SERVICE, "ActiveState"), "failed");
}

/// Has the timer fire, and waits for the end of the run.
fn pass_of_the_timer(host: &Host) -> String {
    host.write(&format!("/etc/systemd/system/{TIMER}.d/test.conf"), HURRY);
    let before = host.property(SERVICE, "ExecMainExitTimestampMonotonic");
    host.shell(&format!(
        "systemctl daemon-reload && systemctl restart {TIMER}"
    ))
    .expect(0);
    host.wait_for("the end of the run", LATER, || {
        host.property(SERVICE, "ExecMainExitTimestampMonotonic") != before
    });
    host.write(
        &format!("/etc/systemd/system/{TIMER}.d/test.conf"),
        PATIENCE,
    );
    host.shell(&format!(
        "systemctl daemon-reload && systemctl restart {TIMER}"
    ))
    .expect(0);
    host.journal(SERVICE)
}

fn installed_upgraded_downgraded_reinstalled_and_removed(manager: Manager) {
    let host = host_without_the_program(manager);
    let Packages { own, later, .. } = Packages::get();
    let agent = host.agent_pid();
    let session = host.open_session();

    let said = install(&host, "teleport-upgrade", Some(own));
    assert_installed(&host, own);
    let said = said.stdout + &said.stderr;
    assert!(said.contains(RESTART_FIRST), "{said}");
    assert!(
        !said.contains("to enable upgrades"),
        "there is a release channel: {said}"
    );
    assert_eq!(host.mode("/etc/teleport-upgrade.d"), 0o755);
    let shown = |command: &[&str]| flat(&host.run(command).expect(0));
    assert!(shown(&["teleport-upgrade", "status"]).contains(EXPORTS_LATER));
    assert!(shown(&["teleport-upgrade", "dry-run"]).contains(&format!("warning: {EXPORTS_LATER}")));
    let exports = || {
        let object = host
            .run(&["teleport-upgrade", "status", "--json"])
            .expect(0)
            .stdout;
        let object: serde_json::Value = serde_json::from_str(&object).unwrap();
        object["agent"]["services"][0]["exports_windows"].clone()
    };
    assert_eq!(exports(), false);
    // A reload keeps the environment.
    host.run(&["systemctl", "reload", "teleport.service"])
        .expect(0);
    host.wait_for("the reload", SOON, || host.agent_pid() != agent);
    assert!(host.is_alive(agent), "its session lives on");
    session.end();
    host.wait_for("the end of the session", SOON, || !host.is_alive(agent));
    assert!(shown(&["teleport-upgrade", "status"]).contains(EXPORTS_LATER));
    let reloaded = host.agent_pid();
    host.run(&["systemctl", "restart", "teleport.service"])
        .expect(0);
    host.wait_for("the restart", SOON, || host.agent_pid() != reloaded);
    assert!(!shown(&["teleport-upgrade", "status"]).contains(EXPORTS_LATER));
    assert_eq!(exports(), true);

    let journal = pass_of_the_timer(&host);
    assert!(
        journal.contains("no upgrades available (14.3.33 == 14.3.33)"),
        "{journal}"
    );
    assert!(is_locked(&host));
    let mut agent = host.agent_pid();

    install(&host, "teleport-upgrade", Some(later));
    assert_installed(&host, later);
    install(&host, "teleport-upgrade", Some(own));
    assert_installed(&host, own);
    reinstall(&host, own);
    assert_installed(&host, own);
    assert!(is_locked(&host));
    assert!(
        host.read("/var/lib/teleport-upgrade/history.json")
            .unwrap()
            .contains("held_by_us")
    );

    host.configure("mine", "a file of the administrator's\n");
    host.configure(
        "metrics",
        "# of the node exporter\n/var/lib/metrics of nodes\n",
    );
    let told = [
        "/run/motd.d/teleport-upgrade",
        "/var/lib/metrics of nodes/teleport-upgrade.prom",
    ];
    told.iter()
        .for_each(|file| host.write(file, "an upgrade waits\n"));
    remove(&host);
    assert!(
        told.iter().all(|file| !host.path(file).exists()),
        "no login message announces upgrades without the program"
    );
    host.remove("/etc/teleport-upgrade.d/metrics");
    assert_eq!(host.property(TIMER, "ActiveState"), "inactive");
    assert!(!host.path("/usr/sbin/teleport-upgrade").exists());
    host.wait_for("the hold to be released", LATER, || !is_locked(&host));
    if manager == Manager::Apt {
        // And once more, all at once. Of an agent that knows of us nothing is said.
        host.write("/etc/default/teleport", "TELEPORT_EXT_UPGRADER=unit\n");
        host.run(&["systemctl", "restart", "teleport.service"])
            .expect(0);
        host.wait_for("the agent", SOON, || host.agent_pid() != agent);
        agent = host.agent_pid();
        let said = install(&host, "teleport-upgrade", Some(own));
        assert!(!flat(&said).contains(RESTART_FIRST), "{said:?}");
        assert_installed(&host, own);
        host.upgrader("run").expect(0);
        assert!(is_locked(&host));
        host.shell("apt-get -q -y purge teleport-upgrade").expect(0);
        host.wait_for("the hold to be released", LATER, || !is_locked(&host));
        assert!(!host.path("/var/lib/teleport-upgrade").exists());
        assert!(!host.path("/etc/teleport-upgrade.d/README").exists());
    }
    host.wait_for("no unit of ours", SOON, || {
        host.run(&["systemctl", "is-enabled", TIMER]).status != 0
    });
    assert_eq!(
        host.run(&["systemctl", "is-system-running"]).stdout,
        "running\n",
        "no unit has failed"
    );
    for (file, text) in [
        ("endpoint", "releases.example.com/current\n"),
        ("mine", "a file of the administrator's\n"),
    ] {
        assert_eq!(
            host.read(&format!("/etc/teleport-upgrade.d/{file}"))
                .as_deref(),
            Some(text)
        );
    }
    host.assert_agent_runs("14.3.33");
    assert_eq!(host.agent_pid(), agent, "nothing has touched the agent");
}

/// Teleport's own updater: a script, a timer of the same name, scripts that do not consider this package.
fn teleports_own(manager: Manager) -> Package {
    let unit = "[Service]\nType=oneshot\nExecStart=/usr/sbin/teleport-upgrade run\n";
    let timer = "[Timer]\nOnActiveSec=1d\n[Install]\nWantedBy=timers.target\n";
    let lock = match manager {
        Manager::Apt => "apt-mark hold teleport-ent",
        Manager::Yum | Manager::Dnf5 => {
            "sed -i 's/^.teleport.$/&\\nexclude=teleport-ent/' /etc/yum.repos.d/teleport.repo"
        }
        Manager::Zypper => "zypper --non-interactive addlock teleport-ent",
    };
    Package::new("teleport-ent-updater", "15.2.0")
        .file(
            "/usr/sbin/teleport-upgrade",
            0o755,
            &format!("#!/bin/bash\n# v1\n{lock}\n"),
        )
        .file("/lib/systemd/system/teleport-upgrade.service", 0o644, unit)
        .file("/lib/systemd/system/teleport-upgrade.timer", 0o644, timer)
        .file("/etc/teleport-upgrade.d/package", 0o644, "teleport-ent\n")
        .postinst("systemctl daemon-reload; systemctl enable --now teleport-upgrade.timer")
        .prerm("systemctl disable --now teleport-upgrade.timer")
}

fn what_teleports_own_updater_did_is_taken_over(manager: Manager) {
    let own = &Packages::get().own;
    for by_dpkg in [false, true] {
        if by_dpkg && manager != Manager::Apt {
            continue;
        }
        let host = host_without_the_program(manager);
        host.repository.publish(&[teleports_own(manager)]);
        host.shell(manager.refresh()).expect(0);
        install(&host, "teleport-ent-updater", Some("15.2.0"));
        host.run(&["/usr/sbin/teleport-upgrade", "run"]).expect(0);
        assert!(is_locked(&host));
        host.configure("package", "# changed by the administrator\nteleport-ent\n");

        if by_dpkg {
            host.shell(
                "cd /tmp && apt-get -q download teleport-upgrade=$VERSION"
                    .replace("$VERSION", own)
                    .as_str(),
            )
            .expect(0);
            host.shell("dpkg --install /tmp/teleport-upgrade_*.deb")
                .expect(0);
        } else {
            install(&host, "teleport-upgrade", Some(own));
        }
        assert_installed(&host, own);
        assert!(
            !host.installed("teleport-ent-updater").starts_with("ii"),
            "{}",
            host.installed("teleport-ent-updater")
        );
        assert!(
            host.path("/usr/lib/systemd/system/teleport-upgrade.service")
                .exists()
        );
        assert_eq!(
            host.read("/etc/teleport-upgrade.d/endpoint").as_deref(),
            Some("releases.example.com/current\n")
        );
        let package = host.read("/etc/teleport-upgrade.d/package");
        assert_eq!(
            package.as_deref(),
            Some("# changed by the administrator\nteleport-ent\n"),
            "although it was of that package"
        );
        let journal = pass_of_the_timer(&host);
        assert!(
            journal.contains("no upgrades available (14.3.33 == 14.3.33)"),
            "{journal}"
        );
        assert!(is_locked(&host));
        // Its lock is ours now, so that we may take it back.
        host.configure("lock", "no\n");
        host.upgrader("run").expect(0);
        assert!(!is_locked(&host));
    }
}

#[test]
fn an_rpm_host_whose_timer_was_disabled_keeps_it_so() {
    for manager in [Manager::Yum, Manager::Zypper] {
        let host = host_without_the_program(manager);
        host.repository.publish(&[teleports_own(manager)]);
        host.shell(manager.refresh()).expect(0);
        install(&host, "teleport-ent-updater", Some("15.2.0"));
        host.run(&["systemctl", "disable", "--now", TIMER])
            .expect(0);
        install(&host, "teleport-upgrade", Some(&Packages::get().own));
        assert_eq!(timer(&host), "disabled inactive");
    }
}

fn a_disabled_timer_stays_disabled(manager: Manager) {
    let host = host_without_the_program(manager);
    let Packages { own, later, .. } = Packages::get();
    install(&host, "teleport-upgrade", Some(own));
    host.run(&["systemctl", "disable", "--now", TIMER])
        .expect(0);
    // As an rpm leaves it whose transaction is interrupted before its end.
    host.write("/run/teleport-upgrade.replaced", "");
    install(&host, "teleport-upgrade", Some(later));
    assert_eq!(timer(&host), "disabled inactive");
    reinstall(&host, later);
    assert_eq!(timer(&host), "disabled inactive");
    // One that is only stopped is not started, nor disabled.
    host.run(&["systemctl", "enable", TIMER]).expect(0);
    install(&host, "teleport-upgrade", Some(own));
    assert_eq!(timer(&host), "enabled inactive");
}

/// Has someone hold apt's lock on its lists until there is `/run/go-on`, so that a run waits.
fn pass_that_waits(host: &Host) {
    let hold = "import fcntl, os, time\nf = open('/var/lib/apt/lists/lock', 'w')\nfcntl.lockf(f, fcntl.LOCK_EX)\n\
                open('/run/holding', 'w')\nwhile not os.path.exists('/run/go-on'): time.sleep(0.1)\n";
    host.write("/run/hold.py", hold);
    host.shell("systemd-run --quiet python3 /run/hold.py")
        .expect(0);
    host.wait_for("the lock to be held", SOON, || {
        host.read("/run/holding").is_some()
    });
    host.run(&["systemctl", "start", "--no-block", SERVICE])
        .expect(0);
    host.wait_for("the run to wait", SOON, || {
        host.journal(SERVICE)
            .contains("to release /var/lib/apt/lists/lock")
    });
}

#[test]
fn a_run_in_progress_is_let_be_by_an_upgrade_of_the_upgrader() {
    let host = host_without_the_program(Manager::Apt);
    let Packages { own, later, .. } = Packages::get();
    install(&host, "teleport-upgrade", Some(own));
    host.run(&["systemctl", "stop", TIMER]).expect(0);
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host.configure("observe-seconds", "1\n");
    host.open_window();
    host.shell(&format!(
        "cd /tmp && apt-get -q download teleport-upgrade={later}"
    ))
    .expect(0);
    pass_that_waits(&host);
    let pass = host.property(SERVICE, "MainPID");
    host.shell("dpkg --install /tmp/teleport-upgrade_*.deb")
        .expect(0);
    assert_eq!(host.property(SERVICE, "MainPID"), pass);
    assert_eq!(host.property(SERVICE, "ActiveState"), "activating");
    host.write("/run/go-on", "");
    host.wait_for("the end of the run", LATER, || {
        host.property(SERVICE, "ActiveState") == "inactive"
    });
    assert_eq!(host.property(SERVICE, "Result"), "success");
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_run_in_progress_ends_before_the_hold_is_released_at_a_purge() {
    let host = host_without_the_program(Manager::Apt);
    install(&host, "teleport-upgrade", Some(&Packages::get().own));
    host.run(&["systemctl", "stop", TIMER]).expect(0);
    host.upgrader("run").expect(0);
    assert!(is_locked(&host));
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host.configure("observe-seconds", "1\n");
    host.open_window();
    pass_that_waits(&host);
    host.shell("dpkg --purge teleport-upgrade").expect(0);
    assert_eq!(host.property(SERVICE, "ActiveState"), "activating");
    assert!(is_locked(&host));
    host.write("/run/go-on", "");
    host.wait_for("the hold to be released", LATER, || !is_locked(&host));
    assert_ne!(host.property(SERVICE, "ActiveState"), "activating");
    assert!(
        host.installed("teleport-ent").starts_with("ii 14.3.3"),
        "{}",
        host.installed("teleport-ent")
    );
    assert_eq!(host.property("teleport.service", "ActiveState"), "active");
}

#[test]
fn an_administrators_own_lock_outlives_us() {
    let host = host_without_the_program(Manager::Apt);
    host.run(&["apt-mark", "hold", "teleport-ent"]).expect(0);
    install(&host, "teleport-upgrade", None);
    host.upgrader("run").expect(0);
    assert!(
        host.run(&["teleport-upgrade", "disable", "--unhold"])
            .expect(0)
            .stdout
            .contains("no hold was set by teleport-upgrade")
    );
    host.shell("apt-get -q -y purge teleport-upgrade").expect(0);
    assert!(is_locked(&host));
    assert_eq!(
        host.run(&["systemctl", "list-units", "--no-legend", "run-*.service"])
            .stdout,
        "",
        "nothing waits to take it back"
    );
}

#[test]
fn an_install_that_was_interrupted_leaves_nothing_behind_once_it_is_purged() {
    let host = host_without_the_program(Manager::Apt);
    let own = &Packages::get().own;
    host.shell(&format!("cd /tmp && apt-get -q download teleport-upgrade={own} && dpkg --unpack teleport-upgrade_*.deb")).expect(0);
    host.shell("dpkg --purge teleport-upgrade").expect(0);
    let left = host
        .shell("dpkg-divert --list | grep teleport; ls /run/teleport-upgrade.* 2>/dev/null")
        .stdout;
    assert_eq!(
        left, "",
        "else the units of whatever is installed next have other names"
    );
}

#[test]
fn a_run_begun_manually_is_waited_for_by_a_removal() {
    let host = Host::with_agent("14.3.33");
    host.upgrader("run").expect(0);
    assert!(is_locked(&host));
    // One that still holds its lock while the release begins.
    let holder =
        "touch /run/held; until pgrep -x teleport-upgrad; do :; done; sleep 2; touch /run/ended";
    let removal = "until [ -e /run/held ]; do :; done; teleport-upgrade disable --unhold --recorded && [ -e /run/ended ]";
    host.shell(&format!(
        "flock /var/lib/teleport-upgrade/lock sh -c '{holder}' & {removal}"
    ))
    .expect(0);
    assert!(!is_locked(&host));
}

#[test]
fn without_a_release_channel_no_run_fails_and_with_one_they_begin() {
    let host = host_without_the_program(Manager::Apt);
    host.remove("/etc/teleport-upgrade.d/endpoint");
    host.write(
        &format!("/etc/systemd/system/{TIMER}.d/test.conf"),
        &format!("{HURRY}OnUnitInactiveSec=1s\n"),
    );
    let said = install(&host, "teleport-upgrade", None);
    assert!(
        said.stdout
            .contains("to enable upgrades from a release channel: sudo teleport-upgrade enable "),
        "{}",
        said.stdout
    );
    host.wait_for("a run to be skipped", SOON, || {
        host.property(SERVICE, "Result") == "exec-condition"
    });
    assert_eq!(host.property(SERVICE, "ActiveState"), "inactive");
    host.configure("endpoint", "releases.example.com/current\n");
    host.wait_for("a run", SOON, || {
        host.journal(SERVICE)
            .contains("no upgrades available (14.3.33 == 14.3.33)")
    });
}

#[test]
fn needrestart_leaves_the_agent_alone() {
    let host = host_without_the_program(Manager::Apt);
    install(&host, "teleport-upgrade", None);
    // An agent that has a library loaded which an regular update replaces.
    let directory = tempfile::tempdir().unwrap();
    let library = |version: &str| {
        let (source, built) = (
            directory.path().join("widget.c"),
            directory.path().join("widget.so"),
        );
        fs::write(
            &source,
            format!("const char *widget_version = \"{version}\";\n"),
        )
        .unwrap();
        let compiled = Command::new("gcc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&built, &source])
            .status()
            .unwrap();
        assert!(compiled.success());
        host.write("/tmp/widget.so", "");
        fs::copy(&built, host.path("/tmp/widget.so")).unwrap();
        // As a package does: a new file takes the name of the old.
        host.shell("install -m 755 /tmp/widget.so /usr/lib/libwidget.so.new && mv /usr/lib/libwidget.so.new /usr/lib/libwidget.so")
            .expect(0);
    };
    library("1");
    host.write(
        "/etc/systemd/system/teleport.service.d/widget.conf",
        "[Service]\nEnvironment=LD_PRELOAD=/usr/lib/libwidget.so\n",
    );
    host.write(
        "/etc/needrestart/conf.d/automatic.conf",
        "$nrconf{restart} = 'a';\n",
    );
    host.shell("systemctl daemon-reload && systemctl restart teleport.service")
        .expect(0);
    host.wait_for("the agent", SOON, || {
        host.read("/run/teleport.pid").is_some() && host.is_alive(host.agent_pid())
    });
    let agent = host.property("teleport.service", "MainPID");
    library("2");
    let update = "apt-get -q -y --reinstall install teleport-upgrade";
    host.shell(update).expect(0);
    assert_eq!(host.property("teleport.service", "MainPID"), agent);
    // It is our rule that does it.
    host.remove("/etc/needrestart/conf.d/teleport-upgrade.conf");
    host.shell(update).expect(0);
    host.wait_for("a restart", SOON, || {
        host.property("teleport.service", "MainPID") != agent
    });
}

#[test]
fn linters_find_no_error_and_the_units_are_valid() {
    let packages = Packages::get();
    // lintian leaves files among the temporary ones.
    let scratch = tempfile::tempdir().unwrap();
    let run = |program: &str, arguments: &[&Path]| {
        let output = Command::new(program)
            .args(arguments)
            .env("TMPDIR", scratch.path())
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error} (run tests/setup)"));
        (
            output.status.success(),
            format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
        )
    };
    let deb = packages.file(Format::Deb, &packages.own);
    let (succeeded, said) = run(
        "lintian",
        &[Path::new("--fail-on"), Path::new("error"), &deb],
    );
    assert!(succeeded, "{said}");
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/rpmlint.toml");
    let rpm = packages.file(Format::Rpm, &packages.own);
    let (succeeded, said) = run("rpmlint", &[Path::new("-c"), &settings, &rpm]);
    assert!(succeeded && said.contains(" 0 errors"), "{said}");

    let host = host_without_the_program(Manager::Apt);
    install(&host, "teleport-upgrade", None);
    let verified = host
        .run(&["systemd-analyze", "verify", "--man=no", SERVICE, TIMER])
        .expect(0);
    assert_eq!(verified.stderr, "");
}

#[test]
fn an_old_rpm_and_an_old_c_library_will_do() {
    let packages = Packages::get();
    let ask = |arguments: &[&str]| {
        let output = Command::new("rpm")
            .arg("-qp")
            .args(arguments)
            .arg(packages.file(Format::Rpm, &packages.own))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        ask(&["--qf", "%{PAYLOADCOMPRESSOR} %{PAYLOADFORMAT}"]),
        "gzip cpio"
    );
    // What rpm must know how to do, and since which version it does; RHEL 7 has 4.11.
    let requires = ask(&["--requires"]);
    let features: Vec<&str> = requires
        .lines()
        .filter(|line| line.starts_with("rpmlib("))
        .collect();
    assert!(!features.is_empty());
    for feature in features {
        let since = feature.split(' ').nth(2).unwrap();
        let mut numbers = since
            .split(['.', '-'])
            .map(|number| number.parse::<u32>().unwrap());
        assert!(
            (numbers.next().unwrap(), numbers.next().unwrap()) <= (4, 11),
            "{feature}"
        );
    }
    assert!(requires.contains("libc.so.6(GLIBC_2.17)(64bit)"));
    // Nothing of the machine that built it.
    assert_eq!(ask(&["--qf", "%{BUILDHOST}"]), "teleport-upgrade.invalid");
    let program = packages.directory.with_file_name("packaging").join(format!(
        "build/{}-unknown-linux-gnu/release/teleport-upgrade",
        std::env::consts::ARCH
    ));
    let text = fs::read(program).unwrap();
    for path in [env!("CARGO_MANIFEST_DIR"), "/.cargo/registry"] {
        assert!(
            !text.windows(path.len()).any(|part| part == path.as_bytes()),
            "the program names {path}"
        );
    }
}

#[test]
fn the_same_files_are_packaged_twice_with_the_same_bytes() {
    let packages = Packages::get();
    let directory = tempfile::tempdir().unwrap();
    package_as(&packages.own, directory.path());
    for format in Format::ALL {
        let again = directory
            .path()
            .join(Packages::file_name(format, &packages.own));
        assert!(
            fs::read(again).unwrap() == fs::read(packages.file(format, &packages.own)).unwrap(),
            "{format:?}"
        );
    }
}

#[test]
fn both_packages_have_the_same_files() {
    let files = |format: Format| -> BTreeSet<String> {
        let packages = Packages::get();
        let file = packages.file(format, &packages.own);
        let list = match format {
            Format::Deb => Command::new("sh")
                .args(["-c", "dpkg-deb --fsys-tarfile \"$0\" | tar -t"])
                .arg(file)
                .output()
                .unwrap(),
            Format::Rpm => Command::new("rpm")
                .args(["-qlp"])
                .arg(file)
                .output()
                .unwrap(),
        };
        let list = String::from_utf8(list.stdout).unwrap();
        list.lines()
            .map(|line| line.trim_start_matches('.').to_string())
            .filter(|line| !line.ends_with('/'))
            .collect()
    };
    let common = |format: Format| -> BTreeSet<String> {
        // Each distribution has its own place for these, or does not know them.
        let elsewhere = [
            "/usr/share/doc/",
            "/usr/share/licenses/",
            "/usr/share/zsh/",
            "/etc/needrestart/",
        ];
        let is_elsewhere = |name: &String| elsewhere.iter().any(|place| name.starts_with(place));
        let names = files(format).into_iter();
        names.filter(|name| !is_elsewhere(name)).collect()
    };
    assert_eq!(common(Format::Deb), common(Format::Rpm));
    assert!(common(Format::Deb).len() >= 10);
    for format in Format::ALL {
        let listed = package_files(format).into_iter();
        let listed: BTreeSet<String> = listed.map(|[_, place, _]| place).collect();
        assert_eq!(files(format), listed, "{format:?}");
    }
}
