//! Looks at the host, and asks others until there is enough to decide by: what `run`, `dry-run` and `status` have in common.

use std::cell::{Cell, OnceCell};

use anyhow::{Context, Result};
use chrono::Utc;
use log::{debug, warn};

use crate::agent::schedule::Schedule;
use crate::agent::schedule::read::is_nop;
use crate::agent::settings::Settings;
use crate::agent::{Agent, look};
use crate::cli::Options;
use crate::config::{Config, SCHEDULE};
use crate::decide::compatibility::{Limits, NotAllowed};
use crate::decide::path::{Offer, Path};
use crate::decide::policy;
use crate::decide::policy::{Action, Decision, Observation, Question};
use crate::packages;
use crate::packages::PackageError;
use crate::packages::package::Installed;
use crate::server::channel::{Channel, Target};
use crate::server::cluster::{Cluster, Reach};
use crate::server::http::{Client, Patience, Unanswered};
use crate::state::cache::Cache;
use crate::state::history::History;
use crate::state::record;
use crate::system::terminal::Step;
use crate::version::Version;

/// The settings of this host, if there are any, for which `run` would refuse to install what is decided on.
pub fn distrust(
    config: &Config,
    seen: &Observation,
    decision: &Decision,
) -> Result<Option<PackageError>> {
    let (Decision::Go(action, _) | Decision::Wait(action, _)) = decision else {
        return Ok(None);
    };
    if matches!(action, Action::Restart(..)) {
        return Ok(None);
    }
    let checked = packages::manager(config, seen.agent.package.database)?.check_trust();
    Ok(checked.err().and_then(|error| match error {
        PackageError::Unchecked(_) => Some(error),
        // An ordinary user may not see all.
        other => {
            warn!("{other}");
            None
        }
    }))
}

/// The refusal of a host that Teleport's later updater manages, before anything is read or written that is this program's own. What
/// was begun here is finished first: the package that it installed may have brought that updater.
pub fn managed_by_another(options: &Options) -> Option<NotAllowed> {
    let by_link = look::managed_by_another().map(NotAllowed::Managed);
    let refusal = by_link
        .or_else(|| is_nop(&options.config_dir.join(SCHEDULE)).then_some(NotAllowed::Nop))?;
    record::history(&options.state_dir)
        .unfinished
        .is_none()
        .then_some(refusal)
}

/// As `observe`, and says what is strange about the agent's settings.
pub fn first_look(
    config: &Config,
    history: History,
    cache: &mut Cache,
    forced: bool,
) -> Result<Observation> {
    let seen = observe(config, history, cache, forced)?;
    if let Some(problem) = seen.settings.warning() {
        warn!(
            "{}: {problem}; going on with what can be read of it",
            seen.settings.source
        );
    }
    Ok(seen)
}

/// Reads everything on this host that a decision rests on.
fn observe(
    config: &Config,
    history: History,
    cache: &mut Cache,
    forced: bool,
) -> Result<Observation> {
    let agent = Agent::look(
        config,
        &mut cache.databases,
        &mut cache.program,
        &mut cache.services,
    )?;
    let now = Utc::now();
    let windows = Schedule::read(&config.schedule).status(now);
    let settings = Settings::read_all(agent.starts());
    let limits = Limits {
        pin: config.pin.clone(),
        prerelease: config.prerelease,
    };
    debug!("observed: {agent:?}, {settings:?}, {windows:?}, {history:?}");
    let (target, critical, cluster, offer) = (None, None, None, None);
    Ok(Observation {
        now,
        forced,
        limits,
        agent,
        settings,
        windows,
        history,
        target,
        critical,
        cluster,
        offer,
    })
}

/// Looks at the host again. What others have answered to `before` stays.
pub fn again(
    config: &Config,
    history: History,
    forced: bool,
    before: Observation,
) -> Result<Observation> {
    let Observation {
        target,
        critical,
        cluster,
        offer,
        ..
    } = before;
    Ok(Observation {
        target,
        critical,
        cluster,
        offer,
        ..observe(config, history, &mut Cache::default(), forced)?
    })
}

/// Asks others for what a decision needs and no more.
pub struct Asks<'a> {
    config: &'a Config,
    /// Whether the index of the repository may be refreshed for it.
    refresh: bool,
    /// How long servers are waited for.
    patience: Patience,
    /// Why nobody said whether the target is critical.
    pub unanswered: Cell<Option<String>>,
    /// Who asks the release channel and, over TLS, the cluster, which may be on one server.
    client: OnceCell<Client>,
}

