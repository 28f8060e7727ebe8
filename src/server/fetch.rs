//! Fetch: batches from where each partition's reader stands, as soon as there are enough.
//! Versions 4 to 17.
//!
//! What Kafka's readers rely on:
//! * The first batch may begin before the offset asked for.
//! * The first partition that has something gives a batch of it, however large; all limits hold
//!   from there on. Only whole batches are sent.
//! * A gap that damage has left looks like one of compaction: a batch without records stands for
//!   it. It is logged.
//!
//! There are no transactions: all that is visible is committed.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::{Client, Handle, Held, Outcome, Server};
use super::errors::code_of;
use super::sessions::{Entry, Session};
use crate::batch::{Batch, put_filler};
use crate::error::{Error, Result};
use crate::log::ReadCursor;
use crate::partition::Partition;
use crate::partition::ready::ReadyQueue;
use crate::wire::fetch::{
    EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use crate::wire::{ErrorCode, Gap, Records};

/// The first version that names topics by their ids.
const FIRST_WITH_IDS: i16 = 13;

/// The most bytes in one answer, but for the first batch (`fetch.max.bytes` of a broker).
const MAX_BYTES: usize = 55 << 20;

/// How long to wait for more where something came that is not enough: looking means reading.
const NOT_ENOUGH: Duration = Duration::from_millis(5);

/// After so many bytes it is somebody else's turn on this thread.
const LONG_READ: usize = 256 << 10;

/// Only records of transactions that were committed are wanted.
const READ_COMMITTED: i8 = 1;

impl Handle for FetchRequest {
    fn refuse(mut self, client: &Client, version: i16, error: ErrorCode) -> Outcome<FetchResponse> {
        let of_session = [
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
            ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
            ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        ];
        if of_session.contains(&error) {
            return refused_whole(error);
        }
        let mut session = match begin(&mut self, &client.server, version) {
            Ok(session) => session,
            Err(error) => return refused_whole(error),
        };
        let all = session.entries.iter();
        let partitions = all.map(|(turn, entry)| (*turn, refused(entry.key.partition, error)));
        let partitions = partitions.collect();
        let response = told(&mut session, partitions);
        end(session, &client.server);
        Outcome::Response(response)
    }

    async fn start(self, client: Client, version: i16) -> Outcome<FetchResponse> {
        answer(self, client, version).await
    }
}

async fn answer(mut request: FetchRequest, client: Client, version: i16) -> Outcome<FetchResponse> {
    let server = client.server.clone();
    let mut session = match begin(&mut request, &server, version) {
        Ok(session) => session,
        Err(error_code) => return refused_whole(error_code),
    };
    let limits = Limits::of(&request);
    let Found { partitions, held, .. } = wait_for_enough(&mut session, &limits, client).await;
    let response = told(&mut session, partitions);
    end(session, &server);
    Outcome::Holding(response, held)
}

/// The request's session, out of the cache.
fn begin(request: &mut FetchRequest, server: &Server, version: i16) -> Result<Session, ErrorCode> {
    let mut sessions = server.sessions.lock().expect("no one panics with the sessions");
    let id = || server.core().new_id().0;
    let new_id = || i32::from_be_bytes(id()[..4].try_into().expect("it has 16"));
    sessions.begin(request, version >= FIRST_WITH_IDS, Instant::now(), new_id)
}

/// Back into the cache, if there is to be a next request.
fn end(session: Session, server: &Server) {
    let mut sessions = server.sessions.lock().expect("no one panics with the sessions");
    sessions.end(session, Instant::now());
}

fn refused_whole(error_code: ErrorCode) -> Outcome<FetchResponse> {
    Outcome::Response(FetchResponse { error_code, ..FetchResponse::default() })
}

/// How much, and how long.
struct Limits {
    min_bytes: usize,
    max_bytes: usize,
    max_wait: Duration,
    is_read_committed: bool,
}

impl Limits {
    fn of(request: &FetchRequest) -> Self {
        let at_least_0 = |value: i32| usize::try_from(value).unwrap_or(0);
        let max_bytes = at_least_0(request.max_bytes).min(MAX_BYTES);
        Limits {
            min_bytes: at_least_0(request.min_bytes).min(max_bytes),
            max_bytes,
            max_wait: Duration::from_millis(at_least_0(request.max_wait_ms) as u64),
            is_read_committed: request.isolation_level == READ_COMMITTED,
        }
    }
}

/// What a look at all partitions has found, by their turns.
struct Found {
    partitions: Vec<(u64, PartitionData)>,
    bytes: usize,
    /// For those bytes.
    held: Held,
    /// Something is to be told at once.
    is_urgent: bool,
}

/// Looks again and again, until there is enough, or the time is over.
async fn wait_for_enough(session: &mut Session, limits: &Limits, mut client: Client) -> Found {
    // Longer than this no connection is silent.
    let max_wait = limits.max_wait.min(client.server.settings().idle_timeout);
    let deadline = Instant::now() + max_wait;
    loop {
        let found = look(session, limits, &client).await;
        let is_enough = found.bytes >= limits.min_bytes || found.is_urgent;
        if is_enough || session.entries.is_empty() || Instant::now() >= deadline {
            return found;
        }
        // A new one each time: what woke this last time is nothing to wake for.
        let ready = ReadyQueue::new();
        for (turn, entry) in &session.entries {
            if let (Some(partition), Some(cursor)) = (&entry.found, &entry.cursor) {
                partition.notify_beyond(cursor.offset, &ready, *turn);
            }
        }
        let is_closing = tokio::select! {
            biased;
            () = client.closing.closed() => true,
            () = sleep_until(deadline) => false,
            _ = poll_fn(|cx| ready.poll_pop(cx)) => {
                if found.bytes > 0 || limits.min_bytes > 1 {
                    sleep(NOT_ENOUGH.min(deadline - Instant::now())).await;
                }
                false
            }
        };
        for (turn, entry) in &session.entries {
            entry.found.iter().for_each(|partition| partition.forget(&ready, *turn));
        }
        if is_closing {
            return found;
        }
    }
}

/// Reads every partition once, as far as the limits and memory allow.
async fn look(session: &mut Session, limits: &Limits, client: &Client) -> Found {
    let held = Held::default();
    let mut found = Found { partitions: Vec::new(), bytes: 0, held, is_urgent: false };
    let uses_ids = session.uses_ids;
    for (turn, entry) in &mut session.entries {
        let left = limits.max_bytes.saturating_sub(found.bytes);
        let asked = usize::try_from(entry.asked.partition_max_bytes).unwrap_or(0);
        let (max_bytes, is_first) = (asked.min(left), found.bytes == 0);
        let partition = find(entry, uses_ids, &client.server);
        let wish = Wish { max_bytes, is_first, client };
        let mut data = match read(entry, partition, wish, &mut found.held).await {
            Ok(data) => data,
            Err(error_code) => refused(entry.key.partition, error_code),
        };
        data.partition_index = entry.key.partition;
        if limits.is_read_committed && data.error_code == ErrorCode::NONE {
            data.aborted_transactions = Some(Vec::new());
        }
        found.is_urgent |=
            data.error_code != ErrorCode::NONE || data.diverging_epoch != EpochEndOffset::default();
        found.bytes += data.records.len();
        found.partitions.push((*turn, data));
    }
    found
}

fn refused(partition_index: i32, error_code: ErrorCode) -> PartitionData {
    PartitionData { partition_index, error_code, high_watermark: -1, ..PartitionData::default() }
}

/// What a partition is to give.
struct Wish<'a> {
    max_bytes: usize,
    /// Nothing before it had any: one batch always fits.
    is_first: bool,
    client: &'a Client,
}

