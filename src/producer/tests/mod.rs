//! Tests of the producer over [`Mock`], a transport that answers when it is told to.

mod failures;
mod flow;
mod linger;
mod room;
mod stress;
mod topics;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use super::*;
use crate::batch::Batch;
use crate::clock::{Clock, ManualClock};
use crate::topic::{TopicId, TopicPartition};
use crate::transport::{
    Administration, BatchMetadata, BatchPart, Completion, Fetcher, GroupSession, ListedOffset,
    OffsetSpec, Produced, ProducerId, Submission, TopicMetadata,
};

/// What a submission meets.
enum Route {
    /// It waits for [`Mock::complete_next`] and the like.
    Hold,
    /// It is completed before `submit` returns.
    Immediate,
    /// Whoever holds the other end completes it.
    Channel(mpsc::Sender<Taken>),
    /// It is lost in a panic.
    Panic,
}

/// A batch, taken from its source as soon as it is submitted.
struct Taken {
    at: TopicPartition,
    batch: BytesMut,
    completion: Completion,
}

/// A transport in memory that records all batches.
struct Mock {
    clock: Clock,
    version: watch::Sender<u64>,
    state: Mutex<MockState>,
}

struct MockState {
    route: Route,
    held: VecDeque<Taken>,
    /// Topics that `known_topic` knows.
    known: HashMap<String, Arc<TopicMetadata>>,
    /// Topics that become known by a call of `metadata`.
    hidden: HashMap<String, Arc<TopicMetadata>>,
    /// All batches in the order in which they were submitted.
    submitted: Vec<(TopicPartition, TopicId, Batch)>,
    next_offsets: HashMap<TopicPartition, i64>,
    log_append_time: Option<crate::record::Timestamp>,
}

impl fmt::Debug for Mock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mock")
    }
}

fn topic(name: &str, id: u8, partitions: i32, max_batch_bytes: usize) -> Arc<TopicMetadata> {
    let (name, id) = (TopicName::parse(name).unwrap(), TopicId([id; 16]));
    let max_batch_setting = "max.message.bytes";
    Arc::new(TopicMetadata {
        name,
        id,
        partitions,
        max_batch_bytes,
        max_batch_setting,
        needs_keys: false,
        compression: None,
    })
}

impl Mock {
    /// Knows topic `t` with `partitions`.
    fn new(route: Route, partitions: i32) -> Arc<Mock> {
        Self::with_clock(route, partitions, Clock::manual())
    }

    fn with_clock(route: Route, partitions: i32, clock: ManualClock) -> Arc<Mock> {
        let state = MockState {
            route,
            held: VecDeque::new(),
            known: HashMap::from([("t".to_owned(), topic("t", 1, partitions, 1_048_588))]),
            hidden: HashMap::new(),
            submitted: Vec::new(),
            next_offsets: HashMap::new(),
            log_append_time: None,
        };
        let version = watch::Sender::new(0);
        Arc::new(Mock { clock: clock.into(), version, state: Mutex::new(state) })
    }

    fn producer(self: &Arc<Self>) -> ProducerBuilder {
        ProducerBuilder::new(Arc::clone(self) as Arc<dyn Transport>)
    }

