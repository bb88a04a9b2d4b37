//! Disks that are full, cannot be written, or are not there: the upgrade goes its way or nothing is touched.

use super::Case;
use host::{Package, Stage};

const UP: &str = "an upgrade is available (14.3.33 -> 14.3.34)";
const DONE: &str = "upgraded from 14.3.33 to 14.3.34";

pub fn cases() -> Vec<Case> {
    vec![
        case("disk: nothing is wrong, for comparison", 0, DONE, run),
        case(
            "disk: /var cannot be written",
            1,
            "cannot create /var/lib/teleport-upgrade: ",
            |stage| {
                run(stage);
                stage.before("mount --bind \"$root/var\" \"$root/var\"; mount -o remount,bind,ro \"$root/var\"");
            },
        ),
        case(
            "disk: /var cannot be written, after an earlier run",
            1,
            "cannot lock /var/lib/teleport-upgrade/lock: ",
            |stage| {
                run(stage);
                stage.shell("mkdir \"$root/var/lib/teleport-upgrade\"");
                stage.before("mount --bind \"$root/var\" \"$root/var\"; mount -o remount,bind,ro \"$root/var\"");
            },
        ),
        case("disk: /var/lib/teleport-upgrade is full", 1, "", |stage| {
            run(stage);
            full(stage, "/var/lib/teleport-upgrade");
        }),
        case(
            "disk: /var/cache/apt is full",
            1,
            "not enough disk space|Free up space",
            |stage| {
                run(stage);
                full(stage, "/var/cache/apt");
            },
        ),
        case(
            "disk: /var/lib/apt/lists is full",
            1,
            "not enough disk space",
            |stage| {
                run(stage);
                full(stage, "/var/lib/apt/lists");
            },
        ),
        case(
            "disk: /var is full",
            1,
            "no space left on device",
            |stage| {
                run(stage);
                full(stage, "/var");
            },
        ),
        case("disk: /var/lib/dpkg is full", 1, "", |stage| {
            run(stage);
            full(stage, "/var/lib/dpkg");
        }),
        case(
            "disk: /usr/local is full",
            1,
            "not enough disk space",
            |stage| {
                run(stage);
                full(stage, "/usr/local");
            },
        ),
        case(
            "disk: no file can be made below /var/lib/teleport-upgrade",
            1,
            "",
            |stage| {
                run(stage);
                stage.shell("mkdir \"$root/var/lib/teleport-upgrade\"");
                stage.before("mount -t tmpfs -o nr_inodes=1,mode=755 tmpfs \"$root/var/lib/teleport-upgrade\"");
            },
        ),
        case("disk: there is no /run", 0, DONE, |stage| {
            run(stage);
            stage.before("rm -rf \"$root/run\"");
        }),
        case(
            "disk: there is no /var/lib/teleport-upgrade",
            0,
            DONE,
            |stage| {
                run(stage);
                stage.shell("rm -rf \"$root/var/lib/teleport-upgrade\"");
            },
        ),
        case(
            "disk: /var/lib/teleport-upgrade belongs to another user",
            1,
            "/var/lib/teleport-upgrade: owned by user 1000, not by root",
            |stage| {
                run(stage);
                stage.shell("mkdir \"$root/var/lib/teleport-upgrade\"; chown 1000 \"$root/var/lib/teleport-upgrade\"");
            },
        ),
        case(
            "disk: /var/lib/teleport-upgrade is a link into a user's home",
            1,
            "owned by user 1000, not by root",
            |stage| {
                run(stage);
                stage.shell("chown 1000 \"$root/home/alice\"; ln -s /home/alice \"$root/var/lib/teleport-upgrade\"");
            },
        ),
        case(
            "disk: the file system is read-only as a whole",
            0,
            UP,
            |stage| {
                stage.before(
                    "mount --rbind \"$root\" \"$root\"; mount -o remount,bind,ro \"$root\"",
                );
            },
        ),
        case(
            "disk: standard output is full",
            1,
            "cannot write to standard output: no space left on device",
            |stage| stage.before("exec >\"$root/dev/full\""),
        ),
    ]
}

fn case(name: &'static str, status: i32, says: &'static str, set: fn(&mut Stage)) -> Case {
    Case {
        name,
        status,
        says,
        set,
    }
}

/// Has the program really upgrade: the repository has the version, the window is open.
fn run(stage: &mut Stage) {
    stage.command = "run";
    stage
        .repository
        .publish(&[Package::agent("teleport-ent", "14.3.34")]);
    stage.export_windows(&[(-1, 2)]);
}

/// Puts a file system there that has what is in the directory, and no room for more.
fn full(stage: &mut Stage, directory: &str) {
    stage.before(&format!(
        "mkdir -p \"$root{directory}\" \"$root/keep\"
         cp -a \"$root{directory}/.\" \"$root/keep\"
         mount -t tmpfs -o size=$(($(du -sk \"$root/keep\" | cut -f 1) + 4))k,mode=755 tmpfs \"$root{directory}\"
         cp -a \"$root/keep/.\" \"$root{directory}\" 2>/dev/null || true
         rm -rf \"$root/keep\"
         head -c 100M /dev/zero >\"$root{directory}/filler\" 2>/dev/null || true"
    ));
}
