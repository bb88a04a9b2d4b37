//! What the fuzzers feed with bytes of any kind: every parser of this program, and the decision.
//!
//! Each target asserts what must hold whatever the bytes are. libFuzzer drives them by way of `fuzz_targets/`; `tests/fuzz.rs` replays
//! the corpora in the ordinary tests, with a compiler of any kind.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "what goes wrong is a find, which is what they are for"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use teleport_upgrade::agent::schedule::{Absence, Schedule, Window, WindowStatus};
use teleport_upgrade::agent::service::Reach;
use teleport_upgrade::agent::service::{Binary, Health, LOOP, Service, properties, readiness};
use teleport_upgrade::agent::settings::Settings;
use teleport_upgrade::agent::settings::start::Start;
use teleport_upgrade::config::Config;
use teleport_upgrade::config::endpoint::Endpoint;
use teleport_upgrade::config::values::Pin;
use teleport_upgrade::config::windows::Windows;
use teleport_upgrade::decide::compatibility::Limits;
use teleport_upgrade::decide::decision::{Action, Cause, Decision, Next, Question, Wait};
use teleport_upgrade::decide::observation::{Agent, Observation};
use teleport_upgrade::decide::path::{Intermediate, Offer};
use teleport_upgrade::decide::policy;
use teleport_upgrade::decide::rollout::{Place, Standing};
use teleport_upgrade::packages;
use teleport_upgrade::packages::apt::{dpkg, repack, sources};
use teleport_upgrade::packages::common::{glob, messages};
use teleport_upgrade::packages::package::PACKAGES;
use teleport_upgrade::packages::package::{Database, Installed};
use teleport_upgrade::packages::rpm::ini::{Ini, Style};
use teleport_upgrade::packages::rpm::{database, holds, verify};
use teleport_upgrade::packages::{apt, yum, zypper};
use teleport_upgrade::report::decision::DecisionReport;
use teleport_upgrade::report::words::action;
use teleport_upgrade::server::answers;
use teleport_upgrade::server::answers::{Cluster, Percentage, Target};
use teleport_upgrade::server::http::proxy;
use teleport_upgrade::state::changes::{self, Begun, Changes};
use teleport_upgrade::state::history::{Change, FailedTarget, History};
use teleport_upgrade::state::record;
use teleport_upgrade::system::address::Address;
use teleport_upgrade::system::process::command::Output;
use teleport_upgrade::system::text::printable;
use teleport_upgrade::version::Version;

/// A target: it panics if something does not hold for these bytes.
type Run = fn(&[u8]);

/// The targets by their names.
pub const TARGETS: [(&str, Run); 10] = [
    ("configuration", configuration),
    ("schedule", schedule),
    ("windows", host_windows),
    ("channel", channel),
    ("databases", databases),
    ("host", host),
    ("trust", trust),
    ("managers", managers),
    ("cluster", cluster),
    ("decision", decision),
];

/// Feeds one target.
pub fn run(name: &str, data: &[u8]) {
    TARGETS.iter().find(|(other, _)| *other == name).unwrap().1(data);
}

/// A directory in memory for what only reads files.
fn scratch() -> &'static Path {
    static SCRATCH: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    SCRATCH.get_or_init(|| {
        let directory = tempfile::Builder::new()
            .prefix("fuzz")
            .tempdir_in("/dev/shm")
            .unwrap()
            .keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        directory
    })
}

/// Removes that directory.
pub fn clean_up() {
    fs::remove_dir_all(scratch()).unwrap();
}

/// The parts between bytes 0xff, which stand in no UTF-8: exactly `N`, the last ones empty if there are fewer.
fn parts<const N: usize>(data: &[u8]) -> [String; N] {
    let mut parts = data
        .split(|byte| *byte == 0xff)
        .map(|part| String::from_utf8_lossy(part).into_owned());
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Nothing in a message may move a cursor or turn a text around.
fn assert_printable(message: &str) {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!message.contains(harmful), "{message:?}");
    assert!(message.len() < 8000, "{}", message.len());
}

