//! Accepting connections: a permit first, then a connection, one task each.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::Instrument;

use super::answer::Server;
use super::connection;
use crate::broker::{Broker, UserHandle};
use crate::error::{Error, Result};

/// How long to wait after an accept that failed, the first time and at most: descriptors that ran
/// out come back when connections end.
const BACK_OFF: Duration = Duration::from_millis(10);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);

/// Connections at a time unless told otherwise.
const DEFAULT_MAX_CONNECTIONS: usize = 10_000;

impl Broker {
    /// Serves this broker's topics to Kafka clients at `address`, with default settings; port 0
    /// takes a free one. See [`ListenerBuilder::bind`].
    ///
    /// ```no_run
    /// # async fn f() -> ottla::Result<()> {
    /// let broker = ottla::Broker::in_memory().await?;
    /// let listener = broker.listen("127.0.0.1:0").await?;
    /// println!("bootstrap.servers={}", listener.local_addr());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn listen(&self, address: impl ToSocketAddrs) -> Result<Listener> {
        self.listener().bind(address).await
    }

    /// Settings of a listener, then [`ListenerBuilder::bind`].
    pub fn listener(&self) -> ListenerBuilder {
        ListenerBuilder {
            broker: self.0.clone(),
            settings: ListenerSettings {
                advertised: None,
                node_id: 1,
                max_request_bytes: 100 << 20,
                queued_max_request_bytes: 256 << 20,
                queued_max_response_bytes: 256 << 20,
                max_connections: DEFAULT_MAX_CONNECTIONS,
                idle_timeout: Duration::from_secs(600),
                check_crcs: false,
                allow_remote_plaintext: false,
                #[cfg(feature = "tls")]
                tls: None,
                #[cfg(feature = "tls")]
                users: None,
            },
        }
    }
}

/// Settings of a [`Listener`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `bind`"]
pub struct ListenerBuilder {
    broker: Arc<UserHandle>,
    settings: ListenerSettings,
}

/// Plain data.
#[derive(Debug, Clone)]
pub(super) struct ListenerSettings {
    pub(super) advertised: Option<(String, u16)>,
    pub(super) node_id: i32,
    pub(super) max_request_bytes: usize,
    pub(super) queued_max_request_bytes: usize,
    pub(super) queued_max_response_bytes: usize,
    pub(super) max_connections: usize,
    pub(super) idle_timeout: Duration,
    pub(super) check_crcs: bool,
    allow_remote_plaintext: bool,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<crate::security::ServerTls>,
    #[cfg(feature = "tls")]
    pub(super) users: Option<crate::security::Users>,
}

impl ListenerSettings {
    /// Whether nobody reads what goes over the network, and only those come in who may.
    fn is_locked(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.knows_clients() || self.users.is_some();
        }
        false
    }
}

impl ListenerBuilder {
    /// Where clients are told to connect to (`advertised.listeners`). Default: the address that
    /// each has connected to already, which is right unless something stands between that
    /// translates addresses.
    pub fn advertise(mut self, host: impl Into<String>, port: u16) -> Self {
        self.settings.advertised = Some((host.into(), port));
        self
    }

    /// The broker's id (`node.id`). Default 1.
    pub fn node_id(mut self, id: i32) -> Self {
        self.settings.node_id = id;
        self
    }

