//! Producer state as a file: `<offset, 20 digits>.snapshot`, in Apache Kafka's format.
//!
//! A snapshot at an offset describes all producers after the batches below that offset; a log that
//! is opened loads one and scans only from there. The format is version 1 of Kafka's
//! `ProducerStateManager`, big-endian:
//!
//! ```text
//! version i16 | crc u32 (CRC-32C of all that follows) | count i32 | count times:
//!   producer_id i64 | epoch i16 | last_sequence i32 | last_offset i64 | offset_delta i32
//!   | timestamp i64 | coordinator_epoch i32 | current_txn_first_offset i64
//! ```
//!
//! It has room for the *last* batch of each producer only. After a restart from a snapshot, then,
//! just that batch is recognised when it comes again, until the producer has written on; a retry
//! of an older one is out of order. Kafka has the same window. Batches that the scan from the
//! snapshot's offset meets are all remembered.
//!
//! A damaged snapshot is an error, and no reason not to open: the caller takes an older one, or
//! scans the whole log.

use bytes::{Buf, BufMut};
use crc_fast::crc32_iscsi;

use super::producers::{AppendedBatch, Producer, ProducerState};

/// The longest snapshot worth reading, in bytes: some 1.4 million producers.
pub(super) const MAX_SNAPSHOT_BYTES: usize = 64 << 20;

const VERSION: i16 = 1;
/// Version and CRC, which the CRC does not cover.
const HEADER_BYTES: usize = 6;
const PRODUCER_BYTES: usize = 46;

/// The name of the snapshot at `offset`.
pub(super) fn snapshot_file_name(offset: i64) -> String {
    format!("{offset:020}.snapshot")
}

