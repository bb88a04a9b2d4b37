//! Asks servers and the repository what a decision depends on.

use anyhow::{Context, Result};
use log::{debug, warn};

use crate::agent::schedule::WindowStatus;
use crate::agent::service::Reach;
use crate::config::Config;
use crate::decide::decision::{Action, Decision, Next, Question};
use crate::decide::observation::Observation;
use crate::decide::path::{Offer, UpgradePath};
use crate::decide::policy;
use crate::decide::rollout::{Place, Standing};
use crate::observe::{MACHINE_ID, package_manager};
use crate::packages::package::Installed;
use crate::server::answers::{Percentage, Target};
use crate::server::channel::Channel;
use crate::server::cluster;
use crate::server::http::{Client, Patience};
use crate::system::output::terminal::Step;
use crate::version::Version;

/// What answers the questions of a decision: the release channel, the cluster's Proxy and the repository.
pub struct Sources<'a> {
    config: &'a Config,
    /// Whether the index of the repository may be refreshed.
    refresh: bool,
    patience: Patience,
    /// The connection to the release channel and, if that has TLS, the cluster, which may be the same server.
    client: Option<Client>,
    /// Why it is not known whether the target version is critical.
    pub problem: Option<String>,
}

impl<'a> Sources<'a> {
    /// Prepares to ask; nothing is sent yet.
    pub fn new(config: &'a Config, refresh: bool, patience: Patience) -> Sources<'a> {
        Sources {
            config,
            refresh,
            patience,
            client: None,
            problem: None,
        }
    }

    /// Decides, and asks what that takes.
    pub fn decide(&mut self, mut seen: Observation) -> Result<(Observation, Decision)> {
        loop {
            match policy::decide(&seen) {
                Next::Ask(question) => self.ask(question, &mut seen)?,
                Next::Decide(decision) => return Ok((seen, decision)),
            }
        }
    }

    /// The same with the upgrade path of an upgrade that waits, as far as it can be found out without changing anything.
    pub fn decide_with_path(&mut self, seen: Observation) -> Result<(Observation, Decision)> {
        let (mut seen, decision) = self.decide(seen)?;
        match &decision {
            Decision::Wait(Action::Upgrade(path), _) if path.next().is_none() => {
                self.ask(Question::Offer, &mut seen)?;
                self.decide(seen)
            }
            _ => Ok((seen, decision)),
        }
    }

    /// Asks what the decision did not depend on, but people want to see.
    pub fn ask_the_rest(&mut self, seen: &mut Observation) -> Result<()> {
        let Some(Target::Version(target)) = &seen.target else {
            return Ok(());
        };
        if seen.critical.is_none() && *target != seen.agent.package.version {
            self.ask(Question::Critical, seen)?;
        }
        if seen.cluster.is_none() {
            self.ask(Question::Cluster, seen)?;
        }
        Ok(())
    }

    /// Whether the agent's cluster can be reached at this moment.
    pub fn reach(&self, seen: &Observation) -> Reach {
        // Sessions depend on it, so a single missing response is not enough.
        let client = Client::new(true, Patience::Run);
        let cluster = cluster::look(self.config, &seen.settings, &client);
        debug!("{cluster}");
        cluster.reach()
    }

    fn ask(&mut self, question: Question, seen: &mut Observation) -> Result<()> {
        let (config, patience) = (self.config, self.patience);
        let endpoint = config.channel()?;
        let _step = (question != Question::Offer).then(|| Step::new(format!("asking {endpoint}")));
        let is_secure = endpoint.is_secure();
        let client = self
            .client
            .get_or_insert_with(|| Client::new(is_secure, patience));
        let channel = Channel::new(endpoint, client);
        match question {
            Question::Target => seen.target = Some(channel.target()?),
            Question::Critical => {
                let critical = channel.critical().unwrap_or_else(|error| {
                    let problem = format!("{error}. Treating the upgrade as not critical");
                    warn!("{problem}");
                    self.problem = Some(problem);
                    false
                });
                // Both files may have been replaced between the two requests: then it is another version that is critical.
                seen.critical = Some(critical && seen.target == Some(channel.target()?));
            }
            Question::Percentage => {
                seen.percentage = Some(channel.percentage());
                let waits = Standing::of(seen).is_some_and(|standing| !standing.is_reached());
                if let (Place::Unknown(problem), true) = (&seen.place, waits) {
                    warn!(
                        "{MACHINE_ID}: {problem}. This host comes last in every rollout. Run systemd-machine-id-setup, or set \
                         rollout-wariness"
                    );
                }
                // As for `critical`: the percentage may have been published with the next version, after this one was halted.
                let starts = !waits && !matches!(seen.windows, WindowStatus::Before(_));
                if starts && seen.target != Some(channel.target()?) {
                    let problem = "the target version changed at the same time".into();
                    seen.percentage = Some(Percentage::Unknown(problem));
                }
            }
            Question::Cluster => {
                let other = (!is_secure).then(|| Client::new(true, patience));
                let client = other.as_ref().unwrap_or(client);
                seen.cluster = Some(cluster::ask(config, &seen.settings, client));
            }
            Question::Offer => seen.offer = Some(self.offer(&seen.agent.package)?),
        }
        Ok(())
    }

    /// The version to install next, if the repository is needed to find out and can tell.
    pub fn next_version(&self, package: &Installed, path: &UpgradePath) -> Option<Version> {
        if let Some(version) = path.next() {
            return Some(version.clone());
        }
        let Ok(Offer::Versions(versions, _)) = self.offer(package) else {
            return None;
        };
        let path = UpgradePath::through(&path.from, &path.target, &versions).ok()?;
        path.next().cloned()
    }

    fn offer(&self, package: &Installed) -> Result<Offer> {
        let packages = package_manager(self.config, package.database)?;
        if !self.refresh {
            return Ok(Offer::Cached(packages.peek(&package.name)));
        }
        let offered = packages
            .offered(&package.name)
            .with_context(|| format!("cannot find an upgrade path from {}", package.version))?;
        let versions = offered.into_iter().map(|(version, _)| version).collect();
        Ok(Offer::Versions(versions, packages.source()))
    }
}
