//! The run that finds the host up to date, beside a shell script that does the same and beside `curl` alone.

use super::nginx::Nginx;
use super::tools;
use host::{Host, outside};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// How often each command is run for its times.
const ROUNDS: usize = 40;

/// What is compared: a name, and the command line.
const SUBJECTS: [(&str, &str); 6] = [
    ("teleport-upgrade", "/usr/sbin/teleport-upgrade run"),
    ("shell updater", "/opt/perf/shell-updater"),
    (
        "curl, both files",
        "curl -sf https://releases.example.com/current/version https://releases.example.com/current/critical",
    ),
    (
        "curl, one file",
        "curl -sf https://releases.example.com/current/version",
    ),
    (
        "bare TLS 1.3 handshake",
        "/opt/perf/handshake releases.example.com 127.0.0.1:443 /opt/perf/authority.pem",
    ),
    (
        "`systemctl show`",
        "systemctl show --property=Id,ActiveState,NRestarts,MainPID teleport.service",
    ),
];

/// Functions of which it is said how many instructions are spent in them and in what they call: a name, and a part of the function's.
const PARTS: [(&str, &str); 5] = [
    (
        "trust store: reading and decoding the file",
        "rustls_native_certs::load_pem_certs",
    ),
    (
        "trust store: parsing its certificates",
        "ureq::tls::rustls::build_config",
    ),
    (
        "TLS handshake",
        "rustls::conn::ConnectionCommon<Data>::complete_io",
    ),
    (
        "command line",
        "clap_builder::parser::parser::Parser::get_matches_with",
    ),
    ("configuration", "config::Config::read"),
];

/// Prints the tables.
pub fn measure() {
    let host = Host::with_agent("14.3.33");
    host.releases.stop();
    let nginx = Nginx::serve(&host.network, host.directory(), "14.3.33");
    tools::bring(&host);
    host.closed_window();
    settle(&host);
    let times = times(&host);
    let costs: Vec<Cost> = SUBJECTS
        .iter()
        .zip(times)
        .map(|((_, command), times)| Cost::of(&host, &nginx, command, times))
        .collect();
    println!("\n| | {} |", SUBJECTS.map(|(name, _)| name).join(" | "));
    println!("| --- |{}", " --: |".repeat(SUBJECTS.len()));
    let row = |name: &str, value: &dyn Fn(&Cost) -> String| {
        println!(
            "| {name} | {} |",
            costs.iter().map(value).collect::<Vec<_>>().join(" | ")
        );
    };
    row("CPU time, median (least), ms", &|cost| {
        format!("{:.1} ({:.1})", cost.times[0], cost.times[1])
    });
    row("in hundredths of the shell updater's", &|cost| {
        format!("{:.0}", cost.times[0] / costs[1].times[0] * 100.0)
    });
    row("wall time, median (least), ms", &|cost| {
        format!("{:.1} ({:.1})", cost.times[2], cost.times[3])
    });
    row("instructions, million", &|cost| {
        format!("{:.1}", cost.instructions / 1e6)
    });
    row("largest process, KiB", &|cost| cost.peak.to_string());
    row("system calls", &|cost| cost.system_calls.to_string());
    row("programs started", &|cost| cost.programs.to_string());
    row("connections, requests", &|cost| {
        format!("{}, {}", cost.wire.connections, cost.wire.requests)
    });
    row("packets, bytes on the wire", &|cost| {
        format!("{}, {}", cost.wire.packets, cost.wire.bytes)
    });
    println!(
        "\nThe program has {} bytes.",
        fs::metadata(host.path("/usr/sbin/teleport-upgrade"))
            .unwrap()
            .len()
    );
    where_it_goes(&host);
}

