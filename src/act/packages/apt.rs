//! apt and dpkg, on Debian, Ubuntu and their kin.

use std::cell::Cell;
use std::path::Path;

use anyhow::Result;
use log::warn;

use super::locks::{Lock, Locks};
use super::{Limits, PackageError, PackageManager, READ_LIMIT, choose, complaint, install_error, only, refresh_error};
use crate::command::{Command, Output};
use crate::observe::agent::Installed;
use crate::observe::dpkg;
use crate::observe::trust::{self, Weakness};
use crate::version::Version;

/// Where a host has Teleport's repository, if it has it in a file of its own.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list.d/teleport.list", "/etc/apt/sources.list.d/teleport.sources"];
/// What apt and dpkg lock, and refuse to work without. apt itself waits for the first one at most.
const LOCKS: [Lock; 4] = [
    Lock::Record("/var/lib/dpkg/lock-frontend"),
    Lock::Record("/var/lib/dpkg/lock"),
    Lock::Record("/var/lib/apt/lists/lock"),
    Lock::Record("/var/cache/apt/archives/lock"),
];
/// What a refresh says that failed in part, whatever its status.
const FETCH_FAILED: &str = "Some index files failed to download";

/// apt, with its sources narrowed to Teleport's where the host lets us.
pub struct Apt {
    limits: Limits,
    locks: Locks,
    /// The file with Teleport's repository and nothing else, if there is one.
    source: Option<&'static str>,
    /// Whether this pass has seen that its settings are in order.
    checked: Cell<bool>,
}

impl Apt {
    /// Finds Teleport's repository.
    pub fn new(limits: Limits) -> Apt {
        let locks = Locks { held: &LOCKS, refusal, limit: limits.lock_wait };
        Apt { limits, locks, source: SOURCES.into_iter().find(|path| Path::new(path).is_file()), checked: Cell::default() }
    }

    /// Where the repository is configured, for messages.
    fn source_name(&self) -> &'static str {
        self.source.unwrap_or("/etc/apt")
    }

    /// Options that let apt see Teleport's repository only: no other one costs time, fails, or has a package changed.
    fn narrow(&self) -> Vec<String> {
        let Some(source) = self.source else { return Vec::new() };
        vec![
            format!("-oDir::Etc::sourcelist={source}"),
            "-oDir::Etc::sourceparts=-".into(),
            // What it knows of the other repositories stays.
            "-oAPT::Get::List-Cleanup=0".into(),
            // The host's own cache is of all repositories; it would have to be built anew after us.
            "-oDir::Cache::pkgcache=".into(),
            "-oDir::Cache::srcpkgcache=".into(),
        ]
    }

    fn apt_get(&self, arguments: &[&str]) -> Command {
        let common = [
            "-q",
            "-y",
            "-oDpkg::Use-Pty=0",
            "-oAcquire::http::Timeout=20",
            "-oAcquire::https::Timeout=20",
            "-oAcquire::Retries=1",
        ]
        .map(String::from);
        let arguments = arguments.iter().map(|argument| (*argument).to_string());
        quiet(Command::new("apt-get", common.into_iter().chain(self.narrow()).chain(arguments)))
    }

    /// Brings the index up to date.
    fn refresh(&self) -> Result<(), PackageError> {
        let mut options = Vec::new();
        if self.source.is_some() {
            // Else a failed refresh ends with status 0, and the install goes by whatever index is there.
            options.push("-oAPT::Update::Error-Mode=any");
        }
        options.push("update");
        let output = self.locks.run(|| self.apt_get(&options).limit(self.limits.refresh).run())?;
        // An apt older than 2.1 does not know the option above.
        let failed = !output.success() || output.says(FETCH_FAILED);
        match failed {
            false => Ok(()),
            true if self.source.is_some() => Err(refresh_error(&output, self.source_name())),
            true => {
                // Some other repository may be down; whether Teleport's brought the target is seen next.
                warn!("{}; going on with the index as it is", output.summary());
                Ok(())
            }
        }
    }

    /// The versions of the package that the repository has, as it spells them.
    fn offered(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        let arguments = self.narrow().into_iter().chain(["madison".to_string(), name.to_string()]);
        let output = quiet(Command::new("apt-cache", arguments)).limit(READ_LIMIT).run()?;
        if !output.success() {
            return Err(PackageError::Failed(complaint(&output)));
        }
        // `teleport-ent | 14.3.34 | https://...`. A repository may hold what is no version of ours; it is not for us.
        let spelled = output.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
        Ok(spelled.filter_map(|text| Some((Version::from_debian(text).ok()?, text.to_string()))).collect())
    }

    /// Fails if installing `wanted` would change any package but `name`.
    fn touches_only(&self, name: &str, wanted: &str) -> Result<(), PackageError> {
        let output = self.apt_get(&[&INSTALL[..], &["--simulate", wanted]].concat()).limit(READ_LIMIT).run()?;
        if !output.success() {
            return Err(install_error(&output, self.source_name()));
        }
        only(name, changed(&output).map(str::to_string))
    }
}

