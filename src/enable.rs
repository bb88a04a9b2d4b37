//! `enable`: checks a release channel from this host, then sets `endpoint` and starts the timer.

use std::io::{self, BufRead, IsTerminal};

use anyhow::{Context, Result};
use chrono::Utc;
use log::warn;

use crate::cli::Options;
use crate::config::endpoint::Endpoint;
use crate::config::{self, Config, ConfigError, ENDPOINT};
use crate::decide::decision::Decision;
use crate::decide::observation::Observation;
use crate::exit::{Exit, require_root};
use crate::observe;
use crate::packages::PackageError;
use crate::report::outcome::{self, End};
use crate::report::words;
use crate::server::answers::Target;
use crate::server::cluster::{self, Membership};
use crate::server::http::Patience;
use crate::status::Survey;
use crate::system::output::terminal;
use crate::system::text::printable;
use crate::system::{timer, times};

const QUESTION: &str = "Enable automatic upgrades? [y/N] ";

/// Checks the channel, shows what a run would do, asks, and enables automatic upgrades. If a check fails, nothing is changed.
pub fn enable(options: &Options, channel: Option<String>, yes: bool) -> Result<Exit> {
    require_root("enable")?;
    let no_channel = || ConfigError::no_channel(options.config_dir.join(ENDPOINT));
    let is_given = channel.is_some();
    let channel = match channel {
        Some(channel) => channel,
        None => config::current_channel(&options.config_dir)?.ok_or_else(no_channel)?,
    };
    let plan = match Plan::of(options, &channel) {
        Ok(plan) => plan,
        Err(End { exit, line }) => {
            // These messages are written for runs, which are repeated and read the setting.
            let line = line
                .replace("Will retry at the next check", "Try again later")
                .replace("will retry at the next check", "try again later")
                .replace("Check endpoint", "Check CHANNEL");
            let mut line = format!("cannot enable automatic upgrades: {line}");
            let server = channel.trim_start_matches("https://").trim_end_matches('/');
            if exit == Exit::Failed && line.contains("CHANNEL") && !server.contains('/') {
                line += &format!(
                    ". The channel of a Teleport Proxy is {server}/v1/webapi/automaticupgrades/channel/default"
                );
            }
            if !is_given {
                line = line.replace("CHANNEL", ENDPOINT);
            }
            return Ok(outcome::end_without_result(exit, &line));
        }
    };
    if plan.is_set && plan.is_on {
        outcome::say(&format!(
            "automatic upgrades from {} are already enabled",
            plan.channel
        ));
        return Ok(Exit::Success);
    }
    plan.announce();
    if !yes && !io::stdin().is_terminal() {
        let line = "cannot ask for confirmation: standard input is not a terminal. Use --yes";
        return Ok(outcome::end_without_result(Exit::Usage, line));
    }
    if !yes && !is_confirmed()? {
        outcome::say("nothing was changed");
        return Ok(Exit::Failed);
    }
    plan.carry_out(options)?;
    Ok(Exit::Success)
}

/// Asks on the terminal. Any answer other than yes means no.
fn is_confirmed() -> Result<bool> {
    terminal::write(&mut io::stderr(), QUESTION.as_bytes())?;
    Ok(is_yes(io::stdin().lock())?)
}

fn is_yes(mut input: impl BufRead) -> io::Result<bool> {
    // A terminal may send bytes that are not UTF-8.
    let mut answer = Vec::new();
    input.read_until(b'\n', &mut answer)?;
    let answer = answer.trim_ascii().to_ascii_lowercase();
    Ok(matches!(&answer[..], b"y" | b"yes"))
}

/// What is left to do on a host that passed all checks.
struct Plan {
    /// The release channel in its canonical form.
    channel: String,
    /// The release channel as configured, canonical or not.
    before: Option<String>,
    /// Whether both are the same channel.
    is_set: bool,
    /// Whether the timer is enabled and started.
    is_on: bool,
}

