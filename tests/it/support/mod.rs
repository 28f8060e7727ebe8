//! What the modules share: backends, data directories, and waiting that cannot hang.

mod child;
mod disk;
#[cfg(feature = "tcp")]
pub(crate) mod kafka;
#[cfg(feature = "tls")]
mod locks;
mod seed;

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use ottla::{
    Admin, Broker, Client, Clock, Consumer, ConsumerRecord, Durability, Error, ManualClock, Record,
    Result, TopicConfig, TopicDescription, TopicName, TopicPartition,
};
use tempfile::TempDir;

pub(crate) use child::{Child, child_dir};
pub(crate) use disk::{copy_dir, file_in, flip_bit, truncate_file};
pub(crate) use seed::{fresh_seed, tell};

/// How long a test may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a broker can keep its records on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Process,
    Power,
    /// A broker in memory, and a client that reaches it over the network.
    #[cfg(feature = "tcp")]
    Network,
    /// The same over TLS, where the client has to log in.
    #[cfg(feature = "tls")]
    Locked,
    /// A client of the Apache Kafka that `OTTLA_TEST_KAFKA` names.
    #[cfg(feature = "tcp")]
    Kafka,
}

impl Backend {
    /// Both that survive a restart.
    pub(crate) const ON_DISK: [Backend; 2] = [Backend::Process, Backend::Power];

    pub(crate) fn durability(self) -> Durability {
        match self {
            Backend::Memory => Durability::Memory,
            Backend::Process => Durability::Process,
            Backend::Power => Durability::Power,
            #[cfg(feature = "tcp")]
            Backend::Network | Backend::Kafka => Durability::Memory,
            #[cfg(feature = "tls")]
            Backend::Locked => Durability::Memory,
        }
    }

    /// A client, a manual clock, and a broker whose auto-created topics have this promise.
    pub(crate) async fn host(self) -> Host {
        #[cfg(feature = "tcp")]
        if self == Backend::Kafka {
            // Kafka does not keep what is old already.
            let clock = ManualClock::starting_at(Clock::system().wall());
            // Nor does it create a topic in no time that has just been deleted.
            let client = impatient(&clock).topic_timeout(Duration::from_secs(3));
            let client = client.connect(&kafka::address()).await.unwrap();
            return Host { client, clock, broker: None, _dir: None, _listener: None };
        }
        let clock = Clock::manual();
        let defaults = TopicConfig::new().durability(self.durability());
        let builder = Broker::builder().clock(clock.clone()).topic_defaults(defaults);
        let (broker, dir) = if Backend::ON_DISK.contains(&self) {
            let dir = TempDir::new().unwrap();
            (builder.open(dir.path()).await.unwrap(), Some(dir))
        } else {
            (builder.in_memory().await.unwrap(), None)
        };
        #[cfg(feature = "tcp")]
        if self == Backend::Network {
            let listener = broker.listen("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().to_string();
            let client = impatient(&clock).connect(&address).await.unwrap();
            let (broker, _listener) = (Some(broker), Some(listener));
            return Host { client, clock, broker, _dir: dir, _listener };
        }
        #[cfg(feature = "tls")]
        if self == Backend::Locked {
            let (listener, client) = locks::put_on(broker.listener(), impatient(&clock)).await;
            let (broker, _listener) = (Some(broker), Some(listener));
            return Host { client, clock, broker, _dir: dir, _listener };
        }
        Host {
            client: broker.client(),
            clock,
            broker: Some(broker),
            _dir: dir,
            #[cfg(feature = "tcp")]
            _listener: None,
        }
    }
}

/// What comes and goes is to be noticed while a test waits.
#[cfg(feature = "tcp")]
fn impatient(clock: &ManualClock) -> ottla::ClientBuilder {
    Client::builder()
        .clock(clock.clone())
        .metadata_max_age(Duration::from_millis(50))
        .topic_timeout(Duration::from_millis(500))
}

/// A broker on some backend, seen by a client.
pub(crate) struct Host {
    pub(crate) client: Client,
    pub(crate) clock: ManualClock,
    /// Unless Kafka has it.
    pub(crate) broker: Option<Broker>,
    _dir: Option<TempDir>,
    #[cfg(feature = "tcp")]
    _listener: Option<ottla::Listener>,
}

impl Host {
    /// The broker itself, for tests that Kafka is not asked for.
    pub(crate) fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("the broker is one of this process")
    }

    /// Settings with which a topic's segments hold a few records; on Kafka, where that can't be had,
    /// they are what they are.
    pub(crate) fn small_segments(&self) -> TopicConfig {
        let config = TopicConfig::new();
        if self.broker.is_some() { config.segment_bytes(1024) } else { config }
    }

    pub(crate) fn admin(&self) -> Admin {
        self.client.admin()
    }

    pub(crate) async fn create_topic(
        &self,
        name: &str,
        config: TopicConfig,
    ) -> Result<TopicDescription> {
        self.admin().create_topic(name, config).await
    }

    pub(crate) async fn delete_topic(&self, name: &str) -> Result<()> {
        self.admin().delete_topic(name).await
    }

    pub(crate) async fn topics(&self) -> Result<Vec<TopicName>> {
        self.admin().topics().await
    }

