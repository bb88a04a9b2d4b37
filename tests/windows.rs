//! Windows that the host sets itself, and hosts that must not be upgraded without one.

use chrono::{DateTime, TimeDelta, Utc};

use crate::operator::{Shown, host};
use host::{Generation, Host, Manager};

const WINDOWS: &str = "/etc/teleport-upgrade.d/windows";
const HOUR: i64 = 3600;

/// The present minute.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(Utc::now().timestamp() / 60 * 60, 0).unwrap()
}

/// A line of the setting, without a zone: the window that opens then, for so long.
fn window(start: DateTime<Utc>, length: TimeDelta) -> String {
    format!(
        "{}-{}",
        start.format("%a %H:%M"),
        (start + length).format("%H:%M")
    )
}

/// The same, in UTC, for a window that opens so many minutes from now and lasts two hours.
fn window_in(minutes: i64) -> String {
    let start = now() + TimeDelta::minutes(minutes);
    format!("{} UTC\n", window(start, TimeDelta::hours(2)))
}

#[test]
fn windows_of_the_host_replace_those_that_the_agent_exports() {
    let host = host();
    let mut told = Shown::of(&host);
    host.open_window();
    let opens = now() + TimeDelta::hours(3);
    let line = window(opens, TimeDelta::hours(1));
    host.configure("windows", &format!("# ours\n{line} UTC\n"));
    told.pass(0);
    told.counts_as("waiting");
    assert_eq!(told.metric("window_open"), "0");
    assert_eq!(told.metric("schedule_usable"), "1");
    assert_eq!(
        told.metric("next_window_timestamp_seconds"),
        opens.timestamp().to_string()
    );
    let shown = opens.format("%Y-%m-%d %H:%M UTC").to_string();
    let (page, object) = told.shows("waiting", &shown);
    assert!(
        page.contains(&format!("Schedule: set in {WINDOWS}")),
        "{page}"
    );
    let time = |moment: DateTime<Utc>| moment.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert_eq!(object["schedule"]["source"], "host");
    assert_eq!(object["schedule"]["file"], WINDOWS);
    assert_eq!(object["schedule"]["state"], "closed");
    assert_eq!(object["schedule"]["windows"][0]["start"], time(opens));
    assert_eq!(
        object["schedule"]["windows"][0]["stop"],
        time(opens + TimeDelta::hours(1))
    );
    assert_eq!(object["decision"]["opens"], time(opens));
    assert_eq!(object["decision"]["waits_for"], "window");
    told.notice(Some("will be upgraded from 14.3.33 to 14.3.34"));
    // A schedule that is missing does not matter: no second check upgrades the agent.
    host.remove("/etc/teleport-upgrade.d/schedule");
    told.pass(0);
    told.pass(0);
    told.counts_as("waiting");
    assert_eq!(told.metric("schedule_usable"), "1");
    host.assert_agent_runs("14.3.33");
    // The word of teleport-update still counts.
    host.configure("windows", &window_in(-60));
    host.configure("schedule", "nop");
    let ran = host.upgrader("run").expect(10);
    assert!(ran.stderr.contains("contains nop") || ran.stdout.contains("contains nop"));
    host.assert_agent_runs("14.3.33");
    host.closed_window();
    let (page, object) = told.shows(
        "due",
        "would upgrade from 14.3.33 to 14.3.34 now: maintenance window open until",
    );
    assert!(page.contains("Window open: until"), "{page}");
    assert_eq!(object["schedule"]["state"], "open");
    told.pass(0);
    assert_eq!(told.metric("window_open"), "1");
    host.assert_agent_runs("14.3.34");
    told.check();
}

