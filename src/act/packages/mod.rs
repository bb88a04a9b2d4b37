//! Package managers: one trait, one file for each.

mod apt;
mod locks;
mod nop;
mod rpm;
mod yum;
mod zypper;

use std::fmt;
use std::time::Duration;

use log::warn;

use crate::command::{Command, Output};
use crate::observe::agent::{BINARY, Installed};
use crate::observe::config::{Config, ConfigError, Installer};
use crate::observe::database::Database;
use crate::text::printable;
use crate::version::Version;

/// A program that only says its version takes some tens of milliseconds.
const VERSION_LIMIT: Duration = Duration::from_secs(30);

/// What this program needs of a package manager. All of them check signatures by themselves; nothing here may weaken that.
pub trait PackageManager {
    /// Refreshes the index of Teleport's repository, and finds `target` in it as the repository spells it.
    ///
    /// Changes no package. Fails if installing the target would change any other package too.
    fn prepare(&self, installed: &Installed, target: &Version) -> Result<String, PackageError>;

    /// Installs exactly this version of the package, up or down, or again, and touches no other package.
    ///
    /// What it returns is what the package manager said. Only `prove` knows what it did.
    fn install(&self, name: &str, package_version: &str) -> Result<(), PackageError>;

    /// Has ordinary system updates leave the package alone. An install of ours goes through that, and may undo it.
    fn hold(&self, name: &str) -> Result<(), PackageError>;

    /// Ends what an interrupted run of the package manager left half done.
    fn mend(&self) -> Result<(), PackageError>;

    /// Reads the package back from the database.
    fn installed(&self, name: &str) -> anyhow::Result<Option<Installed>>;

    /// Whether the package's files are those that the database has, where an install that was cut off leaves a mixture of two
    /// versions that the database knows nothing of. If not, which is not.
    fn verify(&self, _name: &str) -> Result<(), String> {
        Ok(())
    }

    /// Whether `version` is really there: whole in the database, and its program runs. If not, why.
    fn prove(&self, name: &str, version: &Version) -> Result<(), String> {
        match self.installed(name) {
            Err(error) => return Err(format!("{error:#}")),
            Ok(None) => return Err(format!("{name} is not installed")),
            Ok(Some(Installed { damage: Some(damage), .. })) => return Err(format!("{name} is damaged: {damage}")),
            Ok(Some(installed)) if installed.version != *version => {
                return Err(format!("{name} is still {}", installed.package_version));
            }
            Ok(Some(_)) => {}
        }
        let runs = binary_version()?;
        if runs == *version { Ok(()) } else { Err(format!("{BINARY} says that it is {runs}, not {version}")) }
    }
}

/// The package manager that the configuration names, else the one that installs into the database that has the agent.
pub fn manager(config: &Config, database: Database) -> Result<Box<dyn PackageManager>, ConfigError> {
    let limits = Limits { lock_wait: config.lock_wait, refresh: config.refresh };
    let installer = match (config.installer, database) {
        (Some(installer), _) => installer,
        (None, Database::Dpkg) => Installer::Apt,
        (None, Database::Rpm) => rpm::installer(),
    };
    let missing = || {
        let problem = format!("the agent was installed by {database}, and this host has no {installer}");
        config.error("installer", &problem, "install it, or write here the package manager that it has")
    };
    Ok(match installer {
        Installer::Apt => Box::new(apt::Apt::new(limits)),
        Installer::Yum => Box::new(yum::Yum::new(limits).ok_or_else(missing)?),
        Installer::Zypper => Box::new(zypper::Zypper::new(limits).ok_or_else(missing)?),
        Installer::Nop => Box::new(nop::Nop(database)),
    })
}

/// How long a package manager may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// To get a lock that somebody else holds.
    lock_wait: Duration,
    /// To refresh its index. What is longer hangs on a server that says nothing.
    refresh: Duration,
}

/// For what only reads what is on the disk.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// Finds the target in what the repository of `source` offers, newest first, and says so if there will be no way back.
fn choose(offered: &[(Version, String)], installed: &Installed, target: &Version, source: &str) -> Result<String, PackageError> {
    let spelled = |wanted: &Version| offered.iter().find(|(version, _)| version == wanted).map(|(_, spelled)| spelled);
    if spelled(&installed.version).is_none() {
        let Installed { name, version, .. } = installed;
        warn!("the repository of {source} no longer has {name} {version}: there is no way back from {target}");
    }
    // The very package that is installed, if it is to be installed again.
    let again = offered.iter().map(|(_, spelled)| spelled).find(|spelled| **spelled == installed.package_version);
    let chosen = again.filter(|_| installed.version == *target).or_else(|| spelled(target));
    chosen.cloned().ok_or_else(|| PackageError::NotOffered {
        name: installed.name.clone(),
        target: target.to_string(),
        source: source.to_string(),
        newest: offered.iter().map(|(version, _)| version).max().map(ToString::to_string),
    })
}

