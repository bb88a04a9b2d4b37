//! What people and programs see of a host: status, JSON, metrics, login notice, journal, in every state a host can be in.

use host::{Host, Package, Ran, Response, SOON, WAITS};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub const METRICS: &str = "/var/lib/prometheus/node-exporter/teleport-upgrade.prom";
const NOTICE: &str = "/run/motd.d/teleport-upgrade";
pub const SERVICE: &str = "teleport-upgrade.service";

const UPGRADED: &str = "MESSAGE_ID=d73848e0daba4ea7bc98ba73e7cc9969";
const ROLLED_BACK: &str = "MESSAGE_ID=e722150c07674f9ea3a5534839d893fc";
const NOT_ALLOWED: &str = "MESSAGE_ID=20795cce71dc43ab9284faa088707dba";
const FAILED: &str = "MESSAGE_ID=8f3f3f92afd14fc689d5042250f08770";

/// A host with everything that can be shown.
pub fn host() -> Host {
    let host = Host::with_upgrade();
    host.run(&["mkdir", "-p", "/var/lib/prometheus/node-exporter"])
        .expect(0);
    host.configure("metrics", "/var/lib/prometheus/node-exporter\n");
    host.closed_window();
    host
}

/// Everything that is shown of a host, collected, and compared with its descriptions at the end.
pub struct Shown<'host> {
    host: &'host Host,
    objects: Vec<String>,
    metrics: Vec<String>,
}

impl<'host> Shown<'host> {
    pub fn of(host: &'host Host) -> Shown<'host> {
        Shown {
            host,
            objects: Vec::new(),
            metrics: Vec::new(),
        }
    }

    /// Starts a run, which must end so.
    #[track_caller]
    pub fn pass(&mut self, exit: i32) -> Ran {
        let ran = self.host.upgrader("run").expect(exit);
        self.metrics.push(self.host.read(METRICS).expect("metrics"));
        assert_eq!(self.metric("last_exit_status"), exit.to_string());
        ran
    }

    /// A metric of the last run, without its common prefix; nothing if there is none.
    pub fn metric(&self, name: &str) -> String {
        let prefix = format!("teleport_upgrade_{name} ");
        let value = self
            .metrics
            .last()
            .unwrap()
            .lines()
            .find_map(|line| line.strip_prefix(&prefix));
        value.unwrap_or_default().to_owned()
    }

    /// Asserts that `status`, JSON and `dry-run` agree on the state and on the reason, and returns the page and the object.
    #[track_caller]
    pub fn shows(&mut self, state: &str, reason: &str) -> (String, Value) {
        // On a machine that has much to do, a server may be slower than the time that "status" gives it.
        let mut json = String::new();
        self.host.wait_for(&format!("the state {state}"), SOON, || {
            json = self
                .host
                .run(&["teleport-upgrade", "status", "--json"])
                .expect(0)
                .stdout;
            serde_json::from_str::<Value>(&json).unwrap()["decision"]["state"] == state
        });
        let status = || {
            self.host
                .command(&["teleport-upgrade", "status"])
                .user("alice")
                .run()
                .expect(0)
        };
        let mut page = status();
        self.host.wait_for("an answer in time", SOON, || {
            let slow = page.stdout.contains("timed out");
            if slow {
                page = status();
            }
            !slow
        });
        assert_eq!(page.stderr, "", "status has a place for what is strange");
        assert!(
            page.stdout.lines().all(|line| line.chars().count() <= 80),
            "{}",
            page.stdout
        );
        let flat = page.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown = match state {
            "up-to-date" => "Status: up to date",
            _ => reason,
        };
        assert!(
            flat.contains(shown),
            "{shown:?} is missing in:\n{}",
            page.stdout
        );
        let object: Value = serde_json::from_str(&json).unwrap();
        let sentence = object["decision"]["sentence"].as_str().unwrap();
        assert!(
            sentence.contains(reason),
            "{reason:?} is missing in: {sentence}"
        );
        let dry = self.host.run(&["teleport-upgrade", "dry-run"]);
        assert!(
            format!("{}{}", dry.stdout, dry.stderr).contains(reason),
            "{reason:?} is missing in: {dry:?}"
        );
        self.objects.push(json);
        (flat, object)
    }

    /// Asserts that the metrics of the last run have this state and no other.
    #[track_caller]
    pub fn counts_as(&self, state: &str) {
        let metrics = self.metrics.last().unwrap();
        let states: Vec<&str> = metrics
            .lines()
            .filter(|line| line.starts_with("teleport_upgrade_state{") && line.ends_with(" 1"))
            .collect();
        assert_eq!(
            states,
            [format!("teleport_upgrade_state{{state=\"{state}\"}} 1")]
        );
    }

    /// Asserts the login message: this, or none.
    #[track_caller]
    pub fn notice(&self, part: Option<&str>) {
        let text = self
            .host
            .read(NOTICE)
            .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        match part {
            Some(part) => assert!(
                text.as_ref().is_some_and(|text| text.contains(part)),
                "{part:?} is missing in: {text:?}"
            ),
            None => assert_eq!(text, None),
        }
    }

    /// Holds all that was gathered against the schema, with which no undescribed property passes here, and against Prometheus' rules.
    pub fn check(self) {
        assert!(!self.objects.is_empty());
        validate(&self.objects);
        self.metrics
            .iter()
            .for_each(|metrics| promtool(&["check", "metrics"], metrics));
    }
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Feeds a program of this machine, and asserts that it finds nothing wrong.
#[track_caller]
fn feed(command: &mut Command, text: &str) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run tests/setup");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}\n{text}",
        String::from_utf8_lossy(&said)
    );
}

