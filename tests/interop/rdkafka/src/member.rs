//! A member of a group that consumes until SIGTERM, and commits what it has printed.

use crate::{Result, Server};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer,
};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Default)]
struct Context {
    /// Nothing is printed any more. Being dropped, a consumer takes records out of its queue, for
    /// nobody, and they count as handed out: these are not to be committed.
    is_done: AtomicBool,
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    /// Whoever gets the partitions begins where it ended.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Revoke(_)) && !self.is_done.load(Ordering::SeqCst) {
            commit(consumer);
        }
    }
}

/// Everything that was handed out, which is printed by then. Where that fails because others have
/// the partitions meanwhile, they are handed the same records.
fn commit(consumer: &impl Consumer<Context>) {
    match consumer.commit_consumer_state(CommitMode::Sync) {
        Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
        Err(error) => eprintln!("{error}"),
    }
}

pub async fn run(server: &Server, group: &str, topic: &str) -> Result {
    let mut config = server.consumer(group);
    config.set("partition.assignment.strategy", "range");
    let consumer: StreamConsumer<Context> = config.create_with_context(Context::default())?;
    consumer.subscribe(&[topic])?;
    let mut stop = signal(SignalKind::terminate())?;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            message = consumer.recv() => match message {
                Ok(message) => {
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "record {} {}", message.partition(), message.offset())?;
                    out.flush()?;
                }
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(error.into()),
                // librdkafka tells of a lost connection, say, and goes on.
                Err(error) => eprintln!("{error}"),
            },
            _ = second.tick() => commit(&consumer),
            _ = stop.recv() => break,
        }
    }
    commit(&consumer);
    // It leaves the group when it is dropped, after a last revocation.
    consumer.context().is_done.store(true, Ordering::SeqCst);
    Ok(())
}
