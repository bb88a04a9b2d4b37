//! Settings that let unauthenticated packages in: found, named, and no package installed by them.

use host::{Host, Key, Manager, Package};
use std::process::Command;

/// A setting, and what is wrong with the repository at the same time.
struct Case {
    /// Lines of shell that make the setting.
    set: &'static str,
    /// What the outcome names: file, setting, remedy.
    says: &'static str,
    /// Lines of shell with which the bare package manager installs the package by that setting, and does not without it.
    /// Empty where no package was made on which the setting makes a difference.
    bare: &'static str,
    repository: Bad,
}

/// Who has signed what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bad {
    /// The index is signed by an unknown key.
    IndexByUnknown,
    /// The index is not signed, nor is the package where packages are.
    Unsigned,
    /// The index is in order, the package not signed.
    Package,
    /// The same, signed by an unknown key.
    PackageByUnknown,
}

const APT: &str =
    "rm -rf /var/lib/apt/lists/*; apt-get -q update; apt-get -q -y install teleport-ent=14.3.34";
const UNAUTHENTICATED: &str = "rm -rf /var/lib/apt/lists/*; apt-get -q -oAcquire::AllowInsecureRepositories=1 update; \
                               apt-get -q -y install teleport-ent=14.3.34";
const INSECURE: &str = "rm -rf /var/lib/apt/lists/*; apt-get -q update; apt-get -q -y --allow-unauthenticated install teleport-ent=14.3.34";
/// The host has the lists of a signed repository.
const DOWNGRADE: &str = "apt-get -q -oAcquire::AllowInsecureRepositories=1 update; \
                         apt-get -q -y --allow-unauthenticated install teleport-ent=14.3.34";

