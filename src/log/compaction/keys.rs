//! Which offset each key was last seen at: exact keys, in bounded memory.
//!
//! The keys themselves are kept, not digests of them: two keys that were taken for one would cost
//! a record, and keys may be chosen by an adversary. Short keys take little more than a digest
//! would (a key of 16 bytes 40 bytes, all told); with long ones fewer fit, and a compaction gets
//! less far in one go.
//!
//! The hash that spreads them needs only be fast to compute and hard to guess: it is seeded by the
//! caller, so that nobody can choose keys that make the table slow. No result depends on the seed.
//!
//! A table of a million keys is in no cache: nearly every look into it waits for memory, and then
//! for that of the entry. [`Ahead`] looks up a number of keys together before each is asked for, so
//! that these waits are one.
//!
//! Invariant: an entry never straddles two pieces, and the table is at most three quarters full.

use std::hash::{DefaultHasher, Hasher};
use std::hint::black_box;

use crate::batch::{Batch, RecordIter};

/// The longest key that is kept. Records with a longer one are never superseded.
pub(super) const MAX_KEY_BYTES: usize = 1 << 14;

/// The least budget: a few keys of any length fit.
const MIN_BUDGET: usize = 256 << 10;
/// The greatest: places in the pieces are 32 bits wide.
const MAX_BUDGET: usize = 2 << 30;

const PIECE: usize = 64 << 10;
const FIRST_SLOTS: usize = 1 << 10;
/// Offset and length, in front of each key.
const ENTRY_HEADER: usize = 10;

/// How many keys are looked up together: about as many as a processor has loads under way.
const AHEAD: usize = 32;

/// The hash of a key, by the table that it is used with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct KeyHash(u32);

/// The hashes of the keys of a batch, record by record, each computed some records early.
pub(super) struct Ahead<'a> {
    records: RecordIter<'a>,
    hashes: [KeyHash; AHEAD],
    /// How many of them have been returned.
    taken: usize,
}

impl<'a> Ahead<'a> {
    pub(super) fn new(batch: &'a Batch) -> Self {
        Ahead { records: batch.records(), hashes: [KeyHash::default(); AHEAD], taken: AHEAD }
    }

    /// That of the next record's key. It means nothing if there is none, or if it is too long.
    pub(super) fn next(&mut self, keys: &KeyOffsets) -> KeyHash {
        if self.taken == AHEAD {
            self.look(keys);
        }
        self.taken += 1;
        self.hashes[self.taken - 1]
    }

    /// Hashing and looking up are apart: in so short a loop a processor gets far ahead.
    fn look(&mut self, keys: &KeyOffsets) {
        let mut count = 0;
        for record in self.records.by_ref().take(AHEAD) {
            let key = record.ok().and_then(|it| it.key).filter(|key| key.len() <= MAX_KEY_BYTES);
            self.hashes[count] = key.map(|key| keys.hash(key)).unwrap_or_default();
            count += 1;
        }
        keys.touch(&self.hashes[..count]);
        self.taken = 0;
    }
}

/// Keys and offsets.
#[derive(Debug)]
pub(super) struct KeyOffsets {
    seed: u64,
    budget: usize,
    /// Hash in the upper half, place of the entry plus one in the lower; 0 is empty.
    slots: Vec<u64>,
    used_slots: usize,
    /// Entries one after the other.
    pieces: Vec<Vec<u8>>,
}

impl KeyOffsets {
    /// No keys. They will take about `budget` bytes at most.
    pub(super) fn new(budget: usize, seed: u64) -> Self {
        let budget = budget.clamp(MIN_BUDGET, MAX_BUDGET);
        KeyOffsets { seed, budget, slots: vec![0; FIRST_SLOTS], used_slots: 0, pieces: Vec::new() }
    }

