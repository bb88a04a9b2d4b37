//! The servers that a run asks: the release channel and the cluster's Proxy.

pub mod answers;
pub mod channel;
pub mod cluster;
pub mod http;
