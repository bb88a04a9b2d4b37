//! What hosts have in common, made once a process: the program installed, the names and keys known, and an agent of some
//! version installed by a package manager. A host is an overlay of a layer, a layer an overlay of the base.

use super::debian::System;
use super::manager::{Format, Manager};
use super::network::Network;
use super::package::Package;
use super::repository::Repository;
use super::server::{NAMES, Server};
use super::tls::{Cert, authority};
use super::{outside, program, project, scratch};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The address of the repository's server.
pub const PACKAGES_SERVER: &str = "127.0.0.2:443";

/// The edition that `Host::with_agent` installs.
pub const EDITION: &str = "teleport-ent";

/// A file system to boot hosts from, and the repository its agent came from.
pub struct Layer {
    lower: OsString,
    /// Holds the agent's package of that version, if there is one.
    pub repository: Repository,
}

/// The layer of this system with the agent of this version, or with none, and the repository of its package manager.
pub fn layer(system: System, agent: Option<&str>) -> Arc<OnceLock<Layer>> {
    type Layers = HashMap<(System, Option<String>), Arc<OnceLock<Layer>>>;
    static LAYERS: OnceLock<Mutex<Layers>> = OnceLock::new();
    let slot = {
        let mut layers = LAYERS
            .get_or_init(Mutex::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            layers
                .entry((system, agent.map(str::to_owned)))
                .or_default(),
        )
    };
    slot.get_or_init(|| Layer::make(system, agent));
    slot
}

impl Layer {
    fn make(system: System, agent: Option<&str>) -> Layer {
        let base = scratch::base(system.generation).as_os_str();
        let (directory, _) = scratch::new_host_directory();
        let root = mount_overlay(&directory, base);
        prepare(&root);
        system.manager.set_up(&root, system.generation.codename());
        let repository = Repository::new(system, &directory.join("repository"));
        if let Some(version) = agent {
            install_agent(system.manager, &root, &repository, version);
        }
        // Programs that search the directories of this machine at this moment would keep it busy; nobody writes to it.
        umount2(&root, MntFlags::MNT_DETACH).unwrap();
        let mut lower = directory.join("upper").into_os_string();
        lower.push(":");
        lower.push(base);
        Layer { lower, repository }
    }

    /// Mounts a new overlay of the layer, and returns its root.
    pub fn mount(&self, directory: &Path) -> PathBuf {
        mount_overlay(directory, &self.lower)
    }
}

/// Mounts, below a directory, a file system in memory (dpkg's fsyncs cost nothing there) and an overlay that writes to it.
fn mount_overlay(directory: &Path, lower: &std::ffi::OsStr) -> PathBuf {
    mount(
        Some("teleport-upgrade-test"),
        directory,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )
    .unwrap();
    let [upper, work, root] = ["upper", "work", "root"].map(|name| directory.join(name));
    for made in [&upper, &work, &root] {
        fs::create_dir(made).unwrap();
    }
    let mut options = OsString::from("lowerdir=");
    options.push(lower);
    options.push(format!(
        ",upperdir={},workdir={}",
        upper.display(),
        work.display()
    ));
    mount(
        Some("overlay"),
        &root,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_os_str()),
    )
    .unwrap();
    root
}

fn prepare(root: &Path) {
    install_program(root);
    let trust_store = root.join("etc/ssl/certs/ca-certificates.crt");
    let trusted = fs::read_to_string(&trust_store).unwrap();
    fs::write(&trust_store, format!("{trusted}{}", authority())).unwrap();
    let names: String = NAMES
        .iter()
        .map(|(name, address)| format!("{address} {name}\n"))
        .collect();
    fs::write(
        root.join("etc/hosts"),
        format!("127.0.0.1 localhost\n::1 localhost\n{names}"),
    )
    .unwrap();
}

/// Installs what the Debian package has below these directories, without building that.
fn install_program(root: &Path) {
    let is_program =
        |place: &str| place.starts_with("/usr/sbin/") || place.starts_with("/usr/lib/");
    for [file, place, mode] in package_files(Format::Deb)
        .iter()
        .filter(|[_, place, _]| is_program(place))
    {
        let file = if file.starts_with("target/") {
            program()
        } else {
            project().join(file)
        };
        let mut install = Command::new("install");
        install.args(["-D", "--mode", mode]).arg(&file);
        outside(install.arg(root.join(&place[1..])));
    }
    fs::create_dir_all(root.join("etc/teleport-upgrade.d")).unwrap();
}

/// The files of a package, as `packaging/contents` lists them: where each is, where it goes, its mode.
pub fn package_files(format: Format) -> Vec<[String; 3]> {
    let contents = fs::read_to_string(project().join("packaging/contents")).unwrap();
    let only = match format {
        Format::Deb => "deb",
        Format::Rpm => "rpm",
    };
    contents
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let mut next = || words.next();
            let file = [next()?, next()?, next()?];
            next().is_none_or(|word| word == only).then_some(file)
        })
        .collect()
}

fn install_agent(manager: Manager, root: &Path, repository: &Repository, version: &str) {
    repository.publish(&[Package::agent(EDITION, version)]);
    let network = Network::new();
    let server = Server::https(&network, PACKAGES_SERVER, Cert::Good);
    server.directory(manager.served_below(), repository.root());
    let chroot = |lines: &str| {
        // dnf leaves daemons of gpg behind: they end with their namespace.
        let mut command = network.command("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "chroot"])
            .arg(root)
            .args(["/bin/sh", "-euc", lines])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMPDIR");
        outside(&mut command);
    };
    if manager == Manager::Zypper {
        // dnf does so by itself; zypper must never be made to.
        chroot(&format!("rpm --import {}", super::rpm::KEY_FILE));
    }
    chroot(manager.refresh());
    chroot(&manager.install(EDITION, Some(version)));
    chroot("systemctl enable teleport.service");
    let yaml = "version: v3\nteleport:\n  nodename: host\n  data_dir: /var/lib/teleport\nssh_service:\n  enabled: true\n\
                auth_service:\n  enabled: false\nproxy_service:\n  enabled: false\n";
    fs::write(root.join("etc/teleport.yaml"), yaml).unwrap();
    let endpoint = root.join("etc/teleport-upgrade.d/endpoint");
    fs::create_dir_all(endpoint.parent().unwrap()).unwrap();
    fs::write(endpoint, "releases.example.com/current\n").unwrap();
}
