//! Arbitrary bytes as what a client sends: nothing panics, and nothing is taken for what it is not.
//!
//! * Whatever can be read, as any request or answer of any version, is written and read again as
//!   the same.
//! * A broker serves it: each request is answered in its turn, by an answer that can be read, or
//!   the connection ends where it has to. The next client is served as if nothing had been.
//!
//! Input: [`frames`]. They are served as they are, and once more with the length, magic and CRC of
//! record batches put right, so that mutations reach the log.

mod apis;
pub mod frames;
mod read;
pub mod served;

use bytes::Bytes;

use self::frames::frames;

/// Looks at one input. Panics are findings.
pub fn run(data: &[u8]) {
    let frames = frames(data);
    frames.iter().for_each(read::check);
    served::check(&frames);
    let mended: Vec<Bytes> = frames.iter().map(served::mended).collect();
    if mended != frames {
        served::check(&mended);
    }
}
