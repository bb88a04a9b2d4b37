//! dnf 4, dnf 5 and yum 3, on Red Hat, Fedora, Amazon Linux and their kin.
//!
//! The tests run dnf 4 and dnf 5. yum 3 (RHEL 7) is used as documented.

mod dialect;
pub mod exclude;
pub mod output;
pub mod trust;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::unistd::Pid;

use crate::packages::common::files::{list, remove, replace, starting_with};
use crate::packages::common::locks;
use crate::packages::common::locks::{Limits, Lock, Locks};
use crate::packages::common::messages::{error_lines, install_error, refresh_error, succeeded};
use crate::packages::common::trust::Weakness;
use crate::packages::package::Installed;
use crate::packages::rpm::holds::VERSIONLOCK;
use crate::packages::yum::dialect::Dialect;
pub use crate::packages::yum::dialect::program;
use crate::packages::{
    DOWNLOAD_LIMIT, Found, PackageError, PackageManager, Prepared, READ_LIMIT, only, rpm,
};
use crate::system::output::terminal::Step;
use crate::system::process::command::{Command, Output};
use crate::version::Version;

/// The lock of dnf 5 from its first look at the packages of the host to its end, in the two places where it may be. A second dnf 5
/// waits without end, also for an answer at a prompt.
const SYSTEM_LOCKS: [&str; 2] = [
    "/var/lib/dnf/system-repo.lock",
    "/usr/lib/sysimage/libdnf5/system-repo.lock",
];
/// What it prints then.
const WAITING: &str = "Waiting for a lock on the system repository";
/// The locks of dnf and yum; dnf waits for the first ones without end and without a message.
const LOCKS: [Lock; 9] = [
    Lock::PidFile("/var/cache/dnf/metadata_lock.pid"),
    Lock::PidFile("/var/cache/dnf/download_lock.pid"),
    Lock::PidFile("/var/lib/dnf/rpmdb_lock.pid"),
    Lock::PidFile("/run/yum.pid"),
    Lock::Record(SYSTEM_LOCKS[0]),
    Lock::Record(SYSTEM_LOCKS[1]),
    Lock::Record("/run/dnf/rpmtransaction.lock"),
    rpm::TRANSACTION_LOCKS[0],
    rpm::TRANSACTION_LOCKS[1],
];
/// Where dnf 4 and dnf 5 keep downloads until the next transaction, a directory for each repository.
const DOWNLOADS: [&str; 2] = ["/var/cache/dnf", "/var/cache/libdnf5"];
/// What dnf 5 prints about packages that it does not check, wherever that is set.
const UNCHECKED: &str = "skipped OpenPGP checks";

/// dnf or yum, with its repositories limited to Teleport's if the host allows that.
pub struct Yum {
    limits: Limits,
    locks: Locks,
    program: &'static str,
    dialect: Dialect,
    /// The file with Teleport's repository, if that has its usual ID.
    source: Option<PathBuf>,
}

/// Whether Teleport's repository is configured, with its usual ID.
pub fn has_repository() -> bool {
    program().is_some_and(|(program, file)| source(dialect::of(program, &file)).is_some())
}

fn source(dialect: Dialect) -> Option<PathBuf> {
    // `weaknesses` reports files that cannot be read.
    rpm::repository_file(&trust::repositories(dialect).unwrap_or_default())
}

impl Yum {
    /// Looks for the program and Teleport's repository.
    pub fn new(limits: Limits) -> Option<Yum> {
        let (program, file) = program()?;
        let dialect = dialect::of(program, &file);
        let locks = Locks {
            held: &LOCKS,
            busy: output::busy,
            limit: limits.lock_wait,
        };
        Some(Yum {
            limits,
            locks,
            program,
            dialect,
            source: source(dialect),
        })
    }