fn promtool(arguments: &[&str], text: &str) {
    feed(
        Command::new(project("target/tools/promtool")).args(arguments),
        text,
    );
}

fn validate(objects: &[String]) {
    validate_part(objects, "");
}

/// Holds objects against a definition of the schema; against the whole schema if that has no name.
pub fn validate_part(objects: &[String], part: &str) {
    const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator
def closed(schema):
    if isinstance(schema, dict):
        if 'properties' in schema:
            schema.setdefault('additionalProperties', False)
        for value in schema.values():
            closed(value)
schema = json.load(open(sys.argv[1]))
if sys.argv[2]:
    schema = {**schema['$defs'][sys.argv[2]], '$defs': schema['$defs']}
Draft202012Validator.check_schema(schema)
closed(schema)
for number, instance in enumerate(json.load(sys.stdin)):
    for error in Draft202012Validator(schema).iter_errors(instance):
        print(number, error)
";
    let text = format!("[{}]", objects.join(","));
    feed(
        Command::new("python3")
            .args(["-c", VALIDATE])
            .arg(project("packaging/status.schema.json"))
            .arg(part),
        &text,
    );
}

#[test]
fn the_example_alerts_are_good_rules_on_metrics_that_there_are() {
    let alerts = project("packaging/alerts.yml");
    let checked = Command::new(project("target/tools/promtool"))
        .args(["check", "rules"])
        .arg(&alerts)
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    let host = host();
    host.upgrader("run").expect(0);
    let hook = "/etc/teleport-upgrade.d/pre-upgrade.d/busy";
    host.write(hook, "#!/bin/false\n");
    host.set_mode(hook, 0o755);
    host.open_window();
    host.upgrader("run").expect(75);
    let metrics = host.read(METRICS).unwrap();
    let alerts = std::fs::read_to_string(alerts).unwrap();
    let named: Vec<&str> = alerts
        .split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.starts_with("teleport_upgrade_"))
        .collect();
    assert!(named.len() >= 6, "{named:?}");
    for name in named {
        assert!(
            metrics.contains(&format!("# TYPE {name} ")),
            "{name} is missing in:\n{metrics}"
        );
    }
}

