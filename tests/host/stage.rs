//! A stage: a host that is not booted. The same files, package manager, network and servers, and the program alone runs on it, with its
//! time and memory measured. It costs a tenth of a second, so that there can be a hundred of them.

use super::debian::System;
use super::layer::{Layer, PACKAGES_SERVER, layer};
use super::manager::Manager;
use super::network::Network;
use super::repository::Repository;
use super::scratch;
use super::server::{Response, Server};
use super::tls::Cert;
use super::{compiled, outside};
use std::fs;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A host with the agent 14.3.33 whose channel wants 14.3.34, outside its maintenance window.
pub struct Stage {
    directory: PathBuf,
    root: PathBuf,
    /// Its network.
    pub network: Network,
    /// The server of the release channel.
    pub releases: Server,
    /// The server of the repository.
    pub packages: Server,
    /// The repository.
    pub repository: Repository,
    /// What is asked of the program.
    pub command: &'static str,
    environment: Vec<(String, String)>,
    before: String,
    others: Vec<Server>,
    programs: Vec<Child>,
    _layer: Arc<OnceLock<Layer>>,
}

/// How the program ended, and what it took.
#[derive(Clone, Debug)]
pub struct Played {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
    /// How much memory it, or one of the programs that it ran, had at most, in KiB.
    pub memory: u64,
}

impl Stage {
    /// Sets it.
    pub fn new() -> Stage {
        Stage::of(Manager::Apt)
    }

    /// The same of another package manager, or of another generation, as in `Generation::Sid.with(Manager::Apt)`.
    pub fn of(system: impl Into<System>) -> Stage {
        let system = system.into();
        let layer_slot = layer(system, Some("14.3.33"));
        let layer = layer_slot.get().unwrap();
        let (directory, _) = scratch::new_host_directory();
        let root = layer.mount(&directory);
        let network = Network::new();
        let repository = layer.repository.copy(&directory.join("repository"));
        let packages = Server::https(&network, PACKAGES_SERVER, Cert::Good);
        packages.directory(system.manager.served_below(), repository.root());
        let releases = Server::https(&network, "127.0.0.1:443", Cert::Good);
        releases.route("/current/version", Response::ok("14.3.34\n"));
        releases.route("/current/critical", Response::ok("no\n"));
        let stage = Stage {
            directory,
            root,
            network,
            releases,
            packages,
            repository,
            command: "dry-run",
            environment: Vec::new(),
            before: String::new(),
            others: Vec::new(),
            programs: Vec::new(),
            _layer: layer_slot,
        };
        stage.export_windows(&[(24, 25), (48, 49)]);
        stage
    }

    /// Where a file of the host's is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Writes a file, in place of whatever has its name.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        let _ = fs::remove_file(&path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a file of the configuration.
    pub fn configure(&self, name: &str, text: impl AsRef<[u8]>) {
        self.write(&format!("/etc/teleport-upgrade.d/{name}"), text);
    }

    /// Exports windows as the agent does: hours from now for the start and the stop of each.
    pub fn export_windows(&self, windows: &[(i64, i64)]) {
        let now = i64::try_from(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs(),
        )
        .unwrap();
        let lines: String = windows
            .iter()
            .map(|(start, stop)| format!("{} {}\n", now + start * 3600, now + stop * 3600))
            .collect();
        self.configure("schedule", lines);
    }

    /// Lines of shell that are run in the host's own mount namespace before the program; `$root` is its file system.
    pub fn before(&mut self, lines: &str) {
        self.before.push_str(lines);
        self.before.push('\n');
    }

    /// Lines of shell on the host's files, on this machine.
    pub fn shell(&self, lines: &str) {
        outside(
            Command::new("sh")
                .args(["-euc", lines])
                .env("root", &self.root),
        );
    }

    /// Sets a variable of the program's environment.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    /// Has the program see another time: seconds since 1970, from where the clock goes on.
    pub fn clock(&mut self, seconds: i64) {
        let library = Path::new("/usr/lib").join(format!(
            "{}-linux-gnu/faketime/libfaketime.so.1",
            std::env::consts::ARCH
        ));
        let needed = "a wrong clock needs the package libfaketime: run tests/setup as root";
        fs::copy(library, self.path("/usr/lib/libfaketime.so")).expect(needed);
        self.env("LD_PRELOAD", "/usr/lib/libfaketime.so");
        self.env("FAKETIME_FMT", "%s");
        self.env("DONT_FAKE_MONOTONIC", "1");
        self.env("FAKETIME_NO_CACHE", "1");
        self.env("FAKETIME_TIMESTAMP_FILE", "/clock");
        self.env("TZ", "UTC");
        self.set_clock(seconds);
    }

    /// Sets the clock of a program that may be running already.
    pub fn set_clock(&self, seconds: i64) {
        set_clock(&self.path("/clock"), seconds);
    }

