//! The documents: complete, well formed, and about this program.

use host::compiled;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use teleport_upgrade::cli::EXIT_STATUS;
use teleport_upgrade::config::SETTINGS;
use teleport_upgrade::report::decision::State;
use teleport_upgrade::system::output::journal::Event;
use tempfile::TempDir;

/// The documents for people who use or change the program; the manual page has tests of its own.
const DOCUMENTS: [&str; 11] = [
    "README.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    "packaging/CHANGELOG.md",
    "packaging/README.md",
    "packaging/files/README",
    "packaging/version-server/README.md",
    "src/README.md",
    "systemd/README.md",
    "tests/README.md",
    "tests/perf/README.md",
];

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first cells of the table whose heading row this is.
fn rows(document: &str, heading: &str) -> Vec<String> {
    let text = read(document);
    let table = text
        .split_once(heading)
        .unwrap_or_else(|| panic!("{document} lacks the table {heading:?}"))
        .1;
    let rows = table
        .lines()
        .skip_while(|line| !line.starts_with("| ---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').nth(1).unwrap().trim().replace('`', ""))
        .collect()
}

/// What `packaging/generate.rs` writes.
fn generated() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new(compiled("examples/generate"))
        .arg(directory.path())
        .status()
        .unwrap();
    assert!(status.success());
    let root = directory.path().to_path_buf();
    (directory, move |name: &str| root.join(name))
}

/// Runs a program of this machine, asserts that it complains of nothing, and returns what it wrote.
#[track_caller]
fn outside(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .arg(file)
        .output()
        .unwrap_or_else(|_| panic!("no {program}: run tests/setup"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{program}: {said}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The manual page as a terminal of 80 columns shows it.
fn manual() -> String {
    let (_directory, file) = generated();
    // With every warning that groff has.
    let arguments = [
        "-man", "-ww", "-Tutf8", "-rLL=80n", "-P-c", "-P-b", "-P-u", "-P-o",
    ];
    outside("groff", &arguments, &file("teleport-upgrade.8"))
}

/// A section of the manual page, without its heading.
fn section(manual: &str, title: &str) -> String {
    let lines = manual.lines().skip_while(|line| *line != title).skip(1);
    let lines: Vec<&str> = lines
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .collect();
    assert!(
        !lines.is_empty(),
        "the manual page lacks the section {title}"
    );
    lines.join("\n")
}

/// Whether a section has an entry for this term.
fn has_entry(section: &str, term: &str) -> bool {
    let indented = section
        .lines()
        .filter_map(|line| line.strip_prefix("       "));
    let mut terms = indented.filter(|line| !line.starts_with(' '));
    terms.any(|line| line.split([' ', ',']).any(|word| word == term))
}

#[test]
fn the_manual_page_has_every_setting_status_event_and_metric() {
    let manual = manual();
    assert!(
        manual.lines().all(|line| line.chars().count() <= 80),
        "{manual}"
    );
    assert!(!manual.contains('@'), "a placeholder is left");
    let settings = section(&manual, "SETTINGS");
    for name in SETTINGS {
        assert!(
            has_entry(&settings, name),
            "the setting {name} is missing in:\n{settings}"
        );
    }
    let statuses = section(&manual, "EXIT STATUS");
    for line in EXIT_STATUS.lines().filter(|line| !line.starts_with(' ')) {
        let status = line.split(' ').next().unwrap();
        assert!(
            has_entry(&statuses, status),
            "the exit status {status} is missing in:\n{statuses}"
        );
    }
    let journal = section(&manual, "JOURNAL");
    for event in Event::ALL {
        assert!(
            journal.contains(event.message_id()),
            "{} is missing",
            event.name()
        );
    }
    let metrics = section(&manual, "METRICS");
    let alerts = read("packaging/alerts.yml");
    let used = alerts.split("teleport_upgrade_").skip(1).map(|rest| {
        rest.split(|c: char| !c.is_ascii_lowercase() && c != '_')
            .next()
            .unwrap()
    });
    for name in used {
        assert!(
            has_entry(&metrics, name),
            "the metric {name} is missing in:\n{metrics}"
        );
    }
}

#[test]
fn the_readme_is_short_and_its_settings_exist() {
    let count = read("README.md").lines().count();
    assert!(count <= 150, "README.md has {count} lines");
    for name in rows("README.md", "| file | value |") {
        assert!(
            SETTINGS.contains(&name.as_str()),
            "the README has a setting {name}"
        );
    }
}

#[test]
fn messages_refer_to_sections_of_the_manual_page() {
    let manual = manual();
    let mut sources: Vec<PathBuf> = vec![project("src")];
    while let Some(path) = sources.pop() {
        if path.is_dir() {
            sources.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split("man teleport-upgrade, ").skip(1) {
            let title: String = rest
                .chars()
                .take_while(|c| c.is_ascii_uppercase() || *c == ' ')
                .collect();
            section(&manual, title.trim());
        }
    }
}

/// The messages that readers should look for, in words that stay the same: `...` stands for the others.
fn quoted_messages() -> Vec<String> {
    let readme = read("README.md");
    let answers = readme
        .split_once("\n## When it does not upgrade\n")
        .unwrap()
        .1
        .split("\n## ")
        .next()
        .unwrap();
    let mut quoted: Vec<String> = answers
        .split("**`")
        .skip(1)
        .map(|rest| rest.split('`').next().unwrap().into())
        .collect();
    let manual = read("packaging/teleport-upgrade.8.in");
    let troubles = manual
        .split_once("\n.SH TROUBLESHOOTING\n")
        .unwrap()
        .1
        .split("\n.SH ")
        .next()
        .unwrap();
    let entries = troubles
        .split(".TP\n.B ")
        .skip(1)
        .map(|entry| entry.lines().next().unwrap());
    // Others are what readers see, and not what the program says.
    quoted.extend(
        entries
            .filter(|entry| !entry.starts_with("The agent is") && !entry.starts_with("exit status"))
            .map(String::from),
    );
    let texts = troubles
        .lines()
        .filter(|line| !line.starts_with('.'))
        .collect::<Vec<_>>()
        .join(" ");
    quoted.extend(texts.split('"').skip(1).step_by(2).map(String::from));
    quoted
}

#[test]
fn messages_that_the_documents_quote_are_the_programs() {
    let (mut paths, mut program) = (vec![project("src")], String::new());
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            // What it says, and not what is said of it.
            let code = text
                .split("#[cfg(test)]")
                .next()
                .unwrap()
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let code = code.collect::<Vec<_>>().join("\n");
            let mut lines = code.split("\\\n");
            program.push_str(lines.next().unwrap_or_default());
            lines.for_each(|line| program.push_str(line.trim_start()));
        }
    }
    let quoted = quoted_messages();
    assert!(quoted.len() > 15, "{quoted:?}");
    for message in quoted {
        for part in message.split("...").map(str::trim) {
            assert!(
                program.contains(part),
                "the program never says {part:?} of {message:?}"
            );
        }
    }
}

#[test]
fn the_program_and_the_documents_agree() {
    let statuses = EXIT_STATUS
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split(' ').next());
    let statuses: Vec<&str> = statuses.collect();
    assert_eq!(rows("README.md", "| exit status | meaning |"), statuses);
    let schema: serde_json::Value =
        serde_json::from_str(&read("packaging/status.schema.json")).unwrap();
    let words = |pointer: &str| -> Vec<String> {
        let list = schema.pointer(pointer).unwrap().as_array().unwrap();
        list.iter()
            .map(|word| word.to_string().replace('"', ""))
            .collect()
    };
    assert_eq!(words("/properties/last_run/properties/exit/enum"), statuses);
    assert_eq!(
        words("/properties/decision/properties/state/enum"),
        State::ALL.map(State::word)
    );
    let described = section(&manual(), "STATUS OUTPUT");
    for state in State::ALL.map(State::word) {
        assert!(
            has_entry(&described, state),
            "the state {state} is missing in:\n{described}"
        );
    }
    let alerts = read("packaging/alerts.yml");
    for state in alerts
        .split("{state=~\"")
        .skip(1)
        .flat_map(|rest| rest.split('"').next().unwrap().split('|'))
    {
        assert!(
            State::ALL.iter().any(|known| known.word() == state),
            "an alert has the state {state}"
        );
    }
}

#[test]
fn links_lead_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let links = text
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap());
        for link in links.filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if path.is_empty() {
                project(document)
            } else {
                project(document).parent().unwrap().join(path)
            };
            assert!(file.exists(), "{document}: there is no {path}");
            let anchors = |text: &str| -> Vec<String> {
                text.lines()
                    .filter(|line| line.starts_with('#'))
                    .map(anchor_of)
                    .collect()
            };
            let found = anchor.is_empty()
                || anchors(&fs::read_to_string(&file).unwrap())
                    .iter()
                    .any(|other| other == anchor);
            assert!(found, "{document}: {link} leads to no heading");
        }
    }
}

