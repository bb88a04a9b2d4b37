//! apt's: options of a repository's source, and settings for all of them.
//!
//! `APT::Authentication::TrustCDROM`, which Debian's installer sets, is for discs alone, and is let be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::packages::trust::{Weakness, files, read};
use crate::system::command::Command;

/// Settings that let unauthenticated packages in, or the indexes that name them.
const SETTINGS: [&str; 5] = [
    "APT::Get::AllowUnauthenticated",
    "APT::Get::Force-Yes",
    "Acquire::AllowInsecureRepositories",
    "Acquire::AllowWeakRepositories",
    "Acquire::AllowDowngradeToInsecureRepositories",
];
/// Settings for `apt-get` alone are kept below this, and go before the others.
const OURS: &str = "binary::apt-get::";
/// The same as options of a source.
const OPTIONS: [&str; 4] = [
    "trusted",
    "allow-insecure",
    "allow-weak",
    "allow-downgrade-to-insecure",
];
/// A few milliseconds, if all is well.
const LIMIT: Duration = Duration::from_secs(30);

/// What would let unauthenticated packages in: from the repositories of the file `only` where those are all that is used, else
/// from all.
pub fn weaknesses(only: Option<&Path>) -> Result<Vec<Weakness>> {
    let sources = match only {
        Some(file) => vec![file.to_path_buf()],
        None => [
            vec!["/etc/apt/sources.list".into()],
            files("/etc/apt/sources.list.d", &["list", "sources"])?,
        ]
        .concat(),
    };
    let mut found = Vec::new();
    for file in sources {
        let text = read(&file)?.unwrap_or_default();
        let deb822 = file
            .extension()
            .is_some_and(|extension| extension == "sources");
        let options = if deb822 {
            weak_fields(&text)
        } else {
            weak_options(&text)
        };
        found.extend(options.into_iter().map(|setting| weakness(&file, setting)));
    }
    // As apt sees them: what it reads may include other files, scopes and comments of three kinds.
    let output = Command::new("apt-config", ["dump"])
        .limit(LIMIT)
        .wordy()
        .run()?;
    if !output.success() {
        bail!("cannot ask apt for its settings: {}", output.summary());
    }
    for (name, value) in weak_settings(output.answer()) {
        found.push(weakness(&file_with(name)?, format!("{name} \"{value}\"")));
    }
    Ok(found)
}

fn weakness(file: &Path, setting: String) -> Weakness {
    Weakness {
        file: file.to_path_buf(),
        setting: Some(setting),
        remedy: "remove that".into(),
    }
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
            effective(name).filter(|value| says_yes(value))?.to_string(),
        ))
    };
    SETTINGS.iter().filter_map(on).collect()
}

/// The file that has this setting: of several the one that is read last.
fn file_with(name: &str) -> Result<PathBuf> {
    let last_word = name
        .rsplit("::")
        .next()
        .unwrap_or(name)
        .to_ascii_lowercase();
    let main = PathBuf::from("/etc/apt/apt.conf");
    for file in [
        vec![main.clone()],
        files("/etc/apt/apt.conf.d", &["", "conf"])?
            .into_iter()
            .rev()
            .collect(),
    ]
    .concat()
    {
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
    // It is in a file that one of them includes.
    Ok(main)
}

/// The options of lines like `deb [trusted=yes arch=amd64] https://... stable main`.
pub fn weak_options(text: &str) -> Vec<String> {
    let after_type = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("deb"))
        .map(|rest| rest.trim_start_matches("-src"));
    // Nothing but the type stands before the options; brackets further on are of an address.
    let options =
        after_type.filter_map(|rest| Some(rest.trim_start().strip_prefix('[')?.split_once(']')?.0));
    let mut found = Vec::new();
    for options in options {
        let pairs: Vec<(String, String)> = options.split_whitespace().filter_map(option).collect();
        for name in OPTIONS {
            let last = pairs.iter().rfind(|(key, _)| key == name);
            if let Some((key, value)) = last.filter(|(_, value)| says_yes(value)) {
                found.push(format!("[{key}={value}]"));
            }
        }
    }
    found
}

/// Reads `name=value`, perhaps with quotes somewhere, or characters by their numbers as in `%74rusted=yes`.
fn option(word: &str) -> Option<(String, String)> {
    let mut parts = word.split('%');
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        match part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        {
            Some(byte) => plain.extend([char::from(byte)].into_iter().chain(part.chars().skip(2))),
            None => plain.extend(['%'].into_iter().chain(part.chars())),
        }
    }
    let plain = plain.replace('"', "");
    plain
        .split_once('=')
        .map(|(key, value)| (key.to_string(), value.to_string()))
}

