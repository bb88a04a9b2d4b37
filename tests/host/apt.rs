//! Apt repositories, laid out as Teleport's own: the suite is the release's name, the component the channel; and their
//! packages.

use super::package::Package;
use super::signing::{Key, clearsign};
use super::{Format, debian, outside, unit};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The component of the suite that the agent's packages are in.
pub const COMPONENT: &str = "stable/rolling";

/// The line of a `sources.list` that names a repository of a release, as it is served at this URL.
pub fn source(url: &str, codename: &str) -> String {
    let keyring = "/usr/share/keyrings/teleport-archive-keyring.asc";
    format!("deb [signed-by={keyring}] {url} {codename} {COMPONENT}\n")
}

/// Indexes and signs it.
pub fn index(root: &Path, codename: &str, key: Key) {
    let suite = root.join("dists").join(codename);
    let binary = suite
        .join(COMPONENT)
        .join(format!("binary-{}", debian::architecture()));
    fs::create_dir_all(&binary).unwrap();
    let _ = fs::remove_file(suite.join("Release"));
    let _ = fs::remove_file(suite.join("InRelease"));
    let packages = ftparchive(root, &["packages", "pool"]);
    fs::write(binary.join("Packages"), packages).unwrap();
    let fields = [
        ("Origin", "Teleport"),
        ("Label", "Teleport"),
        ("Suite", codename),
        ("Codename", codename),
        ("Architectures", debian::architecture()),
        ("Components", COMPONENT),
    ];
    let options =
        fields.map(|(field, value)| format!("-oAPT::FTPArchive::Release::{field}={value}"));
    let mut arguments: Vec<&str> = options.iter().map(String::as_str).collect();
    arguments.extend(["release", "."]);
    let release = ftparchive(&suite, &arguments);
    fs::write(suite.join("Release"), release).unwrap();
    clearsign(key, &suite.join("Release"), &suite.join("InRelease"));
}

fn ftparchive(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("apt-ftparchive");
    command.args(arguments).current_dir(directory);
    outside(&mut command)
}

/// The name of a package's file.
pub fn file_name(name: &str, version: &str) -> String {
    format!("{name}_{version}_{}.deb", debian::architecture())
}

/// Builds a package in a new directory.
pub fn build(package: &Package, directory: &Path) -> PathBuf {
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
    let configuration = package
        .files
        .iter()
        .map(|(path, _, _)| path)
        .filter(|path| path.starts_with("/etc/"));
    fs::write(
        control.join("conffiles"),
        configuration
            .map(|path| format!("{path}\n"))
            .collect::<String>(),
    )
    .unwrap();
    let scripts = unit::scripts(package, Format::Deb);
    for (script, lines) in [
        ("preinst", scripts.pre),
        ("postinst", scripts.post),
        ("prerm", scripts.preun),
    ] {
        if let Some(lines) = lines {
            let script = control.join(script);
            fs::write(&script, format!("#!/bin/sh\nset -e\n{lines}\n")).unwrap();
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let file = directory.join(file_name(&package.name, &package.version));
    let mut build = Command::new("dpkg-deb");
    build
        .args(["--root-owner-group", "-Zgzip", "-z1", "--build"])
        .arg(&tree)
        .arg(&file);
    outside(&mut build);
    fs::remove_dir_all(&tree).unwrap();
    file
}
