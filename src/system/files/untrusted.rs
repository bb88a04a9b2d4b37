//! Reads a file that users other than root may own: it cannot lead elsewhere, block, or be large.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

/// The text of the file at `path`, if it has at most `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<String> {
    // A link could make root read another file.
    let (file, metadata) = open(path, libc::O_NOFOLLOW)?;
    if metadata.nlink() > 1 {
        return Err(io::Error::other(
            "hard link to another file; must be a file of its own",
        ));
    }
    text(file, most)
}

/// The same of a file that may be a link. Nothing of it may be shown to the owner of the link.
pub fn read_linked(path: &Path, most: u64) -> io::Result<String> {
    text(open(path, 0)?.0, most)
}

fn open(path: &Path, flags: i32) -> io::Result<(File, Metadata)> {
    // Refers to the file without opening it: a FIFO could block forever, and opening a device may already have an effect.
    let named = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | flags)
        .open(path)?;
    let metadata = named.metadata()?;
    if metadata.is_symlink() {
        return Err(io::Error::other("symbolic link; must be a regular file"));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    // The very file that was checked, whatever has its name by now.
    match File::open(format!("/proc/self/fd/{}", named.as_raw_fd())) {
        Ok(file) => Ok((file, metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(io::Error::other("cannot open without /proc"))
        }
        Err(error) => Err(error),
    }
}

fn text(file: File, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("larger than {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("not text"))
}
