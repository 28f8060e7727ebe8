//! The broker on the network: Kafka's protocol over TCP, for any Kafka client.
//!
//! | | |
//! |---|---|
//! | `listener` | accepts connections, and ends them |
//! | `connection` | frames in, frames out, answers in order |
//! | `login` | TLS, and who a connection's client is, where that matters |
//! | `answer` | which request goes to which handler |
//! | one file per API | what each request does, by the broker's own handles |
//! | `errors` | this library's errors as Kafka's codes |
//! | `groups` | how the group APIs ask the coordinator |
//! | `configs`, `altering` | settings of topics and of this broker, told and changed |
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

mod alter_partition_reassignments;
mod altering;
mod answer;
mod configs;
mod connection;
mod create_acls;
mod delete_acls;
mod describe_acls;
mod errors;
mod faults;
mod files;
mod frames;
mod groups;
mod list_partition_reassignments;
mod listener;
#[cfg(feature = "tls")]
mod login;
mod memory;
mod queue;
mod sessions;

mod alter_configs;
mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sasl_authenticate;
mod sasl_handshake;
mod sync_group;

pub use listener::{Listener, ListenerBuilder};
