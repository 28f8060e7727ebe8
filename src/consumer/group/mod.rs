//! Sharing topics with the other members of a group: [`Membership`] is a consumer's part in it.
//!
//! It moves when the consumer is polled, and only then: partitions come and go between records,
//! never behind the user's back. What it waits for is kept in the consumer, so that a receiving
//! future that is dropped loses nothing. A consumer that is not polled at all gives way to others
//! (`presence`), and hears of it with its next call.
//!
//! * A partition that is to go is given up before the group is told, and its position is known to
//!   the listener: nobody else reads it before.
//! * One that comes starts at the group's committed offset for this life of the topic, or where
//!   [`Start`](super::Start) says.

mod listener;
mod membership;
mod offsets;
mod presence;

pub use listener::{RebalanceListener, Revoked};
pub(super) use membership::Membership;
pub use offsets::GroupMetadata;
pub(super) use offsets::{GroupStart, committed_begins};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::assignor::Strategy;
use crate::error::{Error, GroupError, Result};
use crate::topic::TopicName;

/// `max.poll.interval.ms`: how long a member may not be polled, or take to join again.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// The least of any interval.
const LEAST: Duration = Duration::from_millis(1);

/// The longest `client.id`, which is part of member ids.
const MAX_CLIENT_ID: usize = 249;

/// What a consumer's builder says of its group.
#[derive(Clone)]
pub(super) struct GroupSettings {
    /// `None` until it is said: the others may be set before it.
    pub(super) id: Option<Arc<str>>,
    pub(super) instance_id: Option<String>,
    /// The client's, if there is none.
    pub(super) client_id: Option<String>,
    pub(super) max_poll_interval: Duration,
    pub(super) strategies: Vec<Strategy>,
    pub(super) auto_commit: Option<Duration>,
    pub(super) listener: Option<Arc<dyn RebalanceListener>>,
}

impl Default for GroupSettings {
    fn default() -> Self {
        GroupSettings {
            id: None,
            instance_id: None,
            client_id: None,
            max_poll_interval: MAX_POLL_INTERVAL,
            strategies: vec![Strategy::CooperativeSticky],
            auto_commit: None,
            listener: None,
        }
    }
}

impl GroupSettings {
    /// The group's name, once all is found to make sense.
    pub(super) fn check(&self) -> Result<Arc<str>> {
        let id = self.id.clone().ok_or_else(|| {
            let text = "settings of a group without one: name it with `ConsumerBuilder::group`";
            Error::InvalidState(text.to_owned())
        })?;
        if id.is_empty() {
            return Err(Error::Group { group: String::new(), source: GroupError::InvalidGroupId });
        }
        let refused = |name: &str, reason: String| {
            Err(Error::InvalidConfig { name: name.to_owned(), reason })
        };
        // As Kafka has it, an instance id looks as a topic's name does.
        if let Some(Err(wrong)) = self.instance_id.as_deref().map(TopicName::parse) {
            return refused("group.instance.id", format!("{:?}: {}", wrong.name, wrong.reason));
        }
        let len = self.client_id.as_ref().map_or(0, String::len);
        if len > MAX_CLIENT_ID {
            return refused("client.id", format!("{len} bytes: it takes up to {MAX_CLIENT_ID}"));
        }
        if self.strategies.is_empty() {
            return refused("partition.assignment.strategy", "it takes one or more".to_owned());
        }
        for (name, value) in [
            ("max.poll.interval.ms", Some(self.max_poll_interval)),
            ("auto.commit.interval.ms", self.auto_commit),
        ] {
            if let Some(value) = value.filter(|it| *it < LEAST) {
                return refused(name, format!("{value:?} is not allowed; it takes 1 ms or more"));
            }
        }
        Ok(id)
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
