//! A cluster with Teleport's own rollouts: which release channels its Proxy serves, and how a host with this program follows them.
//! The table is the one in packaging/README.md, "One fleet, two updaters".

use host::{Host, Package, Response, pong};

const START: &str = "14.3.33";
const TARGET: &str = "14.3.34";
/// The endpoint of a host of the group `prod`.
const CHANNEL: &str = "/v1/webapi/automaticupgrades/channel/prod";

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Enabled,
    Suspended,
    Disabled,
}

#[derive(Clone, Copy, PartialEq)]
enum Group {
    Unstarted,
    /// Only canaries change their version, which are hosts of `teleport-update`.
    Canary,
    Active,
    Done,
    RolledBack,
}

/// An `autoupdate_agent_rollout`, as far as a channel depends on it.
#[derive(Clone, Copy)]
struct Rollout {
    mode: Mode,
    immediate: bool,
    halts_on_error: bool,
    group: Group,
}

impl Rollout {
    /// The version, and whether it is critical, as in Teleport's `lib/web/autoupdate_common.go` (`getVersionFromRollout`,
    /// `getTriggerFromRollout`).
    fn serves(self) -> (&'static str, bool) {
        let of_start = [Group::Unstarted, Group::Canary, Group::RolledBack];
        let starts = self.mode != Mode::Disabled && !self.immediate;
        let version = if starts && of_start.contains(&self.group) {
            START
        } else {
            TARGET
        };
        let changes = match self.group {
            Group::Active | Group::RolledBack => true,
            Group::Done => self.halts_on_error,
            Group::Unstarted | Group::Canary => false,
        };
        let enabled = self.mode == Mode::Enabled;
        (version, enabled && (self.immediate || changes))
    }
}

/// The reaction of a host.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    Nothing,
    Waits,
    Changes,
}

/// The rows of the table, with what a host of the other version does outside its window.
fn rows() -> Vec<(&'static str, Rollout, Does)> {
    let plain = Rollout {
        mode: Mode::Enabled,
        immediate: false,
        halts_on_error: false,
        group: Group::Unstarted,
    };
    let group = |group| Rollout { group, ..plain };
    let mode = |mode| Rollout {
        mode,
        ..group(Group::Active)
    };
    let halts = Rollout {
        halts_on_error: true,
        ..group(Group::Done)
    };
    let immediate = Rollout {
        immediate: true,
        ..plain
    };
    vec![
        ("the group has not started", plain, Does::Nothing),
        (
            "the canaries of the group are active",
            group(Group::Canary),
            Does::Nothing,
        ),
        ("the group is active", group(Group::Active), Does::Changes),
        (
            "the group is done, strategy `time-based`",
            group(Group::Done),
            Does::Waits,
        ),
        (
            "the group is done, strategy `halt-on-error`",
            halts,
            Does::Changes,
        ),
        (
            "the group was rolled back",
            group(Group::RolledBack),
            Does::Changes,
        ),
        ("the schedule is immediate", immediate, Does::Changes),
        (
            "the rollout is suspended",
            mode(Mode::Suspended),
            Does::Waits,
        ),
        ("updates are disabled", mode(Mode::Disabled), Does::Waits),
    ]
}

/// Serves a channel like a Proxy: version and critical; a request for any other file is a bad request.
fn serve(host: &Host, rollout: Rollout) {
    let (version, critical) = rollout.serves();
    let critical = if critical { "yes" } else { "no" };
    for (file, response) in [
        ("version", Response::ok(format!("v{version}"))),
        ("critical", Response::ok(critical)),
        (
            "rollout",
            Response::status(400)
                .body("{\"error\":{\"message\":\"requested method is not implemented\"}}"),
        ),
    ] {
        host.releases.route(&format!("{CHANNEL}/{file}"), response);
    }
}