    /// Drops packets by a rule of nftables, such as `tcp dport 443 drop`.
    pub fn filter(&self, rule: &str) {
        let mut nft = self.network.command("nft");
        nft.arg(format!("table inet test {{\nchain out {{\ntype filter hook output priority 0;\n{rule}\n}}\n}}\n"));
        outside(&mut nft);
    }

    /// Has names looked up at a server at 127.0.0.53, and `releases.example.com` nowhere else.
    pub fn dns(&self) {
        self.write("/etc/resolv.conf", "nameserver 127.0.0.53\n");
        self.write(
            "/etc/hosts",
            "127.0.0.1 localhost\n127.0.0.2 apt.example.com\n127.0.0.3 proxy.example.com\n",
        );
        self.write("/etc/nsswitch.conf", "hosts: files dns\n");
    }

    /// Answers every DNS query with what `answer` makes of it.
    pub fn answer_names(&self, answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) {
        let socket = self
            .network
            .inside(|| UdpSocket::bind("127.0.0.53:53"))
            .unwrap();
        std::thread::spawn(move || {
            let mut question = [0; 1500];
            // Until this process ends: nobody asks any more once the host is gone.
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                let _ = socket.send_to(&answer(&question[..length]), from);
            }
        });
    }

    /// Has another server live as long as the stage.
    pub fn keep(&mut self, server: Server) {
        self.others.push(server);
    }

    /// Answers at the release channel's address with `openssl s_server` in place of the server here, for TLS that rustls cannot speak.
    pub fn openssl(&mut self, arguments: &[&str]) {
        self.releases.stop();
        let mut command = self.network.command("openssl");
        command
            .args(["s_server", "-accept", "127.0.0.1:443", "-quiet", "-HTTP"])
            .args(arguments)
            .current_dir(&self.directory);
        let log = fs::File::create(self.directory.join("s_server.log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("openssl");
        self.programs.push(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.network.connect("127.0.0.1:443").is_err() {
            let log = || fs::read_to_string(self.directory.join("s_server.log")).unwrap();
            assert!(
                Instant::now() < deadline,
                "openssl s_server does not listen: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The directory of this machine that holds it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The version that dpkg lists, and how.
    pub fn installed(&self) -> String {
        let query = [
            "dpkg-query",
            "-W",
            "-f=${db:Status-Abbrev}${Version}",
            "teleport-ent",
        ];
        outside(Command::new("chroot").arg(&self.root).args(query))
            .trim()
            .replace("hi", "ii")
    }

    /// Runs the program to its end.
    pub fn play(&self) -> Played {
        let report = self.directory.join("report");
        let enter = format!(
            "mount -t proc proc \"$root/proc\"\n{}\nexec \"$measure\" \"$report\" timeout -s KILL 120 chroot \"$root\" /usr/bin/env -i \"$@\"",
            self.before
        );
        let mut command = self.network.command("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-euc",
            &enter,
            "sh",
        ]);
        command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]);
        command.args(
            self.environment
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        command.args(["/usr/sbin/teleport-upgrade", self.command]);
        command
            .env("root", &self.root)
            .env("measure", compiled("measure"))
            .env("report", &report)
            .stdin(Stdio::null());
        let output = command.output().expect("nsenter");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let numbers = fs::read_to_string(&report).unwrap_or_default();
        let mut numbers = numbers
            .split_whitespace()
            .map(|number| number.parse::<u64>().unwrap());
        let mut number = || {
            numbers
                .next()
                .unwrap_or_else(|| panic!("the program was not run: {}", text(&output.stderr)))
        };
        Played {
            status: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            elapsed: Duration::from_millis(number()),
            memory: number(),
        }
    }
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::new()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
        self.releases.stop();
        self.packages.stop();
        self.others.clear();
        scratch::end_host(&self.directory);
    }
}

/// Writes the time that a program with another clock sees.
pub fn set_clock(file: &Path, seconds: i64) {
    let new = file.with_extension("new");
    // "@" lets the clock go on from there.
    fs::write(&new, format!("@{seconds}\n")).unwrap();
    fs::rename(new, file).unwrap();
}

/// Says nothing until the other side hangs up.
pub fn silence(stream: &mut dyn std::io::Read) {
    let _ = std::io::copy(stream, &mut std::io::sink());
}

/// Sends bytes one after the other with a pause after each, until the other side hangs up.
pub fn drip(stream: &mut dyn Write, bytes: impl IntoIterator<Item = u8>, pause: Duration) {
    for byte in bytes {
        if stream
            .write_all(&[byte])
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
        std::thread::sleep(pause);
    }
}

/// A server of the bare connection.
pub fn bare(
    network: &Network,
    address: &str,
    serve: impl Fn(TcpStream) + Send + Sync + 'static,
) -> Server {
    Server::raw(network, address, serve)
}
