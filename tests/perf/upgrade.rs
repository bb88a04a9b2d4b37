//! The upgrade, beside the same install by the bare package manager.

use super::tools;
use host::{Host, Manager, Package, outside};
use std::fs;
use std::path::Path;
use std::process::Command;

/// How often each is done.
const ROUNDS: usize = 3;
/// What the package has beside the agent, in MB: as hard to pack as a program is, roughly.
const PAYLOAD: usize = 96;
const VERSIONS: [&str; 2] = ["14.3.33", "14.3.34"];
/// Where programs write down what they cost.
const NOTES: &str = "/run/costs";
/// What an upgrade consists of, and the words of a command line by which it is known. The first that fits is it.
const STEPS: [(&str, &[&str]); 6] = [
    ("simulation", &["--simulate"]),
    ("download", &["--download-only", "--downloadonly"]),
    ("signature", &["rpmkeys"]),
    (
        "refresh and list",
        &[
            "update",
            "madison",
            "makecache",
            "repoquery",
            "refresh",
            "search",
        ],
    ),
    ("install", &["install"]),
    ("databases, systemd", &["dpkg-query", "rpm", "systemctl"]),
];

/// Prints the tables.
pub fn measure() {
    println!(
        "\n| upgrade of a package of {PAYLOAD} MB | CPU s, bare | CPU s | more | wall s, bare | wall s | own instructions, million |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: |");
    let steps: Vec<_> = [Manager::Apt, Manager::Yum, Manager::Zypper]
        .into_iter()
        .map(install)
        .collect();
    println!("\n| CPU ms, bare / here | apt | dnf | zypper |\n| --- | --: | --: | --: |");
    for (index, (name, _)) in STEPS.iter().enumerate() {
        let cells: Vec<String> = steps
            .iter()
            .map(|[bare, here]| format!("{:.0} / {:.0}", bare[index], here[index]))
            .collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    downtime();
    refresh();
}

/// Prints a row; what it returns is what each step costs, manually and by the program.
fn install(manager: Manager) -> [[f64; STEPS.len()]; 2] {
    let host = Host::with_agent_from(manager, VERSIONS[0]);
    tools::bring(&host);
    host.configure("lock", "no\n");
    host.configure("observe-seconds", "0\n");
    host.open_window();
    let payload = payload();
    let package = |version| {
        Package::agent("teleport-ent", version).file(
            "/usr/local/share/teleport/payload",
            0o644,
            &payload,
        )
    };
    host.repository.publish(&VERSIONS.map(package));
    let bare = |version| {
        format!(
            "set -e; {}; {}",
            manager.refresh(),
            change(manager, version)
        )
    };
    for (index, version) in VERSIONS.iter().enumerate() {
        host.write(&tools::path(&format!("bare-{index}")), &bare(version));
    }
    let forget = format!(
        "rm -rf {}/*.deb {}/teleport*/packages {}/zypper",
        manager.cache(),
        manager.cache(),
        manager.cache()
    );
    let back = || {
        host.set_version(VERSIONS[1]);
        host.shell(&bare(VERSIONS[0])).expect(0);
        host.shell("systemctl restart teleport.service").expect(0);
        host.shell(&forget);
    };
    let once = |command: &str| -> [f64; 2] {
        back();
        let ran = host
            .run(&["python3", &tools::path("measure.py"), "once", command])
            .expect(0);
        let fields: Vec<f64> = ran
            .stdout
            .split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect();
        [fields[0] / 1000.0, fields[2] / 1000.0]
    };
    let commands = [
        format!("sh {}", tools::path("bare-1")),
        "teleport-upgrade run".to_string(),
    ];
    let mut best = [[f64::MAX; 2]; 2];
    for _ in 0..ROUNDS {
        for (index, command) in commands.iter().enumerate() {
            let [cpu, wall] = once(command);
            best[index] = [best[index][0].min(cpu), best[index][1].min(wall)];
        }
    }
    back();
    let own = "valgrind --tool=callgrind --callgrind-out-file=/tmp/own teleport-upgrade run >/dev/null 2>&1; \
               awk '/^totals:/ { print $2 / 1e6 }' /tmp/own";
    let own: f64 = host.shell(own).expect(0).stdout.trim().parse().unwrap();
    let [[cpu_bare, wall_bare], [cpu, wall]] = best;
    println!(
        "| {manager:?} | {cpu_bare:.2} | {cpu:.2} | {:.2} s, {:.0} % | {wall_bare:.2} | {wall:.2} | {own:.0} |",
        cpu - cpu_bare,
        (cpu / cpu_bare - 1.0) * 100.0
    );
    back();
    note_programs(&host);
    let mut steps = [[f64::MAX; STEPS.len()]; 2];
    for _ in 0..ROUNDS {
        for (index, command) in commands.iter().enumerate() {
            back();
            host.write(NOTES, "");
            host.shell(command).expect(0);
            for (least, cost) in steps[index].iter_mut().zip(costs(&host)) {
                *least = least.min(cost);
            }
        }
    }
    steps
}

/// Has every program that we or ours start write down what it cost; what it begins itself is part of that. Both look for
/// programs in `/usr/sbin` before they do so in `/usr/bin`.
fn note_programs(host: &Host) {
    for name in [
        "apt-get",
        "apt-cache",
        "dpkg-query",
        "dnf",
        "zypper",
        "rpm",
        "rpmkeys",
        "systemctl",
    ] {
        let program = format!(
            "#!/bin/sh\n[ -z \"$NOTED\" ] || exec /usr/bin/{name} \"$@\"\n\
             NOTED=1 exec python3 {} note {NOTES} /usr/bin/{name} \"$@\"\n",
            tools::path("measure.py")
        );
        host.write(&format!("/usr/sbin/{name}"), &program);
        host.run(&["chmod", "755", &format!("/usr/sbin/{name}")])
            .expect(0);
    }
}

/// What each step cost in all, in milliseconds.
fn costs(host: &Host) -> [f64; STEPS.len()] {
    let mut costs = [0.0; STEPS.len()];
    for line in host.shell(&format!("cat {NOTES}")).expect(0).stdout.lines() {
        let (cost, command) = line.split_once(" /usr/bin/").unwrap();
        let is = |words: &&[&str]| {
            words
                .iter()
                .any(|word| command.split(' ').any(|other| other == *word))
        };
        let step = STEPS
            .iter()
            .position(|(_, words)| is(words))
            .unwrap_or_else(|| panic!("{command}: unknown"));
        costs[step] += cost.parse::<f64>().unwrap();
    }
    costs
}

/// What one would type to come to this version.
fn change(manager: Manager, version: &str) -> String {
    match manager {
        Manager::Apt => format!("apt-get -q -y --allow-downgrades install teleport-ent={version}"),
        Manager::Yum | Manager::Dnf5 => format!("dnf -y install teleport-ent-{version}"),
        Manager::Zypper => {
            format!("zypper --non-interactive install --oldpackage teleport-ent={version}")
        }
    }
}

/// Lines that look like nothing in particular.
fn payload() -> String {
    let mut state = 1_u64;
    let mut text = String::with_capacity(PAYLOAD * 1_000_000);
    while text.len() < PAYLOAD * 1_000_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!(
            "{:08x}{:08x}\n",
            state >> 32,
            (state >> 40) & 0xff
        ));
    }
    text
}

