//! Data directories that are damaged: what is lost is told once, and everything else is there.

use std::fs;
use std::path::Path;

use ottla::{Broker, Consumer, Durability, Error, Position, TopicConfig};
use tempfile::TempDir;

use crate::support::{
    at, copy_dir, file_in, flip_bit, is_at_end, read_values, send_all, texts, truncate_file, value,
};

/// How many records, each a batch of its own and all of one size, [`Damaged`] begins with.
const RECORDS: usize = 30;

/// A directory with one topic `t` of one partition, about to be harmed.
struct Damaged {
    dir: TempDir,
    batch_size: usize,
}

impl Damaged {
    /// As a shutdown leaves it: everything lies before the recovery point.
    async fn clean() -> Damaged {
        let dir = TempDir::new().unwrap();
        let broker = Self::fill(dir.path()).await;
        broker.shutdown().await.unwrap();
        Self::new(dir)
    }

    /// As `kill -9` leaves it: everything lies behind the recovery point.
    async fn unclean() -> Damaged {
        let (live, dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let broker = Self::fill(live.path()).await;
        copy_dir(live.path(), dir.path());
        drop(broker);
        Self::new(dir)
    }

    async fn fill(dir: &Path) -> Broker {
        let broker = Broker::open(dir).await.unwrap();
        let config = TopicConfig::new().durability(Durability::Process);
        broker.create_topic("t", config).await.unwrap();
        send_all(&broker.client(), "t", numbers(0..RECORDS)).await;
        broker
    }

    fn new(dir: TempDir) -> Damaged {
        let len = fs::metadata(file_in(&dir.path().join("t-0"), "log")).unwrap().len() as usize;
        assert_eq!(len % RECORDS, 0);
        Damaged { dir, batch_size: len / RECORDS }
    }

    fn log(&self) -> std::path::PathBuf {
        file_in(&self.dir.path().join("t-0"), "log")
    }

    /// Flips a bit of the batch's payload.
    fn flip_in(&self, batch: usize) {
        flip_bit(&self.log(), (batch + 1) * self.batch_size - 2);
    }

    async fn open(&self) -> Broker {
        Broker::open(self.dir.path()).await.unwrap()
    }
}

/// Numbers of equal length, for batches of equal size.
fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{n:04}")).collect()
}

/// What a consumer meets from the earliest record to the end: values, and `corrupt from to`.
async fn read_through(consumer: &mut Consumer) -> Vec<String> {
    let mut met = Vec::new();
    while !is_at_end(consumer).await {
        met.push(match consumer.recv().await {
            Ok(record) => value(&record),
            Err(error) => {
                let Error::Corrupt { at: partition, from, to } = &error else {
                    panic!("{error:?}");
                };
                crate::support::says(&error, &["t-0", &from.to_string(), &to.to_string()]);
                assert_eq!(*partition, at("t", 0));
                let position = consumer.position(partition).map(|it| it.offset);
                assert_eq!(position, Some(*to));
                format!("corrupt {from} {to}")
            }
        });
    }
    met
}

async fn read_all(broker: &Broker) -> Vec<String> {
    let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
    let met = read_through(&mut consumer).await;
    consumer.seek(&at("t", 0), Position::from(0)).unwrap();
    assert_eq!(read_through(&mut consumer).await, met, "the same again, by the same consumer");
    met
}

/// `numbers` with a gap.
fn with_gap(end: usize, from: usize, to: usize) -> Vec<String> {
    let mut expected = numbers(0..from);
    expected.push(format!("corrupt {from} {to}"));
    expected.extend(numbers(to..end));
    expected
}

#[tokio::test]
async fn a_flipped_bit_before_the_recovery_point_is_a_gap() {
    for bad in [0, 10, RECORDS - 1] {
        let damaged = Damaged::clean().await;
        damaged.flip_in(bad);
        let broker = damaged.open().await;
        assert!(broker.recovery_report().unwrap().clean_shutdown);
        let expected = with_gap(RECORDS, bad, bad + 1);
        assert_eq!(read_all(&broker).await, expected);
        // Nothing was cut, so offsets go on; and so it stays.
        send_all(&broker.client(), "t", numbers(RECORDS..RECORDS + 5)).await;
        let expected = with_gap(RECORDS + 5, bad, bad + 1);
        assert_eq!(read_all(&broker).await, expected);
        broker.shutdown().await.unwrap();
        let broker = damaged.open().await;
        assert_eq!(read_all(&broker).await, expected);
    }
}

#[tokio::test]
async fn several_gaps_are_told_one_by_one() {
    let damaged = Damaged::clean().await;
    for bad in [3, 4, 5, 20] {
        damaged.flip_in(bad);
    }
    let broker = damaged.open().await;
    let mut expected = with_gap(20, 3, 6);
    expected.push("corrupt 20 21".to_owned());
    expected.extend(numbers(21..RECORDS));
    assert_eq!(read_all(&broker).await, expected);
}

