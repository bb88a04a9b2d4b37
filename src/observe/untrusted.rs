//! Reads a file that somebody else than root may own: it cannot lead elsewhere, block, or be large.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

/// The text of the file at `path`, if it has at most `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<String> {
    // A link could make root read another file.
    let file = open(path, libc::O_NOFOLLOW)?;
    if file.metadata()?.nlink() > 1 {
        return Err(io::Error::other("it is a hard link to another file; it must be a file of its own"));
    }
    text(file, most)
}

/// The same of a file that may be a link to another. Nothing of it may be shown to whoever made the link.
pub fn read_linked(path: &Path, most: u64) -> io::Result<String> {
    text(open(path, 0)?, most)
}

fn open(path: &Path, flags: i32) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        // A FIFO could make root wait for ever.
        .custom_flags(flags | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => io::Error::other("it is a symbolic link; it must be a file"),
            _ => error,
        })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

fn text(file: File, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not text"))
}
