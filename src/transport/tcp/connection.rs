//! One connection to a broker: requests out, answers in, in that order.
//!
//! A task owns the socket. Requests are put into its queue without waiting, so that whoever starts
//! two of them knows in which order they leave; answers come back in the order of the requests, as
//! Kafka's protocol has it. Whatever does not fit, or comes too late, ends the connection: all that
//! is under way fails with [`Error::Disconnected`].

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant, sleep_until, timeout, timeout_at};

use super::greeting::Greeting;
#[cfg(feature = "tls")]
use super::login::log_in;
use super::settings::{Address, Settings};
use super::versions::Versions;
use crate::error::{Error, Result};
use crate::wire::{ApiKey, Frame, Request, decode_response, encode_request, frame_len};

/// Length in bytes of a frame's length.
const LEN: usize = 4;
/// Room is made for so much of an answer before any of it has come.
const FIRST_ROOM: usize = 1 << 20;
/// What is read at least at a time.
const READ: usize = 64 << 10;

/// The way to a broker. Cheap to clone; the connection ends with the last one.
#[derive(Clone)]
pub(super) struct Connection(Arc<Inner>);

struct Inner {
    broker: Arc<str>,
    client_id: Option<String>,
    versions: Versions,
    next_id: AtomicI32,
    calls: mpsc::UnboundedSender<Call>,
    end: Arc<End>,
    pause: Arc<Pause>,
    request_timeout: Duration,
    /// When another one is to take over: logins may hold for a time only.
    expiry: Option<Instant>,
}

/// How a connection ended, once it has.
#[derive(Debug, Default)]
struct End {
    reason: OnceLock<Arc<str>>,
    over: watch::Sender<bool>,
}

impl End {
    fn come(&self, reason: &str) {
        let _ = self.reason.set(reason.into());
        self.over.send_replace(true);
    }
}

/// Until when the broker wants to be left alone (`throttle_time_ms`).
#[derive(Debug, Default)]
struct Pause(Mutex<Option<Instant>>);

impl Pause {
    fn extend(&self, by: Duration) {
        if let Some(until) = Instant::now().checked_add(by).filter(|_| !by.is_zero()) {
            let mut held = self.0.lock().expect("no one panics with the time in hand");
            *held = Some(held.map_or(until, |held| held.max(until)));
        }
    }

    fn end(&self) -> Option<Instant> {
        *self.0.lock().expect("no one panics with the time in hand")
    }
}

/// A request on its way, and who waits for its answer.
struct Call {
    frame: Frame,
    id: i32,
    answer: oneshot::Sender<Bytes>,
}

/// An answer that will come, or the connection's end.
pub(super) struct Answer<R> {
    connection: Connection,
    id: i32,
    version: i16,
    frame: oneshot::Receiver<Bytes>,
    deadline: Instant,
    request: std::marker::PhantomData<fn() -> R>,
}

impl Connection {
    /// Connects, and asks what the broker can do.
    pub(super) async fn open(address: &Address, settings: &Settings) -> Result<Connection> {
        let broker: Arc<str> = address.to_string().into();
        let within = settings.connect_timeout;
        let opened = async {
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
            let stream = stream.map_err(|error| lost(&broker, error))?;
            // Requests are whole when they are written. Where it can't be had, it is slower.
            let _ = stream.set_nodelay(true);
            #[cfg(feature = "tls")]
            if let Some(tls) = &settings.tls {
                let shaken = tls.connect(&address.host, stream).await;
                let stream = shaken.map_err(|error| unmet(&broker, of_handshake(error)))?;
                return Connection::over(stream, &broker, settings).await;
            }
            Connection::over(stream, &broker, settings).await
        };
        let late = |_| lost(&broker, format!("no connection within {within:?}"));
        timeout(within, opened).await.map_err(late)?
    }

