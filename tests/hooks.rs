//! Hooks: when they run, their environment, how they postpone a change, and hooks that hang, fail or flood.

use crate::operator::{METRICS, SERVICE, Shown};
use host::{Host, Package, SOON, WAITS};
use serde_json::Value;
use std::time::Duration;

pub const PRE: &str = "pre-upgrade.d";
pub const POST: &str = "post-upgrade.d";
const RAN: &str = "/run/hooks-ran";
const STATE: &str = "/var/lib/teleport-upgrade";

/// Records that the hook ran, with its variables.
const NOTES: &str = "echo \"${0##*/} $TELEPORT_UPGRADE_FROM $TELEPORT_UPGRADE_TO $TELEPORT_UPGRADE_CAUSE \
                     ${TELEPORT_UPGRADE_RESULT-}\" >>/run/hooks-ran";

/// Installs a hook: lines of shell.
pub fn hook(host: &Host, directory: &str, name: &str, lines: &str) -> String {
    let file = format!("/etc/teleport-upgrade.d/{directory}/{name}");
    host.write(&file, &format!("#!/bin/sh\n{lines}\n"));
    host.set_mode(&file, 0o755);
    file
}

/// A host on which the hook `undrain` records the result of every change.
fn host() -> Host {
    let host = Host::with_upgrade();
    hook(&host, POST, "undrain", NOTES);
    host
}

/// The hooks that ran since the last call.
fn ran(host: &Host) -> Vec<String> {
    let text = host.read(RAN).unwrap_or_default();
    host.remove(RAN);
    text.lines().map(|line| line.trim().into()).collect()
}

fn is_unfinished(host: &Host) -> bool {
    let history = host.read(&format!("{STATE}/history.json"));
    history.unwrap_or_default().contains("unfinished")
}

#[test]
fn hooks_run_in_order_around_a_change_with_a_minimal_environment() {
    let host = Host::with_upgrade();
    let sees = "env >/run/env.${0##*/}; readlink /proc/$$/fd/* | sort >/run/fds.${0##*/}; pwd >>/run/fds.${0##*/}; \
                dpkg-query -W -f='${Version}' teleport-ent >/run/installed.${0##*/}; \
                ls /var/cache/apt/archives >/run/downloaded.${0##*/}; teleport-upgrade history >/run/history.${0##*/}";
    for name in ["b", "9-z", "10-a", "B"] {
        hook(&host, PRE, name, NOTES);
    }
    hook(
        &host,
        PRE,
        "first",
        &format!("{NOTES}\n{sees}\necho looks; printf 'a\\033[2Jb' >&2"),
    );
    hook(&host, POST, "last", &format!("{NOTES}\n{sees}"));
    for name in ["a.dpkg-new", "a~", ".a"] {
        hook(&host, PRE, name, NOTES);
    }
    host.write(
        "/etc/teleport-upgrade.d/pre-upgrade.d/notes",
        "not a hook\n",
    );
    let status = host.upgrader("status").expect(0).stdout;
    let flat = status.split_whitespace().collect::<Vec<_>>().join(" ");
    let ignored = "Problems /etc/teleport-upgrade.d/pre-upgrade.d/notes: not an executable file, ignored. If it is a hook, run: chmod +x \
         /etc/teleport-upgrade.d/pre-upgrade.d/notes";
    assert!(flat.ends_with(ignored), "{status}");
    assert_eq!(ran(&host), [""; 0], "status runs nothing");
    host.upgrader("dry-run").expect(0);
    assert_eq!(ran(&host), [""; 0], "dry-run runs nothing");

    host.run(&["systemctl", "start", SERVICE]).expect(0);
    host.assert_agent_runs("14.3.34");
    let change = "14.3.33 14.3.34 window";
    let expected = ["10-a", "9-z", "B", "b", "first"].map(|name| format!("{name} {change}"));
    let ran = ran(&host);
    assert_eq!(ran[..5], expected);
    assert_eq!(ran[5..], [format!("last {change} upgraded")]);

    let journal = host.journal(SERVICE);
    let ignored = ignored.trim_start_matches("Problems ");
    assert!(journal.contains(ignored), "{journal}");

    let seen = |what: &str, by: &str| host.read(&format!("/run/{what}.{by}")).unwrap();
    assert_eq!(seen("installed", "first"), "14.3.33");
    assert!(seen("downloaded", "first").contains("14.3.34"));
    assert_eq!(seen("installed", "last"), "14.3.34");
    assert!(
        seen("history", "last").contains("14.3.33 → 14.3.34"),
        "{}",
        seen("history", "last")
    );
    for (by, more) in [
        ("first", ""),
        (
            "last",
            "TELEPORT_UPGRADE_REASON= TELEPORT_UPGRADE_RESULT=upgraded",
        ),
    ] {
        let text = seen("env", by);
        let mut variables: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("PWD="))
            .collect();
        variables.sort_unstable();
        let expected = format!(
            "HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
             TELEPORT_UPGRADE_CAUSE=window TELEPORT_UPGRADE_FROM=14.3.33 {more} TELEPORT_UPGRADE_TO=14.3.34 TERM=dumb"
        );
        assert_eq!(
            variables.join(" "),
            expected.split_whitespace().collect::<Vec<_>>().join(" ")
        );
        let files = seen("fds", by);
        assert!(
            files.contains("/dev/null\n") && files.ends_with("\n/\n"),
            "{files}"
        );
        assert!(!files.contains("/var/lib/teleport-upgrade"), "{files}");
    }
    let journal = host.journal(SERVICE);
    for line in [
        "running pre-upgrade.d/10-a",
        "pre-upgrade.d/first: looks",
        "pre-upgrade.d/first: a\\u{1b}[2Jb",
        "running post-upgrade.d/last",
    ] {
        assert!(
            journal.lines().any(|one| one == line),
            "{line:?} is missing in:\n{journal}"
        );
    }
    host.upgrader("run").expect(0);
    assert_eq!(
        self::ran(&host),
        [""; 0],
        "nothing is changed, and nothing runs"
    );
}

