//! The agent's program: its version, and whether it runs at all.

use std::io;
use std::path::Path;
use std::time::Duration;

use log::warn;
use nix::unistd::geteuid;

use crate::system::files::state::FileState;
use crate::system::process::command::{Command, Output};
use crate::system::text::{printable, reasons};
use crate::version::Version;

/// Where every edition's package puts the agent.
pub const BINARY: &str = "/usr/local/bin/teleport";
/// A program that only prints its version takes some tens of milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

/// Why the program did not print its version.
enum Failure {
    /// It does not run: it is missing, truncated, or not executable.
    Broken(String),
    /// That may be the host's fault at this moment, or it runs and prints something else.
    Unknown(String),
}

/// Why the program does not run, if it does not. An interrupted install leaves it missing or truncated, in a package whose version the
/// database lists as installed.
///
/// It is run only if its file is not the one that was seen to run, which is then `known`.
pub fn problem(known: &mut Option<FileState>) -> Option<String> {
    // Looked at before it is run: if it changes meanwhile, it is run again by the next run.
    let file = FileState::of(Path::new(BINARY));
    if file.is_some() && *known == file {
        return None;
    }
    *known = None;
    match ask() {
        Err(Failure::Broken(problem)) => return Some(problem),
        Err(Failure::Unknown(problem)) => warn!("{problem}"),
        Ok(_) => *known = file.filter(FileState::is_settled),
    }
    None
}

/// The version that the program prints, or why there is none.
pub fn version() -> Result<Version, String> {
    ask().map_err(|failure| match failure {
        Failure::Broken(problem) | Failure::Unknown(problem) => problem,
    })
}

/// `version --raw` prints the version alone, in every edition from 10 on.
fn ask() -> Result<Version, Failure> {
    let raw = run(&["version", "--raw"])?;
    if raw.success()
        && let Some(version) = raw.lines().find_map(|line| line.trim().parse().ok())
    {
        return Ok(version);
    }
    let output = run(&["version"])?;
    if !output.success() {
        let is_broken = !raw.timed_out() && !output.timed_out();
        let failure = if is_broken {
            Failure::Broken
        } else {
            Failure::Unknown
        };
        return Err(failure(output.summary()));
    }
    output.lines().find_map(version_in).ok_or_else(|| {
        let printed = printable(output.lines().next().unwrap_or_default(), 80);
        Failure::Unknown(format!(
            "cannot determine the version of {BINARY}: it printed \"{printed}\""
        ))
    })
}

fn run(arguments: &[&str]) -> Result<Output, Failure> {
    let ran = Command::new(BINARY, arguments).limit(LIMIT).run();
    ran.map_err(|error| {
        let problem = reasons(&error);
        match error.root_cause().downcast_ref() {
            Some(cause) if is_the_files(cause) => Failure::Broken(problem),
            _ => Failure::Unknown(problem),
        }
    })
}

/// Whether a program was not started because of its file: the kernel has many errors for a truncated one.
fn is_the_files(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE};
    use std::io::ErrorKind::{ExecutableFileBusy, OutOfMemory, PermissionDenied, WouldBlock};
    match (error.kind(), error.raw_os_error()) {
        (OutOfMemory | WouldBlock | ExecutableFileBusy, _) | (_, Some(EMFILE | ENFILE)) => false,
        // An ordinary user may not be allowed to run it.
        (PermissionDenied, _) => geteuid().is_root(),
        _ => true,
    }
}

/// The version in a line like `Teleport Enterprise v14.3.33 git:v14.3.33-0-gabcdef go1.21.5`.
fn version_in(line: &str) -> Option<Version> {
    line.strip_prefix("Teleport ")?
        .split_whitespace()
        .find(|word| word.starts_with('v'))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_word_after_the_edition() {
        for (line, expected) in [
            (
                "Teleport v14.3.33 git:v14.3.33-0-gabcdef go1.21.5",
                Some("14.3.33"),
            ),
            (
                "Teleport Enterprise v14.3.33 git:v14.3.33-0-gabcdef go1.21.5",
                Some("14.3.33"),
            ),
            ("Teleport", None),
            ("teleport v14.3.33", None),
        ] {
            let version = version_in(line).map(|version| version.to_string());
            assert_eq!(version.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_host_that_cannot_start_a_program_says_nothing_of_the_file() {
        use nix::libc::{EACCES, EAGAIN, EIO, ELIBBAD, EMFILE, ENOENT, ENOEXEC, ENOMEM, ETXTBSY};
        for error in [ENOENT, ENOEXEC, ELIBBAD, EIO] {
            assert!(
                is_the_files(&io::Error::from_raw_os_error(error)),
                "{error}"
            );
        }
        for error in [ENOMEM, EAGAIN, EMFILE, ETXTBSY] {
            assert!(
                !is_the_files(&io::Error::from_raw_os_error(error)),
                "{error}"
            );
        }
        let denied = io::Error::from_raw_os_error(EACCES);
        assert_eq!(is_the_files(&denied), geteuid().is_root());
    }
}
