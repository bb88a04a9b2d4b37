use super::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_140_000 + seconds, 0).unwrap()
}

fn begun(seconds: i64, from: &str, to: &str) -> Begun {
    Begun {
        began: at(seconds),
        from: version(from),
        to: version(to),
        goal: None,
        service: None,
        start: Start::default(),
    }
}

fn failed(seconds: i64, from: &str, to: &str, ending: Ending) -> Ended {
    begun(seconds, from, to).end(at(seconds + 5), Some((ending, "why".into())))
}

fn results(changes: &Changes) -> Vec<(Ending, u32)> {
    let newest = changes.newest_first();
    newest.map(|change| (change.result, change.tries)).collect()
}

#[test]
fn a_change_that_went_well_is_called_what_it_was() {
    let up = begun(0, "14.3.33", "14.3.34").end(at(12), None);
    assert_eq!(
        (up.result, up.seconds, up.reason),
        (Ending::Upgraded, 12.0, None)
    );
    let down = begun(0, "14.3.34", "14.3.33").end(at(-1), None);
    assert_eq!((down.result, down.seconds), (Ending::Downgraded, 0.0));
    let mut repair = begun(0, "14.3.34", "14.3.34");
    assert_eq!(repair.clone().end(at(1), None).result, Ending::Reinstalled);
    repair.service = Some("teleport.service".into());
    assert_eq!(repair.end(at(1), None).result, Ending::Restarted);
}

#[test]
fn words_are_those_of_json() {
    for ending in Ending::ALL {
        let json = serde_json::to_string(&ending).unwrap();
        assert_eq!(json, format!("{:?}", ending.word()));
    }
}

#[test]
fn fifty_are_kept_and_reasons_are_cut_and_printable() {
    let mut changes = Changes::default();
    for number in 0..60 {
        let why = format!("\u{1b}[31m{}", "x".repeat(1000));
        let to = format!("14.4.{number}");
        let change = begun(number, "14.3.33", &to);
        changes.add(change.end(at(number), Some((Ending::RolledBack, why))));
    }
    let newest: Vec<&Ended> = changes.newest_first().collect();
    assert_eq!((newest.len(), changes.0.len()), (50, 50));
    assert_eq!(newest[0].begun.to, version("14.4.59"));
    assert_eq!(newest[49].begun.to, version("14.4.10"));
    let reason = newest[0].reason.as_ref().unwrap();
    assert!(reason.starts_with("\\u{1b}[31mx") && reason.chars().count() < 320);
}

#[test]
fn what_every_run_repeats_takes_one_place() {
    let mut changes = Changes::default();
    for run in 0..3 {
        changes.add(failed(run * 60, "14.3.33", "14.3.34", Ending::Failed));
    }
    assert_eq!(results(&changes), [(Ending::Failed, 3)]);
    assert_eq!(changes.0[0].begun.began, at(120));
    // By another user.
    let mut by_alice = failed(200, "14.3.33", "14.3.34", Ending::Failed);
    by_alice.begun.start.user = Some("alice".into());
    changes.add(by_alice);
    // Another version, and rollbacks, which only `force` repeats.
    changes.add(failed(300, "14.3.33", "14.3.35", Ending::RolledBack));
    changes.add(failed(400, "14.3.33", "14.3.35", Ending::RolledBack));
    assert_eq!(
        results(&changes),
        [
            (Ending::RolledBack, 1),
            (Ending::RolledBack, 1),
            (Ending::Failed, 1),
            (Ending::Failed, 3)
        ]
    );
}

#[test]
fn a_change_that_several_runs_complete_is_one() {
    let mut changes = Changes::default();
    changes.add(failed(0, "14.3.33", "14.3.34", Ending::Broken));
    let rolled_back = begun(0, "14.3.33", "14.3.34");
    changes.add(rolled_back.end(at(900), Some((Ending::RolledBack, "why".into()))));
    assert_eq!(results(&changes), [(Ending::RolledBack, 2)]);
    assert_eq!(changes.0[0].seconds, 900.0);
}

#[test]
fn the_last_attempt_is_at_the_target_and_no_repair() {
    let mut changes = Changes::default();
    let of = |changes: &Changes, target: &str| {
        let attempt = changes.last_attempt(Some(&version(target)));
        attempt.map(|attempt| (attempt.begun.to.to_string(), attempt.result))
    };
    assert_eq!(of(&changes, "14.3.34"), None);
    changes.add(failed(0, "14.3.33", "14.3.34", Ending::RolledBack));
    changes.add(begun(10, "14.3.33", "14.3.33").end(at(20), None));
    changes.add(begun(30, "14.3.33", "14.3.35").end(at(40), None));
    let older = Some(("14.3.34".into(), Ending::RolledBack));
    assert_eq!(of(&changes, "14.3.34"), older);
    let newest = Some(("14.3.35".into(), Ending::Upgraded));
    assert_eq!(of(&changes, "14.3.35"), newest);
    assert_eq!(of(&changes, "14.9.9"), newest);
    assert!(changes.last_attempt(None).is_some());
    // An intermediate version is an attempt at its target.
    let mut step = failed(50, "14.3.35", "15.0.1", Ending::RolledBack);
    step.begun.goal = Some(version("16.0.0"));
    changes.add(step);
    assert_eq!(
        of(&changes, "16.0.0"),
        Some(("15.0.1".into(), Ending::RolledBack))
    );
    assert_eq!(changes.last_version().unwrap().begun.to, version("14.3.35"));
}