    /// A command that uses Teleport's repository only, ignores locks on the package, and fails instead of waiting.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut options = vec!["-y", "--setopt=timeout=20", "--setopt=retries=2"];
        if self.source.is_some() {
            options.extend(["--disablerepo=*", "--enablerepo=teleport"]);
            // Otherwise dnf skips the repository when it cannot be read, and ends with status 0.
            options.push("--setopt=teleport.skip_if_unavailable=0");
        } else if self.dialect != Dialect::Yum3 {
            // Another repository may be down; whether Teleport's has the target is checked next.
            options.push("--setopt=*.skip_if_unavailable=1");
        }
        if self.source.is_none() && self.dialect == Dialect::Dnf5 {
            // It makes a repository of everything that was once installed unchecked, and never checks it.
            options.push("--disable-plugin=local");
        }
        options.extend(match self.dialect {
            // Locks on the agent: see `hold`. dnf would wait for another program's lock without end.
            Dialect::Dnf4 => &[
                "--disableplugin=versionlock",
                "--disableexcludes=all",
                "--setopt=exit_on_lock=True",
            ][..],
            // To dnf 5, version locks are excludes.
            Dialect::Dnf5 => &["--setopt=disable_excludes=*"],
            Dialect::Yum3 => &[
                "--disableplugin=versionlock",
                "--disableexcludes=all",
                "--setopt=exit_on_lock=1",
            ],
        });
        // As the last option it overrides every file, plugin and override; settings to the contrary that can be seen are not allowed.
        options.push(if self.dialect == Dialect::Yum3 {
            "--setopt=teleport.gpgcheck=1"
        } else {
            "--setopt=*.gpgcheck=1"
        });
        // An alias of dnf 4's could turn our command into another, such as an install without checks.
        let command = Command::new(self.program, options.iter().chain(arguments))
            .env("DNF_DISABLE_ALIASES", "1");
        if self.dialect == Dialect::Dnf5 {
            command.never_waiting(WAITING, waits)
        } else {
            command
        }
    }

    /// Refreshes the index, and queries the versions of the package in it.
    fn query(&self, name: &str) -> Result<Output, PackageError> {
        const FORMAT: [&str; 4] = ["--refresh", "repoquery", "--qf", "%{version}-%{release}\\n"];
        let query = match self.dialect {
            Dialect::Dnf4 => [&["-q"], &FORMAT[..], &[name]].concat(),
            // With `-q`, it does not print why a server cannot be reached.
            Dialect::Dnf5 => [&FORMAT[..], &[name]].concat(),
            Dialect::Yum3 => {
                let expire = || {
                    self.command(&["clean", "expire-cache"])
                        .limit(READ_LIMIT)
                        .run()
                };
                succeeded(&self.locks.run(expire)?)?;
                vec!["-q", "--showduplicates", "list", "available", name]
            }
        };
        let _step = Step::new(format!("refreshing the index of {}", self.source()));
        self.locks
            .run(|| self.command(&query).limit(self.limits.refresh).run())
    }

    /// Runs the command that replaces what is installed with `version`; with options in `simulate`, it changes nothing, and has a limit.
    fn change(
        &self,
        name: &str,
        version: &str,
        installed: Option<&Installed>,
        simulate: &[&str],
    ) -> Result<Output, PackageError> {
        let is_lower = |installed: &Installed| {
            Version::from_rpm(version).is_ok_and(|version| version < installed.version)
        };
        let verb = match installed {
            Some(installed) if rpm::is(installed, version) => "reinstall",
            // `install` of dnf 4 downgrades too.
            Some(installed) if self.dialect != Dialect::Dnf4 && is_lower(installed) => "downgrade",
            _ => "install",
        };
        let package = format!("{name}-{version}");
        self.locks.run(|| {
            let command = self.command(&[simulate, &[verb, &package]].concat());
            if simulate.is_empty() {
                command.run()
            } else {
                command.limit(DOWNLOAD_LIMIT).run()
            }
        })
    }

    /// Makes the version lock plugin of dnf 4 exclude all versions; its usual lock, on one version, would soon be on the wrong one.
    fn lock_by_plugin(&self, name: &str) -> Result<(), PackageError> {
        // Not with `command`, which disables the plugin.
        let arguments = [
            "-y",
            "-C",
            "--disablerepo=*",
            "--setopt=exit_on_lock=True",
            "versionlock",
            "exclude",
            "--raw",
            name,
        ];
        let run = || {
            Command::new(self.program, arguments)
                .limit(READ_LIMIT)
                .run()
        };
        succeeded(&self.locks.run(run)?)
    }

    /// Adds a line to the section of Teleport's repository that excludes the package.
    fn lock_by_exclude(&self, name: &str) -> Result<(), PackageError> {
        let Some(file) = &self.source else {
            return Err(PackageError::Failed(format!(
                "no repository with the ID \"{}\". Rename the repository, or exclude {name} manually",
                rpm::REPOSITORY
            )));
        };
        let text = read(file)?;
        let excluded = exclude::with_exclude(&text, name).ok_or_else(|| {
            PackageError::Failed(format!(
                "{} already has an exclude= line. Add {name} to it manually",
                file.display()
            ))
        })?;
        Ok(replace(file, &excluded)?)
    }
}

impl PackageManager for Yum {
    fn weaknesses(&self) -> Result<Vec<Weakness>> {
        trust::weaknesses(self.dialect, self.source.as_ref().map(|_| rpm::REPOSITORY))
    }

    fn source(&self) -> String {
        let default = || trust::REPOSITORIES.to_string();
        self.source
            .as_ref()
            .map_or_else(default, |file| file.display().to_string())
    }

    fn may_offer(&self, _: &str) -> bool {
        let has_any = |directories: Vec<PathBuf>| !rpm::repo_files(&directories).is_empty();
        self.source.is_some() || trust::repositories(self.dialect).is_ok_and(has_any)
    }

