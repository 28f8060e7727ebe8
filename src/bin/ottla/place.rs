//! Which data directory, and how it is opened.

use std::path::{Path, PathBuf};

use ottla::{Broker, RecoveryReport, TopicPartition};

use crate::output::{Failure, Outcome};

/// What an open of a damaged directory may mend in memory, where it changes nothing.
const MENDED_IN_MEMORY: usize = 1 << 30;

/// The data directory.
#[derive(clap::Args)]
pub(crate) struct Place {
    /// The data directory
    #[arg(short, long, value_name = "DIRECTORY")]
    data_dir: PathBuf,
}

impl Place {
    /// What is there at this moment. Changes nothing, and needs no lock.
    pub(crate) async fn read(&self) -> Result<Broker, Failure> {
        let broker = read(&self.data_dir).await?;
        tell_losses(&broker);
        Ok(broker)
    }

    /// For changes, which needs the directory for itself. It is closed properly, however they end.
    pub(crate) async fn change(&self, with: impl AsyncFnOnce(&Broker) -> Outcome) -> Outcome {
        let broker = change(&self.data_dir).await?;
        tell_losses(&broker);
        closing(broker, with).await
    }

    /// As [`Place::change`], and makes one where there is none, which it says: the name may be a
    /// slip.
    pub(crate) async fn make(&self, with: impl AsyncFnOnce(&Broker) -> Outcome) -> Outcome {
        if self.data_dir.exists() {
            return self.change(with).await;
        }
        let broker = Broker::open(&self.data_dir).await?;
        eprintln!("ottla: {} is a new data directory", self.data_dir.display());
        closing(broker, with).await
    }
}

async fn closing(broker: Broker, with: impl AsyncFnOnce(&Broker) -> Outcome) -> Outcome {
    let outcome = with(&broker).await;
    let closed = broker.shutdown().await;
    let done = outcome?;
    closed?;
    Ok(done)
}

/// These partitions of the topics; all, if none are named.
pub(crate) fn partitions(
    broker: &Broker,
    topics: &[String],
    numbers: &[i32],
) -> Result<Vec<TopicPartition>, Failure> {
    let mut all = Vec::new();
    for topic in topics {
        let topic = broker.describe_topic(topic)?;
        let numbers = match numbers {
            [] => topic.partitions.iter().map(|it| it.partition).collect(),
            named => named.to_vec(),
        };
        let at = |partition| TopicPartition { topic: topic.name.clone(), partition };
        all.extend(numbers.into_iter().map(at));
    }
    Ok(all)
}

/// Opens a directory for reading.
pub(crate) async fn read(dir: &Path) -> Result<Broker, Failure> {
    Ok(Broker::builder().memory_limit(MENDED_IN_MEMORY).open_read_only(dir).await?)
}

/// Opens a directory that is there for changes.
pub(crate) async fn change(dir: &Path) -> Result<Broker, Failure> {
    if !dir.is_dir() {
        return Err(Failure::Said(format!("there is no data directory {}", dir.display())));
    }
    Ok(Broker::open(dir).await?)
}

/// Whoever looks at what is left should know that there was more.
fn tell_losses(broker: &Broker) {
    let Some(report) = broker.recovery_report() else { return };
    for line in losses(report) {
        eprintln!("ottla: {line}");
    }
}

/// What was promised to be durable, and is gone.
pub(crate) fn losses(report: &RecoveryReport) -> impl Iterator<Item = String> {
    let ranges = report.partitions.iter().flat_map(|(at, recovered)| {
        let lost = recovered.lost.iter();
        lost.map(move |it| format!("{at}: offsets {} to {} are lost", it.from, it.to - 1))
    });
    let topics = report.topics_without_catalog.iter();
    let topics = topics.map(|topic| format!("{topic}: its settings are lost, it has the defaults"));
    let unreadable = (report.unreadable_catalog_records > 0).then(|| {
        format!("{} records of the catalog can't be read", report.unreadable_catalog_records)
    });
    ranges.chain(topics).chain(unreadable)
}
