use std::fs;
use std::io;
use std::path::PathBuf;

use crate::agent::settings::start::{Exports, Start};
use crate::agent::settings::unit::Unit;

fn unit(arguments: &str, environment: &str) -> Start {
    let command = format!(
        "{{ path=/usr/local/bin/teleport ; argv[]={arguments} ; ignore_errors=no ; start_time=[n/a] ; x }}"
    );
    let (mut starts, exports) = Unit {
        command: &command,
        environment,
        files: Vec::new(),
    }
    .look(None);
    assert_eq!((starts.len(), exports), (1, Exports::Unknown));
    starts.remove(0)
}

#[test]
fn the_settings_are_those_that_the_agent_is_started_with() {
    for (arguments, expected) in [
        (
            "teleport start --config /srv/a.yaml --pid-file=/run/a.pid",
            Some("/srv/a.yaml"),
        ),
        (
            "teleport start --pid-file=/run/a.pid --config=/srv/a.yaml",
            Some("/srv/a.yaml"),
        ),
        ("teleport start -c /srv/a.yaml", Some("/srv/a.yaml")),
        ("teleport start -dc /srv/a.yaml", Some("/srv/a.yaml")),
        ("teleport start -c/srv/a.yaml", Some("/srv/a.yaml")),
        ("teleport start -d $FLAGS", Some("/srv/flags.yaml")),
        (
            "teleport start --config=${HOME_OF_IT}/a.yaml",
            Some("/srv/a.yaml"),
        ),
        (
            "/bin/sh -c exec teleport start --config=/srv/a.yaml",
            Some("/srv/a.yaml"),
        ),
        ("teleport start --config", None),
        ("teleport start --pid-file=/run/a.pid", None),
        ("teleport start -- --config=/srv/a.yaml", None),
        ("run-teleport --config=/srv/a.yaml", None),
        ("", None),
    ] {
        let start = unit(
            arguments,
            "HOME_OF_IT=/srv \"FLAGS=-r node --config /srv/flags.yaml\"",
        );
        assert_eq!(start.config, expected.map(PathBuf::from), "{arguments}");
    }
    assert!(
        unit("teleport start --config a.yaml", "")
            .unread
            .unwrap()
            .contains("--config=a.yaml is not an absolute path")
    );
    assert!(
        unit("teleport start @/srv/flags", "")
            .unread
            .unwrap()
            .contains("continues in @/srv/flags")
    );
}

#[test]
fn roles_and_servers_of_the_command_line() {
    for (arguments, roles) in [
        ("teleport start --roles=node,app", Some("node,app")),
        ("teleport start --roles node", Some("node")),
        ("teleport start -r proxy,auth --token=x", Some("proxy,auth")),
        ("teleport start -rnode", Some("node")),
        ("teleport start -d -r=node", Some("node")),
        ("teleport start --roles=", None),
        ("teleport start --token=--roles=node", None),
        ("teleport app start --name=x --roles=auth", Some("app")),
        ("teleport db start", Some("db")),
        ("teleport start", None),
    ] {
        assert_eq!(unit(arguments, "").roles.as_deref(), roles, "{arguments}");
    }
    let start = unit("teleport start --auth-server=a:3025 --auth-server b", "");
    assert_eq!(start.auth_servers, ["a:3025", "b"]);
}

#[test]
fn settings_in_place_of_a_file() {
    let decoded = |arguments: &str, environment: &str| {
        unit(arguments, environment)
            .encoded
            .map(|encoded| encoded.decode())
    };
    assert_eq!(
        decoded("teleport start --config-string=YTogYg==", ""),
        Some(Ok("a: b".into()))
    );
    assert_eq!(
        decoded("teleport start", "A=b TELEPORT_CONFIG=YTogYg=="),
        Some(Ok("a: b".into()))
    );
    assert_eq!(
        decoded("teleport start", "\"TELEPORT_CONFIG=YTog\nYg==\""),
        Some(Ok("a: b".into()))
    );
    assert_eq!(
        decoded(
            "teleport start --config-string YTogYw==",
            "TELEPORT_CONFIG=YTogYg=="
        ),
        Some(Ok("a: c".into()))
    );
    assert_eq!(decoded("teleport start", "TELEPORT_CONFIG="), None);
    assert_eq!(
        decoded("teleport start --config-string=YTogYg", ""),
        Some(Err("not base64".into()))
    );
    assert_eq!(
        decoded("teleport start --config-string=//79", ""),
        Some(Err("not text".into()))
    );
    let shown = format!("{:?}", unit("teleport start", "TELEPORT_CONFIG=c2VjcmV0"));
    assert!(
        shown.contains("TELEPORT_CONFIG of 8 bytes") && !shown.contains("c2Vj"),
        "{shown}"
    );
}

#[test]
fn files_of_variables_replace_those_of_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("teleport");
    fs::write(&file, "TELEPORT_CONFIG=YTogYg==\n").unwrap();
    let listed = format!("{} (ignore_errors=yes)", file.display());
    let look = |file: &str| {
        let command = "{ argv[]=teleport start ; x }";
        Unit {
            command,
            environment: "TELEPORT_CONFIG=YTogYw==",
            files: vec![file],
        }
        .look(None)
        .0
        .remove(0)
    };
    assert_eq!(
        look(&listed).encoded.unwrap().decode().unwrap(),
        "a: b",
        "the file comes last"
    );
    assert_eq!(look("/nowhere (ignore_errors=yes)").unread, None);
    assert!(
        look(&dir.path().display().to_string())
            .unread
            .unwrap()
            .ends_with("not a regular file")
    );
    assert!(look("/nowhere/*.env (ignore_errors=yes)").unread.is_some());
}

/// A process with these words and variables, until its input ends.
fn process(words: &[&str], variables: &[(&str, &str)]) -> std::process::Child {
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "echo; read end", "sh"])
        .args(words)
        .env_clear()
        .envs(variables.iter().copied());
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    child
}

#[test]
fn the_process_that_runs_may_have_been_started_differently() {
    let command = "{ argv[]=teleport start --config=/srv/new.yaml ; x }";
    let unit = |environment| Unit {
        command,
        environment,
        files: vec!["/proc/1 (ignore_errors=yes)"],
    };
    for (variables, environment, exports) in [
        (&[("TELEPORT_EXT_UPGRADER", "unit")][..], "", Exports::Yes),
        (
            &[("X", "y")],
            "TELEPORT_EXT_UPGRADER=unit",
            Exports::AfterRestart,
        ),
        (
            &[("TELEPORT_EXT_UPGRADER", "kube")],
            "TELEPORT_EXT_UPGRADER=kube",
            Exports::No,
        ),
    ] {
        let mut child = process(&["teleport", "start", "--config=/srv/old.yaml"], variables);
        let (starts, found) = unit(environment).look(child.id().try_into().ok());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(found, exports, "{environment}");
        let configs: Vec<_> = starts
            .iter()
            .map(|start| start.config.clone().unwrap())
            .collect();
        assert_eq!(
            configs,
            [PathBuf::from("/srv/new.yaml"), "/srv/old.yaml".into()]
        );
        assert_eq!(
            starts[0].unread, None,
            "the process has what the unit gave it"
        );
    }
    let mut child = process(&["teleport start --config=/srv/new.yaml"], &[("A", "b")]);
    let (starts, _) = unit("").look(child.id().try_into().ok());
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(starts.len(), 1, "{starts:?}");
    assert!(
        unit("").look(None).0[0].unread.is_some(),
        "there is no process"
    );
}
