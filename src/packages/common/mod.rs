//! What several package managers have in common, apart from the rpm database.

pub mod files;
pub mod glob;
pub mod locks;
pub mod messages;
pub mod trust;
