//! While an upgrade waits for its window, its package is downloaded: once, at low priority, and never to anybody's harm.

use host::{Host, Manager, Package, Ran, Response, SOON, flip};

const MINUTE: i64 = 60;

/// A host that waits for a window so far away that the download has time, and so near that it is begun at once.
fn waiting(manager: Manager) -> Host {
    let host = Host::with_agent_from(manager, "14.3.33");
    host.configure("observe-seconds", "1\n");
    host.export_windows(&[(100 * MINUTE, 160 * MINUTE)]);
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host
}

/// The files of the package in the package manager's cache, but for that of the version which the host was made with.
pub fn downloaded(host: &Host) -> Vec<String> {
    let find = format!(
        "find {} -name 'teleport-ent[-_]*.deb' -o -name 'teleport-ent-*.rpm'",
        host.manager.cache()
    );
    host.shell(&find)
        .stdout
        .lines()
        .filter(|file| !file.contains("14.3.33"))
        .map(str::to_string)
        .collect()
}

/// A run that waits to upgrade to 14.3.34.
#[track_caller]
fn wait(host: &Host) -> Ran {
    wait_with(host, "14.3.34")
}

/// A run that waits to upgrade to this version.
#[track_caller]
fn wait_with(host: &Host, target: &str) -> Ran {
    let ran = host.upgrader("run").expect(0);
    let pending = format!("upgrade from 14.3.33 to {target} is pending");
    assert!(ran.stdout.contains(&pending), "{ran:?}");
    assert_eq!(host.installed("teleport-ent"), "ii 14.3.33");
    ran
}

#[test]
fn what_waits_is_downloaded_once_and_not_again_in_its_window() {
    for manager in [Manager::Apt, Manager::Yum, Manager::Dnf5, Manager::Zypper] {
        let host = waiting(manager);
        let ran = wait(&host);
        assert!(
            downloaded(&host)
                .iter()
                .any(|file| file.contains("14.3.34")),
            "{manager:?}: {:?}, {ran:?}",
            downloaded(&host)
        );
        host.packages.forget_requests();
        wait(&host);
        assert_eq!(
            host.packages.paths(),
            [""; 0],
            "{manager:?}: the repository is left alone"
        );
        host.open_window();
        host.upgrader("run").expect(0);
        host.assert_agent_runs("14.3.34");
        let pool: Vec<String> = host
            .packages
            .paths()
            .into_iter()
            .filter(|path| path.contains("pool"))
            .collect();
        assert_eq!(
            pool, [""; 0],
            "{manager:?}: what is there is not downloaded again"
        );
        host.upgrader("run").expect(0);
        assert_eq!(downloaded(&host), [""; 0], "{manager:?}: nothing is left");
    }
}

#[test]
fn what_is_not_wanted_any_more_is_removed() {
    for manager in [Manager::Apt, Manager::Yum, Manager::Dnf5, Manager::Zypper] {
        let host = waiting(manager);
        wait(&host);
        host.offer(Package::agent("teleport-ent", "14.3.35"));
        wait_with(&host, "14.3.35");
        let files = downloaded(&host);
        assert!(
            !files.is_empty() && files.iter().all(|file| file.contains("14.3.35")),
            "{manager:?}: {files:?}"
        );
        host.set_version("14.3.33");
        host.upgrader("run").expect(0);
        assert_eq!(downloaded(&host), [""; 0], "{manager:?}");
        let history = host.read("/var/lib/teleport-upgrade/history.json").unwrap();
        assert!(!history.contains("\"download\""), "{history}");
    }
}

