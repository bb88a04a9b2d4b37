//! The journal's native protocol, for entries with fields of their own: a datagram of `NAME=value` lines.
//!
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. A crate would do the same with a C library or a dozen other crates.

use std::io;
use std::os::unix::net::UnixDatagram;

use crate::system::text::printable;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// A longer value is truncated.
const LONGEST: usize = 4000;

/// An event with a MESSAGE_ID: `journalctl MESSAGE_ID=...` finds it on every host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A change was made, and the agent is healthy.
    Upgraded,
    /// A version failed verification and was rolled back.
    RolledBack,
    /// The target is not allowed on this host.
    NotAllowed,
    /// A run failed with a non-transient error.
    Failed,
}

impl Event {
    /// All of them, for the manual page.
    pub const ALL: [Event; 4] = [
        Event::Upgraded,
        Event::RolledBack,
        Event::NotAllowed,
        Event::Failed,
    ];

    /// Its name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Event::Upgraded => "upgraded",
            Event::RolledBack => "rolled back",
            Event::NotAllowed => "not allowed",
            Event::Failed => "failed",
        }
    }

    /// Its MESSAGE_ID. It never changes: people search for it.
    pub fn message_id(self) -> &'static str {
        match self {
            Event::Upgraded => "d73848e0daba4ea7bc98ba73e7cc9969",
            Event::RolledBack => "e722150c07674f9ea3a5534839d893fc",
            Event::NotAllowed => "20795cce71dc43ab9284faa088707dba",
            Event::Failed => "8f3f3f92afd14fc689d5042250f08770",
        }
    }
}

/// Sends an entry to the journal.
pub fn send(
    message: &str,
    priority: u8,
    event: Event,
    fields: &[(&str, String)],
) -> io::Result<()> {
    let priority = priority.to_string();
    let own = [
        ("MESSAGE", message),
        ("PRIORITY", &priority),
        ("MESSAGE_ID", event.message_id()),
        ("SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME")),
    ];
    let all = own
        .into_iter()
        .chain(fields.iter().map(|(name, value)| (*name, value.as_str())));
    UnixDatagram::unbound()?
        .send_to(&datagram(all), SOCKET)
        .map(|_| ())
}

/// A line for each field; a value is one line, whatever it quotes.
fn datagram<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    fields
        .map(|(name, value)| format!("{name}={}\n", printable(value, LONGEST)))
        .collect::<String>()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_adds_a_field() {
        let sent = datagram([("MESSAGE", "upgraded"), ("WHY", "a\n_UID=0")].into_iter());
        assert_eq!(sent, b"MESSAGE=upgraded\nWHY=a\\n_UID=0\n");
    }

    #[test]
    fn message_ids_are_128_bits_and_all_different() {
        for (index, event) in Event::ALL.iter().enumerate() {
            let id = event.message_id();
            assert!(
                id.len() == 32
                    && id
                        .chars()
                        .all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase()),
                "{id}"
            );
            assert!(
                Event::ALL[..index]
                    .iter()
                    .all(|other| other.message_id() != id),
                "{id} twice"
            );
        }
    }
}
