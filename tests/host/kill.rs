//! Upgrades that are interrupted at some instant, killed with all that they have started, and what the runs after that make of it.

use super::{Host, Manager, Package, Running, SOON, agent_unit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How many hosts run at once.
const AT_ONCE: usize = 2;
/// The number of runs within which a host must be healthy.
const SOON_ENOUGH: usize = 2;
/// After how many passes nobody waits for quiet any longer.
const PATIENCE: usize = 5;

/// When an upgrade is interrupted.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// So long after its start.
    After(Duration),
    /// When the updater itself is about to rename its n-th file: when it records.
    Record(usize),
    /// When the package manager is about to rename its n-th file: in rpm's case one of the package's.
    Rename(usize),
    /// When rpm is about to write to its database for the n-th time.
    Database(usize),
}

/// Which versions an upgrade is between: by them, where their packages put the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Regular files of the package, before and after.
    Files,
    /// From regular files to links that the package's scripts make, and a unit that they copy.
    ToLinks,
    /// Such links, before and after.
    Links,
}

impl Layout {
    /// All of them.
    pub const ALL: [Layout; 3] = [Layout::Files, Layout::ToLinks, Layout::Links];

    fn from(self) -> &'static str {
        match self {
            Layout::Files => "14.3.33",
            Layout::ToLinks => "17.2.9",
            Layout::Links => "17.3.1",
        }
    }

    fn to(self) -> &'static str {
        match self {
            Layout::Files => "14.3.34",
            Layout::ToLinks => "17.3.1",
            Layout::Links => "17.3.2",
        }
    }
}

/// An upgrade that is interrupted, and how the host is before and after.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Where the packages put the agent.
    pub layout: Layout,
    /// The package manager.
    pub manager: Manager,
    /// When.
    pub cut: Cut,
    /// Whether the package was locked.
    pub held: bool,
    /// Whether the maintenance window is open after it.
    pub open: bool,
}

/// Cuts upgrades off at `count` instants spread over the time that one takes, when the updater records, and at
/// these further ones. Prints a line for each and a summary, and returns how many hosts did not converge.
pub fn sweep(manager: Manager, layout: Layout, count: usize, further: &[Cut]) -> usize {
    let whole = time_of_an_upgrade(manager, layout);
    println!(
        "{manager:?} {layout:?}: an upgrade takes {:.2} s when nothing disturbs it",
        whole.as_secs_f64()
    );
    let spread = (1..=count).map(|i| Cut::After(whole.mul_f64(i as f64 / count as f64)));
    let cuts = spread
        .chain([1, 2].map(Cut::Record))
        .chain(further.iter().copied());
    let point = |(i, cut)| Point {
        layout,
        manager,
        cut,
        held: i % 3 == 0,
        open: i % 2 == 0,
    };
    let points: Vec<Point> = cuts.enumerate().map(point).collect();
    let (next, fates) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
            let fate =
                catch_unwind(AssertUnwindSafe(|| point.run())).unwrap_or_else(|_| Fate::unknown());
            println!(
                "{manager:?} {layout:?} {:<12} {}",
                point.describe(),
                fate.describe()
            );
            fates
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(fate);
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| _ = scope.spawn(work)));
    let fates = fates.into_inner().unwrap_or_else(PoisonError::into_inner);
    let lost = fates.iter().filter(|fate| !fate.converged()).count();
    let worst = fates
        .iter()
        .filter_map(|fate| fate.passes)
        .max()
        .unwrap_or(0);
    let of = |version: &str| {
        fates
            .iter()
            .filter(|fate| fate.converged() && fate.ended.runs == version)
            .count()
    };
    println!(
        "{manager:?} {layout:?}: {} points, of which {} ended on {} and {} on {}; passes it took at worst: {worst}; {lost} did not converge",
        fates.len(),
        of(layout.to()),
        layout.to(),
        of(layout.from()),
        layout.from()
    );
    lost
}

