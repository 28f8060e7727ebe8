//! A disk that is full to the last byte: told, read on, trimmed without space, and healed.

use std::time::Duration;

use ottla::storage::SimDisk;
use ottla::{Broker, CleanupPolicy, Durability, Error, Producer};

use super::{check_text, create, drain, open, patiently, run, send, small, turns, values};
use crate::support::{assert_error, at, texts, value};

/// Lets so many bytes more onto the disk, and not one more.
fn leave_room(disk: &SimDisk, bytes: u64) {
    let files = disk.paths();
    let used: usize = files.iter().filter_map(|path| disk.read_file(path)).map(|it| it.len()).sum();
    disk.set_capacity(Some(used as u64 + bytes));
}

/// Sends numbers until the disk is full; how many were acknowledged.
async fn fill(producer: &Producer, topic: &str) -> usize {
    for n in 0..1000 {
        match send(producer, topic, &n.to_string()).await {
            Ok(sent) => assert_eq!(sent.offset, n),
            Err(error) => {
                let error = assert_error!(Err::<(), _>(error), Error::StorageFull { .. }, topic);
                assert!(error.is_retriable());
                check_text(&error);
                return n as usize;
            }
        }
    }
    panic!("the disk is never full");
}

fn log_start(broker: &Broker, topic: &str) -> i64 {
    broker.describe_topic(topic).unwrap().partitions[0].log_start_offset
}

#[test]
fn it_is_told_read_on_and_healed() {
    run(async {
        let disk = SimDisk::new(1);
        let (broker, _) = open(disk.clone()).await.unwrap();
        let compacted = small(Durability::Power).cleanup_policy(CleanupPolicy::Compact);
        create(&broker, "power", small(Durability::Power)).await.unwrap();
        create(&broker, "process", small(Durability::Process)).await.unwrap();
        create(&broker, "compacted", compacted).await.unwrap();
        let producer = broker.producer().build();
        for n in 0..30 {
            send(&producer, "compacted", &(n % 3).to_string()).await.unwrap();
        }
        let consumer = broker.consumer().group("g").subscribe(["power", "process"]);
        let mut consumer = patiently(consumer).await.unwrap();
        let mut tail = patiently(broker.consumer().subscribe(["power"])).await.unwrap();
        drain(&mut consumer).await;
        patiently(consumer.commit()).await.unwrap();
        leave_room(&disk, 3000);
        let sent = [fill(&producer, "power").await, fill(&producer, "process").await];
        leave_room(&disk, 0);

        // What is visible is read on, from the tail and from the beginning; nobody is put out.
        let (records, errors) = drain(&mut tail).await;
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(records.iter().map(value).collect::<Vec<_>>(), texts(0..sent[0]));
        let (records, errors) = drain(&mut consumer).await;
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(records.len(), sent[0] + sent[1]);
        for _ in 0..3 {
            refuses_all(&broker, &producer, &mut consumer).await;
        }
        assert_eq!(values(&broker, "process").await, texts(0..sent[1]));
        assert_eq!(consumer.assignment().len(), 2);
        assert_eq!(broker.stats().unwrap().read_only_partitions, 0);

        // With space all is well at the first attempt.
        disk.set_capacity(None);
        for (topic, sent) in [("power", sent[0]), ("process", sent[1])] {
            let next = send(&producer, topic, &sent.to_string()).await.unwrap();
            assert_eq!(next.offset, sent as i64);
        }
        patiently(consumer.commit()).await.unwrap();
        create(&broker, "new", small(Durability::Power)).await.unwrap();
        assert!(patiently(broker.compact("compacted")).await.unwrap().records_removed > 0);
        patiently(broker.shutdown()).await.unwrap();
        drop((consumer, tail));
        let (broker, _) = open(disk.clone()).await.unwrap();
        assert!(broker.recovery_report().unwrap().clean_shutdown);
        for (topic, sent) in [("power", sent[0]), ("process", sent[1])] {
            assert_eq!(values(&broker, topic).await, texts(0..sent + 1));
        }
        let leftover = |name: &String| name.ends_with(".tmp") || name.ends_with(".cleaned");
        let names = disk.paths().into_iter().map(|path| path.display().to_string());
        assert_eq!(names.filter(leftover).collect::<Vec<_>>(), [""; 0]);
    });
}

async fn refuses_all(broker: &Broker, producer: &Producer, consumer: &mut ottla::Consumer) {
    let admin = broker.admin();
    let full = [
        ("power-0", send(producer, "power", "v").await.map(drop)),
        ("__consumer_offsets-0", patiently(consumer.commit()).await),
        ("__ottla_catalog-0", create(broker, "new", small(Durability::Power)).await),
        (
            "__ottla_catalog-0",
            patiently(admin.alter_configs("power", [("segment.bytes", Some("2000"))])).await,
        ),
        ("__ottla_catalog-0", patiently(admin.create_partitions("power", 3)).await),
        ("compacted-0", patiently(broker.compact("compacted")).await.map(drop)),
    ];
    for (what, result) in full {
        let error = assert_error!(result, Error::StorageFull { .. }, what, "space");
        assert!(error.is_retriable());
        check_text(&error);
    }
}

