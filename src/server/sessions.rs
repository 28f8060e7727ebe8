//! Fetch sessions (KIP-227): what a client fetches is remembered, so that it says only what has
//! changed, and is told only what has.
//!
//! Pure: nothing here reads a partition. A session is taken out of the cache while a request of it
//! is answered, so that another one of it finds nothing.

use std::collections::{BTreeMap, HashMap};

use tokio::time::{Duration, Instant};

use crate::log::ReadCursor;
use crate::partition::Partition;
use crate::topic::TopicId;
use crate::wire::ErrorCode;
use crate::wire::fetch::{FetchPartition, FetchRequest};

/// Sessions at a time (`max.incremental.fetch.session.cache.slots`).
const MAX_SESSIONS: usize = 1000;
/// Partitions of all sessions together. A client that would need more is served without one.
const MAX_PARTITIONS: usize = 1_000_000;
/// After this time another client gets a session's place.
const EVICTION: Duration = Duration::from_secs(120);

/// Ends a session, or does without.
const FINAL_EPOCH: i32 = -1;
/// Begins a session.
const INITIAL_EPOCH: i32 = 0;

/// Which partition is meant: by name up to version 12, by id from 13 on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) topic: String,
    pub(super) topic_id: TopicId,
    pub(super) partition: i32,
}

/// A partition that is fetched.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) asked: FetchPartition,
    /// The partition, once it was found.
    pub(super) found: Option<Partition>,
    /// Where the last read ended.
    pub(super) cursor: Option<ReadCursor>,
    /// What the client was told last: high watermark and log start.
    pub(super) told: Option<(i64, i64)>,
}

/// What a client fetches.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// 0: none, this is for one request.
    pub(super) id: i32,
    /// The number of the next request.
    epoch: i32,
    /// Whether topics are named by their ids.
    pub(super) uses_ids: bool,
    /// Whether only what is new is told.
    pub(super) is_incremental: bool,
    /// By their turns: those that had something go to the end.
    pub(super) entries: BTreeMap<u64, Entry>,
    turns: HashMap<Key, u64>,
    next_turn: u64,
}

impl Session {
    fn of(request: &mut FetchRequest, uses_ids: bool) -> Session {
        let mut session = Session { uses_ids, ..Session::default() };
        session.take_over(request);
        session
    }

    /// Adds what is new, changes what is there, and forgets what is to be.
    fn take_over(&mut self, request: &mut FetchRequest) {
        for forgotten in &request.forgotten_topics_data {
            for partition in &forgotten.partitions {
                let (topic, topic_id) = (forgotten.topic.clone(), forgotten.topic_id);
                let turn = self.turns.remove(&Key { topic, topic_id, partition: *partition });
                turn.and_then(|turn| self.entries.remove(&turn));
            }
        }
        for topic in std::mem::take(&mut request.topics) {
            for asked in topic.partitions {
                let partition = asked.partition;
                let key = Key { topic: topic.topic.clone(), topic_id: topic.topic_id, partition };
                self.ask(key, asked);
            }
        }
    }

    fn ask(&mut self, key: Key, asked: FetchPartition) {
        let known = self.turns.get(&key).and_then(|turn| self.entries.get_mut(turn));
        if let Some(entry) = known {
            entry.asked = asked;
            return;
        }
        self.next_turn += 1;
        self.turns.insert(key.clone(), self.next_turn);
        let entry = Entry { key, asked, found: None, cursor: None, told: None };
        self.entries.insert(self.next_turn, entry);
    }

    /// It has had something: others come first next time.
    pub(super) fn send_to_end(&mut self, turn: u64) {
        if let Some(entry) = self.entries.remove(&turn) {
            self.next_turn += 1;
            self.turns.insert(entry.key.clone(), self.next_turn);
            self.entries.insert(self.next_turn, entry);
        }
    }
}

/// All sessions of a listener that are not in use.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<i32, (Session, Instant)>,
    partitions: usize,
}

