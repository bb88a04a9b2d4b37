//! `advance`, the alert rules and the dashboard, with a real Prometheus that scrapes a real node_exporter. The hosts are pretended:
//! what they would report is written for the exporter's textfile collector.
#![allow(
    clippy::unwrap_used,
    reason = "what goes wrong fails the test, as it should"
)]

#[path = "rollout/advance.rs"]
mod advance;
#[path = "rollout/alerts.rs"]
mod alerts;
#[path = "rollout/dashboard.rs"]
mod dashboard;
#[path = "rollout/fleet.rs"]
mod fleet;
#[path = "rollout/prometheus.rs"]
mod prometheus;

use std::path::{Path, PathBuf};

/// A file of the project.
fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program that `tests/setup` has put there.
fn tool(name: &str) -> PathBuf {
    let path = project("target/tools").join(name);
    assert!(path.exists(), "no {name}: run tests/setup");
    path
}