/// What a version may have in it, wherever it comes from: it stands in command lines.
fn assert_harmless(version: &Version) {
    let text = version.to_string();
    assert!(text.starts_with(|c: char| c.is_ascii_digit()), "{text:?}");
    assert!(
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'),
        "{text:?}"
    );
    assert_eq!(
        text.parse::<Version>().as_ref(),
        Ok(version),
        "it is read back as what it is"
    );
    assert_eq!(format!("v{text}").parse::<Version>().as_ref(), Ok(version));
}

/// Every file of the configuration directory.
pub fn configuration(data: &[u8]) {
    const FILES: [&str; 10] = [
        "endpoint",
        "package",
        "installer",
        "service",
        "insecure",
        "lock",
        "lock-wait-seconds",
        "refresh-seconds",
        "observe-seconds",
        "extra",
    ];
    let directory = scratch();
    let values = data.split(|byte| *byte == 0xff);
    for (name, value) in FILES.iter().zip(values.chain(std::iter::repeat(&b""[..]))) {
        let path = directory.join(name);
        if value.is_empty() {
            let _ = fs::remove_file(path);
        } else {
            fs::write(path, value).unwrap();
        }
    }
    match Config::read(directory) {
        Ok(config) => {
            let channel = config.channel().unwrap();
            let Address { host, .. } = channel.server().clone();
            assert!(!host.is_empty());
            let address = channel.file("version");
            assert!(address.chars().all(|c| c.is_ascii_graphic()), "{address:?}");
            assert!(
                address.starts_with("https://") || is_this_host(&host),
                "{address}"
            );
            assert!(
                config
                    .package
                    .is_none_or(|package| PACKAGES.contains(&package.as_str()))
            );
            for unit in &config.services {
                assert!(
                    unit.ends_with(".service")
                        && !unit.starts_with('-')
                        && !unit.contains(['/', ' ', '*']),
                    "{unit:?}"
                );
            }
            let day = Duration::from_secs(24 * 60 * 60);
            assert!(config.lock_wait <= day && config.refresh <= day && config.observe <= day);
        }
        Err(error) => assert_printable(&error.to_string()),
    }
    let text = String::from_utf8_lossy(data);
    for insecure in [false, true] {
        match Endpoint::parse(text.trim(), insecure) {
            Ok((endpoint, _)) => {
                assert!(endpoint.is_secure() || insecure && is_this_host(&endpoint.server().host))
            }
            Err(problem) => assert_printable(&problem),
        }
    }
}