#[test]
fn retention_needs_no_space() {
    // What is left of a single segment is its successor's name.
    for (records, room) in [(30, 0), (2, 1)] {
        run(async {
            let disk = SimDisk::new(1);
            let (broker, clock) = open(disk.clone()).await.unwrap();
            let hour = Duration::from_secs(3600);
            let config = small(Durability::Power).retention(Some(hour));
            create(&broker, "t", config).await.unwrap();
            let producer = broker.producer().build();
            for n in 0..records {
                send(&producer, "t", &n.to_string()).await.unwrap();
            }
            leave_room(&disk, room);
            assert_error!(send(&producer, "t", "v").await, Error::StorageFull { .. });
            leave_room(&disk, room);
            clock.advance(2 * hour);
            turns().await;
            assert_eq!(log_start(&broker, "t"), records, "of {records} records");
            for _ in 0..2 {
                send(&producer, "t", "v").await.unwrap();
            }
            assert_eq!(values(&broker, "t").await, ["v", "v"]);
            disk.set_capacity(None);
            patiently(broker.shutdown()).await.unwrap();
            let (broker, _) = open(disk).await.unwrap();
            assert_eq!(log_start(&broker, "t"), records);
            assert_eq!(values(&broker, "t").await, ["v", "v"]);
        });
    }
}

#[test]
fn retention_by_size_needs_no_space() {
    run(async {
        let disk = SimDisk::new(1);
        let (broker, clock) = open(disk.clone()).await.unwrap();
        create(&broker, "t", small(Durability::Power).retention_bytes(Some(2000))).await.unwrap();
        let producer = broker.producer().build();
        for n in 0..60 {
            send(&producer, "t", &n.to_string()).await.unwrap();
        }
        leave_room(&disk, 0);
        clock.advance(Duration::from_secs(600));
        turns().await;
        assert!(log_start(&broker, "t") > 20);
        send(&producer, "t", "v").await.unwrap();
    });
}

#[test]
fn a_hard_cap_needs_no_space_beyond_it() {
    for durability in [Durability::Power, Durability::Process] {
        run(async {
            let disk = SimDisk::new(1);
            let (broker, _) = open(disk.clone()).await.unwrap();
            let config = small(durability).max_partition_bytes(Some(8192)).max_message_bytes(1024);
            create(&broker, "t", config).await.unwrap();
            let producer = broker.producer().build();
            let size = || broker.describe_topic("t").unwrap().partitions[0].size_bytes;
            let value = "v".repeat(300);
            send(&producer, "t", &value).await.unwrap();
            let (batch, mut drops) = (size(), 0);
            while drops < 20 {
                // What is over the cap has to come from what goes for it. The first segment to go
                // gives a little less than later ones take: it has brought no producer snapshot.
                // And offsets in small files get longer.
                let is_over = size() + batch > 8192;
                leave_room(&disk, if is_over && drops > 0 { 8 } else { 2000 });
                let sent = send(&producer, "t", &value).await;
                sent.unwrap_or_else(|error| panic!("{drops} {durability:?}: {error}"));
                drops += usize::from(is_over);
                assert!(size() <= 8192);
            }
            leave_room(&disk, 0);
            let shutdown = patiently(broker.shutdown()).await;
            assert_error!(shutdown, Error::StorageFull { .. }, "as clean");
        });
    }
}

#[test]
fn deleting_records_needs_no_space_where_segments_go() {
    run(async {
        let disk = SimDisk::new(1);
        let (broker, _) = open(disk.clone()).await.unwrap();
        create(&broker, "t", small(Durability::Power)).await.unwrap();
        create(&broker, "short", small(Durability::Power)).await.unwrap();
        let producer = broker.producer().build();
        for n in 0..40 {
            send(&producer, "t", &n.to_string()).await.unwrap();
        }
        for n in 0..3 {
            send(&producer, "short", &n.to_string()).await.unwrap();
        }
        leave_room(&disk, 0);
        let admin = broker.admin();
        // Nothing goes by that: what has to be written down can't be.
        let refused = patiently(admin.delete_records(&at("short", 0), 2)).await;
        assert_error!(refused, Error::StorageFull { .. }, "__ottla_catalog-0");
        assert_eq!(log_start(&broker, "short"), 0);
        let start = patiently(admin.delete_records(&at("t", 0), 33)).await.unwrap();
        assert_eq!(start, 33);
        send(&producer, "short", "3").await.unwrap();
        drop((broker, producer, admin));
        disk.crash_power();
        let (broker, _) = open(disk).await.unwrap();
        assert_eq!(values(&broker, "t").await, texts(33..40));
        assert_eq!(values(&broker, "short").await, texts(0..4));
    });
}

