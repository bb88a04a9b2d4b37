//! The package managers, for tests that run the same lines on each.

use super::signing::Key;
use super::{apt, rpm};
use std::fs;
use std::path::Path;

/// The format of a repository and its packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// For apt.
    Deb,
    /// For dnf and zypper.
    Rpm,
}

impl Format {
    /// Both.
    pub const ALL: [Format; 2] = [Format::Deb, Format::Rpm];
}

/// A package manager. Every host has the programs of all, one dnf or the other; which one it uses is a matter of its repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manager {
    /// apt.
    Apt,
    /// dnf 4.
    Yum,
    /// dnf 5, under all three names. Its hosts are of the generation that has it.
    Dnf5,
    /// zypper.
    Zypper,
}

/// Where hosts find the rpm repository.
const RPM_URL: &str = "https://yum.example.com/rpm/";
/// Where hosts find the apt repository.
const APT_URL: &str = "https://apt.example.com/debian/";

impl Manager {
    /// The format of its packages.
    pub fn format(self) -> Format {
        if self == Manager::Apt {
            Format::Deb
        } else {
            Format::Rpm
        }
    }

    /// The path at which its repository is served.
    pub fn served_below(self) -> &'static str {
        if self == Manager::Apt {
            "/debian/"
        } else {
            "/rpm/"
        }
    }

    /// The file in which Teleport's repository is configured.
    pub fn source_file(self) -> &'static str {
        match self {
            Manager::Apt => "/etc/apt/sources.list.d/teleport.list",
            Manager::Yum | Manager::Dnf5 => "/etc/yum.repos.d/teleport.repo",
            Manager::Zypper => "/etc/zypp/repos.d/teleport.repo",
        }
    }

    /// Where it puts the packages that it downloads.
    pub fn cache(self) -> &'static str {
        match self {
            Manager::Apt => "/var/cache/apt/archives",
            Manager::Yum => "/var/cache/dnf",
            Manager::Dnf5 => "/var/cache/libdnf5",
            Manager::Zypper => "/var/cache/teleport-upgrade",
        }
    }

    /// The text of a repository's configuration for hosts of a release, as it is served at this URL.
    pub fn source(self, id: &str, url: &str, codename: &str) -> String {
        match self {
            Manager::Apt => apt::source(url, codename),
            Manager::Yum | Manager::Dnf5 => rpm::source(id, url, "repo_gpgcheck=1\n"),
            Manager::Zypper => rpm::source(id, url, "autorefresh=1\n"),
        }
    }

    /// Refreshes all indexes.
    pub fn refresh(self) -> &'static str {
        match self {
            Manager::Apt => "apt-get -q -oAPT::Update::Error-Mode=any update",
            Manager::Yum | Manager::Dnf5 => {
                "dnf -y --refresh --setopt=*.skip_if_unavailable=0 makecache"
            }
            Manager::Zypper => "zypper --non-interactive refresh",
        }
    }

    /// Installs packages as an administrator would: `NAME` or `NAME` at a version.
    pub fn install(self, name: &str, version: Option<&str>) -> String {
        let at = |sign: &str| {
            version
                .map(|version| format!("{sign}{version}"))
                .unwrap_or_default()
        };
        match self {
            Manager::Apt => format!("apt-get -q -y install {name}{}", at("=")),
            Manager::Yum | Manager::Dnf5 => format!("dnf -y install {name}{}", at("-")),
            Manager::Zypper => format!("zypper --non-interactive install {name}{}", at("=")),
        }
    }

    /// A regular update of the whole system.
    pub fn update_all(self) -> &'static str {
        match self {
            Manager::Apt => "apt-get -q update && apt-get -q -y upgrade",
            Manager::Yum | Manager::Dnf5 => "dnf -y --refresh upgrade",
            Manager::Zypper => {
                "zypper --non-interactive refresh && zypper --non-interactive update"
            }
        }
    }

    /// The ways in which an administrator, or the upgrader itself, locks a package.
    pub fn locks(self, name: &str) -> Vec<String> {
        match self {
            Manager::Apt => vec![format!("apt-mark hold {name}")],
            Manager::Yum => vec![
                format!("dnf -y versionlock add {name}"),
                format!("dnf -y versionlock exclude --raw {name}"),
                format!("echo exclude={name} >>{}", self.source_file()),
            ],
            Manager::Dnf5 => vec![
                format!("dnf -y versionlock add {name}"),
                // "dnf versionlock exclude" is for the version alone that is there now; this is for all of them.
                format!(
                    "printf 'version = \"1.0\"\\n[[packages]]\\nname = \"{name}\"\\n[[packages.conditions]]\\nkey = \"evr\"\\n\
                     comparator = \"=\"\\nvalue = \"0\"\\n' >/etc/dnf/versionlock.toml"
                ),
                format!("echo exclude={name} >>{}", self.source_file()),
            ],
            Manager::Zypper => vec![format!("zypper --non-interactive addlock {name}")],
        }
    }

    /// Has a file system, not booted, know Teleport's repository and trust its key.
    pub fn set_up(self, root: &Path, codename: &str) {
        let write = |path: &str, text: &str| {
            let file = root.join(&path[1..]);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let url = if self == Manager::Apt {
            APT_URL
        } else {
            RPM_URL
        };
        write(
            "/usr/share/keyrings/teleport-archive-keyring.asc",
            &Key::Trusted.public(),
        );
        write(rpm::KEY_FILE, &Key::Trusted.public());
        write(self.source_file(), &self.source("teleport", url, codename));
    }
}
