//! Taking untrusted bytes apart, front to back.

use super::CodecError;

/// Reads values from the front of borrowed bytes. What it returns borrows from them too.
///
/// After an error the position is unspecified, but within the bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Length of the bytes at the start: `position` is what has gone from it.
    total: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, total: bytes.len() }
    }

    /// How many bytes have been read.
    #[inline]
    pub fn position(&self) -> usize {
        self.total - self.rest.len()
    }

    /// How many bytes are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes that are left, without reading them.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.unexpected_end(len));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// A zigzag varint length, and that many bytes. Null (-1) is refused.
    #[inline]
    pub fn varint_bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let len = self.varint()?;
        let len = usize::try_from(len).map_err(|_| CodecError::NegativeLength(len.into()))?;
        self.bytes(len)
    }

    /// A zigzag varint length, and that many bytes; `None` if the length is -1.
    #[inline]
    pub fn nullable_varint_bytes(&mut self) -> Result<Option<&'a [u8]>, CodecError> {
        match self.varint()? {
            -1 => Ok(None),
            len if len < 0 => Err(CodecError::NegativeLength(len.into())),
            len => self.bytes(len as usize).map(Some),
        }
    }

    /// A signed byte.
    #[inline]
    pub fn i8(&mut self) -> Result<i8, CodecError> {
        self.array().map(i8::from_be_bytes)
    }

    /// Two bytes, big endian.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, CodecError> {
        self.array().map(i16::from_be_bytes)
    }

    /// Four bytes, big endian.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, CodecError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Eight bytes, big endian.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, CodecError> {
        self.array().map(i64::from_be_bytes)
    }

    /// Four bytes, big endian, unsigned.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_be_bytes)
    }

    /// One to five bytes of seven bits each, lowest first.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, CodecError> {
        match self.short() {
            Some(value) => Ok(value),
            None => self.groups(5).and_then(|v| v.try_into().or(Err(CodecError::VarintTooLong))),
        }
    }

    /// A zigzag varint: small numbers of either sign are short.
    #[inline]
    pub fn varint(&mut self) -> Result<i32, CodecError> {
        let raw = self.unsigned_varint()?;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// A zigzag varint of up to 64 bits, in one to ten bytes.
    #[inline]
    pub fn varlong(&mut self) -> Result<i64, CodecError> {
        let raw = match self.short() {
            Some(value) => value.into(),
            None => self.groups(10)?,
        };
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// The fast path of varints: nearly all are of one byte, or (lengths from 64 on) of two.
    #[inline(always)]
    fn short(&mut self) -> Option<u32> {
        match *self.rest {
            [low, ref rest @ ..] if low < 0x80 => {
                self.rest = rest;
                Some(low.into())
            }
            [low, high, ref rest @ ..] if high < 0x80 => {
                self.rest = rest;
                Some(u32::from(low & 0x7f) | u32::from(high) << 7)
            }
            _ => None,
        }
    }

    /// A varint of at most `limit` bytes, which is 10 at most.
    fn groups(&mut self, limit: usize) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().take(limit).enumerate() {
            // The tenth byte has room for the 64th bit alone.
            if index == 9 && byte > 1 {
                return Err(CodecError::VarintTooLong);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        if self.rest.len() >= limit {
            return Err(CodecError::VarintTooLong);
        }
        Err(self.unexpected_end(self.rest.len() + 1))
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.unexpected_end(N));
        };
        self.rest = rest;
        Ok(*array)
    }

    #[cold]
    fn unexpected_end(&self, needed: usize) -> CodecError {
        CodecError::UnexpectedEnd { needed, left: self.rest.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_big_endian() {
        let bytes = [0xff, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xfe];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.i8(), Ok(-1));
        assert_eq!(reader.i16(), Ok(1));
        assert_eq!(reader.i32(), Ok(2));
        assert_eq!(reader.i64(), Ok(3));
        assert_eq!((reader.position(), reader.remaining()), (15, 4));
        assert_eq!(reader.u32(), Ok(u32::MAX - 1));
        assert_eq!(reader.i16(), Err(CodecError::UnexpectedEnd { needed: 2, left: 0 }));
    }

    #[test]
    fn lengths_are_checked_against_what_is_left() {
        let left = CodecError::UnexpectedEnd { needed: 3, left: 2 };
        assert_eq!(Reader::new(&[6, b'a', b'b']).varint_bytes(), Err(left));
        assert_eq!(Reader::new(&[4, b'a', b'b']).varint_bytes(), Ok(&b"ab"[..]));
        assert_eq!(Reader::new(&[1]).nullable_varint_bytes(), Ok(None));
        assert_eq!(Reader::new(&[1]).varint_bytes(), Err(CodecError::NegativeLength(-1)));
        assert_eq!(Reader::new(&[3]).nullable_varint_bytes(), Err(CodecError::NegativeLength(-2)));
    }

    #[test]
    fn varints_end_where_their_type_does() {
        let too_long = Err(CodecError::VarintTooLong);
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).unsigned_varint(), Ok(u32::MAX));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).unsigned_varint(), too_long);
        assert_eq!(Reader::new(&[0x80; 6]).unsigned_varint(), too_long);
        assert_eq!(Reader::new(&[0x80; 11]).varlong(), Err(CodecError::VarintTooLong));
        let mut longest = [0xff; 10];
        longest[9] = 1;
        assert_eq!(Reader::new(&longest).varlong(), Ok(i64::MIN));
        longest[9] = 2;
        assert_eq!(Reader::new(&longest).varlong(), Err(CodecError::VarintTooLong));
        let cut = Err(CodecError::UnexpectedEnd { needed: 3, left: 2 });
        assert_eq!(Reader::new(&[0x80, 0x80]).unsigned_varint(), cut);
    }
}