/// For how long the agent is not ready, beside what a bare reload or restart costs: of the same program, and of one just installed.
fn downtime() {
    println!(
        "\n| the agent is not ready for at most, ms | manually | manually, after the install | teleport-upgrade |\n| --- | --: | --: | --: |"
    );
    for (name, verb, unit) in [
        ("reload", "reload", true),
        ("restart (no `ExecReload=`)", "restart", false),
    ] {
        let host = Host::with_agent(VERSIONS[0]);
        tools::bring(&host);
        host.configure("observe-seconds", "1\n");
        host.configure("lock", "no\n");
        host.open_window();
        let versions: Vec<String> = (34..=34 + 2 * ROUNDS)
            .map(|patch| format!("14.3.{patch}"))
            .collect();
        let package = |version: &String| {
            let package = Package::agent("teleport-ent", version).behaviour("readyz=ok");
            if unit {
                package
            } else {
                package.without_reload()
            }
        };
        host.repository
            .publish(&versions.iter().map(package).collect::<Vec<_>>());
        host.set_version(&versions[0]);
        host.upgrader("run").expect(0);
        let measured = |command: &str| -> f64 {
            let script = tools::path("downtime.py");
            let words: Vec<&str> = ["python3", &script]
                .into_iter()
                .chain(command.split(' '))
                .collect();
            host.run(&words).expect(0).stdout.trim().parse().unwrap()
        };
        let least = |values: Vec<f64>| values.into_iter().fold(f64::MAX, f64::min);
        let alone = least(
            (0..ROUNDS)
                .map(|_| measured(&format!("systemctl {verb} teleport.service")))
                .collect(),
        );
        let (manual, here) = versions[1..].split_at(ROUNDS);
        let manual = manual.iter().map(|version| {
            let script = format!(
                "set -e; {}; systemctl daemon-reload; systemctl {verb} teleport",
                change(Manager::Apt, version)
            );
            host.write(&tools::path("manual"), &script);
            measured(&format!("sh {}", tools::path("manual")))
        });
        let manual = least(manual.collect());
        let here = here.iter().map(|version| {
            host.set_version(version);
            measured("teleport-upgrade run")
        });
        println!(
            "| {name} | {alone:.1} | {manual:.1} | {:.1} |",
            least(here.collect())
        );
    }
}

