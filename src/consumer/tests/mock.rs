//! A transport in memory: topics are lists of real batches, and everything that goes wrong is
//! put there by the test.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::assignor::Subscription;
use crate::batch::{Batch, BatchBuilder, HEADER_LEN, patch};
use crate::clock::Clock;
use crate::consumer::ConsumerBuilder;
use crate::error::{Error, GroupError, Result};
use crate::topic::{TopicId, TopicName, TopicPartition};
use crate::transport::{
    Administration, Commit, CommittedOffset, FetchPosition, Fetched, Fetcher, GroupSession,
    JoinGroup, Joined, ListedOffset, MemberRef, OffsetSpec, Produced, ProducerId, Submission,
    SyncGroup, Synced, TopicMetadata, Transport,
};

/// What the records of [`Mock::append`] say of when they were made: their offset times this.
pub(super) const MILLIS_PER_OFFSET: i64 = 10;

/// A handle to a broker that is not there. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Mock {
    state: Arc<Mutex<State>>,
    version: Arc<watch::Sender<u64>>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeMap<TopicName, Topic>,
    topics_made: u8,
    /// Partitions of a topic that is created by asking for it; 0: it is not.
    auto_create: i32,
    closed: bool,
    /// A topic that is deleted as soon as somebody asks for an offset of it.
    fleeting: Option<TopicName>,
    waiting: Vec<Waker>,
    /// What members of groups are assigned.
    assignment: Bytes,
    /// What they have said of themselves when they joined.
    subscriptions: Vec<Bytes>,
    /// Whether groups have gone to their next generation, and members have not heard of it.
    moves_on: bool,
    groups: Vec<watch::Sender<u64>>,
    /// What fetchers were told: `partition@offset/epoch`, `partition stopped`.
    told: Vec<String>,
}

#[derive(Debug)]
struct Topic {
    id: TopicId,
    partitions: Vec<Log>,
}

#[derive(Debug, Default)]
struct Log {
    batches: Vec<Batch>,
    start: i64,
    end: i64,
    epoch: i32,
    errors: VecDeque<Error>,
}

impl Mock {
    pub(super) fn new() -> Self {
        let (version, _) = watch::channel(0);
        Mock { state: Arc::default(), version: Arc::new(version), clock: Clock::system() }
    }

    /// With one topic `t`.
    pub(super) fn with_partitions(partitions: i32) -> Self {
        let mock = Mock::new();
        mock.create("t", partitions);
        mock
    }

