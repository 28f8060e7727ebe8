//! From the fetch session to the user: the poll functions, and what each error does.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::watch;
use tokio::task::coop::poll_proceed;

use super::buffer::{Buffer, Taken};
use super::subscription::Change;
use super::{Consumer, OutOfRange, Position, Records};
use crate::batch::{BatchError, to_consumer_record};
use crate::error::{Error, Result};
use crate::record::ConsumerRecord;
use crate::topic::{TopicId, TopicName, TopicPartition};
use crate::transport::Fetched;

/// How many records are received between two looks at tokio's budget, which is 128 looks.
const RECORDS_PER_LOOK: u32 = 32;

/// Where `poll` stops although more could follow: Kafka's default for `fetch.max.bytes`.
const MAX_POLL_BYTES: usize = 50 << 20;

/// Gives the receiver back when the metadata has changed; `None` if they never will again.
pub(super) type MetadataChanged =
    Pin<Box<dyn Future<Output = Option<watch::Receiver<u64>>> + Send>>;

/// Waits for the next change. It is kept from poll to poll, as its place in the queue of those
/// who wait is lost when it is dropped.
pub(super) fn changed(mut version: watch::Receiver<u64>) -> MetadataChanged {
    Box::pin(async move { version.changed().await.ok().map(|()| version) })
}

impl Consumer {
    pub(super) fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Result<ConsumerRecord>> {
        loop {
            let looks = self.until_look == 0;
            if looks {
                ready!(poll_proceed(cx)).made_progress();
                self.until_look = RECORDS_PER_LOOK;
            }
            if self.membership.as_ref().is_some_and(|member| looks || !member.is_calm()) {
                ready!(self.poll_membership(cx));
            }
            let Some(buffer) = self.ready.front_mut() else {
                ready!(self.poll_membership(cx));
                if let Some(error) = self.take_notice() {
                    return Poll::Ready(Err(error));
                }
                ready!(self.poll_fill(cx));
                continue;
            };
            let slot = buffer.slot;
            let position = &mut self.assignment[slot].position;
            let failure = match buffer.advance(position) {
                Taken::Some(()) => match buffer.read(position) {
                    Ok((view, batch, at)) => {
                        self.until_look -= 1;
                        // Made where it is returned: a move costs as much as decoding.
                        return Poll::Ready(Ok(to_consumer_record(
                            &view,
                            batch,
                            &at.topic,
                            at.partition,
                        )));
                    }
                    Err(error) => error,
                },
                Taken::Failed(error) => error,
                Taken::Nothing => {
                    self.ready.pop_front();
                    continue;
                }
            };
            if let Some(error) = self.fail(slot, failure) {
                return Poll::Ready(Err(error));
            }
        }
    }

    pub(super) fn poll_records(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Records>> {
        let budget = ready!(poll_proceed(cx));
        let max = max.max(1);
        let mut records = Records::default();
        ready!(self.poll_membership(cx));
        while records.len() < max && records.bytes() < MAX_POLL_BYTES {
            let Some(buffer) = self.ready.front_mut() else {
                // Not with records in hand: their partitions must not leave, nor count as consumed.
                if records.is_empty() {
                    ready!(self.poll_membership(cx));
                    if let Some(error) = self.take_notice() {
                        return Poll::Ready(Err(error));
                    }
                    ready!(self.poll_fill(cx));
                } else if self.has_notice() || self.poll_fill(cx).is_pending() {
                    break;
                }
                continue;
            };
            let slot = buffer.slot;
            let partition = &mut self.assignment[slot];
            let (tenure, position) = (partition.tenure, &mut partition.position);
            let failure = match buffer.take_part(position, tenure, max - records.len()) {
                Taken::Some(part) => {
                    records.push(part);
                    continue;
                }
                Taken::Failed(error) => error,
                Taken::Nothing => {
                    self.ready.pop_front();
                    continue;
                }
            };
            if !records.is_empty() {
                break;
            }
            if let Some(error) = self.fail(slot, failure) {
                return Poll::Ready(Err(error));
            }
        }
        budget.made_progress();
        Poll::Ready(Ok(records))
    }

    /// Ready when something has come that may be handed out, a notice, or work for the group.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Joining again is for the group's part, which comes before this one.
        if self.poll_metadata(cx) || self.has_notice() {
            return Poll::Ready(());
        }
        let budget = ready!(poll_proceed(cx));
        let max_bytes = self.settings.max_partition_fetch_bytes;
        let mut fetched = self.fetcher.poll_fetch(cx, max_bytes);
        // Those that failed come after those that did not, but not only once these are idle.
        if self.retry_failed() && fetched.is_pending() {
            fetched = self.fetcher.poll_fetch(cx, max_bytes);
        }
        let fetched = ready!(fetched);
        budget.made_progress();
        self.accept(fetched);
        Poll::Ready(())
    }

