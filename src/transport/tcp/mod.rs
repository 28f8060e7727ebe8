//! The transport to brokers on the network: Kafka's protocol, to this library's own port or to an
//! Apache Kafka cluster.
//!
//! * `connection`: requests out, answers in. Its `greeting` asks first what the broker can do, and
//!   `login` says who the client is.
//! * `cluster`: who leads what, kept fresh; `metadata` is what is known, `pool` the connections.
//! * `produce`: one task that sends what all of a client's producers have.
//! * `fetch`: a task for each consumer.
//! * `group`: a member's part in its group; `admin`: what administrators ask.
//! * `offsets`: where logs begin and end.
//!
//! All tasks run on the runtime on which the client was connected. They end with the last handle.

mod admin;
mod cluster;
mod connection;
mod errors;
mod fetch;
mod greeting;
mod group;
#[cfg(feature = "tls")]
mod login;
mod metadata;
mod offsets;
mod pool;
mod produce;
mod settings;
mod versions;

use std::future::Future;
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicName, TopicPartition};

pub(crate) use self::settings::{Address, Settings};

use self::cluster::Cluster;
use self::fetch::TcpFetcher;
use self::group::TcpGroup;
use self::pool::Pool;
use self::produce::Sender;
use super::{
    Administration, Buffered, Fetcher, GroupSession, ListedOffset, OffsetSpec, Produced,
    ProducerId, Submission, TopicMetadata, Transport,
};

/// Where batches are closed, in bytes, as librdkafka has it. A request costs both ends much more
/// than a byte does, and brokers take batches of 1 MiB by default.
const BATCH_SIZE: usize = 1_000_000;

/// Leads to a cluster.
#[derive(Debug)]
pub(crate) struct TcpTransport {
    cluster: Arc<Cluster>,
    sender: Sender,
    /// Connections for batches that are sent one by one.
    single: Arc<Pool>,
    runtime: Handle,
    producers: Mutex<Vec<Weak<dyn Buffered>>>,
}

impl TcpTransport {
    /// Connects to the first broker that can be reached.
    pub(crate) async fn connect(bootstrap: Vec<Address>, settings: Settings) -> Result<Self> {
        let cluster = Cluster::new(bootstrap, settings);
        cluster.refresh().await?;
        Ok(TcpTransport::start(cluster))
    }

    /// The same, but whether a broker can be reached is seen when one is needed.
    pub(crate) fn connect_later(bootstrap: Vec<Address>, settings: Settings) -> Self {
        TcpTransport::start(Cluster::new(bootstrap, settings))
    }

    fn start(cluster: Arc<Cluster>) -> Self {
        cluster.keep_fresh();
        TcpTransport {
            sender: Sender::start(cluster.clone()),
            single: Arc::new(Pool::new(cluster.settings.clone())),
            runtime: Handle::current(),
            producers: Mutex::default(),
            cluster,
        }
    }
}

/// Does something on the client's runtime, wherever it is waited for: that may be a thread without
/// one. Dropped, it is given up.
async fn run_on<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let mut running = JoinSet::new();
    running.spawn_on(work, runtime);
    match running.join_next().await {
        Some(Ok(done)) => done,
        _ => Err(Error::closed("the client's runtime has ended")),
    }
}

#[async_trait]
impl Transport for TcpTransport {
    fn clock(&self) -> &Clock {
        &self.cluster.clock
    }

    async fn reach(&self) -> Result<()> {
        let cluster = self.cluster.clone();
        run_on(&self.runtime, async move { cluster.any_broker().await.map(drop) }).await
    }

    fn known_topic(&self, topic: &str) -> Option<Arc<TopicMetadata>> {
        self.cluster.known_topic(topic)
    }

    fn known_topics(&self) -> Vec<Arc<TopicMetadata>> {
        self.cluster.known_topics()
    }

    async fn all_topics(&self) -> Result<Vec<Arc<TopicMetadata>>> {
        let cluster = self.cluster.clone();
        run_on(&self.runtime, async move { cluster.all_topics().await }).await
    }

    async fn looks_again(&self) -> bool {
        let cluster = self.cluster.clone();
        run_on(&self.runtime, async move { cluster.refresh().await }).await.is_ok()
    }

    async fn metadata(&self, topic: &TopicName) -> Result<Arc<TopicMetadata>> {
        let (cluster, topic) = (self.cluster.clone(), topic.clone());
        run_on(&self.runtime, async move { cluster.topic(&topic, true).await }).await
    }

    fn metadata_version(&self) -> watch::Receiver<u64> {
        self.cluster.version()
    }

    fn batch_size(&self) -> usize {
        BATCH_SIZE
    }

    fn register(&self, producer: Weak<dyn Buffered>) {
        let mut producers = self.producers.lock().expect("no one panics with the producers");
        if producers.len() == producers.capacity() {
            producers.retain(|producer| producer.strong_count() > 0);
        }
        producers.push(producer);
    }

    async fn drain(&self) {
        let producers = self.producers.lock().expect("no one panics with the producers").clone();
        let all: Vec<_> = producers.iter().filter_map(Weak::upgrade).collect();
        // First all of them: what lingers goes out at once.
        all.iter().for_each(|producer| producer.submit_all());
        for producer in all {
            producer.flush().await;
        }
    }

    fn submit(&self, submission: Submission) {
        self.sender.submit(submission);
    }

    async fn producer_id(&self) -> Result<ProducerId> {
        let cluster = self.cluster.clone();
        run_on(&self.runtime, async move { produce::identified(&cluster).await }).await
    }

    async fn produce(&self, at: &TopicPartition, topic_id: TopicId, batch: Bytes) -> Produced {
        let (cluster, pool, at) = (self.cluster.clone(), self.single.clone(), at.clone());
        let send = async move { Ok(produce::once(&cluster, &pool, &at, topic_id, batch).await) };
        run_on(&self.runtime, send).await.unwrap_or_else(Produced::Failed)
    }

    fn fetcher(&self, client_rack: &str) -> Box<dyn Fetcher> {
        Box::new(TcpFetcher::start(self.cluster.clone(), &self.runtime, client_rack))
    }

    async fn list_offset(&self, at: &TopicPartition, spec: OffsetSpec) -> Result<ListedOffset> {
        let (cluster, at) = (self.cluster.clone(), at.clone());
        run_on(&self.runtime, async move { offsets::list(&cluster, &at, spec).await }).await
    }

    fn group(&self, id: &str) -> Arc<dyn GroupSession> {
        Arc::new(TcpGroup::new(self.cluster.clone(), self.runtime.clone(), id))
    }

    fn admin(&self) -> &dyn Administration {
        self
    }
}
