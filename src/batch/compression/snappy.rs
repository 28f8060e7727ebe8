//! Snappy, as snappy-java frames it: a header, then blocks, each with its length in front. Kafka's
//! Java clients and librdkafka write that. Others write one raw block; it is read all the same.
//!
//! Blocks claim a length. None is believed that is more than so many bytes can stand for.

use std::io;

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{Codec, Fault};

pub(super) const CODEC: Codec = Codec { compress, decompress };

/// Name, version, and the oldest version that can read it.
const XERIAL: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// How much goes into a block: as snappy-java has it.
const BLOCK: usize = 32 << 10;

/// So many bytes stand for no more than `MAX_RATIO` times as many: a copy of 64 takes three.
const MAX_RATIO: usize = 22;

fn compress(from: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    to.extend_from_slice(XERIAL);
    let mut encoder = Encoder::new();
    for block in from.chunks(BLOCK) {
        let at = to.len() + 4;
        to.resize(at + max_compress_len(block.len()), 0);
        let len = encoder.compress(block, &mut to[at..])?;
        to.truncate(at + len);
        // Hardly more than a block.
        to[at - 4..at].copy_from_slice(&(len as u32).to_be_bytes());
    }
    Ok(())
}

fn decompress(from: &[u8], to: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    let Some(mut rest) = from.strip_prefix(XERIAL) else {
        return decompress_block(from, to, limit);
    };
    while !rest.is_empty() {
        // One stream may follow another.
        if let Some(after) = rest.strip_prefix(XERIAL) {
            rest = after;
            continue;
        }
        let Some((len, after)) = rest.split_first_chunk() else { return Err(cut_short()) };
        let len = u32::from_be_bytes(*len) as usize;
        let Some((block, after)) = after.split_at_checked(len) else { return Err(cut_short()) };
        decompress_block(block, to, limit)?;
        rest = after;
    }
    Ok(())
}

fn decompress_block(from: &[u8], to: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    let broken = |error: snap::Error| Fault::Broken(error.to_string());
    let (at, len) = (to.len(), decompress_len(from).map_err(broken)?);
    if len > from.len().saturating_mul(MAX_RATIO) {
        return Err(Fault::Broken(format!("{} bytes claim to be {len}", from.len())));
    }
    if at.saturating_add(len) > limit {
        return Err(Fault::TooLarge);
    }
    to.resize(at + len, 0);
    Decoder::new().decompress(from, &mut to[at..]).map(drop).map_err(broken)
}

fn cut_short() -> Fault {
    Fault::Broken("the last block is cut short".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_any_number_and_raw_blocks_are_read() {
        let text = b"0123456789".repeat(10_000);
        let mut framed = Vec::new();
        compress(&text, &mut framed).unwrap();
        assert!(framed.starts_with(XERIAL) && framed.len() < text.len() / 10);
        let raw = Encoder::new().compress_vec(&text).unwrap();
        let twice = [&framed[..], &framed].concat();
        for (from, times) in [(framed, 1), (raw, 1), (twice, 2)] {
            let mut to = b"before".to_vec();
            assert!(decompress(&from, &mut to, 1 << 20).is_ok());
            assert_eq!(to[6..], text.repeat(times));
        }
    }

    #[test]
    fn a_claim_that_cannot_be_true_takes_no_memory() {
        let claim = [0xff, 0xff, 0xff, 0xff, 0x07, 0];
        let mut to = Vec::new();
        assert!(matches!(decompress(&claim, &mut to, usize::MAX), Err(Fault::Broken(_))));
        assert_eq!(to.capacity(), 0);
    }
}
