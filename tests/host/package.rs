//! A package as tests describe it, whatever package manager it is for.

use super::releases::is_from;
use super::signing::Key;
use super::unit::agent_unit;
use super::{outside, scratch, stand_in_agent};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A package to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) depends: Vec<String>,
    pub(super) provides: Vec<String>,
    pub(super) files: Vec<(String, u32, String)>,
    pub(super) preinst: Option<String>,
    pub(super) postinst: Option<String>,
    pub(super) prerm: Option<String>,
    /// The release after the version, where packages have one.
    pub(super) release: String,
    /// Who has signed it, where packages are signed one by one.
    pub(super) signed: Option<Key>,
    /// The behaviour of the agent in it, if there is an agent in it.
    pub(super) behaviour: Option<String>,
    prefix: String,
    unit: Option<String>,
    pub(super) links_too_early: bool,
}

impl Package {
    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A package with nothing in it, of any name; versions are those of the upstream, without a release (`14.3.34`).
    pub fn new(name: &str, version: &str) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            depends: Vec::new(),
            provides: Vec::new(),
            files: Vec::new(),
            preinst: None,
            postinst: None,
            prerm: None,
            release: "1".into(),
            signed: Some(Key::Trusted),
            behaviour: None,
            prefix: String::new(),
            unit: None,
            links_too_early: false,
        }
    }

    /// An edition of the agent (`teleport`, `teleport-ent`, `teleport-ent-fips`), healthy unless told otherwise. Its files, its unit
    /// and its scripts are those of the version.
    pub fn agent(edition: &str, version: &str) -> Package {
        let links_too_early = version == "17.3.0";
        Package {
            behaviour: Some("healthy".into()),
            links_too_early,
            ..Package::new(edition, version)
        }
    }

    /// Its rpm has the fault of 17.3.0, which was withdrawn: it links before the files of the package before it are removed, which
    /// fails, and they are removed afterwards.
    pub fn links_too_early(self) -> Package {
        Package {
            links_too_early: true,
            ..self
        }
    }

    /// How the agent in it behaves: a word, or several separated by commas, of those that `agent/main.rs` lists.
    pub fn behaviour(self, behaviour: &str) -> Package {
        Package {
            behaviour: Some(behaviour.into()),
            ..self
        }
    }

    /// Replaces the agent's unit, for instance by `agent_unit("14.3.34").replace(..)`.
    pub fn unit(self, unit: &str) -> Package {
        Package {
            unit: Some(unit.into()),
            ..self
        }
    }

    /// The agent's unit.
    fn unit_text(&self) -> String {
        self.unit
            .clone()
            .unwrap_or_else(|| agent_unit(&self.version))
    }

    /// The agent's unit without `ExecReload=`, as older versions have it.
    pub fn without_reload(self) -> Package {
        let unit = self.unit_text();
        let lines = unit
            .lines()
            .filter(|line| !line.starts_with("ExecReload="))
            .map(|line| format!("{line}\n"));
        Package {
            unit: Some(lines.collect()),
            ..self
        }
    }

    /// Puts the agent's files below another directory, for two editions to be installed at once.
    pub fn below(self, prefix: &str) -> Package {
        Package {
            prefix: prefix.into(),
            ..self
        }
    }

    /// Makes it depend on something (`libwidget`, or `libwidget (>= 2)` in Debian's way to say it).
    pub fn depends(mut self, on: &str) -> Package {
        self.depends.push(on.into());
        self
    }

    /// Makes an rpm provide something that came with dpkg, of which rpm knows nothing.
    pub fn provides(mut self, what: &str) -> Package {
        self.provides.push(what.into());
        self
    }

    /// Adds lines of shell that run before it is removed.
    pub fn prerm(self, lines: &str) -> Package {
        Package {
            prerm: Some(lines.into()),
            ..self
        }
    }

    /// Adds a file.
    pub fn file(mut self, path: &str, mode: u32, content: &str) -> Package {
        self.files.push((path.into(), mode, content.into()));
        self
    }

    /// Replaces the lines of shell that run before its files are unpacked.
    pub fn preinst(self, lines: &str) -> Package {
        Package {
            preinst: Some(lines.into()),
            ..self
        }
    }

    /// Replaces the lines of shell that run after it is installed; that the agent's files are linked is not one of them.
    pub fn postinst(self, lines: &str) -> Package {
        Package {
            postinst: Some(lines.into()),
            ..self
        }
    }

    /// Gives it another release than 1. A Debian package has none.
    pub fn release(self, release: &str) -> Package {
        Package {
            release: release.into(),
            ..self
        }
    }

    /// Has it signed by another key, or by none. An apt repository's packages are all signed by its index alone.
    pub fn signed(self, by: Option<Key>) -> Package {
        Package { signed: by, ..self }
    }

    /// Whether its files are below `/opt/teleport/system` and are linked by `teleport-update`, as they are from 17.3.0 on. Two editions
    /// that are installed at once cannot both be.
    pub(super) fn is_linked(&self) -> bool {
        let first = [[14, 4, 0], [15, 5, 0], [16, 5, 0], [17, 3, 0]];
        self.behaviour.is_some() && self.prefix.is_empty() && is_from(&self.version, &first)
    }

    /// Writes its files below a directory.
    pub(super) fn write_files(&self, root: &Path) {
        if let Some(behaviour) = &self.behaviour {
            let mut agent = fs::read(stripped_agent()).unwrap();
            // A package may be of a revision (`14.3.34-1`), of which the program knows nothing.
            let version = self.version.split('-').next().unwrap().replace('~', "-");
            agent.extend(
                format!(
                    "\nstand-in-agent edition={} version={version} behaviour={behaviour}\n",
                    self.name
                )
                .bytes(),
            );
            let (below, programs) = match self.is_linked() {
                true => (root.join("opt/teleport/system"), "bin"),
                false => (
                    root.join(self.prefix.trim_start_matches('/')),
                    "usr/local/bin",
                ),
            };
            write(&below, &format!("{programs}/teleport"), 0o755, &agent);
            write(
                &below,
                &format!("{programs}/tctl"),
                0o755,
                b"#!/bin/sh\necho stand-in\n",
            );
            write(
                &below,
                "lib/systemd/system/teleport.service",
                0o644,
                self.unit_text().as_bytes(),
            );
            if self.is_linked() {
                write(
                    &below,
                    "bin/teleport-update",
                    0o755,
                    include_bytes!("agent/teleport-update.sh"),
                );
            }
        }
        for (path, mode, content) in &self.files {
            write(root, path, *mode, content.as_bytes());
        }
    }
}

fn write(root: &Path, path: &str, mode: u32, content: &[u8]) {
    let file = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, content).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
}

/// The stand-in agent without its debugging symbols, which would make every package a hundred times larger.
fn stripped_agent() -> &'static Path {
    static STRIPPED: OnceLock<PathBuf> = OnceLock::new();
    STRIPPED.get_or_init(|| {
        let stripped = scratch::directory().join("stand-in-agent");
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(&stripped).arg(stand_in_agent());
        outside(&mut strip);
        stripped
    })
}
