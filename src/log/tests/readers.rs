//! Readers on a real file system with two descriptors, while the writer appends, rolls, drops the
//! oldest segments, truncates, and appends other bytes at the same offsets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::log::reader::Sight;
use crate::log::tests::parts::{Dice, Rec, batch, opening, records_of, small};
use crate::log::{Append, Log, LogConfig, LogReader, ReadCursor, ReadError};
use crate::record::Timestamp;
use crate::storage::{FileStorage, SimDisk};

/// Every record by offset and epoch, noted before it is visible.
type Written = Mutex<HashMap<(i64, i32), Rec>>;

struct Writer {
    log: Log,
    dice: Dice,
    written: Arc<Written>,
    next_id: u64,
}

impl Writer {
    fn append(&mut self) {
        let (base, epoch) = (self.log.log_end_offset(), self.log.leader_epoch);
        let records: Vec<Rec> = (0..self.dice.between(1, 4))
            .map(|i| Rec { id: self.next_id + i as u64, len: 40, timestamp: base + i })
            .collect();
        self.next_id += records.len() as u64;
        let mut written = self.written.lock().unwrap();
        for (offset, record) in (base..).zip(&records) {
            assert!(written.insert((offset, epoch), *record).is_none(), "given twice");
        }
        drop(written);
        let mut group = [Append::new(batch(&records))];
        self.log.append(&mut group, Timestamp::NONE);
        let [Append { result, .. }] = group;
        assert_eq!(result.unwrap().unwrap().base_offset, base);
        self.log.publish();
    }

    fn step(&mut self) {
        match self.dice.below(16) {
            0 => self.log.roll_now().unwrap(),
            1 => {
                let config =
                    LogConfig { retention_bytes: Some(6_000), ..self.log.config().clone() };
                self.log.configure(config);
                self.log.enforce_retention(Timestamp::from_millis(0)).unwrap();
            }
            2 => {
                let (start, end) =
                    (self.log.reader().log_start_offset(), self.log.log_end_offset());
                let to = self.dice.between(start.max(end - 60), end);
                self.log.truncate(to).unwrap();
            }
            _ => self.append(),
        }
    }
}

/// What a reader met.
#[derive(Debug, Default)]
struct Met {
    records: usize,
    out_of_range: usize,
    truncated: usize,
}

fn read(reader: &LogReader, written: &Written, seed: u64, done: &AtomicBool) -> Met {
    let mut dice = Dice::new(seed);
    let mut met = Met::default();
    let mut cursor = ReadCursor::new(0, -1);
    let mut rounds = 0;
    while rounds < 2_000 || !done.load(Ordering::Relaxed) && rounds < 2_000_000 {
        rounds += 1;
        if dice.one_in(10) {
            let (start, end) = (reader.log_start_offset(), reader.high_watermark());
            // Mostly where truncations are.
            let start = if dice.one_in(3) { start } else { start.max(end - 60) };
            cursor = ReadCursor::new(dice.between(start, end), -1);
        }
        let (from, epoch) = (cursor.offset, cursor.leader_epoch);
        match reader.read(&mut cursor, dice.below(4_000) as usize) {
            Ok(batches) => {
                let written = written.lock().unwrap();
                let mut expected = batches.first().map(|first| first.header().base_offset);
                for (offset, epoch, record) in batches.iter().flat_map(records_of) {
                    assert_eq!(Some(offset), expected, "a hole");
                    expected = Some(offset + 1);
                    assert_eq!(written.get(&(offset, epoch)), Some(&record));
                    met.records += 1;
                }
                assert!(expected.is_none_or(|end| end == cursor.offset && end > from));
            }
            Err(ReadError::OffsetOutOfRange { log_start_offset, log_end_offset, .. }) => {
                met.out_of_range += 1;
                cursor = ReadCursor::new(from.clamp(log_start_offset, log_end_offset), -1);
            }
            Err(ReadError::Truncated { to }) => {
                assert!(to < from && epoch >= 0);
                met.truncated += 1;
                cursor = ReadCursor::new(to, -1);
            }
            Err(error) => panic!("at {from}, epoch {epoch}: {error}"),
        }
        if dice.one_in(20) {
            reader.offset_for_timestamp(from).expect("no error leaks");
        }
    }
    met
}

#[test]
fn readers_see_the_log_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Arc::new(FileStorage::new(dir.path(), 2));
    let config = LogConfig { sync_before_visible: false, ..small() };
    let (log, _) = Log::open(opening(storage, config)).unwrap();
    let (reader, written) = (log.reader(), Arc::new(Written::default()));
    let mut writer = Writer { log, dice: Dice::new(1), written: written.clone(), next_id: 1 };
    writer.append();
    let done = AtomicBool::new(false);
    let met: Vec<Met> = std::thread::scope(|scope| {
        let spawn = |seed| {
            let (reader, written, done) = (reader.clone(), &written, &done);
            scope.spawn(move || read(&reader, written, seed, done))
        };
        let readers: Vec<_> = (0..3).map(spawn).collect();
        for _ in 0..1_500 {
            writer.step();
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    let sum = |of: fn(&Met) -> usize| met.iter().map(of).sum::<usize>();
    // If the threads hardly ever met, the test has shown nothing.
    assert!(sum(|met| met.records) > 1_000, "{met:?}");
    assert!(sum(|met| met.out_of_range) + sum(|met| met.truncated) > 3, "{met:?}");
}

/// The threads above hardly ever meet so: a reader that looked before a truncation began, and
/// reads when it has not ended.
#[test]
fn what_was_seen_before_a_truncation_does_not_hold() {
    let (log, _) = Log::open(opening(Arc::new(SimDisk::new(1)), small())).unwrap();
    let mut writer = Writer { log, dice: Dice::new(1), written: Arc::default(), next_id: 1 };
    for _ in 0..5 {
        writer.append();
        writer.log.sync().unwrap();
        writer.log.publish();
    }
    let reader = writer.log.reader();
    let before = reader.sight();
    assert!(reader.still_holds(&before));
    writer.log.truncate(3).unwrap();
    let after = reader.sight();
    assert!(!reader.still_holds(&Sight { truncations: after.truncations, limit: before.limit }));
    assert!(!reader.still_holds(&Sight { truncations: before.truncations, limit: after.limit }));
}