    pub(super) fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(Arc::new(self.clone()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn auto_create(&self, partitions: i32) {
        self.state().auto_create = partitions;
    }

    /// Groups rebalance: who joins is in the next generation, and does not get the answer.
    pub(super) fn move_on(&self) {
        let mut state = self.state();
        state.moves_on = true;
        state.groups.iter().for_each(|changes| changes.send_modify(|changes| *changes += 1));
    }

    /// What members of groups have said of themselves, each time that one joined.
    pub(super) fn subscriptions(&self) -> Vec<Subscription> {
        self.state().subscriptions.iter().map(|it| Subscription::decode(it).unwrap()).collect()
    }

    /// Creates a topic, or adds partitions to it.
    pub(super) fn create(&self, topic: &str, partitions: i32) {
        self.state().create(&TopicName::parse(topic).unwrap(), partitions);
        self.version.send_modify(|version| *version += 1);
    }

    pub(super) fn delete(&self, topic: &str) {
        self.delete_quietly(topic);
        self.version.send_modify(|version| *version += 1);
    }

    /// Fetches find the topic gone before the metadata say so.
    pub(super) fn delete_quietly(&self, topic: &str) {
        let mut state = self.state();
        state.topics.remove(topic);
        state.wake();
    }

    /// The topic is deleted as soon as somebody asks for an offset of it.
    pub(super) fn delete_when_listed(&self, topic: &str) {
        self.state().fleeting = Some(TopicName::parse(topic).unwrap());
    }

    /// From now on, everything is over.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.wake();
    }

    /// Appends one batch of `count` records to `t`, each of which holds `partition:offset`.
    pub(super) fn append(&self, partition: i32, count: i64) {
        let end = self.end(partition);
        let mut builder = BatchBuilder::new(BytesMut::new());
        for offset in end..end + count {
            let value = format!("{partition}:{offset}");
            builder.push(offset * MILLIS_PER_OFFSET, None, Some(value.as_bytes()), &[]);
        }
        self.append_bytes(partition, builder.finish());
    }

    /// Appends a batch of `count` records whose bytes `change` has had its way with.
    pub(super) fn append_changed(
        &self,
        partition: i32,
        count: i64,
        change: impl FnOnce(&mut BytesMut),
    ) {
        self.append(partition, count);
        let mut state = self.state();
        let log = state.log(partition);
        let mut bytes = BytesMut::from(&log.batches.pop().unwrap().bytes()[..]);
        change(&mut bytes);
        log.batches.push(Batch::parse(bytes.freeze()).unwrap());
    }

    /// Appends a batch that compaction has emptied; `offsets` were in it.
    pub(super) fn append_empty(&self, partition: i32, offsets: i64) {
        self.append_changed(partition, offsets, |bytes| {
            bytes.truncate(HEADER_LEN);
            bytes[8..12].copy_from_slice(&(HEADER_LEN as i32 - 12).to_be_bytes());
            bytes[57..61].copy_from_slice(&0i32.to_be_bytes());
        });
    }

    /// Appends a mark of the broker's: a control batch.
    pub(super) fn append_control(&self, partition: i32) {
        self.append_changed(partition, 1, |bytes| bytes[22] |= 1 << 5);
    }

    pub(super) fn append_bytes(&self, partition: i32, mut bytes: BytesMut) {
        let mut state = self.state();
        let log = state.log(partition);
        patch(&mut bytes, log.end, log.epoch);
        let batch = Batch::parse(bytes.freeze()).unwrap();
        log.end = batch.header().next_offset();
        log.batches.push(batch);
        state.wake();
    }

    /// Retention takes the batches before `offset`.
    pub(super) fn retain_from(&self, partition: i32, offset: i64) {
        let mut state = self.state();
        let log = state.log(partition);
        log.start = offset;
        log.batches.retain(|batch| batch.header().last_offset() >= offset);
    }

    /// The next fetch of the partition fails.
    pub(super) fn fail_next(&self, partition: i32, error: Error) {
        let mut state = self.state();
        state.log(partition).errors.push_back(error);
        state.wake();
    }

    /// What members of groups are assigned from now on.
    pub(super) fn assign(&self, assignment: Bytes) {
        self.state().assignment = assignment;
    }

    /// What fetchers were told since this was asked before.
    pub(super) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.state().told)
    }

    pub(super) fn end(&self, partition: i32) -> i64 {
        self.state().log(partition).end
    }
}

impl State {
    fn create(&mut self, name: &TopicName, partitions: i32) {
        if !self.topics.contains_key(name) {
            self.topics_made += 1;
        }
        let id = TopicId([self.topics_made; 16]);
        let new = || Topic { id, partitions: Vec::new() };
        let topic = self.topics.entry(name.clone()).or_insert_with(new);
        topic.partitions.resize_with(partitions as usize, Log::default);
    }

    fn log(&mut self, partition: i32) -> &mut Log {
        &mut self.topics.get_mut("t").unwrap().partitions[partition as usize]
    }

    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }

    fn metadata(&self, name: &str) -> Option<Arc<TopicMetadata>> {
        let (name, topic) = self.topics.get_key_value(name)?;
        Some(Arc::new(TopicMetadata {
            name: name.clone(),
            id: topic.id,
            partitions: topic.partitions.len() as i32,
            max_batch_bytes: 1 << 20,
            max_batch_setting: "max.message.bytes",
            needs_keys: false,
            compression: None,
        }))
    }
}