#[tokio::test]
async fn a_file_cut_short_before_the_recovery_point_loses_its_end_only() {
    for (cut, left) in [(1, RECORDS - 1), (0, RECORDS - 1), (500, RECORDS - 7)] {
        let damaged = Damaged::clean().await;
        let bytes = if cut == 0 { damaged.batch_size as u64 } else { cut };
        let left = if cut == 500 { RECORDS - 500_usize.div_ceil(damaged.batch_size) } else { left };
        truncate_file(&damaged.log(), bytes);
        let broker = damaged.open().await;
        assert_eq!(read_all(&broker).await, with_gap(RECORDS, left, RECORDS), "cut {bytes}");
        // The lost offsets are never given out again.
        send_all(&broker.client(), "t", numbers(RECORDS..RECORDS + 5)).await;
        let expected = with_gap(RECORDS + 5, left, RECORDS);
        assert_eq!(read_all(&broker).await, expected);
        broker.shutdown().await.unwrap();
        let broker = damaged.open().await;
        assert_eq!(read_all(&broker).await, expected);
    }
}

#[tokio::test]
async fn behind_the_recovery_point_the_log_ends_at_the_first_bad_batch() {
    for bad in [0, 10, RECORDS - 1] {
        let damaged = Damaged::unclean().await;
        damaged.flip_in(bad);
        let broker = damaged.open().await;
        let report = broker.recovery_report().unwrap();
        assert!(!report.clean_shutdown);
        let [cut] = &report.partitions[&at("t", 0)].cut[..] else { panic!("{report:?}") };
        let bytes = ((RECORDS - bad) * damaged.batch_size) as u64;
        assert_eq!((cut.offset, cut.bytes), (bad as i64, bytes));
        let aside = damaged.dir.path().join("t-0").join(&cut.file);
        assert_eq!(fs::metadata(aside).unwrap().len(), bytes);
        assert_eq!(read_all(&broker).await, numbers(0..bad));
        send_all(&broker.client(), "t", ["new"]).await;
        broker.shutdown().await.unwrap();
        let broker = damaged.open().await;
        let mut expected = numbers(0..bad);
        expected.push("new".to_owned());
        assert_eq!(read_all(&broker).await, expected);
    }
}

#[tokio::test]
async fn a_torn_end_is_cut() {
    let damaged = Damaged::unclean().await;
    truncate_file(&damaged.log(), 3);
    let broker = damaged.open().await;
    let report = broker.recovery_report().unwrap();
    let [cut] = &report.partitions[&at("t", 0)].cut[..] else { panic!("{report:?}") };
    assert_eq!((cut.offset, cut.bytes), (29, damaged.batch_size as u64 - 3));
    assert_eq!(read_all(&broker).await, numbers(0..29));
}

#[tokio::test]
async fn indexes_and_checkpoints_are_only_shortcuts() {
    type Harm = (&'static str, fn(&Path));
    let harms: [Harm; 3] = [
        ("removed", remove_small_files),
        ("scribbled over", scribble_over_small_files),
        ("emptied", empty_small_files),
    ];
    for (what, harm) in harms {
        for damaged in [Damaged::clean().await, Damaged::unclean().await] {
            harm(&damaged.dir.path().join("t-0"));
            let broker = damaged.open().await;
            let report = broker.recovery_report().unwrap();
            assert_eq!(read_all(&broker).await, numbers(0..RECORDS), "{what}: {report:?}");
            assert_eq!(broker.topics().unwrap(), ["t"]);
            send_all(&broker.client(), "t", numbers(RECORDS..RECORDS + 5)).await;
            broker.shutdown().await.unwrap();
            let broker = damaged.open().await;
            assert_eq!(read_all(&broker).await, numbers(0..RECORDS + 5));
        }
    }
}

fn small_files(dir: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_none_or(|extension| extension != "log"))
}

fn remove_small_files(dir: &Path) {
    small_files(dir).for_each(|path| fs::remove_file(path).unwrap());
}

fn scribble_over_small_files(dir: &Path) {
    small_files(dir).for_each(|path| fs::write(path, [0xa5; 1000]).unwrap());
}

fn empty_small_files(dir: &Path) {
    small_files(dir).for_each(|path| fs::write(path, []).unwrap());
}

