//! Strings and byte strings with Kafka's length prefixes: two bytes before a string, four before
//! bytes, -1 for null; in "compact" (flexible) versions a varint that counts one more, 0 for null.

use bytes::BufMut;

use super::{CodecError, Reader, put_unsigned_varint};

impl<'a> Reader<'a> {
    /// A string that may not be null.
    pub fn string(&mut self) -> Result<&'a str, CodecError> {
        self.nullable_string()?.ok_or(CodecError::NegativeLength(-1))
    }

    /// A string, or null.
    pub fn nullable_string(&mut self) -> Result<Option<&'a str>, CodecError> {
        match self.i16()? {
            -1 => Ok(None),
            len => self.text(len.into()).map(Some),
        }
    }

    /// Bytes that may not be null.
    pub fn sized_bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let len = self.i32()?;
        let len = usize::try_from(len).map_err(|_| CodecError::NegativeLength(len.into()))?;
        self.bytes(len)
    }

    /// A compact string that may not be null.
    pub fn compact_string(&mut self) -> Result<&'a str, CodecError> {
        let len = self.unsigned_varint()?;
        self.text(i64::from(len) - 1)
    }

    fn text(&mut self, len: i64) -> Result<&'a str, CodecError> {
        let len = usize::try_from(len).map_err(|_| CodecError::NegativeLength(len))?;
        std::str::from_utf8(self.bytes(len)?).map_err(|_| CodecError::NotText)
    }

    /// Passes tagged fields by, but for those that `known` takes.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &'a [u8]),
    ) -> Result<(), CodecError> {
        for _ in 0..self.unsigned_varint()? {
            let (tag, len) = (self.unsigned_varint()?, self.unsigned_varint()?);
            known(tag, self.bytes(len as usize)?);
        }
        Ok(())
    }
}

/// Writes a string, cut to the 32,767 bytes that it may have.
pub fn put_string(buf: &mut impl BufMut, text: &str) {
    let text = &text[..text.floor_char_boundary(i16::MAX as usize)];
    buf.put_i16(text.len() as i16);
    buf.put_slice(text.as_bytes());
}

/// Writes a string or null.
pub fn put_nullable_string(buf: &mut impl BufMut, text: Option<&str>) {
    match text {
        Some(text) => put_string(buf, text),
        None => buf.put_i16(-1),
    }
}

/// Writes bytes; there are less than 2 GiB of them.
pub fn put_sized_bytes(buf: &mut impl BufMut, bytes: &[u8]) {
    buf.put_i32(i32::try_from(bytes.len()).expect("limited by whoever took them in"));
    buf.put_slice(bytes);
}

/// Writes a compact string.
pub fn put_compact_string(buf: &mut impl BufMut, text: &str) {
    put_unsigned_varint(buf, text.len() as u32 + 1);
    buf.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut buf = Vec::new();
        put_string(&mut buf, "käse");
        put_nullable_string(&mut buf, None);
        put_sized_bytes(&mut buf, b"bytes");
        put_compact_string(&mut buf, "");
        assert_eq!(buf[..3], [0, 5, b'k']);
        let mut reader = Reader::new(&buf);
        assert_eq!(reader.string(), Ok("käse"));
        assert_eq!(reader.nullable_string(), Ok(None));
        assert_eq!(reader.sized_bytes(), Ok(&b"bytes"[..]));
        assert_eq!((reader.compact_string(), reader.remaining()), (Ok(""), 0));
        let mut long = Vec::new();
        put_string(&mut long, &"ä".repeat(20_000));
        assert_eq!(Reader::new(&long).string().unwrap().len(), 32_766);
    }

    #[test]
    fn nulls_cuts_and_what_is_no_text_are_errors() {
        assert_eq!(Reader::new(&[0xff, 0xff]).string(), Err(CodecError::NegativeLength(-1)));
        assert_eq!(
            Reader::new(&[0xff, 0xfe]).nullable_string(),
            Err(CodecError::NegativeLength(-2))
        );
        assert_eq!(Reader::new(&[0, 1, 0xff]).string(), Err(CodecError::NotText));
        assert_eq!(Reader::new(&[0]).compact_string(), Err(CodecError::NegativeLength(-1)));
        let cut = Err(CodecError::UnexpectedEnd { needed: 9, left: 1 });
        assert_eq!(Reader::new(&[0, 0, 0, 9, 1]).sized_bytes(), cut);
    }

    #[test]
    fn unknown_tags_are_passed_by() {
        let bytes = [2, 0, 1, 7, 5, 2, 1, 1, 9];
        let mut reader = Reader::new(&bytes);
        let mut seen = Vec::new();
        reader.tagged_fields(|tag, bytes| seen.push((tag, bytes.to_vec()))).unwrap();
        assert_eq!(seen, [(0, vec![7]), (5, vec![1, 1])]);
        assert_eq!(reader.rest(), [9]);
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).tagged_fields(|_, _| ()).is_err());
    }
}
