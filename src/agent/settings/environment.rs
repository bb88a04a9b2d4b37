//! Environments: those of processes, and those that units set.

use std::collections::BTreeMap;
use std::fs;

/// Variables and their values.
pub type Environment = BTreeMap<String, String>;

/// The environment of a process.
pub fn of_process(pid: i32) -> Option<Environment> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let variables = bytes.split(|byte| *byte == 0);
    let variables = variables.filter_map(|variable| assignment(&String::from_utf8_lossy(variable)));
    // A process that has ended has none, and neither has one of the kernel's.
    (!bytes.is_empty()).then(|| variables.collect())
}

/// The variables in `Environment=`, as `systemctl show` prints it.
pub fn in_line(line: &str) -> Environment {
    let mut chars = line.chars();
    let mut found = Environment::new();
    while !chars.as_str().is_empty() {
        found.extend(assignment(&unquoted(&mut chars, ' ')));
    }
    found
}

/// The variables in an `EnvironmentFile=`.
pub fn in_file(text: &str) -> Environment {
    let mut chars = text.chars();
    let mut found = Environment::new();
    while !chars.as_str().is_empty() {
        let rest = chars.as_str();
        if rest.trim_start_matches([' ', '\t']).starts_with(['#', ';']) {
            chars = rest.split_once('\n').map_or("", |(_, rest)| rest).chars();
        } else if let Some((name, value)) = assignment(&unquoted(&mut chars, '\n')) {
            found.insert(name.trim().to_string(), value.trim().to_string());
        }
    }
    found
}

fn assignment(word: &str) -> Option<(String, String)> {
    word.split_once('=')
        .map(|(name, value)| (name.to_string(), value.to_string()))
}

/// The text up to `end`, without quotes and backslashes.
fn unquoted(chars: &mut std::str::Chars, end: char) -> String {
    let mut text = String::new();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c == end => break,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => text.push(c),
            // One at the end of a line joins it with the next.
            (_, '\\') => text.extend(chars.next().filter(|c| *c != '\n')),
            (_, c) => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variables_as_systemd_reads_them() {
        let text = "# TELEPORT_CONFIG=no\n; x=y\n\nA=b\n  B = c d  \nC=\"e f\" \nD='g\nh'\nE=i\\\nj\nF\nG=\\\"k\n";
        let expected = [
            ("A", "b"),
            ("B", "c d"),
            ("C", "e f"),
            ("D", "g\nh"),
            ("E", "ij"),
            ("G", "\"k"),
        ];
        let expected = expected.map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(in_file(text), Environment::from(expected));
    }
}
