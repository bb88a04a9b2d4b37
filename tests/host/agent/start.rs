//! What `teleport start` does.

use crate::cluster;
use crate::readiness::{DebugSocket, State};
use crate::reload::{Children, Passed};
use crate::schedule;
use crate::sessions::Sessions;
use crate::which::{Agent, park};
use nix::sys::signal::{SigSet, Signal};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long connections may go on after a signal to stop (`fastShutdownTimeout`).
const FAST: Duration = Duration::from_secs(3);
/// How long sessions may go on after a reload (`MaxCertDuration`).
const GRACEFUL: Duration = Duration::from_secs(30 * 3600);
/// How often it tries to join its cluster.
const RETRY: Duration = Duration::from_millis(100);
/// What a process of Go that has panicked ends with.
const PANIC: i32 = 2;

/// Runs the agent; returns if it has nothing to do.
pub fn start(agent: Agent, arguments: &[String]) {
    if agent.has("exit-zero") {
        return;
    }
    if agent.has("crash-at-once") {
        crash();
    }
    let agent = Arc::new(agent);
    let passed = Passed::take();
    // Until here a signal does what signals do: SIGHUP ends the process.
    thread::sleep(agent.seconds("pid-after", if passed.is_some() { 0.2 } else { 0.1 }));
    if agent.has("hang-in-start") {
        park();
    }
    let signals = receive_signals();
    let pid = std::process::id();
    eprintln!("Teleport v{} started pid {pid}", agent.version);
    // Locked for as long as this process lives.
    let _pid_file =
        pid_file_argument(arguments).map(|path| write_pid_file(&agent, Path::new(&path)));
    if let Some(seconds) = agent.value("crash-after") {
        crash_later(seconds.parse().expect("crash-after=SECONDS"));
    }
    let state = Arc::new(State::default());
    let sessions = Sessions::default();
    let (debug, passed) = match passed {
        Some(mut passed) => (passed.debug_socket.take(), Some(passed)),
        None => (None, None),
    };
    let debug = DebugSocket::serve(&agent, &state, debug);
    schedule::export(&agent, &state);
    {
        let (agent, state, sessions) = (Arc::clone(&agent), Arc::clone(&state), sessions.clone());
        thread::spawn(move || join(&agent, &state, &sessions, passed.as_ref()));
    }
    obey(&agent, &signals, &sessions, debug);
}

/// Becomes ready, or ends the process if a reload has started it and it takes too long.
fn join(agent: &Arc<Agent>, state: &State, sessions: &Sessions, passed: Option<&Passed>) {
    let limit = passed.map(|_| Instant::now() + agent.limit());
    let begin =
        Instant::now() + agent.seconds("ready-after", if passed.is_some() { 0.2 } else { 0.1 });
    while Instant::now() < begin || agent.has("never-joins") || !cluster::is_reachable(agent) {
        let wake = Instant::now() + RETRY;
        let wake = if begin > Instant::now() {
            begin.min(wake)
        } else {
            wake
        };
        let wake = limit.map_or(wake, |limit| limit.min(wake));
        thread::sleep(wake.saturating_duration_since(Instant::now()));
        if limit.is_some_and(|limit| Instant::now() >= limit) {
            eprintln!("not ready in time, shutting down this process");
            exit(0);
        }
    }
    sessions.take();
    state.joined.store(true, Ordering::SeqCst);
    eprintln!(
        "Teleport v{} is ready, pid {}",
        agent.version,
        std::process::id()
    );
    notify_systemd(&format!("MAINPID={}\nREADY=1", std::process::id()));
    if let Some(passed) = passed {
        passed.say_ready();
        if agent.has("crash-on-reload") {
            crash_later(0.3);
        }
    }
}

/// Does what signals say, one after the other; never returns.
fn obey(
    agent: &Agent,
    signals: &Receiver<Signal>,
    sessions: &Sessions,
    mut debug: Option<DebugSocket>,
) -> ! {
    let mut children = Children::default();
    loop {
        match signals.recv().expect("the thread that receives signals") {
            Signal::SIGTERM | Signal::SIGINT => {
                eprintln!("Teleport v{} got a signal to stop", agent.version);
                sessions.wait(FAST);
                exit(0);
            }
            Signal::SIGQUIT => shut_down_gracefully(sessions, debug.take()),
            Signal::SIGHUP if agent.has("ignore-reload") => eprintln!("SIGHUP ignored"),
            Signal::SIGHUP => {
                eprintln!("got SIGHUP, performing graceful restart");
                match children.fork(agent, debug.as_ref()) {
                    Err(error) => eprintln!("failed to start new process: {error}"),
                    Ok(pid) => {
                        eprintln!(
                            "successfully started new process {pid}, shutting down gracefully"
                        );
                        shut_down_gracefully(sessions, debug.take());
                    }
                }
            }
            _ => children.reap(),
        }
    }
}

fn shut_down_gracefully(sessions: &Sessions, debug: Option<DebugSocket>) -> ! {
    if let Some(debug) = debug {
        debug.close();
    }
    sessions.wait(GRACEFUL);
    eprintln!("all services stopped, exiting");
    exit(0);
}

/// Every signal counts, also one that comes again before it has been obeyed, as in a channel of Go.
fn receive_signals() -> Receiver<Signal> {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGCHLD,
    ] {
        signals.add(signal);
    }
    // Before any thread is started, so that every thread leaves the signals to that one.
    signals.thread_block().expect("block the signals");
    let (sender, receiver) = channel();
    thread::spawn(move || {
        loop {
            let _ = sender.send(signals.wait().expect("wait for a signal"));
        }
    });
    receiver
}

fn crash_later(seconds: f64) {
    thread::spawn(move || {
        thread::sleep(Duration::from_secs_f64(seconds));
        crash();
    });
}

fn crash() -> ! {
    // Teleport prints fatal errors in color, even without a terminal.
    eprintln!("\u{1b}[31mERROR: \u{1b}[0mthis release is broken\n");
    exit(PANIC);
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

/// Writes the pid file: in place, or whole or not at all, and then locked, which is what `pkill -L` asks for.
fn write_pid_file(agent: &Agent, path: &Path) -> File {
    let pid = std::process::id();
    if !agent.is_from(&[[15, 1, 1]]) {
        let mut file = File::create(path).expect("create the pid file");
        write!(file, "{pid}").expect("write the pid file");
        return file;
    }
    let new = path.with_file_name(format!(".teleport.pid{pid}"));
    let mut file = File::create(&new).expect("create the pid file");
    file.lock().expect("lock the pid file");
    writeln!(file, "{pid}").expect("write the pid file");
    fs::rename(&new, path).expect("put the pid file in place");
    file
}

fn notify_systemd(state: &str) {
    if let (Some(socket), Ok(sender)) = (std::env::var_os("NOTIFY_SOCKET"), UnixDatagram::unbound())
    {
        let _ = sender.send_to(state.as_bytes(), Path::new(&socket));
    }
}
