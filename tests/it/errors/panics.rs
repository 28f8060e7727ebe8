//! Code that panics: whoever waits for it is told so, and all others go on.

use std::sync::Arc;
use std::time::Duration;

use ottla::{Broker, CleanupPolicy, Clock, Durability, Error, Record};

use super::tap::Call::{Append, Create, Open, Read, Remove, Rename, Sync};
use super::tap::{Harm, Tap};
use super::{check_text, create, drain, open, patiently, run, send, small, turns, values};
use crate::support::{assert_error, within};

#[test]
fn a_partition_that_panics_tells_all_who_wait() {
    run(async {
        let tap = Tap::new(1);
        let (broker, _) = open(tap.clone()).await.unwrap();
        for topic in ["t", "other"] {
            create(&broker, topic, small(Durability::Power)).await.unwrap();
        }
        let producer = broker.producer().batch_size(1).build();
        send(&producer, "t", "0").await.unwrap();
        let mut consumer = patiently(broker.consumer().subscribe(["t"])).await.unwrap();
        assert_eq!(drain(&mut consumer).await.0.len(), 1);
        let waiting = tokio::spawn(async move { consumer.recv().await });
        turns().await;
        tap.next(Sync, "t-0/", Harm::Panic);
        let mut deliveries = Vec::new();
        for n in 0..10 {
            let record = Record::to("t").value(n.to_string());
            deliveries.push(patiently(producer.enqueue(record)).await.unwrap());
        }
        for delivery in deliveries {
            let told = patiently(delivery).await;
            let error = assert_error!(told, Error::Closed { .. }, "t-0", "thrown by Sync");
            check_text(&error);
        }
        let told = patiently(waiting).await.unwrap();
        assert_error!(told, Error::Closed { .. }, "t-0", "thrown by Sync");
        let told = send(&producer, "t", "v").await;
        assert_error!(told, Error::Closed { .. }, "t-0", "thrown by Sync");
        send(&producer, "other", "v").await.unwrap();
        create(&broker, "new", small(Durability::Power)).await.unwrap();
        // Who reads others as well reads them on.
        let both = broker.consumer().subscribe(["t", "other"]);
        let mut both = patiently(both).await.unwrap();
        let (records, errors) = drain(&mut both).await;
        assert_eq!(records.len(), 1);
        assert!(errors.iter().all(|it| matches!(it, Error::Closed { .. })) && !errors.is_empty());
        send(&producer, "other", "w").await.unwrap();
        assert_eq!(drain(&mut both).await.0.len(), 1);
        let shutdown = patiently(broker.shutdown()).await;
        assert_error!(shutdown, Error::Closed { .. }, "t-0", "thrown by Sync");
        drop((broker, producer, both));
        let (broker, _) = open(tap).await.unwrap();
        assert_eq!(values(&broker, "t").await[0], "0");
        send(&broker.producer().build(), "t", "v").await.unwrap();
        patiently(broker.shutdown()).await.unwrap();
    });
}

/// On threads of its own, as files are: none of what waits for those hangs.
#[test]
fn a_panic_on_a_blocking_thread_is_told() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_time().build().unwrap();
    for call in [Append, Sync] {
        runtime.block_on(within(async {
            let tap = Tap::new(1).blocking();
            let builder = Broker::builder().clock(Clock::manual());
            let broker = builder.open_on(Arc::new(tap.clone())).await.unwrap();
            for topic in ["t", "other"] {
                broker.create_topic(topic, small(Durability::Power)).await.unwrap();
            }
            let producer = broker.producer().build();
            tap.next(call, "t-0/00000000000000000000.log", Harm::Panic);
            for _ in 0..2 {
                let told = producer.send(Record::to("t").value("v")).await;
                assert_error!(told, Error::Closed { .. }, "t-0", "thrown by");
            }
            producer.send(Record::to("other").value("v")).await.unwrap();
            tap.next(Read, "other-0/", Harm::Panic);
            let mut consumer = broker.consumer().subscribe(["other"]).await.unwrap();
            assert_error!(consumer.recv().await, Error::Closed { .. }, "thrown by Read");
            consumer.recv().await.unwrap();
            assert_error!(broker.shutdown().await, Error::Closed { .. }, "thrown by");
            drop((broker, producer, consumer));
            Broker::builder().open_on(Arc::new(tap)).await.unwrap().shutdown().await.unwrap();
        }));
    }
}

