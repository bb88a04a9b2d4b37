//! Settings in sections, as dnf, yum and zypper read them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::packages::common::files::read;
use crate::packages::common::trust::Weakness;

/// A file with lines `key = value` below headings `[section]`.
#[derive(Debug)]
pub struct Ini {
    file: PathBuf,
    entries: Vec<(String, String, String)>,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// dnf's and yum's: an indented line continues the value before it.
    Folded,
    /// zypper's: indentation means nothing.
    Plain,
}

/// A setting that may be on or off, where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    file: PathBuf,
    key: String,
    value: String,
    /// Whether it is on.
    pub on: bool,
}

impl Ini {
    /// Reads a file; a missing file has no settings.
    pub fn read(file: &Path, style: Style) -> Result<Ini> {
        Ok(Ini::parse(file, &read(file)?.unwrap_or_default(), style))
    }

    /// Parses text that was read from this file.
    pub fn parse(file: &Path, text: &str, style: Style) -> Ini {
        let mut entries: Vec<(String, String, String)> = Vec::new();
        let mut section = String::new();
        for line in text.trim_start_matches('\u{feff}').lines() {
            let bare = line.trim();
            if bare.is_empty() || bare.starts_with(['#', ';']) {
                continue;
            }
            if style == Style::Folded && line.starts_with([' ', '\t']) {
                if let Some((_, _, value)) = entries.last_mut() {
                    *value = format!("{value} {bare}");
                }
            } else if let Some((name, _)) = bare
                .strip_prefix('[')
                .and_then(|rest| rest.rsplit_once(']'))
            {
                section = name.to_string();
                // For a section without settings to be known.
                entries.push((section.clone(), String::new(), String::new()));
            } else if let Some((key, value)) = bare.split_once(['=', ':']) {
                entries.push((
                    section.clone(),
                    key.trim().to_string(),
                    value.trim().to_string(),
                ));
            }
        }
        Ini {
            file: file.to_path_buf(),
            entries,
        }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Its sections but `[main]`.
    pub fn sections(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .entries
            .iter()
            .map(|(section, _, _)| section.as_str())
            .collect();
        names.retain(|name| !["", "main"].contains(name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The last value of a setting in a section.
    pub fn value(&self, section: &str, key: &str) -> Option<&str> {
        let found = self
            .entries
            .iter()
            .rfind(|(of, name, _)| of == section && name == key);
        found.map(|(_, _, value)| value.as_str())
    }

    /// All values of these keys, in any section.
    pub fn values<'a>(&'a self, keys: &'a [&str]) -> impl Iterator<Item = &'a str> {
        let ours = |(_, key, _): &&(String, String, String)| keys.contains(&key.as_str());
        self.entries
            .iter()
            .filter(ours)
            .map(|(_, _, value)| value.as_str())
    }

    /// The last setting of one of `keys` in a section that fits, if its value is a boolean; any other value leaves the default.
    pub fn switch(&self, fits: impl Fn(&str) -> bool, keys: &[&str]) -> Option<Switch> {
        let of = |(section, key, _): &&(String, String, String)| {
            fits(section) && keys.contains(&key.as_str())
        };
        let (_, key, value) = self.entries.iter().rfind(of)?;
        Some(Switch {
            file: self.file.clone(),
            key: key.clone(),
            value: value.clone(),
            on: truth(value)?,
        })
    }
}

/// Reads files.
pub fn read_all(files: &[PathBuf], style: Style) -> Result<Vec<Ini>> {
    files.iter().map(|file| Ini::read(file, style)).collect()
}

/// The setting for all repositories: the last of one of `keys` in a section `[main]`.
pub fn for_all(main: &[Ini], keys: &[&str]) -> Option<Switch> {
    let of_main = |ini: &Ini| ini.switch(|section| section == "main", keys);
    main.iter().rev().find_map(of_main)
}

/// What `judge` finds in the repositories, given a file and an id; each weakness once.
pub fn judge_each<W: IntoIterator<Item = Weakness>>(
    repositories: &[Ini],
    judge: impl Fn(&Ini, &str) -> W,
) -> Vec<Weakness> {
    let mut found = Vec::new();
    for ini in repositories {
        for weakness in ini.sections().into_iter().flat_map(|id| judge(ini, id)) {
            if !found.contains(&weakness) {
                found.push(weakness);
            }
        }
    }
    found
}

impl Switch {
    /// The weakness of a check that is off.
    pub fn weakness(&self) -> Weakness {
        let Switch {
            file, key, value, ..
        } = self;
        Weakness {
            file: file.clone(),
            setting: Some(format!("{key}={value}")),
            remedy: format!("Set {key}=1"),
        }
    }
}

/// The booleans of dnf and zypper.
fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        // A variable of dnf's, whose value is not known here, and which is not needed for this.
        variable if variable.contains('$') => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switch(text: &str, style: Style) -> Option<bool> {
        let ini = Ini::parse(Path::new("/x"), text, style);
        ini.switch(|section| section == "teleport", &["gpgcheck"])
            .map(|switch| switch.on)
    }

    #[test]
    fn reads_odd_spellings() {
        for (text, on) in [
            ("[teleport]\ngpgcheck=0\n", Some(false)),
            (
                "\u{feff}[teleport]\r\n\r\ngpgcheck  =  False\r\n",
                Some(false),
            ),
            (
                "  [teleport]  \nname=x\n# gpgcheck=1\n;gpgcheck=1\ngpgcheck=oFF",
                Some(false),
            ),
            (
                "[teleport]\ngpgcheck=no\n[other]\ngpgcheck=1\n",
                Some(false),
            ),
            ("[other]\ngpgcheck=0\n[teleport]\nname=gpgcheck=0\n", None),
            ("[teleport]\ngpgcheck=1\ngpgcheck=0\n", Some(false)),
            (
                "[teleport]\ngpgcheck=0\n[other]\n[teleport]\ngpgcheck=YES\n",
                Some(true),
            ),
            ("[Teleport]\ngpgcheck=0\n", None),
            (
                "[teleport]\nrepo_gpgcheck=0\nlocalpkg_gpgcheck=0\nsslverify=0\n",
                None,
            ),
            ("[teleport]\ngpgcheck=\n", None),
            ("[teleport]\ngpgcheck=0 # for now\n", None),
            ("[teleport]\ngpgcheck=$check\n", Some(false)),
            ("gpgcheck=0\n", None),
        ] {
            assert_eq!(switch(text, Style::Plain), on, "{text:?}");
        }
    }

    #[test]
    fn an_indented_line_continues_a_value_or_not() {
        let text = "[teleport]\ngpgcheck=0\n gpgcheck=1\n";
        assert_eq!(
            (switch(text, Style::Folded), switch(text, Style::Plain)),
            (None, Some(true))
        );
        let text = "[teleport]\nname=x\n gpgcheck=0\n";
        assert_eq!(
            (switch(text, Style::Folded), switch(text, Style::Plain)),
            (None, Some(false))
        );
    }

    #[test]
    fn lists_its_sections() {
        let ini = Ini::parse(
            Path::new("/x"),
            "[main]\n[b]\n[a]\nx=1\n[b]\n",
            Style::Folded,
        );
        assert_eq!(ini.sections(), ["a", "b"]);
    }
}
