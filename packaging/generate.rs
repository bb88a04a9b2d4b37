//! Writes the manual page and the shells' completions, from the one definition of the command line.
//!
//!     cargo run --example generate -- DIR
//!
//! makes `DIR/teleport-upgrade.8`, and `DIR/teleport-upgrade.bash`, `DIR/_teleport-upgrade` and `DIR/teleport-upgrade.fish`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use teleport_upgrade::cli::{Cli, EXIT_STATUS};
use teleport_upgrade::journal::Event;

const NAME: &str = "teleport-upgrade";

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: cargo run --example generate -- DIR");
        return ExitCode::from(2);
    };
    match write_all(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write_all(directory: &PathBuf) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    manual_page(&mut File::create(directory.join("teleport-upgrade.8"))?)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), NAME, directory)?;
    }
    Ok(())
}

fn manual_page(out: &mut File) -> std::io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let title = format!("{NAME} {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).section("8").manual("System administration").source(title);
    man.render_title(out)?;
    let mut page = Roff::new();
    // Words that are typed are better not broken.
    page.control("nh", []);
    section(&mut page, "NAME");
    page.text([roman(format!("{NAME} - keep the Teleport agent of a host on the version that its operator wants"))]);
    section(&mut page, "SYNOPSIS");
    page.text([bold(NAME), roman(" ["), italic("OPTIONS"), roman("] "), italic("COMMAND")]);
    paragraphs(&mut page, "DESCRIPTION", DESCRIPTION);
    commands(&mut page, &command);
    options(&mut page, &command);
    table(&mut page, "EXIT STATUS", EXIT_STATUS);
    configuration(&mut page);
    table(&mut page, "FILES", FILES);
    table(&mut page, "ENVIRONMENT", ENVIRONMENT);
    journal(&mut page);
    section(&mut page, "SEE ALSO");
    page.text([roman("systemctl(1), journalctl(1), systemd.timer(5), apt(8), dnf(8), zypper(8), pam_motd(8)")]);
    page.to_writer(out)
}

fn section(page: &mut Roff, title: &str) {
    page.control("SH", [title]);
}

fn paragraphs(page: &mut Roff, title: &str, text: &str) {
    section(page, title);
    for (number, paragraph) in text.split("\n\n").enumerate() {
        if number > 0 {
            page.control("PP", []);
        }
        page.text([roman(paragraph)]);
    }
}

/// One entry for each command: its purpose, its options, its examples.
fn commands(page: &mut Roff, command: &Command) {
    section(page, "COMMANDS");
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        page.control("SS", [verb.get_name()]);
        page.text([roman(format!("{}.", text(verb.get_about())))]);
        let own = verb
            .get_arguments()
            .filter(|argument| !argument.is_global_set() && !argument.is_hide_set() && argument.get_id() != "help");
        for argument in own {
            page.control("TP", []);
            page.text([bold(format!("--{}", argument.get_long().unwrap_or_default()))]);
            page.text([roman(format!("{}.", text(argument.get_help())))]);
        }
        page.control("PP", []);
        page.control("nf", []);
        for line in text(verb.get_after_help()).lines() {
            page.text([roman(line)]);
        }
        page.control("fi", []);
    }
}

fn options(page: &mut Roff, command: &Command) {
    section(page, "OPTIONS");
    for argument in command.get_arguments() {
        page.control("TP", []);
        let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
        let mut names = vec![bold(format!("{short}--{}", argument.get_long().unwrap_or_default()))];
        if argument.get_action().takes_values() {
            names.extend([roman(" "), italic("DIR")]);
        }
        page.text(names);
        page.text([roman(format!("{}.", text(argument.get_help())))]);
    }
}

