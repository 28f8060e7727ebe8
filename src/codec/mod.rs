//! The primitives of Kafka's binary formats: big-endian integers, varints, strings.
//!
//! [`Reader`] takes bytes apart that nobody has checked; the `put_*` functions write. Neither
//! allocates, and no input makes either panic or loop.

mod reader;
mod text;
mod varint;

pub use reader::Reader;
pub use text::{put_compact_string, put_nullable_string, put_sized_bytes, put_string};
pub use varint::{
    Varint, put_unsigned_varint, put_varint, put_varlong, unsigned_varint_len, varint_len,
    varlong_len,
};

/// Why bytes could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end within a value.
    #[error("bytes end early: {needed} needed, {left} left")]
    UnexpectedEnd {
        /// How many bytes the value takes, or at least takes.
        needed: usize,
        /// How many there were.
        left: usize,
    },
    /// A varint goes on past its type's last byte, or has bits beyond its type's last bit.
    #[error("varint too long")]
    VarintTooLong,
    /// A length is negative, and not the -1 that means null where null is allowed.
    #[error("negative length: {0}")]
    NegativeLength(i64),
    /// The bytes of a string are not UTF-8.
    #[error("text that is not UTF-8")]
    NotText,
    /// Arrays have more elements than are taken.
    #[error("arrays of more than {limit} elements in all")]
    TooManyElements {
        /// How many there may be.
        limit: usize,
    },
}
