//! apt and dpkg, on Debian, Ubuntu and their kin.

pub mod dpkg;
pub mod repack;
pub mod trust;

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use log::warn;

use crate::packages::apt::repack::repack;
use crate::packages::errors::{complaint, install_error, is_unsigned, refresh_error};
use crate::packages::locks::{Lock, Locks};
use crate::packages::package::Installed;
use crate::packages::trust::Weakness;
use crate::packages::{
    DOWNLOAD_LIMIT, Limits, PackageError, PackageManager, READ_LIMIT, files, only, remove_files,
};
use crate::system::command::{Command, Output};
use crate::system::terminal::Step;
use crate::version::Version;

/// Where a host has Teleport's repository, if it has it in a file of its own.
const SOURCES: [&str; 2] = [
    "/etc/apt/sources.list.d/teleport.list",
    "/etc/apt/sources.list.d/teleport.sources",
];
/// What apt and dpkg lock, and refuse to work without. apt itself waits for the first one at most.
const LOCKS: [Lock; 4] = [
    Lock::Record("/var/lib/dpkg/lock-frontend"),
    Lock::Record("/var/lib/dpkg/lock"),
    Lock::Record("/var/lib/apt/lists/lock"),
    Lock::Record("/var/cache/apt/archives/lock"),
];
/// Where apt keeps what it downloads, unless a host's settings say otherwise; then `apt-get clean` removes it.
const DOWNLOADS: &str = "/var/cache/apt/archives";
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
    /// What this pass has seen downloaded, and apt check.
    fetched: RefCell<Option<String>>,
}

impl Apt {
    /// Finds Teleport's repository.
    pub fn new(limits: Limits) -> Apt {
        let locks = Locks {
            held: &LOCKS,
            refusal,
            limit: limits.lock_wait,
        };
        Apt {
            limits,
            locks,
            source: SOURCES.into_iter().find(|path| has_entry(path)),
            checked: Cell::default(),
            fetched: RefCell::default(),
        }
    }

    fn source_name(&self) -> &'static str {
        self.source.unwrap_or("/etc/apt")
    }

    /// Options that let apt see Teleport's repository only: no other one costs time, fails, or has a package changed.
    fn narrow(&self) -> Vec<String> {
        let Some(source) = self.source else {
            return Vec::new();
        };
        vec![
            format!("-oDir::Etc::sourcelist={source}"),
            "-oDir::Etc::sourceparts=-".into(),
            // What it knows of the other repositories stays.
            "-oAPT::Get::List-Cleanup=0".into(),
            // The host's own cache is of all repositories; it would have to be built anew after us.
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
            // What a host's own settings say of these is not meant for us.
            "-oAPT::Get::AutomaticRemove=0",
            "-oAPT::Get::Download-Only=0",
            "-oAPT::Install-Suggests=0",
        ]
        .map(String::from);
        let arguments = arguments.iter().map(|argument| (*argument).to_string());
        quiet(Command::new(
            "apt-get",
            common.into_iter().chain(self.narrow()).chain(arguments),
        ))
    }

    /// Brings the index up to date. Where other repositories are refreshed too, what they complain of is returned.
    fn refresh(&self) -> Result<Option<Output>, PackageError> {
        let mut options = Vec::new();
        if self.source.is_some() {
            // Else a failed refresh ends with status 0, and the install goes by whatever index is there.
            options.push("-oAPT::Update::Error-Mode=any");
        }
        options.push("update");
        let _step = Step::new(format!("refreshing the index of {}", self.source_name()));
        let output = self
            .locks
            .run(|| self.apt_get(&options).limit(self.limits.refresh).run())?;
        // An apt older than 2.1 does not know the option above.
        let failed = !output.success() || output.says(FETCH_FAILED);
        match failed {
            false => Ok(None),
            true if self.source.is_some() => Err(refresh_error(&output, self.source_name())),
            true => {
                // Some other repository may be down; whether Teleport's brought the target is seen next.
                warn!("{}; going on with the index as it is", output.summary());
                Ok(Some(output))
            }
        }
    }

    /// Asks the index as it is here.
    fn apt_cache(&self, verb: &str, package: &str) -> Result<Output> {
        // Nor need the cache be built anew for this question alone.
        let arguments = self
            .narrow()
            .into_iter()
            .chain(NO_CACHE.map(String::from))
            .chain([verb.into(), package.into()]);
        quiet(Command::new("apt-cache", arguments))
            .limit(READ_LIMIT)
            .run()
    }

    /// The versions of the package that the repositories have: `teleport-ent | 14.3.34 | https://... Packages`.
    fn madison(&self, name: &str) -> Result<Output, PackageError> {
        let output = self.apt_cache("madison", name)?;
        if !output.success() {
            return Err(PackageError::Failed(complaint(&output)));
        }
        Ok(output)
    }

    /// Installs, or does with `extra` what leads up to it.
    fn run_install(
        &self,
        extra: &[&str],
        wanted: &str,
        limit: Option<Duration>,
    ) -> Result<(), PackageError> {
        let arguments = [&INSTALL[..], extra, &[wanted]].concat();
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

    /// Removes what was downloaded of this version in an earlier pass, unless it is what the index has now. apt itself compares only the
    /// size of what is there, and would install one that was damaged since, or has other bytes than the repository's.
    fn remove_others(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        let files = files(Path::new(DOWNLOADS), &start_of_file(name, package_version));
        if files.is_empty() {
            return Ok(());
        }
        let index = self.apt_cache("show", &format!("{name}={package_version}"))?;
        for file in files {
            let sum = Command::new("sha256sum", [&file]).limit(READ_LIMIT).run()?;
            if !is_in_index(&sum, &index) {
                warn!(
                    "{}: it is not the package that the index has now; downloading it anew",
                    file.display()
                );
                fs::remove_file(&file)
                    .with_context(|| format!("cannot remove {}", file.display()))?;
            }
        }
        Ok(())
    }

    fn mark(&self, verb: &'static str, name: &str) -> Result<(), PackageError> {
        let output = self.locks.run(|| {
            Command::new("apt-mark", [verb, name])
                .limit(READ_LIMIT)
                .run()
        })?;
        if output.success() {
            Ok(())
        } else {
            Err(PackageError::Failed(output.summary()))
        }
    }

    /// Fails if installing `wanted` would change any package but `name`.
    fn touches_only(&self, name: &str, wanted: &str) -> Result<(), PackageError> {
        let output = self
            .apt_get(&[&INSTALL[..], &["--simulate", wanted]].concat())
            .limit(READ_LIMIT)
            .run()?;
        if !output.success() {
            return Err(install_error(&output, self.source_name()));
        }
        only(name, changed(&output).map(str::to_string))
    }
}

