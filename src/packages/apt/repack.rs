//! Builds a Debian package from its installed files, for a rollback to a version that the repository no longer has.
//!
//! The package as it was downloaded would be better, being still signed, but is not at hand for an agent that others installed, and keeping
//! it would take its 150 MB on every host all the time.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::agent::program::BINARY;
use crate::packages::READ_LIMIT;
use crate::packages::package::Installed;
use crate::system::process::command::{Command, Output};

/// Packing several hundred megabytes takes seconds.
const PACK_LIMIT: Duration = Duration::from_secs(600);

/// Packs the installed package into a file in `directory`, which only root may write to.
pub fn repack(installed: &Installed, directory: &Path) -> Result<PathBuf> {
    let (tree, file) = (
        directory.join("tree"),
        directory.join(format!("{}.deb", installed.name)),
    );
    remove(&tree)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let packed = fill(&installed.name, &tree).and_then(|()| pack(&tree, &file));
    // Even if that failed, the upgrade needs the space.
    remove(&tree)?;
    if packed.is_err() {
        let _ = fs::remove_file(&file);
    }
    packed.map(|()| file)
}

fn fill(name: &str, tree: &Path) -> Result<()> {
    fs::create_dir(tree)?;
    let listed = query(&["--listfiles", name])?;
    let paths: Vec<&str> = listed
        .answer()
        .filter(|line| line.starts_with('/') && *line != "/.")
        .collect();
    for path in &paths {
        // A path with others below it is a directory in the package, though it may be a link on this host, as /lib is.
        let has_others = paths.iter().any(|other| {
            other
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/'))
        });
        match copy(Path::new(path), &tree.join(&path[1..]), has_others) {
            // Excluded by the host's own rules (`path-exclude`), or removed by an administrator: not needed in either case.
            Err(error) if error.kind() == io::ErrorKind::NotFound && *path != BINARY => {}
            copied => copied.with_context(|| format!("cannot copy {path}"))?,
        }
    }
    let control = tree.join("DEBIAN");
    fs::create_dir(&control)?;
    fs::set_permissions(&control, fs::Permissions::from_mode(0o755))?;
    fs::write(
        control.join("control"),
        control_file(query(&["--status", name])?.answer()),
    )?;
    for item in query(&["--control-list", name])?.answer() {
        let path = query(&["--control-path", name, item])?
            .answer()
            .next()
            .unwrap_or_default()
            .to_string();
        copy(Path::new(&path), &control.join(item), false)
            .with_context(|| format!("cannot copy {path}"))?;
    }
    // A file that an administrator has edited must not be taken for the package's own: the next upgrade would overwrite it.
    let conffiles = control.join("conffiles");
    if let Ok(text) = fs::read_to_string(&conffiles) {
        let verified = Command::new("dpkg", ["--verify", name])
            .limit(PACK_LIMIT)
            .run()?;
        let edited = |path: &str| {
            verified
                .answer()
                .any(|line| line.ends_with(&format!(" c {path}")))
        };
        fs::write(
            &conffiles,
            text.lines()
                .filter(|path| !edited(path))
                .map(|path| format!("{path}\n"))
                .collect::<String>(),
        )?;
    }
    Ok(())
}

fn pack(tree: &Path, file: &Path) -> Result<()> {
    let arguments = [
        "-Zgzip".as_ref(),
        "-z1".as_ref(),
        "--build".as_ref(),
        tree.as_os_str(),
        file.as_os_str(),
    ];
    let packed = Command::new("dpkg-deb", arguments)
        .limit(PACK_LIMIT)
        .run()?;
    if !packed.success() {
        bail!("{}", packed.summary());
    }
    // It must survive a power cut, like the record that names it.
    Ok(File::open(file)?.sync_all()?)
}

fn query(arguments: &[&str]) -> Result<Output> {
    let output = Command::new("dpkg-query", arguments)
        .limit(READ_LIMIT)
        .run()?;
    if output.success() {
        Ok(output)
    } else {
        bail!("{}", output.summary())
    }
}

/// The package's entry in the database, without the fields that only the database has.
pub fn control_file<'a>(status: impl Iterator<Item = &'a str>) -> String {
    let mut ours = true;
    let kept = status.filter(|line| {
        if !line.starts_with([' ', '\t']) {
            let field = line.split(':').next().unwrap_or_default();
            ours = ![
                "Status",
                "Conffiles",
                "Config-Version",
                "Triggers-Pending",
                "Triggers-Awaited",
            ]
            .contains(&field);
        }
        ours && !line.trim().is_empty()
    });
    kept.map(|line| format!("{line}\n")).collect()
}

/// Copies a file, a link or a directory (not what is in it), with its owner and mode.
fn copy(from: &Path, to: &Path, follow: bool) -> io::Result<()> {
    let metadata = if follow {
        fs::metadata(from)?
    } else {
        fs::symlink_metadata(from)?
    };
    if metadata.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if metadata.is_dir() {
        fs::create_dir(to)?;
    } else {
        fs::copy(from, to)?;
    }
    chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(to, metadata.permissions())
}

fn remove(tree: &Path) -> io::Result<()> {
    match fs::remove_dir_all(tree) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_file_is_the_databases_entry_without_its_own_fields() {
        let status = "Package: teleport-ent\nStatus: install ok installed\nVersion: 14.3.33\nConffiles:\n /etc/x 0123\n /etc/y 4567\n\
            Description: one\n two\n .\n three\n\n";
        let expected =
            "Package: teleport-ent\nVersion: 14.3.33\nDescription: one\n two\n .\n three\n";
        assert_eq!(control_file(status.lines()), expected);
    }
}
