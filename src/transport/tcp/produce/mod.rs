//! Producing over the network: one task sends the batches of all of a client's producers.
//!
//! It takes a batch when the partition's leader can be sent one more request, so that what can't go
//! yet grows. A request has one batch a partition. Several are under way to a broker, over one
//! connection, so they arrive in their order; a partition whose leader changes waits until all that
//! went to the former one is answered.

mod answers;
mod once;
mod queue;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until};

use super::cluster::Cluster;
use super::connection::Connection;
use super::errors::{may_pass, of_code};
use super::pool::Pool;
use super::settings::millis;
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicPartition};
use crate::transport::{ProducerId, Submission};
use crate::wire::init_producer_id::InitProducerIdRequest;
use crate::wire::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use crate::wire::{ApiKey, ErrorCode, Records};

pub(super) use once::once;
use queue::{Outgoing, Queue};

/// Requests that are under way to a broker (`max.in.flight.requests.per.connection`).
const MAX_IN_FLIGHT: usize = 5;
/// Where a request gets no further batch, unless it has none yet (`max.request.size`).
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// How often it is looked whether something has taken too long.
const SWEEP: Duration = Duration::from_secs(1);

/// The way to the task.
#[derive(Debug)]
pub(super) struct Sender(mpsc::UnboundedSender<Submission>);

impl Sender {
    /// Starts the task. It ends when nobody is left who could submit, and all is answered.
    pub(super) fn start(cluster: Arc<Cluster>) -> Self {
        let (submissions, queue) = mpsc::unbounded_channel();
        tokio::spawn(Actor::new(cluster).run(queue));
        Sender(submissions)
    }

    /// Never waits. What is in the channel is bounded by the producers' buffers.
    pub(super) fn submit(&self, submission: Submission) {
        if let Err(refused) = self.0.send(submission) {
            let gone = Error::closed("the client's runtime has ended");
            refused.0.batch.fail(gone);
        }
    }
}

/// A request that was sent: for which queues, and which batches of theirs.
type Parts = Vec<(usize, u64)>;

/// What a task of the sender's has brought back.
enum Done {
    Connected(i32, Result<Connection>),
    Answered(i32, Parts, Result<ProduceResponse>),
    Identified(Result<ProducerId>),
}

struct Actor {
    cluster: Arc<Cluster>,
    pool: Arc<Pool>,
    queues: Vec<Queue>,
    /// Where a partition's queue is. One that was created again is another.
    places: HashMap<(TopicPartition, TopicId), usize>,
    brokers: BTreeMap<i32, Broker>,
    /// Queues that may have something to send, each once.
    ready: VecDeque<usize>,
    is_ready: Vec<bool>,
    /// Which queues are in some broker's list.
    is_listed: Vec<bool>,
    /// Queues without a leader, or an identity.
    parked: Vec<usize>,
    /// Queues that wait before they try again.
    delayed: BinaryHeap<Reverse<(Instant, usize)>>,
    identity: Option<ProducerId>,
    identifies: bool,
    tasks: JoinSet<Done>,
    next_sweep: Instant,
}

/// What is known of a broker here.
#[derive(Default)]
struct Broker {
    connection: Option<Connection>,
    connects: bool,
    in_flight: usize,
    ready: VecDeque<usize>,
}

impl Actor {
    fn new(cluster: Arc<Cluster>) -> Self {
        Actor {
            pool: Arc::new(Pool::new(cluster.settings.clone())),
            cluster,
            queues: Vec::new(),
            places: HashMap::new(),
            brokers: BTreeMap::new(),
            ready: VecDeque::new(),
            is_ready: Vec::new(),
            is_listed: Vec::new(),
            parked: Vec::new(),
            delayed: BinaryHeap::new(),
            identity: None,
            identifies: false,
            tasks: JoinSet::new(),
            next_sweep: Instant::now() + SWEEP,
        }
    }

