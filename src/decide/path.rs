//! The way from one version to another: one major version at a time.

use std::fmt;

use crate::version::Version;

/// What the repository has for this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// These versions, and where the repository is configured.
    Versions(Vec<Version>, String),
    /// These when its index was last refreshed, some time ago, if that can be read without changing something.
    Cached(Vec<Version>),
}

/// A way from the installed version to the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// What is installed.
    pub from: Version,
    /// What must be installed on the way.
    pub stops: Stops,
    /// What is wanted.
    pub target: Version,
}

/// What must be installed on the way, in that order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stops {
    /// These versions.
    Known(Vec<Version>),
    /// The newest of every major version between the two, whichever those are.
    Newest,
}

/// What the repository lacks for there to be a way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A release of this major version.
    Major(u64),
    /// The target itself: a way that cannot be gone to its end is not begun.
    Target,
}

/// Whether no major version lies between the two.
pub fn is_one_step(from: &Version, to: &Version) -> bool {
    to.major() <= from.major().saturating_add(1)
}

impl Path {
    /// The way to a version that is one step away.
    pub fn direct(from: &Version, target: &Version) -> Path {
        Path {
            from: from.clone(),
            stops: Stops::Known(Vec::new()),
            target: target.clone(),
        }
    }

    /// The way of which only its ends are known.
    pub fn unseen(from: &Version, target: &Version) -> Path {
        Path {
            stops: Stops::Newest,
            ..Path::direct(from, target)
        }
    }

    /// The way through the newest release of every major version between the two, of those that are offered.
    pub fn through(from: &Version, target: &Version, offered: &[Version]) -> Result<Path, Missing> {
        let mut stops = Vec::new();
        for major in from.major().saturating_add(1)..target.major() {
            let newest = offered
                .iter()
                .filter(|version| version.major() == major && !version.is_pre_release())
                .max();
            stops.push(newest.ok_or(Missing::Major(major))?.clone());
        }
        if !stops.is_empty() && !offered.contains(target) {
            return Err(Missing::Target);
        }
        Ok(Path {
            stops: Stops::Known(stops),
            ..Path::direct(from, target)
        })
    }

    /// What is to be installed next, if that is known.
    pub fn next(&self) -> Option<&Version> {
        match &self.stops {
            Stops::Known(stops) => Some(stops.first().unwrap_or(&self.target)),
            Stops::Newest => None,
        }
    }

    /// The target, if what is to be installed next is only a stop on the way to it.
    pub fn goal(&self) -> Option<&Version> {
        self.next()
            .filter(|next| **next != self.target)
            .map(|_| &self.target)
    }
}

impl fmt::Display for Path {
    /// "from 12.4.1 to 14.3.34 via 13.4.15".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.from, self.target)?;
        match &self.stops {
            Stops::Known(stops) => {
                let mut words = [" via ", " and "]
                    .into_iter()
                    .chain(std::iter::repeat(" and "));
                stops
                    .iter()
                    .try_for_each(|stop| write!(f, "{}{stop}", words.next().unwrap_or_default()))
            }
            Stops::Newest if self.target.major() == self.from.major().saturating_add(2) => {
                write!(
                    f,
                    " via the newest {} that the repository offers",
                    self.from.major() + 1
                )
            }
            Stops::Newest => write!(
                f,
                " via the newest of each major version from {} to {} that the repository offers",
                self.from.major().saturating_add(1),
                self.target.major().saturating_sub(1)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn way(from: &str, target: &str, offered: &[&str]) -> Result<String, Missing> {
        let offered: Vec<Version> = offered.iter().map(|text| version(text)).collect();
        Path::through(&version(from), &version(target), &offered).map(|path| path.to_string())
    }

    #[test]
    fn goes_through_the_newest_release_of_every_major_version_between() {
        let offered = [
            "12.4.1",
            "13.4.9",
            "13.4.15",
            "13.5.0-rc.1",
            "14.0.0-rc.1",
            "14.3.34",
            "15.0.0",
            "16.1.0",
            "18446744073709551615.0.0",
        ];
        for (from, target, expected) in [
            ("12.4.1", "12.4.2", Ok("from 12.4.1 to 12.4.2")),
            ("12.4.1", "13.4.9", Ok("from 12.4.1 to 13.4.9")),
            ("12.4.1", "13.9.9", Ok("from 12.4.1 to 13.9.9")),
            (
                "12.4.1",
                "14.3.34",
                Ok("from 12.4.1 to 14.3.34 via 13.4.15"),
            ),
            (
                "12.4.1",
                "15.0.0",
                Ok("from 12.4.1 to 15.0.0 via 13.4.15 and 14.3.34"),
            ),
            (
                "12.4.1",
                "16.1.0",
                Ok("from 12.4.1 to 16.1.0 via 13.4.15 and 14.3.34 and 15.0.0"),
            ),
            ("14.3.34", "13.4.9", Ok("from 14.3.34 to 13.4.9")),
            ("11.0.0", "13.4.9", Ok("from 11.0.0 to 13.4.9 via 12.4.1")),
            ("10.0.0", "12.4.1", Err(Missing::Major(11))),
            ("12.4.1", "14.3.35", Err(Missing::Target)),
            (
                "16.1.0",
                "18446744073709551615.0.0",
                Err(Missing::Major(17)),
            ),
        ] {
            assert_eq!(
                way(from, target, &offered),
                expected.map(str::to_string),
                "{from} -> {target}"
            );
        }
    }

    #[test]
    fn the_next_stop_has_the_target_as_its_goal() {
        let path = Path::through(
            &version("12.4.1"),
            &version("14.3.34"),
            &[version("13.4.15"), version("14.3.34")],
        )
        .unwrap();
        assert_eq!(
            (path.next(), path.goal()),
            (Some(&version("13.4.15")), Some(&version("14.3.34")))
        );
        let direct = Path::direct(&version("13.4.15"), &version("14.3.34"));
        assert_eq!(
            (direct.next(), direct.goal()),
            (Some(&version("14.3.34")), None)
        );
    }

    #[test]
    fn what_was_not_seen_is_said_in_words() {
        let unseen = |from: &str, target: &str| Path::unseen(&version(from), &version(target));
        let two = unseen("12.4.1", "14.3.34");
        assert_eq!(
            two.to_string(),
            "from 12.4.1 to 14.3.34 via the newest 13 that the repository offers"
        );
        assert_eq!((two.next(), two.goal()), (None, None));
        let far = "via the newest of each major version from 13 to 15 that the repository offers";
        assert_eq!(
            unseen("12.4.1", "16.0.0").to_string(),
            format!("from 12.4.1 to 16.0.0 {far}")
        );
    }
}
