//! dnf 4, dnf 5 and yum 3, on Red Hat, Fedora, Amazon Linux and their kin.
//!
//! dnf 4 is what the tests run. dnf 5 and yum 3 (RHEL 7) are spoken to by their documented command lines.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::complaint::{complaint, install_error, refresh_error};
use super::locks::{Lock, Locks, process};
use super::{DOWNLOAD_LIMIT, Limits, PackageError, PackageManager, READ_LIMIT, only, remove_files, rpm};
use crate::command::{Command, Output};
use crate::observe::package::Installed;
use crate::observe::rpm::VERSIONLOCK;
use crate::observe::trust::yum::Dialect;
use crate::observe::trust::{self, Weakness};
use crate::terminal::Step;
use crate::version::Version;

/// Where repositories are configured.
pub const REPOSITORIES: [&str; 3] = ["/etc/yum.repos.d", "/etc/yum/repos.d", "/etc/distro.repos.d"];
/// What dnf and yum lock; dnf waits for the first ones without end and without a word.
const LOCKS: [Lock; 7] = [
    Lock::PidFile("/var/cache/dnf/metadata_lock.pid"),
    Lock::PidFile("/var/cache/dnf/download_lock.pid"),
    Lock::PidFile("/var/lib/dnf/rpmdb_lock.pid"),
    Lock::PidFile("/run/yum.pid"),
    Lock::Record("/run/dnf/rpmtransaction.lock"),
    rpm::TRANSACTION_LOCKS[0],
    rpm::TRANSACTION_LOCKS[1],
];
/// Where dnf 4 and dnf 5 keep what they download, a directory for each repository; it stays until the next transaction.
const DOWNLOADS: [&str; 2] = ["/var/cache/dnf", "/var/cache/libdnf5"];
/// What may end a line.
const LINE_END: [char; 2] = ['\r', '\n'];
/// The line that says whose the exclude after it is.
const MARK: &str = "# teleport-upgrade: ordinary updates leave the agent alone; it is upgraded by teleport-upgrade";

/// dnf or yum, with its repositories narrowed to Teleport's where the host lets us.
pub struct Yum {
    limits: Limits,
    locks: Locks,
    program: &'static str,
    /// Which command line it understands, and which files it reads.
    dialect: Dialect,
    /// The file with Teleport's repository, if it is there by its id.
    source: Option<PathBuf>,
}

/// The program of this host, and the file that it really is.
pub fn program() -> Option<(&'static str, PathBuf)> {
    rpm::find_program(&["dnf", "dnf5", "yum"])
}

impl Yum {
    /// Finds the program and Teleport's repository.
    pub fn new(limits: Limits) -> Option<Yum> {
        let (program, file) = program()?;
        let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dialect = match () {
            () if file.starts_with("dnf5") => Dialect::Dnf5,
            () if file.starts_with("dnf") => Dialect::Dnf4,
            () => Dialect::Yum3,
        };
        let locks = Locks { held: &LOCKS, refusal, limit: limits.lock_wait };
        Some(Yum { limits, locks, program, dialect, source: rpm::repository_file(&REPOSITORIES) })
    }

