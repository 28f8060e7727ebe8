//! One connection: reads requests, starts each as it comes, and writes the answers in that order.
//!
//! A request is read while those before it are worked on, up to a few. Appending begins at once, so
//! that a producer's requests share a sync; everything else waits for its turn. What waits for
//! longer than the client does is given up when the connection ends.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::answer::{Answer, Client, Held, Outcome, Pending, Server};
use super::files::Output;
use super::listener::Closing;
#[cfg(feature = "tls")]
use super::login::{self, Stranger};
use super::memory::Claim;
use super::queue::Queue;
#[cfg(feature = "tls")]
use crate::security::ServerTls;
use crate::wire::{Frame, frame_len};

/// Requests that are read before the oldest is answered. Clients have at most five on their way.
const MAX_IN_FLIGHT: usize = 5;

/// What a connection reads at a time while it has nothing to read.
const IDLE_READ: usize = 2 << 10;

/// A frame of so much is read up to its end and no further: it is to be alone in its memory, where
/// its batch can be changed in place.
const LARGE: usize = 64 << 10;

/// Room is made for so much of a frame before any of it has come.
const FIRST_ROOM: usize = 64 << 10;

/// How long a client has for its last answers, once this side ends the connection.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Pieces of an answer that are sent at once, before what stands in a file.
const AHEAD: usize = 16;

/// Length in bytes of a frame's length.
const LEN: usize = 4;

/// The addresses of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// The one that the client has reached.
    pub(super) own: SocketAddr,
    /// The one that it comes from.
    pub(super) peer: SocketAddr,
}

/// Serves until the client goes, does what is not allowed, or it is time to close.
pub(super) async fn serve(stream: TcpStream, server: Arc<Server>, closing: Closing) {
    // Answers are small and waited for. Where that can't be had, it is slower.
    let _ = stream.set_nodelay(true);
    let (Ok(own), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return };
    #[cfg(feature = "tls")]
    if let Some(tls) = server.settings().tls.clone() {
        // Apart, so that others don't take its room.
        return Box::pin(serve_tls(stream, tls, Ends { own, peer }, server, closing)).await;
    }
    let (from, to) = stream.into_split();
    serve_halves(from, to, Ends { own, peer }, server, closing).await;
}

/// The same over TLS.
#[cfg(feature = "tls")]
async fn serve_tls(
    stream: TcpStream,
    tls: ServerTls,
    ends: Ends,
    server: Arc<Server>,
    mut closing: Closing,
) {
    if let Some(stream) = login::shake_hands(stream, &tls, &mut closing).await {
        let (from, to) = tokio::io::split(stream);
        serve_halves(from, to, ends, server, closing).await;
    }
}

/// The same, whatever the bytes go over.
pub(super) async fn serve_halves<R: AsyncRead + Unpin, W: Output>(
    from: R,
    to: W,
    ends: Ends,
    server: Arc<Server>,
    mut closing: Closing,
) {
    let buf = BytesMut::new();
    #[cfg(feature = "tls")]
    let (mut from, mut to, mut buf) = (from, to, buf);
    #[cfg(feature = "tls")]
    if let Some(users) = &server.settings().users {
        let (from, to, buf, server) = (&mut from, &mut to, &mut buf, &*server);
        let stranger = Stranger { from, to, buf, server, users, ends };
        // Apart, so that others don't take its room.
        if !Box::pin(stranger.comes_in(&mut closing)).await {
            return;
        }
    }
    let takes_files = W::TAKES_FILES && !server.settings().check_crcs;
    let client = Client::new(server.clone(), ends, closing.clone(), takes_files);
    let answers = Queue::new(MAX_IN_FLIGHT);
    let answered = Answered::default();
    let shared = server.clone();
    let mut reading = Reading { from, buf, server: shared, begun: 0, answered: &answered };
    let reads = async {
        let end = tokio::select! {
            biased;
            () = closing.closed() => End::Stopped("the listener was closed".into()),
            end = reading.run(client, &answers) => end,
        };
        answers.close();
        end
    };
    let mut writes = std::pin::pin!(write_all(to, &answers, &server, &answered));
    // Nothing is read once nothing can be written. In this order: see `queue`.
    let end = tokio::select! {
        biased;
        end = reads => end,
        written = &mut writes => End::Gone(written),
    };
    match end {
        End::Gone(Ok(())) => tracing::trace!("the client has ended the connection"),
        End::Gone(Err(error)) => tracing::debug!(%error, "the connection has failed"),
        // The answers that are owed are written, though no more is read.
        End::Stopped(why) => {
            tracing::debug!(%why, "the connection is closed");
            match timeout(LAST_ANSWERS, writes).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the last answers could not be written"),
                Err(_) => tracing::debug!("the last answers are not taken"),
            }
        }
    }
}