impl<'a> Asks<'a> {
    /// Prepares to ask; nothing is sent yet.
    pub fn new(config: &'a Config, refresh: bool, patience: Patience) -> Asks<'a> {
        Asks {
            config,
            refresh,
            patience,
            unanswered: Cell::new(None),
            client: OnceCell::new(),
        }
    }

    /// Decides, and asks until there is enough to decide by.
    pub fn decide(&self, mut seen: Observation) -> Result<(Observation, Decision)> {
        loop {
            match policy::decide(&seen) {
                Decision::Ask(question) => self.answer(question, &mut seen)?,
                decision => return Ok((seen, decision)),
            }
        }
    }

    /// Where the path of what was decided is not known because the change waits, finds it out.
    pub fn path_too(
        &self,
        (mut seen, decision): (Observation, Decision),
    ) -> Result<(Observation, Decision)> {
        match &decision {
            Decision::Wait(Action::Upgrade(path), _) if path.next().is_none() => {
                self.answer(Question::Offer, &mut seen)?;
                self.decide(seen)
            }
            _ => Ok((seen, decision)),
        }
    }

    /// Asks what people want to know, too, though it does not change the decision.
    pub fn what_people_ask(&self, seen: &mut Observation) -> Result<()> {
        let Some(Target::Version(target)) = &seen.target else {
            return Ok(());
        };
        if seen.critical.is_none() && *target != seen.agent.package.version {
            self.answer(Question::Critical, seen)?;
        }
        if seen.cluster.is_none() {
            self.answer(Question::Cluster, seen)?;
        }
        Ok(())
    }

    /// Whether the agent's cluster can be reached at this moment.
    pub fn reach(&self, seen: &Observation) -> Reach {
        // Sessions hang on it: one answer that does not come is not enough.
        let cluster = Cluster::look(
            self.config,
            &seen.settings,
            &Client::new(true, Patience::Pass),
        );
        debug!("{cluster}");
        cluster.reach()
    }

    /// No answer means that the target is not critical.
    fn not_critical(&self, error: &Unanswered) -> bool {
        let problem = format!("{error}; until then the upgrade is taken as not critical");
        warn!("{problem}");
        self.unanswered.set(Some(problem));
        false
    }

    fn answer(&self, question: Question, seen: &mut Observation) -> Result<()> {
        let _step = (question != Question::Offer)
            .then(|| Step::new(format!("asking {}", self.config.endpoint)));
        let client = || {
            self.client
                .get_or_init(|| Client::new(self.config.endpoint.is_secure(), self.patience))
        };
        let channel = || Channel::new(&self.config.endpoint, client());
        match question {
            Question::Target => seen.target = Some(channel().target()?),
            Question::Critical => {
                let critical = channel()
                    .critical()
                    .unwrap_or_else(|error| self.not_critical(&error));
                // The files may have been exchanged between the two requests: then it is another version that is critical.
                seen.critical = Some(critical && seen.target == Some(channel().target()?));
            }
            Question::Cluster if self.config.endpoint.is_secure() => {
                seen.cluster = Some(Cluster::ask(self.config, &seen.settings, client()));
            }
            Question::Cluster => {
                seen.cluster = Some(Cluster::ask(
                    self.config,
                    &seen.settings,
                    &Client::new(true, self.patience),
                ))
            }
            Question::Offer => seen.offer = Some(self.offer(&seen.agent.package)?),
        }
        Ok(())
    }

    /// What is to be installed next on the way, if the repository can tell.
    pub fn next(&self, package: &Installed, path: &Path) -> Option<Version> {
        let Some(version) = path.next() else {
            let Ok(Offer::Versions(versions, _)) = self.offer(package) else {
                return None;
            };
            return Path::through(&path.from, &path.target, &versions)
                .ok()?
                .next()
                .cloned();
        };
        Some(version.clone())
    }

    fn offer(&self, package: &Installed) -> Result<Offer> {
        let packages = packages::manager(self.config, package.database)?;
        if !self.refresh {
            return Ok(Offer::Cached(packages.peek(&package.name)));
        }
        let offered = packages.offered(&package.name);
        let offered = offered.with_context(|| {
            format!("cannot find the way from {} to the target", package.version)
        })?;
        Ok(Offer::Versions(
            offered.into_iter().map(|(version, _)| version).collect(),
            packages.source(),
        ))
    }
}
