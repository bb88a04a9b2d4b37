//! Rollouts of real hosts, each with systemd, an agent, a machine ID and metrics of its own.

use crate::dashboard::dashboard;
use crate::picture;
use crate::project;
use crate::site::{Site, machine_id, name, now, position};
use host::Package;
use std::fs;

const OLD: &str = "14.3.33";
const GOOD: &str = "14.3.34";
/// Its agent crashes.
const CRASHES: &str = "14.3.35";
/// Its agent becomes unhealthy later.
const LATE: &str = "14.3.36";

/// For each host, the first step (1, 25, 100) that reaches it, with GOOD, CRASHES and LATE.
const STEPS: [[usize; 3]; 8] = [
    [0, 2, 2],
    [1, 0, 2],
    [1, 2, 0],
    [2, 1, 1],
    [2, 1, 1],
    [2, 2, 1],
    [2, 2, 2],
    [2, 2, 2],
];

fn ids() -> Vec<String> {
    let range = |step: usize| [0.0..1.0, 1.0..25.0, 25.0..100.0][step].clone();
    let versions = [GOOD, CRASHES, LATE];
    let id = |(seed, steps): (usize, &[usize; 3])| {
        let places: Vec<_> = versions.into_iter().zip(steps.map(range)).collect();
        machine_id(seed, &places)
    };
    STEPS.iter().enumerate().map(id).collect()
}

#[test]
fn rollouts_of_real_hosts_advance_and_halt_automatically() {
    let ids = ids();
    let agent = |version| Package::agent("teleport-ent", version);
    let mut site = Site::new(
        OLD,
        &ids,
        &[
            agent(GOOD),
            agent(CRASHES).behaviour("never-joins,crash-after=1"),
            agent(LATE),
        ],
    );
    let start = now();
    a_good_release_reaches_everybody(&site, &ids);
    a_release_that_crashes_is_halted_after_the_first_step(&site);
    without_answers_and_reports_it_stays(&mut site);
    a_release_that_gets_unhealthy_later_is_halted_in_the_window(&site);
    the_dashboard_shows_it(&site, start);
}

/// Draws the picture in packaging/README.md. Set `DASHBOARD=1` to replace the picture.
fn the_dashboard_shows_it(site: &Site, start: f64) {
    let end = now() + 1.0;
    let svg = picture::draw(&dashboard(), start, end - start, &|query, over_time| {
        let query = query.replace("$channel", ".*").replace("$job", ".*");
        if over_time {
            site.query_range(&query, start, end)
        } else {
            site.query(&query)
        }
    });
    for part in [GOOD, CRASHES, LATE, "rolled-back", &name(1)] {
        assert!(svg.contains(part), "{part} in {svg}");
    }
    if std::env::var_os("DASHBOARD").is_some() {
        fs::write(project("packaging/dashboard.svg"), svg).unwrap();
    }
}

/// After `publish`, timers run the hosts and `advance`; nothing is done manually.
fn a_good_release_reaches_everybody(site: &Site, ids: &[String]) {
    site.publish(&[GOOD, "--percent", "1"]);
    let mut seen = vec![site.percent()];
    site.timers(true);
    let complete = format!("{GOOD} is complete at 100 %");
    while !site.journal().contains(&complete) {
        let upgraded = site.report(GOOD);
        let percent = site.percent();
        for number in upgraded {
            let position = position(&ids[number], GOOD);
            assert!(position < percent.parse().unwrap(), "{position} {percent}");
        }
        if seen.last() != Some(&percent) {
            seen.push(percent);
        }
        site.wait_for_change();
    }
    site.timers(false);
    assert_eq!(seen, ["1", "25", "100"]);
    let journal = site.journal();
    let mut rest = &*journal;
    for part in [
        "goes from 1 % to 25 %",
        "goes from 25 % to 100 %",
        &complete,
    ] {
        let (_, after) = rest.split_once(part).expect(&journal);
        rest = after;
    }
    for host in &site.hosts {
        host.assert_agent_runs(GOOD);
    }
}

