//! The actor on a simulated disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::{MemoryBell, Partition, PartitionContext, Place};
use crate::batch::BatchBuilder;
use crate::broker::{Broker, Durability, TopicConfig};
use crate::clock::Clock;
use crate::log::{Log, LogConfig, Opening};
use crate::record::Record;
use crate::storage::{SimDisk, Storage};
use crate::topic::{TopicId, TopicPartition};

/// As the disk has it.
fn recovery_point(disk: &SimDisk) -> i64 {
    let file = disk.read_file("t-0/recovery-point-offset-checkpoint").unwrap();
    let text = String::from_utf8(file).unwrap();
    text.split_whitespace().last().unwrap().parse().unwrap()
}

/// How many bytes an open after a crash has to read depends on it.
#[tokio::test]
async fn the_recovery_point_keeps_up_while_there_is_always_more_to_append() {
    let disk = SimDisk::new(1);
    let broker = Broker::builder().open_on(Arc::new(disk.process())).await.unwrap();
    let config = TopicConfig::new().durability(Durability::Process);
    broker.create_topic("t", config).await.unwrap();
    let producer = broker.producer().batch_size(1000).build();
    producer.send(Record::to("t")).await.unwrap();
    // The actor does not run before they all wait for it.
    for _ in 0..2000 {
        drop(producer.try_send(Record::to("t").value(&[7; 900])).unwrap());
    }
    producer.flush().await;
    let point = recovery_point(&disk);
    assert!(point > 1000, "it is {point} after 2001 records");
}

/// A partition whose log promises `Process`.
fn partition(disk: &SimDisk) -> Partition {
    partition_on(Arc::new(disk.process()), Clock::default())
}

fn partition_on(storage: Arc<dyn Storage>, clock: Clock) -> Partition {
    let opening = Opening {
        storage,
        dir: "t-0".into(),
        partition: TopicPartition::new("t", 0).unwrap(),
        topic_id: TopicId([7; 16]),
        config: LogConfig { sync_before_visible: false, ..LogConfig::default() },
        clean: true,
        min_epoch: 0,
        log_start_offset: 0,
        sparse: false,
        recovery_point: None,
        pressure: None,
    };
    let context = PartitionContext {
        runtime: Handle::current(),
        clock,
        io: Arc::new(Semaphore::new(1)),
        memory: MemoryBell::default(),
        simulated: true,
    };
    let (log, _) = Log::open(opening).unwrap();
    Partition::new(TopicPartition::new("t", 0).unwrap(), log, Arc::new(context))
}

fn batch() -> BytesMut {
    batch_of(b"x")
}

fn batch_of(value: &[u8]) -> BytesMut {
    let mut batch = BatchBuilder::new(BytesMut::new());
    batch.push(0, None, Some(value), &[]);
    batch.finish()
}

/// One that the actor has left in the handle, too.
#[tokio::test]
async fn a_log_that_nobody_holds_any_more_is_closed() {
    let disk = SimDisk::new(1);
    let partition = partition(&disk);
    assert_eq!(partition.append_one(batch()).await.unwrap().base_offset, 0);
    while !matches!(*partition.0.place(), Place::Resting(..)) {
        tokio::task::yield_now().await;
    }
    let is_closed = || {
        let files = disk.process().list(Path::new("t-0")).unwrap();
        files.iter().any(|file| file.name == "recovery-point-offset-checkpoint")
    };
    assert!(!is_closed());
    drop(partition);
    // Everything it does, it does in one go.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(is_closed());
}

/// Its files are about to be removed.
#[tokio::test]
async fn a_log_that_is_thrown_away_is_not_made_durable() {
    for keeps in [true, false] {
        let disk = SimDisk::new(1);
        let partition = partition(&disk);
        assert_eq!(partition.append_one(batch()).await.unwrap().base_offset, 0);
        let before = disk.calls();
        let ended = match keeps {
            true => partition.close("closed".into()).await,
            false => partition.discard("deleted".into()).await,
        };
        ended.unwrap();
        assert_eq!(disk.calls() > before, keeps, "a log that stays is synced");
        let refused = partition.append_one(batch()).await.unwrap_err().to_string();
        assert!(refused.contains(if keeps { "closed" } else { "deleted" }), "{refused}");
    }
}

/// Between what is sent through the mailbox and what is appended at once.
#[tokio::test]
async fn what_a_sender_sends_keeps_its_order_whoever_appends_it() {
    let partition = partition(&SimDisk::new(1));
    let mut next = 0;
    for round in 0..20 {
        // The first begins with a log in the handle; those behind it meet an actor at work.
        let (first, second) = (super::one(batch()), super::one(batch()));
        match round % 2 {
            0 => partition.append(first.0),
            _ => partition.append_awaited(first.0),
        }
        partition.append_awaited(second.0);
        for answer in [first.1, second.1] {
            assert_eq!(partition.answered(answer).await.0.unwrap().base_offset, next);
            next += 1;
        }
        if round > 10 {
            while !matches!(*partition.0.place(), Place::Resting(..)) {
                tokio::task::yield_now().await;
            }
        }
    }
    partition.close("the end".into()).await.unwrap();
}

/// A lone sender who never pauses leaves the actor nothing to do, but for this.
#[tokio::test]
async fn the_recovery_point_keeps_up_with_who_appends_without_the_actor() {
    let (disk, clock) = (SimDisk::new(1), Clock::manual());
    let partition = partition_on(Arc::new(disk.process()), clock.clone().into());
    assert_eq!(partition.append_one(batch()).await.unwrap().base_offset, 0);
    for _ in 0..4000 {
        clock.advance(Duration::from_millis(10));
        let (batch, answer) = super::one(batch());
        partition.append_awaited(batch);
        partition.answered(answer).await.0.unwrap();
        tokio::task::yield_now().await;
    }
    let point = recovery_point(&disk);
    assert!(point > 2000, "it is {point} after 4001 records in 40 seconds");
}

#[cfg(feature = "tcp")]
mod ranges {
    use super::*;
    use crate::log::ReadCursor;
    use crate::storage::FileStorage;

    /// Whoever appends, and whatever time the records have: what is damaged since would be seen by
    /// a look at all headers.
    #[tokio::test]
    async fn what_was_just_appended_is_sent_without_a_look_at_all_headers() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual();
        let storage = Arc::new(FileStorage::new(dir.path(), 10));
        let partition = partition_on(storage, clock.clone().into());
        for number in 0..40 {
            let batch = batch_of(&[7; 20_000]);
            if number % 2 == 0 {
                partition.append_one(batch).await.unwrap();
            } else {
                let (batch, answer) = super::super::one(batch);
                partition.append_awaited(batch);
                partition.answered(answer).await.0.unwrap();
            }
        }
        let path = dir.path().join("t-0/00000000000000000000.log");
        let mut bytes = std::fs::read(&path).unwrap();
        let size = bytes.len() / 40;
        bytes[20 * size + 7] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let start = ReadCursor::new(0, -1);
        let located =
            partition.locate(&mut start.clone(), 30 * size).expect("none looks at batch 20");
        assert_eq!(located.len, 30 * size);
        clock.advance(Duration::from_secs(61));
        assert!(partition.locate(&mut start.clone(), 30 * size).is_none(), "it is old by now");
        partition.close("the end".into()).await.unwrap();
    }
}
