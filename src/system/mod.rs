//! The operating system: child processes, signals, terminal, logging, and text from outside.

pub mod address;
pub mod command;
pub(crate) mod file_state;
pub mod files;
pub mod journal;
pub mod logging;
pub mod process;
pub mod scope;
pub mod signals;
pub mod terminal;
pub mod text;
pub mod timer;
pub mod times;
pub(crate) mod untrusted;
pub mod user;
