//! Rollouts of good and bad releases, simulated: for all hosts at once, with percentages that are raised manually, and with `advance`.
//!
//!     cargo run --release --example rollouts [DIRECTORY]
//!
//! Prints how many hosts a bad release hits and how long a good one takes, and draws both as SVG files in the directory. All hosts
//! share one window, from 2:00 to 3:00, which is the worst case, and check by the timer of the unit file. A release comes at 8:00.
//! `advance` looks every 5 minutes; someone who raises percentages manually looks at 9:00 on working days, and judges by the same
//! limits. A host that fails reports it after 2 minutes; a percentage has reached all hosts after one minute, by the cache.

#![allow(
    clippy::unwrap_used,
    reason = "what goes wrong here ends it, as it should"
)]

mod bars;
mod chart;
mod timer;

use bars::Bars;
use chart::{Chart, Line};
use std::path::{Path, PathBuf};
use timer::{Random, Running, Timer};

/// A minute, in seconds.
const MINUTE: f64 = 60.0;
const HOUR: usize = 60;
const DAY: usize = 24 * HOUR;
/// The window of all hosts, in minutes of the day.
const WINDOW: usize = 2 * HOUR;
/// Hosts that fail to upgrade for reasons of their own, whatever the release: this is a guess.
const BACKGROUND: f64 = 0.0005;
/// From an upgrade to the moment at which Prometheus knows how it ended: 40 s to install and verify, a minute to scrape.
const REPORT: usize = 2;
/// Minutes between two looks of `advance`.
const LOOK: usize = 5;
/// Minutes for which caches keep a percentage.
const CACHE: usize = 1;

/// How a version is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    AtOnce,
    Manual,
    Advance,
}

impl Way {
    const ALL: [Way; 3] = [Way::AtOnce, Way::Manual, Way::Advance];

    fn name(self) -> &'static str {
        match self {
            Way::AtOnce => "all hosts at once",
            Way::Manual => "percentages, manually",
            Way::Advance => "advance",
        }
    }
}

/// The options of `advance` that matter here.
#[derive(Clone, Copy)]
struct Rules {
    steps: &'static [f64],
    min_hosts: u32,
    max_failed: u32,
    max_failed_percent: f64,
}

const DEFAULT: Rules = Rules {
    steps: &[1.0, 5.0, 25.0, 100.0],
    min_hosts: 10,
    max_failed: 2,
    max_failed_percent: 0.3,
};

impl Rules {
    fn halts(self, failed: u32, tried: u32) -> bool {
        failed > self.max_failed
            && f64::from(failed) * 100.0 > self.max_failed_percent * f64::from(tried)
    }
}

/// How a rollout went.
#[derive(Default, Clone)]
struct Outcome {
    /// Hosts that failed.
    hit: u32,
    /// Hosts that ever ran the version.
    tried: u32,
    /// The percentage at which it was halted.
    halted: Option<f64>,
    /// Days from the release to the last host's upgrade.
    days: f64,
    /// Hosts that have upgraded by each minute since the release.
    upgraded: Vec<u32>,
}

/// Upgrades of the hosts that one step adds, by the minute of the window.
struct Step {
    percent: f64,
    tried: [u32; HOUR],
    failed: [u32; HOUR],
}

/// When in the window each host checks, as the timer has it.
struct Hosts {
    minutes: Vec<u8>,
}

impl Hosts {
    fn new(hosts: usize, timer: Timer, random: &mut Random) -> Hosts {
        let minutes = (0..hosts)
            .map(|_| {
                let running = Running::new(timer, random);
                let mut now = running.first(-random.up_to(4.0 * 60.0 * MINUTE) - 7200.0, random);
                while now < 0.0 {
                    now = running.next(now, random);
                }
                (now / MINUTE) as u8
            })
            .collect();
        Hosts { minutes }
    }

    /// Whom each step reaches, and who of them fails.
    fn steps(&self, percents: &[f64], fails: f64, random: &mut Random) -> Vec<Step> {
        let step = |percent: &f64| Step {
            percent: *percent,
            tried: [0; HOUR],
            failed: [0; HOUR],
        };
        let mut steps: Vec<Step> = percents.iter().map(step).collect();
        for minute in &self.minutes {
            let position = random.up_to(100.0);
            let reached = steps.iter_mut().find(|step| position < step.percent);
            // Nobody misses a window of an hour: checks are 57 minutes apart at most.
            if let (Some(step), minute @ 0..HOUR) = (reached, usize::from(*minute)) {
                step.tried[minute] += 1;
                step.failed[minute] += u32::from(random.up_to(1.0) < fails);
            }
        }
        steps
    }
}