fn is_this_host(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    bare == "localhost"
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The agent's schedule, and how any moment lies to it.
pub fn schedule(data: &[u8]) {
    let (moment, text) = data.split_at(data.len().min(8));
    let moment = i64::from_le_bytes(std::array::from_fn(|index| {
        moment.get(index).copied().unwrap_or(0)
    }));
    let now = DateTime::from_timestamp(moment, 0).unwrap_or(DateTime::UNIX_EPOCH);
    let parsed = Schedule::parse(&String::from_utf8_lossy(text));
    let windows = match &parsed {
        Schedule::Windows(windows) => windows.clone(),
        Schedule::Absent(Absence::Unreadable(why)) => {
            assert!(
                why.starts_with("line ") && why.ends_with(": expected two Unix timestamps"),
                "quotes nothing: {why}"
            );
            Vec::new()
        }
        Schedule::Absent(_) => Vec::new(),
    };
    assert!(windows.is_sorted() && windows.iter().all(|window| window.start < window.stop));
    let mut moments = vec![now];
    // The corners, where mistakes live.
    for window in windows.iter().take(4) {
        moments.extend([window.start, window.stop]);
        moments.extend(
            [-1, 1]
                .into_iter()
                .filter_map(|step| window.start.checked_add_signed(TimeDelta::seconds(step))),
        );
        moments.extend(
            [-1, 1]
                .into_iter()
                .filter_map(|step| window.stop.checked_add_signed(TimeDelta::seconds(step))),
        );
    }
    for now in moments {
        let open = |at: DateTime<Utc>| {
            windows
                .iter()
                .any(|window| window.start <= at && at < window.stop)
        };
        match parsed.status(now) {
            WindowStatus::Inside { until } => {
                assert!(
                    open(now) && now < until && !open(until),
                    "inside means that a window is open, until none is"
                );
            }
            WindowStatus::Before(next) => {
                assert!(!open(now) && now < next.start && windows.contains(&next));
                assert!(
                    !windows
                        .iter()
                        .any(|window| now < window.start && window.start < next.start),
                    "the very next one"
                );
            }
            WindowStatus::Absent(absence) => {
                assert!(!open(now));
                assert_printable(&absence.to_string());
            }
        }
    }
}

/// The setting `windows` in a time zone whose clock changes once: 4 bytes for the time, 2 for the minutes from then to the change,
/// and 2 for the offsets before and after it, in quarters of an hour.
pub fn host_windows(data: &[u8]) {
    let (head, text) = data.split_at(data.len().min(8));
    let head: [u8; 8] = std::array::from_fn(|index| head.get(index).copied().unwrap_or(0));
    let [a, b, c, d, e, f, before, after] = head;
    let now = DateTime::from_timestamp(u32::from_le_bytes([a, b, c, d]).into(), 0).unwrap();
    let change = now + TimeDelta::minutes(i16::from_le_bytes([e, f]).into());
    let zone = |quarters: u8| FixedOffset::east_opt(900 * i32::from(quarters as i8 % 57)).unwrap();
    let local = |at: DateTime<Utc>| zone(if at < change { before } else { after });
    let text = String::from_utf8_lossy(text);
    let parsed = match Windows::parse(&text) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return,
        Err(problem) => {
            assert!(problem.starts_with("line ") || problem.starts_with("more than"));
            return assert_printable(&problem);
        }
    };
    let next = parsed.next(now, local);
    assert!(!next.is_empty(), "every window opens within three weeks");
    assert!(
        next.iter()
            .all(|window| window.start < window.stop && window.stop > now)
    );
    let apart = |pair: &[Window]| pair[0].stop < pair[1].start;
    assert!(next.windows(2).all(apart), "in order, and apart: {next:?}");
    // The same windows are found at any other moment, but for where the search begins and ends.
    let within = |window: &&Window| {
        now - TimeDelta::hours(24) <= window.start && window.stop < now + TimeDelta::days(15)
    };
    for window in next.iter().take(3).filter(within) {
        for (at, first) in [(window.start, true), (window.stop, false)] {
            let later = parsed.next(at, local);
            assert_eq!(later.first() == Some(window), first, "{window:?} at {at}");
        }
    }
}

/// What the version server says, in any spelling of a version, and the way to it.
pub fn channel(data: &[u8]) {
    let [text, host, exceptions] = parts(data);
    match answers::target(&text) {
        Ok(Target::Version(version)) => assert_harmless(&version),
        Ok(Target::None) => assert!(text.trim().eq_ignore_ascii_case("none")),
        Err((what, _)) => assert_printable(&what),
    }
    if let Some(percent) = answers::percentage(&text) {
        assert!((0.0..=100.0).contains(&percent));
        assert!(!text.contains(['-', '+', 'e', ',']), "{text:?}");
        assert_eq!(answers::percentage(&percent.to_string()), Some(percent));
    }
    if answers::is_critical(&text).is_some() {
        assert!(text.trim().len() <= 5);
    }
    for version in [
        Version::from_debian(&text),
        Version::from_rpm(&text),
        text.parse(),
    ] {
        match version {
            Ok(version) => assert_harmless(&version),
            Err(error) => assert_printable(&error.to_string()),
        }
    }
    let shown = printable(&text, 200);
    assert_printable(&shown);
    assert_eq!(
        printable(&shown, 8000),
        shown,
        "what was made printable once stays as it is"
    );
    let exempt = proxy::is_exempt(&host, 443, &exceptions);
    assert!(exempt || !exceptions.split(',').any(|entry| entry.trim() == "*"));
    assert!(!exempt || is_this_host(&host.to_ascii_lowercase()) || !exceptions.trim().is_empty());
}

