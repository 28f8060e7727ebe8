//! Which leader epoch wrote which offsets of one partition's log.
//!
//! The epoch rises whenever the log may have lost its tail; a reader that says which epoch it last
//! saw can therefore be told that the record it would read next is not the one it expects. Kept in
//! `leader-epoch-checkpoint`, in Apache Kafka's format (`LeaderEpochCheckpointFile`), with the
//! rules of its `LeaderEpochFileCache`.
//!
//! Invariant: epochs and start offsets both rise strictly from one item to the next.

use std::fmt;
use std::io;
use std::path::Path;

use super::checkpoint::{self, CheckpointError, decode_lines, encode_lines};
use crate::storage::{self, Storage};

/// The name of the file that holds a partition's [`LeaderEpochs`].
pub(super) const LEADER_EPOCH_FILE: &str = "leader-epoch-checkpoint";

/// One leader epoch and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EpochStart {
    /// The epoch, from 0.
    pub(super) epoch: i32,
    /// The first offset it wrote, or will write.
    pub(super) start_offset: i64,
}

impl fmt::Display for EpochStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.epoch, self.start_offset)
    }
}

/// The leader epochs of one partition, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LeaderEpochs {
    starts: Vec<EpochStart>,
    /// Whether they are Kafka's, which moves the first up to the log's start, into the midst of a
    /// segment: what stands before it may be of any epoch that is not later.
    pub(super) trimmed: bool,
}

impl LeaderEpochs {
    /// A log that no leader has written to.
    #[cfg(test)]
    pub(super) fn new() -> Self {
        LeaderEpochs::default()
    }

    /// The newest epoch, if any. Every record appended from now on belongs to it.
    pub(super) fn latest(&self) -> Option<EpochStart> {
        self.starts.last().copied()
    }

    /// All epochs, oldest first.
    #[cfg(test)]
    pub(super) fn starts(&self) -> &[EpochStart] {
        &self.starts
    }