#[test]
fn states_that_leave_the_agent_as_it_is() {
    let host = host();
    let mut shown = Shown::of(&host);
    shown.shows("waiting", "is pending: next maintenance window opens ");

    shown.pass(0);
    let (page, object) = shown.shows(
        "waiting",
        "upgrade from 14.3.33 to 14.3.34 is pending: next maintenance window",
    );
    shown.counts_as("waiting");
    shown.notice(Some("will be upgraded from 14.3.33 to 14.3.34 on "));
    for part in [
        "Installed: teleport-ent 14.3.33 (apt)",
        "Service: teleport.service: running 14.3.33 Package hold:",
        "Package hold: on (set by teleport-upgrade)",
        "Target version: 14.3.34, not critical",
        "Schedule: valid, exported ",
        "Timer: disabled: automatic upgrades are off Try: sudo teleport-upgrade enable",
        "Totals: 0 version changes, 0 automatic rollbacks, 0 failed checks",
    ] {
        assert!(page.contains(part), "{part:?} is missing in: {page}");
    }
    assert_eq!(
        (&object["agent"]["installed"], &object["agent"]["running"]),
        (&"14.3.33".into(), &"14.3.33".into())
    );
    assert_eq!(
        (&object["channel"]["target"], &object["channel"]["critical"]),
        (&"14.3.34".into(), &false.into())
    );
    assert_eq!(
        object["decision"]["opens"],
        object["schedule"]["windows"][0]["start"]
    );
    assert_eq!(
        (
            shown.metric("up_to_date"),
            shown.metric("healthy"),
            shown.metric("window_open")
        ),
        ("0".into(), "1".into(), "0".into())
    );
    assert!(
        shown
            .metric("next_window_timestamp_seconds")
            .parse::<i64>()
            .unwrap()
            > 0
    );

    host.set_critical("yes");
    let (_, object) = shown.shows(
        "due",
        "would upgrade from 14.3.33 to 14.3.34 now: the release channel marks it critical",
    );
    assert_eq!(object["channel"]["critical"], true);
    host.set_critical("no");
    host.open_window();
    let (page, _) = shown.shows(
        "due",
        "would upgrade from 14.3.33 to 14.3.34 now: maintenance window open until ",
    );
    assert!(page.contains("Window open: until "), "{page}");

    let source = host.read("/etc/apt/sources.list.d/teleport.list").unwrap();
    host.write(
        "/etc/apt/sources.list.d/teleport.list",
        &source.replacen('[', "[trusted=yes ", 1),
    );
    shown.shows(
        "insecure-config",
        "upgrade from 14.3.33 to 14.3.34 is blocked: this host accepts unsigned packages",
    );
    shown.pass(1);
    shown.counts_as("due");
    shown.notice(None);
    assert_eq!(shown.metric("failures_total"), "1");
    host.write("/etc/apt/sources.list.d/teleport.list", &source);

    // A transient failure does not count.
    host.packages.stop();
    shown.pass(75);
    assert_eq!(
        (shown.metric("failures_total"), shown.metric("window_open")),
        ("1".into(), "1".into())
    );
    host.packages.start();

    host.set_version("14.4.0-rc.1");
    shown.shows("not-allowed", "not allowed: ");
    shown.pass(10);
    shown.counts_as("not-allowed");
    host.set_version("14.3.34");
    host.configure("pin", "13\n");
    shown.pass(0);
    shown.counts_as("pinned");
    let (page, object) = shown.shows("pinned", "pinned to major version 13");
    assert!(page.contains("Pinned to: major version 13"), "{page}");
    assert!(
        page.contains("Try: sudo teleport-upgrade enable"),
        "the next version may be one that this host may have: {page}"
    );
    assert_eq!(object["limits"]["pin"], "major version 13");
    host.remove("/etc/teleport-upgrade.d/pin");

    host.set_version("none");
    shown.pass(0);
    shown.counts_as("paused");
    shown.shows(
        "paused",
        "no upgrades available (14.3.33): updates are paused, the release channel contains \"none\"",
    );
    assert_eq!(shown.metric("up_to_date"), "1");

    host.set_version("14.3.33");
    shown.pass(0);
    shown.counts_as("up-to-date");
    shown.shows("up-to-date", "no upgrades available (14.3.33 == 14.3.33)");
    host.run(&["systemctl", "stop", "teleport.service"])
        .expect(0);
    shown.pass(0);
    assert_eq!(
        (shown.metric("up_to_date"), shown.metric("healthy")),
        ("1".into(), "0".into())
    );
    let (page, object) = shown.shows("up-to-date", "no upgrades available (14.3.33 == 14.3.33)");
    assert!(
        page.contains(&format!(
            "teleport.service: {}",
            object["agent"]["services"][0]["sentence"].as_str().unwrap()
        )),
        "{page}"
    );
    assert_eq!(
        (
            &object["agent"]["healthy"],
            &object["agent"]["services"][0]["state"]
        ),
        (&false.into(), &"stopped".into())
    );
    shown.check();
}

