//! Servers that are asked: the release channel and the cluster's Proxy, over one HTTPS client.

pub mod channel;
pub mod cluster;
pub mod http;
pub mod proxy;
