//! The error messages of apt, dnf, yum, zypper and rpm, and what they mean.
//!
//! Their exit statuses are too coarse. Messages that are not known here make a `PackageError::Failed` that quotes them.

use crate::packages::PackageError;
use crate::system::process::command::Output;

/// A bad or missing signature.
const UNSIGNED: [&str; 16] = [
    "not signed",
    "no longer signed",
    "is unsigned",
    "signed with an unknown key",
    "NO_PUBKEY",
    "EXPKEYSIG",
    "BADSIG",
    "REVKEYSIG",
    "ignature verification",
    "couldn't be verified",
    "cannot be authenticated",
    "GPG check FAILED",
    "GPG signature",
    "not correct for this package",
    "Public key for",
    "NOKEY",
];
/// A full disk.
const DISK_FULL: [&str; 6] = [
    "No space left on device",
    "enough free space",
    "more space needed",
    "more space on the",
    // From downloads of dnf and zypper.
    "Curl error (23)",
    "hardlink/copy",
];
/// A file that is missing, or not the one in the index.
const MISMATCH: [&str; 8] = [
    "Hash Sum mismatch",
    "unexpected size",
    "checksum doesn't match",
    "hecksum mismatch",
    "Digest verification failed",
    "404",
    "not found on medium",
    "Error downloading packages",
];
/// A failed script of a package.
const SCRIPT: [&str; 2] = ["script subprocess", "scriptlet failed"];
/// Missing dependencies, or conflicts.
const UNMET: [&str; 4] = [
    "nothing provides",
    " Depends: ",
    "conflicting requests",
    " conflicts with ",
];
/// A server that does not respond.
const UNREACHABLE: [&str; 6] = [
    "Could not connect",
    "Couldn't connect",
    "Connection refused",
    "imeout",
    "imed out",
    "Could not resolve",
];

/// The error of a failed refresh of the repository in `source`.
pub fn refresh_error(output: &Output, source: &str) -> PackageError {
    let (source, detail) = (source.to_string(), error_lines(output));
    // Output before a timeout says nothing about the reason.
    if output.code().is_some() && has_any(output, &UNSIGNED) {
        PackageError::UntrustedRepository { source, detail }
    } else if output.code().is_some() && has_any(output, &DISK_FULL) {
        PackageError::DiskFull(detail)
    } else {
        PackageError::Unreachable { source, detail }
    }
}

/// Whether a line is about a bad or missing signature.
pub fn is_unsigned(line: &str) -> bool {
    UNSIGNED.iter().any(|sign| line.contains(sign))
}

/// The error of a failed install.
pub fn install_error(output: &Output, source: &str) -> PackageError {
    let (source, detail) = (source.to_string(), error_lines(output));
    if has_any(output, &DISK_FULL) {
        PackageError::DiskFull(detail)
    } else if has_any(output, &UNSIGNED) {
        PackageError::UntrustedPackage { source, detail }
    } else if has_any(output, &SCRIPT) {
        PackageError::Script(detail)
    } else if has_any(output, &UNMET) {
        PackageError::UnmetDependencies(detail)
    } else if has_any(output, &UNREACHABLE) {
        PackageError::Unreachable { source, detail }
    } else if has_any(output, &MISMATCH) {
        PackageError::Mismatch { source, detail }
    } else {
        PackageError::Failed(detail)
    }
}

/// Fails with the errors in the output of a command that failed.
pub fn succeeded(output: &Output) -> Result<(), PackageError> {
    if output.success() {
        Ok(())
    } else {
        Err(PackageError::Failed(error_lines(output)))
    }
}

fn has_any(output: &Output, signs: &[&str]) -> bool {
    signs.iter().any(|sign| output.says(sign))
}

/// The lines of the output that describe the error: those with known messages, else those that are marked as errors.
pub fn error_lines(output: &Output) -> String {
    const MARKED: [&str; 7] = [
        "E: ",
        "W: ",
        "Err:",
        "Error:",
        "error:",
        "Problem:",
        "dpkg: error",
    ];
    let known = [
        &UNSIGNED[..],
        &DISK_FULL,
        &MISMATCH,
        &SCRIPT,
        &UNMET,
        &UNREACHABLE,
    ]
    .concat();
    let matching = |signs: &[&str]| {
        let mut lines: Vec<String> = output
            .lines()
            .map(plain)
            .filter(|line| signs.iter().any(|sign| line.contains(sign)))
            .collect();
        let all = lines.clone();
        // Many errors are printed twice, the second time with their source.
        lines.retain(|line| {
            !all.iter()
                .any(|other| other != line && other.contains(line.as_str()))
        });
        lines.dedup();
        lines[..lines.len().min(3)].join(" / ")
    };
    let found = [matching(&known), matching(&MARKED)]
        .into_iter()
        .find(|lines| !lines.is_empty());
    // Output before a timeout says nothing about the reason.
    found
        .filter(|_| output.code().is_some())
        .unwrap_or_else(|| output.summary())
}

/// A line without zypper's XML.
fn plain(line: &str) -> String {
    let text = if line.starts_with('<') {
        line.split_once('>').map_or(line, |(_, text)| text)
    } else {
        line
    };
    let text = text.split_once("</").map_or(text, |(text, _)| text).trim();
    [
        ("&apos;", "'"),
        ("&quot;", "\""),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_string(), |text, (entity, character)| {
        text.replace(entity, character)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::process::command::Command;

    fn failed(text: &str) -> Output {
        Command::new("sh", ["-c", "printf %s \"$1\"; exit 1", "sh", text])
            .run()
            .unwrap()
    }

    #[test]
    fn repeated_lines_and_xml_are_left_out() {
        let apt = "Err:1 https://x\n  Hash Sum mismatch\nE: Failed to fetch https://x  Hash Sum mismatch\n";
        assert_eq!(
            error_lines(&failed(apt)),
            "E: Failed to fetch https://x  Hash Sum mismatch"
        );
        let zypper = "<stream>\n<message type=\"error\">File &apos;x.rpm&apos; not found on medium &apos;y&apos;</message>\n</stream>\n";
        assert_eq!(
            error_lines(&failed(zypper)),
            "File 'x.rpm' not found on medium 'y'"
        );
        assert_eq!(
            error_lines(&failed("one\ntwo\n")),
            "sh ended with status 1: one / two"
        );
    }

    #[test]
    fn a_full_disk_a_bad_package_and_a_dead_server_are_distinguished() {
        let disk = "[FAILED] x.rpm: Curl error (23): Failed writing received data\nError: Error downloading packages:\n";
        let server = "[FAILED] x.rpm: Curl error (28): Timeout was reached\nError: Error downloading packages:\n";
        let package =
            "[MIRROR] x.rpm: Status code: 404 for https://x\nError: Error downloading packages:\n";
        assert!(matches!(
            install_error(&failed(disk), "x"),
            PackageError::DiskFull(_)
        ));
        assert!(matches!(
            install_error(&failed(server), "x"),
            PackageError::Unreachable { .. }
        ));
        assert!(matches!(
            install_error(&failed(package), "x"),
            PackageError::Mismatch { .. }
        ));
        assert!(matches!(
            install_error(&failed("something new"), "x"),
            PackageError::Failed(_)
        ));
    }
}
