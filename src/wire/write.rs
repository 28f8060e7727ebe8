//! Writing a message's fields, front to back.

use bytes::{BufMut, BytesMut};

use crate::codec::put_unsigned_varint;

use super::Piece;

/// Bytes that are shorter are copied: a piece of their own costs more.
const WORTH_A_PIECE: usize = 512;

/// A message of one version that is being written.
#[derive(Debug)]
pub struct MessageWriter {
    /// What is finished.
    pieces: Vec<Piece>,
    /// What follows it.
    buf: BytesMut,
    version: i16,
    is_flexible: bool,
}

impl MessageWriter {
    /// An empty message.
    pub fn new(version: i16, is_flexible: bool) -> Self {
        MessageWriter { pieces: Vec::new(), buf: BytesMut::new(), version, is_flexible }
    }

    /// The message's version.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Whether structures end with tagged fields.
    pub fn is_flexible(&self) -> bool {
        self.is_flexible
    }

    pub(super) fn set_flexible(&mut self, version: i16, is_flexible: bool) {
        (self.version, self.is_flexible) = (version, is_flexible);
    }

    /// The message in pieces, none of them empty.
    pub fn finish(mut self) -> Vec<Piece> {
        self.end_piece();
        self.pieces
    }

    pub(super) fn raw(&mut self) -> &mut BytesMut {
        &mut self.buf
    }

    pub(super) fn put_string_len(&mut self, len: Option<usize>) {
        match self.is_flexible {
            true => self.put_compact_len(len),
            false => self.buf.put_i16(len.map_or(-1, |len| len as i16)),
        }
    }

    pub(super) fn put_len(&mut self, len: Option<usize>) {
        match self.is_flexible {
            true => self.put_compact_len(len),
            false => self.buf.put_i32(len.map_or(-1, |len| len as i32)),
        }
    }

    fn put_compact_len(&mut self, len: Option<usize>) {
        put_unsigned_varint(&mut self.buf, len.map_or(0, |len| len as u32 + 1));
    }

    /// Shares bytes that are worth it, and passes gaps on.
    pub(super) fn put_piece(&mut self, piece: &Piece) {
        match piece {
            Piece::Bytes(bytes) if bytes.len() < WORTH_A_PIECE => self.buf.extend_from_slice(bytes),
            piece if piece.is_empty() => {}
            piece => {
                self.end_piece();
                self.pieces.push(piece.clone());
            }
        }
    }

    fn end_piece(&mut self) {
        if !self.buf.is_empty() {
            self.pieces.push(self.buf.split().freeze().into());
        }
    }

    /// Another of the same kind, for what needs its length before it.
    pub(super) fn part(&self) -> MessageWriter {
        MessageWriter::new(self.version, self.is_flexible)
    }

    /// The tagged fields at the end of a structure, by ascending tag.
    pub(super) fn put_tagged(&mut self, fields: Vec<(u32, MessageWriter)>) {
        put_unsigned_varint(&mut self.buf, fields.len() as u32);
        for (tag, field) in fields {
            let pieces = field.finish();
            let len: usize = pieces.iter().map(Piece::len).sum();
            put_unsigned_varint(&mut self.buf, tag);
            put_unsigned_varint(&mut self.buf, len as u32);
            pieces.iter().for_each(|piece| self.put_piece(piece));
        }
    }
}