    /// A run that sees Teleport's repository only, passes by locks on the package, and ends rather than waits.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut options = vec!["-y", "--setopt=timeout=20", "--setopt=retries=2"];
        if self.source.is_some() {
            options.extend(["--disablerepo=*", "--enablerepo=teleport"]);
            // Else dnf goes on without the repository when that cannot be read, and ends with status 0.
            options.push("--setopt=teleport.skip_if_unavailable=0");
        } else if self.dialect != Dialect::Yum3 {
            // Some other repository may be down; whether Teleport's brought the target is seen next.
            options.push("--setopt=*.skip_if_unavailable=1");
        }
        options.extend(match self.dialect {
            // For locks on the agent, see `hold`. Another program's lock on dnf would be waited for without end.
            Dialect::Dnf4 => &["--disableplugin=versionlock", "--disableexcludes=all", "--setopt=exit_on_lock=True"][..],
            // Version locks are excludes to dnf 5.
            Dialect::Dnf5 => &["--setopt=disable_excludes=*"],
            Dialect::Yum3 => &["--disableplugin=versionlock", "--disableexcludes=all", "--setopt=exit_on_lock=1"],
        });
        // An alias of dnf 4's may turn what we ask for into something else, such as an install without checks.
        Command::new(self.program, options.iter().chain(arguments)).env("DNF_DISABLE_ALIASES", "1")
    }

    /// Refreshes the index, and lists the versions of the package that the repository has, newest first.
    fn list(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        let query = match self.dialect {
            Dialect::Dnf4 | Dialect::Dnf5 => vec!["-q", "--refresh", "repoquery", "--qf", "%{version}-%{release}\\n", name],
            Dialect::Yum3 => {
                let output = self.locks.run(|| self.command(&["clean", "expire-cache"]).limit(READ_LIMIT).run())?;
                if !output.success() {
                    return Err(PackageError::Failed(complaint(&output)));
                }
                vec!["-q", "--showduplicates", "list", "available", name]
            }
        };
        let _step = Step::new(format!("refreshing the index of {}", self.source()));
        let output = self.locks.run(|| self.command(&query).limit(self.limits.refresh).run())?;
        let found_none = self.dialect == Dialect::Yum3 && output.says("No matching Packages to list");
        if !output.success() && !found_none {
            return Err(refresh_error(&output, &self.source()));
        }
        let words = output.lines().flat_map(str::split_whitespace);
        let mut offered = rpm::versions(words);
        offered.sort_unstable();
        offered.reverse();
        Ok(offered)
    }

    /// Runs the command that turns what is installed into `wanted`; `with` makes it one that changes nothing, and has a limit.
    fn change(&self, name: &str, wanted: &str, installed: Option<&Installed>, with: &[&str]) -> Result<Output, PackageError> {
        let lower = |installed: &Installed| Version::from_rpm(wanted).is_ok_and(|wanted| wanted < installed.version);
        let verb = match installed {
            Some(installed) if rpm::is(installed, wanted) => "reinstall",
            // dnf 4 goes down too when it is to install.
            Some(installed) if self.dialect != Dialect::Dnf4 && lower(installed) => "downgrade",
            _ => "install",
        };
        let package = format!("{name}-{wanted}");
        self.locks.run(|| {
            let command = self.command(&[with, &[verb, &package]].concat());
            if with.is_empty() { command.run() } else { command.limit(DOWNLOAD_LIMIT).run() }
        })
    }

    /// Has the version lock plugin of dnf 4 exclude every version: what it knows best, one version, would soon be another.
    fn lock_by_plugin(&self, name: &str) -> Result<(), PackageError> {
        // Not by `command`, which passes by the plugin.
        let arguments = ["-y", "-C", "--disablerepo=*", "--setopt=exit_on_lock=True", "versionlock", "exclude", "--raw", name];
        let output = self.locks.run(|| Command::new(self.program, arguments).limit(READ_LIMIT).run())?;
        if output.success() { Ok(()) } else { Err(PackageError::Failed(complaint(&output))) }
    }

    /// Adds a line to the section of Teleport's repository that excludes the package.
    fn lock_by_exclude(&self, name: &str) -> Result<(), PackageError> {
        let Some(file) = &self.source else {
            let said = format!("no repository has the id \"{}\"; exclude {name} by hand, or give it that id", rpm::REPOSITORY);
            return Err(PackageError::Failed(said));
        };
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let excluded = with_exclude(&text, name).ok_or_else(|| {
            PackageError::Failed(format!("{} excludes packages already; add {name} to them by hand", file.display()))
        })?;
        Ok(replace(file, &excluded)?)
    }
}

impl PackageManager for Yum {
    fn weaknesses(&self) -> Result<Vec<Weakness>> {
        trust::yum::weaknesses(self.dialect, &REPOSITORIES, self.source.as_ref().map(|_| rpm::REPOSITORY))
    }

    fn source(&self) -> String {
        self.source.as_ref().map_or(REPOSITORIES[0].to_string(), |file| file.display().to_string())
    }

    fn offered(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        self.check_trust()?;
        self.list(name)
    }