    /// The same, over whatever bytes go over.
    async fn over<S>(mut stream: S, broker: &Arc<str>, settings: &Settings) -> Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut buf, client_id) = (BytesMut::new(), settings.client_id.as_str());
        let mut greeting = Greeting { stream: &mut stream, buf: &mut buf, broker, client_id };
        let versions = greeting.greet().await?;
        #[cfg(feature = "tls")]
        let expiry = match &settings.credentials {
            Some(credentials) => {
                let lifetime = log_in(&mut greeting, &versions, credentials).await?;
                // Well before the broker ends it.
                lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime.mul_f64(0.85)))
            }
            None => None,
        };
        #[cfg(not(feature = "tls"))]
        let expiry = None;
        let (calls, queue) = mpsc::unbounded_channel();
        let (end, pause) = (Arc::new(End::default()), Arc::new(Pause::default()));
        let running = Running {
            stream,
            buf,
            queue,
            waiting: Mutex::default(),
            pause: pause.clone(),
            limit: settings.max_response_bytes,
        };
        tokio::spawn(running.run(end.clone()));
        Ok(Connection(Arc::new(Inner {
            broker: broker.clone(),
            client_id: Some(settings.client_id.clone()),
            versions,
            next_id: AtomicI32::new(1),
            calls,
            end,
            pause,
            request_timeout: settings.request_timeout,
            expiry,
        })))
    }

    /// Its address.
    pub(super) fn broker(&self) -> &str {
        &self.0.broker
    }

    /// Whether it can still be used.
    pub(super) fn is_open(&self) -> bool {
        let is_fresh = self.0.expiry.is_none_or(|expiry| Instant::now() < expiry);
        is_fresh && !*self.0.end.over.borrow()
    }

    /// Whether the broker can be asked such a thing.
    pub(super) fn has(&self, api: ApiKey) -> bool {
        self.0.versions.has(api)
    }

    /// The version in which such a request would be sent, `most` at most.
    pub(super) fn version(&self, api: ApiKey, most: i16) -> Result<i16> {
        self.0.versions.choose(api, most, &self.0.broker)
    }

    /// Sends a request in its highest version.
    pub(super) async fn ask<R: Request>(&self, request: &R) -> Result<R::Response> {
        let version = self.version(R::KEY, i16::MAX)?;
        self.start(request, version, Duration::ZERO)?.await_it().await
    }

    /// Sends a request, which the broker may answer only after `longer`, by its own rules. Requests
    /// leave in the order of these calls.
    pub(super) fn start<R: Request>(
        &self,
        request: &R,
        version: i16,
        longer: Duration,
    ) -> Result<Answer<R>> {
        let inner = &*self.0;
        let id = inner.next_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let frame = encode_request(request, version, id, &inner.client_id);
        let frame = frame.map_err(|error| Error::InvalidState(error.to_string()))?;
        let (answer, receiver) = oneshot::channel();
        let call = Call { frame, id, answer };
        // If it has ended, the receiver is told so.
        let _ = inner.calls.send(call);
        // It may have to wait before it leaves.
        let leaves = inner.pause.end().map_or_else(Instant::now, |end| end.max(Instant::now()));
        let deadline = leaves + inner.request_timeout + longer;
        let request = std::marker::PhantomData;
        Ok(Answer { connection: self.clone(), id, version, frame: receiver, deadline, request })
    }

    /// Ends it: what is under way fails.
    pub(super) fn end(&self, reason: &str) {
        self.0.end.come(reason);
    }

    /// The error of what was under way when it ended.
    pub(super) fn lost(&self) -> Error {
        let reason = self.0.end.reason.get().cloned();
        let reason = reason.unwrap_or_else(|| "the connection has ended".into());
        Error::Disconnected { broker: self.0.broker.to_string(), reason }
    }
}

impl<R: Request> Answer<R> {
    /// The answer. Cancel safe: dropped, it is not waited for.
    pub(super) async fn await_it(self) -> Result<R::Response> {
        let Answer { connection, id, version, frame, deadline, .. } = self;
        let name = R::KEY.name();
        let Ok(received) = timeout_at(deadline, frame).await else {
            connection.end(&format!("{name} was not answered in time (request.timeout.ms)"));
            return Err(connection.lost());
        };
        let frame = received.map_err(|_| connection.lost())?;
        match decode_response::<R>(&frame, version) {
            Ok((of, response)) if of == id => {
                connection.0.pause.extend(R::throttle(&response, version));
                Ok(response)
            }
            Ok((of, _)) => {
                connection.end(&format!("an answer to request {of} came for request {id}"));
                Err(connection.lost())
            }
            Err(error) => {
                connection.end(&format!("the answer to {name} v{version} can't be read: {error}"));
                Err(connection.lost())
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end.come("it is not needed any more");
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.0.broker).finish()
    }
}

/// What the task has.
struct Running<S> {
    stream: S,
    /// What has come and was not looked at.
    buf: BytesMut,
    queue: mpsc::UnboundedReceiver<Call>,
    /// Who waits for answers, in their order.
    waiting: Waiting,
    pause: Arc<Pause>,
    limit: usize,
}

type Waiting = Mutex<VecDeque<(i32, oneshot::Sender<Bytes>)>>;

fn lock(waiting: &Waiting) -> MutexGuard<'_, VecDeque<(i32, oneshot::Sender<Bytes>)>> {
    waiting.lock().expect("no one panics with the queue in hand")
}

