//! The version server kit: `publish` on its own, behind nginx, and the Terraform files.

use hcl::{Body, Expression};
use host::{Host, Package, Response, pem};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn kit(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging/version-server")
        .join(file)
}

fn publish(channel: &Path, arguments: &[&str]) -> Output {
    Command::new(kit("publish"))
        .arg(channel)
        .args(arguments)
        .output()
        .unwrap()
}

/// What a web server would serve of a channel: its version, whether it is critical, and for how many percent of the hosts it is.
fn served(channel: &Path) -> Option<[String; 3]> {
    let read = |file: &str| {
        fs::read_to_string(channel.join(file))
            .ok()
            .map(|text| text.trim().to_string())
    };
    channel
        .exists()
        .then(|| ["version", "critical", "rollout"].map(|file| read(file).unwrap()))
}

/// A version for all hosts.
fn pair(version: &str, critical: &str) -> Option<[String; 3]> {
    files(version, critical, "100")
}

fn files(version: &str, critical: &str, percent: &str) -> Option<[String; 3]> {
    Some([version, critical, percent].map(String::from))
}

#[test]
fn publish_writes_the_given_files_and_nothing_else() {
    let parent = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir_in(parent.path()).unwrap();
    let channel = directory.path().join("current");
    for (arguments, expected) in [
        (&["14.3.34"][..], pair("14.3.34", "no")),
        (&["v14.3.35", "--critical"], pair("14.3.35", "yes")),
        (&["none"], pair("none", "no")),
        (&["0.0.1"], pair("0.0.1", "no")),
    ] {
        let ran = publish(&channel, arguments);
        assert!(
            ran.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        assert_eq!(served(&channel), expected, "{arguments:?}");
    }
    let before = served(&channel);
    for arguments in [
        &[""][..],
        &["14.3"],
        &["14.3.34.1"],
        &["14.03.34"],
        &["15.0.0-rc.1"],
        &["14.3.34\n"],
        &["14.3.34 "],
        &["1e3.0.0"],
        &["-1.0.0"],
        &["vv1.0.0"],
        &["none", "--critical"],
        &["14.3.34", "--crtical"],
        &["14.3.34", "--critical", "x"],
        &["14.3.34", "14.3.35"],
        &[],
    ] {
        let ran = publish(&channel, arguments);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}");
        assert!(ran.stderr.starts_with(b"publish: "), "{arguments:?}");
        assert_eq!(served(&channel), before, "{arguments:?}");
    }
    for name in [".x", "a b", "-x"] {
        assert_eq!(
            publish(&directory.path().join(name), &["14.3.34"])
                .status
                .code(),
            Some(2),
            "{name}"
        );
    }
    // Wherever it would lead: the directory that it is next to is there in each case.
    fs::create_dir(directory.path().join("inner")).unwrap();
    for name in ["inner/../x", "inner/..", "../x", "inner/../inner/x"] {
        let ran = publish(&directory.path().join(name), &["14.3.34"]);
        assert_eq!(ran.status.code(), Some(2), "{name}");
        assert!(
            String::from_utf8_lossy(&ran.stderr).contains("leads out of its directory by \"..\""),
            "{name}: {ran:?}"
        );
    }
    assert!(!directory.path().join("x").exists() && !directory.path().with_file_name("x").exists());
    assert_eq!(
        publish(Path::new("/no/such/directory/current"), &["14.3.34"])
            .status
            .code(),
        Some(2)
    );
    // A directory that someone made manually is not lost.
    fs::create_dir(directory.path().join("manual")).unwrap();
    assert_eq!(
        publish(&directory.path().join("manual"), &["14.3.34"])
            .status
            .code(),
        Some(2)
    );
    let left: BTreeSet<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        left.iter()
            .filter(|name| name.starts_with(".current.") && *name != ".current.lock")
            .count(),
        2,
        "{left:?}"
    );
}