/// The anchor that is made of a heading.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn every_dependency_is_explained() {
    let cargo = read("Cargo.toml");
    let own = cargo
        .split_once("[dependencies]\n")
        .unwrap()
        .1
        .split("\n[")
        .next()
        .unwrap();
    let mut dependencies: Vec<&str> = own
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(" = ").next())
        .collect();
    dependencies.retain(|name| !name.is_empty());
    let explained = rows("src/README.md", "| crate | for |")
        .join(", ")
        .replace(" (ring)", "");
    let mut explained: Vec<&str> = explained.split(", ").collect();
    dependencies.sort_unstable();
    explained.sort_unstable();
    assert_eq!(explained, dependencies);
}

#[test]
fn every_tool_is_explained() {
    let cargo = read("Cargo.toml");
    let tools = cargo
        .split("[[example]]\nname = \"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let explained = rows("tests/README.md", "| name | what it does |").join(", ");
    let mut explained: Vec<&str> = explained.split(", ").collect();
    let mut tools: Vec<&str> = tools.collect();
    tools.sort_unstable();
    explained.sort_unstable();
    assert_eq!(explained, tools);
}

#[test]
fn the_completions_work_in_their_shells() {
    let (_directory, file) = generated();
    let bash = file("teleport-upgrade.bash");
    let complete = "source \"$1\"; COMP_WORDS=(teleport-upgrade st) COMP_CWORD=1; _teleport__upgrade teleport-upgrade st; echo ${COMPREPLY[@]}";
    assert_eq!(
        outside("bash", &["-c", complete, "bash"], &bash),
        "status\n"
    );
    outside("zsh", &["-n"], &file("_teleport-upgrade"));
    let fish = "source $argv[1]; complete --do-complete 'teleport-upgrade sta'";
    let offered = outside(
        "fish",
        &["--no-config", "--command", fish],
        &file("teleport-upgrade.fish"),
    );
    assert!(offered.starts_with("status\t"), "{offered:?}");
}