/// A release at 8:00 of a day, Monday being 0.
fn spread(
    hosts: &Hosts,
    way: Way,
    rules: Rules,
    broken: f64,
    weekday: usize,
    random: &mut Random,
) -> Outcome {
    let percents = if way == Way::AtOnce {
        &[100.0][..]
    } else {
        rules.steps
    };
    let fails = broken + (1.0 - broken) * BACKGROUND;
    let steps = hosts.steps(percents, fails, random);
    let mut outcome = Outcome::default();
    let release = weekday * DAY + 8 * HOUR;
    let mut published = release;
    for step in &steps {
        let opens = (published / DAY + 1) * DAY + WINDOW;
        // By the minute: tried, failed.
        let mut known = vec![(outcome.tried, outcome.hit)];
        let phase = random.up_to(LOOK as f64) as usize;
        let mut ends = HOUR;
        outcome
            .upgraded
            .resize(opens - release, outcome.tried - outcome.hit);
        for minute in 0..HOUR + 2 * LOOK {
            if minute < ends.min(HOUR) {
                outcome.tried += step.tried[minute];
                outcome.hit += step.failed[minute];
                if step.tried[minute] > 0 {
                    outcome.days = (opens + minute - release) as f64 / DAY as f64;
                }
            }
            outcome.upgraded.push(outcome.tried - outcome.hit);
            known.push((outcome.tried, outcome.hit));
            let looks = way == Way::Advance && (minute + phase).is_multiple_of(LOOK);
            let (tried, failed) = known[(minute + 1).saturating_sub(REPORT)];
            if looks && outcome.halted.is_none() && rules.halts(failed, tried) {
                outcome.halted = Some(step.percent);
                ends = minute + CACHE;
            }
        }
        if way == Way::Manual && rules.halts(outcome.hit, outcome.tried) {
            outcome.halted = Some(step.percent);
        }
        let healthy = f64::from(outcome.tried - outcome.hit);
        let needed =
            (hosts.minutes.len() as f64 * step.percent / 200.0).max(f64::from(rules.min_hosts));
        if outcome.halted.is_some() || way != Way::AtOnce && healthy < needed {
            return outcome;
        }
        published = match way {
            Way::AtOnce => break,
            // The first look after 24 hours, which come round by a little each time.
            Way::Advance => published + DAY + LOOK,
            Way::Manual => {
                let mut day = opens / DAY;
                while day % 7 > 4 {
                    day += 1;
                }
                day * DAY + 9 * HOUR
            }
        };
    }
    outcome
}

/// Many rollouts of the same kind.
struct Trials(Vec<Outcome>);

impl Trials {
    fn of(hosts: &Hosts, way: Way, rules: Rules, broken: f64) -> Trials {
        let trials = (20_000_000 / hosts.minutes.len()).clamp(14, 2100);
        let mut random = Random(7);
        let outcomes =
            (0..trials).map(|trial| spread(hosts, way, rules, broken, trial % 7, &mut random));
        Trials(outcomes.collect())
    }

    fn mean(&self, of: impl Fn(&Outcome) -> f64) -> f64 {
        self.0.iter().map(of).sum::<f64>() / self.0.len() as f64
    }

    /// The value that 95 of 100 do not exceed.
    fn most(&self, of: impl Fn(&Outcome) -> u32) -> u32 {
        let mut values: Vec<u32> = self.0.iter().map(of).collect();
        values.sort_unstable();
        values[(values.len() * 95).div_ceil(100) - 1]
    }

    fn halted(&self) -> f64 {
        self.mean(|outcome| f64::from(u8::from(outcome.halted.is_some()))) * 100.0
    }
}

fn main() {
    let directory: PathBuf = std::env::args()
        .nth(1)
        .unwrap_or("tests/perf".into())
        .into();
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/teleport-upgrade.timer");
    let timer = Timer::read(&unit);
    let fleet = |hosts| Hosts::new(hosts, timer, &mut Random(1));
    bad(&fleet, &directory);
    good(&fleet(10_000), &directory);
    limits(&fleet);
}

/// How many hosts a bad release hits.
fn bad(fleet: &dyn Fn(usize) -> Hosts, directory: &Path) {
    println!(
        "A bad release; steps 1, 5, 25, 100 %; a halt takes more than the limit of the hosts that tried. Mean, and 95 of 100 at most:\n"
    );
    println!(
        "| hosts | breaks | spread by | limit | ran it, mean | hit, mean | hit, 95 of 100 | halted, % |"
    );
    println!("| --: | --: | --- | --: | --: | --: | --: | --: |");
    let mut bars = Bars::new("Hosts that a bad release hits, on average; logarithmic scale");
    for count in [10_000, 1_000_000] {
        let hosts = fleet(count);
        for broken in [1.0, 0.05, 0.005] {
            let loose = Rules {
                max_failed: 0,
                max_failed_percent: 1.0,
                ..DEFAULT
            };
            let mut ways: Vec<(Way, Rules)> =
                Way::ALL.into_iter().map(|way| (way, DEFAULT)).collect();
            ways.push((Way::Advance, loose));
            for (way, rules) in ways {
                let trials = Trials::of(&hosts, way, rules, broken);
                let hit = trials.mean(|outcome| f64::from(outcome.hit));
                let limit = if way == Way::AtOnce {
                    String::new()
                } else {
                    format!("{} hosts, {} %", rules.max_failed, rules.max_failed_percent)
                };
                println!(
                    "| {count} | {} % | {} | {limit} | {:.0} | {hit:.1} | {} | {:.0} |",
                    broken * 100.0,
                    way.name(),
                    trials.mean(|outcome| f64::from(outcome.tried)),
                    trials.most(|outcome| outcome.hit),
                    trials.halted(),
                );
                let comma = if limit.is_empty() { "" } else { ", limit " };
                bars.add(
                    &format!("{count} hosts, breaks {} %", broken * 100.0),
                    &format!("{}{comma}{limit}", way.name()),
                    hit,
                );
            }
        }
    }
    bars.write(&directory.join("hit.svg"));
}

