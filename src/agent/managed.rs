//! Whether teleport-update manages the agent.

use std::fs;
use std::path::{Path, PathBuf};

use crate::agent::program::BINARY;

/// Where teleport-update has the agents that it manages.
const MANAGED: &str = "/opt/teleport";
/// Where, within that, newer packages put the agent: that one is managed by the package manager.
const PACKAGED: &str = "/opt/teleport/system";

/// What the agent's program is a link to, if teleport-update manages that agent.
pub fn managed_by_another() -> Option<PathBuf> {
    let link = fs::read_link(BINARY).ok()?;
    let directory = Path::new(BINARY).parent()?;
    // A link may be relative, and lead to another link.
    let targets = [
        directory.join(&link),
        fs::canonicalize(BINARY).unwrap_or_default(),
    ];
    targets.iter().any(|path| is_managed(path)).then_some(link)
}

fn is_managed(path: &Path) -> bool {
    path.starts_with(MANAGED) && !path.starts_with(PACKAGED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_agents_of_teleport_update() {
        for (path, expected) in [
            ("/opt/teleport/default/versions/17.2.0/bin/teleport", true),
            ("/opt/teleport/bin/teleport", true),
            ("/opt/teleport/system/bin/teleport", false),
            ("/opt/teleport-14/bin/teleport", false),
            ("/usr/local/bin/teleport", false),
        ] {
            assert_eq!(is_managed(Path::new(path)), expected, "{path}");
        }
    }
}