    pub(crate) async fn describe_topic(&self, name: &str) -> Result<TopicDescription> {
        self.admin().describe_topic(name).await
    }
}

/// Runs the named functions, which take a [`Host`], once on each backend. Those named behind `ottla`
/// are not run on Apache Kafka, for the reason that stands there. Those behind `local` are not run
/// over the network at all: they are about a broker of this process, or about time that is moved by
/// hand, which brokers on the network do not know.
macro_rules! on_all_backends {
    ($($name:ident),* $(,)?
        $(; ottla $why:literal: $($ottla:ident),* $(,)?)*
        $(; local $reason:literal: $($local:ident),* $(,)?)*
    ) => {
        on_all_backends!(@ memory, Memory, $($name,)* $($($ottla,)*)* $($($local,)*)*);
        on_all_backends!(@ process, Process, $($name,)* $($($ottla,)*)* $($($local,)*)*);
        on_all_backends!(@ power, Power, $($name,)* $($($ottla,)*)* $($($local,)*)*);
        #[cfg(feature = "tcp")]
        on_all_backends!(@ network, Network, $($name,)* $($($ottla,)*)*);
        #[cfg(feature = "tls")]
        on_all_backends!(@ locked, Locked, $($name,)* $($($ottla,)*)*);
        #[cfg(feature = "tcp")]
        on_all_backends!(@@ $($name,)*);
    };
    (@ $module:ident, $backend:ident, $($name:ident,)*) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $name() {
                    let host = crate::support::Backend::$backend.host();
                    crate::support::within(async { super::$name(host.await).await }).await
                }
            )*
        }
    };
    (@@) => {};
    (@@ $($name:ident,)*) => {
        mod kafka {
            use crate::support::{Backend, kafka, within};

            $(
                #[tokio::test]
                #[ignore = "deletes all topics and groups of the Kafka at OTTLA_TEST_KAFKA"]
                async fn $name() {
                    let _alone = kafka::alone().await;
                    within(kafka::clear()).await;
                    let host = Backend::Kafka.host().await;
                    within(super::$name(host)).await;
                    within(kafka::clear()).await;
                }
            )*
        }
    };
}
pub(crate) use on_all_backends;

/// The future's output; a panic if it hangs.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}

/// A runtime with threads of its own.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition).unwrap()
}

/// Sends the values one after the other to partition 0, each as a batch of its own.
pub(crate) async fn send_all<T: ToString>(
    client: &Client,
    topic: &str,
    values: impl IntoIterator<Item = T>,
) {
    let producer = client.producer().build();
    for value in values {
        producer.send(Record::to(topic).partition(0).value(value.to_string())).await.unwrap();
    }
}

pub(crate) fn value(record: &ConsumerRecord) -> String {
    String::from_utf8(record.value.as_deref().expect("it has a value").to_vec()).unwrap()
}

/// The next `n` records.
pub(crate) async fn take(consumer: &mut Consumer, n: usize) -> Vec<ConsumerRecord> {
    let mut records = Vec::new();
    while records.len() < n {
        records.push(consumer.recv().await.unwrap());
    }
    records
}

/// The values of the next `n` records.
pub(crate) async fn take_values(consumer: &mut Consumer, n: usize) -> Vec<String> {
    take(consumer, n).await.iter().map(value).collect()
}

/// All that a topic holds, partition by partition.
pub(crate) async fn read_topic(client: &Client, topic: &str) -> Vec<ConsumerRecord> {
    let mut consumer = client.consumer().subscribe([topic]).await.unwrap();
    let mut records = Vec::new();
    // Offsets whose records were compacted away are passed without one.
    while !is_at_end(&mut consumer).await {
        match consumer.try_recv().unwrap() {
            Some(record) => records.push(record),
            None => tokio::task::yield_now().await,
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

/// The values of all that a topic holds.
pub(crate) async fn read_values(client: &Client, topic: &str) -> Vec<String> {
    read_topic(client, topic).await.iter().map(value).collect()
}

/// Whether there is nothing more to read.
pub(crate) async fn is_at_end(consumer: &mut Consumer) -> bool {
    consumer.lag().await.unwrap().values().all(|lag| *lag == 0)
}

/// The numbers as text: what [`send_all`] makes of them.
pub(crate) fn texts(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| n.to_string()).collect()
}

/// Polls `future` `polls` times, each time as soon as it has been woken, and then drops it; zero
/// drops it unpolled. The output if it was ready by then.
pub(crate) async fn drop_after<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The error's text, if it is of the variant and says all of `parts`.
#[track_caller]
pub(crate) fn says(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

/// Asserts that an expression is an error of the given variant whose text has all of the parts.
macro_rules! assert_error {
    ($result:expr, $pattern:pat $(, $part:expr)* $(,)?) => {{
        let error: ottla::Error = match $result {
            Err(error) => error.into(),
            Ok(_) => panic!("no error, but {} was expected", stringify!($pattern)),
        };
        assert!(matches!(error, $pattern), "{error:?} is no {}", stringify!($pattern));
        crate::support::says(&error, &[$(AsRef::<str>::as_ref(&$part)),*]);
        error
    }};
}
pub(crate) use assert_error;
