//! `enable` and `disable`: a host is checked before automatic upgrades are enabled, and nothing is changed if a check fails.

use host::{Host, Manager, Package, Ran, Response, SOON, Server, WAITS};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

const CHANNEL: &str = "releases.example.com/current";
const ENDPOINT: &str = "/etc/teleport-upgrade.d/endpoint";
const TIMER: &str = "teleport-upgrade.timer";
const SERVICE: &str = "teleport-upgrade.service";
const SOURCE: &str = "/etc/apt/sources.list.d/teleport.list";

/// A host with the packages, on which upgrades are not enabled. Its channel has the installed version, and its timer never elapses.
fn host() -> Host {
    not_enabled(Host::with_agent("14.3.33"))
}

fn not_enabled(host: Host) -> Host {
    host.remove(ENDPOINT);
    host.closed_window();
    let patience = "[Timer]\nOnActiveSec=\nOnActiveSec=1d\n";
    host.write(
        &format!("/etc/systemd/system/{TIMER}.d/test.conf"),
        patience,
    );
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    host
}

fn enable(host: &Host, channel: &str) -> Ran {
    host.run(&["teleport-upgrade", "enable", "--yes", channel])
}

fn disable(host: &Host, options: &[&str]) -> Ran {
    host.run(&[&["teleport-upgrade", "disable"], options].concat())
}

/// The release channel that is set, and whether the timer is enabled and started.
fn state(host: &Host) -> (Option<String>, String) {
    let enabled = host.run(&["systemctl", "is-enabled", TIMER]).stdout;
    let active = host.property(TIMER, "ActiveState");
    (host.read(ENDPOINT), format!("{} {active}", enabled.trim()))
}

#[track_caller]
fn assert_enabled(host: &Host, channel: &str) {
    let expected = (Some(format!("{channel}\n")), "enabled active".to_string());
    assert_eq!(state(host), expected);
    assert_eq!(host.mode(ENDPOINT), 0o644);
}

/// Asserts that one line says why, with all of `parts` in it, and that nothing was changed.
#[track_caller]
fn fails(host: &Host, channel: &str, status: i32, parts: &[&str]) {
    let before = state(host);
    let ran = enable(host, channel).expect(status);
    let errors: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{}", ran.stderr);
    for part in ["error: cannot enable automatic upgrades: "]
        .iter()
        .chain(parts)
    {
        assert!(
            errors[0].contains(part),
            "{part:?} is missing in: {errors:?}"
        );
    }
    assert!(errors[0].len() < 500, "{errors:?}");
    assert!(!errors[0].contains("next check"), "{errors:?}");
    assert_eq!(state(host), before);
    let left = host.run(&["ls", "/etc/teleport-upgrade.d"]).stdout;
    assert!(!left.contains(".new"), "{left}");
}

fn enables_with(manager: Manager) {
    let host = not_enabled(Host::with_upgrade_from(manager));
    let ran = enable(&host, &format!("https://{CHANNEL}/version")).expect(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let expected = [
        "an upgrade is available (14.3.33 -> 14.3.34)",
        "upgrade from 14.3.33 to 14.3.34 is pending: next maintenance window opens ",
        "endpoint will be set to releases.example.com/current",
        "teleport-upgrade.timer will be enabled and started",
        "automatic upgrades from releases.example.com/current are enabled; next check in 1 d",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, part) in lines.iter().zip(expected) {
        assert!(line.starts_with(part), "{line}");
    }
    assert_eq!(ran.stderr, host.cluster_unknown());
    assert_enabled(&host, CHANNEL);
    host.assert_agent_runs("14.3.33");
    let again = enable(&host, CHANNEL).expect(0).stdout;
    let done = "automatic upgrades from releases.example.com/current are already enabled";
    assert_eq!(again.lines().last(), Some(done));
    let run = host.upgrader("run").expect(0).stdout;
    assert!(
        run.contains(" is pending: next maintenance window"),
        "{run}"
    );
}

/// Starts the agent as one that was started before this program was installed: it exports no windows.
fn start_as_before_the_install(host: &Host) {
    host.shell("mv /usr/lib/systemd/system/teleport.service.d /run/moved && systemctl daemon-reload && systemctl start teleport.service")
        .expect(0);
    host.agent_pid();
    host.shell(
        "mv /run/moved /usr/lib/systemd/system/teleport.service.d && systemctl daemon-reload",
    )
    .expect(0);
}

#[test]
fn enables_with_apt() {
    enables_with(Manager::Apt);
}

#[test]
fn enables_with_yum() {
    enables_with(Manager::Yum);
}

#[test]
fn enables_with_dnf5() {
    enables_with(Manager::Dnf5);
}

#[test]
fn enables_with_zypper() {
    enables_with(Manager::Zypper);
}

/// Something that is wrong with a host, until it is repaired.
struct Wrong {
    channel: &'static str,
    make: fn(&Host),
    repair: fn(&Host),
    status: i32,
    says: &'static [&'static str],
}