/// Why no more is read.
enum End {
    /// Nobody is there any more.
    Gone(io::Result<()>),
    /// This side ends it.
    Stopped(String),
}

struct Reading<'a, R> {
    from: R,
    buf: BytesMut,
    server: Arc<Server>,
    /// How many requests have begun.
    begun: usize,
    answered: &'a Answered,
}

/// How many requests have got what they get. Who waits for one is not idle.
#[derive(Default)]
struct Answered(AtomicUsize);

impl Answered {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl<R: AsyncRead + Unpin> Reading<'_, R> {
    /// Reads requests and starts them.
    async fn run(&mut self, client: Client, answers: &Queue<Pending>) -> End {
        loop {
            let (frame, claim) = match self.next().await {
                Ok(Some(next)) => next,
                Ok(None) => return End::Gone(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return End::Stopped(error.to_string());
                }
                Err(error) => return End::Gone(Err(error)),
            };
            match client.start(frame, claim) {
                Answer::Pending(answer) => {
                    self.begun += 1;
                    answers.push(answer).await;
                }
                Answer::Close(why) => return End::Stopped(why),
            }
        }
    }

    /// Whether the client waits for an answer, or has since so many had been written.
    fn has_waited(&self, answered: usize) -> bool {
        let now = self.answered.count();
        now < self.begun || now > answered
    }

