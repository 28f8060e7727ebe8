//! One LZ4 frame, with what Kafka's own reader insists on: blocks that need none before them.
//!
//! A frame says how long its blocks may be, and the decoder takes as much memory for one: at most
//! 12 MiB, whatever the frame.

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{Codec, Fault, read_bounded};

pub(super) const CODEC: Codec = Codec { compress, decompress };

fn compress(from: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    // Java's blocks are as long.
    let frame = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(frame, to);
    encoder.write_all(from)?;
    encoder.finish().map(drop).map_err(io::Error::from)
}

/// Of the flags, which follow the magic number: no block needs those before it.
const INDEPENDENT: u8 = 1 << 5;

fn decompress(from: &[u8], to: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    if from.get(4).is_some_and(|flags| flags & INDEPENDENT == 0) {
        let text = "its blocks need those before them, which no broker takes (KIP-57)";
        return Err(Fault::Broken(text.to_owned()));
    }
    read_bounded(FrameDecoder::new(from), to, limit)
}