/// A host of the group that runs a version, outside its window.
fn host(version: &str) -> Host {
    let host = Host::with_agent(version);
    host.repository
        .publish(&[START, TARGET].map(|version| Package::agent("teleport-ent", version)));
    host.configure("endpoint", &format!("releases.example.com{CHANNEL}\n"));
    host.configure("observe-seconds", "1\n");
    // This setting has no effect, since a Proxy serves no percentage.
    host.configure("rollout-wariness", "1\n");
    host.releases.route("/webapi/ping", pong(TARGET));
    host.closed_window();
    host
}

#[test]
fn the_documents_match_the_channels_of_a_proxy() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, page) = readme.split_once("\n## One fleet, two updaters\n").unwrap();
    let (page, _) = page.split_once("\n## ").unwrap();
    let table: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.split('|').map(str::trim).collect())
        .skip(2)
        .collect();
    let documented: Vec<[&str; 2]> = table.iter().map(|cells| [cells[1], cells[2]]).collect();
    let mut expected = Vec::new();
    for (state, rollout, _) in rows() {
        let (version, critical) = rollout.serves();
        let version = match version {
            _ if rollout.mode == Mode::Suspended => "as the group's state",
            START => "start version",
            _ => "target version",
        };
        let critical = if critical { "yes" } else { "no" };
        expected.push((state, format!("{version}, `{critical}`")));
    }
    let expected: Vec<[&str; 2]> = expected
        .iter()
        .map(|(state, serves)| [*state, serves])
        .collect();
    assert_eq!(documented, expected);
}

#[test]
fn a_host_follows_its_group() {
    let hosts = [host(START), host(TARGET)];
    for (state, rollout, does) in rows() {
        let (version, _) = rollout.serves();
        for (host, installed) in hosts.iter().zip([START, TARGET]) {
            serve(host, rollout);
            let said = host.upgrader("dry-run").expect(0).stdout;
            let word = if version == START {
                "downgrade"
            } else {
                "upgrade"
            };
            let change = format!("{word} from {installed} to {version}");
            let expected = match does {
                _ if version == installed => {
                    format!("no upgrades available ({version} == {version})\n")
                }
                // The host is ahead of its group, so it downgrades in its window.
                Does::Nothing | Does::Waits => {
                    format!("{change} is pending: next maintenance window opens ")
                }
                Does::Changes => {
                    format!("would {change} now: the release channel marks it critical")
                }
            };
            assert!(said.contains(&expected), "{state}, {expected:?}: {said}");
        }
    }
}

#[test]
fn a_rollout_that_starts_is_suspended_and_rolled_back() {
    let host = host(START);
    let rollout = |wanted: &str| {
        let row = rows().into_iter().find(|(state, ..)| *state == wanted);
        row.unwrap().1
    };
    for (state, open, runs) in [
        ("the group has not started", true, START),
        ("the canaries of the group are active", true, START),
        ("the rollout is suspended", false, START),
        ("the group is active", false, TARGET),
        ("the group was rolled back", false, START),
        ("the group is done, strategy `time-based`", false, START),
        ("the group is done, strategy `time-based`", true, TARGET),
    ] {
        if open {
            host.open_window();
        } else {
            host.closed_window();
        }
        serve(&host, rollout(state));
        let ran = host.upgrader("run").expect(0);
        assert_eq!(
            host.installed("teleport-ent"),
            format!("ii {runs}"),
            "{state}: {ran:?}"
        );
        host.assert_agent_runs(runs);
    }
}

/// Without windows, a host changes its version only if `critical` is `yes`.
#[test]
fn a_suspended_rollout_stops_hosts_without_windows_that_require_one() {
    let host = host(START);
    host.remove("/etc/teleport-upgrade.d/schedule");
    host.configure("require-window", "yes\n");
    let (_, suspended, _) = rows().remove(7);
    serve(&host, suspended);
    for _ in 0..3 {
        host.upgrader("run").expect(0);
        host.assert_agent_runs(START);
    }
    let (_, active, _) = rows().remove(2);
    serve(&host, active);
    host.upgrader("run").expect(0);
    host.assert_agent_runs(TARGET);
}
