//! `ottla dump`.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use ottla::inspect::{Dumped, DumpedBatch, DumpedRecord, dump};
use serde_json::{Value, json};

use crate::json::JsonBytes;
use crate::output::{Done, Outcome, printable, printable_bytes, time};

#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Dump {
    /// A file, or a partition's folder for all of its .log files
    #[arg(value_name = "FILE")]
    path: PathBuf,

    /// Shows each batch's records, too
    #[arg(short, long)]
    records: bool,

    /// Writes a line of JSON for each batch or entry
    #[arg(long)]
    json: bool,
}

const AFTER: &str = "\
Files are those of ottla or of Apache Kafka: .log, .index, .timeindex, .snapshot, also what was set
aside (.log.cut-…). Nothing is changed. Damaged bytes are shown as such and passed; then the exit
code is 3.

  ottla dump ./data/orders-0
  ottla dump --records ./data/orders-0/00000000000000000000.log";

impl Dump {
    pub(crate) fn run(self) -> Outcome {
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let mut damaged = false;
        for item in dump(&self.path)? {
            let item = match item {
                Ok(item) => item,
                Err(error) => {
                    out.flush()?;
                    return Err(error.into());
                }
            };
            damaged |= match &item {
                Dumped::Bad { .. } => true,
                Dumped::Batch(batch) => !batch.is_sound(),
                _ => false,
            };
            match self.json {
                true => writeln!(out, "{}", self.as_json(&item))?,
                false => self.write(&mut out, &item)?,
            }
        }
        out.flush()?;
        Ok(Done::losing(damaged))
    }

    fn write(&self, out: &mut impl Write, item: &Dumped) -> io::Result<()> {
        match item {
            Dumped::File(path) => writeln!(out, "{}", path.display()),
            Dumped::Batch(batch) => self.write_batch(out, batch),
            Dumped::Bad { position, len, why, .. } => {
                writeln!(out, "  at {position}: {len} bytes are no batch: {why}")
            }
            Dumped::Offset { last_offset, position, .. } => {
                writeln!(out, "  offset {last_offset} is in the batch at {position}")
            }
            Dumped::Time { timestamp, offset, .. } => {
                writeln!(out, "  {} is the latest up to offset {offset}", time(*timestamp))
            }
            Dumped::Producer { producer_id, epoch, last, timestamp, .. } => {
                write!(out, "  producer {producer_id}, epoch {epoch}")?;
                if let Some((sequence, offset)) = last {
                    write!(out, ", last sequence {sequence} at offset {offset}")?;
                }
                writeln!(out, ", at {}", time(*timestamp))
            }
            // What a later version of the library finds.
            other => writeln!(out, "  {other:?}"),
        }
    }

    fn write_batch(&self, out: &mut impl Write, batch: &DumpedBatch) -> io::Result<()> {
        let (position, size) = (batch.position(), batch.size());
        let (first, last) = (batch.base_offset(), batch.last_offset());
        let records = match batch.record_count() {
            1 => "1 record".to_owned(),
            many => format!("{many} records"),
        };
        let (timestamp, kind) = batch.max_timestamp();
        write!(out, "  at {position}: offsets {first} to {last}, {records}, {size} bytes")?;
        write!(out, ", {kind} up to {}, epoch {}", time(timestamp), batch.leader_epoch())?;
        if batch.compression() != "none" {
            write!(out, ", {}", batch.compression())?;
        }
        if let Some((id, epoch, sequence)) = batch.producer() {
            write!(out, ", producer {id} epoch {epoch} sequence {sequence}")?;
        }
        for (is_so, what) in [
            (batch.is_transactional(), ", transactional"),
            (batch.is_control(), ", control"),
            (!batch.is_sound(), ", its CRC is WRONG"),
        ] {
            out.write_all(if is_so { what.as_bytes() } else { b"" })?;
        }
        writeln!(out)?;
        if self.records {
            for record in batch.records() {
                match record {
                    Ok(record) => write_record(out, &record)?,
                    Err(error) => writeln!(out, "    unreadable from here: {error}")?,
                }
            }
        }
        Ok(())
    }

    fn as_json(&self, item: &Dumped) -> Value {
        match item {
            Dumped::File(path) => json!({ "file": path.to_string_lossy() }),
            Dumped::Batch(batch) => self.batch_json(batch),
            Dumped::Bad { position, len, why, .. } => {
                json!({ "bad": { "position": position, "bytes": len, "why": why } })
            }
            Dumped::Offset { last_offset, position, .. } => {
                json!({ "offset": { "last_offset": last_offset, "position": position } })
            }
            Dumped::Time { timestamp, offset, .. } => {
                json!({ "time": { "timestamp": timestamp.as_millis(), "offset": offset } })
            }
            Dumped::Producer { producer_id, epoch, last, timestamp, .. } => json!({ "producer": {
                "producer_id": producer_id,
                "epoch": epoch,
                "last_sequence": last.map(|it| it.0),
                "last_offset": last.map(|it| it.1),
                "timestamp": timestamp.as_millis(),
            } }),
            // What a later version of the library finds.
            other => json!({ "other": format!("{other:?}") }),
        }
    }

    fn batch_json(&self, batch: &DumpedBatch) -> Value {
        let (timestamp, kind) = batch.max_timestamp();
        let mut json = json!({
            "position": batch.position(),
            "bytes": batch.size(),
            "base_offset": batch.base_offset(),
            "last_offset": batch.last_offset(),
            "record_count": batch.record_count(),
            "leader_epoch": batch.leader_epoch(),
            "max_timestamp": timestamp.as_millis(),
            "timestamp_type": kind.to_string(),
            "compression": batch.compression(),
            "crc": batch.crc(),
            "is_sound": batch.is_sound(),
            "is_transactional": batch.is_transactional(),
            "is_control": batch.is_control(),
        });
        if let Some((id, epoch, sequence)) = batch.producer() {
            json["producer"] =
                json!({ "producer_id": id, "epoch": epoch, "base_sequence": sequence });
        }
        if self.records {
            let records = batch.records().map(|record| match record {
                Ok(record) => record_json(&record),
                Err(error) => json!({ "unreadable": error.to_string() }),
            });
            json["records"] = records.collect();
        }
        json!({ "batch": json })
    }
}

fn write_record(out: &mut impl Write, record: &DumpedRecord) -> io::Result<()> {
    let shown = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => format!("\"{}\"", printable_bytes(bytes)),
        None => "null".to_owned(),
    };
    write!(out, "    {} {}", record.offset, time(record.timestamp))?;
    if let Some(meaning) = &record.meaning {
        return writeln!(out, " {}", printable(meaning));
    }
    write!(out, " key {} value {}", shown(record.key.as_deref()), shown(record.value.as_deref()))?;
    for (name, value) in &record.headers {
        write!(out, " header {}={}", printable(name), shown(value.as_deref()))?;
    }
    writeln!(out)
}

fn record_json(record: &DumpedRecord) -> Value {
    let bytes = |bytes: &Option<bytes::Bytes>| json!(bytes.as_deref().map(JsonBytes::of));
    let headers = record.headers.iter();
    let headers = headers.map(|(key, value)| json!({ "key": key, "value": bytes(value) }));
    json!({
        "offset": record.offset,
        "timestamp": record.timestamp.as_millis(),
        "key": bytes(&record.key),
        "value": bytes(&record.value),
        "headers": headers.collect::<Value>(),
        "meaning": record.meaning,
    })
}
