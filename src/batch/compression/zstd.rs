//! zstd frames, at level 3 as Kafka's producers do.
//!
//! A frame is decompressed in one go, into room that doubles until it is enough. So the decoder
//! needs no window of its own, whose length would be the frame's to choose.

use std::io::{self, Cursor};

use zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd_safe::{ErrorCode, compress_bound, get_error_name};

use super::{Codec, Fault};

pub(super) const CODEC: Codec = Codec { compress, decompress };

const LEVEL: i32 = 3;

/// The room to begin with, at least, and how many times what is compressed.
const FIRST_ROOM: usize = 16 << 10;
const FIRST_RATIO: usize = 4;

/// How libzstd returns it.
const NO_ROOM: ErrorCode =
    (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as ErrorCode).wrapping_neg();

fn compress(from: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    let at = to.len();
    to.reserve(compress_bound(from.len()));
    let mut end = Cursor::new(to);
    end.set_position(at as u64);
    let written = zstd_safe::compress(&mut end, from, LEVEL);
    written.map(drop).map_err(|code| io::Error::other(get_error_name(code)))
}

fn decompress(from: &[u8], to: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    let (at, most) = (to.len(), limit.saturating_sub(to.len()));
    let mut room = from.len().saturating_mul(FIRST_RATIO).max(FIRST_ROOM).min(most);
    loop {
        to.truncate(at);
        to.reserve_exact(room);
        let mut end = Cursor::new(&mut *to);
        end.set_position(at as u64);
        match zstd_safe::decompress(&mut end, from) {
            // The buffer may have been longer than it was asked to be.
            Ok(len) if len > most => return Err(Fault::TooLarge),
            Ok(_) => return Ok(()),
            Err(NO_ROOM) if room == most => return Err(Fault::TooLarge),
            Err(NO_ROOM) => room = room.saturating_mul(2).min(most),
            Err(code) => return Err(Fault::Broken(get_error_name(code).to_owned())),
        }
    }
}
