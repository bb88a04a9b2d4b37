//! Decides from one observation. Pure: no clock, no file, no process. The same observation gives the same decision.

pub mod compatibility;
pub mod decision;
pub mod observation;
pub mod path;
pub mod policy;
pub mod prefetch;
pub mod rollout;
#[cfg(test)]
mod tests;
