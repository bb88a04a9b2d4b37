//! Tests of reading the configuration directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tempfile::TempDir;

use crate::config::{Config, SCHEDULE, SETTINGS};
use crate::packages::installer::Installer;
use crate::version::Version;

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn read(files: &[(&str, &str)]) -> Result<Config, String> {
    Config::read(directory(files).path()).map_err(|error| error.to_string())
}

#[test]
fn only_the_endpoint_is_required() {
    let config = read(&[("endpoint", "releases.example.com/current\n")]).unwrap();
    assert_eq!(
        config.endpoint.unwrap().file("version"),
        "https://releases.example.com/current/version"
    );
    assert_eq!(config.package, None);
    assert_eq!(config.installer, None);
    assert_eq!(config.services, ["teleport.service"]);
    assert_eq!(config.observe, Duration::from_secs(20));
    assert_eq!(config.lock_wait, Duration::from_secs(600));
    assert_eq!(config.refresh, Duration::from_secs(180));
}

#[test]
fn every_setting_is_read() {
    for name in SETTINGS.iter().filter(|name| **name != SCHEDULE) {
        let dir = directory(&[("endpoint", "example.com/x")]);
        let file = dir.path().join(name);
        let _ = fs::remove_file(&file);
        fs::create_dir(&file).unwrap();
        let error = Config::read(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("/{name}: not a regular file")),
            "{error}"
        );
    }
}

#[test]
fn values_are_trimmed_and_comments_skipped() {
    let config = read(&[
        (
            "endpoint",
            "\u{feff}# our channel\r\n\n  example.com:8443/a/b \r\n",
        ),
        ("package", " teleport \n"),
        ("installer", "nop"),
        ("service", "teleport\n# second\nteleport@other.service\n"),
        ("observe-seconds", "3"),
    ])
    .unwrap();
    assert_eq!(
        config.endpoint.unwrap().file("version"),
        "https://example.com:8443/a/b/version"
    );
    assert_eq!(config.package.as_deref(), Some("teleport"));
    assert_eq!(config.installer, Some(Installer::Nop));
    assert_eq!(
        config.services,
        ["teleport.service", "teleport@other.service"]
    );
    assert_eq!(config.observe, Duration::from_secs(3));
}