/// The agent's own settings, and what its cluster says of itself.
pub fn cluster(data: &[u8]) {
    let [yaml, ping, pin] = parts(data);
    let settings = Settings::parse("/etc/teleport.yaml", &yaml, &Start::default());
    assert!(settings.data_dir.is_absolute());
    if let Some(problem) = &settings.problem {
        assert_printable(problem);
    }
    for Address { host, .. } in &settings.cluster {
        assert!(
            !host.is_empty()
                && host.chars().all(|c| c.is_ascii_graphic())
                && !host.contains(['/', '@']),
            "{host:?}"
        );
        assert!(
            yaml.contains(host.as_str()) || yaml.contains(['\\', '\n']),
            "{host:?}"
        );
    }
    match answers::cluster_version(&ping) {
        Ok(version) => assert_harmless(&version),
        Err(problem) => assert_printable(&problem),
    }
    match answers::cluster_name(&ping) {
        Ok(text) | Err(text) => assert_printable(&text),
    }
    if let Some(Pin::Version(version)) = Pin::parse(&pin) {
        assert_harmless(&version);
    }
}

/// The package databases, and the files that lock packages.
pub fn databases(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        let found = [dpkg::parse(line).ok().flatten(), database::parse(line).ok()];
        for installed in found.into_iter().flatten() {
            assert_harmless(&installed.version);
            assert!(line.contains(&installed.name) && line.contains(&installed.package_version));
        }
        if let Err(error) = dpkg::parse(line) {
            assert!(format!("{error:#}").len() < line.len() + 1000);
        }
        for name in PACKAGES {
            assert!(!holds::locks(line, name) || line.contains(name));
            let settings = Ini::parse(Path::new("/x"), line, Style::Folded);
            assert!(!holds::excludes(&settings, name) || line.contains("exclude"));
        }
        if let Some(file) = verify::differs(line) {
            assert!(file.starts_with('/'));
        }
        if database::is_unplaced(line) {
            assert!(line.contains(';'));
        }
    }
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        database::surplus(&lines).len() < lines.len().max(1),
        "something stays"
    );
    let control = repack::control_file(text.lines());
    assert!(
        !control
            .lines()
            .any(|line| line.starts_with("Status:") || line.trim().is_empty())
    );
}

/// What systemd and the agent say of the agent, and what an earlier run has left.
pub fn host(data: &[u8]) {
    let [shown, ready, past] = parts(data);
    let lines: Vec<&str> = shown.lines().collect();
    for service in properties::parse(&lines, Duration::from_secs(1000)) {
        assert!(service.pid.is_none_or(|pid| pid > 0));
        assert!(service.health != Health::CrashLooping || service.restarts >= LOOP);
        // Whatever the command line and the environment are; but no file that they name is read.
        for start in &service.starts {
            let start = Start {
                config: Some("/nowhere".into()),
                ..start.clone()
            };
            let host = Settings::of(&service.unit, &start).cluster_service;
            assert_printable(&host.map(|host| host.to_string()).unwrap_or_default());
            assert_printable(start.unread.as_deref().unwrap_or_default());
        }
    }
    if let readiness::Readiness::NotReady(why, _) = readiness::parse(&ready) {
        assert_printable(&why);
    }
    if let Ok(history) = serde_json::from_str::<History>(&past) {
        let text = serde_json::to_string(&history).unwrap();
        assert_eq!(
            serde_json::from_str::<History>(&text).unwrap(),
            history,
            "what is written is read back"
        );
    }
    fs::write(scratch().join(record::HISTORY), &past).unwrap();
    let _ = record::history(scratch());
}

/// The settings of package managers.
pub fn trust(data: &[u8]) {
    let [main, repository, overriding] = parts(data);
    for text in [&main, &repository] {
        let weak = sources::weak_options(text).len() + sources::weak_fields(text).len();
        assert!(weak == 0 || text.to_ascii_lowercase().contains(['=', ':']));
        let _ = apt::trust::weak_settings(text.lines());
    }
    let file = Path::new("/x.repo");
    let ini = |text: &str, style| [Ini::parse(file, text, style)];
    for only in [None, Some("teleport")] {
        let folded = |text| ini(text, Style::Folded);
        let mut found = yum::trust::judge(
            &folded(&main),
            &folded(&repository),
            &folded(&overriding),
            only,
        );
        found.extend(zypper::trust::judge(
            &ini(&main, Style::Plain),
            &ini(&repository, Style::Plain),
            only,
        ));
        for weakness in found {
            assert_printable(&weakness.to_string());
        }
    }
    let _ = holds::locks_by_toml(&main, "teleport");
    let pattern: String = overriding.chars().take(200).collect();
    if !pattern.ends_with('\\') && !pattern.contains('[') {
        assert!(
            !glob::fits(&pattern, "teleport") || glob::fits(&format!("{pattern}*"), "teleport-ent")
        );
    }
    // What switches the check off right there must be seen, whatever else the files say.
    let off = format!("{repository}\n[teleport]\ngpgcheck=0\n");
    assert!(!yum::trust::judge(&[], &ini(&off, Style::Folded), &[], Some("teleport")).is_empty());
}

