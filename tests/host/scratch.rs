//! The directory of this test process, `target/hosts/PID`, and its end: nothing of it outlives the process.

use super::debian::Generation;
use super::{outside, project};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

const SWEEP: &str = include_str!("sweep.sh");

/// What this process holds while it lives.
struct Scratch {
    directory: PathBuf,
    /// Kept locked: a directory under `target/hosts` that nobody has locked belongs to nobody.
    _lock: File,
    /// Ends everything when this process has ended, however it did.
    _janitor: Child,
}

/// The directory of this process, made at its first use.
pub fn directory() -> &'static Path {
    &scratch().directory
}

/// The base root file system of a generation that `tests/setup` built. It is kept as it is as long as this process lives.
pub fn base(generation: Generation) -> &'static Path {
    static BASES: [OnceLock<(PathBuf, File)>; 4] = [const { OnceLock::new() }; 4];
    let (base, _lock) = BASES[generation as usize].get_or_init(|| {
        let (name, bases) = (generation.name(), target().join("host-base"));
        let missing = || -> ! {
            let log = fs::read_to_string(bases.join(format!("{name}.log"))).unwrap_or_default();
            panic!("this test needs the base root file system of Debian's {name}: run tests/setup as root; it last said:\n{log}");
        };
        let lock = File::open(bases.join(format!("{name}.lock"))).unwrap_or_else(|_| missing());
        lock.lock_shared().unwrap();
        (bases.join(name).canonicalize().unwrap_or_else(|_| missing()), lock)
    });
    base
}

fn target() -> PathBuf {
    project().join("target")
}

/// A new empty directory for a throwaway host, and its name, unique on this machine.
pub fn new_host_directory() -> (PathBuf, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = directory().join(number.to_string());
    fs::create_dir(&directory).unwrap();
    (directory, format!("tu-{}-{number}", std::process::id()))
}

/// Kills all processes of a host, and keeps its files.
pub fn kill_host(directory: &Path) {
    outside(&mut sweep("kill", directory));
}

/// Ends a host and removes its directory.
pub fn end_host(directory: &Path) {
    outside(&mut sweep("host", directory));
}

fn scratch() -> &'static Scratch {
    static SCRATCH: OnceLock<Scratch> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the tests make real hosts, which needs root: run cargo test as root"
        );
        let hosts = target().join("hosts");
        fs::create_dir_all(&hosts).unwrap();
        // Held while directories are made and swept, for no other process to sweep one that is not locked yet.
        let door = File::create(hosts.join("lock")).unwrap();
        door.lock().unwrap();
        sweep_abandoned(&hosts);
        let directory = hosts.join(std::process::id().to_string());
        fs::create_dir(&directory).unwrap();
        let lock = File::open(&directory).unwrap();
        lock.lock().unwrap();
        let janitor = sweep("janitor", &directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        Scratch {
            directory,
            _lock: lock,
            _janitor: janitor,
        }
    })
}

/// Ends what test processes that were killed, and their janitors with them, have left.
fn sweep_abandoned(hosts: &Path) {
    for entry in fs::read_dir(hosts).unwrap().flatten() {
        let abandoned = entry.path().is_dir()
            && File::open(entry.path()).is_ok_and(|directory| directory.try_lock().is_ok());
        if abandoned {
            outside(&mut sweep("process", &entry.path()));
        }
    }
}

fn sweep(what: &str, directory: &Path) -> Command {
    let mut command = Command::new("sh");
    // A process group of its own: what interrupts the tests must not interrupt the cleaning up.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
        .args(["-c", SWEEP, "sweep.sh", what])
        .arg(directory)
        .current_dir("/");
    command
}
