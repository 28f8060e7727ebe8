//! Stands between a client and a broker, and cuts connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Forwards connections; ends with this.
pub(super) struct Proxy {
    _tasks: JoinSet<()>,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    /// Each connection is cut once so many bytes of answers have come over it, mostly within one;
    /// never if that is `None`.
    pub(super) fn start(listener: TcpListener, to: SocketAddr, cut_after: Option<usize>) -> Self {
        let cuts = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let counter = cuts.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let counter = counter.clone();
                connections.spawn(async move {
                    if forward(client, to, cut_after).await.is_none() {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Proxy { _tasks: tasks, cuts }
    }

    /// How many connections were cut.
    pub(super) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// `None` if it was cut.
async fn forward(client: TcpStream, to: SocketAddr, cut_after: Option<usize>) -> Option<()> {
    let broker = TcpStream::connect(to).await.ok()?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let requests = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_broker).await;
        Some(())
    };
    let answers = async {
        let (mut left, mut buf) = (cut_after.unwrap_or(usize::MAX), vec![0; 4096]);
        loop {
            let most = left.min(buf.len());
            let read = from_broker.read(&mut buf[..most]).await.ok()?;
            if read == 0 {
                return Some(());
            }
            to_client.write_all(&buf[..read]).await.ok()?;
            left -= read;
            if left == 0 {
                return None;
            }
        }
    };
    tokio::select! {
        done = requests => done,
        done = answers => done,
    }
}