/// What package managers say.
pub fn managers(data: &[u8]) {
    let (code, text) = data.split_first().unwrap_or((&0, &[]));
    let output = Output::of("manager", *code, &String::from_utf8_lossy(text));
    assert_printable(&output.summary());
    let errors = [
        messages::install_error(&output, "/x"),
        messages::refresh_error(&output, "/x"),
    ];
    errors
        .iter()
        .for_each(|error| assert_printable(&error.to_string()));
    let offered = apt::output::listed(&output)
        .into_iter()
        .chain(packages::rpm::versions(
            output.lines().flat_map(str::split_whitespace),
        ));
    let offered: Vec<(Version, String)> = offered.collect();
    for (version, spelled) in &offered {
        assert_harmless(version);
        // It stands in a command line of root's.
        let harmless = |c: char| c.is_ascii_alphanumeric() || ".-+~^_".contains(c);
        assert!(
            spelled.starts_with(|c: char| c.is_ascii_alphanumeric())
                && spelled.chars().all(harmless),
            "{spelled:?}"
        );
    }
    let installed = package(version(14, 3, 33));
    if let Ok(chosen) = packages::choose(&offered, &installed, &version(14, 3, 34), "/x") {
        assert!(
            offered
                .iter()
                .any(|(version, spelled)| *version == self::version(14, 3, 34)
                    && *spelled == chosen.package_version)
        );
    }
    let _ = (
        apt::output::sources(&output).count(),
        apt::output::busy(&output),
        yum::output::busy(&output),
        zypper::output::busy(&output),
    );
    let changes = [
        apt::output::changed(&output).map(str::to_string).collect(),
        yum::output::changed(&output, "teleport-ent"),
        zypper::output::changed(&output),
    ];
    for changed in changes {
        let others = changed.iter().any(|name| name != "teleport-ent");
        assert_eq!(
            packages::only("teleport-ent", changed.clone()).is_ok(),
            !others && !changed.is_empty()
        );
    }
    if verify::is_signed(&output) {
        assert!(
            *code == 0
                && output
                    .lines()
                    .skip(1)
                    .any(|line| line.to_lowercase().contains("signature"))
        );
    }
    let _ = verify::problems(&output);
    let text = String::from_utf8_lossy(text);
    if let Some(excluded) = yum::exclude::with_exclude(&text, "teleport-ent") {
        assert_eq!(
            yum::exclude::with_exclude(&excluded, "teleport-ent").as_ref(),
            Some(&excluded),
            "once is enough"
        );
    }
    assert!(yum::exclude::without_lock(&text, Some("teleport-ent")).len() <= text.len() + 1);
}

/// Any observation: no panic, never a step beyond the compatibility rule, nothing done without a cause, nothing asked twice.
pub fn decision(data: &[u8]) {
    let seen = observation(&mut Bytes(data));
    let next = policy::decide(&seen);
    match &next {
        Next::Ask(Question::Target) => assert_eq!(seen.target, None),
        Next::Ask(Question::Critical) => assert_eq!(seen.critical, None),
        Next::Ask(Question::Percentage) => assert_eq!(seen.percentage, None),
        Next::Ask(Question::Cluster) => assert_eq!(seen.cluster, None),
        Next::Ask(Question::Offer) => assert_eq!(seen.offer, None),
        Next::Decide(decision) => {
            assert_follows(&seen, decision);
            let report = DecisionReport::of(&seen, decision);
            assert_printable(&report.sentence);
            assert!(!report.sentence.is_empty());
        }
    }
    if seen.history.unfinished.is_some() {
        assert!(
            matches!(next, Next::Decide(Decision::Resume(_))),
            "first things first"
        );
    }
    assert_eq!(
        policy::decide(&seen),
        next,
        "same observation, same decision"
    );
    let mark = policy::schedule_absent_since(&seen);
    let is_absent =
        matches!(&seen.windows, WindowStatus::Absent(absence) if *absence != Absence::Nop);
    assert_eq!(mark.is_some(), is_absent);
}

