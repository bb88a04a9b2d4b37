//! Rollouts that go on or stop by themselves.

use crate::fleet::{Fleet, Host, NEW, kit};
use crate::project;
use crate::prometheus::free_address;
use crate::tool;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

#[test]
fn a_good_release_reaches_everybody_by_itself() {
    let mut fleet = Fleet::new("good", 100);
    let mut seen = Vec::new();
    loop {
        seen.push(fleet.percent());
        fleet.reached().iter_mut().for_each(Host::upgrade);
        fleet.report();
        let ran = fleet.advance(&[]);
        assert_eq!(ran.status, Some(0), "{}", ran.said);
        if ran.said.contains("good: 17.5.2 is complete at 100 %") {
            break;
        }
        assert_ne!(Some(&fleet.percent()), seen.last(), "{}", ran.said);
    }
    assert_eq!(seen, ["1", "25", "100"]);
    assert!(fleet.hosts.iter().all(|host| host.installed == NEW));
    // An agent that goes down a month later has other reasons.
    fleet.hosts.iter_mut().for_each(|host| host.healthy = false);
    fleet.report();
    fleet.expect(&[], 0, "is complete at 100 %", "100");
}

#[test]
fn a_bad_release_is_halted_after_the_first_step() {
    let mut fleet = Fleet::new("bad", 200);
    fleet.reached().iter_mut().for_each(Host::roll_back);
    fleet.report();
    let metrics = tempfile::tempdir().unwrap();
    let metrics = ["--metrics", metrics.path().to_str().unwrap()];
    fleet.expect(
        &metrics,
        10,
        "bad: 17.5.2 was halted at 1 %: failed on 2 of 2 hosts",
        "0",
    );
    assert_eq!(fleet.hosts.iter().filter(|host| host.tried()).count(), 2);
    let reason = fs::read_to_string(fleet.beside("halted")).unwrap();
    for part in [
        "17.5.2 was halted at 1 % on 20",
        "node/bad-0:9100: rolled-back: teleport.service crashed",
        "node/bad-1:9100: ",
        "--continue",
    ] {
        assert!(reason.contains(part), "{part:?} is missing in: {reason}");
    }
    // Not even if nothing is wrong any more.
    fleet.reached().iter_mut().for_each(Host::upgrade);
    fleet.report();
    fleet.expect(&metrics, 10, "was halted at 1 %", "0");
    let file = Path::new(metrics[1]).join("teleport-rollout-bad.prom");
    let text = fs::read_to_string(&file).unwrap();
    for line in [
        "teleport_rollout_halted{channel=\"bad\",version=\"17.5.2\"} 1",
        "teleport_rollout_percent{channel=\"bad\",version=\"17.5.2\"} 0",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} in:\n{text}");
    }
    let checked = Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(
        checked.status.success() && checked.stdout.is_empty() && checked.stderr.is_empty(),
        "{checked:?}"
    );
}

#[test]
fn a_release_that_gets_unhealthy_later_is_halted_at_the_second_step() {
    let mut fleet = Fleet::new("late", 100);
    fleet.reached().iter_mut().for_each(Host::upgrade);
    fleet.report();
    fleet.expect(&[], 0, "late: 17.5.2 goes from 1 % to 25 %", "25");
    fleet.reached().iter_mut().for_each(Host::upgrade);
    fleet.report();
    fleet.expect(&["--min-time", "1h"], 0, "25 healthy, 0 failed", "25");
    for host in &mut fleet.reached()[..3] {
        host.healthy = false;
    }
    fleet.report();
    let tolerant = ["--min-time", "1h", "--max-failed", "3"];
    fleet.expect(&tolerant, 0, "22 healthy, 3 failed", "25");
    let tolerant = ["--min-time", "1h", "--max-failed-percent", "12"];
    fleet.expect(&tolerant, 0, "22 healthy, 3 failed", "25");
    fleet.expect(
        &["--min-time", "1h"],
        10,
        "halted at 25 %: failed on 3 of 25 hosts",
        "0",
    );
}