#[tokio::test]
async fn a_lost_catalog_is_rebuilt_from_the_folders() {
    for clean in [true, false] {
        let (live, dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let broker = Broker::open(live.path()).await.unwrap();
        let mut ids = Vec::new();
        for (topic, partitions) in [("one", 1), ("three.3-x", 3)] {
            let config = TopicConfig::new().partitions(partitions);
            ids.push(broker.create_topic(topic, config).await.unwrap().id);
            let producer = broker.producer().build();
            for n in 0..30 {
                let record = ottla::Record::to(topic).partition(n % partitions);
                producer.send(record.value(n.to_string())).await.unwrap();
            }
        }
        if clean {
            broker.shutdown().await.unwrap();
        }
        copy_dir(live.path(), dir.path());
        fs::remove_dir_all(dir.path().join("__ottla_catalog-0")).unwrap();
        for round in 0..2 {
            let broker = Broker::open(dir.path()).await.unwrap();
            let lost = &broker.recovery_report().unwrap().topics_without_catalog;
            assert_eq!(lost.len(), if round == 0 { 2 } else { 0 }, "{lost:?}");
            assert_eq!(broker.topics().unwrap(), ["one", "three.3-x"]);
            for (topic, (id, partitions)) in ["one", "three.3-x"].iter().zip(ids.iter().zip([1, 3]))
            {
                let now = broker.describe_topic(topic).unwrap();
                assert_eq!((now.id, now.partitions.len()), (*id, partitions));
                let mut values = read_values(&broker.client(), topic).await;
                values.sort_by_key(|value| value.parse::<usize>().unwrap());
                assert_eq!(values, texts(0..30));
            }
            broker.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_damaged_catalog_loses_no_records() {
    for clean in [true, false] {
        let damaged = if clean { Damaged::clean().await } else { Damaged::unclean().await };
        let catalog = file_in(&damaged.dir.path().join("__ottla_catalog-0"), "log");
        flip_bit(&catalog, 70);
        let broker = damaged.open().await;
        let report = broker.recovery_report().unwrap();
        assert_eq!(report.topics_without_catalog, ["t"], "{report:?}");
        assert_eq!(read_all(&broker).await, numbers(0..RECORDS));
    }
}

#[tokio::test]
async fn a_folder_of_another_life_is_moved_aside() {
    let damaged = Damaged::clean().await;
    let other = Damaged::clean().await;
    fs::remove_dir_all(damaged.dir.path().join("t-0")).unwrap();
    copy_dir(&other.dir.path().join("t-0"), &damaged.dir.path().join("t-0"));
    let broker = damaged.open().await;
    let [stray] = &broker.recovery_report().unwrap().stray[..] else { panic!("one folder") };
    assert!(stray.starts_with("t-0.") && stray.ends_with("-stray"), "{stray}");
    assert!(damaged.dir.path().join(stray).is_dir());
    // This life's records are lost with their folder, and a stranger's are not taken for them.
    assert!(read_all(&broker).await.is_empty());
    broker.shutdown().await.unwrap();
    // The same once more does not meet the first.
    fs::remove_dir_all(damaged.dir.path().join("t-0")).ok();
    copy_dir(&other.dir.path().join("t-0"), &damaged.dir.path().join("t-0"));
    let again = damaged.open().await;
    let [second] = &again.recovery_report().unwrap().stray[..] else { panic!("one folder") };
    assert!(second.ends_with(".2-stray") && damaged.dir.path().join(second).is_dir(), "{second}");
}

#[tokio::test]
async fn a_folder_whose_topic_id_is_misread_is_not_moved_aside() {
    let damaged = Damaged::clean().await;
    let file = damaged.dir.path().join("t-0/partition.metadata");
    let whole = fs::read(&file).unwrap();
    // Some character of the id becomes another one that ids may have.
    let id = whole.len() - 22;
    let letter = (id..).find(|i| whole[*i].is_ascii_alphabetic()).unwrap();
    let mut misread = whole.clone();
    misread[letter] ^= 0x20;
    fs::write(&file, misread).unwrap();
    let broker = damaged.open().await;
    let report = broker.recovery_report().unwrap();
    assert!(report.stray.is_empty(), "{report:?}");
    assert_eq!(read_all(&broker).await, numbers(0..RECORDS));
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[tokio::test]
async fn without_a_catalog_folders_of_two_lives_make_one_topic_of_one_life() {
    let (damaged, other) = (Damaged::clean().await, Damaged::clean().await);
    copy_dir(&other.dir.path().join("t-0"), &damaged.dir.path().join("t-1"));
    fs::remove_dir_all(damaged.dir.path().join("__ottla_catalog-0")).unwrap();
    for round in 0..2 {
        let broker = damaged.open().await;
        let stray = &broker.recovery_report().unwrap().stray;
        assert_eq!(stray.len(), 1 - round, "{stray:?}");
        assert!(stray.iter().all(|it| it.starts_with("t-1.") && it.ends_with("-stray")));
        // One that is served once is not moved aside by the next open.
        assert_eq!(broker.describe_topic("t").unwrap().partitions.len(), 1);
        assert_eq!(read_all(&broker).await, numbers(0..RECORDS));
        broker.shutdown().await.unwrap();
    }
}
