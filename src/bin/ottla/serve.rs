//! `ottla serve`: a broker of its own, for Kafka clients.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "tls")]
use ottla::ListenerBuilder;
#[cfg(feature = "tls")]
use ottla::security::{ServerTls, Users};
use ottla::{Broker, BrokerBuilder, Error, TopicConfig};
use tracing::level_filters::LevelFilter;

use crate::output::{Done, Outcome, say};
use crate::parse::{host_and_port, name_and_value};
use crate::stop::stop_signal;

#[derive(clap::Args)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "HOST:PORT")]
    listen: String,

    /// Keeps topics in this directory, which is created; without it they are in memory
    #[arg(short, long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,

    /// What clients are told to connect to; by default the address that they have reached
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    advertise: Option<(String, u16)>,

    /// The broker's id (node.id)
    #[arg(long, default_value_t = 1, value_name = "ID")]
    node_id: i32,

    /// How many partitions a topic has that does not say (num.partitions)
    #[arg(long, default_value_t = 1, value_name = "N")]
    partitions: i32,

    /// A setting of topics that do not have it, such as retention.ms=3600000; may be repeated
    #[arg(long = "topic-default", value_name = "NAME=VALUE", value_parser = name_and_value)]
    topic_defaults: Vec<(String, String)>,

    /// Does not create topics that clients ask for (auto.create.topics.enable=false)
    #[arg(long)]
    no_auto_create: bool,

    /// How many MiB the records of topics in memory may take
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    memory_limit: usize,

    /// How long an empty group waits for more members (group.initial.rebalance.delay.ms)
    #[arg(long, default_value_t = 0, value_name = "MS")]
    rebalance_delay_ms: u64,

    /// The shortest session timeout of a group's member (group.min.session.timeout.ms)
    #[arg(long, default_value_t = 6000, value_name = "MS")]
    min_session_timeout_ms: u64,

    /// Reads every batch before it is sent, and checks its CRC, which is otherwise left to clients
    /// where large answers go from the page cache to the socket
    #[arg(long)]
    check_crcs: bool,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    locks: Locks,

    /// Listens on an address that other machines can reach, too, without encryption or
    /// authentication
    #[arg(long)]
    allow_remote_plaintext: bool,

    /// What is told on standard error: off, error, warn, info, debug or trace
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    log: LevelFilter,
}

/// What keeps others out.
#[cfg(feature = "tls")]
#[derive(clap::Args)]
struct Locks {
    /// Speaks TLS only, and shows this certificate: PEM, with what stands between it and its
    /// authority behind it (ssl.keystore.certificate.chain)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// The certificate's private key, in PEM (ssl.keystore.key)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// Serves only clients with a certificate by one of these authorities, in PEM
    /// (ssl.client.auth=required)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_clients: Option<PathBuf>,

    /// Serves only clients that log in as one of these users, by SCRAM or PLAIN: a file that
    /// `ottla users add` writes
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
}

#[cfg(feature = "tls")]
impl Locks {
    fn put_on(&self, mut listener: ListenerBuilder) -> Result<ListenerBuilder, Error> {
        if let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) {
            let tls = ServerTls::from_files(certificate, key)?;
            listener = listener.tls(match &self.tls_clients {
                Some(authorities) => tls.require_clients_file(authorities)?,
                None => tls,
            });
        }
        match &self.users {
            Some(file) => Ok(listener.users(Users::from_file(file)?)),
            None => Ok(listener),
        }
    }
}

impl Serve {
    pub(crate) async fn run(self) -> Outcome {
        tracing_subscriber::fmt()
            .with_max_level(self.log)
            .with_writer(io::stderr)
            .with_ansi(false)
            .init();
        let stop = stop_signal()?;
        let broker = match &self.data_dir {
            Some(directory) => self.builder()?.open(directory).await?,
            None => self.builder()?.in_memory().await?,
        };
        let mut listener = broker.listener().node_id(self.node_id);
        if let Some((host, port)) = &self.advertise {
            listener = listener.advertise(host, *port);
        }
        listener = listener.check_crcs(self.check_crcs);
        #[cfg(feature = "tls")]
        {
            listener = self.locks.put_on(listener)?;
        }
        if self.allow_remote_plaintext {
            listener = listener.allow_remote_plaintext();
        }
        let listener = listener.bind(self.listen.as_str()).await?;
        say(format_args!("listening on {}", listener.local_addr()))?;
        stop.await;
        listener.close().await;
        broker.shutdown().await?;
        Ok(Done::Well)
    }

    fn builder(&self) -> Result<BrokerBuilder, Error> {
        let mut defaults = TopicConfig::new().partitions(self.partitions);
        for (name, value) in &self.topic_defaults {
            defaults = defaults.set(name, value)?;
        }
        Ok(Broker::builder()
            .topic_defaults(defaults)
            .auto_create_topics(!self.no_auto_create)
            .memory_limit(self.memory_limit << 20)
            .group_initial_rebalance_delay(Duration::from_millis(self.rebalance_delay_ms))
            .group_min_session_timeout(Duration::from_millis(self.min_session_timeout_ms)))
    }
}
