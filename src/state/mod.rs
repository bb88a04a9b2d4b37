//! What runs leave for later runs and for people: the history, a cache, the lock, the run in progress.

pub mod cache;
pub mod changes;
pub mod current_run;
pub mod history;
pub mod lock;
pub mod record;
