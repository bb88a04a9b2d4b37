use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::system::process::command::output::MAX_LINES;
use crate::system::process::command::{Command, MAX_FOREIGN_LINES, PASSED};

fn sh(script: &str) -> Command {
    Command::new("sh", ["-c", script])
}

#[test]
fn captures_both_streams_and_the_status() {
    let output = sh("echo one; echo two >&2; exit 3").run().unwrap();
    assert_eq!(output.answer().collect::<Vec<_>>(), ["one"]);
    assert!(output.says("one") && output.says("two"));
    assert_eq!(output.code(), Some(3));
    assert!(!output.success());
    let failed = sh("echo E: why >&2; echo how; exit 3").run().unwrap();
    assert_eq!(failed.summary(), "sh ended with status 3: E: why");
}

#[test]
fn the_environment_is_clean() {
    let output = Command::new("env", [""; 0])
        .env("EXTRA", "yes")
        .run()
        .unwrap();
    let allowed = |line: &str| {
        [
            "PATH=/usr/local/sbin:",
            "LC_ALL=C.UTF-8",
            "HOME=/root",
            "TERM=dumb",
            "EXTRA=yes",
        ]
        .iter()
        .any(|a| line.starts_with(a))
            || PASSED
                .iter()
                .any(|passed| line.starts_with(&format!("{passed}=")))
    };
    assert!(output.lines().all(allowed), "{:?}", output.lines);
    assert!(output.says("EXTRA=yes"));
}

#[test]
fn a_program_that_overruns_is_ended_with_its_children() {
    let started = Instant::now();
    let output = sh("sleep 600 & sleep 600")
        .limit(Duration::from_millis(200))
        .run()
        .unwrap();
    assert!(started.elapsed() < Duration::from_secs(60));
    assert!(!output.success());
    assert!(
        output.summary().contains("did not end within"),
        "{}",
        output.summary()
    );
}

#[test]
fn a_program_that_begins_to_wait_is_ended_and_one_that_goes_on_is_not() {
    // Of one process: a shell that starts another at this moment cannot be stopped until that has begun.
    let output = sh("echo waiting for you; exec sleep 600")
        .never_waiting("waiting for", |_| true)
        .run()
        .unwrap();
    assert!(output.gave_up() && !output.success());
    let output = sh("echo waiting for you; sleep 1; echo done")
        .never_waiting("waiting for", |_| false)
        .run()
        .unwrap();
    assert!(!output.gave_up() && output.success() && output.says("done"));
}

#[test]
fn a_daemon_that_keeps_the_output_open_does_not_hold_us() {
    let started = Instant::now();
    let output = sh("echo before; sleep 120 & echo $!; exit 0")
        .run()
        .unwrap();
    assert!(output.success() && started.elapsed() < Duration::from_secs(60));
    let daemon = output.lines().nth(1).unwrap().parse().unwrap();
    nix::sys::signal::kill(Pid::from_raw(daemon), Signal::SIGKILL).unwrap();
}

#[test]
fn what_comes_late_is_not_lost() {
    let output = sh("(sleep 1; echo late) & echo soon").run().unwrap();
    assert_eq!(output.answer().collect::<Vec<_>>(), ["soon", "late"]);
}

#[test]
fn a_flood_of_output_is_bounded() {
    let output = sh("yes | head -c 1000000; echo; echo last").run().unwrap();
    assert_eq!(output.lines.len(), MAX_LINES);
    assert_eq!(output.answer().last(), Some("last"));
}

#[test]
fn a_flood_of_output_keeps_no_program_from_being_ended() {
    let started = Instant::now();
    let output = sh("yes").limit(Duration::from_millis(200)).run().unwrap();
    assert!(output.timed_out() && started.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_program_that_moves_to_another_process_group_is_ended() {
    let moves = "$SIG{TERM} = 'IGNORE'; setpgrp(0, getpgrp(getppid())); exec 'sleep', '300'";
    let started = Instant::now();
    let output = Command::new("perl", ["-e", moves])
        .limit(Duration::from_millis(500))
        .run()
        .unwrap();
    assert!(output.timed_out(), "{output:?}");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_output_of_a_foreign_program_is_bounded() {
    let command = Command {
        stop: Some(Arc::default()),
        ..sh("seq 1 1000")
    };
    let output = command.run().unwrap();
    assert_eq!(output.lines.len(), MAX_FOREIGN_LINES);
    assert!(output.success() && output.says("1000"));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = Command::new("no-such-program", [""; 0]).run().unwrap_err();
    assert_eq!(error.to_string(), "cannot run no-such-program");
}
