//! Files of our own: written in one step, so that readers find either the old or the new text, and read up to a limit.

pub(crate) mod state;
pub(crate) mod untrusted;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::libc::O_NONBLOCK;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::system::text::printable;

/// Far more than any file of ours takes: a handful of versions, and some sentences.
const MAX_BYTES: u64 = 1024 * 1024;

/// Whether the disk must have a file before its writer continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It must: what is done next depends on it.
    Synced,
    /// It need not: losing it costs nothing.
    Unsynced,
}

/// Makes a directory that everybody can list, whatever the umask is. An existing one stays as it is.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Replaces a file, or makes it, with mode 0644 whatever the umask is.
pub fn replace(path: &Path, text: &str, durability: Durability) -> io::Result<()> {
    replace_as(path, text, durability, Permissions::from_mode(0o644))
}

/// Replaces a file that programs of others read too; its mode is to be `permissions`.
pub fn replace_as(
    path: &Path,
    text: &str,
    durability: Durability,
    permissions: Permissions,
) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // An interrupted run may have left one. Created afresh, it cannot be a link that others put there.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.set_permissions(permissions)?;
    file.write_all(text.as_bytes())?;
    if durability == Durability::Unsynced {
        return fs::rename(&new, path);
    }
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Replaces a file with a value as JSON.
pub fn write_json(path: &Path, value: &impl Serialize, durability: Durability) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    replace(path, &text, durability)
}

/// The value in a JSON file, or why the file is corrupt.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Result<T, String>> {
    let mut bytes = Vec::new();
    // Otherwise a FIFO would block it forever.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_NONBLOCK);
    options
        .open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Ok(Err(format!("larger than {MAX_BYTES} bytes")));
    }
    Ok(serde_json::from_slice(&bytes).map_err(|error| printable(&error.to_string(), 120)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_replaced_and_no_link_of_others_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (secret, file) = (dir.path().join("secret"), dir.path().join("file"));
        fs::write(&secret, "kept").unwrap();
        for name in ["file", "file.new"] {
            symlink(&secret, dir.path().join(name)).unwrap();
        }
        for durability in [Durability::Unsynced, Durability::Synced] {
            replace(&file, "text", durability).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), "text");
            let mode = fs::symlink_metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode, 0o100_644);
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "kept");
        let entries = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(entries, 2, "no temporary file is left");
    }

    #[test]
    fn json_is_read_back_and_corrupt_files_are_explained() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file.json");
        let missing = read_json::<Vec<u32>>(&file).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        write_json(&file, &[1, 2], Durability::Unsynced).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&file).unwrap(), Ok(vec![1, 2]));
        fs::write(&file, "[1,").unwrap();
        assert!(read_json::<Vec<u32>>(&file).unwrap().is_err());
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(read_json::<Vec<u32>>(&fifo).unwrap().is_err());
        fs::File::create(&file)
            .unwrap()
            .set_len(MAX_BYTES + 1)
            .unwrap();
        let large = read_json::<Vec<u32>>(&file).unwrap().unwrap_err();
        assert_eq!(large, "larger than 1048576 bytes");
    }
}
