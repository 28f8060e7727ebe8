//! What goes over a connection: a length, and that many bytes.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Length in bytes of a frame's length.
const LEN: usize = 4;

/// A part of a message on its way out.
#[derive(Debug, Clone)]
pub enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// Bytes that are not here.
    Gap(Gap),
}

/// So many bytes, to be put in place by whoever sends the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// How many.
    pub len: usize,
    /// Which they are; whoever leaves them open says what that means.
    pub id: usize,
}

impl Piece {
    /// How many bytes it stands for.
    pub fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Gap(gap) => gap.len,
        }
    }

    /// Whether it stands for none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that are here.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Piece::Bytes(bytes) => bytes,
            Piece::Gap(_) => &[],
        }
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Piece::Bytes(bytes)
    }
}

/// A frame on its way out, in pieces that are written without being copied together. As a [`Buf`]
/// it ends at the next gap: see [`Frame::gap`].
#[derive(Debug, Clone)]
pub struct Frame {
    /// None is empty.
    pieces: VecDeque<Piece>,
}

impl Frame {
    /// A frame of these pieces, none of them empty. It has at most 2^31 - 1 bytes.
    pub fn new<P: Into<Piece>>(pieces: Vec<P>) -> Result<Self, FrameError> {
        let mut all = VecDeque::with_capacity(pieces.len() + 1);
        all.extend(pieces.into_iter().map(Into::into));
        let len: usize = all.iter().map(Piece::len).sum();
        let limit = i32::MAX as usize;
        let prefix = i32::try_from(len).map_err(|_| FrameError::TooLong { len, limit })?;
        all.push_front(Piece::Bytes(Bytes::copy_from_slice(&prefix.to_be_bytes())));
        Ok(Frame { pieces: all })
    }

    /// How many bytes of it are in memory.
    pub fn held(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes().len()).sum()
    }

    /// What is to be put in place next, once all before it is written.
    pub fn gap(&self) -> Option<Gap> {
        match self.pieces.front() {
            Some(Piece::Gap(gap)) => Some(*gap),
            _ => None,
        }
    }

    /// Whether bytes come next, and a gap right behind them.
    pub fn has_gap_behind(&self) -> bool {
        let bytes = self.leading().count();
        bytes > 0 && bytes < self.pieces.len()
    }

    /// So many bytes of the gap were put in place.
    pub fn fill(&mut self, count: usize) {
        let Some(Piece::Gap(gap)) = self.pieces.front_mut() else { return };
        gap.len = gap.len.saturating_sub(count);
        if gap.len == 0 {
            self.pieces.pop_front();
        }
    }

    /// The bytes before the next gap.
    fn leading(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter().map_while(|piece| match piece {
            Piece::Bytes(bytes) => Some(bytes),
            Piece::Gap(_) => None,
        })
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.leading().map(Bytes::len).sum()
    }

    fn has_remaining(&self) -> bool {
        self.leading().next().is_some()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], Piece::bytes)
    }

    fn chunks_vectored<'a>(&'a self, to: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.leading().zip(to.iter_mut());
        pieces.map(|(piece, slot)| *slot = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(Piece::Bytes(first)) = self.pieces.front_mut() else {
                panic!("no more is left");
            };
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
