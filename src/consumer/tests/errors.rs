//! What each error does, and what the next call does.

use bytes::BytesMut;

use super::*;
use crate::batch::{BatchError, Compression};
use crate::consumer::{OutOfRange, Position};

fn failed(consumer: &mut Consumer) -> Error {
    recv_once(consumer).expect("an error is at hand").unwrap_err()
}

#[tokio::test]
async fn out_of_range_is_told_once_and_reading_goes_on_at_the_earliest() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 4);
    mock.append(0, 2);
    mock.retain_from(0, 4);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    consumer.seek(&tp(0), 1).unwrap();
    let error = failed(&mut consumer);
    assert!(matches!(error, Error::OffsetOutOfRange { offset: 1, log_start_offset: 4, .. }));
    assert_eq!(offset_of(&consumer, 0), 4);
    assert_eq!(at_hand(&mut consumer), run(0, 4..=5));
}

#[tokio::test]
async fn out_of_range_can_be_passed_over_in_either_direction() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 4);
    mock.append(0, 2);
    mock.retain_from(0, 4);
    let builder = mock.consumer().out_of_range(OutOfRange::Earliest);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    consumer.seek(&tp(0), 99).unwrap();
    assert_eq!(at_hand(&mut consumer), run(0, 4..=5));

    let builder = mock.consumer().out_of_range(OutOfRange::Latest);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    consumer.seek(&tp(0), 0).unwrap();
    assert!(recv_once(&mut consumer).is_none());
    assert_eq!(offset_of(&consumer, 0), 6);
    mock.append(0, 1);
    assert_eq!(at_hand(&mut consumer), ["0:6"]);
}

#[tokio::test]
async fn after_corrupt_and_truncated_reading_goes_on_where_they_say() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 1);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(at_hand(&mut consumer), ["0:0"]);
    mock.append(0, 3);
    mock.append(0, 2);
    mock.fail_next(0, Error::Corrupt { at: tp(0), from: 1, to: 4 });
    assert!(matches!(failed(&mut consumer), Error::Corrupt { from: 1, to: 4, .. }));
    assert_eq!(offset_of(&consumer, 0), 4);
    assert_eq!(at_hand(&mut consumer), ["0:4", "0:5"]);

    mock.fail_next(0, Error::Truncated { at: tp(0), to: 2 });
    assert!(matches!(failed(&mut consumer), Error::Truncated { to: 2, .. }));
    assert_eq!(consumer.position(&tp(0)), Some(Position { offset: 2, leader_epoch: None }));
    assert_eq!(at_hand(&mut consumer), run(0, 2..=5));
}

#[tokio::test]
async fn an_io_error_is_tried_again_by_the_next_call() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 2);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(text(&consumer.recv().await.unwrap()), "0:0");
    assert_eq!(text(&consumer.recv().await.unwrap()), "0:1");
    mock.append(0, 1);
    mock.told();
    mock.fail_next(0, io_error());
    mock.fail_next(0, io_error());
    assert!(matches!(failed(&mut consumer), Error::Io { .. }));
    assert!(mock.told().is_empty(), "not before the next call");
    assert!(matches!(failed(&mut consumer), Error::Io { .. }));
    assert_eq!(offset_of(&consumer, 0), 2);
    assert_eq!(at_hand(&mut consumer), ["0:2"]);
    assert_eq!(mock.told(), ["0@2/0", "0@2/0"]);
}

#[tokio::test]
async fn a_partition_that_keeps_failing_does_not_stop_the_others() {
    let mock = Mock::with_partitions(2);
    for _ in 0..3 {
        mock.fail_next(0, io_error());
        mock.append(1, 1);
    }
    mock.append(0, 1);
    let builder = mock.consumer().max_partition_fetch_bytes(1);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    let mut seen = Vec::new();
    while let Some(result) = recv_once(&mut consumer) {
        seen.push(result.map_or("error".to_owned(), |record| text(&record)));
    }
    assert_eq!(seen, ["error", "1:0", "1:1", "error", "1:2", "error", "0:0"]);
}

#[tokio::test]
async fn an_error_behind_records_waits_for_the_next_poll() {
    let mock = Mock::with_partitions(2);
    mock.append(0, 2);
    mock.fail_next(1, Error::Corrupt { at: tp(1), from: 0, to: 1 });
    mock.append(1, 2);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(texts(&consumer.poll(9).await.unwrap()), run(0, 0..=1));
    assert_eq!(offset_of(&consumer, 1), 0, "not yet told");
    assert!(matches!(consumer.poll(9).await, Err(Error::Corrupt { .. })));
    assert_eq!(texts(&consumer.poll(9).await.unwrap()), ["1:1"]);
}

#[tokio::test]
async fn an_error_that_was_not_told_goes_with_its_position() {
    let mock = Mock::with_partitions(2);
    mock.append(0, 2);
    mock.fail_next(1, Error::Corrupt { at: tp(1), from: 0, to: 1 });
    mock.append(1, 2);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    consumer.poll(9).await.unwrap();
    consumer.seek(&tp(1), 0).unwrap();
    assert_eq!(at_hand(&mut consumer), run(1, 0..=1));
}

