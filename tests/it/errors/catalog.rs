//! The catalog fails, or finds no room: topics stay as they are, and their partitions go on.

use std::time::Duration;

use ottla::{Durability, Error};

use super::tap::Call::{Append, Remove, Rename, Sync};
use super::tap::{Harm, Tap};
use super::{create, drain, open, patiently, run, send, small, turns, values};
use crate::support::{assert_error, at};

#[test]
fn a_catalog_that_fails_keeps_topics_as_they_are() {
    for call in [Append, Sync] {
        run(async {
            let tap = Tap::new(1);
            let (broker, _) = open(tap.clone()).await.unwrap();
            create(&broker, "t", small(Durability::Power)).await.unwrap();
            let producer = broker.producer().build();
            send(&producer, "t", "0").await.unwrap();
            let consumer = broker.consumer().group("g").subscribe(["t"]);
            let mut consumer = patiently(consumer).await.unwrap();
            drain(&mut consumer).await;
            tap.next(call, "__ottla_catalog-0/", Harm::Eio);
            let admin = broker.admin();
            for _ in 0..2 {
                let refused = [
                    create(&broker, "new", small(Durability::Power)).await,
                    patiently(admin.delete_topic("t")).await,
                    patiently(admin.create_partitions("t", 2)).await,
                    patiently(admin.alter_configs("t", [("retention.ms", Some("5"))])).await,
                    patiently(admin.delete_records(&at("t", 0), 1)).await.map(drop),
                ];
                for refused in refused {
                    let says = ["__ottla_catalog-0", "broken disk"];
                    assert_error!(refused, Error::ReadOnly { .. }, says[0], says[1]);
                }
            }
            assert_eq!(broker.stats().unwrap().read_only_partitions, 1);
            send(&producer, "t", "1").await.unwrap();
            let (records, errors) = drain(&mut consumer).await;
            assert!(errors.is_empty() && records.len() == 1, "{errors:?}");
            patiently(consumer.commit()).await.unwrap();
            let shutdown = patiently(broker.shutdown()).await;
            assert_error!(shutdown, Error::ReadOnly { .. }, "__ottla_catalog-0");
            drop((broker, producer, consumer, admin));
            let (broker, _) = open(tap).await.unwrap();
            assert_eq!(values(&broker, "t").await, ["0", "1"]);
            patiently(broker.delete_topic("t")).await.unwrap();
            patiently(broker.shutdown()).await.unwrap();
        });
    }
}

/// The topic is gone at once; what it leaves on the disk goes at the next look.
#[test]
fn a_deletion_that_fails_half_way_is_finished_later() {
    for (call, path) in [(Rename, "-delete"), (Remove, "-delete")] {
        run(async {
            let tap = Tap::new(1);
            let (broker, clock) = open(tap.clone()).await.unwrap();
            create(&broker, "t", small(Durability::Power)).await.unwrap();
            send(&broker.producer().build(), "t", "0").await.unwrap();
            tap.next(call, path, Harm::Eio);
            let deleted = patiently(broker.delete_topic("t")).await;
            assert_error!(deleted, Error::Io { .. }, "deleting topic t", "broken disk");
            assert!(broker.topics().unwrap().is_empty());
            let is_left = || {
                let names = tap.disk.paths().into_iter().map(|path| path.display().to_string());
                names.into_iter().any(|name| name.starts_with("t-0"))
            };
            assert!(is_left());
            clock.advance(Duration::from_secs(600));
            turns().await;
            assert!(!is_left());
            patiently(broker.shutdown()).await.unwrap();
        });
    }
}

/// Retention has moved the log's start, but could not remove what was before it.
#[test]
fn what_is_deleted_stays_so_where_retention_has_come_further() {
    run(async {
        let tap = Tap::new(1);
        let (broker, clock) = open(tap.clone()).await.unwrap();
        let config = small(Durability::Power).retention(Some(Duration::from_secs(60)));
        create(&broker, "t", config).await.unwrap();
        let producer = broker.producer().build();
        for n in 0..60 {
            send(&producer, "t", &n.to_string()).await.unwrap();
        }
        tap.next(Remove, "t-0/00000000000000000000.log", Harm::Eio);
        clock.advance(Duration::from_secs(3600));
        turns().await;
        let start = broker.describe_topic("t").unwrap().partitions[0].log_start_offset;
        assert!(start > 3 && broker.stats().unwrap().read_only_partitions == 1);
        let deleted = patiently(broker.admin().delete_records(&at("t", 0), 3)).await;
        assert_eq!(deleted.unwrap(), start);
        drop((broker, producer));
        turns().await;
        let (broker, _) = open(tap).await.unwrap();
        let again = broker.describe_topic("t").unwrap().partitions[0].log_start_offset;
        assert!((3..start).contains(&again), "{again}, {start}");
    });
}
