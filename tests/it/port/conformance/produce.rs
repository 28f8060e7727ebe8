//! Produce, and what becomes of batches.

use bytes::{Bytes, BytesMut};
use ottla::batch::{Batch, BatchBuilder};
use ottla::wire::fetch::FetchRequest;
use ottla::wire::list_offsets::LATEST;
use ottla::wire::metadata::MetadataRequest;
use ottla::wire::produce::{PartitionProduceData, TopicProduceData};
use ottla::wire::{ApiKey, ErrorCode, Records};

use super::super::client::{RawClient, batch, now, patched, produce_request, sequenced, timed};
use super::{BY_NAME, fetch, fetched, offset_at, produced, records, targets};

/// The batch at the start of a topic.
async fn first_batch(client: &mut RawClient, topic: &str) -> Batch {
    let data = fetched(client, &fetch(topic, 0, 0)).await;
    Batch::parse_checked(data.records.into_bytes()).unwrap()
}

#[tokio::test]
async fn what_is_produced_is_fetched() {
    for target in targets("produce").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        assert_eq!(produced(&mut client, topic, batch(&["a", "b", "c"])).await, 0);
        assert_eq!(produced(&mut client, topic, batch(&["d"])).await, 3);
        for version in ApiKey::Produce.versions() {
            let request = produce_request(topic, 0, batch(&["e"]), 1);
            let answer = client.ask(&request, version).await;
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!(partition.error_code, ErrorCode::NONE, "version {version}");
            assert_eq!(partition.log_append_time_ms, -1);
            assert_eq!(partition.log_start_offset, if version < 5 { -1 } else { 0 });
        }
        // In the middle of a batch: all of it comes.
        let data = fetched(&mut client, &fetch(topic, 0, 1)).await;
        assert_eq!(records(&data)[0], (0, "a".to_owned()));
        assert_eq!(records(&data).len(), 13);
        assert_eq!(
            (data.high_watermark, data.last_stable_offset, data.log_start_offset),
            (13, 13, 0)
        );
        assert_eq!(data.aborted_transactions, None);
        let committed = FetchRequest { isolation_level: 1, ..fetch(topic, 0, 1) };
        let data = fetched(&mut client, &committed).await;
        assert_eq!(data.aborted_transactions.unwrap_or_default(), []);
        for version in ApiKey::Fetch.versions().filter(|version| *version <= BY_NAME) {
            let answer = client.ask(&fetch(topic, 0, 12), version).await;
            assert_eq!(records(&answer.responses[0].partitions[0]), [(12, "e".to_owned())]);
        }
    }
}

