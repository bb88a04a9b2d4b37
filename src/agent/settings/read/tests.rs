use std::path::Path;

use crate::agent::settings::Settings;
use crate::agent::settings::read::FILE;
use crate::agent::settings::start::Start;
use crate::agent::settings::unit::Unit;
use crate::system::address::Address;

fn settings(text: &str) -> Settings {
    Settings::parse(FILE, text, &Start::default())
}

fn cluster(text: &str) -> Vec<String> {
    settings(text)
        .cluster
        .iter()
        .map(ToString::to_string)
        .collect()
}

const AGENT: &str = "version: v3\nteleport:\n  nodename: host\n  proxy_server: proxy.example.com:443\n  data_dir: /srv/teleport\n\
    auth_service:\n  enabled: \"no\"\nproxy_service:\n  enabled: no\nssh_service:\n  enabled: yes\n";

#[test]
fn reads_an_agents_settings() {
    let settings = settings(AGENT);
    assert_eq!(
        settings.cluster,
        [Address::parse("proxy.example.com:443", 0).unwrap()]
    );
    assert_eq!(
        (settings.cluster_service, settings.problem, settings.source),
        (None, None, FILE.into())
    );
    assert_eq!(settings.data_dir, Path::new("/srv/teleport"));
}

#[test]
fn finds_the_cluster_where_the_agent_finds_it() {
    for (text, expected) in [
        (
            "teleport: {proxy_server: p.example.com}",
            &["p.example.com:3080"][..],
        ),
        (
            "teleport: {auth_server: a.example.com}",
            &["a.example.com:3025"],
        ),
        (
            "teleport: {auth_server: p.example.com:443}",
            &["p.example.com:443"],
        ),
        (
            "teleport:\n  auth_servers:\n    - a.example.com:3025\n    - tcp://b.example.com\n",
            &["a.example.com:3025", "b.example.com:3025"],
        ),
        (
            "teleport:\n  auth_servers: [\"a.example.com:1\"]\n",
            &["a.example.com:1"],
        ),
        (
            "teleport: {proxy_server: p.example.com:443, auth_server: a.example.com}",
            &["p.example.com:443"],
        ),
        (
            "teleport: {proxy_server: \"https://p.example.com:443\"}",
            &["p.example.com:443"],
        ),
        (
            "teleport: {proxy_server: https://p.example.com/web/}",
            &["p.example.com:3080"],
        ),
        (
            "teleport: {auth_server: \"https://[2001:db8::1]:443/\"}",
            &["[2001:db8::1]:443"],
        ),
        (
            "x: &p {proxy_server: p.example.com}\nteleport: {<<: [{nodename: a}, *p]}",
            &["p.example.com:3080"],
        ),
        ("teleport: {proxy_server: }", &[]),
        ("teleport: {proxy_server: [a, b]}", &[]),
        ("auth_service: {enabled: no}", &[]),
        ("", &[]),
    ] {
        assert_eq!(cluster(text), expected, "{text}");
    }
}

/// Both services disabled.
const NONE: &str = "auth_service: {enabled: no}\nproxy_service: {enabled: no}\n";

