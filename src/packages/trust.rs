//! The settings of package managers that let packages in which nobody whom the host trusts has signed.
//!
//! Not among them is what leaves packages signed: how servers are spoken to (`sslverify`, `Verify-Peer`), how old an index
//! may be (`Acquire::Check-Valid-Until`: the release channel names the version, not the index), and whether an index is signed
//! whose packages are checked one by one (`repo_gpgcheck`).

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::system::text::printable;

/// A setting that lets unauthenticated packages in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness {
    /// The file that has it, or should have it.
    pub file: PathBuf,
    /// The setting as it is spelled there; none if the file lacks one that it should have.
    pub setting: Option<String>,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.to_string_lossy();
        match &self.setting {
            Some(setting) => write!(
                f,
                "{} says {}; {}",
                printable(&file, 200),
                printable(setting, 120),
                self.remedy
            ),
            None => write!(
                f,
                "{} does not say that packages are checked; {}",
                printable(&file, 200),
                self.remedy
            ),
        }
    }
}

/// The text of a file, whatever its encoding; none if there is no such file.
pub fn read(file: &Path) -> Result<Option<String>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// The files of a directory that have one of these extensions (`""` for none), in the order of their names.
pub fn files(directory: impl AsRef<Path>, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let directory = directory.as_ref();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", directory.display()));
        }
    };
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    let extension = |file: &Path| {
        file.extension()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    files.retain(|file| file.is_file() && extensions.contains(&extension(file).as_str()));
    files.sort_unstable_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(files)
}
