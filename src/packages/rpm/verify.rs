//! What `rpm` and `rpmkeys` verify: files on the disk, and signatures of packages.

use std::path::Path;

use crate::packages::{PackageError, READ_LIMIT};
use crate::system::process::command::{Command, Output};
use crate::system::text::reasons;

/// Compares the package's files with the database. rpm puts new files in place before it records any of them.
pub fn files(name: &str) -> Result<(), String> {
    let output = Command::new("rpm", ["-V", "--nodeps", "--noscripts", name])
        .run()
        .map_err(|error| reasons(&error))?;
    output.lines().find_map(differs).map_or(Ok(()), |file| {
        Err(format!("{file} differs from the one in package {name}"))
    })
}

/// Reads `S.5....T.    /usr/local/bin/tctl` or `missing     /usr/local/bin/tctl`: the file, if its contents differ. Changes of a
/// configuration file (`c`), or of a file's times and owners, were made by an administrator.
pub fn differs(line: &str) -> Option<&str> {
    let (result, rest) = line.split_once(' ')?;
    let file = &rest[rest.find('/')?..];
    let other = result == "missing" || (result.len() > 7 && result.contains('5'));
    (other && !rest.trim_start().starts_with("c ")).then_some(file)
}

/// Fails unless the package in a file is signed by a key in rpm's database.
pub fn signature(file: &Path, source: &str) -> Result<(), PackageError> {
    let check = Command::new(
        "rpmkeys",
        [Path::new("--checksig"), Path::new("--verbose"), file],
    )
    .limit(READ_LIMIT)
    .run()?;
    if is_signed(&check) {
        Ok(())
    } else {
        Err(PackageError::UntrustedPackage {
            source: source.to_string(),
            detail: problems(&check),
        })
    }
}

/// Whether rpmkeys found a signature, and no problem. Its status is 0 for an unsigned package too.
pub fn is_signed(check: &Output) -> bool {
    let mut verdicts = check
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .peekable();
    let mut signed = false;
    check.success()
        && verdicts.peek().is_some()
        && verdicts.all(|line| {
            signed |= line.to_lowercase().contains("signature");
            line.ends_with(": OK")
        })
        && signed
}

/// The problems that rpmkeys found with a package.
pub fn problems(check: &Output) -> String {
    let wrong: Vec<&str> = check
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| !line.ends_with(": OK"))
        .collect();
    if wrong.is_empty() {
        "it is not signed".to_string()
    } else {
        format!("rpmkeys: {}", wrong.join(" / "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &str) -> Output {
        Command::new("printf", ["%s", text]).run().unwrap()
    }

    #[test]
    fn a_file_of_another_version_differs() {
        assert_eq!(
            differs("S.5....T.    /usr/local/bin/tctl"),
            Some("/usr/local/bin/tctl")
        );
        assert_eq!(
            differs("missing     /usr/local/bin/tctl"),
            Some("/usr/local/bin/tctl")
        );
        for line in [
            ".M....GT.    /usr/local/bin/tctl",
            "S.5....T.  c /etc/teleport.yaml",
            "missing   c /etc/teleport.yaml",
            "",
        ] {
            assert_eq!(differs(line), None, "{line}");
        }
    }

    #[test]
    fn only_a_package_with_a_good_signature_is_signed() {
        let file = "/x/teleport.rpm:\n";
        let (signature, digest) = (
            "    Header V4 RSA/SHA512 Signature, key ID aab12ca9",
            "    Header SHA256 digest",
        );
        for (text, signed) in [
            (format!("{file}{signature}: OK\n{digest}: OK\n"), true),
            (
                format!(
                    "{file}    Header OpenPGP V4 RSA/SHA512 signature, key fingerprint: 00aa: OK\n"
                ),
                true,
            ),
            (format!("{file}{digest}: OK\n"), false),
            (format!("{file}{signature}: NOKEY\n{digest}: OK\n"), false),
            (
                format!("{file}{signature}: OK\n{digest}: BAD (Expected 1 != 2)\n"),
                false,
            ),
            (file.to_string(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_signed(&output(&text)), signed, "{text}");
        }
    }
}
