//! A disk that answers with errors: one partition turns read-only, and all others go on.

use ottla::{Durability, Error};

use super::tap::Call::{Append, Create, CreateDir, Read, Rename, Sync, SyncDir};
use super::tap::{Harm, Tap};
use super::{check_text, create, drain, open, patiently, run, send, small, values};
use crate::support::{assert_error, texts, value};

/// What is called on the way of records into a partition, through a full segment and the next.
const ON_THE_WAY: [(super::tap::Call, &str); 6] = [
    (Append, ".log"),
    (Sync, ".log"),
    (Append, ".timeindex"),
    (Append, ".snapshot"),
    (Create, ".log"),
    (SyncDir, "t-0"),
];

#[test]
fn a_partition_turns_read_only_and_others_go_on() {
    for (call, path) in ON_THE_WAY {
        run(async {
            let tap = Tap::new(1);
            let (broker, _) = open(tap.clone()).await.unwrap();
            for topic in ["t", "other"] {
                create(&broker, topic, small(Durability::Power)).await.unwrap();
            }
            let producer = broker.producer().build();
            let padding = "x".repeat(40);
            let mut sent = Vec::new();
            sent.push(padding.clone());
            send(&producer, "t", &padding).await.unwrap();
            tap.next(call, path, Harm::Eio);
            let failed = loop {
                let value = format!("{}{padding}", sent.len());
                match send(&producer, "t", &value).await {
                    Ok(_) => sent.push(value),
                    Err(error) => break error,
                }
                assert!(sent.len() < 30, "{call:?} of {path} is never called");
            };
            let failed =
                assert_error!(Err::<(), _>(failed), Error::ReadOnly { .. }, "t-0", "broken disk");
            check_text(&failed);
            assert!(!failed.is_retriable());
            // The disk is well again; nobody knows what it holds.
            for _ in 0..3 {
                let again = send(&producer, "t", "v").await;
                assert_error!(again, Error::ReadOnly { .. }, "t-0", "broken disk");
            }
            assert_eq!(broker.stats().unwrap().read_only_partitions, 1);
            let mut consumer =
                patiently(broker.consumer().group("g").subscribe(["t", "other"])).await.unwrap();
            send(&producer, "other", "v").await.unwrap();
            let (records, errors) = drain(&mut consumer).await;
            assert!(errors.is_empty(), "{errors:?}");
            assert_eq!(records.len(), sent.len() + 1);
            patiently(consumer.commit()).await.unwrap();
            create(&broker, "new", small(Durability::Power)).await.unwrap();
            let shutdown = patiently(broker.shutdown()).await;
            assert_error!(shutdown, Error::ReadOnly { .. }, "t-0", "broken disk");
            drop((broker, consumer, producer));
            let (broker, _) = open(tap.clone()).await.unwrap();
            let found = values(&broker, "t").await;
            assert!(found.starts_with(&sent), "{found:?}");
            send(&broker.producer().build(), "t", "v").await.unwrap();
            patiently(broker.shutdown()).await.unwrap();
        });
    }
}

#[test]
fn a_read_error_is_told_and_reading_goes_on_where_it_was() {
    run(async {
        let tap = Tap::new(1);
        let (broker, _) = open(tap.clone()).await.unwrap();
        for topic in ["t", "other"] {
            create(&broker, topic, small(Durability::Process)).await.unwrap();
        }
        let producer = broker.producer().build();
        for n in 0..40 {
            send(&producer, "t", &n.to_string()).await.unwrap();
            send(&producer, "other", &n.to_string()).await.unwrap();
        }
        let builder = broker.consumer().max_partition_fetch_bytes(1);
        let mut consumer = patiently(builder.subscribe(["t", "other"])).await.unwrap();
        let (mut seen, mut failures, mut others) = (Vec::new(), 0, 0);
        while seen.len() < 40 || others < 40 {
            // Not once in a while, but all the time for some time.
            if seen.len() == 10 && failures == 0 {
                tap.always(Read, "t-0/", Harm::Eio);
            }
            match patiently(consumer.recv()).await {
                Ok(record) if record.topic == "t" => seen.push(value(&record)),
                Ok(_) => others += 1,
                Err(error) => {
                    let error =
                        assert_error!(Err::<(), _>(error), Error::Io { .. }, "t-0", "broken disk");
                    assert!(error.is_retriable());
                    check_text(&error);
                    failures += 1;
                }
            }
            if failures == 5 {
                tap.heal();
            }
        }
        assert_eq!(seen, texts(0..40));
        assert!(failures >= 5 && others == 40);
        assert_eq!(broker.stats().unwrap().read_only_partitions, 0);
    });
}

