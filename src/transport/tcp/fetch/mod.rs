//! Fetching over the network: a task for each consumer asks the leaders of its partitions, each for
//! all that it leads, and waits there for records to come.
//!
//! It has connections of its own, as a broker answers in order, and an answer may be long in
//! coming. A second one to a broker is there for what is wanted while the first waits.
//!
//! A leader that knows where the consumer stands (`client.rack`) may send it to a replica.
//!
//! The first connection has a session with its broker, so that most of what is wanted need not be
//! said again; the second asks for little, and says all of it.

mod answers;
mod epochs;
mod replicas;
mod sessions;
mod shelf;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until};

use super::cluster::Cluster;
use super::pool::Pool;
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicPartition};
use crate::transport::{FetchPosition, Fetched, Fetcher};
use crate::wire::ApiKey;
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchResponse};
use crate::wire::offset_for_leader_epoch::OffsetForLeaderEpochResponse;

use epochs::Doubt;
use replicas::Preferred;
use sessions::{Ask, Remembered};
use shelf::{Shelf, Wanted};

/// How long a broker waits for records (`fetch.max.wait.ms`).
const MAX_WAIT: Duration = Duration::from_millis(500);
/// How much an answer may hold, in round figures (`fetch.max.bytes`).
const MAX_BYTES: i32 = 50 << 20;
/// How long a partition that can't be fetched is left alone, unless metadata come.
const PAUSE: Duration = Duration::from_millis(100);
/// From this version on it is said where the consumer stands.
const WITH_RACKS: i16 = 11;
/// From this version on topics have ids instead of names.
const BY_IDS: i16 = 13;
/// Connections to a broker: one that waits, and one for what can't.
const LANES: usize = 2;
/// The one that has a session.
const WITH_SESSION: usize = 0;

/// A fetch session.
pub(super) struct TcpFetcher(Arc<Session>);

/// What a consumer and its task share.
struct Session {
    shelf: Mutex<Shelf>,
    /// Something is wanted, there is room, or the consumer is gone.
    changed: Notify,
}

impl Session {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("no one panics with the shelf in hand")
    }
}

impl TcpFetcher {
    /// Starts the task, which ends with this.
    pub(super) fn start(cluster: Arc<Cluster>, runtime: &Handle, client_rack: &str) -> Self {
        let session = Arc::new(Session { shelf: Mutex::new(Shelf::new()), changed: Notify::new() });
        let settings = cluster.settings.clone();
        let lanes = std::array::from_fn(|_| Arc::new(Pool::new(settings.clone())));
        let actor = Actor {
            session: session.clone(),
            cluster,
            lanes,
            busy: BTreeMap::new(),
            remembered: BTreeMap::new(),
            client_rack: client_rack.into(),
            preferred: Preferred::default(),
            put_by: Vec::new(),
            retry_at: None,
            tasks: JoinSet::new(),
        };
        runtime.spawn(actor.run());
        TcpFetcher(session)
    }
}

impl Fetcher for TcpFetcher {
    fn fetch_from(&mut self, at: &TopicPartition, topic_id: TopicId, position: FetchPosition) {
        self.0.shelf().want(at, topic_id, position);
        self.0.changed.notify_one();
    }

    fn stop(&mut self, at: &TopicPartition) {
        self.0.shelf().forget(at);
    }

    fn poll_fetch(&mut self, cx: &mut Context<'_>, max_bytes: usize) -> Poll<Fetched> {
        let mut shelf = self.0.shelf();
        shelf.max_bytes = max_bytes;
        let (fetched, is_news) = shelf.poll(cx);
        drop(shelf);
        if is_news {
            self.0.changed.notify_one();
        }
        fetched
    }
}

impl Drop for TcpFetcher {
    fn drop(&mut self) {
        self.0.shelf().is_closed = true;
        self.0.changed.notify_one();
    }
}

/// A question to a broker that was answered, or not.
struct Done {
    node: i32,
    lane: usize,
    wanted: Vec<Wanted>,
    answer: Result<Told>,
    /// Of the lane that has one.
    session: Option<Remembered>,
}

/// An answer.
enum Told {
    Records(FetchResponse, Form),
    /// Nothing is fetched before these are settled.
    Epochs(OffsetForLeaderEpochResponse, Vec<Doubt>),
}

/// What has to be known to read an answer.
struct Form {
    /// The version of Fetch.
    version: i16,
    /// Whether it has all that was wanted, and not only what is new.
    is_full: bool,
}

struct Actor {
    session: Arc<Session>,
    cluster: Arc<Cluster>,
    lanes: [Arc<Pool>; LANES],
    /// Which lanes to a broker have a question under way.
    busy: BTreeMap<i32, [bool; LANES]>,
    /// What brokers remember, while nobody asks them.
    remembered: BTreeMap<i32, Remembered>,
    /// Where the consumer stands; empty if that is not said.
    client_rack: Arc<str>,
    preferred: Preferred,
    /// Partitions that can't be fetched now.
    put_by: Vec<Wanted>,
    retry_at: Option<Instant>,
    tasks: JoinSet<Done>,
}

impl Actor {
    async fn run(mut self) {
        let mut rounds = self.cluster.rounds();
        let session = self.session.clone();
        while !session.shelf().is_closed {
            self.ask_all();
            let retry_at = self.retry_at.unwrap_or_else(|| Instant::now() + MAX_WAIT);
            tokio::select! {
                biased;
                () = session.changed.notified() => {}
                Some(done) = self.tasks.join_next() => {
                    if let Ok(done) = done {
                        self.take_in(done);
                    }
                }
                _ = rounds.changed(), if !self.put_by.is_empty() => self.try_again(),
                () = sleep_until(retry_at), if self.retry_at.is_some() => self.try_again(),
            }
        }
    }

