//! Everything that a host's file system holds beyond what it was booted from, for two moments to be compared.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What changes by itself in a running system, or when anything at all is run in it.
const RESTLESS: [&str; 6] = [
    "/var/log",
    "/run/systemd",
    "/run/log",
    "/run/host",
    "/run/credentials",
    "/var/lib/systemd/timers",
];

/// The file systems in memory that lie over the overlay in a booted host.
const IN_MEMORY: [&str; 2] = ["/run", "/tmp"];

/// Each file with its kind, mode, owner, size, time of change and a hash of its content.
pub type Snapshot = BTreeMap<PathBuf, String>;

/// Describes what an overlay's upper directory holds, and the file systems in memory of the host.
pub fn take(upper: &Path, host: &Path) -> Snapshot {
    let mut snapshot = Snapshot::new();
    walk(upper, Path::new("/"), &mut snapshot);
    for directory in IN_MEMORY {
        snapshot.retain(|path, _| !path.starts_with(directory));
        walk(
            &host.join(&directory[1..]),
            Path::new(directory),
            &mut snapshot,
        );
    }
    snapshot
}

/// What differs, one line each, for the message of a test that fails.
pub fn difference(before: &Snapshot, after: &Snapshot) -> String {
    let gone = before.iter().filter(|(path, _)| !after.contains_key(*path));
    let gone = gone.map(|(path, was)| format!("- {} {was}\n", path.display()));
    let changed = after
        .iter()
        .filter(|(path, is)| before.get(*path) != Some(is));
    let changed = changed.map(|(path, is)| match before.get(path) {
        Some(was) => format!("~ {} {was} -> {is}\n", path.display()),
        None => format!("+ {} {is}\n", path.display()),
    });
    gone.chain(changed).collect()
}

fn walk(from: &Path, name: &Path, snapshot: &mut Snapshot) {
    // What ends while it is looked at is as good as gone.
    let Ok(metadata) = fs::symlink_metadata(from) else {
        return;
    };
    if RESTLESS.iter().any(|restless| name == Path::new(restless)) {
        return;
    }
    snapshot.insert(name.into(), describe(from, &metadata));
    if metadata.is_dir() {
        for entry in fs::read_dir(from).into_iter().flatten().flatten() {
            walk(&entry.path(), &name.join(entry.file_name()), snapshot);
        }
    }
}

fn describe(path: &Path, metadata: &Metadata) -> String {
    let kind = metadata.file_type();
    let content = if kind.is_symlink() {
        fs::read_link(path)
            .map(|to| format!(" -> {}", to.display()))
            .unwrap_or_default()
    } else if kind.is_file() {
        fs::read(path)
            .map(|content| format!(" {} bytes, hash {:x}", content.len(), hash(&content)))
            .unwrap_or_default()
    } else if kind.is_char_device() || kind.is_block_device() {
        // A character device 0 is how an overlay notes that a file was deleted.
        format!(" device {}", metadata.rdev())
    } else {
        String::new()
    };
    let (mode, uid, gid) = (metadata.mode(), metadata.uid(), metadata.gid());
    format!(
        "{mode:o} {uid}:{gid} {}.{:09}{content}",
        metadata.mtime(),
        metadata.mtime_nsec()
    )
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
