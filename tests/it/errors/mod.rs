//! What fails while a broker runs: a full disk, a disk that answers with errors, code that panics.
//!
//! Everywhere the same is asked for. Whoever called is told, by a typed error that names the thing
//! and the way out, and nobody waits for ever. Nothing acknowledged is lost. Others go on: reads of
//! what is visible, other partitions, other groups. Where there is space again, so is all the rest,
//! without opening anything; where a state is unknown, it is read-only until the next open.
//!
//! `every` does this for each call of the storage in a small life of a whole broker; the others
//! look at one place each. All is on a simulated disk, under a clock moved by hand.

mod catalog;
mod every;
mod failing;
mod full;
mod life;
mod offsets;
mod panics;
mod tap;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ottla::storage::Storage;
use ottla::{
    Broker, Clock, Consumer, ConsumerRecord, Durability, Error, ManualClock, Producer, Record,
    RecordMetadata, TopicConfig,
};

/// After how many turns what is waited for never comes.
const PATIENCE: usize = 20_000;

/// Runs a test without a timer or other threads: nothing depends on how fast anything is.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it needs nothing");
    runtime.block_on(test)
}

/// What a future comes to; a panic if it never does.
#[track_caller]
fn patiently<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let mut future = pin!(future);
        for _ in 0..PATIENCE {
            let context = &mut Context::from_waker(Waker::noop());
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return output;
            }
            tokio::task::yield_now().await;
        }
        panic!("it hangs: {caller}");
    }
}

/// Lets the broker's tasks do what they can.
async fn turns() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}

async fn open(storage: impl Storage) -> Result<(Broker, ManualClock), Error> {
    let clock = Clock::manual();
    let builder = Broker::builder().clock(clock.clone()).id_seed(7).auto_create_topics(false);
    let opened = builder.open_on(Arc::new(storage));
    Ok((patiently(opened).await?, clock))
}

/// Small segments, kept for ever.
fn small(durability: Durability) -> TopicConfig {
    let config = TopicConfig::new().durability(durability);
    config.partitions(1).segment_bytes(1024).retention(None)
}

async fn create(broker: &Broker, topic: &str, config: TopicConfig) -> Result<(), Error> {
    patiently(broker.create_topic(topic, config)).await.map(drop)
}

/// One record as a batch of its own.
async fn send(producer: &Producer, topic: &str, value: &str) -> Result<RecordMetadata, Error> {
    let record = Record::to(topic).partition(0).key(value).value(value);
    patiently(producer.send(record)).await.map_err(Error::from)
}

/// All that can be had now, and the errors met.
async fn drain(consumer: &mut Consumer) -> (Vec<ConsumerRecord>, Vec<Error>) {
    let (mut records, mut errors) = (Vec::new(), Vec::new());
    let mut idle = 0;
    while idle < 12 && errors.len() < 20 {
        match consumer.try_recv() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => {
                idle += 1;
                tokio::task::yield_now().await;
                continue;
            }
            Err(error) => errors.push(error),
        }
        idle = 0;
    }
    (records, errors)
}

/// The values of all that a topic holds, read by a new consumer.
async fn values(broker: &Broker, topic: &str) -> Vec<String> {
    let mut consumer = patiently(broker.consumer().subscribe([topic])).await.unwrap();
    let (records, errors) = drain(&mut consumer).await;
    assert!(errors.is_empty(), "{errors:?}");
    records.iter().map(crate::support::value).collect()
}

/// What every message has to be like: how it begins, and that it is no debugging output.
#[track_caller]
fn check_text(error: &Error) {
    let text = error.to_string();
    let first = text.chars().next().expect("it says something");
    assert!(!first.is_uppercase() && !text.ends_with('.'), "{text}");
    assert!(!text.contains("Custom {") && !text.contains("Os {"), "{text}");
}