    fn accept(&mut self, fetched: Fetched) {
        let Some(slot) = self.assignment.slot_of(&fetched.at) else { return };
        let partition = &self.assignment[slot];
        if partition.paused {
            return;
        }
        let (topic, number) = (&partition.at.topic, partition.at.partition);
        let position = partition.position;
        let offset = position.offset;
        match &fetched.result {
            Ok(found) => {
                let batches = found.len();
                tracing::debug!(%topic, partition = number, offset, batches, "fetched");
            }
            Err(error) => {
                tracing::debug!(%topic, partition = number, offset, %error, "fetch failed");
            }
        }
        let limit_bytes = self.settings.max_decompressed_bytes;
        self.ready.push_back(Buffer::new(slot, position, fetched, limit_bytes));
    }

    /// Fetches again what failed before; false if nothing had.
    fn retry_failed(&mut self) -> bool {
        let failed = std::mem::take(&mut self.failed);
        for slot in &failed {
            self.fetch(*slot, self.assignment[*slot].position);
        }
        !failed.is_empty()
    }

    fn has_notice(&self) -> bool {
        !self.notices.is_empty() || self.closed.is_some() || self.has_no_future()
    }

    /// Why the group has put it out for good.
    fn expulsion(&self) -> Option<Error> {
        self.membership.as_ref().and_then(|membership| membership.check().err())
    }

    /// What there is to say apart from records.
    fn take_notice(&mut self) -> Option<Error> {
        let nothing = || Error::InvalidState("no partition is assigned to this consumer".into());
        let notice = self.notices.pop_front().or_else(|| self.closed.clone());
        let notice = notice.or_else(|| self.expulsion());
        notice.or_else(|| self.has_no_future().then(nothing))
    }

    /// Nothing is assigned, nor will be: waiting would be for ever.
    fn has_no_future(&self) -> bool {
        self.assignment.is_empty() && (!self.subscription.follows() || self.expulsion().is_some())
    }

    /// Lets a partition's failure take effect. Returns the error if the user is to see it.
    #[cold]
    fn fail(&mut self, slot: usize, error: Error) -> Option<Error> {
        match error {
            Error::OffsetOutOfRange { log_start_offset, log_end_offset, .. } => {
                let policy = self.settings.out_of_range;
                let to = match policy {
                    OutOfRange::Error | OutOfRange::Earliest => log_start_offset,
                    OutOfRange::Latest => log_end_offset,
                };
                self.move_to(slot, to.into());
                if policy == OutOfRange::Error {
                    return Some(error);
                }
                tracing::warn!(%error, to, "consuming goes on elsewhere");
                return None;
            }
            Error::Corrupt { from, to, .. } => {
                self.move_to(slot, to.into());
                // A batch that promises more records than it has offsets has lost none.
                if from == to {
                    return None;
                }
            }
            Error::Truncated { to, .. } => self.move_to(slot, to.into()),
            Error::InvalidRecord { source: BatchError::DecompressedTooLarge { .. }, .. }
                if let Some(end) = self.ready.front().and_then(Buffer::batch_end) =>
            {
                self.move_to(slot, end);
            }
            Error::UnknownTopic { .. } => {
                let partition = &self.assignment[slot];
                let (topic, id) = (partition.at.topic.clone(), partition.topic_id);
                self.subscription.lose(&topic, id);
                self.lose(&topic);
                // It may be back already, and the group take it for still read.
                if let Some(member) = self.membership.as_mut().filter(|it| it.shares()) {
                    member.rejoin();
                }
                return None;
            }
            // Or else only this partition has ended, as one does whose task has panicked.
            Error::Closed { .. } if self.transport.check_open().is_err() => {
                self.discard(slot);
                self.closed = Some(error);
                return None;
            }
            _ => {
                self.discard(slot);
                self.failed.push(slot);
            }
        }
        Some(error)
    }

