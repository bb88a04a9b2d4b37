//! What zypper prints.

use crate::packages::common::locks::{pid_after, process};
use crate::system::process::command::Output;

/// The holder of a lock, if zypper did nothing because of one.
pub fn busy(output: &Output) -> Option<String> {
    // zypper: 7, "System management is locked by the application with pid 42 (zypper)."
    let locked = output.code() == Some(7) || output.says("transaction lock");
    locked.then(|| process(pid_after(output, "locked by the application with pid ")))
}

/// The packages that a simulated run would install, remove or replace.
pub fn changed(output: &Output) -> Vec<String> {
    let summary = output
        .lines()
        .skip_while(|line| !line.starts_with("<install-summary"));
    let summary = summary.take_while(|line| !line.starts_with("</install-summary"));
    summary
        .filter(|line| line.starts_with("<solvable "))
        .filter_map(|line| Some(attribute(line, "name")?.to_string()))
        .collect()
}

/// The value of an attribute in a line of zypper's XML, in which every element that we need has a line of its own.
pub fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = line.split_once(&format!(" {name}=\""))?;
    Some(after.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::process::command::Command;

    #[test]
    fn reads_what_would_change() {
        let text = "<?xml version='1.0'?>\n<install-summary download-size=\"1\" packages-to-change=\"2\">\n<to-upgrade>\n\
            <solvable type=\"package\" name=\"teleport-ent\" edition=\"14.3.34-1\" edition-old=\"14.3.33-1\" summary=\"x\">\n\
            </to-upgrade>\n<to-remove>\n<solvable type=\"package\" name=\"library\" edition=\"1.0-1\">\n</to-remove>\n\
            </install-summary>\n<solvable name=\"later\"/>\n";
        assert_eq!(
            changed(&Command::new("printf", ["%s", text]).run().unwrap()),
            ["teleport-ent", "library"]
        );
        assert_eq!(
            attribute("<solvable edition=\"1-1\" edition-old=\"2\"/>", "edition"),
            Some("1-1")
        );
    }
}
