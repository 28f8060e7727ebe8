//! The Kafka protocol, sans-I/O: requests and responses to and from bytes.
//!
//! One file per API. A file names every field once, with the versions that have it; reading and
//! writing both follow from that (the macro `message!`), in either direction, so that a server
//! and a client are written from the same description. What a field means is the business of
//! whoever answers.
//!
//! Nothing here knows a socket, a broker or a clock. Bytes come from strangers: no length in them
//! sizes an allocation before the bytes that it promises are known to be there, so decoding takes
//! at most [`MAX_GROWTH`] times a frame's length; and the arrays of a request have no more than
//! [`MAX_ELEMENTS`]. Record batches stay opaque slices of the frame they came in, and go out as
//! they are, without being copied ([`Frame`]).
//!
//! Sources: the message schemas of Apache Kafka 4.1 (`clients/src/main/resources/common/message`)
//! and <https://kafka.apache.org/protocol>.

mod api;
mod error_code;
mod field;
mod frame;
mod header;
mod message;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod api_versions;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;

pub use api::{ApiKey, Request};
pub use error_code::ErrorCode;
pub use field::{Records, Wire};
pub use frame::{Frame, FrameError, Gap, Piece, frame_len};
pub use header::{RequestHeader, decode_request, decode_response, encode_request, encode_response};
pub use read::{MAX_ELEMENTS, MAX_GROWTH, MessageReader};
pub use write::MessageWriter;
