//! The history of changes: what each kind of change leaves in it, what reads it, and what it survives.

use crate::operator::{METRICS, SERVICE, validate_part};
use host::{Host, Package, SOON, WAITS};
use serde_json::{Value, json};

const FILE: &str = "/var/lib/teleport-upgrade/history.json";
const UPGRADED: &str = "MESSAGE_ID=d73848e0daba4ea7bc98ba73e7cc9969";
const FAILED: &str = "MESSAGE_ID=8f3f3f92afd14fc689d5042250f08770";

/// The entries of `history --json`, newest first, which must follow the schema.
#[track_caller]
fn entries(host: &Host) -> Vec<Value> {
    let json = host
        .run(&["teleport-upgrade", "history", "--json"])
        .expect(0)
        .stdout;
    let object: Value = serde_json::from_str(&json).unwrap();
    validate_part(&[json], "history");
    object["changes"].as_array().unwrap().clone()
}

/// What tells one entry from another.
fn brief(entry: &Value) -> Value {
    let field = |name: &str| entry[name].clone();
    let all = ["result", "from", "to", "user", "forced", "tries"];
    all.map(field).to_vec().into()
}

/// The one series of the metric for fleets, without its value.
#[track_caller]
fn series(host: &Host) -> String {
    let metrics = host.read(METRICS).unwrap();
    let prefix = "teleport_upgrade_last_upgrade_timestamp_seconds{";
    let mut found = metrics.lines().filter(|line| line.starts_with(prefix));
    let (labels, value) = found.next().unwrap().rsplit_once(' ').unwrap();
    assert!(value.parse::<i64>().unwrap() > 1_700_000_000, "{value}");
    assert_eq!(found.next(), None);
    labels.strip_prefix(prefix).unwrap().into()
}