#[test]
fn without_a_usable_answer_it_stays_and_says_so() {
    let mut fleet = Fleet::new("silent", 100);
    fleet.reached().iter_mut().for_each(Host::roll_back);
    fleet.report();
    let nobody = format!("http://{}", free_address());
    let stays = "silent: 17.5.2 stays at 1 %: no answer from http://127.0.0.1:";
    fleet.expect(&["--prometheus", &nobody], 75, stays, "1");
    let page = format!("{}/graph", fleet.prometheus.url());
    let other = ["--prometheus", &page];
    fleet.expect(&other, 75, "no usable answer from http://", "1");
    let wrong = ["--match", "cluster=eu"];
    fleet.expect(&wrong, 75, "parse error", "1");
    fleet.expect(&[], 10, "failed on 1 of 1 hosts", "0");
}

#[test]
fn hosts_that_do_not_report_hold_it_back() {
    let mut fleet = Fleet::new("stale", 100);
    fleet.reached().iter_mut().for_each(Host::upgrade);
    let mut old = fleet.hosts.clone();
    std::mem::swap(&mut old, &mut fleet.hosts);
    for host in &mut fleet.hosts {
        host.checked = 4 * 3600;
    }
    fleet.report();
    fleet.expect(&[], 0, "no host of this channel reports", "1");
    std::mem::swap(&mut old, &mut fleet.hosts);
    fleet.publish(&["--percent", "25"]);
    fleet.reached().iter_mut().for_each(Host::upgrade);
    fleet.report();
    // A fifth of them: those that are left would be enough.
    for host in &mut fleet.reached()[..5] {
        host.reports = false;
    }
    fleet.report();
    fleet.expect(
        &[],
        0,
        "stale: 17.5.2 stays at 25 %: 5 of 25 hosts with 17.5.2 stopped reporting",
        "25",
    );
    for host in &mut fleet.reached()[..3] {
        host.reports = true;
    }
    fleet.report();
    fleet.expect(&[], 0, "stale: 17.5.2 goes from 25 % to 100 %", "100");
}

#[test]
fn it_waits_for_enough_hosts_and_for_the_time() {
    let mut fleet = Fleet::new("few", 100);
    fleet.expect(&[], 0, "0 healthy, 0 failed; 1 healthy ones needed", "1");
    fleet.reached().iter_mut().for_each(Host::upgrade);
    fleet.report();
    let few = "1 healthy, 0 failed; 10 healthy ones needed, which are more than 1 % of 100";
    fleet.expect(&["--min-hosts", "10"], 0, few, "1");
    let soon = "stays at 1 %: hosts with 17.5.2: 1 healthy, 0 failed; this step takes ";
    fleet.expect(&["--min-time", "2d"], 0, soon, "1");
    // Each step has a time of its own.
    fleet.expect(&[], 0, "from 1 % to 25 %", "25");
    for host in &mut fleet.reached()[..12] {
        host.upgrade();
    }
    fleet.report();
    fleet.expect(&["--min-time", "2d"], 0, "this step takes ", "25");
    fleet.expect(&[], 0, "12 healthy, 0 failed; 13 healthy ones needed", "25");
    let share = ["--min-share", "48"];
    fleet.expect(&share, 0, "from 25 % to 100 %", "100");
}