/// What one partition has.
async fn read(
    entry: &mut Entry,
    partition: Result<Partition, ErrorCode>,
    wish: Wish<'_>,
    held: &mut Held,
) -> Result<PartitionData, ErrorCode> {
    let partition = partition?;
    let reader = partition.reader();
    check_leader_epoch(&partition, entry.asked.current_leader_epoch)?;
    let mut data = PartitionData {
        high_watermark: reader.high_watermark(),
        last_stable_offset: reader.last_stable_offset(),
        log_start_offset: reader.log_start_offset(),
        ..PartitionData::default()
    };
    let (offset, last_epoch) = (entry.asked.fetch_offset, entry.asked.last_fetched_epoch);
    if let Some(diverging) = diverges(&partition, offset, last_epoch)? {
        data.diverging_epoch = diverging;
        return Ok(data);
    }
    // From where the last read began, unless the client has gone on: it may ask again.
    let known = entry.cursor.take().filter(|cursor| cursor.offset == offset);
    let cursor = known.unwrap_or_else(|| ReadCursor::new(offset, -1));
    entry.cursor = Some(cursor.clone());
    let (after, records) = match sent_from_file(&partition, &cursor, &wish, held) {
        Some(sent) => sent,
        None => read_into_memory(&partition, cursor, &wish, held).await?,
    };
    // What is visible may be more by now than it was above.
    data.high_watermark = data.high_watermark.max(after.offset.min(reader.high_watermark()));
    data.last_stable_offset = data.high_watermark;
    if !records.is_empty() {
        // The next request goes on behind.
        entry.cursor = Some(after);
    }
    data.records = records;
    Ok(data)
}