#[test]
fn the_next_step_of_the_way_is_downloaded_once_the_one_before_was_taken() {
    let host = Host::with_agent("12.4.1");
    host.configure("observe-seconds", "1\n");
    host.export_windows(&[(100 * MINUTE, 160 * MINUTE)]);
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    // As an agent that exports its next window would: the second step has to wait for that.
    let closes =
        "now=$(date +%s); echo $((now + 6000)) $((now + 9600)) >/etc/teleport-upgrade.d/schedule";
    host.repository
        .publish(&[Package::agent("teleport-ent", "13.4.15").postinst(closes)]);
    host.upgrader("run").expect(0);
    assert!(
        downloaded(&host)
            .iter()
            .any(|file| file.contains("13.4.15")),
        "{:?}",
        downloaded(&host)
    );
    host.open_window();
    let said = host.upgrader("run").expect(0).stdout;
    assert!(
        said.contains("upgrade from 13.4.15 to 14.3.34 is pending"),
        "{said}"
    );
    let files = downloaded(&host);
    assert!(
        files.iter().any(|file| file.contains("14.3.34")),
        "{files:?}"
    );
    assert!(
        !files.iter().any(|file| file.contains("13.4.15")),
        "{files:?}"
    );
}

#[test]
fn nothing_is_downloaded_by_those_who_do_not_want_it_or_too_late() {
    let host = waiting(Manager::Apt);
    host.upgrader("dry-run").expect(0);
    host.configure("prefetch", "no\n");
    wait(&host);
    host.configure("prefetch", "yes\n");
    host.export_windows(&[(80 * MINUTE, 140 * MINUTE)]);
    wait(&host);
    assert_eq!(
        (downloaded(&host).len(), host.packages.paths().len()),
        (0, 0)
    );
    // A day away, the moment is some other time of the day.
    host.closed_window();
    wait(&host);
    assert_eq!(
        (downloaded(&host).len(), host.packages.paths().len()),
        (0, 0)
    );
    let history = host.read("/var/lib/teleport-upgrade/history.json").unwrap();
    assert!(history.contains("\"due\""), "{history}");
}

