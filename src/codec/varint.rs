//! Writing varints: seven bits a byte, lowest first; signed ones zigzag, as Kafka's `ByteUtils`.

use bytes::BufMut;

/// Writes one to five bytes. Panics, as all `BufMut` writes, if `buf` cannot grow and is full.
#[inline]
pub fn put_unsigned_varint(buf: &mut impl BufMut, value: u32) {
    put_groups(buf, value.into());
}

/// Writes a zigzag varint of one to five bytes.
#[inline]
pub fn put_varint(buf: &mut impl BufMut, value: i32) {
    put_groups(buf, zigzag(value).into());
}

/// Writes a zigzag varint of one to ten bytes.
#[inline]
pub fn put_varlong(buf: &mut impl BufMut, value: i64) {
    put_groups(buf, zigzag_long(value));
}

/// How many bytes [`put_unsigned_varint`] writes.
#[inline]
pub fn unsigned_varint_len(value: u32) -> usize {
    groups(value.into())
}

/// How many bytes [`put_varint`] writes.
#[inline]
pub fn varint_len(value: i32) -> usize {
    groups(zigzag(value).into())
}

/// How many bytes [`put_varlong`] writes.
#[inline]
pub fn varlong_len(value: i64) -> usize {
    groups(zigzag_long(value))
}

/// A zigzag varint that is to be written: worked out once, for its length and its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Varint {
    /// Its bytes, the first one lowest, if they are five at most; else what they stand for.
    bits: u64,
    len: usize,
}

impl Varint {
    /// The longest that is written as one word.
    const WORD: usize = 5;

    /// Of 32 bits.
    #[inline(always)]
    pub fn of(value: i32) -> Self {
        Varint::of_zigzag(zigzag(value).into())
    }

    /// Of 64 bits.
    #[inline(always)]
    pub fn of_long(value: i64) -> Self {
        Varint::of_zigzag(zigzag_long(value))
    }

    /// The length of these bytes as Kafka writes it, -1 for null. One beyond an i32 is cut.
    #[inline(always)]
    pub fn of_len(bytes: Option<&[u8]>) -> Self {
        Varint::of(bytes.map_or(-1, |bytes| bytes.len() as i32))
    }

    /// Nearly all there are in a batch have one byte or two.
    #[inline(always)]
    fn of_zigzag(value: u64) -> Self {
        match value {
            0..0x80 => Varint { bits: value, len: 1 },
            0x80..0x4000 => Varint { bits: (value & 0x7f) | 0x80 | (value >> 7) << 8, len: 2 },
            _ => Varint::of_many(value),
        }
    }

    #[inline(never)]
    fn of_many(value: u64) -> Self {
        let len = groups(value);
        if len > Varint::WORD {
            return Varint { bits: value, len };
        }
        let (mut bits, mut left) = (0, value);
        for group in 0..len {
            let continues = if group + 1 < len { 0x80 } else { 0 };
            bits |= ((left & 0x7f) | continues) << (8 * group);
            left >>= 7;
        }
        Varint { bits, len }
    }

    /// How many bytes it takes.
    #[inline(always)]
    #[expect(clippy::len_without_is_empty, reason = "it is one byte at least")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its bytes, and zeros behind them, if they are five at most.
    #[inline(always)]
    pub fn word(&self) -> Option<[u8; 8]> {
        (self.len <= Varint::WORD).then(|| self.bits.to_le_bytes())
    }

    /// Writes it. Panics if `buf` cannot grow and is full.
    pub fn write(&self, buf: &mut impl BufMut) {
        match self.word() {
            Some(word) => buf.put_slice(&word[..self.len]),
            None => put_groups(buf, self.bits),
        }
    }
}

#[inline]
fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

#[inline]
fn zigzag_long(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
fn put_groups(buf: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        buf.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buf.put_u8(value as u8);
}

#[inline]
fn groups(value: u64) -> usize {
    (63 - (value | 1).leading_zeros() as usize) / 7 + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Reader;

    /// Random bits, shifted so that every length is as likely.
    fn any_length() -> impl Strategy<Value = i64> {
        (any::<i64>(), 0u32..64).prop_map(|(bits, shift)| bits >> shift)
    }

    /// As a batch's builder writes it.
    fn written(varint: Varint) -> Vec<u8> {
        let mut buf = Vec::new();
        match varint.word() {
            Some(word) => buf.extend(&word[..varint.len()]),
            None => varint.write(&mut buf),
        }
        assert!(varint.word().is_none_or(|word| word[varint.len()..].iter().all(|it| *it == 0)));
        assert_eq!(buf.len(), varint.len());
        buf
    }

    #[test]
    fn known_encodings() {
        // From Kafka's ByteUtilsTest.
        for (value, expected) in [
            (0, &[0][..]),
            (-1, &[1]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (8191, &[0xfe, 0x7f]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            assert_eq!(written(Varint::of(value)), expected);
            let mut buf = Vec::new();
            put_varint(&mut buf, value);
            assert_eq!(buf, expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any_length()) {
            let mut buf = Vec::new();
            put_varlong(&mut buf, value);
            prop_assert_eq!(buf.len(), varlong_len(value));
            prop_assert_eq!(&written(Varint::of_long(value)), &buf);
            put_varint(&mut buf, value as i32);
            prop_assert_eq!(buf.len(), varlong_len(value) + varint_len(value as i32));
            let signed = buf.len();
            put_unsigned_varint(&mut buf, value as u32);
            prop_assert_eq!(buf.len(), signed + unsigned_varint_len(value as u32));
            let mut reader = Reader::new(&buf);
            prop_assert_eq!(reader.varlong(), Ok(value));
            prop_assert_eq!(reader.varint(), Ok(value as i32));
            prop_assert_eq!(reader.unsigned_varint(), Ok(value as u32));
            prop_assert_eq!(reader.remaining(), 0);
        }
    }
}
