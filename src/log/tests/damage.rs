//! Flipped bits: a damaged batch is a gap of just its offsets, a damaged file beside the segments
//! costs nothing but time, and nothing is ever served that was not written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::checkpoint::RecoveryPoint;
use crate::log::scan::{Step, Walk};
use crate::log::tests::parts::{Content, Dice, Rec, batch, opening, records_of, small};
use crate::log::tests::sabotage::{Broken, SKIP_CRC};
use crate::log::{Log, LogConfig, Opening, ReadCursor, ReadError, Recovered};
use crate::record::Timestamp;
use crate::storage::{SimDisk, Storage};

/// Where a batch is.
#[derive(Debug, Clone)]
struct Placed {
    base: i64,
    next: i64,
    path: PathBuf,
    position: u64,
    size: u64,
}

/// A log on a simulated disk, and what is in it.
struct Case {
    dice: Dice,
    disk: SimDisk,
    config: LogConfig,
    log: Option<Log>,
    next_id: u64,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let config = LogConfig {
            segment_bytes: dice.between(800, 4000) as u64,
            index_interval_bytes: dice.below(600),
            ..small()
        };
        let mut case = Case { dice, disk: SimDisk::new(seed), config, log: None, next_id: 0 };
        case.reopen(false);
        case
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("it is open")
    }

    fn reopen(&mut self, clean: bool) -> Recovered {
        let opening = opening(Arc::new(self.disk.clone()), self.config.clone());
        let opened = Log::open(Opening { clean, ..opening }).expect("damage is no reason to fail");
        self.log = Some(opened.0);
        opened.1
    }

    fn append(&mut self, batches: u64) {
        for _ in 0..batches {
            let count = self.dice.between(1, 5);
            let records: Vec<Rec> = (0..count).map(|_| self.record()).collect();
            self.log().append_now(batch(&records)).expect("nothing fails");
        }
    }

    fn record(&mut self) -> Rec {
        self.next_id += 1;
        let timestamp = 1_000 + self.next_id as i64 * 10 + self.dice.below(200) as i64;
        Rec { id: self.next_id, len: self.dice.below(80) as usize, timestamp }
    }

    /// An unclean open in the middle makes a second epoch.
    fn fill(&mut self) {
        let batches = self.dice.between(5, 30) as u64;
        self.append(batches);
        if self.dice.one_in(2) {
            self.reopen(false);
        }
        self.append(batches);
    }

    fn checkpoint(&mut self) {
        let plan = self.log().checkpoint().unwrap().expect("there is something to do");
        let done = plan.run();
        self.log().checkpointed(done).unwrap();
    }

    fn content(&mut self) -> Content {
        let max_bytes = self.dice.below(2000) as usize;
        Content::of(&self.log().reader(), max_bytes).expect("no read fails")
    }

    fn placed(&mut self) -> Vec<Placed> {
        let mut all = Vec::new();
        for segment in self.log().shared.segments().iter() {
            let mut walk = Walk::whole(segment, 4096);
            loop {
                let position = walk.position();
                let Step::Batch(batch) = walk.next(|_| true).unwrap() else { break };
                let (header, path) = (batch.header(), segment.log_path(Path::new("t-0")));
                let (base, next) = (header.base_offset, header.next_offset());
                all.push(Placed { base, next, path, position, size: header.size() as u64 });
            }
        }
        all
    }

    /// Flips a few bits of batches; returns which batches.
    fn damage(&mut self, among: &[Placed]) -> BTreeSet<usize> {
        let mut flipped = BTreeSet::new();
        let mut hit = BTreeSet::new();
        for _ in 0..self.dice.between(1, 5) {
            let index = self.dice.below(among.len() as u64) as usize;
            let placed = &among[index];
            // The header above all: that is where it is hard.
            let within = if self.dice.one_in(2) { 61 } else { placed.size };
            let bit = placed.position * 8 + self.dice.below(within * 8);
            if flipped.insert((placed.path.clone(), bit)) {
                assert!(self.disk.flip_bit(&placed.path, bit));
                hit.insert(index);
            }
        }
        hit
    }
}

/// Checks what is shown after damage to the batches `hit` of `placed`.
fn check_gaps(before: &Content, after: &Content, placed: &[Placed], hit: &BTreeSet<usize>) {
    let lost: BTreeSet<i64> = after.gaps.iter().flat_map(|(from, to)| *from..*to).collect();
    for (i, batch) in placed.iter().enumerate() {
        let is_lost = lost.contains(&batch.base);
        assert!((batch.base..batch.next).all(|offset| lost.contains(&offset) == is_lost));
        if hit.contains(&i) {
            assert!(is_lost, "{batch:?} is damaged, and shown");
        } else if is_lost {
            // Nothing sound is beside it that could say where it belongs.
            let alone = i > 0 && hit.contains(&(i - 1)) && hit.contains(&(i + 1));
            assert!(alone, "{batch:?} is sound, and lost; damaged are {hit:?}");
        }
    }
    let sound: BTreeMap<i64, (i32, Rec)> =
        before.records.iter().filter(|(offset, _)| !lost.contains(offset)).map(copied).collect();
    assert_eq!(after.records, sound);
}

