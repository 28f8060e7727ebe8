//! What listens is no broker, or not as it should be.

use std::time::Duration;

use bytes::Bytes;
use ottla::wire::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use ottla::wire::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use ottla::wire::{ApiKey, ErrorCode, RequestHeader, encode_response};
use ottla::{Client, Error, Record, TopicId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::impatient;
use crate::support::{assert_error, at, within};

/// Answers each request by what it is told, until that is nothing.
async fn fake<F>(answer: F) -> (String, JoinSet<()>)
where
    F: Fn(RequestHeader, u16) -> Option<Vec<u8>> + Clone + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            connections.spawn(async move {
                let _ = converse(stream, address.port(), answer).await;
            });
        }
    });
    (address.to_string(), tasks)
}

async fn converse(
    mut stream: TcpStream,
    port: u16,
    answer: impl Fn(RequestHeader, u16) -> Option<Vec<u8>>,
) -> std::io::Result<()> {
    loop {
        let len = stream.read_i32().await?;
        let mut frame = vec![0; len as usize];
        stream.read_exact(&mut frame).await?;
        let (header, _) = RequestHeader::read(&Bytes::from(frame)).unwrap();
        match answer(header, port) {
            Some(bytes) => stream.write_all(&bytes).await?,
            None => return Ok(()),
        }
    }
}

fn framed<R: ottla::wire::Request>(response: &R::Response, header: &RequestHeader) -> Vec<u8> {
    let mut frame = encode_response::<R>(response, header.version, header.correlation_id).unwrap();
    let mut bytes = Vec::new();
    while bytes::Buf::has_remaining(&frame) {
        let chunk = bytes::Buf::chunk(&frame).to_vec();
        bytes::Buf::advance(&mut frame, chunk.len());
        bytes.extend(chunk);
    }
    bytes
}

/// As a broker that has these versions.
fn versions(header: &RequestHeader, of: impl Fn(ApiKey) -> Option<(i16, i16)>) -> Vec<u8> {
    let each = ApiKey::ALL.iter().filter_map(|api| {
        let (min_version, max_version) = of(*api)?;
        Some(ApiVersion { api_key: *api as i16, min_version, max_version })
    });
    let response =
        ApiVersionsResponse { api_keys: each.collect(), ..ApiVersionsResponse::default() };
    framed::<ApiVersionsRequest>(&response, header)
}

fn all(api: ApiKey) -> Option<(i16, i16)> {
    Some((*api.versions().start(), *api.versions().end()))
}

/// One broker, and a topic of one partition.
fn metadata(header: &RequestHeader, port: u16) -> Vec<u8> {
    let partition = MetadataResponsePartition::default();
    let response = MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 0,
            host: "127.0.0.1".to_owned(),
            port: port.into(),
            rack: None,
        }],
        topics: vec![MetadataResponseTopic {
            name: Some("t".to_owned()),
            topic_id: TopicId([1; 16]),
            partitions: vec![partition],
            ..MetadataResponseTopic::default()
        }],
        ..MetadataResponse::default()
    };
    framed::<MetadataRequest>(&response, header)
}

#[tokio::test]
async fn brokers_that_are_not_there_are_named_with_the_reason() {
    within(async {
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap().to_string());
        }
        let refused = Client::connect(&addresses.join(",")).await;
        let error = assert_error!(
            refused,
            Error::Unreachable { .. },
            "no broker can be reached",
            addresses[0],
            addresses[1],
            "refused"
        );
        assert!(error.is_retriable());
        let nonsense = Client::connect("kafka://a").await;
        assert_error!(nonsense, Error::InvalidConfig { .. }, "bootstrap.servers", "host:port");
    })
    .await
}