#[test]
fn states_of_a_host_without_a_schedule() {
    let host = host();
    let mut shown = Shown::of(&host);
    for (text, state, why) in [
        ("", "empty", "the maintenance schedule is empty"),
        (
            "1 2 3\n",
            "unreadable",
            "the maintenance schedule is invalid",
        ),
        (
            "1000 2000\n",
            "past",
            "the maintenance schedule has expired",
        ),
    ] {
        host.configure("schedule", text);
        let (page, object) = shown.shows(
            "waiting",
            &format!("upgrade from 14.3.33 to 14.3.34 is pending: {why}"),
        );
        assert_eq!(object["schedule"]["state"], state);
        assert!(page.contains(&format!("Schedule: {why}")), "{page}");
    }
    host.remove("/etc/teleport-upgrade.d/schedule");
    shown.shows(
        "waiting",
        "the agent has not exported a maintenance schedule. If this is still the case at the next check, the agent is upgraded outside of any maintenance window",
    );
    shown.pass(0);
    shown.counts_as("waiting");
    shown.notice(Some(
        "will be upgraded from 14.3.33 to 14.3.34 within the next hour. Open sessions may be disconnected.",
    ));
    shown.shows(
        "due",
        "would upgrade from 14.3.33 to 14.3.34 now: the agent has not exported a maintenance schedule",
    );
    // Anyone who does not want the notice has it taken away.
    host.configure("notice", "no\n");
    host.closed_window();
    shown.pass(0);
    shown.counts_as("waiting");
    shown.notice(None);
    shown.check();
}