    /// How many keys there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.used_slots
    }

    /// Notes that `key` stands at `offset`, which is beyond all before. False if there is no room
    /// for one more key. Keys that are too long are passed over.
    pub(super) fn put(&mut self, key: &[u8], hash: KeyHash, offset: i64) -> bool {
        if key.len() > MAX_KEY_BYTES {
            return true;
        }
        let slot = self.find(key, hash);
        if let Some(place) = place_in(self.slots[slot]) {
            self.entry_mut(place)[..8].copy_from_slice(&offset.to_be_bytes());
            return true;
        }
        let full = self.used_slots >= self.slots.len() / 4 * 3;
        if !self.has_room(key.len(), full) {
            return false;
        }
        let slot = if full { self.grow(key, hash) } else { slot };
        let place = self.add(key, offset);
        self.slots[slot] = u64::from(hash.0) << 32 | u64::from(place + 1);
        self.used_slots += 1;
        true
    }

    /// The last offset of `key`, if it was put.
    pub(super) fn last_offset(&self, key: &[u8], hash: KeyHash) -> Option<i64> {
        if key.len() > MAX_KEY_BYTES {
            return None;
        }
        let slot = self.find(key, hash);
        let (header, _) = self.entry(place_in(self.slots[slot])?).split_at(8);
        Some(i64::from_be_bytes(header.try_into().expect("split at eight")))
    }

    fn hash(&self, key: &[u8]) -> KeyHash {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write(key);
        KeyHash(hasher.finish() as u32)
    }

    /// The slot that holds `key`, or the empty one where it belongs.
    fn find(&self, key: &[u8], KeyHash(hash): KeyHash) -> usize {
        debug_assert_eq!(KeyHash(hash), self.hash(key), "another key's");
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            match place_in(self.slots[slot]) {
                None => return slot,
                Some(place)
                    if (self.slots[slot] >> 32) as u32 == hash && self.key(place) == key =>
                {
                    return slot;
                }
                Some(_) => slot = (slot + 1) & mask,
            }
        }
    }

    /// Has the memory fetched where these are looked up.
    fn touch(&self, hashes: &[KeyHash]) {
        let mask = self.slots.len() - 1;
        let slots = hashes.iter().fold(0, |all, hash| all ^ self.slots[hash.0 as usize & mask]);
        let places = hashes.iter().filter_map(|hash| self.candidate(*hash));
        let entries = places.fold(0, |all, place| all ^ self.entry(place)[0]);
        // What was read is of no interest, but that it was.
        black_box((slots, entries));
    }

    /// The place of what has this hash first: the entry that is looked for, most probably.
    fn candidate(&self, KeyHash(hash): KeyHash) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let place = place_in(self.slots[slot])?;
            if (self.slots[slot] >> 32) as u32 == hash {
                return Some(place);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Whether one more key stays within the budget, with a table twice as large if need be, and
    /// the old one beside it for a moment.
    fn has_room(&self, key_len: usize, grows: bool) -> bool {
        let slots = self.slots.len() * size_of::<u64>() * if grows { 3 } else { 1 };
        let needs_piece = self.pieces.last().is_none_or(|piece| !fits(piece, key_len));
        let pieces = self.pieces.len() + usize::from(needs_piece);
        slots + pieces * PIECE <= self.budget
    }

    /// Doubles the table; returns the slot for `key`, which is not in it.
    fn grow(&mut self, key: &[u8], hash: KeyHash) -> usize {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![0; old.len() * 2];
        let mask = self.slots.len() - 1;
        for entry in old.into_iter().filter(|entry| *entry != 0) {
            let mut slot = (entry >> 32) as usize & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = entry;
        }
        self.find(key, hash)
    }

    fn add(&mut self, key: &[u8], offset: i64) -> u32 {
        if self.pieces.last().is_none_or(|piece| !fits(piece, key.len())) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let index = self.pieces.len() - 1;
        let piece = &mut self.pieces[index];
        let place = index * PIECE + piece.len();
        piece.extend_from_slice(&offset.to_be_bytes());
        piece.extend_from_slice(&(key.len() as u16).to_be_bytes());
        piece.extend_from_slice(key);
        place as u32
    }

    fn key(&self, place: u32) -> &[u8] {
        let entry = self.entry(place);
        let len = usize::from(u16::from_be_bytes([entry[8], entry[9]]));
        &entry[ENTRY_HEADER..ENTRY_HEADER + len]
    }

    fn entry(&self, place: u32) -> &[u8] {
        &self.pieces[place as usize / PIECE][place as usize % PIECE..]
    }

    fn entry_mut(&mut self, place: u32) -> &mut [u8] {
        &mut self.pieces[place as usize / PIECE][place as usize % PIECE..]
    }
}

