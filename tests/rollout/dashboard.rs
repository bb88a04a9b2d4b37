//! The dashboard: every query has an answer where there is something to show.

use crate::fleet::{Fleet, Host};
use crate::project;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// The dashboard.
pub fn dashboard() -> Value {
    let text = fs::read_to_string(project("packaging/dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

#[test]
fn every_query_of_the_dashboard_has_an_answer() {
    let mut fleet = Fleet::new("dashboard", 100);
    fleet.publish(&["--percent", "25"]);
    fleet.reached().iter_mut().for_each(Host::upgrade);
    fleet.reached()[0].roll_back();
    fleet.reached()[1].healthy = false;
    fleet.reached()[2].checked = 4 * 3600;
    fleet.report();
    // As on the version server, which has a node_exporter too.
    let metrics = fleet.prometheus.metrics();
    let metrics = ["--metrics", metrics.to_str().unwrap()];
    fleet.expect(&metrics, 10, "was halted", "0");
    fleet.report();
    let dashboard = dashboard();
    let mut asked = 0;
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let query = query
                .replace("$channel", "https://releases.example.com/dashboard")
                .replace("$job", ".*");
            assert!(!query.contains('$'), "{query}");
            let answer = fleet.prometheus.query(&query);
            assert!(!answer.is_empty(), "{}: {query}", panel["title"]);
            asked += 1;
        }
    }
    assert!(asked >= 15, "{asked}");
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    for annotation in annotations {
        fleet.prometheus.query(annotation["expr"].as_str().unwrap());
    }
    // The reason can be read.
    let reasons = fleet.prometheus.query(
        "teleport_upgrade_last_upgrade_timestamp_seconds{result!=\"upgraded\",instance=~\"dashboard.*\"}",
    );
    assert_eq!(reasons.len(), 1);
    assert_eq!(reasons[0]["metric"]["reason"], "teleport.service crashed");
}

#[test]
fn the_dashboard_is_one_that_grafana_can_show() {
    let dashboard = dashboard();
    for key in ["title", "uid", "schemaVersion", "time", "refresh"] {
        assert!(!dashboard[key].is_null(), "{key}");
    }
    assert!(dashboard["id"].is_null(), "it would replace another one");
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && cells.insert((x, y)), "{title} overlaps");
            }
        }
        let mut letters = BTreeSet::new();
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(letters.insert(target["refId"].as_str().unwrap()), "{title}");
            let table = panel["type"] == "table";
            assert_eq!(target["format"] == "table", table, "{title}");
            let over_time = panel["type"] == "timeseries";
            assert_eq!(target["range"], over_time, "{title}");
            assert_eq!(target["instant"], !over_time, "{title}");
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["datasource", "channel", "job"]);
}
