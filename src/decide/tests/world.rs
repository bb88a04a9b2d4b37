//! All decisions in a small world of versions, clusters, pins and repositories.

use super::{cluster, decided, failed, host, pin, version};
use crate::config::values::Pin;
use crate::decide::decision::{Action, Decision};
use crate::decide::observation::Observation;
use crate::decide::path::Offer;
use crate::server::answers::Cluster;
use crate::state::history::FailedTarget;
use crate::version::Version;

fn world() -> Vec<Version> {
    let of =
        |major: u64| ["0.0-rc.1", "0.0", "1.0"].map(|rest| version(&format!("{major}.{rest}")));
    (10..=15).flat_map(of).collect()
}

/// Checks that every step from `seen` is allowed, and that they end at the target. Returns how many there are.
fn follow(mut seen: Observation, target: &Version, offered: &[Version]) -> usize {
    let mut steps = 0;
    while let Decision::Go(Action::Upgrade(path), _) = decided(&seen) {
        let from = seen.agent.package.version.clone();
        let next = path.next().unwrap().clone();
        let step = || {
            let (cluster, limits) = (&seen.cluster, &seen.limits);
            format!("{from} -> {next} -> {target}, {cluster:?}, {limits:?}")
        };
        let one_major = next.major().abs_diff(from.major()) <= 1;
        assert!(one_major, "two major versions at once: {}", step());
        let between = next > from && next < *target && offered.contains(&next);
        assert!(next == *target || between, "a detour: {}", step());
        let allowed = seen.limits.prerelease || !next.is_pre_release();
        assert!(allowed, "a pre-release: {}", step());
        if let Some(Cluster::Runs(runs, _)) = &seen.cluster {
            let least = runs.major() - 1;
            assert!(next <= *runs, "newer than the cluster: {}", step());
            assert!(target.major() >= least, "too old a target: {}", step());
            // An agent that is too old already comes nearer at least.
            let nearer = from.major() < least && next.major() > from.major();
            assert!(next.major() >= least || nearer, "left behind: {}", step());
        }
        if let Some(pin) = &seen.limits.pin {
            let kept = pin.allows(&next) || !pin.allows(&from);
            assert!(pin.allows(target) && kept, "off its pin: {}", step());
        }
        // A version that failed here is not tried again, whatever the target was.
        let failed = FailedTarget {
            target: next.clone(),
            goal: path.goal().cloned(),
            ..failed("1.0.0").unwrap()
        };
        seen.history.failed = Some(failed.clone());
        assert_eq!(decided(&seen), Decision::Skip(failed));
        seen.history.failed = None;
        seen.agent.package.version = next;
        steps += 1;
        assert!(steps <= 6, "no end: {target}");
    }
    let installed = &seen.agent.package.version;
    assert!(
        steps == 0 || installed == target,
        "stuck at {installed} before {target}"
    );
    steps
}

/// Every sequence of decisions, with any target, cluster and limits at each of them, consists of these steps.
#[test]
fn no_sequence_of_decisions_leaves_the_limits() {
    let world = world();
    let clusters: Vec<Cluster> = world
        .iter()
        .map(|version| cluster(&version.to_string()))
        .chain([cluster("-")])
        .collect();
    let pins: Vec<Option<Pin>> = ["-", "11", "13", "13.1.0"].map(pin).to_vec();
    // Everything, nothing, or everything but one major version.
    let without = |major: u64| {
        world
            .iter()
            .filter(|version| version.major() != major)
            .cloned()
            .collect()
    };
    let offers: Vec<Vec<Version>> = [world.clone(), Vec::new()]
        .into_iter()
        .chain((11..=14).map(without))
        .collect();
    let pairs = world
        .iter()
        .flat_map(|from| world.iter().map(move |to| (from, to)));
    let (mut went, mut stayed, mut longest) = (0, 0, 0);
    for (installed, target) in pairs {
        for cluster in &clusters {
            for (pin, prerelease) in pins.iter().flat_map(|pin| [(pin, false), (pin, true)]) {
                for offered in &offers {
                    let (cluster, pin) = (cluster.clone(), pin.clone());
                    let mut seen = host(installed, target, cluster, pin, prerelease);
                    seen.offer = Some(Offer::Versions(offered.clone(), String::new()));
                    let steps = follow(seen, target, offered);
                    *(if steps > 0 { &mut went } else { &mut stayed }) += 1;
                    longest = longest.max(steps);
                }
            }
        }
    }
    // Otherwise this test would show nothing.
    assert!(
        went > 10_000 && stayed > 10_000 && longest == 5,
        "{went} {stayed} {longest}"
    );
}