    fn state(&self) -> MutexGuard<'_, MockState> {
        self.state.lock().unwrap()
    }

    fn set_topic(&self, metadata: Arc<TopicMetadata>) {
        self.state().known.insert(metadata.name.to_string(), metadata);
        self.version.send_modify(|version| *version += 1);
    }

    fn accept(&self, taken: Taken) {
        let header = *Batch::parse(taken.batch.clone().freeze()).unwrap().header();
        let (base_offset, log_append_time) = {
            let mut state = self.state();
            let next = state.next_offsets.entry(taken.at.clone()).or_default();
            let base_offset = *next;
            *next = base_offset + i64::from(header.record_count);
            (base_offset, state.log_append_time)
        };
        let metadata = BatchMetadata { base_offset, log_append_time };
        taken.completion.run(taken.batch, Ok(metadata));
    }

    fn take_next(&self) -> Taken {
        self.state().held.pop_front().expect("a batch is in flight")
    }

    fn complete_next(&self) {
        self.accept(self.take_next());
    }

    fn complete_all(&self) {
        while self.in_flight() > 0 {
            self.complete_next();
        }
    }

    fn fail_next(&self, error: Error) {
        let Taken { batch, completion, .. } = self.take_next();
        completion.run(batch, Err(error));
    }

    fn in_flight(&self) -> usize {
        self.state().held.len()
    }

    /// How many records each batch had, in the order of submission.
    fn batch_sizes(&self) -> Vec<i32> {
        self.state().submitted.iter().map(|(_, _, batch)| batch.header().record_count).collect()
    }

    /// The values of all records of one partition of `t`, in order.
    fn values(&self, partition: i32) -> Vec<String> {
        let state = self.state();
        let batches = state.submitted.iter().filter(|(at, ..)| at.partition == partition);
        let values = batches.flat_map(|(_, _, batch)| {
            batch.records().map(|record| {
                let value = record.unwrap().value.expect("all have values");
                String::from_utf8(value.to_vec()).unwrap()
            })
        });
        values.collect()
    }
}

#[async_trait]
impl Transport for Mock {
    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn known_topic(&self, topic: &str) -> Option<Arc<TopicMetadata>> {
        self.state().known.get(topic).cloned()
    }

    async fn metadata(&self, topic: &TopicName) -> Result<Arc<TopicMetadata>> {
        tokio::task::yield_now().await;
        let mut state = self.state();
        match state.hidden.remove(topic.as_str()) {
            Some(metadata) => {
                state.known.insert(topic.to_string(), Arc::clone(&metadata));
                Ok(metadata)
            }
            None => Err(Error::UnknownTopic { topic: topic.to_string() }),
        }
    }

    fn known_topics(&self) -> Vec<Arc<TopicMetadata>> {
        unreachable!("a producer knows which topic it wants")
    }

    fn metadata_version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn submit(&self, submission: Submission) {
        let Submission { at, topic_id, batch, .. } = submission;
        let (batch, completion) = batch.take();
        let parsed = Batch::parse_checked(batch.clone().freeze()).unwrap();
        let mut state = self.state();
        state.submitted.push((at.clone(), topic_id, parsed));
        let taken = Taken { at, batch, completion };
        match &state.route {
            Route::Hold => state.held.push_back(taken),
            Route::Channel(sender) => sender.send(taken).unwrap(),
            Route::Immediate => {
                drop(state);
                self.accept(taken);
            }
            Route::Panic => {
                drop(state);
                panic!("a transport's own fault");
            }
        }
    }

    async fn producer_id(&self) -> Result<ProducerId> {
        unreachable!("a producer submits its batches")
    }

    async fn produce(&self, _: &TopicPartition, _: TopicId, _: Bytes) -> Produced {
        unreachable!("a producer submits its batches")
    }

    fn fetcher(&self, _: &str) -> Box<dyn Fetcher> {
        unreachable!("producers do not fetch")
    }

    fn group(&self, _: &str) -> Arc<dyn GroupSession> {
        unreachable!("producers have no group")
    }

    fn admin(&self) -> &dyn Administration {
        unreachable!("a producer asks for nothing of this")
    }

    async fn list_offset(&self, _: &TopicPartition, _: OffsetSpec) -> Result<ListedOffset> {
        unreachable!("producers do not ask for offsets")
    }
}

/// Polls once.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The output of a future that must be ready.
fn ready<F: Future>(future: F) -> F::Output {
    poll_once(std::pin::pin!(future)).expect("the future is ready")
}

fn is_pending(delivery: &mut Delivery) -> bool {
    poll_once(Pin::new(delivery)).is_none()
}

/// A record for partition 0 of `t`.
fn record(value: &str) -> Record<'_> {
    Record::to("t").partition(0).value(value)
}

/// Numbers as values.
fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}
