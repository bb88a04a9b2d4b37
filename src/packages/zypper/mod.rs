//! zypper, on SUSE and its kin.

pub mod trust;

use std::cell::RefCell;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use log::warn;

use crate::packages::errors::{complaint, install_error, refresh_error};
use crate::packages::locks::{Locks, process};
use crate::packages::package::Installed;
use crate::packages::trust::Weakness;
use crate::packages::{
    DOWNLOAD_LIMIT, Limits, PackageError, PackageManager, READ_LIMIT, only, rpm,
};
use crate::system::command::{Command, Output};
use crate::system::terminal::Step;
use crate::system::text::io_problem;
use crate::version::Version;

/// Where repositories are configured.
pub const REPOSITORIES: [&str; 1] = ["/etc/zypp/repos.d"];
/// Packages are downloaded to here, and into no other directory, for their signatures to be checked before the install.
const DOWNLOADS: &str = "/var/cache/teleport-upgrade/zypper";
/// zypper's settings, where it looks for them.
const SETTINGS: [&str; 2] = ["/etc/zypp/zypp.conf", "/usr/etc/zypp/zypp.conf"];
/// "Nothing found".
const NOT_FOUND: i32 = 104;
/// Done; done, and a restart of the host or of zypper is in order; done, and a script failed that did not matter to rpm.
const DONE: [i32; 4] = [0, 102, 103, 107];
/// Done, without a repository that could not be read.
const SKIPPED: i32 = 106;

/// zypper, with its repositories narrowed to Teleport's where the host lets us.
pub struct Zypper {
    limits: Limits,
    locks: Locks,
    /// The file with Teleport's repository, if it is there by its id.
    source: Option<PathBuf>,
    /// The package that this pass has downloaded and checked.
    fetched: RefCell<Option<String>>,
}

/// The program of this host.
pub fn program() -> Option<(&'static str, PathBuf)> {
    rpm::find_program(&["zypper"])
}

impl Zypper {
    /// Finds the program and Teleport's repository.
    pub fn new(limits: Limits) -> Option<Zypper> {
        program()?;
        // zypper leaves its pid file behind: whether the lock is held, only zypper tells.
        let locks = Locks {
            held: &rpm::TRANSACTION_LOCKS,
            refusal,
            limit: limits.lock_wait,
        };
        Some(Zypper {
            limits,
            locks,
            source: rpm::repository_file(&REPOSITORIES),
            fetched: RefCell::default(),
        })
    }

    /// A run on what was refreshed before. `verb` may be several words.
    fn command(&self, verb: &[&str], arguments: &[&str]) -> Command {
        let narrow: &[&str] = if self.source.is_some() {
            &["--repo", rpm::REPOSITORY]
        } else {
            &[]
        };
        let common = [
            "--non-interactive",
            "--no-refresh",
            "--pkg-cache-dir",
            DOWNLOADS,
        ];
        Command::new("zypper", [&common, verb, narrow, arguments].concat())
    }

    /// Whether zypper did what it was asked. Another repository than Teleport's may be down.
    fn is_done(&self, output: &Output) -> bool {
        output
            .code()
            .is_some_and(|code| DONE.contains(&code) || code == SKIPPED && self.source.is_none())
    }

    /// Brings the index up to date.
    fn refresh(&self) -> Result<(), PackageError> {
        let narrow: &[&str] = if self.source.is_some() {
            &[rpm::REPOSITORY]
        } else {
            &[]
        };
        let arguments = [&["--non-interactive", "refresh"], narrow].concat();
        let _step = Step::new(format!("refreshing the index of {}", self.source()));
        let output = self.locks.run(|| {
            Command::new("zypper", &arguments)
                .limit(self.limits.refresh)
                .run()
        })?;
        match output.success() {
            true => Ok(()),
            false if self.source.is_some() => Err(refresh_error(&output, &self.source())),
            false => {
                // Some other repository may be down; whether Teleport's brought the target is seen next.
                warn!("{}; going on with the index as it is", complaint(&output));
                Ok(())
            }
        }
    }

