//! The configuration: the files of `/etc/teleport-upgrade.d`, one value a file.

pub mod unknown;

use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::warn;
use nix::unistd::geteuid;
use serde::{Serialize, Serializer};
use ureq::http::Uri;

use crate::packages::package::Database;
use crate::system::text::{io_problem, printable};
use crate::version::Version;

/// More than any value takes.
const MAX_BYTES: u64 = 16 * 1024;

/// The agent packages that Teleport publishes, and this program upgrades.
pub const PACKAGES: [&str; 3] = ["teleport-ent", "teleport-ent-fips", "teleport"];

/// The files of the directory, by their names.
pub const FILES: [&str; 16] = [
    "endpoint",
    "package",
    "installer",
    "service",
    "proxy",
    "pin",
    "prerelease",
    "insecure",
    "lock",
    "prefetch",
    "lock-wait-seconds",
    "refresh-seconds",
    "observe-seconds",
    "metrics",
    "notice",
    SCHEDULE,
];

/// The file that the agent writes, not the operator.
pub const SCHEDULE: &str = "schedule";

/// The port of https.
const HTTPS: u16 = 443;

/// The unit that Teleport's packages bring.
pub const DEFAULT_SERVICE: &str = "teleport.service";

/// Everything that an operator can set, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The release channel to follow.
    pub endpoint: Endpoint,
    /// The package to upgrade; found out when not set.
    pub package: Option<String>,
    /// How to install; found out when not set.
    pub installer: Option<Installer>,
    /// The systemd units that run the agent.
    pub services: Vec<String>,
    /// The cluster's Proxy, to ask for the cluster's version; found out when not set.
    pub proxy: Option<Address>,
    /// What the agent never leaves.
    pub pin: Option<Pin>,
    /// Whether to follow release candidates too.
    pub prerelease: bool,
    /// Whether to lock the package against ordinary system updates.
    pub lock: bool,
    /// Whether to download ahead what waits for its window.
    pub prefetch: bool,
    /// How long to wait for another run of the package manager to end.
    pub lock_wait: Duration,
    /// How long a package manager may take to refresh its index.
    pub refresh: Duration,
    /// How long the agent must run well after its restart before the upgrade counts as done.
    pub observe: Duration,
    /// The directory for Prometheus' textfile collector; nothing is written for it when not set.
    pub metrics: Option<PathBuf>,
    /// Whether to tell who logs in that an upgrade waits.
    pub notice: bool,
    /// The schedule file; read by itself, because it is not the operator's but the agent's.
    pub schedule: PathBuf,
}

/// Which package manager installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installer {
    /// apt, on Debian, Ubuntu and their kin.
    Apt,
    /// dnf or yum, on Red Hat, Fedora, Amazon Linux and their kin.
    Yum,
    /// zypper, on SUSE and its kin.
    Zypper,
    /// None: does everything but install, for tests.
    Nop,
}

/// What the file `installer` may say.
const INSTALLERS: [(&str, Installer); 4] = [
    ("apt", Installer::Apt),
    ("yum", Installer::Yum),
    ("zypper", Installer::Zypper),
    ("nop", Installer::Nop),
];

impl Installer {
    /// The database of the packages that it installs; none if it installs nothing.
    pub fn database(self) -> Option<Database> {
        match self {
            Installer::Apt => Some(Database::Dpkg),
            Installer::Yum | Installer::Zypper => Some(Database::Rpm),
            Installer::Nop => None,
        }
    }
}

impl Installer {
    /// What the file `installer` calls it.
    pub fn name(self) -> &'static str {
        INSTALLERS
            .iter()
            .find(|(_, installer)| *installer == self)
            .map_or("", |(name, _)| name)
    }
}

impl fmt::Display for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Installer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The address of a release channel: `https://HOST[:PORT]/PATH`, or plain http to this very host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: &'static str,
    host: String,
    port: Option<u16>,
    rest: String,
}

