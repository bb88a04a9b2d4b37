//! Hooks: executables that belong to root, in directories beside the settings.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::unknown::is_leftover;
use crate::config::{Config, ConfigError, ownership};
use crate::system::text::{io_problem, printable};

/// The directory of the hooks that run before a change, and can postpone it.
pub const PRE_UPGRADE: &str = "pre-upgrade.d";
/// The directory of the hooks that run after a change.
pub const POST_UPGRADE: &str = "post-upgrade.d";

impl Config {
    /// The hooks in one of the directories, in the order of their names.
    pub fn hooks(&self, directory: &str) -> Result<Vec<PathBuf>, ConfigError> {
        read(&self.schedule.with_file_name(directory)).map(|(hooks, _)| hooks)
    }

    /// What is wrong with the hooks, and which files in their directories are ignored.
    pub fn hook_problems(&self) -> Vec<String> {
        let problems = |directory| match read(&self.schedule.with_file_name(directory)) {
            Ok((_, ignored)) => ignored,
            Err(error) => vec![error.to_string()],
        };
        [PRE_UPGRADE, POST_UPGRADE].map(problems).concat()
    }
}

/// The hooks in a directory, and a warning for everything else in it.
fn read(directory: &Path) -> Result<(Vec<PathBuf>, Vec<String>), ConfigError> {
    let unreadable = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => "Try again as root",
            _ => "Make it a directory that contains the hooks",
        };
        ConfigError::new(directory, io_problem(&error), remedy)
    };
    let metadata = match fs::metadata(directory) {
        // A dangling link, for example to a disk that is not mounted, is an error: its hooks would silently not run.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !directory.is_symlink() => {
            return Ok(Default::default());
        }
        metadata => metadata.map_err(unreadable)?,
    };
    if !metadata.is_dir() {
        return Err(unreadable(io::Error::other("not a directory")));
    }
    ownership::check(directory, &metadata)?;
    let entries = fs::read_dir(directory).and_then(Iterator::collect);
    let entries: Vec<fs::DirEntry> = entries.map_err(unreadable)?;
    let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    files.sort();
    let (mut hooks, mut ignored) = (Vec::new(), Vec::new());
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name == "README" || is_leftover(&name) {
            continue;
        }
        let metadata = fs::metadata(&file).map_err(|error| {
            let remedy = "Remove it, or restore the file that it links to";
            ConfigError::new(&file, io_problem(&error), remedy)
        })?;
        if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            ownership::check(&file, &metadata)?;
            hooks.push(file);
        } else {
            let shown = printable(&file.display().to_string(), 200);
            ignored.push(format!(
                "{shown}: not an executable file, ignored. If it is a hook, run: chmod +x {shown}"
            ));
        }
    }
    Ok((hooks, ignored))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    fn write(dir: &Path, name: &str, mode: u32) {
        let file = dir.join(name);
        fs::write(&file, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_executables_are_hooks_in_the_order_of_their_names() {
        let dir = directory();
        for name in ["b", "10-a", "B", "9-z", "\u{e4}"] {
            write(dir.path(), name, 0o755);
        }
        for name in ["a.dpkg-new", "a~", ".a", "#a#", "a.rpmsave", "README"] {
            write(dir.path(), name, 0o755);
        }
        write(dir.path(), "notes", 0o644);
        fs::create_dir(dir.path().join("sub")).unwrap();
        let (hooks, ignored) = read(dir.path()).unwrap();
        let names: Vec<_> = hooks.iter().map(|hook| hook.file_name().unwrap()).collect();
        assert_eq!(names, ["10-a", "9-z", "B", "b", "\u{e4}"]);
        assert_eq!(ignored.len(), 2, "{ignored:?}");
        assert!(ignored[0].contains("/notes: not an executable file, ignored"));
        assert!(read(&dir.path().join("absent")).unwrap().0.is_empty());
    }

    #[test]
    fn hooks_that_others_can_write_and_a_file_in_place_of_the_directory_are_errors() {
        for (name, mode, problem) in [
            ("hook", 0o775, "/hook: writable by users other than root"),
            ("hook", 0o757, "/hook: writable by users other than root"),
            (".", 0o777, "writable by users other than root (mode 0777)"),
        ] {
            let dir = directory();
            write(dir.path(), "hook", 0o755);
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
            let error = read(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains(problem) && error.contains("chmod go-w"),
                "{error}"
            );
        }
        let dir = directory();
        symlink("/nowhere", dir.path().join("hook")).unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("/hook: no such file or directory. Remove it"),
            "{error}"
        );
        let error = read(&dir.path().join("hook")).unwrap_err().to_string();
        assert!(
            error.contains("/hook: no such file or directory. Make it a directory"),
            "{error}"
        );
        write(dir.path(), "file", 0o755);
        let error = read(&dir.path().join("file")).unwrap_err().to_string();
        assert!(
            error.contains("/file: not a directory. Make it a directory"),
            "{error}"
        );
    }
}