#[async_trait]
impl Transport for Mock {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn known_topic(&self, topic: &str) -> Option<Arc<TopicMetadata>> {
        self.state().metadata(topic)
    }

    fn known_topics(&self) -> Vec<Arc<TopicMetadata>> {
        let state = self.state();
        state.topics.keys().filter_map(|name| state.metadata(name.as_str())).collect()
    }

    async fn metadata(&self, topic: &TopicName) -> Result<Arc<TopicMetadata>> {
        let mut state = self.state();
        if state.auto_create > 0 && !state.topics.contains_key(topic) {
            let partitions = state.auto_create;
            state.create(topic, partitions);
        }
        let unknown = || Error::UnknownTopic { topic: topic.to_string() };
        state.metadata(topic.as_str()).ok_or_else(unknown)
    }

    fn metadata_version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn submit(&self, _: Submission) {
        unreachable!("a consumer produces nothing")
    }

    async fn producer_id(&self) -> Result<ProducerId> {
        unreachable!("a consumer produces nothing")
    }

    async fn produce(&self, _: &TopicPartition, _: TopicId, _: Bytes) -> Produced {
        unreachable!("a consumer produces nothing")
    }

    fn fetcher(&self, _: &str) -> Box<dyn Fetcher> {
        Box::new(MockFetcher { mock: self.clone(), turns: VecDeque::new() })
    }

    fn group(&self, _: &str) -> Arc<dyn GroupSession> {
        let assignment = self.state().assignment.clone();
        let (generation, changes) = (AtomicI32::new(0), watch::Sender::new(0));
        self.state().groups.push(changes.clone());
        Arc::new(MockGroup { mock: self.clone(), assignment, generation, changes })
    }

    fn admin(&self) -> &dyn Administration {
        unreachable!("a consumer asks for nothing of this")
    }

    async fn list_offset(&self, at: &TopicPartition, spec: OffsetSpec) -> Result<ListedOffset> {
        let mut state = self.state();
        if state.fleeting.as_ref() == Some(&at.topic) {
            state.topics.remove(&at.topic);
            self.version.send_modify(|version| *version += 1);
            return Err(Error::UnknownTopic { topic: at.topic.to_string() });
        }
        let log = &state.topics[&at.topic].partitions[at.partition as usize];
        let records = log.batches.iter().flat_map(Batch::records);
        let offset = match spec {
            OffsetSpec::Earliest => Some(log.start),
            OffsetSpec::Latest => Some(log.end),
            OffsetSpec::Timestamp(timestamp) => records
                .map(Result::unwrap)
                .find(|record| record.timestamp >= timestamp)
                .map(|record| record.offset),
        };
        Ok(ListedOffset { offset, leader_epoch: log.epoch })
    }
}

fn refused(source: GroupError) -> Error {
    Error::Group { group: "g".to_owned(), source }
}

/// A group that somebody else leads, and in which nothing happens.
#[derive(Debug)]
struct MockGroup {
    mock: Mock,
    assignment: Bytes,
    /// How often somebody has joined.
    generation: AtomicI32,
    changes: watch::Sender<u64>,
}

#[async_trait]
impl GroupSession for MockGroup {
    fn beside(&self, _: Pin<Box<dyn Future<Output = ()> + Send>>) -> JoinSet<()> {
        // Nobody watches.
        JoinSet::new()
    }

    fn fall_silent(&self) {}