#[tokio::test]
async fn what_speaks_something_else_is_told_by_its_first_bytes() {
    within(async {
        let cases: [(&[u8], &str); 5] = [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
            (&[0x15, 3, 3, 0, 2, 2, 70], "expects TLS"),
            (&[0xff; 40], "negative length"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
            (b"", "closed the connection"),
        ];
        for (said, part) in cases {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 16];
                stream.read_exact(&mut request).await.unwrap();
                stream.write_all(said).await.unwrap();
                stream.shutdown().await.unwrap();
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
            let refused = impatient().connect(&address).await;
            assert_error!(refused, Error::Unreachable { .. }, address, part);
            server.await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_given_up() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let builder = Client::builder().connect_timeout(Duration::from_millis(100));
        let refused = builder.connect(&address).await;
        assert_error!(refused, Error::Unreachable { .. }, address, "no connection within 100ms");
    })
    .await
}

#[tokio::test]
async fn a_broker_that_is_too_old_is_named_with_the_request() {
    within(async {
        let (address, _server) = fake(|header, port| match header.api_key {
            18 => Some(versions(&header, |api| match api {
                ApiKey::ListOffsets => Some((0, 0)),
                ApiKey::InitProducerId => None,
                api => all(api),
            })),
            3 => Some(metadata(&header, port)),
            _ => None,
        })
        .await;
        let client = impatient().connect(&address).await.unwrap();
        let unread = client.consumer().assign([at("t", 0)]).await;
        assert_error!(
            unread,
            Error::UnsupportedVersion { .. },
            address,
            "ListOffsets 1 to 10",
            "0 to 0",
            "too old"
        );
        let unsent = client.producer().build().send(Record::to("t").value("v")).await;
        assert_error!(unsent, Error::UnsupportedVersion { .. }, "does not have InitProducerId");
    })
    .await
}

/// Nothing panics or hangs, whatever the length says.
#[tokio::test]
async fn answers_that_lie_end_the_connection() {
    within(async {
        let lies: [fn(Vec<u8>) -> Vec<u8>; 6] = [
            |_| i32::MAX.to_be_bytes().to_vec(),
            |_| (-1i32).to_be_bytes().to_vec(),
            // Half of the body, and a length to match.
            |answer| {
                let half = (answer.len() - 4) / 2;
                let mut lie = (half as i32).to_be_bytes().to_vec();
                lie.extend(&answer[4..4 + half]);
                lie
            },
            // The answer to something else.
            |mut answer| {
                answer[7] ^= 1;
                answer
            },
            |_| 2i32.to_be_bytes().into_iter().chain([0, 0]).collect(),
            // An array of 2^31 brokers.
            |mut answer| {
                answer[13..18].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 7]);
                answer
            },
        ];
        for (nth, lie) in lies.into_iter().enumerate() {
            let (address, _server) = fake(move |header, port| match header.api_key {
                18 => Some(versions(&header, all)),
                3 => Some(lie(metadata(&header, port))),
                _ => None,
            })
            .await;
            let failed = impatient().connect(&address).await;
            let error = assert_error!(failed, Error::Disconnected { .. }, address);
            assert!(error.is_retriable(), "{nth}: {error}");
        }
    })
    .await
}

#[tokio::test]
async fn topics_that_are_not_there_are_unknown_after_a_while() {
    within(async {
        let broker = ottla::Broker::builder().auto_create_topics(false).in_memory().await.unwrap();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let client = impatient().connect(&listener.local_addr().to_string()).await.unwrap();
        let unsent = client.producer().build().send(Record::to("none").value("v")).await;
        assert_error!(unsent, Error::UnknownTopic { .. }, "none");
        let unread = client.consumer().subscribe(["none"]).await;
        assert_error!(unread, Error::UnknownTopic { .. }, "none");
    })
    .await
}

#[tokio::test]
async fn what_a_broker_forbids_is_told_by_its_name() {
    within(async {
        let broker = ottla::Broker::in_memory().await.unwrap();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let client = impatient().connect(&listener.local_addr().to_string()).await.unwrap();
        let producer = client.producer().build();
        producer.send(Record::to("t").value("v")).await.unwrap();
        broker.fail_next(ApiKey::Produce, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        let forbidden = producer.send(Record::to("t").value("v")).await;
        let name = "TOPIC_AUTHORIZATION_FAILED";
        assert_error!(forbidden, Error::Unauthorized { .. }, "producing to t-0", name);
        broker.fail_next(ApiKey::Produce, ErrorCode::POLICY_VIOLATION);
        let refused = producer.send(Record::to("t").value("v")).await;
        assert_error!(refused, Error::Refused { code: 44, .. }, "t-0", "POLICY_VIOLATION (44)");
        // The numbers that those had are not missing to the next.
        assert_eq!(producer.send(Record::to("t").value("v")).await.unwrap().offset, 1);
    })
    .await
}
