//! The tests that run on real hosts, one file per subject.
#![allow(
    clippy::unwrap_used,
    reason = "what goes wrong fails the test, as it should"
)]

mod apt;
mod bad_input;
mod compatibility;
mod dnf5;
mod documents;
mod dry_run;
mod enrol;
mod generations;
mod hardening;
mod history;
mod hook_examples;
mod hooks;
mod hostile;
mod hosts_work;
mod idle;
mod interruptions;
mod kills;
mod lock;
mod managers;
mod operator;
mod packaging;
mod percentage;
mod plan;
mod prefetch;
mod reload;
mod rollback;
mod rooms;
mod stand_in;
mod status;
mod trust;
mod two_updaters;
mod upgrade;
mod version_server;
mod windows;
mod words;
