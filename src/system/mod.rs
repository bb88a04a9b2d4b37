//! The operating system: processes, files, output, time, and text from outside.

pub mod address;
pub mod files;
pub mod output;
pub mod process;
pub mod text;
pub mod timer;
pub mod times;
