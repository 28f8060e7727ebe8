//! Stands before a broker, where it says that it listens: knows where a frame begins and ends, and
//! on command cuts connections within one, holds frames back, or answers as it was before.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::wire::ApiKey;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Requests,
    Answers,
}

/// What is done with frames. Connections are numbered as they come.
#[derive(Debug, Clone, Copy)]
struct Orders {
    /// Of those before this number, the next frame that way is passed as far as so many bytes.
    cut: (usize, Way, usize),
    /// Frames of those before this number are held.
    held: usize,
    delay: Duration,
    /// Whether who asks for metadata is told what was told before.
    lags: bool,
}

/// What was answered to a question for metadata, without what numbers both.
type Known = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;
/// Of a connection, the questions that are not answered: `None` for those that are for something
/// else.
type Asked = Mutex<VecDeque<Option<Vec<u8>>>>;

/// Forwards connections; ends with this.
pub(crate) struct Proxy {
    _tasks: JoinSet<()>,
    orders: watch::Sender<Orders>,
    accepted: watch::Receiver<usize>,
    /// How many requests have come.
    requests: watch::Sender<usize>,
}

impl Proxy {
    /// Counts the connections that are cut.
    pub(crate) async fn start(at: SocketAddr, to: SocketAddr, cuts: watch::Sender<usize>) -> Proxy {
        let listener = TcpListener::bind(at).await.unwrap();
        let none =
            Orders { cut: (0, Way::Requests, 0), held: 0, delay: Duration::ZERO, lags: false };
        let orders = watch::Sender::new(none);
        let (accept, accepted) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let heard = orders.subscribe();
        let requests = watch::Sender::new(0);
        let counted = requests.clone();
        let known = Known::default();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let nth = *accept.borrow();
                accept.send_replace(nth + 1);
                let count = (cuts.clone(), counted.clone(), known.clone());
                connections.spawn(forward(client, to, nth, heard.clone(), count));
                while connections.try_join_next().is_some() {}
            }
        });
        Proxy { _tasks: tasks, orders, accepted, requests }
    }

    /// How many requests have come, held or not.
    pub(crate) fn requests(&self) -> watch::Receiver<usize> {
        self.requests.subscribe()
    }

    /// Cuts all connections that there are, each when so many bytes of its next frame are through,
    /// or all but one.
    pub(crate) fn cut(&self, way: Way, bytes: usize) {
        let there = *self.accepted.borrow();
        self.orders.send_modify(|orders| orders.cut = (there, way, bytes));
    }

    /// Holds what comes over the connections that there are, until it is released. New ones work.
    pub(crate) fn hold_those_there(&self) {
        let there = *self.accepted.borrow();
        self.orders.send_modify(|orders| orders.held = there);
    }

    /// Holds whatever comes.
    pub(crate) fn hold(&self) {
        self.orders.send_modify(|orders| orders.held = usize::MAX);
    }

    /// What was held arrives, also if its sender has given it up.
    pub(crate) fn release(&self) {
        self.orders.send_modify(|orders| orders.held = 0);
    }

    /// Who asks for metadata is told what was told before, or no longer so.
    pub(crate) fn lag(&self, lags: bool) {
        self.orders.send_modify(|orders| orders.lags = lags);
    }

    /// Each frame takes so much longer.
    pub(crate) fn delay(&self, time: Duration) {
        self.orders.send_modify(|orders| orders.delay = time);
    }
}

async fn forward(
    client: TcpStream,
    to: SocketAddr,
    nth: usize,
    orders: watch::Receiver<Orders>,
    (cuts, seen, known): (watch::Sender<usize>, watch::Sender<usize>, Known),
) {
    let Ok(broker) = TcpStream::connect(to).await else { return };
    for stream in [&client, &broker] {
        stream.set_nodelay(true).unwrap();
    }
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let asked = Asked::default();
    let note = |frame: &mut Vec<u8>, _: &Orders| {
        seen.send_modify(|seen| *seen += 1);
        asked.lock().unwrap().push_back(question(frame));
    };
    let replace = |frame: &mut Vec<u8>, orders: &Orders| {
        let of = asked.lock().unwrap().pop_front();
        if let Some(Some(question)) = of {
            answer(frame, question, orders.lags, &known);
        }
    };
    let requests = pass(from_client, to_broker, (nth, Way::Requests), orders.clone(), note);
    let answers = pass(from_broker, to_client, (nth, Way::Answers), orders, replace);
    tokio::pin!(requests, answers);
    let is_cut = tokio::select! {
        end = &mut requests => match end {
            End::Cut => true,
            // The broker still answers what it has got: if this end were closed, it would not
            // even read it.
            End::Closed => matches!(answers.await, End::Cut),
        },
        end = &mut answers => matches!(end, End::Cut),
    };
    if is_cut {
        cuts.send_modify(|cuts| *cuts += 1);
    }
}

enum End {
    Closed,
    Cut,
}

/// Passes frames on, until there are none, or within one. Whoever does not take what comes for him
/// any more does not keep the other from being read.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (nth, way): (usize, Way),
    mut orders: watch::Receiver<Orders>,
    look: impl Fn(&mut Vec<u8>, &Orders),
) -> End {
    while let Some(mut frame) = read_frame(&mut from).await {
        look(&mut frame, &orders.borrow());
        let Ok(orders) = orders.wait_for(|it| nth >= it.held).await.map(|it| *it) else { break };
        let (cut_before, cut_way, bytes) = orders.cut;
        if nth < cut_before && way == cut_way {
            drop(to.write_all(&frame[..bytes.min(frame.len() - 1)]).await);
            return End::Cut;
        }
        if !orders.delay.is_zero() {
            tokio::time::sleep(orders.delay).await;
        }
        drop(to.write_all(&frame).await);
    }
    End::Closed
}

/// What is asked for, without the number of the request; `None` if it is not metadata.
fn question(frame: &[u8]) -> Option<Vec<u8>> {
    let key = i16::from_be_bytes([*frame.get(4)?, *frame.get(5)?]);
    let is_it = key == ApiKey::Metadata as i16;
    is_it.then(|| [&frame[4..8], frame.get(12..).unwrap_or_default()].concat())
}

/// Remembers an answer; if it `lags`, puts what is remembered in its place.
fn answer(frame: &mut Vec<u8>, question: Vec<u8>, lags: bool, known: &Known) {
    let mut known = known.lock().unwrap();
    match known.get(&question).filter(|_| lags) {
        Some(before) => {
            frame.truncate(8);
            frame.extend_from_slice(before);
            let len = (frame.len() - 4) as u32;
            frame[..4].copy_from_slice(&len.to_be_bytes());
        }
        None => drop(known.insert(question, frame[8..].to_vec())),
    }
}

/// With its length; `None` if no whole one comes any more.
async fn read_frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).await.ok()?;
    let len = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    frame.resize(4 + len, 0);
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}