fn fits(piece: &[u8], key_len: usize) -> bool {
    piece.len() + ENTRY_HEADER + key_len <= PIECE
}

fn place_in(slot: u64) -> Option<u32> {
    (slot as u32).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::BatchBuilder;

    fn put(keys: &mut KeyOffsets, key: &[u8], offset: i64) -> bool {
        keys.put(key, keys.hash(key), offset)
    }

    fn last_offset(keys: &KeyOffsets, key: &[u8]) -> Option<i64> {
        keys.last_offset(key, keys.hash(key))
    }

    #[test]
    fn it_is_full_in_time_and_forgets_nothing() {
        let mut keys = KeyOffsets::new(1 << 20, 7);
        let mut count = 0;
        while put(&mut keys, format!("key {count:010}").as_bytes(), count) {
            count += 1;
        }
        let bytes = keys.slots.len() * 8 + keys.pieces.len() * PIECE;
        assert!(bytes <= 1 << 20 && count > 18_000, "{count} keys in {bytes} bytes");
        assert_eq!(keys.len() as i64, count);
        for i in 0..count {
            assert_eq!(last_offset(&keys, format!("key {i:010}").as_bytes()), Some(i));
        }
        assert_eq!(last_offset(&keys, b"key 1"), None);
        assert!(put(&mut keys, b"key 0000000003", 99_999_999), "a known key needs no room");
        assert_eq!(last_offset(&keys, b"key 0000000003"), Some(99_999_999));
    }

    #[test]
    fn keys_of_all_lengths_fit_but_not_longer_ones() {
        let mut keys = KeyOffsets::new(0, 7);
        let longest = vec![b'k'; MAX_KEY_BYTES + 1];
        for (offset, len) in [0, 1, 255, 256, MAX_KEY_BYTES].into_iter().enumerate() {
            assert!(put(&mut keys, &longest[..len], offset as i64));
            assert_eq!(last_offset(&keys, &longest[..len]), Some(offset as i64));
        }
        assert!(put(&mut keys, &longest, 9) && last_offset(&keys, &longest).is_none());
    }

    #[test]
    fn hashes_that_come_early_are_those_of_their_records() {
        let key = |i: usize| (i % 7 != 3).then(|| format!("key {i}").into_bytes());
        let mut builder = BatchBuilder::new(BytesMut::new());
        for i in 0..3 * AHEAD + 5 {
            builder.push(0, key(i).as_deref(), None, &[]);
        }
        let batch = Batch::parse_checked(builder.finish().freeze()).unwrap();
        let (mut keys, mut ahead) = (KeyOffsets::new(0, 7), Ahead::new(&batch));
        for i in 0..3 * AHEAD + 5 {
            let hash = ahead.next(&keys);
            if let Some(key) = key(i) {
                assert_eq!(hash, keys.hash(&key), "{i}");
                assert!(keys.put(&key, hash, i as i64));
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_a_map(
            puts in prop::collection::vec(prop::collection::vec(0..4u8, 0..5), 0..400),
            seed in any::<u64>(),
        ) {
            let (mut keys, mut model) = (KeyOffsets::new(0, seed), BTreeMap::new());
            for (offset, key) in puts.iter().enumerate() {
                prop_assert!(put(&mut keys, key, offset as i64));
                model.insert(key.clone(), offset as i64);
            }
            prop_assert_eq!(keys.len(), model.len());
            for key in &puts {
                prop_assert_eq!(last_offset(&keys, key), model.get(key).copied());
            }
        }
    }
}
