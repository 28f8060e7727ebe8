//! Produce: record batches to append, one for each partition. Versions 3 to 11.
//!
//! * Batches are handed to their partitions as the request comes, before those in front of it are
//!   answered: a producer's requests share a sync. Those of one connection keep their order.
//! * Each is validated whole (`batch::validate`); each fails or succeeds on its own.
//! * A topic is not created here, as in Kafka: clients ask for its metadata first.
//! * With `acks` of 0 there is no answer, but an error ends the connection.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::{Client, Handle, Outcome, Server};
use super::errors::code_of;
use crate::batch::{
    BatchHeader, Compression, InvalidBatch, InvalidRecord, Rules, Validated, validate,
};
use crate::broker::check_not_internal;
use crate::broker::core::Topic;
use crate::error::{Error, Result};
use crate::partition::{Answer, Partition};
use crate::record::Timestamp;
use crate::topic::InvalidTopic;
use crate::wire::ErrorCode;
use crate::wire::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};

/// The first version in which zstd may be used.
const FIRST_WITH_ZSTD: i16 = 7;

/// What a batch may take once it is decompressed.
const MAX_DECOMPRESSED_BYTES: usize = 64 << 20;

/// What is decompressed at once. More is decompressed where it holds up no other connection.
const AT_ONCE: usize = 1 << 20;

/// The shortest time after which an append is given up that waits for memory, whatever the request
/// says: others just wait for the disk.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

impl Handle for ProduceRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<ProduceResponse> {
        if self.acks == 0 {
            return Outcome::Close(format!("producing: {error}"));
        }
        let responses = self.topic_data.into_iter().map(|topic| {
            let all = topic.partition_data.iter();
            let refused = all.map(|data| refusal(data.index, Refused::with(error))).collect();
            TopicProduceResponse { name: topic.name, partition_responses: refused }
        });
        let responses = responses.collect();
        Outcome::Response(ProduceResponse { responses, ..ProduceResponse::default() })
    }

    fn start(
        self,
        client: Client,
        version: i16,
    ) -> impl Future<Output = Outcome<ProduceResponse>> + Send + 'static {
        let refused = refuse_all(&self);
        let (acks, topics) = (self.acks, self.topic_data);
        let waits = Duration::from_millis(self.timeout_ms.max(0) as u64).max(MIN_TIMEOUT);
        let mut sent = Vec::with_capacity(topics.len());
        for topic in topics {
            let found = find(&client.server, &topic.name);
            let partitions = topic.partition_data.into_iter().map(|data| match refused {
                Some(code) => (data.index, Err(Refused::with(code))),
                None => submit(&client, &found, data, version),
            });
            sent.push((topic.name, partitions.collect::<Vec<_>>()));
        }
        answer(client.server, acks, waits, sent)
    }
}

