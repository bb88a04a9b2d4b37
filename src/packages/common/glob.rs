//! Patterns with wildcards, as in `fnmatch`: dnf accepts them for packages and repositories.

/// Whether a text fits a pattern: `*`, `?`, `[ab]`, `[!a-z]`, and `\` before a literal character.
pub fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    // Where the last `*` was, and how much of the text it matches so far: only the last one is ever extended.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() || at < pattern.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at + 1, from));
            at += 1;
            continue;
        }
        if let Some(next) = text.get(from).and_then(|one| step(&pattern, at, *one)) {
            (at, from) = (next, from + 1);
            continue;
        }
        match star {
            Some((after, taken)) if taken < text.len() => {
                star = Some((after, taken + 1));
                (at, from) = (after, taken + 1);
            }
            _ => return false,
        }
    }
    true
}

/// Where the pattern continues if the part at `at` fits one character.
fn step(pattern: &[char], at: usize, one: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '[' => match bracket(pattern, at + 1, one) {
            Some((fits, after)) => fits.then_some(after),
            // Without its closing bracket, it is a literal.
            None => (one == '[').then_some(at + 1),
        },
        '\\' if at + 1 < pattern.len() => (pattern[at + 1] == one).then_some(at + 2),
        other => (*other == one).then_some(at + 1),
    }
}

/// Whether the set that begins at `at` has the character, and where the pattern continues after it.
fn bracket(pattern: &[char], at: usize, one: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(at), Some('!' | '^'));
    let first = at + usize::from(negated);
    let (mut i, mut has) = (first, false);
    loop {
        match *pattern.get(i)? {
            ']' if i > first => return Some((has != negated, i + 1)),
            low if pattern.get(i + 1) == Some(&'-')
                && pattern.get(i + 2).is_some_and(|high| *high != ']') =>
            {
                has |= (low..=pattern[i + 2]).contains(&one);
                i += 3;
            }
            same => {
                has |= same == one;
                i += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_as_fnmatch_does() {
        for pattern in [
            "teleport",
            "*",
            "t?leport",
            "*port",
            "tele*",
            "t*e*t",
            "[st]eleport",
            "[!a-s]eleport",
            "[]t]eleport",
            "\\teleport",
        ] {
            assert!(fits(pattern, "teleport"), "{pattern}");
        }
        for pattern in [
            "",
            "teleport?",
            "[!t]eleport",
            "[a-s]eleport",
            "*portx",
            "Teleport",
            "tele",
            "[t",
            "eleport",
            "*x*",
            "teleport[]",
        ] {
            assert!(!fits(pattern, "teleport"), "{pattern}");
        }
        assert!(
            fits("[t", "[t")
                && fits("a\\*", "a*")
                && !fits("a\\*", "ab")
                && fits("***", "")
                && !fits("?", "")
        );
    }

    #[test]
    fn many_stars_cost_no_more_than_the_text_is_long() {
        assert!(!fits(&"*a".repeat(2000), &"a".repeat(1999)));
    }
}
