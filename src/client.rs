//! What producers and consumers are made from, wherever the broker is.

use std::sync::Arc;
#[cfg(feature = "tcp")]
use std::time::Duration;

use crate::broker::Broker;
use crate::clock::Clock;
#[cfg(feature = "tcp")]
use crate::error::Result;
use crate::transport::Transport;
use crate::transport::local::LocalTransport;
#[cfg(feature = "tcp")]
use crate::transport::tcp::{Address, Settings, TcpTransport};

/// The way to a broker. Cheap to clone.
///
/// A function that takes a `&Client` does not know where the broker is.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) transport: Arc<dyn Transport>,
}

impl Client {
    /// Connects to brokers on the network: [`Broker::listen`]'s port, or an Apache Kafka cluster of
    /// 2.1 or later (feature `tcp`).
    ///
    /// `bootstrap` is a list of addresses with commas between, `host:port` each (9092 without a
    /// port). One that can be reached is enough: it tells where the others are. Tasks run on the
    /// runtime that this is called on, for as long as there are handles.
    ///
    /// ```no_run
    /// # async fn example() -> ottla::Result<()> {
    /// use ottla::{Client, Record};
    ///
    /// let client = Client::connect("kafka-1:9092,kafka-2:9092").await?;
    /// client.producer().build().send(Record::to("orders").value("2 coffees")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) for what is no list of addresses;
    /// [`Error::Unreachable`](crate::Error::Unreachable), which lists each address and why.
    #[cfg(feature = "tcp")]
    pub async fn connect(bootstrap: &str) -> Result<Client> {
        Client::builder().connect(bootstrap).await
    }

    /// The same, with settings: ends with [`ClientBuilder::connect`].
    #[cfg(feature = "tcp")]
    pub fn builder() -> ClientBuilder {
        ClientBuilder { settings: Settings::default() }
    }

    /// The clock by which producers stamp records.
    pub fn clock(&self) -> &Clock {
        self.transport.clock()
    }
}

/// Settings of a client on the network; ends with [`connect`](ClientBuilder::connect).
#[cfg(feature = "tcp")]
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing before `connect`"]
pub struct ClientBuilder {
    settings: Settings,
}

#[cfg(feature = "tcp")]
impl ClientBuilder {
    /// What the client calls itself, for brokers' logs and quotas (`client.id`). Default: `ottla`.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.settings.client_id = id.into();
        self
    }

    /// The clock by which producers stamp records and linger. Default: the system's. How long
    /// brokers may take goes by the machine's time, whatever this is.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.settings.clock = clock.into();
        self
    }

    /// How long a broker may take for an answer (`request.timeout.ms`). Default: 30 seconds. Then
    /// the connection is given up, and all that was under way on it tried again.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// How long a connection may take until it can be used (`socket.connection.setup.timeout.ms`).
    /// Default: 10 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How long a call goes on trying while brokers can't be reached, or ask for patience
    /// (`default.api.timeout.ms`). Default: one minute.
    pub fn api_timeout(mut self, timeout: Duration) -> Self {
        self.settings.api_timeout = timeout;
        self
    }

    /// How long a topic may take to appear, which brokers create while they say that there is none
    /// (part of `max.block.ms`). Default: 5 seconds.
    pub fn topic_timeout(mut self, timeout: Duration) -> Self {
        self.settings.topic_timeout = timeout;
        self
    }

    /// How old metadata get: after that much time new partitions are noticed, new topics of a
    /// pattern, and topics that are gone (`metadata.max.age.ms`). Default: 5 minutes.
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.settings.metadata_max_age = age;
        self
    }

    /// Speaks TLS (`security.protocol=SSL`, and with credentials `SASL_SSL`; feature `tls`).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::security::ClientTls) -> Self {
        self.settings.tls = Some(tls);
        self
    }

    /// Logs in (`sasl.mechanism`, `sasl.jaas.config`; feature `tls`). Without TLS a password sent
    /// by PLAIN can be read by whoever is between; by SCRAM it can't, but all else.
    #[cfg(feature = "tls")]
    pub fn credentials(mut self, credentials: crate::security::Credentials) -> Self {
        self.settings.credentials = Some(credentials);
        self
    }

    /// Connects: see [`Client::connect`].
    ///
    /// # Errors
    /// As there; [`Error::Authentication`](crate::Error::Authentication) if a broker does not
    /// believe this client, or the other way round.
    pub async fn connect(self, bootstrap: &str) -> Result<Client> {
        let addresses = Address::parse_all(bootstrap)?;
        let transport = TcpTransport::connect(addresses, self.settings).await?;
        Ok(Client { transport: Arc::new(transport) })
    }
}

impl Broker {
    /// A client of this broker.
    pub fn client(&self) -> Client {
        Client { transport: Arc::new(LocalTransport::new(self.0.clone())) }
    }
}