/// The decision has its reason in the observation.
fn assert_follows(seen: &Observation, decision: &Decision) {
    let installed = &seen.agent.package.version;
    match decision {
        Decision::Resume(change) => assert_eq!(seen.history.unfinished.as_ref(), Some(&**change)),
        Decision::Paused => assert_eq!(seen.target, Some(Target::None)),
        Decision::UpToDate => {
            assert_eq!(seen.target, Some(Target::Version(installed.clone())))
        }
        Decision::NotAllowed(_) => {}
        Decision::Skip(failed) => {
            assert!(seen.history.failed.as_ref() == Some(failed) && !seen.forced)
        }
        Decision::Wait(action, wait) => {
            assert!(!seen.forced && seen.critical == Some(false));
            assert_allowed(seen, action);
            match wait {
                Wait::Rollout(standing) => {
                    assert!(matches!(action, Action::Upgrade(_)));
                    assert_eq!(Standing::of(seen).as_ref(), Some(standing));
                    assert!(
                        !standing.is_reached() && standing.percentage != Percentage::Known(100.0)
                    );
                }
                Wait::Window(window, pause) => {
                    assert_eq!(
                        (WindowStatus::Before(*window), window.start - seen.now),
                        (seen.windows.clone(), *pause)
                    )
                }
                Wait::Schedule(absence) => {
                    assert!(seen.require_window);
                    assert_eq!(WindowStatus::Absent(absence.clone()), seen.windows);
                }
                Wait::NextCheck(absence) => {
                    assert!(!seen.require_window);
                    assert_eq!(
                        (WindowStatus::Absent(absence.clone()), None),
                        (seen.windows.clone(), seen.history.schedule_absent_since)
                    );
                }
            }
        }
        Decision::Go(action, cause) => {
            assert_allowed(seen, action);
            let by_window = matches!(cause, Cause::Window { .. } | Cause::ScheduleAbsent(_));
            if by_window && matches!(action, Action::Upgrade(_)) {
                assert!(Standing::of(seen).unwrap().is_reached(), "before its turn");
            }
            assert_founded(seen, cause);
            assert!(!action::done(action).is_empty());
        }
    }
}

/// What is to be done leads to a version that Teleport supports going to, and only to one that is wanted or already there.
fn assert_allowed(seen: &Observation, action: &Action) {
    let installed = &seen.agent.package.version;
    match action {
        Action::Upgrade(path) => {
            assert_eq!(
                (&path.from, &seen.target),
                (installed, &Some(Target::Version(path.target.clone())))
            );
            let between = match &path.intermediate {
                Intermediate::Known(versions) => versions.clone(),
                // An unknown path is shown, and not taken.
                Intermediate::Latest => {
                    return assert!(!matches!(seen.offer, Some(Offer::Versions(..))));
                }
            };
            assert!(!between.iter().any(Version::is_pre_release));
            let steps = || {
                [installed]
                    .into_iter()
                    .chain(&between)
                    .chain([&path.target])
            };
            for (from, to) in steps().zip(steps().skip(1)) {
                assert!(
                    from.major().abs_diff(to.major()) <= 1,
                    "{from} -> {to}: one major version at a time"
                );
                assert!(
                    from < to || between.is_empty(),
                    "intermediate versions are for upgrades only"
                );
            }
            let to = &path.target;
            assert!(!to.is_pre_release() || seen.limits.prerelease);
            assert!(seen.limits.pin.as_ref().is_none_or(|pin| pin.allows(to)));
            if let Some(Cluster::Runs(runs, _)) = &seen.cluster {
                assert!(
                    steps().skip(1).all(|step| step <= runs),
                    "never ahead of the cluster"
                );
                assert!(
                    to.major() >= runs.major().saturating_sub(1),
                    "never two behind it"
                );
            }
            let next = path.next().unwrap();
            let failed = seen
                .history
                .failed
                .as_ref()
                .filter(|failed| failed.target == *next && !failed.rollback_failed);
            let failed = failed
                .filter(|failed| path.goal().is_none() || path.goal() == failed.goal.as_ref());
            assert!(
                failed.is_none() || seen.forced,
                "what failed here is not tried again"
            );
        }
        Action::Reinstall(version, _) => {
            assert!(version == installed && seen.agent.package.broken.is_some())
        }
        Action::Restart(version, unit) => {
            assert_eq!(version, installed);
            let service = seen
                .agent
                .services
                .iter()
                .find(|service| service.unit == *unit)
                .unwrap();
            assert!(
                !matches!(
                    service.health,
                    Health::Stopped | Health::Absent | Health::Changing
                ),
                "a stopped service is left stopped"
            );
        }
    }
}

