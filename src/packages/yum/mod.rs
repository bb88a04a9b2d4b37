//! dnf 4, dnf 5 and yum 3, on Red Hat, Fedora, Amazon Linux and their kin.
//!
//! The tests run dnf 4 and dnf 5. yum 3 (RHEL 7) is spoken to by its documented command line.

pub mod trust;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::unistd::Pid;

use crate::packages::errors::{complaint, install_error, refresh_error};
use crate::packages::locks::{Lock, Locks, process};
use crate::packages::package::Installed;
use crate::packages::rpm::database::VERSIONLOCK;
use crate::packages::trust::Weakness;
use crate::packages::yum::trust::Dialect;
use crate::packages::{
    DOWNLOAD_LIMIT, Limits, PackageError, PackageManager, READ_LIMIT, locks, only, remove_files,
    rpm,
};
use crate::system::command::{Command, Output};
use crate::system::terminal::Step;
use crate::version::Version;

/// What dnf 5 locks from its first look at the packages of the host to its end, in the two places where it may be. Whoever comes second
/// waits without end, for a person at a question too.
const SYSTEM_LOCKS: [&str; 2] = [
    "/var/lib/dnf/system-repo.lock",
    "/usr/lib/sysimage/libdnf5/system-repo.lock",
];
/// What it says then.
const WAITING: &str = "Waiting for a lock on the system repository";
/// What dnf and yum lock; dnf waits for the first ones without end and without a word.
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
/// Where dnf 4 and dnf 5 keep what they download, a directory for each repository; it stays until the next transaction.
const DOWNLOADS: [&str; 2] = ["/var/cache/dnf", "/var/cache/libdnf5"];
/// What dnf 5 says of packages that it does not check, wherever that is set.
const UNCHECKED: &str = "skipped OpenPGP checks";
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

/// Whether it has Teleport's repository, by its id.
pub fn has_repository() -> bool {
    program().is_some_and(|(program, file)| source(dialect(program, &file)).is_some())
}

/// Which of them a program is: its file has a name that tells, or it is asked.
fn dialect(program: &'static str, file: &Path) -> Dialect {
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    match file.as_ref() {
        "dnf5" => Dialect::Dnf5,
        "dnf4" | "dnf-3" | "dnf-2" => Dialect::Dnf4,
        name => {
            let asked = Command::new(program, ["--version"])
                .limit(READ_LIMIT)
                .wordy()
                .run();
            let first = asked
                .ok()
                .and_then(|output| output.answer().next().map(str::to_string))
                .unwrap_or_default();
            by_version(name, &first)
        }
    }
}

/// Reads "dnf5 version 5.4.6.0", "4.14.0" and yum's "3.4.3".
pub fn by_version(name: &str, first_line: &str) -> Dialect {
    match first_line.trim() {
        line if line.starts_with("dnf5 ") => Dialect::Dnf5,
        line if name == "yum" && !line.starts_with("4.") => Dialect::Yum3,
        _ => Dialect::Dnf4,
    }
}

/// The file with Teleport's repository, if it is there by its id.
fn source(dialect: Dialect) -> Option<PathBuf> {
    // What cannot be read now is said by whoever reads all of it for the settings.
    rpm::repository_file(&trust::repositories(dialect).unwrap_or_default())
}

