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

fn decompress(from: &[u8], to: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    read_bounded(FrameDecoder::new(from), to, limit)
}
