//! apt and dpkg, on Debian, Ubuntu and their kin.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use log::{info, warn};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::{PackageError, PackageManager};
use crate::command::{Command, Output};
use crate::observe::agent::Installed;
use crate::observe::dpkg;
use crate::version::Version;

/// Where a host has Teleport's repository, if it has it in a file of its own.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list.d/teleport.list", "/etc/apt/sources.list.d/teleport.sources"];
/// What apt and dpkg lock, and refuse to work without. apt itself waits for the first one at most.
const LOCKS: [&str; 4] =
    ["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock"];
/// How often to look whether a lock is free.
const LOOK: Duration = Duration::from_millis(500);
/// A refresh of one small repository takes seconds; of all of a host's, a minute or two on a slow line.
const REFRESH_LIMIT: Duration = Duration::from_secs(180);
/// What a refresh says that failed in part, whatever its status.
const FETCH_FAILED: &str = "Some index files failed to download";
/// For what only reads what is on the disk.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// apt, with its sources narrowed to Teleport's where the host lets us.
pub struct Apt {
    lock_wait: Duration,
    /// The file with Teleport's repository and nothing else, if there is one.
    source: Option<&'static str>,
}

impl Apt {
    /// Finds Teleport's repository.
    pub fn new(lock_wait: Duration) -> Apt {
        Apt { lock_wait, source: SOURCES.into_iter().find(|path| Path::new(path).is_file()) }
    }

    /// Where the repository is configured, for messages.
    fn source_name(&self) -> String {
        self.source.unwrap_or("/etc/apt").to_string()
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
        let common = ["-q", "-y", "-oDpkg::Use-Pty=0"].map(String::from);
        let arguments = arguments.iter().map(|argument| (*argument).to_string());
        quiet(Command::new("apt-get", common.into_iter().chain(self.narrow()).chain(arguments)))
    }

    /// Runs `attempt` when nobody holds a lock, and again if somebody was faster, until the time for waiting is over.
    fn with_locks(&self, attempt: impl Fn() -> Result<Output>) -> Result<Output, PackageError> {
        let deadline = Instant::now() + self.lock_wait;
        loop {
            self.wait_for_locks(deadline)?;
            let output = attempt()?;
            if output.success() || !output.says("Could not get lock") {
                return Ok(output);
            }
            if Instant::now() >= deadline {
                return Err(PackageError::Busy { holder: lock_line(&output), waited: self.lock_wait });
            }
            thread::sleep(LOOK);
        }
    }

