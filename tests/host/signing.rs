//! The keys that repositories are signed with, made once a process by a gpg that knows no other keys.

use super::{outside, scratch};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// A key to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The key that hosts trust.
    Trusted,
    /// A key that no host knows.
    Unknown,
}

impl Key {
    /// The name it is chosen by, an e-mail address.
    pub fn name(self) -> &'static str {
        match self {
            Key::Trusted => "packages@example.com",
            Key::Unknown => "nobody@example.org",
        }
    }

    /// The public key, as text.
    pub fn public(self) -> String {
        let mut export = gpg();
        export.args(["--armor", "--export", self.name()]);
        outside(&mut export)
    }
}

/// Signs a text file so that the signature surrounds the text, as `InRelease` is signed.
pub fn clearsign(key: Key, file: &Path, signed: &Path) {
    sign(key, "--clearsign", file, signed);
}

/// Signs a file in a file beside it, as `repomd.xml.asc` is.
pub fn detach_sign(key: Key, file: &Path, signature: &Path) {
    sign(key, "--detach-sign", file, signature);
}

/// Signs a package file.
pub fn sign_rpm(key: Key, file: &Path) {
    let mut sign = Command::new("rpmsign");
    sign.env("GNUPGHOME", home())
        .args(["--addsign", "--define", "__gpg /usr/bin/gpg", "--define"]);
    sign.arg(format!("_gpg_name {}", key.name())).arg(file);
    let _turn = turn();
    outside(&mut sign);
}

/// The directory of the keys, to be `GNUPGHOME`.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        // Not in the repository: gpg's agent listens on a socket in it, whose path may have 107 characters at most.
        let home = tempfile::tempdir().unwrap().keep();
        std::os::unix::fs::symlink(&home, scratch::directory().join("gnupg")).unwrap();
        for key in [Key::Trusted, Key::Unknown] {
            let mut make = Command::new("gpg");
            make.env("GNUPGHOME", &home);
            make.args([
                "--batch",
                "--quiet",
                "--passphrase",
                "",
                "--quick-gen-key",
                key.name(),
                "rsa2048",
                "sign",
                "never",
            ]);
            outside(&mut make);
        }
        home
    })
}

fn sign(key: Key, how: &str, file: &Path, signed: &Path) {
    let mut sign = gpg();
    let _turn = turn();
    sign.args([
        "--yes",
        "--armor",
        "--local-user",
        key.name(),
        how,
        "--output",
    ])
    .arg(signed)
    .arg(file);
    outside(&mut sign);
}

/// One at a time: gpg's agent refuses what it has no room for.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gpg() -> Command {
    let mut gpg = Command::new("gpg");
    gpg.env("GNUPGHOME", home()).args(["--batch", "--quiet"]);
    gpg
}
