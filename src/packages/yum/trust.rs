//! dnf's and yum's: `gpgcheck` of a repository, else of all.

use std::path::PathBuf;

use anyhow::Result;

use crate::packages::common::files::with_extension;
use crate::packages::common::glob;
use crate::packages::common::trust::Weakness;
use crate::packages::rpm::ini::{Ini, Style, for_all, judge_each, read_all};
use crate::packages::yum::dialect::Dialect;
use crate::system::text::printable;

/// `gpgcheck`, and what dnf 5 calls it.
const KEYS: [&str; 2] = ["gpgcheck", "pkg_gpgcheck"];
/// Settings for all repositories: those that come with dnf 5, and the administrator's.
const DNF_PARTS: [&str; 2] = ["/usr/share/dnf5/libdnf.conf.d", "/etc/dnf/libdnf5.conf.d"];
const DNF: &str = "/etc/dnf/dnf.conf";
const YUM: [&str; 2] = ["/etc/yum/yum.conf", "/etc/yum.conf"];
/// Where repositories are configured by default.
pub const REPOSITORIES: &str = "/etc/yum.repos.d";
const OTHERS_OF_YUM: [&str; 2] = ["/etc/yum/repos.d", "/etc/distro.repos.d"];
const OTHERS_OF_DNF5: [&str; 2] = ["/etc/distro.repos.d", "/usr/share/dnf5/repos.d"];
/// Where dnf 5 overrides settings of repositories.
const OVERRIDES: [&str; 2] = [
    "/usr/share/dnf5/repos.override.d",
    "/etc/dnf/repos.override.d",
];

/// What lets unsigned packages in: in the repository with the ID `only` if only that is used, else in all that are enabled.
pub fn weaknesses(dialect: Dialect, only: Option<&str>) -> Result<Vec<Weakness>> {
    let main_files = main_files(dialect)?;
    let main = read_all(&main_files, Style::Folded)?;
    let mut repositories = Vec::new();
    for directory in directories(dialect, &main) {
        repositories.extend(with_extension(directory, &["repo"])?);
    }
    // A repository may be configured among the settings for all.
    repositories.extend(main_files);
    let overrides = match dialect {
        Dialect::Dnf5 => by_name(&OVERRIDES, "repo")?,
        _ => Vec::new(),
    };
    Ok(judge(
        &main,
        &read_all(&repositories, Style::Folded)?,
        &read_all(&overrides, Style::Folded)?,
        only,
    ))
}

/// The directories with the files of repositories.
pub fn repositories(dialect: Dialect) -> Result<Vec<PathBuf>> {
    let main = read_all(&main_files(dialect)?, Style::Folded)?;
    Ok(directories(dialect, &main))
}

/// The directories in the settings for all, else the defaults.
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

/// What the settings for all, those of the repositories and their overrides let in.
pub fn judge(
    main: &[Ini],
    repositories: &[Ini],
    overrides: &[Ini],
    only: Option<&str>,
) -> Vec<Weakness> {
    let for_all = for_all(main, &KEYS);
    judge_each(repositories, |ini, id| {
        // Each option of a repository may be overridden elsewhere.
        let overridden = |fits: &dyn Fn(&str) -> bool, keys: &[&str]| {
            overrides
                .iter()
                .rev()
                .find_map(|ini| ini.switch(fits, keys))
        };
        let effective = |keys: &[&str]| {
            overridden(&|pattern| fits(pattern, id), keys)
                .or_else(|| ini.switch(|section| section == id, keys))
        };
        let used = only.map_or_else(
            || effective(&["enabled"]).is_none_or(|switch| switch.on),
            |only| may_be(id, only),
        );
        if !used {
            return None;
        }
        let hidden = overridden(&|pattern| pattern.contains('$'), &KEYS).filter(|one| !one.on);
        match hidden
            .or_else(|| effective(&KEYS))
            .or_else(|| for_all.clone())
        {
            Some(switch) if switch.on => None,
            Some(switch) => Some(switch.weakness()),
            // The default is not to check.
            None => Some(Weakness {
                file: ini.file().to_path_buf(),
                setting: None,
                remedy: format!("Set gpgcheck=1 below [{}]", printable(id, 60)),
            }),
        }
    })
}

/// Whether an override, which may be for `t?le*` or `*`, is for this repository.
fn fits(pattern: &str, id: &str) -> bool {
    pattern == id || glob::fits(pattern, id)
}

/// Whether a heading is of this repository. The value of a variable of dnf's in it is not known here.
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
        for file in with_extension(directory, &[extension])? {
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
    use std::path::Path;

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
                    .split(". ")
                    .next()
                    .unwrap_or_default()
                    .to_string()
            })
            .collect()
    }

    #[test]
    fn the_setting_nearest_to_the_repository_counts() {
        const ON: &str = "[teleport]\ngpgcheck=1\n";
        const OFF: &str = "[teleport]\ngpgcheck=0\n";
        const SILENT: &str = "[teleport]\nname=Teleport\n";
        let unset = "gpgcheck is not set in /t.repo";
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
                Some("gpgcheck=No is set in /dnf.conf"),
            ),
            (
                "[main]\ngpgcheck=1\n",
                OFF,
                "",
                Some("gpgcheck=0 is set in /t.repo"),
            ),
            (
                "[main]\ngpgcheck=0\n",
                OFF,
                "",
                Some("gpgcheck=0 is set in /t.repo"),
            ),
            ("", SILENT, "", Some(unset)),
            ("[other]\ngpgcheck=1\n", SILENT, "", Some(unset)),
            (
                "",
                ON,
                "[tele*]\npkg_gpgcheck=off\n",
                Some("pkg_gpgcheck=off is set in /o.repo"),
            ),
            (
                "",
                ON,
                "[t?leport]\npkg_gpgcheck=no\n",
                Some("pkg_gpgcheck=no is set in /o.repo"),
            ),
            (
                "",
                ON,
                "[*port]\ngpgcheck=0\n",
                Some("gpgcheck=0 is set in /o.repo"),
            ),
            (
                "",
                ON,
                "[[st]eleport]\ngpgcheck=0\n",
                Some("gpgcheck=0 is set in /o.repo"),
            ),
            (
                "",
                ON,
                "[$x]\ngpgcheck=0\n",
                Some("gpgcheck=0 is set in /o.repo"),
            ),
            (
                "",
                OFF,
                "[$x]\ngpgcheck=1\n",
                Some("gpgcheck=0 is set in /t.repo"),
            ),
            ("", ON, "[[!t]eleport]\ngpgcheck=0\n", None),
            (
                "",
                "[tele$x]\ngpgcheck=0\n",
                "",
                Some("gpgcheck=0 is set in /t.repo"),
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
    fn repositories_are_in_the_configured_directories() {
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
        assert_eq!(judged("", text, "", None), ["gpgcheck=0 is set in /t.repo"]);
        assert_eq!(
            judged("[main]\ngpgcheck=0\n", "[a]\n[b]\n", "", None),
            ["gpgcheck=0 is set in /dnf.conf"]
        );
    }
}
