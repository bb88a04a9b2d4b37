//! A fleet of hosts, simulated with the very settings of the timer and the very code that decides.
//!
//!     cargo run --release --example simulate [DIRECTORY]
//!
//! Prints what a version server and a package server see, and draws it as SVG files in the directory. Time goes by in events; what a
//! run asks and does is what `policy::decide` says. The timer is modelled after systemd: it elapses so long after the timer was
//! started, or after the last run ended, and a delay is drawn again each time (or, with `FixedRandomDelay=`, once for each host);
//! `AccuracySec=` then moves it to a point of a grid that every host has for itself. `tests/perf/all timer` compares that with a real one.

#![allow(
    clippy::unwrap_used,
    reason = "what goes wrong here ends it, as it should"
)]

mod chart;
mod fleet;
mod timer;

use chart::{Chart, Line};
use fleet::{Boot, Fleet, Outcome};
use std::path::{Path, PathBuf};
use timer::Timer;

/// A minute, in seconds.
const MINUTE: f64 = 60.0;
const HOUR: usize = 60;
const DAY: usize = 24 * HOUR;
/// What a run that finds the host up to date sends and receives, headers and acknowledgements included; `perf pass` measures it.
const BYTES: f64 = 3051.0;

fn main() {
    let directory: PathBuf = std::env::args()
        .nth(1)
        .unwrap_or("tests/perf".into())
        .into();
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/teleport-upgrade.timer");
    let timer = Timer::read(&unit);
    choose(timer);
    idle(timer);
    upgrade(timer, &directory);
    boot(timer, &directory);
}

/// What other delays would do.
fn choose(ours: Timer) {
    println!("Delays, 1 000 000 hosts that have nothing to do:\n");
    println!(
        "| pause + random delay, min | passes a day | longest from one run to the next | peak / mean, all booted at once |"
    );
    println!("| --- | --: | --: | --: |");
    let timer = |pause: f64, random, fixed| Timer {
        pause: pause * MINUTE,
        random: random * MINUTE,
        fixed,
        ..ours
    };
    for candidate in [
        timer(30.0, 15.0, false),
        timer(30.0, 15.0, true),
        timer(25.0, 30.0, false),
        timer(25.0, 30.0, true),
        timer(27.0, 30.0, false),
        timer(27.0, 30.0, true),
        timer(15.0, 42.0, false),
        timer(15.0, 42.0, true),
    ] {
        let fleet = Fleet {
            hosts: 1_000_000,
            timer: candidate,
            boot: Boot::AtOnce,
            release: None,
            prefetch: true,
        };
        let seen = fleet.run(DAY);
        let mark = if candidate == ours { " (ours)" } else { "" };
        println!(
            "| {:.0} + {:.0}{}{mark} | {:.1} | {:.1} min | {:.2} |",
            candidate.pause / MINUTE,
            candidate.random / MINUTE,
            if candidate.fixed {
                ", fixed for each host"
            } else {
                ""
            },
            sum(&seen.requests) / 1e6,
            seen.longest_gap / MINUTE,
            seen.peak_to_mean(5),
        );
    }
}

/// What a version server sees on a day without a release.
fn idle(timer: Timer) {
    println!("\nA day without a release:\n");
    println!(
        "| hosts | booted | requests a second, mean | peak minute | peak / mean (5 min) | bytes a day | longest from one run to the next |"
    );
    println!("| --: | --- | --: | --: | --: | --: | --: |");
    for hosts in [10_000, 100_000, 1_000_000] {
        for boot in [Boot::Spread, Boot::AtOnce] {
            let seen = Fleet {
                hosts,
                timer,
                boot,
                release: None,
                prefetch: true,
            }
            .run(DAY);
            println!(
                "| {hosts} | {} | {:.1} | {:.1} | {:.2} | {:.1} GB | {:.1} min |",
                boot.name(),
                seen.mean(),
                seen.peak(1),
                seen.peak_to_mean(5),
                sum(&seen.requests) * BYTES / 1e9,
                seen.longest_gap / MINUTE,
            );
        }
    }
}

/// A release in the morning, a window of one hour in the night that all hosts share.
fn upgrade(timer: Timer, directory: &Path) {
    println!("\nA release at 8:00, and one window for all hosts from 2:00 to 3:00:\n");
    println!(
        "| hosts | prefetch | requests a second, peak minute | downloads in the busiest minute | of them in the window | restarts in the busiest minute | hosts that missed the window |"
    );
    println!("| --: | --- | --: | --: | --: | --: | --: |");
    let mut drawn: Vec<(bool, Outcome)> = Vec::new();
    for hosts in [10_000, 100_000, 1_000_000] {
        for prefetch in [false, true] {
            let release = Some(fleet::Release {
                at: 8 * HOUR,
                window: 26 * HOUR..27 * HOUR,
            });
            let seen = Fleet {
                hosts,
                timer,
                boot: Boot::Spread,
                release,
                prefetch,
            }
            .run(28 * HOUR);
            println!(
                "| {hosts} | {} | {:.1} | {:.0} | {:.0} % | {:.0} | {} |",
                if prefetch { "yes" } else { "no" },
                seen.peak(1),
                max(&seen.downloads),
                sum(&seen.downloads[26 * HOUR..]) / sum(&seen.downloads) * 100.0,
                max(&seen.restarts),
                seen.not_upgraded,
            );
            if hosts == 1_000_000 {
                drawn.push((prefetch, seen));
            }
        }
    }
    let line = |prefetch: bool, name: &str, of: fn(&Outcome) -> &Vec<u32>| {
        let seen = &drawn.iter().find(|(with, _)| *with == prefetch).unwrap().1;
        Line {
            name: name.into(),
            points: of(seen)[7 * HOUR..]
                .iter()
                .map(|count| f64::from(*count))
                .collect(),
        }
    };
    Chart {
        title: "1 000 000 hosts, a release at 8:00, the window from 2:00 to 3:00".into(),
        across: "time of day".into(),
        up: "hosts a minute".into(),
        start: 7.0,
        lines: vec![
            line(false, "without prefetch: downloads, and restarts", |seen| {
                &seen.downloads
            }),
            line(true, "with prefetch: downloads", |seen| &seen.downloads),
        ],
    }
    .write(&directory.join("upgrade.svg"));
}

/// All hosts boot in the same second, as after a power cut.
fn boot(ours: Timer, directory: &Path) {
    let line = |name: &str, timer| {
        let seen = Fleet {
            hosts: 1_000_000,
            timer,
            boot: Boot::AtOnce,
            release: None,
            prefetch: true,
        }
        .run(8 * HOUR);
        let points = seen
            .requests
            .iter()
            .map(|count| f64::from(*count) / MINUTE)
            .collect();
        Line {
            name: name.into(),
            points,
        }
    };
    let short = Timer {
        pause: 30.0 * MINUTE,
        random: 15.0 * MINUTE,
        ..ours
    };
    let name = |timer: Timer| {
        format!(
            "{:.0} min + up to {:.0} min",
            timer.pause / MINUTE,
            timer.random / MINUTE
        )
    };
    Chart {
        title: "1 000 000 hosts that boot in the same second".into(),
        across: "hours since".into(),
        up: "requests a second".into(),
        start: 0.0,
        lines: vec![
            line(&name(short), short),
            line(&format!("{} (ours)", name(ours)), ours),
        ],
    }
    .write(&directory.join("boot.svg"));
}

fn sum(counts: &[u32]) -> f64 {
    counts.iter().map(|count| f64::from(*count)).sum()
}

fn max(counts: &[u32]) -> f64 {
    counts.iter().copied().max().map_or(0.0, f64::from)
}