#[test]
fn publish_leaves_a_link_alone_that_it_has_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let stable = directory.path().join("stable");
    assert!(publish(&stable, &["14.3.34"]).status.success());
    let follower = directory.path().join("prod");
    std::os::unix::fs::symlink("stable", &follower).unwrap();
    let ran = publish(&follower, &["14.3.35"]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.code() == Some(2)
            && said.contains("is a link to stable that publish did not create"),
        "{said}"
    );
    assert_eq!(
        (served(&stable), served(&follower)),
        (pair("14.3.34", "no"), pair("14.3.34", "no"))
    );
    // A relative path that looks like an option is a path.
    fs::create_dir(directory.path().join("-d")).unwrap();
    let ran = Command::new(kit("publish"))
        .current_dir(directory.path())
        .args(["-d/prod", "14.3.34"])
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn publish_changes_the_percentage_with_the_version_or_alone() {
    let directory = tempfile::tempdir().unwrap();
    let channel = directory.path().join("current");
    let before_any_version = publish(&channel, &["--percent", "5"]);
    assert_eq!(before_any_version.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&before_any_version.stderr).contains("has no version yet"),
        "{before_any_version:?}"
    );
    for (arguments, expected) in [
        (
            &["14.3.34", "--percent", "1"][..],
            files("14.3.34", "no", "1"),
        ),
        (&["--percent", "25%"], files("14.3.34", "no", "25")),
        (&["--percent", "0"], files("14.3.34", "no", "0")),
        (&["--percent", "0.125"], files("14.3.34", "no", "0.125")),
        (&["--percent", "5", "v14.3.35"], files("14.3.35", "no", "5")),
        (&["14.3.35"], files("14.3.35", "no", "100")),
        (&["--percent", "100"], files("14.3.35", "no", "100")),
    ] {
        let ran = publish(&channel, arguments);
        assert!(
            ran.status.success() && ran.stderr.is_empty(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        assert_eq!(served(&channel), expected, "{arguments:?}");
    }
    let failed = |arguments: &[&str]| {
        let before = served(&channel);
        let ran = publish(&channel, arguments);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}");
        assert_eq!(served(&channel), before, "{arguments:?}");
        String::from_utf8(ran.stderr).unwrap()
    };
    for percent in [
        "101", "100.5", "-1", "1e1", "05", ".5", "5.", "5.1234", "5 ", "5%%", "%", "half", "",
    ] {
        let said = failed(&["--percent", percent]);
        assert!(said.starts_with("publish: "), "{percent}: {said}");
        failed(&["14.3.36", "--percent", percent]);
    }
    failed(&["14.3.36", "--percent"]);
    failed(&["--percent"]);
    failed(&["none", "--percent", "5"]);
    let said = failed(&["14.3.36", "--critical", "--percent", "5"]);
    assert!(said.contains("for all hosts at once"), "{said}");
    // Hosts that are not to wait for anything would not stop at this either.
    assert!(
        publish(&channel, &["14.3.36", "--critical"])
            .status
            .success()
    );
    let said = failed(&["--percent", "0"]);
    assert!(
        said.contains("14.3.36 is critical, so hosts do not wait for a percentage"),
        "{said}"
    );
    assert!(publish(&channel, &["none"]).status.success());
    assert!(failed(&["--percent", "5"]).contains("upgrades are paused"));
}

#[test]
fn publish_leaves_a_channel_that_has_changed_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let channel = directory.path().join("current");
    assert!(publish(&channel, &["1.0.0"]).status.success());
    let link = fs::read_link(&channel).unwrap();
    let link = link.to_str().unwrap();
    let only_if = |percent: &str| publish(&channel, &["--percent", percent, "--only-if", link]);
    assert!(only_if("5").status.success());
    assert_eq!(served(&channel), files("1.0.0", "no", "5"));
    let late = only_if("25");
    assert_eq!(late.status.code(), Some(3));
    assert!(
        String::from_utf8_lossy(&late.stderr).contains("has changed meanwhile"),
        "{late:?}"
    );
    assert_eq!(served(&channel), files("1.0.0", "no", "5"));
}