    fn wait_for_locks(&self, deadline: Instant) -> Result<(), PackageError> {
        let mut told = None;
        while let Some((path, holder)) = LOCKS.iter().find_map(|path| Some((path, holder(path)?))) {
            if Instant::now() >= deadline {
                return Err(PackageError::Busy { holder, waited: self.lock_wait });
            }
            if told.as_ref() != Some(&holder) {
                info!("waiting for {holder}, which holds {path}");
                told = Some(holder);
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Brings the index up to date.
    fn refresh(&self) -> Result<(), PackageError> {
        let mut options = vec!["-oAcquire::http::Timeout=20", "-oAcquire::https::Timeout=20", "-oAcquire::Retries=1"];
        if self.source.is_some() {
            // Else a failed refresh ends with status 0, and the install goes by whatever index is there.
            options.push("-oAPT::Update::Error-Mode=any");
        }
        options.push("update");
        let output = self.with_locks(|| self.apt_get(&options).limit(REFRESH_LIMIT).run())?;
        let (source, said) = (self.source_name(), output.summary());
        match () {
            () if self.source.is_none() => {
                // Some other repository may be down; whether Teleport's brought the target is seen next.
                if !output.success() || output.says(FETCH_FAILED) {
                    warn!("{said}; going on with the index as it is");
                }
                Ok(())
            }
            // A run that was ended may have said anything before.
            () if output.code().is_none() => Err(PackageError::Unreachable { source, said }),
            () if distrusts(&output) => Err(PackageError::Untrusted { source, said: complaint(&output) }),
            // An apt older than 2.1 does not know the option above.
            () if !output.success() || output.says(FETCH_FAILED) => {
                Err(PackageError::Unreachable { source, said: complaint(&output) })
            }
            () => Ok(()),
        }
    }

    /// The versions of the package that the repository has, as it spells them.
    fn offered(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        let arguments = self.narrow().into_iter().chain(["madison".to_string(), name.to_string()]);
        let output = quiet(Command::new("apt-cache", arguments)).limit(READ_LIMIT).run()?;
        if !output.success() {
            return Err(PackageError::Failed(output.summary()));
        }
        // `teleport-ent | 14.3.34 | https://...`. A repository may hold what is no version of ours; it is not for us.
        let spelled = output.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
        Ok(spelled.filter_map(|text| Some((Version::from_debian(text).ok()?, text.to_string()))).collect())
    }

    /// Fails if installing `wanted` would change any package but `name`.
    fn touches_only(&self, name: &str, wanted: &str) -> Result<(), PackageError> {
        let output = self.apt_get(&[&INSTALL[..], &["--simulate", wanted]].concat()).limit(READ_LIMIT).run()?;
        if !output.success() {
            return Err(PackageError::Failed(output.summary()));
        }
        let others: Vec<String> = changed(&output).filter(|package| *package != name).map(str::to_string).collect();
        if others.is_empty() { Ok(()) } else { Err(PackageError::TouchesOthers(others)) }
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
    fn prepare(&self, installed: &Installed, target: &Version) -> Result<String, PackageError> {
        self.refresh()?;
        let name = &installed.name;
        let offered = self.offered(name)?;
        if !offered.iter().any(|(version, _)| *version == installed.version) {
            warn!(
                "the repository of {} no longer has {name} {}: there is no way back from {target}",
                self.source_name(),
                installed.version
            );
        }
        let Some((_, package_version)) = offered.iter().find(|(version, _)| version == target) else {
            let newest = offered.into_iter().map(|(version, _)| version).max().map(|version| version.to_string());
            return Err(PackageError::NotOffered {
                name: name.clone(),
                target: target.to_string(),
                source: self.source_name(),
                newest,
            });
        };
        self.touches_only(name, &format!("{name}={package_version}"))?;
        Ok(package_version.clone())
    }

    fn install(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        let wanted = format!("{name}={package_version}");
        let run = || self.with_locks(|| self.apt_get(&[&INSTALL[..], &[&wanted]].concat()).run());
        let mut output = run()?;
        if output.says("dpkg was interrupted") {
            self.mend()?;
            output = run()?;
        }
        match output.success() {
            true => Ok(()),
            false if distrusts(&output) => Err(PackageError::Untrusted { source: self.source_name(), said: complaint(&output) }),
            false => Err(PackageError::Failed(output.summary())),
        }
    }

    fn hold(&self, name: &str) -> Result<(), PackageError> {
        let output = self.with_locks(|| Command::new("apt-mark", ["hold", name]).limit(READ_LIMIT).run())?;
        if output.success() { Ok(()) } else { Err(PackageError::Failed(output.summary())) }
    }

    fn mend(&self) -> Result<(), PackageError> {
        let arguments = ["--force-confdef", "--force-confold", "--configure", "-a"];
        let output = self.with_locks(|| quiet(Command::new("dpkg", arguments)).run())?;
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

/// Whether apt complains of a repository's or package's authenticity.
fn distrusts(output: &Output) -> bool {
    [
        "is not signed",
        "NO_PUBKEY",
        "EXPKEYSIG",
        "BADSIG",
        "REVKEYSIG",
        "signature verification",
        "couldn't be verified",
        "cannot be authenticated",
    ]
    .iter()
    .any(|sign| output.says(sign))
}

/// The lines in which apt says what was wrong.
fn complaint(output: &Output) -> String {
    let lines: Vec<&str> =
        output.lines().filter(|line| line.starts_with("E: ") || line.starts_with("W: ") || line.starts_with("Err:")).collect();
    if lines.is_empty() { output.summary() } else { lines[..lines.len().min(3)].join(" / ") }
}

fn lock_line(output: &Output) -> String {
    // "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 42 (apt-get)"
    let line = output.lines().find(|line| line.contains("Could not get lock")).unwrap_or_default();
    line.split_once("held by ").map_or("another program", |(_, holder)| holder).to_string()
}

/// The packages that a simulated run would install or remove. It may also configure some that another run left unconfigured.
fn changed(output: &Output) -> impl Iterator<Item = &str> {
    output.lines().filter_map(|line| {
        let (verb, rest) = line.split_once(' ')?;
        ["Inst", "Remv", "Purg"].contains(&verb).then(|| rest.split([' ', ':']).next())?
    })
}

/// The process that holds the lock on `path`, if one does.
fn holder(path: &str) -> Option<String> {
    let file = File::open(path).ok()?;
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    if lock.l_type == libc::F_UNLCK as libc::c_short {
        return None;
    }
    let name = fs::read_to_string(format!("/proc/{}/comm", lock.l_pid)).unwrap_or_default();
    Some(format!("{} (process {})", if name.trim().is_empty() { "another program" } else { name.trim() }, lock.l_pid))
}
