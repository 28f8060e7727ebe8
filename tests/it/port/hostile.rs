//! What no client should send: the connection ends, or an error is the answer; nobody else
//! notices.

use std::time::Duration;

use bytes::Bytes;
use ottla::wire::api_versions::ApiVersionsRequest;
use ottla::wire::fetch::FetchRequest;
use ottla::wire::metadata::{MetadataRequest, MetadataRequestTopic};
#[cfg(feature = "gzip")]
use ottla::wire::produce::ProduceRequest;
use ottla::wire::{ErrorCode, MAX_ELEMENTS};
use ottla::{Broker, Error};
use tokio::io::AsyncWriteExt;

use super::client::{RawClient, batch, header, produce_request};
use super::{create, listening};

/// Frames that no client should send.
pub(crate) fn malformed() -> Vec<Vec<u8>> {
    let with = |key: i16, version: i16, body: &[u8]| [&header(key, version)[..], body].concat();
    let lies = [0x7f, 0xff, 0xff, 0xff];
    vec![
        vec![],
        vec![0, 3],
        // Unknown keys and versions, those of inter-broker requests among them.
        header(999, 0),
        header(-1, 0),
        header(4, 0),
        header(3, 99),
        header(1, 3),
        header(71, 0),
        // Versions of Produce that are only said to be there.
        with(0, 0, &[0, 1, 0, 0, 0, 1, 0, 0, 0, 0]),
        with(0, 2, &[0, 1, 0, 0, 0, 1, 0, 0, 0, 0]),
        // Arrays that claim 2^31 - 1 elements, or fewer than none.
        with(3, 1, &lies),
        with(3, 1, &[0x80, 0, 0, 0]),
        with(3, 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        with(1, 4, &[&[0xff; 4][..], &[0; 13], &lies].concat()),
        with(0, 3, &[&[0xff, 0xff, 0, 1, 0, 0, 0, 1][..], &lies].concat()),
        with(0, 9, &[0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        // Records longer than the frame, and of negative length.
        with(0, 3, b"\xff\xff\0\x01\0\0\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\x7f\xff\xff\xff"),
        with(0, 3, b"\xff\xff\0\x01\0\0\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\x80\0\0\0"),
        // Text that is none; a client id that goes on behind the frame.
        with(3, 1, b"\0\0\0\x01\0\x02\xff\xfe"),
        b"\0\x03\0\x01\0\0\0\x07\x7f\xff".to_vec(),
        b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n".to_vec(),
    ]
}

/// Each ends the connection; the next client is served as if nothing had been.
#[tokio::test]
async fn malformed_requests_end_their_connection_only() {
    let (_broker, listener) = listening().await;
    let address = listener.local_addr();
    for body in malformed() {
        let mut client = RawClient::connect(address).await;
        client.send_frame(&body).await;
        client.is_closed().await;
    }
    let request = ApiVersionsRequest {
        client_software_name: "raw".to_owned(),
        client_software_version: "1".to_owned(),
    };
    let answer = RawClient::connect(address).await.ask_newest(&request).await;
    assert_eq!(answer.error_code, ErrorCode::NONE);
}

#[tokio::test]
async fn lengths_of_frames_are_limited() {
    let broker = Broker::in_memory().await.unwrap();
    let listener = broker.listener().max_request_bytes(1000).bind("127.0.0.1:0").await.unwrap();
    for len in [i32::MAX, 1001, -1, i32::MIN] {
        let mut client = RawClient::connect(listener.local_addr()).await;
        client.stream.write_all(&len.to_be_bytes()).await.unwrap();
        client.is_closed().await;
    }
    // What has been sent in time and in full before is answered.
    let mut client = RawClient::connect(listener.local_addr()).await;
    let id = client.send(&MetadataRequest::default(), 1).await;
    client.stream.write_all(&i32::MAX.to_be_bytes()).await.unwrap();
    client.receive::<MetadataRequest>(id, 1).await;
    client.is_closed().await;
}

/// Half a frame, and then nothing; or a byte now and then.
#[tokio::test]
async fn a_request_that_does_not_come_to_its_end_is_given_up() {
    let broker = Broker::in_memory().await.unwrap();
    let builder = broker.listener().idle_timeout(Duration::from_millis(300));
    let listener = builder.bind("127.0.0.1:0").await.unwrap();
    let mut silent = RawClient::connect(listener.local_addr()).await;
    silent.stream.write_all(&[0, 0, 0, 100, 0, 3]).await.unwrap();
    let mut slow = RawClient::connect(listener.local_addr()).await;
    slow.stream.write_all(&[0, 0, 0, 100]).await.unwrap();
    let (read, mut write) = slow.stream.into_split();
    let drips = tokio::spawn(async move {
        // Until it is closed at the other end.
        while write.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    silent.is_closed().await;
    crate::support::within(drips).await.unwrap();
    drop(read);
}

/// Who waits for an answer is not idle, though it is silent.
#[tokio::test]
async fn long_polls_outlast_the_idle_timeout() {
    let broker = Broker::in_memory().await.unwrap();
    let builder = broker.listener().idle_timeout(Duration::from_millis(200));
    let listener = builder.bind("127.0.0.1:0").await.unwrap();
    create(listener.local_addr(), "t", 1, &[]).await;
    let mut client = RawClient::connect(listener.local_addr()).await;
    let request = super::conformance::fetch("t", 0, 0);
    let polls = [client.send(&request, 12).await, client.send(&request, 12).await];
    for id in polls {
        client.receive::<FetchRequest>(id, 12).await;
    }
    client.is_closed().await;
}

/// Those who do not read what they asked for hold up nobody.
#[tokio::test]
async fn a_client_that_does_not_read_stalls_nobody() {
    let (_broker, listener) = listening().await;
    let address = listener.local_addr();
    create(address, "t", 1, &[]).await;
    let mut producer = RawClient::connect(address).await;
    let value = "x".repeat(500_000);
    for _ in 0..8 {
        let produced = producer.produce("t", batch(&[&value])).await;
        assert_eq!(produced.error_code, ErrorCode::NONE);
    }
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut client = RawClient::connect(address).await;
        for _ in 0..20 {
            client.send(&super::conformance::fetch("t", 0, 0), 12).await;
        }
        deaf.push(client);
    }
    let produced = producer.produce("t", batch(&["still here"])).await;
    assert_eq!((produced.error_code, produced.base_offset), (ErrorCode::NONE, 8));
    // They can go on.
    let mut one = deaf.pop().unwrap();
    for id in 1..=20 {
        let fetched = one.receive::<FetchRequest>(id, 12).await;
        assert!(fetched.responses[0].partitions[0].records.len() > 400_000);
    }
    // Nor do the others delay the end.
    listener.close().await;
}

/// A client that holds all memory for requests, and sends no more, holds up the others no longer
/// than a few seconds.
#[tokio::test]
async fn memory_for_requests_is_not_hoarded() {
    let broker = Broker::in_memory().await.unwrap();
    let builder = broker.listener().queued_max_request_bytes(64 << 10);
    let listener = builder.bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    create(address, "t", 1, &[]).await;
    let mut hoarder = RawClient::connect(address).await;
    let id = hoarder.send(&MetadataRequest::default(), 1).await;
    hoarder.stream.write_all(&(60i32 << 10).to_be_bytes()).await.unwrap();
    // Its length has come with the request before it, or will have been read by then.
    hoarder.receive::<MetadataRequest>(id, 1).await;
    let mut client = RawClient::connect(address).await;
    let large = "x".repeat(20 << 10);
    let produced = client.produce("t", batch(&[&large])).await;
    assert_eq!(produced.error_code, ErrorCode::NONE);
    // As large as all of it, and more.
    let large = "x".repeat(200 << 10);
    let produced = client.produce("t", batch(&[&large])).await;
    assert_eq!(produced.error_code, ErrorCode::NONE);
}

/// What has been handed over takes no memory of requests, though it is answered later.
#[tokio::test]
async fn memory_for_requests_is_not_kept_behind_a_long_poll() {
    let broker = Broker::in_memory().await.unwrap();
    let builder = broker.listener().queued_max_request_bytes(64 << 10);
    let listener = builder.bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    create(address, "t", 1, &[]).await;
    create(address, "quiet", 1, &[]).await;
    let mut patient = RawClient::connect(address).await;
    let poll = super::conformance::fetch("quiet", 0, 0);
    patient.send(&FetchRequest { max_wait_ms: i32::MAX, ..poll }, 12).await;
    let large = "x".repeat(60 << 10);
    patient.send(&produce_request("t", 0, batch(&[&large]), -1), 7).await;
    let produced = RawClient::connect(address).await.produce("t", batch(&[&large])).await;
    assert_eq!(produced.error_code, ErrorCode::NONE);
}

/// Nor is memory for answers: who does not read them lets go, and until then the others get a
/// batch at a time.
#[tokio::test]
async fn memory_for_answers_is_not_hoarded() {
    let broker = Broker::in_memory().await.unwrap();
    let builder = broker.listener().queued_max_response_bytes(1 << 20).max_connections(2);
    let listener = builder.bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    create(address, "t", 1, &[]).await;
    let mut client = RawClient::connect(address).await;
    let value = "x".repeat(950_000);
    for _ in 0..3 {
        let produced = client.produce("t", batch(&[&value])).await;
        assert_eq!(produced.error_code, ErrorCode::NONE);
    }
    let mut deaf = RawClient::connect(address).await;
    let asks = 30;
    for _ in 0..asks {
        deaf.send(&super::conformance::fetch("t", 0, 0), 12).await;
    }
    let mut fetched = client.ask(&super::conformance::fetch("t", 0, 0), 12).await;
    let fetched = fetched.responses.remove(0).partitions.remove(0).records.len();
    assert!((950_000..1 << 20).contains(&fetched), "{fetched}: one batch, and not three");
    // There is room for another connection once the server has ended that one.
    RawClient::connect(address).await.ask(&MetadataRequest::default(), 1).await;
    let mut answered = 0;
    while deaf.frame().await.is_some() {
        answered += 1;
    }
    assert!(answered < asks);
}

/// What a request makes the server do is limited by what it names, too.
#[tokio::test]
async fn a_request_names_only_so_much() {
    let (_broker, listener) = listening().await;
    for (count, is_answered) in [(MAX_ELEMENTS, true), (MAX_ELEMENTS + 1, false)] {
        let mut client = RawClient::connect(listener.local_addr()).await;
        // Topics of this name there are none.
        let named = MetadataRequestTopic { name: Some(String::new()), ..Default::default() };
        let topics = Some(vec![named; count]);
        client.send(&MetadataRequest { topics, ..MetadataRequest::default() }, 1).await;
        assert_eq!(client.frame().await.is_some(), is_answered);
    }
}

/// A batch that takes long to check does not lose its place.
#[cfg(feature = "gzip")]
#[tokio::test]
async fn large_compressed_batches_keep_their_order() {
    let (broker, listener) = listening().await;
    let address = listener.local_addr();
    create(address, "t", 1, &[]).await;
    let mut client = RawClient::connect(address).await;
    let large = "x".repeat(8 << 20);
    let large = ottla::batch::compress(&batch(&[&large]), ottla::Compression::Gzip).unwrap();
    let batches = [large.freeze(), batch(&["a"]), batch(&["b"])];
    let mut ids = Vec::new();
    for records in batches {
        ids.push(client.send(&produce_request("t", 0, records, -1), 7).await);
    }
    for (offset, id) in (0..).zip(ids) {
        let answer = client.receive::<ProduceRequest>(id, 7).await;
        let told = &answer.responses[0].partition_responses[0];
        assert_eq!((told.error_code, told.base_offset), (ErrorCode::NONE, offset));
    }
    // A zip bomb is refused, and those behind it are not.
    let bomb = "x".repeat(65 << 20);
    let bomb = ottla::batch::compress(&batch(&[&bomb]), ottla::Compression::Gzip).unwrap();
    assert_eq!(client.produce("t", bomb.freeze()).await.error_code, ErrorCode::MESSAGE_TOO_LARGE);
    assert_eq!(client.produce("t", batch(&["c"])).await.base_offset, 3);
    assert_eq!(broker.describe_topic("t").unwrap().partitions[0].high_watermark, 4);
}

#[tokio::test]
async fn thousands_of_idle_connections_are_fine() {
    let (_broker, listener) = listening().await;
    let address = listener.local_addr();
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(RawClient::connect(address).await);
    }
    let mut client = RawClient::connect(address).await;
    client.ask(&MetadataRequest::default(), 1).await;
    idle[500].ask(&MetadataRequest::default(), 1).await;
}

#[tokio::test]
async fn connections_above_the_limit_wait() {
    let broker = Broker::in_memory().await.unwrap();
    let listener = broker.listener().max_connections(2).bind("127.0.0.1:0").await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = RawClient::connect(listener.local_addr()).await;
        client.ask(&MetadataRequest::default(), 1).await;
        clients.push(client);
    }
    let mut third = RawClient::connect(listener.local_addr()).await;
    let id = third.send(&MetadataRequest::default(), 1).await;
    clients[0].ask(&MetadataRequest::default(), 1).await;
    clients.pop();
    third.receive::<MetadataRequest>(id, 1).await;
}

#[tokio::test]
async fn batches_that_lie_are_refused() {
    let (broker, listener) = listening().await;
    let address = listener.local_addr();
    create(address, "t", 1, &[]).await;
    let mut client = RawClient::connect(address).await;
    let sound = batch(&["a", "b"]);
    let changed = |at: usize, byte: u8| {
        let mut bytes = sound.to_vec();
        bytes[at] ^= byte;
        Bytes::from(bytes)
    };
    for (records, code) in [
        (Bytes::new(), ErrorCode::INVALID_RECORD),
        (sound.slice(..40), ErrorCode::INVALID_RECORD),
        (sound.slice(..sound.len() - 1), ErrorCode::INVALID_RECORD),
        ([&sound[..], &sound[..]].concat().into(), ErrorCode::INVALID_RECORD),
        (changed(sound.len() - 1, 1), ErrorCode::CORRUPT_MESSAGE),
        (changed(16, 3), ErrorCode::INVALID_RECORD),
        (changed(7, 1), ErrorCode::INVALID_RECORD),
        (changed(60, 4), ErrorCode::CORRUPT_MESSAGE),
        // A codec that nobody has.
        (changed(22, 7), ErrorCode::CORRUPT_MESSAGE),
    ] {
        let answer = client.produce("t", records).await;
        assert_eq!(answer.error_code, code, "{answer:?}");
        assert_eq!(answer.base_offset, -1);
        assert!(answer.error_message.is_some());
    }
    let answer = client.produce("t", sound).await;
    assert_eq!((answer.error_code, answer.base_offset), (ErrorCode::NONE, 0));
    assert_eq!(broker.describe_topic("t").unwrap().partitions[0].high_watermark, 2);
}

/// A long poll ends with its listener, and with the broker.
#[tokio::test]
async fn nothing_that_waits_delays_closing() {
    for close_listener in [true, false] {
        let (broker, listener) = listening().await;
        create(listener.local_addr(), "t", 1, &[]).await;
        let mut client = RawClient::connect(listener.local_addr()).await;
        let request =
            FetchRequest { max_wait_ms: i32::MAX, ..super::conformance::fetch("t", 0, 0) };
        let id = client.send(&request, 12).await;
        // A second connection, whose request is answered, shows that the first's was read.
        RawClient::connect(listener.local_addr()).await.ask(&MetadataRequest::default(), 1).await;
        crate::support::within(async {
            match close_listener {
                true => listener.close().await,
                false => broker.shutdown().await.unwrap(),
            }
        })
        .await;
        // It may have been read by then, and is answered, or not.
        if let Some(frame) = client.frame().await {
            assert_eq!(frame[..4], id.to_be_bytes());
            client.is_closed().await;
        }
    }
}

#[tokio::test]
async fn an_address_for_all_needs_a_word() {
    let broker = Broker::in_memory().await.unwrap();
    let error = broker.listen("0.0.0.0:0").await.unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }), "{error}");
    assert!(error.to_string().contains("allow_remote_plaintext"), "{error}");
    let listener = broker.listener().allow_remote_plaintext().bind("0.0.0.0:0").await.unwrap();
    let local = (std::net::Ipv4Addr::LOCALHOST, listener.local_addr().port());
    RawClient::connect(local.into()).await.ask(&MetadataRequest::default(), 1).await;
}
