//! Where the topics are: which data directory, and how it is opened, or which brokers on the
//! network.

use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(feature = "tls")]
use ottla::ClientBuilder;
#[cfg(feature = "tls")]
use ottla::security::{ClientTls, Credentials, Mechanism};
use ottla::{Broker, Client, RecoveryReport, TopicPartition};

use crate::output::{Failure, Outcome};

/// What an open of a damaged directory may mend in memory, where it changes nothing.
const MENDED_IN_MEMORY: usize = 1 << 30;

/// How long an address may take until it can be used. Somebody may be waiting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long brokers may take for what they are asked, and for taking a record.
pub(crate) const NETWORK_TIMEOUT: Duration = Duration::from_secs(15);

/// A data directory, or brokers on the network.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Place {
    #[command(flatten)]
    at: At,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    keys: Keys,
}

/// Exactly one of these.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct At {
    /// The data directory
    #[arg(short, long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,

    /// Brokers on the network instead, ottla's or Apache Kafka's; with commas between several
    #[arg(short, long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
}

/// What brokers want to see.
#[cfg(feature = "tls")]
#[derive(clap::Args)]
struct Keys {
    /// Speaks TLS with brokers that the system's authorities vouch for
    #[arg(long, conflicts_with = "data_dir")]
    tls: bool,

    /// Speaks TLS with brokers that these authorities vouch for: a file of certificates, in PEM
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data_dir", "tls"])]
    tls_ca: Option<PathBuf>,

    /// Logs in as this user, by the password that the variable OTTLA_PASSWORD has
    #[arg(long, value_name = "NAME", conflicts_with = "data_dir")]
    user: Option<String>,

    /// How: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN
    #[arg(long, value_name = "NAME", default_value_t = Mechanism::ScramSha512, requires = "user")]
    mechanism: Mechanism,
}

#[cfg(feature = "tls")]
impl Keys {
    fn show(&self, mut client: ClientBuilder) -> Result<ClientBuilder, Failure> {
        if let Some(ca) = &self.tls_ca {
            client = client.tls(ClientTls::trusting_file(ca)?);
        } else if self.tls {
            client = client.tls(ClientTls::system()?);
        }
        let Some(user) = &self.user else { return Ok(client) };
        let password = std::env::var("OTTLA_PASSWORD")
            .map_err(|_| Failure::Said(format!("OTTLA_PASSWORD has no password of {user:?}")))?;
        Ok(client.credentials(Credentials::new(self.mechanism, user, password)))
    }
}

/// Exactly one of the two was given.
enum Where<'a> {
    Directory(&'a Path),
    Network(&'a str),
}

impl Place {
    fn told(&self) -> Where<'_> {
        match (&self.at.data_dir, &self.at.bootstrap) {
            (_, Some(bootstrap)) => Where::Network(bootstrap),
            (Some(dir), None) => Where::Directory(dir),
            (None, None) => unreachable!("one of the arguments is required"),
        }
    }

    /// Whether it is on the network, where others have said what is usual.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.told(), Where::Network(_))
    }

    /// What is there at this moment. In a directory this changes nothing, and needs no lock.
    pub(crate) async fn read(&self) -> Result<Client, Failure> {
        match self.told() {
            Where::Network(bootstrap) => self.connect(bootstrap).await,
            Where::Directory(dir) => {
                let broker = read(dir).await?;
                tell_losses(&broker);
                Ok(broker.client())
            }
        }
    }

    /// For changes, which needs a directory for itself. It is closed properly, however they end.
    pub(crate) async fn change(&self, with: impl AsyncFnOnce(&Client) -> Outcome) -> Outcome {
        match self.told() {
            Where::Network(bootstrap) => with(&self.connect(bootstrap).await?).await,
            Where::Directory(dir) => {
                let broker = change(dir).await?;
                tell_losses(&broker);
                closing(broker, with).await
            }
        }
    }

    /// As [`Place::change`], and makes a directory where there is none, which it says: the name may
    /// be a slip.
    pub(crate) async fn make(&self, with: impl AsyncFnOnce(&Client) -> Outcome) -> Outcome {
        match self.told() {
            Where::Directory(dir) if !dir.exists() => {
                let broker = Broker::open(dir).await?;
                eprintln!("ottla: {} is a new data directory", dir.display());
                closing(broker, with).await
            }
            _ => self.change(with).await,
        }
    }

    async fn connect(&self, bootstrap: &str) -> Result<Client, Failure> {
        let client = Client::builder()
            .client_id("ottla-tool")
            .connect_timeout(CONNECT_TIMEOUT)
            .request_timeout(NETWORK_TIMEOUT)
            .api_timeout(NETWORK_TIMEOUT);
        #[cfg(feature = "tls")]
        let client = self.keys.show(client)?;
        Ok(client.connect(bootstrap).await?)
    }
}

async fn closing(broker: Broker, with: impl AsyncFnOnce(&Client) -> Outcome) -> Outcome {
    let outcome = with(&broker.client()).await;
    let closed = broker.shutdown().await;
    let done = outcome?;
    closed?;
    Ok(done)
}

/// These partitions of the topics; all, if none are named.
pub(crate) async fn partitions(
    client: &Client,
    topics: &[String],
    numbers: &[i32],
) -> Result<Vec<TopicPartition>, Failure> {
    let mut all = Vec::new();
    for topic in topics {
        let topic = client.admin().describe_topic(topic).await?;
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
