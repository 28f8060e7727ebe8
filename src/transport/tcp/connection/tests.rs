//! A connection to a broker that a test plays.

use tokio::io::DuplexStream;

use super::*;
use crate::wire::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::encode_response;
use crate::wire::metadata::{MetadataRequest, MetadataResponse};

/// A broker's end of a connection.
struct Broker {
    stream: DuplexStream,
    buf: BytesMut,
}

impl Broker {
    /// Takes a request.
    async fn take(&mut self) -> Bytes {
        read_frame(&mut self.stream, &mut self.buf, 1 << 20).await.unwrap()
    }

    async fn answer<R: Request>(&mut self, request: &Bytes, version: i16, answer: R::Response) {
        let id = i32::from_be_bytes(request[4..8].try_into().unwrap());
        let mut frame = encode_response::<R>(&answer, version, id).unwrap();
        self.stream.write_all_buf(&mut frame).await.unwrap();
    }
}

/// A connection to a broker that has Metadata up to such a version.
async fn connected(max_version: i16) -> (Connection, Broker) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let mut broker = Broker { stream: theirs, buf: BytesMut::new() };
    let greets = async {
        let request = broker.take().await;
        let api_key = ApiKey::Metadata as i16;
        let answer = ApiVersionsResponse {
            api_keys: vec![ApiVersion { api_key, min_version: 0, max_version }],
            ..ApiVersionsResponse::default()
        };
        broker.answer::<ApiVersionsRequest>(&request, 4, answer).await;
    };
    let (name, settings) = ("kafka-1:9092".into(), Settings::default());
    let (connection, ()) = tokio::join!(Connection::over(ours, &name, &settings), greets);
    (connection.unwrap(), broker)
}

/// How long after the first answer, which asks for `throttle_ms`, the next request comes.
async fn pause_after(throttle_ms: i32, version: i16) -> Duration {
    let (connection, mut broker) = connected(version).await;
    let asks = async {
        for _ in 0..2 {
            connection.ask(&MetadataRequest::default()).await.unwrap();
        }
    };
    let answers = async {
        let mut answer =
            MetadataResponse { throttle_time_ms: throttle_ms, ..MetadataResponse::default() };
        let request = broker.take().await;
        broker.answer::<MetadataRequest>(&request, version, answer.clone()).await;
        let began = Instant::now();
        let request = broker.take().await;
        let pause = began.elapsed();
        answer.throttle_time_ms = 0;
        broker.answer::<MetadataRequest>(&request, version, answer).await;
        pause
    };
    tokio::join!(asks, answers).1
}

#[tokio::test(start_paused = true)]
async fn a_broker_is_left_alone_for_as_long_as_it_asks() {
    assert_eq!(pause_after(0, 12).await, Duration::ZERO);
    // Also for longer than an answer may take.
    for seconds in [5, 100] {
        let asked = Duration::from_secs(seconds);
        let pause = pause_after(asked.as_millis() as i32, 12).await;
        assert!(pause >= asked && pause < asked + Duration::from_secs(1), "{pause:?}");
    }
    assert_eq!(pause_after(-1, 12).await, Duration::ZERO);
    // It has waited itself.
    assert_eq!(pause_after(5_000, 5).await, Duration::ZERO);
}