/// Leaves the records where they are, until they are sent.
fn sent_from_file(
    partition: &Partition,
    cursor: &ReadCursor,
    wish: &Wish<'_>,
    held: &mut Held,
) -> Option<(ReadCursor, Records)> {
    let mut after = cursor.clone();
    let files = Some(&wish.client.server.files).filter(|_| wish.client.takes_files);
    let sending = files?.locate(partition, &mut after, wish.max_bytes)?;
    let gap = Gap { len: sending.len(), id: held.files.len() };
    held.files.push(sending);
    Some((after, Records::left_open(gap)))
}

/// Reads as many bytes as there is memory for.
async fn read_into_memory(
    partition: &Partition,
    cursor: ReadCursor,
    wish: &Wish<'_>,
    held: &mut Held,
) -> Result<(ReadCursor, Records), ErrorCode> {
    let mut claim = wish.client.server.answers.take(wish.max_bytes);
    let max_bytes = claim.bytes();
    if max_bytes == 0 && !wish.is_first {
        return Ok((cursor, Records::default()));
    }
    let (after, batches) = read_at(partition, cursor.clone(), max_bytes).await?;
    let records = Records::new(batches);
    if records.len() > max_bytes && !wish.is_first {
        return Ok((cursor, Records::default()));
    }
    claim.shrink(records.len());
    held.claim.add(claim);
    Ok((after, records))
}

