//! dnf's and yum's: `gpgcheck` of a repository, else of all.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::packages::glob;
use crate::packages::rpm::ini::{Ini, Style};
use crate::packages::trust::{Weakness, files};
use crate::system::text::printable;

/// `gpgcheck`, and what dnf 5 calls it.
const KEYS: [&str; 2] = ["gpgcheck", "pkg_gpgcheck"];
/// Settings for all repositories: those that come with dnf 5, and the administrator's.
const DNF_PARTS: [&str; 2] = ["/usr/share/dnf5/libdnf.conf.d", "/etc/dnf/libdnf5.conf.d"];
const DNF: &str = "/etc/dnf/dnf.conf";
const YUM: [&str; 2] = ["/etc/yum/yum.conf", "/etc/yum.conf"];
/// Where repositories are configured, if nothing else is set.
pub const REPOSITORIES: &str = "/etc/yum.repos.d";
const OTHERS_OF_YUM: [&str; 2] = ["/etc/yum/repos.d", "/etc/distro.repos.d"];
const OTHERS_OF_DNF5: [&str; 2] = ["/etc/distro.repos.d", "/usr/share/dnf5/repos.d"];
/// Where dnf 5 overrides what repositories' files say.
const OVERRIDES: [&str; 2] = [
    "/usr/share/dnf5/repos.override.d",
    "/etc/dnf/repos.override.d",
];

/// Which of them it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// dnf 4.
    Dnf4,
    /// dnf 5.
    Dnf5,
    /// yum 3, of RHEL 7.
    Yum3,
}

/// What would let unauthenticated packages in: of the repository with the id `only` where that is all that is used, else of
/// all that are enabled.
pub fn weaknesses(dialect: Dialect, only: Option<&str>) -> Result<Vec<Weakness>> {
    let main = read(main_files(dialect)?)?;
    let mut repositories = Vec::new();
    for directory in directories(dialect, &main) {
        repositories.extend(files(directory, &["repo"])?);
    }
    // A repository may be configured among the settings for all.
    repositories.extend(main_files(dialect)?);
    let repositories = read(repositories)?;
    let overrides = if dialect == Dialect::Dnf5 {
        read(by_name(&OVERRIDES, "repo")?)?
    } else {
        Vec::new()
    };
    Ok(judge(&main, &repositories, &overrides, only))
}

/// The directories with the files of repositories.
pub fn repositories(dialect: Dialect) -> Result<Vec<PathBuf>> {
    Ok(directories(dialect, &read(main_files(dialect)?)?))
}

/// Those that the settings for all name, else the usual ones.
fn directories(dialect: Dialect, main: &[Ini]) -> Vec<PathBuf> {
    let set = main
        .iter()
        .rev()
        .find_map(|ini| ini.value("main", "reposdir"))
        .unwrap_or_default();
    let set: Vec<PathBuf> = set
        .split([',', ' ', '\t'])
        .filter(|directory| !directory.is_empty())
        .map(PathBuf::from)
        .collect();
    let others = if dialect == Dialect::Dnf5 {
        OTHERS_OF_DNF5
    } else {
        OTHERS_OF_YUM
    };
    if set.is_empty() {
        [REPOSITORIES]
            .iter()
            .chain(&others)
            .map(PathBuf::from)
            .collect()
    } else {
        set
    }
}

fn read(files: Vec<PathBuf>) -> Result<Vec<Ini>> {
    files
        .iter()
        .map(|file| Ini::read(file, Style::Folded))
        .collect()
}

/// What the settings for all, those of the repositories and what overrides these let in.
pub fn judge(
    main: &[Ini],
    repositories: &[Ini],
    overrides: &[Ini],
    only: Option<&str>,
) -> Vec<Weakness> {
    let mut found = Vec::new();
    let for_all = main
        .iter()
        .rev()
        .find_map(|ini| ini.switch(|section| section == "main", &KEYS));
    for ini in repositories {
        for id in ini.sections() {
            // Each of its options may be overridden somewhere else.
            let nearest = |fits: &dyn Fn(&str) -> bool, keys: &[&str]| {
                overrides
                    .iter()
                    .rev()
                    .find_map(|ini| ini.switch(fits, keys))
            };
            let with = |keys: &[&str]| {
                nearest(&|pattern| fits(pattern, id), keys)
                    .or_else(|| ini.switch(|section| section == id, keys))
            };
            let used = only.map_or_else(
                || with(&["enabled"]).is_none_or(|switch| switch.on),
                |only| may_be(id, only),
            );
            let hidden =
                nearest(&|pattern| pattern.contains('$'), &KEYS).filter(|switch| !switch.on);
            let weakness = match hidden.or_else(|| with(&KEYS)).or_else(|| for_all.clone()) {
                Some(switch) if switch.on => None,
                Some(switch) => Some(switch.weakness()),
                None => Some(unset(ini.file(), id)),
            };
            found.extend(weakness.filter(|weakness| used && !found.contains(weakness)));
        }
    }
    found
}

/// The default is not to check.
fn unset(file: &Path, id: &str) -> Weakness {
    Weakness {
        file: file.to_path_buf(),
        setting: None,
        remedy: format!("write gpgcheck=1 below [{}]", printable(id, 60)),
    }
}

/// Whether an override, which may be for `t?le*` or `*`, is for this repository.
fn fits(pattern: &str, id: &str) -> bool {
    pattern == id || glob::fits(pattern, id)
}

/// Whether a heading is of this repository. What a variable of dnf's in it stands for is not known here.
fn may_be(heading: &str, id: &str) -> bool {
    heading == id || heading.contains('$')
}

