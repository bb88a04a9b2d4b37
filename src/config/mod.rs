//! The settings: files in `/etc/teleport-upgrade.d`, one value per file.

mod directory;
pub mod endpoint;
pub mod hooks;
pub mod ownership;
pub mod unknown;
pub mod values;
pub mod windows;

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::packages::installer::Installer;
use crate::packages::package::{Database, PACKAGES};
use crate::system::address::Address;
use crate::system::files::{Durability, replace_as};
use directory::Directory;
use endpoint::Endpoint;
use values::Pin;
use windows::Windows;

/// The setting that the agent writes: the maintenance schedule that it exports.
pub const SCHEDULE: &str = "schedule";

/// The setting with the release channel.
pub const ENDPOINT: &str = "endpoint";

/// The setting that replaces the exported schedule.
pub const WINDOWS: &str = "windows";

/// The unit in Teleport's packages.
pub const DEFAULT_SERVICE: &str = "teleport.service";

/// Declares the settings: the field of [`Config`], its type, the file, and the method of [`Directory`] that reads it.
macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $reader:ident($file:literal $(, $argument:expr)*);)*) => {
        /// Every setting, with the defaults filled in.
        #[derive(Debug, Clone)]
        pub struct Config {
            $($(#[$doc])* pub $field: $type,)*
            /// The path of the maintenance schedule, which is read on its own since the agent owns it.
            pub schedule: PathBuf,
        }

        /// The names of the settings.
        pub const SETTINGS: &[&str] = &[$($file,)* SCHEDULE];

        impl Config {
            /// Reads the configuration directory. A setting that cannot be used has its default, and is among the problems: `status`
            /// shows what is known nevertheless. `channel`, if given, replaces the release channel that is set.
            pub fn read_usable(path: &Path, channel: Option<&str>) -> (Config, Vec<ConfigError>) {
                let mut directory = Directory::open(path);
                directory.channel = channel;
                let config = Config {
                    $($field: directory.$reader($file $(, $argument)*),)*
                    schedule: path.join(SCHEDULE),
                };
                (config, directory.problems)
            }
        }
    };
}

settings! {
    /// The release channel to follow, if one is configured.
    endpoint: Option<Endpoint> = endpoint("endpoint");
    /// The package to upgrade; detected if not set.
    package: Option<String> = one_of("package", &PACKAGES);
    /// The package manager; detected if not set.
    installer: Option<Installer> = installer("installer");
    /// The systemd units that run the agent.
    services: Vec<String> = units("service", DEFAULT_SERVICE);
    /// The cluster's Proxy, which reports the cluster version; detected if not set.
    proxy: Option<Address> = proxy("proxy");
    /// The version or major version that the agent stays on.
    pin: Option<Pin> = pin("pin");
    /// Maintenance windows that replace the exported schedule.
    windows: Option<Windows> = windows("windows");
    /// Whether to wait when there is no usable schedule, instead of upgrading at the second check.
    require_window: bool = yes_or_no("require-window", false);
    /// Where in a percentage rollout this host comes, from 0 to 1; drawn from the machine ID and the version if not set.
    rollout_wariness: Option<f64> = fraction("rollout-wariness");
    /// Whether to install release candidates too.
    prerelease: bool = yes_or_no("prerelease", false);
    /// Whether the endpoint may be plain HTTP to localhost.
    insecure: bool = yes_or_no("insecure", false);
    /// Whether to hold the package.
    lock: bool = yes_or_no("lock", true);
    /// Whether to pre-download a pending upgrade.
    prefetch: bool = yes_or_no("prefetch", true);
    /// How long to wait for the package manager lock.
    lock_wait: Duration = seconds("lock-wait-seconds", 600);
    /// The timeout for refreshing the package index: seconds for one small repository, a minute or two for all
    /// repositories of a host on a slow line.
    refresh: Duration = seconds("refresh-seconds", 180);
    /// The verification period.
    observe: Duration = seconds("observe-seconds", 20);
    /// How long a hook may take.
    hook: Duration = seconds("hook-seconds", 300);
    /// The directory of Prometheus' textfile collector; no metrics are written if not set.
    metrics: Option<PathBuf> = absolute_path("metrics");
    /// Whether to show a login message while an upgrade is pending.
    notice: bool = yes_or_no("notice", true);
}

/// The release channel as configured, canonical or not.
pub fn current_channel(path: &Path) -> Result<Option<String>, ConfigError> {
    Directory::open(path).value(ENDPOINT)
}

/// Sets the release channel. Comments in the file, its mode, and a symbolic link in its place are kept.
pub fn set_channel(path: &Path, channel: &str) -> Result<()> {
    let text = Directory::open(path).with_value(ENDPOINT, channel)?;
    let file = path.join(ENDPOINT);
    let file = file.canonicalize().unwrap_or(file);
    let permissions = fs::metadata(&file).map(|metadata| metadata.permissions());
    let permissions = permissions.unwrap_or(Permissions::from_mode(0o644));
    replace_as(&file, &text, Durability::Synced, permissions)
        .with_context(|| format!("cannot write {}", file.display()))
}

impl Config {
    /// Reads the configuration directory. Fails if a setting cannot be used, or no release channel is configured.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let (config, problems) = Config::read_usable(path, None);
        match problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => config.channel().cloned().map(|_| config),
        }
    }

    /// The release channel.
    pub fn channel(&self) -> Result<&Endpoint, ConfigError> {
        let no_channel = || ConfigError::no_channel(self.schedule.with_file_name(ENDPOINT));
        self.endpoint.as_ref().ok_or_else(no_channel)
    }

    /// The error for an `installer` that does not use the database that contains the agent's package.
    pub fn wrong_installer(
        &self,
        installer: Installer,
        package: &str,
        database: Database,
    ) -> ConfigError {
        self.error(
            "installer",
            &format!(
                "installer is set to {installer}, but {package} was installed with {database}"
            ),
            &format!(
                "Set it to {}, or remove the file to detect it",
                Installer::names_for(database).join(" or ")
            ),
        )
    }

    /// The error for a setting that contradicts what is found on the host.
    pub fn error(&self, name: &str, problem: &str, remedy: &str) -> ConfigError {
        ConfigError::new(self.schedule.with_file_name(name), problem, remedy)
    }
}

/// A setting that cannot be used: the file, what is wrong with it, and what to do.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    problem: String,
    remedy: String,
}

impl ConfigError {
    /// The error for a host without a release channel.
    pub fn no_channel(file: PathBuf) -> Self {
        let remedy = "Set one with: sudo teleport-upgrade enable releases.example.com/prod";
        ConfigError::new(file, "no release channel configured", remedy)
    }

    /// The error for a release channel that was given on the command line.
    pub fn of_channel(problem: String, remedy: impl Into<String>) -> Self {
        ConfigError::new("CHANNEL", problem, remedy)
    }

    fn new(
        file: impl Into<PathBuf>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        ConfigError {
            file: file.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}. {}",
            self.file.display(),
            self.problem,
            self.remedy
        )
    }
}

impl std::error::Error for ConfigError {}
