//! The types of fields, and how each looks on the wire.

use bytes::{BufMut, Bytes};

use crate::codec::CodecError;
use crate::topic::TopicId;

use super::{ErrorCode, Gap, MessageReader, MessageWriter, Piece};

/// The longest string of versions that are not flexible.
const MAX_STRING: usize = i16::MAX as usize;

/// What a message is made of.
pub trait Wire: Sized {
    /// The fewest bytes that one takes, in any version.
    const MIN_LEN: usize;

    /// Reads one from the front.
    fn read(from: &mut MessageReader<'_>) -> Result<Self, CodecError>;

    /// Writes it at the end.
    fn write(&self, to: &mut MessageWriter);
}

/// Numbers and their like, which are the same in all versions.
macro_rules! fixed {
    ($($type:ty, $len:expr,
        $from:ident => $read:expr, $value:ident, $to:ident => $write:expr;)*) => {
        $(impl Wire for $type {
            const MIN_LEN: usize = $len;

            fn read(from: &mut MessageReader<'_>) -> Result<Self, CodecError> {
                let $from = from.raw();
                Ok($read)
            }

            fn write(&self, to: &mut MessageWriter) {
                let ($value, $to) = (self, to.raw());
                $write;
            }
        })*
    };
}

fixed! {
    i8, 1, from => from.i8()?, value, to => to.put_i8(*value);
    i16, 2, from => from.i16()?, value, to => to.put_i16(*value);
    i32, 4, from => from.i32()?, value, to => to.put_i32(*value);
    i64, 8, from => from.i64()?, value, to => to.put_i64(*value);
    bool, 1, from => from.i8()? != 0, value, to => to.put_i8((*value).into());
    ErrorCode, 2, from => ErrorCode(from.i16()?), value, to => to.put_i16(value.0);
    TopicId, 16, from => TopicId(from.array()?), value, to => to.put_slice(&value.0);
}

/// A string that may not be null.
impl Wire for String {
    const MIN_LEN: usize = 1;

    fn read(from: &mut MessageReader<'_>) -> Result<Self, CodecError> {
        let len = from.string_len()?.ok_or(CodecError::NegativeLength(-1))?;
        from.text(len)
    }

    /// One that is too long for its version ends early: only messages to people are that long.
    fn write(&self, to: &mut MessageWriter) {
        let fits = if to.is_flexible() { self.len() } else { self.floor_char_boundary(MAX_STRING) };
        to.put_string_len(Some(fits));
        to.raw().put_slice(&self.as_bytes()[..fits]);
    }
}

impl Wire for Option<String> {
    const MIN_LEN: usize = 1;

    fn read(from: &mut MessageReader<'_>) -> Result<Self, CodecError> {
        from.string_len()?.map(|len| from.text(len)).transpose()
    }

    fn write(&self, to: &mut MessageWriter) {
        match self {
            Some(text) => text.write(to),
            None => to.put_string_len(None),
        }
    }
}

/// An array that may not be null.
impl<T: Wire> Wire for Vec<T> {
    const MIN_LEN: usize = 1;

    fn read(from: &mut MessageReader<'_>) -> Result<Self, CodecError> {
        let count = from.len()?.ok_or(CodecError::NegativeLength(-1))?;
        from.elements(count)
    }

    fn write(&self, to: &mut MessageWriter) {
        to.put_len(Some(self.len()));
        self.iter().for_each(|element| element.write(to));
    }
}

impl<T: Wire> Wire for Option<Vec<T>> {
    const MIN_LEN: usize = 1;

    fn read(from: &mut MessageReader<'_>) -> Result<Self, CodecError> {
        from.len()?.map(|count| from.elements(count)).transpose()
    }

    fn write(&self, to: &mut MessageWriter) {
        match self {
            Some(elements) => elements.write(to),
            None => to.put_len(None),
        }
    }
}

/// Bytes that mean something to clients only; they share the frame that they came in.
impl Wire for Bytes {
    const MIN_LEN: usize = 1;

    fn read(from: &mut MessageReader<'_>) -> Result<Self, CodecError> {
        let len = from.len()?.ok_or(CodecError::NegativeLength(-1))?;
        from.shared(len)
    }

    fn write(&self, to: &mut MessageWriter) {
        to.put_len(Some(self.len()));
        to.put_piece(&Piece::Bytes(self.clone()));
    }
}

/// Record batches, one after the other, as they are. Never null on the way out: an old librdkafka
/// takes that for damage. Null on the way in is none.
#[derive(Debug, Clone, Default)]
pub struct Records(Vec<Piece>);

impl Records {
    /// Of these bytes, which are not copied.
    pub fn new(batches: Vec<Bytes>) -> Self {
        Records(batches.into_iter().map(Piece::Bytes).collect())
    }

    /// So many bytes, to be put in place by whoever sends the frame.
    pub fn left_open(gap: Gap) -> Self {
        Records(vec![Piece::Gap(gap)])
    }

    /// How many bytes they are.
    pub fn len(&self) -> usize {
        self.0.iter().map(Piece::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes; those that were read are one piece. What was left open is not there.
    pub fn into_bytes(self) -> Bytes {
        match &self.0[..] {
            [Piece::Bytes(one)] => one.clone(),
            many => many.iter().map(Piece::bytes).collect::<Vec<_>>().concat().into(),
        }
    }
}

/// The same bytes, in however many pieces.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |it: &Self| it.0.iter().flat_map(Piece::bytes).copied().collect::<Vec<u8>>();
        self.len() == other.len() && bytes(self) == bytes(other)
    }
}

impl Eq for Records {}

impl Wire for Records {
    const MIN_LEN: usize = 1;

    fn read(from: &mut MessageReader<'_>) -> Result<Self, CodecError> {
        let Some(len) = from.len()? else { return Ok(Records::default()) };
        Ok(Records(vec![Piece::Bytes(from.shared(len)?)]))
    }

    fn write(&self, to: &mut MessageWriter) {
        to.put_len(Some(self.len()));
        self.0.iter().for_each(|piece| to.put_piece(piece));
    }
}