/// The install as it is simulated and then run: exactly what is named, on hold or not, up, down or again; no questions.
const INSTALL: [&str; 8] = [
    "--allow-downgrades",
    "--allow-change-held-packages",
    "--reinstall",
    "--no-remove",
    "--no-install-recommends",
    "-oDpkg::Options::=--force-confdef",
    "-oDpkg::Options::=--force-confold",
    "install",
];

impl PackageManager for Apt {
    fn weaknesses(&self) -> Result<Vec<Weakness>> {
        trust::apt::weaknesses(self.source.map(Path::new))
    }

    fn prepare(&self, installed: &Installed, target: &Version) -> Result<String, PackageError> {
        self.check_trust()?;
        self.checked.set(true);
        self.refresh()?;
        let offered = self.offered(&installed.name)?;
        let package_version = choose(&offered, installed, target, self.source_name())?;
        self.touches_only(&installed.name, &format!("{}={package_version}", installed.name))?;
        Ok(package_version)
    }

    fn install(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        if !self.checked.get() {
            self.check_trust()?;
        }
        let wanted = format!("{name}={package_version}");
        let run = || self.locks.run(|| self.apt_get(&[&INSTALL[..], &[&wanted]].concat()).run());
        let mut output = run()?;
        if output.says("dpkg was interrupted") {
            self.mend()?;
            output = run()?;
        }
        if output.success() { Ok(()) } else { Err(install_error(&output, self.source_name())) }
    }

    fn hold(&self, name: &str) -> Result<(), PackageError> {
        let output = self.locks.run(|| Command::new("apt-mark", ["hold", name]).limit(READ_LIMIT).run())?;
        if output.success() { Ok(()) } else { Err(PackageError::Failed(output.summary())) }
    }

    fn mend(&self) -> Result<(), PackageError> {
        let arguments = ["--force-confdef", "--force-confold", "--configure", "-a"];
        let output = self.locks.run(|| quiet(Command::new("dpkg", arguments)).run())?;
        if output.success() { Ok(()) } else { Err(PackageError::Failed(output.summary())) }
    }

    fn installed(&self, name: &str) -> Result<Option<Installed>> {
        Ok(dpkg::installed(&[name])?.pop())
    }
}

/// Lets nothing that runs during an install ask questions, or restart other services on our account.
fn quiet(command: Command) -> Command {
    command.env("DEBIAN_FRONTEND", "noninteractive").env("NEEDRESTART_SUSPEND", "1").env("APT_LISTCHANGES_FRONTEND", "none")
}

/// Who holds a lock that apt was faster to ask for than we were to look at.
fn refusal(output: &Output) -> Option<String> {
    // "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 42 (apt-get)"
    let line = output.lines().find(|line| line.contains("Could not get lock"))?;
    Some(line.split_once("held by ").map_or("another program", |(_, holder)| holder).to_string())
}

/// The packages that a simulated run would install or remove. It may also configure some that another run left unconfigured.
fn changed(output: &Output) -> impl Iterator<Item = &str> {
    output.lines().filter_map(|line| {
        let (verb, rest) = line.split_once(' ')?;
        ["Inst", "Remv", "Purg"].contains(&verb).then(|| rest.split([' ', ':']).next())?
    })
}