#[test]
fn a_hook_postpones_whatever_the_cause_and_is_named() {
    let host = crate::operator::host();
    let mut told = Shown::of(&host);
    hook(&host, POST, "undrain", NOTES);
    hook(&host, PRE, "10-first", NOTES);
    let busy = hook(
        &host,
        PRE,
        "50-busy",
        &format!("{NOTES}\necho somewhere; echo not today; exit 75"),
    );
    hook(&host, PRE, "90-never", NOTES);
    host.open_window();
    let ran_for = |cause: &str| {
        let change = format!("14.3.33 14.3.34 {cause}");
        ["10-first", "50-busy", "undrain"].map(|name| {
            let result = if name == "undrain" { " postponed" } else { "" };
            format!("{name} {change}{result}")
        })
    };
    let pid = host.agent_pid();
    let postponed = "upgrade from 14.3.33 to 14.3.34 is postponed: pre-upgrade.d/50-busy ended with status 75: somewhere / not today\n";
    assert!(told.pass(75).stdout.ends_with(postponed));
    assert_eq!(ran(&host), ran_for("window"));
    let since = |metrics: &str| -> Option<String> {
        let prefix =
            "teleport_upgrade_postponed_since_timestamp_seconds{hook=\"pre-upgrade.d/50-busy\"} ";
        metrics
            .lines()
            .find_map(|line| line.strip_prefix(prefix).map(String::from))
    };
    let began = since(&host.read(METRICS).unwrap()).unwrap();
    let (page, object) = told.shows("due", "would upgrade from 14.3.33 to 14.3.34 now");
    let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(postponed.trim()), "{page}");
    assert!(
        page.contains("Postponed:") && page.contains(", by pre-upgrade.d/50-busy"),
        "{page}"
    );
    assert_eq!(
        object["last_run"]["postponed"]["hook"],
        "pre-upgrade.d/50-busy"
    );
    assert_eq!(object["last_run"]["postponed"]["target"], "14.3.34");

    // The postponement is recorded while the window is closed.
    host.closed_window();
    told.pass(0);
    assert_eq!(since(&host.read(METRICS).unwrap()), Some(began.clone()));
    assert_eq!(ran(&host), [""; 0]);

    host.upgrader("force").expect(75);
    assert_eq!(ran(&host), ran_for("forced"));
    host.set_critical("yes");
    told.pass(75);
    assert_eq!(ran(&host), ran_for("critical"));
    host.set_critical("no");
    host.remove("/etc/teleport-upgrade.d/schedule");
    told.pass(0);
    told.pass(75);
    assert_eq!(ran(&host), ran_for("no-schedule"));
    assert_eq!(since(&host.read(METRICS).unwrap()), Some(began));

    // Any other status postpones too, and so does a hook that cannot be run.
    host.open_window();
    for (text, reason) in [
        (
            "#!/bin/sh\nexit 1\n",
            "pre-upgrade.d/50-busy ended with status 1\n",
        ),
        (
            "#!/bin/sh\nkill -9 $$\n",
            "pre-upgrade.d/50-busy was killed by signal 9\n",
        ),
        (
            "#!/nowhere\n",
            "cannot run pre-upgrade.d/50-busy: no such file or directory. Check the interpreter in its first line, such as #!/bin/sh\n",
        ),
        (
            "exit 1\n",
            "cannot run pre-upgrade.d/50-busy: exec format error. Check the interpreter in its first line, such as #!/bin/sh\n",
        ),
    ] {
        host.write(&busy, text);
        let ran = told.pass(75);
        assert!(
            ran.stdout.ends_with(&format!(" is postponed: {reason}")),
            "{ran:?}"
        );
    }
    assert_eq!(host.agent_pid(), pid);
    host.assert_agent_runs("14.3.33");
    assert!(!is_unfinished(&host));

    ran(&host);
    host.remove(&busy);
    told.pass(0);
    host.assert_agent_runs("14.3.34");
    assert_eq!(since(&host.read(METRICS).unwrap()), None);
    let change = "14.3.33 14.3.34 window";
    let expected = ["10-first", "90-never"].map(|name| format!("{name} {change}"));
    let ran = ran(&host);
    assert_eq!(ran[..2], expected);
    assert_eq!(ran[2..], [format!("undrain {change} upgraded")]);
    told.check();
}