    /// The versions of the package that the repository has, newest first.
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
            return Err(PackageError::Failed(complaint(&output)));
        }
        let solvables = output.lines().filter(|line| {
            attribute(line, "repository").is_some_and(|from| from != "(System Packages)")
        });
        let mut offered = rpm::versions(solvables.filter_map(|line| attribute(line, "edition")));
        offered.sort_unstable();
        offered.reverse();
        Ok(offered)
    }

    /// Downloads the package and checks its signature; fails if installing it would change any other package.
    ///
    /// zypper itself takes a package by any key, or by none, from a repository whose index is signed by a trusted one.
    fn fetch(&self, name: &str, wanted: &str, held: bool) -> Result<(), PackageError> {
        let downloads = Path::new(DOWNLOADS);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(downloads)
            .with_context(|| format!("cannot make {DOWNLOADS}"))?;
        // Of this version, what an earlier pass downloaded will do: zypper compares it with the index.
        let wanted_file = |file: &PathBuf| is_of(file, name, wanted);
        for file in package_files(downloads)?
            .iter()
            .filter(|file| !wanted_file(file))
        {
            fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        let _step = Step::new(format!("downloading {name} {wanted}"));
        let simulation = [
            "--xmlout",
            "install",
            "--dry-run",
            "--download-only",
            "--details",
        ];
        let output = self.install_by(&simulation, name, wanted, held, Some(DOWNLOAD_LIMIT))?;
        if output.code() == Some(NOT_FOUND) {
            return Err(PackageError::Failed(format!(
                "the repository of {} has no {name} {wanted}",
                self.source()
            )));
        }
        let changed = changed(&output);
        // With no summary, it got no further than that: the solver found no way.
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
                said: complaint(&output),
            });
        }
        for file in &files {
            let check = Command::new(
                "rpmkeys",
                [Path::new("--checksig"), Path::new("--verbose"), file],
            )
            .limit(READ_LIMIT)
            .run()?;
            if !is_signed(&check) {
                return Err(PackageError::Unauthentic {
                    source: self.source(),
                    said: objection(&check),
                });
            }
        }
        *self.fetched.borrow_mut() = Some(format!("{name}={wanted}"));
        Ok(())
    }

    /// Runs an install of exactly this version, up, down or again.
    fn install_by(
        &self,
        verb: &[&str],
        name: &str,
        wanted: &str,
        held: bool,
        limit: Option<Duration>,
    ) -> Result<Output, PackageError> {
        let arguments = ["--no-recommends", "--force", &format!("{name}={wanted}")];
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
}

impl Zypper {
    fn lock_command(&self, verb: &str, name: &str) -> Result<(), PackageError> {
        let output = self.locks.run(|| {
            Command::new("zypper", ["--non-interactive", verb, name])
                .limit(READ_LIMIT)
                .run()
        })?;
        if output.success() {
            Ok(())
        } else {
            Err(PackageError::Failed(complaint(&output)))
        }
    }
}

impl PackageManager for Zypper {
    fn weaknesses(&self) -> Result<Vec<Weakness>> {
        trust::weaknesses(&REPOSITORIES, self.source.as_ref().map(|_| rpm::REPOSITORY))
    }

    fn source(&self) -> String {
        self.source
            .as_ref()
            .map_or(REPOSITORIES[0].to_string(), |file| {
                file.display().to_string()
            })
    }

    fn offered(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        self.check_trust()?;
        self.refresh()?;
        self.list(name)
    }

    fn download(&self, installed: &Installed, package_version: &str) -> Result<(), PackageError> {
        self.fetch(&installed.name, package_version, installed.held)
    }

    fn install(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        self.check_trust()?;
        let held = rpm::installed_once(name)?.is_some_and(|installed| installed.held);
        // Good for one install: after it, nothing is left of what was downloaded.
        if self.fetched.take() != Some(format!("{name}={package_version}")) {
            self.fetch(name, package_version, held)?;
        }
        let output = self.install_by(&["install"], name, package_version, held, None)?;
        if !self.is_done(&output) {
            return Err(install_error(&output, &self.source()));
        }
        Ok(fs::remove_dir_all(DOWNLOADS).with_context(|| format!("cannot remove {DOWNLOADS}"))?)
    }

    fn downloads(&self) -> Option<PathBuf> {
        Some(DOWNLOADS.into())
    }

    fn discard(&self, _: &str, _: &str) -> Result<(), PackageError> {
        match fs::remove_dir_all(DOWNLOADS) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PackageError::Failed(
                format!("cannot remove {DOWNLOADS}: {}", io_problem(&error)),
            )),
            _ => Ok(()),
        }
    }

    fn hold(&self, name: &str) -> Result<(), PackageError> {
        if rpm::installed(name)?.is_some_and(|installed| installed.held) {
            return Ok(());
        }
        self.lock_command("addlock", name)
    }

    fn release(&self, name: &str) -> Result<(), PackageError> {
        self.lock_command("removelock", name)
    }

    fn repair(&self) -> Result<(), PackageError> {
        rpm::repair()
    }

    fn installed(&self, name: &str) -> Result<Option<Installed>> {
        rpm::installed(name)
    }

    fn verify(&self, name: &str) -> Result<(), String> {
        rpm::verify(name)
    }
}

