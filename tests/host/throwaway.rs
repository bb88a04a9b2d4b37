//! A throwaway host: a real Debian with systemd, apt, dnf and zypper, booted in half a second and gone when dropped.

use super::debian::{Generation, System};
use super::layer::{Layer, PACKAGES_SERVER, layer};
use super::machine::Machine;
use super::manager::Manager;
use super::network::Network;
use super::repository::Repository;
use super::run::{Ran, Run, Running};
use super::scratch;
use super::server::{Response, Server};
use super::session;
use super::snapshot::{self, Snapshot};
use super::tls::Cert;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait for what takes no time on a machine that has nothing else to do.
pub const SOON: Duration = Duration::from_secs(30);

/// A host, and the servers it can reach.
pub struct Host {
    name: String,
    directory: PathBuf,
    root: PathBuf,
    /// The host's network.
    pub network: Network,
    /// The server of the release channel, `https://releases.example.com`.
    pub releases: Server,
    /// The generation of Debian that it is of.
    pub generation: Generation,
    /// The package manager that has its agent, and its repository.
    pub manager: Manager,
    /// The server of the repository, `https://apt.example.com` or `https://yum.example.com`.
    pub packages: Server,
    /// The repository.
    pub repository: Repository,
    machine: Option<Machine>,
    _layer: Arc<OnceLock<Layer>>,
}

impl Host {
    /// A host with the program installed, no agent, an empty repository, and a channel that says `none`.
    pub fn new() -> Host {
        Host::of(Manager::Apt)
    }

    /// The same of another generation or package manager, as in `Generation::Sid.with(Manager::Apt)`.
    pub fn of(system: impl Into<System>) -> Host {
        Host::from_layer(system.into(), None, None)
    }

    /// A host that runs the agent of this version, installed from the repository by apt, with a channel that says the
    /// same version, and the program set up to follow that channel.
    pub fn with_agent(version: &str) -> Host {
        Host::with_agent_from(Manager::Apt, version)
    }

    /// The same with another package manager, or of another generation.
    pub fn with_agent_from(system: impl Into<System>, version: &str) -> Host {
        Host::from_layer(system.into(), Some(version), None).wait_for_agent()
    }

    /// A host that runs the agent of this version, installed by apt, whose machine ID is this one.
    pub fn with_agent_and_id(version: &str, id: &str) -> Host {
        Host::from_layer(Manager::Apt.into(), Some(version), Some(id)).wait_for_agent()
    }

    fn wait_for_agent(self) -> Host {
        self.wait_for("an agent that is ready", SOON, || {
            self.root().join(session::SOCKET).exists()
        });
        self
    }

    fn from_layer(system: System, agent: Option<&str>, id: Option<&str>) -> Host {
        let System {
            generation,
            manager,
        } = system;
        let layer_slot = layer(system, agent);
        let layer = layer_slot.get().unwrap();
        let (directory, name) = scratch::new_host_directory();
        let root = layer.mount(&directory);
        fs::write(root.join("etc/hostname"), "host\n").unwrap();
        let id = id.map_or_else(|| machine_id(&name), |id| format!("{id}\n"));
        fs::write(root.join("etc/machine-id"), id).unwrap();
        let network = Network::new();
        let repository = layer.repository.copy(&directory.join("repository"));
        let packages = Server::https(&network, PACKAGES_SERVER, Cert::Good);
        packages.directory(manager.served_below(), repository.root());
        let releases = Server::https(&network, "127.0.0.1:443", Cert::Good);
        let mut host = Host {
            name,
            directory,
            root,
            network,
            releases,
            generation,
            manager,
            packages,
            repository,
            machine: None,
            _layer: layer_slot,
        };
        host.set_version(agent.unwrap_or("none"));
        host.set_critical("no");
        host.boot();
        host
    }

    /// Its name, unique on this machine.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory of this machine that holds all of it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The process of its systemd, in this machine's numbering.
    pub fn leader(&self) -> u32 {
        self.machine().leader()
    }

    // The release channel.

    /// Makes the channel say this version (or anything else).
    pub fn set_version(&self, version: &str) {
        self.releases
            .route("/current/version", Response::ok(format!("{version}\n")));
    }

    /// Makes the channel say whether its version is critical.
    pub fn set_critical(&self, critical: &str) {
        self.releases
            .route("/current/critical", Response::ok(format!("{critical}\n")));
    }

    // Running things.