#[test]
fn an_open_that_fails_changes_nothing_and_the_next_succeeds() {
    let harms = [(Harm::Eio, "broken disk"), (Harm::Enospc, "space")];
    for (harm, says) in harms {
        run(async {
            let tap = Tap::new(1);
            for call in [Create, Append, Rename, Sync, SyncDir] {
                tap.next(call, "meta.properties", harm);
                tap.next(SyncDir, "", harm);
                let error = match open(tap.clone()).await {
                    Ok(_) => continue,
                    Err(error) => error,
                };
                let error = match harm {
                    Harm::Enospc => {
                        assert_error!(Err::<(), _>(error), Error::StorageFull { .. }, says)
                    }
                    _ => assert_error!(Err::<(), _>(error), Error::Io { .. }, says),
                };
                assert!(error.is_retriable());
                check_text(&error);
                tap.heal();
            }
            tap.heal();
            open(tap).await.unwrap();
        });
    }
}

/// A full disk is one that heals, wherever it is met before a record is written.
#[test]
fn a_full_disk_at_each_step_of_an_append_heals() {
    let steps = [
        (CreateDir, "t-0"),
        (Create, "t-0/partition.metadata.tmp"),
        (Append, "t-0/partition.metadata.tmp"),
        (Rename, "t-0/partition.metadata"),
        (Create, "t-0/00000000000000000000.log"),
        (Create, "t-0/leader-epoch-checkpoint.tmp"),
        (Append, "t-0/leader-epoch-checkpoint.tmp"),
        (Sync, "t-0/leader-epoch-checkpoint.tmp"),
        (Rename, "t-0/leader-epoch-checkpoint"),
        (Append, "t-0/00000000000000000000.log"),
        (Create, "t-0/00000000000000000000.index"),
        (Create, "t-0/00000000000000000000.timeindex"),
        (Append, "t-0/00000000000000000000.timeindex"),
        (Append, "t-0/00000000000000000005.snapshot"),
        (Create, "t-0/00000000000000000005.log"),
        (SyncDir, "t-0"),
    ];
    for (call, path) in steps {
        run(async {
            let tap = Tap::new(1);
            let (broker, _) = open(tap.clone()).await.unwrap();
            create(&broker, "t", small(Durability::Power)).await.unwrap();
            let producer = broker.producer().build();
            tap.next(call, path, Harm::Enospc);
            let mut refused = 0;
            for n in 0..20 {
                let value = format!("{n:060}");
                if let Err(error) = send(&producer, "t", &value).await {
                    assert_error!(Err::<(), _>(error), Error::StorageFull { .. }, "t-0");
                    refused += 1;
                    send(&producer, "t", &value).await.expect("it is healed at once");
                }
            }
            assert!(tap.is_spent() && refused == 1, "{call:?} of {path}: {refused}");
            let expected: Vec<String> = (0..20).map(|n| format!("{n:060}")).collect();
            assert_eq!(values(&broker, "t").await, expected);
            drop((broker, producer));
            tap.disk.crash_power();
            let (broker, _) = open(tap).await.unwrap();
            assert_eq!(values(&broker, "t").await, expected, "{call:?} of {path}");
        });
    }
}