    async fn join(&self, request: JoinGroup) -> Result<Joined> {
        self.mock.state().subscriptions.push(request.protocols[0].1.clone());
        if self.mock.state().moves_on {
            std::future::pending::<()>().await;
        }
        Ok(Joined {
            member_id: "this".to_owned(),
            generation: self.generation.fetch_add(1, Ordering::Relaxed) + 1,
            protocol_type: request.protocol_type,
            protocol: request.protocols[0].0.clone(),
            leader: "another".to_owned(),
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    async fn sync(&self, _: SyncGroup) -> Result<Synced> {
        let (protocol_type, protocol) = (String::new(), String::new());
        Ok(Synced { protocol_type, protocol, assignment: self.assignment.clone() })
    }

    fn changes(&self) -> Result<watch::Receiver<u64>> {
        Ok(self.changes.subscribe())
    }

    fn sleep_until(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }

    async fn heartbeat(&self, _: MemberRef, _: i32) -> Result<()> {
        match self.mock.state().moves_on {
            true => Err(refused(GroupError::RebalanceInProgress)),
            false => Ok(()),
        }
    }

    async fn leave(&self, _: MemberRef) -> Result<()> {
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<()> {
        let (generation, current) = (commit.generation, commit.generation + 1);
        match self.mock.state().moves_on {
            true => Err(refused(GroupError::IllegalGeneration { generation, current })),
            false => Ok(()),
        }
    }

    async fn committed(
        &self,
        _: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, CommittedOffset)>> {
        Ok(Vec::new())
    }
}

/// Serves partitions in turn: who was served goes to the end.
struct MockFetcher {
    mock: Mock,
    turns: VecDeque<Turn>,
}

struct Turn {
    at: TopicPartition,
    topic_id: TopicId,
    position: FetchPosition,
}

impl Fetcher for MockFetcher {
    fn fetch_from(&mut self, at: &TopicPartition, topic_id: TopicId, position: FetchPosition) {
        self.turns.retain(|turn| turn.at != *at);
        let told = format!("{}@{}/{}", at.partition, position.offset, position.leader_epoch);
        self.mock.state().told.push(told);
        self.turns.push_back(Turn { at: at.clone(), topic_id, position });
    }

    fn stop(&mut self, at: &TopicPartition) {
        self.mock.state().told.push(format!("{} stopped", at.partition));
        self.turns.retain(|turn| turn.at != *at);
    }

    fn poll_fetch(&mut self, cx: &mut Context<'_>, max_bytes: usize) -> Poll<Fetched> {
        let mut state = self.mock.state();
        for index in 0..self.turns.len() {
            let turn = &mut self.turns[index];
            let Some(result) = state.fetch(turn, max_bytes) else { continue };
            // A partition that fails stands still: it has no turn any more.
            let turn = self.turns.remove(index).unwrap();
            let at = turn.at.clone();
            if result.is_ok() {
                self.turns.push_back(turn);
            }
            return Poll::Ready(Fetched::unchecked(at, result));
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

impl State {
    fn fetch(&mut self, turn: &mut Turn, max_bytes: usize) -> Option<Result<Vec<Batch>>> {
        if self.closed {
            return Some(Err(Error::closed("the test says so")));
        }
        let topic = self.topics.get_mut(&turn.at.topic).filter(|topic| topic.id == turn.topic_id);
        let Some(topic) = topic else {
            return Some(Err(Error::UnknownTopic { topic: turn.at.topic.to_string() }));
        };
        let log = &mut topic.partitions[turn.at.partition as usize];
        if let Some(error) = log.errors.pop_front() {
            return Some(Err(error));
        }
        let offset = turn.position.offset;
        if offset < log.start || offset > log.end {
            return Some(Err(Error::OffsetOutOfRange {
                at: turn.at.clone(),
                offset,
                log_start_offset: log.start,
                log_end_offset: log.end,
            }));
        }
        let mut batches = Vec::<Batch>::new();
        let mut bytes = 0;
        for batch in log.batches.iter().filter(|batch| batch.header().last_offset() >= offset) {
            bytes += batch.bytes().len();
            if bytes > max_bytes && !batches.is_empty() {
                break;
            }
            batches.push(batch.clone());
        }
        turn.position.offset = batches.last()?.header().next_offset();
        Some(Ok(batches))
    }
}
