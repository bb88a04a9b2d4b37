//! The program: parses the command line, sets up logging, dispatches, maps errors to exit statuses.

use std::process::ExitCode;

use clap::Parser;
use nix::unistd::geteuid;

use teleport_upgrade::cli::{Cli, Verb};
use teleport_upgrade::exit::Exit;
use teleport_upgrade::report::outcome;
use teleport_upgrade::system::output::logging;
use teleport_upgrade::system::process::command;
use teleport_upgrade::{disable, enable, run, status};

fn main() -> ExitCode {
    command::close_inherited();
    let cli = Cli::parse();
    logging::set_up(cli.options.verbose, cli.options.quiet);
    // Without root there is no run.
    let is_run = matches!(cli.command, Verb::Run | Verb::Force) && geteuid().is_root();
    let ended = match cli.command {
        Verb::Run => run::run(&cli.options),
        Verb::Force => run::force(&cli.options),
        Verb::DryRun { json } => status::dry_run(&cli.options, json),
        Verb::Status { json } => status::status(&cli.options, json),
        Verb::History { json } => status::history(&cli.options, json),
        Verb::Enable { channel, yes } => enable::enable(&cli.options, channel, yes),
        Verb::Disable { unhold, recorded } => disable::disable(&cli.options, unhold, recorded),
        Verb::Version { .. } => {
            outcome::print(concat!(env!("CARGO_PKG_VERSION"), "\n")).map(|()| Exit::Success)
        }
    };
    ExitCode::from(ended.unwrap_or_else(|error| outcome::fail(&error, is_run)) as u8)
}
