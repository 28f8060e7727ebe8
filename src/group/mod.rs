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
//! | `actor`, `coordinator` | one group's timers and store; all groups |
//! | `kept` | what both of these hold of one |
//! | `memory` | how much all of them may take |
//! | `offsets` | how far a group has come |
//! | `records` | what is stored of all that, in Kafka's schemas |
//!
//! Invariants:
//! * Every reply id that comes in goes out once, in an effect.
//! * The generation never goes back, and rises with every rebalance.
//! * In a generation nobody syncs, commits or heartbeats successfully under an older one.

mod actor;
mod coordinator;
mod description;
mod join;
mod kept;
mod member;
mod memory;
mod offsets;
mod rebalance;
mod records;
mod request;
mod state;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::assignor::{Assignment, Subscription};
use crate::codec::{CodecError, Reader};

#[cfg(feature = "tcp")]
pub(crate) use actor::Answer;
pub(crate) use actor::{Command, Commit};
pub(crate) use coordinator::{Coordinator, Holder, IsThere};
#[cfg(feature = "tcp")]
pub(crate) use description::GroupListing;
pub use description::{GroupDescription, MemberDescription};
pub use offsets::CommittedOffset;
#[cfg(feature = "tcp")]
pub(crate) use offsets::MAX_METADATA;
pub(crate) use records::{GroupMetadata, GroupRecord};
#[cfg(any(test, feature = "tcp"))]
pub(crate) use request::JoinedMember;
pub(crate) use request::{JoinGroup, Joined, MemberRef, SyncGroup, Synced};
pub(crate) use state::GroupLimits;
pub use state::GroupState;

/// The topics of a consumer whose subscription this is. All versions begin alike; what can't be
/// read is no subscription.
fn subscribed_topics(subscription: &Bytes) -> Option<BTreeSet<String>> {
    let read = || -> Result<BTreeSet<String>, CodecError> {
        let mut reader = Reader::new(subscription);
        let _version = reader.i16()?;
        (0..reader.i32()?).map(|_| Ok(reader.string()?.to_owned())).collect()
    };
    read().ok()
}

/// Whether a consumer that came with this subscription has to give partitions up for this
/// assignment, and to join again then: under the cooperative protocol only, eager ones own nothing.
fn gives_up(subscription: &Bytes, assignment: &Bytes) -> bool {
    let Ok(subscription) = Subscription::decode(subscription) else { return false };
    let kept = Assignment::decode(assignment).map(|it| it.partitions).unwrap_or_default();
    subscription.owned_partitions.iter().any(|owned| !kept.contains(owned))
}