fn copied<K: Copy, V: Copy>((key, value): (&K, &V)) -> (K, V) {
    (*key, *value)
}

/// Reads from every offset, and looks for every time. What had been lost for want of a sound
/// neighbour may be found by way of the index.
fn check_entries(case: &mut Case, shown: &Content, before: &Content) {
    let reader = case.log().reader();
    for offset in shown.start..shown.end {
        let mut cursor = ReadCursor::new(offset, -1);
        match reader.read(&mut cursor, 1) {
            Ok(batches) => {
                let header = batches[0].header();
                assert!(header.base_offset <= offset && offset <= header.last_offset());
                for (at, epoch, record) in records_of(&batches[0]) {
                    assert_eq!(before.records.get(&at), Some(&(epoch, record)));
                }
            }
            Err(ReadError::Corrupt { from, to }) => {
                assert!(from == offset && (from..to).all(|at| !shown.records.contains_key(&at)));
            }
            Err(error) => panic!("{error}"),
        }
    }
    for _ in 0..20 {
        let timestamp = case.dice.between(900, 3_000);
        let found = reader.offset_for_timestamp(timestamp).unwrap().map(|found| found.offset);
        let wanted = shown.records.iter().find(|(_, (_, rec))| rec.timestamp >= timestamp);
        assert_eq!(found, wanted.map(|(offset, _)| *offset), "from {timestamp} on");
    }
}

fn flip_below_the_recovery_point(seed: u64) {
    let mut case = Case::new(seed);
    case.fill();
    case.checkpoint();
    let placed = case.placed();
    let before = case.content();
    let hit = case.damage(&placed);
    match case.dice.below(3) {
        0 => {}
        1 => drop(case.reopen(true)),
        _ => drop(case.reopen(false)),
    }
    let after = case.content();
    check_gaps(&before, &after, &placed, &hit);
    check_entries(&mut case, &after, &before);
    // Life goes on: behind the damage there is room for more.
    let end = case.log().log_end_offset();
    assert_eq!(end, before.end);
    case.append(3);
    case.reopen(false);
    case.append(3);
    let later = case.content();
    let behind: Vec<i64> = later.records.range(end..).map(|(offset, _)| *offset).collect();
    assert_eq!(behind, (end..later.end).collect::<Vec<i64>>());
    assert!(later.end > end);
    check_gaps(&before, &Content { records: before_end(&later, end), ..later }, &placed, &hit);
}

fn before_end(content: &Content, end: i64) -> BTreeMap<i64, (i32, Rec)> {
    content.records.range(..end).map(copied).collect()
}

#[test]
fn a_damaged_batch_is_a_gap_and_nothing_more() {
    (0..600).for_each(flip_below_the_recovery_point);
}

#[test]
#[should_panic]
fn a_reader_that_checks_no_crc_is_noticed() {
    let _broken = Broken::by(&SKIP_CRC);
    (0..100).for_each(flip_below_the_recovery_point);
}

#[test]
fn damage_behind_the_recovery_point_cuts_the_log() {
    for seed in 0..400 {
        let mut case = Case::new(seed);
        case.fill();
        if case.dice.one_in(2) {
            case.checkpoint();
        }
        let point = case.log().recovery_point();
        case.fill();
        let placed = case.placed();
        let before = case.content();
        let tail: Vec<Placed> = placed.into_iter().filter(|batch| batch.base >= point).collect();
        let hit = case.damage(&tail);
        let first = &tail[*hit.first().unwrap()];
        let bytes = case.disk.read_file(&first.path).unwrap();
        case.disk.crash_process();
        let report = case.reopen(false);
        let after = case.content();
        assert_eq!((after.end, after.gaps.len()), (first.base, 0), "seed {seed}: {report:?}");
        let kept: BTreeMap<_, _> = before.records.range(..first.base).map(copied).collect();
        assert_eq!(after.records, kept);
        let cut = &report.cut[0];
        let name = first.path.file_name().unwrap().to_str().unwrap();
        assert_eq!((cut.offset, &cut.file), (first.base, &format!("{name}.cut-{}", first.base)));
        let aside = case.disk.read_file(Path::new("t-0").join(&cut.file)).unwrap();
        assert_eq!(aside, bytes[first.position as usize..]);
        assert_eq!(aside.len() as u64, cut.bytes);
        case.append(3);
        let later = case.content();
        check_entries(&mut case, &later, &later);
    }
}