    fn try_again(&mut self) {
        self.retry_at = None;
        let mut shelf = self.session.shelf();
        self.put_by.drain(..).for_each(|wanted| shelf.put_back(&wanted));
    }

    /// Asks the leaders of all that is wanted and has a way free.
    fn ask_all(&mut self) {
        let (all, damaged, max_bytes) = {
            let mut shelf = self.session.shelf();
            (shelf.take_wanted(), shelf.take_damaged(), shelf.max_bytes)
        };
        for (at, node) in damaged {
            self.preferred.forget(&at, node);
        }
        let mut by_node = BTreeMap::<i32, Vec<Wanted>>::new();
        for wanted in all {
            let known = self.cluster.known_topic(wanted.at.topic.as_str());
            match (known, self.node_for(&wanted.at)) {
                (Some(known), _) if known.id != wanted.topic_id => {
                    let topic = wanted.at.topic.to_string();
                    self.session.shelf().fail(&wanted, Error::UnknownTopic { topic });
                }
                (Some(_), Some(node)) => by_node.entry(node).or_default().push(wanted),
                _ => self.put_by(wanted, true),
            }
        }
        for (node, wanted) in by_node {
            let lanes = self.busy.entry(node).or_default();
            match lanes.iter().position(|busy| !busy) {
                Some(lane) => {
                    lanes[lane] = true;
                    self.ask(node, lane, wanted, max_bytes);
                }
                None => {
                    let mut shelf = self.session.shelf();
                    wanted.iter().for_each(|wanted| shelf.put_back(wanted));
                }
            }
        }
    }

    /// Who is asked for a partition: its leader, or where that has sent the consumer.
    fn node_for(&mut self, at: &TopicPartition) -> Option<i32> {
        let leader = self.cluster.leader(at)?;
        match self.preferred.of(at, leader, Instant::now()) {
            Some(node) if self.cluster.address(node).is_some() => Some(node),
            Some(node) => {
                self.preferred.forget(at, node);
                self.cluster.nudge();
                leader.node
            }
            None => leader.node,
        }
    }

    /// Leaves it alone for a moment.
    fn put_by(&mut self, wanted: Wanted, looks_up: bool) {
        self.put_by.push(wanted);
        self.retry_at.get_or_insert_with(|| Instant::now() + PAUSE);
        if looks_up {
            self.cluster.nudge();
        }
    }

    fn ask(&mut self, node: i32, lane: usize, wanted: Vec<Wanted>, max_bytes: usize) {
        let (cluster, pool) = (self.cluster.clone(), self.lanes[lane].clone());
        let client_rack = self.client_rack.clone();
        let mut session =
            (lane == WITH_SESSION).then(|| self.remembered.remove(&node).unwrap_or_default());
        self.tasks.spawn(async move {
            let begun = Instant::now();
            let asked = async {
                let address = cluster.address(node);
                let gone = || Error::closed("the broker has left the cluster");
                let connection = pool.get(&address.ok_or_else(gone)?).await?;
                let has_ids = wanted.iter().all(|it| it.topic_id.0 != [0; 16]);
                let most = if has_ids { i16::MAX } else { BY_IDS - 1 };
                let version = connection.version(ApiKey::Fetch, most)?;
                if let Some(version) = epochs::version_to_ask(&connection, version) {
                    let doubts = epochs::doubts(&cluster, node, &wanted);
                    if !doubts.is_empty() {
                        let question = epochs::question(&doubts);
                        let asked = connection.start(&question, version, Duration::ZERO)?;
                        return Ok(Told::Epochs(asked.await_it().await?, doubts));
                    }
                }
                let mut request = FetchRequest {
                    max_wait_ms: MAX_WAIT.as_millis() as i32,
                    min_bytes: 1,
                    max_bytes: MAX_BYTES.max(i32::try_from(max_bytes).unwrap_or(i32::MAX)),
                    ..FetchRequest::default()
                };
                if version >= WITH_RACKS {
                    client_rack.as_ref().clone_into(&mut request.rack_id);
                }
                let asks = asks(&cluster, &wanted, max_bytes);
                let is_full = match &mut session {
                    Some(session) => {
                        session.tell(&mut request, asks, version >= BY_IDS);
                        session.begins()
                    }
                    None => {
                        let all = asks.into_iter();
                        all.for_each(|(at, id, asked)| sessions::ask(&mut request, &at, id, asked));
                        true
                    }
                };
                let asked = connection.start(&request, version, MAX_WAIT)?;
                Ok(Told::Records(asked.await_it().await?, Form { version, is_full }))
            };
            let answer = asked.await;
            match (&mut session, &answer) {
                (Some(session), Ok(Told::Records(told, _))) => {
                    session.answered(told.error_code, told.session_id);
                }
                (Some(session), Err(_)) => session.lost(),
                _ => {}
            }
            tracing::trace!(node, took = ?begun.elapsed(), "fetched");
            Done { node, lane, wanted, answer, session }
        });
    }
}

/// What is asked of each.
fn asks(cluster: &Cluster, wanted: &[Wanted], max_bytes: usize) -> Vec<Ask> {
    let ask = |Wanted { at, topic_id, position, .. }: &Wanted| {
        let asked = FetchPartition {
            partition: at.partition,
            current_leader_epoch: cluster.leader(at).map_or(-1, |leader| leader.epoch),
            fetch_offset: position.offset,
            last_fetched_epoch: position.leader_epoch,
            partition_max_bytes: i32::try_from(max_bytes).unwrap_or(i32::MAX),
            ..FetchPartition::default()
        };
        (at.clone(), *topic_id, asked)
    };
    wanted.iter().map(ask).collect()
}
