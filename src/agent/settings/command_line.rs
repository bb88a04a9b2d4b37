//! The agent's command line: what is read of it is what Teleport reads in lib/config and tool/teleport of its source. `--config-string`,
//! or `TELEPORT_CONFIG` in the environment, replaces the file; `--roles` replaces what the settings enable; `--auth-server` disables the
//! Auth Service.

use crate::agent::settings::environment::Environment;
use crate::agent::settings::start::{Encoded, Start};
use crate::system::process::command_line;
use crate::system::text::printable;

/// The variable that contains settings in place of a file.
const CONFIG: &str = "TELEPORT_CONFIG";

impl Start {
    /// Reads a command line; nothing if it does not start an agent.
    pub fn of(words: &[String], environment: &Environment) -> Option<Start> {
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
                    start.unread = Some(format!(
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
            start.unread = Some(format!(
                "--config={} is not an absolute path",
                printable(&path.to_string_lossy(), 200)
            ));
        }
        Some(start)
    }
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

/// The command line in `ExecStart=`, as `systemctl show` prints it, with its variables.
pub fn in_unit(command: &str, environment: &Environment) -> Vec<String> {
    let arguments = command.split_once("argv[]=").map_or("", |(_, rest)| rest);
    let arguments = arguments
        .split_once(" ; ")
        .map_or(arguments, |(arguments, _)| arguments);
    expanded(arguments.split_whitespace(), environment)
}

/// The command line of a process.
pub fn of_process(pid: i32) -> Vec<String> {
    let bytes = command_line(pid).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let words = text.trim_end_matches('\0').split('\0');
    // `sh -c "teleport start ..."`: the agent's words are one of the shell's.
    if words.clone().any(|word| word == "start") {
        words.map(str::to_string).collect()
    } else {
        words
            .flat_map(str::split_whitespace)
            .map(str::to_string)
            .collect()
    }
}

/// Replaces `$NAME` and `${NAME}` as systemd does.
fn expanded<'a>(words: impl Iterator<Item = &'a str>, environment: &Environment) -> Vec<String> {
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
        let mut text = String::new();
        let mut rest = word;
        while let Some((before, (name, after))) = rest
            .split_once("${")
            .and_then(|(before, inside)| Some((before, inside.split_once('}')?)))
        {
            text += before;
            text += value(name);
            rest = after;
        }
        expanded.push(text + rest);
    }
    expanded
}