#[test]
fn damage_beside_the_segments_costs_nothing() {
    for seed in 0..500 {
        let mut case = Case::new(seed);
        case.fill();
        case.checkpoint();
        case.fill();
        let clean = case.dice.one_in(2);
        if clean {
            case.log().close().unwrap();
        }
        let before = case.content();
        let others: Vec<PathBuf> = case.disk.paths().into_iter().filter(is_beside).collect();
        let path = &others[case.dice.below(others.len() as u64) as usize];
        case.disk.flip_random_bit(path);
        let report = case.reopen(clean);
        let after = case.content();
        assert_eq!(after, before, "seed {seed}: {} was damaged: {report:?}", path.display());
        assert!(report.lost.is_empty() && report.cut.is_empty(), "seed {seed}: {report:?}");
        check_entries(&mut case, &after, &after);
        case.append(10);
        case.log().enforce_retention(Timestamp::from_millis(5_000)).unwrap();
        case.content();
    }
}

fn is_beside(path: &PathBuf) -> bool {
    path.extension().is_none_or(|ending| ending != "log") && path != Path::new("t-0")
}

/// No CRC covers a batch's epoch. While the file of epochs is there, that one batch is a gap; it
/// takes no other with it once the file is lost, too.
#[test]
fn a_damaged_epoch_is_one_gap_also_without_the_file_of_epochs() {
    for seed in 0..100 {
        let mut case = Case::new(seed);
        case.fill();
        case.checkpoint();
        let placed = case.placed();
        let before = case.content();
        // Not the last of an epoch: there nothing contradicts it.
        let index = case.dice.below(placed.len() as u64 - 2) as usize;
        let batch = &placed[index];
        let epoch = |placed: &Placed| before.records[&placed.base].0;
        let alone = [index.wrapping_sub(1), index + 1]
            .iter()
            .all(|near| placed.get(*near).is_none_or(|near| epoch(near) != epoch(batch)));
        let is_last = epoch(&placed[index + 1]) != epoch(batch);
        if alone || is_last {
            continue;
        }
        let bit = (batch.position + 12) * 8 + case.dice.below(32);
        assert!(case.disk.flip_bit(&batch.path, bit));
        let file = Path::new("t-0/leader-epoch-checkpoint");
        match case.dice.one_in(2) {
            true => drop(case.disk.flip_bit(file, 42)),
            false => case.disk.process().remove_file(file).unwrap(),
        }
        case.reopen(false);
        let after = case.content();
        assert_eq!(after.gaps, [(batch.base, batch.next)], "seed {seed}");
        check_gaps(&before, &after, &placed, &BTreeSet::from([index]));
    }
}

#[test]
fn an_epoch_is_not_given_twice_where_the_epochs_are_damaged() {
    let mut case = Case::new(1);
    case.append(3);
    case.reopen(false);
    // Epoch 1 is visible and then lost; epoch 2 has no batch when its trace is damaged.
    let kept = case.log().log_end_offset();
    case.append(1);
    assert_eq!(case.log().reader().leader_epoch(), 1);
    case.log().truncate(kept).unwrap();
    let path = Path::new("t-0/leader-epoch-checkpoint");
    let content = String::from_utf8(case.disk.read_file(path).unwrap()).unwrap();
    assert!(content.ends_with(&format!("2 {kept}\n2 {kept}\n")), "{content}");
    assert!(case.disk.flip_bit(path, 7));
    case.reopen(false);
    assert!(case.log().reader().leader_epoch() > 2);
    case.append(1);
    let mut cursor = ReadCursor::new(kept + 1, 1);
    let error = case.log().reader().read(&mut cursor, 100).unwrap_err();
    assert!(matches!(error, ReadError::Truncated { to } if to <= kept), "{error}");
}

#[test]
fn damaged_epochs_rise_above_what_they_were_though_no_batch_is_left() {
    let mut case = Case::new(1);
    let path = Path::new("t-0/leader-epoch-checkpoint");
    let mut before = 0;
    for _ in 0..3 {
        assert!(case.disk.flip_bit(path, 7) || before == 0);
        case.log = None;
        case.disk.crash_power();
        case.reopen(false);
        case.append(1);
        let epoch = case.log().reader().leader_epoch();
        assert!(epoch > before || epoch == 0, "{epoch} after {before}");
        before = epoch;
        let end = case.log().log_end_offset();
        case.log().truncate(0).unwrap();
        assert!(end > 0 && case.log().log_end_offset() == 0);
    }
    assert!(before > 65_536, "{before}");
}

#[test]
fn a_recovery_point_that_was_moved_is_noticed() {
    let path = Path::new("t-0/recovery-point-offset-checkpoint");
    let mut case = Case::new(1);
    case.append(10);
    case.checkpoint();
    let content = case.disk.read_file(path).unwrap();
    for bit in 0..content.len() as u64 * 8 {
        assert!(case.disk.flip_bit(path, bit));
        let point = RecoveryPoint::load(&case.disk, Path::new("t-0"));
        assert!(!matches!(point, Ok(Some(_))), "bit {bit}: {point:?}");
        assert!(case.disk.flip_bit(path, bit));
    }
}