#[test]
fn a_hook_that_hangs_is_ended_with_everything_that_it_started() {
    let host = host();
    host.configure("hook-seconds", "2\n");
    let hangs = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >/run/escaped; while :; do sleep 1; done' & sleep 1000 & \
                 echo $! >/run/child; trap - TERM; wait";
    hook(&host, PRE, "50-hangs", hangs);
    let ran = host.upgrader("run").expect(75);
    let reason = " is postponed: pre-upgrade.d/50-hangs did not end within 2 s\n";
    assert!(ran.stdout.ends_with(reason), "{ran:?}");
    assert!(ran.elapsed < SOON, "{ran:?}");
    for file in ["/run/escaped", "/run/child"] {
        let pid = host.read(file).unwrap().trim().parse().unwrap();
        assert!(!host.is_alive(pid), "{file}");
    }
    assert_eq!(
        self::ran(&host),
        ["undrain 14.3.33 14.3.34 window postponed"]
    );
    host.assert_agent_runs("14.3.33");
}

#[test]
fn a_hook_that_floods_its_output_fills_neither_memory_nor_journal() {
    let host = Host::with_upgrade();
    host.configure("hook-seconds", "3\n");
    for (name, flood) in [
        ("10-lines", "exec yes"),
        ("20-line", "exec tr '\\0' x </dev/zero"),
    ] {
        hook(&host, PRE, "50-floods", flood);
        hook(
            &host,
            POST,
            "90-memory",
            "grep VmHWM /proc/$PPID/status >/run/memory",
        );
        let ran = host.upgrader("run").expect(75);
        assert!(
            ran.stdout
                .contains("pre-upgrade.d/50-floods did not end within 3 s"),
            "{name}"
        );
        assert!(ran.elapsed < SOON, "{name}: {:?}", ran.elapsed);
        let lines = ran.stderr.matches("pre-upgrade.d/50-floods: ").count();
        assert!((100..=201).contains(&lines), "{name}: {lines}");
        assert!(
            ran.stderr
                .contains("pre-upgrade.d/50-floods: further output is not logged")
        );
        let memory = host.read("/run/memory").unwrap();
        let kilobytes: u64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
        println!("{name}: {kilobytes} kB");
        assert!(kilobytes < 64 * 1024, "{name}: {memory}");
    }
    host.assert_agent_runs("14.3.33");
}