/// A refresh of Teleport's index alone, and one of all, with the index of the host's own Debian beside it.
fn refresh() {
    let host = Host::with_agent(VERSIONS[0]);
    tools::bring(&host);
    let packages = mirror(host.repository.root());
    let codename = host
        .shell(". /etc/os-release; echo $VERSION_CODENAME")
        .stdout
        .trim()
        .to_string();
    let source = format!(
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://apt.example.com/debian/mirror {codename} main\n"
    );
    host.write("/etc/apt/sources.list.d/debian.list", &source);
    host.write(
        "/etc/apt/apt.conf.d/99perf",
        "Acquire::Languages \"none\";\n",
    );
    let narrow = "-oDir::Etc::sourcelist=/etc/apt/sources.list.d/teleport.list -oDir::Etc::sourceparts=- -oAPT::Get::List-Cleanup=0 \
                  -oDir::Cache::pkgcache= -oDir::Cache::srcpkgcache= -oAPT::Update::Error-Mode=any";
    host.write(
        &tools::path("full"),
        "rm -rf /var/lib/apt/lists /var/cache/apt/*.bin; exec apt-get -q update",
    );
    host.write(
        &tools::path("narrow"),
        &format!("rm -rf /var/lib/apt/lists/apt.example.com_debian_dists*; exec apt-get -q {narrow} update"),
    );
    let (full, narrow) = (
        format!("sh {}", tools::path("full")),
        format!("sh {}", tools::path("narrow")),
    );
    let ran = host
        .run(&["python3", &tools::path("measure.py"), "5", &full, &narrow])
        .expect(0);
    let times: Vec<Vec<f64>> = ran
        .stdout
        .lines()
        .map(|line| line.split('\t').map(|word| word.parse().unwrap()).collect())
        .collect();
    println!(
        "\n| refresh, with {packages} packages of Debian beside Teleport's | CPU ms | wall ms |\n| --- | --: | --: |"
    );
    println!(
        "| all (`apt-get update`) | {:.0} | {:.0} |",
        times[0][0], times[0][2]
    );
    println!(
        "| Teleport's alone | {:.0} | {:.0} |",
        times[1][0], times[1][2]
    );
    println!(
        "| times as fast | {:.1} | {:.1} |",
        times[0][0] / times[1][0],
        times[0][2] / times[1][2]
    );
}

/// Copies the index of this machine's own Debian below the repository that the host is served; returns how many packages it has.
fn mirror(repository: &Path) -> usize {
    let root = repository.join("mirror");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/perf/mirror");
    outside(Command::new(script).arg(&root))
        .trim()
        .parse()
        .unwrap_or_else(|_| {
            let made: Vec<_> = fs::read_dir(&root).unwrap().flatten().collect();
            panic!("{}: {made:?}", root.display())
        })
}