/// Passes if `changed`, the packages that a simulated install would change, has none but `name` in it.
fn only(name: &str, changed: impl IntoIterator<Item = String>) -> Result<(), PackageError> {
    let others: Vec<String> = changed.into_iter().filter(|package| package != name).collect();
    if others.is_empty() { Ok(()) } else { Err(PackageError::TouchesOthers(others)) }
}

/// What a refresh that failed says about the repository of `source`.
fn refresh_error(output: &Output, source: &str) -> PackageError {
    let (source, said) = (source.to_string(), complaint(output));
    // A run that was ended may have said anything before.
    if output.code().is_some() && says_any(output, &UNSIGNED) {
        PackageError::Untrusted { source, said }
    } else if output.code().is_some() && says_any(output, &NO_ROOM) {
        PackageError::NoRoom(said)
    } else {
        PackageError::Unreachable { source, said }
    }
}

/// What an install that failed says: about the package, about this host, or something else.
fn install_error(output: &Output, source: &str) -> PackageError {
    let (source, said) = (source.to_string(), complaint(output));
    if says_any(output, &NO_ROOM) {
        PackageError::NoRoom(said)
    } else if says_any(output, &UNSIGNED) {
        PackageError::Unauthentic { source, said }
    } else if says_any(output, &SCRIPT) {
        PackageError::Script(said)
    } else if says_any(output, &UNSOLVABLE) {
        PackageError::Unsolvable(said)
    } else if says_any(output, &NO_SERVER) {
        PackageError::Unreachable { source, said }
    } else if says_any(output, &OTHER_THAN_INDEXED) {
        PackageError::Mismatch { source, said }
    } else {
        PackageError::Failed(said)
    }
}

/// In which words apt, dnf, yum, zypper and rpm complain of a signature.
const UNSIGNED: [&str; 18] = [
    "is not signed",
    "NO_PUBKEY",
    "EXPKEYSIG",
    "BADSIG",
    "REVKEYSIG",
    "signature verification",
    "Signature verification failed",
    "couldn't be verified",
    "cannot be authenticated",
    "GPG check FAILED",
    "GPG signature",
    "not correct for this package",
    "Public key for",
    "NOKEY",
    "BAD (package",
    "not signed",
    "unsigned file",
    "signed with an unknown key",
];
/// In which words they complain of a full disk.
const NO_ROOM: [&str; 6] = [
    "No space left on device",
    "enough free space",
    "more space needed",
    "more space on the",
    // What dnf's downloads and zypper's say of it.
    "Curl error (23)",
    "hardlink/copy",
];
/// In which words they complain of a file that is not the one that the index names, or is not there.
const OTHER_THAN_INDEXED: [&str; 8] = [
    "Hash Sum mismatch",
    "unexpected size",
    "checksum doesn't match",
    "hecksum mismatch",
    "Digest verification failed",
    "404",
    "not found on medium",
    "Error downloading packages",
];
/// In which words they complain of a script in a package.
const SCRIPT: [&str; 2] = ["script subprocess", "scriptlet failed"];
/// In which words they complain of what a package needs, or cannot be beside.
const UNSOLVABLE: [&str; 4] = ["nothing provides", " Depends: ", "conflicting requests", " conflicts with "];
/// In which words they complain of a server that does not answer.
const NO_SERVER: [&str; 6] =
    ["Could not connect", "Couldn't connect", "Connection refused", "imeout", "imed out", "Could not resolve"];

fn says_any(output: &Output, signs: &[&str]) -> bool {
    signs.iter().any(|sign| output.says(sign))
}

/// The lines in which a package manager says what was wrong: those in words that are known, else those that look like it.
fn complaint(output: &Output) -> String {
    const MARKS: [&str; 7] = ["E: ", "W: ", "Err:", "Error:", "error:", "Problem:", "dpkg: error"];
    let known = [&UNSIGNED[..], &NO_ROOM, &OTHER_THAN_INDEXED, &SCRIPT, &UNSOLVABLE, &NO_SERVER].concat();
    let telling = |signs: &[&str]| {
        let mut lines: Vec<String> =
            output.lines().map(plain).filter(|line| signs.iter().any(|sign| line.contains(sign))).collect();
        let all = lines.clone();
        // Many a complaint is said twice, the second time with where it comes from.
        lines.retain(|line| !all.iter().any(|other| other != line && other.contains(line.as_str())));
        lines.dedup();
        lines[..lines.len().min(3)].join(" / ")
    };
    let said = [telling(&known), telling(&MARKS)].into_iter().find(|said| !said.is_empty());
    // A run that was ended may have said anything before.
    said.filter(|_| output.code().is_some()).unwrap_or_else(|| output.summary())
}