/// How long a good release takes.
fn good(hosts: &Hosts, directory: &Path) {
    println!("\nA good release, 10 000 hosts:\n");
    println!("| spread by | days to the last host, mean | worst weekday | halted, % |");
    println!("| --- | --: | --: | --: |");
    let mut lines = Vec::new();
    for way in Way::ALL {
        let trials = Trials::of(hosts, way, DEFAULT, 0.0);
        let complete = Trials(
            trials
                .0
                .iter()
                .filter(|outcome| outcome.halted.is_none())
                .cloned()
                .collect(),
        );
        let worst = complete
            .0
            .iter()
            .map(|outcome| outcome.days)
            .fold(0.0, f64::max);
        println!(
            "| {} | {:.1} | {worst:.1} | {:.1} |",
            way.name(),
            complete.mean(|outcome| outcome.days),
            trials.halted()
        );
        // One that is published on a Thursday.
        let mut random = Random(3);
        let outcome = spread(hosts, way, DEFAULT, 0.0, 3, &mut random);
        let points = (0..7 * 60).map(|point| {
            let minute = point * DAY / 60;
            let count = outcome
                .upgraded
                .get(minute)
                .or(outcome.upgraded.last())
                .unwrap();
            f64::from(*count)
        });
        lines.push(Line {
            name: way.name().into(),
            points: points.collect(),
        });
    }
    Chart {
        title: "A good release, published on a Thursday at 8:00 for 10 000 hosts".into(),
        across: "days since".into(),
        up: "hosts with the new version".into(),
        start: 0.0,
        lines,
    }
    .write(&directory.join("rollout.svg"));
}

/// Which limits make sense for which fleet.
fn limits(fleet: &dyn Fn(usize) -> Hosts) {
    println!(
        "\nLimits of advance; {} % of the hosts fail whatever the release:\n",
        BACKGROUND * 100.0
    );
    println!(
        "| hosts | steps | limit | good release halted, % | days | hit if it breaks 100 % | 5 % | 0.5 % | halted at 5 %, % | at 0.5 %, % |"
    );
    println!("| --: | --- | --- | --: | --: | --: | --: | --: | --: | --: |");
    let usual = DEFAULT.steps;
    let rules = |steps, min_hosts, max_failed, max_failed_percent| Rules {
        steps,
        min_hosts,
        max_failed,
        max_failed_percent,
    };
    for (count, candidates) in [
        (
            50,
            vec![
                rules(usual, 3, 0, 1.0),
                rules(&[10.0, 100.0], 2, 0, 1.0),
                rules(&[10.0, 50.0, 100.0], 2, 0, 1.0),
                rules(&[10.0, 50.0, 100.0], 2, 1, 1.0),
            ],
        ),
        (
            3000,
            vec![
                rules(usual, 10, 0, 1.0),
                rules(usual, 10, 1, 1.0),
                rules(usual, 10, 2, 1.0),
                rules(usual, 10, 2, 0.3),
            ],
        ),
        (
            100_000,
            vec![
                rules(usual, 100, 0, 1.0),
                rules(usual, 100, 2, 1.0),
                rules(usual, 100, 3, 0.2),
                rules(usual, 100, 5, 0.2),
                rules(&[0.1, 1.0, 5.0, 25.0, 100.0], 50, 3, 0.2),
                rules(&[0.1, 1.0, 10.0, 100.0], 50, 3, 0.2),
            ],
        ),
    ] {
        let hosts = fleet(count);
        for rules in candidates {
            let [good, all, some, few] = [0.0, 1.0, 0.05, 0.005]
                .map(|broken| Trials::of(&hosts, Way::Advance, rules, broken));
            let hit = |trials: &Trials| trials.mean(|outcome| f64::from(outcome.hit));
            let complete = good
                .0
                .iter()
                .filter(|outcome| f64::from(outcome.tried) > 0.9 * count as f64);
            let days: Vec<f64> = complete.map(|outcome| outcome.days).collect();
            let mean = if days.len() < good.0.len() / 2 {
                "stuck".into()
            } else {
                format!("{:.1}", days.iter().sum::<f64>() / days.len() as f64)
            };
            let steps: Vec<String> = rules.steps.iter().map(f64::to_string).collect();
            println!(
                "| {count} | {} | {} hosts and {} % | {:.1} | {mean} | {:.1} | {:.1} | {:.1} | {:.0} | {:.0} |",
                steps.join(", "),
                rules.max_failed,
                rules.max_failed_percent,
                good.halted(),
                hit(&all),
                hit(&some),
                hit(&few),
                some.halted(),
                few.halted(),
            );
        }
    }
}