/// Runs passes until one leaves everything as it is: the first one locks the package, the next ones learn what the database says.
fn settle(host: &Host) {
    let cache = || {
        host.read("/run/teleport-upgrade/cache.json")
            .unwrap_or_default()
    };
    loop {
        let before = cache();
        host.upgrader("run").expect(0);
        if cache() == before && before.contains("\"package_version\"") {
            return;
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// What a command costs.
struct Cost {
    /// CPU time, median and least, and wall time, median and least, in milliseconds.
    times: Vec<f64>,
    instructions: f64,
    system_calls: u64,
    programs: u64,
    /// In KiB.
    peak: u64,
    wire: Wire,
}

impl Cost {
    fn of(host: &Host, nginx: &Nginx, command: &str, times: Vec<f64>) -> Cost {
        let number = |line: &str| -> u64 {
            let ran = host.shell(line).expect(0);
            ran.stdout
                .trim()
                .parse()
                .unwrap_or_else(|_| panic!("{line}: {ran:?}"))
        };
        Cost {
            times,
            instructions: instructions(host, command)
                .iter()
                .map(|(_, count)| count)
                .sum(),
            system_calls: number(&format!(
                "strace -qq -f -c -U calls,name -o /tmp/calls {command} >/dev/null && awk '$2 == \"total\" {{ print $1 }}' /tmp/calls"
            )),
            programs: number(&format!(
                "strace -qq -f -e trace=execve -e status=successful -o /tmp/calls {command} >/dev/null && grep -c execve /tmp/calls"
            )),
            peak: number(&format!(
                "/usr/bin/time -f %M -o /tmp/peak {command} >/dev/null && cat /tmp/peak"
            )),
            wire: Wire::of(host, nginx, command),
        }
    }
}

/// The times of all, taken in turns.
fn times(host: &Host) -> Vec<Vec<f64>> {
    let (script, rounds) = (tools::path("measure.py"), ROUNDS.to_string());
    let mut words = vec!["python3", &script, &rounds];
    words.extend(SUBJECTS.iter().map(|(_, command)| *command));
    let ran = host.run(&words).expect(0);
    ran.stdout
        .lines()
        .map(|line| line.split('\t').map(|word| word.parse().unwrap()).collect())
        .collect()
}

/// Instructions that the command and every program that it starts take, by callgrind; each with its command line.
fn instructions(host: &Host, command: &str) -> Vec<(String, f64)> {
    host.shell("rm -rf /tmp/callgrind; mkdir /tmp/callgrind")
        .expect(0);
    let line = format!(
        "valgrind --tool=callgrind --trace-children=yes --callgrind-out-file=/tmp/callgrind/%p {command} >/dev/null 2>&1"
    );
    host.shell(&line).expect(0);
    let profiles = fs::read_dir(host.path("/tmp/callgrind")).unwrap().flatten();
    let mut counted: Vec<(String, f64)> = profiles
        .map(|profile| {
            let text = fs::read_to_string(profile.path()).unwrap();
            let value = |key: &str| {
                text.lines()
                    .rev()
                    .find_map(|line| line.strip_prefix(key))
                    .unwrap_or_default()
                    .trim()
                    .to_string()
            };
            (value("cmd:"), value("totals:").parse().unwrap_or(0.0))
        })
        .collect();
    counted.sort_by(|one, other| other.1.total_cmp(&one.1));
    counted
}

/// What a command sends and receives.
struct Wire {
    connections: usize,
    requests: usize,
    packets: u64,
    bytes: u64,
}

impl Wire {
    fn of(host: &Host, nginx: &Nginx, command: &str) -> Wire {
        let (requests, packets, bytes) = (nginx.log().len(), traffic(host).0, traffic(host).1);
        host.run(&command.split(' ').collect::<Vec<_>>()).expect(0);
        // The last packets of a connection come after the program has ended.
        thread::sleep(Duration::from_millis(500));
        let log = nginx.log().split_off(requests);
        let mut connections: Vec<&str> = log
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        connections.dedup();
        let (packets_now, bytes_now) = traffic(host);
        Wire {
            connections: connections.len(),
            requests: log.len(),
            packets: packets_now - packets,
            bytes: bytes_now - bytes,
        }
    }
}

/// Packets and bytes that have passed the loopback interface.
fn traffic(host: &Host) -> (u64, u64) {
    let text = outside(host.network.command("cat").arg("/proc/net/dev"));
    let lo = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"))
        .unwrap();
    let numbers: Vec<u64> = lo
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    (numbers[1], numbers[0])
}

/// Prints where the instructions of a run go.
fn where_it_goes(host: &Host) {
    println!("\n| where a run spends its instructions | million |\n| --- | --: |");
    let all = instructions(
        host,
        &format!("{} run", tools::path("teleport-upgrade-with-symbols")),
    );
    let own = all
        .iter()
        .find(|(command, _)| command.contains("with-symbols"))
        .map_or(0.0, |(_, count)| *count);
    let profile = host
        .shell("grep -l '^cmd:.*with-symbols' /tmp/callgrind/*")
        .expect(0)
        .stdout;
    let (found, left) = (
        host.path(profile.trim()),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/perf/callgrind.out"),
    );
    fs::copy(found, &left).unwrap();
    let listed = outside(
        Command::new("callgrind_annotate")
            .args(["--inclusive=yes", "--threshold=100", "--auto=no"])
            .arg(&left),
    );
    let inclusive = |part: &str| {
        let counts = listed.lines().filter(|line| line.contains(part));
        counts
            .filter_map(|line| {
                line.split_whitespace()
                    .next()?
                    .replace(',', "")
                    .parse::<f64>()
                    .ok()
            })
            .fold(0.0, f64::max)
    };
    let mut rest = own;
    for (name, part) in PARTS {
        let count = inclusive(part);
        rest -= count;
        println!("| {name} | {:.2} |", count / 1e6);
    }
    println!(
        "| all else of the program: its loading, HTTP, logging, the decision | {:.2} |",
        rest / 1e6
    );
    for (command, count) in all
        .iter()
        .filter(|(command, _)| !command.contains("with-symbols"))
    {
        println!(
            "| `{}` | {:.2} |",
            command.split(' ').next().unwrap_or_default(),
            count / 1e6
        );
    }
    println!(
        "\n(Function by function: callgrind_annotate --inclusive=yes {})",
        left.display()
    );
}
