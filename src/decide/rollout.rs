//! Percentage rollouts: which hosts come first.

use ring::digest::{SHA256, digest};

use crate::decide::observation::Observation;
use crate::server::answers::{Percentage, Target};
use crate::version::Version;

/// What a host's position in a rollout depends on.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// The setting `rollout-wariness`, from 0 to 1: the same position in every rollout.
    Wariness(f64),
    /// The machine ID: other hosts are first for each version.
    Machine(String),
    /// There is no usable machine ID, and why: the host is among the last.
    Unknown(String),
}

impl Place {
    /// Reads the text of `/etc/machine-id`.
    pub fn of_machine(text: &str) -> Place {
        let id = text.trim();
        match id {
            _ if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Place::Machine(id.to_ascii_lowercase())
            }
            "" => Place::Unknown("empty".into()),
            // Written by systemd into images, to be replaced at the first boot.
            "uninitialized" => Place::Unknown("uninitialized".into()),
            _ => Place::Unknown("expected 32 hexadecimal digits".into()),
        }
    }

    /// The position in the rollout of a version, from 0 to 100.
    fn position(&self, version: &Version) -> f64 {
        match self {
            Place::Wariness(wariness) => 100.0 * wariness,
            Place::Machine(id) => {
                let hash = digest(&SHA256, format!("{id} {version}").as_bytes());
                let first = hash.as_ref().iter().take(8);
                let number = first.fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
                // Of the 64 bits, those that a floating-point number has room for: rounded up, it might be 100.
                100.0 * (number >> 11) as f64 / (1_u64 << 53) as f64
            }
            Place::Unknown(_) => 100.0,
        }
    }
}

/// Where a host stands in the rollout of the target version.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The percentage of the hosts that the version is for.
    pub percentage: Percentage,
    /// The position of this host, from 0 to 100.
    pub position: f64,
}

impl Standing {
    /// The standing of the observed host, once the percentage was asked for.
    pub fn of(seen: &Observation) -> Option<Standing> {
        match (&seen.target, &seen.percentage) {
            (Some(Target::Version(target)), Some(percentage)) => Some(Standing {
                percentage: percentage.clone(),
                position: seen.place.position(target),
            }),
            _ => None,
        }
    }

    /// Whether the rollout has reached the host.
    pub fn is_reached(&self) -> bool {
        match self.percentage {
            Percentage::Known(percent) => percent >= 100.0 || self.position < percent,
            Percentage::Unknown(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many machine IDs, which are as random as systemd's.
    fn machines(count: u32) -> impl Iterator<Item = Place> {
        (0..count).map(|number| {
            let hash = digest(&SHA256, &number.to_le_bytes());
            let id = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}"));
            Place::Machine(id.collect())
        })
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn reached(position: f64, percent: f64) -> bool {
        let percentage = Percentage::Known(percent);
        Standing {
            percentage,
            position,
        }
        .is_reached()
    }

    /// `printf '%s %s' 0123456789abcdef0123456789abcdef 17.5.2 | sha256sum`, its first 16 digits.
    #[test]
    fn the_position_can_be_computed_with_sha256sum() {
        let host = Place::of_machine("0123456789ABCDEF0123456789abcdef\n");
        let expected = 100.0 * 0xf0ee42fa044861bf_u64 as f64 / 2_f64.powi(64);
        let position = host.position(&version("17.5.2"));
        assert!((position - expected).abs() < 1e-9, "{position} {expected}");
    }

    #[test]
    fn a_higher_percentage_only_adds_hosts() {
        let steps = [0.0, 0.1, 1.0, 5.0, 25.0, 50.0, 99.9, 100.0];
        for host in machines(2000) {
            let position = host.position(&version("17.5.2"));
            let answers = steps.map(|percent| reached(position, percent));
            assert!(answers.is_sorted() && !answers[0] && answers[7], "{host:?}");
        }
    }

    /// The number of hosts that a share reaches is binomial: its standard deviation is sqrt(n p (1 - p)). It exceeds five of them once
    /// in 1.7 million cases, and these machine IDs are always the same.
    #[test]
    fn a_share_reaches_as_many_hosts_as_chance_allows() {
        let hosts = 100_000;
        for target in ["17.5.2", "17.5.3", "18.0.0-rc.1"] {
            let target = version(target);
            let positions: Vec<f64> = machines(hosts).map(|host| host.position(&target)).collect();
            for percent in [0.1, 1.0, 5.0, 25.0, 50.0, 99.0] {
                let share = percent / 100.0;
                let expected = f64::from(hosts) * share;
                let bound = 5.0 * (expected * (1.0 - share)).sqrt();
                let count = positions.iter().filter(|at| reached(**at, percent)).count() as f64;
                assert!(
                    (count - expected).abs() < bound,
                    "{percent} % of {target}: {count}"
                );
            }
        }
    }

    /// Of the first 5 % for one version, 5 % are among the first 5 % for another one.
    #[test]
    fn each_version_has_other_first_hosts() {
        let hosts = 100_000;
        let (one, other) = (version("17.5.2"), version("17.5.3"));
        let is_first = |host: &Place, version| reached(host.position(version), 5.0);
        let both = machines(hosts).filter(|host| is_first(host, &one) && is_first(host, &other));
        let (expected, share) = (f64::from(hosts) * 0.0025, 0.0025);
        let bound = 5.0 * (expected * (1.0 - share)).sqrt();
        let count = both.count() as f64;
        assert!((count - expected).abs() < bound, "{count}");
    }

    #[test]
    fn wariness_replaces_the_position() {
        for (wariness, percent, expected) in [
            (0.0, 0.0, false),
            (0.0, 0.1, true),
            (0.05, 5.0, false),
            (0.05, 5.1, true),
            (1.0, 99.9, false),
            (1.0, 100.0, true),
        ] {
            for target in ["17.5.2", "17.5.3"] {
                let position = Place::Wariness(wariness).position(&version(target));
                assert_eq!(reached(position, percent), expected, "{wariness} {percent}");
            }
        }
    }

    #[test]
    fn a_host_without_a_machine_id_is_among_the_last() {
        for (text, problem) in [
            ("", "empty"),
            ("\n", "empty"),
            ("uninitialized\n", "uninitialized"),
            ("0123", "expected 32 hexadecimal digits"),
            (
                "0123456789abcdef0123456789abcdeg",
                "expected 32 hexadecimal digits",
            ),
        ] {
            let place = Place::of_machine(text);
            assert_eq!(place, Place::Unknown(problem.into()), "{text:?}");
            let position = place.position(&version("17.5.2"));
            assert!(!reached(position, 99.9) && reached(position, 100.0));
        }
    }

    #[test]
    fn an_unknown_percentage_reaches_nobody() {
        let percentage = Percentage::Unknown("timed out".into());
        assert!(
            !Standing {
                percentage,
                position: 0.0
            }
            .is_reached()
        );
    }
}
