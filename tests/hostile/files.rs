//! The schedule, which belongs to an unprivileged user, and the files of the configuration in the hands of others.

use super::Case;
use host::Stage;
use std::fmt::Write as _;
use std::io::Write as _;

const UP: &str = "an upgrade is available (14.3.33 -> 14.3.34)";
const UNUSABLE: &str = "is pending: |the maintenance schedule is invalid";

pub fn cases() -> Vec<Case> {
    [kinds(), contents(), configuration(), history()]
        .into_iter()
        .flatten()
        .collect()
}

fn case(name: &'static str, status: i32, says: &'static str, set: fn(&mut Stage)) -> Case {
    Case {
        name,
        status,
        says,
        set,
    }
}

/// Puts something else in the schedule's place: a line of shell in which `$schedule` is its name.
fn instead(stage: &Stage, line: &str) {
    stage.write("/home/alice/secret", "SECRET 1\n");
    stage.shell(&format!(
        "schedule=$root/etc/teleport-upgrade.d/schedule; rm \"$schedule\"; {line}"
    ));
}

fn kinds() -> Vec<Case> {
    vec![
        case(
            "schedule: a link to the password file",
            0,
            "symbolic link; must be a regular file",
            |stage| {
                instead(stage, "ln -s /etc/shadow \"$schedule\"");
            },
        ),
        case(
            "schedule: a link to a good schedule",
            0,
            "symbolic link",
            |stage| {
                stage.write("/home/alice/schedule", "0 99999999999\n");
                instead(stage, "ln -s /home/alice/schedule \"$schedule\"");
            },
        ),
        case("schedule: a link to itself", 0, "symbolic link", |stage| {
            instead(stage, "ln -s schedule \"$schedule\"")
        }),
        case(
            "schedule: a hard link to a secret",
            0,
            "hard link to another file",
            |stage| {
                instead(stage, "ln \"$root/home/alice/secret\" \"$schedule\"");
            },
        ),
        case(
            "schedule: a FIFO nobody writes to",
            0,
            "not a regular file",
            |stage| instead(stage, "mkfifo \"$schedule\""),
        ),
        case("schedule: a socket", 0, "not a regular file", |stage| {
            let path = stage.path("/etc/teleport-upgrade.d/schedule");
            std::fs::remove_file(&path).unwrap();
            // The name of a socket is short: by way of the directory.
            let directory = std::fs::File::open(path.parent().unwrap()).unwrap();
            let short = format!(
                "/proc/self/fd/{}/schedule",
                std::os::fd::AsRawFd::as_raw_fd(&directory)
            );
            drop(std::os::unix::net::UnixListener::bind(short).unwrap());
        }),
        case(
            "schedule: an endless device",
            0,
            "not a regular file",
            |stage| instead(stage, "mknod \"$schedule\" c 1 5"),
        ),
        case("schedule: a disk", 0, "not a regular file", |stage| {
            instead(stage, "mknod \"$schedule\" b 7 250")
        }),
        case(
            "schedule: a device that there is not",
            0,
            "not a regular file",
            |stage| instead(stage, "mknod \"$schedule\" c 240 77"),
        ),
        case("schedule: a directory", 0, "not a regular file", |stage| {
            instead(stage, "mkdir \"$schedule\"")
        }),
        case("schedule: nobody may read it", 0, "is pending: ", |stage| {
            instead(stage, "(umask 777; : >\"$schedule\")")
        }),
    ]
}

