//! The groups' own partition fails, or finds no room: commits are refused, and consuming goes on.

use ottla::{Consumer, Durability, Error};

use super::tap::Call::{Append, Create, Sync};
use super::tap::{Harm, Tap};
use super::{create, drain, open, patiently, run, send, small};
use crate::support::{assert_error, at};

async fn committed(consumer: &mut Consumer) -> Option<i64> {
    let at = at("t", 0);
    let committed = patiently(consumer.committed(std::slice::from_ref(&at))).await.unwrap();
    committed.get(&at).map(|it| it.offset)
}

#[test]
fn commits_fail_and_consuming_goes_on() {
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
            patiently(consumer.commit()).await.unwrap();
            tap.next(call, "__consumer_offsets-0/", Harm::Eio);
            for n in 1..4 {
                send(&producer, "t", &n.to_string()).await.unwrap();
                let (records, errors) = drain(&mut consumer).await;
                assert!(errors.is_empty() && records.len() == 1, "{errors:?}");
                let refused = patiently(consumer.commit()).await;
                let says = ["__consumer_offsets-0", "broken disk"];
                assert_error!(refused, Error::ReadOnly { .. }, says[0], says[1]);
            }
            assert_eq!(consumer.assignment(), [at("t", 0)]);
            assert_eq!(broker.stats().unwrap().read_only_partitions, 1);
            assert_eq!(committed(&mut consumer).await, Some(1));
            let shutdown = patiently(broker.shutdown()).await;
            assert_error!(shutdown, Error::ReadOnly { .. }, "__consumer_offsets-0");
            drop((broker, producer, consumer));
            let (broker, _) = open(tap).await.unwrap();
            let consumer = broker.consumer().group("g").subscribe(["t"]);
            let mut consumer = patiently(consumer).await.unwrap();
            // What was not acknowledged may be there all the same, as it had been written.
            let (records, _) = drain(&mut consumer).await;
            assert!((2..4).contains(&records.len()), "{records:?}");
            patiently(consumer.commit()).await.unwrap();
            assert_eq!(committed(&mut consumer).await, Some(4));
        });
    }
}

/// Also where the groups' topic has yet to be made, and where a member joins.
#[test]
fn on_a_full_disk_they_heal() {
    let steps = [
        (Append, "__ottla_catalog-0/"),
        (Create, "__consumer_offsets-0/"),
        (Append, "__consumer_offsets-0/"),
    ];
    for (call, path) in steps {
        run(async {
            let tap = Tap::new(1);
            let (broker, _) = open(tap.clone()).await.unwrap();
            create(&broker, "t", small(Durability::Power)).await.unwrap();
            send(&broker.producer().build(), "t", "0").await.unwrap();
            tap.always(call, path, Harm::Enospc);
            let consumer = broker.consumer().group("g").subscribe(["t"]);
            let mut consumer = patiently(consumer).await.unwrap();
            let (records, errors) = drain(&mut consumer).await;
            assert!(records.is_empty() && !errors.is_empty());
            for error in errors {
                let topic = path.trim_end_matches('/');
                assert_error!(Err::<(), _>(error), Error::StorageFull { .. }, topic);
            }
            tap.heal();
            let (records, _) = drain(&mut consumer).await;
            assert_eq!(records.len(), 1);
            patiently(consumer.commit()).await.unwrap();
            tap.always(Append, "__consumer_offsets-0/", Harm::Enospc);
            consumer.seek(&at("t", 0), 0).unwrap();
            let refused = patiently(consumer.commit()).await;
            assert_error!(refused, Error::StorageFull { .. }, "__consumer_offsets-0");
            assert_eq!(committed(&mut consumer).await, Some(1));
            tap.heal();
            patiently(consumer.commit()).await.unwrap();
            assert_eq!(committed(&mut consumer).await, Some(0));
        });
    }
}
