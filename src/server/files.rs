//! Answers that go from a file to the socket without passing through here (`sendfile`), where the
//! system has that.
//!
//! Each holds its file open, beyond what the storage has open; what would be too many is read.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;

#[cfg(target_os = "linux")]
use rustix::net::{SendAncillaryBuffer, SendFlags};

use tokio::io::{AsyncWrite, WriteHalf};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::log::{FileRange, ReadCursor};
use crate::partition::Partition;
use crate::wire::Gap;

/// How many ranges wait to be sent at once, of all connections.
const MAX_FILES: usize = 64;

/// What connections may hold open together.
#[derive(Debug)]
pub(super) struct Files(Arc<Semaphore>);

/// A range that is to be sent, and its file until then.
#[derive(Debug)]
pub(super) struct Sending {
    range: FileRange,
    _permit: OwnedSemaphorePermit,
}

impl Files {
    pub(super) fn new() -> Self {
        Files(Arc::new(Semaphore::new(MAX_FILES)))
    }

    /// Where the batches from the cursor on stand, if they can be sent from there.
    pub(super) fn locate(
        &self,
        partition: &Partition,
        cursor: &mut ReadCursor,
        max_bytes: usize,
    ) -> Option<Sending> {
        let permit = self.0.clone().try_acquire_owned().ok()?;
        let range = partition.locate(cursor, max_bytes)?;
        Some(Sending { range, _permit: permit })
    }
}

impl Sending {
    pub(super) fn len(&self) -> usize {
        self.range.len
    }

    /// Sends some of what is left of it. None is left in the file only if somebody else cut it.
    pub(super) async fn send(&self, to: &impl Output, left: Gap) -> io::Result<usize> {
        let position = self.range.position + (self.range.len - left.len) as u64;
        match to.send_file(self.range.file.as_ref(), position, left.len).await {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            sent => sent,
        }
    }
}

/// The way to a client.
pub(super) trait Output: AsyncWrite + Unpin {
    /// Whether it takes what stands in files.
    const TAKES_FILES: bool = false;

    /// Sends some of these bytes, which a file follows: for them alone the client is not woken.
    async fn send_ahead(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let _ = bytes;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends up to `len` bytes of a file, as soon as that is possible.
    async fn send_file(&self, file: &File, position: u64, len: usize) -> io::Result<usize> {
        let _ = (file, position, len);
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(target_os = "linux")]
impl Output for OwnedWriteHalf {
    const TAKES_FILES: bool = true;

    async fn send_ahead(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket: &tokio::net::TcpStream = self.as_ref();
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        let send =
            || Ok(rustix::net::sendmsg(socket, bytes, &mut SendAncillaryBuffer::default(), flags)?);
        socket.async_io(tokio::io::Interest::WRITABLE, send).await
    }

    async fn send_file(&self, file: &File, position: u64, len: usize) -> io::Result<usize> {
        let socket: &tokio::net::TcpStream = self.as_ref();
        let send = || {
            let mut from = position;
            Ok(rustix::fs::sendfile(socket, file, Some(&mut from), len)?)
        };
        socket.async_io(tokio::io::Interest::WRITABLE, send).await
    }
}

#[cfg(not(target_os = "linux"))]
impl Output for OwnedWriteHalf {}

/// What is no socket.
impl<S: AsyncWrite> Output for WriteHalf<S> {}
