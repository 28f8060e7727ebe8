//! Consumer groups: who shares the work, and how far it has come.
//!
//! [`Group`] is a pure state machine, by the rules of Apache Kafka's classic groups: it is told
//! what members ask and what time it is, and answers with effects. Nothing in it waits, knows a
//! clock, or reads the members' metadata, which is the assignors' business.
//!
//! | | |
//! |---|---|
//! | `state` | members, generation, which protocol they have in common |
//! | `join`, `sync` | JoinGroup and SyncGroup |
//! | `rebalance` | from one generation to the next |
//! | `member` | heartbeats, leaving, time |
//! | `offsets` | how far a group has come |
//! | `records` | what is stored of all that, in Kafka's schemas |
//!
//! Invariants:
//! * Every reply id that comes in goes out once, in an effect.
//! * The generation never goes back, and rises with every rebalance.
//! * In a generation nobody syncs, commits or heartbeats successfully under an older one.

mod error;
mod join;
mod member;
mod offsets;
mod rebalance;
mod records;
mod request;
mod state;
mod sync;
#[cfg(test)]
mod tests;

pub use error::GroupError;
pub use state::GroupState;