#[test]
fn deleting_a_topic_needs_no_space() {
    run(async {
        let disk = SimDisk::new(1);
        let (broker, _) = open(disk.clone()).await.unwrap();
        for topic in ["t", "empty", "kept"] {
            create(&broker, topic, small(Durability::Power)).await.unwrap();
        }
        let producer = broker.producer().build();
        send(&producer, "kept", "v").await.unwrap();
        for _ in 0..20 {
            send(&producer, "t", "v").await.unwrap();
        }
        leave_room(&disk, 0);
        let admin = broker.admin();
        // It gives nothing back: it stays as it was.
        let refused = patiently(admin.delete_topic("empty")).await;
        assert_error!(refused, Error::StorageFull { .. }, "__ottla_catalog-0");
        patiently(admin.delete_topic("t")).await.unwrap();
        assert_eq!(broker.topics().unwrap(), ["empty", "kept"]);
        assert!(!disk.paths().iter().any(|path| path.starts_with("t-0")));
        disk.set_capacity(None);
        send(&producer, "empty", "v").await.unwrap();
        create(&broker, "t", small(Durability::Power)).await.unwrap();
        assert!(values(&broker, "t").await.is_empty());
        patiently(broker.shutdown()).await.unwrap();
        let (broker, _) = open(disk).await.unwrap();
        assert_eq!(broker.topics().unwrap(), ["empty", "kept", "t"]);
        assert_eq!(values(&broker, "kept").await, ["v"]);
    });
}

/// Somebody else takes the space that a topic has given back, before that can be written down.
#[test]
fn a_topic_that_could_only_be_emptied_is_closed_and_can_be_deleted_later() {
    for reopens in [false, true] {
        run(async {
            let tap = super::tap::Tap::new(1);
            let (mut broker, _) = open(tap.clone()).await.unwrap();
            create(&broker, "t", small(Durability::Power)).await.unwrap();
            let producer = broker.producer().build();
            send(&producer, "t", "v").await.unwrap();
            tap.always(super::tap::Call::Append, "__ottla", super::tap::Harm::Enospc);
            let refused = patiently(broker.delete_topic("t")).await;
            assert_error!(refused, Error::StorageFull { .. }, "__ottla_catalog-0");
            assert_error!(send(&producer, "t", "v").await, Error::Closed { .. }, "t was deleted");
            tap.heal();
            if reopens {
                drop((broker, producer));
                tap.disk.crash_power();
                broker = open(tap.clone()).await.unwrap().0;
                assert!(values(&broker, "t").await.is_empty());
                let sent = send(&broker.producer().build(), "t", "v").await.unwrap();
                assert_eq!(sent.offset, 0);
            }
            patiently(broker.delete_topic("t")).await.unwrap();
            assert!(broker.topics().unwrap().is_empty());
            create(&broker, "t", small(Durability::Power)).await.unwrap();
        });
    }
}

#[test]
fn a_directory_is_opened_read_and_trimmed_without_space() {
    for power_is_lost in [false, true] {
        run(async {
            let disk = SimDisk::new(1);
            let (broker, _) = open(disk.clone()).await.unwrap();
            for topic in ["kept", "doomed"] {
                create(&broker, topic, small(Durability::Power)).await.unwrap();
                let producer = broker.producer().build();
                for n in 0..20 {
                    send(&producer, topic, &n.to_string()).await.unwrap();
                }
            }
            drop(broker);
            match power_is_lost {
                true => disk.crash_power(),
                false => disk.crash_process(),
            }
            leave_room(&disk, 0);
            let (broker, _) = open(disk.clone()).await.expect("it needs no space");
            assert_eq!(values(&broker, "kept").await, texts(0..20));
            let producer = broker.producer().build();
            let refused = send(&producer, "kept", "20").await;
            assert_error!(refused, Error::StorageFull { .. }, "kept-0");
            patiently(broker.delete_topic("doomed")).await.unwrap();
            let sent = send(&producer, "kept", "20").await.unwrap();
            assert_eq!(sent.offset, 20);
            patiently(broker.shutdown()).await.unwrap();
            let (broker, _) = open(disk).await.unwrap();
            assert_eq!(values(&broker, "kept").await, texts(0..21));
        });
    }
}

/// The part of a batch that found room is no batch, and does not come to be one.
#[test]
fn what_found_room_in_part_is_not_there() {
    run(async {
        let disk = SimDisk::new(1);
        let (broker, _) = open(disk.clone()).await.unwrap();
        create(&broker, "t", small(Durability::Process)).await.unwrap();
        let producer = broker.producer().build();
        send(&producer, "t", "0").await.unwrap();
        for room in 1..80 {
            leave_room(&disk, room);
            let refused = send(&producer, "t", &"x".repeat(100)).await;
            assert_error!(refused, Error::StorageFull { .. });
        }
        drop((broker, producer));
        disk.set_capacity(None);
        disk.crash_process();
        let (broker, _) = open(disk.clone()).await.unwrap();
        assert!(broker.recovery_report().unwrap().partitions.is_empty());
        send(&broker.producer().build(), "t", "1").await.unwrap();
        assert_eq!(values(&broker, "t").await, ["0", "1"]);
    });
}
