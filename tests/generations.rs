//! What is run on hosts of every generation of Debian: the main things of each package manager, and our units under each systemd.
//! tests/README.md has a table of the versions ("Hosts").

use host::{Generation, Host, Key, Manager, Package, SOON};
use std::time::Duration;

/// Makes a test of every case on every generation, and of those for package managers with each of them.
macro_rules! on_every_generation {
    (with each package manager: $($each:ident)* ; once: $($once:ident)*) => {
        on_every_generation!(bullseye Bullseye: $($each)* ; $($once)*);
        on_every_generation!(bookworm Bookworm: $($each)* ; $($once)*);
        on_every_generation!(trixie Trixie: $($each)* ; $($once)*);
        on_every_generation!(sid Sid: $($each)* ; $($once)*);
    };
    ($name:ident $generation:ident: $($each:ident)* ; $($once:ident)*) => {
        mod $name {
            const GENERATION: super::Generation = super::Generation::$generation;
            mod apt { $(#[test] fn $each() { super::super::$each(super::GENERATION, super::super::Manager::Apt); })* }
            // dnf 5 on the generation that has it.
            mod dnf { $(#[test] fn $each() { super::super::$each(super::GENERATION, super::super::Manager::Yum); })* }
            mod zypper { $(#[test] fn $each() { super::super::$each(super::GENERATION, super::super::Manager::Zypper); })* }
            $(#[test] fn $once() { super::$once(GENERATION); })*
        }
    };
}

on_every_generation! {
    with each package manager:
        the_agent_goes_up_and_down_and_back
        what_no_known_key_has_signed_is_not_installed
    ;
    once:
        the_timer_upgrades_and_systemd_has_nothing_to_complain_of
        the_units_are_as_systemd_wants_them
        a_source_with_its_key_inside
        what_else_the_solver_would_change
}

fn the_agent_goes_up_and_down_and_back(generation: Generation, manager: Manager) {
    let host = Host::with_upgrade_from(generation.with(manager));
    // How long the old process waits for one that crashed is a matter of `reload.rs`.
    host.agent_settings(&["dead-child=noticed"]);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    host.set_version("14.3.33");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.33");
    host.offer(Package::agent("teleport-ent", "14.3.35").behaviour("never-joins,crash-after=1"));
    let ran = host.upgrader("run");
    assert!(ran.status != 0 && ran.stdout.contains("14.3.35"), "{ran:?}");
    host.assert_agent_runs("14.3.33");
    // The version that failed here is not tried again, a better one is.
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.33");
    host.offer(Package::agent("teleport-ent", "14.3.36"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.36");
}

fn what_no_known_key_has_signed_is_not_installed(generation: Generation, manager: Manager) {
    let host = Host::with_upgrade_from(generation.with(manager));
    let fails = |what: &str| {
        let ran = host.upgrader("run");
        println!("{what}: {}", ran.stdout);
        assert!(
            ran.status != 0 && ran.stdout.contains("not signed by a trusted key"),
            "{what}: {ran:?}"
        );
        host.assert_agent_runs("14.3.33");
    };
    host.repository.sign_with(Key::Unknown);
    if manager == Manager::Apt {
        fails("signed by an unknown key");
        host.repository.sign_with(Key::Trusted);
        let suite = host
            .repository
            .root()
            .join("dists")
            .join(generation.codename());
        let signed = std::fs::read_to_string(suite.join("InRelease")).unwrap();
        std::fs::write(
            suite.join("InRelease"),
            signed.replacen("Label: Teleport", "Label: teleport", 1),
        )
        .unwrap();
        fails("changed after it was signed");
        std::fs::remove_file(suite.join("InRelease")).unwrap();
        fails("without a signature");
    } else {
        // The package itself would do, but not the index.
        let ran = host.upgrader("run");
        println!("an index signed by an unknown key: {}", ran.stdout);
        assert_ne!(ran.status, 0, "{ran:?}");
        host.assert_agent_runs("14.3.33");
        host.repository.sign_with(Key::Trusted);
        host.offer(Package::agent("teleport-ent", "14.3.34").signed(Some(Key::Unknown)));
        fails("a package signed by an unknown key");
        host.offer(Package::agent("teleport-ent", "14.3.34").signed(None));
        fails("a package without a signature");
    }
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

/// The units that are ours, and the agent's, which has a drop-in of ours.
const UNITS: [&str; 3] = [
    "teleport-upgrade.service",
    "teleport-upgrade.timer",
    "teleport.service",
];

fn the_timer_upgrades_and_systemd_has_nothing_to_complain_of(generation: Generation) {
    let host = Host::with_upgrade_from(generation.with(Manager::Apt));
    let started = host.property("teleport.service", "InvocationID");
    let hurry = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nOnUnitInactiveSec=30min\nRandomizedDelaySec=0\nAccuracySec=1ms\n";
    host.write(
        "/etc/systemd/system/teleport-upgrade.timer.d/hurry.conf",
        hurry,
    );
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    host.run(&["systemctl", "enable", "--now", "teleport-upgrade.timer"])
        .expect(0);
    let ended =
        || host.property("teleport-upgrade.service", "ExecMainExitTimestampMonotonic") != "0";
    host.wait_for(
        "the end of the run that the timer starts",
        Duration::from_secs(120),
        ended,
    );
    assert_eq!(
        host.property("teleport-upgrade.service", "Result"),
        "success",
        "{}",
        host.journal("teleport-upgrade.service")
    );
    host.assert_agent_runs("14.3.34");
    assert_eq!(
        host.property("teleport.service", "InvocationID"),
        started,
        "reloaded, not restarted"
    );
    let next = || host.property("teleport-upgrade.timer", "NextElapseUSecMonotonic");
    host.wait_for("the next time of the timer", SOON, || {
        !["", "0", "infinity"].contains(&next().as_str())
    });
    host.run(&["systemctl", "daemon-reload"]).expect(0);
    let said = host
        .shell("journalctl --quiet --no-pager --output=cat --priority=warning _PID=1")
        .expect(0)
        .stdout;
    let complaints = said
        .lines()
        .filter(|line| UNITS.iter().any(|unit| line.contains(unit)));
    // Containers here have no such controller, which is no matter of the unit.
    let complaints: Vec<&str> = complaints
        .filter(|line| !line.contains("Failed to read pids.max for control group"))
        .collect();
    assert!(
        complaints.is_empty(),
        "{}: {complaints:#?}",
        generation.name()
    );
}

fn the_units_are_as_systemd_wants_them(generation: Generation) {
    let host = Host::with_agent_from(generation.with(Manager::Apt), "14.3.33");
    for unit in UNITS {
        // What is wrong with other units than this is none of our business; older systemd does not tell them apart.
        let verified = host.run(&["systemd-analyze", "verify", "--man=no", unit]);
        let said = format!("{}{}", verified.stdout, verified.stderr);
        let ours: Vec<&str> = said
            .lines()
            .filter(|line| UNITS.iter().any(|unit| line.contains(unit)))
            .collect();
        assert!(ours.is_empty(), "{}: {unit}: {ours:#?}", generation.name());
    }
    let scored = host
        .run(&[
            "systemd-analyze",
            "security",
            "--no-pager",
            "teleport-upgrade.service",
        ])
        .expect(0)
        .stdout;
    let level = scored
        .lines()
        .last()
        .and_then(|line| line.rsplit_once(": "))
        .and_then(|(_, level)| level.split(' ').next());
    println!(
        "{}: systemd-analyze security: {}",
        generation.name(),
        level.unwrap_or("nothing")
    );
    let level: f32 = level
        .and_then(|level| level.parse().ok())
        .unwrap_or_else(|| panic!("{scored}"));
    assert!(level < 5.0, "{scored}");
}

fn a_source_with_its_key_inside(generation: Generation) {
    // apt before 2.3.10 cannot read a key there.
    if generation == Generation::Bullseye {
        return;
    }
    let host = Host::with_upgrade_from(generation.with(Manager::Apt));
    let codename = generation.codename();
    let source = |key: Key| {
        let key: String = key
            .public()
            .lines()
            .map(|line| format!(" {}\n", if line.is_empty() { "." } else { line }))
            .collect();
        let url = "https://apt.example.com/debian/";
        host.remove(Manager::Apt.source_file());
        let fields = format!(
            "Types: deb\nURIs: {url}\nSuites: {codename}\nComponents: stable/rolling\nSigned-By:\n{key}"
        );
        host.write("/etc/apt/sources.list.d/teleport.sources", &fields);
    };
    source(Key::Unknown);
    let ran = host.upgrader("run");
    assert!(
        ran.status != 0 && ran.stdout.contains("not signed by a trusted key"),
        "{ran:?}"
    );
    host.assert_agent_runs("14.3.33");
    source(Key::Trusted);
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

fn what_else_the_solver_would_change(generation: Generation) {
    let host = Host::with_upgrade_from(generation.with(Manager::Apt));
    let library = |version: &str| Package::new("library", version);
    host.repository.publish(&[
        library("1.0.0"),
        Package::new("unrelated", "1.0.0").depends("library (<< 2)"),
    ]);
    host.shell(Manager::Apt.refresh()).expect(0);
    host.shell(&Manager::Apt.install("unrelated", None))
        .expect(0);
    // The one can only be had by the removal of the other, or not at all.
    for needs in ["library (>= 2)", "nothing-has-this"] {
        host.repository.publish(&[library("2.0.0")]);
        host.offer(Package::agent("teleport-ent", "14.3.34").depends(needs));
        let ran = host.upgrader("run");
        println!("{needs}: {}", ran.stdout);
        assert_ne!(ran.status, 0, "{ran:?}");
        host.assert_agent_runs("14.3.33");
        assert_eq!(
            (
                host.installed("library").as_str(),
                host.installed("unrelated").as_str()
            ),
            ("ii 1.0.0", "ii 1.0.0")
        );
    }
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}