#[test]
fn an_agent_that_exports_no_windows_is_reported_until_its_restart() {
    let host = host();
    let mut shown = Shown::of(&host);
    let restart = |expected: Option<&str>| {
        let before = host.agent_pid();
        host.run(&["systemctl", "restart", "teleport.service"])
            .expect(0);
        host.wait_for("the restart", SOON, || host.agent_pid() != before);
        let ran = host.upgrader("dry-run").expect(0);
        let warned = ran
            .stderr
            .lines()
            .any(|line| expected.is_some_and(|part| line.starts_with(&format!("warning: {part}"))));
        assert_eq!(warned, expected.is_some(), "{ran:?}");
    };
    let page = |user: &str| {
        let page = host
            .command(&["teleport-upgrade", "status"])
            .user(user)
            .run()
            .expect(0)
            .stdout;
        page.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let (later, never) = (
        "the agent will export its maintenance windows after its next restart. Run when no session is open: systemctl restart \
          teleport.service",
        "the agent exports no maintenance windows: teleport.service does not set TELEPORT_EXT_UPGRADER=unit",
    );
    restart(None);
    let drop_in = "/etc/systemd/system/teleport.service.d/zz.conf";
    host.write(drop_in, "[Service]\nEnvironment=\n");
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    assert!(
        !page("root").contains("Export: "),
        "the process is what it was"
    );
    restart(Some(never));
    let (_, object) = shown.shows("waiting", "is pending: next maintenance window opens");
    assert_eq!(object["agent"]["services"][0]["exports_windows"], false);
    host.remove(drop_in);
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    assert!(
        page("root").contains(&format!("Export: {later}")),
        "{}",
        page("root")
    );
    // Nobody else may look into its environment.
    assert!(!page("alice").contains("Export: "), "{}", page("alice"));
    let object = host
        .command(&["teleport-upgrade", "status", "--json"])
        .user("alice")
        .run()
        .expect(0)
        .stdout;
    assert_eq!(
        serde_json::from_str::<Value>(&object).unwrap()["agent"]["services"][0]["exports_windows"],
        Value::Null
    );
    // An upgrade that reloads it brings it none either.
    host.open_window();
    let before = host.agent_pid();
    shown.pass(0);
    host.assert_agent_runs("14.3.34");
    assert_ne!(host.agent_pid(), before);
    assert!(
        page("root").contains(&format!("Export: {later}")),
        "{}",
        page("root")
    );
    restart(None);
    let (page, object) = shown.shows("up-to-date", "no upgrades available (14.3.34 == 14.3.34)");
    assert_eq!(object["agent"]["services"][0]["exports_windows"], true);
    assert!(!page.contains("Export: "), "{page}");
    shown.check();
}

#[test]
fn a_server_that_is_silent_or_gone_keeps_nobody_waiting() {
    let host = host();
    let mut shown = Shown::of(&host);
    shown.pass(0);
    host.releases.raw_route("/current/version", |_, stream| {
        // Until the client hangs up.
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let ran = host
        .command(&["teleport-upgrade", "status"])
        .user("alice")
        .run()
        .expect(0);
    // A run would wait ten seconds for each of three answers.
    assert!(ran.elapsed < Duration::from_secs(8), "{:?}", ran.elapsed);
    let flat = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Target version: unknown (last known: 14.3.34)",
        "Status: cannot reach https://releases.example.com/current/version: timed out",
        "Installed: teleport-ent 14.3.33",
        "Schedule: valid",
    ] {
        assert!(
            flat.contains(part),
            "{part:?} is missing in:\n{}",
            ran.stdout
        );
    }

    host.releases.stop();
    let (_, object) = shown.shows(
        "unknown",
        "cannot reach https://releases.example.com/current/version: connection refused",
    );
    assert_eq!(
        (&object["channel"]["answered"], &object["channel"]["target"]),
        (&false.into(), &Value::Null)
    );
    assert_eq!(object["last_run"]["target"], "14.3.34");
    let success = shown.metric("last_success_timestamp_seconds");
    shown.pass(75);
    shown.counts_as("unknown");
    assert_eq!(
        (shown.metric("up_to_date"), shown.metric("healthy")),
        (String::new(), "1".into())
    );
    assert_eq!(shown.metric("last_success_timestamp_seconds"), success);
    // As far as anybody knows, it still waits.
    shown.notice(Some("will be upgraded from 14.3.33 to 14.3.34"));
    shown.check();
}

#[test]
fn a_host_that_is_not_set_up_says_what_is_missing() {
    let host = Host::new();
    let page = || {
        let page = host.upgrader("status").expect(2).stdout;
        page.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let status = "Upgrade Status: /etc/teleport-upgrade.d/endpoint: no release channel configured.";
    let flat = page();
    assert!(flat.starts_with(status), "no section on the agent: {flat}");
    host.configure("endpoint", "releases.example.com/current\n");
    let flat = page();
    assert!(
        flat.contains("Status: no Teleport package is installed (looked for "),
        "{flat}"
    );
    let json = host
        .run(&["teleport-upgrade", "status", "--json"])
        .expect(2)
        .stdout;
    validate(&[json]);
}

#[test]
fn states_around_a_change() {
    let host = host();
    // How long the old process waits for one that crashed is a matter of `reload.rs`.
    host.agent_settings(&["dead-child=noticed"]);
    let mut shown = Shown::of(&host);
    shown.pass(0);

    // Interrupted in the middle, and finished.
    host.offer(Package::agent("teleport-ent", "14.3.34").postinst(WAITS));
    host.open_window();
    let pass = host.spawn(&["teleport-upgrade", "run"]);
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    pass.interrupt();
    shown.shows("interrupted", "was interrupted; the next run resumes it");
    host.write("/run/go-on", "");
    shown.pass(0);
    shown.counts_as("up-to-date");
    shown.notice(None);
    assert_eq!(shown.metric("upgrades_total"), "1");
    let (page, object) = shown.shows("up-to-date", "no upgrades available (14.3.34 == 14.3.34)");
    assert!(
        page.contains("14.3.33 → 14.3.34, upgraded, took ")
            && page.contains("Totals: 1 version change, 0 automatic rollbacks, 0 failed checks"),
        "{page}"
    );
    assert_eq!(
        (&object["last_change"]["from"], &object["last_change"]["to"]),
        (&"14.3.33".into(), &"14.3.34".into())
    );

    // A version that does not run.
    host.offer(Package::agent("teleport-ent", "14.3.35").behaviour("never-joins,crash-after=1"));
    shown.pass(11);
    shown.counts_as("skipped");
    let (page, object) = shown.shows("skipped", "skipping 14.3.35: it failed on this host at ");
    assert!(
        page.contains("1 version change, 1 automatic rollback, 0 failed checks"),
        "{page}"
    );
    assert_eq!(
        (
            &object["failed_version"]["target"],
            &object["counts"]["rollbacks"]
        ),
        (&"14.3.35".into(), &1.into())
    );
    assert_eq!(
        (
            shown.metric("rollbacks_total"),
            shown.metric("failures_total")
        ),
        ("1".into(), "0".into())
    );
    host.upgrader("force").expect(11);
    shown.pass(0);
    assert_eq!(shown.metric("rollbacks_total"), "2");

    // Installed manually, and not yet run by the service.
    host.closed_window();
    host.offer(Package::agent("teleport-ent", "14.3.36"));
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.run(&[
        "apt-get",
        "-q",
        "-y",
        "--allow-change-held-packages",
        "install",
        "teleport-ent=14.3.36",
    ])
    .expect(0);
    shown.pass(0);
    shown.counts_as("waiting");
    shown.notice(Some("will be restarted to run 14.3.36 on "));
    let (page, object) =
        shown.shows("waiting", "restart of teleport.service to run the installed version 14.3.36 is pending: next maintenance window");
    assert!(
        page.contains("teleport.service: running 14.3.34 (restart pending)"),
        "{page}"
    );
    assert!(page.contains("Skipped version: 14.3.35, failed "), "{page}");
    let agent = &object["agent"];
    assert_eq!(
        (&agent["running"], &agent["services"][0]["binary"]),
        (&"14.3.34".into(), &"replaced".into())
    );
    host.open_window();
    shown.pass(0);
    shown.counts_as("up-to-date");
    shown.notice(None);

    // Broken, and then down, too.
    host.closed_window();
    host.shell(
        "cd /usr/local/bin && head -c 100000 teleport >cut && chmod 755 cut && mv cut teleport",
    )
    .expect(0);
    shown.pass(0);
    shown.counts_as("waiting");
    shown.notice(Some("will be reinstalled (14.3.36) on "));
    let (page, object) = shown.shows(
        "waiting",
        "reinstall of 14.3.36 (/usr/local/bin/teleport was killed by signal ",
    );
    assert!(
        page.contains("Broken: /usr/local/bin/teleport was killed by signal "),
        "{page}"
    );
    assert_eq!(
        (&object["agent"]["healthy"], &object["decision"]["action"]),
        (&false.into(), &"reinstall".into())
    );
    assert_eq!(shown.metric("healthy"), "0");
    shown.check();
}

#[test]
fn a_service_that_is_down_is_no_longer_waited_for() {
    let host = host();
    let mut shown = Shown::of(&host);
    shown.pass(0);
    host.fail_agent();
    let (page, object) = shown.shows(
        "due",
        "would upgrade from 14.3.33 to 14.3.34 now: teleport.service is down (failed: signal)",
    );
    assert!(
        page.contains(&format!(
            "teleport.service: {}",
            object["agent"]["services"][0]["sentence"].as_str().unwrap()
        )),
        "{page}"
    );
    assert_eq!(
        (&object["agent"]["healthy"], &object["agent"]["running"]),
        (&false.into(), &Value::Null)
    );
    host.set_version("14.3.33");
    shown.shows(
        "due",
        "would restart teleport.service now to run the installed version 14.3.33",
    );
    host.set_version("14.3.34-rc.1");
    shown.shows(
        "due",
        "would restart teleport.service now to run the installed version 14.3.33",
    );
    shown.check();
}

#[test]
fn events_are_found_in_the_journal_by_their_identity() {
    let host = host();
    let start = || host.run(&["systemctl", "start", SERVICE]);
    let found = |event: &str| -> Vec<Value> {
        let lines = host
            .run(&["journalctl", "--quiet", "--output=json", event])
            .expect(0)
            .stdout;
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    start().expect(0);
    host.set_version("16.0.0-rc.1");
    start();
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host.open_window();
    start().expect(0);
    host.offer(Package::agent("teleport-ent", "14.3.35").behaviour("crash-at-once"));
    start();
    host.set_version("14.3.36");
    start();
    host.set_version("garbage");
    start();
    host.releases.stop();
    start().expect(0);
    for (event, count, priority, message) in [
        (UPGRADED, 1, "6", "upgraded from 14.3.33 to 14.3.34 in "),
        (
            ROLLED_BACK,
            1,
            "3",
            "upgrade from 14.3.34 to 14.3.35 failed and was rolled back: ",
        ),
        (NOT_ALLOWED, 1, "3", "not allowed: "),
        (
            FAILED,
            2,
            "3",
            "upgrade from 14.3.34 to 14.3.36 failed: teleport-ent 14.3.36 not found in the repository ",
        ),
    ] {
        let lines = found(event);
        assert_eq!(lines.len(), count, "{event}: {lines:?}");
        let line = &lines[0];
        assert!(
            line["MESSAGE"].as_str().unwrap().starts_with(message),
            "{line}"
        );
        assert_eq!(
            (&line["PRIORITY"], &line["_SYSTEMD_UNIT"]),
            (&priority.into(), &SERVICE.into())
        );
        assert_eq!(line["SYSLOG_IDENTIFIER"], "teleport-upgrade");
    }
    let upgraded = &found(UPGRADED)[0];
    assert_eq!(upgraded["TELEPORT_UPGRADE_FROM"], "14.3.33");
    assert_eq!(upgraded["TELEPORT_UPGRADE_TO"], "14.3.34");
    let journal = host.journal(SERVICE);
    for line in [
        "upgraded from 14.3.33 to 14.3.34",
        "not allowed: ",
        "upgrade from 14.3.34 to 14.3.35 failed",
    ] {
        assert_eq!(journal.matches(line).count(), 1, "{line:?} in:\n{journal}");
    }
    // Transient failures page nobody, and package manager output is for debugging.
    let errors = host
        .run(&[
            "journalctl",
            "--quiet",
            "--priority=err",
            "--output=cat",
            "--unit",
            SERVICE,
        ])
        .expect(0)
        .stdout;
    assert!(
        !errors.contains("cannot reach") && journal.contains("cannot reach"),
        "{errors}\n{journal}"
    );
    assert!(
        !journal.contains("Reading package lists")
            && !journal.contains('…')
            && !journal.contains('\u{1b}'),
        "{journal}"
    );
}

#[test]
fn what_is_going_on_is_shown_on_a_terminal_and_is_gone_at_the_end() {
    let host = host();
    host.open_window();
    host.configure("observe-seconds", "3\n");
    host.offer(
        Package::agent("teleport-ent", "14.3.34")
            .postinst("sleep 1.5")
            .behaviour("ready-after=3"),
    );
    let terminal = |command: &str| {
        let ran = host
            .command(&[
                "script",
                "--quiet",
                "--return",
                "--command",
                command,
                "/dev/null",
            ])
            .env("TERM", "xterm")
            .run();
        ran.expect(0).stdout
    };
    let shown = terminal("teleport-upgrade run");
    for part in [
        "installing teleport-ent 14.3.34 … 1 s",
        "waiting for the new process of teleport.service to be ready … 1 s of 2 min 00 s",
        "verifying teleport.service … 1 s of 3 s",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in:\n{shown:?}");
    }
    // Whatever was shown is erased before the next line of the log or of the outcome.
    assert!(
        shown.contains("\r\x1b[Kupgraded from 14.3.33 to 14.3.34"),
        "{shown:?}"
    );
    let coloured = terminal("teleport-upgrade status");
    assert!(coloured.contains("\x1b[1mAgent\x1b[0m"), "{coloured:?}");
    assert!(!terminal("NO_COLOR=1 teleport-upgrade status").contains('\x1b'));
    assert!(!host.upgrader("status").expect(0).stdout.contains('\x1b'));
}

#[test]
fn the_login_message_announces_a_pending_upgrade() {
    let host = host();
    host.upgrader("run").expect(0);
    // A login at a terminal, as getty has it made, through PAM.
    let login = || {
        let login = [
            "script",
            "--quiet",
            "--command",
            "login -f alice",
            "/dev/null",
        ];
        host.command(&login)
            .stdin("exit\n")
            .env("TERM", "xterm")
            .run()
            .stdout
            .replace("\r\n", " ")
    };
    let shown = login();
    assert!(
        shown.contains(
            "The Teleport agent on this host will be upgraded from 14.3.33 to 14.3.34 on "
        ),
        "{shown}"
    );
    assert!(
        shown.contains("Open sessions may be disconnected."),
        "{shown}"
    );
    host.open_window();
    host.upgrader("run").expect(0);
    let shown = login();
    assert!(
        shown.contains("alice@host") && !shown.contains("The Teleport agent"),
        "{shown}"
    );
}

#[test]
fn node_exporter_serves_the_metrics() {
    let host = host();
    let exporter = host.path("/usr/local/bin/node_exporter");
    std::fs::copy(project("target/tools/prometheus-node-exporter"), exporter)
        .expect("run tests/setup");
    let _exporter = host.spawn(&[
        "node_exporter",
        "--web.listen-address=127.0.0.1:9100",
        "--collector.disable-defaults",
        "--collector.textfile",
        "--collector.textfile.directory=/var/lib/prometheus/node-exporter",
    ]);
    let served = || {
        host.run(&["curl", "--silent", "http://127.0.0.1:9100/metrics"])
            .stdout
    };
    host.wait_for("node_exporter", SOON, || {
        served().contains("node_scrape_collector_success{collector=\"textfile\"} 1")
    });
    host.upgrader("run").expect(0);
    let now = served();
    for part in [
        "node_textfile_scrape_error 0",
        "node_textfile_mtime_seconds{file=\"/var/lib/prometheus/node-exporter/teleport-upgrade.prom\"}",
        "teleport_upgrade_state{state=\"waiting\"} 1",
        "teleport_upgrade_up_to_date 0",
        "installed=\"14.3.33\"",
        "target=\"14.3.34\"",
    ] {
        assert!(now.contains(part), "{part:?} is missing in:\n{now}");
    }
    // A proxy between, or anyone who else has the page, may not know all kinds of answers.
    host.releases
        .route("/current/version", Response::status(404));
    host.upgrader("run").expect(1);
    assert!(served().contains("teleport_upgrade_failures_total 1"));
}
