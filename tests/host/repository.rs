//! A signed package repository, for apt or for dnf and zypper.

use super::debian::System;
use super::manager::Format;
use super::package::Package;
use super::signing::{self, Key};
use super::{apt, outside, rpm, scratch};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A repository on disk. Whatever is published or removed, it is indexed and signed again at once.
pub struct Repository {
    root: PathBuf,
    format: Format,
    /// The release that its packages are for, where that matters.
    codename: &'static str,
    key: Mutex<Key>,
}

impl Repository {
    /// An empty repository for hosts of a system, in a new directory, signed with the key that hosts trust.
    pub fn new(system: impl Into<System>, root: &Path) -> Repository {
        let system = system.into();
        let (format, codename) = (system.manager.format(), system.generation.codename());
        fs::create_dir_all(root.join("pool")).unwrap();
        let repository = Repository {
            root: root.into(),
            format,
            codename,
            key: Mutex::new(Key::Trusted),
        };
        repository.index();
        repository
    }

    /// A copy in a new directory, signed with the key that hosts trust.
    pub fn copy(&self, root: &Path) -> Repository {
        copy(&self.root, root);
        Repository {
            root: root.into(),
            format: self.format,
            codename: self.codename,
            key: Mutex::new(Key::Trusted),
        }
    }

    /// Where it is, for tests that damage it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of a package in it.
    pub fn file(&self, name: &str, version: &str) -> PathBuf {
        self.root.join("pool").join(self.file_name(name, version))
    }

    /// Adds packages; one of the same name and version takes the place of the other.
    pub fn publish(&self, packages: &[Package]) {
        for package in packages {
            fs::copy(
                built(self.format, package),
                self.file(&package.name, &package.version),
            )
            .unwrap();
        }
        self.index();
    }

    /// Adds a package file as it is; one for dnf and zypper is signed first.
    pub fn publish_file(&self, file: &Path) {
        let published = self.root.join("pool").join(file.file_name().unwrap());
        fs::copy(file, &published).unwrap();
        if self.format == Format::Rpm {
            signing::sign_rpm(Key::Trusted, &published);
        }
        self.index();
    }

    /// Removes a package.
    pub fn remove(&self, name: &str, version: &str) {
        fs::remove_file(self.file(name, version)).unwrap();
        self.index();
    }

    /// Signs it with another key from now on.
    pub fn sign_with(&self, key: Key) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key;
        self.index();
    }

    /// Keeps it as it is now, for `restore`.
    pub fn keep(&self) {
        let _ = fs::remove_dir_all(self.kept());
        copy(&self.root, &self.kept());
    }

    /// Makes it what it was at the last `keep`, signatures and all.
    pub fn restore(&self) {
        // What is served is the directory itself: its content is exchanged, not the directory.
        for entry in fs::read_dir(&self.root).unwrap().flatten() {
            if entry.path().is_dir() {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            }
            .unwrap();
        }
        copy(&self.kept().join("."), &self.root);
    }

    /// Changes one byte of the index proper, which the signed file names by its hash.
    pub fn damage_index(&self) {
        let mut find = Command::new("find");
        find.arg(&self.root)
            .args(["-name", "Packages", "-o", "-name", "*-primary.xml*"]);
        for file in outside(&mut find).lines() {
            flip(Path::new(file));
        }
    }

    fn kept(&self) -> PathBuf {
        self.root.with_extension("kept")
    }

    fn file_name(&self, name: &str, version: &str) -> String {
        match self.format {
            Format::Deb => apt::file_name(name, version),
            Format::Rpm => rpm::file_name(name, version),
        }
    }

    fn index(&self) {
        let key = *self.key.lock().unwrap_or_else(PoisonError::into_inner);
        match self.format {
            Format::Deb => apt::index(&self.root, self.codename, key),
            Format::Rpm => rpm::index(&self.root, key),
        }
    }
}

/// Changes one byte in the middle of a file.
pub fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    copy.arg("-rT").args([from, to]);
    outside(&mut copy);
}

/// The package file, built at the first call for it.
fn built(format: Format, package: &Package) -> PathBuf {
    /// A number for the directory of each, and the file once it is built.
    type Built = HashMap<String, Arc<(usize, OnceLock<PathBuf>)>>;
    static BUILT: OnceLock<Mutex<Built>> = OnceLock::new();
    let slot = {
        let mut built = BUILT
            .get_or_init(Mutex::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let number = built.len();
        Arc::clone(
            built
                .entry(format!("{format:?} {package:?}"))
                .or_insert_with(|| Arc::new((number, OnceLock::new()))),
        )
    };
    let (number, file) = &*slot;
    let directory = || {
        scratch::directory()
            .join("packages")
            .join(number.to_string())
    };
    file.get_or_init(|| match format {
        Format::Deb => apt::build(package, &directory()),
        Format::Rpm => rpm::build(package, &directory()),
    })
    .clone()
}
