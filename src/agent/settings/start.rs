//! How a service starts the agent: what the command line and the environment say of its settings, in the unit and in the process that
//! runs. The two differ between a change of the unit and the next restart.
//!
//! The agent reads its command line in lib/config and tool/teleport of its source: `--config-string`, or `TELEPORT_CONFIG` in the
//! environment, replaces the file; `--roles` replaces what the settings enable; `--auth-server` disables the Auth Service.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::system::text::{io_problem, printable};
use crate::system::untrusted;

/// The variable that has the agent export its maintenance windows, and its value for that.
const UPGRADER: (&str, &str) = ("TELEPORT_EXT_UPGRADER", "unit");
/// The variable that holds settings in place of a file.
const CONFIG: &str = "TELEPORT_CONFIG";
/// No file of variables is larger.
const MAX_BYTES: u64 = 1024 * 1024;

type Environment = BTreeMap<String, String>;

/// What the command line and the environment of an agent say of its settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Start {
    /// The file of its settings, where the command line names it.
    pub config: Option<PathBuf>,
    /// Settings in place of a file.
    pub encoded: Option<Encoded>,
    /// What it is to run, whatever its settings enable.
    pub roles: Option<String>,
    /// Where it finds its cluster, whatever its settings say.
    pub auth_servers: Vec<String>,
    /// Why there may be more than was seen.
    pub unseen: Option<String>,
}

/// Settings in base64. They may hold secrets, so nothing shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Where they are.
    pub named_by: &'static str,
    text: String,
}

/// Whether an agent exports its maintenance windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exports {
    /// There is no such process, or we may not look.
    #[default]
    Unknown,
    /// Its environment says so.
    Yes,
    /// The unit says so, and did not when the agent was started. A reload keeps the environment.
    AfterRestart,
    /// Nor will the next process.
    No,
}

/// What a unit says of the agent that it starts.
pub struct Unit<'a> {
    /// `ExecStart=`, as `systemctl show` has it.
    pub command: &'a str,
    /// `Environment=`, likewise.
    pub environment: &'a str,
    /// `EnvironmentFiles=`, one a line.
    pub files: Vec<&'a str>,
}

impl Unit<'_> {
    /// How the agent is started, and how the process in charge was, if that is another way; and whether that one exports its windows.
    pub fn look(&self, pid: Option<i32>) -> (Vec<Start>, Exports) {
        let (environment, unread) = self.variables();
        let own = pid.and_then(|pid| variables_of(pid).ok());
        let exports = match &own {
            None => Exports::Unknown,
            Some(own) if exports(own) => Exports::Yes,
            Some(_) if exports(&environment) => Exports::AfterRestart,
            Some(_) => Exports::No,
        };
        let mut unit = Start::of(
            &expanded(arguments(self.command), &environment),
            &environment,
        )
        .unwrap_or_default();
        // What the process has is what the unit gave it.
        unit.unseen = unit.unseen.or(unread.filter(|_| own.is_none()));
        let process = pid.and_then(|pid| {
            Start::of(
                &command_line(pid),
                &own.unwrap_or_else(|| environment.clone()),
            )
        });
        let mut starts = vec![unit];
        starts.extend(process.filter(|process| *process != starts[0]));
        (starts, exports)
    }

    /// The variables that the unit sets, and why there may be more.
    fn variables(&self) -> (Environment, Option<String>) {
        let mut variables: Environment = quoted_words(self.environment)
            .iter()
            .filter_map(|word| assignment(word))
            .collect();
        let mut unread = None;
        for file in &self.files {
            // `/etc/default/teleport (ignore_errors=yes)`.
            let file = file
                .split_once(" (ignore_errors=")
                .map_or(*file, |(file, _)| file);
            match untrusted::read_linked(Path::new(file), MAX_BYTES) {
                Ok(text) => variables.extend(assignments(&text)),
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && !file.contains(['*', '?', '[']) => {}
                Err(error) => {
                    unread = Some(format!("{}: {}", printable(file, 200), io_problem(&error)))
                }
            }
        }
        (variables, unread)
    }
}

