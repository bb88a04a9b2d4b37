//! Rpm repositories, as dnf and zypper read them, and their packages.

use super::package::Package;
use super::signing::{self, Key, detach_sign};
use super::{Format, outside, unit};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where hosts have the key that repositories and packages are signed with.
pub const KEY_FILE: &str = "/etc/pki/rpm-gpg/RPM-GPG-KEY-teleport";

/// The text of a `*.repo` file.
pub fn source(id: &str, url: &str, more: &str) -> String {
    format!(
        "[{id}]\nname={id}\nbaseurl={url}\nenabled=1\ngpgcheck=1\ngpgkey=file://{KEY_FILE}\n{more}"
    )
}

/// The name of a package's file.
pub fn file_name(name: &str, version: &str) -> String {
    format!("{name}-{version}-1.{}.rpm", std::env::consts::ARCH)
}

/// Indexes and signs a repository.
pub fn index(root: &Path, key: Key) {
    let mut create = Command::new("createrepo_c");
    // Versions of the index that a client may still be reading are no concern of tests.
    create.args(["--quiet", "--retain-old-md=0"]).arg(root);
    outside(&mut create);
    let repomd = root.join("repodata/repomd.xml");
    detach_sign(key, &repomd, &root.join("repodata/repomd.xml.asc"));
    // zypper asks for it; it must trust the configured key, not this.
    fs::write(root.join("repodata/repomd.xml.key"), key.public()).unwrap();
}

/// Builds a package in a new directory.
pub fn build(package: &Package, directory: &Path) -> PathBuf {
    let tree = directory.join("tree");
    fs::create_dir_all(&tree).unwrap();
    package.write_files(&tree);
    let spec = directory.join("package.spec");
    fs::write(&spec, spec_file(package, &tree)).unwrap();
    let mut build = Command::new("rpmbuild");
    build.args(["-bb", "--quiet"]).env("HOME", directory);
    for define in [
        format!("_topdir {}", directory.display()),
        format!("_rpmdir {}", directory.display()),
        // Whatever the release: tests name files by the version.
        "_build_name_fmt %%{NAME}-%%{VERSION}-1.%%{ARCH}.rpm".into(),
        // Nothing is to be stripped, compressed or looked at.
        "__os_install_post %{nil}".into(),
        "debug_package %{nil}".into(),
        "_build_id_links none".into(),
        "_binary_payload w1.gzdio".into(),
        "__requires_exclude .*".into(),
    ] {
        build.arg("--define").arg(define);
    }
    build.arg(&spec);
    outside(&mut build);
    let file = directory.join(file_name(&package.name, &package.version));
    if let Some(key) = package.signed {
        signing::sign_rpm(key, &file);
    }
    fs::remove_dir_all(&tree).unwrap();
    file
}

fn spec_file(package: &Package, tree: &Path) -> String {
    let mut spec = format!(
        "Name: {}\nVersion: {}\nRelease: {}\nSummary: stand-in\nLicense: none\nAutoReqProv: no\n",
        package.name, package.version, package.release
    );
    for dependency in &package.depends {
        // Debian's `library (>= 2)`.
        spec += &format!("Requires: {}\n", dependency.replace(['(', ')'], ""));
    }
    let scripts = unit::scripts(package, Format::Rpm);
    let scripts = [
        ("%pre", scripts.pre),
        ("%post", scripts.post),
        ("%preun", scripts.preun),
        ("%posttrans", scripts.posttrans),
    ];
    if scripts.iter().any(|(_, lines)| lines.is_some()) {
        // The shell that runs them came with dpkg, of which rpm knows nothing.
        spec += "Provides: /bin/sh\n";
    }
    for provided in &package.provides {
        spec += &format!("Provides: {provided}\n");
    }
    spec += &format!(
        "%description\nstand-in\n%install\ncp -rT {} %{{buildroot}}\n",
        tree.display()
    );
    for (script, lines) in scripts {
        if let Some(lines) = lines {
            spec += &format!("{script}\nset -e\n{lines}\n");
        }
    }
    spec += "%files\n";
    for file in files(tree) {
        let file = file.strip_prefix(tree).unwrap();
        let kind = if file.starts_with("etc") {
            "%config(noreplace) "
        } else {
            ""
        };
        spec += &format!("{kind}/{}\n", file.display());
    }
    spec
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
