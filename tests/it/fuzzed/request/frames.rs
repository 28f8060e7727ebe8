//! What an input is: the frames of one connection.

use bytes::Bytes;

/// What separates frames, which are without their lengths.
pub const BETWEEN: &[u8] = b"\n--\n";

/// More frames say nothing that fewer could not.
const MAX_FRAMES: usize = 16;

/// The frames of an input.
pub fn frames(data: &[u8]) -> Vec<Bytes> {
    let (mut frames, mut rest) = (Vec::new(), data);
    while frames.len() < MAX_FRAMES {
        let Some(at) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN) else {
            break;
        };
        frames.push(Bytes::copy_from_slice(&rest[..at]));
        rest = &rest[at + BETWEEN.len()..];
    }
    frames.push(Bytes::copy_from_slice(rest));
    frames
}