const APT_CASES: [Case; 15] = [
    Case {
        set: "sed -i 's/\\[/[trusted=yes /' /etc/apt/sources.list.d/teleport.list",
        says: "[trusted=yes] is set in /etc/apt/sources.list.d/teleport.list. Remove it",
        bare: APT,
        repository: Bad::IndexByUnknown,
    },
    Case {
        set: "sed -i 's/\\[/[ arch=all,amd64,arm64\ttrusted=1 /' /etc/apt/sources.list.d/teleport.list",
        says: "[trusted=1] is set in /etc/apt/sources.list.d/teleport.list. Remove it",
        bare: APT,
        repository: Bad::Unsigned,
    },
    Case {
        set: "sed -i 's/\\[/[trusted=enable /' /etc/apt/sources.list.d/teleport.list; \
              mv /etc/apt/sources.list.d/teleport.list /etc/apt/sources.list.d/packages.list",
        says: "[trusted=enable] is set in /etc/apt/sources.list.d/packages.list. Remove it",
        bare: APT,
        repository: Bad::Unsigned,
    },
    Case {
        set: "DEB822; echo 'trusted:  Yes' >>/etc/apt/sources.list.d/teleport.sources",
        says: "trusted: Yes is set in /etc/apt/sources.list.d/teleport.sources. Remove it",
        bare: APT,
        repository: Bad::Unsigned,
    },
    Case {
        set: "DEB822; echo 'Allow-Insecure: on' >>/etc/apt/sources.list.d/teleport.sources",
        says: "Allow-Insecure: on is set in /etc/apt/sources.list.d/teleport.sources. Remove it",
        // It is in apt's manual, and apt 2.6 does not read it.
        bare: "",
        repository: Bad::Unsigned,
    },
    Case {
        set: "sed -i 's/\\[/[allow-insecure=\"yes\" /' /etc/apt/sources.list.d/teleport.list",
        says: "[allow-insecure=yes] is set in /etc/apt/sources.list.d/teleport.list. Remove it",
        bare: INSECURE,
        repository: Bad::IndexByUnknown,
    },
    Case {
        set: "sed -i 's/\\[/[allow-weak=true /' /etc/apt/sources.list.d/teleport.list",
        says: "[allow-weak=true] is set in /etc/apt/sources.list.d/teleport.list. Remove it",
        bare: "",
        repository: Bad::Unsigned,
    },
    Case {
        set: "sed -i 's/\\[/[allow-downgrade-to-insecure=yes /' /etc/apt/sources.list.d/teleport.list",
        says: "[allow-downgrade-to-insecure=yes] is set in /etc/apt/sources.list.d/teleport.list. Remove it",
        bare: DOWNGRADE,
        repository: Bad::Unsigned,
    },
    Case {
        set: "echo 'apt::get { allowunauthenticated TRUE; }; // for now' >/etc/apt/apt.conf.d/50hurry",
        says: "APT::Get::AllowUnauthenticated \"TRUE\" is set in /etc/apt/apt.conf.d/50hurry. Remove it",
        bare: UNAUTHENTICATED,
        repository: Bad::Unsigned,
    },
    Case {
        set: "echo 'Binary::apt-get::APT::Get::AllowUnauthenticated \"1\";' >/etc/apt/apt.conf",
        says: "APT::Get::AllowUnauthenticated \"1\" is set in /etc/apt/apt.conf. Remove it",
        bare: UNAUTHENTICATED,
        repository: Bad::IndexByUnknown,
    },
    Case {
        set: "echo 'APT::Get::Assume-Yes 1; APT::Get::Force-Yes \"yes\";' >/etc/apt/apt.conf.d/50hurry.conf",
        says: "APT::Get::Force-Yes \"yes\" is set in /etc/apt/apt.conf.d/50hurry.conf. Remove it",
        bare: UNAUTHENTICATED,
        repository: Bad::Unsigned,
    },
    Case {
        set: "echo 'Acquire::AllowInsecureRepositories no;' >/etc/apt/apt.conf.d/10a; \
              echo 'Acquire { /* old\n */ AllowInsecureRepositories with; }' >/etc/apt/apt.conf.d/20b",
        says: "Acquire::AllowInsecureRepositories \"with\" is set in /etc/apt/apt.conf.d/20b. Remove it",
        bare: INSECURE,
        repository: Bad::Unsigned,
    },
    Case {
        set: "echo 'Acquire::AllowInsecureRepositories 1;' >/etc/hurry; echo '#include \"/etc/hurry\";' >/etc/apt/apt.conf",
        says: "Acquire::AllowInsecureRepositories \"1\" is set in /etc/apt/apt.conf. Remove it",
        bare: INSECURE,
        repository: Bad::Unsigned,
    },
    Case {
        set: "echo 'Acquire::AllowWeakRepositories \"true\";' >/etc/apt/apt.conf.d/50hurry",
        says: "Acquire::AllowWeakRepositories \"true\" is set in /etc/apt/apt.conf.d/50hurry. Remove it",
        bare: "",
        repository: Bad::Unsigned,
    },
    Case {
        set: "echo 'Acquire::AllowDowngradeToInsecureRepositories \"true\";' >/etc/apt/apt.conf.d/50hurry",
        says: "Acquire::AllowDowngradeToInsecureRepositories \"true\" is set in /etc/apt/apt.conf.d/50hurry. Remove it",
        bare: DOWNGRADE,
        repository: Bad::Unsigned,
    },
];

const DNF: &str = "dnf -y --refresh install teleport-ent-14.3.34";

