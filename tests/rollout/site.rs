//! Real hosts with a version server of their own: nginx, `publish`, `advance` run by systemd, and Prometheus with a node_exporter for
//! each host. The version server is set up by the commands of its README.

use crate::version_server::{METRICS, ROLLOUT, often, version_server};
use crate::{project, tool};
use host::network::Network;
use host::{Host, Package, Ran, Server};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use std::fs::{self, File};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One host is enough for the first step; every host of a step must be healthy before the next, and none may fail.
const OPTIONS: &str = "--steps 1,25,100 --min-time 2s --min-hosts 1 --min-share 100 --max-failed 0 --max-failed-percent 1";
/// A long timeout, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The hosts and their version server. Field order: the programs that serve the hosts are dropped first.
pub struct Site {
    prometheus: Option<Program>,
    exporters: Vec<Option<Program>>,
    _forwarders: Vec<Server>,
    /// The hosts.
    pub hosts: Vec<Host>,
    server: Host,
}

impl Site {
    /// Hosts with these machine IDs and open windows, which run a version that is published at 100 %. Their repository has `packages`.
    pub fn new(version: &str, ids: &[String], packages: &[Package]) -> Site {
        let server = version_server();
        let hosts: Vec<Host> = thread::scope(|scope| {
            let boot = |id: &String| {
                let id = id.clone();
                scope.spawn(move || Host::with_agent_and_id(version, &id))
            };
            let booting: Vec<_> = ids.iter().map(boot).collect();
            booting
                .into_iter()
                .map(|host| host.join().unwrap())
                .collect()
        });
        hosts[0].repository.publish(packages);
        let forwarders = hosts.iter().map(|host| {
            set_up(host);
            host.packages
                .directory(host.manager.served_below(), hosts[0].repository.root());
            let network = server.network.clone();
            host.releases.stop();
            Server::raw(&host.network, "127.0.0.1:443", move |client| {
                let _ = forward(&network, &client);
            })
        });
        let mut site = Site {
            prometheus: None,
            exporters: Vec::new(),
            _forwarders: forwarders.collect(),
            hosts,
            server,
        };
        site.exporters = (0..=site.hosts.len())
            .map(|number| Some(site.exporter(number)))
            .collect();
        site.start_prometheus();
        site.publish(&[version]);
        site.configure_rollout("");
        site
    }

    // The version server.

    /// Publishes, as a member of the group releases.
    pub fn publish(&self, arguments: &[&str]) {
        let command = [&["publish", "/srv/releases/prod"], arguments].concat();
        let ran = self.server.command(&command).user("releases");
        ran.run().expect(0);
    }

    /// The percentage that nginx serves.
    pub fn percent(&self) -> String {
        let text = self.server.read("/srv/releases/prod/rollout").unwrap();
        text.trim().into()
    }

    /// The reason of a halt.
    pub fn halted(&self) -> Option<String> {
        self.server.read("/srv/releases/.prod.halted")
    }

    /// Sets options of `advance`, in addition to those for a small and fast fleet.
    pub fn configure_rollout(&self, options: &str) {
        let text = format!("OPTIONS={OPTIONS} --metrics {METRICS} {options}\n");
        self.server.write("/etc/teleport-rollout/prod", &text);
    }

    /// What `advance` has logged so far.
    pub fn journal(&self) -> String {
        self.server.run(&["journalctl", "--sync"]).expect(0);
        self.server.journal(&format!("{ROLLOUT}.service"))
    }

    /// Runs `advance` once with systemd, and returns its log lines.
    fn advance(&self) -> String {
        let before = self.journal().len();
        let unit = format!("{ROLLOUT}.service");
        // The start limit of systemd does not apply.
        self.server.run(&["systemctl", "reset-failed", &unit]);
        self.server.run(&["systemctl", "start", &unit]);
        self.journal().split_off(before)
    }