#[test]
fn publish_is_for_all_of_a_group() {
    let directory = tempfile::tempdir().unwrap();
    let (script, channel) = (
        directory.path().join("publish"),
        directory.path().join("releases/current"),
    );
    fs::copy(kit("publish"), &script).unwrap();
    fs::create_dir(channel.parent().unwrap()).unwrap();
    const GROUP: u32 = 2000;
    std::os::unix::fs::chown(channel.parent().unwrap(), None, Some(GROUP)).unwrap();
    for (path, mode) in [
        (directory.path(), 0o755),
        (channel.parent().unwrap(), 0o2775),
    ] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    for (user, version) in [
        (2001, "14.3.33"),
        (2002, "14.3.34"),
        (2001, "14.3.35"),
        (2002, "14.3.36"),
    ] {
        let ran = Command::new(&script)
            .arg(&channel)
            .arg(version)
            .uid(user)
            .gid(GROUP)
            .current_dir("/")
            .output()
            .unwrap();
        assert!(
            ran.status.success() && ran.stderr.is_empty(),
            "{user}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        assert_eq!(served(&channel), pair(version, "no"), "{user}");
    }
    // The channel, what it shows, what it showed before, and the lock: nothing that one could not remove of another's.
    assert_eq!(fs::read_dir(channel.parent().unwrap()).unwrap().count(), 4);
}

#[test]
fn publish_killed_at_any_point_leaves_the_old_or_the_new() {
    let directory = tempfile::tempdir().unwrap();
    let channel = directory.path().join("current");
    // Kills the script before its n-th command, whichever that is.
    let stepper = directory.path().join("stepper");
    fs::write(
        &stepper,
        "set -T; trap '(( ++steps == STOP )) && kill -KILL $$' DEBUG\n",
    )
    .unwrap();
    let old_and_new = [
        ("1.0.0", "no", "2.0.0", "yes"),
        ("1.0.0", "yes", "2.0.0", "no"),
        ("1.0.0", "yes", "2.0.0", "5"),
        ("1.0.0", "5", "1.0.0", "25"),
    ];
    for (old, old_critical, new, new_critical) in old_and_new {
        let with = |version: &'static str, word: &'static str| match word {
            "yes" => vec![version, "--critical"],
            "no" => vec![version],
            percent => vec![version, "--percent", percent],
        };
        let pair = |version: &str, word: &str| match word {
            "yes" | "no" => pair(version, word),
            percent => files(version, "no", percent),
        };
        let (mut killed, mut were_old, mut were_new) = (0, 0, 0);
        loop {
            assert!(
                publish(&channel, &with(old, old_critical)).status.success(),
                "what was interrupted does not stand in the way"
            );
            let mut cut = Command::new(kit("publish"));
            cut.arg(&channel)
                .args(with(new, new_critical))
                .env("BASH_ENV", &stepper)
                .env("STOP", (killed + 1).to_string());
            let ended = cut.output().unwrap().status;
            let found = served(&channel);
            if ended.success() {
                assert_eq!(found, pair(new, new_critical));
                break;
            }
            assert_eq!(ended.signal(), Some(9));
            killed += 1;
            if found == pair(old, old_critical) {
                were_old += 1;
            } else {
                assert_eq!(
                    found,
                    pair(new, new_critical),
                    "killed before command {killed}"
                );
                were_new += 1;
            }
        }
        assert!(
            were_old >= 15 && were_new >= 2,
            "{killed} kills: {were_old} times the old files, {were_new} times the new ones"
        );
    }
}

#[test]
fn a_reader_sees_all_files_of_one_version_while_it_is_published_over_and_over() {
    let directory = tempfile::tempdir().unwrap();
    let channel = Arc::new(directory.path().join("current"));
    assert!(
        publish(&channel, &["1.0.0", "--percent", "5"])
            .status
            .success()
    );
    let done = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (channel, done) = (Arc::clone(&channel), Arc::clone(&done));
        move || {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                fs::read_to_string(channel.join("version")).expect("there is always a version");
                fs::read_to_string(channel.join("critical"))
                    .expect("and a word on whether it is critical");
                // The link is followed once for all: they belong together.
                let Ok(files) = fs::canonicalize(&*channel) else {
                    continue;
                };
                let read = |file: &str| fs::read_to_string(files.join(file));
                if let (Ok(version), Ok(critical), Ok(rollout)) =
                    (read("version"), read("critical"), read("rollout"))
                {
                    let expected = if version == "2.0.0\n" {
                        ("yes\n", "100\n")
                    } else {
                        ("no\n", "5\n")
                    };
                    assert_eq!((&*critical, &*rollout), expected, "of {version}");
                    looks += 1;
                }
            }
            looks
        }
    });
    for _ in 0..20 {
        assert!(publish(&channel, &["2.0.0", "--critical"]).status.success());
        assert!(
            publish(&channel, &["1.0.0", "--percent", "5"])
                .status
                .success()
        );
    }
    done.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
}

