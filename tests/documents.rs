//! The manual page and the completions, as the packages have them: whole, well formed, and about this program.

use crate::host::compiled;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use teleport_upgrade::journal::Event;
use tempfile::TempDir;

/// What `packaging/generate.rs` writes.
fn generated() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new(compiled("examples/generate")).arg(directory.path()).status().unwrap();
    assert!(status.success());
    let root = directory.path().to_path_buf();
    (directory, move |name: &str| root.join(name))
}

/// Runs a program of this machine, asserts that it complains of nothing, and returns what it wrote.
#[track_caller]
fn outside(program: &str, arguments: &[&str], file: &Path) -> String {
    let output =
        Command::new(program).args(arguments).arg(file).output().unwrap_or_else(|_| panic!("no {program}: run tests/setup"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{program}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_manual_page_has_every_command_file_status_and_event() {
    let (_directory, file) = generated();
    let page = file("teleport-upgrade.8");
    // With every warning that groff has.
    let shown = outside("groff", &["-man", "-ww", "-Tutf8", "-rLL=80n", "-P-c", "-P-b", "-P-u", "-P-o"], &page);
    let flat = shown.replace('‐', "-").split_whitespace().collect::<Vec<_>>().join(" ");
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let rows = |heading: &str| -> Vec<String> {
        let table = readme.split_once(heading).unwrap_or_else(|| panic!("{heading} is missing in the README")).1;
        table
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .map(|row| row.split('|').nth(1).unwrap().trim().into())
            .collect()
    };
    let files = rows("| file | value | default |\n");
    assert!(files.len() >= 12, "{files:?}");
    for name in files.iter().map(|name| name.trim_matches('`')) {
        assert!(flat.contains(&format!(" {name} ")), "the file {name} is missing in:\n{shown}");
    }
    for status in rows("| exit | meaning |\n") {
        assert!(flat.contains(&format!(" {status} ")), "the exit status {status} is missing");
    }
    for command in ["run", "dry-run", "force", "status", "version"] {
        assert!(shown.lines().any(|line| line.trim() == command), "the command {command} is missing in:\n{shown}");
    }
    for event in Event::ALL {
        assert!(flat.contains(event.message_id()) && readme.contains(event.message_id()), "{} is missing", event.name());
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

#[test]
fn the_completions_work_in_their_shells() {
    let (_directory, file) = generated();
    let bash = file("teleport-upgrade.bash");
    let complete = "source \"$1\"; COMP_WORDS=(teleport-upgrade st) COMP_CWORD=1; _teleport__upgrade teleport-upgrade st; echo ${COMPREPLY[@]}";
    assert_eq!(outside("bash", &["-c", complete, "bash"], &bash), "status\n");
    outside("zsh", &["-n"], &file("_teleport-upgrade"));
    let fish = "source $argv[1]; complete --do-complete 'teleport-upgrade sta'";
    let offered = outside("fish", &["--no-config", "--command", fish], &file("teleport-upgrade.fish"));
    assert!(offered.starts_with("status\t"), "{offered:?}");
}
