//! Verdicts and cuts against a model that remembers everything.

use proptest::prelude::*;

use super::*;

const LAST_SEQUENCE: i32 = i32::MAX;

fn batch(producer_id: i64, epoch: i16, base_sequence: i32, records: i32) -> ProducerBatch {
    let last_offset_delta = records - 1;
    ProducerBatch { producer_id, epoch, base_sequence, last_offset_delta, timestamp: 1000 }
}

#[test]
fn errors_say_what_was_sent_and_what_was_expected() {
    let mut state = ProducerState::new(1);
    state.applied(&batch(7, 3, 0, 5), 100);
    for (sent, error) in [
        (batch(7, 2, 5, 1), "producer epoch is over: producer id 7, epoch 2, current 3"),
        (batch(7, 3, 6, 1), "sequence out of order: producer id 7, epoch 3, found 6, expected 5"),
        (batch(7, 4, 5, 1), "sequence out of order: producer id 7, epoch 4, found 5, expected 0"),
        (batch(8, 0, 0, 1), "too many producers: producer id 8 is new, the limit is 1"),
        (
            batch(7, 3, -1, 1),
            "a batch has no epoch or no sequence: producer id 7, epoch 3, base sequence -1",
        ),
        (
            batch(7, -1, 0, 1),
            "a batch has no epoch or no sequence: producer id 7, epoch -1, base sequence 0",
        ),
    ] {
        assert_eq!(state.check(&sent).unwrap_err().to_string(), error);
    }
    let anonymous = batch(-1, -1, -1, 1);
    assert_eq!(state.check(&anonymous), Ok(Verdict::Append));
    state.applied(&anonymous, 105);
    assert_eq!(state.len(), 1);
}

#[test]
fn a_batch_across_the_wrap_is_recognised() {
    let mut state = ProducerState::new(1);
    let across = batch(7, 0, LAST_SEQUENCE - 1, 4);
    assert_eq!(across.last_sequence(), 1);
    assert_eq!(state.check(&across), Ok(Verdict::Append), "nothing is known of 7");
    state.applied(&across, 100);
    let again = Verdict::Duplicate { base_offset: 100, timestamp: 1000 };
    assert_eq!(state.check(&across), Ok(again));
    assert_eq!(state.check(&batch(7, 0, 2, 1)), Ok(Verdict::Append));
    state.applied(&batch(7, 0, 2, 1), 104);
    state.applied(&batch(7, 0, 3, LAST_SEQUENCE - 2), 105);
    assert_eq!(state.check(&batch(7, 0, 0, 1)), Ok(Verdict::Append), "0 follows 2^31 - 1");
}