#[tokio::test]
async fn what_a_topic_does_not_take_is_told() {
    for target in targets("refused").await {
        let settings = [("max.message.bytes", "1000"), ("message.timestamp.after.max.ms", "1000")];
        let (topic, mut client) = (&target.topic, target.with_topic(&settings).await);
        let large = batch(&[&"x".repeat(2000)]);
        let late = timed(&[(now(), "fine"), (now() + 1_000_000, "late")]);
        let half = sequenced(&[(now(), "a")], Some((5, 0, -1)));
        for (records, code) in [
            (large, ErrorCode::MESSAGE_TOO_LARGE),
            (late.clone(), ErrorCode::INVALID_TIMESTAMP),
            (half, ErrorCode::INVALID_RECORD),
        ] {
            let answer = client.produce(topic, records).await;
            assert_eq!((answer.error_code, answer.base_offset), (code, -1));
        }
        let answer = client.produce(topic, late).await;
        assert_eq!(answer.record_errors.len(), 1);
        assert_eq!(answer.record_errors[0].batch_index, 1);
        let acks = produce_request(topic, 0, batch(&["a"]), 2);
        let answer = client.ask(&acks, 7).await;
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(code, ErrorCode::INVALID_REQUIRED_ACKS);
        let unknown = produce_request("nowhere", 0, batch(&["a"]), -1);
        let answer = client.ask(&unknown, 7).await;
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
}

/// Which error for which fault, and nothing is appended.
#[tokio::test]
async fn batches_that_are_not_sound_are_refused() {
    use ErrorCode as E;
    for target in targets("unsound").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let sound = batch(&["a", "b"]);
        let last = sound.len() - 1;
        let raw = |at: usize, byte: u8| {
            let mut bytes = sound.to_vec();
            bytes[at] ^= byte;
            Bytes::from(bytes)
        };
        let sealed = |at: usize, bytes: &[u8]| patched(&sound, at, bytes);
        let six = patched(&sealed(23, &5i32.to_be_bytes()), 57, &6i32.to_be_bytes());
        for (what, records, code) in [
            ("nothing", Bytes::new(), E::INVALID_RECORD),
            ("no whole header", sound.slice(..40), E::INVALID_RECORD),
            ("a byte less", sound.slice(..last), E::INVALID_RECORD),
            ("two batches", sound.repeat(2).into(), E::INVALID_RECORD),
            ("another byte", raw(last, 1), E::CORRUPT_MESSAGE),
            ("magic 0", raw(16, 2), E::INVALID_RECORD),
            ("magic 1", raw(16, 3), E::INVALID_RECORD),
            ("magic 3", raw(16, 1), E::CORRUPT_MESSAGE),
            ("a base offset", raw(7, 5), E::INVALID_RECORD),
            ("3 of 2 records", sealed(57, &3i32.to_be_bytes()), E::INVALID_RECORD),
            ("no record", sealed(57, &0i32.to_be_bytes()), E::INVALID_RECORD),
            ("-1 records", sealed(57, &(-1i32).to_be_bytes()), E::INVALID_RECORD),
            ("offsets 0 to 5", sealed(23, &5i32.to_be_bytes()), E::INVALID_RECORD),
            ("records that are not there", six, E::INVALID_RECORD),
            ("control", sealed(21, &[0, 0x20]), E::INVALID_RECORD),
            ("transaction", sealed(21, &[0, 0x10]), E::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
            ("1.1 MB", batch(&[&"x".repeat(1_100_000)]), E::MESSAGE_TOO_LARGE),
        ] {
            let answer = client.produce(topic, records).await;
            assert_eq!((answer.error_code, answer.base_offset), (code, -1), "{what}");
        }
        assert_eq!(produced(&mut client, topic, sound).await, 0);
    }
}

#[tokio::test]
async fn what_a_log_does_not_take_is_told() {
    for target in targets("log").await {
        let settings = [
            ("segment.bytes", "1048576"),
            ("max.message.bytes", "5000000"),
            ("message.timestamp.before.max.ms", "1000"),
        ];
        let (topic, mut client) = (&target.topic, target.with_topic(&settings).await);
        let large = batch(&[&"x".repeat(1_100_000)]);
        let answer = client.produce(topic, large).await;
        assert_eq!(answer.error_code, ErrorCode::RECORD_LIST_TOO_LARGE);
        let old = timed(&[(now(), "fine"), (now() - 1_000_000, "old")]);
        let answer = client.produce(topic, old).await;
        assert_eq!(answer.error_code, ErrorCode::INVALID_TIMESTAMP);
        let told: Vec<i32> = answer.record_errors.iter().map(|it| it.batch_index).collect();
        assert_eq!(told, [1]);
        // No timestamp is always fine.
        assert_eq!(produced(&mut client, topic, timed(&[(-1, "none")])).await, 0);
    }
}

/// One request for three partitions.
#[tokio::test]
async fn partitions_fail_on_their_own() {
    for target in targets("own").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let data =
            |index| PartitionProduceData { index, records: Records::new(vec![batch(&["a"])]) };
        let mut request = produce_request(topic, 0, batch(&["a"]), -1);
        request.topic_data[0].partition_data.push(data(9));
        let other = TopicProduceData { name: "nowhere".to_owned(), partition_data: vec![data(0)] };
        request.topic_data.push(other);
        let answer = client.ask(&request, 9).await;
        let mut codes = Vec::new();
        for topic in &answer.responses {
            for partition in &topic.partition_responses {
                codes.push((topic.name == "nowhere", partition.index, partition.error_code));
            }
        }
        codes.sort();
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let expected = [(false, 0, ErrorCode::NONE), (false, 9, unknown), (true, 0, unknown)];
        assert_eq!(codes, expected);
        assert_eq!(offset_at(&mut client, topic, LATEST).await.offset, 1);
    }
}

/// Leader epoch and latest timestamp; whatever the client says of them.
#[tokio::test]
async fn the_broker_puts_right_what_is_its_own() {
    for target in targets("right").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let start = now() - 10_000;
        let sent = timed(&[(start, "a"), (start + 50, "b"), (start + 20, "c")]);
        let mut wrong = patched(&sent, 35, &5i64.to_be_bytes()).to_vec();
        wrong[12..16].copy_from_slice(&7i32.to_be_bytes());
        assert_eq!(produced(&mut client, topic, wrong.into()).await, 0);
        let found = first_batch(&mut client, topic).await;
        let header = found.header();
        assert_eq!((header.partition_leader_epoch, header.max_timestamp), (0, start + 50));
    }
}

/// `compression.type` is what is stored; `producer`, the default, leaves it to the client.
#[cfg(feature = "gzip")]
#[tokio::test]
async fn batches_are_compressed_as_the_topic_says() {
    use ottla::batch::{Compression, compress};
    let packed = |codec| Bytes::from(compress(&batch(&["a", "b"]), codec).unwrap());
    for (setting, sent, stored) in [
        ("producer", Compression::Gzip, Compression::Gzip),
        ("gzip", Compression::None, Compression::Gzip),
        ("uncompressed", Compression::Gzip, Compression::None),
    ] {
        for target in targets(&format!("codec-{setting}")).await {
            let settings = [("compression.type", setting)];
            let (topic, mut client) = (&target.topic, target.with_topic(&settings).await);
            produced(&mut client, topic, packed(sent)).await;
            let found = first_batch(&mut client, topic).await;
            assert_eq!(found.header().compression(), stored, "{setting}");
            let found = found.expanded(1 << 20).unwrap();
            assert_eq!(found.records().count(), 2);
        }
    }
}

