//! The command line. The manual page and the completions are generated from it.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

/// Automatic upgrades for the Teleport agent on this host.
#[derive(Debug, Parser)]
#[command(name = "teleport-upgrade", version, after_help = after_help())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Verb,
    /// The options of every command.
    #[command(flatten)]
    pub options: Options,
}

/// The commands.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Check for an upgrade and install it if allowed (run by the timer)
    #[command(after_help = RUN)]
    Run,
    /// Show what `run` would do without changing anything
    #[command(after_help = DRY_RUN)]
    DryRun {
        /// Print one JSON object, as `status --json` does
        #[arg(long)]
        json: bool,
    },
    /// Upgrade now, ignoring the maintenance window and earlier failures
    #[command(after_help = FORCE)]
    Force,
    /// Show the agent, target version, maintenance windows and activity
    #[command(after_help = STATUS)]
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show the last 50 changes: when, from, to, why, and how they ended
    #[command(after_help = HISTORY)]
    History {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check a release channel from this host, then enable upgrades from it
    #[command(after_help = ENABLE)]
    Enable {
        /// Release channel, as HOST/PATH (default: the configured one)
        channel: Option<String>,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Stop automatic upgrades on this host
    #[command(after_help = DISABLE)]
    Disable {
        /// Also release the package hold set by teleport-upgrade
        #[arg(long)]
        unhold: bool,
        /// Only release the hold, which the history contained before the history was removed; for the scripts of this program's packages
        #[arg(long, hide = true, requires = "unhold")]
        recorded: bool,
    },
    /// Print the version of this program
    #[command(after_help = VERSION)]
    Version {
        /// Accepted for compatibility; has no effect
        #[arg(long)]
        raw: bool,
    },
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct Options {
    /// Verbose output, including commands and their output
    #[arg(short, long, global = true, action = ArgAction::SetTrue, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Print only errors and the result
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    pub quiet: bool,
    /// Settings directory (default: /etc/teleport-upgrade.d)
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/etc/teleport-upgrade.d",
        hide_default_value = true
    )]
    pub config_dir: PathBuf,
    /// State directory (default: /var/lib/teleport-upgrade)
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
0   success: up to date, paused, pending, pinned, skipped, or upgraded
1   failed; the agent was not changed
2   usage or configuration error, not root, or no agent installed
10  not allowed: version or host not supported
11  upgrade failed and was rolled back
12  upgrade and rollback failed; manual intervention required
75  temporary failure: version server unreachable, package manager locked,
    another run in progress, or postponed by a hook; retried at the next
    check";

fn after_help() -> String {
    let indented: Vec<String> = EXIT_STATUS
        .lines()
        .map(|line| format!("  {line}"))
        .collect();
    format!("{EXAMPLES}\n\nExit status:\n{}", indented.join("\n"))
}

const EXAMPLES: &str = "\
Examples:
  teleport-upgrade status        show the current state
  teleport-upgrade dry-run       preview
  sudo teleport-upgrade run      check and upgrade now
  sudo teleport-upgrade enable releases.example.com/prod
                                 enable automatic upgrades";

const RUN: &str = "\
Examples:
  sudo teleport-upgrade run
  sudo teleport-upgrade run -v   also show commands and their output
  journalctl -u teleport-upgrade.service
                                 show the runs that the timer started";

const DRY_RUN: &str = "\
Examples:
  teleport-upgrade dry-run
  teleport-upgrade dry-run --json | jq -r .decision.sentence";

const FORCE: &str = "\
The compatibility rule and a pin still apply. Waits up to one hour for
a run in progress. Press Ctrl-C to stop waiting; nothing is changed.

Examples:
  teleport-upgrade dry-run       preview the version first
  sudo teleport-upgrade force    also retries a version that failed";

const STATUS: &str = "\
Does not require root. Reports servers that cannot be reached.

Examples:
  teleport-upgrade status
  teleport-upgrade status --json | jq -r .agent.installed
  teleport-upgrade status --json | jq .decision";

const HISTORY: &str = "\
Does not require root. Newest first; includes repairs and rollbacks.

Examples:
  teleport-upgrade history
  teleport-upgrade history --json | jq '.changes[] | select(.reason)'";

const ENABLE: &str = "\
Checks the channel, the compatibility rule, the repository and its
signatures, shows what a run would do, and asks for confirmation. Then
sets endpoint, and enables and starts the timer. If a check fails,
nothing is changed.

Examples:
  sudo teleport-upgrade enable releases.example.com/prod
  sudo teleport-upgrade enable --yes releases.example.com/prod
                                 in scripts
  sudo teleport-upgrade enable   after disable";

const DISABLE: &str = "\
Disables and stops the timer. A run in progress finishes, and the
settings are kept. A hold set by an administrator is never released.

Examples:
  sudo teleport-upgrade disable  pause upgrades on this host
  sudo teleport-upgrade disable --unhold
                                 before uninstalling manually";

const VERSION: &str = "\
Examples:
  teleport-upgrade version";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_precede_or_follow_the_command() {
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
