//! The settings of package managers that let unsigned packages in.
//!
//! Settings that leave packages signed are not among them: how servers are reached (`sslverify`, `Verify-Peer`), how old an index
//! may be (`Acquire::Check-Valid-Until`: the version comes from the release channel, not from the index), and whether an index is
//! signed whose packages are verified one by one (`repo_gpgcheck`).

use std::fmt;
use std::path::{Path, PathBuf};

use crate::system::text::printable;

/// A setting that lets unsigned packages in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness {
    /// The file that has it, or should have it.
    pub file: PathBuf,
    /// The setting as it is spelled there; none if the file lacks one that it should have.
    pub setting: Option<String>,
    /// What to do about it.
    pub remedy: String,
}

impl Weakness {
    /// A setting to be removed.
    pub fn to_remove(file: &Path, setting: String) -> Weakness {
        Weakness {
            file: file.to_path_buf(),
            setting: Some(setting),
            remedy: "Remove it".into(),
        }
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = printable(&self.file.to_string_lossy(), 200);
        match &self.setting {
            Some(setting) => write!(f, "{} is set in {file}", printable(setting, 120))?,
            None => write!(f, "gpgcheck is not set in {file}")?,
        }
        write!(f, ". {}", self.remedy)
    }
}
