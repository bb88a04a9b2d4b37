//! Base64 as Go's standard encoding has it: padded, and with line ends anywhere.

/// Decodes a text.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !b"\r\n".contains(byte))
        .collect();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    for (number, group) in digits.chunks(4).enumerate() {
        let is_last = (number + 1) * 4 == digits.len();
        let padding = group
            .iter()
            .rev()
            .take_while(|digit| **digit == b'=')
            .count();
        if group.len() < 4 || padding > 2 || (padding > 0 && !is_last) {
            return None;
        }
        let mut bits = 0u32;
        for digit in &group[..4 - padding] {
            bits = bits << 6 | u32::from(digit_value(*digit)?);
        }
        bits <<= 6 * padding;
        bytes.extend(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

fn digit_value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length() {
        for (text, expected) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9v\r\nYg==\n", b"foob"),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(decode(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_base64() {
        let texts = [
            "YTogYg",
            "YTogYg=",
            "Y===",
            "====",
            "=",
            "YT=g",
            "YTogYg==YTog",
            "a b!",
            "-_--",
        ];
        for text in texts {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