/// How long an upgrade takes on a machine as busy as it will be.
fn time_of_an_upgrade(manager: Manager, layout: Layout) -> Duration {
    let upgrade = || {
        let host = host_with_upgrade(manager, layout);
        let ran = host.upgrader("run").expect(0);
        host.assert_agent_runs(layout.to());
        ran.elapsed
    };
    let times: Vec<Duration> = thread::scope(|scope| {
        let running: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(upgrade)).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    times.iter().sum::<Duration>() / u32::try_from(AT_ONCE).unwrap()
}

/// A host whose agent could go to a version with which other files change too, some before the program and some after it.
fn host_with_upgrade(manager: Manager, layout: Layout) -> Host {
    let host = Host::with_agent_from(manager, layout.from());
    host.configure("observe-seconds", "1\n");
    host.open_window();
    let to = layout.to();
    let target = Package::agent("teleport-ent", to).unit(&format!("# of {to}\n{}", agent_unit(to)));
    let place = if layout == Layout::Files {
        "/usr/local/bin"
    } else {
        "/opt/teleport/system/bin"
    };
    let other = |package: Package, name| {
        package.file(
            &format!("{place}/{name}"),
            0o755,
            &format!("#!/bin/sh\necho {to}\n"),
        )
    };
    host.offer(["tbot", "tctl", "tsh"].into_iter().fold(target, other));
    host
}

/// What became of a host.
struct Fate {
    left: State,
    ended: State,
    /// The number of runs after which it was healthy and stayed so.
    passes: Option<usize>,
    /// What is wrong with it at the end.
    problems: Vec<String>,
}

impl Fate {
    fn unknown() -> Fate {
        let problems = vec!["the host itself failed, see above".into()];
        Fate {
            left: State::default(),
            ended: State::default(),
            passes: None,
            problems,
        }
    }

    fn converged(&self) -> bool {
        self.problems.is_empty() && self.passes.is_some_and(|passes| passes <= SOON_ENOUGH)
    }

    fn describe(&self) -> String {
        let left = format!("left [{}]", self.left.describe());
        match self.passes {
            Some(passes) if self.converged() => format!(
                "{left}: healthy on {}, runs it took: {passes}",
                self.ended.runs
            ),
            _ => format!(
                "{left}: NOT CONVERGED [{}]: {}",
                self.ended.describe(),
                self.problems.join("; ")
            ),
        }
    }
}

impl Point {
    fn describe(&self) -> String {
        let when = match self.cut {
            Cut::After(time) => format!("{:.2} s", time.as_secs_f64()),
            Cut::Record(n) => format!("record {n}"),
            Cut::Rename(n) => format!("rename {n}"),
            Cut::Database(n) => format!("write {n}"),
        };
        let (held, open) = (
            if self.held { "locked" } else { "-" },
            if self.open { "open" } else { "closed" },
        );
        format!("{when:<10} {held:<6} {open:<6}")
    }

    fn run(&self) -> Fate {
        let host = host_with_upgrade(self.manager, self.layout);
        // What a run makes of the lock by itself is not the question here.
        host.configure("lock", "no\n");
        if self.held {
            host.shell(&self.manager.locks("teleport-ent")[0]).expect(0);
        }
        let before = State::of(&host);
        self.interrupt(&host);
        let left = State::of(&host);
        if !self.open {
            host.closed_window();
        }
        let mut states = vec![left.clone()];
        let mut said = String::new();
        let mut is_quiet = false;
        while !is_quiet && states.len() <= PATIENCE {
            let ran = host.upgrader("run");
            said += &format!(
                "pass {}: {} {}{}",
                states.len(),
                ran.status,
                ran.stdout,
                ran.stderr
            );
            let now = State::of(&host);
            is_quiet = states.last() == Some(&now);
            states.push(now);
        }
        let unhealthy = states
            .iter()
            .rposition(|state| !state.is_healthy(&before, self.layout));
        let ended = states.pop().unwrap();
        let mut problems = ended.problems(&before, self.layout);
        if !is_quiet {
            problems.push(format!("there is no quiet within {PATIENCE} passes"));
        }
        if !problems.is_empty() || unhealthy.is_some_and(|last| last >= SOON_ENOUGH) {
            problems.push(said.replace('\n', " | "));
        }
        Fate {
            left,
            ended,
            passes: Some(unhealthy.map_or(0, |last| last + 1)),
            problems,
        }
    }

    fn interrupt(&self, host: &Host) {
        match self.cut {
            Cut::After(time) => {
                let pass = host.spawn(&["teleport-upgrade", "run"]);
                // Started as the run is, which costs both the same time.
                let kill = format!("sleep {}; {}", time.as_secs_f64(), kill(&pass));
                host.shell(&kill);
                pass.wait();
            }
            Cut::Record(n) => {
                let strace = format!(
                    "strace -o /dev/null -e trace=/^rename -e inject=/^rename:signal=KILL:when={n}"
                );
                let mut words: Vec<&str> = strace.split(' ').collect();
                words.extend(["teleport-upgrade", "run"]);
                let pass = host.spawn(&words);
                assert_ne!(pass.wait().status, 0, "there was no such rename");
            }
            Cut::Rename(n) | Cut::Database(n) => {
                let call = match (self.manager, self.cut) {
                    (Manager::Apt, _) => "rename",
                    (_, Cut::Rename(_)) => "renameat",
                    _ => "pwrite64",
                };
                stop_at(host, call, n);
                let mut pass = host.spawn(&["teleport-upgrade", "run"]);
                host.wait_for("the cut", SOON, || {
                    host.read("/run/cut").is_some() || !pass.is_running()
                });
                host.shell(&kill(&pass));
                let ran = pass.wait();
                assert!(
                    host.read("/run/cut").is_some(),
                    "there was no such call: {ran:?}"
                );
                host.shell("if [ -e /usr/bin/program.real ]; then mv /usr/bin/program.real $(cat /run/replaced); fi").expect(0);
            }
        }
    }
}

fn kill(pass: &Running) -> String {
    format!(
        "systemctl kill --kill-whom=all --signal=SIGKILL {}",
        pass.unit()
    )
}

/// Puts a program in the place of the one that changes the package's files, which kills that one when it is about to make this
/// system call for the n-th time, says so in `/run/cut`, and waits to be killed with all the rest. strace waits for all that the program
/// started: rpm 6 starts a gpg-agent, which goes on as long as its directory is there.
fn stop_at(host: &Host, call: &str, n: usize) {
    let (program, verbs) = match host.manager {
        Manager::Apt => ("/usr/bin/dpkg", "*--unpack*|*--configure*"),
        // rpm itself is a part of dnf, and a program to zypper.
        Manager::Yum => (
            "/usr/bin/dnf",
            "*--assumeno*) exec /usr/bin/program.real \"$@\" ;; *\" install \"*",
        ),
        Manager::Dnf5 => (
            "/usr/bin/dnf",
            "*tsflags=test*) exec -a dnf /usr/bin/program.real \"$@\" ;; *\" install \"*",
        ),
        Manager::Zypper => ("/usr/bin/rpm", "*-U*"),
    };
    let script = format!(
        "#!/bin/bash\ncase \"$*\" in {verbs}) ;; *) exec -a {program} /usr/bin/program.real \"$@\" ;; esac\n\
         strace -f -o /dev/null -e trace={call} -e inject={call}:signal=KILL:when={n} /usr/bin/program.real \"$@\" &\n\
         while jobs -r | grep -q .; do pgrep -x program.real >/dev/null || pkill gpg-agent; sleep 0.05; done\n\
         wait $!\nstatus=$?\n[ $status = 137 ] || exit $status\ntouch /run/cut\nexec sleep infinity\n"
    );
    host.shell(&format!(
        "mv {program} /usr/bin/program.real && echo {program} >/run/replaced"
    ))
    .expect(0);
    host.write(program, &script);
    host.set_mode(program, 0o755);
}

/// What is to be seen of an agent on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// The database's word for the package.
    database: String,
    /// What the database finds wrong with the package's files, or dpkg with itself.
    damage: String,
    /// The version of the program on the disk.
    binary: String,
    /// The state of the service.
    service: String,
    /// Whether systemd has its unit.
    unit: String,
    /// The version of its process.
    runs: String,
    /// Its process.
    pid: String,
    /// What keeps regular updates from the package.
    locks: String,
    /// What the updater has recorded.
    history: String,
}

