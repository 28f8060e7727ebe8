//! Serving: a broker in memory at one end of a pipe, the input's frames at the other.
//!
//! The code is that of the listener's connections. Time is tokio's own, paused: whatever waits,
//! waits no longer than it takes to see that nothing else is to be done.

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla::batch::{BatchBuilder, BatchError, HEADER_LEN, LOG_OVERHEAD, MAGIC, check_crc};
use ottla::wire::create_topics::CreateTopicsRequest;
use ottla::wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::wire::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla::wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::{
    self, ApiKey, ErrorCode, Records, Request, RequestHeader, decode_request, decode_response,
    encode_request, encode_response,
};
use ottla::{ManualClock, Timestamp, TopicConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::apis::for_api;
use super::read::whole;

/// The broker's time, in milliseconds.
pub const NOW: i64 = 1_700_000_000_000;
/// The topic that inputs are to find.
pub const TOPIC: &str = "t";
/// The topic that they are not to find.
const UNTOUCHED: &str = "untouched-by-any-input";
/// How many topics there may be: what is created has to be closed again.
const MAX_TOPICS: usize = 16;
/// As many partitions as a topic of an input may have.
const MAX_PARTITIONS: usize = 64;
/// What the pipe holds.
const PIPE_BYTES: usize = 64 << 10;
/// Where the CRC of a batch begins.
const CRC_AT: usize = 17;

/// Less than what last answers may take that a connection owes when it ends; and than what it may
/// be silent for.
const SHORT: Duration = Duration::from_millis(900);
const PATIENT: Duration = Duration::from_secs(500);

/// What a request should come to.
enum Fate {
    /// An answer to this request, of this version, and with this id; and how long that may take.
    Answer(ApiKey, i16, i32, Duration),
    /// No answer, or the end if something was wrong.
    Silence,
    /// The end of the connection.
    Close,
}

/// Serves one connection, and then another client.
pub fn check(frames: &[Bytes]) {
    in_no_time(async {
        let broker = Broker::start().await;
        let frames: Vec<Bytes> = frames.iter().filter(|it| !is_large(it)).cloned().collect();
        let answers = broker.serve(&frames).await;
        check_answers(&frames, &answers);
        broker.check_alive().await;
    });
}

/// Runs it to its end, with all of its tasks on this thread.
pub fn in_no_time<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("it needs no descriptor");
    runtime.block_on(future)
}

/// A broker in memory, which is the same each time.
pub struct Broker(pub ottla::Broker);

impl Broker {
    pub async fn start() -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_millis(NOW));
        let builder = ottla::Broker::builder().clock(clock).id_seed(1).max_topics(MAX_TOPICS);
        let broker = builder.in_memory().await.expect("its settings are sound");
        for (name, partitions) in [(TOPIC, 2), (UNTOUCHED, 1)] {
            let config = TopicConfig::new().partitions(partitions);
            broker.create_topic(name, config).await.expect("it is not there");
        }
        Broker(broker)
    }

    /// Sends frames over a connection; returns the answers.
    pub async fn serve(&self, frames: &[Bytes]) -> Vec<Bytes> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9092));
        let serving = self.0.listener().serve(far, address);
        let (served, answers) = tokio::join!(serving, talk(near, frames));
        served.expect("the broker is open");
        answers
    }

    /// All that is there still works, and ends as it should: a partition whose task has panicked
    /// does not.
    async fn check_alive(self) {
        if self.0.describe_topic(UNTOUCHED).is_ok() {
            let produce = encoded(&produce(UNTOUCHED, batch(&["still here"])), 11);
            let fetch = encoded(&fetch(UNTOUCHED), 12);
            let answers = self.serve(&[produce, fetch]).await;
            let (_, produced) = decode_response::<ProduceRequest>(&answers[0], 11).expect("sound");
            let produced = &produced.responses[0].partition_responses[0];
            assert_eq!(produced.error_code, ErrorCode::NONE, "{produced:?}");
            let (_, fetched) = decode_response::<FetchRequest>(&answers[1], 12).expect("sound");
            assert!(!fetched.responses[0].partitions[0].records.is_empty(), "{fetched:?}");
        }
        self.0.shutdown().await.expect("nothing has panicked");
    }
}

/// Sends all, and reads until all is answered that will be.
async fn talk(stream: DuplexStream, frames: &[Bytes]) -> Vec<Bytes> {
    let fates: Vec<Fate> = fates(frames);
    let expected = fates.iter().filter(|fate| matches!(fate, Fate::Answer(..))).count();
    let will_end = matches!(fates.last(), Some(Fate::Close));
    let (mut from, mut to) = tokio::io::split(stream);
    let writing = async {
        for frame in frames {
            let len = (frame.len() as i32).to_be_bytes();
            if to.write_all(&len).await.is_err() || to.write_all(frame).await.is_err() {
                // It has ended.
                return;
            }
        }
    };
    let reading = async {
        let mut answers = Vec::new();
        while answers.len() < expected || will_end {
            let Ok(len) = from.read_i32().await else { break };
            let mut answer = vec![0; usize::try_from(len).expect("a length")];
            from.read_exact(&mut answer).await.expect("no answer ends early");
            answers.push(answer.into());
        }
        answers
    };
    let ((), answers) = tokio::join!(writing, reading);
    answers
}

/// What should become of the frames, up to the one that ends the connection.
fn fates(frames: &[Bytes]) -> Vec<Fate> {
    let mut fates = Vec::new();
    for frame in frames {
        fates.push(fate(frame));
        if matches!(fates.last(), Some(Fate::Close)) {
            break;
        }
    }
    fates
}

