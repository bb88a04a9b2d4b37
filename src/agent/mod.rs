//! The Teleport agent on this host. The types are in the `mod.rs` files, what reads the host is beside them.

pub mod managed;
pub mod program;
pub mod schedule;
pub mod service;
pub mod settings;

/// Where packages of the agent put files, of whichever version.
pub const PLACES: [&str; 4] = [
    "/usr/local/bin",
    "/usr/lib/systemd/system",
    "/opt/teleport/system/bin",
    "/opt/teleport/system/lib/systemd/system",
];
