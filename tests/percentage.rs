//! Percentage rollouts: which hosts wait, what they show, and what does not wait.

use crate::operator::{Shown, host};
use crate::prefetch::downloaded;
use host::{Host, Response, SOON, pong};

const ROLLOUT: &str = "/current/rollout";

/// Sets the percentage of the rollout, or any other text.
fn set(host: &Host, text: &str) {
    host.releases
        .route(ROLLOUT, Response::ok(format!("{text}\n")));
}

/// A host in its window whose position is 37.2, in a rollout of so many percent.
fn rollout(percent: &str) -> Host {
    let host = Host::with_upgrade();
    host.configure("rollout-wariness", "0.372\n");
    set(&host, percent);
    host
}

/// The files of the channel that a run asks for.
fn requests(host: &Host) -> Vec<String> {
    host.releases.forget_requests();
    host.upgrader("run").expect(0);
    host.releases.paths()
}

#[test]
fn a_host_waits_for_its_turn_and_shows_it() {
    let host = host();
    let mut shown = Shown::of(&host);
    host.configure("rollout-wariness", "0.372\n");
    set(&host, "5 %");
    host.export_windows(&[(6000, 9600)]);
    let reason = "this host is not in the rollout yet (at 5 %, this host's position is 37.20)";
    let ran = shown.pass(0);
    let line = format!("upgrade from 14.3.33 to 14.3.34 is pending: {reason}");
    assert!(ran.stdout.contains(&line), "{ran:?}");
    shown.counts_as("waiting");
    assert_eq!(shown.metric("rollout_percent"), "5");
    assert_eq!(shown.metric("rollout_position"), "37.2");
    shown.notice(None);
    assert_eq!(downloaded(&host), [""; 0]);
    let (page, object) = shown.shows("waiting", reason);
    let line = "Rollout: 5 % of the hosts; this host's position is 37.20";
    assert!(page.contains(line), "{page}");
    assert_eq!(object["decision"]["waits_for"], "rollout");
    assert_eq!(object["decision"]["opens"], serde_json::Value::Null);
    assert_eq!(object["rollout"]["percent"], 5.0);
    assert_eq!(object["rollout"]["position"], 37.2);
    assert_eq!(object["rollout"]["reached"], false);
    // Its window does not matter.
    host.open_window();
    shown.pass(0);
    shown.notice(None);
    host.assert_agent_runs("14.3.33");
    // Once it is reached, it waits for its window like any other.
    set(&host, "40");
    host.export_windows(&[(6000, 9600)]);
    shown.pass(0);
    assert_eq!(shown.metric("rollout_percent"), "40");
    shown.notice(Some("will be upgraded from 14.3.33 to 14.3.34"));
    assert_ne!(downloaded(&host), [""; 0]);
    let (_, object) = shown.shows("waiting", "next maintenance window opens");
    assert_eq!(object["decision"]["waits_for"], "window");
    assert_eq!(object["rollout"]["reached"], true);
    // Halted before that window: what was downloaded is removed, and nobody is shown to expect anything.
    set(&host, "0");
    host.open_window();
    shown.pass(0);
    shown.notice(None);
    assert_eq!(downloaded(&host), [""; 0]);
    host.assert_agent_runs("14.3.33");
    set(&host, "40");
    shown.pass(0);
    host.assert_agent_runs("14.3.34");
    let (page, object) = shown.shows("up-to-date", "");
    assert!(!page.contains("Rollout:"), "{page}");
    assert_eq!(object["rollout"], serde_json::Value::Null);
    shown.check();
}

