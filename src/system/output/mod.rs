//! What the program shows on a terminal and in the journal.

pub mod journal;
pub mod logging;
pub mod terminal;