    /// The next frame, with the memory that it takes, unless it came at once; `None` if the client
    /// has ended the connection between two.
    async fn next(&mut self) -> io::Result<Option<(Bytes, Claim)>> {
        let idle = self.server.settings().idle_timeout;
        // A frame that has begun is to end in time, too.
        let mut deadline = Instant::now() + idle;
        let mut answered = self.answered.count();
        let (mut claim, mut claimed) = (Claim::default(), deadline);
        loop {
            let (wanted, most) = match self.buf.first_chunk::<LEN>() {
                Some(prefix) => {
                    let limit = self.server.settings().max_request_bytes;
                    let len = frame_len(*prefix, limit)
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                    if self.buf.len() >= LEN + len {
                        return Ok(Some((take(&mut self.buf, len), claim)));
                    }
                    if claim.bytes() == 0 {
                        claim = self.server.requests.claim(len).await;
                        claimed = Instant::now();
                    }
                    self.use_spare(LEN + len);
                    let missing = LEN + len - self.buf.len();
                    // No more than has come, again.
                    let wanted = missing.min(self.buf.len().max(FIRST_ROOM));
                    (wanted, if len < LARGE { usize::MAX } else { missing })
                }
                None => (IDLE_READ, usize::MAX),
            };
            self.buf.reserve(wanted);
            let mut to = (&mut self.buf).limit(most);
            let read = timeout_at(deadline, self.from.read_buf(&mut to));
            let read = tokio::select! {
                biased;
                read = read => match read {
                    Ok(read) => read?,
                    Err(_) if self.buf.is_empty() && self.has_waited(answered) => {
                        (deadline, answered) = (Instant::now() + idle, self.answered.count());
                        continue;
                    }
                    Err(_) => return Err(io::ErrorKind::TimedOut.into()),
                },
                () = self.server.requests.is_short_after(claimed) => return Err(let_go()),
            };
            match read {
                0 if self.buf.is_empty() => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }

    /// Moves what has come of a frame of `len` bytes to where there is room for all of it, if there
    /// is such a place that costs nothing.
    fn use_spare(&mut self, len: usize) {
        if self.buf.capacity() < len
            && let Some(mut spare) = self.server.frames.take(len)
        {
            spare.extend_from_slice(&self.buf);
            self.buf = spare;
        }
    }
}

/// Takes the frame of `len` bytes that has come. If nothing has come behind it, it is the only
/// owner of its memory: batches in it are changed where they are.
fn take(buf: &mut BytesMut, len: usize) -> Bytes {
    buf.advance(LEN);
    let frame = buf.split_to(len);
    if buf.is_empty() {
        // Also, an idle connection keeps no large buffer.
        *buf = BytesMut::new();
    }
    frame.freeze()
}

/// Writes answers as they get ready, in order, until there are no more.
async fn write_all<W: Output>(
    mut to: W,
    answers: &Queue<Pending>,
    server: &Server,
    answered: &Answered,
) -> io::Result<()> {
    while let Some(answer) = answers.pop().await {
        let (mut frame, mut held) = match answer.await {
            Outcome::Response(frame) => (frame, Held::default()),
            Outcome::Holding(frame, held) => (frame, held),
            Outcome::Silence => {
                answered.one_more();
                continue;
            }
            Outcome::Close(why) => return Err(io::Error::other(why)),
        };
        let unclaimed = frame.held().saturating_sub(held.claim.bytes());
        held.claim.add(server.answers.take(unclaimed));
        write(&mut to, &mut frame, &held, server).await?;
        answered.one_more();
    }
    to.shutdown().await
}

/// Writes one answer, unless the client is long in reading it.
async fn write<W: Output>(
    to: &mut W,
    frame: &mut Frame,
    held: &Held,
    server: &Server,
) -> io::Result<()> {
    let began = Instant::now();
    while frame.has_remaining() || frame.gap().is_some() {
        let deadline = Instant::now() + server.settings().idle_timeout;
        let written = tokio::select! {
            biased;
            written = timeout_at(deadline, write_some(to, frame, held)) => written,
            () = server.answers.is_short_after(began) => return Err(let_go()),
            // Those that wait for their turn behind this one.
            () = server.requests.is_short_after(began) => return Err(let_go()),
        };
        match written {
            Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => drop(written?),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
    // TLS may hold some of it back.
    match timeout(server.settings().idle_timeout, to.flush()).await {
        Ok(flushed) => flushed,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Writes what comes next, from memory or from a file.
async fn write_some<W: Output>(to: &mut W, frame: &mut Frame, held: &Held) -> io::Result<usize> {
    if frame.has_gap_behind() {
        let mut parts = [IoSlice::new(&[]); AHEAD];
        let count = frame.chunks_vectored(&mut parts);
        let sent = to.send_ahead(&parts[..count]).await?;
        frame.advance(sent);
        return Ok(sent);
    }
    let Some(gap) = frame.gap() else { return to.write_buf(frame).await };
    let sent = held.files[gap.id].send(to, gap).await?;
    frame.fill(sent);
    Ok(sent)
}

/// Why a connection ends that holds memory for longer than others can wait.
fn let_go() -> io::Error {
    let why = "memory is short (queued.max.request.bytes and its like), and the client is slow";
    tracing::warn!(why, "a connection is ended");
    io::Error::new(io::ErrorKind::OutOfMemory, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_came_alone_can_be_changed_in_place() {
        let mut buf = BytesMut::with_capacity(100);
        buf.extend_from_slice(b"....one");
        let frame = take(&mut buf, 3);
        assert!(buf.is_empty());
        assert_eq!(frame.try_into_mut().unwrap(), b"one"[..]);

        buf.extend_from_slice(b"....two....");
        assert_eq!(take(&mut buf, 3), b"two"[..]);
        assert_eq!(buf, b"...."[..]);
    }
}
