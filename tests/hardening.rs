//! The unit's sandbox, and what children are given: enough for package managers and their scripts, and no more.

use host::{Host, Manager, Package};

/// What scripts of packages do, and what they were given while they did it.
const USUAL: &str = "\
set -e
env | sort >/run/script.env
ls -l /proc/$$/fd >/run/script.fds
grep -E '^(CapBnd|Seccomp):' /proc/$$/status >/run/script.powers
systemctl daemon-reload
getent group teleport-adm >/dev/null || groupadd --system teleport-adm
getent passwd teleport-adm >/dev/null || useradd --system --gid teleport-adm --home-dir /var/lib/teleport-adm teleport-adm
install -d -o teleport-adm -g teleport-adm -m 2750 /var/lib/teleport-adm
mkdir -p /etc/teleport.d /usr/lib/teleport-extra /opt/teleport-extra /boot/teleport-extra /var/cache/teleport-extra
ln -sf ../lib/teleport-extra /usr/bin/teleport-extra
install -m 4755 /bin/true /usr/lib/teleport-extra/helper
file=$(mktemp)
echo x >$file
cp $file /var/cache/teleport-extra/copy
rm $file
runuser -u alice -- id -u >/run/script.alice
su -s /bin/sh teleport-adm -c 'test -w /var/lib/teleport-adm'
python3 -c 'import subprocess, hashlib; subprocess.check_call([\"true\"])'
(ulimit -n 4096; nice -n 5 true)
ldconfig
mkdir -p /run/teleport-extra
unshare --mount true
systemctl is-active teleport.service >/dev/null
touch /run/script.ended
";

#[test]
fn all_package_managers_and_usual_scripts_work_within_the_unit() {
    std::thread::scope(|scope| {
        for manager in [Manager::Apt, Manager::Yum, Manager::Zypper] {
            scope.spawn(move || {
                let host = Host::with_agent_from(manager, "14.3.33");
                host.offer(Package::agent("teleport-ent", "14.3.34").postinst(USUAL));
                host.configure("observe-seconds", "1\n");
                host.open_window();
                host.run(&["systemctl", "start", "teleport-upgrade.service"])
                    .expect(0);
                let journal = host.journal("teleport-upgrade.service");
                assert_eq!(
                    host.property("teleport-upgrade.service", "Result"),
                    "success",
                    "{journal}"
                );
                assert!(
                    journal.contains("upgraded from 14.3.33 to 14.3.34"),
                    "{journal}"
                );
                assert!(
                    host.read("/run/script.ended").is_some(),
                    "the script came to its end: {journal}"
                );
                assert_eq!(host.read("/run/script.alice").as_deref(), Some("1000\n"));
                host.assert_agent_runs("14.3.34");
                assert_eq!(host.mode("/usr/lib/teleport-extra/helper"), 0o4755);
                let powers = host.read("/run/script.powers").unwrap();
                assert!(
                    powers.contains("Seccomp:\t2"),
                    "the script ran within the sandbox: {powers}"
                );
                // The agent that was reloaded is not within the sandbox.
                let powers = host
                    .shell("grep CapBnd /proc/$(cat /run/teleport.pid)/status /proc/1/status")
                    .stdout;
                let powers: Vec<&str> = powers
                    .lines()
                    .filter_map(|line| line.rsplit_once('\t'))
                    .map(|(_, powers)| powers)
                    .collect();
                assert_eq!(powers[0], powers[1], "{powers:?}");
                assert!(
                    !host.read("/run/script.powers").unwrap().contains(powers[0]),
                    "{powers:?}"
                );
            });
        }
    });
}