#[test]
fn nginx_serves_what_publish_wrote_over_tls_to_a_host() {
    let host = Host::with_agent("14.3.33");
    host.repository
        .publish(&[Package::agent("teleport-ent", "14.3.34")]);
    host.closed_window();
    host.configure("observe-seconds", "1\n");
    // In the place of the harness's own server.
    host.releases.stop();
    let (certificate, key) = pem();
    host.write("/etc/ssl/releases.example.com.pem", &certificate);
    host.write("/etc/ssl/private/releases.example.com.key", &key);
    // The other servers of this host's network have addresses of their own, and the same port.
    let settings = fs::read_to_string(kit("nginx.conf")).unwrap();
    let settings = settings
        .replace("listen 443 ssl", "listen 127.0.0.1:443 ssl")
        .replace("listen [::]:443", "listen [::1]:443");
    host.write("/etc/nginx/conf.d/releases.conf", &settings);
    host.write(
        "/usr/local/bin/publish",
        &fs::read_to_string(kit("publish")).unwrap(),
    );
    host.set_mode("/usr/local/bin/publish", 0o755);
    // Debian's example listens on port 80; nothing of this needs it.
    host.shell(
        "rm /etc/nginx/sites-enabled/default && mkdir -p /var/log/nginx /srv/releases && publish /srv/releases/current 14.3.33",
    )
    .expect(0);
    assert_eq!(host.run(&["nginx", "-t", "-q"]).expect(0).stderr, "");
    host.run(&["systemctl", "start", "nginx.service"]).expect(0);
    let dry_run = || host.upgrader("dry-run").expect(0).stdout;
    assert_eq!(dry_run(), "no upgrades available (14.3.33 == 14.3.33)\n");

    host.shell("publish /srv/releases/current 14.3.34")
        .expect(0);
    let said = dry_run();
    assert!(
        said.contains("an upgrade is available (14.3.33 -> 14.3.34)")
            && said.contains("is pending: next maintenance window opens"),
        "{said}"
    );
    let url = "https://releases.example.com";
    host.shell("publish /srv/releases/current --percent 5")
        .expect(0);
    let rollout = format!("{url}/current/rollout");
    assert_eq!(
        host.run(&["curl", "-sSf", &rollout]).expect(0).stdout,
        "5\n"
    );
    let headers = host.run(&["curl", "-sSI", &rollout]).expect(0).stdout;
    assert!(
        headers.to_lowercase().contains("cache-control: no-cache\r"),
        "{headers}"
    );
    host.shell("publish /srv/releases/current --percent 100")
        .expect(0);
    let headers = host
        .run(&["curl", "-sSI", &format!("{url}/current/version")])
        .expect(0)
        .stdout
        .to_lowercase();
    assert!(
        headers.starts_with("http/1.1 200")
            && headers.contains("content-type: text/plain; charset=utf-8"),
        "{headers}"
    );
    assert!(
        headers.contains("cache-control: public, max-age=60"),
        "{headers}"
    );
    for path in [
        "/",
        "/current/",
        "/current/other",
        "/.current.rollout",
        "/.current.halted",
        "/.current.lock",
        "/current/../../../etc/passwd",
        "/none/version",
    ] {
        assert_eq!(
            host.run(&["curl", "-sSf", "--path-as-is", &format!("{url}{path}")])
                .status,
            22,
            "{path}"
        );
    }
    let posted = host.run(&[
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-d",
        "x",
        &format!("{url}/current/version"),
    ]);
    assert_eq!(posted.stdout, "403");
    for (version, status) in [("1.1", 35), ("1.2", 0), ("1.3", 0)] {
        let asked = host.run(&[
            "curl",
            "-sS",
            "--tlsv1.0",
            "--tls-max",
            version,
            &format!("{url}/current/version"),
        ]);
        assert_eq!(asked.status, status, "TLS {version}: {}", asked.stderr);
    }
    assert_ne!(
        host.run(&["curl", "-sS", "http://releases.example.com/current/version"])
            .status,
        0
    );

    host.shell("publish /srv/releases/current 14.3.34 --critical")
        .expect(0);
    let said = host.upgrader("run").expect(0).stdout;
    assert!(said.contains("upgraded from 14.3.33 to 14.3.34"), "{said}");
    host.assert_agent_runs("14.3.34");
}

