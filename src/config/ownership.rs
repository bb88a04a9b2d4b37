//! Who may own what decides which package root installs.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;

use crate::config::ConfigError;

/// Asserts that only root can write a file, and can rename it or any directory above it.
pub fn check(path: &Path, metadata: &Metadata) -> Result<(), ConfigError> {
    let error = |path: &Path, metadata: &Metadata, problem: String| {
        let shown = path.display();
        let mut commands = Vec::new();
        if !is_roots(metadata.uid()) {
            commands.push(format!("chown root {shown}"));
        }
        if metadata.mode() & 0o022 != 0 {
            commands.push(format!("chmod go-w {shown}"));
        }
        ConfigError::new(
            path,
            problem,
            format!("Fix with: {}", commands.join(" && ")),
        )
    };
    if let Some(problem) = not_roots(metadata) {
        return Err(error(path, metadata, problem));
    }
    // Of the file that links lead to: renaming one of these directories replaces the file.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    for directory in real.ancestors().skip(1) {
        let Ok(metadata) = fs::metadata(directory) else {
            continue;
        };
        // In a sticky directory such as /tmp, only the owner of a file can rename it. The group root is root's.
        let is_guarded =
            metadata.mode() & 0o1000 != 0 || (metadata.gid() == 0 && metadata.mode() & 0o002 == 0);
        if let Some(problem) = not_roots(&metadata)
            && !(is_guarded && is_roots(metadata.uid()))
        {
            return Err(error(directory, &metadata, problem));
        }
    }
    Ok(())
}

/// What is wrong with the owner or the mode of a file that only root may write; root, or the ordinary user who tries out this program.
pub fn not_roots(metadata: &Metadata) -> Option<String> {
    let (owner, mode) = (metadata.uid(), metadata.mode());
    if !is_roots(owner) {
        Some(format!("owned by user {owner}, not by root"))
    } else if mode & 0o022 != 0 {
        Some(format!(
            "writable by users other than root (mode {:04o})",
            mode & 0o7777
        ))
    } else {
        None
    }
}

fn is_roots(owner: u32) -> bool {
    owner == 0 || owner == geteuid().as_raw()
}
