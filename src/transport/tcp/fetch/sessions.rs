//! Fetch sessions (KIP-227): a broker remembers what it was asked for, so that it is only told what
//! has changed, and answers only what is new. Pure.

use std::collections::BTreeMap;

use crate::topic::{TopicId, TopicPartition};
use crate::wire::ErrorCode;
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};

/// The number of the request that begins a session.
const FIRST: i32 = 0;

/// What is wanted of a partition.
pub(super) type Ask = (TopicPartition, TopicId, FetchPartition);

/// What a broker remembers of this consumer.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// The session; 0: none.
    id: i32,
    /// The number of the next request in it. The first one ends the session that there is, and
    /// begins another.
    epoch: i32,
    by_ids: bool,
    partitions: BTreeMap<TopicPartition, (TopicId, FetchPartition)>,
}

impl Remembered {
    /// Puts into a request what the broker has to be told so that it looks for these. They are in
    /// the order of their topics.
    pub(super) fn tell(&mut self, request: &mut FetchRequest, wanted: Vec<Ask>, by_ids: bool) {
        if self.by_ids != by_ids {
            (self.epoch, self.by_ids) = (FIRST, by_ids);
        }
        if self.epoch == FIRST {
            self.partitions.clear();
        }
        (request.session_id, request.session_epoch) = (self.id, self.epoch);
        let mut former = std::mem::take(&mut self.partitions);
        for (at, topic_id, partition) in wanted {
            let known = former.remove(&at);
            let is_known =
                known.as_ref().is_some_and(|known| *known == (topic_id, partition.clone()));
            // By its name the new topic takes the place of the old one.
            if let Some((id, _)) = known.filter(|(id, _)| by_ids && *id != topic_id) {
                forget(request, &at, id);
            }
            if !is_known {
                ask(request, &at, topic_id, partition.clone());
            }
            self.partitions.insert(at, (topic_id, partition));
        }
        former.iter().for_each(|(at, (id, _))| forget(request, at, *id));
    }

    /// Whether the next request begins a session, and is answered in full.
    pub(super) fn begins(&self) -> bool {
        self.epoch == FIRST
    }

    /// The request was answered.
    pub(super) fn answered(&mut self, error: ErrorCode, id: i32) {
        match error {
            ErrorCode::NONE if id != 0 && (self.begins() || id == self.id) => {
                self.id = id;
                self.epoch = self.epoch.checked_add(1).unwrap_or(FIRST + 1);
            }
            // The broker keeps no session, or not any more.
            ErrorCode::NONE | ErrorCode::FETCH_SESSION_ID_NOT_FOUND => *self = Self::default(),
            _ => self.epoch = FIRST,
        }
    }

    /// The request was not answered: what the broker remembers is not known.
    pub(super) fn lost(&mut self) {
        self.epoch = FIRST;
    }
}

/// Whether an answer says that the session, and no more than that, has come to an end.
pub(super) fn is_of_session(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND
            | ErrorCode::INVALID_FETCH_SESSION_EPOCH
            | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
    )
}

/// Adds a partition, behind others of its topic.
pub(super) fn ask(
    request: &mut FetchRequest,
    at: &TopicPartition,
    topic_id: TopicId,
    partition: FetchPartition,
) {
    let last = request.topics.last_mut().filter(|it| it.topic == at.topic.as_str());
    match last.filter(|it| it.topic_id == topic_id) {
        Some(topic) => topic.partitions.push(partition),
        None => {
            let (topic, partitions) = (at.topic.to_string(), vec![partition]);
            request.topics.push(FetchTopic { topic, topic_id, partitions });
        }
    }
}

fn forget(request: &mut FetchRequest, at: &TopicPartition, topic_id: TopicId) {
    let all = &mut request.forgotten_topics_data;
    let last = all.last_mut().filter(|it| it.topic == at.topic.as_str());
    match last.filter(|it| it.topic_id == topic_id) {
        Some(topic) => topic.partitions.push(at.partition),
        None => {
            let (topic, partitions) = (at.topic.to_string(), vec![at.partition]);
            all.push(ForgottenTopic { topic, topic_id, partitions });
        }
    }
}

#[cfg(test)]
mod tests;
