//! What dnf and yum print.

use crate::packages::common::locks::{pid_after, process};
use crate::system::process::command::Output;

/// Whether dnf 5 failed because of its own settings and not because of a server.
pub fn is_own_fault(output: &Output) -> bool {
    output.says("Cannot load libdnf plugin")
        || output.says("Add \"--help\" for more information about the arguments")
}

/// The holder of a lock that was taken after we looked.
pub fn busy(output: &Output) -> Option<String> {
    if output.gave_up() {
        // dnf 5: "42\tdnf5 upgrade", a line for each.
        let pid = output
            .lines()
            .find_map(|line| line.split_once('\t')?.0.parse().ok());
        return Some(process(pid));
    }
    // dnf: 200, "Failed to obtain the transaction lock (logged in as: root)." or "... is locked by another process".
    // yum: 200, "Existing lock /var/run/yum.pid: another copy is running as pid 42."
    let locked = output.code() == Some(200) || output.says("transaction lock");
    locked.then(|| process(pid_after(output, " pid ")))
}

/// The packages in the table of what a transaction would change: a line each, after one space. `replacing` marks a package that
/// would be removed.
pub fn changed(output: &Output, ours: &str) -> Vec<String> {
    // dnf 5's progress looks much the same, and goes to the other stream.
    let table = output
        .answer()
        .skip_while(|line| !line.trim_start().starts_with("Package "));
    let packages = table
        .skip(1)
        .take_while(|line| !line.starts_with("Transaction Summary"))
        .filter_map(|line| {
            let mut words = line.strip_prefix(' ')?.split_whitespace();
            match words.next()? {
                "replacing" => words.next(),
                // Further to the right is the rest of the line before.
                first => (!line.starts_with("  ")).then_some(first),
            }
        });
    // dnf 4 prints replaced packages with their architecture.
    let bare = |package: &str| {
        if package.starts_with(&format!("{ours}.")) {
            ours.to_string()
        } else {
            package.to_string()
        }
    };
    packages.map(bare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::process::command::Command;

    fn output(text: &str) -> Output {
        Command::new("printf", ["%s", text]).run().unwrap()
    }

    #[test]
    fn reads_what_dnf_4_would_change() {
        let table = "Dependencies resolved.\n\
            ================================================================================\n \
            Package              Architecture   Version             Repository        Size\n\
            ================================================================================\n\
            Upgrading:\n library              x86_64         2.0-1               teleport         5.9 k\n \
            teleport-ent         x86_64         14.3.39-1           teleport         6.0 k\n     \
            replacing  widget.x86_64 1.0-1\n\nTransaction Summary\n\
            ================================================================================\nUpgrade  2 Packages\n later x\n";
        assert_eq!(
            changed(&output(table), "teleport-ent"),
            ["library", "teleport-ent", "widget.x86_64"]
        );
    }

    #[test]
    fn reads_what_dnf_5_would_change() {
        let table = " Teleport           100% |  11.5 KiB/s |   3.5 KiB |  00m00s\nPackage           Arch   Version      Repository      Size\nUpgrading:\n \
            teleport-ent     x86_64 0:14.3.34-1  teleport    23.0   B\n   \
            replacing teleport-ent x86_64 0:14.3.33-1 teleport 23.0   B\n \
            replacing widget x86_64 0:1-1 teleport 23.0   B\n\nTransaction Summary:\n Upgrading: 1 package\n";
        assert_eq!(
            changed(&output(table), "teleport-ent"),
            ["teleport-ent", "teleport-ent", "widget"]
        );
    }
}
