//! The small files beside a segment, by `docs/format.md`, as the words that Kafka would find.

use std::path::Path;
use std::{fs, io};

/// The entries of an `.index`: offset and position.
pub fn index(base_offset: i64, bytes: &[u8]) -> Vec<(i64, i64)> {
    bytes.chunks(8).map(|entry| (base_offset + be(&entry[..4]), be(&entry[4..]))).collect()
}

/// The entries of a `.timeindex`: timestamp and offset.
pub fn time_index(base_offset: i64, bytes: &[u8]) -> Vec<(i64, i64)> {
    bytes.chunks(12).map(|entry| (be(&entry[..8]), base_offset + be(&entry[8..]))).collect()
}

/// A big-endian integer of up to eight bytes; negative ones only of eight.
fn be(bytes: &[u8]) -> i64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

/// What `DumpLogSegments` says of the producers in a `.snapshot`. `None` if it is damaged.
pub fn producers(bytes: &[u8]) -> Option<Vec<String>> {
    let (head, covered) = bytes.split_at_checked(6)?;
    if be(&head[2..]) != i64::from(crc_fast::crc32_iscsi(covered)) {
        return None;
    }
    Some(covered[4..].chunks(46).map(producer).collect())
}

fn producer(entry: &[u8]) -> String {
    let small = |at: usize| i32::from_be_bytes(entry[at..at + 4].try_into().expect("four bytes"));
    let epoch = i16::from_be_bytes([entry[8], entry[9]]);
    let (id, last_sequence, last_offset) = (be(&entry[..8]), small(10), be(&entry[14..22]));
    let (delta, timestamp, coordinator) = (small(22), be(&entry[26..34]), small(34));
    let first_sequence = last_sequence.wrapping_sub(delta) & i32::MAX;
    assert_eq!(be(&entry[38..]), -1, "nobody has transactions");
    format!(
        "producerId: {id} producerEpoch: {epoch} coordinatorEpoch: {coordinator} \
         currentTxnFirstOffset: OptionalLong.empty lastTimestamp: {timestamp} \
         firstSequence: {first_sequence} lastSequence: {last_sequence} \
         lastOffset: {last_offset} offsetDelta: {delta} timestamp: {timestamp}"
    )
}

/// `leader-epoch-checkpoint`, as `<epoch>@<start offset>`, without what Kafka forgets: epochs that
/// no record has, and that each line stands there twice.
pub fn epochs(partition: &Path, end_offset: i64) -> io::Result<String> {
    let text = match fs::read_to_string(partition.join("leader-epoch-checkpoint")) {
        // Killed between the first segment and the first record.
        Err(error) if error.kind() == io::ErrorKind::NotFound && end_offset == 0 => String::new(),
        text => text?,
    };
    let entries = text.lines().skip(2).filter_map(|line| {
        let (epoch, start) = line.split_once(' ')?;
        let has_records = start.parse::<i64>().ok()? < end_offset;
        has_records.then(|| format!("{epoch}@{start}"))
    });
    let mut entries: Vec<_> = entries.collect();
    entries.dedup();
    Ok(entries.join(" "))
}

/// The topic id in `partition.metadata`.
pub fn topic_id(partition: &Path) -> io::Result<String> {
    let text = fs::read_to_string(partition.join("partition.metadata"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("topic_id: "));
    Ok(line.unwrap_or("none").to_owned())
}
