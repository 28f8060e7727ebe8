//! What answers to Fetch mean for a session.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::time::Instant;

use super::epochs::{self, Doubt, Worth};
use super::sessions::is_of_session;
use super::shelf::Wanted;
use super::{Actor, BY_IDS, Done, Told};
use crate::batch::{Batch, BatchError, BatchHeader};
use crate::error::Error;
use crate::topic::TopicPartition;
use crate::transport::tcp::errors::{Verdict, may_pass, of_code, verdict};
use crate::transport::tcp::offsets;
use crate::transport::{FetchPosition, OffsetSpec};
use crate::wire::ErrorCode;
use crate::wire::fetch::{EpochEndOffset, FetchResponse, PartitionData};
use crate::wire::offset_for_leader_epoch::OffsetForLeaderEpochResponse;

impl Actor {
    pub(super) fn take_in(&mut self, done: Done) {
        let Done { node, lane, wanted, answer, session } = done;
        if let Some(lanes) = self.busy.get_mut(&node) {
            lanes[lane] = false;
        }
        self.remembered.extend(session.map(|session| (node, session)));
        let (response, form) = match answer {
            Ok(Told::Records(response, form)) if response.error_code == ErrorCode::NONE => {
                (response, form)
            }
            Ok(Told::Records(response, form))
                if !form.is_full && is_of_session(response.error_code) =>
            {
                tracing::debug!(node, error = %response.error_code, "a session has ended");
                return self.put_back(&wanted);
            }
            Ok(Told::Epochs(response, doubts)) => return self.settle(&response, doubts, wanted),
            Ok(Told::Records(FetchResponse { error_code, .. }, _)) => {
                tracing::debug!(node, error = %error_code, "a fetch was refused");
                for wanted in wanted {
                    let error = of_code(error_code, format!("fetching {}", wanted.at), None);
                    self.put_by_or_fail(node, wanted, error);
                }
                return;
            }
            Err(error) => {
                tracing::debug!(node, %error, "fetched without an answer");
                wanted.into_iter().for_each(|it| self.put_by_or_fail(node, it, error.clone()));
                return;
            }
        };
        let mut told = by_partition(response, form.version, &wanted);
        let (news, rest): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|wanted| told.contains_key(&wanted.at));
        for wanted in news {
            if let Some(data) = told.remove(&wanted.at) {
                self.take_in_partition(node, wanted, data);
            }
        }
        match form.is_full {
            true => rest.into_iter().for_each(|wanted| self.put_by(wanted, false)),
            // There is nothing new of them.
            false => self.put_back(&rest),
        }
    }

    fn put_back(&self, all: &[Wanted]) {
        let mut shelf = self.session.shelf();
        all.iter().for_each(|wanted| shelf.put_back(wanted));
    }

    fn put_by_or_fail(&mut self, node: i32, wanted: Wanted, error: Error) {
        // What a replica refuses the leader may have.
        match self.preferred.forget(&wanted.at, node) || may_pass(&error) {
            true => self.put_by(wanted, true),
            false => self.session.shelf().fail(&wanted, error),
        }
    }

    fn take_in_partition(&mut self, node: i32, wanted: Wanted, data: PartitionData) {
        let at = &wanted.at;
        let diverges = data.diverging_epoch.epoch >= 0;
        if diverges || data.error_code != ErrorCode::NONE {
            // A replica may only be behind: what the log is, the leader says.
            if self.preferred.forget(at, node) {
                tracing::debug!(%at, node, error = %data.error_code, "a replica does not have it");
                return self.put_by(wanted, true);
            }
        }
        if diverges {
            let EpochEndOffset { epoch, end_offset } = data.diverging_epoch;
            return self.weigh(wanted, epoch, end_offset, -1);
        }
        match data.error_code {
            ErrorCode::NONE if self.sends_elsewhere(node, &wanted, &data) => {
                self.follow(wanted, data.preferred_read_replica);
            }
            ErrorCode::NONE => self.take_in_records(node, wanted, &data.records.into_bytes()),
            ErrorCode::OFFSET_OUT_OF_RANGE => self.out_of_range(wanted),
            error => {
                tracing::debug!(%at, %error, "it can't be fetched");
                let leader = data.current_leader;
                self.cluster.hint(at, leader.leader_id, leader.leader_epoch);
                match verdict(error) {
                    Verdict::Final => {
                        let error = of_code(error, format!("fetching {at}"), None);
                        self.session.shelf().fail(&wanted, error);
                    }
                    // A topic that is gone is told by the metadata.
                    Verdict::Elsewhere => self.put_by(wanted, true),
                    Verdict::Retry => self.put_by(wanted, false),
                }
            }
        }
    }

    /// What a leader has answered that was asked about positions. The others are fetched now.
    fn settle(
        &mut self,
        response: &OffsetForLeaderEpochResponse,
        doubts: Vec<Doubt>,
        wanted: Vec<Wanted>,
    ) {
        let (doubted, sure): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|it| doubts.iter().any(|doubt| doubt.at == it.at));
        sure.iter().for_each(|wanted| self.session.shelf().put_back(wanted));
        for (wanted, doubt) in doubted.into_iter().zip(doubts) {
            let at = &wanted.at;
            let topic = response.topics.iter().find(|it| it.topic == at.topic.as_str());
            let mut partitions = topic.into_iter().flat_map(|topic| &topic.partitions);
            match partitions.find(|it| it.partition == at.partition) {
                Some(told) if told.error_code == ErrorCode::NONE => {
                    self.weigh(wanted, told.leader_epoch, told.end_offset, doubt.leader_epoch);
                }
                Some(told) if verdict(told.error_code) == Verdict::Final => {
                    let what = format!("looking up how far {at} goes");
                    self.session.shelf().fail(&wanted, of_code(told.error_code, what, None));
                }
                _ => self.put_by(wanted, true),
            }
        }
    }

    /// The leader of `leader_epoch` has told where the position's epoch ended.
    fn weigh(&mut self, wanted: Wanted, epoch: i32, end_offset: i64, leader_epoch: i32) {
        match epochs::worth(wanted.position, epoch, end_offset) {
            Worth::Holds { epoch } => {
                self.session.shelf().confirm(&wanted, leader_epoch, epoch);
                // Told once more what is known, there is no hurry.
                match leader_epoch >= 0 || epoch < wanted.position.leader_epoch {
                    true => self.session.shelf().put_back(&wanted),
                    false => self.put_by(wanted, false),
                }
            }
            Worth::CutOff { to } => {
                let error = Error::Truncated { at: wanted.at.clone(), to };
                self.session.shelf().fail(&wanted, error);
            }
            Worth::Unknown => self.out_of_range(wanted),
        }
    }

    /// Whether a leader names a replica to read. A replica names none.
    fn sends_elsewhere(&self, node: i32, wanted: &Wanted, data: &PartitionData) -> bool {
        let named = data.preferred_read_replica;
        named >= 0 && named != node && !self.preferred.is(&wanted.at, node)
    }

    /// Goes on at the replica that the leader has named.
    fn follow(&mut self, wanted: Wanted, node: i32) {
        match (self.cluster.leader(&wanted.at), self.cluster.address(node)) {
            (Some(leader), Some(_)) => {
                let until = Instant::now() + self.cluster.settings.metadata_max_age;
                self.preferred.follow(&wanted.at, node, leader, until);
                self.session.shelf().put_back(&wanted);
            }
            // The metadata are behind.
            _ => self.put_by(wanted, true),
        }
    }

    /// Fails with what the log has instead, once that is known; meanwhile others are fetched.
    fn out_of_range(&self, wanted: Wanted) {
        let (session, cluster) = (self.session.clone(), self.cluster.clone());
        tokio::spawn(async move {
            let Wanted { at, position, .. } = &wanted;
            let bounds = async {
                let start = offsets::list(&cluster, at, OffsetSpec::Earliest).await?;
                Ok((start, offsets::list(&cluster, at, OffsetSpec::Latest).await?))
            };
            let error = match bounds.await {
                Ok((start, end)) => Error::OffsetOutOfRange {
                    at: at.clone(),
                    offset: position.offset,
                    log_start_offset: start.offset.unwrap_or(0),
                    log_end_offset: end.offset.unwrap_or(0),
                },
                Err(error) => error,
            };
            session.shelf().fail(&wanted, error);
        });
    }

    fn take_in_records(&mut self, node: i32, wanted: Wanted, records: &Bytes) {
        let mut position = wanted.position;
        let (batches, trouble) = parse(&wanted.at, records, &mut position);
        let mut shelf = self.session.shelf();
        if !batches.is_empty() || trouble.is_none() {
            return shelf.put(&wanted, node, batches, position);
        }
        let Some(trouble) = trouble else { return };
        // What came about on the way does not come again.
        if shelf.was_suspect(&wanted, position.offset) {
            return shelf.fail(&wanted, trouble);
        }
        drop(shelf);
        self.preferred.forget(&wanted.at, node);
        tracing::warn!(at = %wanted.at, error = %trouble, "fetched once more");
        self.put_by(wanted, false);
    }
}