    /// The largest request (`socket.request.max.bytes`). Default 100 MiB.
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_request_bytes = bytes;
        self
    }

    /// How much the requests of all connections take together, from their first bytes until their
    /// batches are with their partitions (`queued.max.request.bytes`); more wait to be read.
    /// Default 256 MiB. It has room for the largest request in any case.
    ///
    /// While less than an eighth of it is left, a connection ends whose request does not come to
    /// its end, or whose answers are not read, for 5 seconds.
    pub fn queued_max_request_bytes(mut self, bytes: usize) -> Self {
        self.settings.queued_max_request_bytes = bytes;
        self
    }

    /// How much answers of all connections take together until they are written. Default 256 MiB.
    /// Without room a fetch gets one batch at a time. What is said above of connections that are
    /// not read holds here as well.
    pub fn queued_max_response_bytes(mut self, bytes: usize) -> Self {
        self.settings.queued_max_response_bytes = bytes;
        self
    }

    /// How many connections there are at a time (`max.connections`); more wait. Default 10,000.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.max_connections = connections.max(1);
        self
    }

    /// How long a connection may be silent, or not take what it asked for, before it is closed
    /// (`connections.max.idle.ms`). Default 10 minutes.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// Reads every batch before it is sent, and checks its CRC. Default: large answers go from the
    /// page cache to the socket without being read (`sendfile`; on Linux), as far as they are of
    /// bytes that this process has written, or has read and checked before. A batch carries its
    /// CRC, which clients check (`check.crcs`; librdkafka, only if it is told to).
    pub fn check_crcs(mut self, check_crcs: bool) -> Self {
        self.settings.check_crcs = check_crcs;
        self
    }

    /// Speaks TLS only (`security.protocol=SSL`, and with users `SASL_SSL`; feature `tls`). What is
    /// sent is encrypted here, and so passes through this process.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::security::ServerTls) -> Self {
        self.settings.tls = Some(tls);
        self
    }

    /// Serves only clients that log in as one of these users (feature `tls`): by SCRAM-SHA-512,
    /// SCRAM-SHA-256 or, over TLS or on a loopback address, PLAIN. Before that a client can ask
    /// what is served, and nothing else. All users may do everything.
    #[cfg(feature = "tls")]
    pub fn users(mut self, users: crate::security::Users) -> Self {
        self.settings.users = Some(users);
        self
    }

    /// Listens on an address that other machines can reach, too, without TLS or without knowing
    /// who connects: what goes over it can be read and changed by whoever is between, or whoever
    /// reaches it can do everything.
    pub fn allow_remote_plaintext(mut self) -> Self {
        self.settings.allow_remote_plaintext = true;
        self
    }

    /// Begins to listen. Connections are served until the [`Listener`] is dropped or closed, or
    /// the broker is.
    ///
    /// # Errors
    /// [`Error::Io`] if the address can't be had; [`Error::Closed`]; [`Error::InvalidConfig`] for
    /// one that is not loopback, unless there is TLS, and either users or certificates of clients
    /// (feature `tls`), or [`ListenerBuilder::allow_remote_plaintext`].
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<Listener> {
        let failed = |error| Error::io("listening".to_owned(), error);
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = socket.local_addr().map_err(failed)?;
        let is_safe = local_addr.ip().is_loopback() || self.settings.is_locked();
        if !is_safe && !self.settings.allow_remote_plaintext {
            return Err(Error::InvalidConfig {
                name: format!("listener {local_addr}"),
                reason: "an address that other machines can reach is served with TLS, and users \
                         or certificates of clients (feature `tls`); without them only after \
                         `allow_remote_plaintext()` (--allow-remote-plaintext)"
                    .to_owned(),
            });
        }
        let cluster_id = self.broker.cluster_id().await?;
        let permits = Arc::new(Semaphore::new(self.settings.max_connections));
        let (closing, closed) = watch::channel(false);
        let (alive, mut ended) = mpsc::channel(1);
        let server = Arc::new(Server::new(self.broker.clone(), self.settings, cluster_id));
        let accepting = accept(socket, server, permits, closed, alive);
        let span = tracing::info_span!("listener", %local_addr);
        let runtime = self.broker.core.context.runtime.clone();
        runtime.spawn(accepting.instrument(span));
        let ended = async move { while ended.recv().await.is_some() {} };
        Ok(Listener { local_addr, closing, ended: Some(Box::pin(ended)) })
    }

    /// Serves one connection that is no socket, as if it had come to `address`: for fuzzers.
    #[doc(hidden)]
    pub async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite,
        address: SocketAddr,
    ) -> Result<()> {
        let cluster_id = self.broker.cluster_id().await?;
        let server = Arc::new(Server::new(self.broker, self.settings, cluster_id));
        let (_listener, closed) = watch::channel(false);
        let closing = Closing::new(closed, &server);
        let (from, to) = tokio::io::split(stream);
        let ends = connection::Ends { own: address, peer: address };
        connection::serve_halves(from, to, ends, server, closing).await;
        Ok(())
    }
}

/// Serves clients for as long as it lives. Dropped, it accepts no more and ends its connections.
#[must_use = "dropped, it stops listening"]
pub struct Listener {
    local_addr: SocketAddr,
    closing: watch::Sender<bool>,
    ended: Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl Listener {
    /// The address that it listens on, with the port that it has.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts no more; what was asked for already is answered, then connections end. Returns when
    /// the last is gone.
    pub async fn close(mut self) {
        self.closing.send_replace(true);
        if let Some(ended) = self.ended.take() {
            ended.await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.closing.send_replace(true);
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

/// Accepts until told to close, or the broker is. Each task holds a part of `alive`.
async fn accept(
    socket: TcpListener,
    server: Arc<Server>,
    permits: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) {
    let mut until = Closing::new(closing, &server);
    loop {
        let accepted = tokio::select! {
            biased;
            () = until.closed() => return,
            accepted = next(&socket, &permits) => accepted,
        };
        let (stream, peer, permit) = accepted;
        let (server, until, alive) = (server.clone(), until.clone(), alive.clone());
        let span = tracing::debug_span!("connection", %peer);
        let serving = async move {
            connection::serve(stream, server, until).await;
            drop((permit, alive));
        };
        tokio::spawn(serving.instrument(span));
    }
}

/// The next connection, once there is room for one.
async fn next(
    socket: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit) {
    let permit = permits.clone().acquire_owned().await.expect("it is never closed");
    let mut back_off = BACK_OFF;
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(MAX_BACK_OFF);
            }
        }
    }
}

/// Whether only one connection failed, before it was accepted.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// When to stop: the listener was closed, or the broker was.
#[derive(Clone)]
pub(super) struct Closing {
    listener: watch::Receiver<bool>,
    broker: watch::Receiver<u64>,
    server: Arc<Server>,
}

impl Closing {
    fn new(listener: watch::Receiver<bool>, server: &Arc<Server>) -> Self {
        let broker = server.core().version();
        Closing { listener, broker, server: server.clone() }
    }

    /// Done once it is time. Cancel safe.
    pub(super) async fn closed(&mut self) {
        loop {
            if *self.listener.borrow() || self.server.core().check_open().is_err() {
                return;
            }
            tokio::select! {
                biased;
                // An error is the listener's end, or the broker's.
                changed = self.listener.changed() => if changed.is_err() { return },
                changed = self.broker.changed() => if changed.is_err() { return },
            }
        }
    }
}
