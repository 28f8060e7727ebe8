//! Sharing topics with the other members of a group: [`Membership`] is a consumer's part in it.
//!
//! It moves when the consumer is polled, and only then: partitions come and go between records,
//! never behind the user's back. What it waits for is kept in the consumer, so that a receiving
//! future that is dropped loses nothing.
//!
//! * A partition that is to go is given up before the group is told, and its position is known to
//!   the listener: nobody else reads it before.
//! * One that comes starts at the group's committed offset for this life of the topic, or where
//!   [`Start`](super::Start) says.

mod listener;
mod membership;
mod offsets;

pub use listener::{RebalanceListener, Revoked};
pub(super) use membership::Membership;
pub use offsets::GroupMetadata;
pub(super) use offsets::committed_begins;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::assignor::Strategy;

/// `max.poll.interval.ms`: how long a member may take to join again.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// What a consumer's builder says of its group.
#[derive(Clone)]
pub(super) struct GroupSettings {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) rebalance_timeout: Duration,
    pub(super) strategies: Vec<Strategy>,
    pub(super) auto_commit: Option<Duration>,
    pub(super) listener: Option<Arc<dyn RebalanceListener>>,
}

impl GroupSettings {
    pub(super) fn new(id: &str) -> Self {
        GroupSettings {
            id: id.into(),
            instance_id: None,
            client_id: "ottla".to_owned(),
            rebalance_timeout: REBALANCE_TIMEOUT,
            strategies: vec![Strategy::CooperativeSticky],
            auto_commit: None,
            listener: None,
        }
    }
}

impl fmt::Debug for GroupSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupSettings")
            .field("id", &self.id)
            .field("instance_id", &self.instance_id)
            .field("strategies", &self.strategies)
            .field("auto_commit", &self.auto_commit)
            .finish_non_exhaustive()
    }
}