/// The whole batches, and what stands in the way of those behind them. `position` moves behind the
/// former.
fn parse(
    at: &TopicPartition,
    records: &Bytes,
    position: &mut FetchPosition,
) -> (Vec<Batch>, Option<Error>) {
    let mut rest = records.clone();
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let header = match BatchHeader::parse(&rest) {
            Ok(header) => header,
            // The end of an answer may be the beginning of a batch.
            Err(BatchError::Truncated { .. }) if !batches.is_empty() => break,
            Err(source) => {
                return (batches, Some(Error::InvalidRecord { at: at.clone(), source }));
            }
        };
        if header.size() > rest.len() {
            let (needed, have) = (header.size(), rest.len());
            let source = BatchError::Truncated { needed, have };
            let error = Error::InvalidRecord { at: at.clone(), source };
            return (batches, Some(error));
        }
        let bytes = rest.split_to(header.size());
        let next = header.next_offset();
        if next <= position.offset {
            continue;
        }
        match Batch::parse(bytes) {
            Ok(batch) => batches.push(batch),
            Err(source) => {
                return (batches, Some(Error::InvalidRecord { at: at.clone(), source }));
            }
        }
        let leader_epoch = header.partition_leader_epoch;
        *position = FetchPosition { offset: next, leader_epoch };
    }
    (batches, None)
}

/// What was told of each partition, by name.
fn by_partition(
    response: FetchResponse,
    version: i16,
    wanted: &[Wanted],
) -> BTreeMap<TopicPartition, PartitionData> {
    let mut all = BTreeMap::new();
    for topic in response.responses {
        let is_it = |it: &&Wanted| match version >= BY_IDS {
            true => it.topic_id == topic.topic_id,
            false => it.at.topic == topic.topic.as_str(),
        };
        let Some(name) = wanted.iter().find(is_it).map(|it| it.at.topic.clone()) else { continue };
        for data in topic.partitions {
            let at = TopicPartition { topic: name.clone(), partition: data.partition_index };
            all.insert(at, data);
        }
    }
    all
}
