//! The stand-in for Teleport's agent that the test hosts run as `/usr/local/bin/teleport`.
//!
//! One compiled file serves every version and behaviour: which it is stands on a line that the harness appends to the
//! file, as `stand-in-agent version=14.3.33 behaviour=sound`. It is read through `/proc/self/exe`, so a process keeps its
//! version when the file on disk is replaced under it. Behaviours, several separated by commas:
//!
//! | behaviour | what it does |
//! | --- | --- |
//! | `sound` | nothing out of the ordinary |
//! | `crash-at-once` | fails before it writes its pid file |
//! | `crash-after=SECONDS` | fails that long after its start |
//! | `crash-on-reload` | a process started by a reload takes over, then fails; started afresh it is sound |
//! | `hang-in-start` | never writes its pid file, never says `READY=1` |
//! | `ignore-reload` | SIGHUP does nothing |
//! | `exit-zero` | `start` exits 0 at once |
//! | `bad-version` | `version` prints garbage |
//! | `version-hangs` | `version` never ends |
//! | `readyz=ok`, `readyz=unready`, `readyz=silent` | serves `/readyz` on `debug.sock`; `ok` from version 17 on |

use nix::sys::signal::{SigSet, Signal};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio, exit};
use std::thread;
use std::time::Duration;

/// A session is open as long as a file is in here.
const SESSIONS: &str = "/run/teleport-sessions";
/// Where Teleport keeps its state and, from version 17 on, its `debug.sock`, unless its settings have another `data_dir`.
const DATA: &str = "/var/lib/teleport";
/// Its settings.
const SETTINGS: &str = "/etc/teleport.yaml";
/// In the environment of a process that a reload started, as `TELEPORT_OS_FILES` is in Teleport's.
const RELOADED: &str = "STAND_IN_AGENT_RELOADED";

fn main() -> ExitCode {
    let agent = Agent::from_own_file();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("version") => agent.print_version(arguments.iter().any(|argument| argument == "--raw")),
        Some("start") => agent.start(&arguments[1..]),
        _ => {
            eprintln!("usage: teleport version [--raw] | teleport start [--config=FILE] --pid-file=FILE");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Which agent this is.
struct Agent {
    version: String,
    behaviours: Vec<String>,
}

impl Agent {
    fn from_own_file() -> Agent {
        let line = own_last_line().unwrap_or_default();
        let value = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)).map(str::to_owned);
        Agent {
            version: value("version=").unwrap_or_else(|| "0.0.0".into()),
            behaviours: value("behaviour=").unwrap_or_default().split(',').map(str::to_owned).collect(),
        }
    }

    fn has(&self, behaviour: &str) -> bool {
        self.behaviours.iter().any(|have| have == behaviour)
    }

    fn value_of(&self, behaviour: &str) -> Option<&str> {
        self.behaviours.iter().find_map(|have| have.strip_prefix(behaviour)?.strip_prefix('='))
    }

    fn print_version(&self, raw: bool) {
        if self.has("version-hangs") {
            park();
        } else if self.has("bad-version") {
            println!("\u{1b}[31mnot a version at all");
        } else if raw {
            println!("{}", self.version);
        } else {
            println!("Teleport v{0} git:v{0}-0-gabcdef go1.21.5", self.version);
        }
    }

    fn start(&self, arguments: &[String]) {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD] {
            signals.add(signal);
        }
        // Before any thread is started, so that every thread leaves the signals to this one.
        signals.thread_block().expect("block the signals");
        let reloaded = std::env::var_os(RELOADED).is_some();
        self.fail_early();
        if reloaded {
            // Teleport takes longer still. Meanwhile ExecReload's command ends, and systemd looks into the pid file: it is
            // to find the old process there, as it does with Teleport.
            thread::sleep(Duration::from_millis(200));
        }
        if !self.has("hang-in-start") {
            self.serve_readyz();
            // Locked for as long as this process lives.
            let _pid_file = pid_file_argument(arguments).map(|path| write_pid_file(Path::new(&path)));
            self.report_started(reloaded);
            self.fail_late(reloaded);
            self.obey(&signals);
        }
        self.obey(&signals);
    }

    fn fail_early(&self) {
        if self.has("exit-zero") {
            exit(0);
        }
        if self.has("crash-at-once") {
            eprintln!("Teleport v{} crashed: panic: runtime error: stand-in", self.version);
            exit(2);
        }
    }

    fn report_started(&self, reloaded: bool) {
        let pid = std::process::id();
        eprintln!("Teleport v{} started pid {pid}", self.version);
        if let Some(upgrader) = std::env::var_os("TELEPORT_EXT_UPGRADER") {
            eprintln!("TELEPORT_EXT_UPGRADER={}: exporting the maintenance schedule", upgrader.display());
        }
        notify_systemd(&format!("MAINPID={pid}\nREADY=1"));
        if reloaded {
            println!("ready");
        }
    }

    fn fail_late(&self, reloaded: bool) {
        let seconds = match self.value_of("crash-after") {
            Some(seconds) => seconds.parse().expect("crash-after=SECONDS"),
            None if reloaded && self.has("crash-on-reload") => 0.3,
            None => return,
        };
        let version = self.version.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_secs_f64(seconds));
            eprintln!("Teleport v{version} crashed: panic: runtime error: stand-in");
            exit(2);
        });
    }

    /// Waits for signals and does what they say; never returns.
    fn obey(&self, signals: &SigSet) -> ! {
        loop {
            match signals.wait().expect("wait for a signal") {
                Signal::SIGTERM | Signal::SIGINT => {
                    eprintln!("Teleport v{} got a signal to stop", self.version);
                    exit(0);
                }
                Signal::SIGHUP if self.has("ignore-reload") => eprintln!("SIGHUP ignored"),
                Signal::SIGHUP => reload(),
                _ => {}
            }
        }
    }

    fn serve_readyz(&self) {
        let newer = self.version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major >= 17);
        let answer = match self.value_of("readyz") {
            Some(answer) => answer.to_owned(),
            None if newer => "ok".to_owned(),
            None => return,
        };
        let data = data_directory();
        let socket = Path::new(&data).join("debug.sock");
        fs::create_dir_all(&data).expect("make the data directory");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("listen on debug.sock");
        thread::spawn(move || {
            let mut unanswered = Vec::new();
            for stream in listener.incoming().flatten() {
                match answer.as_str() {
                    "ok" => answer_readyz(stream, "200 OK", r#"{"status":"ok"}"#),
                    "unready" => {
                        answer_readyz(stream, "503 Service Unavailable", r#"{"status":"teleport is in a degraded state"}"#)
                    }
                    _ => unanswered.push(stream),
                }
            }
        });
    }
}