#[test]
fn after_a_halt_it_goes_on_only_when_told() {
    let mut fleet = Fleet::new("continue", 100);
    fleet.expect(&["--continue"], 2, "17.5.2 is not halted", "1");
    fleet.publish(&["--percent", "25"]);
    fleet.reached().iter_mut().for_each(Host::upgrade);
    fleet.reached()[0].roll_back();
    fleet.report();
    fleet.expect(&[], 10, "halted at 25 %", "0");
    // By someone who knows what that means, and raises it without a word to this program.
    fleet.publish(&["--percent", "5"]);
    fleet.expect(&[], 10, "Since then 5 % was set manually, and stays", "5");
    let down = format!("http://{}", free_address());
    let down = ["--continue", "--prometheus", &down];
    fleet.expect(&down, 75, "no answer", "5");
    fleet.expect(
        &["--continue"],
        0,
        "continues at 25 %. Failed hosts that no longer count: 1",
        "25",
    );
    assert!(!fleet.beside("halted").exists());
    // The same host again does not count, and another does.
    let later = ["--min-time", "1h"];
    fleet.expect(&later, 0, "24 healthy, 0 failed; this step takes", "25");
    fleet.reached()[1].roll_back();
    fleet.report();
    fleet.expect(&later, 10, "failed on 1 of 24 hosts", "0");
    // Another version begins again; the first one is never raised, even if it is published again.
    fleet.publish(&["17.5.3", "--percent", "1"]);
    fleet.expect(&[], 0, "17.5.3 stays at 1 %", "1");
    assert!(!fleet.beside("halted").exists());
    fleet.publish(&[NEW, "--percent", "1"]);
    fleet.expect(&[], 10, "17.5.2 was halted at 25 %", "1");
    assert!(fleet.beside("halted").exists());
}

#[test]
fn what_has_no_percentage_is_left_alone() {
    let fleet = Fleet::new("special", 1);
    for (published, says, percent) in [
        (&["none"][..], "special: upgrades are paused", "100"),
        (
            &[NEW, "--critical"],
            "17.5.2 is critical: hosts do not wait for a percentage",
            "100",
        ),
        (
            &[NEW, "--percent", "0"],
            "17.5.2 is paused at 0 %. Publish a percentage",
            "0",
        ),
    ] {
        fleet.publish(published);
        fleet.expect(&[], 0, says, percent);
    }
}