/// A cause is one that was seen.
fn assert_founded(seen: &Observation, cause: &Cause) {
    match cause {
        Cause::Forced => assert!(seen.forced),
        Cause::Critical => assert_eq!(seen.critical, Some(true)),
        Cause::Down(unit, _) => {
            let service = seen
                .agent
                .services
                .iter()
                .find(|service| service.unit == *unit)
                .unwrap();
            assert!(matches!(
                service.health,
                Health::Failed(_) | Health::Crashed | Health::CrashLooping
            ));
        }
        Cause::ScheduleAbsent(absence) => {
            assert_eq!(WindowStatus::Absent(absence.clone()), seen.windows);
            assert!(seen.history.schedule_absent_since.is_some() && !seen.require_window);
        }
        Cause::Window { until } => assert_eq!(WindowStatus::Inside { until: *until }, seen.windows),
    }
}

const UNITS: [&str; 3] = ["teleport.service", "a.service", "b.service"];

/// Bytes to choose by; when they are used up, everything is the first choice.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn number(&mut self) -> u64 {
        // Small ones and the ends of the range are where the interest is.
        match self.byte() {
            255 => u64::MAX,
            254 => u64::MAX - 1,
            253 => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            small => u64::from(small % 20),
        }
    }

    fn moment(&mut self) -> DateTime<Utc> {
        match self.byte() {
            255 => DateTime::<Utc>::MAX_UTC,
            254 => DateTime::<Utc>::MIN_UTC,
            253 => DateTime::UNIX_EPOCH,
            small => DateTime::from_timestamp(1_795_140_000 + i64::from(small) * 1800, 0).unwrap(),
        }
    }

    fn perhaps<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.yes().then(|| value(self))
    }

    fn version(&mut self) -> Version {
        let (major, minor, patch) = (self.number(), self.number(), self.number());
        let end = ["", "", "", "-rc.1", "-dev", "-0"][usize::from(self.byte() % 6)];
        format!("{major}.{minor}.{patch}{end}").parse().unwrap()
    }

    fn word(&mut self) -> String {
        UNITS[usize::from(self.byte() % 3)].to_string()
    }
}

fn version(major: u64, minor: u64, patch: u64) -> Version {
    format!("{major}.{minor}.{patch}").parse().unwrap()
}

fn package(version: Version) -> Installed {
    Installed {
        name: "teleport-ent".into(),
        package_version: version.to_string(),
        version,
        broken: None,
        held: false,
        database: Database::Dpkg,
    }
}

fn observation(bytes: &mut Bytes) -> Observation {
    let installed = bytes.version();
    let target = match bytes.byte() % 4 {
        0 => None,
        1 => Some(Target::None),
        2 => Some(Target::Version(installed.clone())),
        _ => Some(Target::Version(bytes.version())),
    };
    let damage = bytes.perhaps(|_| "damage".to_string());
    Observation {
        now: bytes.moment(),
        forced: bytes.yes(),
        require_window: bytes.yes(),
        limits: Limits {
            pin: bytes.perhaps(|bytes| {
                if bytes.yes() {
                    Pin::Major(bytes.number())
                } else {
                    Pin::Version(bytes.version())
                }
            }),
            prerelease: bytes.yes(),
        },
        settings: Settings::defaults("/etc/teleport.yaml"),
        agent: Agent {
            package: Installed {
                broken: damage,
                ..package(installed)
            },
            services: UNITS[..usize::from(bytes.byte() % 3)]
                .iter()
                .map(|unit| one_service(unit, bytes))
                .collect(),
        },
        windows: windows(bytes),
        history: past(bytes, &target),
        target,
        critical: bytes.perhaps(Bytes::yes),
        place: match bytes.byte() {
            0 => Place::Unknown("empty".into()),
            small @ 1..=100 => Place::Wariness(f64::from(small) / 100.0),
            other => Place::of_machine(&format!("{other:032x}")),
        },
        percentage: bytes.perhaps(|bytes| match bytes.byte() {
            255 => Percentage::Unknown("timed out".into()),
            small => Percentage::Known(f64::from(small % 101)),
        }),
        cluster: bytes.perhaps(|bytes| match bytes.yes() {
            true => Cluster::Runs(
                bytes.version(),
                Address::parse("p.example.com", 3080).unwrap(),
            ),
            false => Cluster::Unknown(String::new(), Reach::Unknown),
        }),
        offer: bytes.perhaps(|bytes| match bytes.byte() % 8 {
            count @ 0..3 => Offer::Cached((0..count).map(|_| bytes.version()).collect()),
            count => Offer::Versions((0..count).map(|_| bytes.version()).collect(), "/x".into()),
        }),
    }
}