#[tokio::test]
async fn a_malformed_record_costs_its_batchs_rest_and_is_told() {
    for by_poll in [false, true] {
        let mock = Mock::with_partitions(1);
        // The third of four records claims more bytes than there are.
        let record = 10;
        let third = crate::batch::HEADER_LEN + 2 * record;
        mock.append_changed(0, 4, |bytes| bytes[third] = 0x7e);
        mock.append(0, 1);
        let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
        let sound = match by_poll {
            true => texts(&consumer.poll(9).await.unwrap()),
            false => (0..2).map(|_| text(&consumer.try_recv().unwrap().unwrap())).collect(),
        };
        assert_eq!(sound, run(0, 0..=1));
        let error = match by_poll {
            true => consumer.poll(9).await.unwrap_err(),
            false => failed(&mut consumer),
        };
        assert!(matches!(error, Error::Corrupt { from: 2, to: 4, .. }), "{error}");
        assert_eq!(at_hand(&mut consumer), ["0:4"]);
    }
}

#[tokio::test]
async fn a_batch_that_promises_more_records_than_offsets_lacks_none() {
    let mock = Mock::with_partitions(1);
    mock.append_changed(0, 4, |bytes| bytes[60] = 5);
    mock.append(0, 1);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(at_hand(&mut consumer), run(0, 0..=4));
}

#[tokio::test]
async fn a_codec_that_is_not_built_in_is_named_and_nothing_skipped() {
    let missing = |codec: &Compression| !codec.is_built_in();
    let Some(codec) = Compression::ALL.into_iter().find(missing) else { return };
    for by_poll in [false, true] {
        let mock = Mock::with_partitions(1);
        mock.append(0, 1);
        mock.append_changed(0, 2, |bytes| bytes[22] |= codec as u8);
        let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
        match by_poll {
            true => assert_eq!(texts(&consumer.poll(9).await.unwrap()), ["0:0"]),
            false => assert_eq!(text(&consumer.try_recv().unwrap().unwrap()), "0:0"),
        }
        for _ in 0..2 {
            let error = match by_poll {
                true => consumer.poll(9).await.unwrap_err(),
                false => failed(&mut consumer),
            };
            let unsupported = BatchError::UnsupportedCompression(codec);
            assert!(matches!(error, Error::InvalidRecord { source, .. } if source == unsupported));
            assert_eq!(offset_of(&consumer, 0), 1);
        }
    }
}

/// Compresses a batch in place.
fn squeeze(codec: Compression) -> impl Fn(&mut BytesMut) {
    move |bytes| *bytes = crate::batch::compress(bytes, codec).unwrap()
}

#[tokio::test]
async fn compressed_batches_are_read_like_others() {
    for codec in Compression::ALL.into_iter().filter(|codec| codec.is_built_in()) {
        let mock = Mock::with_partitions(1);
        mock.append_changed(0, 4, squeeze(codec));
        mock.append(0, 1);
        mock.append_changed(0, 2, squeeze(codec));
        let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
        assert_eq!(at_hand(&mut consumer), run(0, 0..=6));
        consumer.seek(&tp(0), 2).unwrap();
        assert_eq!(texts(&consumer.poll(9).await.unwrap()), run(0, 2..=6));
    }
}

#[tokio::test]
async fn a_batch_that_would_take_too_much_memory_is_told_of_and_passed() {
    for codec in Compression::ALL[1..].iter().filter(|codec| codec.is_built_in()) {
        for by_poll in [false, true] {
            let mock = Mock::with_partitions(1);
            mock.append(0, 1);
            mock.append_changed(0, 50, squeeze(*codec));
            mock.append_changed(0, 1, squeeze(*codec));
            let builder = mock.consumer().max_decompressed_bytes(200);
            let mut consumer = builder.subscribe(["t"]).await.unwrap();
            match by_poll {
                true => assert_eq!(texts(&consumer.poll(9).await.unwrap()), ["0:0"]),
                false => assert_eq!(text(&consumer.try_recv().unwrap().unwrap()), "0:0"),
            }
            assert_eq!(offset_of(&consumer, 0), 1, "what is wrong is not told yet");
            let error = match by_poll {
                true => consumer.poll(9).await.unwrap_err(),
                false => failed(&mut consumer),
            };
            let text = error.to_string();
            assert!(text.contains("200") && text.contains("max_decompressed_bytes"), "{text}");
            assert_eq!(offset_of(&consumer, 0), 51);
            assert_eq!(at_hand(&mut consumer), ["0:51"]);
        }
    }
}

#[tokio::test]
async fn what_does_not_decompress_is_corrupt() {
    for codec in Compression::ALL[1..].iter().filter(|codec| codec.is_built_in()) {
        let mock = Mock::with_partitions(1);
        mock.append_changed(0, 2, |bytes| bytes[22] |= *codec as u8);
        mock.append(0, 1);
        let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
        let error = failed(&mut consumer);
        assert!(matches!(error, Error::Corrupt { from: 0, to: 2, .. }), "{codec}: {error}");
        assert_eq!(at_hand(&mut consumer), ["0:2"]);
    }
}

#[tokio::test]
async fn closed_comes_every_time() {
    let mock = Mock::with_partitions(1);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    mock.close();
    for _ in 0..3 {
        assert!(matches!(failed(&mut consumer), Error::Closed { .. }));
        assert!(matches!(consumer.poll(1).await, Err(Error::Closed { .. })));
    }
}
