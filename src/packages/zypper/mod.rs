//! zypper, on SUSE and its kin.

pub mod output;
pub mod trust;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use log::warn;

use crate::packages::common::files::{list, remove};
use crate::packages::common::locks::{Limits, Locks};
use crate::packages::common::messages::{error_lines, install_error, refresh_error, succeeded};
use crate::packages::common::trust::Weakness;
use crate::packages::package::Installed;
use crate::packages::zypper::output::{attribute, changed};
use crate::packages::{
    DOWNLOAD_LIMIT, Found, PackageError, PackageManager, Prepared, READ_LIMIT, only, rpm,
};
use crate::system::output::terminal::Step;
use crate::system::process::command::{Command, Output};
use crate::version::Version;

/// Where repositories are configured.
pub const REPOSITORIES: [&str; 1] = ["/etc/zypp/repos.d"];
/// Our own directory for downloads, whose signatures are verified before the install.
const DOWNLOADS: &str = "/var/cache/teleport-upgrade/zypper";
/// zypper's settings, in the order in which it looks for them.
const SETTINGS: [&str; 2] = ["/etc/zypp/zypp.conf", "/usr/etc/zypp/zypp.conf"];
/// "Nothing found".
const NOT_FOUND: i32 = 104;
/// Success; and success, but the host or zypper should be restarted, or a script failed that rpm ignores.
const DONE: [i32; 4] = [0, 102, 103, 107];
/// Success, without a repository that could not be read.
const SKIPPED: i32 = 106;

/// zypper, with its repositories limited to Teleport's if the host allows that.
pub struct Zypper {
    limits: Limits,
    locks: Locks,
    /// The file with Teleport's repository, if that has its usual ID.
    source: Option<PathBuf>,
}

/// The program of this host.
pub fn program() -> Option<(&'static str, PathBuf)> {
    rpm::find_program(&["zypper"])
}

/// Whether Teleport's repository is configured, with its usual ID.
pub fn has_repository() -> bool {
    rpm::repository_file(&REPOSITORIES).is_some()
}

impl Zypper {
    /// Looks for the program and Teleport's repository.
    pub fn new(limits: Limits) -> Option<Zypper> {
        program()?;
        // zypper leaves its PID file behind: only zypper itself can tell whether the lock is held.
        let locks = Locks {
            held: &rpm::TRANSACTION_LOCKS,
            busy: output::busy,
            limit: limits.lock_wait,
        };
        Some(Zypper {
            limits,
            locks,
            source: rpm::repository_file(&REPOSITORIES),
        })
    }

    /// A command that uses the index as it is. `verb` may be several words.
    fn command(&self, verb: &[&str], arguments: &[&str]) -> Command {
        let repository: &[&str] = match self.source {
            Some(_) => &["--repo", rpm::REPOSITORY],
            None => &[],
        };
        let common = [
            "--non-interactive",
            "--no-refresh",
            "--pkg-cache-dir",
            DOWNLOADS,
        ];
        Command::new("zypper", [&common, verb, repository, arguments].concat())
    }

    /// Whether zypper did what it was asked. Another repository than Teleport's may be down.
    fn is_done(&self, output: &Output) -> bool {
        output
            .code()
            .is_some_and(|code| DONE.contains(&code) || code == SKIPPED && self.source.is_none())
    }

    /// Refreshes the index.
    fn refresh(&self) -> Result<(), PackageError> {
        let mut arguments = vec!["--non-interactive", "refresh"];
        arguments.extend(self.source.as_ref().map(|_| rpm::REPOSITORY));
        let _step = Step::new(format!("refreshing the index of {}", self.source()));
        let output = self.locks.run(|| {
            Command::new("zypper", &arguments)
                .limit(self.limits.refresh)
                .run()
        })?;
        if output.success() {
            Ok(())
        } else if self.source.is_some() {
            Err(refresh_error(&output, &self.source()))
        } else {
            // Another repository may be down; whether Teleport's has the target is checked next.
            warn!(
                "cannot refresh the package index: {}. Using the existing index",
                error_lines(&output)
            );
            Ok(())
        }
    }

    /// The versions of the package in the repository, latest first.
    fn list(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        let search = [
            "--xmlout",
            "search",
            "--details",
            "--match-exact",
            "--type",
            "package",
        ];
        let output = self
            .locks
            .run(|| self.command(&search, &[name]).limit(READ_LIMIT).run())?;
        if !self.is_done(&output) && output.code() != Some(NOT_FOUND) {
            return Err(PackageError::Failed(error_lines(&output)));
        }
        let is_offered = |line: &&str| {
            attribute(line, "repository").is_some_and(|from| from != "(System Packages)")
        };
        let offered = output.lines().filter(is_offered);
        Ok(rpm::versions(
            offered.filter_map(|line| attribute(line, "edition")),
        ))
    }