#[test]
fn the_groups_partition_panics_and_consuming_goes_on() {
    run(async {
        let tap = Tap::new(1);
        let (broker, _) = open(tap.clone()).await.unwrap();
        create(&broker, "t", small(Durability::Power)).await.unwrap();
        let producer = broker.producer().build();
        send(&producer, "t", "0").await.unwrap();
        let consumer = broker.consumer().group("g").subscribe(["t"]);
        let mut consumer = patiently(consumer).await.unwrap();
        drain(&mut consumer).await;
        tap.next(Append, "__consumer_offsets-0/", Harm::Panic);
        for _ in 0..2 {
            let told = patiently(consumer.commit()).await;
            assert_error!(told, Error::Closed { .. }, "__consumer_offsets-0", "thrown by Append");
        }
        send(&producer, "t", "1").await.unwrap();
        let (records, errors) = drain(&mut consumer).await;
        assert!(errors.is_empty() && records.len() == 1, "{errors:?}");
    });
}

#[test]
fn what_the_broker_does_for_topics_may_panic() {
    run(async {
        let tap = Tap::new(1);
        let (broker, _) = open(tap.clone()).await.unwrap();
        create(&broker, "t", small(Durability::Power)).await.unwrap();
        let producer = broker.producer().build();
        send(&producer, "t", "0").await.unwrap();
        // Its folder is looked for.
        tap.next(super::tap::Call::List, "new-0", Harm::Panic);
        let told = create(&broker, "new", small(Durability::Power)).await;
        assert_error!(told, Error::Closed { .. }, "thrown by List");
        create(&broker, "new", small(Durability::Power)).await.unwrap();
        tap.next(Rename, "new-0", Harm::Panic);
        tap.next(Remove, "-delete", Harm::Panic);
        send(&producer, "new", "0").await.unwrap_err();
        let told = patiently(broker.delete_topic("t")).await;
        assert_error!(told, Error::Closed { .. }, "thrown by Remove");
        assert_eq!(broker.topics().unwrap(), ["new"]);
        // The catalog's own task: topics stay as they are, and their partitions go on.
        create(&broker, "other", small(Durability::Power)).await.unwrap();
        tap.next(Append, "__ottla_catalog-0/", Harm::Panic);
        for _ in 0..2 {
            let told = create(&broker, "more", small(Durability::Power)).await;
            assert_error!(told, Error::Closed { .. }, "__ottla_catalog-0", "thrown by Append");
        }
        send(&producer, "other", "0").await.unwrap();
        assert_error!(patiently(broker.shutdown()).await, Error::Closed { .. }, "thrown by");
        drop((broker, producer));
        let (broker, _) = open(tap).await.unwrap();
        assert_eq!(broker.topics().unwrap(), ["new", "other"]);
        patiently(broker.shutdown()).await.unwrap();
    });
}

#[test]
fn an_open_that_panics_is_told() {
    run(async {
        let tap = Tap::new(1);
        tap.next(Open, "meta.properties", Harm::Panic);
        let error = open(tap.clone()).await.unwrap_err();
        assert_error!(Err::<(), _>(error), Error::Closed { .. }, "thrown by Open");
        open(tap).await.unwrap();
    });
}

/// One partition's panic ends neither the look at the others nor the next look.
#[test]
fn work_in_the_background_goes_on() {
    run(async {
        let tap = Tap::new(1);
        let (broker, clock) = open(tap.clone()).await.unwrap();
        let hour = Duration::from_secs(3600);
        let producer = broker.producer().build();
        for topic in ["a", "b", "c", "d"] {
            let config = match topic {
                "a" | "b" => small(Durability::Power).retention(Some(hour)),
                _ => small(Durability::Power).cleanup_policy(CleanupPolicy::Compact),
            };
            create(&broker, topic, config).await.unwrap();
            for _ in 0..30 {
                send(&producer, topic, "v").await.unwrap();
            }
        }
        tap.next(Remove, "a-0/", Harm::Panic);
        tap.next(Create, "c-0/00000000000000000000.log.cleaned", Harm::Panic);
        clock.advance(2 * hour);
        turns().await;
        turns().await;
        let start = |topic| broker.describe_topic(topic).unwrap().partitions[0].log_start_offset;
        assert_eq!(start("b"), 30);
        let count = |topic| broker.describe_topic(topic).unwrap().partitions[0].size_bytes;
        assert!(count("d") < 1024, "{} bytes", count("d"));
        assert!(count("c") > 1024);
        assert!(tap.is_spent());
        clock.advance(hour);
        turns().await;
        turns().await;
        assert!(count("c") < 1024);
        assert_error!(send(&producer, "a", "v").await, Error::Closed { .. }, "thrown by Remove");
        send(&producer, "b", "v").await.unwrap();
    });
}