/// The channel of another cluster's Proxy.
const OTHER: &str = "releases.example.com/v1/webapi/automaticupgrades/channel/default";
const YAML: &str = "/etc/teleport.yaml";
const IN_A_CLUSTER: &str =
    "sed -i 's/^teleport:/&\\n  proxy_server: proxy.example.com:443/' /etc/teleport.yaml";

fn of_cluster(name: &str) -> Response {
    Response::ok(format!(
        r#"{{"server_version":"14.3.33","cluster_name":"{name}"}}"#
    ))
}

const WRONG: [Wrong; 5] = [
    Wrong {
        channel: CHANNEL,
        make: |host| {
            let page = "<!DOCTYPE html><title>Log in</title>\n";
            host.releases.route("/login", Response::ok(page));
            let login = Response::redirect("https://releases.example.com/login");
            host.releases.route("/current/version", login);
        },
        repair: |host| host.set_version("14.3.33"),
        status: 1,
        says: &[
            "https://releases.example.com/current/version: the response is a web page. Check CHANNEL; a captive portal or login page may be",
        ],
    },
    Wrong {
        channel: "http://releases.example.com/current",
        make: |_| {},
        repair: |_| {},
        status: 2,
        says: &[
            "CHANNEL: http:// is not supported: release channels must use HTTPS. Use an address such as ",
        ],
    },
    Wrong {
        channel: CHANNEL,
        make: |host| host.set_version("14.3.35"),
        repair: |host| host.set_version("14.3.33"),
        status: 1,
        says: &[
            "teleport-ent 14.3.35 not found in the repository configured in /etc/apt/sources.list.d/teleport.list (latest: 14.3.33). Publish",
        ],
    },
    Wrong {
        channel: OTHER,
        make: |host| {
            host.shell(IN_A_CLUSTER).expect(0);
            host.releases
                .route("/webapi/ping", of_cluster("other.example.com"));
            let channel = OTHER.trim_start_matches("releases.example.com");
            host.releases
                .route(&format!("{channel}/version"), Response::ok("14.3.33\n"));
        },
        repair: |_| {},
        status: 2,
        says: &[
            "CHANNEL: releases.example.com:443 is a Proxy of the cluster other.example.com, and this agent is in the cluster example \
             (proxy.example.com:443). Use a channel of example, or set proxy to proxy.example.com:443",
        ],
    },
    Wrong {
        channel: CHANNEL,
        make: |host| {
            let source = host.read(SOURCE).unwrap();
            host.write(SOURCE, &source.replacen('[', "[trusted=yes ", 1));
        },
        repair: |host| {
            let source = host.read(SOURCE).unwrap();
            host.write(SOURCE, &source.replacen("trusted=yes ", "", 1));
        },
        status: 1,
        says: &[
            "this host accepts unsigned packages: [trusted=yes] is set in /etc/apt/sources.list.d/teleport.list. Remove it",
        ],
    },
];

