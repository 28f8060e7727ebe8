//! Runtimes of every kind, and what happens when one ends under a broker.

use std::future::Future;
use std::time::Duration;

use ottla::{Broker, Consumer, Error, MemoryPolicy, Partitioner, Producer, Record, TopicConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{
    assert_error, at, read_topic, read_values, runtime, send_all, take_values, texts, within,
};

/// A broker, a producer and a waiting consumer whose runtime is about to end.
struct Orphans {
    broker: Broker,
    producer: Producer,
    consumer: Consumer,
}

impl Orphans {
    async fn of(broker: Broker) -> Orphans {
        send_all(&broker.client(), "t", 0..5).await;
        let mut consumer = broker.consumer().subscribe(["t", "idle"]).await.unwrap();
        assert_eq!(take_values(&mut consumer, 5).await, texts(0..5));
        Orphans { producer: broker.producer().build(), broker, consumer }
    }

    /// Everything pending and everything later says that it is closed.
    async fn are_told(mut self, end: impl FnOnce() + Send + 'static) {
        let receiving = tokio::spawn(async move {
            let first = self.consumer.recv().await;
            (first, self.consumer)
        });
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(end).await.unwrap();
        let (pending, mut consumer) = receiving.await.unwrap();
        assert_error!(pending, Error::Closed { .. }, "runtime has ended");
        assert_error!(consumer.recv().await, Error::Closed { .. }, "runtime");
        let sent = self.producer.send(Record::to("t").value("late")).await;
        assert_error!(sent, Error::Closed { .. }, "runtime");
        let sent = self.producer.send(Record::to("new").value("late")).await;
        assert_error!(sent, Error::Closed { .. }, "runtime");
        self.producer.flush().await;
        assert_eq!(self.producer.stats().buffered_bytes, 0);
        let created = self.broker.create_topic("u", TopicConfig::new()).await;
        assert_error!(created, Error::Closed { .. }, "runtime");
        let subscribed = self.broker.consumer().subscribe(["t"]).await;
        assert_error!(subscribed, Error::Closed { .. }, "runtime");
        assert_error!(self.broker.topics(), Error::Closed { .. }, "runtime");
        // It did not end well: nobody can say that all is on the disk.
        assert_error!(self.broker.shutdown().await, Error::Closed { .. }, "runtime");
    }
}

/// Opens a broker on a runtime of its own, ends that, and looks at what is left.
fn survive(open: impl Future<Output = ottla::Result<Broker>>) {
    let (theirs, ours) = (runtime(), runtime());
    let orphans = theirs.block_on(async { Orphans::of(open.await.unwrap()).await });
    ours.block_on(within(orphans.are_told(move || drop(theirs))));
}

#[test]
fn a_runtime_that_ends_closes_a_broker_in_memory() {
    survive(Broker::in_memory());
    let clock = ottla::Clock::manual();
    survive(Broker::builder().clock(clock).in_memory());
}

#[test]
fn a_runtime_that_ends_lets_go_of_the_directory() {
    let dir = TempDir::new().unwrap();
    for round in 0..3 {
        survive(async {
            let broker = Broker::open(dir.path()).await?;
            if round > 0 {
                broker.delete_topic("t").await?;
            }
            Ok(broker)
        });
    }
    runtime().block_on(async {
        let broker = Broker::open(dir.path()).await.unwrap();
        assert!(!broker.recovery_report().unwrap().clean_shutdown);
        assert_eq!(read_values(&broker.client(), "t").await, texts(0..5));
    });
}

#[test]
fn a_runtime_that_ends_with_handles_still_held_lets_go_of_the_directory() {
    let dir = TempDir::new().unwrap();
    let (theirs, ours) = (runtime(), runtime());
    let broker = theirs.block_on(Broker::open(dir.path())).unwrap();
    theirs.block_on(send_all(&broker.client(), "t", 0..5));
    drop(theirs);
    let again = ours.block_on(within(Broker::open(dir.path()))).unwrap();
    assert_eq!(ours.block_on(read_values(&again.client(), "t")), texts(0..5));
    let shut_down = ours.block_on(within(broker.shutdown()));
    assert_error!(shut_down, Error::Closed { .. }, "runtime");
    ours.block_on(send_all(&again.client(), "t", 5..6));
}

#[test]
fn a_runtime_that_ends_closes_consumers_that_commit_by_themselves() {
    for assigned in [false, true] {
        let (theirs, ours) = (runtime(), runtime());
        let broker = theirs.block_on(Broker::in_memory()).unwrap();
        ours.block_on(within(async move {
            send_all(&broker.client(), "t", 0..5).await;
            let member = broker.consumer().group("g").auto_commit(Duration::from_secs(3600));
            let consumer = match assigned {
                true => member.assign([at("t", 0)]).await,
                false => member.subscribe(["t"]).await,
            };
            let mut consumer = consumer.unwrap();
            assert_eq!(take_values(&mut consumer, 5).await, texts(0..5));
            tokio::task::spawn_blocking(move || drop(theirs)).await.unwrap();
            // On a thread without a runtime, whose budget would end what has no end of its own.
            let received = tokio::task::spawn_blocking(move || consumer.recv_blocking());
            assert_error!(received.await.unwrap(), Error::Closed { .. }, "runtime");
        }));
    }
}

#[test]
fn sends_that_wait_for_memory_are_closed_with_their_runtime() {
    let (theirs, ours) = (runtime(), runtime());
    let builder = Broker::builder().memory_limit(1 << 10).memory_policy(MemoryPolicy::Block);
    let (broker, producer, _consumer) = theirs.block_on(async {
        let broker = builder.in_memory().await.unwrap();
        broker.create_topic("t", TopicConfig::new().segment_bytes(1024)).await.unwrap();
        let consumer = broker.consumer().subscribe(["t"]).await.unwrap();
        (broker.clone(), broker.producer().batch_size(1).build(), consumer)
    });
    ours.block_on(within(async {
        let mut deliveries = Vec::new();
        for _ in 0..50 {
            let record = Record::to("t").value(vec![1; 900]);
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
        tokio::task::spawn_blocking(move || drop(theirs)).await.unwrap();
        let mut closed = 0;
        for delivery in deliveries {
            match delivery.await {
                Ok(_) => assert_eq!(closed, 0, "acknowledged after one that was not"),
                Err(error) => {
                    assert!(matches!(error.error(), Error::Closed { .. }), "{error:?}");
                    closed += 1;
                }
            }
        }
        assert!(closed > 30, "{closed}");
        assert_error!(broker.topics(), Error::Closed { .. }, "runtime");
    }));
}

#[test]
fn a_broker_can_live_on_another_runtime() {
    let theirs = runtime();
    let open = || Broker::builder().runtime(theirs.handle().clone());
    let dir = TempDir::new().unwrap();
    // Opened on a runtime that ends; used from another; neither is the broker's.
    let (memory, disk) = Runtime::new().unwrap().block_on(async {
        (open().in_memory().await.unwrap(), open().open(dir.path()).await.unwrap())
    });
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // Not even with a timer.
    let ours = builder.build().unwrap();
    for broker in [memory, disk] {
        ours.block_on(async {
            send_all(&broker.client(), "t", 0..20).await;
            assert_eq!(read_values(&broker.client(), "t").await, texts(0..20));
            broker.shutdown().await.unwrap();
        });
    }
}

#[test]
fn a_current_thread_runtime_is_enough() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().max_blocking_threads(1).build().unwrap();
    runtime.block_on(within(async {
        let dir = TempDir::new().unwrap();
        for broker in [Broker::in_memory().await, Broker::open(dir.path()).await] {
            let broker = broker.unwrap();
            broker.create_topic("t", TopicConfig::new().partitions(8)).await.unwrap();
            let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
            let receiving = tokio::spawn(async move {
                let mut n = 0;
                while n < 1000 {
                    n += consumer.poll(100).await.unwrap().len();
                }
                n
            });
            let producer = broker.producer().batch_size(200).buffer_memory(2000).build();
            for n in 0..1000 {
                producer.enqueue(Record::to("t").partition(n % 8).value("v")).await.unwrap();
            }
            assert_eq!(receiving.await.unwrap(), 1000);
            broker.delete_topic("t").await.unwrap();
            broker.shutdown().await.unwrap();
        }
    }));
}

#[test]
fn a_manual_clock_needs_no_timer() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let dir = TempDir::new().unwrap();
    runtime.block_on(async {
        let clock = ottla::Clock::manual();
        let broker = Broker::builder().clock(clock.clone()).open(dir.path()).await.unwrap();
        let producer = broker.producer().linger(Duration::from_secs(1)).build();
        let delivery = producer.enqueue(Record::to("t").value("0")).await.unwrap();
        clock.advance(Duration::from_secs(1));
        delivery.await.unwrap();
        // Actors end when idle, and begin again.
        for n in 1..10 {
            clock.advance(Duration::from_secs(6));
            tokio::task::yield_now().await;
            clock.advance(Duration::from_secs(6));
            send_all(&broker.client(), "t", [n]).await;
        }
        assert_eq!(read_values(&broker.client(), "t").await, texts(0..10));
        broker.shutdown().await.unwrap();
    });
}

