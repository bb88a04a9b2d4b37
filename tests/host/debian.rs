//! The generations of Debian that hosts are made of.

use super::manager::Manager;
use super::scratch;
use std::fs;
use std::sync::OnceLock;

/// A generation of Debian. tests/README.md has the versions of what matters here ("Hosts").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Generation {
    /// Debian 11: systemd 247, apt 2.2, glibc 2.31.
    Bullseye,
    /// Debian 12, the ordinary one.
    Bookworm,
    /// Debian 13: apt 3.0 with sqv.
    Trixie,
    /// What is to be Debian's next release: dnf 5, rpm 6.
    Sid,
}

impl Generation {
    /// All of them, from old to new.
    pub const ALL: [Generation; 4] = [
        Generation::Bullseye,
        Generation::Bookworm,
        Generation::Trixie,
        Generation::Sid,
    ];

    /// Its name, as Debian's mirrors have it.
    pub fn name(self) -> &'static str {
        match self {
            Generation::Bullseye => "bullseye",
            Generation::Bookworm => "bookworm",
            Generation::Trixie => "trixie",
            Generation::Sid => "sid",
        }
    }

    /// The release's name as its hosts know it. Sid's is that of the release it is to be.
    pub fn codename(self) -> &'static str {
        static CODENAMES: [OnceLock<String>; 4] = [const { OnceLock::new() }; 4];
        CODENAMES[self as usize].get_or_init(|| {
            let release = fs::read_to_string(scratch::base(self).join("etc/os-release")).unwrap();
            let codename = release
                .lines()
                .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
            codename.expect("VERSION_CODENAME in os-release").to_owned()
        })
    }

    /// A host of this generation that uses this package manager, for whatever makes hosts: `Host::with_upgrade_from` and the others.
    pub fn with(self, manager: Manager) -> System {
        // What is called dnf and yum there is dnf 5.
        let manager = if self == Generation::Sid && manager == Manager::Yum {
            Manager::Dnf5
        } else {
            manager
        };
        assert!(
            self == Generation::Sid || manager != Manager::Dnf5,
            "{} has no dnf 5",
            self.name()
        );
        System {
            generation: self,
            manager,
        }
    }
}

/// What a host is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct System {
    /// Its generation of Debian.
    pub generation: Generation,
    /// The package manager whose repository has its agent.
    pub manager: Manager,
}

impl From<Manager> for System {
    /// A host of the ordinary generation; the one that has it, in the case of dnf 5.
    fn from(manager: Manager) -> System {
        let generation = if manager == Manager::Dnf5 {
            Generation::Sid
        } else {
            Generation::Bookworm
        };
        generation.with(manager)
    }
}

/// Debian's name for this machine's kind of processor.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