impl State {
    fn of(host: &Host) -> State {
        let (query, verify, locks) = match host.manager {
            Manager::Apt => (
                "dpkg-query -W -f '${db:Status-Abbrev} ${Version}' teleport-ent",
                "dpkg --verify teleport-ent; dpkg --audit; ls /var/lib/dpkg/updates",
                "apt-mark showhold",
            ),
            Manager::Yum => (
                RPM_QUERY,
                RPM_VERIFY,
                "cat /etc/dnf/plugins/versionlock.list",
            ),
            Manager::Dnf5 => (RPM_QUERY, RPM_VERIFY, "cat /etc/dnf/versionlock.toml"),
            Manager::Zypper => (RPM_QUERY, RPM_VERIFY, "cat /etc/zypp/locks"),
        };
        let lines = [
            query,
            verify,
            "teleport version --raw",
            "systemctl is-active teleport",
            "systemctl show --property=LoadState --value teleport",
            "/proc/$(cat /run/teleport.pid)/exe version --raw",
            "cat /run/teleport.pid",
            locks,
            "cat /var/lib/teleport-upgrade/history.json",
        ];
        let script: String = lines
            .iter()
            .map(|line| format!("echo $({{ {line}; }} 2>/dev/null)\n"))
            .collect();
        let said = host.shell(&script).expect(0).stdout;
        let mut lines = said.lines().map(str::to_owned);
        let mut next = || lines.next().unwrap();
        State {
            database: next(),
            damage: next(),
            binary: next(),
            service: next(),
            unit: next(),
            runs: next(),
            pid: next(),
            locks: next(),
            history: next(),
        }
    }

