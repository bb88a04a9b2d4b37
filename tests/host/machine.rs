//! A booted host: systemd in a container of systemd-nspawn, with a cgroup of its own.

use super::network::Network;
use std::fs::{self, File};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a boot may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the cgroup $1 in the hierarchies that this machine has (version 2 alone, or beside version 1), enters it, and
/// becomes the rest of its arguments. Without it, the host would get the root cgroup.
const IN_CGROUP: &str = r#"
name=$1; shift
for hierarchy in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup; do
    [ -e "$hierarchy/cgroup.procs" ] || continue
    mkdir -p "$hierarchy/$name" && echo $$ >"$hierarchy/$name/cgroup.procs" || exit
done
exec "$@"
"#;

/// A running container. The owner of its directory ends it for good, see `scratch::end_host`.
pub struct Machine {
    nspawn: Child,
    leader: u32,
}

impl Machine {
    /// Boots a root file system, and returns once its systemd says that the boot is done.
    pub fn boot(name: &str, root: &Path, network: &Network, console: &Path) -> Machine {
        let address = SocketAddr::from_abstract_name(format!("{name}-notify")).unwrap();
        let notifications = UnixDatagram::bind_addr(&address).unwrap();
        let console_file = File::options()
            .create(true)
            .append(true)
            .open(console)
            .unwrap();
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                IN_CGROUP,
                "sh",
                name,
                "systemd-nspawn",
                "--quiet",
                "--register=no",
                "--keep-unit",
                "--boot",
            ])
            .args([
                "--link-journal=no",
                "--resolv-conf=off",
                "--timezone=off",
                "--console=pipe",
                "--notify-ready=yes",
            ])
            .arg(format!(
                "--network-namespace-path={}",
                network.path().display()
            ))
            .arg("--directory")
            .arg(root)
            .arg("--machine")
            .arg(name)
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .env("SYSTEMD_NSPAWN_LOCK", "0")
            .env("NOTIFY_SOCKET", format!("@{name}-notify"))
            .stdin(Stdio::null())
            .stdout(console_file.try_clone().unwrap())
            .stderr(console_file);
        let mut nspawn = command.spawn().expect("sh");
        let leader = wait_until_ready(&notifications, &mut nspawn, console);
        Machine { nspawn, leader }
    }

    /// The process of the host's systemd.
    pub fn leader(&self) -> u32 {
        self.leader
    }

    /// The file system as the host's processes see it. Mind absolute symbolic links: they lead out of it.
    pub fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.leader).into()
    }

    /// A command of the host's, run beside its services, not as one of them: for the harness's own use of `systemctl`
    /// and the like. It keeps capabilities that nothing in the host has.
    pub fn enter(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LC_ALL", "C.UTF-8")
            .args([
                "--target",
                &self.leader.to_string(),
                "--mount",
                "--uts",
                "--ipc",
                "--net",
                "--pid",
                "--cgroup",
                "--",
            ])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Powers it off as `poweroff` does, and waits for that.
    pub fn power_off(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.nspawn.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.nspawn.wait().unwrap();
    }

    /// Collects what is left of its process once it was ended.
    pub fn reap(&mut self) {
        self.nspawn.wait().unwrap();
    }
}

/// Waits for the two messages of nspawn: which process is the leader, and that the host has booted.
fn wait_until_ready(notifications: &UnixDatagram, nspawn: &mut Child, console: &Path) -> u32 {
    let deadline = Instant::now() + PATIENCE;
    let mut leader = None;
    let mut message = [0; 4096];
    notifications
        .set_read_timeout(Some(Duration::from_millis(250)))
        .unwrap();
    loop {
        if let Ok(length) = notifications.recv(&mut message) {
            for line in String::from_utf8_lossy(&message[..length]).lines() {
                if let Some(pid) = line.strip_prefix("X_NSPAWN_LEADER_PID=") {
                    leader = Some(pid.parse().unwrap());
                }
                if let ("READY=1", Some(leader)) = (line, leader) {
                    return leader;
                }
            }
        } else if nspawn.try_wait().unwrap().is_some() || Instant::now() > deadline {
            let console = fs::read_to_string(console).unwrap_or_default();
            panic!(
                "a host did not boot (that needs systemd-nspawn: run tests/setup as root); its console:\n{console}"
            );
        }
    }
}
