//! Files of package managers: listed, read, replaced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::system::files::{Durability, replace_as};

/// The text of a file, whatever its encoding; none if there is no such file.
pub fn read(file: &Path) -> Result<Option<String>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// The entries of a directory, sorted by name; none if there is no such directory.
pub fn list(directory: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let directory = directory.as_ref();
    let read = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let mut entries = match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        entries => entries.with_context(|| format!("cannot read {}", directory.display()))?,
    };
    entries.sort_unstable();
    Ok(entries)
}

/// The files of a directory that have one of these extensions (`""` for none), sorted by name.
pub fn with_extension(directory: impl AsRef<Path>, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = list(directory)?;
    let fits = |file: &Path| {
        let extension = file.extension().unwrap_or_default().to_string_lossy();
        extensions.contains(&extension.as_ref())
    };
    files.retain(|file| fits(file) && file.is_file());
    Ok(files)
}

/// The entries of a directory whose names start with this.
pub fn starting_with(directory: &Path, start: &str) -> Result<Vec<PathBuf>> {
    let mut files = list(directory)?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(start)
    });
    Ok(files)
}

/// Removes files.
pub fn remove<F: AsRef<Path>>(files: impl IntoIterator<Item = F>) -> Result<()> {
    for file in files {
        let file = file.as_ref();
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

/// Replaces a file in one step, with the permissions that it has.
pub fn replace(file: &Path, text: &str) -> Result<()> {
    let write = || {
        let permissions = fs::metadata(file)?.permissions();
        replace_as(file, text, Durability::Synced, permissions)
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}
