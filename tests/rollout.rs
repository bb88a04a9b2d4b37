//! `advance`, the alert rules and the dashboard, with a real Prometheus that scrapes a real node_exporter. Most hosts are simulated:
//! their metrics are written for the exporter's textfile collector. The hosts of `real.rs` are real.
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
#[path = "rollout/picture.rs"]
mod picture;
#[path = "rollout/prometheus.rs"]
mod prometheus;
#[path = "rollout/real.rs"]
mod real;
#[path = "rollout/site.rs"]
mod site;
#[path = "rollout/version_server.rs"]
mod version_server;

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
