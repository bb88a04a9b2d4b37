//! Which change of version Teleport supports at all: releases only, and never more than one major version at a time.

use std::fmt;

use crate::version::Version;

/// A target that must not be installed over what is there, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The target is not a release.
    PreRelease(Version),
    /// The target is more than one major version above.
    SkipsMajor {
        /// What is installed.
        from: Version,
        /// What the channel wants.
        to: Version,
    },
    /// The target is more than one major version below.
    TooFarDown {
        /// What is installed.
        from: Version,
        /// What the channel wants.
        to: Version,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::PreRelease(to) => {
                write!(f, "{to} is not a release, and those are not for production; have the channel name a release")
            }
            Refusal::SkipsMajor { from, to } => {
                let next = from.major() + 1;
                write!(f, "from {from} to {to} skips major version {next}; have the channel name a version {next} first")
            }
            Refusal::TooFarDown { from, to } => {
                let below = from.major() - 1;
                write!(
                    f,
                    "from {from} down to {to} is more than one major version; have the channel name a version {below} or {}",
                    from.major()
                )
            }
        }
    }
}

/// Whether the agent may go from `from` to `to` at all.
pub fn check(from: &Version, to: &Version) -> Result<(), Refusal> {
    if to.is_pre_release() {
        return Err(Refusal::PreRelease(to.clone()));
    }
    if to.major() > from.major().saturating_add(1) {
        return Err(Refusal::SkipsMajor { from: from.clone(), to: to.clone() });
    }
    if to.major() < from.major().saturating_sub(1) {
        return Err(Refusal::TooFarDown { from: from.clone(), to: to.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_major_at_a_time_and_releases_only() {
        for (from, to, expected) in [
            ("14.3.33", "14.3.34", ""),
            ("14.3.33", "14.3.33", ""),
            ("14.3.33", "14.0.0", ""),
            ("14.3.33", "15.0.0", ""),
            ("14.3.33", "13.9.9", ""),
            ("0.1.0", "1.0.0", ""),
            ("14.3.33", "16.0.0", "from 14.3.33 to 16.0.0 skips major version 15; have the channel name a version 15 first"),
            (
                "14.3.33",
                "12.9.9",
                "from 14.3.33 down to 12.9.9 is more than one major version; have the channel name a version 13 or 14",
            ),
            (
                "14.3.33",
                "15.0.0-rc.1",
                "15.0.0-rc.1 is not a release, and those are not for production; have the channel name a release",
            ),
            (
                "14.3.33",
                "18446744073709551615.0.0",
                "from 14.3.33 to 18446744073709551615.0.0 skips major version 15; have the channel name a version 15 first",
            ),
        ] {
            let said =
                check(&from.parse().unwrap(), &to.parse().unwrap()).map_or_else(|refusal| refusal.to_string(), |()| String::new());
            assert_eq!(said, expected, "{from} -> {to}");
        }
    }
}
