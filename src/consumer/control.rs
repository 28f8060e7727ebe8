//! Where a consumer stands, and moving it: seek, pause, position, lag.

use std::collections::BTreeMap;

use super::builder::locate;
use super::{Consumer, Position, Start};
use crate::error::Result;
use crate::record::Timestamp;
use crate::topic::TopicPartition;

/// All of these return [`Error::InvalidState`](crate::error::Error::InvalidState) for a partition
/// that is not assigned, and then have changed nothing.
impl Consumer {
    /// Goes on at `to`, an offset or a [`Position`]. What was fetched for the old position never
    /// comes out. The offset is checked when it is fetched; see [`OutOfRange`](super::OutOfRange).
    pub fn seek(&mut self, at: &TopicPartition, to: impl Into<Position>) -> Result<()> {
        let slot = self.assignment.named(at)?;
        self.move_to(slot, to.into());
        Ok(())
    }

    /// Goes on, in all assigned partitions, with the first record that has at least this
    /// timestamp; where there is none, with what is produced from now on.
    ///
    /// Cancel safe: dropped, it has moved nothing.
    pub async fn seek_to_time(&mut self, timestamp: impl Into<Timestamp>) -> Result<()> {
        self.seek_to(&[], Start::Timestamp(timestamp.into())).await
    }

    /// Goes on with the oldest record there is. No partitions means all that are assigned.
    ///
    /// Cancel safe: dropped, it has moved nothing.
    pub async fn seek_to_beginning(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.seek_to(partitions, Start::Earliest).await
    }

    /// Goes on with what is produced from now on. No partitions means all that are assigned.
    ///
    /// Cancel safe: dropped, it has moved nothing.
    pub async fn seek_to_end(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.seek_to(partitions, Start::Latest).await
    }

    async fn seek_to(&mut self, partitions: &[TopicPartition], to: Start) -> Result<()> {
        let mut positions = Vec::new();
        for slot in self.assignment.named_or_all(partitions)? {
            let at = &self.assignment[slot].at;
            positions.push((slot, locate(&*self.transport, at, to).await?));
        }
        for (slot, position) in positions {
            self.move_to(slot, position);
        }
        Ok(())
    }

    /// Hands out nothing more of these partitions until [`Consumer::resume`]. What was fetched of
    /// them is kept.
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for slot in self.named(partitions)? {
            self.assignment[slot].paused = true;
            self.fetcher.stop(&self.assignment[slot].at);
            // An error is not kept: a fetch from the position would meet it again.
            let of_it = |buffer: &super::Buffer| buffer.slot == slot && buffer.end().is_some();
            let buffered = self.ready.iter().position(of_it);
            let buffered = buffered.and_then(|index| self.ready.remove(index));
            let held = self.held.iter().position(of_it).map(|index| self.held.remove(index));
            self.discard(slot);
            self.held.extend(buffered.or(held));
        }
        Ok(())
    }

    /// Goes on with paused partitions where they stood.
    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for slot in self.named(partitions)? {
            if !std::mem::take(&mut self.assignment[slot].paused) {
                continue;
            }
            let held = self.held.iter().position(|buffer| buffer.slot == slot);
            let held = held.map(|index| self.held.remove(index));
            let fetched_to = held.as_ref().and_then(super::Buffer::end);
            self.fetch(slot, fetched_to.unwrap_or(self.assignment[slot].position));
            self.ready.extend(held);
        }
        Ok(())
    }

    fn named(&self, partitions: &[TopicPartition]) -> Result<Vec<usize>> {
        partitions.iter().map(|at| self.assignment.named(at)).collect()
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        let paused = self.assignment.iter().filter(|partition| partition.paused);
        paused.map(|partition| partition.at.clone()).collect()
    }

    /// The partitions that are read, in the order of their names.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.assignment.iter().map(|partition| partition.at.clone()).collect()
    }

    /// The next offset to be handed out; `None` if the partition is not assigned.
    pub fn position(&self, at: &TopicPartition) -> Option<Position> {
        self.assignment.slot_of(at).map(|slot| self.assignment[slot].position)
    }

    /// The position in each assigned partition.
    pub fn positions(&self) -> BTreeMap<TopicPartition, Position> {
        let each = self.assignment.iter();
        each.map(|partition| (partition.at.clone(), partition.position)).collect()
    }

    /// The offset that this partition's next record gets; records up to it can be read now.
    ///
    /// Cancel safe.
    pub async fn end_offset(&mut self, at: &TopicPartition) -> Result<i64> {
        self.assignment.named(at)?;
        Ok(locate(&*self.transport, at, Start::Latest).await?.offset)
    }

    /// How many offsets each assigned partition is behind its end. Offsets without records
    /// (compacted away, control batches) count until they have been passed. Nothing, as long as its
    /// group has not assigned it any: a group's lag is
    /// [`Admin::group_lag`](crate::admin::Admin::group_lag).
    ///
    /// Cancel safe.
    pub async fn lag(&mut self) -> Result<BTreeMap<TopicPartition, i64>> {
        let mut lag = BTreeMap::new();
        for (at, position) in self.positions() {
            let end = locate(&*self.transport, &at, Start::Latest).await?.offset;
            lag.insert(at, end.saturating_sub(position.offset).max(0));
        }
        Ok(lag)
    }
}