/// In the order in which they are read: the last one wins.
fn main_files(dialect: Dialect) -> Result<Vec<PathBuf>> {
    Ok(match dialect {
        Dialect::Yum3 => YUM
            .iter()
            .map(PathBuf::from)
            .find(|file| file.exists())
            .into_iter()
            .collect(),
        Dialect::Dnf4 => vec![DNF.into()],
        Dialect::Dnf5 => [by_name(&DNF_PARTS, "conf")?, vec![DNF.into()]].concat(),
    })
}

/// The files of both directories, by their names whatever the directory; a later one hides one of the same name.
fn by_name(directories: &[&str], extension: &str) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for directory in directories {
        for file in files(directory, &[extension])? {
            found.retain(|other| other.file_name() != file.file_name());
            found.push(file);
        }
    }
    found.sort_unstable_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(main: &str, repository: &str, overrides: &str, only: Option<&str>) -> Vec<String> {
        let ini = |file: &str, text: &str| [Ini::parse(Path::new(file), text, Style::Folded)];
        let found = judge(
            &ini("/dnf.conf", main),
            &ini("/t.repo", repository),
            &ini("/o.repo", overrides),
            only,
        );
        found
            .iter()
            .map(|weakness| {
                weakness
                    .to_string()
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .to_string()
            })
            .collect()
    }

    #[test]
    fn what_is_said_nearest_to_the_repository_counts() {
        const ON: &str = "[teleport]\ngpgcheck=1\n";
        const OFF: &str = "[teleport]\ngpgcheck=0\n";
        const SILENT: &str = "[teleport]\nname=Teleport\n";
        let unset = "/t.repo does not say that packages are checked";
        for (main, repository, overrides, weakness) in [
            ("[main]\ngpgcheck=1\n", ON, "", None),
            ("[main]\ngpgcheck=1\n", SILENT, "", None),
            ("[main]\ngpgcheck=0\n", ON, "", None),
            (
                "[main]\ngpgcheck=1\n",
                "[teleport]\ngpgcheck=1\nrepo_gpgcheck=0\nlocalpkg_gpgcheck=0\nsslverify=0\n",
                "",
                None,
            ),
            (
                "[main]\ngpgcheck=1\n",
                "[teleport]\ngpgcheck=maybe\n",
                "",
                None,
            ),
            (
                "[main]\ngpgcheck = No\n",
                SILENT,
                "",
                Some("/dnf.conf says gpgcheck=No"),
            ),
            (
                "[main]\ngpgcheck=1\n",
                OFF,
                "",
                Some("/t.repo says gpgcheck=0"),
            ),
            (
                "[main]\ngpgcheck=0\n",
                OFF,
                "",
                Some("/t.repo says gpgcheck=0"),
            ),
            ("", SILENT, "", Some(unset)),
            ("[other]\ngpgcheck=1\n", SILENT, "", Some(unset)),
            (
                "",
                ON,
                "[tele*]\npkg_gpgcheck=off\n",
                Some("/o.repo says pkg_gpgcheck=off"),
            ),
            (
                "",
                ON,
                "[t?leport]\npkg_gpgcheck=no\n",
                Some("/o.repo says pkg_gpgcheck=no"),
            ),
            (
                "",
                ON,
                "[*port]\ngpgcheck=0\n",
                Some("/o.repo says gpgcheck=0"),
            ),
            (
                "",
                ON,
                "[[st]eleport]\ngpgcheck=0\n",
                Some("/o.repo says gpgcheck=0"),
            ),
            (
                "",
                ON,
                "[$x]\ngpgcheck=0\n",
                Some("/o.repo says gpgcheck=0"),
            ),
            (
                "",
                OFF,
                "[$x]\ngpgcheck=1\n",
                Some("/t.repo says gpgcheck=0"),
            ),
            ("", ON, "[[!t]eleport]\ngpgcheck=0\n", None),
            (
                "",
                "[tele$x]\ngpgcheck=0\n",
                "",
                Some("/t.repo says gpgcheck=0"),
            ),
            ("", OFF, "[teleport]\ngpgcheck=1\n", None),
            ("", ON, "[other]\ngpgcheck=0\n", None),
        ] {
            let expected: Vec<&str> = weakness.into_iter().collect();
            assert_eq!(
                judged(main, repository, overrides, Some("teleport")),
                expected,
                "{main} {repository} {overrides}"
            );
        }
    }

    #[test]
    fn repositories_are_where_the_settings_for_all_say() {
        let read = |text: &str| {
            directories(
                Dialect::Dnf5,
                &[Ini::parse(Path::new("/dnf.conf"), text, Style::Folded)],
            )
        };
        assert_eq!(
            read("[main]\nreposdir = /a, /b\n /c\n"),
            ["/a", "/b", "/c"].map(PathBuf::from)
        );
        assert_eq!(
            read("[main]\nreposdir=\n").last(),
            Some(&PathBuf::from(OTHERS_OF_DNF5[1]))
        );
        assert_eq!(
            read("[x]\nreposdir=/a\n").first(),
            Some(&PathBuf::from(REPOSITORIES))
        );
    }

    #[test]
    fn other_repositories_count_if_they_are_used() {
        let text = "[teleport]\ngpgcheck=1\n[a]\ngpgcheck=0\n[b]\ngpgcheck=false\nenabled=0\n";
        assert_eq!(judged("", text, "", Some("teleport")), [""; 0]);
        assert_eq!(judged("", text, "", None), ["/t.repo says gpgcheck=0"]);
        assert_eq!(
            judged("[main]\ngpgcheck=0\n", "[a]\n[b]\n", "", None),
            ["/dnf.conf says gpgcheck=0"]
        );
    }
}