/// What the agent is pinned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// This version and no other.
    Version(Version),
    /// The versions of this major version.
    Major(u64),
}

impl Pin {
    /// Whether a version is one of those that the agent may have.
    pub fn allows(&self, version: &Version) -> bool {
        match self {
            Pin::Version(only) => version == only,
            Pin::Major(major) => version.major() == *major,
        }
    }

    /// Reads `14.3.33`, or `14`.
    pub fn parse(text: &str) -> Option<Pin> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        let is_major = bare.bytes().all(|byte| byte.is_ascii_digit());
        if is_major {
            bare.parse().ok().map(Pin::Major)
        } else {
            text.parse().ok().map(Pin::Version)
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pin::Version(version) => version.fmt(f),
            Pin::Major(major) => write!(f, "major version {major}"),
        }
    }
}

/// A server: `HOST:PORT`, an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host's name or address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Reads `host[:port]`; what is wrong with it else.
    pub fn parse(text: &str, default_port: u16) -> Result<Address, String> {
        if text.contains('/') {
            return Err(format!(
                "\"{}\" is not a host, with or without a port",
                printable(text, 80)
            ));
        }
        let (host, port) = valid_address(text)?;
        Ok(Address {
            host,
            port: port.unwrap_or(default_port),
        })
    }

    /// As it stands in the address of a page. A port that need not be there is left out: else the same server would be another, and
    /// an open connection to it of no use.
    pub fn in_url(&self) -> String {
        if self.port == HTTPS {
            self.host.clone()
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A configuration that cannot be used: which file, what is wrong with it, what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: PathBuf,
    problem: String,
    remedy: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}; {}",
            self.file.display(),
            self.problem,
            self.remedy
        )
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rest)
    }
}

impl Endpoint {
    /// The address of a file of the channel, such as `version`.
    pub fn file(&self, name: &str) -> String {
        format!("{}://{}/{name}", self.scheme, self.rest)
    }

    /// The server that is asked.
    pub fn server(&self) -> Address {
        Address {
            host: self.host.clone(),
            port: self
                .port
                .unwrap_or(if self.is_secure() { HTTPS } else { 80 }),
        }
    }

    /// The Teleport Proxy that serves the channel, if it is one of a Proxy's own.
    pub fn teleport_proxy(&self) -> Option<Address> {
        let (_, path) = self.rest.split_once('/').filter(|_| self.is_secure())?;
        let path = path.strip_prefix("v1/").unwrap_or(path);
        path.starts_with("webapi/automaticupgrades/channel/")
            .then(|| self.server())
    }

    /// Whether the channel is asked over TLS.
    pub fn is_secure(&self) -> bool {
        self.scheme == "https"
    }

    /// Reads `host[:port]/path`; a second value says what should be written instead, when a spelling is only tolerated.
    pub fn parse(text: &str, insecure: bool) -> Result<(Endpoint, Option<String>), String> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let plain = match scheme.as_deref() {
            Some("https") => false,
            Some("http") if !insecure => {
                return Err(
                    "it starts with http://, and versions are only asked for over TLS".into(),
                );
            }
            Some("http") => true,
            None => insecure,
            Some(_) => return Err(format!("\"{}\" has an unknown scheme", printable(text, 80))),
        };
        let trimmed = rest.trim_end_matches('/');
        let rest = trimmed
            .strip_suffix("/version")
            .unwrap_or(trimmed)
            .trim_end_matches('/');
        let (host, port) = valid_address(rest)?;
        if plain && !is_loopback(&host) {
            return Err(format!(
                "the file \"insecure\" says yes, which is for this very host only, and {host} is another; remove that file"
            ));
        }
        let scheme = if plain { "http" } else { "https" };
        let tolerated = (rest != text).then(|| rest.to_string());
        Ok((
            Endpoint {
                scheme,
                host,
                port,
                rest: rest.to_string(),
            },
            tolerated,
        ))
    }
}

