//! Makes text from outside (servers, files, package managers) safe for a terminal and the journal.

use std::io;

/// `text` on one line of at most `most` characters, with control characters and the like escaped.
///
/// A server or a file must not move the cursor, color the screen or forge a line of the journal.
pub fn printable(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == most {
            shown.push('…');
            break;
        }
        if c == ' ' || (!c.is_control() && !c.is_whitespace() && !is_invisible(c)) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    shown
}

/// `text` in lines of at most `width` characters, broken between words; a word that is longer has a line of its own.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// Why an operation on a file failed, without the error number.
pub fn io_problem(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ if error.raw_os_error().is_some() => without_numbers(&error.to_string()).to_lowercase(),
        _ => without_numbers(&error.to_string()),
    }
}

/// An error and its causes, on one line, without error numbers.
pub fn reasons(error: &anyhow::Error) -> String {
    let reason = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref()
            .map_or_else(|| cause.to_string(), io_problem)
    };
    without_numbers(&error.chain().map(reason).collect::<Vec<_>>().join(": "))
}

/// The text of an error that may quote one of the system's, without its number, which means the same as the words before it.
pub fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |shown, part| match part.split_once(')') {
        Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => shown + rest,
        _ => shown + " (os error " + part,
    })
}

/// Characters that print nothing but change how their neighbors look, or hide them: direction marks, joiners, soft hyphens, variants,
/// tags, byte order marks.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_a_terminal_would_interpret() {
        assert_eq!(
            printable("a\nb\tc\u{1b}[31m\u{202e}", 80),
            "a\\nb\\tc\\u{1b}[31m\\u{202e}"
        );
        for c in [
            '\r',
            '\u{7f}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{2028}',
            '\u{2066}',
            '\u{e0041}',
        ] {
            assert_eq!(
                printable(&c.to_string(), 80),
                c.escape_default().to_string()
            );
        }
    }

    #[test]
    fn breaks_lines_between_words() {
        assert_eq!(wrap("a bc  def", 4), ["a bc", "def"]);
        assert_eq!(
            wrap("https://example.com/x y", 4),
            ["https://example.com/x", "y"]
        );
        assert!(wrap(" ", 4).is_empty());
    }

    #[test]
    fn reasons_have_no_error_numbers() {
        let error = anyhow::Error::from(io::Error::from_raw_os_error(2))
            .context("cannot run apt-get")
            .context("no index");
        assert_eq!(
            reasons(&error),
            "no index: cannot run apt-get: no such file or directory"
        );
        let full = anyhow::Error::from(io::Error::from_raw_os_error(28))
            .context("/var/x: cannot write it");
        assert_eq!(
            reasons(&full),
            "/var/x: cannot write it: no space left on device"
        );
        let quoted = anyhow::anyhow!(
            "{}; and {}",
            io::Error::from_raw_os_error(28),
            io::Error::from_raw_os_error(5)
        );
        assert_eq!(
            reasons(&quoted),
            "No space left on device; and Input/output error"
        );
        let wrapped = io::Error::other(io::Error::from_raw_os_error(101));
        assert_eq!(io_problem(&wrapped), "Network is unreachable");
        for other in ["x (os error", "x (os error 5", "x (os error y) z"] {
            assert_eq!(without_numbers(other), other);
        }
    }

    #[test]
    fn leaves_ordinary_text_alone_and_truncates_long_text() {
        assert_eq!(printable("Größe 14.3.33", 80), "Größe 14.3.33");
        assert_eq!(printable("abcdef", 3), "abc…");
    }
}