    fn describe(&self) -> String {
        let or = |text: &str| {
            if text.is_empty() {
                "none".to_owned()
            } else {
                text.to_owned()
            }
        };
        let broken = if self.damage.is_empty() {
            ""
        } else {
            ", broken"
        };
        let unfinished = if self.history.contains("unfinished") {
            ", unfinished"
        } else {
            ""
        };
        format!(
            "database {}{broken}, binary {}, service {} {}{unfinished}",
            or(&self.database),
            or(&self.binary),
            self.service,
            or(&self.runs)
        )
    }

    fn is_healthy(&self, before: &State, layout: Layout) -> bool {
        self.problems(before, layout).is_empty()
    }

    /// What is not as it must be; `before` is how the host was before the upgrade.
    fn problems(&self, before: &State, layout: Layout) -> Vec<String> {
        let version = self.runs.as_str();
        let state = before.database.split_once(' ').unwrap().0;
        let checks = [
            (
                [layout.from(), layout.to()].contains(&version),
                "another version runs",
            ),
            (
                self.database == format!("{state} {version}"),
                "the database is not as it was, but for the version",
            ),
            (self.damage.is_empty(), "the package is broken"),
            (
                self.binary == version,
                "the service does not run the program on the disk",
            ),
            (self.service == "active", "the service does not run"),
            (self.unit == "loaded", "the unit is gone"),
            (self.locks == before.locks, "the lock is not as it was"),
            (
                !self.history.contains("unfinished"),
                "a change is unfinished",
            ),
            (
                !self.history.contains("failed"),
                "a healthy version failed verification",
            ),
        ];
        checks
            .iter()
            .filter(|(holds, _)| !holds)
            .map(|(_, problem)| (*problem).to_owned())
            .collect()
    }
}

/// How rpm lists the versions of the agent that it has.
const RPM_QUERY: &str = "rpm -q --qf 'ii %{VERSION} ' teleport-ent";
/// How rpm tells which files are not the package's; and those that it had not put in place.
const RPM_VERIFY: &str = "rpm --verify teleport-ent; ls /usr/local/bin | grep ';'";