/// Checks `host[:port][/path]` and returns the host and the port.
fn valid_address(text: &str) -> Result<(String, Option<u16>), String> {
    let bad = |what: &str| Err(format!("\"{}\" {what}", printable(text, 80)));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~/:[]%+=,".contains(c);
    if !text.chars().all(allowed) {
        return bad("has characters that do not belong there");
    }
    let Ok(uri) = format!("https://{text}").parse::<Uri>() else {
        return bad("is not an address");
    };
    let host = uri.host().unwrap_or_default();
    let port = text
        .split('/')
        .next()
        .unwrap_or_default()
        .strip_prefix(host)
        .unwrap_or_default();
    if host.is_empty()
        || host.starts_with('.')
        || host.starts_with('-')
        || (!port.is_empty() && uri.port_u16().is_none())
    {
        return bad("is not an address");
    }
    Ok((host.to_string(), uri.port_u16()))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What is wrong with a file that must be in root's hands alone, or in those of the ordinary user who tries this program out.
pub fn not_roots(metadata: &fs::Metadata) -> Option<String> {
    let mode = metadata.mode();
    if !is_roots(metadata.uid()) {
        Some(format!(
            "it belongs to user {}, not to root",
            metadata.uid()
        ))
    } else if mode & 0o022 != 0 {
        Some(format!(
            "others than root can write it (mode {:04o})",
            mode & 0o7777
        ))
    } else {
        None
    }
}

fn is_roots(owner: u32) -> bool {
    owner == 0 || owner == geteuid().as_raw()
}

impl Config {
    /// Reads the configuration directory.
    pub fn read(directory: &Path) -> Result<Config, ConfigError> {
        let files = Files::open(directory)?;
        let insecure = files.yes_or_no("insecure")?.unwrap_or(false);
        Ok(Config {
            endpoint: files.endpoint(insecure)?,
            package: files.one_of("package", &PACKAGES)?,
            installer: files.installer()?,
            services: files.services()?,
            proxy: files.proxy()?,
            pin: files.pin()?,
            prerelease: files.yes_or_no("prerelease")?.unwrap_or(false),
            lock: files.yes_or_no("lock")?.unwrap_or(true),
            prefetch: files.yes_or_no("prefetch")?.unwrap_or(true),
            lock_wait: files.seconds("lock-wait-seconds", 600)?,
            // One small repository takes seconds; all of a host's, a minute or two on a slow line.
            refresh: files.seconds("refresh-seconds", 180)?,
            observe: files.seconds("observe-seconds", 20)?,
            metrics: files.metrics()?,
            notice: files.yes_or_no("notice")?.unwrap_or(true),
            schedule: directory.join(SCHEDULE),
        })
    }

    /// The error of an `installer` that does not install into the database that has the agent.
    pub fn contradicts(
        &self,
        installer: Installer,
        package: &str,
        database: Database,
    ) -> ConfigError {
        let right: Vec<&str> = INSTALLERS
            .iter()
            .filter(|(_, other)| other.database() == Some(database))
            .map(|(name, _)| *name)
            .collect();
        self.error(
            "installer",
            &format!("it says {installer}, but {package} was installed by {database}, whose database holds it"),
            &format!("write {}, or remove this file: it is found out", right.join(" or ")),
        )
    }

    /// The error of a value that contradicts what is found on the host.
    pub fn error(&self, name: &str, problem: &str, remedy: &str) -> ConfigError {
        ConfigError {
            file: self.schedule.with_file_name(name),
            problem: problem.to_string(),
            remedy: remedy.to_string(),
        }
    }
}

/// The configuration directory, whose owner and mode are as they must be.
struct Files<'a> {
    directory: &'a Path,
}

