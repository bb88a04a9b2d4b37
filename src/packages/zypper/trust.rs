//! zypper's: `gpgcheck` and `pkg_gpgcheck` of a repository, else of all.
//!
//! No setting and no variable stands for `--no-gpg-checks`: it is for the command line alone, and ours has none.

use std::path::PathBuf;

use anyhow::Result;

use crate::packages::rpm::ini::{Ini, Style, Switch};
use crate::packages::trust::{Weakness, files};

/// Settings for all repositories: the first of these, and parts that newer ones read after it.
const MAIN: [&str; 2] = ["/etc/zypp/zypp.conf", "/usr/etc/zypp/zypp.conf"];
const PARTS: [&str; 2] = ["/usr/etc/zypp/zypp.conf.d", "/etc/zypp/zypp.conf.d"];

/// What would let unauthenticated packages in: of the repository with the id `only` where that is all that is used, else of
/// all that are enabled.
pub fn weaknesses(directories: &[&str], only: Option<&str>) -> Result<Vec<Weakness>> {
    let read = |files: Vec<PathBuf>| {
        files
            .iter()
            .map(|file| Ini::read(file, Style::Plain))
            .collect::<Result<Vec<_>>>()
    };
    let mut main: Vec<PathBuf> = MAIN
        .iter()
        .map(PathBuf::from)
        .find(|file| file.exists())
        .into_iter()
        .collect();
    for directory in PARTS {
        main.extend(files(directory, &["conf"])?);
    }
    let mut repositories = Vec::new();
    for directory in directories {
        repositories.extend(files(directory, &["repo"])?);
    }
    Ok(judge(&read(main)?, &read(repositories)?, only))
}

/// What the settings for all and those of the repositories let in.
pub fn judge(main: &[Ini], repositories: &[Ini], only: Option<&str>) -> Vec<Weakness> {
    let mut found = Vec::new();
    for ini in repositories {
        for id in ini.sections() {
            let own = |key: &str| ini.switch(|section| section == id, &[key]);
            let for_all = |key: &str| {
                main.iter()
                    .rev()
                    .find_map(|ini| ini.switch(|section| section == "main", &[key]))
            };
            let general = own("gpgcheck");
            // A repository that has a `gpgcheck` of its own is not subject to everybody's `pkg_gpgcheck`.
            let packages = own("pkg_gpgcheck").or_else(|| {
                if general.is_none() {
                    for_all("pkg_gpgcheck")
                } else {
                    None
                }
            });
            let general = general.or_else(|| for_all("gpgcheck"));
            let used = only.map_or_else(
                || own("enabled").is_none_or(|switch| switch.on),
                |only| only == id,
            );
            let weak = weak(general, packages);
            for weakness in weak.iter().filter(|_| used).map(Switch::weakness) {
                if !found.contains(&weakness) {
                    found.push(weakness);
                }
            }
        }
    }
    found
}

/// `gpgcheck`, on by default, checks packages where the index is not signed; `pkg_gpgcheck` alone says yes or no for them.
fn weak(general: Option<Switch>, packages: Option<Switch>) -> Vec<Switch> {
    let always = packages.as_ref().is_some_and(|switch| switch.on);
    [general, packages]
        .into_iter()
        .flatten()
        .filter(|switch| !switch.on && !always)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_is_said_nearest_to_the_repository_counts() {
        for (main, repository, expected) in [
            ("", "", vec![]),
            ("gpgcheck=1", "repo_gpgcheck=0", vec![]),
            (
                "gpgcheck = Off",
                "",
                vec!["/zypp.conf says gpgcheck=Off; write gpgcheck=1 there"],
            ),
            ("gpgcheck=0", "gpgcheck=1", vec![]),
            ("gpgcheck=0", "pkg_gpgcheck=1", vec![]),
            (
                "pkg_gpgcheck = no",
                "",
                vec!["/zypp.conf says pkg_gpgcheck=no; write pkg_gpgcheck=1 there"],
            ),
            ("pkg_gpgcheck =", "", vec![]),
            ("pkg_gpgcheck=0", "gpgcheck=1", vec![]),
            (
                "pkg_gpgcheck=1",
                "gpgcheck=0",
                vec!["/t.repo says gpgcheck=0; write gpgcheck=1 there"],
            ),
            ("pkg_gpgcheck=1\ngpgcheck=0", "", vec![]),
            ("pkg_gpgcheck=0", "pkg_gpgcheck=on", vec![]),
            (
                "",
                "gpgcheck=0",
                vec!["/t.repo says gpgcheck=0; write gpgcheck=1 there"],
            ),
            (
                "pkg_gpgcheck=1",
                "pkg_gpgcheck=false",
                vec!["/t.repo says pkg_gpgcheck=false; write pkg_gpgcheck=1 there"],
            ),
        ] {
            let ini = |file: &str, text: String| [Ini::parse(Path::new(file), &text, Style::Plain)];
            let found = judge(
                &ini("/zypp.conf", format!("[main]\n{main}\n")),
                &ini("/t.repo", format!("[teleport]\n{repository}\n")),
                Some("teleport"),
            );
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{main} {repository}");
        }
    }
}
