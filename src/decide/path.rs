//! The upgrade path from one version to another: one major version at a time.

use crate::version::Version;

/// What the repository contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// These versions, and the file in which the repository is configured.
    Versions(Vec<Version>, String),
    /// These versions when the index was last refreshed, as far as that can be read without changing anything.
    Cached(Vec<Version>),
}

/// A path from the installed version to the target version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradePath {
    /// The installed version.
    pub from: Version,
    /// The versions to install between the two.
    pub intermediate: Intermediate,
    /// The target version.
    pub target: Version,
}

/// The versions between two others, in the order of their install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intermediate {
    /// These.
    Known(Vec<Version>),
    /// The latest of every major version between the two, whichever that is.
    Latest,
}

/// What the repository lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A release of this major version.
    Major(u64),
    /// The target version: without it, the first step is not taken either.
    Target,
}

/// Whether no major version lies between the two.
pub fn is_one_step(from: &Version, to: &Version) -> bool {
    to.major() <= from.major().saturating_add(1)
}

impl UpgradePath {
    /// The path of one step.
    pub fn direct(from: &Version, target: &Version) -> UpgradePath {
        UpgradePath {
            from: from.clone(),
            intermediate: Intermediate::Known(Vec::new()),
            target: target.clone(),
        }
    }

    /// A path whose intermediate versions are not known.
    pub fn unknown(from: &Version, target: &Version) -> UpgradePath {
        UpgradePath {
            intermediate: Intermediate::Latest,
            ..UpgradePath::direct(from, target)
        }
    }

    /// The path through the latest release of every major version between the two.
    pub fn through(
        from: &Version,
        target: &Version,
        offered: &[Version],
    ) -> Result<UpgradePath, Missing> {
        let mut between = Vec::new();
        for major in from.major().saturating_add(1)..target.major() {
            let latest = offered
                .iter()
                .filter(|version| version.major() == major && !version.is_pre_release())
                .max();
            between.push(latest.ok_or(Missing::Major(major))?.clone());
        }
        if !between.is_empty() && !offered.contains(target) {
            return Err(Missing::Target);
        }
        Ok(UpgradePath {
            intermediate: Intermediate::Known(between),
            ..UpgradePath::direct(from, target)
        })
    }

    /// The version to install next, if it is known.
    pub fn next(&self) -> Option<&Version> {
        match &self.intermediate {
            Intermediate::Known(versions) => Some(versions.first().unwrap_or(&self.target)),
            Intermediate::Latest => None,
        }
    }

    /// The target version, if the next one is an intermediate version.
    pub fn goal(&self) -> Option<&Version> {
        self.next()
            .filter(|next| **next != self.target)
            .map(|_| &self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn leads_through_the_latest_release_of_every_major_version_between() {
        let offered = "12.4.1 13.4.9 13.4.15 13.5.0-rc.1 14.0.0-rc.1 14.3.34 15.0.0 16.1.0 18446744073709551615.0.0";
        let offered: Vec<Version> = offered.split(' ').map(version).collect();
        for (from, target, expected) in [
            ("12.4.1", "12.4.2", Ok("")),
            ("12.4.1", "13.4.9", Ok("")),
            ("12.4.1", "13.9.9", Ok("")),
            ("12.4.1", "14.3.34", Ok("13.4.15")),
            ("12.4.1", "15.0.0", Ok("13.4.15 14.3.34")),
            ("12.4.1", "16.1.0", Ok("13.4.15 14.3.34 15.0.0")),
            ("14.3.34", "13.4.9", Ok("")),
            ("11.0.0", "13.4.9", Ok("12.4.1")),
            ("10.0.0", "12.4.1", Err(Missing::Major(11))),
            ("12.4.1", "14.3.35", Err(Missing::Target)),
            (
                "16.1.0",
                "18446744073709551615.0.0",
                Err(Missing::Major(17)),
            ),
        ] {
            let path = UpgradePath::through(&version(from), &version(target), &offered);
            let between =
                expected.map(|text| text.split_whitespace().map(version).collect::<Vec<_>>());
            assert_eq!(
                path.map(|path| path.intermediate),
                between.map(Intermediate::Known),
                "{from} -> {target}"
            );
        }
    }

    #[test]
    fn an_intermediate_version_has_the_target_as_its_goal() {
        let (from, to) = (version("12.4.1"), version("14.3.34"));
        let path = UpgradePath::through(&from, &to, &[version("13.4.15"), to.clone()]).unwrap();
        assert_eq!(path.next(), Some(&version("13.4.15")));
        assert_eq!(path.goal(), Some(&to));
        let direct = UpgradePath::direct(&version("13.4.15"), &to);
        assert_eq!((direct.next(), direct.goal()), (Some(&to), None));
        let unknown = UpgradePath::unknown(&from, &to);
        assert_eq!((unknown.next(), unknown.goal()), (None, None));
    }
}