#[test]
fn the_idle_expire_unless_a_transaction_is_open() {
    let mut state = ProducerState::new(10);
    for id in 0..4 {
        state.applied(&batch(id, 0, 0, 1), id);
    }
    state.applied(&ProducerBatch { timestamp: 1001, ..batch(1, 0, 1, 1) }, 4);
    state.applied(&ProducerBatch { timestamp: i64::MIN, ..batch(3, 0, 1, 1) }, 5);
    state.producers.get_mut(&2).unwrap().current_txn_first_offset = Some(2);
    assert_eq!(state.expire(1499, 500), 1);
    assert_eq!(state.expire(1500, 500), 1);
    assert_eq!(state.producers.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(state.check(&batch(0, 0, 99, 1)), Ok(Verdict::Append), "0 is forgotten");
}

#[test]
fn a_coordinators_batch_raises_the_epoch_and_has_no_sequence() {
    let mut state = ProducerState::new(1);
    state.applied(&batch(7, 0, 0, 5), 100);
    state.applied(&batch(7, 1, -1, 1), 105);
    assert!(matches!(state.check(&batch(7, 0, 5, 1)), Err(ProducerError::InvalidEpoch { .. })));
    assert_eq!(state.check(&batch(7, 1, 0, 1)), Ok(Verdict::Append));
    assert!(state.check(&batch(7, 1, 5, 1)).is_err());
}

#[test]
fn a_rebuild_never_holds_more_than_twice_the_limit() {
    let mut state = ProducerState::new(10);
    for id in 0..1000 {
        // Ids fall while offsets rise: the oldest, not the smallest, have to go.
        state.applied(&batch(1000 - id, 0, 0, 1), id);
        let expected = if id < 20 { id + 1 } else { 10 + (id - 20) % 11 };
        assert_eq!(state.len() as i64, expected);
    }
    assert!((1..=10).all(|id| state.producers.contains_key(&id)), "the latest ten");
}

#[derive(Debug, Clone)]
enum Op {
    /// What a well-behaved producer sends next, so many records.
    Next { id: i64, records: i32 },
    /// A batch sent earlier, so many ago, in whole or but for its last record.
    Retry { id: i64, ago: usize, shorter: bool },
    /// What nobody should send.
    Stray { id: i64, epoch: i16, sequence: i32, records: i32 },
    /// The producer starts over with the next epoch.
    Bump { id: i64 },
    /// The partition is opened again from a snapshot.
    Reopen,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let id = || 0..3i64;
    let sequence = prop_oneof![0..12i32, LAST_SEQUENCE - 6..=LAST_SEQUENCE];
    let op = prop_oneof![
        6 => (id(), 1..4i32).prop_map(|(id, records)| Op::Next { id, records }),
        4 => (id(), 0..8usize, prop::bool::weighted(0.2))
            .prop_map(|(id, ago, shorter)| Op::Retry { id, ago, shorter }),
        2 => (id(), 0..3i16, sequence, 1..4i32).prop_map(|(id, epoch, sequence, records)| {
            Op::Stray { id, epoch, sequence, records }
        }),
        1 => id().prop_map(|id| Op::Bump { id }),
        1 => Just(Op::Reopen),
    ];
    prop::collection::vec(op, 1..60)
}

/// All that was ever appended, in order, and how much of each history a reopen has hidden.
#[derive(Default)]
struct Model {
    log: Vec<(ProducerBatch, i64)>,
    hidden: [usize; 3],
    end_offset: i64,
}

impl Model {
    fn history(&self, id: i64) -> Vec<(ProducerBatch, i64)> {
        self.log.iter().filter(|(batch, _)| batch.producer_id == id).copied().collect()
    }

    /// The sequences of a batch's records, one by one.
    fn sequences(batch: &ProducerBatch) -> Vec<i64> {
        let base = i64::from(batch.base_sequence);
        (base..=base + i64::from(batch.last_offset_delta)).map(|it| it % (1 << 31)).collect()
    }

    fn sent(&self, op: &Op) -> Option<ProducerBatch> {
        let last = |id| self.history(id).last().map(|(last, _)| *last);
        let next = |id, records| match last(id) {
            None => batch(id, 0, LAST_SEQUENCE - 3, records),
            Some(last) => {
                let sequence = (Self::sequences(&last).pop().unwrap() + 1) % (1 << 31);
                batch(id, last.epoch, sequence as i32, records)
            }
        };
        match *op {
            Op::Next { id, records } => Some(next(id, records)),
            Op::Retry { id, ago, shorter } => {
                let (mut copy, _) = self.history(id).into_iter().rev().nth(ago)?;
                let shorter = shorter && copy.last_offset_delta > 0;
                copy.last_offset_delta -= i32::from(shorter);
                Some(ProducerBatch { timestamp: 5, ..copy })
            }
            Op::Stray { id, epoch, sequence, records } => Some(batch(id, epoch, sequence, records)),
            Op::Bump { id } => Some(batch(id, last(id)?.epoch + 1, 0, 1)),
            Op::Reopen => None,
        }
    }

    fn expected(&self, sent: &ProducerBatch) -> Result<Verdict, &'static str> {
        let history = self.history(sent.producer_id);
        let Some((last, _)) = history.last() else {
            return Ok(Verdict::Append);
        };
        if sent.epoch < last.epoch {
            return Err("epoch");
        }
        let hidden = self.hidden[sent.producer_id as usize];
        let remembered = history[hidden..].iter().rev().take(5);
        for (earlier, base_offset) in remembered.filter(|(it, _)| it.epoch == sent.epoch) {
            if Self::sequences(earlier) == Self::sequences(sent) {
                let timestamp = earlier.timestamp;
                return Ok(Verdict::Duplicate { base_offset: *base_offset, timestamp });
            }
        }
        let follows = (Self::sequences(last).pop().unwrap() + 1) % (1 << 31);
        let expected = if sent.epoch == last.epoch { follows } else { 0 };
        if i64::from(sent.base_sequence) == expected { Ok(Verdict::Append) } else { Err("order") }
    }

    fn append(&mut self, mut sent: ProducerBatch, state: &mut ProducerState) {
        sent.timestamp += self.end_offset;
        state.applied(&sent, self.end_offset);
        self.log.push((sent, self.end_offset));
        self.end_offset += i64::from(sent.last_offset_delta) + 1;
    }

    fn run(&mut self, op: &Op, state: &mut ProducerState) {
        if let Op::Reopen = op {
            *state = ProducerState::decode(&state.encode(), 3).unwrap();
            for id in 0..3 {
                self.hidden[id] = self.history(id as i64).len().saturating_sub(1);
            }
        }
        let Some(sent) = self.sent(op) else { return };
        let verdict = state.check(&sent).map_err(|error| match error {
            ProducerError::InvalidEpoch { .. } => "epoch",
            ProducerError::OutOfOrderSequence { .. } => "order",
            other => panic!("{other}"),
        });
        assert_eq!(verdict, self.expected(&sent), "{op:?} {sent:?}");
        if verdict == Ok(Verdict::Append) {
            self.append(sent, state);
        }
    }
}

proptest! {
    #[test]
    fn verdicts_are_those_of_a_model_that_remembers_everything(ops in ops()) {
        let (mut model, mut state) = (Model::default(), ProducerState::new(3));
        for op in &ops {
            model.run(op, &mut state);
        }
    }

    #[test]
    fn after_a_cut_the_producers_kept_are_those_a_rebuild_would_find(
        ops in ops(), cut in 0..100i64,
    ) {
        let (mut model, mut state) = (Model::default(), ProducerState::new(3));
        for op in &ops {
            model.run(op, &mut state);
        }
        state.truncate_from(cut);
        let mut rebuilt = ProducerState::new(3);
        for (batch, base_offset) in &model.log {
            if base_offset + i64::from(batch.last_offset_delta) < cut {
                rebuilt.applied(batch, *base_offset);
            }
        }
        for (id, kept) in &state.producers {
            let found = &rebuilt.producers[id];
            prop_assert_eq!((kept.epoch, kept.last_timestamp), (found.epoch, found.last_timestamp));
            prop_assert!(found.batches().ends_with(kept.batches()));
        }
    }
}
