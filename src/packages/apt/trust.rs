//! apt's: options of sources, and settings for all of them.
//!
//! `APT::Authentication::TrustCDROM`, which Debian's installer sets, applies to discs only, and is allowed.

use std::iter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::packages::apt::sources;
use crate::packages::apt::sources::is_yes;
use crate::packages::common::files::{read, with_extension};
use crate::packages::common::trust::Weakness;
use crate::system::process::command::Command;

/// Settings that let unsigned packages or indexes in.
const SETTINGS: [&str; 5] = [
    "APT::Get::AllowUnauthenticated",
    "APT::Get::Force-Yes",
    "Acquire::AllowInsecureRepositories",
    "Acquire::AllowWeakRepositories",
    "Acquire::AllowDowngradeToInsecureRepositories",
];
/// The prefix of settings for `apt-get` alone, which take precedence.
const OURS: &str = "binary::apt-get::";
/// A few milliseconds, if nothing is wrong.
const LIMIT: Duration = Duration::from_secs(30);

/// What lets unsigned packages in: from the sources in the file `only` if only those are used, else from all.
pub fn weaknesses(only: Option<&Path>) -> Result<Vec<Weakness>> {
    let sources = match only {
        Some(file) => vec![file.to_path_buf()],
        None => [
            vec!["/etc/apt/sources.list".into()],
            with_extension("/etc/apt/sources.list.d", &["list", "sources"])?,
        ]
        .concat(),
    };
    let mut found = Vec::new();
    for file in sources {
        let text = read(&file)?.unwrap_or_default();
        let options = sources::weak(&file, &text).into_iter();
        found.extend(options.map(|option| Weakness::to_remove(&file, option)));
    }
    // As apt reads them: its files may include others, and have scopes and comments of three kinds.
    let output = Command::new("apt-config", ["dump"])
        .limit(LIMIT)
        .wordy()
        .run()?;
    if !output.success() {
        bail!("cannot read apt's settings: {}", output.summary());
    }
    for (name, value) in weak_settings(output.answer()) {
        let setting = format!("{name} \"{value}\"");
        found.push(Weakness::to_remove(&file_with(name)?, setting));
    }
    Ok(found)
}

/// Those of `SETTINGS` that are on, in lines like `Acquire::AllowWeakRepositories "0";`.
pub fn weak_settings<'a>(dump: impl Iterator<Item = &'a str>) -> Vec<(&'static str, String)> {
    let entries: Vec<(String, &str)> = dump
        .filter_map(|line| line.strip_suffix("\";")?.split_once(" \""))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let value = |name: &str| {
        entries
            .iter()
            .rfind(|(other, _)| other == name)
            .map(|(_, value)| *value)
    };
    let effective = |name: &str| {
        let name = name.to_ascii_lowercase();
        value(&format!("{OURS}{name}")).or_else(|| value(&name))
    };
    let on = |name: &&'static str| {
        Some((
            *name,
            effective(name).filter(|value| is_yes(value))?.to_string(),
        ))
    };
    SETTINGS.iter().filter_map(on).collect()
}

/// The file that has this setting; of several, the one that is read last.
fn file_with(name: &str) -> Result<PathBuf> {
    let last_word = name
        .rsplit("::")
        .next()
        .unwrap_or(name)
        .to_ascii_lowercase();
    let main = PathBuf::from("/etc/apt/apt.conf");
    let parts = with_extension("/etc/apt/apt.conf.d", &["", "conf"])?;
    for file in iter::once(main.clone()).chain(parts.into_iter().rev()) {
        let text = read(&file)?.unwrap_or_default().to_ascii_lowercase();
        let comment = |line: &str| line.starts_with("//") || line.starts_with("# ");
        if text
            .lines()
            .map(str::trim)
            .any(|line| line.contains(&last_word) && !comment(line))
        {
            return Ok(file);
        }
    }
    // One of them includes the file that has it.
    Ok(main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_apts_settings() {
        let on = |dump: &str| {
            weak_settings(dump.lines())
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            on("APT \"\";\nAPT::Get::AllowUnauthenticated \"True\";\n"),
            ["APT::Get::AllowUnauthenticated=True"]
        );
        assert_eq!(
            on("acquire::allowinsecurerepositories \"1\";\n"),
            ["Acquire::AllowInsecureRepositories=1"]
        );
        assert_eq!(
            on(
                "Acquire::AllowWeakRepositories \"0\";\nAPT::Get::Force-Yes \"no\";\nAPT::Get::AllowUnauthenticated \"\";"
            ),
            [""; 0]
        );
        let scoped = "Acquire::AllowWeakRepositories \"0\";\nBinary::apt-get::Acquire::AllowWeakRepositories \"yes\";\n";
        assert_eq!(on(scoped), ["Acquire::AllowWeakRepositories=yes"]);
        assert_eq!(
            on(
                "Binary::apt::APT::Get::AllowUnauthenticated \"1\";\nAPT::Authentication::TrustCDROM \"1\";"
            ),
            [""; 0]
        );
    }
}
