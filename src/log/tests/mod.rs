//! The log as a whole: against a model, through crashes, on damaged files, under many readers.

mod compaction;
mod crash;
mod damage;
mod full;
mod hold;
mod kafka_files;
mod memory;
mod model;
mod parts;
#[cfg(all(target_os = "linux", feature = "tcp"))]
mod ranges;
mod readers;
mod restart;
pub(super) mod sabotage;
