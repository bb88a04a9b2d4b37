//! Which release does something first, where the older major versions got it too.

/// Whether a version is one of these or a later one of the same major version, or of a later major version than all of them.
pub fn is_from(version: &str, first: &[[u32; 3]]) -> bool {
    let own = numbers(version);
    match first.iter().find(|version| version[0] == own[0]) {
        Some(version) => own >= *version,
        None => first.iter().all(|version| version[0] < own[0]),
    }
}

/// The three numbers of a version, of which anything after them is no part.
fn numbers(version: &str) -> [u32; 3] {
    let plain = version.split(['-', '+', '~']).next().unwrap_or_default();
    let mut numbers = plain.split('.').map(|number| number.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}
