//! Teleport's own test plan for an upgrader like this one, on a real host.

use host::Host;

#[test]
fn versions_match_nothing() {
    let host = Host::with_upgrade();
    host.set_version("14.3.33");
    let pid = host.agent_pid();
    assert_eq!(
        host.upgrader("run").expect(0).stdout,
        "no upgrades available (14.3.33 == 14.3.33)\n"
    );
    host.assert_agent_runs("14.3.33");
    assert_eq!(host.agent_pid(), pid);
}

#[test]
fn outside_the_window_nothing() {
    let host = Host::with_upgrade();
    host.closed_window();
    let ran = host.upgrader("run").expect(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "an upgrade is available (14.3.33 -> 14.3.34)");
    let opens = host
        .shell("date -u -d @$(sed -n 2p /etc/teleport-upgrade.d/schedule | cut -d' ' -f1) '+%Y-%m-%d %H:%M UTC'")
        .expect(0)
        .stdout;
    let waits = "upgrade from 14.3.33 to 14.3.34 is pending: next maintenance window opens";
    assert!(
        lines[1].starts_with(&format!("{waits} {} (in ", opens.trim())),
        "{}",
        lines[1]
    );
    host.assert_agent_runs("14.3.33");
}

#[test]
fn outside_the_window_but_critical_upgraded() {
    for word in ["yes", "TRUE"] {
        let host = Host::with_upgrade();
        host.closed_window();
        host.set_critical(word);
        let ran = host.upgrader("run").expect(0);
        assert!(
            ran.stdout
                .contains("(the release channel marks it critical)"),
            "{}",
            ran.stdout
        );
        host.assert_agent_runs("14.3.34");
    }
}

#[test]
fn inside_the_window_upgraded() {
    let host = Host::with_upgrade();
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

fn first_warns_and_second_upgrades(host: &Host, reason: &str) {
    let first = host.upgrader("run").expect(0);
    assert!(first.stdout.contains(reason), "{}", first.stdout);
    assert!(
        first
            .stdout
            .contains(". If this is still the case at the next check, the agent is upgraded outside of any maintenance window"),
        "{}",
        first.stdout
    );
    host.assert_agent_runs("14.3.33");
    let second = host.upgrader("run").expect(0);
    assert!(
        second.stdout.contains(&format!("({reason}"))
            && second.stdout.contains(" for two checks in a row)"),
        "{}",
        second.stdout
    );
    host.assert_agent_runs("14.3.34");
}

#[test]
fn schedule_missing_the_first_run_warns_and_the_second_upgrades() {
    let host = Host::with_upgrade();
    host.remove("/etc/teleport-upgrade.d/schedule");
    first_warns_and_second_upgrades(&host, "the agent has not exported a maintenance schedule");
}

#[test]
fn schedule_outdated_the_first_run_warns_and_the_second_upgrades() {
    let host = Host::with_upgrade();
    host.past_window();
    first_warns_and_second_upgrades(&host, "the maintenance schedule has expired");
}

#[test]
fn schedule_empty_or_garbage_the_first_run_warns_and_the_second_upgrades() {
    for (text, reason) in [
        ("", "the maintenance schedule is empty"),
        ("<html>\n", "the maintenance schedule is invalid (line 1: "),
    ] {
        let host = Host::with_upgrade();
        host.configure("schedule", text);
        first_warns_and_second_upgrades(&host, reason);
    }
}

#[test]
fn a_good_schedule_in_between_clears_the_mark() {
    let host = Host::with_upgrade();
    host.remove("/etc/teleport-upgrade.d/schedule");
    host.upgrader("run").expect(0);
    host.closed_window();
    host.upgrader("run").expect(0);
    host.past_window();
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.33");
}

#[test]
fn a_schedule_of_the_agents_own_user_is_read() {
    let host = Host::with_upgrade();
    host.run(&["chown", "alice", "/etc/teleport-upgrade.d/schedule"])
        .expect(0);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn force_upgrades_whatever_the_window() {
    let host = Host::with_upgrade();
    host.closed_window();
    let ran = host.upgrader("force").expect(0);
    assert!(
        ran.stdout
            .contains("(requested with \"teleport-upgrade force\")"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.34");
}

#[test]
fn a_channel_without_a_target_changes_nothing() {
    let host = Host::with_upgrade();
    host.set_version("none");
    for command in ["run", "force"] {
        let ran = host.upgrader(command).expect(0);
        assert_eq!(
            ran.stdout,
            "no upgrades available (14.3.33): updates are paused, the release channel contains \"none\"\n"
        );
    }
    host.assert_agent_runs("14.3.33");
}

#[test]
fn what_the_compatibility_rule_forbids_is_not_allowed_even_when_critical_and_forced() {
    let host = Host::with_upgrade();
    host.set_critical("yes");
    for (target, reason) in [
        (
            "12.4.1",
            "not allowed: downgrade from 14.3.33 to 12.4.1. Teleport does not support downgrading by more than one major version. \
             Publish a 13.x or 14.x version",
        ),
        (
            "15.0.0-rc.1",
            "not allowed: upgrade from 14.3.33 to 15.0.0-rc.1. 15.0.0-rc.1 is a pre-release, and prerelease is not enabled. Publish a \
             release, or set prerelease to yes",
        ),
    ] {
        host.set_version(target);
        for command in ["run", "force", "dry-run"] {
            let ran = host.upgrader(command).expect(10);
            assert_eq!(ran.stdout.lines().last(), Some(reason), "{command}");
        }
    }
    host.assert_agent_runs("14.3.33");
}
