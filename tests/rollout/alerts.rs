//! The alert rules.

use crate::{project, tool};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

#[test]
fn every_alert_fires_when_it_should_and_not_before() {
    let tests = project("tests/rollout/alerts.yml");
    let ran = Command::new(tool("promtool"))
        .args(["test", "rules"])
        .arg(&tests)
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    let names = |file: &str, key: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(project(file)).unwrap();
        let found = text.lines().filter_map(|line| line.split_once(key));
        found.map(|(_, name)| name.trim().into()).collect()
    };
    assert_eq!(
        names("packaging/alerts.yml", "- alert: "),
        names("tests/rollout/alerts.yml", "alertname: ")
    );
}