impl Start {
    /// Reads a command line; nothing if it does not start an agent.
    fn of(words: &[String], environment: &Environment) -> Option<Start> {
        let at = words.iter().position(|word| word == "start")?;
        // `teleport app start`, `teleport db start`.
        let service = at
            .checked_sub(1)
            .map(|before| words[before].as_str())
            .filter(|word| ["app", "db"].contains(word));
        let mut start = Start {
            roles: service.map(str::to_string),
            ..Start::default()
        };
        let mut encoded = environment.get(CONFIG).map(|text| (CONFIG, text.as_str()));
        let mut words = words[at + 1..].iter().map(String::as_str);
        while let Some(word) = words.next() {
            let (flag, value) = match flag(word) {
                Some(flag) => flag,
                None if word == "--" => break,
                None if word.starts_with('@') => {
                    start.unseen = Some(format!(
                        "the command line continues in {}",
                        printable(word, 200)
                    ));
                    continue;
                }
                None => continue,
            };
            let mut value = || value.or_else(|| words.next()).unwrap_or_default();
            match flag {
                "config" | "c" => start.config = Some(value().into()),
                "config-string" => encoded = Some(("--config-string", value())),
                "roles" | "r" if service.is_none() => start.roles = Some(value().into()),
                "auth-server" => start.auth_servers.push(value().into()),
                _ => {}
            }
        }
        start.encoded = encoded
            .filter(|(_, text)| !text.is_empty())
            .map(|(named_by, text)| Encoded {
                named_by,
                text: text.to_string(),
            });
        start.roles = start.roles.filter(|roles| !roles.is_empty());
        if let Some(path) = start.config.take_if(|path| !path.is_absolute()) {
            start.unseen = Some(format!(
                "--config={} is not an absolute path",
                printable(&path.to_string_lossy(), 200)
            ));
        }
        Some(start)
    }
}

impl Encoded {
    /// The settings.
    pub fn decode(&self) -> Result<String, String> {
        let bytes = from_base64(&self.text).ok_or("it is not base64")?;
        String::from_utf8(bytes).map_err(|_| "it is not text".to_string())
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.named_by, self.text.len())
    }
}

fn exports(environment: &Environment) -> bool {
    environment
        .get(UPGRADER.0)
        .is_some_and(|kind| kind == UPGRADER.1)
}

/// The name of a flag, and its value if that is in the same word: `--roles=node`, `-r`, `-rnode`, `-dr` with a switch before it.
fn flag(word: &str) -> Option<(&str, Option<&str>)> {
    if let Some(long) = word.strip_prefix("--").filter(|long| !long.is_empty()) {
        return Some(
            long.split_once('=')
                .map_or((long, None), |(name, value)| (name, Some(value))),
        );
    }
    let short = word
        .strip_prefix('-')
        .filter(|_| !word.starts_with("--"))?
        .trim_start_matches('d');
    let (name, value) = short.split_at_checked(1)?;
    let value = value.strip_prefix('=').unwrap_or(value);
    Some((name, Some(value).filter(|value| !value.is_empty())))
}

/// The command line in `ExecStart=`.
fn arguments(command: &str) -> Vec<String> {
    let arguments = command.split_once("argv[]=").map_or("", |(_, rest)| rest);
    let arguments = arguments
        .split_once(" ; ")
        .map_or(arguments, |(arguments, _)| arguments);
    arguments.split_whitespace().map(str::to_string).collect()
}

/// The command line of a process.
fn command_line(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes)
        .trim_end_matches('\0')
        .to_string();
    let words: Vec<String> = text.split('\0').map(str::to_string).collect();
    // `sh -c "teleport start ..."`: the agent's words are one of the shell's.
    if words.iter().any(|word| word == "start") {
        words
    } else {
        words
            .iter()
            .flat_map(|word| word.split_whitespace())
            .map(str::to_string)
            .collect()
    }
}

/// Replaces `$NAME` and `${NAME}` as systemd does.
fn expanded(words: Vec<String>, environment: &Environment) -> Vec<String> {
    let value = |name: &str| environment.get(name).map_or("", String::as_str);
    let mut expanded = Vec::new();
    for word in words {
        if let Some(name) = word
            .strip_prefix('$')
            .filter(|name| !name.starts_with(['{', '$']))
        {
            expanded.extend(value(name).split_whitespace().map(str::to_string));
            continue;
        }
        let mut whole = String::new();
        let mut rest = word.as_str();
        while let Some((before, (name, after))) = rest
            .split_once("${")
            .and_then(|(before, inside)| Some((before, inside.split_once('}')?)))
        {
            whole += before;
            whole += value(name);
            rest = after;
        }
        expanded.push(whole + rest);
    }
    expanded
}

/// The environment of a process.
fn variables_of(pid: i32) -> io::Result<Environment> {
    let bytes = fs::read(format!("/proc/{pid}/environ"))?;
    // A process that has ended has none, and neither has one of the kernel's.
    if bytes.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(bytes
        .split(|byte| *byte == 0)
        .filter_map(|variable| assignment(&String::from_utf8_lossy(variable)))
        .collect())
}

fn assignment(word: &str) -> Option<(String, String)> {
    word.split_once('=')
        .map(|(name, value)| (name.to_string(), value.to_string()))
}

/// The words of a line, some of which may be quoted.
fn quoted_words(line: &str) -> Vec<String> {
    let mut chars = line.chars();
    let mut words = Vec::new();
    while !chars.as_str().is_empty() {
        words.push(unquoted(&mut chars, ' '));
    }
    words
}