    async fn run(mut self, mut submissions: mpsc::UnboundedReceiver<Submission>) {
        let mut rounds = self.cluster.rounds();
        let mut is_open = true;
        while is_open || !self.is_idle() {
            self.send_all();
            let wake = self.next_wake();
            tokio::select! {
                biased;
                Some(done) = self.tasks.join_next() => {
                    if let Ok(done) = done {
                        self.finished(done);
                    }
                }
                submission = submissions.recv(), if is_open => match submission {
                    Some(submission) => {
                        self.take(submission);
                        while let Ok(more) = submissions.try_recv() {
                            self.take(more);
                        }
                    }
                    None => is_open = false,
                },
                changed = rounds.changed() => {
                    if changed.is_ok() {
                        let parked = std::mem::take(&mut self.parked);
                        parked.into_iter().for_each(|index| self.make_ready(index));
                    }
                }
                () = sleep_until(wake) => self.look_at_the_time(),
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.queues.iter().all(Queue::is_empty)
    }

    fn take(&mut self, submission: Submission) {
        let Submission { at, topic_id, batch, delivery_timeout, .. } = submission;
        let queues = &mut self.queues;
        let place = self.places.entry((at, topic_id));
        let index = *place.or_insert_with_key(|(at, id)| {
            queues.push(Queue::new(at.clone(), *id));
            self.is_ready.push(false);
            self.is_listed.push(false);
            queues.len() - 1
        });
        self.queues[index].push(batch, Instant::now(), delivery_timeout);
        self.make_ready(index);
    }

    fn make_ready(&mut self, index: usize) {
        if !std::mem::replace(&mut self.is_ready[index], true) {
            self.ready.push_back(index);
        }
    }

    /// Sends what can be sent now.
    fn send_all(&mut self) {
        while !self.ready.is_empty() {
            let mut touched = Vec::new();
            while let Some(index) = self.ready.pop_front() {
                self.is_ready[index] = false;
                touched.extend(self.list(index));
            }
            touched.sort_unstable();
            touched.dedup();
            touched.into_iter().for_each(|node| self.send_to(node));
        }
    }

    /// Puts a queue into the list of the broker that its next batch goes to, which is returned.
    fn list(&mut self, index: usize) -> Option<i32> {
        if self.is_listed[index] || !self.queues[index].may_send() {
            return None;
        }
        match self.destination(index) {
            Ok(Some(node)) => {
                self.is_listed[index] = true;
                self.brokers.entry(node).or_default().ready.push_back(index);
                Some(node)
            }
            // Its last answers make it ready again, or metadata.
            Ok(None) => None,
            Err(error) => {
                self.queues[index].fail_all(&error);
                self.tell(index);
                None
            }
        }
    }

    /// The broker that a queue's next batch goes to, if it may go now. `Err` if it never can.
    fn destination(&mut self, index: usize) -> Result<Option<i32>> {
        let queue = &self.queues[index];
        let known = self.cluster.known_topic(queue.at.topic.as_str());
        // It was known when the record was buffered. What is only missing for a moment still is.
        if known.is_none_or(|known| known.id != queue.topic_id) {
            return Err(Error::UnknownTopic { topic: queue.at.topic.to_string() });
        }
        if self.identity.is_none() {
            self.parked.push(index);
            self.identify();
            return Ok(None);
        }
        let leader = self.cluster.leader(&queue.at).and_then(|leader| leader.node);
        let Some(node) = leader.filter(|node| self.cluster.address(*node).is_some()) else {
            self.parked.push(index);
            self.cluster.nudge();
            return Ok(None);
        };
        let is_elsewhere = queue.in_flight() > 0 && queue.node.is_some_and(|it| it != node);
        Ok((!is_elsewhere).then_some(node))
    }

    /// Asks for a producer id, if that is not being done.
    fn identify(&mut self) {
        if std::mem::replace(&mut self.identifies, true) {
            return;
        }
        let cluster = self.cluster.clone();
        self.tasks.spawn(async move { Done::Identified(identified(&cluster).await) });
    }

    fn send_to(&mut self, node: i32) {
        loop {
            let Some(broker) = self.brokers.get_mut(&node) else { return };
            if broker.ready.is_empty() || broker.in_flight >= MAX_IN_FLIGHT {
                return;
            }
            let connection = broker.connection.take_if(|it| !it.is_open());
            drop(connection);
            let Some(connection) = broker.connection.clone() else {
                return self.connect(node);
            };
            let (parts, request) = self.next_request(node);
            if parts.is_empty() {
                return;
            }
            self.send(node, &connection, parts, &request);
        }
    }

    fn connect(&mut self, node: i32) {
        let Some(broker) = self.brokers.get_mut(&node) else { return };
        if std::mem::replace(&mut broker.connects, true) {
            return;
        }
        let (pool, address) = (self.pool.clone(), self.cluster.address(node));
        self.tasks.spawn(async move {
            let connected = match address {
                Some(address) => pool.get(&address).await,
                None => Err(Error::closed("the broker has left the cluster")),
            };
            Done::Connected(node, connected)
        });
    }

    /// One batch each of as many partitions as fit.
    fn next_request(&mut self, node: i32) -> (Parts, ProduceRequest) {
        let (mut parts, mut topics, mut bytes) = (Parts::new(), Vec::new(), 0);
        let mut again = Vec::new();
        let Some(fresh) = self.identity else { return (parts, ProduceRequest::default()) };
        while bytes < MAX_REQUEST_BYTES
            && let Some(index) = self.brokers.get_mut(&node).and_then(|it| it.ready.pop_front())
        {
            self.is_listed[index] = false;
            match self.destination(index) {
                Ok(Some(leader)) if leader == node => {}
                Ok(None) => continue,
                // Somebody else leads since it was listed, or nobody ever will.
                _ => {
                    self.make_ready(index);
                    continue;
                }
            }
            let queue = &mut self.queues[index];
            match queue.next(fresh) {
                Ok(Some(Outgoing { key, bytes: batch })) => {
                    queue.node = Some(node);
                    bytes += batch.len();
                    put(&mut topics, &queue.at, batch);
                    parts.push((index, key));
                    again.push(index);
                }
                Ok(None) => {}
                Err(queue::NeedsIdentity) => {
                    self.identity = None;
                    self.parked.push(index);
                    self.identify();
                }
            }
            self.tell(index);
        }
        // Once a request: a partition's batches are answered one by one.
        again.iter().for_each(|index| self.is_listed[*index] = true);
        if let Some(broker) = self.brokers.get_mut(&node) {
            broker.ready.extend(again);
        }
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: millis(self.cluster.settings.request_timeout),
            topic_data: topics,
        };
        (parts, request)
    }

    fn send(&mut self, node: i32, connection: &Connection, parts: Parts, request: &ProduceRequest) {
        let version = connection.version(ApiKey::Produce, i16::MAX);
        let patience = self.cluster.settings.request_timeout;
        let started = version.and_then(|version| connection.start(request, version, patience));
        match started {
            Ok(answer) => {
                if let Some(broker) = self.brokers.get_mut(&node) {
                    broker.in_flight += 1;
                }
                self.tasks.spawn(async move {
                    let answer = answer.await_it().await;
                    Done::Answered(node, parts, answer)
                });
            }
            Err(error) => self.answered(node, parts, Err(error)),
        }
    }

    fn finished(&mut self, done: Done) {
        match done {
            Done::Connected(node, connected) => self.connected(node, connected),
            Done::Answered(node, parts, answer) => {
                if let Some(broker) = self.brokers.get_mut(&node) {
                    broker.in_flight -= 1;
                }
                self.answered(node, parts, answer);
                self.send_to(node);
            }
            Done::Identified(Ok(identity)) => {
                (self.identity, self.identifies) = (Some(identity), false);
                let parked = std::mem::take(&mut self.parked);
                parked.into_iter().for_each(|index| self.make_ready(index));
            }
            Done::Identified(Err(error)) => {
                self.identifies = false;
                for index in std::mem::take(&mut self.parked) {
                    // Those that can wait ask again.
                    if !error.is_retriable() {
                        self.queues[index].fail_all(&error);
                        self.tell(index);
                    }
                    self.make_ready(index);
                }
            }
        }
    }

    fn connected(&mut self, node: i32, connected: Result<Connection>) {
        let Some(broker) = self.brokers.get_mut(&node) else { return };
        broker.connects = false;
        match connected {
            Ok(connection) => {
                broker.connection = Some(connection);
                self.send_to(node);
            }
            Err(error) => {
                tracing::debug!(node, %error, "can't produce to it for now");
                let waiting = std::mem::take(&mut broker.ready);
                // Somebody else may lead by now. The pool makes the pauses.
                self.cluster.nudge();
                for index in waiting {
                    self.is_listed[index] = false;
                    if !may_pass(&error) {
                        self.queues[index].fail_all(&error);
                        self.tell(index);
                    }
                    self.make_ready(index);
                }
            }
        }
    }

    /// Tells what is known of a queue's batches. The producer may submit the next one at once.
    fn tell(&mut self, index: usize) {
        self.queues[index].settled().into_iter().for_each(queue::Settled::tell);
    }

    fn next_wake(&self) -> Instant {
        let delayed = self.delayed.peek().map(|Reverse((at, _))| *at);
        delayed.map_or(self.next_sweep, |at| at.min(self.next_sweep))
    }

    fn look_at_the_time(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, index))) = self.delayed.peek().copied()
            && at <= now
        {
            self.delayed.pop();
            self.make_ready(index);
        }
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP;
        for index in 0..self.queues.len() {
            if self.queues[index].is_empty() {
                continue;
            }
            let why = match self.cluster.leader(&self.queues[index].at) {
                Some(leader) if leader.node.is_some() => "delivery.timeout.ms",
                _ => "delivery.timeout.ms; it has no leader",
            };
            if self.queues[index].give_up(now, why) {
                self.tell(index);
            }
        }
    }
}

fn put(topics: &mut Vec<TopicProduceData>, at: &TopicPartition, batch: bytes::Bytes) {
    let data = PartitionProduceData { index: at.partition, records: Records::new(vec![batch]) };
    match topics.iter_mut().find(|topic| topic.name == at.topic.as_str()) {
        Some(topic) => topic.partition_data.push(data),
        None => {
            topics.push(TopicProduceData { name: at.topic.to_string(), partition_data: vec![data] })
        }
    }
}

/// Gets a producer id from any broker.
pub(super) async fn identified(cluster: &Cluster) -> Result<ProducerId> {
    let what = "getting a producer id";
    let ask = || async {
        let connection = cluster.any_broker().await?;
        let request = InitProducerIdRequest {
            transaction_timeout_ms: i32::MAX,
            ..InitProducerIdRequest::default()
        };
        let response = connection.ask(&request).await?;
        match response.error_code {
            ErrorCode::NONE => {
                Ok(ProducerId { id: response.producer_id, epoch: response.producer_epoch })
            }
            error => Err(of_code(error, what, None)),
        }
    };
    cluster.until_done(what, ask).await
}