fn fate(frame: &Bytes) -> Fate {
    let Ok((header, body)) = RequestHeader::read(frame) else { return Fate::Close };
    let RequestHeader { version, correlation_id, .. } = header;
    match ApiKey::from_number(header.api_key) {
        Some(api) if api.versions().contains(&version) => {
            for_api!(api, fate_of(&body, version, correlation_id))
        }
        Some(ApiKey::ApiVersions) => {
            Fate::Answer(ApiKey::ApiVersions, 0, correlation_id, Duration::ZERO)
        }
        _ => Fate::Close,
    }
}

fn fate_of<R: Request>(body: &Bytes, version: i16, id: i32) -> Fate {
    if decode_request::<R>(body, version).is_err() {
        return Fate::Close;
    }
    let mut waits = Duration::ZERO;
    match R::KEY {
        ApiKey::Produce => {
            let request = decode_request::<ProduceRequest>(body, version).expect("as above");
            if request.acks == 0 {
                return Fate::Silence;
            }
        }
        ApiKey::Metadata => {
            let request = decode_request::<MetadataRequest>(body, version).expect("as above");
            let is_named = |topic: &MetadataRequestTopic| topic.name.is_some();
            // Only later versions have ids instead.
            if version < 10 && !request.topics.unwrap_or_default().iter().all(is_named) {
                return Fate::Close;
            }
        }
        ApiKey::Fetch => {
            let request = decode_request::<FetchRequest>(body, version).expect("as above");
            waits = Duration::from_millis(request.max_wait_ms.max(0) as u64);
        }
        _ => {}
    }
    Fate::Answer(R::KEY, version, id, waits)
}

/// Each answer is that of its request, and none is missing.
fn check_answers(frames: &[Bytes], answers: &[Bytes]) {
    let fates = fates(frames);
    let (mut left, mut waits, mut is_certain) = (answers.iter(), Duration::ZERO, true);
    let will_end = matches!(fates.last(), Some(Fate::Close));
    for fate in &fates {
        let Fate::Answer(api, version, id, wait) = fate else {
            is_certain = false;
            continue;
        };
        waits += *wait;
        is_certain &= waits < if will_end { SHORT } else { PATIENT };
        match left.next() {
            Some(answer) => for_api!(api, check_answer(answer, *version, *id)),
            None => assert!(!is_certain, "no answer to {} {version}", api.name()),
        }
    }
    assert_eq!(left.len(), 0, "more answers than requests");
}

fn check_answer<R: Request<Response: Debug>>(answer: &Bytes, version: i16, id: i32) {
    let decoded = decode_response::<R>(answer, version);
    let (found, response) = decoded.unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert_eq!(found, id, "answers come in the order of requests");
    let again = encode_response::<R>(&response, version, id).expect("it is not long");
    assert_eq!(whole(again), answer, "{response:?}");
}

/// Whether it wants so many partitions that it would only take long.
fn is_large(frame: &Bytes) -> bool {
    let Ok((header, body)) = RequestHeader::read(frame) else { return false };
    if header.api_key != ApiKey::CreateTopics as i16 {
        return false;
    }
    let request = decode_request::<CreateTopicsRequest>(&body, header.version);
    request.is_ok_and(|request| {
        request.topics.iter().any(|topic| {
            let partitions = usize::try_from(topic.num_partitions).unwrap_or(0);
            partitions.max(topic.assignments.len()) > MAX_PARTITIONS
        })
    })
}

/// With batches that are as long as they say, and have the CRC of what they are.
pub fn mended(frame: &Bytes) -> Bytes {
    let Ok((header, body)) = RequestHeader::read(frame) else { return frame.clone() };
    let version = header.version;
    if header.api_key != ApiKey::Produce as i16 || !ApiKey::Produce.versions().contains(&version) {
        return frame.clone();
    }
    let Ok(mut request) = decode_request::<ProduceRequest>(&body, version) else {
        return frame.clone();
    };
    for data in request.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data) {
        data.records = Records::new(vec![mended_batch(&data.records.clone().into_bytes())]);
    }
    let id = header.correlation_id;
    whole(encode_request(&request, version, id, &header.client_id).expect("it is not long"))
}

fn mended_batch(batch: &Bytes) -> Bytes {
    if batch.len() < HEADER_LEN {
        return batch.clone();
    }
    let mut bytes = batch.to_vec();
    bytes[8..12].copy_from_slice(&((batch.len() - LOG_OVERHEAD) as i32).to_be_bytes());
    bytes[16] = MAGIC as u8;
    if let Err(BatchError::CrcMismatch { computed, .. }) = check_crc(&bytes) {
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&computed.to_be_bytes());
    }
    bytes.into()
}

pub fn encoded<R: Request>(request: &R, version: i16) -> Bytes {
    let client_id = Some("fuzzer".to_owned());
    whole(encode_request(request, version, 7, &client_id).expect("it is not long"))
}

pub fn produce(topic: &str, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: 0, records: Records::new(vec![records]) };
    let topic = TopicProduceData { name: topic.to_owned(), partition_data: vec![data] };
    ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() }
}

pub fn fetch(topic: &str) -> FetchRequest {
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let partitions = vec![partition];
    let topics = vec![FetchTopic { topic: topic.to_owned(), partitions, ..FetchTopic::default() }];
    FetchRequest { max_wait_ms: 100, min_bytes: 1, topics, ..FetchRequest::default() }
}

/// A batch of these values.
pub fn batch(values: &[&str]) -> Bytes {
    let mut batch = BatchBuilder::new(BytesMut::new());
    for value in values {
        batch.push(NOW, None, Some(value.as_bytes()), &[]);
    }
    batch.finish().freeze()
}