impl<S: AsyncRead + AsyncWrite + Unpin> Running<S> {
    async fn run(self, end: Arc<End>) {
        let Running { stream, mut buf, mut queue, waiting, pause, limit } = self;
        let (mut from, mut to) = tokio::io::split(stream);
        let mut over = end.over.subscribe();
        let writes = async {
            while let Some(Call { mut frame, id, answer }) = queue.recv().await {
                if let Some(end) = pause.end() {
                    sleep_until(end).await;
                }
                lock(&waiting).push_back((id, answer));
                // TLS may hold some of it back.
                let written = async {
                    to.write_all_buf(&mut frame).await?;
                    to.flush().await
                };
                if let Err(error) = written.await {
                    return reason(&error);
                }
            }
            "it is not needed any more".to_owned()
        };
        let reads = async {
            let mut is_used = false;
            loop {
                let frame = match read_frame(&mut from, &mut buf, limit).await {
                    Ok(frame) => frame,
                    Err(error) if is_used || lock(&waiting).is_empty() => return reason(&error),
                    Err(error) => {
                        let reason = reason(&error);
                        return format!("{reason}: it may want this client to log in");
                    }
                };
                is_used = true;
                let next = lock(&waiting).pop_front();
                let Some((id, answer)) = next else {
                    return "an answer came that nobody waits for".to_owned();
                };
                if frame.len() < 4 || frame[..4] != id.to_be_bytes() {
                    return format!("an answer came that is not the one to request {id}");
                }
                let _ = answer.send(frame);
            }
        };
        let reason = tokio::select! {
            biased;
            reason = reads => reason,
            reason = writes => reason,
            _ = over.wait_for(|over| *over) => return,
        };
        tracing::debug!(%reason, "the connection has ended");
        end.come(&reason);
    }
}

/// Reads one frame.
pub(super) async fn read_frame<R: AsyncRead + Unpin>(
    from: &mut R,
    buf: &mut BytesMut,
    limit: usize,
) -> io::Result<Bytes> {
    fill(from, buf, LEN).await?;
    let mut prefix = [0; LEN];
    prefix.copy_from_slice(&buf[..LEN]);
    let strange = |error| io::Error::other(stranger(buf, &format!("{error}")));
    let len = frame_len(prefix, limit).map_err(strange)?;
    buf.advance(LEN);
    fill(from, buf, len).await?;
    Ok(buf.split_to(len).freeze())
}

/// Reads until there are `len` bytes. Memory is taken as they come.
async fn fill<R: AsyncRead + Unpin>(
    from: &mut R,
    buf: &mut BytesMut,
    len: usize,
) -> io::Result<()> {
    while buf.len() < len {
        let missing = len - buf.len();
        buf.reserve(missing.min(FIRST_ROOM.max(buf.len())).max(READ));
        if from.read_buf(buf).await? == 0 {
            return Err(io::Error::other("the broker has closed the connection"));
        }
    }
    Ok(())
}

/// What to say of bytes that are no answer.
fn stranger(bytes: &[u8], otherwise: &str) -> String {
    match bytes {
        [0x15, 0x03, ..] => "it expects TLS, and this client speaks without".to_owned(),
        [b'H', b'T', b'T', b'P', ..] => "it speaks HTTP, not Kafka's protocol".to_owned(),
        _ => {
            let begin = bytes[..bytes.len().min(16)].escape_ascii();
            format!("it does not speak Kafka's protocol ({otherwise}); its answer begins {begin}")
        }
    }
}

/// What an error of a stream says.
fn reason(error: &io::Error) -> String {
    #[cfg(feature = "tls")]
    if let Some(reason) = crate::security::distrust(error) {
        return reason;
    }
    error.to_string()
}

/// Some hang up on whom they do not understand.
#[cfg(feature = "tls")]
fn of_handshake(error: io::Error) -> io::Error {
    use io::ErrorKind::{ConnectionReset, UnexpectedEof};
    match error.kind() {
        kind @ (ConnectionReset | UnexpectedEof) => {
            let reason = "it has closed the connection in the TLS handshake: it may not speak TLS";
            io::Error::new(kind, reason)
        }
        _ => error,
    }
}

/// The error of a connection that has failed before it could be used.
pub(super) fn unmet(broker: &str, error: io::Error) -> Error {
    #[cfg(feature = "tls")]
    if let Some(reason) = crate::security::distrust(&error) {
        return Error::Authentication { broker: broker.to_owned(), reason };
    }
    lost(broker, error)
}

pub(super) fn lost(broker: &str, reason: impl ToString) -> Error {
    Error::Disconnected { broker: broker.to_owned(), reason: reason.to_string().into() }
}

#[cfg(test)]
mod tests;
