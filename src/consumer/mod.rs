//! Reading topics: [`Consumer`], made by [`ConsumerBuilder`].
//!
//! A consumer is one fetch session and what it has fetched: no task, no timer, no channel of its
//! own. All ways to receive are one poll function (`flow`), and all state is in the consumer, so
//! a receiving future that is dropped loses nothing. It never knows where the broker is.
//!
//! * A partition's position is the next record to hand out, and moves when one is handed out;
//!   what is buffered beyond it can be thrown away at any time (`buffer`).
//! * At most one fetch is buffered, except for partitions that were paused since.
//! * An error concerns one partition; the next call goes on with the others, and with that one as
//!   the error says. Only [`Error::Closed`] and
//!   [`Error::Group`] are for good.
//!
//! | | |
//! |---|---|
//! | `builder` | settings, `subscribe`, `assign` |
//! | `flow` | fetching, the poll functions, what each error does |
//! | `control` | seek, pause, position, lag |
//! | `group` | sharing partitions with a group's other members, and committing |
//! | `subscription` | which topics are wanted, and their coming and going |
//! | `assignment` | the partitions read, and the position in each |
//! | `buffer`, `records` | batches on their way to the user |

mod assignment;
mod blocking;
mod buffer;
mod builder;
mod control;
mod flow;
mod group;
mod position;
mod records;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use tokio::sync::watch;
use tokio::task::coop::unconstrained;

use self::assignment::Assignment;
use self::blocking::block_on;
use self::buffer::Buffer;
use self::builder::Begin;
pub use self::builder::ConsumerBuilder;
use self::flow::MetadataChanged;
use self::group::Membership;
pub use self::group::{GroupMetadata, RebalanceListener, Revoked};
pub use self::position::{OutOfRange, Position, Start};
pub use self::records::{IntoIter, Iter, RecordRef, Records};
use self::subscription::Subscription;
use crate::error::{Error, Result};
use crate::record::ConsumerRecord;
use crate::transport::{Fetcher, Transport};

/// What a consumer keeps of its builder.
#[derive(Debug, Clone)]
struct Settings {
    out_of_range: OutOfRange,
    max_partition_fetch_bytes: usize,
    max_decompressed_bytes: usize,
    client_rack: Arc<str>,
}

/// Reads records of one or several partitions, each partition's in order.
///
/// Receive with [`recv`](Consumer::recv), [`poll`](Consumer::poll), as a
/// [`Stream`], or on a plain thread with the blocking forms. Dropping the
/// consumer ends its fetching.
///
/// # Errors
///
/// The same for all forms. One partition's error does not stop the others, and the call after it
/// goes on, so a loop ends at `Closed`, `InvalidState`, `Group` and `OpenForReading`, and reports
/// all others:
///
/// | error | position then |
/// |---|---|
/// | [`OffsetOutOfRange`](Error::OffsetOutOfRange) | the oldest record (see [`OutOfRange`]) |
/// | [`Corrupt`](Error::Corrupt), [`Truncated`](Error::Truncated) | its `to` |
/// | [`Io`](Error::Io), [`InvalidRecord`](Error::InvalidRecord) | as it was; it is tried again |
/// | [`InvalidRecord`](Error::InvalidRecord) for `DecompressedTooLarge` | behind the batch |
/// | [`UnknownTopic`](Error::UnknownTopic) | none: the topic's partitions are no longer assigned |
/// | [`InvalidState`](Error::InvalidState) | nothing is assigned, and nothing can be again |
/// | [`Group`](Error::Group) | nothing is assigned: its group does not take it, for good |
/// | [`Closed`](Error::Closed) | kept: what was fetched comes first, then only this |
/// | all others | as it was: the next call retries |
pub struct Consumer {
    transport: Arc<dyn Transport>,
    fetcher: Box<dyn Fetcher>,
    settings: Settings,
    subscription: Subscription,
    assignment: Assignment,
    /// Its part in a group, if it has one.
    membership: Option<Box<Membership>>,
    /// What is handed out next. More than one only after a resume.
    ready: VecDeque<Buffer>,
    /// What was buffered of paused partitions.
    held: Vec<Buffer>,
    /// Slots of partitions that failed and are to be fetched again from their positions.
    failed: Vec<usize>,
    /// Errors that have taken effect, but were not yet returned.
    notices: VecDeque<Error>,
    /// Why there is nothing more, for good.
    closed: Option<Error>,
    /// As a stream, the consumer has ended.
    ended: bool,
    /// `None` once the sender is gone: topics neither come nor go any more.
    metadata_changed: Option<MetadataChanged>,
    /// How many more records are received before the next look at tokio's budget.
    until_look: u32,
}