    /// Runs a command to its end, as root.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).run()
    }

    /// Starts a command, as root.
    pub fn spawn(&self, arguments: &[&str]) -> Running<'_> {
        self.command(arguments).spawn()
    }

    /// A command, to be given an environment, another user and so on before it is run.
    pub fn command(&self, arguments: &[&str]) -> Run<'_> {
        Run::new(self.machine(), arguments)
    }

    /// Runs lines of shell to their end, as root.
    pub fn shell(&self, lines: &str) -> Ran {
        self.run(&["/bin/sh", "-c", lines])
    }

    // Files.

    /// The file system as processes of the host see it, `/run` and `/tmp` included. An absolute symbolic link in it leads
    /// to this machine's files when it is followed; `path` follows them as the host does.
    pub fn root(&self) -> PathBuf {
        self.machine().root()
    }

    /// Where a file of the host is for this process, symbolic links followed as the host does, except the last one.
    pub fn path(&self, path: &str) -> PathBuf {
        resolve(&self.root(), Path::new(path))
    }

    /// Writes a file, making the directories it needs; owner, mode and inode of one that exists stay.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.follow(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Reads a file, if there is one.
    pub fn read(&self, path: &str) -> Option<String> {
        match fs::read(self.follow(path)) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                None
            }
            Err(error) => panic!("read {path}: {error}"),
        }
    }

    /// Removes a file, or a directory with all that is in it, if there is one.
    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).unwrap(),
            Ok(_) => fs::remove_file(path).unwrap(),
            Err(_) => {}
        }
    }

    /// The mode of a file, without its kind.
    pub fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.follow(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    }

    /// Changes the mode of a file.
    pub fn set_mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.follow(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Every file that the host has beyond what it was booted from; two are compared by `assert_unchanged`.
    pub fn snapshot(&self) -> Snapshot {
        snapshot::take(&self.directory.join("upper"), &self.root())
    }

    /// Panics with what has changed since the snapshot was taken, if anything has.
    #[track_caller]
    pub fn assert_unchanged(&self, before: &Snapshot) {
        let difference = snapshot::difference(before, &self.snapshot());
        assert!(
            difference.is_empty(),
            "the host's files have changed:\n{difference}"
        );
    }

    // Services.

    /// A property of a unit, as `systemctl show` gives it: `property("teleport.service", "MainPID")`.
    pub fn property(&self, unit: &str, property: &str) -> String {
        let mut show =
            self.machine()
                .enter(&["systemctl", "show", "--value", "--property", property, unit]);
        super::outside(&mut show).trim().to_owned()
    }

    /// What a unit has logged.
    pub fn journal(&self, unit: &str) -> String {
        super::outside(&mut self.machine().enter(&[
            "journalctl",
            "--quiet",
            "--no-pager",
            "--output=cat",
            "--unit",
            unit,
        ]))
    }

    /// The agent's process, as its pid file has it, in the host's own numbering. One that has just been started writes it soon.
    #[track_caller]
    pub fn agent_pid(&self) -> u32 {
        let mut pid = None;
        self.wait_for("a pid file with a number", SOON, || {
            pid = self
                .read("/run/teleport.pid")
                .and_then(|text| text.trim().parse().ok());
            // A process of a reload that was never ready leaves its number there.
            if pid.is_some_and(|pid| !self.is_alive(pid)) {
                pid = self
                    .property("teleport.service", "MainPID")
                    .parse()
                    .ok()
                    .filter(|pid| *pid != 0);
            }
            pid.is_some()
        });
        pid.unwrap()
    }

    /// Whether a process is alive, by the host's own numbering.
    pub fn is_alive(&self, pid: u32) -> bool {
        self.root().join(format!("proc/{pid}")).exists()
    }

    /// The version that the running agent's process is of, as it logged at its start.
    pub fn running_version(&self) -> String {
        let ending = format!(" started pid {}", self.agent_pid());
        let journal = self.journal("teleport.service");
        let line = journal
            .lines()
            .rev()
            .find_map(|line| line.strip_suffix(&ending));
        line.and_then(|line| line.strip_prefix("Teleport v"))
            .expect("the agent's first line in its log")
            .to_owned()
    }

    /// The version of a package, with dpkg's word for its state: `ii 14.3.33`; what rpm lists is `ii` too.
    pub fn installed(&self, package: &str) -> String {
        if self.manager != Manager::Apt {
            let mut query =
                self.machine()
                    .enter(&["rpm", "-q", "--qf", "ii %{VERSION}\n", package]);
            let output = String::from_utf8_lossy(&query.output().unwrap().stdout)
                .trim()
                .to_owned();
            return if output.ends_with("is not installed") {
                String::new()
            } else {
                output
            };
        }
        let format = "-f=${db:Status-Abbrev}${Version}";
        let mut query = self.machine().enter(&["dpkg-query", "-W", format, package]);
        let said = String::from_utf8_lossy(&query.output().unwrap().stdout)
            .trim()
            .to_owned();
        // Whether a package is on hold is a question of its own.
        said.strip_prefix('h')
            .map_or(said.clone(), |rest| format!("i{rest}"))
    }

    /// Whether apt and dpkg have a package on hold.
    pub fn is_on_hold(&self, package: &str) -> bool {
        self.run(&["apt-mark", "showhold", package])
            .expect(0)
            .stdout
            .trim()
            == package
    }

    // Waiting, and power.

    /// Waits for something to become true; panics with the host's logs if it does not.
    #[track_caller]
    pub fn wait_for(&self, what: &str, limit: Duration, mut is_true: impl FnMut() -> bool) {
        let deadline = Instant::now() + limit;
        while !is_true() {
            assert!(
                Instant::now() < deadline,
                "waited {limit:?} in vain for: {what}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Another https server of the host's network, on an address like `127.0.0.1:8443`.
    pub fn serve(&self, address: &str, cert: Cert) -> Server {
        Server::https(&self.network, address, cert)
    }

    /// Another server of the host's network, without TLS.
    pub fn serve_plain(&self, address: &str) -> Server {
        Server::http(&self.network, address)
    }

    /// Powers the host off in good order and boots it again.
    pub fn reboot(&mut self) {
        self.machine.take().unwrap().power_off();
        self.boot();
    }

    /// Kills all of the host at once and boots it again. What it has written stays, synced or not.
    pub fn crash_and_reboot(&mut self) {
        scratch::kill_host(&self.directory);
        self.machine.take().unwrap().reap();
        self.boot();
    }

    fn boot(&mut self) {
        self.machine = Some(Machine::boot(
            &self.name,
            &self.root,
            &self.network,
            &self.directory.join("console"),
        ));
    }

    fn machine(&self) -> &Machine {
        self.machine.as_ref().expect("the host is booted")
    }

    /// As `path`, with the last symbolic link followed too.
    fn follow(&self, path: &str) -> PathBuf {
        let mut file = self.path(path);
        while let Ok(target) = fs::read_link(&file) {
            let inside = file
                .strip_prefix(self.root())
                .unwrap()
                .parent()
                .unwrap()
                .join(target);
            file = resolve(&self.root(), &inside);
        }
        file
    }

    fn print_logs(&self) {
        let console = fs::read_to_string(self.directory.join("console")).unwrap_or_default();
        eprintln!("--- the end of the host's console:\n{}", tail(&console, 20));
        if let Some(machine) = &self.machine {
            let journal = machine
                .enter(&["journalctl", "--quiet", "--no-pager", "--lines=60"])
                .output();
            let journal = journal.map(|output| output.stdout).unwrap_or_default();
            eprintln!(
                "--- the end of the host's journal:\n{}",
                String::from_utf8_lossy(&journal)
            );
        }
    }
}

impl Default for Host {
    fn default() -> Host {
        Host::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if thread::panicking() {
            self.print_logs();
        }
        self.releases.stop();
        self.packages.stop();
        // Killed, not powered off: nothing of it is kept that could want good order.
        scratch::end_host(&self.directory);
        if let Some(machine) = &mut self.machine {
            machine.reap();
        }
    }
}

/// Follows the symbolic links of all but the last component as a process in `root` would.
fn resolve(root: &Path, path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir => _ = resolved.pop(),
            _ => continue,
        }
        if components.peek().is_none() {
            break;
        }
        if let Ok(target) = fs::read_link(root.join(&resolved)) {
            resolved.pop();
            let rest: PathBuf = components.collect();
            return resolve(
                root,
                &resolved
                    .join(target)
                    .join(rest)
                    .components()
                    .collect::<PathBuf>(),
            );
        }
    }
    root.join(resolved)
}

/// An identity of its own for each host: systemd takes a machine without one for newly installed.
fn machine_id(name: &str) -> String {
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0<32.32}\n")
}

fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
