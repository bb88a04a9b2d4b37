//! A signed apt repository, laid out as Teleport's own: the suite is the release's name, the component the channel.

use super::package::Package;
use super::signing::{Key, clearsign};
use super::{debian, outside, scratch};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The component of the suite that the agent's packages are in.
pub const COMPONENT: &str = "stable/rolling";

/// A repository on disk. Whatever is published or removed, it is indexed and signed anew at once.
pub struct Repository {
    root: PathBuf,
    key: Mutex<Key>,
}

impl Repository {
    /// An empty repository in a new directory, signed with the key that hosts trust.
    pub fn new(root: &Path) -> Repository {
        fs::create_dir_all(root.join("pool")).unwrap();
        let repository = Repository { root: root.into(), key: Mutex::new(Key::Trusted) };
        repository.index();
        repository
    }

    /// A copy in a new directory, signed with the key that hosts trust.
    pub fn copy(&self, root: &Path) -> Repository {
        let mut copy = Command::new("cp");
        copy.arg("-r").args([&self.root, root]);
        outside(&mut copy);
        Repository { root: root.into(), key: Mutex::new(Key::Trusted) }
    }

    /// Where it is, for tests that damage it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of a package in it.
    pub fn file(&self, name: &str, version: &str) -> PathBuf {
        self.root.join("pool").join(file_name(name, version))
    }

    /// Adds packages; one of the same name and version takes the place of the other.
    pub fn publish(&self, packages: &[Package]) {
        for package in packages {
            fs::copy(built(package), self.file(&package.name, &package.version)).unwrap();
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

    /// The line of a `sources.list` that names it, as it is served at this URL.
    pub fn source(url: &str) -> String {
        let keyring = "/usr/share/keyrings/teleport-archive-keyring.asc";
        format!("deb [signed-by={keyring}] {url} {} {COMPONENT}\n", debian::codename())
    }

    fn index(&self) {
        let suite = self.root.join("dists").join(debian::codename());
        let binary = suite.join(COMPONENT).join(format!("binary-{}", debian::architecture()));
        fs::create_dir_all(&binary).unwrap();
        let _ = fs::remove_file(suite.join("Release"));
        let _ = fs::remove_file(suite.join("InRelease"));
        let packages = ftparchive(&self.root, &["packages", "pool"]);
        fs::write(binary.join("Packages"), packages).unwrap();
        let fields = [
            ("Origin", "Teleport"),
            ("Label", "Teleport"),
            ("Suite", debian::codename()),
            ("Codename", debian::codename()),
            ("Architectures", debian::architecture()),
            ("Components", COMPONENT),
        ];
        let options = fields.map(|(field, value)| format!("-oAPT::FTPArchive::Release::{field}={value}"));
        let mut arguments: Vec<&str> = options.iter().map(String::as_str).collect();
        arguments.extend(["release", "."]);
        let release = ftparchive(&suite, &arguments);
        fs::write(suite.join("Release"), release).unwrap();
        let key = *self.key.lock().unwrap_or_else(PoisonError::into_inner);
        clearsign(key, &suite.join("Release"), &suite.join("InRelease"));
    }
}

fn ftparchive(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("apt-ftparchive");
    command.args(arguments).current_dir(directory);
    outside(&mut command)
}

fn file_name(name: &str, version: &str) -> String {
    format!("{name}_{version}_{}.deb", debian::architecture())
}

/// The package file, built at the first call for it.
fn built(package: &Package) -> PathBuf {
    /// A number for the directory of each, and the file once it is built.
    type Built = HashMap<String, Arc<(usize, OnceLock<PathBuf>)>>;
    static BUILT: OnceLock<Mutex<Built>> = OnceLock::new();
    let slot = {
        let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        let number = built.len();
        Arc::clone(built.entry(format!("{package:?}")).or_insert_with(|| Arc::new((number, OnceLock::new()))))
    };
    let (number, file) = &*slot;
    file.get_or_init(|| build(package, &scratch::directory().join("debs").join(number.to_string()))).clone()
}

fn build(package: &Package, directory: &Path) -> PathBuf {
    let tree = directory.join("tree");
    let control = tree.join("DEBIAN");
    fs::create_dir_all(&control).unwrap();
    package.write_files(&tree);
    let mut fields = format!(
        "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: Tests <tests@example.com>\nDescription: stand-in\n",
        package.name,
        package.version,
        debian::architecture()
    );
    if !package.depends.is_empty() {
        fields += &format!("Depends: {}\n", package.depends.join(", "));
    }
    fs::write(control.join("control"), fields).unwrap();
    for (script, lines) in [("preinst", &package.preinst), ("postinst", &package.postinst)] {
        if let Some(lines) = lines {
            let script = control.join(script);
            fs::write(&script, format!("#!/bin/sh\nset -e\n{lines}\n")).unwrap();
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let file = directory.join(file_name(&package.name, &package.version));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zgzip", "-z1", "--build"]).arg(&tree).arg(&file);
    outside(&mut build);
    fs::remove_dir_all(&tree).unwrap();
    file
}