/// The partition, as long as it is the one that was meant.
fn find(entry: &mut Entry, uses_ids: bool, server: &Server) -> Result<Partition, ErrorCode> {
    if let Some(partition) = entry.found.take_if(|it| it.check_open().is_ok()) {
        entry.found = Some(partition.clone());
        return Ok(partition);
    }
    let core = server.core();
    core.check_open().map_err(|error| code_of(&error))?;
    let topic = match uses_ids {
        true => core.topic_by_id(entry.key.topic_id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?,
        false => core.topic(&entry.key.topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?,
    };
    let partition = topic.partition(entry.key.partition).map_err(|error| code_of(&error))?;
    entry.found = Some(partition.clone());
    Ok(partition.clone())
}

/// That the client's idea of the leader is this broker's; -1 is none.
pub(super) fn check_leader_epoch(partition: &Partition, epoch: i32) -> Result<(), ErrorCode> {
    let own = partition.reader().leader_epoch().max(0);
    match epoch {
        epoch if epoch < 0 || epoch == own => Ok(()),
        epoch if epoch < own => Err(ErrorCode::FENCED_LEADER_EPOCH),
        _ => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
    }
}

/// The newest epoch not above `epoch`, and where it ended. Before the first batch there is epoch 0,
/// as clients are told, though none is written down yet.
pub(super) fn end_of_epoch(partition: &Partition, epoch: i32) -> Option<(i32, i64)> {
    let reader = partition.reader();
    match reader.leader_epoch() < 0 && epoch == 0 {
        true => Some((0, reader.high_watermark())),
        false => reader.end_offset_for(epoch),
    }
}

/// Where the epoch of the client's last record ended, if that is before where it wants to go on:
/// what it read since is no more.
fn diverges(
    partition: &Partition,
    offset: i64,
    last_epoch: i32,
) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if last_epoch < 0 {
        return Ok(None);
    }
    let end = end_of_epoch(partition, last_epoch);
    let (epoch, end_offset) = end.ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
    let diverges = epoch < last_epoch || end_offset < offset;
    Ok(diverges.then_some(EpochEndOffset { epoch, end_offset }))
}

/// Reads, on another thread if it has to wait for a disk. A range that can't be read is a batch
/// without records.
async fn read_at(
    partition: &Partition,
    mut cursor: ReadCursor,
    max_bytes: usize,
) -> Result<(ReadCursor, Vec<Bytes>), ErrorCode> {
    let is_at_end = partition.reader().high_watermark() <= cursor.offset;
    let at_hand = match partition.may_block() && !is_at_end {
        false => Some(partition.read(&mut cursor, max_bytes)),
        true => partition.read_cached(&mut cursor, max_bytes),
    };
    let (mut cursor, batches) = match at_hand {
        Some(batches) => {
            let bytes = batches.iter().flatten().map(|batch| batch.bytes().len());
            if bytes.sum::<usize>() >= LONG_READ {
                // Others have had to wait for as long as that took.
                yield_now().await;
            }
            (cursor, batches)
        }
        None => {
            let reader = partition.clone();
            let read = move || {
                let batches = reader.read(&mut cursor, max_bytes);
                (cursor, batches)
            };
            partition.run_beside(read).await.map_err(|error| code_of(&error))?
        }
    };
    match batches {
        Ok(batches) => Ok((cursor, batches.iter().map(Batch::bytes).cloned().collect())),
        Err(Error::Corrupt { at, from, to }) => {
            tracing::warn!(%at, from, to, "lost offsets are passed over");
            let to = to.min(from.saturating_add(i64::from(i32::MAX)));
            let mut filler = BytesMut::new();
            put_filler(from..to, partition.reader().epoch_at(from), &mut filler);
            cursor.offset = to;
            Ok((cursor, vec![filler.freeze()]))
        }
        Err(error) => Err(code_of(&error)),
    }
}

/// The answer: all that was looked at, or in a session what is new.
fn told(session: &mut Session, partitions: Vec<(u64, PartitionData)>) -> FetchResponse {
    let mut response = FetchResponse { session_id: session.id, ..FetchResponse::default() };
    for (turn, data) in partitions {
        let Some(entry) = session.entries.get_mut(&turn) else { continue };
        let now = (data.high_watermark, data.log_start_offset);
        let has_records = !data.records.is_empty();
        let is_new = has_records
            || data.error_code != ErrorCode::NONE
            || data.diverging_epoch != EpochEndOffset::default()
            || entry.told != Some(now);
        entry.told = (data.error_code == ErrorCode::NONE).then_some(now);
        if session.is_incremental && !is_new {
            continue;
        }
        let (topic, topic_id) = (entry.key.topic.clone(), entry.key.topic_id);
        if session.id != 0 && has_records {
            session.send_to_end(turn);
        }
        let last = response.responses.last_mut();
        match last.filter(|last| last.topic == topic && last.topic_id == topic_id) {
            Some(last) => last.partitions.push(data),
            None => {
                let partitions = vec![data];
                response.responses.push(FetchableTopicResponse { topic, topic_id, partitions });
            }
        }
    }
    response
}