/// Has apt keep its cache of the index in memory.
const NO_CACHE: [&str; 2] = ["-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache="];

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
        trust::weaknesses(self.source.map(Path::new))
    }

    fn source(&self) -> String {
        self.source_name().into()
    }

    fn offered(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        self.check_trust()?;
        self.checked.set(true);
        let complaints = self.refresh()?;
        let madison = self.madison(name)?;
        if let Some(output) =
            complaints.filter(|output| sources(&madison).any(|source| distrusts(output, source)))
        {
            return Err(refresh_error(&output, self.source_name()));
        }
        Ok(listed(&madison))
    }

    fn peek(&self, name: &str) -> Vec<Version> {
        self.madison(name)
            .map(|madison| {
                listed(&madison)
                    .into_iter()
                    .map(|(version, _)| version)
                    .collect()
            })
            .unwrap_or_default()
    }

    fn download(&self, installed: &Installed, package_version: &str) -> Result<(), PackageError> {
        let wanted = format!("{}={package_version}", installed.name);
        self.touches_only(&installed.name, &wanted)?;
        self.remove_others(&installed.name, package_version)?;
        // Ahead, so that what may be slow or fail is over before anything is touched.
        let _step = Step::new(format!("downloading {} {package_version}", installed.name));
        self.run_install(&["--download-only"], &wanted, Some(DOWNLOAD_LIMIT))?;
        *self.fetched.borrow_mut() = Some(wanted);
        Ok(())
    }

    fn install(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        if !self.checked.get() {
            self.check_trust()?;
        }
        let wanted = format!("{name}={package_version}");
        if *self.fetched.borrow() != Some(wanted.clone()) {
            self.remove_others(name, package_version)?;
        }
        self.run_install(&[], &wanted, None)
    }

    fn downloads(&self) -> Option<PathBuf> {
        Some(DOWNLOADS.into())
    }

    fn discard(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        let start = start_of_file(name, package_version);
        remove_files(Path::new(DOWNLOADS), &start)?;
        Ok(remove_files(&Path::new(DOWNLOADS).join("partial"), &start)?)
    }

    fn keep(&self, installed: &Installed, directory: &Path) -> Result<PathBuf, PackageError> {
        Ok(repack(installed, directory)?)
    }

    fn install_kept(&self, file: &Path) -> Result<(), PackageError> {
        let arguments = [
            "--force-confdef".as_ref(),
            "--force-confold".as_ref(),
            "--install".as_ref(),
            file.as_os_str(),
        ];
        let output = self
            .locks
            .run(|| quiet(Command::new("dpkg", arguments)).run())?;
        if output.success() {
            Ok(())
        } else {
            Err(PackageError::Failed(output.summary()))
        }
    }

    fn hold(&self, name: &str) -> Result<(), PackageError> {
        self.mark("hold", name)
    }

    fn release(&self, name: &str) -> Result<(), PackageError> {
        self.mark("unhold", name)
    }

    fn repair(&self) -> Result<(), PackageError> {
        let arguments = ["--force-confdef", "--force-confold", "--configure", "-a"];
        let output = self
            .locks
            .run(|| quiet(Command::new("dpkg", arguments)).run())?;
        if output.success() {
            Ok(())
        } else {
            Err(PackageError::Failed(output.summary()))
        }
    }

    fn installed(&self, name: &str) -> Result<Option<Installed>> {
        Ok(dpkg::installed(&[name])?.pop())
    }
}

