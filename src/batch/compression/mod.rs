//! The compressions that a batch's attributes can name, whether or not they are built in.
//!
//! Each that is has a cargo feature of its name and a file here. None trusts what its format claims
//! of the content's length: memory is taken as bytes come out, up to the caller's limit.

#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "zstd")]
mod zstd;

use std::str::FromStr;
use std::{fmt, io};

use super::BatchError;

/// How a batch's records are compressed (Kafka: `compression.type`).
///
/// All but [`Compression::None`] have to be built in, by the cargo feature of their name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy, in Xerial's frames or raw.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// The text is no name of a compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression {0:?}: there are none, gzip, snappy, lz4 and zstd")]
pub struct InvalidCompression(String);

impl Compression {
    /// All there are, by their numbers.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// Whether this build can compress and decompress so.
    pub fn is_built_in(self) -> bool {
        self == Compression::None || self.codec().is_ok()
    }

    /// By the number in the attributes, of which Kafka has given out five of eight.
    pub(super) fn from_id(id: i16) -> Option<Compression> {
        Self::ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// The number in the attributes.
    pub(super) fn id(self) -> i16 {
        self as i16
    }

    /// Adds `from`, compressed, to `to`.
    pub(super) fn compress(self, from: &[u8], to: &mut Vec<u8>) -> Result<(), BatchError> {
        if self == Compression::None {
            to.extend_from_slice(from);
            return Ok(());
        }
        let broken = |error: io::Error| self.broken(error.to_string());
        (self.codec()?.compress)(from, to).map_err(broken)
    }

    /// Adds `from`, decompressed, to `to`, which gets no longer than `limit` bytes.
    pub(super) fn decompress(
        self,
        from: &[u8],
        to: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), BatchError> {
        (self.codec()?.decompress)(from, to, limit).map_err(|fault| match fault {
            Fault::TooLarge => BatchError::DecompressedTooLarge { limit },
            Fault::Broken(reason) => self.broken(reason),
        })
    }

    fn broken(self, reason: String) -> BatchError {
        BatchError::CorruptCompression { codec: self, reason }
    }

    fn codec(self) -> Result<Codec, BatchError> {
        match self {
            #[cfg(feature = "gzip")]
            Compression::Gzip => Ok(gzip::CODEC),
            #[cfg(feature = "snappy")]
            Compression::Snappy => Ok(snappy::CODEC),
            #[cfg(feature = "lz4")]
            Compression::Lz4 => Ok(lz4::CODEC),
            #[cfg(feature = "zstd")]
            Compression::Zstd => Ok(zstd::CODEC),
            _ => Err(BatchError::UnsupportedCompression(self)),
        }
    }
}

impl fmt::Display for Compression {
    /// Kafka's name, which is the cargo feature's too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        })
    }
}

impl FromStr for Compression {
    type Err = InvalidCompression;

    /// By Kafka's name.
    fn from_str(name: &str) -> Result<Compression, InvalidCompression> {
        let found = Self::ALL.into_iter().find(|it| it.to_string() == name);
        found.ok_or_else(|| InvalidCompression(name.chars().take(60).collect()))
    }
}

/// What a codec's file has to offer. Both functions add to the bytes that are there.
struct Codec {
    compress: fn(from: &[u8], to: &mut Vec<u8>) -> io::Result<()>,
    decompress: Decompress,
}

/// The result, with what was there, must not be longer than `limit`.
type Decompress = fn(from: &[u8], to: &mut Vec<u8>, limit: usize) -> Result<(), Fault>;

/// Why bytes could not be decompressed.
#[cfg_attr(
    not(any(feature = "gzip", feature = "lz4", feature = "snappy", feature = "zstd")),
    expect(dead_code, reason = "there is no codec that could fail")
)]
enum Fault {
    /// They are more than is allowed.
    TooLarge,
    /// They are not what the codec writes.
    Broken(String),
}

/// Reads to the end, but for what is beyond `limit`.
#[cfg(any(feature = "gzip", feature = "lz4"))]
fn read_bounded(reader: impl io::Read, to: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    use io::Read;

    let room = limit.saturating_sub(to.len());
    let read = reader.take(room as u64 + 1).read_to_end(to);
    match read.map_err(|error| Fault::Broken(error.to_string()))? > room {
        true => Err(Fault::TooLarge),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        for (id, codec) in Compression::ALL.into_iter().enumerate() {
            assert_eq!(codec.to_string().parse(), Ok(codec));
            assert_eq!((codec.id(), Compression::from_id(id as i16)), (id as i16, Some(codec)));
        }
        assert_eq!((Compression::from_id(5), Compression::from_id(-1)), (None, None));
        let error = "Zip".parse::<Compression>().unwrap_err().to_string();
        assert!(error.contains("\"Zip\"") && error.contains("snappy"), "{error}");
    }

    #[test]
    fn what_is_not_built_in_says_so() {
        for codec in Compression::ALL.into_iter().filter(|codec| !codec.is_built_in()) {
            let unsupported = Err(BatchError::UnsupportedCompression(codec));
            assert_eq!(codec.compress(b"", &mut Vec::new()), unsupported);
            assert_eq!(codec.decompress(b"", &mut Vec::new(), 9), unsupported);
        }
        assert!(Compression::None.is_built_in());
        assert_eq!(Compression::Gzip.is_built_in(), cfg!(feature = "gzip"));
        assert_eq!(Compression::Zstd.is_built_in(), cfg!(feature = "zstd"));
    }
}