fn one_service(unit: &str, bytes: &mut Bytes) -> Service {
    Service {
        unit: unit.to_string(),
        health: match bytes.byte() % 7 {
            0 => Health::Running,
            1 => Health::Changing,
            2 => Health::Stopped,
            3 => Health::Failed("exit-code".into()),
            4 => Health::Crashed,
            5 => Health::CrashLooping,
            _ => Health::Absent,
        },
        restarts: bytes.number() as u32,
        binary: [Binary::OnDisk, Binary::Replaced, Binary::Unknown][usize::from(bytes.byte() % 3)],
        ..Service::default()
    }
}

fn windows(bytes: &mut Bytes) -> WindowStatus {
    let (start, stop) = (bytes.moment(), bytes.moment());
    match bytes.byte() % 7 {
        0 => WindowStatus::Inside { until: stop },
        1 => WindowStatus::Before(Window { start, stop }),
        2 => WindowStatus::Absent(Absence::Missing),
        3 => WindowStatus::Absent(Absence::Empty),
        4 => WindowStatus::Absent(Absence::Past(stop)),
        5 => WindowStatus::Absent(Absence::Nop),
        _ => WindowStatus::Absent(Absence::Unreadable("x".into())),
    }
}

fn past(bytes: &mut Bytes, target: &Option<Target>) -> History {
    let change = |bytes: &mut Bytes| Change {
        package: "teleport-ent".into(),
        from: bytes.version(),
        from_package_version: "1".into(),
        to: bytes.version(),
        to_package_version: "2".into(),
        goal: bytes.perhaps(Bytes::version),
        rollback_package: None,
        failure: bytes.perhaps(Bytes::word),
        rollback_failed: bytes.perhaps(Bytes::moment),
        held: bytes.yes(),
        services: vec![bytes.word()],
        units: vec![bytes.word()],
        since: bytes.moment(),
        start: changes::Start::default(),
    };
    let failed = |bytes: &mut Bytes| FailedTarget {
        target: match (bytes.yes(), target) {
            (true, Some(Target::Version(target))) => target.clone(),
            _ => bytes.version(),
        },
        goal: bytes.perhaps(Bytes::version),
        reason: "x".into(),
        at: bytes.moment(),
        rollback_failed: bytes.yes(),
    };
    let changes = |bytes: &mut Bytes| {
        let (from, to, at) = (bytes.version(), bytes.version(), bytes.moment());
        let begun = Begun {
            began: at,
            from,
            to,
            goal: None,
            service: None,
            start: changes::Start::default(),
        };
        let mut changes = Changes::default();
        changes.add(begun.end(at, None));
        changes
    };
    History {
        unfinished: bytes.perhaps(|bytes| bytes.perhaps(change)).flatten(),
        schedule_absent_since: bytes.perhaps(Bytes::moment),
        failed: bytes.perhaps(failed),
        held_by_us: bytes.yes(),
        restarts: (0..bytes.byte() % 3)
            .map(|_| (bytes.word(), bytes.number() as u32))
            .collect::<BTreeMap<_, _>>(),
        changes: bytes.perhaps(changes).unwrap_or_default(),
        // What else is kept is nothing that is decided by.
        ..History::default()
    }
}
