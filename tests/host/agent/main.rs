//! The stand-in for Teleport's agent that the test hosts run as `teleport`. It does what the real one does, as far as an updater
//! can see it; the tests prove nothing where it is kinder.
//!
//! One compiled file serves every edition, version and behaviour: which it is stands on a line that the harness appends to the
//! file, as `stand-in-agent edition=teleport-ent version=14.3.33 behaviour=healthy`. The line is read through `/proc/self/exe`, so a
//! process keeps its version when the file on disk is replaced under it.
//!
//! # What it does, and where Teleport does it
//!
//! A path is one in gravitational/teleport, `#` an issue or a change there.
//!
//! | here | the fact | source |
//! | --- | --- | --- |
//! | `which.rs` | the line that `version` prints names the Enterprise Edition; `--raw` prints the version alone, from 10 on | #1538, #3145, #41099; #24770 |
//! | `start.rs` | the pid file is written before the cluster is joined: in place before 15.1.1; atomically, with a line break, and locked for as long as the process lives from then on | `lib/service/service.go`, `lib/utils/pidfile.go`; #37773, #38145, #39005 |
//! | `start.rs` | signals are handled only from then on: a SIGHUP before kills the process | `lib/service/signals.go`, #41564 |
//! | `start.rs` | signals are handled one after the other: while a child is waited for, and during a graceful shutdown, they wait, SIGTERM as well | `lib/service/signals.go` |
//! | `start.rs` | SIGTERM: up to 3 s for connections to end, then the end, with status 0 | `lib/service/signals.go`, #32189, #39203 |
//! | `reload.rs` | SIGHUP: a child from `argv[0]`, with the same arguments, the environment that this process began with, and the listeners in `TELEPORT_OS_FILES` | `lib/service/signals.go` |
//! | `reload.rs` | the child's word through a pipe is waited for 2 minutes; then this process closes its listeners and lives on until its sessions have ended, 30 hours at most | `lib/service/signals.go`, #38544, #38803 |
//! | `reload.rs` | before 15.1.1 a child that has died is not noticed: it stays a zombie, and the 2 minutes are waited out; from then on it is reaped and the wait ends at once | `lib/service/signals.go` of both times, #37773 |
//! | `start.rs` | a child that is not ready within 2 minutes ends itself, with status 0, and leaves the pid file as it is | `lib/service/service.go` (`notifyParent`), #2106, #58965 |
//! | `readiness.rs` | `/readyz` on `debug.sock` from 17.2.9 and 16.4.17 on: 200, 400, 503 and JSON; before, 404 | `lib/service/state.go`, `lib/client/debug`; #51771, #51888 |
//! | `readiness.rs` | `debug.sock` is one of the listeners that are passed on: both processes answer on it | `lib/service/signals.go`, #10690 |
//! | `sessions.rs` | a session is a process of its own, `teleport exec`, in the service's control group | `lib/srv/reexec.go` |
//! | `schedule.rs` | maintenance windows are exported with `TELEPORT_EXT_UPGRADER=unit` only, written in place; the file is emptied after 9 minutes without the cluster, and if there are no windows | `lib/versioncontrol/upgradewindow` |
//! | `schedule.rs` | `/usr/sbin/teleport-upgrade version` is run once, at the start | #43220 |
//!
//! Which unit and which package go with a version is said in `tests/host/package.rs` and `tests/host/unit.rs`. Not from Teleport:
//! it tells systemd when it is ready, for tests whose unit has `Type=notify`.
//!
//! # Behaviours and settings
//!
//! Several are separated by commas. Those in the package hold for its version; those in `/etc/stand-in-agent`, one a line, hold
//! for every version on the host, come first, and are re-read whenever they matter.
//!
//! | behaviour | what it does |
//! | --- | --- |
//! | `healthy` | nothing out of the ordinary |
//! | `crash-at-once` | fails before it writes its pid file |
//! | `crash-after=SECONDS` | fails that long after it has written its pid file, ready or not |
//! | `crash-on-reload` | a process started by a reload becomes ready, takes over, then fails; started afresh it is healthy |
//! | `hang-in-start` | never writes its pid file |
//! | `never-joins` | runs, and never becomes ready |
//! | `ignore-reload` | SIGHUP does nothing |
//! | `exit-zero` | `start` exits 0 at once |
//! | `bad-version` | `version` prints garbage |
//! | `version-hangs` | `version` never ends |
//! | `no-raw` | `version` does not know `--raw`, as before 10 |
//! | `readyz=ok`, `unready`, `silent`, `none` | serves `/readyz` in any version; always 503; never answers; no socket at all |
//! | `readyz=no-pid`, `readyz=pid` | its body without or with `pid`; by version: with it from 17.3.0 and 16.5.0 on, which is a guess |
//! | `dead-child=noticed`, `dead-child=unnoticed` | whether the end of a child that a reload started ends the wait for it |
//! | `pid-after=SECONDS` | from the start to the pid file; 0.1, after a reload 0.2 |
//! | `ready-after=SECONDS` | from the pid file to readiness; 0.1, after a reload 0.2 |
//! | `limit=SECONDS` | Teleport's 2 minutes, on both sides of a reload |
//! | `cluster=up`, `down`, `tcp` | whether the cluster can be reached; `tcp`: if `proxy_server` or `auth_server` takes a connection |
//! | `recover=SECONDS` | how long it is recovering once the cluster is back; 10 |
//! | `export=START..STOP/START..STOP` | exports these windows, in seconds from now; `export=none`: there are none; `export=nop`: says that `teleport-update` is in charge |
//! | `export-after=SECONDS`, `export-every=SECONDS`, `export-lost=SECONDS` | when windows are exported first, how often, and how long without the cluster the file is kept; 120, 2400, 540 |

mod cluster;
mod readiness;
mod releases;
mod reload;
mod schedule;
mod sessions;
mod start;
mod which;

use nix::sys::signal::SigSet;
use std::process::ExitCode;
use which::Agent;

fn main() -> ExitCode {
    // A process that is started by another one inherits which signals that one has put off.
    SigSet::all()
        .thread_unblock()
        .expect("take signals as they come");
    let agent = Agent::from_own_file();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("version") => return agent.print_version(&arguments[1..]),
        Some("start") => start::start(agent, &arguments[1..]),
        Some("exec") => sessions::be_one(),
        _ => {
            eprintln!(
                "usage: teleport version [--raw] | teleport start [--config=FILE] --pid-file=FILE"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