#[test]
fn three_hosts_are_enrolled_one_of_them_wrong_in_each_of_five_ways() {
    let hosts = [host(), host(), host()];
    let _proxies = hosts.each_ref().map(|host| host.cluster("14.3.33"));
    for (round, wrong) in WRONG.iter().enumerate() {
        let one = round % hosts.len();
        (wrong.make)(&hosts[one]);
        for (number, host) in hosts.iter().enumerate() {
            if number == one {
                fails(host, wrong.channel, wrong.status, wrong.says);
                assert_eq!(state(host), (None, "disabled inactive".into()));
                (wrong.repair)(host);
            }
            enable(host, CHANNEL).expect(0);
            assert_enabled(host, CHANNEL);
            disable(host, &[]).expect(0);
            host.remove(ENDPOINT);
        }
    }
    hosts
        .iter()
        .for_each(|host| host.assert_agent_runs("14.3.33"));
}

#[test]
fn channels_that_do_not_answer_with_a_version() {
    let host = host();
    // The response of a plain HTTP server to a request that it cannot parse.
    let none = host
        .run(&["teleport-upgrade", "enable", "--yes"])
        .expect(2)
        .stderr;
    let set_one =
        "error: /etc/teleport-upgrade.d/endpoint: no release channel configured. Set one with: ";
    assert!(none.starts_with(set_one), "{none}");
    let _plain = Server::raw(&host.network, "127.0.0.1:8080", |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    for (channel, status, says) in [
        (
            "releases.example.com:8080/current",
            1,
            "https://releases.example.com:8080/current/version: not a TLS server. Fix the server's TLS configuration",
        ),
        (
            "releases.example.com/curent",
            1,
            "https://releases.example.com/curent/version returned 404 Not Found. Check CHANNEL",
        ),
        (
            "https://releases.example.com/",
            1,
            "returned 404 Not Found. Check CHANNEL. The channel of a Teleport Proxy is releases.example.com/v1/webapi/automaticupgrades/channel/default",
        ),
        (
            "releases.example.com:8443/current",
            75,
            "cannot reach https://releases.example.com:8443/current/version: connection refused. Try again later",
        ),
        (
            "ftp://releases.example.com/current",
            2,
            "CHANNEL: \"ftp://releases.example.com/current\" has an unknown scheme. Use an address such as",
        ),
        ("", 2, "CHANNEL: \"\" is not a valid host[:port]"),
        (
            "releases.example.com/a\nb",
            2,
            "CHANNEL: \"releases.example.com/a\\nb\" contains invalid characters",
        ),
    ] {
        fails(&host, channel, status, &[says]);
    }
    // Without CHANNEL, the problem is in the setting.
    host.configure("endpoint", "ftp://releases.example.com/current\n");
    let ran = host.run(&["teleport-upgrade", "enable", "--yes"]).expect(2);
    let named = "error: cannot enable automatic upgrades: endpoint: \"ftp://releases.example.com/current\" has an unknown scheme.";
    assert!(ran.stderr.starts_with(named), "{ran:?}");
}

#[test]
fn hosts_that_must_not_be_upgraded() {
    let host = host();
    let _proxy = host.named_cluster("14.3.33");
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    fails(
        &host,
        CHANNEL,
        10,
        &[
            "not allowed: upgrade from 14.3.33 to 14.3.34. The cluster runs 14.3.33 (reported by proxy.example.com:443)",
        ],
    );
    host.configure("pin", "14.3.33\n");
    let pinned = enable(&host, CHANNEL).expect(0).stdout;
    assert!(
        pinned.contains("\npinned to 14.3.33, so 14.3.34 is not installed"),
        "{pinned}"
    );
    host.configure("pin", "14.3\n");
    fails(
        &host,
        CHANNEL,
        2,
        &["/etc/teleport-upgrade.d/pin: invalid pin"],
    );
    host.remove("/etc/teleport-upgrade.d/pin");
    host.configure("schedule", "nop\n");
    fails(
        &host,
        CHANNEL,
        10,
        &["unsupported host: this agent is managed by teleport-update"],
    );
    host.closed_window();
    host.remove(YAML);
    fails(&host, CHANNEL, 10, &["unsupported host: "]);
    let by_alice = host
        .command(&["teleport-upgrade", "enable", "--yes", CHANNEL])
        .user("alice")
        .run()
        .expect(2);
    assert_eq!(
        by_alice.stderr,
        "error: enable requires root. Try: sudo teleport-upgrade enable\n"
    );

    let bare = not_enabled(Host::new());
    fails(&bare, CHANNEL, 2, &["no Teleport package is installed"]);
}

#[test]
fn a_path_over_major_versions_must_be_in_the_repository() {
    let host = not_enabled(Host::with_agent("12.4.1"));
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    fails(
        &host,
        CHANNEL,
        10,
        &["has no 13.x release (latest: 14.3.34)"],
    );
    host.repository
        .publish(&[Package::agent("teleport-ent", "13.4.15")]);
    let ran = enable(&host, CHANNEL).expect(0).stdout;
    assert!(
        ran.contains("\nupgrade from 12.4.1 to 14.3.34 via 13.4.15 is pending"),
        "{ran}"
    );
}

#[test]
fn a_repository_that_cannot_be_used_is_found_although_there_is_nothing_to_install() {
    let host = host();
    host.packages.stop();
    fails(
        &host,
        CHANNEL,
        75,
        &["cannot refresh the repository in", "Try again later"],
    );
    host.packages.start();
    host.repository.remove("teleport-ent", "14.3.33");
    fails(
        &host,
        CHANNEL,
        1,
        &[
            "teleport-ent not found in any repository configured in /etc/apt/sources.list.d/teleport.list",
        ],
    );
    // Other versions can be installed from this repository later.
    host.repository
        .publish(&[Package::agent("teleport-ent", "14.3.34")]);
    enable(&host, CHANNEL).expect(0);
    host.set_version("none");
    enable(&host, CHANNEL).expect(0);
}

#[test]
fn a_channel_of_another_cluster_is_accepted_if_proxy_is_set_or_the_clusters_cannot_be_compared() {
    let host = host();
    let proxy = host.cluster("14.3.33");
    (WRONG[3].make)(&host);
    host.configure("proxy", "proxy.example.com\n");
    let warned = enable(&host, OTHER).expect(0).stderr;
    assert!(
        warned.contains("Upgrades are checked against proxy.example.com:443, since proxy is set\n"),
        "{warned}"
    );
    host.remove("/etc/teleport-upgrade.d/proxy");
    // Another name of the same cluster's Proxy.
    host.releases.route("/webapi/ping", of_cluster("example"));
    assert_eq!(enable(&host, OTHER).expect(0).stderr, "");
    proxy.route("/webapi/ping", Response::status(404));
    let warned = enable(&host, OTHER).expect(0).stderr;
    assert!(
        warned.contains(
            "cannot verify that releases.example.com:443 is a Proxy of the agent's cluster: https://proxy.example.com/webapi/ping returned 404"
        ),
        "{warned}"
    );
}

#[test]
fn an_agent_that_is_stopped_or_must_be_restarted_first() {
    let host = host();
    host.shell("systemctl stop teleport.service").expect(0);
    enable(&host, CHANNEL).expect(0);
    assert_enabled(&host, CHANNEL);
    assert_eq!(host.property("teleport.service", "ActiveState"), "inactive");
    start_as_before_the_install(&host);
    let warned = enable(&host, CHANNEL).expect(0).stderr;
    let advice = "warning: the agent will export its maintenance windows after its next restart";
    assert!(warned.contains(advice), "{warned}");
}

/// Answers the question on a terminal.
fn answer(host: &Host, answer: &str) -> Ran {
    let command = format!("teleport-upgrade enable {CHANNEL}");
    let terminal = ["script", "--quiet", "--return", "--command", &command];
    let terminal = [&terminal[..], &["/dev/null"]].concat();
    host.command(&terminal).stdin(answer).run()
}

#[test]
fn enable_asks_before_it_changes_anything() {
    let host = host();
    let nothing = (None, "disabled inactive".to_string());
    let ran = host
        .command(&["teleport-upgrade", "enable", CHANNEL])
        .stdin("y\n")
        .run()
        .expect(2);
    assert!(
        ran.stderr.ends_with(
            "error: cannot ask for confirmation: standard input is not a terminal. Use --yes\n"
        ),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout.contains("endpoint will be set to "),
        "it shows what it would do: {}",
        ran.stdout
    );
    assert_eq!(state(&host), nothing);
    for no in ["n\n", "\n", "yeah\n"] {
        let ran = answer(&host, no).expect(1);
        assert!(
            ran.stdout.contains("Enable automatic upgrades? [y/N] "),
            "{ran:?}"
        );
        assert!(ran.stdout.contains("nothing was changed"), "{ran:?}");
        assert_eq!(state(&host), nothing);
    }
    answer(&host, "Y\n").expect(0);
    assert_enabled(&host, CHANNEL);
    let again = answer(&host, "n\n").expect(0);
    assert!(
        !again.stdout.contains('?'),
        "there is nothing to ask: {again:?}"
    );
}

#[test]
fn the_configured_channel_is_replaced_and_comments_are_kept() {
    let host = host();
    let text = "# Ask the release team before you change this.\n\n https://releases.example.com/current/ \n# second stage\n";
    host.configure("endpoint", text);
    host.set_mode(ENDPOINT, 0o600);
    let ran = enable(&host, CHANNEL).expect(0).stdout;
    assert!(!ran.contains("endpoint will"), "{ran}");
    assert_eq!(
        state(&host),
        (Some(text.into()), "enabled active".into()),
        "the same channel in another form"
    );
    host.releases
        .route("/other/version", Response::ok("14.3.33\n"));
    let ran = enable(&host, "releases.example.com/other").expect(0).stdout;
    assert!(
        ran.contains("endpoint will change from https://releases.example.com/current/ to releases.example.com/other\n"),
        "{ran}"
    );
    assert_eq!(
        host.read(ENDPOINT).unwrap(),
        text.replace(
            " https://releases.example.com/current/ ",
            "releases.example.com/other"
        )
    );
    assert_eq!(host.mode(ENDPOINT), 0o600);
    // A symbolic link that a configuration management tool created is kept.
    host.shell(&format!("mkdir /srv/settings && mv {ENDPOINT} /srv/settings && ln -s /srv/settings/endpoint {ENDPOINT}"))
        .expect(0);
    enable(&host, CHANNEL).expect(0);
    assert!(
        host.read("/srv/settings/endpoint")
            .unwrap()
            .contains(CHANNEL)
    );
    disable(&host, &[]).expect(0);
    host.run(&["teleport-upgrade", "enable", "--yes"]).expect(0);
    assert_eq!(
        state(&host).1,
        "enabled active",
        "by the channel that is set"
    );
    // A file with two values is not replaced, since one would be lost.
    host.configure("endpoint", "a.example.com/x\nb.example.com/x\n");
    fails(
        &host,
        CHANNEL,
        2,
        &["/endpoint: expected one value, found 2"],
    );
    host.shell(&format!(
        "systemctl disable --now {TIMER} && systemctl mask {TIMER}"
    ))
    .expect(0);
    host.configure("endpoint", "releases.example.com/other\n");
    fails(
        &host,
        CHANNEL,
        1,
        &["teleport-upgrade.timer is masked. Run: systemctl unmask teleport-upgrade.timer"],
    );
}

#[test]
fn enable_that_was_killed_anywhere_is_completed_by_the_next_enable() {
    let host = host();
    // A wrapper of systemctl that can be held before and after the call.
    let held = "#!/bin/sh\ncase $1 in\nenable)\n[ ! -e /run/hold-before ] || { touch /run/held; sleep infinity; }\n\
                systemctl.real \"$@\"\n[ ! -e /run/hold-after ] || { touch /run/held; sleep infinity; }\n;;\n*) exec systemctl.real \"$@\";;\nesac\n";
    host.shell("mv /usr/bin/systemctl /usr/bin/systemctl.real")
        .expect(0);
    host.write("/usr/bin/systemctl", held);
    host.set_mode("/usr/bin/systemctl", 0o755);
    let is_set = || host.read(ENDPOINT).as_deref() == Some("releases.example.com/current\n");
    let undo = || {
        host.shell(&format!(
            "rm -f {ENDPOINT} /run/hold-* /run/held; systemctl.real disable --now {TIMER}"
        ))
        .expect(0);
    };
    for call in [
        "openat:when=1",
        "write:when=4",
        "/^rename:when=1",
        "fsync:when=1",
        "fsync:when=2",
    ] {
        let (name, when) = call.split_once(':').unwrap();
        let inject = format!("inject={name}:signal=KILL:{when}");
        let strace = [
            "strace",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={name}"),
            "-e",
            &inject,
        ];
        let words = ["teleport-upgrade", "enable", "--yes", CHANNEL];
        let ran = host.run(&[&strace[..], &words].concat());
        assert_ne!(ran.status, 0, "there was no such call: {call}");
        let (endpoint, timer) = state(&host);
        assert!(endpoint.is_none() || is_set(), "{call}: {endpoint:?}");
        assert_eq!(timer, "disabled inactive", "{call}");
        enable(&host, CHANNEL).expect(0);
        assert_enabled(&host, CHANNEL);
        let left = host.run(&["ls", "-A", "/etc/teleport-upgrade.d"]).stdout;
        assert_eq!(left, "endpoint\nschedule\n", "{call}");
        undo();
    }
    for (hold, timer) in [
        ("hold-before", "disabled inactive"),
        ("hold-after", "enabled active"),
    ] {
        host.write(&format!("/run/{hold}"), "");
        let running = host.spawn(&["teleport-upgrade", "enable", "--yes", CHANNEL]);
        host.wait_for("systemctl enable", SOON, || {
            host.read("/run/held").is_some()
        });
        assert_ne!(running.interrupt().status, 0);
        host.remove(&format!("/run/{hold}"));
        assert!(is_set(), "set before the timer is enabled");
        assert_eq!(state(&host).1, timer);
        enable(&host, CHANNEL).expect(0);
        assert_enabled(&host, CHANNEL);
        undo();
    }
}

#[test]
fn disabling_does_not_interrupt_a_run() {
    let host = not_enabled(Host::with_upgrade());
    host.open_window();
    host.offer(Package::agent("teleport-ent", "14.3.34").postinst(WAITS));
    enable(&host, CHANNEL).expect(0);
    host.run(&["systemctl", "start", "--no-block", SERVICE])
        .expect(0);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    let pid = host.property(SERVICE, "MainPID");
    let busy = enable(&host, CHANNEL).expect(75).stderr;
    assert!(
        busy.contains("upgrade from 14.3.33 to 14.3.34 in progress since "),
        "{busy}"
    );
    let said = disable(&host, &[]).expect(0).stdout;
    assert_eq!(
        said,
        format!(
            "automatic upgrades are disabled; the settings in /etc/teleport-upgrade.d are kept\n\
             the run in progress is not interrupted (PID {pid}: upgrading from 14.3.33 to 14.3.34: installing teleport-ent 14.3.34)\n"
        )
    );
    assert_eq!(
        state(&host),
        (Some(format!("{CHANNEL}\n")), "disabled inactive".into())
    );
    let again = disable(&host, &[]).expect(0).stdout;
    assert_eq!(again, "automatic upgrades are already disabled\n");
    let page = host.upgrader("status").expect(0).stdout;
    assert!(
        page.contains("Try: sudo teleport-upgrade enable\n"),
        "{page}"
    );
    assert_eq!(host.property(SERVICE, "ActiveState"), "activating");
    host.write("/run/go-on", "");
    host.wait_for("the end of the run", SOON, || {
        host.property(SERVICE, "ActiveState") == "inactive"
    });
    assert_eq!(host.property(SERVICE, "Result"), "success");
    host.assert_agent_runs("14.3.34");
}

#[test]
fn the_hold_is_released_on_request_and_only_if_a_run_set_it() {
    let host = host();
    enable(&host, CHANNEL).expect(0);
    host.upgrader("run").expect(0);
    disable(&host, &[]).expect(0);
    assert!(host.is_on_hold("teleport-ent"), "the hold is kept");
    for options in [&[][..], &["--unhold"]] {
        let arguments = [&["teleport-upgrade", "disable"], options].concat();
        let by_alice = host.command(&arguments).user("alice").run().expect(2);
        let needed = "error: disable requires root. Try: sudo teleport-upgrade disable\n";
        assert_eq!(by_alice.stderr, needed);
    }
    // A run in progress might set it again.
    let lock = "/var/lib/teleport-upgrade/lock";
    let holder = host.spawn(&["flock", lock, "sleep", "infinity"]);
    host.wait_for("the lock", SOON, || {
        host.run(&["flock", "--nonblock", lock, "true"]).status != 0
    });
    let busy = disable(&host, &["--unhold"]).expect(75).stderr;
    assert!(
        busy.contains("another teleport-upgrade is running"),
        "{busy}"
    );
    assert!(host.is_on_hold("teleport-ent"));
    holder.interrupt();
    let said = disable(&host, &["--unhold"]).expect(0).stdout;
    let released = "automatic upgrades are already disabled\n\
                    released the hold on teleport-ent; regular system updates can upgrade it\n";
    assert_eq!(said, released);
    assert!(!host.is_on_hold("teleport-ent"));
    host.run(&["apt-mark", "hold", "teleport-ent"]).expect(0);
    let said = disable(&host, &["--unhold"]).expect(0).stdout;
    assert!(
        said.ends_with("no hold was set by teleport-upgrade\n"),
        "{said}"
    );
    assert!(host.is_on_hold("teleport-ent"), "the administrator's");
}

#[test]
fn in_an_image_the_timer_is_enabled_for_the_next_boot() {
    let mut host = host();
    let offline = || {
        let enable = format!("teleport-upgrade enable --yes {CHANNEL}");
        let without_systemd = format!("mount -t tmpfs none /run/systemd && exec {enable}");
        let arguments = ["unshare", "--mount", "sh", "-c", &without_systemd];
        host.run(&arguments).expect(0).stdout
    };
    let said = offline();
    let later = " are enabled. systemd is not running here, so the timer starts at the next boot\n";
    assert!(said.ends_with(later), "{said}");
    let expected = (Some(format!("{CHANNEL}\n")), "enabled inactive".into());
    assert_eq!(state(&host), expected);
    let again = offline();
    assert!(again.ends_with(" are already enabled\n"), "{again}");
    host.reboot();
    assert_enabled(&host, CHANNEL);
}

/// The examples of `packaging/README.md` for many hosts: the lines of a block of YAML, without comments.
fn example(first_line: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/README.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    let mut blocks = blocks.map(|block| block.split("```").next().unwrap());
    let block = blocks.find(|block| block.starts_with(first_line)).unwrap();
    let code = block.lines().map(|line| line.split(" #").next().unwrap());
    code.map(|line| line.trim_end().to_string()).collect()
}

/// A host at the start of an example. The repository contains an empty package teleport-upgrade; the program is installed already.
fn host_for_the_example() -> Host {
    let host = host();
    host.repository
        .publish(&[Package::new("teleport-upgrade", "0.1.0")]);
    host.releases
        .route("/prod/version", Response::ok("14.3.33\n"));
    host.shell("apt-get -q update && systemctl disable --now teleport.service")
        .expect(0);
    host
}

#[test]
fn the_example_for_cloud_init_works_before_the_agent_was_started() {
    let host = host_for_the_example();
    let lines = example("#cloud-config");
    let commands = lines.iter().skip_while(|line| *line != "runcmd:").skip(1);
    let commands: Vec<&str> = commands
        .filter_map(|line| line.strip_prefix("  - "))
        .collect();
    assert!(commands.len() >= 3, "{commands:?}");
    // cloud-init runs every command, even if an earlier one fails.
    for command in commands {
        host.shell(command).expect(0);
    }
    assert_enabled(&host, "releases.example.com/prod");
    host.agent_pid();
    let advice = host.upgrader("dry-run").expect(0).stderr;
    assert!(
        !advice.contains("restart"),
        "the agent exports its windows: {advice}"
    );
}

/// What a task of Ansible prints, and whether its condition held.
fn play(host: &Host) -> Vec<String> {
    let lines = example("- hosts: agents");
    let tasks = lines.iter().skip_while(|line| *line != "  tasks:").skip(1);
    let mut tasks = tasks.peekable();
    let (mut registered, mut done) = (Vec::new(), Vec::new());
    while let Some(task) = tasks.next() {
        let task = task.strip_prefix("    - ansible.builtin.").unwrap();
        let (module, argument) = task.split_once(": ").unwrap();
        let mut option = |name: &str| {
            let value = tasks
                .peek()
                .and_then(|line| line.strip_prefix(&format!("      {name}: ")));
            value.map(|value| {
                tasks.next();
                value.to_string()
            })
        };
        let register = option("register");
        // `'TEXT' in NAME.stdout`, or `not in`.
        let holds = |condition: &str, registered: &[(String, String)]| {
            let words: Vec<&str> = condition.trim_matches('"').splitn(2, "' ").collect();
            let (text, rest) = (words[0].trim_start_matches('\''), words[1]);
            let name = rest.trim_start_matches("not ").trim_start_matches("in ");
            let known = registered
                .iter()
                .find(|(known, _)| format!("{known}.stdout") == name)
                .unwrap_or_else(|| panic!("{condition}: nothing has that name"));
            known.1.contains(text) != rest.starts_with("not ")
        };
        if option("when").is_some_and(|condition| !holds(&condition, &registered)) {
            continue;
        }
        let said = match module {
            "package" => {
                assert_eq!(argument, "{name: teleport-upgrade, state: present}");
                host.shell("apt-get -q -y install teleport-upgrade")
                    .expect(0)
            }
            "service" => {
                assert_eq!(argument, "{name: teleport, state: restarted}");
                host.shell("systemctl restart teleport").expect(0)
            }
            "shell" => host.shell(argument).expect(0),
            "command" => host.run(&argument.split(' ').collect::<Vec<_>>()).expect(0),
            other => panic!("a task of the module {other}"),
        };
        registered.extend(register.map(|name| (name, said.stdout)));
        let is_changed = match option("changed_when") {
            Some(condition) => condition != "false" && holds(&condition, &registered),
            None => module != "package",
        };
        if is_changed {
            done.push(module.to_string());
        }
    }
    done
}

#[test]
fn the_example_for_ansible_works_in_every_state_of_the_agent() {
    let host = host_for_the_example();
    assert_eq!(play(&host), ["command"], "the agent is stopped");
    assert_enabled(&host, "releases.example.com/prod");
    assert_eq!(host.property("teleport.service", "ActiveState"), "inactive");
    assert!(play(&host).is_empty(), "nothing is left to do");
    start_as_before_the_install(&host);
    assert_eq!(play(&host), ["service"], "it exports no windows");
    host.agent_pid();
    assert!(play(&host).is_empty(), "it does");
}
