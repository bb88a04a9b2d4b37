//! A Teleport version: what a release channel, a package database and the compatibility rule all speak of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::system::text::printable;

/// A semantic version, written without the leading `v` that Teleport's own tools sometimes put before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(semver::Version);

/// A text that is not a version. Shows the text, made safe for a terminal and shortened.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAVersion(String);

impl Version {
    /// The first of the three numbers, on which compatibility between an agent and its cluster rests.
    pub fn major(&self) -> u64 {
        self.0.major
    }

    /// Whether this is a pre-release, such as a release candidate.
    pub fn is_pre_release(&self) -> bool {
        !self.0.pre.is_empty()
    }

    /// Reads a version as a Debian package database spells it: the upstream version, perhaps a revision after it.
    pub fn from_debian(text: &str) -> Result<Self, NotAVersion> {
        // `~` sorts before everything in Debian, which is what `-` does in a semantic version.
        let upstream = match text.rsplit_once('-') {
            Some((upstream, revision)) if is_revision(revision) => upstream,
            _ => text,
        };
        upstream.replacen('~', "-", 1).parse()
    }

    /// The version as a Debian package has it, without a revision: `15.0.0~rc.1`.
    pub fn to_debian(&self) -> String {
        self.0.to_string().replacen('-', "~", 1)
    }

    /// The version as an rpm has it, without a release: `15.0.0~rc.1`. No hyphen may stand in it.
    pub fn to_rpm(&self) -> String {
        self.to_debian().replace('-', "_")
    }

    /// Reads a version as an rpm database spells it: the version, perhaps a release after it (`14.3.33-1`).
    pub fn from_rpm(text: &str) -> Result<Self, NotAVersion> {
        // A hyphen can stand nowhere else. The release becomes part of command lines as it is.
        let (version, release) = text.split_once('-').unwrap_or((text, ""));
        if !release
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._+~^".contains(c))
        {
            return Err(NotAVersion(printable(text, 40)));
        }
        version.replacen('~', "-", 1).replace('_', "-").parse()
    }
}

fn is_revision(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

impl FromStr for Version {
    type Err = NotAVersion;

    /// Reads `14.3.33` or `v14.3.33`, white space around it allowed, and nothing else.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let bare = trimmed.strip_prefix('v').unwrap_or(trimmed);
        match semver::Version::parse(bare) {
            // Build metadata has no place in a package's version, and no order.
            Ok(version) if version.build.is_empty() => Ok(Version(version)),
            _ => Err(NotAVersion(printable(trimmed, 40))),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a version like 14.3.33", self.0)
    }
}

impl std::error::Error for NotAVersion {}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn reads_versions_with_and_without_v() {
        for text in ["14.3.33", "v14.3.33", " 14.3.33\n", "v14.3.33\r\n"] {
            assert_eq!(version(text).to_string(), "14.3.33", "{text:?}");
        }
    }

    #[test]
    fn rejects_what_is_not_a_version() {
        for text in [
            "",
            "v",
            "14",
            "14.3",
            "14.3.33.1",
            "14.3.x",
            "vv14.3.33",
            "014.3.33",
            "14.3.33; reboot",
            "14.3.33 14.3.34",
            "--allow-unauthenticated",
            "14.3.33+build",
            "99999999999999999999.0.0",
            "<html>",
            "１４.3.33",
            "none",
        ] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn error_is_safe_to_print() {
        let error = "\u{1b}[31m14\u{7}"
            .parse::<Version>()
            .unwrap_err()
            .to_string();
        assert!(
            !error.contains('\u{1b}') && !error.contains('\u{7}'),
            "{error:?}"
        );
        assert!(
            "x".repeat(10_000)
                .parse::<Version>()
                .unwrap_err()
                .to_string()
                .len()
                < 100
        );
    }

    #[test]
    fn orders_numerically_and_release_candidates_first() {
        assert!(version("14.3.9") < version("14.3.33"));
        assert!(version("9.9.9") < version("14.0.0"));
        assert!(version("14.0.0-rc.2") < version("14.0.0-rc.10"));
        assert!(version("14.0.0-rc.10") < version("14.0.0"));
        assert!(version("14.0.0-rc.1").is_pre_release());
    }

    #[test]
    fn reads_debian_spellings() {
        for (debian, expected) in [
            ("14.3.33", "14.3.33"),
            ("14.3.33-1", "14.3.33"),
            ("14.0.0~rc.1", "14.0.0-rc.1"),
            ("14.0.0~rc.1-2", "14.0.0-rc.1"),
            ("14.0.0-rc.1", "14.0.0-rc.1"),
        ] {
            assert_eq!(
                Version::from_debian(debian).unwrap(),
                version(expected),
                "{debian}"
            );
        }
    }

    #[test]
    fn reads_rpm_spellings() {
        for (rpm, expected) in [
            ("14.3.33", "14.3.33"),
            ("14.3.33-1", "14.3.33"),
            ("14.3.33-2.el9", "14.3.33"),
            ("14.0.0~rc.1-1", "14.0.0-rc.1"),
            ("14.0.0_rc.1-1", "14.0.0-rc.1"),
        ] {
            assert_eq!(Version::from_rpm(rpm).unwrap(), version(expected), "{rpm}");
        }
        for rpm in [
            "14.3.33-*",
            "14.3.33-1;reboot",
            "14.3.33-1-1",
            "14.3.33-1 2",
        ] {
            assert!(Version::from_rpm(rpm).is_err(), "{rpm}");
        }
    }

    #[test]
    fn spells_versions_as_packages_do() {
        for text in ["14.3.33", "15.0.0-rc.1", "15.0.0-alpha"] {
            let version = version(text);
            assert_eq!(version.to_debian(), text.replace('-', "~"));
            assert_eq!(
                Version::from_debian(&version.to_debian()).unwrap(),
                version,
                "{text}"
            );
            assert_eq!(
                Version::from_rpm(&format!("{}-1", version.to_rpm())).unwrap(),
                version,
                "{text}"
            );
        }
        assert_eq!(
            version("15.0.0-rc-1").to_rpm(),
            "15.0.0~rc_1",
            "a hyphen would begin the release"
        );
    }
}