impl Yum {
    /// Finds the program and Teleport's repository.
    pub fn new(limits: Limits) -> Option<Yum> {
        let (program, file) = program()?;
        let dialect = dialect(program, &file);
        let locks = Locks {
            held: &LOCKS,
            refusal,
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
        if self.source.is_none() && self.dialect == Dialect::Dnf5 {
            // It makes a repository of whatever was once installed without a check, and has it unchecked whatever is set.
            options.push("--disable-plugin=local");
        }
        options.extend(match self.dialect {
            // For locks on the agent, see `hold`. Another program's lock on dnf would be waited for without end.
            Dialect::Dnf4 => &[
                "--disableplugin=versionlock",
                "--disableexcludes=all",
                "--setopt=exit_on_lock=True",
            ][..],
            // Version locks are excludes to dnf 5.
            Dialect::Dnf5 => &["--setopt=disable_excludes=*"],
            Dialect::Yum3 => &[
                "--disableplugin=versionlock",
                "--disableexcludes=all",
                "--setopt=exit_on_lock=1",
            ],
        });
        // Goes before what any file says, plugins and overrides too, if it is the last; settings that say otherwise are refused by name
        // as far as they can be seen.
        options.push(if self.dialect == Dialect::Yum3 {
            "--setopt=teleport.gpgcheck=1"
        } else {
            "--setopt=*.gpgcheck=1"
        });
        // An alias of dnf 4's may turn what we ask for into something else, such as an install without checks.
        let command = Command::new(self.program, options.iter().chain(arguments))
            .env("DNF_DISABLE_ALIASES", "1");
        if self.dialect == Dialect::Dnf5 {
            command.never_waiting(WAITING, waits)
        } else {
            command
        }
    }

    /// Refreshes the index, and lists the versions of the package that the repository has, newest first.
    fn list(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        let query = match self.dialect {
            Dialect::Dnf4 => vec![
                "-q",
                "--refresh",
                "repoquery",
                "--qf",
                "%{version}-%{release}\\n",
                name,
            ],
            // Asked to be quiet, it does not say why a server cannot be reached.
            Dialect::Dnf5 => vec![
                "--refresh",
                "repoquery",
                "--qf",
                "%{version}-%{release}\\n",
                name,
            ],
            Dialect::Yum3 => {
                let output = self.locks.run(|| {
                    self.command(&["clean", "expire-cache"])
                        .limit(READ_LIMIT)
                        .run()
                })?;
                if !output.success() {
                    return Err(PackageError::Failed(complaint(&output)));
                }
                vec!["-q", "--showduplicates", "list", "available", name]
            }
        };
        let _step = Step::new(format!("refreshing the index of {}", self.source()));
        let output = self
            .locks
            .run(|| self.command(&query).limit(self.limits.refresh).run())?;
        let found_none =
            self.dialect == Dialect::Yum3 && output.says("No matching Packages to list");
        if !output.success() && !found_none {
            return Err(if is_own_fault(&output) {
                PackageError::Failed(complaint(&output))
            } else {
                refresh_error(&output, &self.source())
            });
        }
        let words = output.answer().flat_map(str::split_whitespace);
        let mut offered = rpm::versions(words);
        offered.sort_unstable();
        offered.reverse();
        Ok(offered)
    }

    /// Runs the command that turns what is installed into `wanted`; `with` makes it one that changes nothing, and has a limit.
    fn change(
        &self,
        name: &str,
        wanted: &str,
        installed: Option<&Installed>,
        with: &[&str],
    ) -> Result<Output, PackageError> {
        let lower = |installed: &Installed| {
            Version::from_rpm(wanted).is_ok_and(|wanted| wanted < installed.version)
        };
        let verb = match installed {
            Some(installed) if rpm::is(installed, wanted) => "reinstall",
            // dnf 4 goes down too when it is to install.
            Some(installed) if self.dialect != Dialect::Dnf4 && lower(installed) => "downgrade",
            _ => "install",
        };
        let package = format!("{name}-{wanted}");
        self.locks.run(|| {
            let command = self.command(&[with, &[verb, &package]].concat());
            if with.is_empty() {
                command.run()
            } else {
                command.limit(DOWNLOAD_LIMIT).run()
            }
        })
    }

    /// Has the version lock plugin of dnf 4 exclude every version: what it knows best, one version, would soon be another.
    fn lock_by_plugin(&self, name: &str) -> Result<(), PackageError> {
        // Not by `command`, which passes by the plugin.
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
        let output = self.locks.run(|| {
            Command::new(self.program, arguments)
                .limit(READ_LIMIT)
                .run()
        })?;
        if output.success() {
            Ok(())
        } else {
            Err(PackageError::Failed(complaint(&output)))
        }
    }

    /// Adds a line to the section of Teleport's repository that excludes the package.
    fn lock_by_exclude(&self, name: &str) -> Result<(), PackageError> {
        let Some(file) = &self.source else {
            let said = format!(
                "no repository has the id \"{}\"; exclude {name} by hand, or give it that id",
                rpm::REPOSITORY
            );
            return Err(PackageError::Failed(said));
        };
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let excluded = with_exclude(&text, name).ok_or_else(|| {
            PackageError::Failed(format!(
                "{} excludes packages already; add {name} to them by hand",
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
        self.source
            .as_ref()
            .map_or(trust::REPOSITORIES.to_string(), |file| {
                file.display().to_string()
            })
    }

    fn offered(&self, name: &str) -> Result<Vec<(Version, String)>, PackageError> {
        self.check_trust()?;
        self.list(name)
    }

    fn download(&self, installed: &Installed, package_version: &str) -> Result<(), PackageError> {
        let name = &installed.name;
        // Listed twice, dnf takes either version for installed already, and does nothing; only the later one it installs again.
        let twice = installed.damage.is_some() && !rpm::is(installed, package_version);
        let once = if twice {
            rpm::installed_once(name)?
        } else {
            Some(installed.clone())
        };
        // The download ahead is a simulation too. yum 3 has it from a plugin only, so there it is one from what was just refreshed.
        let yum3 = self.dialect == Dialect::Yum3;
        let with: &[&str] = match self.dialect {
            Dialect::Yum3 => &["-C", "--assumeno"],
            Dialect::Dnf4 => &["--downloadonly"],
            // With "--downloadonly" it checks no signature. So it imports keys and checks as an install does, and then ends.
            Dialect::Dnf5 => &["--setopt=tsflags=test"],
        };
        let _step = Step::new(format!("downloading {name} {package_version}"));
        let output = self.change(name, package_version, once.as_ref(), with)?;
        if !output.says("Transaction Summary") || !(yum3 || output.success()) {
            return Err(install_error(&output, &self.source()));
        }
        if let Some(said) = output.lines().find(|line| line.contains(UNCHECKED)) {
            return Err(PackageError::Unauthentic {
                source: self.source(),
                said: said.to_string(),
            });
        }
        only(name, changed(&output, name))
    }

    fn install(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        self.check_trust()?;
        let output = self.change(
            name,
            package_version,
            rpm::installed_once(name)?.as_ref(),
            &[],
        )?;
        if output.success() {
            Ok(())
        } else {
            Err(install_error(&output, &self.source()))
        }
    }

    fn downloads(&self) -> Option<PathBuf> {
        match self.dialect {
            Dialect::Dnf4 => Some(DOWNLOADS[0].into()),
            Dialect::Dnf5 => Some(DOWNLOADS[1].into()),
            Dialect::Yum3 => None,
        }
    }

    fn discard(&self, name: &str, package_version: &str) -> Result<(), PackageError> {
        let repositories = DOWNLOADS
            .iter()
            .filter_map(|directory| fs::read_dir(directory).ok())
            .flatten()
            .flatten();
        for repository in repositories {
            remove_files(
                &repository.path().join("packages"),
                &format!("{name}-{package_version}."),
            )?;
        }
        Ok(())
    }

    fn hold(&self, name: &str) -> Result<(), PackageError> {
        if rpm::installed(name)?.is_some_and(|installed| installed.held) {
            Ok(())
        } else if self.dialect == Dialect::Dnf4 && Path::new(VERSIONLOCK).exists() {
            // A plugin of before 2019 knows no "--raw".
            self.lock_by_plugin(name)
                .or_else(|_| self.lock_by_exclude(name))
        } else {
            self.lock_by_exclude(name)
        }
    }

    fn release(&self, name: &str) -> Result<(), PackageError> {
        let files = [Some(Path::new(VERSIONLOCK)), self.source.as_deref()];
        for file in files.into_iter().flatten().filter(|file| file.exists()) {
            let text = fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let released = without_lock(&text, Some(name));
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
        rpm::verify(name)
    }
}

/// Whether dnf 5, in this process group, waits for somebody who works on the packages of this host, and has not begun to.
fn waits(group: Pid) -> bool {
    // Where the lock is can be set: the process has it open.
    let opened = fs::read_dir(format!("/proc/{group}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let opened = opened
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|file| file.ends_with("system-repo.lock"));
    SYSTEM_LOCKS
        .iter()
        .map(PathBuf::from)
        .chain(opened)
        .any(|file| locks::is_held_outside(&file, group))
}

/// Whether dnf 5 complains of its own settings rather than of a server.
fn is_own_fault(output: &Output) -> bool {
    output.says("Cannot load libdnf plugin")
        || output.says("Add \"--help\" for more information about the arguments")
}

/// Who holds a lock that dnf or rpm was faster to ask for than we were to look at.
pub fn refusal(output: &Output) -> Option<String> {
    if output.gave_up() {
        // dnf 5: "42\tdnf5 upgrade", a line for each.
        let pid = output
            .lines()
            .find_map(|line| line.split_once('\t')?.0.parse().ok());
        return Some(pid.map_or("another program".to_string(), process));
    }
    // dnf: 200, "Failed to obtain the transaction lock (logged in as: root)." or "... is locked by another process".
    // yum: 200, "Existing lock /var/run/yum.pid: another copy is running as pid 42."
    let locked = output.code() == Some(200) || output.says("transaction lock");
    let pid = output.lines().find_map(|line| {
        line.split_once(" pid ")?
            .1
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    });
    locked.then(|| pid.map_or("another program".to_string(), process))
}

/// The packages in the table of what a transaction would change: a line each, after one space. `replacing` marks one that
/// would go.
pub fn changed(output: &Output, ours: &str) -> Vec<String> {
    // What dnf 5 tells of its progress looks much the same, and goes to the other stream.
    let table = output
        .answer()
        .skip_while(|line| !line.trim_start().starts_with("Package "));
    let packages = table
        .skip(1)
        .take_while(|line| !line.starts_with("Transaction Summary"))
        .filter_map(|line| {
            let mut words = line.strip_prefix(' ')?.split_whitespace();
            match words.next()? {
                "replacing" => words.next(),
                // Further to the right is what did not fit into the line before.
                first => (!line.starts_with("  ")).then_some(first),
            }
        });
    // dnf 4 names what is replaced with its architecture.
    let bare = |package: &str| {
        if package.starts_with(&format!("{ours}.")) {
            ours.to_string()
        } else {
            package.to_string()
        }
    };
    packages.map(bare).collect()
}

/// A `*.repo` file with an exclude of ours in Teleport's section; none if that has one already.
pub fn with_exclude(text: &str, name: &str) -> Option<String> {
    let heading = format!("[{}]", rpm::REPOSITORY);
    // One of ours may be of another edition, which was here before.
    let text = &without_lock(text, None);
    let section = || {
        text.lines()
            .map(str::trim)
            .skip_while(|line| *line != heading)
            .skip(1)
            .take_while(|line| !line.starts_with('['))
    };
    if section().any(|line| line.starts_with("exclude")) {
        return None;
    }
    let with = |line: &str| match line.trim() == heading {
        true => format!(
            "{}\n{MARK}\nexclude={name}\n",
            line.trim_end_matches(LINE_END)
        ),
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
        assert_eq!(
            changed(&said(table), "teleport-ent"),
            ["library", "teleport-ent", "widget.x86_64"]
        );
    }

    #[test]
    fn knows_dnf_4_dnf_5_and_yum_3_by_what_they_say() {
        assert_eq!(by_version("dnf", "dnf5 version 5.4.6.0"), Dialect::Dnf5);
        assert_eq!(by_version("yum", "dnf5 version 5.2.0"), Dialect::Dnf5);
        assert_eq!(by_version("dnf", "4.14.0"), Dialect::Dnf4);
        assert_eq!(by_version("yum", "4.7.0"), Dialect::Dnf4);
        assert_eq!(by_version("yum", "3.4.3"), Dialect::Yum3);
        assert_eq!(
            (by_version("yum", ""), by_version("dnf", "")),
            (Dialect::Yum3, Dialect::Dnf4),
            "nothing was said"
        );
    }

    #[test]
    fn reads_what_dnf_5_would_change() {
        let table = " Teleport           100% |  11.5 KiB/s |   3.5 KiB |  00m00s\nPackage           Arch   Version      Repository      Size\nUpgrading:\n \
            teleport-ent     x86_64 0:14.3.34-1  teleport    23.0   B\n   \
            replacing teleport-ent x86_64 0:14.3.33-1 teleport 23.0   B\n \
            replacing widget x86_64 0:1-1 teleport 23.0   B\n\nTransaction Summary:\n Upgrading: 1 package\n";
        assert_eq!(
            changed(&said(table), "teleport-ent"),
            ["teleport-ent", "teleport-ent", "widget"]
        );
    }

    #[test]
    fn an_exclude_is_added_once_and_to_the_right_section() {
        let text = "[other]\nname=Other\n\n[teleport]\nname=Teleport\n";
        let excluded = with_exclude(text, "teleport-ent").unwrap();
        assert_eq!(
            excluded,
            format!(
                "[other]\nname=Other\n\n[teleport]\n{MARK}\nexclude=teleport-ent\nname=Teleport\n"
            )
        );
        assert_eq!(
            with_exclude(&excluded, "teleport-ent").as_deref(),
            Some(excluded.as_str())
        );
        assert_eq!(
            with_exclude(&excluded, "teleport").unwrap(),
            excluded.replace("teleport-ent", "teleport"),
            "another edition"
        );
        assert_eq!(
            with_exclude("[teleport]\nexclude=x\n", "teleport-ent"),
            None
        );
        assert_eq!(without_lock(&excluded, Some("teleport-ent")), text);
    }

    #[test]
    fn only_our_own_lock_is_taken_back() {
        let text =
            "# Added\n!teleport-ent\nteleport-ent-0:14.3.33-1.*\n!teleport\nexclude=teleport-ent\n";
        assert_eq!(
            without_lock(text, Some("teleport-ent")),
            text.replace("!teleport-ent\n", "")
        );
    }
}