/// Lines `term  what it means`; a line that is indented goes on with the one before.
fn table(page: &mut Roff, title: &str, lines: &str) {
    section(page, title);
    for line in lines.lines() {
        if let Some(more) = line.strip_prefix("    ") {
            page.text([roman(more.trim())]);
        } else if let Some((term, meaning)) = line.split_once("  ") {
            page.control("TP", []);
            page.text([bold(term.trim())]);
            page.text([roman(meaning.trim())]);
        }
    }
}

fn configuration(page: &mut Roff) {
    table(page, "CONFIGURATION", CONFIGURATION);
    page.control("PP", []);
    page.text([roman(CONFIGURATION_RULES)]);
}

fn journal(page: &mut Roff) {
    paragraphs(page, "JOURNAL", JOURNAL);
    for event in Event::ALL {
        page.control("TP", []);
        page.text([bold(event.name())]);
        page.text([roman(format!("MESSAGE_ID={}", event.message_id()))]);
    }
}

fn text(styled: Option<&clap::builder::StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

const DESCRIPTION: &str = "\
teleport-upgrade keeps the Teleport agent of a host on the version that its operator wants. A systemd timer has it make one pass \
about every 40 minutes: it asks a release channel which version is wanted, decides whether this host may change now, and has apt, \
dnf, yum or zypper install exactly that version. Then it watches the agent, and goes back by itself if the new version does not run.

An upgrade waits for the maintenance window that the agent exports to the host, unless it is critical, the agent is down, or no \
usable window has been seen for two passes.

The outcome is on standard output, everything else on standard error; in the journal both have their priorities.";

const CONFIGURATION: &str = "\
endpoint             the release channel: host[:port]/path/of/channel (required)
package              teleport-ent, teleport-ent-fips or teleport; by default the one that is installed
installer            apt, yum (also for dnf), zypper, or nop; by default the one whose database holds the package
service              the units to reload or restart, one a line; by default teleport.service
proxy                host[:port] of the cluster's Proxy, to ask which version the cluster runs; by default the one that the agent is set to
pin                  a version, or a major version, that the agent never leaves
prerelease           yes: follow release candidates too
insecure             yes: ask over plain http, only if the host in endpoint is this very one
lock                 no: do not lock the package against ordinary system updates
prefetch             no: do not download ahead what waits for its window
lock-wait-seconds    how long to wait for another run of the package manager (600)
refresh-seconds      how long the package manager may take to refresh its index (180)
observe-seconds      how long a new version must run well before it counts as sound (20)
metrics              a directory for Prometheus' textfile collector
notice               no: do not tell people who log in that an upgrade waits
schedule             the maintenance windows; the agent writes it";

const CONFIGURATION_RULES: &str = "\
Each is a file of /etc/teleport-upgrade.d with one value; blank lines and lines that start with # are skipped. The directory and \
its files must belong to root and be writable by nobody else, except for schedule.";

const FILES: &str = "\
/etc/teleport-upgrade.d  the configuration
/var/lib/teleport-upgrade  what one pass leaves for the next
/run/motd.d/teleport-upgrade  what a person who logs in is told while an upgrade waits
/etc/default/teleport  the environment of the agent, and of the service that makes the passes
/usr/share/teleport-upgrade/status.schema.json  the JSON Schema of what --json prints
/usr/share/teleport-upgrade/alerts.yml  example alerts for Prometheus";

const ENVIRONMENT: &str = "\
HTTPS_PROXY, NO_PROXY  the proxy that leads to the release channel
SSL_CERT_FILE  the authorities to trust instead of the system's
NO_COLOR  no colours on a terminal
RUST_LOG  what is logged, like teleport_upgrade=debug; counts instead of -v and -q";

const JOURNAL: &str = "\
journalctl -u teleport-upgrade.service shows what the passes said; with -p err, what failed. What the package manager says is \
logged at debug, and its last lines are quoted when it fails. Four kinds of lines can be found by their identity, on any host, and \
carry the fields TELEPORT_UPGRADE_FROM and TELEPORT_UPGRADE_TO where a change of version is meant:";
