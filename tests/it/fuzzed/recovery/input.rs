//! Bytes as a source of choices. Where they have ended, everything is 0 or empty: what is cut off
//! an input changes little of what comes before.

/// The rest of an input.
#[derive(Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Input(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As many of the next bytes as there are, `len` at most.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// So many bytes as the next one says.
    pub fn short(&mut self) -> &'a [u8] {
        let len = self.byte();
        self.bytes(len.into())
    }

    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn word(&mut self) -> usize {
        u16::from_le_bytes(self.array()).into()
    }

    /// A position in something of `len` bytes, its end included.
    pub fn position(&mut self, len: usize) -> usize {
        self.word() % (len + 1)
    }

    /// One of them; there must be any.
    pub fn pick<'b, T: ?Sized>(&mut self, choices: &[&'b T]) -> &'b T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// A number, more often than not one that has a chance to mean something.
    pub fn number(&mut self) -> i64 {
        match self.byte() % 8 {
            0..=2 => self.byte().into(),
            3 => self.word() as i64,
            4 => i64::MAX - i64::from(self.byte()),
            5 => i64::from(i32::MAX) + i64::from(self.byte() as i8),
            6 => -i64::from(self.byte()),
            _ => i64::from_le_bytes(self.array()),
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }
}