/// Publishes 14.3.35 right after the first request for `version`, which returned 14.3.34.
fn publish_between_two_requests(host: &Host) {
    host.repository
        .publish(&["14.3.34", "14.3.35"].map(|version| Package::agent("teleport-ent", version)));
    let asked = AtomicBool::new(false);
    host.releases
        .raw_route("/current/version", move |_, stream| {
            let version = if asked.swap(true, Ordering::Relaxed) {
                "14.3.35"
            } else {
                "14.3.34"
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n{version}\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        });
}

#[test]
fn what_is_critical_is_the_version_that_was_asked_for() {
    let host = Host::with_agent("14.3.33");
    host.closed_window();
    publish_between_two_requests(&host);
    host.releases
        .route("/current/critical", Response::ok("yes\n"));
    let said = host.upgrader("run").expect(0).stdout;
    assert!(
        said.contains("upgrade from 14.3.33 to 14.3.34 is pending: next maintenance window"),
        "{said}"
    );
    host.assert_agent_runs("14.3.33");
}

/// The first version was halted, and the percentage belongs to the version that fixes it.
#[test]
fn a_percentage_is_for_the_version_that_was_asked_for() {
    for percent in ["1", "100"] {
        let host = Host::with_agent("14.3.33");
        host.configure("observe-seconds", "1\n");
        host.configure("rollout-wariness", "0\n");
        host.open_window();
        publish_between_two_requests(&host);
        host.releases
            .route("/current/rollout", Response::ok(format!("{percent}\n")));
        let said = host.upgrader("run").expect(0).stdout;
        let waits = "upgrade from 14.3.33 to 14.3.34 is pending: the percentage of the rollout is unknown \
                     (the target version changed at the same time)";
        assert!(said.contains(waits), "{said}");
        host.assert_agent_runs("14.3.33");
        host.upgrader("run").expect(0);
        host.assert_agent_runs("14.3.35");
    }
}

/// The blocks of a Terraform file, by their labels: `resource/aws_s3_object/version`.
struct Terraform(Body);

impl Terraform {
    fn parse(directory: &str) -> Terraform {
        let text = fs::read_to_string(kit(directory).join("main.tf")).unwrap();
        Terraform(hcl::parse(&text).unwrap())
    }

    fn block(&self, path: &str) -> Body {
        let found = self.0.blocks().find(|block| {
            let labels: Vec<&str> = std::iter::once(block.identifier())
                .chain(block.labels().iter().map(|label| label.as_str()))
                .collect();
            labels.join("/") == path
        });
        found.unwrap_or_else(|| panic!("no {path}")).body().clone()
    }
}

fn value(body: &Body, key: &str) -> String {
    let found = body.attributes().find(|attribute| attribute.key() == key);
    match found.unwrap_or_else(|| panic!("no {key}")).expr() {
        Expression::String(text) => text.clone(),
        other => hcl::format::to_string(other)
            .unwrap()
            .trim_matches('"')
            .to_string(),
    }
}

fn inner(body: &Body, name: &str) -> Body {
    body.blocks()
        .find(|block| block.identifier() == name)
        .unwrap_or_else(|| panic!("no {name}"))
        .body()
        .clone()
}

/// What the objects of both clouds have in common.
fn assert_objects(terraform: &Terraform, kind: &str, name: &str) {
    for (file, cache) in [
        ("version", "public, max-age=60"),
        ("critical", "public, max-age=60"),
        ("rollout", "no-cache"),
    ] {
        let object = terraform.block(&format!("resource/{kind}/{file}"));
        assert_eq!(value(&object, name), format!("${{each.key}}/{file}"));
        assert_eq!(value(&object, "content_type"), "text/plain; charset=utf-8");
        assert_eq!(value(&object, "cache_control"), cache);
        assert_eq!(value(&object, "for_each"), "var.channels");
    }
    let critical = terraform.block(&format!("resource/{kind}/critical"));
    assert!(value(&critical, "depends_on").contains(&format!("{kind}.version")));
    let version = terraform.block(&format!("resource/{kind}/version"));
    assert!(value(&version, "depends_on").contains(&format!("{kind}.rollout")));
    let channels = terraform.block("variable/channels");
    assert!(
        value(&channels, "default").contains("dev") && value(&channels, "default").contains("prod")
    );
}

#[test]
fn terraform_for_s3_makes_a_bucket_that_is_public_to_read_by_tls_only() {
    let terraform = Terraform::parse("s3");
    let aws = value(
        &inner(&terraform.block("terraform"), "required_providers"),
        "aws",
    );
    assert!(
        aws.contains("hashicorp/aws") && aws.contains(">= 5.0"),
        "{aws}"
    );
    assert_objects(&terraform, "aws_s3_object", "key");
    let policy = value(
        &terraform.block("resource/aws_s3_bucket_policy/version_server"),
        "policy",
    );
    assert!(policy.starts_with("jsonencode("));
    for part in [
        "GrantAnonymousReadPermissions",
        "s3:GetObject",
        "Deny",
        "aws:SecureTransport",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    let access = terraform.block("resource/aws_s3_bucket_public_access_block/version_server");
    let flags = [
        "block_public_acls",
        "ignore_public_acls",
        "block_public_policy",
        "restrict_public_buckets",
    ];
    assert_eq!(
        flags.map(|flag| value(&access, flag)),
        ["true", "true", "false", "false"]
    );
    let versioning = terraform.block("resource/aws_s3_bucket_versioning/version_server");
    assert_eq!(
        value(&inner(&versioning, "versioning_configuration"), "status"),
        "Enabled"
    );
}

#[test]
fn terraform_for_gcs_makes_a_bucket_that_is_public_to_read_by_tls_only() {
    let terraform = Terraform::parse("gcs");
    let google = value(
        &inner(&terraform.block("terraform"), "required_providers"),
        "google",
    );
    assert!(google.contains("hashicorp/google"), "{google}");
    assert_objects(&terraform, "google_storage_bucket_object", "name");
    let bucket = terraform.block("resource/google_storage_bucket/version_server");
    assert_eq!(value(&bucket, "uniform_bucket_level_access"), "true");
    assert_eq!(value(&inner(&bucket, "versioning"), "enabled"), "true");
    let member = terraform.block("resource/google_storage_bucket_iam_member/public_read");
    assert_eq!(value(&member, "member"), "allUsers");
    assert_eq!(
        value(&member, "role"),
        "roles/storage.legacyObjectReader",
        "to read, not to list"
    );
    let tls = terraform.block("resource/google_org_policy_policy/tls_only");
    assert!(value(&tls, "name").ends_with("storage.secureHttpTransport"));
    assert_eq!(
        value(&inner(&inner(&tls, "spec"), "rules"), "enforce"),
        "TRUE"
    );
}
