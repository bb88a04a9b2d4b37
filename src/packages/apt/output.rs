//! What apt prints.

use crate::packages::common::messages::is_unsigned;
use crate::system::process::command::Output;
use crate::version::Version;

/// Whether the output of `sha256sum`, `0123... /file`, matches one of `apt-cache show`, `SHA256: 0123...`.
pub fn is_in_index(sum: &Output, index: &Output) -> bool {
    let Some(sum) = sum
        .answer()
        .next()
        .and_then(|line| line.split_whitespace().next())
    else {
        return false;
    };
    let mut sums = index
        .answer()
        .filter_map(|line| line.strip_prefix("SHA256:"))
        .map(str::trim);
    sum.len() == 64 && sums.any(|known| known == sum)
}

/// The versions that `apt-cache madison` lists, with the repository's spelling; what is no version of Teleport's is left out.
pub fn listed(madison: &Output) -> Vec<(Version, String)> {
    let spelled = madison
        .answer()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim);
    spelled
        .filter_map(|text| Some((Version::from_debian(text).ok()?, text.to_string())))
        .collect()
}

/// The URLs of the repositories that it lists.
pub fn sources(madison: &Output) -> impl Iterator<Item = &str> {
    madison
        .answer()
        .filter_map(|line| line.split('|').nth(2)?.split_whitespace().next())
}

/// Whether a refresh failed to verify the signature of the repository at `source`.
pub fn distrusts(refresh: &Output, source: &str) -> bool {
    refresh
        .lines()
        .any(|line| line.contains(source) && is_unsigned(line))
}

/// The holder of a lock that was taken after we looked.
pub fn busy(output: &Output) -> Option<String> {
    // "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 42 (apt-get)"
    let line = output
        .lines()
        .find(|line| line.contains("Could not get lock"))?;
    Some(
        line.split_once("held by ")
            .map_or("another program", |(_, holder)| holder)
            .to_string(),
    )
}

/// The packages that a simulated run would install or remove. It may also configure packages that an earlier run left unconfigured.
pub fn changed(output: &Output) -> impl Iterator<Item = &str> {
    output.lines().filter_map(|line| {
        let (verb, rest) = line.split_once(' ')?;
        ["Inst", "Remv", "Purg"]
            .contains(&verb)
            .then(|| rest.split([' ', ':']).next())?
    })
}
