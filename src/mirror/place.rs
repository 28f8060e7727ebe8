//! What a mirror remembers of a partition, and what it learns from the numbers of the batches that
//! it finds in its target. Pure.
//!
//! Batches carry the mirror's producer id and epoch; the sequence number of a record is how far it
//! stands behind the first record of that epoch. So the target holds the position: whatever was
//! appended last says what comes next, and a broker appends nothing but that.

use std::fmt;

use crate::batch::BatchHeader;
use crate::topic::TopicId;
use crate::transport::ProducerId;

/// How many sequence numbers there are: after the highest comes 0.
const SEQUENCES: i64 = 1 << 31;

/// How far a partition is mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The source's offset that comes next.
    pub(super) next: i64,
    /// The latest leader epoch of the source of which something was sent; -1 for none.
    pub(super) source_epoch: i32,
    /// The life of the target's topic.
    pub(super) topic: TopicId,
    /// The target's offset behind what was acknowledged last.
    pub(super) target: i64,
    /// Who the mirror is to the target; `None` where that does not count batches.
    pub(super) producer: Option<ProducerId>,
    /// The source's offset whose sequence number is 0.
    pub(super) first: i64,
    /// Whether nothing was under way when this was noted, and nothing was sent since.
    pub(super) is_settled: bool,
}

/// The last batch of a producer in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastBatch {
    pub(super) epoch: i16,
    pub(super) last_sequence: i32,
}

impl LastBatch {
    pub(super) fn of(header: &BatchHeader) -> Self {
        LastBatch { epoch: header.producer_epoch, last_sequence: header.last_sequence() }
    }
}

/// What the last batch found in the target means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All before this offset of the source is there.
    Upto(i64),
    /// It is of an epoch that was over: nothing of this one is there yet.
    Earlier,
    /// It is of an epoch that this mirror has not had: somebody works with a copy of its memory.
    Foreign,
}

impl Place {
    /// The number of a record.
    pub(super) fn sequence(&self, offset: i64) -> i32 {
        (offset - self.first).rem_euclid(SEQUENCES) as i32
    }

    /// What a batch found in the target means. What may be there is not two thousand million
    /// records from what is known to be.
    pub(super) fn found(&self, producer: ProducerId, last: &LastBatch) -> Found {
        if last.epoch < producer.epoch {
            return Found::Earlier;
        }
        if last.epoch > producer.epoch {
            return Found::Foreign;
        }
        let expected = i64::from(self.sequence(self.next));
        let ahead = (i64::from(last.last_sequence) + 1 - expected).rem_euclid(SEQUENCES);
        let ahead = if ahead < SEQUENCES / 2 { ahead } else { ahead - SEQUENCES };
        match self.is_settled && ahead > 0 {
            // A directory that was put back.
            true => Found::Foreign,
            false => Found::Upto(self.next + ahead),
        }
    }

    /// Reads what `Display` wrote, with what a commit has besides.
    pub(super) fn parse(next: i64, source_epoch: i32, text: &str) -> Option<Place> {
        let mut parts = text.strip_prefix("mirror/1 ")?.split(' ');
        let mut part = |name: &str| parts.next()?.strip_prefix(name)?.strip_prefix('=');
        let topic = TopicId::parse(part("topic")?)?;
        let target = part("target")?.parse().ok()?;
        let first = part("first")?.parse().ok()?;
        let producer = match part("producer")? {
            "none" => None,
            text => {
                let (id, epoch) = text.split_once(':')?;
                Some(ProducerId { id: id.parse().ok()?, epoch: epoch.parse().ok()? })
            }
        };
        let is_settled = match part("settled")? {
            "true" => true,
            "false" => false,
            _ => return None,
        };
        Some(Place { next, source_epoch, topic, target, producer, first, is_settled })
    }
}

/// For a commit's metadata, which may have 4096 bytes: it never has 200.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { topic, target, first, .. } = self;
        write!(f, "mirror/1 topic={topic} target={target} first={first} producer=")?;
        match self.producer {
            Some(ProducerId { id, epoch }) => write!(f, "{id}:{epoch}")?,
            None => f.write_str("none")?,
        }
        write!(f, " settled={}", self.is_settled)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(next: i64, first: i64, epoch: i16) -> (Place, ProducerId) {
        let producer = ProducerId { id: 4000, epoch };
        let topic = TopicId::parse("AAAAAAAAAAAAAAAAAAAAAQ").unwrap();
        let place = Place {
            next,
            source_epoch: 3,
            topic,
            target: 70,
            producer: Some(producer),
            first,
            is_settled: false,
        };
        (place, producer)
    }

    proptest! {
        #[test]
        fn a_batch_in_the_target_tells_what_comes_next(
            first in 0..i64::MAX / 2,
            known in 0..1_i64 << 40,
            ahead in -1_000_000_000..1_000_000_000_i64,
        ) {
            let (place, producer) = place(first + known, first, 7);
            let next = place.next + ahead;
            prop_assume!(next > first);
            let last_sequence = place.sequence(next - 1);
            let last = LastBatch { epoch: 7, last_sequence };
            prop_assert_eq!(place.found(producer, &last), Found::Upto(next));
        }

        #[test]
        fn what_is_remembered_is_read_again(
            next in 0..i64::MAX, target: i64, first: i64, id: i64, epoch: i16, counts: bool,
            is_settled: bool,
        ) {
            let (mut place, _) = place(next, first, epoch);
            place.is_settled = is_settled;
            place.target = target;
            place.producer = counts.then_some(ProducerId { id, epoch });
            let text = place.to_string();
            prop_assert!(text.len() < 200);
            prop_assert_eq!(Place::parse(next, 3, &text), Some(place));
        }
    }

    #[test]
    fn sequences_begin_again_after_the_highest() {
        let (place, _) = place(10, 10, 0);
        assert_eq!((place.sequence(10), place.sequence(11)), (0, 1));
        assert_eq!(place.sequence(10 + SEQUENCES - 1), i32::MAX);
        assert_eq!(place.sequence(10 + SEQUENCES), 0);
    }

    #[test]
    fn other_epochs_tell_nothing_of_this_one() {
        let (place, producer) = place(10, 5, 2);
        let last = |epoch| LastBatch { epoch, last_sequence: 3 };
        assert_eq!(place.found(producer, &last(1)), Found::Earlier);
        assert_eq!(place.found(producer, &last(2)), Found::Upto(9));
        assert_eq!(place.found(producer, &last(3)), Found::Foreign);
        // Nothing was under way, but there is more, or less.
        let settled = Place { is_settled: true, ..place };
        let last = |last_sequence| LastBatch { epoch: 2, last_sequence };
        assert_eq!(settled.found(producer, &last(5)), Found::Foreign);
        assert_eq!(settled.found(producer, &last(4)), Found::Upto(10));
        assert_eq!(settled.found(producer, &last(3)), Found::Upto(9));
    }

    #[test]
    fn what_somebody_else_has_committed_is_no_place() {
        let (place, _) = place(10, 5, 2);
        let text = place.to_string();
        for odd in ["", "note", "mirror/2 topic=x", &text[..text.len() - 2], &text[1..]] {
            assert_eq!(Place::parse(10, 3, odd), None, "{odd:?}");
        }
    }
}