#[cfg(feature = "zstd")]
#[tokio::test]
async fn zstd_takes_version_7() {
    use ottla::batch::{Compression, compress};
    for target in targets("zstd").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        for version in ApiKey::Produce.versions() {
            let packed = compress(&batch(&["a"]), Compression::Zstd).unwrap();
            let request = produce_request(topic, 0, packed.freeze(), -1);
            let answer = client.ask(&request, version).await;
            let code = answer.responses[0].partition_responses[0].error_code;
            let expected = match version {
                ..7 => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
                _ => ErrorCode::NONE,
            };
            assert_eq!(code, expected, "version {version}");
        }
    }
}

/// KIP-57: neither the broker nor the Java client reads LZ4 whose blocks need those before them.
#[cfg(feature = "lz4")]
#[tokio::test]
async fn linked_blocks_of_lz4_are_refused() {
    use ottla::batch::{Compression, HEADER_LEN, compress};
    for target in targets("linked").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let packed = compress(&batch(&["a"]), Compression::Lz4).unwrap().freeze();
        // Behind the magic number: flags, the largest block, and a checksum of both.
        let flags = HEADER_LEN + 4;
        assert_eq!(packed[flags..][..3], [0x60, 0x40, 0x82]);
        let linked = patched(&packed, flags, &[0x40, 0x40, 0xc0]);
        let answer = client.produce(topic, linked).await;
        let code = match target.ours {
            Some(_) => ErrorCode::INVALID_RECORD,
            None => ErrorCode::UNKNOWN_SERVER_ERROR,
        };
        assert_eq!(answer.error_code, code, "{answer:?}");
        assert_eq!(offset_at(&mut client, topic, LATEST).await.offset, 0);
        produced(&mut client, topic, packed).await;
    }
}

/// Without an answer, an error is told by the end of the connection.
#[tokio::test]
async fn acks_of_0_are_silent() {
    for target in targets("silent").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        client.send(&produce_request(topic, 0, batch(&["a"]), 0), 7).await;
        // The next answer is the next request's.
        client.ask(&MetadataRequest::default(), 1).await;
        assert_eq!(offset_at(&mut client, topic, LATEST).await.offset, 1);
        client.send(&produce_request("nowhere", 0, batch(&["a"]), 0), 7).await;
        client.is_closed().await;
    }
}

#[tokio::test]
async fn compacted_topics_need_keys() {
    for target in targets("compacted").await {
        let mut client = target.with_topic(&[("cleanup.policy", "compact")]).await;
        let answer = client.produce(&target.topic, batch(&["a", "b"])).await;
        assert_eq!(answer.error_code, ErrorCode::INVALID_RECORD);
        assert_eq!(answer.record_errors.len(), 2);
    }
}

/// Two faults, each of another record: both are told, and the code is that for the time.
#[tokio::test]
async fn a_wrong_time_goes_before_a_missing_key() {
    for target in targets("both").await {
        let mut client = target.with_topic(&[("cleanup.policy", "compact")]).await;
        for times in [[0, 2], [2, 0]] {
            let mut records = BatchBuilder::new(BytesMut::new());
            for hours in times {
                let key = (hours > 0).then_some(&b"key"[..]);
                records.push(now() + hours * 3_600_000, key, Some(b"a"), &[]);
            }
            let answer = client.produce(&target.topic, records.finish().freeze()).await;
            assert_eq!(answer.error_code, ErrorCode::INVALID_TIMESTAMP, "{answer:?}");
            assert_eq!(answer.record_errors.len(), 2, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn the_brokers_time_is_told() {
    for target in targets("appendtime").await {
        let settings = [("message.timestamp.type", "LogAppendTime")];
        let (topic, mut client) = (&target.topic, target.with_topic(&settings).await);
        let before = now();
        let answer = client.produce(topic, timed(&[(5, "a")])).await;
        assert_eq!(answer.error_code, ErrorCode::NONE);
        assert!((before..=now()).contains(&answer.log_append_time_ms), "{answer:?}");
        let data = fetched(&mut client, &fetch(topic, 0, 0)).await;
        let batch = Batch::parse_checked(data.records.into_bytes()).unwrap();
        assert_eq!(batch.header().max_timestamp, answer.log_append_time_ms);
        assert_eq!(batch.header().timestamp_type().to_string(), "LogAppendTime");
    }
}