#[test]
fn every_kind_of_change_is_listed_with_its_cause_and_user() {
    let mut host = Host::with_upgrade();
    host.run(&["mkdir", "-p", "/var/lib/prometheus/node-exporter"])
        .expect(0);
    host.configure("metrics", "/var/lib/prometheus/node-exporter\n");
    assert_eq!(
        host.upgrader("history").expect(0).stdout,
        "No changes recorded.\n"
    );

    host.run(&["systemctl", "start", SERVICE]).expect(0);
    let upgraded = r#"from="14.3.33",to="14.3.34",result="upgraded",reason=""}"#;
    assert_eq!(series(&host), upgraded);
    host.offer(Package::agent("teleport-ent", "14.3.35").behaviour("crash-at-once"));
    host.upgrader("run").expect(11);
    let rolled_back = r#"from="14.3.34",to="14.3.35",result="rolled-back",reason=""#;
    assert!(series(&host).starts_with(rolled_back), "{}", series(&host));

    // A repair is listed, but hides no rollback.
    host.shell(
        "cd /usr/local/bin && head -c 100000 teleport >cut && chmod 755 cut && mv cut teleport",
    )
    .expect(0);
    host.upgrader("run").expect(0);
    assert!(series(&host).starts_with(rolled_back), "{}", series(&host));

    // What each run repeats.
    host.set_version("14.3.36");
    host.upgrader("run").expect(1);
    host.upgrader("run").expect(1);
    let failed =
        r#"from="14.3.34",to="14.3.36",result="failed",reason="teleport-ent 14.3.36 not found "#;
    assert!(series(&host).starts_with(failed), "{}", series(&host));

    host.set_version("14.3.33");
    host.upgrader("run").expect(0);
    let downgraded = r#"from="14.3.34",to="14.3.33",result="upgraded",reason=""}"#;
    assert_eq!(series(&host), downgraded);
    host.closed_window();
    host.set_version("14.3.34");
    let by_alice = |command| {
        let command = host.command(&["teleport-upgrade", command]);
        command.env("SUDO_USER", "alice").run()
    };
    by_alice("force").expect(0);
    host.fail_agent();
    by_alice("run").expect(0);
    // The channel orders the version again that was rolled back.
    host.set_version("14.3.35");
    host.upgrader("run").expect(0);
    assert!(series(&host).starts_with(rolled_back), "{}", series(&host));

    let listed = entries(&host);
    assert_eq!(
        listed.iter().map(brief).collect::<Vec<_>>(),
        [
            json!(["restarted", "14.3.34", "14.3.34", "alice", false, 1]),
            json!(["upgraded", "14.3.33", "14.3.34", "alice", true, 1]),
            json!(["downgraded", "14.3.34", "14.3.33", "root", false, 1]),
            json!(["failed", "14.3.34", "14.3.36", "root", false, 2]),
            json!(["reinstalled", "14.3.34", "14.3.34", "root", false, 1]),
            json!(["rolled-back", "14.3.34", "14.3.35", "root", false, 1]),
            json!(["upgraded", "14.3.33", "14.3.34", null, false, 1]),
        ]
    );
    assert_eq!(listed[0]["service"], "teleport.service");
    let text = |entry: usize, field: &str| listed[entry][field].as_str().unwrap_or_default();
    assert!(text(6, "cause").starts_with("maintenance window open until "));
    assert!(text(1, "cause") != text(6, "cause"));
    assert_eq!(listed[6]["reason"], Value::Null);

    let page = host
        .command(&["teleport-upgrade", "history"])
        .user("alice")
        .run()
        .expect(0)
        .stdout;
    assert!(
        page.lines().all(|line| line.chars().count() <= 80),
        "{page}"
    );
    for part in [
        "(UTC)       Change ",
        "14.3.34            restarted ",
        "14.3.33 → 14.3.34  upgraded ",
        "alice (force)\n",
        "14.3.34 → 14.3.33  downgraded ",
        "14.3.34 → 14.3.36  failed ",
        ". 2 runs in a row\n",
        "14.3.34            reinstalled ",
        "14.3.34 → 14.3.35  rolled back ",
        "  timer\n",
    ] {
        assert!(page.contains(part), "{part:?} is missing in:\n{page}");
    }
    let command = "stty cols 160; teleport-upgrade history";
    let script = [
        "script",
        "--quiet",
        "--return",
        "--command",
        command,
        "/dev/null",
    ];
    let wide = host
        .command(&script)
        .env("TERM", "xterm")
        .run()
        .expect(0)
        .stdout;
    assert!(wide.contains("By             Why"), "{wide}");
    let status = host.upgrader("status").expect(0).stdout;
    assert!(status.contains(", 14.3.34, restarted, took "), "{status}");

    host.reboot();
    assert_eq!(entries(&host), listed);
}

#[test]
fn a_change_that_was_killed_and_resumed_is_one_entry_of_the_user_who_began_it() {
    let host = Host::with_upgrade();
    host.offer(Package::agent("teleport-ent", "14.3.34").postinst(WAITS));
    let run = host.command(&["teleport-upgrade", "run"]);
    let run = run.env("SUDO_USER", "alice").spawn();
    host.wait_for("the install", SOON, || {
        host.read("/run/installing").is_some()
    });
    run.interrupt();
    assert_eq!(entries(&host), [] as [Value; 0]);
    host.write("/run/go-on", "");
    host.run(&["systemctl", "start", SERVICE]).expect(0);
    host.assert_agent_runs("14.3.34");
    let listed = entries(&host);
    let upgraded = json!(["upgraded", "14.3.33", "14.3.34", "alice", false, 1]);
    assert_eq!(listed.iter().map(brief).collect::<Vec<_>>(), [upgraded]);
    let cause = listed[0]["cause"].as_str().unwrap();
    assert!(
        cause.starts_with("maintenance window open until "),
        "{cause}"
    );
}