/// Why nothing of a request is done.
fn refuse_all(request: &ProduceRequest) -> Option<ErrorCode> {
    if request.transactional_id.is_some() {
        // See `find_coordinator`.
        return Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    (!(-1..=1).contains(&request.acks)).then_some(ErrorCode::INVALID_REQUIRED_ACKS)
}

/// Why a partition's batch was not appended.
struct Refused {
    code: ErrorCode,
    message: Option<String>,
    records: Vec<InvalidRecord>,
}

impl Refused {
    fn with(code: ErrorCode) -> Self {
        Refused { code, message: None, records: Vec::new() }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let message = Some(error.to_string());
        Refused { message, ..Refused::with(code_of(&error)) }
    }
}

impl From<InvalidBatch> for Refused {
    fn from(invalid: InvalidBatch) -> Self {
        let message = Some(invalid.to_string());
        let (code, records) = match invalid {
            InvalidBatch::CorruptMessage(_) => (ErrorCode::CORRUPT_MESSAGE, Vec::new()),
            InvalidBatch::MessageTooLarge { .. } | InvalidBatch::DecompressedTooLarge { .. } => {
                (ErrorCode::MESSAGE_TOO_LARGE, Vec::new())
            }
            InvalidBatch::RecordListTooLarge { .. } => {
                (ErrorCode::RECORD_LIST_TOO_LARGE, Vec::new())
            }
            InvalidBatch::InvalidTimestamp { records, .. } => {
                (ErrorCode::INVALID_TIMESTAMP, records)
            }
            InvalidBatch::UnsupportedCompression(_) => {
                (ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, Vec::new())
            }
            InvalidBatch::InvalidRecord { records, .. } => (ErrorCode::INVALID_RECORD, records),
        };
        Refused { code, message, records }
    }
}

/// A batch on its way.
struct Sent {
    partition: Partition,
    place: Place,
    /// The request's.
    version: i16,
}

enum Place {
    /// With its partition.
    There(oneshot::Receiver<Answer>),
    /// Here: so many wait there that it has to wait for its turn to wait.
    Here(BytesMut, Deferred),
    /// Here, and not even checked, because that takes long.
    Unchecked(Bytes, Rules, Deferred),
}

/// Behind a batch that waits here, all of its connection do, so that they keep their order.
struct Deferred(Arc<AtomicUsize>);

impl Deferred {
    fn one_more(client: &Client) -> Self {
        client.deferred.fetch_add(1, Ordering::AcqRel);
        Deferred(client.deferred.clone())
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A partition's number, and what has become of its batch.
type Submitted = (i32, Result<Sent, Refused>);

fn find(server: &Server, name: &str) -> Result<Arc<Topic>> {
    let core = server.core();
    core.check_open()?;
    core.check_writable()?;
    let unknown = || Error::UnknownTopic { topic: name.to_owned() };
    let topic = core.topic(name).ok_or_else(unknown)?;
    check_not_internal(&topic.name).map_err(|_| InvalidTopic {
        name: name.to_owned(),
        reason: "nobody but consumer groups writes to it",
    })?;
    Ok(topic)
}

fn submit(
    client: &Client,
    topic: &Result<Arc<Topic>>,
    data: PartitionProduceData,
    version: i16,
) -> Submitted {
    let index = data.index;
    let sent = try_submit(client, topic, data, version);
    (index, sent)
}

fn try_submit(
    client: &Client,
    topic: &Result<Arc<Topic>>,
    data: PartitionProduceData,
    version: i16,
) -> Result<Sent, Refused> {
    let topic = topic.as_ref().map_err(|error| Refused::from(error.clone()))?;
    let partition = topic.partition(data.index)?.clone();
    let now = client.server.core().clock().wall();
    let rules = topic.log_config.rules(now, AT_ONCE);
    let bytes = data.records.into_bytes();
    let header = BatchHeader::parse(&bytes);
    let is_compressed = header.is_ok_and(|it| it.compression() != Compression::None);
    // Kept for a second time.
    let kept = is_compressed.then(|| bytes.clone());
    let bytes = match (validate(owned(bytes), &rules), kept) {
        (Err(InvalidBatch::DecompressedTooLarge { .. }), Some(bytes)) => {
            let rules = Rules { max_decompressed_bytes: MAX_DECOMPRESSED_BYTES, ..rules };
            let place = Place::Unchecked(bytes, rules, Deferred::one_more(client));
            return Ok(Sent { partition, place, version });
        }
        (validated, _) => check(validated?, version)?,
    };
    let must_wait = client.deferred.load(Ordering::Acquire) > 0;
    let there = if must_wait { Err(bytes) } else { partition.try_append(bytes) };
    let place = match there {
        Ok(answer) => Place::There(answer),
        Err(bytes) => Place::Here(bytes, Deferred::one_more(client)),
    };
    Ok(Sent { partition, place, version })
}

/// What validation leaves to its caller. The batch as it is to be appended, if it may be.
fn check(Validated { bytes, header }: Validated, version: i16) -> Result<BytesMut, Refused> {
    if header.is_transactional() {
        return Err(Refused::with(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED));
    }
    if header.compression() == Compression::Zstd && version < FIRST_WITH_ZSTD {
        return Err(Refused::with(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
    }
    Ok(bytes)
}

/// Bytes that can be changed: those of the frame itself, if nothing else is in it.
fn owned(bytes: Bytes) -> BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

async fn answer(
    server: Arc<Server>,
    acks: i16,
    waits: Duration,
    sent: Vec<(String, Vec<Submitted>)>,
) -> Outcome<ProduceResponse> {
    let mut responses = Vec::with_capacity(sent.len());
    for (name, partitions) in sent {
        let mut partition_responses = Vec::with_capacity(partitions.len());
        for (index, submitted) in partitions {
            let result = match submitted {
                Ok(sent) => settled(&server, sent, waits).await,
                Err(refused) => Err(refused),
            };
            match result {
                Ok(response) => {
                    partition_responses.push(PartitionProduceResponse { index, ..response });
                }
                Err(refused) if acks == 0 => {
                    let why = refused.message.unwrap_or_default();
                    let code = refused.code;
                    return Outcome::Close(format!("producing to {name}-{index}: {code} {why}"));
                }
                Err(refused) => partition_responses.push(refusal(index, refused)),
            }
        }
        responses.push(TopicProduceResponse { name, partition_responses });
    }
    match acks {
        0 => Outcome::Silence,
        _ => Outcome::Response(ProduceResponse { responses, ..ProduceResponse::default() }),
    }
}

/// Waits for a batch's fate.
async fn settled(
    server: &Server,
    sent: Sent,
    waits: Duration,
) -> Result<PartitionProduceResponse, Refused> {
    let Sent { partition, place, version } = sent;
    let appended = async {
        let (bytes, deferred) = match place {
            Place::There(answer) => return Ok(partition.answered(answer).await),
            Place::Here(bytes, deferred) => (bytes, deferred),
            Place::Unchecked(bytes, rules, deferred) => {
                let validated =
                    partition.run_beside(move || validate(owned(bytes), &rules)).await?;
                (check(validated?, version)?, deferred)
            }
        };
        let answer = partition.append_in_turn(bytes).await;
        drop(deferred);
        Ok::<_, Refused>(partition.answered(answer).await)
    };
    let appended = timeout(waits, appended).await;
    let timed_out = |_| Refused::with(ErrorCode::REQUEST_TIMED_OUT);
    let (appended, batch) = appended.map_err(timed_out)??;
    server.frames.give(batch);
    let metadata = appended?;
    Ok(PartitionProduceResponse {
        base_offset: metadata.base_offset,
        log_append_time_ms: metadata.log_append_time.map_or(-1, Timestamp::as_millis),
        log_start_offset: partition.reader().log_start_offset(),
        ..PartitionProduceResponse::default()
    })
}

fn refusal(index: i32, refused: Refused) -> PartitionProduceResponse {
    let told = |record: InvalidRecord| BatchIndexAndErrorMessage {
        batch_index: record.index,
        batch_index_error_message: Some(record.reason.to_string()),
    };
    PartitionProduceResponse {
        index,
        error_code: refused.code,
        base_offset: -1,
        record_errors: refused.records.into_iter().map(told).collect(),
        error_message: refused.message,
        ..PartitionProduceResponse::default()
    }
}