fn a_release_that_crashes_is_halted_after_the_first_step(site: &Site) {
    site.publish(&[CRASHES, "--percent", "1"]);
    let statuses: Vec<i32> = site.run_all().iter().map(|ran| ran.status).collect();
    assert_eq!(statuses, [0, 11, 0, 0, 0, 0, 0, 0]);
    let failed = format!("{CRASHES} was halted at 1 %: failed on 1 of 1 hosts");
    site.expect(&failed, "0");
    let reason = site.halted().unwrap();
    let host = format!("node/{}: rolled-back: ", name(1));
    assert!(reason.contains(&host), "{reason}");
    site.wait_for(
        "ALERTS{alertname=\"TeleportRolloutHalted\", alertstate=\"firing\"}",
        1,
    );
    // No further host tries it, and the next run of `advance` changes nothing.
    for ran in site.run_all() {
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    site.expect(&failed, "0");
    assert_eq!(
        site.tried(CRASHES),
        [1],
        "one of eight hosts, by their histories"
    );
    for host in &site.hosts {
        host.assert_agent_runs(GOOD);
    }
}

fn without_answers_and_reports_it_stays(site: &mut Site) {
    site.publish(&[LATE, "--percent", "1"]);
    site.expect(
        &format!("{LATE} stays at 1 %: hosts with {LATE}: 0 healthy"),
        "1",
    );
    site.wait_for(
        &format!("teleport_rollout_percent{{version=\"{LATE}\"}}"),
        1,
    );
    site.run_all();
    assert_eq!(site.tried(LATE), [2]);
    site.wait_for(&format!("teleport_upgrade_info{{installed=\"{LATE}\"}}"), 1);
    // Enough for the next step, if Prometheus answered.
    site.stop_prometheus();
    site.expect(
        &format!("{LATE} stays at 1 %: no answer from http://localhost:9090: "),
        "1",
    );
    site.start_prometheus();
    site.set_reporting(&[2], false);
    let lost = format!("{LATE} stays at 1 %: 1 of 1 hosts with {LATE} stopped reporting");
    site.expect(&lost, "1");
    let all = [0, 1, 2, 3, 4, 5, 6, 7];
    site.set_reporting(&all, false);
    site.expect("stays at 1 %: no host of this channel reports", "1");
    site.set_reporting(&all, true);
    site.expect(&format!("{LATE} goes from 1 % to 25 %"), "25");
}

fn a_release_that_gets_unhealthy_later_is_halted_in_the_window(site: &Site) {
    // Two of the three remaining hosts of this step upgrade. The window of the third is open, too.
    for ran in site.run(&[0, 1, 3, 4]) {
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    assert_eq!(site.tried(LATE), [2, 3, 4]);
    site.configure_rollout("--min-time 1h");
    site.expect(
        "hosts with 14.3.36: 3 healthy, 0 failed; this step takes ",
        "25",
    );
    site.configure_rollout("");
    // Their agents go down, and restarts do not help.
    for number in [3, 4] {
        let host = &site.hosts[number];
        host.agent_settings(&["dead-child=noticed", "crash-at-once"]);
        host.write(
            "/etc/systemd/system/teleport.service.d/down.conf",
            "[Service]\nRestart=no\n",
        );
        host.shell("systemctl daemon-reload; systemctl kill --signal=KILL teleport.service")
            .expect(0);
    }
    site.run(&[3, 4]);
    site.wait_for("teleport_upgrade_healthy == 0", 2);
    site.expect(
        &format!("{LATE} was halted at 25 %: failed on 2 of 3 hosts"),
        "0",
    );
    // The halt takes effect while their window is open.
    let others = [0, 1, 5, 6, 7];
    for (number, ran) in others.into_iter().zip(site.run(&others)) {
        let waits = "this host is not in the rollout yet (at 0 %";
        assert!(ran.status == 0 && ran.stdout.contains(waits), "{ran:?}");
        site.hosts[number].assert_agent_runs(GOOD);
    }
    assert_eq!(
        site.tried(LATE),
        [2, 3, 4],
        "three of the four of this step"
    );
    site.hosts[2].assert_agent_runs(LATE);
    site.wait_for(
        &format!("teleport_rollout_halted{{version=\"{LATE}\"}} == 1"),
        1,
    );
}
