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

/// The configuration directory. A setting that cannot be used counts as not set, and is among the problems.
pub struct Directory<'a> {
    path: &'a Path,
    /// The release channel in place of the one that is set.
    pub channel: Option<&'a str>,
    /// Why settings cannot be used. If the directory itself cannot be used, none of its files is read.
    pub problems: Vec<ConfigError>,
    is_usable: bool,
}

impl<'a> Directory<'a> {
    /// Checks the owner and the mode of the directory.
    pub fn open(path: &'a Path) -> Self {
        let problems: Vec<ConfigError> = Directory::check(path).err().into_iter().collect();
        Directory {
            path,
            channel: None,
            is_usable: problems.is_empty(),
            problems,
        }
    }

    fn check(path: &Path) -> Result<(), ConfigError> {
        let error = |problem: &str| {
            ConfigError::new(path, problem, "Create the directory and set endpoint in it")
        };
        let metadata = fs::metadata(path).map_err(|reason| error(&io_problem(&reason)))?;
        if !metadata.is_dir() {
            return Err(error("not a directory"));
        }
        ownership::check(path, &metadata)
    }

    /// What was read; if it cannot be used, the default, and the problem is recorded.
    fn usable<T: Default>(&mut self, read: Result<T, ConfigError>) -> T {
        read.unwrap_or_else(|problem| {
            self.problems.push(problem);
            T::default()
        })
    }

    fn error(&self, name: &str, problem: &str, remedy: &str) -> ConfigError {
        ConfigError::new(self.path.join(name), problem, remedy)
    }