/// How apt begins the name of the file of a package.
fn start_of_file(name: &str, package_version: &str) -> String {
    format!("{name}_{}_", package_version.replace(':', "%3a"))
}

/// Whether the sum that `sha256sum` has made, `0123... /file`, is one that `apt-cache show` names, `SHA256: 0123...`.
fn is_in_index(sum: &Output, index: &Output) -> bool {
    let Some(sum) = sum
        .answer()
        .next()
        .and_then(|line| line.split_whitespace().next())
    else {
        return false;
    };
    let mut sums = index
        .answer()
        .filter_map(|line| line.strip_prefix("SHA256:"))
        .map(str::trim);
    sum.len() == 64 && sums.any(|known| known == sum)
}

/// Whether a source file has an entry in use. A release upgrade leaves those of others commented out or disabled.
fn has_entry(path: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines().map(str::trim);
    if path.ends_with(".list") {
        lines.any(|line| {
            line.starts_with("deb ") || line.starts_with("deb\t") || line.starts_with("deb[")
        })
    } else {
        text.split("\n\n").any(|entry| {
            let field = |name: &str| {
                let value = |line: &str| {
                    line.split_once(':')
                        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value.trim().to_string())
                };
                entry.lines().find_map(value)
            };
            field("URIs").is_some() && field("Enabled").is_none_or(|value| value != "no")
        })
    }
}

/// The versions that `apt-cache madison` lists, and how the repository spells them. It may hold what is no version of ours.
pub fn listed(madison: &Output) -> Vec<(Version, String)> {
    let spelled = madison
        .answer()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim);
    spelled
        .filter_map(|text| Some((Version::from_debian(text).ok()?, text.to_string())))
        .collect()
}

/// The addresses of the repositories that it lists.
pub fn sources(madison: &Output) -> impl Iterator<Item = &str> {
    madison
        .answer()
        .filter_map(|line| line.split('|').nth(2)?.split_whitespace().next())
}

/// Whether a refresh found the repository at `source` not to be authentic.
fn distrusts(refresh: &Output, source: &str) -> bool {
    refresh
        .lines()
        .any(|line| line.contains(source) && is_unsigned(line))
}

/// Lets nothing that runs during an install ask questions, or restart other services on our account.
fn quiet(command: Command) -> Command {
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("NEEDRESTART_SUSPEND", "1")
        .env("APT_LISTCHANGES_FRONTEND", "none")
}

/// Who holds a lock that apt was faster to ask for than we were to look at.
pub fn refusal(output: &Output) -> Option<String> {
    // "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 42 (apt-get)"
    let line = output
        .lines()
        .find(|line| line.contains("Could not get lock"))?;
    Some(
        line.split_once("held by ")
            .map_or("another program", |(_, holder)| holder)
            .to_string(),
    )
}

/// The packages that a simulated run would install or remove. It may also configure some that another run left unconfigured.
pub fn changed(output: &Output) -> impl Iterator<Item = &str> {
    output.lines().filter_map(|line| {
        let (verb, rest) = line.split_once(' ')?;
        ["Inst", "Remv", "Purg"]
            .contains(&verb)
            .then(|| rest.split([' ', ':']).next())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_file_counts_only_with_an_entry_in_use() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text, expected) in [
            (
                "a.list",
                "# comment\ndeb [signed-by=/x] https://a b c\n",
                true,
            ),
            (
                "a.list",
                "# deb https://a b c # disabled on upgrade\n",
                false,
            ),
            ("a.list", "deb-src https://a b c\n", false),
            (
                "a.sources",
                "Types: deb\nURIs: https://a\nSuites: b\n",
                true,
            ),
            (
                "a.sources",
                "Enabled: no\nTypes: deb\nURIs: https://a\n",
                false,
            ),
            (
                "a.sources",
                "Enabled: no\nURIs: https://a\n\nTypes: deb\nuris: https://b\n",
                true,
            ),
            ("a.sources", "# nothing\n", false),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            assert_eq!(has_entry(path.to_str().unwrap()), expected, "{text:?}");
        }
        assert!(!has_entry("/no/such/file.list"));
    }
}
