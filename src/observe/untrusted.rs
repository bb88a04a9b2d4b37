//! Reads a file that somebody else than root may own: it cannot lead elsewhere, block, or be large.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

use crate::text::io_problem;

/// The text of the file at `path`, if it has at most `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<String> {
    // Names the file without opening it: a link could make root read another one, a FIFO could make it wait for ever, and to open a
    // device may be enough to have it do something.
    let named = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
    let metadata = named.metadata()?;
    if metadata.is_symlink() {
        return Err(io::Error::other("it is a symbolic link; it must be a file"));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.nlink() > 1 {
        return Err(io::Error::other("it is a hard link to another file; it must be a file of its own"));
    }
    // The very file that was looked at, whatever has its name by now.
    let file = File::open(format!("/proc/self/fd/{}", named.as_raw_fd()))
        .map_err(|error| io::Error::other(format!("it cannot be opened through /proc: {}", io_problem(&error))))?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not text"))
}