    /// Lets the group give partitions and take them away. Pending while it is not known whether
    /// those that are read are still this consumer's.
    #[inline]
    fn poll_membership(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.membership.is_some() {
            true => self.poll_group(cx),
            false => Poll::Ready(()),
        }
    }

    fn poll_group(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut membership) = self.membership.take() else { return Poll::Ready(()) };
        membership.poll(self, cx);
        let is_calm = membership.is_calm();
        self.membership = Some(membership);
        if is_calm || self.has_notice() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Stops reading a partition that somebody else is to read.
    pub(super) fn drop_partition(&mut self, at: &TopicPartition) {
        if let Some(slot) = self.assignment.remove(at) {
            self.discard(slot);
            self.fetcher.leave(at);
        }
    }

    /// Looks at the topics again if any have come or gone. Whether the group is to share them out
    /// anew.
    fn poll_metadata(&mut self, cx: &mut Context<'_>) -> bool {
        let mut rejoins = false;
        while let Some(waiting) = &mut self.metadata_changed
            && let Poll::Ready(version) = waiting.as_mut().poll(cx)
        {
            self.metadata_changed = version.map(changed);
            let known = |topic: &str| self.transport.known_topic(topic);
            let changes = self.subscription.refresh(known, || self.transport.known_topics());
            let sharing = self.membership.as_mut().filter(|membership| membership.shares());
            let shares = sharing.is_some();
            if let Some(membership) = sharing.filter(|_| !changes.is_empty()) {
                membership.rejoin();
                rejoins = true;
            }
            for change in changes {
                match change {
                    Change::Lost(topic) => self.lose(&topic),
                    // The group gives it to somebody.
                    Change::Added(..) if shares => {}
                    Change::Added(at, topic_id) => self.start(at, topic_id, Position::from(0)),
                }
            }
        }
        rejoins
    }

    /// Stops reading a topic that is gone, and keeps the error for the user who named it.
    fn lose(&mut self, topic: &TopicName) {
        tracing::debug!(%topic, "the topic is gone");
        for (slot, partition) in self.assignment.remove_topic(topic) {
            self.discard(slot);
            self.fetcher.leave(&partition.at);
        }
        if self.subscription.names_topics() {
            self.notices.push_back(Error::UnknownTopic { topic: topic.to_string() });
        }
    }

    /// Begins to read a partition.
    pub(super) fn start(&mut self, at: TopicPartition, topic_id: TopicId, from: Position) {
        let slot = self.assignment.add(at, topic_id, from);
        self.fetch(slot, from);
    }

    /// Sets a partition's position; nothing of what was fetched before comes out any more.
    pub(super) fn move_to(&mut self, slot: usize, position: Position) {
        self.discard(slot);
        self.assignment[slot].position = position;
        if !self.assignment[slot].paused {
            self.fetch(slot, position);
        }
    }

    pub(super) fn fetch(&mut self, slot: usize, from: Position) {
        let partition = &self.assignment[slot];
        self.fetcher.fetch_from(&partition.at, partition.topic_id, from.into());
    }

    /// Drops what is known of a partition beyond its position.
    pub(super) fn discard(&mut self, slot: usize) {
        self.ready.retain(|buffer| buffer.slot != slot);
        self.held.retain(|buffer| buffer.slot != slot);
        self.failed.retain(|failed| *failed != slot);
    }
}