#[test]
fn a_download_that_fails_is_said_once_and_is_no_error() {
    let host = waiting(Manager::Apt);
    let path = host.served_as("teleport-ent", "14.3.34");
    host.packages.route(&path, Response::status(404));
    let said = wait(&host).stderr;
    assert!(
        said.contains("warning: cannot pre-download teleport-ent 14.3.34"),
        "{said}"
    );
    let said = wait(&host).stderr;
    assert!(!said.contains("ahead"), "{said}");
    host.packages.remove_route(&path);
    host.open_window();
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_disk_without_room_is_left_alone() {
    let host = waiting(Manager::Apt);
    host.shell("mount -t tmpfs -o size=100M tmpfs /var/cache/apt/archives")
        .expect(0);
    let said = wait(&host).stderr;
    assert!(
        said.contains(
            "not enough free space in /var/cache/apt/archives: 100 MiB free, 1024 MiB needed"
        ),
        "{said}"
    );
    assert_eq!(
        (downloaded(&host).len(), host.packages.paths().len()),
        (0, 0)
    );
}

#[test]
fn a_download_lets_all_others_go_first() {
    let host = waiting(Manager::Apt);
    let noted = "echo \"$(nice) $(ionice)\" >>/run/priority; exec /usr/bin/apt-get.real \"$@\"";
    host.shell("mv /usr/bin/apt-get /usr/bin/apt-get.real")
        .expect(0);
    host.write("/usr/bin/apt-get", &format!("#!/bin/sh\n{noted}\n"));
    host.set_mode("/usr/bin/apt-get", 0o755);
    wait(&host);
    let priorities = host.read("/run/priority").unwrap();
    assert!(
        priorities.lines().count() > 1 && priorities.lines().all(|line| line == "19 idle"),
        "{priorities}"
    );
    host.remove("/run/priority");
    host.open_window();
    host.upgrader("run").expect(0);
    let priorities = host.read("/run/priority").unwrap();
    // The priority of everything on the host: these tests may run at a lower one themselves.
    let usual = format!("{} ", host.run(&["nice"]).expect(0).stdout.trim());
    assert!(
        priorities.lines().all(|line| line.starts_with(&usual)),
        "in the window: {priorities}"
    );
}

#[test]
fn a_download_that_has_changed_since_is_not_installed() {
    for manager in [Manager::Apt, Manager::Yum, Manager::Dnf5, Manager::Zypper] {
        let host = waiting(manager);
        wait(&host);
        let files = downloaded(&host);
        assert!(!files.is_empty(), "{manager:?}");
        for file in &files {
            // Of the same size, as after a bad sector.
            flip(&host.path(file));
        }
        host.open_window();
        host.upgrader("run").expect(0);
        host.assert_agent_runs("14.3.34");
    }
}

#[test]
fn a_download_of_other_bytes_than_the_repository_has_is_not_installed() {
    let host = waiting(Manager::Apt);
    wait(&host);
    // A whole package of the same version and size, as after a release that was published again.
    let file = &downloaded(&host)[0];
    let other = format!(
        "set -e; dpkg-deb -R {file} /run/other; mkdir -p /run/other/usr/share; echo >/run/other/usr/share/withdrawn; \
         dpkg-deb -Zxz -b /run/other /run/other.deb; truncate -s $(stat -c %s {file}) /run/other.deb; cp /run/other.deb {file}"
    );
    host.shell(&other).expect(0);
    host.open_window();
    let said = host.upgrader("run").expect(0).stderr;
    assert!(
        said.contains("does not match the current package index; downloading it again"),
        "{said}"
    );
    host.assert_agent_runs("14.3.34");
    assert_eq!(host.read("/usr/share/withdrawn"), None);
}

#[test]
fn what_a_killed_pass_left_of_a_download_is_removed_too() {
    // zypper has the half in /var/tmp, where systemd clears up.
    for manager in [Manager::Apt, Manager::Yum, Manager::Dnf5] {
        let host = waiting(manager);
        let path = host.served_as("teleport-ent", "14.3.34");
        let half = std::fs::read(host.repository.file("teleport-ent", "14.3.34")).unwrap();
        let half = half[..half.len() / 2].to_vec();
        // A server that sends a half.
        host.packages.raw_route(&path, move |_, stream| {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                2 * half.len()
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&half))
                .and_then(|()| stream.flush());
            // Then so slowly that it never ends, and not so slowly that a package manager gives up by itself on a busy machine.
            while stream
                .write_all(&[0; 1024])
                .and_then(|()| stream.flush())
                .is_ok()
            {
                std::thread::sleep(std::time::Duration::from_millis(500));
            }
        });
        let pass = host.spawn(&["teleport-upgrade", "run"]);
        let left = || {
            downloaded(&host)
                .iter()
                .any(|file| file.contains("14.3.34"))
        };
        host.wait_for("a half of the package", SOON, left);
        assert_ne!(pass.interrupt().status, 0);
        assert!(left(), "{manager:?}");
        host.packages.remove_route(&path);
        host.offer(Package::agent("teleport-ent", "14.3.35"));
        wait_with(&host, "14.3.35");
        let files = downloaded(&host);
        assert!(
            !files.is_empty() && files.iter().all(|file| file.contains("14.3.35")),
            "{manager:?}: {files:?}"
        );
    }
}

#[test]
fn who_forces_an_upgrade_waits_for_the_download_and_has_it() {
    let host = waiting(Manager::Apt);
    host.shell("mv /usr/bin/apt-get /usr/bin/apt-get.real")
        .expect(0);
    let waits = "case $* in *--download-only*) touch /run/downloading; until [ -e /run/go-on ]; do sleep 0.1; done ;; esac";
    host.write(
        "/usr/bin/apt-get",
        &format!("#!/bin/sh\n{waits}\nexec /usr/bin/apt-get.real \"$@\"\n"),
    );
    host.set_mode("/usr/bin/apt-get", 0o755);
    let pass = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the download", SOON, || {
        host.read("/run/downloading").is_some()
    });
    let force = host.spawn(&["sh", "-c", "exec teleport-upgrade force 2>/run/said"]);
    let purpose = ": downloading 14.3.34); waiting up to";
    host.wait_for("the wait", SOON, || {
        host.read("/run/said")
            .is_some_and(|said| said.contains(purpose))
    });
    host.write("/run/go-on", "");
    pass.wait().expect(0);
    force.wait().expect(0);
    host.assert_agent_runs("14.3.34");
    let pool = host
        .packages
        .paths()
        .into_iter()
        .filter(|path| path.contains("pool"))
        .count();
    assert_eq!(pool, 1, "what was waited for is not downloaded again");
}
