//! Reading a message's fields, front to back.

use bytes::Bytes;

use crate::codec::{CodecError, Reader};

use super::Wire;

/// Decoding allocates at most this many times the length of what is decoded: an array's elements
/// take more room in memory than on the wire.
pub const MAX_GROWTH: usize = 128;

/// The arrays of a request have at most so many elements in all: twice as many as a topic has
/// partitions. What a server makes of one, and answers, is as much in proportion.
pub const MAX_ELEMENTS: usize = 200_000;

/// The bytes of a message of one version. What is read shares them.
#[derive(Debug)]
pub struct MessageReader<'a> {
    all: &'a Bytes,
    reader: Reader<'a>,
    version: i16,
    is_flexible: bool,
    /// How many elements arrays may still have.
    elements_left: usize,
}

impl<'a> MessageReader<'a> {
    /// Reads from the front of `all`. In flexible versions lengths are varints, and structures may
    /// have tagged fields (KIP-482).
    pub fn new(all: &'a Bytes, version: i16, is_flexible: bool) -> Self {
        let reader = Reader::new(all);
        MessageReader { all, reader, version, is_flexible, elements_left: usize::MAX }
    }

    /// Takes arrays of at most [`MAX_ELEMENTS`] elements in all: those of a request.
    pub(super) fn limited(self) -> Self {
        MessageReader { elements_left: MAX_ELEMENTS, ..self }
    }

    /// The message's version.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Whether structures end with tagged fields.
    pub fn is_flexible(&self) -> bool {
        self.is_flexible
    }

    pub(super) fn set_flexible(&mut self, version: i16, is_flexible: bool) {
        (self.version, self.is_flexible) = (version, is_flexible);
    }

    /// The primitives.
    pub(super) fn raw(&mut self) -> &mut Reader<'a> {
        &mut self.reader
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> Bytes {
        self.all.slice_ref(self.reader.rest())
    }

    /// The length of a string: `None` is null.
    pub(super) fn string_len(&mut self) -> Result<Option<usize>, CodecError> {
        match self.is_flexible {
            true => self.compact_len(),
            false => nullable(self.reader.i16()?.into()),
        }
    }

    /// The length of bytes or of an array: `None` is null.
    pub(super) fn len(&mut self) -> Result<Option<usize>, CodecError> {
        match self.is_flexible {
            true => self.compact_len(),
            false => nullable(self.reader.i32()?),
        }
    }

    /// One more than the length, as a varint; 0 is null.
    fn compact_len(&mut self) -> Result<Option<usize>, CodecError> {
        Ok(self.reader.unsigned_varint()?.checked_sub(1).map(|len| len as usize))
    }

    pub(super) fn text(&mut self, len: usize) -> Result<String, CodecError> {
        let text = std::str::from_utf8(self.reader.bytes(len)?);
        Ok(text.map_err(|_| CodecError::NotText)?.to_owned())
    }

    pub(super) fn shared(&mut self, len: usize) -> Result<Bytes, CodecError> {
        Ok(self.all.slice_ref(self.reader.bytes(len)?))
    }

    /// The elements of an array. Room is made for those that the bytes left can hold.
    pub(super) fn elements<T: Wire>(&mut self, count: usize) -> Result<Vec<T>, CodecError> {
        // Half of what is promised: arrays inside of elements may claim as much again, once.
        const { assert!(2 * size_of::<T>() <= MAX_GROWTH * at_least_one(T::MIN_LEN)) };
        let (left, least) = (self.reader.remaining(), at_least_one(T::MIN_LEN));
        if count > left / least {
            return Err(CodecError::UnexpectedEnd { needed: count.saturating_mul(least), left });
        }
        let enough = self.elements_left.checked_sub(count);
        self.elements_left = enough.ok_or(CodecError::TooManyElements { limit: MAX_ELEMENTS })?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(self)?);
        }
        Ok(elements)
    }

    /// The tagged fields at the end of a structure, if there are any. `take` reads one from its own
    /// bytes; those that it does not know it leaves.
    pub(super) fn tagged(
        &mut self,
        mut take: impl FnMut(u32, &mut MessageReader<'a>) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        if !self.is_flexible {
            return Ok(());
        }
        for _ in 0..self.reader.unsigned_varint()? {
            let tag = self.reader.unsigned_varint()?;
            let len = self.reader.unsigned_varint()? as usize;
            let reader = Reader::new(self.reader.bytes(len)?);
            let mut field = MessageReader { reader, ..*self };
            take(tag, &mut field)?;
            self.elements_left = field.elements_left;
        }
        Ok(())
    }
}

const fn at_least_one(len: usize) -> usize {
    if len == 0 { 1 } else { len }
}

/// -1 is null; nothing else is negative.
fn nullable(len: i32) -> Result<Option<usize>, CodecError> {
    match len {
        -1 => Ok(None),
        len => usize::try_from(len).map(Some).map_err(|_| CodecError::NegativeLength(len.into())),
    }
}
