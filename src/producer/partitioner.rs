//! Which partition a keyed record goes to.
//!
//! Two programs that write the same topic must agree on this, or records of one key are spread over
//! two partitions and lose their order. So each hash here is, bit for bit, the default of a client
//! in wide use; `tests/vectors/partitioners` holds their own answers.
//!
//! A partitioner sees keys only. A record that names its partition never comes here, nor does one
//! without a key: those are spread by the accumulator, a batch at a time. An *empty* key is a key.

use std::fmt;
use std::sync::Arc;

/// How the partition of a record follows from its key.
///
/// Choose what the other writers of the topic use. Records without a key, and those that name
/// their partition, are not affected.
///
/// ```
/// use ottla::producer::Partitioner;
///
/// // Keys are numbers in ASCII; the parity decides.
/// let parity = Partitioner::custom(|input| match input.key.last() {
///     Some(digit) if digit % 2 == 1 => input.partitions - 1,
///     _ => 0,
/// });
/// # let _ = parity;
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Partitioner {
    /// 32-bit FNV-1a and the absolute value of its *signed* remainder: the default of Sarama (Go),
    /// `NewHashPartitioner`. librdkafka's `fnv1a` agrees.
    #[default]
    Fnv1a,
    /// murmur2 without its sign bit: the default of Apache Kafka's Java client, of kafkajs and of
    /// franz-go.
    Murmur2,
    /// CRC-32 (IEEE), unsigned: librdkafka's `consistent`, and but for empty keys its default,
    /// `consistent_random`.
    ///
    /// librdkafka's default takes an empty key for none and picks a partition at random. Here an
    /// empty key is a key: all such records go to partition 0, as with `consistent`.
    Crc32,
    /// A function of your own: see [`Partitioner::custom`].
    Custom(CustomPartitioner),
}

impl Partitioner {
    /// A partitioner that asks `choose` for the partition of each keyed record.
    ///
    /// It is called on the sending task and should neither block nor panic. A partition below 0 or
    /// not below `input.partitions` fails that record's send.
    pub fn custom<F>(choose: F) -> Self
    where
        F: Fn(&PartitionerInput<'_>) -> i32 + Send + Sync + 'static,
    {
        Partitioner::Custom(CustomPartitioner(Arc::new(choose)))
    }

    /// The partition of a record with this key, in a topic of `partitions` (at least one).
    ///
    /// In range for every hash; for a custom function the caller has to check.
    #[doc(hidden)]
    pub fn partition_for_key(&self, topic: &str, key: &[u8], partitions: i32) -> i32 {
        debug_assert!(partitions > 0, "a topic has at least one partition");
        match self {
            // Not `hash.abs() % partitions`: i32::MIN has no absolute value. Its remainder has.
            Partitioner::Fnv1a => (fnv1a_32(key).cast_signed() % partitions).abs(),
            Partitioner::Murmur2 => (murmur2(key).cast_signed() & i32::MAX) % partitions,
            Partitioner::Crc32 => {
                let remainder = crc_fast::crc32_iso_hdlc(key) % partitions.cast_unsigned();
                remainder.cast_signed()
            }
            Partitioner::Custom(custom) => (custom.0)(&PartitionerInput { topic, key, partitions }),
        }
    }
}

/// What a custom partitioner decides by.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PartitionerInput<'a> {
    /// The name of the topic.
    pub topic: &'a str,
    /// The record's key, possibly empty.
    pub key: &'a [u8],
    /// How many partitions the topic has now: at least one. The answer must be below it.
    pub partitions: i32,
}

/// The function inside [`Partitioner::Custom`]; made by [`Partitioner::custom`].
#[derive(Clone)]
pub struct CustomPartitioner(Arc<Choose>);

type Choose = dyn Fn(&PartitionerInput<'_>) -> i32 + Send + Sync;

impl fmt::Debug for CustomPartitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomPartitioner(..)")
    }
}

/// FNV-1a of 32 bits. (The `fnv` crate has the 64-bit function only.)
fn fnv1a_32(bytes: &[u8]) -> u32 {
    const OFFSET_BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    bytes.iter().fold(OFFSET_BASIS, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME))
}

/// murmur2 of 32 bits with the seed and the little-endian words of Apache Kafka
/// (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;

    let (words, tail) = bytes.as_chunks::<4>();
    // A record's size fits in 31 bits, so the length is whole.
    let mut hash = SEED ^ bytes.len() as u32;
    for &word in words {
        let mut mixed = u32::from_le_bytes(word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        hash = (hash ^ last).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of the real clients: see the README beside it.
    const VECTORS: &str = include_str!("../../tests/vectors/partitioners/vectors.tsv");

    fn from_hex(hex: &str) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("keys are in hex");
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn number(field: &str) -> i32 {
        field.parse().expect("all columns but the first hold numbers")
    }

    #[test]
    fn keys_go_where_the_real_clients_put_them() {
        let mut rows = 0;
        for row in VECTORS.lines().skip(1) {
            let fields: Vec<&str> = row.split('\t').collect();
            let [key, partitions, sarama, java, librdkafka] = fields[..] else {
                panic!("a row without five columns: {row:?}");
            };
            let chosen_by = |partitioner: Partitioner| {
                partitioner.partition_for_key("topic", &from_hex(key), number(partitions))
            };
            assert_eq!(chosen_by(Partitioner::Fnv1a), number(sarama), "Sarama: {row}");
            assert_eq!(chosen_by(Partitioner::Murmur2), number(java), "Java: {row}");
            assert_eq!(chosen_by(Partitioner::Crc32), number(librdkafka), "librdkafka: {row}");
            rows += 1;
        }
        assert_eq!(rows, 416, "the whole file was read");
    }

    #[test]
    fn the_vectors_hold_the_hash_without_an_absolute_value() {
        assert_eq!(fnv1a_32(b"2304669687").cast_signed(), i32::MIN);
        assert!(VECTORS.contains("32333034363639363837\t1000\t648\t"));
    }

    #[test]
    fn the_default_is_saramas() {
        assert!(matches!(Partitioner::default(), Partitioner::Fnv1a));
    }

    #[test]
    fn a_custom_partitioner_sees_its_input_and_its_answer_is_passed_on_unchecked() {
        let custom = Partitioner::custom(|input| {
            assert_eq!((input.topic, input.key), ("orders", &b"alice"[..]));
            input.partitions + 1
        });
        assert_eq!(custom.clone().partition_for_key("orders", b"alice", 6), 7);
        assert_eq!(format!("{custom:?}"), "Custom(CustomPartitioner(..))");
    }
}