fn contents() -> Vec<Case> {
    fn says(stage: &Stage, text: impl AsRef<[u8]>) {
        stage.configure("schedule", text);
    }
    vec![
        case(
            "schedule: 10 GB of digits",
            0,
            "larger than 65536 bytes",
            |stage| {
                says(stage, "7".repeat(1_000_000));
                // The rest is a hole in the file.
                let file = std::fs::File::options()
                    .write(true)
                    .open(stage.path("/etc/teleport-upgrade.d/schedule"))
                    .unwrap();
                file.set_len(10_000_000_000).unwrap();
            },
        ),
        case("schedule: 64 KB of digits", 0, UNUSABLE, |stage| {
            says(stage, "7".repeat(65536))
        }),
        case("schedule: grows while it is read", 0, "", |stage| {
            let mut file = std::fs::File::options()
                .append(true)
                .open(stage.path("/etc/teleport-upgrade.d/schedule"))
                .unwrap();
            std::thread::spawn(move || {
                for _ in 0..20_000 {
                    if file.write_all(b"1 2\n1").is_err() {
                        return;
                    }
                    std::thread::sleep(std::time::Duration::from_micros(300));
                }
            });
        }),
        case(
            "schedule: ten thousand windows",
            0,
            "larger than 65536 bytes",
            |stage| {
                let mut text = String::new();
                for hour in 0..10_000_u64 {
                    writeln!(
                        text,
                        "{} {}",
                        1_900_000_000 + hour * 3600,
                        1_900_000_060 + hour * 3600
                    )
                    .unwrap();
                }
                says(stage, text);
            },
        ),
        case(
            "schedule: as many windows as it may hold",
            0,
            "is pending: next maintenance window opens 2027-",
            |stage| {
                let hours = (0..2_900_u64).rev();
                says(
                    stage,
                    hours
                        .map(|hour| {
                            format!(
                                "{} {}\n",
                                1_800_000_000 + hour * 9,
                                1_800_000_001 + hour * 9
                            )
                        })
                        .collect::<String>(),
                );
            },
        ),
        case("schedule: NUL bytes", 0, UNUSABLE, |stage| {
            says(stage, [0; 5000])
        }),
        case("schedule: a NUL within a number", 0, UNUSABLE, |stage| {
            says(stage, "17\x00 1800000000\n")
        }),
        case("schedule: bytes that are no text", 0, "not text", |stage| {
            says(stage, [0xff, 0xfe, 0x80])
        }),
        case("schedule: the ends of 64 bits", 0, UNUSABLE, |stage| {
            says(stage, "-9223372036854775808 9223372036854775807\n")
        }),
        case("schedule: beyond 64 bits", 0, UNUSABLE, |stage| {
            says(stage, "1 9223372036854775808\n")
        }),
        case(
            "schedule: the last year that can be written",
            0,
            "",
            |stage| says(stage, "8210266876000 8210266876799\n"),
        ),
        case(
            "schedule: windows that stop before they start",
            0,
            UNUSABLE,
            |stage| says(stage, "1900000000 1800000000\n5 5\n"),
        ),
        case(
            "schedule: milliseconds",
            0,
            "its next window is more than a year away",
            |stage| says(stage, "1900000000000 1900003600000\n"),
        ),
        case(
            "schedule: since for ever, until for ever",
            0,
            "would upgrade from 14.3.33 to 14.3.34 now",
            |stage| says(stage, "-8334601228800 8210266876799\n"),
        ),
        case(
            "schedule: what a terminal would obey",
            0,
            "line 1: expected two",
            |stage| says(stage, "\u{1b}[31mSECRET\u{202e}\n"),
        ),
        case(
            "schedule: a line for the journal",
            0,
            "line 1: expected two Unix timestamps",
            |stage| says(stage, "<0>SECRET\r\r\r\n"),
        ),
        case("schedule: one line without an end", 0, UNUSABLE, |stage| {
            says(stage, format!("1800000000 {}", " ".repeat(60_000)))
        }),
        case("schedule: digits of another script", 0, UNUSABLE, |stage| {
            says(stage, "١٨٠٠٠٠٠٠٠٠ ١٩٠٠٠٠٠٠٠٠\n")
        }),
    ]
}

