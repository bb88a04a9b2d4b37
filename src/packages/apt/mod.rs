//! apt and dpkg, on Debian, Ubuntu and their kin.

pub mod dpkg;
pub mod output;
pub mod repack;
pub mod sources;
pub mod trust;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use log::warn;

use crate::packages::common::files::{remove, starting_with};
use crate::packages::common::locks::{Limits, Lock, Locks};
use crate::packages::common::messages::{install_error, refresh_error, succeeded};
use crate::packages::common::trust::Weakness;
use crate::packages::package::Installed;
use crate::packages::{
    DOWNLOAD_LIMIT, Found, PackageError, PackageManager, Prepared, READ_LIMIT, only,
};
use crate::system::output::terminal::Step;
use crate::system::process::command::{Command, Output};
use crate::version::Version;

/// The files with Teleport's repository, where it has a file of its own.
const SOURCES: [&str; 2] = [
    "/etc/apt/sources.list.d/teleport.list",
    "/etc/apt/sources.list.d/teleport.sources",
];
/// The locks of apt and dpkg. apt itself waits for the first one at most.
const LOCKS: [Lock; 4] = [
    Lock::Record("/var/lib/dpkg/lock-frontend"),
    Lock::Record("/var/lib/dpkg/lock"),
    Lock::Record("/var/lib/apt/lists/lock"),
    Lock::Record("/var/cache/apt/archives/lock"),
];
/// Where apt keeps downloads by default; `apt-get clean` removes them.
const DOWNLOADS: &str = "/var/cache/apt/archives";
/// What a refresh prints that failed in part, whatever its status.
const FETCH_FAILED: &str = "Some index files failed to download";
/// Makes apt keep its cache of the index in memory.
const NO_CACHE: [&str; 2] = ["-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache="];
/// The install, simulated and real: exactly this package, held or not, up, down or again, without questions.
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

/// apt, with its sources limited to Teleport's if the host allows that.
pub struct Apt {
    limits: Limits,
    locks: Locks,
    /// The file with Teleport's repository only, if there is one.
    source: Option<&'static str>,
}

impl Apt {
    /// Looks for Teleport's repository.
    pub fn new(limits: Limits) -> Apt {
        let locks = Locks {
            held: &LOCKS,
            busy: output::busy,
            limit: limits.lock_wait,
        };
        let source = SOURCES
            .into_iter()
            .find(|file| sources::has_entry(Path::new(file)));
        Apt {
            limits,
            locks,
            source,
        }
    }

    fn source_name(&self) -> &'static str {
        self.source.unwrap_or("/etc/apt")
    }

    /// Options that limit apt to Teleport's repository, so that no other one costs time, fails, or changes a package.
    fn only_our_source(&self) -> Vec<String> {
        let Some(source) = self.source else {
            return Vec::new();
        };
        vec![
            format!("-oDir::Etc::sourcelist={source}"),
            "-oDir::Etc::sourceparts=-".into(),
            // Keeps what it knows of the other repositories.
            "-oAPT::Get::List-Cleanup=0".into(),
            // The host's cache covers all repositories; it would have to be rebuilt after us.
            NO_CACHE[0].into(),
            NO_CACHE[1].into(),
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
            // The host's own settings of these are not meant for us.
            "-oAPT::Get::AutomaticRemove=0",
            "-oAPT::Get::Download-Only=0",
            "-oAPT::Install-Suggests=0",
        ]
        .map(String::from);
        let arguments = arguments.iter().map(|argument| (*argument).to_string());
        quiet(Command::new(
            "apt-get",
            common
                .into_iter()
                .chain(self.only_our_source())
                .chain(arguments),
        ))
    }

    /// Refreshes the index. If other repositories are refreshed too, returns the output of a failure.
    fn refresh(&self) -> Result<Option<Output>, PackageError> {
        let mut options = Vec::new();
        if self.source.is_some() {
            // Otherwise a failed refresh ends with status 0, and the install uses whatever index there is.
            options.push("-oAPT::Update::Error-Mode=any");
        }
        options.push("update");
        let _step = Step::new(format!("refreshing the index of {}", self.source_name()));
        let output = self
            .locks
            .run(|| self.apt_get(&options).limit(self.limits.refresh).run())?;
        // An apt older than 2.1 does not know the option above.
        if output.success() && !output.says(FETCH_FAILED) {
            Ok(None)
        } else if self.source.is_some() {
            Err(refresh_error(&output, self.source_name()))
        } else {
            // Another repository may be down; whether Teleport's has the target is checked next.
            warn!(
                "cannot refresh the package index: {}. Using the existing index",
                output.summary()
            );
            Ok(Some(output))
        }
    }

    /// Queries the index as it is on this host.
    fn apt_cache(&self, verb: &str, package: &str) -> Result<Output> {
        let arguments = self
            .only_our_source()
            .into_iter()
            .chain(NO_CACHE.map(String::from))
            .chain([verb.into(), package.into()]);
        quiet(Command::new("apt-cache", arguments))
            .limit(READ_LIMIT)
            .run()
    }

    /// The versions of the package in the repositories: `teleport-ent | 14.3.34 | https://... Packages`.
    fn madison(&self, name: &str) -> Result<Output, PackageError> {
        let output = self.apt_cache("madison", name)?;
        succeeded(&output)?;
        Ok(output)
    }

    /// Runs the install, or with `extra` a part of it.
    fn run_install(
        &self,
        extra: &[&str],
        package: &str,
        limit: Option<Duration>,
    ) -> Result<(), PackageError> {
        let arguments = [&INSTALL[..], extra, &[package]].concat();
        let run = || {
            self.locks.run(|| {
                let command = self.apt_get(&arguments);
                match limit {
                    Some(limit) => command.limit(limit).run(),
                    None => command.run(),
                }
            })
        };
        let mut output = run()?;
        if output.says("dpkg was interrupted") {
            self.repair()?;
            output = run()?;
        }
        if output.success() {
            Ok(())
        } else {
            Err(install_error(&output, self.source_name()))
        }
    }

    /// Removes a download of this version unless it matches the index. apt itself compares only the size, and would install a file that
    /// was broken since, or has other bytes than the repository's.
    fn remove_mismatches(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        let files = starting_with(Path::new(DOWNLOADS), &file_start(name, package_version))?;
        if files.is_empty() {
            return Ok(());
        }
        let index = self.apt_cache("show", &format!("{name}={package_version}"))?;
        for file in files {
            let sum = Command::new("sha256sum", [&file]).limit(READ_LIMIT).run()?;
            if !output::is_in_index(&sum, &index) {
                warn!(
                    "{} does not match the current package index; downloading it again",
                    file.display()
                );
                remove([file])?;
            }
        }
        Ok(())
    }

    /// Fails if installing `package` would change any package but `name`.
    fn changes_only(&self, name: &str, package: &str) -> Result<(), PackageError> {
        let output = self
            .apt_get(&[&INSTALL[..], &["--simulate", package]].concat())
            .limit(READ_LIMIT)
            .run()?;
        if !output.success() {
            return Err(install_error(&output, self.source_name()));
        }
        only(name, output::changed(&output).map(str::to_string))
    }

    fn mark(&self, verb: &'static str, name: &str) -> Result<(), PackageError> {
        let run = || {
            Command::new("apt-mark", [verb, name])
                .limit(READ_LIMIT)
                .run()
        };
        succeeded(&self.locks.run(run)?)
    }

    fn dpkg(&self, arguments: &[&str]) -> Result<(), PackageError> {
        let arguments = [&["--force-confdef", "--force-confold"], arguments].concat();
        let run = || quiet(Command::new("dpkg", &arguments)).run();
        succeeded(&self.locks.run(run)?)
    }
}

