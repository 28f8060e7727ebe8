//! What producers and consumers are made from, wherever the broker is.

use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "tcp")]
use std::time::Duration;

use crate::broker::{Broker, BrokerBuilder};
use crate::clock::Clock;
use crate::error::{Error, Result, shown};
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
    /// The broker that [`Client::open`] has opened.
    opened: Option<Broker>,
}

impl Client {
    /// Opens what a line of configuration names:
    ///
    /// | `place` | |
    /// |---|---|
    /// | `memory:` | a new broker in memory, another one each time: [`Broker::in_memory`] |
    /// | `file:DIR` | a broker on this data directory, which is created: [`Broker::open`] |
    /// | `kafka://HOST:PORT,…` | brokers on the network: `Client::connect` (feature `tcp`) |
    ///
    /// All have default settings; `Client::builder()` (feature `tcp`) has others. `DIR` is a
    /// path as the system has it, relative or not, without escapes; `file:///srv/data` is
    /// `file:/srv/data`. A broker opened here lives as long as this client, its clones, and what
    /// was made from them. Dropped, it closes itself in the background; [`Client::close`] waits.
    ///
    /// ```
    /// use ottla::{Client, Record};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ottla::Result<()> {
    /// let place = std::env::var("ORDERS_AT").unwrap_or("memory:".to_owned());
    /// let client = Client::open(&place).await?;
    /// client.producer().build().send(Record::to("orders").value("2 coffees")).await?;
    /// let mut consumer = client.consumer().subscribe(["orders"]).await?;
    /// assert_eq!(consumer.recv().await?.value.as_deref(), Some(&b"2 coffees"[..]));
    /// client.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], which lists the three forms, and names the feature that is
    /// missing; otherwise those of the calls in the table.
    ///
    /// Cancel safe: dropped before it returns, what was opened is closed again.
    pub async fn open(place: &str) -> Result<Client> {
        match Place::parse(place)? {
            Place::Local(dir) => Client::open_local(Broker::builder(), dir).await,
            #[cfg(feature = "tcp")]
            Place::Network(bootstrap) => Client::connect(bootstrap).await,
            #[cfg(not(feature = "tcp"))]
            Place::Network(_) => {
                let reason = "kafka:// needs the feature `tcp`, which is not built in";
                Err(refused(place, reason))
            }
        }
    }

    async fn open_local(builder: BrokerBuilder, dir: Option<PathBuf>) -> Result<Client> {
        let broker = match dir {
            Some(dir) => builder.open(dir).await?,
            None => builder.in_memory().await?,
        };
        Ok(Client { opened: Some(broker.clone()), ..broker.client() })
    }

    /// Ends well what was begun with this client.
    ///
    /// * After [`Client::open`] with `memory:` or `file:` it shuts the broker down, as
    ///   [`Broker::shutdown`] does: what producers have taken is sent, the directory marked as
    ///   closed, so that the next open has nothing to look for, and all other handles get
    ///   [`Error::Closed`] from then on. What was acknowledged is there without this, too.
    /// * On the network it waits until what producers of this client have taken is answered, and
    ///   so `delivery_timeout` at most; deliveries say how it went. Other handles go on; the
    ///   connections end with the last of them.
    /// * A client of [`Broker::client`] is let go of, and nothing more: the broker is another's.
    ///
    /// Close consumers of groups before: one that is only dropped leaves its group, too, but
    /// nobody waits for it.
    ///
    /// Cancel safe: dropped before it returns, it happens all the same.
    ///
    /// # Errors
    /// Those of [`Broker::shutdown`]; on the network none.
    pub async fn close(self) -> Result<()> {
        if let Some(broker) = &self.opened {
            return broker.shutdown().await;
        }
        self.transport.drain().await;
        Ok(())
    }

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
    /// [`Error::InvalidConfig`] for what is no list of addresses;
    /// [`Error::Unreachable`], which lists each address and why.
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

/// Settings of a client on the network; ends with [`connect`](ClientBuilder::connect), or with
/// [`open`](ClientBuilder::open) if the configuration says where the brokers are.
#[cfg(feature = "tcp")]
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing before `connect` or `open`"]
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
    /// As there; [`Error::Authentication`] if a broker does not
    /// believe this client, or the other way round.
    pub async fn connect(self, bootstrap: &str) -> Result<Client> {
        let addresses = Address::parse_all(bootstrap)?;
        let transport = TcpTransport::connect(addresses, self.settings).await?;
        Ok(Client { transport: Arc::new(transport), opened: None })
    }

    /// The same, for a program that begins while no broker can be reached: it connects when
    /// something is asked of it. Calls try for [`api_timeout`](ClientBuilder::api_timeout), what is
    /// produced for the producer's `delivery_timeout`, and a mirror
    /// ([`Broker::mirror`](crate::Broker::mirror)) for as long as it takes.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for what is no list of addresses.
    ///
    /// # Panics
    /// Outside of a tokio runtime: its tasks run on the one that this is called on.
    pub fn connect_later(self, bootstrap: &str) -> Result<Client> {
        let addresses = Address::parse_all(bootstrap)?;
        let transport = TcpTransport::connect_later(addresses, self.settings);
        Ok(Client { transport: Arc::new(transport), opened: None })
    }

