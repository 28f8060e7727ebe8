//! Compaction against a model: a list of batches, and for each key the last record that counts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::parts::{Case, Keyed, compacting, content, text};
use crate::batch::Compression;
use crate::log::LogConfig;
use crate::storage::{MemoryStorage, SimDisk};

#[derive(Debug, Clone)]
enum Op {
    /// A batch: each record's key, and whether it has a value.
    Append(Vec<(u8, bool)>),
    Roll,
    /// After so many milliseconds.
    Compact(i64),
    Reopen,
    Truncate(i64),
}

fn op() -> impl Strategy<Value = Op> {
    let record = (0..7u8, prop::bool::weighted(0.7));
    prop_oneof![
        8 => prop::collection::vec(record, 1..5).prop_map(Op::Append),
        2 => Just(Op::Roll),
        3 => (0..1_500i64).prop_map(Op::Compact),
        1 => Just(Op::Reopen),
        1 => (700..=1000i64).prop_map(Op::Truncate),
    ]
}

/// None, or one that is built in.
fn codec() -> impl Strategy<Value = Compression> {
    let all = Compression::ALL.into_iter().filter(|codec| codec.is_built_in());
    prop::sample::select(all.collect::<Vec<_>>())
}

#[derive(Debug)]
struct Batch {
    base: i64,
    records: Vec<Option<Keyed>>,
    horizon: Option<i64>,
}

impl Batch {
    fn end(&self) -> i64 {
        self.base + self.records.len() as i64
    }

    fn left(&self) -> impl Iterator<Item = (i64, &Keyed)> {
        let with_offset = (self.base..).zip(&self.records);
        with_offset.filter_map(|(offset, record)| Some((offset, record.as_ref()?)))
    }
}

struct Model {
    case: Case,
    batches: Vec<Batch>,
    /// All that was appended and not truncated.
    history: BTreeMap<i64, Keyed>,
    first_dirty: i64,
    now: i64,
    /// What had superseded others may be gone.
    truncated: bool,
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, Batch::end)
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Append(records) => self.append(records),
            Op::Roll => self.case.roll(),
            Op::Compact(later) => {
                self.now += later;
                self.compact();
            }
            Op::Reopen if self.case.log.shared.verify => self.case.reopen(),
            Op::Reopen => {}
            Op::Truncate(per_mille) => self.truncate(self.end() * per_mille / 1000),
        }
    }

    fn append(&mut self, records: &[(u8, bool)]) {
        self.now += 1;
        let (base, now) = (self.end(), self.now);
        let record = |(i, (key, has_value)): (usize, &(u8, bool))| {
            let value = has_value.then(|| format!("{}", base + i as i64));
            Keyed { key: format!("k{key}"), value, timestamp: now + i as i64 }
        };
        let records: Vec<Keyed> = records.iter().enumerate().map(record).collect();
        let texts: Vec<String> = records.iter().map(text).collect();
        self.case.append(now, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        self.history.extend((base..).zip(records.clone()));
        let records = records.into_iter().map(Some).collect();
        self.batches.push(Batch { base, records, horizon: None });
    }

    fn compact(&mut self) {
        let closed: Vec<i64> = self.case.bases();
        let end = closed.last().copied().unwrap_or(0);
        if closed.len() < 2 {
            return;
        }
        self.case.compact(self.now);
        let mut last = BTreeMap::new();
        for (offset, record) in self.batches.iter().flat_map(Batch::left) {
            if (self.first_dirty..end).contains(&offset) {
                last.insert(record.key.clone(), offset);
            }
        }
        for batch in self.batches.iter_mut().filter(|batch| batch.base < end) {
            let due = batch.horizon.is_some_and(|horizon| horizon <= self.now);
            let mut has_tombstone = false;
            for (offset, place) in (batch.base..).zip(&mut batch.records) {
                let Some(record) = place else { continue };
                let superseded = last.get(&record.key).is_some_and(|last| *last > offset);
                if superseded || record.value.is_none() && due {
                    *place = None;
                } else {
                    has_tombstone |= record.value.is_none();
                }
            }
            if has_tombstone && batch.horizon.is_none() {
                batch.horizon = Some(self.now + 2_000);
            }
        }
        self.first_dirty = self.first_dirty.max(end);
    }

    fn truncate(&mut self, offset: i64) {
        self.case.log.truncate(offset).unwrap();
        let end = self.case.log.log_end_offset();
        if offset >= self.end() {
            return;
        }
        // A batch without records may stand for many.
        assert!(end <= offset);
        self.truncated = true;
        self.batches.retain(|batch| batch.base < end);
        self.history.split_off(&end);
        self.first_dirty = self.first_dirty.min(end);
        if self.end() < end {
            self.batches.push(Batch { base: end, records: Vec::new(), horizon: None });
        }
        self.case.log.publish();
    }

    fn check(&self) {
        let found = content(&self.case.log.reader(), 500).unwrap();
        let found: Vec<(i64, Keyed)> =
            found.into_iter().map(|(offset, (_, record))| (offset, record)).collect();
        let wanted = self.batches.iter().flat_map(Batch::left);
        let wanted: Vec<(i64, Keyed)> = wanted.map(|(offset, it)| (offset, it.clone())).collect();
        assert_eq!(found, wanted);
        // Whoever reads it all knows the same as one who read all that ever was.
        let state = |records: &mut dyn Iterator<Item = &Keyed>| {
            let mut state = BTreeMap::new();
            records.for_each(|record| drop(state.insert(record.key.clone(), record.value.clone())));
            state.retain(|_, value| value.is_some());
            state
        };
        let (now, ever) =
            (state(&mut found.iter().map(|it| &it.1)), state(&mut self.history.values()));
        assert!(self.truncated || now == ever, "{now:?}, not {ever:?}");
        for timestamp in [self.now - 700, self.now - 100, self.now] {
            let reader = self.case.log.reader();
            let by_time = reader.offset_for_timestamp(timestamp).unwrap().map(|it| it.offset);
            let first = found.iter().find(|(_, it)| it.timestamp >= timestamp);
            assert_eq!(by_time, first.map(|it| it.0), "by {timestamp}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_log_is_the_last_of_each_key(
        ops in prop::collection::vec(op(), 1..60),
        in_memory in any::<bool>(),
        codec in codec(),
        segment_bytes in 300..2_000u64,
        index_interval_bytes in 0..400u64,
    ) {
        let config = LogConfig { segment_bytes, index_interval_bytes, ..compacting() };
        let mut case = match in_memory {
            true => Case::new(MemoryStorage::new(1 << 28), config),
            false => Case::new(SimDisk::new(1), config),
        };
        case.codec = codec;
        let (batches, history) = (Vec::new(), BTreeMap::new());
        let (first_dirty, now, truncated) = (0, 10_000, false);
        let mut model = Model { case, batches, history, first_dirty, now, truncated };
        for op in &ops {
            model.apply(op);
            model.check();
        }
    }
}
