//! Keeps the Teleport agent of a host on the version that its operator wants.
//!
//! A timer runs one pass at a time: [`observe`] reads the world, [`decide`] judges it, [`act`] changes it.

mod act;
mod cli;
mod command;
mod decide;
mod logging;
mod observe;
mod pass;
mod text;
mod version;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Verb};
use pass::Exit;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::set_up(cli.options.verbose, cli.options.quiet);
    let ended = match cli.command {
        Verb::Run => pass::run(&cli.options, false),
        Verb::Force => pass::run(&cli.options, true),
        Verb::DryRun => pass::dry_run(&cli.options),
        Verb::Version { .. } => {
            logging::outcome(log::Level::Info, env!("CARGO_PKG_VERSION"));
            Ok(Exit::Fine)
        }
    };
    let exit = ended.unwrap_or_else(|error| {
        log::error!("{error:#}");
        Exit::of(&error)
    });
    ExitCode::from(exit as u8)
}
