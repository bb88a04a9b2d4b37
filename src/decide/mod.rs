//! Decides from one observation. Pure: no clock, no file, no process; same observation, same decision.

pub mod compatibility;
pub mod path;
pub mod policy;
pub mod prefetch;
