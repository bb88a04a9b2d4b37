//! What is to be known of the Debian that the hosts are made of.

use super::scratch;
use std::fs;
use std::sync::OnceLock;

/// The release's name, as in `bookworm`.
pub fn codename() -> &'static str {
    static CODENAME: OnceLock<String> = OnceLock::new();
    CODENAME.get_or_init(|| {
        let release = fs::read_to_string(scratch::base().join("etc/os-release")).unwrap();
        let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        codename.expect("VERSION_CODENAME in os-release").to_owned()
    })
}

/// Debian's name for this machine's kind of processor.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