impl<'a> Files<'a> {
    fn open(directory: &'a Path) -> Result<Self, ConfigError> {
        let files = Files { directory };
        match fs::metadata(directory) {
            Ok(metadata) if !metadata.is_dir() => Err(files.error(
                "",
                "it is not a directory",
                "make it one, and write the file \"endpoint\" in it",
            )),
            Ok(metadata) => files.check_owner(directory, &metadata).map(|()| files),
            Err(error) => Err(files.error(
                "",
                &io_problem(&error),
                "make this directory, and write the file \"endpoint\" in it",
            )),
        }
    }

    /// What decides which package root installs must be in root's hands alone, and so must all directories that lead to it.
    fn check_owner(&self, path: &Path, metadata: &fs::Metadata) -> Result<(), ConfigError> {
        let refusal = |path: &Path, problem: String| {
            let shown = path.display();
            let remedy = format!("run `chown root {shown}` and `chmod go-w {shown}`");
            Err(ConfigError {
                file: path.to_path_buf(),
                problem,
                remedy,
            })
        };
        if let Some(problem) = not_roots(metadata) {
            return refusal(path, problem);
        }
        // Wherever links lead. Who can rename a directory on the way decides what is found there.
        let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        for directory in real.ancestors().skip(1) {
            let Ok(metadata) = fs::metadata(directory) else {
                continue;
            };
            // In a directory like /tmp nobody can rename what is another's; and the group of root is root's.
            let guarded = metadata.mode() & 0o1000 != 0
                || (metadata.gid() == 0 && metadata.mode() & 0o002 == 0);
            if let Some(problem) =
                not_roots(&metadata).filter(|_| !guarded || !is_roots(metadata.uid()))
            {
                return refusal(directory, problem);
            }
        }
        Ok(())
    }

    fn error(&self, name: &str, problem: &str, remedy: &str) -> ConfigError {
        let file = if name.is_empty() {
            self.directory.to_path_buf()
        } else {
            self.directory.join(name)
        };
        ConfigError {
            file,
            problem: problem.to_string(),
            remedy: remedy.to_string(),
        }
    }

