//! zypper's: `gpgcheck` and `pkg_gpgcheck` of a repository, else of all.
//!
//! No setting and no variable corresponds to `--no-gpg-checks`, which our command line does not have.

use std::path::PathBuf;

use anyhow::Result;

use crate::packages::common::files::with_extension;
use crate::packages::common::trust::Weakness;
use crate::packages::rpm::ini::{Ini, Style, Switch, for_all, judge_each, read_all};

/// Settings for all repositories: the first of these, and parts that newer ones read after it.
const MAIN: [&str; 2] = ["/etc/zypp/zypp.conf", "/usr/etc/zypp/zypp.conf"];
const PARTS: [&str; 2] = ["/usr/etc/zypp/zypp.conf.d", "/etc/zypp/zypp.conf.d"];

/// What lets unsigned packages in: in the repository with the ID `only` if only that is used, else in all that are enabled.
pub fn weaknesses(directories: &[&str], only: Option<&str>) -> Result<Vec<Weakness>> {
    let main = MAIN.iter().map(PathBuf::from).find(|file| file.exists());
    let mut main: Vec<PathBuf> = main.into_iter().collect();
    for directory in PARTS {
        main.extend(with_extension(directory, &["conf"])?);
    }
    let mut repositories = Vec::new();
    for directory in directories {
        repositories.extend(with_extension(directory, &["repo"])?);
    }
    let read = |files: &[PathBuf]| read_all(files, Style::Plain);
    Ok(judge(&read(&main)?, &read(&repositories)?, only))
}

/// What the settings for all and those of the repositories let in.
pub fn judge(main: &[Ini], repositories: &[Ini], only: Option<&str>) -> Vec<Weakness> {
    judge_each(repositories, |ini, id| {
        let own = |key: &str| ini.switch(|section| section == id, &[key]);
        let used = match only {
            Some(only) => only == id,
            None => own("enabled").is_none_or(|switch| switch.on),
        };
        if !used {
            return Vec::new();
        }
        let general = own("gpgcheck");
        // The `pkg_gpgcheck` for all does not apply to a repository that has a `gpgcheck` of its own.
        let packages = match general {
            None => own("pkg_gpgcheck").or_else(|| for_all(main, &["pkg_gpgcheck"])),
            Some(_) => own("pkg_gpgcheck"),
        };
        weak(general.or_else(|| for_all(main, &["gpgcheck"])), packages)
    })
}

/// `gpgcheck`, on by default, verifies packages if the index is not signed; `pkg_gpgcheck` overrides it for packages.
fn weak(general: Option<Switch>, packages: Option<Switch>) -> Vec<Weakness> {
    let always = packages.as_ref().is_some_and(|switch| switch.on);
    let off = |switch: &Switch| !switch.on && !always;
    [general, packages]
        .iter()
        .flatten()
        .filter(|switch| off(switch))
        .map(Switch::weakness)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_setting_nearest_to_the_repository_counts() {
        for (main, repository, expected) in [
            ("", "", vec![]),
            ("gpgcheck=1", "repo_gpgcheck=0", vec![]),
            (
                "gpgcheck = Off",
                "",
                vec!["gpgcheck=Off is set in /zypp.conf. Set gpgcheck=1"],
            ),
            ("gpgcheck=0", "gpgcheck=1", vec![]),
            ("gpgcheck=0", "pkg_gpgcheck=1", vec![]),
            (
                "pkg_gpgcheck = no",
                "",
                vec!["pkg_gpgcheck=no is set in /zypp.conf. Set pkg_gpgcheck=1"],
            ),
            ("pkg_gpgcheck =", "", vec![]),
            ("pkg_gpgcheck=0", "gpgcheck=1", vec![]),
            (
                "pkg_gpgcheck=1",
                "gpgcheck=0",
                vec!["gpgcheck=0 is set in /t.repo. Set gpgcheck=1"],
            ),
            ("pkg_gpgcheck=1\ngpgcheck=0", "", vec![]),
            ("pkg_gpgcheck=0", "pkg_gpgcheck=on", vec![]),
            (
                "",
                "gpgcheck=0",
                vec!["gpgcheck=0 is set in /t.repo. Set gpgcheck=1"],
            ),
            (
                "pkg_gpgcheck=1",
                "pkg_gpgcheck=false",
                vec!["pkg_gpgcheck=false is set in /t.repo. Set pkg_gpgcheck=1"],
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