    /// Downloads the package and verifies its signature; fails if installing it would change any other package.
    ///
    /// zypper itself accepts a package signed by any key, or by none, from a repository whose index is signed by a trusted one.
    fn fetch(&self, name: &str, version: &str, held: bool) -> Result<Prepared, PackageError> {
        let downloads = Path::new(DOWNLOADS);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(downloads)
            .with_context(|| format!("cannot create {DOWNLOADS}"))?;
        // A download of this version by an earlier run is used again: zypper compares it with the index.
        let mut others = package_files(downloads)?;
        others.retain(|file| !is_of(file, name, version));
        remove(others)?;
        let _step = Step::new(format!("downloading {name} {version}"));
        let simulation = [
            "--xmlout",
            "install",
            "--dry-run",
            "--download-only",
            "--details",
        ];
        let output = self.run_install(&simulation, name, version, held, Some(DOWNLOAD_LIMIT))?;
        if output.code() == Some(NOT_FOUND) {
            return Err(PackageError::Failed(format!(
                "{name} {version} not found in the repository configured in {}",
                self.source()
            )));
        }
        let changed = changed(&output);
        // Without a summary, the solver found no solution.
        if !changed.is_empty() || self.is_done(&output) {
            only(name, changed)?;
        }
        if !self.is_done(&output) {
            return Err(install_error(&output, &self.source()));
        }
        let files = package_files(downloads)?;
        if files.is_empty() {
            return Err(PackageError::Mismatch {
                source: self.source(),
                detail: error_lines(&output),
            });
        }
        for file in &files {
            rpm::verify::signature(file, &self.source())?;
        }
        Ok(Prepared::new(name, version))
    }

    /// Runs an install of exactly this version, up, down or again.
    fn run_install(
        &self,
        verb: &[&str],
        name: &str,
        version: &str,
        held: bool,
        limit: Option<Duration>,
    ) -> Result<Output, PackageError> {
        let arguments = ["--no-recommends", "--force", &format!("{name}={version}")];
        let settings = held.then(settings_without_locks).transpose()?;
        self.locks.run(|| {
            let mut command = self.command(verb, &arguments);
            if let Some(file) = &settings {
                command = command.env("ZYPP_CONF", &file.to_string_lossy());
            }
            if let Some(limit) = limit {
                command = command.limit(limit);
            }
            command.run()
        })
    }

    fn change_lock(&self, verb: &str, name: &str) -> Result<(), PackageError> {
        let run = || {
            Command::new("zypper", ["--non-interactive", verb, name])
                .limit(READ_LIMIT)
                .run()
        };
        succeeded(&self.locks.run(run)?)
    }
}

impl PackageManager for Zypper {
    fn weaknesses(&self) -> Result<Vec<Weakness>> {
        trust::weaknesses(&REPOSITORIES, self.source.as_ref().map(|_| rpm::REPOSITORY))
    }

    fn source(&self) -> String {
        let default = || REPOSITORIES[0].to_string();
        self.source
            .as_ref()
            .map_or_else(default, |file| file.display().to_string())
    }

    fn may_offer(&self, _: &str) -> bool {
        !rpm::repo_files(&REPOSITORIES).is_empty()
    }

    fn offered(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        self.check_trust()?;
        self.refresh()?;
        self.list(name)
    }

    fn download(&self, installed: &Installed, found: &Found) -> Result<Prepared, PackageError> {
        self.fetch(&installed.name, &found.package_version, installed.held)
    }

    fn downloads(&self) -> Option<PathBuf> {
        Some(DOWNLOADS.into())
    }

    fn discard(&self, _: &str, _: &str) -> Result<(), PackageError> {
        match fs::remove_dir_all(DOWNLOADS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed.with_context(|| format!("cannot remove {DOWNLOADS}"))?),
        }
    }

    fn prepare(&self, name: &str, package_version: &str) -> Result<Prepared, PackageError> {
        self.check_trust()?;
        self.fetch(name, package_version, is_held(name)?)
    }

    fn install(&self, prepared: Prepared) -> Result<(), PackageError> {
        let Prepared {
            name,
            package_version,
        } = prepared;
        let held = is_held(&name)?;
        let output = self.run_install(&["install"], &name, &package_version, held, None)?;
        if !self.is_done(&output) {
            return Err(install_error(&output, &self.source()));
        }
        self.discard(&name, &package_version)
    }

    fn hold(&self, name: &str) -> Result<(), PackageError> {
        if rpm::installed(name)?.is_some_and(|installed| installed.held) {
            return Ok(());
        }
        self.change_lock("addlock", name)
    }

    fn release(&self, name: &str) -> Result<(), PackageError> {
        self.change_lock("removelock", name)
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

fn is_held(name: &str) -> Result<bool, PackageError> {
    Ok(rpm::installed_once(name)?.is_some_and(|installed| installed.held))
}

/// zypper's settings on this host without its locks, which our own install ignores and leaves in place.
fn settings_without_locks() -> Result<PathBuf> {
    let settings = SETTINGS
        .iter()
        .find_map(|file| fs::read_to_string(file).ok())
        .unwrap_or_default();
    let file = Path::new(DOWNLOADS).with_file_name("zypp.conf");
    fs::write(&file, format!("{settings}\n[main]\nlocksfile.apply = no\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The packages below the directory.
fn package_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in list(directory)? {
        if path.is_dir() {
            found.extend(package_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rpm") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether it is the file of this version of the package, which may lack the release.
fn is_of(file: &Path, name: &str, version: &str) -> bool {
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    file.strip_prefix(&format!("{name}-{version}"))
        .is_some_and(|rest| rest.starts_with(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_recognized_by_its_name() {
        let is = |file: &str| is_of(Path::new(file), "teleport", "14.3.3");
        assert!(is("/x/teleport/teleport-14.3.3-1.x86_64.rpm"));
        assert!(
            !is("/x/teleport-14.3.33-1.x86_64.rpm") && !is("/x/teleport-ent-14.3.3-1.x86_64.rpm")
        );
    }
}
