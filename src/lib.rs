//! Keeps the Teleport agent of a host on the version that its operator wants.
//!
//! A timer runs one pass at a time: [`observe`] reads the world, [`decide`] judges it, [`act`] changes it, and [`pass`] holds the
//! three together. It is a library so that fuzzers, simulations and the packaging use the same code as the program.

pub mod act;
pub mod cli;
pub mod command;
pub mod decide;
pub mod journal;
pub mod logging;
pub mod look;
pub mod observe;
pub mod outcome;
pub mod pass;
pub mod status;
pub mod terminal;
pub mod text;
pub mod times;
pub mod unlock;
pub mod version;
