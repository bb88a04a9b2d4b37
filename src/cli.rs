//! The command line, which the manual page and the shells' completions are made from, too.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

/// Keeps this host's Teleport agent on the version that its release channel names.
#[derive(Debug, Parser)]
#[command(name = "teleport-upgrade", version, after_help = after_help())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Verb,
    /// What holds for every command.
    #[command(flatten)]
    pub options: Options,
}

/// The commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Check, and upgrade if allowed (this is what the timer runs)
    #[command(after_help = RUN)]
    Run,
    /// Say what `run` would do, and change nothing
    #[command(after_help = DRY_RUN)]
    DryRun {
        /// Print one JSON object, as `status --json` does
        #[arg(long)]
        json: bool,
    },
    /// Upgrade now, whatever the window or an earlier failure says
    #[command(after_help = FORCE)]
    Force,
    /// Show what runs, what is wanted and when, and how passes went
    #[command(after_help = STATUS)]
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let ordinary system updates see to the agent again
    #[command(after_help = UNLOCK)]
    Unlock {
        /// The history was seen to say so; for the scripts of this program's packages
        #[arg(long, hide = true)]
        recorded: bool,
    },
    /// Print the version of this program
    #[command(after_help = VERSION)]
    Version {
        /// No more than the version, as always
        #[arg(long)]
        raw: bool,
    },
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct Options {
    /// Say more: every command that is run and what it says
    #[arg(short, long, global = true, action = ArgAction::SetTrue, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Say less: errors, and the outcome
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    pub quiet: bool,
    /// Configuration instead of /etc/teleport-upgrade.d
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/etc/teleport-upgrade.d",
        hide_default_value = true
    )]
    pub config_dir: PathBuf,
    /// State instead of /var/lib/teleport-upgrade
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/var/lib/teleport-upgrade",
        hide_default_value = true
    )]
    pub state_dir: PathBuf,
}

/// The exit statuses, a line each, for the help and the manual page.
pub const EXIT_STATUS: &str = "\
0   success: up to date, pending, pinned, skipped, or upgraded
1   failed; the agent was not changed
2   usage or configuration error, not root, or no agent installed
10  not allowed: version or host not supported
11  upgrade failed and was rolled back
12  upgrade and rollback failed; manual intervention required
75  temporary failure: version server unreachable, package manager locked,
    or another run in progress; retried at the next check";

fn after_help() -> String {
    let indented: Vec<String> = EXIT_STATUS
        .lines()
        .map(|line| format!("  {line}"))
        .collect();
    format!("{EXAMPLES}\n\nExit status:\n{}", indented.join("\n"))
}

const EXAMPLES: &str = "\
Examples:
  teleport-upgrade status        how things stand on this host
  teleport-upgrade dry-run       what a pass would do now, and why
  sudo teleport-upgrade run      make a pass before your eyes
  sudo systemctl enable --now teleport-upgrade.timer
                                 have a pass made about every 40 minutes";

const RUN: &str = "\
Examples:
  sudo teleport-upgrade run      what there is; what was done, and why
  sudo teleport-upgrade run -v   with every command that is run
  journalctl -u teleport-upgrade.service
                                 what the timer's passes said";

const DRY_RUN: &str = "\
Examples:
  teleport-upgrade dry-run       as any user: what a pass would do
  teleport-upgrade dry-run --json | jq -r .decision.sentence";

const FORCE: &str = "\
A version that this host may not have (compatibility rule, pin) is
refused all the same. A pass that is at work is waited for, an hour at
most; Ctrl-C ends that, and nothing was changed.

Examples:
  teleport-upgrade dry-run       first: which version would that be?
  sudo teleport-upgrade force    tries even a version that failed here";

const STATUS: &str = "\
Needs no root, and no network: it says what it could not ask.

Examples:
  teleport-upgrade status
  teleport-upgrade status --json | jq -r .agent.installed
  teleport-upgrade status --json | jq .decision";

const UNLOCK: &str = "\
Takes back the lock that passes set while the file \"lock\" says yes.
A lock that an administrator has set stays.

Examples:
  sudo teleport-upgrade unlock   before you remove this program by hand";

const VERSION: &str = "\
Examples:
  teleport-upgrade version";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_before_or_after_the_command() {
        let cli = Cli::parse_from(["teleport-upgrade", "-v", "dry-run", "--config-dir", "/x"]);
        assert_eq!(
            (cli.command, cli.options.verbose),
            (Verb::DryRun { json: false }, true)
        );
        assert_eq!(cli.options.config_dir, PathBuf::from("/x"));
        assert_eq!(
            cli.options.state_dir,
            PathBuf::from("/var/lib/teleport-upgrade")
        );
    }

    #[test]
    fn every_command_has_examples_and_fits_a_terminal() {
        let mut all = Cli::command();
        all.build();
        let helps = all
            .get_subcommands_mut()
            .filter(|command| command.get_name() != "help")
            .map(|command| command.render_help());
        for help in helps
            .collect::<Vec<_>>()
            .into_iter()
            .chain([all.render_help()])
        {
            let help = help.to_string();
            assert!(help.contains("Examples:\n"), "{help}");
            assert!(
                help.lines().all(|line| line.chars().count() <= 80),
                "{help}"
            );
        }
    }
}
