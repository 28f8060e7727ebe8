//! One partition: reads, numbers, sends one batch after the other, and notes how far it has come.
//!
//! One batch is under way at a time, so the target's last batch of this producer says what comes
//! next. Whatever does not go as expected is answered by looking there again ([`Worker::resume`]).
//! What would not be understood after a crash is noted before it is done: a new epoch, the leader
//! epoch of what is sent.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::outgoing::{Form, Next, Outgoing};
use super::place::{Found, LastBatch, Place};
use super::stats::Key;
use super::watch::stopped;
use super::{Backlog, Guarantee, Settings};
use crate::batch::set_producer;
use crate::broker::TopicConfig;
use crate::consumer::Start;
use crate::error::{Error, Result};
use crate::partition::ready::ReadyQueue;
use crate::partition::{Partition, PartitionHold};
use crate::transport::backoff::Backoff;
use crate::transport::{
    Commit, CommittedOffset, FetchPosition, Fetcher, GroupSession, MemberRef, OffsetSpec, Produced,
    ProducerId, TopicMetadata, Transport,
};

/// How often it is noted how far it has come, while it comes on.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// What is read at a time.
pub(super) const READ_BYTES: usize = 1 << 20;
/// Pauses while the target can't be reached, or refuses.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How often the same batch is sent before what was read is let go of, for others to read.
const ATTEMPTS: u32 = 5;
/// After so long of looking and being refused the numbers begin again: the target has forgotten
/// what it had.
const STUCK: Duration = Duration::from_secs(60);
/// When a mirror's note was written, as far as its expiry goes: at the end of 9999.
const FOR_EVER: i64 = 253_402_300_799_000;

pub(super) struct Worker {
    settings: Arc<Settings>,
    key: Key,
    partition: Partition,
    session: Arc<dyn GroupSession>,
    /// `None` before the first record of this partition was to be sent.
    place: Option<Place>,
    /// Where it begins then.
    start: i64,
    /// Whether it came while the mirror was at work: the target may have batches of this mirror's
    /// from another life of its topic.
    is_late: bool,
    /// Keeps what is not mirrored, if that is to be kept.
    hold: Option<PartitionHold>,
    /// Records sent under this epoch, where numbers do not follow offsets.
    counted: i64,
    /// Whether the numbers begin again.
    renews: bool,
    /// Since when the target takes nothing, though it answers.
    stuck_since: Option<Instant>,
    /// When the next note is due.
    note_at: Option<Instant>,
    /// While something that was read is held.
    reading: Option<OwnedSemaphorePermit>,
    /// Whether nothing may be under way, of this mirror or of one before it.
    is_settled: bool,
    /// Whether something was acknowledged since it was last asked.
    came_on: bool,
}

impl Worker {
    /// Reads where the partition stands; from here on nothing is dropped that is not mirrored.
    pub(super) async fn new(
        settings: Arc<Settings>,
        key: Key,
        start: Start,
        is_late: bool,
    ) -> Result<Worker> {
        let (at, id) = &key;
        let partition = settings.source.partition(at, Some(*id))?;
        let session = settings.source.group(&settings.group);
        let noted = session.committed(std::slice::from_ref(at)).await?;
        let noted = noted.into_iter().map(|(_, noted)| noted).find(|it| it.topic_id == Some(*id));
        let place = noted.and_then(|it| Place::parse(it.offset, it.leader_epoch, &it.metadata));
        let spec = match start {
            Start::Earliest => OffsetSpec::Earliest,
            Start::Latest => OffsetSpec::Latest,
            Start::Timestamp(timestamp) => OffsetSpec::Timestamp(timestamp),
        };
        let start = match settings.source.list_offset(at, spec).await?.offset {
            Some(offset) => offset,
            None => partition.reader().high_watermark(),
        };
        let next = place.as_ref().map_or(start, |place| place.next);
        let is_settled = place.as_ref().is_none_or(|place| place.is_settled);
        let hold = match settings.backlog {
            Backlog::DropOldest => None,
            Backlog::Block => Some(partition.hold(next, true)),
            Backlog::Reject => Some(partition.hold(next, false)),
        };
        settings.progress.begin(&key, partition.reader().clone(), next);
        Ok(Worker {
            settings,
            key,
            partition,
            session,
            place,
            start,
            is_late,
            hold,
            counted: 0,
            renews: false,
            stuck_since: None,
            note_at: None,
            reading: None,
            is_settled,
            came_on: false,
        })
    }

    pub(super) fn runtime(&self) -> Handle {
        self.partition.context().runtime.clone()
    }