    fn download(&self, installed: &Installed, package_version: &str) -> Result<(), PackageError> {
        // The download ahead is a simulation too. yum 3 has it from a plugin only, so there it is one from what was just refreshed.
        let yum3 = self.dialect == Dialect::Yum3;
        let with: &[&str] = if yum3 { &["-C", "--assumeno"] } else { &["--downloadonly"] };
        let _step = Step::new(format!("downloading {} {package_version}", installed.name));
        let output = self.change(&installed.name, package_version, Some(installed), with)?;
        if !output.says("Transaction Summary") || !(yum3 || output.success()) {
            return Err(install_error(&output, &self.source()));
        }
        only(&installed.name, changed(&output, &installed.name))
    }

    fn install(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        self.check_trust()?;
        let output = self.change(name, package_version, rpm::installed_once(name)?.as_ref(), &[])?;
        if output.success() { Ok(()) } else { Err(install_error(&output, &self.source())) }
    }

    fn downloads(&self) -> Option<PathBuf> {
        match self.dialect {
            Dialect::Dnf4 => Some(DOWNLOADS[0].into()),
            Dialect::Dnf5 => Some(DOWNLOADS[1].into()),
            Dialect::Yum3 => None,
        }
    }

    fn discard(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        let repositories = DOWNLOADS.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
        for repository in repositories {
            remove_files(&repository.path().join("packages"), &format!("{name}-{package_version}."))?;
        }
        Ok(())
    }

    fn hold(&self, name: &str) -> Result<(), PackageError> {
        if rpm::installed(name)?.is_some_and(|installed| installed.held) {
            Ok(())
        } else if self.dialect == Dialect::Dnf4 && Path::new(VERSIONLOCK).exists() {
            // A plugin of before 2019 knows no "--raw".
            self.lock_by_plugin(name).or_else(|_| self.lock_by_exclude(name))
        } else {
            self.lock_by_exclude(name)
        }
    }

    fn release(&self, name: &str) -> Result<(), PackageError> {
        let files = [Some(Path::new(VERSIONLOCK)), self.source.as_deref()];
        for file in files.into_iter().flatten().filter(|file| file.exists()) {
            let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            let released = without_lock(&text, Some(name));
            if released != text {
                replace(file, &released)?;
            }
        }
        Ok(())
    }

    fn mend(&self) -> Result<(), PackageError> {
        rpm::mend()
    }

    fn installed(&self, name: &str) -> Result<Option<Installed>> {
        rpm::installed(name)
    }

    fn verify(&self, name: &str) -> Result<(), String> {
        rpm::verify(name)
    }
}

/// Who holds a lock that dnf or rpm was faster to ask for than we were to look at.
pub fn refusal(output: &Output) -> Option<String> {
    // dnf: 200, "Failed to obtain the transaction lock (logged in as: root)." or "... is locked by another process".
    // yum: 200, "Existing lock /var/run/yum.pid: another copy is running as pid 42."
    let locked = output.code() == Some(200) || output.says("transaction lock");
    let pid = output.lines().find_map(|line| line.split_once(" pid ")?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    locked.then(|| pid.map_or("another program".to_string(), process))
}

/// The packages in the table of what a transaction would change: a line each, after one space. `replacing` marks one that
/// would go.
pub fn changed(output: &Output, ours: &str) -> Vec<String> {
    let table = output.lines().take_while(|line| !line.starts_with("Transaction Summary"));
    let packages = table.filter_map(|line| {
        let mut words = line.strip_prefix(' ')?.split_whitespace();
        match words.next()? {
            "Package" => None,
            "replacing" => words.next(),
            // Further to the right is what did not fit into the line before.
            first => (!line.starts_with("  ")).then_some(first),
        }
    });
    // dnf 4 names what is replaced with its architecture.
    let bare = |package: &str| if package.starts_with(&format!("{ours}.")) { ours.to_string() } else { package.to_string() };
    packages.map(bare).collect()
}

/// A `*.repo` file with an exclude of ours in Teleport's section; none if that has one already.
pub fn with_exclude(text: &str, name: &str) -> Option<String> {
    let heading = format!("[{}]", rpm::REPOSITORY);
    // One of ours may be of another edition, which was here before.
    let text = &without_lock(text, None);
    let section =
        || text.lines().map(str::trim).skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with('['));
    if section().any(|line| line.starts_with("exclude")) {
        return None;
    }
    let with = |line: &str| match line.trim() == heading {
        true => format!("{}\n{MARK}\nexclude={name}\n", line.trim_end_matches(LINE_END)),
        false => line.to_string(),
    };
    Some(text.split_inclusive('\n').map(with).collect())
}