/// The assignments in an `EnvironmentFile=`.
fn assignments(text: &str) -> Environment {
    let mut chars = text.chars();
    let mut found = Environment::new();
    while !chars.as_str().is_empty() {
        if chars
            .as_str()
            .trim_start_matches([' ', '\t'])
            .starts_with(['#', ';'])
        {
            chars = chars
                .as_str()
                .split_once('\n')
                .map_or("", |(_, rest)| rest)
                .chars();
            continue;
        }
        if let Some((name, value)) = assignment(&unquoted(&mut chars, '\n')) {
            found.insert(name.trim().to_string(), value.trim().to_string());
        }
    }
    found
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

/// Decodes base64 as Go's standard encoding has it: padded, and with line ends wherever.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !b"\r\n".contains(byte))
        .collect();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    for (number, group) in digits.chunks(4).enumerate() {
        let is_last = (number + 1) * 4 == digits.len();
        let padding = group
            .iter()
            .rev()
            .take_while(|digit| **digit == b'=')
            .count();
        if group.len() < 4 || padding > 2 || (padding > 0 && !is_last) {
            return None;
        }
        let mut bits = 0u32;
        for digit in &group[..4 - padding] {
            bits = bits << 6 | u32::from(value_of(*digit)?);
        }
        bits <<= 6 * padding;
        bytes.extend(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

fn value_of(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(arguments: &str, environment: &str) -> Start {
        let command = format!(
            "{{ path=/usr/local/bin/teleport ; argv[]={arguments} ; ignore_errors=no ; start_time=[n/a] ; x }}"
        );
        let (mut starts, exports) = Unit {
            command: &command,
            environment,
            files: Vec::new(),
        }
        .look(None);
        assert_eq!((starts.len(), exports), (1, Exports::Unknown));
        starts.remove(0)
    }

    #[test]
    fn the_settings_are_those_that_the_agent_is_started_with() {
        for (arguments, expected) in [
            (
                "teleport start --config /srv/a.yaml --pid-file=/run/a.pid",
                Some("/srv/a.yaml"),
            ),
            (
                "teleport start --pid-file=/run/a.pid --config=/srv/a.yaml",
                Some("/srv/a.yaml"),
            ),
            ("teleport start -c /srv/a.yaml", Some("/srv/a.yaml")),
            ("teleport start -dc /srv/a.yaml", Some("/srv/a.yaml")),
            ("teleport start -c/srv/a.yaml", Some("/srv/a.yaml")),
            ("teleport start -d $FLAGS", Some("/srv/flags.yaml")),
            (
                "teleport start --config=${HOME_OF_IT}/a.yaml",
                Some("/srv/a.yaml"),
            ),
            (
                "/bin/sh -c exec teleport start --config=/srv/a.yaml",
                Some("/srv/a.yaml"),
            ),
            ("teleport start --config", None),
            ("teleport start --pid-file=/run/a.pid", None),
            ("teleport start -- --config=/srv/a.yaml", None),
            ("run-teleport --config=/srv/a.yaml", None),
            ("", None),
        ] {
            let start = unit(
                arguments,
                "HOME_OF_IT=/srv \"FLAGS=-r node --config /srv/flags.yaml\"",
            );
            assert_eq!(start.config, expected.map(PathBuf::from), "{arguments}");
        }
        assert!(
            unit("teleport start --config a.yaml", "")
                .unseen
                .unwrap()
                .contains("--config=a.yaml is not an absolute path")
        );
        assert!(
            unit("teleport start @/srv/flags", "")
                .unseen
                .unwrap()
                .contains("continues in @/srv/flags")
        );
    }

    #[test]
    fn roles_and_servers_of_the_command_line() {
        for (arguments, roles) in [
            ("teleport start --roles=node,app", Some("node,app")),
            ("teleport start --roles node", Some("node")),
            ("teleport start -r proxy,auth --token=x", Some("proxy,auth")),
            ("teleport start -rnode", Some("node")),
            ("teleport start -d -r=node", Some("node")),
            ("teleport start --roles=", None),
            ("teleport start --token=--roles=node", None),
            ("teleport app start --name=x --roles=auth", Some("app")),
            ("teleport db start", Some("db")),
            ("teleport start", None),
        ] {
            assert_eq!(unit(arguments, "").roles.as_deref(), roles, "{arguments}");
        }
        let start = unit("teleport start --auth-server=a:3025 --auth-server b", "");
        assert_eq!(start.auth_servers, ["a:3025", "b"]);
    }

    #[test]
    fn settings_in_place_of_a_file() {
        let decoded = |arguments: &str, environment: &str| {
            unit(arguments, environment)
                .encoded
                .map(|encoded| encoded.decode())
        };
        assert_eq!(
            decoded("teleport start --config-string=YTogYg==", ""),
            Some(Ok("a: b".into()))
        );
        assert_eq!(
            decoded("teleport start", "A=b TELEPORT_CONFIG=YTogYg=="),
            Some(Ok("a: b".into()))
        );
        assert_eq!(
            decoded("teleport start", "\"TELEPORT_CONFIG=YTog\nYg==\""),
            Some(Ok("a: b".into()))
        );
        assert_eq!(
            decoded(
                "teleport start --config-string YTogYw==",
                "TELEPORT_CONFIG=YTogYg=="
            ),
            Some(Ok("a: c".into()))
        );
        assert_eq!(decoded("teleport start", "TELEPORT_CONFIG="), None);
        for text in [
            "YTogYg",
            "YTogYg=",
            "Y===",
            "====",
            "=",
            "YT=g",
            "YTogYg==YTog",
            "a b!",
            "-_--",
        ] {
            assert_eq!(
                decoded(&format!("teleport start --config-string={text}"), ""),
                Some(Err("it is not base64".into())),
                "{text}"
            );
        }
        assert_eq!(
            decoded("teleport start --config-string=//79", ""),
            Some(Err("it is not text".into()))
        );
        let shown = format!("{:?}", unit("teleport start", "TELEPORT_CONFIG=c2VjcmV0"));
        assert!(
            shown.contains("TELEPORT_CONFIG of 8 bytes") && !shown.contains("c2Vj"),
            "{shown}"
        );
    }

    #[test]
    fn base64_of_every_length() {
        for (text, expected) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9v\r\nYg==\n", b"foob"),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(from_base64(text).as_deref(), Some(expected), "{text}");
        }
    }

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
        assert_eq!(assignments(text), Environment::from(expected));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("teleport");
        fs::write(&file, "TELEPORT_CONFIG=YTogYg==\n").unwrap();
        let listed = format!("{} (ignore_errors=yes)", file.display());
        let look = |file: &str| {
            let command = "{ argv[]=teleport start ; x }";
            Unit {
                command,
                environment: "TELEPORT_CONFIG=YTogYw==",
                files: vec![file],
            }
            .look(None)
            .0
            .remove(0)
        };
        assert_eq!(
            look(&listed).encoded.unwrap().decode().unwrap(),
            "a: b",
            "the file comes last"
        );
        assert_eq!(look("/nowhere (ignore_errors=yes)").unseen, None);
        assert!(
            look(&dir.path().display().to_string())
                .unseen
                .unwrap()
                .ends_with("it is not a regular file")
        );
        assert!(look("/nowhere/*.env (ignore_errors=yes)").unseen.is_some());
    }

    /// A process with these words and variables, until it is told to end.
    fn process(words: &[&str], variables: &[(&str, &str)]) -> std::process::Child {
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "echo; read end", "sh"])
            .args(words)
            .env_clear()
            .envs(variables.iter().copied());
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        child
    }

    #[test]
    fn the_process_that_runs_was_perhaps_started_otherwise() {
        let command = "{ argv[]=teleport start --config=/srv/new.yaml ; x }";
        let unit = |environment| Unit {
            command,
            environment,
            files: vec!["/proc/1 (ignore_errors=yes)"],
        };
        for (variables, environment, exports) in [
            (&[("TELEPORT_EXT_UPGRADER", "unit")][..], "", Exports::Yes),
            (
                &[("X", "y")],
                "TELEPORT_EXT_UPGRADER=unit",
                Exports::AfterRestart,
            ),
            (
                &[("TELEPORT_EXT_UPGRADER", "kube")],
                "TELEPORT_EXT_UPGRADER=kube",
                Exports::No,
            ),
        ] {
            let mut child = process(&["teleport", "start", "--config=/srv/old.yaml"], variables);
            let (starts, found) = unit(environment).look(child.id().try_into().ok());
            drop(child.stdin.take());
            child.wait().unwrap();
            assert_eq!(found, exports, "{environment}");
            let configs: Vec<_> = starts
                .iter()
                .map(|start| start.config.clone().unwrap())
                .collect();
            assert_eq!(
                configs,
                [PathBuf::from("/srv/new.yaml"), "/srv/old.yaml".into()]
            );
            assert_eq!(
                starts[0].unseen, None,
                "what it was given is seen in the process"
            );
        }
        let mut child = process(&["teleport start --config=/srv/new.yaml"], &[("A", "b")]);
        let (starts, _) = unit("").look(child.id().try_into().ok());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(starts.len(), 1, "{starts:?}");
        assert!(
            unit("").look(None).0[0].unseen.is_some(),
            "nor is there a process"
        );
    }
}
