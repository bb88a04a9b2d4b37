//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

/// Keeps this host's Teleport agent on the version that its release channel names.
#[derive(Debug, Parser)]
#[command(name = "teleport-upgrade", version, after_help = EXIT_CODES)]
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
    Run,
    /// Say what `run` would do, and change nothing
    DryRun,
    /// Upgrade now, whatever the maintenance window or an earlier failure says, to a version that this host may have
    Force,
    /// Print the version of this program
    Version {
        /// The version alone, as it always is; accepted because `teleport version` has it
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
    /// The directory with the configuration
    #[arg(long, global = true, value_name = "DIR", default_value = "/etc/teleport-upgrade.d")]
    pub config_dir: PathBuf,
    /// The directory with what one pass leaves for the next
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/teleport-upgrade")]
    pub state_dir: PathBuf,
}

const EXIT_CODES: &str = "\
Exit status:
  0   nothing to do, or waiting for a window, or upgraded
  1   failed; the agent runs what it ran before
  2   wrong usage or configuration
  3   refused: a version that this host may not have, or a host that is not for this program
  4   upgraded, found unhealthy, rolled back
  5   neither the new nor the old version runs: a person is needed
  75  temporary: version server unreachable, package manager locked, another pass running";

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
        assert_eq!((cli.command, cli.options.verbose), (Verb::DryRun, true));
        assert_eq!(cli.options.config_dir, PathBuf::from("/x"));
        assert_eq!(cli.options.state_dir, PathBuf::from("/var/lib/teleport-upgrade"));
    }
}
