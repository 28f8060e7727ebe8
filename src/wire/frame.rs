//! What goes over a connection: a length, and that many bytes.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Length in bytes of a frame's length.
const LEN: usize = 4;

/// A frame on its way out, in pieces that are written without being copied together.
#[derive(Debug, Clone)]
pub struct Frame {
    /// None is empty.
    pieces: VecDeque<Bytes>,
    remaining: usize,
}

impl Frame {
    /// A frame of these pieces, none of them empty. It has at most 2^31 - 1 bytes.
    pub fn new(pieces: Vec<Bytes>) -> Result<Self, FrameError> {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        let limit = i32::MAX as usize;
        let prefix = i32::try_from(len).map_err(|_| FrameError::TooLong { len, limit })?;
        let mut pieces = VecDeque::from(pieces);
        pieces.push_front(Bytes::copy_from_slice(&prefix.to_be_bytes()));
        Ok(Frame { pieces, remaining: len + LEN })
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, to: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.pieces.iter().zip(to.iter_mut());
        pieces.map(|(piece, slot)| *slot = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "no more is left");
        self.remaining -= count;
        while let Some(first) = self.pieces.front_mut()
            && count > 0
        {
            let passed = count.min(first.len());
            first.advance(passed);
            count -= passed;
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

/// Why a frame is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is negative.
    #[error("frame of negative length: {0}")]
    Negative(i32),
    /// It is longer than is allowed.
    #[error("frame of {len} bytes is over {limit} (of requests: socket.request.max.bytes)")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
}

/// How long a frame is that begins with these bytes, which do not count.
pub fn frame_len(prefix: [u8; LEN], limit: usize) -> Result<usize, FrameError> {
    let len = i32::from_be_bytes(prefix);
    match usize::try_from(len) {
        Err(_) => Err(FrameError::Negative(len)),
        Ok(len) if len > limit => Err(FrameError::TooLong { len, limit }),
        Ok(len) => Ok(len),
    }
}
