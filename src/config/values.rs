//! The values that settings can have.

use std::fmt;

use crate::version::Version;

/// The versions that a pinned agent may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// One version.
    Version(Version),
    /// The versions of one major version.
    Major(u64),
}

impl Pin {
    /// Whether the agent may have this version.
    pub fn allows(&self, version: &Version) -> bool {
        match self {
            Pin::Version(only) => version == only,
            Pin::Major(major) => version.major() == *major,
        }
    }

    /// Parses `14.3.33` or `14`.
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
