//! Writes the manual page and the shell completions.
//!
//!     cargo run --example generate -- DIR
//!
//! creates `DIR/teleport-upgrade.8`, `DIR/teleport-upgrade.bash`, `DIR/_teleport-upgrade` and `DIR/teleport-upgrade.fish`. The text of
//! the manual page is in `packaging/teleport-upgrade.8.in`; what the program defines is filled in from its source.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;

use teleport_upgrade::cli::{Cli, EXIT_STATUS};
use teleport_upgrade::system::output::journal::Event;

const NAME: &str = "teleport-upgrade";
const MANUAL: &str = include_str!("teleport-upgrade.8.in");

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: cargo run --example generate -- DIR");
        return ExitCode::from(2);
    };
    let directory = Path::new(&directory);
    match write_all(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write_all(directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join("teleport-upgrade.8"), manual_page())?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), NAME, directory)?;
    }
    Ok(())
}

fn manual_page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut page = String::new();
    for line in MANUAL.lines() {
        let text = match line {
            "@TITLE@" => title(),
            "@COMMANDS@" => commands(&command),
            "@OPTIONS@" => options(&command),
            "@EXIT_STATUS@" => entries(EXIT_STATUS),
            "@EVENTS@" => events(),
            comment if comment.starts_with(".\\\"") => comment.into(),
            // A hyphen that is typed must not become a typographic one.
            other => other.replace('-', "\\-"),
        };
        page.push_str(text.trim_end());
        page.push('\n');
    }
    page
}

fn title() -> String {
    format!(
        ".TH {NAME} 8 \"\" \"{NAME} {}\" \"System administration\"",
        env!("CARGO_PKG_VERSION")
    )
}

/// One section for each command: its purpose, its options, its examples.
fn commands(command: &Command) -> String {
    let mut page = String::new();
    for verb in command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help")
    {
        let values = verb
            .get_positionals()
            .map(|argument| match value(argument) {
                required if argument.is_required_set() => required,
                optional => format!(" [{}]", optional.trim_start()),
            });
        let values = values.collect::<String>();
        page += &format!(
            ".SS {}{values}\n{}.\n",
            literal(verb.get_name()),
            styled(verb.get_about())
        );
        let own = |argument: &&Arg| {
            !argument.is_global_set() && !argument.is_hide_set() && argument.get_id() != "help"
        };
        verb.get_arguments()
            .filter(own)
            .for_each(|argument| page += &option(argument));
        page += &format!(".PP\n.nf\n{}\n.fi\n", styled(verb.get_after_help()));
    }
    page
}

fn options(command: &Command) -> String {
    command.get_arguments().map(option).collect()
}

fn option(argument: &Arg) -> String {
    let short = argument
        .get_short()
        .map(|short| format!("-{short}, "))
        .unwrap_or_default();
    let long = argument.get_long().unwrap_or_default();
    let names = match argument.is_positional() {
        true => String::new(),
        false => format!("\\fB{}\\fR", literal(&format!("{short}--{long}"))),
    };
    let entry = names + &value(argument);
    format!(
        ".TP\n{}\n{}.\n",
        entry.trim_start(),
        styled(argument.get_help())
    )
}

/// The name of an argument's value, if it takes one.
fn value(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    match names.first() {
        Some(name) if argument.get_action().takes_values() => format!(" \\fI{name}\\fR"),
        _ => String::new(),
    }
}

/// An entry for each line `term  meaning`; an indented line continues the one before.
fn entries(lines: &str) -> String {
    let entry = |line: &str| match line.split_once("  ") {
        Some(("", more)) => format!("{}\n", literal(more.trim())),
        Some((term, meaning)) => {
            format!(".TP\n.B {}\n{}\n", literal(term), literal(meaning.trim()))
        }
        None => String::new(),
    };
    lines.lines().map(entry).collect()
}

fn events() -> String {
    let entry = |event: &Event| {
        format!(
            ".TP\n.B {}\nMESSAGE_ID={}\n",
            event.name(),
            event.message_id()
        )
    };
    Event::ALL.iter().map(entry).collect()
}

fn styled(text: Option<&StyledStr>) -> String {
    literal(&text.map(ToString::to_string).unwrap_or_default())
}

/// Text that roff shows as it is.
fn literal(text: &str) -> String {
    let line = |line: &str| {
        let start = if line.starts_with(['.', '\'']) {
            "\\&"
        } else {
            ""
        };
        start.to_string() + &line.replace('\\', "\\e").replace('-', "\\-")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