/// The offset in a snapshot's name; `None` if it is not such a name.
pub(super) fn snapshot_offset(file_name: &str) -> Option<i64> {
    let digits = file_name.strip_suffix(".snapshot")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Why bytes are no producer snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SnapshotError {
    /// The file is from another time.
    #[error("producer snapshot has unknown version {version}, expected 1")]
    UnknownVersion {
        /// The version it states.
        version: i16,
    },
    /// Its bytes are not those that were written.
    #[error("producer snapshot is corrupt: stored crc {stored:#010x}, computed {computed:#010x}")]
    Crc {
        /// What the file says.
        stored: u32,
        /// What its bytes say.
        computed: u32,
    },
    /// It is too short, too long, or says what no producer can have done.
    #[error("producer snapshot is malformed at byte {position}")]
    Malformed {
        /// Where, or where what is wrong begins.
        position: usize,
    },
}

impl ProducerState {
    /// The snapshot's content. Producers stand in the order of their ids.
    pub(super) fn encode(&self) -> Vec<u8> {
        let count = i32::try_from(self.len()).expect("2^31 producers do not fit in memory");
        let bytes = HEADER_BYTES + size_of_val(&count) + PRODUCER_BYTES * self.len();
        let mut out = Vec::with_capacity(bytes);
        out.put_i16(VERSION);
        out.put_u32(0);
        out.put_i32(count);
        for (producer_id, producer) in &self.producers {
            out.put_i64(*producer_id);
            encode_producer(producer, &mut out);
        }
        let crc = crc32_iscsi(&out[HEADER_BYTES..]);
        out[2..HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads what [`encode`](Self::encode) or Kafka wrote.
    ///
    /// All producers in it are taken, whatever the limit: they had been admitted. Those over it are
    /// refused, or the oldest dropped, when more come.
    pub(super) fn decode(content: &[u8], max_producers: usize) -> Result<Self, SnapshotError> {
        let producers = checked_producers(content)?;
        let mut state = ProducerState::new(max_producers);
        for (index, bytes) in producers.iter().enumerate() {
            let added = decode_producer(bytes).and_then(|(producer_id, producer)| {
                let earlier = state.producers.insert(producer_id, producer);
                earlier.is_none().then_some(())
            });
            let position = content.len() - PRODUCER_BYTES * (producers.len() - index);
            added.ok_or(SnapshotError::Malformed { position })?;
        }
        Ok(state)
    }
}

/// The bytes of each producer, once version, CRC and lengths have been checked.
fn checked_producers(content: &[u8]) -> Result<&[[u8; PRODUCER_BYTES]], SnapshotError> {
    let too_short = SnapshotError::Malformed { position: content.len() };
    let mut rest = content;
    let version = rest.try_get_i16().map_err(|_| too_short.clone())?;
    if version != VERSION {
        return Err(SnapshotError::UnknownVersion { version });
    }
    let stored = rest.try_get_u32().map_err(|_| too_short.clone())?;
    let computed = crc32_iscsi(rest);
    if stored != computed {
        return Err(SnapshotError::Crc { stored, computed });
    }
    let count = rest.try_get_i32().map_err(|_| too_short)?;
    let (producers, tail) = rest.as_chunks();
    if !tail.is_empty() || usize::try_from(count) != Ok(producers.len()) {
        return Err(SnapshotError::Malformed { position: HEADER_BYTES });
    }
    Ok(producers)
}

fn encode_producer(producer: &Producer, out: &mut Vec<u8>) {
    let none = AppendedBatch { last_sequence: -1, last_offset: -1, ..AppendedBatch::default() };
    let last = producer.batches().last().unwrap_or(&none);
    out.put_i16(producer.epoch);
    out.put_i32(last.last_sequence);
    out.put_i64(last.last_offset);
    out.put_i32(last.offset_delta);
    out.put_i64(producer.last_timestamp);
    out.put_i32(producer.coordinator_epoch);
    out.put_i64(producer.current_txn_first_offset.unwrap_or(-1));
}

/// `None` for what no producer can have done.
fn decode_producer(bytes: &[u8; PRODUCER_BYTES]) -> Option<(i64, Producer)> {
    // The gets cannot run out: together they take as many bytes as the array has.
    let mut rest = &bytes[..];
    let producer_id = rest.get_i64();
    let epoch = rest.get_i16();
    let last_sequence = rest.get_i32();
    let last_offset = rest.get_i64();
    let offset_delta = rest.get_i32();
    let timestamp = rest.get_i64();
    let coordinator_epoch = rest.get_i32();
    let current_txn_first_offset = Some(rest.get_i64()).filter(|offset| *offset >= 0);
    if producer_id < 0 || epoch < 0 || last_sequence < -1 || offset_delta < 0 {
        return None;
    }
    let mut producer = Producer::default();
    producer.epoch = epoch;
    producer.coordinator_epoch = coordinator_epoch;
    producer.last_timestamp = timestamp;
    producer.current_txn_first_offset = current_txn_first_offset;
    // Kafka writes a batch without sequence where a coordinator wrote for the producer.
    if last_offset >= 0 && last_sequence >= 0 {
        producer.push(AppendedBatch { last_sequence, offset_delta, last_offset, timestamp });
    }
    Some((producer_id, producer))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::producers::{ProducerBatch, Verdict};

    /// Written by Apache Kafka 4.1.0's ProducerStateManager, after:
    /// * producer 4000, epoch 0: sequences 0-4 at offset 0, 5 at offset 5;
    /// * producer 4001, epoch 2: sequences 2147483646-1 (across the wrap) at offset 6;
    /// * producer 15 << 32, epoch 1: sequences 0-9 at offset 10, in an open transaction;
    /// * producer 5000, epoch 3: a COMMIT marker of coordinator epoch 17 at offset 20.
    const KAFKA_SNAPSHOT: &str = concat!(
        "0001ba42dca800000004",
        "0000000000000fa0000000000005000000000000000500",
        "0000000000018bcfe569f4ffffffffffffffffffffffff",
        "0000000000000fa1000200000001000000000000000900",
        "0000030000018bcfe56be8ffffffffffffffffffffffff",
        "00000000000013880003ffffffffffffffffffffffff00",
        "0000000000018bcfe573b800000011ffffffffffffffff",
        "0000000f00000000000100000009000000000000001300",
        "0000090000018bcfe56fd0ffffffff000000000000000a",
    );

    fn kafka_snapshot() -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&KAFKA_SNAPSHOT[at..at + 2], 16).unwrap();
        (0..KAFKA_SNAPSHOT.len()).step_by(2).map(byte).collect()
    }

    fn batch(producer_id: i64, epoch: i16, base_sequence: i32, records: i32) -> ProducerBatch {
        let last_offset_delta = records - 1;
        ProducerBatch { producer_id, epoch, base_sequence, last_offset_delta, timestamp: 1000 }
    }

    #[test]
    fn a_snapshot_is_what_kafka_writes() {
        let state = ProducerState::decode(&kafka_snapshot(), 10).unwrap();
        assert_eq!(state.encode(), kafka_snapshot());
        let copy = |base_offset, timestamp| Ok(Verdict::Duplicate { base_offset, timestamp });
        for (sent, verdict) in [
            (batch(4000, 0, 5, 1), copy(5, 1_700_000_000_500)),
            (batch(4001, 2, i32::MAX - 1, 4), copy(6, 1_700_000_001_000)),
            (batch(15 << 32, 1, 0, 10), copy(10, 1_700_000_002_000)),
            (batch(4000, 0, 6, 1), Ok(Verdict::Append)),
            (batch(4001, 2, 2, 1), Ok(Verdict::Append)),
            (batch(5000, 3, 0, 1), Ok(Verdict::Append)),
        ] {
            assert_eq!(state.check(&sent), verdict, "{sent:?}");
        }
        assert!(state.check(&batch(4000, 0, 0, 5)).is_err(), "the window is one batch");
        let commits = &state.producers[&5000];
        assert_eq!((commits.coordinator_epoch, commits.epoch), (17, 3));
        assert_eq!(state.producers[&(15 << 32)].current_txn_first_offset, Some(10));
    }

    #[test]
    fn the_same_state_makes_the_same_bytes() {
        let (mut up, mut down) = (ProducerState::new(10), ProducerState::new(10));
        for id in 0..10 {
            up.applied(&batch(id, 0, 0, 1), id);
            down.applied(&batch(9 - id, 0, 0, 1), 9 - id);
        }
        assert_eq!(up.encode(), down.encode());
        assert_eq!(ProducerState::decode(&up.encode(), 10).unwrap(), up);
        let empty = ProducerState::new(10);
        assert_eq!(ProducerState::decode(&empty.encode(), 10).unwrap(), empty);
    }

    #[test]
    fn names_are_kafkas() {
        assert_eq!(snapshot_file_name(21), "00000000000000000021.snapshot");
        for offset in [0, 21, i64::MAX] {
            assert_eq!(snapshot_offset(&snapshot_file_name(offset)), Some(offset));
        }
        for name in ["21.snapshot", "00000000000000000021.log", "-0000000000000000021.snapshot"] {
            assert_eq!(snapshot_offset(name), None, "{name}");
        }
        assert_eq!(snapshot_offset("99999999999999999999.snapshot"), None, "over 2^63");
    }

    /// Damage that a CRC computed anew does not show.
    fn with_crc(mut content: Vec<u8>) -> Vec<u8> {
        let crc = crc32_iscsi(&content[HEADER_BYTES..]);
        content[2..HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
        content
    }

    #[test]
    fn impossible_snapshots_are_malformed() {
        let first = HEADER_BYTES + 4;
        let second = first + PRODUCER_BYTES;
        // What is overwritten, with what, and where the error is.
        for (at, bytes, position) in [
            (HEADER_BYTES, &[0x7f, 0xff, 0xff, 0xff][..], HEADER_BYTES),
            (HEADER_BYTES, &[0xff, 0xff, 0xff, 0xff], HEADER_BYTES),
            (HEADER_BYTES, &[0, 0, 0, 3], HEADER_BYTES),
            (first, &[0x80], first),
            (second + 6, &[0x0f, 0xa0], second),
            (second + 8, &[0x80], second),
            (second + 10, &[0x80], second),
            (second + 22, &[0x80], second),
        ] {
            let mut content = kafka_snapshot();
            content[at..at + bytes.len()].copy_from_slice(bytes);
            let found = ProducerState::decode(&with_crc(content), 10);
            assert_eq!(found, Err(SnapshotError::Malformed { position }), "at {at}");
        }
        let mut longer = kafka_snapshot();
        longer.push(0);
        let error = ProducerState::decode(&with_crc(longer), 10).unwrap_err();
        assert_eq!(error, SnapshotError::Malformed { position: HEADER_BYTES });
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = kafka_snapshot();
        for bit in 0..good.len() * 8 {
            let mut content = good.clone();
            content[bit / 8] ^= 1 << (bit % 8);
            assert!(ProducerState::decode(&content, 10).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(ProducerState::decode(&good[..len], 10).is_err(), "cut to {len}");
        }
    }

    proptest! {
        #[test]
        fn whatever_has_a_good_crc_is_refused_or_usable(
            kept in 0..4 * PRODUCER_BYTES, tail in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut body = kafka_snapshot().split_off(HEADER_BYTES + 4);
            body.truncate(kept);
            body.extend(tail);
            let count = body.len() / PRODUCER_BYTES;
            body.truncate(count * PRODUCER_BYTES);
            let head = &kafka_snapshot()[..HEADER_BYTES];
            let content = with_crc([head, &(count as u32).to_be_bytes(), &body].concat());
            if let Ok(mut state) = ProducerState::decode(&content, 2) {
                prop_assert_eq!(&ProducerState::decode(&state.encode(), 2).unwrap(), &state);
                for id in state.producers.keys().copied().collect::<Vec<_>>() {
                    let sent = batch(id, i16::MAX, i32::MAX, i32::MAX);
                    let _ = state.check(&sent); // Any verdict will do: the point is to get one.
                    state.applied(&sent, i64::MAX);
                }
                state.truncate_from(i64::MIN);
                state.expire(i64::MAX, i64::MIN);
            }
        }
    }
}
