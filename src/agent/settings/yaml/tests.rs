use crate::agent::settings::Settings;
use crate::agent::settings::read::FILE;
use crate::agent::settings::start::Start;

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
fn strange_yaml_is_named_and_the_defaults_do() {
    let (deep, deeper) = (
        format!("{}{}", "[".repeat(40), "]".repeat(40)),
        "[".repeat(100_000),
    );
    for (text, part) in [
        ("\t- a\n b", "not YAML: "),
        ("teleport: [unclosed", "not YAML: "),
        (
            "teleport: {proxy_server: \"not an address\"}",
            "\"not an address\" contains invalid characters",
        ),
        (
            "teleport: {proxy_server: unix:///run/teleport}",
            "is not a valid host[:port]",
        ),
        ("a: *nobody", "not YAML: "),
        (deep.as_str(), "nested more than 32 levels deep"),
        (deeper.as_str(), ""),
    ] {
        let settings = settings(text);
        let problem = settings.problem.clone().unwrap_or_default();
        assert!(
            problem.contains(part) && problem.len() < 200,
            "{part}: {problem}"
        );
        let plain = Settings {
            problem: None,
            cluster_service: None,
            ..settings
        };
        assert_eq!(plain, Settings::defaults(FILE));
    }
    for text in [
        "just text",
        "- a\n- b",
        "3",
        "--- !!map\n",
        "%YAML 1.2\n---\n",
        "? [a, b]\n: c\n",
        "\0",
    ] {
        assert_eq!(cluster(text), [""; 0], "{text:?}");
    }
}

#[test]
fn a_bomb_of_aliases_takes_no_more_room_than_its_text() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_string();
    for level in 1..25 {
        let below = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", "));
    }
    bomb += "teleport: {proxy_server: p.example.com}\n";
    assert_eq!(cluster(&bomb), ["p.example.com:3080"]);
    let chain: String = (1..50_000)
        .map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1))
        .collect();
    assert!(
        settings(&format!("a0: &a0 x\n{chain}"))
            .problem
            .unwrap()
            .contains("32 levels deep")
    );
    // Nor does one of maps that extend each other take longer.
    let extended = |level: usize| [format!("*a{}", level - 1).as_str(); 9].join(", ");
    let bomb: String = (1..14)
        .map(|level| format!("a{level}: &a{level} {{<<: [{}]}}\n", extended(level)))
        .collect();
    assert_eq!(
        cluster(&format!("a0: &a0 {{x: y}}\n{bomb}teleport: {{<<: *a13}}\n")),
        [""; 0]
    );
}

#[test]
fn whatever_is_cut_or_changed_in_the_file_it_is_read_to_an_end() {
    let alphabet = b":-[{}&*!|'\"%,?#\n\t\\";
    for at in 0..AGENT.len() {
        settings(&AGENT[..at]);
        for byte in alphabet {
            let mut text = AGENT.as_bytes().to_vec();
            text[at] = *byte;
            settings(std::str::from_utf8(&text).unwrap());
        }
    }
}
