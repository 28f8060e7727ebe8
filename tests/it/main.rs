//! The integration tests: one binary, so that the crate is linked once.
//!
//! They use what users use, and see what users see. `suite` runs over every backend; the others
//! are about what only some of them have.

mod awaited;
mod bad_input;
mod batches;
mod cancel;
mod compression;
mod crash;
mod damage;
mod durability;
mod errors;
mod fuzzed;
mod golden;
mod group_model;
mod inspect;
mod kafka;
mod killed;
mod many;
mod memory;
mod mirror;
mod model;
#[cfg(feature = "tcp")]
mod network;
mod places;
#[cfg(feature = "tcp")]
mod port;
mod read_only;
mod runtimes;
mod shutdown;
mod suite;
mod support;
mod tidy;
#[cfg(feature = "cli")]
mod tool;
