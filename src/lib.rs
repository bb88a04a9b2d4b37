//! Automatic, safe upgrades of Teleport agents.
//!
//! One run observes the host ([`observe`]), decides ([`decide`]), and acts ([`upgrade`]); [`run`] connects the three. Each of the other
//! modules knows one outside system. It is a library so that fuzzers, simulations and the packaging use the code of the program.

pub mod agent;
pub mod cli;
pub mod config;
pub mod decide;
pub mod disable;
pub mod enable;
pub mod exit;
pub mod observe;
pub mod packages;
pub mod report;
pub mod run;
pub mod server;
pub mod state;
pub mod status;
pub mod system;
pub mod upgrade;
pub mod version;