/// The fields of paragraphs with lines like `Trusted: yes`, but those of sources that are switched off.
pub fn weak_fields(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for paragraph in paragraphs(text) {
        let disabled =
            |(key, value): &(String, String)| key.eq_ignore_ascii_case("Enabled") && says_no(value);
        if paragraph.iter().any(disabled) {
            continue;
        }
        for name in OPTIONS {
            let on = paragraph
                .iter()
                .filter(|(key, value)| key.eq_ignore_ascii_case(name) && says_yes(value));
            found.extend(on.map(|(key, value)| format!("{key}: {value}")));
        }
    }
    found
}

fn paragraphs(text: &str) -> Vec<Vec<(String, String)>> {
    let mut found: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let paragraph = found.last_mut();
        if line.trim().is_empty() {
            found.push(Vec::new());
        } else if line.starts_with([' ', '\t']) {
            // It goes on with the field before.
            if let Some((_, value)) = paragraph.and_then(|fields| fields.last_mut()) {
                *value = format!("{value} {}", line.trim()).trim().to_string();
            }
        } else if let (Some((key, value)), Some(fields)) = (line.split_once(':'), paragraph) {
            fields.push((key.trim().to_string(), value.trim().to_string()));
        }
    }
    found
}

/// What apt takes for yes: 1 as C writes it, or one of five words.
fn says_yes(value: &str) -> bool {
    let number = || {
        value
            .trim_start_matches("0x")
            .trim_start_matches("0X")
            .trim_start_matches('0')
            == "1"
    };
    ["yes", "true", "with", "on", "enable"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
        || number()
}

fn says_no(value: &str) -> bool {
    ["no", "false", "without", "off", "disable", "0"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_options_of_a_line() {
        for (text, expected) in [
            (
                "deb [trusted=yes] https://a stable main\n",
                vec!["[trusted=yes]"],
            ),
            (
                "  deb\t[ arch=amd64  trusted=TRUE ] https://a stable main",
                vec!["[trusted=TRUE]"],
            ),
            (
                "deb [allow-insecure=1 allow-weak=on allow-downgrade-to-insecure=enable] https://a s m",
                vec![
                    "[allow-insecure=1]",
                    "[allow-weak=on]",
                    "[allow-downgrade-to-insecure=enable]",
                ],
            ),
            ("deb [\"trusted=yes\"] https://a s m", vec!["[trusted=yes]"]),
            ("deb [trusted=yes trusted=no] https://a s m", vec![]),
            (
                "deb [trusted=no trusted=yes] https://a s m",
                vec!["[trusted=yes]"],
            ),
            ("deb [trusted=\"yes\"] https://a s m", vec!["[trusted=yes]"]),
            ("deb [%74rusted=yes] https://a s m", vec!["[trusted=yes]"]),
            (
                "deb [Trusted=yes trusted+=yes a%=b%zz] https://a s m",
                vec![],
            ),
            ("deb [trusted=no,yes] https://a s m", vec![]),
            (
                "deb [trusted=no signed-by=/a/trusted=yes] https://a s m",
                vec![],
            ),
            (
                "# deb [trusted=yes] https://a s m\n#deb [trusted=yes] https://a s m",
                vec![],
            ),
            ("deb https://a s m # [trusted=yes]\n", vec![]),
            ("deb [arch=amd64] https://a s m # [trusted=yes]\n", vec![]),
            ("deb [arch=amd64] https://a/[trusted=yes] s m\n", vec![]),
            (
                "deb [check-valid-until=no] https://a s m\ndeb-src https://a s m",
                vec![],
            ),
        ] {
            assert_eq!(weak_options(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_the_fields_of_a_paragraph() {
        for (text, expected) in [
            (
                "Types: deb\nURIs: https://a\nTrusted: yes\n",
                vec!["Trusted: yes"],
            ),
            (
                "types: deb\ntrusted:YES\n\n\nTypes: deb\nAllow-Insecure:\n 1\n",
                vec!["trusted: YES", "Allow-Insecure: 1"],
            ),
            (
                "Types: deb\nAllow-Weak: on\nAllow-Downgrade-To-Insecure: true\n",
                vec!["Allow-Weak: on", "Allow-Downgrade-To-Insecure: true"],
            ),
            (
                "Types: deb\nTrusted: no\nTrusted: yes\n",
                vec!["Trusted: yes"],
            ),
            (
                "Types: deb\nEnabled: no\nTrusted: yes\n\nTypes: deb\n",
                vec![],
            ),
            (
                "Types: deb\n# Trusted: yes\n#Trusted: yes\nTrusted: no\n",
                vec![],
            ),
            ("Types: deb\nSigned-By:\n Trusted: yes\n", vec![]),
        ] {
            assert_eq!(weak_fields(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_what_apt_says_of_its_settings() {
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

    #[test]
    fn knows_what_apt_takes_for_yes() {
        for yes in ["1", "01", "0x1", "yes", "True", "WITH", "on", "enable"] {
            assert!(says_yes(yes), "{yes}");
        }
        for other in ["", "0", "2", "y", "enabled", "no", "11", "-1"] {
            assert!(!says_yes(other), "{other}");
        }
    }
}