    pub(super) async fn run(mut self, mut is_stopped: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            () = stopped(&mut is_stopped) => {
                if let Err(error) = self.settle().await {
                    self.settings.progress.unnoted(error);
                }
            }
            () = self.work() => self.settings.progress.end(&self.key),
        }
    }

    /// For as long as there is the partition.
    async fn work(&mut self) {
        let mut pauses = Backoff::new(PAUSES);
        loop {
            let Err(error) = self.forward().await;
            self.reading = None;
            let (at, id) = &self.key;
            if self.settings.source.partition(at, Some(*id)).is_err() {
                return;
            }
            if std::mem::take(&mut self.came_on) {
                pauses.reset();
            }
            self.fails(error);
            sleep(pauses.next()).await;
        }
    }

    fn fails(&self, error: Error) {
        let now = self.settings.source.clock().wall();
        self.settings.progress.fails(&self.key, error, now);
    }

    /// Forwards until something does not go as expected.
    async fn forward(&mut self) -> Result<Infallible> {
        self.settings.target.reach().await?;
        let topic = self.target_topic().await?;
        let known = self.settings.source.known_topic(self.key.0.topic.as_str());
        let is_compacted = known.is_some_and(|known| known.needs_keys);
        let mut place = self.resume(&topic, is_compacted).await?;
        let exact = place.producer.is_some() && !is_compacted;
        let guarantee = if exact { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce };
        let has_all = place.next >= self.partition.reader().high_watermark();
        self.settings.progress.update(&self.key, |entry| {
            (entry.guarantee, entry.next) = (guarantee, place.next);
            if has_all {
                entry.goes_on();
            }
        });
        let (at, id) = self.key.clone();
        let mut fetcher = self.settings.source.fetcher("");
        let from = FetchPosition { offset: place.next, leader_epoch: -1 };
        fetcher.fetch_from(&at, id, from);
        let mut outgoing = Outgoing::default();
        let limit = self.settings.batch_size.min(topic.max_batch_bytes);
        let mut form = Form { limit, codec: topic.compression, without_holes: exact };
        loop {
            let invalid = |source| Error::InvalidRecord { at: at.clone(), source };
            let Some(next) = outgoing.next(place.next, form).map_err(invalid)? else {
                let from = place.next.max(outgoing.end());
                self.settings.progress.update(&self.key, |entry| entry.next = from);
                match self.read(from, &mut *fetcher, &mut outgoing).await {
                    Err(Error::Corrupt { from, to, .. }) => {
                        self.loses(to - from.max(place.next));
                        return Err(self.passed_over(place, from, to).await?);
                    }
                    read => read?,
                }
                continue;
            };
            if exact && next.first != place.next {
                self.loses(self.gone(place.next, next.first));
                place = self.renewed(place, next.first).await?;
            }
            if next.source_epoch > place.source_epoch || place.is_settled {
                place.source_epoch = place.source_epoch.max(next.source_epoch);
                place.is_settled = false;
                self.keep(&place).await?;
            }
            match self.send(&topic, &place, next, exact).await? {
                Sent::Acknowledged(after) => place = after,
                Sent::InParts => form.limit = (form.limit / 2).max(1),
            }
        }
    }

    /// The target's topic, which is created if that is wanted.
    async fn target_topic(&self) -> Result<Arc<TopicMetadata>> {
        let (at, id) = &self.key;
        let (name, target) = (&at.topic, &self.settings.target);
        match target.admin().describe_topic(name.clone()).await {
            Err(Error::UnknownTopic { .. }) if self.settings.creates_topics => {
                let known = self.settings.source.known_topic(name.as_str());
                let partitions = known.map_or(at.partition + 1, |known| known.partitions);
                let config = TopicConfig::new().partitions(partitions);
                match target.admin().create_topic(name.clone(), config).await {
                    // Another partition's task was first.
                    Ok(_) | Err(Error::TopicAlreadyExists { existing: None, .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            described => drop(described?),
        }
        let topic = target.metadata(name).await?;
        if topic.id == *id {
            let text = format!("{name} is mirrored to itself: its records would never end");
            return Err(Error::InvalidState(text));
        }
        if topic.partitions <= at.partition {
            return Err(Error::InvalidState(format!(
                "{at} can't be mirrored: the target's topic has {} partitions; add some \
                 (Admin::create_partitions)",
                topic.partitions
            )));
        }
        Ok(topic)
    }

    /// Finds out what comes next, and under which numbers.
    async fn resume(&mut self, topic: &TopicMetadata, is_compacted: bool) -> Result<Place> {
        let target = &self.settings.target;
        let at = &self.key.0;
        let Some(mut place) = self.place.clone() else {
            let end = target.list_offset(at, OffsetSpec::Latest).await?.offset.unwrap_or(0);
            let producer = self.producer(self.is_late).await?;
            let start = self.start;
            let place = Place {
                next: start,
                source_epoch: -1,
                topic: topic.id,
                target: end,
                producer,
                first: start,
                is_settled: true,
            };
            self.counted = 0;
            self.keep(&place).await?;
            return Ok(place);
        };
        let mut renews = std::mem::take(&mut self.renews);
        if place.topic != topic.id {
            (place.topic, place.target, renews) = (topic.id, 0, true);
        } else if let Some(producer) = place.producer
            && !is_compacted
        {
            let (last, end) = self.look(topic, &place, producer).await?;
            // There is nothing else before this.
            place.target = end;
            match last.map(|last| place.found(producer, &last)) {
                Some(Found::Upto(next)) => place.next = next,
                Some(Found::Foreign) => {
                    (place.producer, renews) = (self.producer(true).await?, true);
                }
                Some(Found::Earlier) | None => {}
            }
        } else {
            // What was under way may be there, or come.
            renews = true;
        }
        if place.producer.is_none() {
            place.producer = self.producer(false).await?;
        }
        let reader = self.partition.reader();
        // What the source has lost since, others have taken the offsets of.
        if place.source_epoch >= 0
            && let Some((_, end)) = reader.end_offset_for(place.source_epoch)
            && place.next > end
        {
            (place.next, renews) = (end, true);
        }
        let log_start = reader.log_start_offset();
        if place.next < log_start {
            self.loses(log_start - place.next);
            (place.next, renews) = (log_start, true);
        }
        if self.stuck_since.is_some_and(|since| since.elapsed() > STUCK) {
            (self.stuck_since, renews) = (None, true);
        }
        let next = place.next;
        if renews { self.renewed(place, next).await } else { Ok(place) }
    }

    /// The last batch of this producer in the target, if there is one behind what was acknowledged;
    /// and how far the target goes.
    async fn look(
        &self,
        topic: &TopicMetadata,
        place: &Place,
        producer: ProducerId,
    ) -> Result<(Option<LastBatch>, i64)> {
        let (target, at) = (&self.settings.target, &self.key.0);
        let end = target.list_offset(at, OffsetSpec::Latest).await?.offset.unwrap_or(0);
        let start = target.list_offset(at, OffsetSpec::Earliest).await?.offset.unwrap_or(0);
        // It may have lost what it had acknowledged.
        let from = if end < place.target { start } else { place.target.max(start) };
        let mut fetcher = target.fetcher("");
        let (mut offset, leader_epoch) = (from, -1);
        fetcher.fetch_from(at, topic.id, FetchPosition { offset, leader_epoch });
        let mut last = None;
        while offset < end {
            let fetched = poll_fn(|cx| fetcher.poll_fetch(cx, READ_BYTES)).await;
            for batch in fetched.result? {
                let header = batch.header();
                offset = offset.max(header.next_offset());
                if header.producer_id == producer.id && header.base_offset >= from {
                    last = Some(LastBatch::of(header));
                }
            }
        }
        Ok((last, end))
    }

    /// Who the mirror is to the target: as before, or somebody new (`fresh`). `None` where it must
    /// not be anybody.
    async fn producer(&self, fresh: bool) -> Result<Option<ProducerId>> {
        let mut known = self.settings.producer.lock().await;
        if let Some(producer) = known.filter(|_| !fresh) {
            return Ok(Some(producer));
        }
        match self.settings.target.producer_id().await {
            Ok(producer) => {
                *known = Some(producer);
                Ok(Some(producer))
            }
            Err(Error::Unauthorized { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The numbers begin again, with the record at `next`. Noted before anything is sent under
    /// them.
    async fn renewed(&mut self, place: Place, next: i64) -> Result<Place> {
        let producer = match place.producer {
            Some(ProducerId { id, epoch }) => match epoch.checked_add(1) {
                Some(epoch) => Some(ProducerId { id, epoch }),
                None => self.producer(true).await?,
            },
            None => None,
        };
        let place = Place { next, first: next, producer, ..place };
        self.counted = 0;
        self.keep(&place).await?;
        Ok(place)
    }

    /// Waits for records at `from`, and for memory to read them into.
    async fn read(
        &mut self,
        from: i64,
        fetcher: &mut dyn Fetcher,
        outgoing: &mut Outgoing,
    ) -> Result<()> {
        self.reading = None;
        let ready = ReadyQueue::new();
        self.partition.notify_beyond(from, &ready, 0);
        loop {
            let due = self.note_at.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                _ = poll_fn(|cx| ready.poll_pop(cx)) => break,
                () = sleep_until(due), if self.note_at.is_some() => self.note_quietly().await,
            }
        }
        // It is never closed.
        self.reading = self.settings.reads.clone().acquire_owned().await.ok();
        let fetched = poll_fn(|cx| fetcher.poll_fetch(cx, READ_BYTES)).await;
        outgoing.push(fetched.result?);
        Ok(())
    }

    /// Goes on behind records that can't be read.
    async fn passed_over(&mut self, place: Place, from: i64, to: i64) -> Result<Error> {
        self.renewed(place, to).await?;
        Ok(Error::Corrupt { at: self.key.0.clone(), from, to })
    }

    /// How many records between the two are gone; compaction has left out the others.
    fn gone(&self, from: i64, to: i64) -> i64 {
        to.min(self.partition.reader().log_start_offset()) - from
    }

    fn loses(&self, lost: i64) {
        if lost > 0 {
            let at = &self.key.0;
            tracing::warn!(partition = %at, lost, "records were gone before they were mirrored");
            self.settings.progress.update(&self.key, |entry| entry.lost += lost as u64);
        }
    }

    /// Sends a batch until it is known what became of it.
    async fn send(
        &mut self,
        topic: &TopicMetadata,
        place: &Place,
        next: Next,
        exact: bool,
    ) -> Result<Sent> {
        let Next { mut batch, records, first, end, .. } = next;
        if let Some(ProducerId { id, epoch }) = place.producer {
            let sequence = match exact {
                true => place.sequence(first),
                false => (self.counted & i64::from(i32::MAX)) as i32,
            };
            set_producer(&mut batch, id, epoch, sequence);
        }
        let batch = batch.freeze();
        let (mut pauses, mut attempts) = (Backoff::new(PAUSES), 1);
        self.is_settled = false;
        loop {
            let produced = self.settings.target.produce(&self.key.0, topic.id, batch.clone()).await;
            match produced {
                Produced::Appended { base_offset } => {
                    let target = base_offset.map(|base| base + i64::from(records));
                    let target = target.unwrap_or(place.target);
                    let place = Place { next: end, target, ..place.clone() };
                    self.acknowledged(&place, records, batch.len(), exact).await;
                    return Ok(Sent::Acknowledged(place));
                }
                Produced::Again(error) if attempts < ATTEMPTS => {
                    attempts += 1;
                    self.fails(error);
                    sleep(pauses.next()).await;
                }
                Produced::TooLarge(_) if records > 1 => return Ok(Sent::InParts),
                Produced::Fenced(error) => {
                    self.renews = true;
                    return Err(error);
                }
                Produced::OutOfSequence(error) => {
                    self.stuck_since.get_or_insert_with(Instant::now);
                    return Err(error);
                }
                Produced::Again(error) | Produced::TooLarge(error) | Produced::Failed(error) => {
                    return Err(error);
                }
            }
        }
    }

    async fn acknowledged(&mut self, place: &Place, records: i32, bytes: usize, exact: bool) {
        self.counted += i64::from(records);
        // What was under way before has a number that is taken.
        (self.stuck_since, self.came_on, self.is_settled) = (None, true, exact);
        self.place = Some(place.clone());
        self.settings.progress.update(&self.key, |entry| {
            entry.next = place.next;
            entry.records += records as u64;
            entry.bytes += bytes as u64;
            entry.goes_on();
        });
        // What would be sent again after a crash has to be there.
        if exact {
            self.release(place.next);
        }
        let due = *self.note_at.get_or_insert_with(|| Instant::now() + NOTE_EVERY);
        if due <= Instant::now() {
            self.note_quietly().await;
        }
    }

    fn release(&self, next: i64) {
        if let Some(hold) = &self.hold {
            hold.advance(next);
        }
    }

    /// Notes what must not be forgotten.
    async fn keep(&mut self, place: &Place) -> Result<()> {
        self.place = Some(place.clone());
        self.note().await
    }

    /// Notes how far it has come; if that fails, a later note will do.
    async fn note_quietly(&mut self) {
        if let Err(error) = self.note().await {
            tracing::warn!(partition = %self.key.0, %error, "a mirror's position was not noted");
            self.note_at = Some(Instant::now() + NOTE_EVERY);
        }
    }

    /// The last note, once there is nothing more to be done.
    async fn settle(&mut self) -> Result<()> {
        match &mut self.place {
            Some(place) if self.is_settled && !place.is_settled => place.is_settled = true,
            _ if self.note_at.is_none() => return Ok(()),
            _ => {}
        }
        self.note().await
    }

    async fn note(&mut self) -> Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        let (at, id) = self.key.clone();
        let next = place.next;
        let committed = CommittedOffset {
            offset: next,
            leader_epoch: place.source_epoch,
            metadata: place.to_string(),
            timestamp: FOR_EVER,
            topic_id: Some(id),
        };
        let (member, generation) = (MemberRef::default(), -1);
        let commit = Commit { member, generation, offsets: vec![(at, committed)] };
        self.session.commit(commit).await?;
        self.note_at = None;
        self.release(next);
        Ok(())
    }
}

enum Sent {
    /// This is how far it has come.
    Acknowledged(Place),
    /// It was too large. Half as much may not be.
    InParts,
}