    /// The lines of a file that carry a value; none if there is no such file, or nothing but comments in it.
    fn lines(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        debug_assert!(
            FILES.contains(&name),
            "{name} is read, and not among the files that are"
        );
        let path = self.directory.join(name);
        let unreadable = |error: io::Error| {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => "try it as root",
                _ => "make it a readable text file, or remove it",
            };
            self.error(name, &io_problem(&error), remedy)
        };
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        };
        self.check_owner(&path, &metadata)?;
        if !metadata.is_file() {
            return Err(unreadable(io::Error::other("it is not a file")));
        }
        if metadata.len() > MAX_BYTES {
            return Err(unreadable(io::Error::other("it is larger than 16 KiB")));
        }
        let bytes = fs::read(&path).map_err(unreadable)?;
        let text =
            String::from_utf8(bytes).map_err(|_| unreadable(io::Error::other("it is not text")))?;
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        Ok(lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_string)
            .collect())
    }

    /// The one value of a file.
    fn value(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let mut lines = self.lines(name)?;
        if lines.len() > 1 {
            let problem = format!("it has {} values", lines.len());
            return Err(self.error(
                name,
                &problem,
                "leave one line, and put # before what is a comment",
            ));
        }
        Ok(lines.pop())
    }

    fn endpoint(&self, insecure: bool) -> Result<Endpoint, ConfigError> {
        const EXAMPLE: &str =
            "write the address of your release channel, like: releases.example.com/current";
        let Some(text) = self.value("endpoint")? else {
            return Err(self.error("endpoint", "there is no release channel", EXAMPLE));
        };
        let (endpoint, tolerated) = Endpoint::parse(&text, insecure)
            .map_err(|problem| self.error("endpoint", &problem, EXAMPLE))?;
        if let Some(better) = tolerated {
            warn!(
                "{}: write it as {better}",
                self.directory.join("endpoint").display()
            );
        }
        Ok(endpoint)
    }

    fn proxy(&self) -> Result<Option<Address>, ConfigError> {
        const EXAMPLE: &str =
            "write the address of your cluster's Proxy, like: teleport.example.com:443";
        let Some(text) = self.value("proxy")? else {
            return Ok(None);
        };
        let bare = text
            .strip_prefix("https://")
            .unwrap_or(&text)
            .trim_end_matches('/');
        let address = Address::parse(bare, HTTPS)
            .map_err(|problem| self.error("proxy", &problem, EXAMPLE))?;
        if bare != text {
            warn!(
                "{}: write it as {bare}",
                self.directory.join("proxy").display()
            );
        }
        Ok(Some(address))
    }

    fn pin(&self) -> Result<Option<Pin>, ConfigError> {
        let Some(text) = self.value("pin")? else {
            return Ok(None);
        };
        let pin = Pin::parse(&text).ok_or_else(|| {
            let problem = format!(
                "\"{}\" is neither a version nor a major version",
                printable(&text, 40)
            );
            self.error(
                "pin",
                &problem,
                "write a version like 14.3.33, or a major version like 14",
            )
        })?;
        Ok(Some(pin))
    }

    fn one_of(&self, name: &str, allowed: &[&str]) -> Result<Option<String>, ConfigError> {
        let Some(value) = self.value(name)? else {
            return Ok(None);
        };
        if allowed.contains(&value.as_str()) {
            return Ok(Some(value));
        }
        let problem = format!("\"{}\" is not known", printable(&value, 40));
        Err(self.error(
            name,
            &problem,
            &format!("write one of: {}", allowed.join(", ")),
        ))
    }

    fn yes_or_no(&self, name: &str) -> Result<Option<bool>, ConfigError> {
        Ok(self
            .one_of(name, &["yes", "no"])?
            .map(|value| value == "yes"))
    }

    fn installer(&self) -> Result<Option<Installer>, ConfigError> {
        let value = self.one_of("installer", &INSTALLERS.map(|(name, _)| name))?;
        Ok(value.and_then(|value| Some(INSTALLERS.iter().find(|(name, _)| *name == value)?.1)))
    }

    fn seconds(&self, name: &str, default: u64) -> Result<Duration, ConfigError> {
        const MOST: u64 = 24 * 60 * 60;
        let Some(value) = self.value(name)? else {
            return Ok(Duration::from_secs(default));
        };
        match value.parse::<u64>() {
            Ok(seconds) if seconds <= MOST => Ok(Duration::from_secs(seconds)),
            _ => {
                let problem = format!("\"{}\" is not a number of seconds", printable(&value, 40));
                Err(self.error(
                    name,
                    &problem,
                    &format!("write a whole number from 0 to {MOST}"),
                ))
            }
        }
    }

    fn metrics(&self) -> Result<Option<PathBuf>, ConfigError> {
        let Some(value) = self.value("metrics")? else {
            return Ok(None);
        };
        let path = PathBuf::from(&value);
        if path.is_absolute() && !value.chars().any(char::is_control) {
            return Ok(Some(path));
        }
        let problem = format!(
            "\"{}\" is not a directory from the root on",
            printable(&value, 80)
        );
        const REMEDY: &str = "write the directory of node_exporter's textfile collector, like: /var/lib/prometheus/node-exporter";
        Err(self.error("metrics", &problem, REMEDY))
    }

    fn services(&self) -> Result<Vec<String>, ConfigError> {
        let units = self.lines("service")?;
        if units.is_empty() {
            return Ok(vec![DEFAULT_SERVICE.to_string()]);
        }
        let mut full = Vec::new();
        for unit in units {
            let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
            if !unit.chars().all(allowed)
                || unit.starts_with('-')
                || unit.contains('.') && !unit.ends_with(".service")
            {
                let problem = format!("\"{}\" is not the name of a service", printable(&unit, 40));
                return Err(self.error(
                    "service",
                    &problem,
                    "write one name a line, like: teleport.service",
                ));
            }
            full.push(if unit.ends_with(".service") {
                unit
            } else {
                format!("{unit}.service")
            });
        }
        Ok(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    fn directory(files: &[(&str, &str)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn read(files: &[(&str, &str)]) -> Result<Config, String> {
        Config::read(directory(files).path()).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_endpoint_is_required() {
        let config = read(&[("endpoint", "releases.example.com/current\n")]).unwrap();
        assert_eq!(
            config.endpoint.file("version"),
            "https://releases.example.com/current/version"
        );
        assert_eq!(config.package, None);
        assert_eq!(config.installer, None);
        assert_eq!(config.services, ["teleport.service"]);
        assert_eq!(config.observe, Duration::from_secs(20));
        assert_eq!(config.lock_wait, Duration::from_secs(600));
        assert_eq!(config.refresh, Duration::from_secs(180));
    }

    #[test]
    fn every_file_of_the_list_is_read() {
        // "schedule" is the agent's, and read by itself.
        for name in FILES.into_iter().filter(|name| *name != "schedule") {
            let dir = directory(&[("endpoint", "example.com/x")]);
            let file = dir.path().join(name);
            // Only the one is there.
            let _ = fs::remove_file(&file);
            fs::create_dir(&file).unwrap();
            let error = Config::read(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("/{name}: it is not a file")),
                "{error}"
            );
        }
    }

    #[test]
    fn values_are_trimmed_and_comments_skipped() {
        let config = read(&[
            (
                "endpoint",
                "\u{feff}# our channel\r\n\n  example.com:8443/a/b \r\n",
            ),
            ("package", " teleport \n"),
            ("installer", "nop"),
            ("service", "teleport\n# second\nteleport@other.service\n"),
            ("observe-seconds", "3"),
        ])
        .unwrap();
        assert_eq!(
            config.endpoint.file("version"),
            "https://example.com:8443/a/b/version"
        );
        assert_eq!(config.package.as_deref(), Some("teleport"));
        assert_eq!(config.installer, Some(Installer::Nop));
        assert_eq!(
            config.services,
            ["teleport.service", "teleport@other.service"]
        );
        assert_eq!(config.observe, Duration::from_secs(3));
    }

    #[test]
    fn endpoint_spellings() {
        for (text, insecure, expected) in [
            (
                "example.com/current",
                false,
                Ok("https://example.com/current/version"),
            ),
            ("example.com", false, Ok("https://example.com/version")),
            (
                "https://example.com/current/",
                false,
                Ok("https://example.com/current/version"),
            ),
            (
                "https://example.com/current/version",
                false,
                Ok("https://example.com/current/version"),
            ),
            (
                "example.com:3080/v1/webapi/automaticupgrades/channel/default",
                false,
                Ok("https://example.com:3080/v1/webapi/automaticupgrades/channel/default/version"),
            ),
            (
                "[2001:db8::1]:8443/x",
                false,
                Ok("https://[2001:db8::1]:8443/x/version"),
            ),
            (
                "localhost:8080/x",
                true,
                Ok("http://localhost:8080/x/version"),
            ),
            ("http://127.0.0.1/x", true, Ok("http://127.0.0.1/x/version")),
            ("[::1]:80/x", true, Ok("http://[::1]:80/x/version")),
            ("http://example.com/x", false, Err("starts with http://")),
            ("http://localhost/x", false, Err("starts with http://")),
            (
                "https://localhost/x",
                true,
                Ok("https://localhost/x/version"),
            ),
            (
                "HTTPS://example.com/x",
                false,
                Ok("https://example.com/x/version"),
            ),
            (
                "example.com/x",
                true,
                Err(
                    "which is for this very host only, and example.com is another; remove that file",
                ),
            ),
            (
                "localhost.example.com/x",
                true,
                Err("is for this very host only"),
            ),
            ("ftp://example.com/x", false, Err("unknown scheme")),
            (
                "user@example.com/x",
                false,
                Err("characters that do not belong"),
            ),
            (
                "example.com/x?y",
                false,
                Err("characters that do not belong"),
            ),
            (
                "example.com/x y",
                false,
                Err("characters that do not belong"),
            ),
            ("example.com:port/x", false, Err("is not an address")),
            ("example.com:99999/x", false, Err("is not an address")),
            ("/current", false, Err("is not an address")),
            (":443/x", false, Err("is not an address")),
            ("https://", false, Err("is not an address")),
        ] {
            match (Endpoint::parse(text, insecure), expected) {
                (Ok((endpoint, _)), Ok(address)) => {
                    assert_eq!(endpoint.file("version"), address, "{text}")
                }
                (Err(problem), Err(part)) => assert!(problem.contains(part), "{text}: {problem}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn tolerated_spellings_name_the_right_one() {
        let tolerated = |text| Endpoint::parse(text, false).unwrap().1;
        assert_eq!(tolerated("example.com/current"), None);
        for text in [
            "https://example.com/current",
            "example.com/current/",
            "example.com/current/version",
        ] {
            assert_eq!(
                tolerated(text).as_deref(),
                Some("example.com/current"),
                "{text}"
            );
        }
    }

    #[test]
    fn errors_name_the_file_the_value_and_what_is_allowed() {
        let endpoint = ("endpoint", "example.com/x");
        for (files, parts) in [
            (
                vec![],
                vec!["/endpoint: there is no release channel; write the address"],
            ),
            (
                vec![("endpoint", "# none\n\n")],
                vec!["/endpoint: there is no release channel"],
            ),
            (
                vec![("endpoint", "a.com/x\nb.com/x\n")],
                vec!["/endpoint: it has 2 values; leave one line"],
            ),
            (
                vec![endpoint, ("package", "teleprot")],
                vec![
                    "/package: \"teleprot\" is not known",
                    "teleport-ent, teleport-ent-fips, teleport",
                ],
            ),
            (
                vec![endpoint, ("installer", "pacman")],
                vec!["/installer: \"pacman\" is not known; write one of: apt,"],
            ),
            (
                vec![endpoint, ("insecure", "true")],
                vec!["/insecure: \"true\" is not known; write one of: yes, no"],
            ),
            (
                vec![endpoint, ("service", "a b")],
                vec!["/service: \"a b\" is not the name of a service"],
            ),
            (
                vec![endpoint, ("service", "--now")],
                vec!["/service: \"--now\" is not the name of a service"],
            ),
            (
                vec![endpoint, ("service", "teleport.timer")],
                vec!["is not the name of a service"],
            ),
            (
                vec![endpoint, ("observe-seconds", "-1")],
                vec!["/observe-seconds: \"-1\" is not a number of seconds"],
            ),
            (
                vec![endpoint, ("proxy", "proxy.example.com/web")],
                vec!["/proxy: \"proxy.example.com/web\" is not a host", ":443"],
            ),
            (
                vec![endpoint, ("proxy", "a b")],
                vec!["/proxy: \"a b\" has characters that do not belong there"],
            ),
            (
                vec![endpoint, ("pin", "14.3")],
                vec![
                    "/pin: \"14.3\" is neither a version nor a major",
                    "like 14.3.33",
                    "like 14",
                ],
            ),
            (
                vec![endpoint, ("pin", "99999999999999999999")],
                vec!["/pin: \"99999999999999999999\" is neither"],
            ),
            (
                vec![endpoint, ("prerelease", "maybe")],
                vec!["/prerelease: \"maybe\" is not known; write one of: yes, no"],
            ),
            (
                vec![endpoint, ("metrics", "node-exporter")],
                vec!["/metrics: \"node-exporter\" is not a directory from the root on"],
            ),
            (
                vec![endpoint, ("notice", "maybe")],
                vec!["/notice: \"maybe\" is not known; write one of: yes, no"],
            ),
            (
                vec![endpoint, ("package", "\u{1b}[2J")],
                vec!["/package: \"\\u{1b}[2J\" is not known"],
            ),
        ] {
            let error = read(&files).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{error} lacks {part}");
            }
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn limits_on_the_version() {
        let config = |files: &[(&str, &str)]| {
            read(&[&[("endpoint", "example.com/x")], files].concat()).unwrap()
        };
        let none = config(&[]);
        assert_eq!((none.proxy, none.pin, none.prerelease), (None, None, false));
        for (text, expected) in [
            ("proxy.example.com", "proxy.example.com:443"),
            ("proxy.example.com:3080\n", "proxy.example.com:3080"),
            ("https://proxy.example.com/", "proxy.example.com:443"),
            ("[2001:db8::1]", "[2001:db8::1]:443"),
        ] {
            assert_eq!(
                config(&[("proxy", text)]).proxy.unwrap().to_string(),
                expected,
                "{text}"
            );
        }
        let version = |text: &str| text.parse::<Version>().unwrap();
        for (text, allowed, forbidden) in [
            ("14", "14.0.0", "15.0.0"),
            ("v14", "14.9.9", "13.9.9"),
            ("14.3.33", "14.3.33", "14.3.34"),
        ] {
            let pin = config(&[("pin", text)]).pin.unwrap();
            assert!(
                pin.allows(&version(allowed)) && !pin.allows(&version(forbidden)),
                "{text}"
            );
        }
        assert!(config(&[("prerelease", "yes")]).prerelease);
    }

    #[test]
    fn a_proxys_own_channel_is_known_by_its_path() {
        for (text, expected) in [
            (
                "p.example.com/v1/webapi/automaticupgrades/channel/default",
                Some("p.example.com:443"),
            ),
            (
                "p.example.com:3080/webapi/automaticupgrades/channel/stable/cloud",
                Some("p.example.com:3080"),
            ),
            (
                "p.example.com/x/webapi/automaticupgrades/channel/default",
                None,
            ),
            ("updates.example.com/v1/stable/cloud", None),
            ("p.example.com", None),
        ] {
            let proxy = Endpoint::parse(text, false)
                .unwrap()
                .0
                .teleport_proxy()
                .map(|proxy| proxy.to_string());
            assert_eq!(proxy.as_deref(), expected, "{text}");
        }
        let plain = Endpoint::parse(
            "localhost:8080/webapi/automaticupgrades/channel/default",
            true,
        )
        .unwrap()
        .0;
        assert_eq!(plain.teleport_proxy(), None, "a cluster is asked over TLS");
    }

    #[test]
    fn files_that_others_can_write_are_refused() {
        let dir = directory(&[("endpoint", "example.com/x")]);
        let endpoint = dir.path().join("endpoint");
        fs::set_permissions(&endpoint, fs::Permissions::from_mode(0o664)).unwrap();
        let error = Config::read(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("endpoint: others than root can write it (mode 0664)"),
            "{error}"
        );
        fs::set_permissions(&endpoint, fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = Config::read(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("others than root can write it (mode 0777)"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_text_file_is_refused() {
        let dir = directory(&[]);
        fs::write(dir.path().join("endpoint"), [0xff, 0xfe]).unwrap();
        assert!(
            Config::read(dir.path())
                .unwrap_err()
                .to_string()
                .contains("it is not text")
        );
        fs::write(dir.path().join("endpoint"), "x".repeat(20_000)).unwrap();
        assert!(
            Config::read(dir.path())
                .unwrap_err()
                .to_string()
                .contains("larger than 16 KiB")
        );
        fs::remove_file(dir.path().join("endpoint")).unwrap();
        fs::create_dir(dir.path().join("endpoint")).unwrap();
        assert!(
            Config::read(dir.path())
                .unwrap_err()
                .to_string()
                .contains("it is not a file")
        );
        let error = Config::read(&dir.path().join("absent"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("make this directory"), "{error}");
    }
}
