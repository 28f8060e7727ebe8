//! Directories that Apache Kafka has written, with all codecs, transactions and compaction: what
//! it says of its batches is what we find, and of its records where they are not compressed.

use std::fs;
use std::path::Path;

use ottla::batch::Compression;
use ottla::inspect::Severity;

use crate::check::{children, name, partition, print_row};
use crate::said::{Said, same};
use crate::seen::Segment;

const COLUMNS: [&str; 6] =
    [".log", "batches", "compressed", "control", "records", "records compared"];

/// Checks all directories in `dirs`, prints a table, and says whether all is well.
pub fn all(dirs: &Path, said: &Path) -> bool {
    println!("| directory | {} |", COLUMNS.join(" | "));
    println!("|---|{}", "--:|".repeat(COLUMNS.len()));
    let mut is_well = true;
    for dir in children(dirs) {
        let mut numbers = [0; COLUMNS.len()];
        for partition in children(&dir).iter().filter(|it| partition(it).is_some()) {
            for log in children(partition) {
                if log.extension().is_none_or(|extension| extension != "log") {
                    continue;
                }
                let path = log.strip_prefix(dirs).expect("it is in there");
                if let Err(error) = compare(&log, path, said, &mut numbers) {
                    eprintln!("{}: {error}", path.display());
                    is_well = false;
                }
            }
        }
        if let Err(error) = verify(&dir) {
            eprintln!("{}: {error}", name(&dir));
            is_well = false;
        }
        print_row(&name(&dir), &numbers);
        is_well &= numbers.iter().all(|number| *number > 0);
    }
    is_well
}

fn compare(log: &Path, path: &Path, said: &Path, numbers: &mut [usize; 6]) -> Result<(), String> {
    let stem = log.file_stem().unwrap_or_default().to_string_lossy();
    let base = stem.parse().map_err(|_| "its name is no offset")?;
    let segment = Segment::read(base, fs::read(log).map_err(|error| error.to_string())?);
    if segment.tail > 0 {
        return Err(format!("we see {} bytes that are no batch", segment.tail));
    }
    let data = Said::read(said, path, "data")?;
    let batches: Vec<_> =
        data.lines.into_iter().filter(|line| line.starts_with("baseOffset: ")).collect();
    same(&batches, &segment.batch_lines())?;
    let headers = || segment.batches.iter().map(|batch| batch.header());
    let is_compressed = headers().any(|header| header.compression() != Compression::None);
    if !is_compressed {
        let records = Said::read(said, path, "records")?;
        same(&records.lines, &segment.records())?;
        numbers[5] += records.lines.len();
    }
    numbers[0] += 1;
    numbers[1] += segment.batches.len();
    numbers[2] += headers().filter(|it| it.compression() != Compression::None).count();
    numbers[3] += headers().filter(|it| it.is_control()).count();
    numbers[4] += headers().map(|it| it.record_count as usize).sum::<usize>();
    Ok(())
}

/// Our own verification finds nothing wrong with the whole directory.
fn verify(dir: &Path) -> Result<(), String> {
    let found = ottla::inspect::verify(dir).map_err(|error| error.to_string())?;
    let is_well = found.is_kafkas && found.worst() <= Some(Severity::Note);
    if is_well && found.partitions.values().all(|log| log.batches > 0) {
        return Ok(());
    }
    let texts: Vec<_> = found.findings().map(ToString::to_string).collect();
    Err(format!("our verification says: {texts:#?}"))
}