const YUM_CASES: [Case; 10] = [
    Case {
        set: "sed -i 's/^gpgcheck=1/gpgcheck=0/' /etc/yum.repos.d/teleport.repo",
        says: "gpgcheck=0 is set in /etc/yum.repos.d/teleport.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "sed -i 's/^gpgcheck=1/gpgcheck  =  No/' /etc/yum.repos.d/teleport.repo",
        says: "gpgcheck=No is set in /etc/yum.repos.d/teleport.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::PackageByUnknown,
    },
    Case {
        set: "echo 'gpgcheck=false' >>/etc/yum.repos.d/teleport.repo",
        says: "gpgcheck=false is set in /etc/yum.repos.d/teleport.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "sed -i '/^gpgcheck/d' /etc/yum.repos.d/teleport.repo; sed -i 's/^gpgcheck.*/gpgcheck=OFF/' /etc/dnf/dnf.conf",
        says: "gpgcheck=OFF is set in /etc/dnf/dnf.conf. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::PackageByUnknown,
    },
    Case {
        set: "sed -i 's/^gpgcheck=1/ gpgcheck=1/' /etc/yum.repos.d/teleport.repo; sed -i 's/^gpgcheck.*/gpgcheck=0/' /etc/dnf/dnf.conf",
        says: "gpgcheck=0 is set in /etc/dnf/dnf.conf. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "sed -i '/^gpgcheck/d' /etc/yum.repos.d/teleport.repo /etc/dnf/dnf.conf",
        says: "gpgcheck is not set in /etc/yum.repos.d/teleport.repo. Set gpgcheck=1 below [teleport]",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "sed -i 's/^gpgcheck=1/gpgcheck=$check/' /etc/yum.repos.d/teleport.repo; echo 0 >/etc/dnf/vars/check",
        says: "gpgcheck=$check is set in /etc/yum.repos.d/teleport.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "sed -i 's/^gpgcheck=1/gpgcheck=0/; s/.teleport.$/[packages]/' /etc/yum.repos.d/teleport.repo; \
              mv /etc/yum.repos.d/teleport.repo /etc/yum.repos.d/packages.repo",
        says: "gpgcheck=0 is set in /etc/yum.repos.d/packages.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "mkdir -p /srv/repos; sed 's/^gpgcheck=1/gpgcheck=0/' /etc/yum.repos.d/teleport.repo >/srv/repos/a.repo; \
              echo reposdir=/srv/repos >>/etc/dnf/dnf.conf",
        says: "gpgcheck=0 is set in /srv/repos/a.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "sed -i 's/^gpgcheck=1/gpgcheck=0/; s/^.teleport.$/[tele$end]/' /etc/yum.repos.d/teleport.repo; echo port >/etc/dnf/vars/end",
        says: "gpgcheck=0 is set in /etc/yum.repos.d/teleport.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
];

const DNF5_CASES: [Case; 9] = [
    Case {
        set: "sed -i 's/^gpgcheck=1/gpgcheck=0/' /etc/yum.repos.d/teleport.repo",
        says: "gpgcheck=0 is set in /etc/yum.repos.d/teleport.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "OVERRIDE; printf '[t?leport]\\npkg_gpgcheck=no\\n' >/etc/dnf/repos.override.d/a.repo",
        says: "pkg_gpgcheck=no is set in /etc/dnf/repos.override.d/a.repo. Set pkg_gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "OVERRIDE; printf '[*port]\\ngpgcheck=0\\n' >/usr/share/dnf5/repos.override.d/a.repo",
        says: "gpgcheck=0 is set in /usr/share/dnf5/repos.override.d/a.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::PackageByUnknown,
    },
    Case {
        set: "OVERRIDE; printf '[[st]eleport]\\ngpgcheck=0\\n' >/etc/dnf/repos.override.d/a.repo",
        says: "gpgcheck=0 is set in /etc/dnf/repos.override.d/a.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "mkdir -p /usr/share/dnf5/repos.d; mv /etc/yum.repos.d/teleport.repo /usr/share/dnf5/repos.d/packages.repo; \
              sed -i 's/^gpgcheck=1/gpgcheck=0/' /usr/share/dnf5/repos.d/packages.repo",
        says: "gpgcheck=0 is set in /usr/share/dnf5/repos.d/packages.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "mkdir -p /srv/repos /etc/dnf/libdnf5.conf.d; printf '[main]\\nreposdir = /srv/none, /srv/repos\\n' >/etc/dnf/libdnf5.conf.d/a.conf; \
              sed 's/^gpgcheck=1/gpgcheck=0/' /etc/yum.repos.d/teleport.repo >/srv/repos/a.repo",
        says: "gpgcheck=0 is set in /srv/repos/a.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "mkdir -p /usr/share/dnf5/libdnf.conf.d; printf '[main]\\ngpgcheck=off\\n' >/usr/share/dnf5/libdnf.conf.d/a.conf; \
              sed -i '/^gpgcheck/d' /etc/yum.repos.d/teleport.repo /etc/dnf/dnf.conf",
        says: "gpgcheck=off is set in /usr/share/dnf5/libdnf.conf.d/a.conf. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "sed 's/^gpgcheck=1/gpgcheck=0/' /etc/yum.repos.d/teleport.repo >>/etc/dnf/dnf.conf; rm /etc/yum.repos.d/teleport.repo",
        says: "gpgcheck=0 is set in /etc/dnf/dnf.conf. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
    Case {
        set: "sed -i 's/^gpgcheck=1/gpgcheck=${check:-0}/' /etc/yum.repos.d/teleport.repo",
        says: "gpgcheck=${check:-0} is set in /etc/yum.repos.d/teleport.repo. Set gpgcheck=1",
        bare: DNF,
        repository: Bad::Package,
    },
];

const ZYPPER: &str =
    "zypper --non-interactive refresh; zypper --non-interactive install teleport-ent=14.3.34";

const ZYPPER_CASES: [Case; 6] = [
    Case {
        set: "sed -i 's/^gpgcheck=1/gpgcheck=0/' /etc/zypp/repos.d/teleport.repo; printf '[main]\\npkg_gpgcheck=1\\n' >/etc/zypp/zypp.conf",
        says: "gpgcheck=0 is set in /etc/zypp/repos.d/teleport.repo. Set gpgcheck=1",
        bare: ZYPPER,
        repository: Bad::Unsigned,
    },
    Case {
        set: "sed -i 's/^gpgcheck=1/gpgcheck=0/' /etc/zypp/repos.d/teleport.repo",
        says: "gpgcheck=0 is set in /etc/zypp/repos.d/teleport.repo. Set gpgcheck=1",
        bare: ZYPPER,
        repository: Bad::Unsigned,
    },
    Case {
        set: "sed -i 's/^gpgcheck=1/gpgcheck = Off/' /etc/zypp/repos.d/teleport.repo",
        says: "gpgcheck=Off is set in /etc/zypp/repos.d/teleport.repo. Set gpgcheck=1",
        bare: ZYPPER,
        repository: Bad::IndexByUnknown,
    },
    Case {
        set: "sed -i '/^gpgcheck/d' /etc/zypp/repos.d/teleport.repo; printf '[main]\\n  gpgcheck = no\\n' >/etc/zypp/zypp.conf",
        says: "gpgcheck=no is set in /etc/zypp/zypp.conf. Set gpgcheck=1",
        bare: ZYPPER,
        repository: Bad::Unsigned,
    },
    Case {
        set: "echo pkg_gpgcheck=False >>/etc/zypp/repos.d/teleport.repo",
        says: "pkg_gpgcheck=False is set in /etc/zypp/repos.d/teleport.repo. Set pkg_gpgcheck=1",
        // With `repo_gpgcheck=0` alone it still fails, since the package is checked.
        bare: "echo repo_gpgcheck=0 >>/etc/zypp/repos.d/teleport.repo; zypper --non-interactive refresh; \
               zypper --non-interactive install teleport-ent=14.3.34",
        repository: Bad::Unsigned,
    },
    Case {
        set: "sed -i '/^gpgcheck/d' /etc/zypp/repos.d/teleport.repo; printf '[main]\\npkg_gpgcheck = off\\n' >/etc/zypp/zypp.conf",
        says: "pkg_gpgcheck=off is set in /etc/zypp/zypp.conf. Set pkg_gpgcheck=1",
        bare: "echo repo_gpgcheck=0 >>/etc/zypp/repos.d/teleport.repo; zypper --non-interactive refresh; \
               zypper --non-interactive install teleport-ent=14.3.34",
        repository: Bad::Unsigned,
    },
];

/// Makes a `teleport.sources` of the `teleport.list`.
const DEB822: &str = "cd /etc/apt/sources.list.d; \
    sed -E 's/deb .signed-by=(.*). (.*) (.*) (.*)/Types: deb\\nURIs: \\2\\nSuites: \\3\\nComponents: \\4\\nSigned-By: \\1/' \
    teleport.list >teleport.sources; rm teleport.list";
/// What cases change.
const KEEP: &str = "mkdir -p /var/kept /etc/yum.repos.d /etc/zypp; cp -a /etc/apt /etc/dnf /etc/yum.repos.d /etc/zypp /var/kept";
const RESTORE: &str = "for each in apt dnf yum.repos.d zypp; do rm -rf /etc/$each; cp -a /var/kept/$each /etc; done; \
                       rm -rf /usr/share/dnf5/*.d/a.conf /usr/share/dnf5/repos*.d";
/// Makes the directories of what dnf 5 overrides.
const OVERRIDE: &str = "mkdir -p /usr/share/dnf5/repos.override.d /etc/dnf/repos.override.d";

/// A host whose repository has a bad 14.3.34.
fn with_bad_upgrade(manager: Manager, bad: Bad) -> Host {
    let host = Host::with_upgrade_from(manager);
    // Else the bare package manager leaves the agent alone.
    host.configure("lock", "no\n");
    let agent = Package::agent("teleport-ent", "14.3.34");
    match bad {
        Bad::IndexByUnknown => host.repository.sign_with(Key::Unknown),
        Bad::Package | Bad::Unsigned => host.offer(agent.signed(None)),
        Bad::PackageByUnknown => host.offer(agent.signed(Some(Key::Unknown))),
    }
    if bad == Bad::Unsigned {
        let mut find = Command::new("find");
        find.arg(host.repository.root()).args([
            "(",
            "-name",
            "InRelease",
            "-o",
            "-name",
            "repomd.xml.*",
            ")",
            "-delete",
        ]);
        assert!(find.status().unwrap().success());
    }
    host
}

fn fails_and_then_upgrades(manager: Manager, cases: &[Case]) {
    for case in cases {
        let set = case
            .set
            .replace("DEB822", DEB822)
            .replace("OVERRIDE", OVERRIDE);
        println!("{manager:?}: {set}");
        let host = with_bad_upgrade(manager, case.repository);
        host.shell(KEEP).expect(0);
        let bare = || host.shell(&format!("({}) 2>&1", case.bare)).stdout;
        if !case.bare.is_empty() {
            let said = bare();
            assert!(
                host.installed("teleport-ent").ends_with(" 14.3.33"),
                "installed without the setting: {said}"
            );
            host.shell(RESTORE).expect(0);
        }
        host.shell(&set).expect(0);
        let before = host.snapshot();
        for command in ["dry-run", "run", "force"] {
            let ran = host.upgrader(command).expect(1);
            let outcome = format!(
                "upgrade from 14.3.33 to 14.3.34 is blocked: this host accepts unsigned packages: {}\n",
                case.says
            );
            assert_eq!(
                ran.stdout,
                format!("an upgrade is available (14.3.33 -> 14.3.34)\n{outcome}")
            );
            // Only to ask for a package touches a file of rpm's.
            if command == "dry-run" && manager == Manager::Apt {
                host.assert_unchanged(&before);
            }
        }
        host.assert_agent_runs("14.3.33");
        if !case.bare.is_empty() {
            let said = bare();
            assert!(
                host.installed("teleport-ent").ends_with(" 14.3.34"),
                "not installed by the setting: {said}"
            );
        }
        host.shell(RESTORE).expect(0);
        host.repository.sign_with(Key::Trusted);
        host.offer(Package::agent("teleport-ent", "14.3.35"));
        host.upgrader("run").expect(0);
        host.assert_agent_runs("14.3.35");
    }
}

#[test]
fn insecure_apt_settings_are_named() {
    fails_and_then_upgrades(Manager::Apt, &APT_CASES);
}

#[test]
fn insecure_yum_settings_are_named() {
    fails_and_then_upgrades(Manager::Yum, &YUM_CASES);
}

#[test]
fn insecure_dnf5_settings_are_named() {
    fails_and_then_upgrades(Manager::Dnf5, &DNF5_CASES);
}

#[test]
fn insecure_zypper_settings_are_named() {
    fails_and_then_upgrades(Manager::Zypper, &ZYPPER_CASES);
}

#[test]
fn harmless_settings_are_let_be() {
    for (manager, set) in [
        (
            Manager::Apt,
            "echo 'deb [trusted=yes] https://dead.example.com/ a b' >/etc/apt/sources.list.d/dead.list; \
             printf 'APT::Authentication::TrustCDROM \"true\";\nAcquire::Check-Valid-Until \"false\";\n\
             // APT::Get::AllowUnauthenticated \"true\";\nAPT::Get::AllowUnauthenticated \"false\";\n' >/etc/apt/apt.conf.d/50a; \
             echo 'APT::Get::AllowUnauthenticated \"true\";' >/etc/apt/apt.conf.d/50b.disabled; \
             sed -i 's/\\[/[check-valid-until=no /' /etc/apt/sources.list.d/teleport.list",
        ),
        (
            Manager::Yum,
            "sed -i 's/repo_gpgcheck=1/repo_gpgcheck=0\\nsslverify=1/' /etc/yum.repos.d/teleport.repo; \
             sed -i 's/gpgcheck=.*/gpgcheck=0\\nlocalpkg_gpgcheck=0/' /etc/dnf/dnf.conf; \
             printf '[dead]\nname=dead\nbaseurl=https://dead.example.com/\ngpgcheck=0\n' >/etc/yum.repos.d/dead.repo",
        ),
        (
            Manager::Zypper,
            "echo repo_gpgcheck=0 >>/etc/zypp/repos.d/teleport.repo; printf '[main]\ngpgcheck=0\npkg_gpgcheck=0\n' >/etc/zypp/zypp.conf; \
             printf '[dead]\nname=dead\nbaseurl=https://dead.example.com/\ngpgcheck=0\n' >/etc/zypp/repos.d/dead.repo",
        ),
    ] {
        let host = Host::with_upgrade_from(manager);
        host.shell(set).expect(0);
        let ran = host.upgrader("dry-run").expect(0);
        assert!(
            ran.stdout
                .contains("would upgrade from 14.3.33 to 14.3.34 now"),
            "{}",
            ran.stdout
        );
        host.upgrader("run").expect(0);
        host.assert_agent_runs("14.3.34");
    }
}

#[test]
fn only_a_run_with_something_to_install_looks() {
    let host = Host::with_upgrade();
    host.write(
        "/etc/apt/apt.conf.d/50hurry",
        "APT::Get::AllowUnauthenticated 1;\n",
    );
    let looks = |command: &str, status| {
        let ran = host
            .command(&["teleport-upgrade", "--verbose", command])
            .run()
            .expect(status);
        (
            ran.stderr.contains("running apt-config"),
            ran.stderr
                .contains(" is set in /etc/apt/apt.conf.d/50hurry"),
        )
    };
    // It tells people before the window opens.
    host.closed_window();
    assert_eq!(
        (looks("run", 0), looks("dry-run", 0)),
        ((false, false), (true, true))
    );
    host.set_version("14.3.33");
    assert_eq!(
        (looks("run", 0), looks("dry-run", 0)),
        ((false, false), (false, false))
    );
    host.remove("/etc/apt/apt.conf.d/50hurry");
    host.set_version("14.3.34");
    host.open_window();
    let ran = host
        .command(&["teleport-upgrade", "--verbose", "run"])
        .run()
        .expect(0);
    assert_eq!(
        ran.stderr
            .lines()
            .filter(|line| line.contains("running apt-config"))
            .count(),
        1
    );
}

#[test]
fn what_is_finished_is_not_installed_by_such_settings_either() {
    let host = Host::with_upgrade_from(Manager::Yum);
    host.shell("sed -i 's/^gpgcheck=1/gpgcheck=0/' /etc/yum.repos.d/teleport.repo")
        .expect(0);
    host.offer(Package::agent("teleport-ent", "14.3.34").signed(None));
    let interrupted = r#"{"unfinished": {"package": "teleport-ent", "from": "14.3.33", "from_package_version": "14.3.33-1",
        "to": "14.3.34", "to_package_version": "14.3.34-1", "services": ["teleport.service"], "since": "2026-01-01T00:00:00Z"}}"#;
    host.write("/var/lib/teleport-upgrade/history.json", interrupted);
    host.remove("/usr/local/bin/teleport");
    let ran = host.upgrader("run");
    println!("{}{}", ran.stdout, ran.stderr);
    ran.clone().expect(12);
    assert!(
        ran.stdout
            .contains("gpgcheck=0 is set in /etc/yum.repos.d/teleport.repo. Set gpgcheck=1"),
        "{}",
        ran.stdout
    );
    host.shell("sed -i 's/^gpgcheck=0/gpgcheck=1/' /etc/yum.repos.d/teleport.repo")
        .expect(0);
    host.offer(Package::agent("teleport-ent", "14.3.34"));
    host.upgrader("run").expect(0);
    host.assert_agent_runs("14.3.34");
}

#[test]
fn an_alias_of_dnf_does_not_skip_the_check() {
    let host = with_bad_upgrade(Manager::Yum, Bad::Package);
    host.write(
        "/etc/dnf/aliases.d/USER.conf",
        "[main]\nenabled = True\n[aliases]\ninstall = \\install --nogpgcheck\n",
    );
    let ran = host.upgrader("run").expect(1);
    assert!(
        ran.stdout.contains("is not signed by a trusted key"),
        "{}",
        ran.stdout
    );
    host.assert_agent_runs("14.3.33");
    host.shell(DNF).expect(0);
    assert_eq!(host.installed("teleport-ent"), "ii 14.3.34");
}