    fn offered(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        self.check_trust()?;
        let output = self.query(name)?;
        let has_none = self.dialect == Dialect::Yum3 && output.says("No matching Packages to list");
        if output.success() || has_none {
            let words = output.answer().flat_map(str::split_whitespace);
            Ok(rpm::versions(words))
        } else if output::is_own_fault(&output) {
            Err(PackageError::Failed(error_lines(&output)))
        } else {
            Err(refresh_error(&output, &self.source()))
        }
    }

    fn download(&self, installed: &Installed, found: &Found) -> Result<Prepared, PackageError> {
        let (name, version) = (&installed.name, &found.package_version);
        // If the database lists two versions, dnf takes both for installed, and does nothing; it reinstalls only the later one.
        let is_twice = installed.broken.is_some() && !rpm::is(installed, version);
        let once = if is_twice {
            rpm::installed_once(name)?
        } else {
            Some(installed.clone())
        };
        // This is the simulation too. yum 3 downloads only with a plugin, so there it is all there is.
        let is_yum3 = self.dialect == Dialect::Yum3;
        let simulate: &[&str] = match self.dialect {
            Dialect::Yum3 => &["-C", "--assumeno"],
            Dialect::Dnf4 => &["--downloadonly"],
            // With `--downloadonly` it checks no signature; this imports keys and checks like an install, and then ends.
            Dialect::Dnf5 => &["--setopt=tsflags=test"],
        };
        let _step = Step::new(format!("downloading {name} {version}"));
        let output = self.change(name, version, once.as_ref(), simulate)?;
        if !output.says("Transaction Summary") || !(is_yum3 || output.success()) {
            return Err(install_error(&output, &self.source()));
        }
        if let Some(line) = output.lines().find(|line| line.contains(UNCHECKED)) {
            return Err(PackageError::UntrustedPackage {
                source: self.source(),
                detail: line.to_string(),
            });
        }
        only(name, output::changed(&output, name))?;
        Ok(Prepared::new(name, version))
    }

    fn downloads(&self) -> Option<PathBuf> {
        match self.dialect {
            Dialect::Dnf4 => Some(DOWNLOADS[0].into()),
            Dialect::Dnf5 => Some(DOWNLOADS[1].into()),
            Dialect::Yum3 => None,
        }
    }

    fn discard(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        let start = format!("{name}-{package_version}.");
        for directory in DOWNLOADS {
            for repository in list(directory)? {
                let packages = repository.join("packages");
                if packages.is_dir() {
                    remove(starting_with(&packages, &start)?)?;
                }
            }
        }
        Ok(())
    }

    fn prepare(&self, name: &str, package_version: &str) -> Result<Prepared, PackageError> {
        self.check_trust()?;
        Ok(Prepared::new(name, package_version))
    }

    fn install(&self, prepared: Prepared) -> Result<(), PackageError> {
        let Prepared {
            name,
            package_version,
        } = prepared;
        let installed = rpm::installed_once(&name)?;
        let output = self.change(&name, &package_version, installed.as_ref(), &[])?;
        if output.success() {
            Ok(())
        } else {
            Err(install_error(&output, &self.source()))
        }
    }

    fn hold(&self, name: &str) -> Result<(), PackageError> {
        if rpm::installed(name)?.is_some_and(|installed| installed.held) {
            Ok(())
        } else if self.dialect == Dialect::Dnf4 && Path::new(VERSIONLOCK).exists() {
            // A plugin from before 2019 does not know `--raw`.
            self.lock_by_plugin(name)
                .or_else(|_| self.lock_by_exclude(name))
        } else {
            self.lock_by_exclude(name)
        }
    }

    fn release(&self, name: &str) -> Result<(), PackageError> {
        let files = [Some(Path::new(VERSIONLOCK)), self.source.as_deref()];
        for file in files.into_iter().flatten().filter(|file| file.exists()) {
            let text = read(file)?;
            let released = exclude::without_lock(&text, Some(name));
            if released != text {
                replace(file, &released)?;
            }
        }
        Ok(())
    }

    fn repair(&self) -> Result<(), PackageError> {
        rpm::repair()
    }

    fn installed(&self, name: &str) -> Result<Option<Installed>> {
        rpm::installed(name)
    }

    fn verify(&self, name: &str) -> Result<(), String> {
        rpm::verify::files(name)
    }
}

/// A file that is to be changed, which must be text.
fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Whether dnf 5, in this process group, waits for another program that uses the packages of this host, and has not begun its own work.
fn waits(group: Pid) -> bool {
    // The path of the lock can be configured; the process has it open.
    let opened = list(format!("/proc/{group}/fd")).unwrap_or_default();
    let opened = opened
        .iter()
        .filter_map(|link| fs::read_link(link).ok())
        .filter(|file| file.ends_with("system-repo.lock"));
    SYSTEM_LOCKS
        .iter()
        .map(PathBuf::from)
        .chain(opened)
        .any(|file| locks::is_held_outside(&file, group))
}
