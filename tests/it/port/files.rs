//! Answers that go from files to the socket, and those that are read: nobody can tell which it was.

use bytes::Bytes;
use ottla::batch::Batch;
use ottla::wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla::wire::fetch::FetchRequest;
use ottla::wire::{ErrorCode, decode_response};
use ottla::{Broker, Listener};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use super::client::{RawClient, batch, produce_request};
use super::conformance::{BY_NAME, fetch};
use super::create;
use crate::support::{file_in, within};

/// Batches in a partition.
const BATCHES: usize = 60;

async fn on_disk(dir: &TempDir) -> (Broker, Listener, RawClient) {
    let broker = Broker::open(dir.path()).await.unwrap();
    // Hardly any memory for answers: but for one batch, what is sent is not in memory.
    let listener = broker.listener().queued_max_response_bytes(1 << 10);
    let listener = listener.bind("127.0.0.1:0").await.unwrap();
    let client = RawClient::connect(listener.local_addr()).await;
    (broker, listener, client)
}

/// Large batches in each partition; returns what is in their files.
async fn fill(client: &mut RawClient, dir: &TempDir, partitions: i32) -> Vec<Vec<u8>> {
    let address = client.stream.peer_addr().unwrap();
    let configs = [("segment.bytes", "1048576")];
    create(address, "t", partitions, &configs).await;
    for number in 0..BATCHES {
        let value = "x".repeat(15_000 + 97 * number);
        for partition in 0..partitions {
            let request = produce_request("t", partition, batch(&[&value, "y"]), -1);
            let answer = client.ask_newest(&request).await;
            let answer = &answer.responses[0].partition_responses[0];
            assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
        }
    }
    (0..partitions).map(|partition| content(dir, partition)).collect()
}

/// All a partition's segments, one behind the other.
fn content(dir: &TempDir, partition: i32) -> Vec<u8> {
    let folder = dir.path().join(format!("t-{partition}"));
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> =
        files.filter(|it| it.extension().is_some_and(|it| it == "log")).collect();
    logs.sort();
    logs.iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
}

/// From all partitions, from there on.
fn fetch_all(offsets: &[i64], max_bytes: i32) -> FetchRequest {
    let mut request = fetch("t", 0, 0);
    let one = request.topics[0].partitions.remove(0);
    for (partition, offset) in (0..).zip(offsets) {
        let mut next = one.clone();
        (next.partition, next.fetch_offset) = (partition, *offset);
        next.partition_max_bytes = max_bytes;
        request.topics[0].partitions.push(next);
    }
    request
}

/// The offset behind whole, sound batches.
fn end_of(mut bytes: Bytes, from: i64) -> i64 {
    let mut offset = from;
    while !bytes.is_empty() {
        let batch = Batch::parse_checked(bytes.clone()).unwrap();
        assert_eq!(batch.header().base_offset, offset);
        offset = batch.header().next_offset();
        bytes = bytes.slice(batch.bytes().len()..);
    }
    offset
}

/// Reads all partitions to their ends; how many answers that took.
async fn read_all(client: &mut RawClient, files: &[Vec<u8>], max_bytes: i32) -> usize {
    let (mut read, mut offsets) = (vec![Vec::new(); files.len()], vec![0; files.len()]);
    let end = 2 * BATCHES as i64;
    for answers in 1.. {
        let request = fetch_all(&offsets, max_bytes);
        let answer = client.ask(&request, BY_NAME).await;
        for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let index = data.partition_index as usize;
            assert_eq!((data.error_code, data.high_watermark), (ErrorCode::NONE, end));
            let bytes = data.records.into_bytes();
            offsets[index] = end_of(bytes.clone(), offsets[index]);
            read[index].extend_from_slice(&bytes);
        }
        if offsets.iter().all(|offset| *offset == end) {
            assert!(read == files, "what came is not what is in the files");
            return answers;
        }
    }
    unreachable!("it counts far")
}

#[tokio::test]
async fn what_comes_is_what_is_in_the_files() {
    let dir = TempDir::new().unwrap();
    let (broker, listener, mut client) = on_disk(&dir).await;
    let files = fill(&mut client, &dir, 3).await;
    for max_bytes in [70_000, 200_000, 10 << 20] {
        let answers = read_all(&mut client, &files, max_bytes).await;
        if cfg!(target_os = "linux") && max_bytes > 1 << 20 {
            assert!(answers < 3 * BATCHES / 10, "{answers}: it takes memory that is not there");
        }
    }
    let reading = broker.listener().queued_max_response_bytes(1 << 10).check_crcs(true);
    let reading = reading.bind("127.0.0.1:0").await.unwrap();
    let mut wary = RawClient::connect(reading.local_addr()).await;
    let answers = read_all(&mut wary, &files, 10 << 20).await;
    assert!(answers >= BATCHES, "{answers}: not read");
    reading.close().await;
    listener.close().await;
    broker.shutdown().await.unwrap();
    // Nobody has checked them in this life: they are read, the first time.
    let (_broker, _listener, mut client) = on_disk(&dir).await;
    let answers = read_all(&mut client, &files, 10 << 20).await;
    assert!(answers >= BATCHES, "{answers}: unchecked");
    read_all(&mut client, &files, 10 << 20).await;
}

/// What an answer has begun with it ends with.
#[tokio::test]
async fn an_answer_outlives_its_topic() {
    let dir = TempDir::new().unwrap();
    let (_broker, listener, mut client) = on_disk(&dir).await;
    let files = fill(&mut client, &dir, 8).await;
    let total: usize = files.iter().map(Vec::len).sum();
    let id = client.send(&fetch_all(&[0; 8], 10 << 20), BY_NAME).await;
    let mut len = [0; 4];
    within(client.stream.read_exact(&mut len)).await.unwrap();
    let state = DeleteTopicState { name: Some("t".to_owned()), ..DeleteTopicState::default() };
    let delete = DeleteTopicsRequest {
        topics: vec![state],
        timeout_ms: 10_000,
        ..DeleteTopicsRequest::default()
    };
    let mut other = RawClient::connect(listener.local_addr()).await;
    let deleted = other.ask_newest(&delete).await;
    assert_eq!(deleted.responses[0].error_code, ErrorCode::NONE);
    while file_exists(&dir) {
        tokio::task::yield_now().await;
    }
    let mut frame = vec![0; i32::from_be_bytes(len) as usize];
    within(client.stream.read_exact(&mut frame)).await.unwrap();
    let (found, answer) = decode_response::<FetchRequest>(&frame.into(), BY_NAME).unwrap();
    assert_eq!(found, id);
    let mut read = 0;
    for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
        let file = &files[data.partition_index as usize];
        let bytes = data.records.into_bytes();
        assert!(file.starts_with(&bytes), "what came is not what was in the file");
        read += bytes.len();
    }
    assert!(read > total / 2 || !cfg!(target_os = "linux"), "{read} of {total}");
    // And the connection goes on.
    let answer = client.ask(&fetch_all(&[0], 1 << 20), BY_NAME).await;
    let code = answer.responses[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

fn file_exists(dir: &TempDir) -> bool {
    let folder = dir.path().join("t-0");
    folder.exists() && file_in(&folder, "log").exists()
}