impl Consumer {
    fn new(
        transport: Arc<dyn Transport>,
        settings: Settings,
        subscription: Subscription,
        version: watch::Receiver<u64>,
        membership: Option<Box<Membership>>,
        partitions: Vec<Begin>,
    ) -> Self {
        let mut consumer = Consumer {
            fetcher: transport.fetcher(&settings.client_rack),
            transport,
            settings,
            subscription,
            assignment: Assignment::default(),
            membership,
            ready: VecDeque::new(),
            held: Vec::new(),
            failed: Vec::new(),
            notices: VecDeque::new(),
            closed: None,
            ended: false,
            metadata_changed: Some(flow::changed(version)),
            until_look: 0,
        };
        for Begin { at, topic_id, position } in partitions {
            consumer.start(at, topic_id, position);
        }
        consumer
    }

    /// The next record of any partition; waits until there is one. Partitions that have records
    /// take turns, one fetch each.
    ///
    /// Waits for ever while all partitions that have records are paused.
    ///
    /// Cancel safe: a future that is dropped has handed out nothing.
    pub fn recv(&mut self) -> impl Future<Output = Result<ConsumerRecord>> + Send {
        // No `async fn`: that would move the record once more.
        let call = Call::begin(self);
        poll_fn(move |cx| call.0.poll_record(cx))
    }

    /// Waits for at least one record, then returns those that are there, up to `max` (0 counts as
    /// 1), of one or several partitions. What is returned is limited to about 50 MiB as well.
    ///
    /// An error found behind records is left for the next call.
    ///
    /// Cancel safe: a future that is dropped has handed out nothing.
    pub async fn poll(&mut self, max: usize) -> Result<Records> {
        let call = Call::begin(self);
        poll_fn(|cx| call.0.poll_records(cx, max)).await
    }

    /// The next record, if one is at hand. `None` can also mean that it is being read from disk.
    pub fn try_recv(&mut self) -> Result<Option<ConsumerRecord>> {
        // Unconstrained: a task that has used up its budget would be told that there is nothing.
        let next = pin!(unconstrained(self.recv()));
        match next.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.map(Some),
            Poll::Pending => Ok(None),
        }
    }

    /// As [`Consumer::recv`], for a plain thread, which it parks. The broker's runtime must run on
    /// other threads. Never call it in a task: it would stop the task's thread.
    pub fn recv_blocking(&mut self) -> Result<ConsumerRecord> {
        block_on(self.recv())
    }

    /// As [`Consumer::poll`], for a plain thread; see [`Consumer::recv_blocking`].
    pub fn poll_blocking(&mut self, max: usize) -> Result<Records> {
        block_on(self.poll(max))
    }
}

/// A call of the user's, or the future of one: as long as it is there, the consumer is polled.
struct Call<'a>(&'a mut Consumer);

impl<'a> Call<'a> {
    #[inline]
    fn begin(consumer: &'a mut Consumer) -> Self {
        if let Some(membership) = &consumer.membership {
            membership.begin_call();
        }
        Call(consumer)
    }
}

impl Drop for Call<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(membership) = &self.0.membership {
            membership.end_call();
        }
    }
}

/// The records as [`Consumer::recv`] returns them. Errors do not end the stream, except for
/// [`Error::Closed`], which comes once and is the last item.
impl Stream for Consumer {
    type Item = Result<ConsumerRecord>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(membership) = &self.membership {
            membership.begin_call();
        }
        let next = self.poll_record(cx);
        // Whether somebody waits for the next one can't be told: it counts as awaited.
        if let Some(membership) = self.membership.as_ref().filter(|_| next.is_ready()) {
            membership.end_call();
        }
        self.ended = matches!(next, Poll::Ready(Err(Error::Closed { .. })));
        next.map(Some)
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("positions", &self.positions()).finish_non_exhaustive()
    }
}
