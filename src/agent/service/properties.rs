//! The properties of a unit, as `systemctl show` prints them, and what else there is to see of the files and processes that they name.

use std::path::PathBuf;
use std::time::Duration;

use crate::agent::service::processes::{binary, binary_by_age, is_member};
use crate::agent::service::{Binary, Health, LOOP, PidFile, Service};
use crate::agent::settings::unit::Unit;
use crate::system::files::untrusted;
use crate::system::process::Process;

/// The properties that are read here.
pub const NAMES: &str = "Id,LoadState,ActiveState,SubState,Result,MainPID,NRestarts,CanReload,Type,PIDFile,ExecStart,ExecReload,\
    ControlGroup,ActiveEnterTimestampMonotonic,Environment,EnvironmentFiles";
/// Restarts that systemd counted are a crash loop only while the last of them is this recent.
const RECENT: Duration = Duration::from_secs(120);

/// Reads what `systemctl show` printed: a paragraph a unit.
pub fn parse(lines: &[&str], uptime: Duration) -> Vec<Service> {
    lines
        .split(|line| line.is_empty())
        .map(|lines| Properties(lines).service(uptime))
        .collect()
}

/// The lines `Name=value` of one unit.
struct Properties<'a>(&'a [&'a str]);

impl<'a> Properties<'a> {
    fn get(&self, name: &str) -> &'a str {
        self.all(name).next().unwrap_or_default()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let value = move |line: &&'a str| line.strip_prefix(name)?.strip_prefix('=');
        self.0.iter().filter_map(value)
    }

    fn service(&self, uptime: Duration) -> Service {
        let control_group = self.get("ControlGroup").to_string();
        let main = self.get("MainPID").parse().ok().filter(|pid| *pid > 0);
        let pid_file = self.pid_file();
        let named = pid_file
            .as_ref()
            .filter(|_| main.is_some())
            .and_then(|file| {
                let pid = untrusted::read(file, 32).ok()?.trim().parse().ok()?;
                Process::of(pid).filter(|_| is_member(&control_group, pid))?;
                Some(pid)
            });
        let mut service = Service {
            unit: self.get("Id").to_string(),
            health: self.health(uptime),
            pid: named.or(main),
            main,
            pid_file: match (pid_file, named) {
                (None, _) => PidFile::None,
                (Some(_), None) => PidFile::Useless,
                (Some(_), Some(_)) => PidFile::Good,
            },
            control_group,
            restarts: self.restarts(),
            can_reload: self.get("CanReload") == "yes" && self.is_followed(),
            reloads_main: self.get("ExecReload").contains("MAINPID"),
            ..Service::default()
        };
        // After a reload the old process may live on for its sessions, and systemd may keep it as the main process until it ends; the
        // agent's PID file already names the new one. If that ended before it was ready, the file names no process.
        if service.pid_file == PidFile::Useless {
            service.pid = service.agents().last().map(|agent| agent.pid).or(main);
        }
        service.binary =
            service
                .pid
                .and_then(Process::of)
                .map_or(Binary::Unknown, |process| {
                    match (binary(&process), self.program()) {
                        (Binary::Unknown, Some(program)) => binary_by_age(&process, program),
                        (binary, _) => binary,
                    }
                });
        let unit = Unit {
            command: self.get("ExecStart"),
            environment: self.get("Environment"),
            files: self.all("EnvironmentFiles").collect(),
        };
        (service.starts, service.exports) = unit.look(service.pid);
        service
    }

    /// Whether systemd follows the service to the process of a reload: by the unit's PID file, or because the service notifies it.
    /// Otherwise the service has ended for systemd when the old process has, and it kills the new one.
    fn is_followed(&self) -> bool {
        !self.get("PIDFile").is_empty() || self.get("Type").starts_with("notify")
    }

    fn restarts(&self) -> u32 {
        self.get("NRestarts").parse().unwrap_or(0)
    }

    fn program(&self) -> Option<&'a str> {
        let rest = self.get("ExecStart").split_once("path=")?.1;
        rest.split([' ', ';']).next()
    }

    /// The PID file: the unit's, else that of the agent's command line.
    fn pid_file(&self) -> Option<PathBuf> {
        let path = match self.get("PIDFile") {
            // `--pid-file=/run/teleport.pid`, or the same in two words.
            "" => {
                let rest = self.get("ExecStart").split_once("--pid-file")?.1;
                rest.trim_start_matches(['=', ' '])
                    .split([' ', ';'])
                    .next()?
            }
            path => path,
        };
        Some(PathBuf::from(path)).filter(|path| path.is_absolute())
    }

    fn health(&self, uptime: Duration) -> Health {
        let since = self
            .get("ActiveEnterTimestampMonotonic")
            .parse()
            .unwrap_or(0);
        let since = Duration::from_micros(since);
        let is_looping = self.restarts() >= LOOP && uptime.saturating_sub(since) < RECENT;
        match (
            self.get("LoadState"),
            self.get("ActiveState"),
            self.get("SubState"),
        ) {
            ("not-found", _, _) => Health::Absent,
            // Nothing can be started or reloaded under that name.
            ("masked", _, _) => Health::Stopped,
            (_, "failed", _) => Health::Failed(self.get("Result").to_string()),
            (_, "active" | "activating" | "reloading" | "deactivating", _) if is_looping => {
                Health::CrashLooping
            }
            (_, "activating", "auto-restart") => Health::Crashed,
            (_, "active", "running" | "exited") => Health::Running,
            (_, "active" | "activating" | "reloading" | "deactivating", _) => Health::Changing,
            _ => Health::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health_of(text: &str, uptime: u64) -> Health {
        let lines: Vec<&str> = text.split_whitespace().collect();
        Properties(&lines).health(Duration::from_secs(uptime))
    }

    #[test]
    fn health_of_every_state() {
        for (text, expected) in [
            (
                "LoadState=loaded ActiveState=active SubState=running NRestarts=0",
                Health::Running,
            ),
            (
                "LoadState=loaded ActiveState=active SubState=exited",
                Health::Running,
            ),
            (
                "LoadState=loaded ActiveState=inactive SubState=dead",
                Health::Stopped,
            ),
            (
                "LoadState=loaded ActiveState=failed SubState=failed Result=exit-code",
                Health::Failed("exit-code".into()),
            ),
            (
                "LoadState=loaded ActiveState=activating SubState=auto-restart NRestarts=2",
                Health::Crashed,
            ),
            (
                "LoadState=loaded ActiveState=activating SubState=start",
                Health::Changing,
            ),
            (
                "LoadState=loaded ActiveState=reloading SubState=reload",
                Health::Changing,
            ),
            (
                "LoadState=loaded ActiveState=deactivating SubState=stop-sigterm",
                Health::Changing,
            ),
            (
                "LoadState=not-found ActiveState=inactive SubState=dead",
                Health::Absent,
            ),
            (
                "LoadState=masked ActiveState=active SubState=running",
                Health::Stopped,
            ),
        ] {
            assert_eq!(health_of(text, 10_000), expected, "{text}");
        }
    }

    #[test]
    fn many_restarts_are_a_crash_loop_only_while_fresh() {
        let text = "LoadState=loaded ActiveState=active SubState=running NRestarts=7 ActiveEnterTimestampMonotonic=1000000000";
        assert_eq!(health_of(text, 1001), Health::CrashLooping);
        assert_eq!(health_of(text, 1119), Health::CrashLooping);
        assert_eq!(health_of(text, 1120), Health::Running);
        assert_eq!(health_of(&text.replace("=7", "=2"), 1001), Health::Running);
    }

    #[test]
    fn the_pid_file_is_the_units_else_the_agents() {
        let start = "ExecStart={ path=/usr/local/bin/teleport ; argv[]=/usr/local/bin/teleport start --pid-file=/run/a.pid ; x }";
        let file = |lines: &[&str]| Properties(lines).pid_file();
        assert_eq!(
            file(&["PIDFile=/run/b.pid", start]),
            Some("/run/b.pid".into())
        );
        assert_eq!(file(&["PIDFile=", start]), Some("/run/a.pid".into()));
        assert_eq!(
            file(&["PIDFile=", &start.replace("file=", "file ")]),
            Some("/run/a.pid".into())
        );
        assert_eq!(file(&["PIDFile="]), None);
        assert_eq!(
            file(&["ExecStart={ argv[]=teleport start --pid-file=a.pid ; x }"]),
            None
        );
    }
}