#[test]
fn a_run_that_is_killed_between_hook_and_install_has_changed_nothing() {
    let host = host();
    hook(&host, PRE, "10-drain", NOTES);
    let kills = hook(
        &host,
        PRE,
        "90-kills",
        "test -e /run/harmless || kill -9 $PPID",
    );
    assert_ne!(host.upgrader("run").status, 0);
    assert_eq!(ran(&host), ["10-drain 14.3.33 14.3.34 window"]);
    assert!(!is_unfinished(&host));
    host.assert_agent_runs("14.3.33");
    // The hooks run again, since what they prepared may be gone.
    host.write("/run/harmless", "");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    let change = "14.3.33 14.3.34 window";
    assert_eq!(
        ran(&host),
        [
            format!("10-drain {change}"),
            format!("undrain {change} upgraded")
        ]
    );

    // A change that is no longer due does not leave the host drained.
    host.remove("/run/harmless");
    host.offer(Package::agent("teleport-ent", "14.3.35"));
    assert_ne!(host.upgrader("run").status, 0);
    host.set_version("none");
    host.upgrader("run").expect(0);
    let change = "14.3.34 14.3.35 window";
    assert_eq!(
        ran(&host),
        [
            format!("10-drain {change}"),
            format!("undrain {change} postponed")
        ]
    );
    host.upgrader("run").expect(0);
    assert_eq!(ran(&host), [""; 0]);

    // A hook that sends SIGTERM to this program stops the run.
    host.write(&kills, "#!/bin/sh\nkill $PPID; sleep 1000\n");
    host.set_version("14.3.35");
    let stopped = host.upgrader("run").expect(75);
    assert!(
        stopped
            .stdout
            .contains("a stop was requested during pre-upgrade.d/90-kills"),
        "{stopped:?}"
    );
    assert!(stopped.elapsed < SOON);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn hooks_that_others_can_write_are_not_run() {
    let host = host();
    let drain = hook(&host, PRE, "50-drain", NOTES);
    let directory = format!("/etc/teleport-upgrade.d/{PRE}");
    let sane = format!("chown root:root {drain} {directory}; chmod 755 {drain} {directory}");
    for (change, problem) in [
        (
            format!("chown alice {drain}"),
            format!("{drain}: owned by user 1000, not by root. Fix with: chown root {drain}"),
        ),
        (
            format!("chmod 775 {drain}"),
            format!(
                "{drain}: writable by users other than root (mode 0775). Fix with: chmod go-w {drain}"
            ),
        ),
        (
            format!("chmod 777 {directory}"),
            format!("{directory}: writable by users other than root (mode 0777)"),
        ),
        (
            format!(
                "mv {drain} /var/tmp/; chmod 777 /var/tmp/50-drain; ln -s /var/tmp/50-drain {drain}"
            ),
            format!("{drain}: writable by users other"),
        ),
        (
            format!("rm /var/tmp/50-drain {drain}; ln -s /nowhere {drain}"),
            format!("{drain}: no such file or directory. Remove it"),
        ),
    ] {
        host.shell(&change).expect(0);
        for command in ["dry-run", "run", "force"] {
            let ran = host.upgrader(command).expect(2);
            assert!(
                ran.stderr.contains(&format!("error: {problem}")),
                "{command}: {ran:?}"
            );
            assert_eq!(
                ran.stderr.matches(&problem).count(),
                1,
                "{command}: {ran:?}"
            );
        }
        let json = host
            .run(&["teleport-upgrade", "status", "--json"])
            .expect(2)
            .stdout;
        let object: Value = serde_json::from_str(&json).unwrap();
        assert!(
            object["decision"]["sentence"]
                .as_str()
                .unwrap()
                .contains(&problem),
            "{json}"
        );
        // A run without a change does not fail.
        host.closed_window();
        host.upgrader("run").expect(0);
        let json = host
            .run(&["teleport-upgrade", "status", "--json"])
            .expect(0)
            .stdout;
        assert!(json.contains(&problem), "{json}");
        host.open_window();
        if !change.contains("/var/tmp") {
            host.shell(&sane).expect(0);
        }
    }
    assert_eq!(ran(&host), [""; 0]);
    host.assert_agent_runs("14.3.33");
    host.shell(&format!(
        "rm {drain}; chmod 775 /etc/teleport-upgrade.d/{POST}/undrain"
    ))
    .expect(0);
    let upgraded = host.upgrader("run").expect(0);
    let warning = "warning: /etc/teleport-upgrade.d/post-upgrade.d/undrain: writable by users other than root";
    assert!(upgraded.stderr.contains(warning), "{upgraded:?}");
    assert_eq!(ran(&host), [""; 0]);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_window_that_closes_while_a_hook_runs_is_closed() {
    let host = host();
    let closes = "now=$(date +%s); echo \"$((now + 86400)) $((now + 90000))\" >/etc/teleport-upgrade.d/schedule";
    let file = hook(&host, PRE, "50-slow", &format!("{NOTES}\n{closes}"));
    let waits = host.upgrader("run").expect(0);
    assert!(
        waits
            .stdout
            .contains("upgrade from 14.3.33 to 14.3.34 is pending: next maintenance window opens"),
        "{waits:?}"
    );
    host.assert_agent_runs("14.3.33");
    let change = "14.3.33 14.3.34 window";
    assert_eq!(
        ran(&host),
        [
            format!("50-slow {change}"),
            format!("undrain {change} postponed")
        ]
    );
    host.open_window();
    hook(&host, PRE, "50-slow", NOTES);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    assert_eq!(
        ran(&host),
        [
            format!("50-slow {change}"),
            format!("undrain {change} upgraded")
        ]
    );
    host.remove(&file);
}

#[test]
fn hooks_after_a_change_get_its_result_and_change_nothing_about_it() {
    let host = Host::with_upgrade();
    let reason =
        format!("{NOTES}; echo \"$TELEPORT_UPGRADE_REASON\" >/run/reason; echo it; exit 3");
    hook(&host, POST, "webhook", &reason);
    host.offer(Package::agent("teleport-ent", "14.3.34").behaviour("crash-at-once"));
    let rolled_back = host.upgrader("run").expect(11);
    assert!(
        rolled_back
            .stderr
            .contains("warning: post-upgrade.d/webhook ended with status 3: it"),
        "{rolled_back:?}"
    );
    assert_eq!(ran(&host), ["webhook 14.3.33 14.3.34 window rolled-back"]);
    let reason = host.read("/run/reason").unwrap();
    assert!(
        reason.trim().len() > 10 && rolled_back.stdout.contains(reason.trim()),
        "{reason}"
    );

    host.offer(Package::agent("teleport-ent", "14.3.35").preinst("exit 1"));
    host.upgrader("run").expect(1);
    assert_eq!(ran(&host), ["webhook 14.3.33 14.3.35 window failed"]);
    assert!(host.read("/run/reason").unwrap().contains("teleport-ent"));

    host.set_version("14.3.33");
    host.shell(
        "cd /usr/local/bin && head -c 100000 teleport >cut && chmod 755 cut && mv cut teleport",
    )
    .expect(0);
    host.upgrader("run").expect(0);
    assert_eq!(ran(&host), ["webhook 14.3.33 14.3.33 window upgraded"]);

    host.offer(Package::agent("teleport-ent", "14.3.36"));
    host.upgrader("run").expect(0);
    assert_eq!(ran(&host), ["webhook 14.3.33 14.3.36 window upgraded"]);
    assert_eq!(host.read("/run/reason").as_deref(), Some("\n"));
}

#[test]
fn a_host_does_not_stay_drained_because_its_disk_is_full() {
    let host = host();
    let fills = "cd /var/lib/teleport-upgrade && cp -a . /run/kept && mount -t tmpfs -o size=16k none $PWD && \
                 cp -a /run/kept/. $PWD && ! head -c 100000 /dev/zero >$PWD/full 2>/dev/null";
    let drain = hook(&host, PRE, "drain", &format!("{NOTES}\n{fills}"));
    let failed = host.upgrader("run").expect(1);
    let full = "cannot write /var/lib/teleport-upgrade/history.json: no space left on device";
    assert!(
        failed.stderr.contains(&format!("error: {full}")),
        "{failed:?}"
    );
    let change = "14.3.33 14.3.34 window";
    let undrained = format!("undrain {change} postponed");
    assert_eq!(ran(&host), [format!("drain {change}"), undrained.clone()]);
    host.assert_agent_runs("14.3.33");

    host.remove(&format!("{STATE}/full"));
    host.set_version("14.3.33");
    host.upgrader("run").expect(0);
    assert_eq!(ran(&host), [undrained]);
    host.upgrader("run").expect(0);
    assert_eq!(ran(&host), [""; 0]);
    host.remove(&drain);
}

#[test]
fn hooks_after_a_rollback_that_fails_run_at_every_attempt() {
    let host = host();
    hook(&host, PRE, "drain", NOTES);
    host.shell("apt-get clean").expect(0);
    // The repository goes away as soon as the bad version is there.
    let bad = Package::agent("teleport-ent", "14.3.34").behaviour("crash-at-once");
    let gone = "sed -i s/apt.example.com/gone.example.com/ /etc/hosts";
    host.offer(bad.without_reload().postinst(gone));
    let change = "14.3.33 14.3.34 window";
    let undrain = |result: &str| format!("undrain {change} {result}");
    host.upgrader("run").expect(12);
    assert_eq!(ran(&host), [format!("drain {change}"), undrain("broken")]);
    host.upgrader("run").expect(12);
    assert_eq!(ran(&host), [undrain("broken")]);
    host.shell("sed -i s/gone.example.com/apt.example.com/ /etc/hosts")
        .expect(0);
    host.upgrader("run").expect(11);
    assert_eq!(ran(&host), [undrain("rolled-back")]);
    host.upgrader("run").expect(0);
    assert_eq!(ran(&host), [""; 0]);
}

#[test]
fn the_repair_of_an_agent_that_runs_can_be_postponed() {
    let host = host();
    let busy = hook(&host, PRE, "busy", &format!("{NOTES}; exit 75"));
    host.shell("apt-get -q update && apt-get -y -q install teleport-ent=14.3.34")
        .expect(0);
    let pid = host.agent_pid();
    let postponed = host.upgrader("run").expect(75).stdout;
    let line = "restart of teleport.service to run the installed version 14.3.34 is postponed: pre-upgrade.d/busy ended with status 75\n";
    assert!(postponed.ends_with(line), "{postponed}");
    let change = "14.3.34 14.3.34 window";
    assert_eq!(
        ran(&host),
        [
            format!("busy {change}"),
            format!("undrain {change} postponed")
        ]
    );
    assert_eq!(host.agent_pid(), pid);
    host.write(&busy, "#!/bin/sh\n");
    host.upgrader("run").expect(0);
    assert_eq!(ran(&host), [format!("undrain {change} upgraded")]);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn each_intermediate_version_is_a_change_of_its_own() {
    let host = Host::with_agent("12.4.1");
    host.configure("observe-seconds", "1\n");
    host.open_window();
    host.repository
        .publish(&[Package::agent("teleport-ent", "13.4.15")]);
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    hook(&host, PRE, "drain", NOTES);
    hook(&host, POST, "undrain", NOTES);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    let expected = [
        "drain 12.4.1 13.4.15 window",
        "undrain 12.4.1 13.4.15 window upgraded",
        "drain 13.4.15 14.3.34 window",
        "undrain 13.4.15 14.3.34 window upgraded",
    ];
    assert_eq!(ran(&host), expected);
}

#[test]
fn a_change_that_was_interrupted_ends_with_the_hooks_after_it_only() {
    let host = host();
    hook(&host, PRE, "drain", NOTES);
    host.offer(Package::agent("teleport-ent", "14.3.34").postinst(WAITS));
    let run = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    assert_ne!(run.interrupt().status, 0);
    host.write("/run/go-on", "");
    host.closed_window();
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    let change = "14.3.33 14.3.34 window";
    assert_eq!(
        ran(&host),
        [
            format!("drain {change}"),
            format!("undrain {change} upgraded")
        ]
    );
    host.upgrader("run").expect(0);
    assert_eq!(ran(&host), [""; 0]);
}

/// A host whose agent is down.
fn down() -> Host {
    let host = host();
    host.closed_window();
    host.fail_agent();
    host
}

#[test]
fn no_hook_postpones_a_change_while_the_agent_is_down() {
    let host = down();
    hook(&host, PRE, "10-busy", &format!("{NOTES}; exit 75"));
    let drain = hook(&host, PRE, "20-drain", NOTES);
    let ran = host.upgrader("run").expect(0);
    let warning =
        "warning: pre-upgrade.d/10-busy ended with status 75. Continuing, since the agent is down";
    assert!(ran.stderr.contains(warning), "{ran:?}");
    host.assert_agent_runs("14.3.34");
    let change = "14.3.33 14.3.34 down";
    let expected = [
        format!("10-busy {change}"),
        format!("20-drain {change}"),
        format!("undrain {change} upgraded"),
    ];
    assert_eq!(self::ran(&host), expected);

    let host = down();
    let drain = hook(&host, PRE, drain.rsplit('/').next().unwrap(), NOTES);
    host.set_mode(&drain, 0o777);
    let ran = host.upgrader("run").expect(0);
    assert!(
        ran.stderr
            .contains(&format!("warning: {drain}: writable by users")),
        "{ran:?}"
    );
    host.assert_agent_runs("14.3.34");
    assert_eq!(self::ran(&host), [""; 0]);
}

#[test]
fn a_stop_during_a_hook_is_obeyed_at_once() {
    for by_timer in [true, false] {
        let host = host();
        hook(&host, PRE, "50-slow", "echo $$ >/run/slow; exec sleep 1000");
        let run = (!by_timer).then(|| host.spawn(&["teleport-upgrade", "run"]));
        if by_timer {
            host.run(&["systemctl", "start", "--no-block", SERVICE])
                .expect(0);
        }
        let mut pid = None;
        host.wait_for("the hook", SOON, || {
            pid = host
                .read("/run/slow")
                .and_then(|text| text.trim().parse().ok());
            pid.is_some()
        });
        let said = match run {
            Some(run) => {
                run.signal("SIGINT");
                let ran = run.wait().expect(75);
                format!("{}{}", ran.stdout, ran.stderr)
            }
            None => {
                let stopped = host.run(&["systemctl", "stop", SERVICE]).expect(0);
                assert!(stopped.elapsed < Duration::from_secs(20), "{stopped:?}");
                assert_eq!(host.property(SERVICE, "Result"), "success");
                host.journal(SERVICE)
            }
        };
        let line = "upgrade from 14.3.33 to 14.3.34 is postponed: a stop was requested during pre-upgrade.d/50-slow";
        assert!(said.contains(line), "{said}");
        assert!(!host.is_alive(pid.unwrap()));
        assert!(!said.contains("finished first"), "{said}");
        assert_eq!(ran(&host), ["undrain 14.3.33 14.3.34 window postponed"]);
        host.assert_agent_runs("14.3.33");
        assert!(!is_unfinished(&host));
    }
}
