//! The lines in `*.repo` files and lists of version locks that exclude a package from regular updates.

use std::path::Path;

use crate::packages::rpm;
use crate::packages::rpm::ini::{Ini, Style};

/// The line above our exclude, which identifies it.
const MARK: &str = "# teleport-upgrade: excluded from regular updates; managed by teleport-upgrade";
/// What may end a line.
const LINE_END: [char; 2] = ['\r', '\n'];

/// A `*.repo` file with our exclude in Teleport's section; none if that has one already.
pub fn with_exclude(text: &str, name: &str) -> Option<String> {
    let heading = format!("[{}]", rpm::REPOSITORY);
    // An exclude of ours may be for an edition that was installed before.
    let text = &without_lock(text, None);
    let settings = Ini::parse(Path::new(""), text, Style::Folded);
    let has = |key| settings.value(rpm::REPOSITORY, key).is_some();
    if has("exclude") || has("excludepkgs") {
        return None;
    }
    let with = |line: &str| match line.trim() == heading {
        true => format!(
            "{}\n{MARK}\nexclude={name}\n",
            line.trim_end_matches(LINE_END)
        ),
        false => line.to_string(),
    };
    Some(text.split_inclusive('\n').map(with).collect())
}

/// A file without the lines that a hold adds: the one below our mark, and the plugin's line for all versions of `name`.
pub fn without_lock(text: &str, name: Option<&str>) -> String {
    let mut marked = false;
    // All other lines stay unchanged, to the byte.
    let kept = text.split_inclusive('\n').filter(|line| {
        let line = line.trim_end_matches(LINE_END);
        let by_plugin = name.is_some() && line.strip_prefix('!') == name;
        let ours = by_plugin || line == MARK || (marked && line.starts_with("exclude="));
        marked = line == MARK;
        !ours
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclude_is_added_once_and_to_the_right_section() {
        let text = "[other]\nname=Other\n\n[teleport]\nname=Teleport\n";
        let excluded = with_exclude(text, "teleport-ent").unwrap();
        assert_eq!(
            excluded,
            format!(
                "[other]\nname=Other\n\n[teleport]\n{MARK}\nexclude=teleport-ent\nname=Teleport\n"
            )
        );
        assert_eq!(
            with_exclude(&excluded, "teleport-ent").as_deref(),
            Some(excluded.as_str())
        );
        assert_eq!(
            with_exclude(&excluded, "teleport").unwrap(),
            excluded.replace("teleport-ent", "teleport"),
            "another edition"
        );
        assert_eq!(
            with_exclude("[teleport]\nexclude=x\n", "teleport-ent"),
            None
        );
        assert_eq!(without_lock(&excluded, Some("teleport-ent")), text);
    }

    #[test]
    fn only_our_own_lock_is_released() {
        let text =
            "# Added\n!teleport-ent\nteleport-ent-0:14.3.33-1.*\n!teleport\nexclude=teleport-ent\n";
        assert_eq!(
            without_lock(text, Some("teleport-ent")),
            text.replace("!teleport-ent\n", "")
        );
    }
}