#[test]
fn windows_without_a_zone_are_in_the_zone_of_the_host() {
    // A base with time zones in it.
    let host = Host::with_upgrade_from(Generation::Trixie.with(Manager::Apt));
    host.closed_window();
    let there = now() + TimeDelta::hours(9) - TimeDelta::hours(1);
    host.configure("windows", &window(there, TimeDelta::hours(2)));
    // In UTC the window is open nine hours later, or was.
    let ran = host.upgrader("run").expect(0);
    assert!(
        ran.stdout
            .contains("is pending: next maintenance window opens"),
        "{ran:?}"
    );
    host.run(&[
        "ln",
        "-sf",
        "/usr/share/zoneinfo/Asia/Tokyo",
        "/etc/localtime",
    ])
    .expect(0);
    let status = host.upgrader("status").expect(0).stdout;
    assert!(status.contains("Window open:"), "{status}");
    // Someone's own zone is not the host's.
    let ran = host
        .command(&["teleport-upgrade", "dry-run"])
        .env("TZ", "UTC")
        .run()
        .expect(0);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("TZ is set to UTC"), "{said}");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn windows_that_cannot_be_read_change_nothing() {
    let host = Host::with_upgrade();
    for (text, problem) in [
        (
            "Mon 02:00-04:00\nTue 2am-4am\n",
            "line 2: invalid time \"2am\"",
        ),
        ("Mo 02:00-04:00\n", "line 1: invalid day \"Mo\""),
        (
            "Mon 02:00-04:00 Europe/Berlin\n",
            "line 1: unsupported time zone \"Europe/Berlin\" (only UTC",
        ),
        (
            "daily 02:00-02:00\n",
            "line 1: a window cannot start and stop",
        ),
    ] {
        host.configure("windows", text);
        for command in ["run", "force", "dry-run"] {
            let ran = host.upgrader(command).expect(2);
            let error = format!("{WINDOWS}: {problem}");
            assert!(ran.stderr.contains(&error), "{command}: {ran:?}");
            assert!(
                ran.stderr.contains("such as Mon,Wed,Fri 02:00-04:00"),
                "{ran:?}"
            );
        }
    }
    host.configure("windows", &window_in(-60));
    for (change, problem) in [
        ("chown alice", "alice"),
        ("chown root", ""),
        (
            "chmod 0666",
            "writable by users other than root (mode 0666)",
        ),
    ] {
        host.shell(&format!("{change} {WINDOWS}")).expect(0);
        if problem.is_empty() {
            continue;
        }
        let ran = host.upgrader("run").expect(2);
        assert!(ran.stderr.contains(WINDOWS), "{ran:?}");
    }
    host.assert_agent_runs("14.3.33");
    host.shell(&format!("chmod 0644 {WINDOWS}")).expect(0);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn without_a_schedule_a_host_that_requires_a_window_waits() {
    let host = host();
    let mut told = Shown::of(&host);
    host.configure("require-window", "yes\n");
    host.remove("/etc/teleport-upgrade.d/schedule");
    for (text, state, why) in [
        (
            None,
            "missing",
            "the agent has not exported a maintenance schedule",
        ),
        (Some(""), "empty", "the maintenance schedule is empty"),
        (
            Some("1000 2000\n"),
            "past",
            "the maintenance schedule has expired",
        ),
        (
            Some("<html>\n"),
            "unreadable",
            "the maintenance schedule is invalid",
        ),
    ] {
        if let Some(text) = text {
            host.configure("schedule", text);
        }
        told.pass(0);
        told.pass(0);
        told.counts_as("waiting");
        assert_eq!(told.metric("schedule_usable"), "0");
        let (page, object) = told.shows(
            "waiting",
            &format!("upgrade from 14.3.33 to 14.3.34 is pending: {why}"),
        );
        assert!(page.contains("require-window is set to yes"), "{page}");
        assert_eq!(object["schedule"]["state"], state);
        assert_eq!(object["schedule"]["source"], "agent");
        assert_eq!(object["decision"]["waits_for"], "schedule");
        host.assert_agent_runs("14.3.33");
    }
    told.notice(Some(
        "will be upgraded from 14.3.33 to 14.3.34 in a maintenance window that is not known yet.",
    ));
    host.closed_window();
    told.pass(0);
    assert_eq!(told.metric("schedule_usable"), "1");
    told.shows("waiting", "maintenance window");
    host.open_window();
    told.pass(0);
    host.assert_agent_runs("14.3.34");
    told.check();
}

#[test]
fn critical_and_forced_upgrades_do_not_wait_for_a_schedule() {
    for forced in [false, true] {
        let host = Host::with_upgrade();
        host.configure("require-window", "yes\n");
        host.remove("/etc/teleport-upgrade.d/schedule");
        host.upgrader("run").expect(0);
        host.upgrader("run").expect(0);
        host.assert_agent_runs("14.3.33");
        if !forced {
            host.set_critical("yes");
        }
        host.upgrader(if forced { "force" } else { "run" })
            .expect(0);
        host.assert_agent_runs("14.3.34");
    }
}

#[test]
fn an_agent_that_is_down_does_not_wait_for_a_schedule() {
    let host = Host::with_upgrade();
    host.configure("require-window", "yes\n");
    host.remove("/etc/teleport-upgrade.d/schedule");
    host.upgrader("run").expect(0);
    host.fail_agent();
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn what_waits_for_a_window_of_the_host_is_downloaded_before_it() {
    let host = Host::with_upgrade();
    host.export_windows(&[(24 * HOUR, 25 * HOUR)]);
    // So far away that the download has time, and so near that it begins at once.
    host.configure("windows", &window_in(100));
    host.upgrader("run").expect(0);
    let cached = host.shell("find /var/cache/apt/archives -name 'teleport-ent_14.3.34*.deb'");
    assert!(!cached.stdout.is_empty(), "{cached:?}");
    host.assert_agent_runs("14.3.33");
}