    /// Says that `epoch` writes from `start_offset` on; answers whether that was news.
    ///
    /// The latest epoch again changes nothing, unless it turns out to begin earlier. Epochs that
    /// contradict the new one, because they are not older or do not begin below it, are removed:
    /// an epoch that wrote nothing leaves no trace. Negative numbers stand for "none" in a record
    /// batch, and assign nothing.
    pub(super) fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        let known =
            self.latest().is_some_and(|it| it.epoch == epoch && it.start_offset <= start_offset);
        if known || epoch < 0 || start_offset < 0 {
            return false;
        }
        while self.latest().is_some_and(|it| it.epoch >= epoch || it.start_offset >= start_offset) {
            self.starts.pop();
        }
        self.starts.push(EpochStart { epoch, start_offset });
        true
    }

    /// The epoch that wrote `offset`; the latest one for offsets not yet written.
    pub(super) fn epoch_at(&self, offset: i64) -> Option<i32> {
        let above = self.starts.partition_point(|it| it.start_offset <= offset);
        Some(self.starts[..above].last()?.epoch)
    }

    /// Whether `epoch` wrote all of these offsets: a batch is never of two epochs.
    pub(super) fn wrote(&self, epoch: i32, first_offset: i64, last_offset: i64) -> bool {
        [first_offset, last_offset].iter().all(|offset| match self.epoch_at(*offset) {
            Some(known) => known == epoch,
            None => self.trimmed && self.starts.first().is_some_and(|it| epoch <= it.epoch),
        })
    }

    /// The answer to OffsetForLeaderEpoch: the newest epoch not above `requested_epoch`, and the
    /// offset at which it ended.
    ///
    /// `None` if there is no such epoch yet (on the wire: -1, -1). An epoch older than all that
    /// are known ended where the first known one begins.
    pub(super) fn end_offset_for(
        &self,
        requested_epoch: i32,
        log_end_offset: i64,
    ) -> Option<(i32, i64)> {
        let latest = self.latest()?;
        if requested_epoch < 0 || requested_epoch > latest.epoch {
            return None;
        }
        if requested_epoch == latest.epoch {
            return Some((requested_epoch, log_end_offset));
        }
        let above = self.starts.partition_point(|it| it.epoch <= requested_epoch);
        let epoch = self.starts[..above].last().map_or(requested_epoch, |it| it.epoch);
        Some((epoch, self.starts[above].start_offset))
    }

    /// Where a reader must go back to, if what it has read is no longer what the log holds.
    ///
    /// `position_offset` is the offset it would read next, `position_epoch` the epoch of the last
    /// record it read (negative: unknown, and so nothing to compare). Everything below the answer
    /// is as the reader saw it; `None` means that it may read on.
    ///
    /// An epoch newer than all that are known was lost with the records it wrote: how far back is
    /// not recorded, so the reader repeats the whole epoch that its last offset now belongs to.
    pub(super) fn divergence(
        &self,
        position_offset: i64,
        position_epoch: i32,
        log_end_offset: i64,
    ) -> Option<i64> {
        if position_epoch < 0 {
            return None;
        }
        let agreed = match self.end_offset_for(position_epoch, log_end_offset) {
            Some((_, end_offset)) => end_offset,
            None => {
                let last_read = position_offset.min(log_end_offset).saturating_sub(1);
                let above = self.starts.partition_point(|it| it.start_offset <= last_read);
                self.starts[..above].last().map_or(log_end_offset, |it| it.start_offset)
            }
        };
        (agreed < position_offset).then_some(agreed)
    }

    /// The log was cut: nothing at or above `log_end_offset` is left. Answers whether any epoch
    /// went.
    ///
    /// The epoch that the next leader takes must exceed [`latest`](Self::latest) *before* the cut:
    /// readers may have seen records of an epoch that this forgets.
    pub(super) fn truncate_from_end(&mut self, log_end_offset: i64) -> bool {
        let before = self.starts.len();
        self.starts.retain(|it| it.start_offset < log_end_offset);
        self.starts.len() < before
    }

    /// The log now begins at `log_start_offset`. Answers whether anything changed.
    ///
    /// The epoch which that offset belongs to is kept, and begins there from now on.
    pub(super) fn truncate_from_start(&mut self, log_start_offset: i64) -> bool {
        let above = self.starts.partition_point(|it| it.start_offset <= log_start_offset);
        let Some(first) = above.checked_sub(1) else {
            return false;
        };
        let unchanged = first == 0 && self.starts[0].start_offset == log_start_offset;
        self.starts.drain(..first);
        self.starts[0].start_offset = log_start_offset;
        !unchanged
    }

    /// The content of `leader-epoch-checkpoint`. Each line stands there twice: the format has no
    /// checksum, and a log whose epochs are wrong could not be read. Kafka takes a line that comes
    /// again for one (`LeaderEpochFileCache.assign`).
    pub(super) fn encode(&self) -> Vec<u8> {
        let twice: Vec<EpochStart> = self.starts.iter().flat_map(|it| [*it, *it]).collect();
        encode_lines(&twice)
    }

    /// Reads what [`encode`](Self::encode) or Kafka wrote.
    pub(super) fn decode(content: &[u8]) -> Result<Self, CheckpointError> {
        let mut starts = decode_lines(LEADER_EPOCH_FILE, content, |[epoch, start_offset]| {
            let (epoch, start_offset) = (epoch.parse().ok()?, start_offset.parse().ok()?);
            (epoch >= 0 && start_offset >= 0).then_some(EpochStart { epoch, start_offset })
        })?;
        if starts.len() % 2 == 0 && starts.chunks(2).all(|pair| pair[0] == pair[1]) {
            starts.dedup();
        }
        // If one of two lines was damaged, they do not rise.
        let rises = |pair: &[EpochStart]| {
            pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset
        };
        match starts.windows(2).position(|pair| !rises(pair)) {
            None => Ok(LeaderEpochs { starts, trimmed: false }),
            // After version, count and the first line, counted from 1.
            Some(index) => {
                Err(CheckpointError::Malformed { file: LEADER_EPOCH_FILE, line: index + 4 })
            }
        }
    }

    /// Reads the file in `dir`; `None` if there is none.
    pub(super) fn load(storage: &dyn Storage, dir: &Path) -> Result<Option<Self>, CheckpointError> {
        checkpoint::load(storage, dir, LEADER_EPOCH_FILE, Self::decode)
    }

    /// The highest epoch that a damaged file in `dir` still speaks of, right or wrong; 0 if none.
    pub(super) fn highest_named(storage: &dyn Storage, dir: &Path) -> io::Result<i32> {
        let path = dir.join(LEADER_EPOCH_FILE);
        let content = match storage::read_whole(storage, &path, checkpoint::MAX_CHECKPOINT_BYTES) {
            // It is too long to be one.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(0),
            content => content?,
        };
        let content = String::from_utf8_lossy(&content);
        let epoch = |line: &str| line.split_once(' ')?.0.parse().ok();
        Ok(content.lines().filter_map(epoch).max().unwrap_or(0).max(0))
    }

    /// Replaces the file in `dir`, durably.
    pub(super) fn store(&self, storage: &dyn Storage, dir: &Path) -> io::Result<()> {
        storage::replace(storage, &dir.join(LEADER_EPOCH_FILE), &self.encode())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epochs(starts: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::new();
        for (epoch, start_offset) in starts {
            assert!(epochs.assign(*epoch, *start_offset));
        }
        epochs
    }

    fn pairs(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        epochs.starts().iter().map(|it| (it.epoch, it.start_offset)).collect()
    }

    #[test]
    fn what_stands_before_kafkas_first_epoch_is_of_an_earlier_one_or_the_same() {
        let mut it = epochs(&[(3, 300), (5, 400)]);
        assert!(it.wrote(3, 300, 399) && !it.wrote(3, 200, 210) && !it.wrote(3, 290, 310));
        it.trimmed = true;
        assert!(it.wrote(3, 200, 210) && it.wrote(1, 0, 9) && it.wrote(3, 290, 310));
        assert!(!it.wrote(4, 200, 210) && !it.wrote(3, 390, 410) && !it.wrote(4, 300, 310));
    }

    #[test]
    fn assigning_keeps_epochs_and_offsets_rising() {
        let mut it = epochs(&[(0, 0), (2, 10), (5, 20)]);
        assert!(!it.assign(5, 20) && !it.assign(5, 30), "the latest again");
        assert!(!it.assign(-1, 40) && !it.assign(6, -1), "none");
        assert!(it.assign(6, 20), "5 wrote nothing");
        assert_eq!(pairs(&it), [(0, 0), (2, 10), (6, 20)]);
        assert!(it.assign(6, 15), "6 began earlier than thought");
        assert_eq!(pairs(&it), [(0, 0), (2, 10), (6, 15)]);
        assert!(it.assign(2, 30), "an older epoch contradicts the newer");
        assert_eq!(pairs(&it), [(0, 0), (2, 30)]);
        assert!(it.assign(9, 0));
        assert_eq!(pairs(&it), [(9, 0)]);
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let it = epochs(&[(2, 10), (5, 20), (6, 30)]);
        for (requested, answer) in [
            (-1, None),
            (0, Some((0, 10))),
            (2, Some((2, 20))),
            (4, Some((2, 20))),
            (5, Some((5, 30))),
            (6, Some((6, 40))),
            (7, None),
        ] {
            assert_eq!(it.end_offset_for(requested, 40), answer, "{requested}");
        }
        assert_eq!(LeaderEpochs::new().end_offset_for(0, 40), None);
    }

    #[test]
    fn an_epoch_that_was_lost_sends_readers_back() {
        let it = epochs(&[(2, 10), (5, 20)]);
        for (position, to) in [
            (50, Some(20)),
            (40, Some(20)),
            (21, Some(20)),
            (20, Some(10)),
            (11, Some(10)),
            (10, None),
        ] {
            assert_eq!(it.divergence(position, 9, 40), to, "{position}");
        }
        assert_eq!(it.divergence(50, -1, 40), None, "an unknown epoch says nothing");
        assert_eq!(LeaderEpochs::new().divergence(50, 9, 40), Some(40));
        assert_eq!(LeaderEpochs::new().divergence(40, 9, 40), None);
    }

    #[test]
    fn cuts_say_whether_they_changed_anything() {
        let mut it = epochs(&[(0, 0), (2, 10), (5, 20)]);
        assert!(!it.truncate_from_end(21));
        assert!(it.truncate_from_end(20), "5 has no record left");
        assert_eq!(pairs(&it), [(0, 0), (2, 10)]);
        assert!(!it.truncate_from_start(0) && it.truncate_from_start(5));
        assert_eq!(pairs(&it), [(0, 5), (2, 10)]);
        assert!(!it.truncate_from_start(4), "below what is known");
        assert!(it.truncate_from_start(10), "0 has no record left");
        assert_eq!(pairs(&it), [(2, 10)]);
        assert!(it.truncate_from_end(0) && it.starts().is_empty());
    }

    #[test]
    fn the_file_is_what_kafka_writes_and_reads() {
        // Written by Apache Kafka 4.1.0's LeaderEpochCheckpointFile.
        let kafka = b"0\n3\n0 0\n2 10\n7 4000000000\n";
        let it = epochs(&[(0, 0), (2, 10), (7, 4_000_000_000)]);
        assert_eq!(LeaderEpochs::decode(kafka).unwrap(), it);
        let twice = b"0\n6\n0 0\n0 0\n2 10\n2 10\n7 4000000000\n7 4000000000\n";
        assert_eq!(it.encode(), twice);
        assert_eq!(LeaderEpochs::decode(twice).unwrap(), it);
        assert_eq!(LeaderEpochs::decode(b"").unwrap(), LeaderEpochs::new(), "as Kafka creates it");
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let it = epochs(&[(0, 0), (1, 77), (3, 100)]);
        let content = it.encode();
        for bit in 0..content.len() * 8 {
            let mut damaged = content.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // A space may have become another, and a digit has a sign that says the same.
            let read = LeaderEpochs::decode(&damaged);
            assert!(read.is_err() || read.unwrap() == it, "{:?}", damaged.escape_ascii());
        }
    }

    #[test]
    fn files_that_do_not_rise_are_malformed() {
        for content in [
            &b"0\n2\n1 0\n1 10\n"[..],
            b"0\n2\n2 0\n1 10\n",
            b"0\n2\n1 10\n2 10\n",
            b"0\n2\n1 10\n2 9\n",
            b"0\n2\n0 0\n2147483648 9\n",
        ] {
            let error = LeaderEpochs::decode(content).unwrap_err().to_string();
            assert_eq!(error, "leader-epoch-checkpoint is malformed at line 4");
        }
        let error = LeaderEpochs::decode(b"0\n1\n-1 0\n").unwrap_err().to_string();
        assert_eq!(error, "leader-epoch-checkpoint is malformed at line 3");
    }

    #[derive(Debug, Clone)]
    enum Op {
        Append(usize),
        /// A new leader, after the log lost so much of its tail (in per mille).
        Crash {
            lost: usize,
            rise: i32,
        },
        /// The log start moves up by so much of the log (in per mille).
        Retain(usize),
        /// A reader stops here (in per mille of the log), to look again later.
        Read(usize),
        Reopen,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            3 => (0..6usize).prop_map(Op::Append),
            2 => (0..=1000usize, 1..3i32).prop_map(|(lost, rise)| Op::Crash { lost, rise }),
            1 => (0..=1000usize).prop_map(Op::Retain),
            2 => (0..=1000usize).prop_map(Op::Read),
            1 => Just(Op::Reopen),
        ];
        prop::collection::vec(op, 1..40)
    }

    /// A log that remembers each record's epoch, and a number that no other record has.
    #[derive(Default)]
    struct Model {
        records: Vec<(i32, u64)>,
        start: usize,
        epoch: i32,
        written: u64,
        readers: Vec<Vec<(i32, u64)>>,
    }

    impl Model {
        /// So many per mille of the way from log start to log end.
        fn offset(&self, per_mille: usize) -> usize {
            self.start + (self.records.len() - self.start) * per_mille / 1000
        }

        fn apply(&mut self, op: &Op, epochs: &mut LeaderEpochs) {
            match *op {
                Op::Append(count) => {
                    epochs.assign(self.epoch, self.records.len() as i64);
                    for _ in 0..count {
                        self.written += 1;
                        self.records.push((self.epoch, self.written));
                    }
                }
                Op::Crash { lost, rise } => {
                    self.records.truncate(self.offset(1000 - lost));
                    self.epoch += rise;
                    epochs.truncate_from_end(self.records.len() as i64);
                    epochs.assign(self.epoch, self.records.len() as i64);
                }
                Op::Retain(per_mille) => {
                    self.start = self.offset(per_mille);
                    epochs.truncate_from_start(self.start as i64);
                }
                Op::Read(per_mille) => {
                    self.readers.push(self.records[..self.offset(per_mille)].to_vec());
                }
                Op::Reopen => *epochs = LeaderEpochs::decode(&epochs.encode()).unwrap(),
            }
        }

        fn compare(&self, epochs: &LeaderEpochs) {
            let end = self.records.len() as i64;
            for (offset, (epoch, _)) in self.records.iter().enumerate().skip(self.start) {
                assert_eq!(epochs.epoch_at(offset as i64), Some(*epoch), "at {offset}");
            }
            for wanted in 0..epochs.latest().map_or(0, |it| it.epoch) {
                let newer = |(epoch, _): &(i32, u64)| *epoch > wanted;
                let retained = &self.records[self.start..];
                let first = retained.iter().position(newer).unwrap_or(retained.len());
                let (_, found) = epochs.end_offset_for(wanted, end).unwrap();
                assert_eq!(found, (self.start + first) as i64, "end of epoch {wanted}");
            }
            for read in &self.readers {
                self.compare_reader(
                    read,
                    epochs.divergence(
                        read.len() as i64,
                        read.last().map_or(-1, |(epoch, _)| *epoch),
                        end,
                    ),
                );
            }
        }

        /// A reader goes back just when, and just as far as, what it read is gone from the log.
        fn compare_reader(&self, read: &[(i32, u64)], to: Option<i64>) {
            let common = read.iter().zip(&self.records).take_while(|(a, b)| a == b).count();
            let agreed = common.max(self.start);
            let expected = (agreed < read.len()).then_some(agreed as i64);
            assert_eq!(to, expected, "read {read:?}, now {:?}", self.records);
        }
    }

    proptest! {
        #[test]
        fn epochs_know_what_a_log_that_remembers_everything_knows(ops in ops()) {
            let (mut model, mut epochs) = (Model::default(), LeaderEpochs::new());
            epochs.assign(0, 0);
            for op in &ops {
                model.apply(op, &mut epochs);
                model.compare(&epochs);
            }
        }
    }
}
