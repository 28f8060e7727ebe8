//! A client that sends what it is told to, sound or not.

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use ottla::batch::BatchBuilder;
use ottla::wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use ottla::wire::{ApiKey, Records, Request, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::within;

pub(super) struct RawClient {
    pub(super) stream: TcpStream,
    correlation_id: i32,
}

impl RawClient {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = within(TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        RawClient { stream, correlation_id: 0 }
    }

    /// Sends a request; returns its correlation id.
    pub(super) async fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        self.correlation_id += 1;
        let client_id = Some("raw".to_owned());
        let frame = encode_request(request, version, self.correlation_id, &client_id);
        let mut frame = frame.unwrap();
        let bytes = frame.copy_to_bytes(frame.remaining());
        self.stream.write_all(&bytes).await.unwrap();
        self.correlation_id
    }

    /// The next answer's frame; `None` if the connection has ended.
    pub(super) async fn frame(&mut self) -> Option<Bytes> {
        let read = async {
            let mut len = [0; 4];
            self.stream.read_exact(&mut len).await.ok()?;
            let mut frame = BytesMut::zeroed(i32::from_be_bytes(len) as usize);
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(frame.freeze())
        };
        within(read).await
    }

    /// The next answer, which must be this one's.
    pub(super) async fn receive<R: Request>(&mut self, id: i32, version: i16) -> R::Response {
        let frame = self.frame().await.expect("there is an answer");
        let (found, response) = decode_response::<R>(&frame, version).unwrap();
        assert_eq!(found, id, "answers come in the order of requests");
        response
    }

    pub(super) async fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let id = self.send(request, version).await;
        self.receive::<R>(id, version).await
    }

    /// In the newest version that there is.
    pub(super) async fn ask_newest<R: Request>(&mut self, request: &R) -> R::Response {
        self.ask(request, *R::KEY.versions().end()).await
    }

    /// Bytes as they are, as a frame.
    pub(super) async fn send_frame(&mut self, body: &[u8]) {
        self.stream.write_all(&(body.len() as i32).to_be_bytes()).await.unwrap();
        self.stream.write_all(body).await.unwrap();
    }

    /// Asserts that the server ends the connection, with nothing more said.
    pub(super) async fn is_closed(&mut self) {
        assert_eq!(self.frame().await, None, "an answer, where the connection is to end");
    }

    pub(super) async fn produce(
        &mut self,
        topic: &str,
        records: Bytes,
    ) -> PartitionProduceResponse {
        let request = produce_request(topic, 0, records, -1);
        let mut response = self.ask_newest(&request).await;
        response.responses.remove(0).partition_responses.remove(0)
    }
}

pub(super) fn produce_request(
    topic: &str,
    partition: i32,
    records: Bytes,
    acks: i16,
) -> ProduceRequest {
    let records = Records::new(vec![records]);
    let data = PartitionProduceData { index: partition, records };
    let topic = TopicProduceData { name: topic.to_owned(), partition_data: vec![data] };
    let topic_data = vec![topic];
    ProduceRequest { acks, timeout_ms: 10_000, topic_data, ..ProduceRequest::default() }
}

/// A request's header, with nothing behind it.
pub(super) fn header(key: i16, version: i16) -> Vec<u8> {
    let mut bytes = [key.to_be_bytes(), version.to_be_bytes()].concat();
    bytes.extend(7i32.to_be_bytes());
    bytes.extend([0xff, 0xff]);
    if ApiKey::from_number(key).is_some_and(|api| api.is_flexible(version)) {
        bytes.push(0);
    }
    bytes
}

/// A batch of these values, with timestamps of now, and without keys.
pub(super) fn batch(values: &[&str]) -> Bytes {
    timed(&values.iter().map(|value| (now(), *value)).collect::<Vec<_>>())
}

pub(super) fn timed(records: &[(i64, &str)]) -> Bytes {
    sequenced(records, None)
}

/// Of an idempotent producer: its id, epoch, and first sequence number.
pub(super) fn sequenced(records: &[(i64, &str)], producer: Option<(i64, i16, i32)>) -> Bytes {
    let mut batch = BatchBuilder::new(BytesMut::new());
    if let Some((id, epoch, sequence)) = producer {
        batch.set_producer(id, epoch, sequence);
    }
    for (timestamp, value) in records {
        batch.push(*timestamp, None, Some(value.as_bytes()), &[]);
    }
    batch.finish().freeze()
}

/// The batch with these bytes in it, and a CRC that fits. Offsets are those of the format.
pub(super) fn patched(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut changed = batch.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc_fast::crc32_iscsi(&changed[21..]);
    changed[17..21].copy_from_slice(&crc.to_be_bytes());
    changed.into()
}

pub(super) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}
