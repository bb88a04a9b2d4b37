//! Changes the world, checks what it changed, records it. Every file here owns one thing that it may touch.

pub mod ahead;
pub mod lock;
pub mod metrics;
pub mod notice;
pub mod packages;
pub mod record;
pub mod reload;
pub mod scope;
pub mod service;
pub mod signals;
pub mod upgrade;