#[test]
fn it_is_alone_and_knows_its_arguments() {
    let fleet = Fleet::new("alone", 1);
    for arguments in [
        &["--step", "1"][..],
        &["--steps", "5,1"],
        &["--steps", "0,1"],
        &["--steps", "1,2,"],
        &["--steps", "1,101"],
        &["--steps", ""],
        &["--min-time", "1w"],
        &["--min-hosts", "-1"],
        &["--max-failed-percent", "1e3"],
        &["--min-share", "half"],
        &["other"],
    ] {
        fleet.expect(arguments, 2, "advance: ", "1");
    }
    assert!(!fleet.beside("rollout").exists(), "nothing was recorded");
    fs::write(fleet.beside("rollout"), "{\"version\": ").unwrap();
    fleet.expect(&[], 2, "is broken", "1");
    fs::remove_file(fleet.beside("rollout")).unwrap();

    let mut other = Command::new("flock")
        .arg(fleet.beside("rollout.lock"))
        .args(["sh", "-c", "echo; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut first).unwrap();
    fleet.expect(&[], 75, "another run of advance is in progress", "1");
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
    fleet.expect(&[], 0, "stays at 1 %", "1");
}

#[test]
fn killed_at_any_point_the_next_run_finishes() {
    let mut fleet = Fleet::new("killed", 100);
    for (bad, percent, expected) in [(false, "100", Some(0)), (true, "0", Some(10))] {
        fleet.publish(&["--percent", "25"]);
        fleet.reached().iter_mut().for_each(Host::upgrade);
        if bad {
            fleet.reached()[0].roll_back();
        }
        fleet.report();
        // Every seventh command of `advance` after its decision, and every fifth command of `publish`.
        for (script, step) in [("advance", 7), ("publish", 5)] {
            let (mut killed, mut changed) = (0, 0);
            // Different commands in each case.
            for stop in (1 + usize::from(bad)..).step_by(step) {
                let _ = fs::remove_file(fleet.beside("rollout"));
                fleet.publish(&["--percent", "25"]);
                let ended = killed_before(script, stop, fleet.command(&[]));
                let found = fleet.percent();
                assert_eq!(fleet.files(), [NEW, "no", &found], "they belong together");
                assert!(found == "25" || found == percent, "{stop}: {found}");
                changed += usize::from(found == percent);
                if ended.code().is_some() {
                    assert_eq!((ended.code(), &*found), (expected, percent));
                    break;
                }
                assert_eq!(ended.signal(), Some(9));
                killed += 1;
                // A long minimum time, so that the new step is not raised again.
                let after =
                    fleet.advance(&["--min-time", if found == percent { "1h" } else { "0s" }]);
                assert_eq!(after.status, expected, "{stop}: {}", after.said);
                assert_eq!(fleet.files(), [NEW, "no", percent], "{}", after.said);
                assert_eq!(fleet.beside("halted").exists(), bad, "{stop}");
            }
            assert!(killed > 4 && changed > 0, "{script}: {killed}, {changed}");
        }
    }
}

#[test]
fn killed_during_continue_it_continues_at_the_next_request() {
    let mut fleet = Fleet::new("again", 100);
    fleet.reached()[0].roll_back();
    fleet.report();
    for (script, step) in [("advance", 6), ("publish", 13)] {
        let mut killed = 0;
        for stop in (1..).step_by(step) {
            // Halted again.
            let _ = fs::remove_file(fleet.beside("rollout"));
            fleet.publish(&["--percent", "1"]);
            fleet.expect(&[], 10, "was halted at 1 %", "0");
            let ended = killed_before(script, stop, fleet.command(&["--continue"]));
            let found = fleet.percent();
            assert_eq!(fleet.files(), [NEW, "no", &found], "they belong together");
            if ended.code().is_some() {
                assert_eq!((ended.code(), &*found), (Some(0), "1"));
                break;
            }
            killed += 1;
            // It does not continue automatically. A percentage that was set already is kept, like one that was set manually.
            let halted = fleet.advance(&["--min-time", "1h"]);
            assert_eq!(fleet.percent(), found, "{stop}: {}", halted.said);
            let told = fleet.advance(&["--continue"]);
            let ends = if halted.status == Some(10) { 0 } else { 2 };
            assert_eq!(told.status, Some(ends), "{stop}: {}", told.said);
            assert_eq!(fleet.percent(), "1", "{stop}: {}", told.said);
        }
        assert!(killed > 2, "{script}: {killed}");
    }
}

/// Kills a run of `advance`, and everything that it started, before the n-th command of this script. For `advance` itself, commands
/// count after its decision, or after it has read from where to continue.
fn killed_before(script: &str, number: usize, mut run: Command) -> ExitStatus {
    let directory = tempfile::tempdir().unwrap();
    let stepper = directory.path().join("stepper");
    let counts = format!(
        "case $0 in */{script}) steps=0; set -T\ntrap '[[ $0 = */advance && -z ${{decision-}}${{from-}} ]] || \
         (( ++steps != {number} )) || kill -KILL 0' DEBUG;; esac\n"
    );
    fs::write(&stepper, counts).unwrap();
    run.process_group(0).env("BASH_ENV", &stepper);
    run.output().unwrap().status
}

#[test]
fn the_units_are_good_ones() {
    let directory = tempfile::tempdir().unwrap();
    for unit in ["teleport-rollout@.service", "teleport-rollout@.timer"] {
        let text = fs::read_to_string(kit(unit)).unwrap();
        let text = text.replace("/usr/local/bin/advance", kit("advance").to_str().unwrap());
        fs::write(directory.path().join(unit), text).unwrap();
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args([
            "./teleport-rollout@prod.service",
            "./teleport-rollout@prod.timer",
        ])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(
        verified.status.success() && verified.stderr.is_empty(),
        "{verified:?}"
    );
    let readme = fs::read_to_string(project("packaging/version-server/README.md")).unwrap();
    let script = fs::read_to_string(kit("advance")).unwrap();
    let options = script
        .lines()
        .take_while(|line| line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("#   --"))
        .map(|line| line.split(' ').next().unwrap());
    for option in options {
        assert!(readme.contains(&format!("`--{option}")), "--{option}");
    }
}
