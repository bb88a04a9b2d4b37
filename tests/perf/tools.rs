//! What measures, brought to a host that has no network to get it from.

use host::{Host, authority, compiled, outside};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where it is on the host.
const TOOLS: &str = "/opt/perf";

/// The path of a tool on the host.
pub fn path(name: &str) -> String {
    format!("{TOOLS}/{name}")
}

/// Brings all of it.
pub fn bring(host: &Host) {
    let put = |from: &Path, to: &str| {
        let to = host.path(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, &to)
            .unwrap_or_else(|error| panic!("{}: {error} (run tests/perf/all)", from.display()));
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/perf");
    for name in ["shell-updater", "measure.py", "load.py", "downtime.py"] {
        put(&here.join(name), &path(name));
    }
    put(
        &compiled("teleport-upgrade"),
        &path("teleport-upgrade-with-symbols"),
    );
    put(&compiled("examples/handshake"), &path("handshake"));
    host.write(&path("authority.pem"), authority());
    put(Path::new("/usr/bin/time"), "/usr/bin/time");
    put(Path::new("/usr/bin/valgrind.bin"), "/usr/bin/valgrind");
    for name in [
        "callgrind-amd64-linux",
        "vgpreload_core-amd64-linux.so",
        "default.supp",
    ] {
        put(
            &Path::new("/usr/libexec/valgrind").join(name),
            &format!("/usr/libexec/valgrind/{name}"),
        );
    }
    // As it is shipped.
    outside(Command::new("strip").arg(host.path("/usr/sbin/teleport-upgrade")));
    outside(Command::new("strip").arg(host.path(&path("handshake"))));
    // As a network has them: no packet is larger than a frame.
    outside(host.network.command("ip").args([
        "link",
        "set",
        "lo",
        "mtu",
        "1500",
        "gso_max_segs",
        "1",
    ]));
}