#[test]
fn children_get_no_variable_no_descriptor_and_no_program_of_the_callers() {
    let host = Host::with_upgrade();
    host.offer(Package::agent("teleport-ent", "14.3.34").postinst(USUAL));
    let fakes = "mkdir /tmp/fakes; for name in apt-get apt-cache dpkg dpkg-query rpm systemctl systemd-run env sh; do \
                 printf '#!/bin/sh\\ntouch /run/fake\\nexit 1\\n' >/tmp/fakes/$name; chmod 755 /tmp/fakes/$name; done";
    host.shell(fakes).expect(0);
    let run = "exec 7</etc/shadow 8<>/run/a-secret 200</etc/passwd; \
               export PATH=/tmp/fakes:$PATH SECRET=1 IFS=x BASH_ENV=/run/x PERL5OPT=-Mx PYTHONPATH=/tmp APT_CONFIG=/tmp/evil DPKG_ROOT=/x \
               HTTPS_PROXY= TMPDIR=/nowhere LANG=tlh; exec /usr/sbin/teleport-upgrade run";
    host.run(&["/bin/bash", "-c", run]).expect(0);
    host.assert_agent_runs("14.3.34");
    assert!(
        host.read("/run/fake").is_none(),
        "a program from the caller's PATH was run"
    );
    let variables = host.read("/run/script.env").unwrap();
    for name in [
        "SECRET",
        "IFS",
        "BASH_ENV",
        "PERL5OPT",
        "PYTHONPATH",
        "APT_CONFIG",
        "DPKG_ROOT=/x",
        "TMPDIR",
        "LANG=tlh",
        "fakes",
    ] {
        assert!(
            !variables.contains(name),
            "{name} is in the environment of a package's script:\n{variables}"
        );
    }
    let descriptors = host.read("/run/script.fds").unwrap();
    for file in ["shadow", "a-secret", "passwd", "teleport-upgrade/"] {
        assert!(
            !descriptors.contains(file),
            "{file} is open in a package's script:\n{descriptors}"
        );
    }
}

#[test]
fn a_run_may_take_as_long_as_it_takes_on_an_old_systemd_too() {
    let host = Host::new();
    assert_eq!(
        host.property("teleport-upgrade.service", "TimeoutStartUSec"),
        "infinity"
    );
    // systemd before 229 ends at once what has a limit by that name.
    let unit = host
        .read("/usr/lib/systemd/system/teleport-upgrade.service")
        .unwrap();
    assert!(!unit.contains("=infinity"), "{unit}");
}

#[test]
fn the_unit_is_less_exposed_than_those_of_its_kind() {
    let host = Host::new();
    let exposure = |unit: &str| {
        let unit = format!("/usr/lib/systemd/system/{unit}");
        let ran = host
            .run(&[
                "systemd-analyze",
                "security",
                "--offline=true",
                "--no-pager",
                &unit,
            ])
            .expect(0);
        let level = ran
            .stdout
            .lines()
            .last()
            .and_then(|line| line.rsplit_once(": "))
            .map(|(_, level)| level.to_string());
        let level = level.and_then(|level| level.split(' ').next()?.parse::<f32>().ok());
        level.unwrap_or_else(|| panic!("{}{}", ran.stdout, ran.stderr))
    };
    // Debian's dnf comes without it. This is all that the unit of dnf 4 says of its service.
    let automatic = "[Unit]\nDescription=dnf automatic\n[Service]\nType=oneshot\nNice=19\nIOSchedulingClass=2\nIOSchedulingPriority=7\n\
                     Environment=\"ABRT_IGNORE_PYTHON=1\"\nExecStart=/usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer\n";
    host.write("/usr/lib/systemd/system/dnf-automatic.service", automatic);
    let ours = exposure("teleport-upgrade.service");
    for (unit, theirs) in
        ["apt-daily-upgrade.service", "dnf-automatic.service"].map(|unit| (unit, exposure(unit)))
    {
        println!("{unit} {theirs}, teleport-upgrade.service {ours}");
        assert!(
            ours < theirs && ours < 5.0,
            "{unit} {theirs}, teleport-upgrade.service {ours}"
        );
    }
    let verified = host.run(&[
        "systemd-analyze",
        "verify",
        "--man=no",
        "/usr/lib/systemd/system/teleport-upgrade.service",
    ]);
    assert!(
        !format!("{}{}", verified.stdout, verified.stderr).contains("teleport-upgrade.service:"),
        "{}",
        verified.stderr
    );
}
