//! The model of systemd's timer beside a real systemd: many timers with the settings of ours, a minute of theirs a second of it.

use super::timer::{Random, Running, Timer};
use host::Host;
use std::path::Path;
use std::thread;
use std::time::Duration;

const TIMERS: usize = 60;
/// How long they run, in seconds.
const LENGTH: f64 = 240.0;
/// A minute becomes a second.
const SCALE: f64 = 60.0;

/// Prints when passes began, by systemd and by the model.
pub fn measure() {
    let unit =
        Timer::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/teleport-upgrade.timer"));
    let scaled = Timer {
        first: unit.first / SCALE,
        pause: unit.pause / SCALE,
        random: unit.random / SCALE,
        accuracy: unit.accuracy / SCALE,
        fixed: unit.fixed,
    };
    let real = by_systemd(scaled);
    let model = by_model(scaled);
    println!("\n{TIMERS} timers for {LENGTH} s, started at once, with {scaled:?}");
    println!(
        "| | passes | from one to the next: least, mean, most (s) | passes in the first, second, third {:.0} s |",
        scaled.random
    );
    println!("| --- | --: | --: | --: |");
    for (name, passes) in [("systemd", real), ("model", model)] {
        let gaps: Vec<f64> = passes
            .iter()
            .flat_map(|times| times.windows(2).map(|pair| pair[1] - pair[0]))
            .collect();
        let (least, most) = gaps.iter().fold((f64::MAX, 0.0_f64), |(least, most), gap| {
            (least.min(*gap), most.max(*gap))
        });
        let count = gaps.iter().map(|_| 1.0).sum::<f64>();
        let within = |turn: f64| {
            let from = scaled.first + turn * scaled.random;
            passes
                .iter()
                .flatten()
                .filter(|time| (from..from + scaled.random).contains(*time))
                .count()
        };
        println!(
            "| {name} | {} | {least:.1}, {:.1}, {most:.1} | {}, {}, {} |",
            passes.iter().map(Vec::len).sum::<usize>(),
            gaps.iter().sum::<f64>() / count,
            within(0.0),
            within(1.0),
            within(2.0)
        );
    }
}

fn by_systemd(timer: Timer) -> Vec<Vec<f64>> {
    let host = Host::new();
    let fixed = if timer.fixed { "yes" } else { "no" };
    host.write(
        "/etc/systemd/system/tick@.timer",
        &format!(
            "[Timer]\nOnActiveSec={}\nOnUnitInactiveSec={}\nRandomizedDelaySec={}\nAccuracySec={}\nFixedRandomDelay={fixed}\n",
            timer.first, timer.pause, timer.random, timer.accuracy
        ),
    );
    host.write(
        "/etc/systemd/system/tick@.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'read now rest </proc/uptime; echo %i $now >>/run/ticks'\n",
    );
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    let began: f64 = host
        .shell("read now rest </proc/uptime; echo $now")
        .stdout
        .trim()
        .parse()
        .unwrap();
    host.shell(&format!(
        "systemctl start $(seq -f 'tick@%.0f.timer' 1 {TIMERS})"
    ))
    .expect(0);
    thread::sleep(Duration::from_secs_f64(LENGTH));
    let mut passes = vec![Vec::new(); TIMERS];
    for line in host.read("/run/ticks").unwrap_or_default().lines() {
        let (timer, time) = line.split_once(' ').unwrap();
        passes[timer.parse::<usize>().unwrap() - 1].push(time.parse::<f64>().unwrap() - began);
    }
    passes
}

fn by_model(timer: Timer) -> Vec<Vec<f64>> {
    let mut random = Random(1);
    let host = |_| {
        let running = Running::new(timer, &mut random);
        let mut times = Vec::new();
        let mut now = running.first(0.0, &mut random);
        while now < LENGTH {
            times.push(now);
            now = running.next(now, &mut random);
        }
        times
    };
    (0..TIMERS).map(host).collect()
}