    /// Runs `advance` until it logs `part`, which may take several scrapes. Earlier runs must change nothing; afterwards the channel is
    /// at `percent`.
    #[track_caller]
    pub fn expect(&self, part: &str, percent: &str) {
        let (before, started) = (self.percent(), Instant::now());
        loop {
            let logged = self.advance();
            if logged.contains(part) {
                assert_eq!(self.percent(), percent, "{logged}");
                return;
            }
            assert_eq!(self.percent(), before, "without {part:?}: {logged}");
            assert!(started.elapsed() < PATIENCE, "never {part:?}: {logged}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Starts the timers of the hosts and of the version server, or stops them and waits for their runs.
    pub fn timers(&self, start: bool) {
        let word = if start { "start" } else { "stop" };
        let hosts = self.hosts.iter().map(|host| (host, "teleport-upgrade"));
        for (host, unit) in hosts.chain([(&self.server, ROLLOUT)]) {
            host.run(&["systemctl", word, &format!("{unit}.timer")])
                .expect(0);
            host.wait_for("a run to end", PATIENCE, || {
                start || host.property(&format!("{unit}.service"), "ActiveState") != "activating"
            });
        }
    }

    // The hosts.

    /// A check of every host, all at the same time.
    pub fn run_all(&self) -> Vec<Ran> {
        let all: Vec<usize> = (0..self.hosts.len()).collect();
        self.run(&all)
    }

    /// A check of some hosts, all at the same time.
    pub fn run(&self, numbers: &[usize]) -> Vec<Ran> {
        thread::scope(|scope| {
            let check = |number: &usize| {
                let host = &self.hosts[*number];
                scope.spawn(|| host.upgrader("run"))
            };
            let checks: Vec<_> = numbers.iter().map(check).collect();
            checks.into_iter().map(|ran| ran.join().unwrap()).collect()
        })
    }

    /// The hosts that ever tried a version, by their histories.
    pub fn tried(&self, version: &str) -> Vec<usize> {
        let tried = |host: &Host| {
            let history = host.run(&["teleport-upgrade", "history", "--json"]);
            let history: Value = serde_json::from_str(&history.expect(0).stdout).unwrap();
            let changes = history["changes"].as_array().unwrap();
            changes.iter().any(|change| change["to"] == version)
        };
        (0..self.hosts.len())
            .filter(|number| tried(&self.hosts[*number]))
            .collect()
    }

    /// The hosts that have a version, by their metrics.
    pub fn report(&self, version: &str) -> Vec<usize> {
        let label = format!("installed=\"{version}\"");
        let reports = |host: &Host| {
            let text = host.read(&format!("{METRICS}/teleport-upgrade.prom"));
            text.is_some_and(|text| text.contains(&label))
        };
        (0..self.hosts.len())
            .filter(|number| reports(&self.hosts[*number]))
            .collect()
    }

    // Prometheus.

    /// Starts Prometheus, with its stored data.
    pub fn start_prometheus(&mut self) {
        let directory = self.server.directory().join("prometheus");
        fs::create_dir_all(&directory).unwrap();
        let targets: String = (0..self.exporters.len())
            .map(|number| {
                let address = address(number);
                let name = if number == self.hosts.len() {
                    "releases:9100".into()
                } else {
                    name(number)
                };
                format!("{{targets: ['{address}'], labels: {{instance: '{name}'}}}}, ")
            })
            .collect();
        // After a scrape that timed out, the host is missing until the next scrape.
        let settings = format!(
            "global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 2s}}\n\
             rule_files: ['{}']\n\
             scrape_configs: [{{job_name: node, static_configs: [{targets}]}}]\n",
            project("packaging/alerts.yml").display()
        );
        fs::write(directory.join("prometheus.yml"), settings).unwrap();
        let mut command = self.tool("prometheus");
        command
            .current_dir(&directory)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .args(["--web.listen-address=127.0.0.1:9090", "--log.level=warn"]);
        self.prometheus = Some(Program::start(&mut command, &directory.join("log")));
        self.server.wait_for("Prometheus", PATIENCE, || {
            let text = self.fetch(&["http://127.0.0.1:9090/-/ready"]);
            text.contains("Ready")
        });
        // A host that stops reporting before its first scrape would count as reporting for another five minutes.
        let first = format!("timestamp(up) > {}", now());
        self.wait_for(&first, self.exporters.len());
    }

    /// Kills Prometheus.
    pub fn stop_prometheus(&mut self) {
        self.prometheus = None;
    }

    /// Stops or starts the node_exporters of hosts, and waits until Prometheus shows the result.
    pub fn set_reporting(&mut self, numbers: &[usize], reports: bool) {
        for number in numbers {
            self.exporters[*number] = None;
            self.exporters[*number] = reports.then(|| self.exporter(*number));
        }
        let up = self.exporters.iter().flatten().count();
        self.wait_for("up == 1", up);
        self.wait_for("up == 0", self.exporters.len() - up);
    }

    /// Waits before the next check of a condition.
    pub fn wait_for_change(&self) {
        thread::sleep(Duration::from_millis(200));
    }

    /// Waits for a query to have so many results.
    #[track_caller]
    pub fn wait_for(&self, query: &str, results: usize) {
        let what = format!("{results} results of {query}");
        self.server.wait_for(&what, PATIENCE, || {
            thread::sleep(Duration::from_millis(100));
            self.query(query).len() == results
        });
    }

    /// The results of a query.
    pub fn query(&self, query: &str) -> Vec<Value> {
        self.ask("query", &[&format!("query={query}")])
    }

    /// The results of a query for each second of a time range.
    pub fn query_range(&self, query: &str, start: f64, end: f64) -> Vec<Value> {
        let times = [format!("start={start}"), format!("end={end}")];
        let query = format!("query={query}");
        self.ask("query_range", &[&query, &times[0], &times[1], "step=1"])
    }

    fn ask(&self, what: &str, parameters: &[&str]) -> Vec<Value> {
        let url = format!("http://127.0.0.1:9090/api/v1/{what}");
        let parameters = parameters
            .iter()
            .flat_map(|text| ["--data-urlencode", *text]);
        let text = self.fetch(&parameters.chain([&*url]).collect::<Vec<_>>());
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(answer["status"], "success", "{what}: {text}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    fn fetch(&self, arguments: &[&str]) -> String {
        let mut curl = self.server.network.command("curl");
        let output = curl.arg("--silent").args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The node_exporter of a host, or of the version server behind them, in the network of the version server.
    fn exporter(&self, number: usize) -> Program {
        let host = self.hosts.get(number).unwrap_or(&self.server);
        let metrics = host.directory().join("root").join(&METRICS[1..]);
        let mut command = self.tool("prometheus-node-exporter");
        command
            .args(["--collector.disable-defaults", "--collector.textfile"])
            .arg("--web.disable-exporter-metrics")
            .arg(format!("--web.listen-address={}", address(number)))
            .arg(format!(
                "--collector.textfile.directory={}",
                metrics.display()
            ));
        let log = format!("exporter-{number}");
        Program::start(&mut command, &self.server.directory().join(log))
    }

    /// A program of this machine in the version server's network; it ends with this process.
    fn tool(&self, name: &str) -> Command {
        let mut command = self.server.network.command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(tool(name));
        command
    }
}

/// The time, in seconds since 1970.
pub fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs_f64().floor()
}

/// The instance label of a host in Prometheus.
pub fn name(number: usize) -> String {
    format!("host-{}:9100", number + 1)
}

/// Where Prometheus finds the metrics of a host.
fn address(number: usize) -> String {
    format!("127.0.1.{}:9100", number + 1)
}

/// A program; it ends when this is dropped.
struct Program(Child);

impl Program {
    fn start(command: &mut Command, log: &Path) -> Program {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let error = log.try_clone().unwrap();
        Program(command.stdout(log).stderr(error).spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sets up a host that follows the channel, writes metrics, upgrades at once and verifies quickly.
fn set_up(host: &Host) {
    fs::create_dir_all(host.path(METRICS)).unwrap();
    host.configure("metrics", &format!("{METRICS}\n"));
    host.configure("endpoint", "releases.example.com/prod\n");
    host.configure("observe-seconds", "1\n");
    host.agent_settings(&["dead-child=noticed"]);
    host.open_window();
    often(host, "teleport-upgrade");
    host.run(&["systemctl", "daemon-reload"]).expect(0);
}

/// Forwards a connection from a host's network to nginx.
fn forward(network: &Network, client: &TcpStream) -> io::Result<()> {
    let server = network.connect("127.0.0.1:443")?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Write)
    });
    let _ = io::copy(&mut &*client, &mut &server);
    let _ = server.shutdown(Shutdown::Write);
    back.join().unwrap()
}

/// Where a machine is in the rollout of a version, as the documents have it.
pub fn position(id: &str, version: &str) -> f64 {
    let hash = digest(&SHA256, format!("{id} {version}").as_bytes());
    let first: [u8; 8] = hash.as_ref()[..8].try_into().unwrap();
    100.0 * u64::from_be_bytes(first) as f64 / 2_f64.powi(64)
}

/// A machine ID that has these positions in the rollouts of some versions.
pub fn machine_id(seed: usize, places: &[(&str, Range<f64>)]) -> String {
    let candidates = (0_u32..).map(|number| {
        let hash = digest(&SHA256, format!("{seed} {number}").as_bytes());
        let id = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}"));
        id.collect::<String>()
    });
    let fits = |id: &String| {
        places
            .iter()
            .all(|(version, range)| range.contains(&position(id, version)))
    };
    { candidates }.find(fits).unwrap()
}
