//! Reads the world once. Every file here yields one plain value and changes nothing.

pub mod agent;
pub mod channel;
pub mod cluster;
pub mod config;
pub mod current_run;
pub mod database;
pub mod dpkg;
mod file_state;
pub mod glob;
pub mod history;
pub mod http;
pub mod package;
pub mod program;
pub mod proxy;
pub mod readiness;
pub mod rpm;
pub mod schedule;
pub mod service;
pub mod start;
pub mod teleport;
pub mod timer;
pub mod trust;
pub mod unread;
mod untrusted;
mod yaml;