impl Plan {
    fn of(options: &Options, channel: &str) -> Result<Plan, End> {
        let survey = Survey::of(options, Patience::Run, Some(channel));
        if let Some(error) = &survey.error {
            return Err(End::by(error));
        }
        if let (Some(change), Some(run)) = (&survey.unfinished, &survey.report.in_progress) {
            let change = words::unfinished(change, Some(run));
            return Err(End {
                exit: Exit::Temporary,
                line: format!("{change}. Try again when it has finished"),
            });
        }
        let not_allowed = || End {
            exit: Exit::NotAllowed,
            line: survey.verdict.clone().unwrap_or_default(),
        };
        let Some((config, seen, decision)) = &survey.decided else {
            // Managed by teleport-update.
            return Err(not_allowed());
        };
        let by = |error: anyhow::Error| End::by(&error);
        let endpoint = config.channel().map_err(|error| by(error.into()))?;
        match decision {
            Decision::NotAllowed(reason) if reason.is_of_the_host() => return Err(not_allowed()),
            decision => {
                check_cluster(endpoint, config, seen).map_err(|error| by(error.into()))?;
                if matches!(decision, Decision::NotAllowed(reason) if !reason.is_a_pin()) {
                    return Err(not_allowed());
                }
            }
        }
        check_repository(config, seen, decision).map_err(by)?;
        let before =
            config::current_channel(&options.config_dir).map_err(|error| by(error.into()))?;
        let parsed = before
            .as_ref()
            .map(|text| Endpoint::parse(text, config.insecure));
        let is_on = timer::is_on(Utc::now()).map_err(by)?;
        survey.announce().map_err(by)?;
        survey.verdict.iter().for_each(|line| outcome::say(line));
        Ok(Plan {
            channel: endpoint.to_string(),
            before,
            is_set: parsed.is_some_and(|known| known.is_ok_and(|(set, _)| set == *endpoint)),
            is_on,
        })
    }

    fn announce(&self) {
        let channel = &self.channel;
        match &self.before {
            _ if self.is_set => {}
            None => outcome::say(&format!("endpoint will be set to {channel}")),
            Some(before) => outcome::say(&format!(
                "endpoint will change from {} to {channel}",
                printable(before, 80)
            )),
        }
        if !self.is_on {
            outcome::say(&format!("{} will be enabled and started", timer::UNIT));
        }
    }

    /// Sets the channel first: a timer without a channel does nothing.
    fn carry_out(&self, options: &Options) -> Result<()> {
        let channel = &self.channel;
        if !self.is_set {
            config::set_channel(&options.config_dir, channel)?;
        }
        if !self.is_on {
            timer::switch("enable").with_context(|| {
                format!("endpoint is set to {channel}, but automatic upgrades are not enabled")
            })?;
        }
        let now = Utc::now();
        let next = match timer::read(now, true).ok().and_then(|timer| timer.next) {
            _ if !timer::systemd_runs() => {
                ". systemd is not running here, so the timer starts at the next boot".into()
            }
            Some(next) => format!("; next check in {}", times::span(next - now)),
            None => String::new(),
        };
        outcome::say(&format!(
            "automatic upgrades from {channel} are enabled{next}"
        ));
        Ok(())
    }
}

/// Fails if the channel belongs to a Proxy of another cluster, since upgrades would be checked against the version of that cluster.
fn check_cluster(
    endpoint: &Endpoint,
    config: &Config,
    seen: &Observation,
) -> Result<(), ConfigError> {
    let Some(proxy) = endpoint.teleport_proxy() else {
        return Ok(());
    };
    match cluster::membership(proxy, &seen.settings) {
        Membership::Same => Ok(()),
        Membership::Unknown(why) => {
            warn!("cannot verify that {proxy} is a Proxy of the agent's cluster: {why}");
            Ok(())
        }
        Membership::Other(theirs, ours, server) => {
            let problem = format!(
                "{proxy} is a Proxy of the cluster {theirs}, and this agent is in the cluster {ours} ({server})"
            );
            match &config.proxy {
                Some(checked) if checked.host != proxy.host => {
                    warn!("{problem}. Upgrades are checked against {checked}, since proxy is set");
                    Ok(())
                }
                _ => Err(ConfigError::of_channel(
                    problem,
                    format!(
                        "Use a channel of {ours}, or set proxy to {server}, so that upgrades are checked against {ours}"
                    ),
                )),
            }
        }
    }
}

/// Fails unless the package manager verifies signatures, and the repository contains what this host is to install.
fn check_repository(config: &Config, seen: &Observation, decision: &Decision) -> Result<()> {
    if seen.offer.is_some() {
        // All versions of the upgrade path were found in it.
        return Ok(());
    }
    let package = &seen.agent.package;
    let packages = observe::package_manager(config, package.database)?;
    let target = match (decision, &seen.target) {
        // A pinned host does not install the target version.
        (Decision::NotAllowed(_), _) => &package.version,
        (_, Some(Target::Version(target))) => target,
        _ => &package.version,
    };
    match packages.find(package, target) {
        // The repository contains other versions, and the target is installed already.
        Err(PackageError::NotOffered {
            latest: Some(_), ..
        }) if *target == package.version => Ok(()),
        found => Ok(found.map(|_| ())?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_a_yes_is_a_no() {
        for yes in ["y\n", "Yes \n", " YES"] {
            assert!(is_yes(yes.as_bytes()).unwrap(), "{yes:?}");
        }
        for no in [&b""[..], b"\n", b"yeah\n", b"\xff\n", b"n\ny\n"] {
            assert!(!is_yes(no).unwrap(), "{no:?}");
        }
    }
}
