//! The generations of dnf and yum, which differ in command line and files.

use std::path::{Path, PathBuf};

use crate::packages::{READ_LIMIT, rpm};
use crate::system::process::command::Command;

/// A generation of dnf or yum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// dnf 4.
    Dnf4,
    /// dnf 5.
    Dnf5,
    /// yum 3, of RHEL 7.
    Yum3,
}

/// The program of this host, and its file with links resolved.
pub fn program() -> Option<(&'static str, PathBuf)> {
    rpm::find_program(&["dnf", "dnf5", "yum"])
}

/// The generation of a program, by the name of its file or else by its version.
pub fn of(program: &'static str, file: &Path) -> Dialect {
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    match file.as_ref() {
        "dnf5" => Dialect::Dnf5,
        "dnf4" | "dnf-3" | "dnf-2" => Dialect::Dnf4,
        name => {
            let version = Command::new(program, ["--version"])
                .limit(READ_LIMIT)
                .wordy()
                .run();
            let first = version
                .ok()
                .and_then(|output| output.answer().next().map(str::to_string))
                .unwrap_or_default();
            by_version(name, &first)
        }
    }
}

/// Reads "dnf5 version 5.4.6.0", "4.14.0" and yum's "3.4.3".
pub fn by_version(name: &str, first_line: &str) -> Dialect {
    match first_line.trim() {
        line if line.starts_with("dnf5 ") => Dialect::Dnf5,
        line if name == "yum" && !line.starts_with("4.") => Dialect::Yum3,
        _ => Dialect::Dnf4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_tells_dnf_4_dnf_5_and_yum_3_apart() {
        assert_eq!(by_version("dnf", "dnf5 version 5.4.6.0"), Dialect::Dnf5);
        assert_eq!(by_version("yum", "dnf5 version 5.2.0"), Dialect::Dnf5);
        assert_eq!(by_version("dnf", "4.14.0"), Dialect::Dnf4);
        assert_eq!(by_version("yum", "4.7.0"), Dialect::Dnf4);
        assert_eq!(by_version("yum", "3.4.3"), Dialect::Yum3);
        assert_eq!(
            (by_version("yum", ""), by_version("dnf", "")),
            (Dialect::Yum3, Dialect::Dnf4),
            "no output"
        );
    }
}
