//! What apt and dpkg alone do, and what is made of it. What they have in common with others is in `managers.rs`.

use host::{Host, Package, SOON};

#[test]
fn an_edition_stays_what_it_is() {
    let host = Host::new();
    host.configure("endpoint", "releases.example.com/current");
    host.configure("observe-seconds", "1");
    host.write(
        "/etc/teleport.yaml",
        "auth_service: {enabled: no}\nproxy_service: {enabled: no}\n",
    );
    host.open_window();
    let packages =
        ["14.3.33", "14.3.34"].map(|version| Package::agent("teleport-ent-fips", version));
    host.repository.publish(&packages);
    host.repository.publish(&[
        Package::agent("teleport-ent", "14.3.34"),
        Package::agent("teleport", "14.3.34"),
    ]);
    host.set_version("14.3.34");
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.run(&[
        "apt-get",
        "-q",
        "-y",
        "install",
        "teleport-ent-fips=14.3.33",
    ])
    .expect(0);
    host.run(&["systemctl", "enable", "--now", "teleport.service"])
        .expect(0);
    host.wait_for("the agent", SOON, || {
        host.read("/run/teleport.pid").is_some()
    });
    host.upgrader("run").expect(0);
    assert_eq!(host.installed("teleport-ent-fips"), "ii 14.3.34");
    assert_eq!(host.running_version(), "14.3.34");
    assert_eq!(
        (
            host.installed("teleport-ent").as_str(),
            host.installed("teleport").as_str()
        ),
        ("", "")
    );
}

#[test]
fn a_run_of_dpkg_that_was_interrupted_is_ended_first() {
    let host = Host::with_upgrade();
    host.repository
        .publish(&[Package::new("other", "1.0.0").postinst("test -e /run/healthy")]);
    host.run(&["apt-get", "-q", "update"]).expect(0);
    host.run(&["apt-get", "-q", "-y", "install", "other"])
        .expect(100);
    host.write("/run/healthy", "");
    // What an interrupted dpkg leaves behind, and apt-get refuses to work with.
    host.write("/var/lib/dpkg/updates/0001", "");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    assert_eq!(host.installed("other"), "ii 1.0.0");
}

#[test]
fn needrestart_restarts_nothing_on_our_account() {
    let host = Host::with_upgrade();
    host.configure("lock", "no\n");
    host.write(
        "/etc/needrestart/conf.d/auto.conf",
        "$nrconf{restart} = 'a';\n",
    );
    host.write(
        "/etc/systemd/system/bystander.service",
        "[Service]\nExecStart=/usr/local/bin/bystander infinity\n",
    );
    host.shell("cp /bin/sleep /usr/local/bin/bystander && systemctl daemon-reload && systemctl start bystander").expect(0);
    // The service now runs a binary that is no longer there: needrestart's business.
    host.shell(
        "cp /bin/sleep /usr/local/bin/new && mv /usr/local/bin/new /usr/local/bin/bystander",
    )
    .expect(0);
    let pid = host.property("bystander.service", "MainPID");
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
    assert_eq!(host.property("bystander.service", "MainPID"), pid);
    // The same install without the program does restart it, else this test would show nothing.
    host.run(&[
        "apt-get",
        "-q",
        "-y",
        "--allow-downgrades",
        "install",
        "teleport-ent=14.3.33",
    ])
    .expect(0);
    assert_ne!(host.property("bystander.service", "MainPID"), pid);
}