#[test]
fn errors_name_the_file_the_value_and_what_is_allowed() {
    let endpoint = ("endpoint", "example.com/x");
    for (files, parts) in [
        (
            vec![],
            vec![
                "/endpoint: no release channel configured. Set one with: sudo teleport-upgrade enable ",
            ],
        ),
        (
            vec![("endpoint", "# none\n\n")],
            vec!["/endpoint: no release channel configured"],
        ),
        (
            vec![("endpoint", "a.com/x\nb.com/x\n")],
            vec!["/endpoint: expected one value, found 2. Comment out"],
        ),
        (
            vec![endpoint, ("package", "teleprot")],
            vec![
                "/package: invalid value \"teleprot\". Allowed: ",
                "teleport-ent, teleport-ent-fips, teleport",
            ],
        ),
        (
            vec![endpoint, ("installer", "pacman")],
            vec!["/installer: invalid value \"pacman\". Allowed: apt,"],
        ),
        (
            vec![endpoint, ("insecure", "true")],
            vec!["/insecure: invalid value \"true\". Allowed: yes, no"],
        ),
        (
            vec![endpoint, ("service", "a b")],
            vec!["/service: invalid unit name \"a b\""],
        ),
        (
            vec![endpoint, ("service", "--now")],
            vec!["/service: invalid unit name \"--now\""],
        ),
        (
            vec![endpoint, ("service", "teleport.timer")],
            vec!["/service: invalid unit name \"teleport.timer\""],
        ),
        (
            vec![endpoint, ("observe-seconds", "-1")],
            vec!["/observe-seconds: invalid value \"-1\". Use seconds, 0 to 86400"],
        ),
        (
            vec![endpoint, ("proxy", "proxy.example.com/web")],
            vec![
                "/proxy: \"proxy.example.com/web\" contains invalid characters",
                ":443",
            ],
        ),
        (
            vec![endpoint, ("proxy", "a b")],
            vec!["/proxy: \"a b\" contains invalid characters"],
        ),
        (
            vec![endpoint, ("pin", "14.3")],
            vec![
                "/pin: invalid pin \"14.3\". Use a version (14.3.33)",
                "a major version (14)",
            ],
        ),
        (
            vec![endpoint, ("pin", "99999999999999999999")],
            vec!["/pin: invalid pin \"99999999999999999999\""],
        ),
        (
            vec![endpoint, ("prerelease", "maybe")],
            vec!["/prerelease: invalid value \"maybe\". Allowed: yes, no"],
        ),
        (
            vec![endpoint, ("metrics", "node-exporter")],
            vec!["/metrics: invalid path \"node-exporter\". Use an absolute path"],
        ),
        (
            vec![
                endpoint,
                ("windows", "# nights\nMon 02:00-04:00\nTue 2am-4am\n"),
            ],
            vec![
                "/windows: line 3: invalid time \"2am\" (00:00 to 24:00). Use one window per line",
            ],
        ),
        (
            vec![endpoint, ("require-window", "1")],
            vec!["/require-window: invalid value \"1\". Allowed: yes, no"],
        ),
        (
            vec![endpoint, ("rollout-wariness", "1.5")],
            vec![
                "/rollout-wariness: invalid value \"1.5\". Use a number from 0 to 1, such as 0.25",
            ],
        ),
        (
            vec![endpoint, ("rollout-wariness", "-0")],
            vec!["/rollout-wariness: invalid value \"-0\""],
        ),
        (
            vec![endpoint, ("notice", "maybe")],
            vec!["/notice: invalid value \"maybe\". Allowed: yes, no"],
        ),
        (
            vec![endpoint, ("package", "\u{1b}[2J")],
            vec!["/package: invalid value \"\\u{1b}[2J\""],
        ),
    ] {
        let error = read(&files).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{error} lacks {part}");
        }
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn limits_on_the_version() {
    let config =
        |files: &[(&str, &str)]| read(&[&[("endpoint", "example.com/x")], files].concat()).unwrap();
    let none = config(&[]);
    assert_eq!((none.proxy, none.pin, none.prerelease), (None, None, false));
    for (text, expected) in [
        ("proxy.example.com", "proxy.example.com:443"),
        ("proxy.example.com:3080\n", "proxy.example.com:3080"),
        ("https://proxy.example.com/", "proxy.example.com:443"),
        ("[2001:db8::1]", "[2001:db8::1]:443"),
    ] {
        assert_eq!(
            config(&[("proxy", text)]).proxy.unwrap().to_string(),
            expected,
            "{text}"
        );
    }
    let version = |text: &str| text.parse::<Version>().unwrap();
    for (text, allowed, forbidden) in [
        ("14", "14.0.0", "15.0.0"),
        ("v14", "14.9.9", "13.9.9"),
        ("14.3.33", "14.3.33", "14.3.34"),
    ] {
        let pin = config(&[("pin", text)]).pin.unwrap();
        assert!(
            pin.allows(&version(allowed)) && !pin.allows(&version(forbidden)),
            "{text}"
        );
    }
    assert!(config(&[("prerelease", "yes")]).prerelease);
}

#[test]
fn files_that_others_can_write_are_errors() {
    let dir = directory(&[("endpoint", "example.com/x")]);
    let endpoint = dir.path().join("endpoint");
    fs::set_permissions(&endpoint, fs::Permissions::from_mode(0o664)).unwrap();
    let error = Config::read(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains(
            "endpoint: writable by users other than root (mode 0664). Fix with: chmod go-w /"
        ),
        "{error}"
    );
    fs::set_permissions(&endpoint, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = Config::read(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("writable by users other than root (mode 0777)"),
        "{error}"
    );
}

#[test]
fn files_that_are_not_text_are_errors() {
    let dir = directory(&[]);
    fs::write(dir.path().join("endpoint"), [0xff, 0xfe]).unwrap();
    assert!(
        Config::read(dir.path())
            .unwrap_err()
            .to_string()
            .contains("not UTF-8 text")
    );
    fs::write(dir.path().join("endpoint"), "x".repeat(20_000)).unwrap();
    assert!(
        Config::read(dir.path())
            .unwrap_err()
            .to_string()
            .contains("larger than 16 KiB")
    );
    fs::remove_file(dir.path().join("endpoint")).unwrap();
    fs::create_dir(dir.path().join("endpoint")).unwrap();
    assert!(
        Config::read(dir.path())
            .unwrap_err()
            .to_string()
            .contains("not a regular file")
    );
    let error = Config::read(&dir.path().join("absent"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Create the directory and set endpoint"),
        "{error}"
    );
}