fn answer_readyz(mut stream: UnixStream, status: &str, body: &str) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request);
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}

fn data_directory() -> String {
    let settings = fs::read_to_string(SETTINGS).unwrap_or_default();
    let named = settings.lines().find_map(|line| line.trim().strip_prefix("data_dir:"));
    named.map_or(DATA, str::trim).to_owned()
}

/// The line that the harness appended to the file this process was started from.
fn own_last_line() -> Option<String> {
    let mut file = File::open("/proc/self/exe").ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(1024))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().rev().find_map(|line| line.strip_prefix("stand-in-agent ").map(str::to_owned))
}

fn pid_file_argument(arguments: &[String]) -> Option<String> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--pid-file") {
            Some("") => return arguments.next().cloned(),
            Some(rest) => return rest.strip_prefix('=').map(str::to_owned),
            None => {}
        }
    }
    None
}

/// Writes the pid file as Teleport does: whole or not at all, and locked as long as the process lives, which is what
/// `pkill -L` in Teleport's unit looks for.
fn write_pid_file(path: &Path) -> File {
    let pid = std::process::id();
    let new = path.with_extension(format!("pid.{pid}"));
    let mut file = File::create(&new).expect("create the pid file");
    file.lock().expect("lock the pid file");
    write!(file, "{pid}").expect("write the pid file");
    fs::rename(&new, path).expect("put the pid file in place");
    file
}

fn notify_systemd(state: &str) {
    if let (Some(socket), Ok(sender)) = (std::env::var_os("NOTIFY_SOCKET"), UnixDatagram::unbound()) {
        let _ = sender.send_to(state.as_bytes(), Path::new(&socket));
    }
}

/// Starts the binary on disk with the same arguments; once it says that it is ready, lets open sessions end and goes.
/// If it never gets ready, this process carries on.
fn reload() {
    eprintln!("got SIGHUP, performing graceful restart");
    let mut arguments = std::env::args_os();
    let program = arguments.next().expect("the program's own name");
    let spawned = Command::new(program).args(arguments).env(RELOADED, "yes").stdout(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return eprintln!("failed to start new process: {error}"),
    };
    let mut output = child.stdout.take().expect("a piped standard output");
    thread::spawn(move || {
        let mut ready = [0; 5];
        if output.read_exact(&mut ready).is_err() {
            let ended = child.wait();
            return eprintln!("failed to start new process: {ended:?}");
        }
        eprintln!("successfully started new process {}, shutting down gracefully", child.id());
        while session_is_open() {
            thread::sleep(Duration::from_millis(20));
        }
        exit(0);
    });
}

fn session_is_open() -> bool {
    fs::read_dir(SESSIONS).is_ok_and(|mut sessions| sessions.next().is_some())
}

fn park() -> ! {
    loop {
        thread::park();
    }
}
