//! Who started this run.

use std::env;
use std::fs;

use nix::unistd::{Uid, User};

use crate::system::process::scope;
use crate::system::text::printable;

/// The service that the timer starts.
pub const SERVICE: &str = "teleport-upgrade.service";
/// A longer name is cut.
const LONGEST: usize = 64;

/// The user who started this run; nothing if the timer did.
pub fn of_this_run() -> Option<String> {
    (!scope::is_in(SERVICE)).then(|| {
        let login = fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
        name(env::var("SUDO_USER").ok(), &login)
    })
}

/// By sudo, else by the login that this process descends from, which no change of user hides.
fn name(by_sudo: Option<String>, login: &str) -> String {
    let by_login = || {
        let uid = login.trim().parse().ok().filter(|uid| *uid != u32::MAX)?;
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Some(user.map_or_else(|| format!("uid {uid}"), |user| user.name))
    };
    let name = by_sudo.filter(|name| !name.is_empty()).or_else(by_login);
    printable(&name.unwrap_or_else(|| "root".into()), LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_counts_before_the_login() {
        for (by_sudo, login, expected) in [
            (Some("alice"), "0", "alice"),
            (Some(""), "0\n", "root"),
            (None, "4294967295", "root"),
            (None, "3999999999", "uid 3999999999"),
            (None, "", "root"),
            (Some("a\nb"), "", "a\\nb"),
        ] {
            assert_eq!(name(by_sudo.map(String::from), login), expected);
        }
    }
}
