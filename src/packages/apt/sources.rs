//! apt's sources, of both formats: whether they are in use, and their options.

use std::path::Path;

use crate::packages::common::files::read;

/// Options that let unsigned packages in.
const OPTIONS: [&str; 4] = [
    "trusted",
    "allow-insecure",
    "allow-weak",
    "allow-downgrade-to-insecure",
];
/// Whether a file of sources has an entry in use. A release upgrade leaves third-party entries commented out or disabled.
pub fn has_entry(file: &Path) -> bool {
    let text = read(file).ok().flatten().unwrap_or_default();
    if is_deb822(file) {
        paragraphs(&text)
            .iter()
            .any(|fields| is_enabled(fields) && fields.iter().any(|(key, _)| is(key, "URIs")))
    } else {
        text.lines().any(|line| {
            let rest = line.trim().strip_prefix("deb");
            rest.is_some_and(|rest| rest.starts_with([' ', '\t', '[']))
        })
    }
}

/// The options of a file's sources that let unsigned packages in.
pub fn weak(file: &Path, text: &str) -> Vec<String> {
    if is_deb822(file) {
        weak_fields(text)
    } else {
        weak_options(text)
    }
}

fn is_deb822(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "sources")
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
            if let Some((key, value)) = last.filter(|(_, value)| is_yes(value)) {
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

/// The fields like `Trusted: yes` of paragraphs that are not disabled.
pub fn weak_fields(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for paragraph in paragraphs(text) {
        if !is_enabled(&paragraph) {
            continue;
        }
        for name in OPTIONS {
            let on = paragraph
                .iter()
                .filter(|(key, value)| is(key, name) && is_yes(value));
            found.extend(on.map(|(key, value)| format!("{key}: {value}")));
        }
    }
    found
}

fn is_enabled(paragraph: &[(String, String)]) -> bool {
    !paragraph
        .iter()
        .any(|(key, value)| is(key, "Enabled") && is_no(value))
}

fn is(key: &str, name: &str) -> bool {
    key.eq_ignore_ascii_case(name)
}

fn paragraphs(text: &str) -> Vec<Vec<(String, String)>> {
    let mut found: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let paragraph = found.last_mut();
        if line.trim().is_empty() {
            found.push(Vec::new());
        } else if line.starts_with([' ', '\t']) {
            // It continues the field before.
            if let Some((_, value)) = paragraph.and_then(|fields| fields.last_mut()) {
                *value = format!("{value} {}", line.trim()).trim().to_string();
            }
        } else if let (Some((key, value)), Some(fields)) = (line.split_once(':'), paragraph) {
            fields.push((key.trim().to_string(), value.trim().to_string()));
        }
    }
    found
}

/// What apt reads as yes: 1 as in C, or one of five words.
pub fn is_yes(value: &str) -> bool {
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

fn is_no(value: &str) -> bool {
    ["no", "false", "without", "off", "disable", "0"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_file_counts_only_with_an_entry_in_use() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text, expected) in [
            (
                "a.list",
                "# comment\ndeb [signed-by=/x] https://a b c\n",
                true,
            ),
            (
                "a.list",
                "# deb https://a b c # disabled on upgrade\n",
                false,
            ),
            ("a.list", "deb-src https://a b c\n", false),
            (
                "a.sources",
                "Types: deb\nURIs: https://a\nSuites: b\n",
                true,
            ),
            (
                "a.sources",
                "Enabled: no\nTypes: deb\nURIs: https://a\n",
                false,
            ),
            (
                "a.sources",
                "Enabled: no\nURIs: https://a\n\nTypes: deb\nuris: https://b\n",
                true,
            ),
            ("a.sources", "# nothing\n", false),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            assert_eq!(has_entry(&path), expected, "{text:?}");
        }
        assert!(!has_entry(Path::new("/no/such/file.list")));
    }

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
    fn yes_is_what_apt_reads_as_yes() {
        for yes in ["1", "01", "0x1", "yes", "True", "WITH", "on", "enable"] {
            assert!(is_yes(yes), "{yes}");
        }
        for other in ["", "0", "2", "y", "enabled", "no", "11", "-1"] {
            assert!(!is_yes(other), "{other}");
        }
    }
}
