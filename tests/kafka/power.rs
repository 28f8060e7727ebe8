//! Directories that have lost power: written to the simulated disk, which keeps of what was not
//! synced what it likes, and mended by a broker before Kafka sees them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ottla::storage::SimDisk;
use ottla::{Broker, Durability, Record, TopicConfig};

/// Everything follows from the seed, but for the order in which tasks run.
pub async fn make(dir: &Path, seed: u64) {
    let disk = SimDisk::new(seed);
    let broker = open(&disk).await;
    let config = TopicConfig::new().retention(None).partitions(2).segment_bytes(5_000);
    let config = config.set("index.interval.bytes", 700).unwrap();
    for (topic, durability) in [("process", Durability::Process), ("power", Durability::Power)] {
        broker.create_topic(topic, config.clone().durability(durability)).await.unwrap();
    }
    produce(&broker, "before").await;
    disk.crash_power();
    drop(broker);
    let broker = open(&disk).await;
    assert!(!broker.recovery_report().unwrap().clean_shutdown);
    produce(&broker, "after").await;
    broker.shutdown().await.unwrap();
    export(&disk, dir);
}

/// On the disk as a process sees it: after the crash this broker is dead.
async fn open(disk: &SimDisk) -> Broker {
    Broker::builder().open_on(Arc::new(disk.process())).await.unwrap()
}

async fn produce(broker: &Broker, when: &str) {
    let producer = broker.producer().batch_size(500).build();
    for n in 0..500 {
        for topic in ["process", "power"] {
            let value = format!("{n} {when} the loss of power");
            producer.enqueue(Record::to(topic).partition(n % 2).value(value)).await.unwrap();
        }
    }
    producer.flush().await;
}

fn export(disk: &SimDisk, dir: &Path) {
    for path in disk.paths() {
        let Some(bytes) = disk.read_file(&path) else { continue };
        let target = dir.join(path.strip_prefix("/").unwrap_or(&path));
        fs::create_dir_all(target.parent().expect("a file is in a folder")).unwrap();
        fs::write(target, bytes).unwrap();
    }
}