impl Sessions {
    /// The session that a request belongs to, or a new one: `new_id` makes its id.
    pub(super) fn begin(
        &mut self,
        request: &mut FetchRequest,
        uses_ids: bool,
        now: Instant,
        new_id: impl FnOnce() -> i32,
    ) -> Result<Session, ErrorCode> {
        match (request.session_id, request.session_epoch) {
            (id, FINAL_EPOCH) => {
                self.take(id);
                Ok(Session::of(request, uses_ids))
            }
            (id, INITIAL_EPOCH) => {
                self.take(id);
                let mut session = Session::of(request, uses_ids);
                if self.has_room(session.entries.len(), now) && !session.entries.is_empty() {
                    // The first that is not in use; 0 is none.
                    let id = new_id().checked_abs().unwrap_or(1).max(1);
                    let id = (id..=i32::MAX).find(|id| !self.by_id.contains_key(id));
                    session.id = id.unwrap_or_default();
                    session.epoch = 1;
                }
                Ok(session)
            }
            (id, epoch) => {
                let known = self.by_id.get(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
                if known.0.epoch != epoch {
                    return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
                }
                let mut session = self.take(id).expect("it was there just now");
                if session.uses_ids != uses_ids {
                    // It stays, for requests that fit.
                    self.end(session, now);
                    return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
                }
                session.take_over(request);
                session.epoch = session.epoch.checked_add(1).unwrap_or(1);
                session.is_incremental = true;
                if session.entries.is_empty() {
                    // Of nothing there is none.
                    session.id = 0;
                }
                Ok(session)
            }
        }
    }

    /// Keeps a session for the next request, if there is to be one.
    pub(super) fn end(&mut self, session: Session, now: Instant) {
        let is_too_large = self.partitions + session.entries.len() > MAX_PARTITIONS;
        if session.id != 0 && !is_too_large {
            self.partitions += session.entries.len();
            self.by_id.insert(session.id, (session, now));
        }
    }

    fn take(&mut self, id: i32) -> Option<Session> {
        let (session, _) = self.by_id.remove(&id)?;
        self.partitions -= session.entries.len();
        Some(session)
    }

    /// Whether there is room for another, or for one if the oldest that is idle goes.
    fn has_room(&mut self, partitions: usize, now: Instant) -> bool {
        while self.by_id.len() >= MAX_SESSIONS || self.partitions + partitions > MAX_PARTITIONS {
            let oldest = self.by_id.iter().min_by_key(|(_, (_, used))| *used);
            match oldest.map(|(id, (_, used))| (*id, *used)) {
                Some((id, used)) if used + EVICTION <= now => drop(self.take(id)),
                _ => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fetch::{FetchTopic, ForgottenTopic};

    fn request(id: i32, epoch: i32, partitions: &[i32], forgotten: &[i32]) -> FetchRequest {
        let asked =
            |partition: &i32| FetchPartition { partition: *partition, ..Default::default() };
        let partitions = partitions.iter().map(asked).collect();
        let topic = "t".to_owned();
        let forgotten = ForgottenTopic {
            topic: topic.clone(),
            partitions: forgotten.to_vec(),
            ..ForgottenTopic::default()
        };
        FetchRequest {
            session_id: id,
            session_epoch: epoch,
            topics: vec![FetchTopic { topic, partitions, ..FetchTopic::default() }],
            forgotten_topics_data: vec![forgotten],
            ..FetchRequest::default()
        }
    }

    fn partitions(session: &Session) -> Vec<i32> {
        session.entries.values().map(|entry| entry.key.partition).collect()
    }

    #[test]
    fn a_session_remembers_and_forgets() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let first = sessions.begin(&mut request(0, 0, &[0, 1, 2], &[]), false, now, || 7).unwrap();
        assert_eq!((first.id, first.is_incremental), (7, false));
        sessions.end(first, now);
        let mut second =
            sessions.begin(&mut request(7, 1, &[3, 1], &[0]), false, now, || 0).unwrap();
        assert_eq!((partitions(&second), second.is_incremental), (vec![1, 2, 3], true));
        // While it is in use, nobody else uses it.
        let error = sessions.begin(&mut request(7, 2, &[], &[]), false, now, || 0).unwrap_err();
        assert_eq!(error, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        let turn = *second.entries.keys().next().unwrap();
        second.send_to_end(turn);
        assert_eq!(partitions(&second), [2, 3, 1]);
        sessions.end(second, now);
        for (epoch, uses_ids, code) in [
            (1, false, ErrorCode::INVALID_FETCH_SESSION_EPOCH),
            (3, false, ErrorCode::INVALID_FETCH_SESSION_EPOCH),
            (2, true, ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR),
        ] {
            let again = sessions.begin(&mut request(7, epoch, &[], &[]), uses_ids, now, || 0);
            assert_eq!(again.unwrap_err(), code);
        }
        // Still in its place after those; ended by the last epoch.
        let end = sessions.begin(&mut request(7, -1, &[5], &[]), false, now, || 0).unwrap();
        assert_eq!((end.id, partitions(&end)), (0, vec![5]));
        sessions.end(end, now);
        assert_eq!((sessions.by_id.len(), sessions.partitions), (0, 0));
    }

    #[test]
    fn there_are_only_so_many_and_old_ones_make_room() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        let mut begin = |id: i32, now| {
            let session = sessions.begin(&mut request(0, 0, &[0], &[]), false, now, || id).unwrap();
            let given = session.id;
            sessions.end(session, now);
            given
        };
        for id in 1..=MAX_SESSIONS as i32 {
            assert_eq!(begin(id, start), id);
        }
        assert_eq!(begin(5000, start + EVICTION / 2), 0, "no room: none is old enough");
        assert_eq!(begin(5000, start + EVICTION), 5000);
        assert_eq!(begin(5000, start + EVICTION), 5001, "an id is not given twice");
        assert_eq!(begin(i32::MIN, start + EVICTION).signum(), 1);
    }
}
