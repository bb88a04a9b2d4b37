//! What comes with the agent in Teleport's packages, by version: its unit, and their scripts.
//!
//! | the fact | source in gravitational/teleport |
//! | --- | --- |
//! | `ExecReload` is `kill -HUP $MAINPID` before 15.1.1, `pkill -L` from then on | #37773, #38145, #39005, #39082 |
//! | `RestartSec=5` from April 2024 on, `Restart=always` in place of `on-failure` from May 2024 on; the numbers of the releases are near, not looked up | #40229, #40230, #41564, #41581, #41582, #41583 |
//! | no script before May 2024; then systemd re-reads the units after an upgrade | #41127, #41547, #41548, `examples/systemd/post-upgrade` |
//! | from 14.4.0, 15.5.0, 16.5.0 and 17.3.0 on `teleport-update link-package` is run after the install; for rpm in `%posttrans` | #49110, `build.assets/build-package.sh`, `examples/systemd/post-install` |
//! | 17.3.0's rpm links in `%post` and unlinks at every upgrade | #52703 |
//! | a Debian package unlinks at every upgrade, until 17.7.2 and 18.1.5: from then on only if the next version has no links | `examples/systemd/before-remove`, #57254, #57720, #57721 |

use super::Format;
use super::package::Package;
use super::releases::is_from;

/// The releases of May 2024, whose unit and scripts are newer.
const RESTARTS_ALWAYS: [[u32; 3]; 4] = [[13, 4, 26], [14, 3, 19], [15, 3, 2], [16, 0, 0]];
/// The first release whose agent locks its pid file, and whose unit asks for that.
const LOCKS_PID_FILE: [[u32; 3]; 1] = [[15, 1, 1]];
/// `teleport-update` of the package.
const UPDATE: &str = "/opt/teleport/system/bin/teleport-update";

/// The unit of 14.3.33.
const UNIT: &str = include_str!("agent/teleport.service");

/// Teleport's own unit of a version.
pub fn agent_unit(version: &str) -> String {
    let mut unit = UNIT.to_owned();
    if !is_from(version, &RESTARTS_ALWAYS) {
        unit = unit.replace("Restart=always", "Restart=on-failure");
    }
    if !is_from(version, &[[13, 4, 22], [14, 3, 15], [15, 2, 2], [16, 0, 0]]) {
        unit = unit.replace("RestartSec=5\n", "");
    }
    if is_from(version, &LOCKS_PID_FILE) {
        let reload = "# systemd before 239 needs an absolute path\nExecReload=/bin/sh -c \"exec pkill -HUP -L -F /run/teleport.pid\"";
        unit = unit.replace("ExecReload=/bin/kill -HUP $MAINPID", reload);
    }
    unit
}

/// A package's scripts, by what rpm calls them; the lines of a Debian package's `postinst` are in `post`.
#[derive(Default)]
pub(super) struct Scripts {
    pub(super) pre: Option<String>,
    pub(super) post: Option<String>,
    pub(super) posttrans: Option<String>,
    pub(super) preun: Option<String>,
}

/// The scripts of a package.
pub(super) fn scripts(package: &Package, format: Format) -> Scripts {
    let mut scripts = Scripts {
        pre: package.preinst.clone(),
        ..Scripts::default()
    };
    let own = package.postinst.clone();
    if !package.is_linked() {
        scripts.post = own.or_else(|| after_upgrade(package));
        scripts.preun = package.prerm.clone();
        return scripts;
    }
    let link = format!("{UPDATE} link-package");
    if format == Format::Deb || package.links_too_early {
        scripts.post = joined([Some(link), own]);
    } else {
        scripts.post = own;
        scripts.posttrans = Some(link);
    }
    scripts.preun = joined([Some(before_remove(package, format)), package.prerm.clone()]);
    scripts
}

/// What the packages of older versions did after an upgrade, never starting anything.
fn after_upgrade(package: &Package) -> Option<String> {
    let does = package.behaviour.is_some() && is_from(package.version(), &RESTARTS_ALWAYS);
    does.then(|| {
        "if test -d /run/systemd/system && { test \"$1\" = 2 || test -n \"${2-}\"; }; then\n  \
         systemctl --system daemon-reload >/dev/null || true\nfi"
            .into()
    })
}

fn before_remove(package: &Package, format: Format) -> String {
    let unlink = format!("{UPDATE} unlink-package || true");
    if package.links_too_early && format == Format::Rpm {
        return unlink;
    }
    let kept = match is_from(package.version(), &[[17, 7, 2], [18, 1, 5]]) {
        true => {
            "case \"$1 ${2-}\" in\n\
             1*|failed-upgrade*|\"upgrade 15.\"[0-4].*|\"upgrade 16.\"[0-4].*|\"upgrade 17.\"[0-2].*) ;;\n\
             upgrade*) exit 0;;\nesac\n"
        }
        false => "",
    };
    format!("{kept}if test \"$1\" != 1; then\n  {unlink}\nfi")
}

fn joined(lines: [Option<String>; 2]) -> Option<String> {
    let lines: Vec<String> = lines.into_iter().flatten().collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
