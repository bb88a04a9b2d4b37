//! The version server of real hosts, set up by the commands of its README.

use crate::fleet::kit;
use host::{Host, pem};
use std::fs;

/// Where hosts and the version server write metrics.
pub const METRICS: &str = "/var/lib/prometheus/node-exporter";
/// What runs `advance`.
pub const ROLLOUT: &str = "teleport-rollout@prod";

/// A host that is set up by the commands in the README, except for certificates and times.
pub fn version_server() -> Host {
    let server = Host::new();
    server.releases.stop();
    let (certificate, key) = pem();
    server.write("/etc/ssl/releases.example.com.pem", &certificate);
    server.write("/etc/ssl/private/releases.example.com.key", &key);
    let settings = fs::read_to_string(kit("nginx.conf")).unwrap();
    // Another server of the test harness uses the same port on a different address.
    let settings = settings
        .replace("listen 443 ssl", "listen 127.0.0.1:443 ssl")
        .replace("listen [::]:443", "listen [::1]:443");
    server.write("/etc/nginx/conf.d/releases.conf", &settings);
    for (file, mode) in [
        ("publish", 0o755),
        ("advance", 0o755),
        ("teleport-rollout@.service", 0o644),
        ("teleport-rollout@.timer", 0o644),
    ] {
        let place = format!("/root/packaging/version-server/{file}");
        server.write(&place, &fs::read_to_string(kit(file)).unwrap());
        server.set_mode(&place, mode);
    }
    often(&server, "teleport-rollout@");
    let readme = fs::read_to_string(kit("README.md")).unwrap();
    let commands: String = readme
        .lines()
        .filter_map(|line| line.strip_prefix("$ sudo "))
        .filter(|command| !command.contains("$USER"))
        .map(|command| format!("sudo {command}\n"))
        .collect();
    let script = format!(
        "sudo() {{ \"$@\"; }}\ncd /root\nmkdir -p {METRICS} /var/log/nginx\nrm /etc/nginx/sites-enabled/default\n\
         systemctl start nginx.service\n{commands}systemctl stop {ROLLOUT}.timer\n"
    );
    server.run(&["bash", "-euxc", &script]).expect(0);
    for unit in ["service", "timer"] {
        let unit = format!("{ROLLOUT}.{unit}");
        let verified = server.run(&["systemd-analyze", "verify", "--man=no", &unit]);
        assert_eq!(verified.expect(0).stderr, "");
    }
    server
}

/// Makes a timer start its unit every three seconds.
pub fn often(host: &Host, unit: &str) {
    let timer = "[Timer]\nOnActiveSec=\nOnActiveSec=0\nOnUnitInactiveSec=3\nRandomizedDelaySec=0\nAccuracySec=100ms\n";
    let service = "[Unit]\nStartLimitIntervalSec=0\n";
    for (kind, text) in [("timer", timer), ("service", service)] {
        host.write(
            &format!("/etc/systemd/system/{unit}.{kind}.d/often.conf"),
            text,
        );
    }
}