#[test]
fn the_position_comes_from_the_machine_id_and_the_version() {
    let host = rollout("100");
    host.remove("/etc/teleport-upgrade.d/rollout-wariness");
    let id = host.read("/etc/machine-id").unwrap();
    let command = "printf '%s %s' \"$(cat /etc/machine-id)\" 14.3.34 | sha256sum | head -c 16";
    let hash = host.shell(command).stdout;
    let position = 100.0 * u64::from_str_radix(&hash, 16).unwrap() as f64 / 2_f64.powi(64);
    set(&host, &format!("{:.3}", (position - 0.01).max(0.0)));
    let shown = format!("position is {position:.2})");
    let ran = host.upgrader("run").expect(0);
    assert!(ran.stdout.contains(&shown), "{id}: {ran:?}");
    set(&host, &format!("{:.3}", (position + 0.01).min(100.0)));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_host_without_a_machine_id_comes_last() {
    let host = rollout("99.9");
    host.remove("/etc/teleport-upgrade.d/rollout-wariness");
    host.write("/etc/machine-id", "uninitialized\n");
    let ran = host.upgrader("run").expect(0);
    let warning = "/etc/machine-id: uninitialized. This host comes last in every rollout";
    assert!(ran.stderr.contains(warning), "{ran:?}");
    assert!(ran.stdout.contains("position is 100.00"), "{ran:?}");
    set(&host, "100");
    let ran = host.upgrader("run").expect(0);
    assert!(!ran.stderr.contains(warning), "{ran:?}");
    host.assert_agent_runs("14.3.34");
}

#[test]
fn critical_and_forced_upgrades_do_not_wait_but_downgrades_do() {
    let host = rollout("0");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.33");
    host.set_critical("yes");
    let ran = host.upgrader("run").expect(0);
    assert!(ran.stdout.contains("marks it critical"), "{ran:?}");
    host.assert_agent_runs("14.3.34");

    // A rollback of the whole fleet is a rollout too.
    host.set_critical("no");
    host.set_version("14.3.33");
    let ran = host.upgrader("run").expect(0);
    let waits = "downgrade from 14.3.34 to 14.3.33 is pending: this host is not in the rollout yet";
    assert!(ran.stdout.contains(waits), "{ran:?}");
    host.upgrader("force").expect(0);
    host.assert_agent_runs("14.3.33");
}

#[test]
fn an_agent_that_is_down_does_not_wait() {
    let host = rollout("0");
    host.write(
        "/etc/systemd/system/teleport.service.d/down.conf",
        "[Service]\nRestart=no\n",
    );
    host.shell("systemctl daemon-reload; systemctl kill --signal=KILL teleport.service");
    host.wait_for("an agent that is down", SOON, || {
        host.property("teleport.service", "ActiveState") == "failed"
    });
    let ran = host.upgrader("run").expect(0);
    assert!(ran.stdout.contains("teleport.service is down"), "{ran:?}");
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_percentage_that_cannot_be_read_waits_with_a_warning() {
    let host = rollout("0");
    let file = "https://releases.example.com/current/rollout";
    let publish = "The upgrade waits. Publish a number from 0 to 100 there";
    let invalid = format!("{file}: invalid value (expected 0 to 100)");
    for (response, problem, advice) in [
        (Response::ok("all\n"), invalid.clone(), publish),
        (Response::ok("101\n"), invalid.clone(), publish),
        (Response::ok(""), invalid.clone(), publish),
        (Response::ok("<html></html>\n"), invalid, publish),
        (
            Response::status(403),
            format!("{file} returned 403 Forbidden"),
            publish,
        ),
        (
            Response::status(400),
            format!("{file} returned 400 Bad Request"),
            publish,
        ),
        (
            Response::status(503),
            format!("{file} returned 503 Service Unavailable"),
            "The upgrade waits. Will retry at the next check",
        ),
    ] {
        host.releases.route(ROLLOUT, response);
        let ran = host.upgrader("run").expect(0);
        let warning = format!("warning: {problem}. {advice}");
        assert!(ran.stderr.contains(&warning), "{ran:?}");
        let sentence = format!("is pending: the percentage of the rollout is unknown ({problem})");
        assert!(ran.stdout.contains(&sentence), "{ran:?}");
        host.assert_agent_runs("14.3.33");
    }
    set(&host, "100");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_channel_without_the_file_is_for_all_hosts() {
    let host = rollout("0");
    host.configure("rollout-wariness", "1\n");
    host.releases.remove_route(ROLLOUT);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

/// A Proxy answers what it does not know with 400.
#[test]
fn a_proxys_channel_is_for_all_hosts() {
    let host = rollout("0");
    let channel = "/v1/webapi/automaticupgrades/channel/default";
    host.configure("endpoint", &format!("releases.example.com{channel}\n"));
    host.configure("rollout-wariness", "1\n");
    for (file, response) in [
        ("version", Response::ok("v14.3.34")),
        ("critical", Response::ok("no")),
        ("rollout", Response::status(400).body("{\"error\":{}}")),
    ] {
        host.releases.route(&format!("{channel}/{file}"), response);
    }
    host.releases.route("/webapi/ping", pong("15.1.0"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_rollout_costs_one_more_request_and_an_upgrade_another() {
    let host = rollout("5");
    let (version, critical) = ("/current/version", "/current/critical");
    assert_eq!(requests(&host), [version, ROLLOUT, critical]);
    host.closed_window();
    assert_eq!(requests(&host), [version, critical, ROLLOUT]);
    set(&host, "40");
    assert_eq!(requests(&host), [version, critical, ROLLOUT]);
    // Only a host that would upgrade requests the version again.
    host.open_window();
    assert_eq!(requests(&host), [version, ROLLOUT, version]);
    host.assert_agent_runs("14.3.34");
    // Up to date: none.
    assert_eq!(requests(&host), [version]);
}