#[test]
fn a_history_that_cannot_be_read_is_saved_and_costs_nothing_else() {
    for (text, message, is_held) in [
        (
            r#"{"held_by_us":true,"changes":[{"ended":"20"#,
            "corrupt (",
            false,
        ),
        (
            r#"{"held_by_us":true,"changes":[{"result":"teleported"}]}"#,
            "list of changes is corrupt or of another version (",
            true,
        ),
    ] {
        let host = Host::with_upgrade();
        host.run(&["mkdir", "-p", "/var/lib/teleport-upgrade"])
            .expect(0);
        host.write(FILE, text);
        let ran = host.upgrader("history").expect(0);
        assert_eq!(ran.stdout, "No changes recorded.\n");
        let saved =
            "starting a new one, old one saved as /var/lib/teleport-upgrade/history.json.corrupt";
        for part in [message, saved] {
            assert!(
                ran.stderr.contains(part),
                "{part:?} is missing in: {}",
                ran.stderr
            );
        }
        let status = host.run(&["teleport-upgrade", "status", "--json"]);
        let status: Value = serde_json::from_str(&status.expect(0).stdout).unwrap();
        let problem = status["problems"][0].as_str().unwrap();
        assert!(problem.contains(message), "{problem}");
        if is_held {
            // The rest of the history still counts: the hold is known to be ours.
            host.configure("lock", "no\n");
            host.run(&["apt-mark", "hold", "teleport-ent"]).expect(0);
        }
        host.upgrader("run").expect(0);
        assert!(!is_held || !host.is_on_hold("teleport-ent"));
        assert_eq!(host.read(&format!("{FILE}.corrupt")).as_deref(), Some(text));
        assert_eq!(host.upgrader("history").expect(0).stderr, "");
        assert_eq!(entries(&host).len(), 1);
    }
}

#[test]
fn the_last_fifty_are_kept_and_are_printable() {
    let host = Host::with_upgrade();
    host.upgrader("run").expect(0);
    let mut history: Value = serde_json::from_str(&host.read(FILE).unwrap()).unwrap();
    let old = |number: usize| {
        let mut entry = history["changes"][0].clone();
        entry["to"] = format!("14.2.{number}").into();
        entry["cause"] = "\u{1b}[31m\u{202e}\n".into();
        entry
    };
    history["changes"] = (0..60).map(old).collect();
    host.write(FILE, &history.to_string());
    let listed = entries(&host);
    assert_eq!((listed.len(), &listed[0]["to"]), (50, &"14.2.59".into()));
    let page = host.upgrader("history").expect(0).stdout;
    assert!(
        page.contains("\n  \\u{1b}[31m\\u{202e}\\n\n") && !page.contains('\u{1b}'),
        "{page}"
    );
    host.offer(Package::agent("teleport-ent", "14.3.35"));
    host.upgrader("run").expect(0);
    let history: Value = serde_json::from_str(&host.read(FILE).unwrap()).unwrap();
    let kept = history["changes"].as_array().unwrap();
    assert_eq!((kept.len(), &kept[49]["to"]), (50, &"14.3.35".into()));
    assert_eq!(kept[0]["to"], "14.2.11");
}

#[test]
fn runs_that_are_started_manually_leave_their_events_in_the_journal() {
    let host = Host::with_upgrade();
    let found = |event: &str| -> Vec<Value> {
        let lines = host
            .run(&["journalctl", "--quiet", "--output=json", event])
            .expect(0)
            .stdout;
        let lines = lines.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let ran = host.upgrader("run").expect(0);
    assert_eq!(ran.stdout.matches("upgraded from ").count(), 1);
    host.wait_for("the event", SOON, || !found(UPGRADED).is_empty());
    let upgraded = found(UPGRADED);
    assert_eq!(upgraded.len(), 1);
    assert_eq!(upgraded[0]["TELEPORT_UPGRADE_FROM"], "14.3.33");
    assert_eq!(upgraded[0]["TELEPORT_UPGRADE_TO"], "14.3.34");
    assert_eq!(upgraded[0]["SYSLOG_IDENTIFIER"], "teleport-upgrade");
    // An error that ends the run, but not what an ordinary user may not do, nor a question.
    host.set_version("garbage");
    let failed = host.command(&["teleport-upgrade", "run"]).user("alice");
    failed.run().expect(2);
    host.upgrader("dry-run").expect(1);
    host.upgrader("run").expect(1);
    host.wait_for("the event", SOON, || !found(FAILED).is_empty());
    assert_eq!(found(FAILED).len(), 1);
}