fn configuration() -> Vec<Case> {
    const ENDPOINT: &str = "releases.example.com/current\n";
    fn shell(stage: &Stage, line: &str) {
        stage.shell(&format!("cd \"$root/etc/teleport-upgrade.d\"; {line}"));
    }
    vec![
        case(
            "configuration: endpoint that others can write",
            2,
            "/endpoint: writable by users other than root (mode 0646)",
            |stage| {
                shell(stage, "chmod 646 endpoint");
            },
        ),
        case(
            "configuration: endpoint that a group can write",
            2,
            "/endpoint: writable by users other than root (mode 0664)",
            |stage| {
                shell(stage, "chmod 664 endpoint");
            },
        ),
        case(
            "configuration: endpoint of another user",
            2,
            "/endpoint: owned by user 1000, not by root",
            |stage| {
                shell(stage, "chown 1000 endpoint");
            },
        ),
        case(
            "configuration: a directory that others can write",
            2,
            "teleport-upgrade.d: writable by users other than root",
            |stage| {
                shell(stage, "chmod 777 .");
            },
        ),
        case(
            "configuration: a directory of another user",
            2,
            "teleport-upgrade.d: owned by user 1000",
            |stage| shell(stage, "chown 1000 ."),
        ),
        case(
            "configuration: lock that others can write",
            2,
            "/lock: writable by users other than root",
            |stage| {
                shell(stage, "echo no >lock; chmod 666 lock");
            },
        ),
        case(
            "configuration: endpoint is a link into a user's home",
            2,
            "/home/alice: owned by user 1000",
            |stage| {
                stage.write("/home/alice/endpoint", ENDPOINT);
                stage.shell("chown 1000 \"$root/home/alice\"");
                shell(stage, "ln -sf /home/alice/endpoint endpoint");
            },
        ),
        case(
            "configuration: the directory lies below one that others can write",
            2,
            "/etc/open: writable by users other than root",
            |stage| {
                stage.shell("cd \"$root/etc\"; mkdir -m 777 open; mv teleport-upgrade.d open/d; ln -s open/d teleport-upgrade.d");
            },
        ),
        case(
            "configuration: endpoint is a link of root's",
            0,
            UP,
            |stage| {
                stage.write("/etc/ours/endpoint", ENDPOINT);
                shell(stage, "ln -sf /etc/ours/endpoint endpoint");
            },
        ),
        case(
            "configuration: endpoint is a FIFO",
            2,
            "/endpoint: not a regular file",
            |stage| shell(stage, "rm endpoint; mkfifo endpoint"),
        ),
        case(
            "configuration: endpoint is an endless device",
            2,
            "/endpoint: not a regular file",
            |stage| {
                shell(stage, "rm endpoint; mknod endpoint c 1 5");
            },
        ),
        case(
            "configuration: endpoint is a directory",
            2,
            "/endpoint: not a regular file",
            |stage| shell(stage, "rm endpoint; mkdir endpoint"),
        ),
        case(
            "configuration: endpoint of 1 GB",
            2,
            "/endpoint: larger than 16 KiB",
            |stage| {
                let file = std::fs::File::options()
                    .write(true)
                    .open(stage.path("/etc/teleport-upgrade.d/endpoint"))
                    .unwrap();
                file.set_len(1_000_000_000).unwrap();
            },
        ),
        case(
            "configuration: endpoint of control characters",
            2,
            "/endpoint: \"\\u{1b}]0;x\\u{7}\\u{202e}\" contains invalid characters",
            |stage| {
                stage.configure("endpoint", "\u{1b}]0;x\u{7}\u{202e}");
            },
        ),
        case(
            "configuration: service is an option",
            2,
            "/service: invalid unit name \"--host=evil\"",
            |stage| {
                stage.configure("service", "--host=evil\n");
            },
        ),
        case(
            "configuration: insecure, and another host",
            2,
            "insecure is enabled, which allows plain HTTP to this host only",
            |stage| {
                stage.configure("insecure", "yes\n");
            },
        ),
    ]
}

fn history() -> Vec<Case> {
    fn says(stage: &Stage, text: impl AsRef<[u8]>) {
        stage.write("/var/lib/teleport-upgrade/history.json", text);
    }
    vec![
        case("history: control characters", 0, UP, |stage| {
            says(stage, "{\"failed\": {\"\u{1b}[31m\u{202e}\": 1}}")
        }),
        case(
            "history: brackets a hundred thousand deep",
            0,
            UP,
            |stage| says(stage, "[".repeat(100_000)),
        ),
        case(
            "history: a reason full of control characters",
            0,
            "skipping 14.3.34: ",
            |stage| {
                says(
                    stage,
                    r#"{"failed":{"target":"14.3.34","reason":"\u001b[31m\u202e\nno","at":"2026-01-01T00:00:00Z"}}"#,
                );
            },
        ),
        case("history: a time beyond all calendars", 0, UP, |stage| {
            says(
                stage,
                r#"{"schedule_absent_since":"+262142-12-31T23:59:60Z"}"#,
            )
        }),
        case("history: a directory", 0, UP, |stage| {
            stage.shell("mkdir -p \"$root/var/lib/teleport-upgrade/history.json\"")
        }),
        case("history: 1 GB", 0, UP, |stage| {
            says(stage, "{");
            let path = stage.path("/var/lib/teleport-upgrade/history.json");
            std::fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(1_000_000_000)
                .unwrap();
        }),
    ]
}
