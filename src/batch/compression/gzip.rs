//! gzip, of any number of members, at level 6 as Kafka's producers do.

use std::io::{self, Write};

use flate2::Compression as Level;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Codec, Fault, read_bounded};

pub(super) const CODEC: Codec = Codec { compress, decompress };

fn compress(from: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = GzEncoder::new(to, Level::default());
    encoder.write_all(from)?;
    encoder.finish().map(drop)
}

fn decompress(from: &[u8], to: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    read_bounded(MultiGzDecoder::new(from), to, limit)
}
