//! The broker on the network: Kafka's protocol over TCP, for any Kafka client.
//!
//! | | |
//! |---|---|
//! | `listener` | accepts connections, and ends them |
//! | `connection` | frames in, frames out, answers in order |
//! | `answer` | which request goes to which handler |
//! | one file per API | what each request does, by the broker's own handles |
//! | `errors` | this library's errors as Kafka's codes |
//! | `faults` | errors and delays that a user asks for |
//! | `files` | what goes from files to sockets without being read |
//! | `memory` | how much requests and answers on their way may take |
//! | `sessions` | fetch sessions (KIP-227) |
//!
//! Invariants:
//! * Answers of one connection leave in the order of its requests.
//! * No connection waits for another, and none for a client that does not read.
//! * Nothing that a client sends sizes an allocation before it has sent that much.
//!
//! Network waits are in the machine's time, whatever the broker's clock is: the client at the other
//! end has only that.

mod answer;
mod connection;
mod errors;
mod faults;
mod files;
mod listener;
mod memory;
mod queue;
mod sessions;

mod api_versions;
mod create_topics;
mod delete_topics;
mod fetch;
mod find_coordinator;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod produce;

pub use listener::{Listener, ListenerBuilder};
