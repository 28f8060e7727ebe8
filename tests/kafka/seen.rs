//! What we see in a segment, as the words that Kafka would find for it.

use std::fmt::Write;

use bytes::Bytes;
use ottla::batch::{Batch, BatchHeader, RecordView};
use ottla::{ConsumerRecord, Header, TimestampType};

/// One `.log` file.
pub struct Segment {
    pub base_offset: i64,
    /// Those that are whole and sound.
    pub batches: Vec<Batch>,
    /// How many bytes follow them.
    pub tail: usize,
}

impl Segment {
    pub fn read(base_offset: i64, bytes: Vec<u8>) -> Self {
        let bytes = Bytes::from(bytes);
        let (mut batches, mut at) = (Vec::new(), 0);
        while let Ok(batch) = Batch::parse_checked(bytes.slice(at..)) {
            at += batch.header().size();
            batches.push(batch);
        }
        Segment { base_offset, batches, tail: bytes.len() - at }
    }

    pub fn end_offset(&self) -> i64 {
        self.batches.last().map_or(self.base_offset, |batch| batch.header().next_offset())
    }

    pub fn size(&self) -> usize {
        self.batches.iter().map(|batch| batch.header().size()).sum()
    }

    pub fn views(&self) -> impl Iterator<Item = (&BatchHeader, RecordView<'_>)> {
        self.batches.iter().flat_map(|batch| {
            batch.records().map(|view| (batch.header(), view.expect("the CRC has been checked")))
        })
    }

    /// `DumpLogSegments --deep-iteration --print-data-log`, from the first batch on; with keys and
    /// values, if they are text.
    pub fn dump(&self, with_contents: bool) -> Vec<String> {
        let (mut lines, mut position) = (Vec::new(), 0);
        for batch in &self.batches {
            lines.push(batch_line(batch.header(), position));
            position += batch.header().size();
            for (number, view) in batch.records().enumerate() {
                let view = view.expect("the CRC has been checked");
                lines.push(record_line(batch.header(), number, &view, with_contents));
            }
        }
        if self.tail > 0 {
            let (tail, base) = (self.tail, self.base_offset);
            lines.push(format!("Found {tail} invalid bytes at the end of {base:020}.log"));
        }
        lines
    }

    /// Of the same, the lines that are about batches.
    pub fn batch_lines(&self) -> Vec<String> {
        let mut position = 0;
        let line = |batch: &Batch| {
            position += batch.header().size();
            batch_line(batch.header(), position - batch.header().size())
        };
        self.batches.iter().map(line).collect()
    }

    /// Where a record's offset is not the one after that of the record before it. Kafka's tool
    /// begins to count with 0, whatever offset the file begins with.
    pub fn gaps(&self) -> Vec<String> {
        let (mut last, mut gaps) = (-1, Vec::new());
        for (_, view) in self.views() {
            if view.offset != last + 1 {
                gaps.push(format!("  {last} is followed by {}", view.offset));
            }
            last = view.offset;
        }
        gaps
    }

    /// A line a record, as `Records.java` prints it.
    pub fn records(&self) -> Vec<String> {
        let line = |(header, view): (&BatchHeader, RecordView<'_>)| {
            let (offset, time) = (view.offset, view.timestamp.as_millis());
            let kind = header.timestamp_type();
            record(offset, time, kind, view.key, view.value, view.headers())
        };
        self.views().map(line).collect()
    }
}

/// The same of a record that a consumer was given.
pub fn consumed(it: &ConsumerRecord) -> String {
    let (key, value) = (it.key.as_deref(), it.value.as_deref());
    record(it.offset, it.timestamp.as_millis(), it.timestamp_type, key, value, it.headers.iter())
}

fn record<'a>(
    offset: i64,
    timestamp: i64,
    timestamp_type: TimestampType,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Iterator<Item = Header<'a>>,
) -> String {
    let headers: Vec<String> =
        headers.map(|header| format!("{}={}", header.key, hex(header.value))).collect();
    let (kind, headers) = (name(timestamp_type), headers.join(","));
    format!("{offset} {timestamp} {kind} {} {} [{headers}]", hex(key), hex(value))
}

fn hex(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'{digits}'")
}

fn name(timestamp_type: TimestampType) -> &'static str {
    match timestamp_type {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn batch_line(header: &BatchHeader, position: usize) -> String {
    let BatchHeader { base_offset, record_count, base_sequence, producer_id, .. } = *header;
    let BatchHeader { producer_epoch, partition_leader_epoch, max_timestamp, magic, crc, .. } =
        *header;
    let (last_offset, last_sequence) = (header.last_offset(), header.last_sequence());
    let (is_transactional, is_control) = (header.is_transactional(), header.is_control());
    let horizon = match header.delete_horizon() {
        Some(horizon) => format!("OptionalLong[{horizon}]"),
        None => "OptionalLong.empty".to_owned(),
    };
    let (kind, size) = (name(header.timestamp_type()), header.size());
    let codec = header.compression();
    format!(
        "baseOffset: {base_offset} lastOffset: {last_offset} count: {record_count} \
         baseSequence: {base_sequence} lastSequence: {last_sequence} producerId: {producer_id} \
         producerEpoch: {producer_epoch} partitionLeaderEpoch: {partition_leader_epoch} \
         isTransactional: {is_transactional} isControl: {is_control} deleteHorizonMs: {horizon} \
         position: {position} {kind}: {max_timestamp} size: {size} magic: {magic} \
         compresscodec: {codec} crc: {crc} isvalid: true"
    )
}

fn record_line(
    header: &BatchHeader,
    number: usize,
    view: &RecordView<'_>,
    with_contents: bool,
) -> String {
    let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    let (kind, time) = (name(header.timestamp_type()), view.timestamp.as_millis());
    let sequence = match header.base_sequence {
        -1 => -1,
        first => first.wrapping_add(number as i32) & i32::MAX,
    };
    let keys: Vec<String> = view.headers().map(|header| header.key.into_owned()).collect();
    let mut line = format!(
        "| offset: {} {kind}: {time} keySize: {} valueSize: {} sequence: {sequence} \
         headerKeys: [{}]",
        view.offset,
        size(view.key),
        size(view.value),
        keys.join(",")
    );
    for (what, bytes) in [("key", view.key), ("payload", view.value)] {
        if let Some(bytes) = bytes.filter(|_| with_contents) {
            let text = std::str::from_utf8(bytes).expect("users' records are text here");
            write!(line, " {what}: {text}").expect("a string takes what it is given");
        }
    }
    line
}