    /// Opens what a line of configuration names: see [`Client::open`]. A broker in this process
    /// gets the clock; the other settings are of the network, and mean nothing to it.
    ///
    /// # Errors
    /// As there, and those of [`ClientBuilder::connect`].
    pub async fn open(self, place: &str) -> Result<Client> {
        match Place::parse(place)? {
            Place::Local(dir) => {
                Client::open_local(Broker::builder().clock(self.settings.clock), dir).await
            }
            Place::Network(bootstrap) => self.connect(bootstrap).await,
        }
    }
}

impl Broker {
    /// A client of this broker.
    pub fn client(&self) -> Client {
        Client { transport: Arc::new(LocalTransport::new(self.0.clone())), opened: None }
    }
}

/// What [`Client::open`] was told.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// In this process: in a directory, or in memory.
    Local(Option<PathBuf>),
    /// On the network, at these addresses.
    Network(&'a str),
}

impl Place<'_> {
    fn parse(text: &str) -> Result<Place<'_>> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Place::Local(None)),
            Some(("memory", _)) => Err(refused(text, "nothing stands behind memory:")),
            Some(("file", dir)) => match path(dir) {
                Ok(path) => Ok(Place::Local(Some(path.into()))),
                Err(why) => Err(refused(text, why)),
            },
            Some(("kafka", rest)) => match rest.strip_prefix("//") {
                Some(rest) => match rest.trim_end_matches('/') {
                    "" => Err(refused(text, "it has no address")),
                    addresses => Ok(Place::Network(addresses)),
                },
                None => Err(refused(text, "two slashes follow kafka:")),
            },
            _ => Err(refused(text, &likely(text))),
        }
    }
}

/// The path behind `file:`, which may be that of a URL.
fn path(text: &str) -> Result<&str, &'static str> {
    let path = match text.strip_prefix("//") {
        Some(url) if !url.is_empty() && !url.starts_with('/') => {
            return Err("a machine's name follows file://: it is file:DIR for a relative path, \
                        file:///DIR for an absolute one");
        }
        Some(url) => url,
        None => text,
    };
    if path.is_empty() { Err("it has no directory") } else { Ok(path) }
}

/// What was meant by a text without a scheme that is known.
fn likely(text: &str) -> String {
    if let Some((scheme, _)) = text.split_once("://") {
        return format!("{}:// is not known", shown(scheme));
    }
    let first = text.split(',').next().unwrap_or_default();
    let port = first.rsplit_once(':').map(|(_, port)| port);
    if port.is_some_and(|port| port.parse::<u16>().is_ok()) {
        return format!("kafka://{} may be meant", shown(text));
    }
    if text.starts_with('.') || text.contains(['/', '\\']) {
        return format!("file:{} may be meant", shown(text));
    }
    "it says nothing of where".to_owned()
}

fn refused(text: &str, reason: &str) -> Error {
    let forms = "it takes memory:, file:DIR or kafka://HOST:PORT,HOST:PORT";
    let reason = format!("{:?}: {reason}; {forms}", shown(text));
    Error::InvalidConfig { name: "place".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_by_their_schemes() {
        let local = |dir: &str| Place::Local(Some(dir.into()));
        let places = [
            ("memory:", Place::Local(None)),
            ("file:data", local("data")),
            ("file:./a b:c%20", local("./a b:c%20")),
            ("file:/srv/data", local("/srv/data")),
            ("file:///srv/data", local("/srv/data")),
            ("file:C:\\data", local("C:\\data")),
            ("kafka://a", Place::Network("a")),
            ("kafka://a:1,[::1]:2/", Place::Network("a:1,[::1]:2")),
        ];
        for (text, place) in places {
            assert_eq!(Place::parse(text).unwrap(), place, "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_told_what_was_meant() {
        let odd = [
            ("", "it says nothing"),
            ("memory", "it says nothing"),
            ("memory:orders", "nothing stands behind memory:"),
            ("memory://", "nothing stands behind memory:"),
            ("file:", "it has no directory"),
            ("file://", "it has no directory"),
            ("file://data/orders", "file:DIR for a relative path"),
            ("kafka:a:1", "two slashes"),
            ("kafka:", "two slashes"),
            ("kafka://", "it has no address"),
            ("redis://a:1", "redis:// is not known"),
            ("localhost:9092", "kafka://localhost:9092 may be meant"),
            ("a:1,b:2", "kafka://a:1,b:2 may be meant"),
            ("./data", "file:./data may be meant"),
            ("/srv/data", "file:/srv/data may be meant"),
            ("C:\\data", "file:C:\\data may be meant"),
            ("~/data", "file:~/data may be meant"),
        ];
        for (text, part) in odd {
            let error = Place::parse(text).unwrap_err();
            assert!(matches!(error, Error::InvalidConfig { .. }), "{text}: {error:?}");
            let error = error.to_string();
            let forms = ["memory:", "file:DIR", "kafka://HOST:PORT,HOST:PORT", part];
            assert!(forms.iter().all(|it| error.contains(it)), "{text}: {error}");
        }
        let secret = Place::parse("http://alice:secret@a:1").unwrap_err().to_string();
        assert!(secret.contains("@a:1") && !secret.contains("secret"), "{secret}");
        let long = Place::parse(&"x/".repeat(10_000)).unwrap_err().to_string();
        assert!(long.len() < 400, "{long}");
    }
}
