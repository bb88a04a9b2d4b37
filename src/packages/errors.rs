//! What apt, dnf, yum, zypper and rpm say when something is wrong, and what is meant by it.
//!
//! Their exit statuses tell too little. Words that are not known here make a `PackageError::Failed` that quotes them.

use crate::packages::PackageError;
use crate::system::command::Output;

/// In which words they complain of a signature.
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
/// In which words they complain of a full disk.
const NO_ROOM: [&str; 6] = [
    "No space left on device",
    "enough free space",
    "more space needed",
    "more space on the",
    // What dnf's downloads and zypper's say of it.
    "Curl error (23)",
    "hardlink/copy",
];
/// In which words they complain of a file that is not the one that the index names, or is not there.
const OTHER_THAN_INDEXED: [&str; 8] = [
    "Hash Sum mismatch",
    "unexpected size",
    "checksum doesn't match",
    "hecksum mismatch",
    "Digest verification failed",
    "404",
    "not found on medium",
    "Error downloading packages",
];
/// In which words they complain of a script in a package.
const SCRIPT: [&str; 2] = ["script subprocess", "scriptlet failed"];
/// In which words they complain of what a package needs, or cannot be beside.
const UNSOLVABLE: [&str; 4] = [
    "nothing provides",
    " Depends: ",
    "conflicting requests",
    " conflicts with ",
];
/// In which words they complain of a server that does not answer.
const NO_SERVER: [&str; 6] = [
    "Could not connect",
    "Couldn't connect",
    "Connection refused",
    "imeout",
    "imed out",
    "Could not resolve",
];

/// What a refresh that failed says about the repository of `source`.
pub fn refresh_error(output: &Output, source: &str) -> PackageError {
    let (source, said) = (source.to_string(), complaint(output));
    // A run that was ended may have said anything before.
    if output.code().is_some() && says_any(output, &UNSIGNED) {
        PackageError::Untrusted { source, said }
    } else if output.code().is_some() && says_any(output, &NO_ROOM) {
        PackageError::NoRoom(said)
    } else {
        PackageError::Unreachable { source, said }
    }
}

/// Whether a line complains of a signature.
pub fn is_unsigned(line: &str) -> bool {
    UNSIGNED.iter().any(|sign| line.contains(sign))
}

/// What an install that failed says: about the package, about this host, or something else.
pub fn install_error(output: &Output, source: &str) -> PackageError {
    let (source, said) = (source.to_string(), complaint(output));
    if says_any(output, &NO_ROOM) {
        PackageError::NoRoom(said)
    } else if says_any(output, &UNSIGNED) {
        PackageError::Unauthentic { source, said }
    } else if says_any(output, &SCRIPT) {
        PackageError::Script(said)
    } else if says_any(output, &UNSOLVABLE) {
        PackageError::Unsolvable(said)
    } else if says_any(output, &NO_SERVER) {
        PackageError::Unreachable { source, said }
    } else if says_any(output, &OTHER_THAN_INDEXED) {
        PackageError::Mismatch { source, said }
    } else {
        PackageError::Failed(said)
    }
}

fn says_any(output: &Output, signs: &[&str]) -> bool {
    signs.iter().any(|sign| output.says(sign))
}

/// The lines in which a package manager says what was wrong: those in words that are known, else those that look like it.
pub fn complaint(output: &Output) -> String {
    const MARKS: [&str; 7] = [
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
        &NO_ROOM,
        &OTHER_THAN_INDEXED,
        &SCRIPT,
        &UNSOLVABLE,
        &NO_SERVER,
    ]
    .concat();
    let telling = |signs: &[&str]| {
        let mut lines: Vec<String> = output
            .lines()
            .map(plain)
            .filter(|line| signs.iter().any(|sign| line.contains(sign)))
            .collect();
        let all = lines.clone();
        // Many a complaint is said twice, the second time with where it comes from.
        lines.retain(|line| {
            !all.iter()
                .any(|other| other != line && other.contains(line.as_str()))
        });
        lines.dedup();
        lines[..lines.len().min(3)].join(" / ")
    };
    let said = [telling(&known), telling(&MARKS)]
        .into_iter()
        .find(|said| !said.is_empty());
    // A run that was ended may have said anything before.
    said.filter(|_| output.code().is_some())
        .unwrap_or_else(|| output.summary())
}

/// A line without the XML that zypper puts around it.
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
    use crate::system::command::Command;

    fn failed(text: &str) -> Output {
        Command::new("sh", ["-c", "printf %s \"$1\"; exit 1", "sh", text])
            .run()
            .unwrap()
    }

    #[test]
    fn a_line_that_another_repeats_is_left_out_and_so_is_xml() {
        let apt = "Err:1 https://x\n  Hash Sum mismatch\nE: Failed to fetch https://x  Hash Sum mismatch\n";
        assert_eq!(
            complaint(&failed(apt)),
            "E: Failed to fetch https://x  Hash Sum mismatch"
        );
        let zypper = "<stream>\n<message type=\"error\">File &apos;x.rpm&apos; not found on medium &apos;y&apos;</message>\n</stream>\n";
        assert_eq!(
            complaint(&failed(zypper)),
            "File 'x.rpm' not found on medium 'y'"
        );
        assert_eq!(
            complaint(&failed("one\ntwo\n")),
            "sh ended with status 1: one / two"
        );
    }

    #[test]
    fn a_full_disk_is_told_from_a_bad_package_and_that_from_a_dead_server() {
        let disk = "[FAILED] x.rpm: Curl error (23): Failed writing received data\nError: Error downloading packages:\n";
        let server = "[FAILED] x.rpm: Curl error (28): Timeout was reached\nError: Error downloading packages:\n";
        let package =
            "[MIRROR] x.rpm: Status code: 404 for https://x\nError: Error downloading packages:\n";
        assert!(matches!(
            install_error(&failed(disk), "x"),
            PackageError::NoRoom(_)
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
