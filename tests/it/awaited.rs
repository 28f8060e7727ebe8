//! Sends that are waited for: who appends them, who is let run, and what a waker can do to them.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use ottla::storage::{SimDisk, Storage};
use ottla::{Broker, Clock, Durability, Producer, Record, TopicConfig};

use crate::support::read_values;
use crate::support::{runtime, texts, within};

/// Whether a send is answered by the first poll: then its caller has appended the record.
fn is_answered_at_once(producer: &Producer) -> bool {
    let send = pin!(producer.send(Record::to("t").value("x")));
    send.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// In memory the actor is for many senders, and for those that do not wait.
#[tokio::test]
async fn a_lone_sender_in_memory_needs_no_actor() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let producer = broker.producer().build();
        assert_eq!(producer.partitions_for("t").await.unwrap(), 1);
        assert!(is_answered_at_once(&producer));
        for _ in 0..3 {
            let first = producer.enqueue(Record::to("t").value("x")).await.unwrap();
            assert!(!is_answered_at_once(&producer), "the actor has the log");
            first.await.unwrap();
            producer.flush().await;
            assert!(is_answered_at_once(&producer), "the actor does not rest");
        }
        assert_eq!(read_values(&broker.client(), "t").await.len(), 10);
    })
    .await;
}

/// On a disk, once the actor is there, which sees to what is to become durable later, and unless
/// it has to be durable now.
#[tokio::test]
async fn a_lone_sender_to_a_disk_needs_an_actor_that_rests() {
    within(async {
        for durability in [Durability::Process, Durability::Power] {
            let disk = SimDisk::new(1);
            let broker = Broker::builder().open_on(Arc::new(disk.process())).await.unwrap();
            let config = TopicConfig::new().durability(durability);
            broker.create_topic("t", config).await.unwrap();
            let producer = broker.producer().build();
            for round in 0..5 {
                let rests = round > 0 && durability == Durability::Process;
                assert_eq!(is_answered_at_once(&producer), rests, "{durability:?}, {round}");
                producer.flush().await;
            }
            // Closed while it rests.
            broker.shutdown().await.unwrap();
            let broker = Broker::builder().open_on(Arc::new(disk.process())).await.unwrap();
            assert_eq!(read_values(&broker.client(), "t").await.len(), 5);
        }
    })
    .await;
}

/// Whoever appends, the actor moves the recovery point.
#[tokio::test]
async fn awaited_sends_move_the_recovery_point() {
    let disk = SimDisk::new(1);
    let clock = Clock::manual();
    let builder = Broker::builder().clock(clock.clone());
    let broker = builder.open_on(Arc::new(disk.process())).await.unwrap();
    let config = TopicConfig::new().durability(Durability::Process);
    broker.create_topic("t", config).await.unwrap();
    let producer = broker.producer().build();
    for _ in 0..10 {
        producer.send(Record::to("t").value("x")).await.unwrap();
    }
    let has_point = || {
        let files = disk.process().list(Path::new("t-0")).unwrap();
        files.iter().any(|file| file.name == "recovery-point-offset-checkpoint")
    };
    assert!(!has_point());
    within(async {
        while !has_point() {
            clock.advance(Duration::from_secs(5));
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Panics when it is used for the first time.
#[derive(Default)]
struct Grenade(AtomicBool);

impl Wake for Grenade {
    fn wake(self: Arc<Self>) {
        assert!(self.0.swap(true, Ordering::SeqCst), "a stranger's waker panics");
    }
}

#[tokio::test]
async fn a_waker_that_panics_hurts_nobody_else() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        broker.create_topic("t", TopicConfig::new()).await.unwrap();
        let producer = broker.producer().build();
        let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
        for round in 0..2 {
            let grenade = Arc::new(Grenade::default());
            let waker = Waker::from(grenade.clone());
            let mut recv = Box::pin(consumer.recv());
            assert!(recv.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let sent = match round {
                0 => producer.send(Record::to("t").value("0")).await,
                _ => producer.enqueue(Record::to("t").value("1")).await.unwrap().await,
            };
            assert_eq!(sent.unwrap().offset, round);
            assert!(grenade.0.load(Ordering::SeqCst), "the waker was not used");
            assert_eq!(recv.await.unwrap().offset, round);
        }
        // And one that waits for the answer.
        let grenade = Arc::new(Grenade::default());
        let mut delivery = producer.enqueue(Record::to("t").value("2")).await.unwrap();
        let waker = Waker::from(grenade.clone());
        let pending = pin!(&mut delivery).poll(&mut Context::from_waker(&waker)).is_pending();
        assert!(pending, "answered before it was asked for");
        assert_eq!(delivery.await.unwrap().offset, 2);
        assert_eq!(producer.send(Record::to("t").value("3")).await.unwrap().offset, 3);
        assert_eq!(read_values(&broker.client(), "t").await, texts(0..4));
        broker.shutdown().await.unwrap();
    })
    .await;
}

/// An awaited send to a log in memory may be answered at once, a thousand times in a row.
#[tokio::test]
async fn sends_in_a_loop_let_other_tasks_run() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
        let receiving = tokio::spawn(async move { consumer.recv().await });
        let producer = broker.producer().build();
        for _ in 0..1_000 {
            producer.send(Record::to("t")).await.unwrap();
        }
        assert!(receiving.is_finished(), "nobody else had a turn");
        assert_eq!(receiving.await.unwrap().unwrap().offset, 0);
    })
    .await;
}

/// Threads that send to one partition at once append for each other; each gets its own answer.
#[test]
fn threads_that_send_to_one_partition_each_get_their_own_offset() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let runtime = runtime();
    let broker = runtime.block_on(Broker::in_memory()).unwrap();
    let mut offsets: Vec<i64> = std::thread::scope(|scope| {
        let one = |_| {
            let producer = broker.producer().build();
            scope.spawn(move || {
                let send = |_| producer.send_blocking(Record::to("t").partition(0)).unwrap().offset;
                let offsets: Vec<i64> = (0..EACH).map(send).collect();
                assert!(offsets.is_sorted());
                offsets
            })
        };
        let threads: Vec<_> = (0..THREADS).map(one).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    offsets.sort_unstable();
    assert!(offsets.into_iter().eq(0..(THREADS * EACH) as i64));
    runtime.block_on(broker.shutdown()).unwrap();
}
