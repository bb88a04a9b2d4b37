//! Prometheus and node_exporter, one pair for all tests that run at the same time.

use crate::tool;
use serde_json::Value;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Both servers, until the last test has let go of them.
pub struct Prometheus {
    directory: TempDir,
    url: String,
    exporter: String,
    stop: Option<(Sender<()>, JoinHandle<()>)>,
}

static RUNNING: Mutex<Weak<Prometheus>> = Mutex::new(Weak::new());

impl Prometheus {
    /// The running pair, or a new one.
    pub fn get() -> Arc<Prometheus> {
        let mut running = RUNNING
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Prometheus::start());
            *running = Arc::downgrade(&new);
            new
        })
    }

    fn start() -> Prometheus {
        let directory = tempfile::tempdir().unwrap();
        let (exporter, own) = (free_address(), free_address());
        fs::create_dir(directory.path().join("metrics")).unwrap();
        // A scrape that is not done in time has the hosts vanish until the next.
        let settings = format!(
            "global: {{scrape_interval: 3s, scrape_timeout: 3s}}\n\
             scrape_configs: [{{job_name: node, honor_labels: true, static_configs: [{{targets: ['{exporter}']}}]}}]\n"
        );
        fs::write(directory.path().join("prometheus.yml"), settings).unwrap();
        let (stop, stopped) = channel();
        let keeper = {
            let (directory, exporter, own) = (
                directory.path().to_path_buf(),
                exporter.clone(),
                own.clone(),
            );
            thread::spawn(move || keep(&directory, &exporter, &own, &stopped))
        };
        let new = Prometheus {
            directory,
            url: format!("http://{own}"),
            exporter: format!("http://{exporter}/metrics"),
            stop: Some((stop, keeper)),
        };
        new.wait("Prometheus", || {
            new.get_path("/-/ready")
                .is_some_and(|text| text.contains("Ready"))
        });
        new
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where node_exporter looks for files.
    pub fn metrics(&self) -> PathBuf {
        self.directory.path().join("metrics")
    }

    /// Writes a file for node_exporter, at one stroke.
    pub fn write(&self, file: &str, text: &str) {
        let new = self.metrics().join(format!("{file}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.metrics().join(file)).unwrap();
    }

    /// Waits until Prometheus has all that was written before.
    pub fn scraped(&self, who: &str) {
        let now = Instant::now().duration_since(*STARTED).as_nanos();
        // node_exporter reads in order of the names: what it reads after this one is as new.
        let name = who.replace('-', "_");
        self.write(&format!("0-{who}.prom"), &format!("marker_{name} {now}\n"));
        self.wait("a scrape", || {
            let found = self.query(&format!("marker_{name}"));
            found.first().is_some_and(|sample| {
                sample["value"][1]
                    .as_str()
                    .and_then(|value| value.parse::<f64>().ok())
                    == Some(now as f64)
            })
        });
        let own = self.fetch(&self.exporter).unwrap_or_default();
        assert!(
            own.contains("node_textfile_scrape_error 0"),
            "node_exporter could not read a file:\n{own}"
        );
    }

    /// What Prometheus answers to a query.
    pub fn query(&self, query: &str) -> Vec<Value> {
        let output = Command::new("curl")
            .args(["--silent", "--data-urlencode", &format!("query={query}")])
            .arg(format!("{}/api/v1/query", self.url))
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    fn get_path(&self, path: &str) -> Option<String> {
        self.fetch(&format!("{}{path}", self.url))
    }

    fn fetch(&self, url: &str) -> Option<String> {
        let output = Command::new("curl")
            .args(["--silent", url])
            .output()
            .unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits for what is sure to come on a machine that works; what the servers said is in the failure.
    fn wait(&self, what: &str, mut there: impl FnMut() -> bool) {
        let started = Instant::now();
        while !there() {
            if started.elapsed() > Duration::from_secs(120) {
                let said = ["exporter.log", "prometheus.log"]
                    .map(|log| fs::read_to_string(self.directory.path().join(log)));
                panic!("waited in vain for {what}: {said:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

static STARTED: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

impl Drop for Prometheus {
    fn drop(&mut self) {
        if let Some((stop, keeper)) = self.stop.take() {
            drop(stop);
            let _ = keeper.join();
        }
    }
}

/// Runs both until nobody needs them. They end with this thread too, so that a killed test leaves nothing behind.
fn keep(directory: &Path, exporter: &str, own: &str, stopped: &Receiver<()>) {
    let mut children = [
        spawn(
            directory,
            "exporter.log",
            Command::new("setpriv")
                .args(["--pdeathsig", "KILL"])
                .arg(tool("prometheus-node-exporter"))
                .args([
                    "--collector.disable-defaults",
                    "--collector.textfile",
                    "--web.disable-exporter-metrics",
                ])
                .arg(format!("--web.listen-address={exporter}"))
                .arg(format!(
                    "--collector.textfile.directory={}",
                    directory.join("metrics").display()
                )),
        ),
        spawn(
            directory,
            "prometheus.log",
            Command::new("setpriv")
                .args(["--pdeathsig", "KILL"])
                .arg(tool("prometheus"))
                .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
                .arg("--log.level=warn")
                .arg(format!("--web.listen-address={own}")),
        ),
    ];
    let _ = stopped.recv();
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn spawn(directory: &Path, log: &str, command: &mut Command) -> Child {
    let log = File::create(directory.join(log)).unwrap();
    command
        .current_dir(directory)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// An address at which nothing listens.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
