//! Thousands of real passes against one nginx with one worker: what becomes of them, and what they cost on both sides.

use super::nginx::{Nginx, cpu};
use super::tools;
use host::Host;

const PASSES: u32 = 3000;
const AT_A_TIME: u32 = 16;

/// Prints a line.
pub fn measure() {
    let host = Host::with_agent("14.3.33");
    host.releases.stop();
    let nginx = Nginx::serve(&host.network, host.directory(), "14.3.33");
    tools::bring(&host);
    let before = (nginx.cpu(), cpu(host.leader()));
    let ran = host
        .run(&[
            "python3",
            &tools::path("load.py"),
            &PASSES.to_string(),
            &AT_A_TIME.to_string(),
        ])
        .expect(0);
    let [failed, spent, took] = ran.stdout.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{ran:?}")
    };
    let spent: f64 = spent.parse().unwrap();
    let per_thousand = |seconds: f64| seconds * 1000.0 / f64::from(PASSES);
    let refused = nginx
        .log()
        .iter()
        .filter(|line| line.split(' ').nth(1) != Some("200"))
        .count();
    println!(
        "\n{PASSES} passes, {AT_A_TIME} at a time, in {took} s: {failed} failed, {refused} requests not answered with 200"
    );
    println!("| CPU seconds for a thousand passes | |\n| --- | --: |");
    println!("| the runs themselves | {:.2} |", per_thousand(spent));
    println!(
        "| systemd, asked about the service | {:.2} |",
        per_thousand(cpu(host.leader()) - before.1)
    );
    println!(
        "| nginx, one worker | {:.2} |",
        per_thousand(nginx.cpu() - before.0)
    );
}