/// A file without what `hold` writes: the line below our mark, and the plugin's line for all versions of `name`.
pub fn without_lock(text: &str, name: Option<&str>) -> String {
    let mut marked = false;
    // The other lines stay as they are, to the byte.
    let kept = text.split_inclusive('\n').filter(|line| {
        let line = line.trim_end_matches(LINE_END);
        let by_plugin = name.is_some() && line.strip_prefix('!') == name;
        let ours = by_plugin || line == MARK || (marked && line.starts_with("exclude="));
        marked = line == MARK;
        !ours
    });
    kept.collect()
}

/// Replaces a file at one stroke.
fn replace(file: &Path, text: &str) -> Result<()> {
    let new = file.with_extension("repo.teleport-upgrade");
    let write = || -> std::io::Result<()> {
        let mut written = fs::File::create(&new)?;
        written.set_permissions(fs::metadata(file)?.permissions())?;
        written.write_all(text.as_bytes())?;
        written.sync_all()?;
        fs::rename(&new, file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Output {
        Command::new("printf", ["%s", text]).run().unwrap()
    }

    #[test]
    fn reads_what_dnf_4_would_change() {
        let table = "Dependencies resolved.\n\
            ================================================================================\n \
            Package              Architecture   Version             Repository        Size\n\
            ================================================================================\n\
            Upgrading:\n library              x86_64         2.0-1               teleport         5.9 k\n \
            teleport-ent         x86_64         14.3.39-1           teleport         6.0 k\n     \
            replacing  widget.x86_64 1.0-1\n\nTransaction Summary\n\
            ================================================================================\nUpgrade  2 Packages\n later x\n";
        assert_eq!(changed(&said(table), "teleport-ent"), ["library", "teleport-ent", "widget.x86_64"]);
    }

    #[test]
    fn reads_what_dnf_5_would_change() {
        let table = "Package           Arch   Version      Repository      Size\nUpgrading:\n \
            teleport-ent     x86_64 0:14.3.34-1  teleport    23.0   B\n   \
            replacing teleport-ent x86_64 0:14.3.33-1 teleport 23.0   B\n \
            replacing widget x86_64 0:1-1 teleport 23.0   B\n\nTransaction Summary:\n Upgrading: 1 package\n";
        assert_eq!(changed(&said(table), "teleport-ent"), ["teleport-ent", "teleport-ent", "widget"]);
    }

    #[test]
    fn an_exclude_is_added_once_and_to_the_right_section() {
        let text = "[other]\nname=Other\n\n[teleport]\nname=Teleport\n";
        let excluded = with_exclude(text, "teleport-ent").unwrap();
        assert_eq!(excluded, format!("[other]\nname=Other\n\n[teleport]\n{MARK}\nexclude=teleport-ent\nname=Teleport\n"));
        assert_eq!(with_exclude(&excluded, "teleport-ent").as_deref(), Some(excluded.as_str()));
        assert_eq!(with_exclude(&excluded, "teleport").unwrap(), excluded.replace("teleport-ent", "teleport"), "another edition");
        assert_eq!(with_exclude("[teleport]\nexclude=x\n", "teleport-ent"), None);
        assert_eq!(without_lock(&excluded, Some("teleport-ent")), text);
    }

    #[test]
    fn only_our_own_lock_is_taken_back() {
        let text = "# Added\n!teleport-ent\nteleport-ent-0:14.3.33-1.*\n!teleport\nexclude=teleport-ent\n";
        assert_eq!(without_lock(text, Some("teleport-ent")), text.replace("!teleport-ent\n", ""));
    }
}