#[test]
fn memory_is_waited_for_without_a_timer() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let builder = Broker::builder().memory_limit(1 << 10).memory_policy(MemoryPolicy::Block);
        let broker = builder.clock(ottla::Clock::manual()).in_memory().await.unwrap();
        broker.create_topic("t", TopicConfig::new().segment_bytes(1024)).await.unwrap();
        let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
        let producer = broker.producer().batch_size(1).build();
        let sending = tokio::spawn(async move {
            for n in 0..20 {
                let value = format!("{n:0900}");
                producer.send(Record::to("t").value(value)).await.unwrap();
            }
        });
        for n in 0..20 {
            // Dropped only after the next: that frees memory which nobody is told of.
            let record = consumer.recv().await.unwrap();
            assert_eq!(record.value.as_deref(), Some(format!("{n:0900}").as_bytes()));
        }
        sending.await.unwrap();
        broker.shutdown().await.unwrap();
    });
}

/// Threads that write when their runtime is abandoned go on for a moment: not into what the next
/// broker has.
#[test]
fn a_runtime_that_is_abandoned_keeps_the_directory_until_its_writes_have_ended() {
    let (dir, ours) = (TempDir::new().unwrap(), runtime());
    let mut known = 0;
    for _ in 0..8 {
        let theirs = Runtime::new().unwrap();
        let broker = theirs.block_on(Broker::open(dir.path())).unwrap();
        let producer = broker.producer().batch_size(10_000).build();
        let (acknowledged, mut highest) = tokio::sync::watch::channel(-1);
        theirs.spawn(async move {
            loop {
                let record = Record::to("t").partition(0).value(vec![7; 5_000]);
                let delivery = producer.enqueue(record).await.unwrap();
                let acknowledged = acknowledged.clone();
                tokio::spawn(async move {
                    if let Ok(sent) = delivery.await {
                        acknowledged.send_modify(|highest| *highest = sent.offset.max(*highest));
                    }
                });
            }
        });
        let enough = known + 10;
        ours.block_on(within(highest.wait_for(|highest| *highest >= enough))).unwrap();
        theirs.shutdown_background();
        ours.block_on(within(async {
            // Its threads drop the tasks in their own time.
            while broker.topics().is_ok() {
                tokio::task::yield_now().await;
            }
            let again = Broker::open(dir.path()).await.unwrap();
            let found = read_topic(&again.client(), "t").await;
            assert!(found.iter().map(|record| record.offset).eq(0..found.len() as i64));
            let highest = *highest.borrow();
            assert!(found.len() as i64 > highest, "{} records, {highest} sent", found.len());
            let producer = again.producer().build();
            let sent = producer.send(Record::to("t").partition(0)).await.unwrap();
            assert_eq!(sent.offset, found.len() as i64);
            known = sent.offset;
            again.shutdown().await.unwrap();
        }));
    }
}