fn shown(settings: &Settings) -> String {
    settings
        .cluster_service
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[test]
fn a_service_of_the_cluster_is_enabled_until_its_section_disables_it() {
    for (text, expected) in [
        (
            "auth_service: {enabled: yes}\nproxy_service: {enabled: no}",
            "it runs the Auth Service (auth_service in ",
        ),
        (
            "auth_service:\n  enabled: \"yes\"\n",
            "it runs the Auth Service (auth_service in ",
        ),
        (
            "proxy_service:\n  enabled: true\n",
            "it runs the Proxy Service (proxy_service in ",
        ),
        (
            "proxy_service: {enabled: On}\nauth_service: {enabled: Yeah}",
            "Auth Service and the Proxy Service (auth_service and ",
        ),
        (
            "x: &on {enabled: yes}\nproxy_service: *on",
            "it runs the Proxy Service",
        ),
        (
            "x: &on {enabled: yes}\nproxy_service: {<<: *on, web_listen_addr: a}",
            "it runs the Proxy Service",
        ),
        (
            "x: &on {enabled: yes}\nauth_service: {enabled: no}\nproxy_service: {<<: *on, enabled: no}",
            "",
        ),
        (
            "x: &on {enabled: yes}\nproxy_service: {<<: [{a: b}, *on]}",
            "it runs the Proxy Service",
        ),
        (
            "x: &on {enabled: yes}\nauth_service: {enabled: no}\nproxy_service: {<<: [{enabled: no}, *on]}",
            "",
        ),
        (
            "",
            "the Auth Service and the Proxy Service are enabled by default and not disabled in /etc/teleport.yaml. If",
        ),
        (
            "",
            "set \"enabled: no\" under auth_service and proxy_service there",
        ),
        (
            "auth_service: {enabled: no}",
            "the Proxy Service is enabled by default",
        ),
        (
            "auth_service: {enabled: no}",
            "set \"enabled: no\" under proxy_service there",
        ),
        (
            "auth_service: {cluster_name: x}\nproxy_service: {enabled: no}",
            "set \"enabled: no\" under auth_service there",
        ),
        (
            "auth_service:\nproxy_service: {enabled: no}",
            "set \"enabled: no\" under auth_service there",
        ),
        (
            "auth_service: {enabled: }\nproxy_service: {enabled: no}",
            "the Auth Service is enabled by default",
        ),
        (
            "auth_service: {enabled: ~}\nproxy_service: {enabled: no}",
            "the Auth Service is enabled by default",
        ),
        // The agent takes that for a no.
        (
            "auth_service: {enabled: yess}\nproxy_service: {enabled: no}",
            "the Auth Service is enabled by default",
        ),
        (
            "auth_service: no\nproxy_service: no",
            "are enabled by default",
        ),
        ("ssh_service: {enabled: yes}", "are enabled by default"),
        (NONE, ""),
        // With a Proxy named, the agent starts only if both are disabled.
        ("version: v3\nteleport: {proxy_server: p.example.com}", ""),
        (
            "version: \"v3\"\nteleport: {proxy_server: p.example.com}\nproxy_service: {enabled: yes}",
            "it runs the Proxy Service",
        ),
        (
            "version: v2\nteleport: {proxy_server: p.example.com}",
            "are enabled by default",
        ),
        (
            "teleport: {proxy_server: p.example.com}",
            "are enabled by default",
        ),
        (
            "version: v3\nteleport: {proxy_server: }",
            "are enabled by default",
        ),
        (
            "version: v3\nteleport: {auth_server: a.example.com}",
            "are enabled by default",
        ),
        (
            "teleport: {auth_servers: [a.example.com]}",
            "are enabled by default",
        ),
        // What comes before something strange.
        (
            "auth_service: {enabled: yes}\nssh_service: @",
            "it runs the Auth Service",
        ),
        (
            "auth_service:\n  enabled: yes\n  tokens: [\"a",
            "it runs the Auth Service",
        ),
        (
            "auth_service: {enabled: \"yes",
            "it may run the Auth Service or the Proxy Service: cannot read /etc/teleport.yaml: ",
        ),
        (
            "auth_service: {enabled: no}\nproxy_service: {ena",
            "cannot read /etc/teleport.yaml: not YAML",
        ),
        (&format!("{NONE}ssh_service: @"), ""),
    ] {
        let settings = settings(text);
        let shown = shown(&settings);
        assert!(
            shown.contains(expected) && shown.is_empty() == expected.is_empty(),
            "{text}: {shown}"
        );
    }
    for no in [
        "no",
        "No",
        "NO",
        "nope",
        "n",
        "N",
        "false",
        "False",
        "0",
        "off",
        "Off",
        "\"no\"",
        "'false'",
        "!!str no",
        "!!bool no",
    ] {
        let text = format!("auth_service:\n  enabled: {no}\nproxy_service: {{enabled: {no}}}\n");
        assert_eq!(shown(&settings(&text)), "", "{no}");
    }
}

/// A file of settings, and how an agent is started with it.
fn written(dir: &tempfile::TempDir, name: &str, text: &str) -> Start {
    std::fs::write(dir.path().join(name), text).unwrap();
    Start {
        config: Some(dir.path().join(name)),
        ..Start::default()
    }
}

fn with(start: &Start, arguments: &str) -> Start {
    let unit = Unit {
        command: &format!("argv[]=teleport start {arguments}"),
        environment: "",
        files: Vec::new(),
    };
    Start {
        config: start.config.clone(),
        ..unit.look(None).0.remove(0)
    }
}

#[test]
fn the_command_line_has_the_last_word() {
    let dir = tempfile::tempdir().unwrap();
    let (agent, auth) = (
        written(&dir, "agent", NONE),
        written(&dir, "auth", "auth_service: {enabled: yes}\n"),
    );
    let (empty, nowhere) = (
        written(&dir, "empty", ""),
        Start {
            config: Some("/nowhere".into()),
            ..Start::default()
        },
    );
    let bytes = Start {
        config: Some("/dev/zero".into()),
        ..Start::default()
    };
    for (start, arguments, expected) in [
        (&agent, "", ""),
        (
            &agent,
            "--roles=proxy,node",
            "it runs the Proxy Service (--roles=proxy,node of x.service)",
        ),
        (
            &agent,
            "-r auth",
            "it runs the Auth Service (--roles=auth of x.service)",
        ),
        (&auth, "--roles=node,app", ""),
        (&nowhere, "--roles=node --token=x --auth-server=a:3025", ""),
        (&bytes, "--roles=node", ""),
        (
            &bytes,
            "",
            "cannot read /dev/zero: not a regular file. Correct that; nothing",
        ),
        (
            &nowhere,
            "",
            "not disabled in /nowhere (no such file). If this host runs an agent only, set",
        ),
        (
            &empty,
            "--auth-server=a:3025",
            "the Proxy Service is enabled by default",
        ),
        (&auth, "--auth-server=a:3025 --roles=auth", ""),
        (
            &agent,
            "--config-string=eA==",
            "are enabled by default and not disabled in --config-string of x.service",
        ),
        (
            &agent,
            "--config-string=x",
            "cannot read --config-string of x.service: not base64",
        ),
        (
            &auth,
            "--config-string=YXV0aF9zZXJ2aWNlOiB7ZW5hYmxlZDogbm99CnByb3h5X3NlcnZpY2U6IHtlbmFibGVkOiBub30K",
            "",
        ),
    ] {
        let settings = Settings::of("x.service", &with(start, arguments));
        let shown = shown(&settings);
        assert!(
            shown.contains(expected) && shown.is_empty() == expected.is_empty(),
            "{start:?} {arguments}: {shown}"
        );
    }
    let settings = Settings::of(
        "x.service",
        &with(&agent, "--auth-server=p.example.com:443 --auth-server=b"),
    );
    assert_eq!(
        settings
            .cluster
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["p.example.com:443", "b:3025"]
    );
}

#[test]
fn any_service_may_make_a_host_one_of_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let (agent, auth) = (
        written(&dir, "agent", AGENT),
        written(&dir, "auth", "auth_service: {enabled: yes}"),
    );
    for starts in [[&agent, &auth], [&auth, &agent]] {
        let settings = Settings::read_all(starts.map(|start| ("x.service", start)));
        assert!(
            settings.source.ends_with("/auth") && settings.cluster_service.is_some(),
            "{settings:?}"
        );
    }
    let other = written(
        &dir,
        "other",
        &format!("teleport: {{auth_server: other.example.com}}\n{NONE}"),
    );
    let first = Settings::read_all([&agent, &other].map(|start| ("x.service", start)));
    assert!(
        first.source.ends_with("/agent") && first.cluster_service.is_none(),
        "{first:?}"
    );
}