/// Who holds a lock, if zypper did nothing on account of one.
pub fn refusal(output: &Output) -> Option<String> {
    // zypper: 7, "System management is locked by the application with pid 42 (zypper)."
    let pid = output.lines().find_map(|line| {
        let (_, after) = line.split_once("locked by the application with pid ")?;
        after
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    });
    let locked = output.code() == Some(7) || output.says("transaction lock");
    locked.then(|| pid.map_or("another program".to_string(), process))
}

/// The packages that a simulated run would install, remove or replace.
pub fn changed(output: &Output) -> Vec<String> {
    let summary = output
        .lines()
        .skip_while(|line| !line.starts_with("<install-summary"));
    let summary = summary.take_while(|line| !line.starts_with("</install-summary"));
    summary
        .filter(|line| line.starts_with("<solvable "))
        .filter_map(|line| Some(attribute(line, "name")?.to_string()))
        .collect()
}

/// The value of an attribute in a line of zypper's XML, in which every element that matters to us has a line of its own.
fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = line.split_once(&format!(" {name}=\""))?;
    Some(after.split_once('"')?.0)
}

/// Whether rpmkeys found a signature, and everything in order. Its status is 0 for a package without a signature too.
pub fn is_signed(check: &Output) -> bool {
    let mut verdicts = check
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .peekable();
    let mut signed = false;
    check.success()
        && verdicts.peek().is_some()
        && verdicts.all(|line| {
            signed |= line.to_lowercase().contains("signature");
            line.ends_with(": OK")
        })
        && signed
}

/// What rpmkeys found wrong with a package.
pub fn objection(check: &Output) -> String {
    let wrong: Vec<&str> = check
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| !line.ends_with(": OK"))
        .collect();
    if wrong.is_empty() {
        "it has no signature".to_string()
    } else {
        format!("rpmkeys says: {}", wrong.join(" / "))
    }
}

/// zypper's settings as they are on this host, but for locks, which an install of ours passes by and leaves in place.
fn settings_without_locks() -> Result<PathBuf> {
    let theirs = SETTINGS
        .iter()
        .find_map(|file| fs::read_to_string(file).ok())
        .unwrap_or_default();
    let file = Path::new(DOWNLOADS).with_file_name("zypp.conf");
    fs::write(&file, format!("{theirs}\n[main]\nlocksfile.apply = no\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The packages below the directory.
fn package_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(package_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rpm") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether it is the file of this version of the package, which may lack the release.
fn is_of(file: &Path, name: &str, wanted: &str) -> bool {
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    file.strip_prefix(&format!("{name}-{wanted}"))
        .is_some_and(|rest| rest.starts_with(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Output {
        Command::new("printf", ["%s", text]).run().unwrap()
    }

    #[test]
    fn only_a_package_whose_signature_is_in_order_is_signed() {
        let file = "/x/teleport.rpm:\n";
        let (signature, digest) = (
            "    Header V4 RSA/SHA512 Signature, key ID aab12ca9",
            "    Header SHA256 digest",
        );
        for (text, signed) in [
            (format!("{file}{signature}: OK\n{digest}: OK\n"), true),
            (
                format!(
                    "{file}    Header OpenPGP V4 RSA/SHA512 signature, key fingerprint: 00aa: OK\n"
                ),
                true,
            ),
            (format!("{file}{digest}: OK\n"), false),
            (format!("{file}{signature}: NOKEY\n{digest}: OK\n"), false),
            (
                format!("{file}{signature}: OK\n{digest}: BAD (Expected 1 != 2)\n"),
                false,
            ),
            (file.to_string(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_signed(&said(&text)), signed, "{text}");
        }
    }

    #[test]
    fn a_download_is_known_by_its_name() {
        let is = |file: &str| is_of(Path::new(file), "teleport", "14.3.3");
        assert!(is("/x/teleport/teleport-14.3.3-1.x86_64.rpm"));
        assert!(
            !is("/x/teleport-14.3.33-1.x86_64.rpm") && !is("/x/teleport-ent-14.3.3-1.x86_64.rpm")
        );
    }

    #[test]
    fn reads_what_would_change() {
        let text = "<?xml version='1.0'?>\n<install-summary download-size=\"1\" packages-to-change=\"2\">\n<to-upgrade>\n\
            <solvable type=\"package\" name=\"teleport-ent\" edition=\"14.3.34-1\" edition-old=\"14.3.33-1\" summary=\"x\">\n\
            </to-upgrade>\n<to-remove>\n<solvable type=\"package\" name=\"library\" edition=\"1.0-1\">\n</to-remove>\n\
            </install-summary>\n<solvable name=\"later\"/>\n";
        assert_eq!(changed(&said(text)), ["teleport-ent", "library"]);
        assert_eq!(
            attribute("<solvable edition=\"1-1\" edition-old=\"2\"/>", "edition"),
            Some("1-1")
        );
    }
}