#[tokio::test]
async fn a_partitioner_that_panics_hurts_only_its_caller() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        broker.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
        let partitioner = Partitioner::custom(|input| match input.key {
            b"bad" => panic!("a partitioner's own fault"),
            _ => 1,
        });
        let producer = broker.producer().partitioner(partitioner).build();
        producer.send(Record::to("t").key("good").value("0")).await.unwrap();
        let other = producer.clone();
        let sending = tokio::spawn(async move {
            let _ = other.send(Record::to("t").key("bad").value("never")).await;
        });
        assert!(sending.await.unwrap_err().is_panic());
        assert_eq!(producer.stats().buffered_bytes, 0);
        for n in 1..5 {
            let record = Record::to("t").key("good").value(n.to_string());
            assert_eq!(producer.send(record).await.unwrap().offset, n);
        }
        producer.flush().await;
        let mut consumer = broker.consumer().assign([at("t", 1)]).await.unwrap();
        assert_eq!(take_values(&mut consumer, 5).await, texts(0..5));
        broker.shutdown().await.unwrap();
    })
    .await;
}

/// Gathering senders takes the machine's time, which a paused clock does not stop.
#[tokio::test]
async fn a_clock_that_is_paused_after_a_sync_stops_nobody() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    let producer = broker.producer().build();
    let mut deliveries = Vec::new();
    for _ in 0..8 {
        deliveries.push(producer.enqueue(Record::to("t").value("x")).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    tokio::time::pause();
    // Fewer than were answered last: the actor waits for the others to come back.
    assert_eq!(producer.send(Record::to("t").value("lone")).await.unwrap().offset, 8);
}

#[tokio::test]
async fn settings_have_no_value_that_panics() {
    let dir = TempDir::new().unwrap();
    for n in [0, 1, usize::MAX] {
        let builder = Broker::builder().io_threads(n).max_open_files(n).memory_limit(n);
        let broker = builder.open(dir.path()).await.unwrap();
        let producer = broker.producer().batch_size(n).buffer_memory(n.max(2000)).build();
        producer.send(Record::to("t").value("x")).await.unwrap();
        let builder = broker.consumer().max_partition_fetch_bytes(n);
        let mut consumer = builder.subscribe(["t"]).await.unwrap();
        assert_eq!(consumer.poll(n).await.unwrap().iter().next().unwrap().offset, 0);
        broker.shutdown().await.unwrap();
    }
}
