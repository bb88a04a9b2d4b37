//! Reads the files of the configuration directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::warn;

use crate::config::endpoint::Endpoint;
use crate::config::values::Pin;
use crate::config::windows::Windows;
use crate::config::{ConfigError, ownership};
use crate::packages::installer::Installer;
use crate::system::address::{Address, HTTPS};
use crate::system::text::{io_problem, printable};

/// Far more than any value needs.
const MAX_BYTES: u64 = 16 * 1024;
/// The longest duration that can be set.
const MAX_SECONDS: u64 = 24 * 60 * 60;

/// The configuration directory, whose owner and mode were checked.
pub struct Directory<'a> {
    path: &'a Path,
}

impl<'a> Directory<'a> {
    /// Checks the directory.
    pub fn open(path: &'a Path) -> Result<Self, ConfigError> {
        let error = |problem: &str| {
            ConfigError::new(path, problem, "Create the directory and set endpoint in it")
        };
        let metadata = fs::metadata(path).map_err(|reason| error(&io_problem(&reason)))?;
        if !metadata.is_dir() {
            return Err(error("not a directory"));
        }
        ownership::check(path, &metadata)?;
        Ok(Directory { path })
    }

    fn error(&self, name: &str, problem: &str, remedy: &str) -> ConfigError {
        ConfigError::new(self.path.join(name), problem, remedy)
    }