/// A line without the XML that zypper puts around it.
fn plain(line: &str) -> String {
    let text = if line.starts_with('<') { line.split_once('>').map_or(line, |(_, text)| text) } else { line };
    let text = text.split_once("</").map_or(text, |(text, _)| text).trim();
    [("&apos;", "'"), ("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
        .iter()
        .fold(text.to_string(), |text, (entity, character)| text.replace(entity, character))
}

/// Asks the agent's program for its version: `Teleport v14.3.33 git:... go...`.
fn binary_version() -> Result<Version, String> {
    let output = Command::new(BINARY, ["version"]).limit(VERSION_LIMIT).run().map_err(|error| format!("{error:#}"))?;
    if !output.success() {
        return Err(format!("{BINARY} does not run: {}", output.summary()));
    }
    let said = output.lines().find(|line| line.starts_with("Teleport ")).unwrap_or_default();
    let word = said.split_whitespace().nth(1).unwrap_or_default();
    word.parse().map_err(|error| format!("{BINARY} does not say its version: {error}"))
}

/// Why a package manager did not do what it was asked.
#[derive(Debug, PartialEq, Eq)]
pub enum PackageError {
    /// Somebody else is using it, and has been for longer than we wait.
    Busy {
        /// Who.
        holder: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A repository's server does not answer, or not as it should.
    Unreachable {
        /// Where the repository is configured.
        source: String,
        /// What the package manager said.
        said: String,
    },
    /// A repository is not signed by a key that this host trusts.
    Untrusted {
        /// Where the repository is configured.
        source: String,
        /// What the package manager said.
        said: String,
    },
    /// The package is not signed by a key that this host trusts.
    Unauthentic {
        /// Where the repository is configured.
        source: String,
        /// What the package manager said.
        said: String,
    },
    /// The package is missing, or is not the one that the repository's index names.
    Mismatch {
        /// Where the repository is configured.
        source: String,
        /// What the package manager said.
        said: String,
    },
    /// There is no room for the package on a disk of this host.
    NoRoom(String),
    /// It needs what is not there, or cannot be beside what is.
    Unsolvable(String),
    /// A script of the package failed.
    Script(String),
    /// The repository does not have the target.
    NotOffered {
        /// The package.
        name: String,
        /// The version.
        target: String,
        /// Where the repository is configured.
        source: String,
        /// The newest version that it has, if any.
        newest: Option<String>,
    },
    /// Installing it would change these packages too.
    TouchesOthers(Vec<String>),
    /// Anything else; what the package manager said.
    Failed(String),
}

impl PackageError {
    /// Whether the same thing may work later by itself.
    pub fn is_temporary(&self) -> bool {
        matches!(self, PackageError::Busy { .. } | PackageError::Unreachable { .. })
    }
}

impl From<anyhow::Error> for PackageError {
    fn from(error: anyhow::Error) -> Self {
        PackageError::Failed(format!("{error:#}"))
    }
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackageError::Busy { holder, waited } => write!(
                f,
                "the package manager is in use by {holder}, for longer than {} s; the next pass tries again",
                waited.as_secs()
            ),
            PackageError::Unreachable { source, said } => {
                write!(
                    f,
                    "the repository of {source} cannot be reached or read: {}; the next pass tries again",
                    printable(said, 400)
                )
            }
            PackageError::Untrusted { source, said } => write!(
                f,
                "the repository of {source} is not signed by a key that this host trusts: {}; \
                 install Teleport's present signing key, or correct that file",
                printable(said, 400)
            ),
            PackageError::Unauthentic { source, said } => write!(
                f,
                "the package in the repository of {source} is not signed by a key that this host trusts: {}; \
                 install Teleport's present signing key, or have the repository's operator say where that package comes from",
                printable(said, 400)
            ),
            PackageError::Mismatch { source, said } => write!(
                f,
                "the repository of {source} does not serve the package that its index names: {}; \
                 have its operator, or that of a proxy in between, mend it",
                printable(said, 400)
            ),
            PackageError::NoRoom(said) => {
                write!(f, "there is no room for it on the disk: {}; make room, and the next pass tries again", printable(said, 400))
            }
            PackageError::Unsolvable(said) => write!(
                f,
                "it does not fit this host: {}; install what it needs, or have the channel name another version",
                printable(said, 400)
            ),
            PackageError::Script(said) => write!(
                f,
                "a script of the package failed: {}; see what it lacks on this host, or have the channel name another version",
                printable(said, 400)
            ),
            PackageError::NotOffered { name, target, source, newest } => {
                let newest = newest.as_ref().map_or("it has none".to_string(), |newest| format!("the newest there is {newest}"));
                write!(
                    f,
                    "the repository of {source} has no {name} {target} ({newest}); have the channel name a version that it has, \
                     or point that file at stable/rolling (a stable/vN holds only major version N)"
                )
            }
            PackageError::TouchesOthers(others) => write!(
                f,
                "it would change other packages too ({}); install it by hand if that is wanted",
                printable(&others.join(", "), 200)
            ),
            PackageError::Failed(said) => f.write_str(said),
        }
    }
}

impl std::error::Error for PackageError {}