impl PackageManager for Apt {
    fn weaknesses(&self) -> Result<Vec<Weakness>> {
        trust::weaknesses(self.source.map(Path::new))
    }

    fn source(&self) -> String {
        self.source_name().into()
    }

    fn offered(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        self.check_trust()?;
        let failure = self.refresh()?;
        let madison = self.madison(name)?;
        let is_untrusted = |refresh: &Output| {
            output::sources(&madison).any(|source| output::distrusts(refresh, source))
        };
        match failure.filter(is_untrusted) {
            Some(refresh) => Err(refresh_error(&refresh, self.source_name())),
            None => Ok(output::listed(&madison)),
        }
    }

    fn may_offer(&self, name: &str) -> bool {
        self.source.is_some() || !self.peek(name).is_empty()
    }

    fn peek(&self, name: &str) -> Vec<Version> {
        let listed = self.madison(name).map(|madison| output::listed(&madison));
        let listed = listed.unwrap_or_default().into_iter();
        listed.map(|(version, _)| version).collect()
    }

    fn download(&self, installed: &Installed, found: &Found) -> Result<Prepared, PackageError> {
        let (name, version) = (&installed.name, &found.package_version);
        let package = format!("{name}={version}");
        self.changes_only(name, &package)?;
        self.remove_mismatches(name, version)?;
        let _step = Step::new(format!("downloading {name} {version}"));
        self.run_install(&["--download-only"], &package, Some(DOWNLOAD_LIMIT))?;
        Ok(Prepared::new(name, version))
    }

    fn downloads(&self) -> Option<PathBuf> {
        Some(DOWNLOADS.into())
    }

    fn discard(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        let (start, directory) = (file_start(name, package_version), Path::new(DOWNLOADS));
        remove(starting_with(directory, &start)?)?;
        Ok(remove(starting_with(&directory.join("partial"), &start)?)?)
    }

    fn prepare(&self, name: &str, package_version: &str) -> Result<Prepared, PackageError> {
        self.check_trust()?;
        self.remove_mismatches(name, package_version)?;
        Ok(Prepared::new(name, package_version))
    }

    fn install(&self, prepared: Prepared) -> Result<(), PackageError> {
        let package = format!("{}={}", prepared.name, prepared.package_version);
        self.run_install(&[], &package, None)
    }

    fn repack(&self, installed: &Installed, directory: &Path) -> Result<PathBuf, PackageError> {
        Ok(repack::repack(installed, directory)?)
    }

    fn install_repacked(&self, file: &Path) -> Result<(), PackageError> {
        self.dpkg(&["--install", &file.to_string_lossy()])
    }

    fn hold(&self, name: &str) -> Result<(), PackageError> {
        self.mark("hold", name)
    }

    fn release(&self, name: &str) -> Result<(), PackageError> {
        self.mark("unhold", name)
    }

    fn repair(&self) -> Result<(), PackageError> {
        self.dpkg(&["--configure", "-a"])
    }

    fn installed(&self, name: &str) -> Result<Option<Installed>> {
        Ok(dpkg::installed(&[name])?.pop())
    }
}

/// How apt begins the name of the file of a package.
fn file_start(name: &str, package_version: &str) -> String {
    format!("{name}_{}_", package_version.replace(':', "%3a"))
}

/// Keeps what runs during an install from asking questions, and from restarting other services.
fn quiet(command: Command) -> Command {
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("NEEDRESTART_SUSPEND", "1")
        .env("APT_LISTCHANGES_FRONTEND", "none")
}