    /// The text of a file; empty if there is no such file.
    fn text(&self, name: &str) -> Result<String, ConfigError> {
        if !self.is_usable {
            return Ok(String::new());
        }
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
    pub fn value(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let mut lines = self.lines(name)?;
        if lines.len() > 1 {
            let problem = format!("expected one value, found {}", lines.len());
            return Err(self.error(name, &problem, "Comment out the other lines with #"));
        }
        Ok(lines.pop())
    }

    /// The value of a file, parsed; if it cannot be, `what` it is and what is `allowed` are named.
    fn parsed<T>(
        &mut self,
        name: &str,
        what: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = self.value(name).and_then(|value| {
            let Some(value) = value else { return Ok(None) };
            parse(&value).map(Some).ok_or_else(|| {
                let problem = format!("invalid {what} \"{}\"", printable(&value, 80));
                self.error(name, &problem, allowed)
            })
        });
        self.usable(parsed)
    }

    /// One of these values.
    pub fn one_of(&mut self, name: &str, allowed: &[&str]) -> Option<String> {
        let remedy = format!("Allowed: {}", allowed.join(", "));
        self.parsed(name, "value", &remedy, |value| {
            allowed.contains(&value).then(|| value.to_string())
        })
    }

    /// `yes` or `no`.
    pub fn yes_or_no(&mut self, name: &str, default: bool) -> bool {
        let value = self.one_of(name, &["yes", "no"]);
        value.map_or(default, |value| value == "yes")
    }

    /// A duration in seconds.
    pub fn seconds(&mut self, name: &str, default: u64) -> Duration {
        let remedy = format!("Use seconds, 0 to {MAX_SECONDS}");
        let seconds = self.parsed(name, "value", &remedy, |value| {
            value.parse().ok().filter(|seconds| *seconds <= MAX_SECONDS)
        });
        Duration::from_secs(seconds.unwrap_or(default))
    }

    /// A number from 0 to 1.
    pub fn fraction(&mut self, name: &str) -> Option<f64> {
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
    pub fn absolute_path(&mut self, name: &str) -> Option<PathBuf> {
        let remedy = "Use an absolute path, such as /var/lib/prometheus/node-exporter";
        self.parsed(name, "path", remedy, |value| {
            let path = PathBuf::from(value);
            (path.is_absolute() && !value.chars().any(char::is_control)).then_some(path)
        })
    }

    /// A package manager.
    pub fn installer(&mut self, name: &str) -> Option<Installer> {
        let value = self.one_of(name, &Installer::ALL.map(Installer::name))?;
        Installer::ALL.into_iter().find(|one| one.name() == value)
    }

    /// A version or a major version.
    pub fn pin(&mut self, name: &str) -> Option<Pin> {
        let remedy = "Use a version (14.3.33) or a major version (14)";
        self.parsed(name, "pin", remedy, Pin::parse)
    }

    /// Maintenance windows, one per line.
    pub fn windows(&mut self, name: &str) -> Option<Windows> {
        let windows = self.text(name).and_then(|text| {
            Windows::parse(&text).map_err(|problem| {
                let remedy = "Use one window per line, such as Mon,Wed,Fri 02:00-04:00 or daily 23:00-01:00 UTC";
                self.error(name, &problem, remedy)
            })
        });
        self.usable(windows)
    }

    /// Names of systemd services, one per line, with or without `.service`.
    pub fn units(&mut self, name: &str, default: &str) -> Vec<String> {
        let units = self.lines(name).and_then(|lines| {
            lines
                .into_iter()
                .map(|line| self.unit(name, line))
                .collect()
        });
        let mut units: Vec<String> = self.usable(units);
        if units.is_empty() {
            units.push(default.to_string());
        }
        units
    }

    fn unit(&self, name: &str, mut unit: String) -> Result<String, ConfigError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        let has_type = unit.ends_with(".service");
        if !unit.chars().all(allowed)
            || unit.starts_with(['-', '.'])
            || unit.contains('.') && !has_type
        {
            let problem = format!("invalid unit name \"{}\"", printable(&unit, 40));
            let remedy = "Use one service per line, such as teleport.service";
            return Err(self.error(name, &problem, remedy));
        }
        if !has_type {
            unit.push_str(".service");
        }
        Ok(unit)
    }

    /// The release channel.
    pub fn endpoint(&mut self, name: &str) -> Option<Endpoint> {
        let is_insecure = self.yes_or_no("insecure", false);
        let remedy = "Use an address such as releases.example.com/prod";
        let parse = |text: &str| Endpoint::parse(text, is_insecure);
        let Some(channel) = self.channel else {
            return self.address(name, remedy, parse);
        };
        let parsed = parse(channel.trim())
            .map(|(endpoint, _)| Some(endpoint))
            .map_err(|problem| ConfigError::of_channel(problem, remedy));
        // The file is checked although its value is to be replaced.
        let known = self.value(name).and(parsed);
        self.usable(known)
    }

    /// The text of a file with another value; comments are kept.
    pub fn with_value(&self, name: &str, value: &str) -> Result<String, ConfigError> {
        let text = self.text(name)?;
        let mut lines: Vec<&str> = text.lines().collect();
        let is_value = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with('#');
        match lines.iter().position(is_value) {
            Some(index) => lines[index] = value,
            None => lines.push(value),
        }
        Ok(lines.join("\n") + "\n")
    }

    /// The address of the cluster's Proxy.
    pub fn proxy(&mut self, name: &str) -> Option<Address> {
        let remedy = "Set the address of the cluster's Proxy, such as teleport.example.com:443";
        self.address(name, remedy, |text| {
            let bare = text.strip_prefix("https://").unwrap_or(text);
            let bare = bare.trim_end_matches('/');
            let canonical = (bare != text).then(|| bare.to_string());
            Ok((Address::parse(bare, HTTPS)?, canonical))
        })
    }

    /// An address, and its canonical form if the file has another.
    fn address<T>(
        &mut self,
        name: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<(T, Option<String>), String>,
    ) -> Option<T> {
        let parsed = self.value(name).and_then(|value| {
            let Some(text) = value else { return Ok(None) };
            let parsed = parse(&text).map_err(|problem| self.error(name, &problem, remedy))?;
            Ok(Some(parsed))
        });
        let (address, canonical) = self.usable(parsed)?;
        if let Some(canonical) = canonical {
            let path = self.path.join(name);
            warn!(
                "{}: accepted, but the canonical form is {canonical}",
                path.display()
            );
        }
        Some(address)
    }
}