    /// The text of a file; empty if there is no such file.
    fn text(&self, name: &str) -> Result<String, ConfigError> {
        let path = self.path.join(name);
        let unreadable = |error: io::Error| {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => "Try again as root",
                _ => "Settings must be small text files",
            };
            self.error(name, &io_problem(&error), remedy)
        };
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(unreadable(error)),
        };
        ownership::check(&path, &metadata)?;
        if !metadata.is_file() {
            return Err(unreadable(io::Error::other("not a regular file")));
        }
        if metadata.len() > MAX_BYTES {
            return Err(unreadable(io::Error::other("larger than 16 KiB")));
        }
        let bytes = fs::read(&path).map_err(unreadable)?;
        let text =
            String::from_utf8(bytes).map_err(|_| unreadable(io::Error::other("not UTF-8 text")))?;
        Ok(text.trim_start_matches('\u{feff}').to_string())
    }

    /// The lines of a file that are neither blank nor comments.
    fn lines(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        let text = self.text(name)?;
        let lines = text.lines().map(str::trim);
        Ok(lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_string)
            .collect())
    }

    /// The only value of a file.
    fn value(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let mut lines = self.lines(name)?;
        if lines.len() > 1 {
            let problem = format!("expected one value, found {}", lines.len());
            return Err(self.error(name, &problem, "Comment out the other lines with #"));
        }
        Ok(lines.pop())
    }

    /// The value of a file, parsed; if it cannot be, `what` it is and what is `allowed` are named.
    fn parsed<T>(
        &self,
        name: &str,
        what: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.value(name)? else {
            return Ok(None);
        };
        let parsed = parse(&value).ok_or_else(|| {
            let problem = format!("invalid {what} \"{}\"", printable(&value, 80));
            self.error(name, &problem, allowed)
        })?;
        Ok(Some(parsed))
    }

    /// One of these values.
    pub fn one_of(&self, name: &str, allowed: &[&str]) -> Result<Option<String>, ConfigError> {
        let remedy = format!("Allowed: {}", allowed.join(", "));
        self.parsed(name, "value", &remedy, |value| {
            allowed.contains(&value).then(|| value.to_string())
        })
    }

    /// `yes` or `no`.
    pub fn yes_or_no(&self, name: &str, default: bool) -> Result<bool, ConfigError> {
        let value = self.one_of(name, &["yes", "no"])?;
        Ok(value.map_or(default, |value| value == "yes"))
    }

    /// A duration in seconds.
    pub fn seconds(&self, name: &str, default: u64) -> Result<Duration, ConfigError> {
        let remedy = format!("Use seconds, 0 to {MAX_SECONDS}");
        let seconds = self.parsed(name, "value", &remedy, |value| {
            value.parse().ok().filter(|seconds| *seconds <= MAX_SECONDS)
        })?;
        Ok(Duration::from_secs(seconds.unwrap_or(default)))
    }

    /// A number from 0 to 1.
    pub fn fraction(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        self.parsed(
            name,
            "value",
            "Use a number from 0 to 1, such as 0.25",
            |value| {
                let is_plain = value
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.');
                let number = value.parse().ok().filter(|_| is_plain);
                number.filter(|number| (0.0..=1.0).contains(number))
            },
        )
    }

    /// A path from the root.
    pub fn absolute_path(&self, name: &str) -> Result<Option<PathBuf>, ConfigError> {
        let remedy = "Use an absolute path, such as /var/lib/prometheus/node-exporter";
        self.parsed(name, "path", remedy, |value| {
            let path = PathBuf::from(value);
            (path.is_absolute() && !value.chars().any(char::is_control)).then_some(path)
        })
    }

    /// A package manager.
    pub fn installer(&self, name: &str) -> Result<Option<Installer>, ConfigError> {
        let value = self.one_of(name, &Installer::ALL.map(Installer::name))?;
        Ok(value.and_then(|value| Installer::ALL.into_iter().find(|one| one.name() == value)))
    }

    /// A version or a major version.
    pub fn pin(&self, name: &str) -> Result<Option<Pin>, ConfigError> {
        let remedy = "Use a version (14.3.33) or a major version (14)";
        self.parsed(name, "pin", remedy, Pin::parse)
    }

    /// Maintenance windows, one per line.
    pub fn windows(&self, name: &str) -> Result<Option<Windows>, ConfigError> {
        Windows::parse(&self.text(name)?).map_err(|problem| {
            let remedy =
                "Use one window per line, such as Mon,Wed,Fri 02:00-04:00 or daily 23:00-01:00 UTC";
            self.error(name, &problem, remedy)
        })
    }

    /// Names of systemd services, one per line, with or without `.service`.
    pub fn units(&self, name: &str, default: &str) -> Result<Vec<String>, ConfigError> {
        let mut units = self.lines(name)?;
        if units.is_empty() {
            units.push(default.to_string());
        }
        for unit in &mut units {
            let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
            let has_type = unit.ends_with(".service");
            if !unit.chars().all(allowed)
                || unit.starts_with(['-', '.'])
                || unit.contains('.') && !has_type
            {
                let problem = format!("invalid unit name \"{}\"", printable(unit, 40));
                return Err(self.error(
                    name,
                    &problem,
                    "Use one service per line, such as teleport.service",
                ));
            }
            if !has_type {
                unit.push_str(".service");
            }
        }
        Ok(units)
    }

    /// The release channel.
    pub fn endpoint(&self, name: &str) -> Result<Endpoint, ConfigError> {
        let Some(text) = self.value(name)? else {
            let file = self.path.join(name);
            let remedy = format!(
                "Set it with: echo releases.example.com/prod | sudo tee {}",
                file.display()
            );
            return Err(self.error(name, "no release channel configured", &remedy));
        };
        let (endpoint, canonical) = Endpoint::parse(&text, self.yes_or_no("insecure", false)?)
            .map_err(|problem| {
                self.error(
                    name,
                    &problem,
                    "Use an address such as releases.example.com/prod",
                )
            })?;
        self.suggest(name, canonical.as_deref());
        Ok(endpoint)
    }

    /// The address of the cluster's Proxy.
    pub fn proxy(&self, name: &str) -> Result<Option<Address>, ConfigError> {
        let Some(text) = self.value(name)? else {
            return Ok(None);
        };
        let bare = text
            .strip_prefix("https://")
            .unwrap_or(&text)
            .trim_end_matches('/');
        let address = Address::parse(bare, HTTPS).map_err(|problem| {
            self.error(
                name,
                &problem,
                "Set the address of the cluster's Proxy, such as teleport.example.com:443",
            )
        })?;
        self.suggest(name, Some(bare).filter(|bare| *bare != text));
        Ok(Some(address))
    }

    fn suggest(&self, name: &str, canonical: Option<&str>) {
        if let Some(canonical) = canonical {
            let path = self.path.join(name);
            warn!(
                "{}: accepted, but the canonical form is {canonical}",
                path.display()
            );
        }
    }
}
