//! `ottla verify`.

use std::path::PathBuf;

use ottla::inspect::{Finding, Severity, Verification, verify_with};
use serde_json::json;

use crate::output::{
    Done, Failure, Outcome, Table, count, printable, progress, say, say_json, size,
};

#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Verify {
    /// The data directory
    directory: PathBuf,

    /// Shows what was found, and not each partition
    #[arg(short, long)]
    quiet: bool,

    /// Writes JSON
    #[arg(long)]
    json: bool,
}

const AFTER: &str = "\
Reads every batch with its CRC, every record, every index entry and the small files, of ottla's
directories and of Apache Kafka's. Changes nothing and takes no lock. What it finds is

  note        nothing is wrong, but you may want to know
  unfinished  what a crash leaves, or a broker at work: the next open settles it, and nothing that
              was promised is lost
  derived     wrong, but made anew from what is there: no record is lost
  lost        records or settings that can't be read any more

The exit code is 3 if anything is derived or lost.";

impl Verify {
    pub(crate) fn run(self) -> Outcome {
        let bar = progress(Some(0), "verifying");
        let found = verify_with(&self.directory, |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.bytes);
        });
        bar.finish_and_clear();
        let found = found?;
        if self.json {
            say_json(&as_json(&found))?;
        } else {
            if !self.quiet {
                print_partitions(&found)?;
            }
            print_findings(&found)?;
        }
        Ok(Done::losing(!found.is_sound()))
    }
}

fn print_partitions(found: &Verification) -> Result<(), Failure> {
    let mut table =
        Table::new(&["PARTITION", ">SEGMENTS", ">SIZE", ">RECORDS", ">LOG START", ">END", "WORST"]);
    for (at, log) in &found.partitions {
        let worst = log.findings.worst();
        table.row([
            at.to_string(),
            log.segments.to_string(),
            size(log.bytes),
            log.records.to_string(),
            log.log_start_offset.to_string(),
            log.log_end_offset.to_string(),
            worst.map_or("-".to_owned(), |it| it.to_string()),
        ]);
    }
    table.print()?;
    say("")?;
    Ok(())
}

fn print_findings(found: &Verification) -> Result<(), Failure> {
    for finding in found.findings() {
        say(printable(&finding.to_string()))?;
    }
    let left_out: u64 = found.partitions.values().map(|log| log.findings.left_out()).sum();
    let left_out = left_out + found.findings.left_out();
    if left_out > 0 {
        say(format_args!("and {left_out} more"))?;
    }
    let records: u64 = found.partitions.values().map(|log| log.records).sum();
    let bytes: u64 = found.partitions.values().map(|log| log.bytes).sum();
    let verdict = match found.worst() {
        None | Some(Severity::Note | Severity::Unfinished) => "sound",
        Some(Severity::Derived) => "damaged, but no record is lost",
        Some(_) => "records or settings are LOST",
    };
    let partitions = count(found.partitions.len() as u64, "partition", "partitions");
    let records = count(records, "record", "records");
    say(format_args!("{verdict}: {partitions}, {records}, {}{}", size(bytes), state(found)))?;
    Ok(())
}

fn state(found: &Verification) -> &'static str {
    match (found.is_kafkas, found.clean_shutdown) {
        (true, _) => "; Apache Kafka's",
        (false, true) => "; closed properly",
        (false, false) => "; a broker is at work in it, or ended without closing it",
    }
}

fn as_json(found: &Verification) -> serde_json::Value {
    let finding = |it: &Finding| {
        json!({
            "severity": it.severity.to_string(),
            "file": it.file,
            "position": it.position,
            "text": it.text,
        })
    };
    let partitions = found.partitions.iter().map(|(at, log)| {
        json!({
            "topic": at.topic.as_str(),
            "partition": at.partition,
            "segments": log.segments,
            "bytes": log.bytes,
            "batches": log.batches,
            "records": log.records,
            "log_start_offset": log.log_start_offset,
            "log_end_offset": log.log_end_offset,
            "recovery_point": log.recovery_point,
            "worst": log.findings.worst().map(|it| it.to_string()),
        })
    });
    json!({
        "is_sound": found.is_sound(),
        "clean_shutdown": found.clean_shutdown,
        "is_kafkas": found.is_kafkas,
        "findings": found.findings().map(finding).collect::<Vec<_>>(),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}
