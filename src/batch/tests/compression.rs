//! Compressed batches: round trips, alone and through another implementation, and bytes that are
//! not what they say. Those of the codecs that are built in.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records as oracle;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Parts, altered, any_records, oracle_records, small, stored};
use crate::batch::*;

const LIMIT: usize = 1 << 20;

/// The codecs that are built in.
fn codecs() -> Vec<Compression> {
    Compression::ALL[1..].iter().copied().filter(|codec| codec.is_built_in()).collect()
}

fn compressed(batch: &Batch, codec: Compression) -> Batch {
    let bytes = compress(batch.bytes(), codec).expect("it is built in");
    Batch::parse_checked(bytes.freeze()).expect("it was just compressed")
}

fn theirs(codec: Compression) -> oracle::Compression {
    match codec {
        Compression::None => oracle::Compression::None,
        Compression::Gzip => oracle::Compression::Gzip,
        Compression::Snappy => oracle::Compression::Snappy,
        Compression::Lz4 => oracle::Compression::Lz4,
        Compression::Zstd => oracle::Compression::Zstd,
    }
}

/// A batch that says it is compressed, whose records are these bytes.
fn claiming(codec: Compression, records: &[u8]) -> Batch {
    altered(&stored(&small()), |it| it.attributes |= codec.id(), records)
}

/// Records that are easily compressed, of `len` bytes in all.
fn zeros(len: usize) -> Batch {
    let mut builder = BatchBuilder::new(BytesMut::new());
    builder.push(0, None, Some(&vec![0; len]), &[]);
    Batch::parse(builder.finish().freeze()).unwrap()
}

proptest! {
    #[test]
    fn compressed_batches_come_back(records in any_records()) {
        let batch = stored(&records);
        prop_assert_eq!(&batch.expanded(0).unwrap(), &batch);
        for codec in codecs() {
            let small = compressed(&batch, codec);
            prop_assert_eq!(small.header().compression(), codec);
            prop_assert_eq!(small.header().base_offset, 40);
            prop_assert_eq!(&small.expanded(batch.bytes().len()).unwrap(), &batch);
            let limit = batch.bytes().len() - 1;
            let over = small.expanded(limit);
            prop_assert_eq!(over, Err(BatchError::DecompressedTooLarge { limit }));
        }
    }

    #[test]
    fn kafka_reads_what_we_compress(records in oracle_records()) {
        for codec in codecs() {
            let mut bytes = compressed(&stored(&records), codec).bytes().clone();
            let read = oracle::RecordBatchDecoder::decode(&mut bytes).unwrap().records;
            prop_assert_eq!(read.iter().map(Parts::of_oracle).collect::<Vec<_>>(), &records[..]);
        }
    }

    #[test]
    fn we_read_what_kafka_compresses(records in oracle_records()) {
        for codec in codecs() {
            let parts: Vec<_> =
                records.iter().zip(7..).map(|(parts, offset)| parts.to_oracle(offset)).collect();
            let options = oracle::RecordEncodeOptions { version: 2, compression: theirs(codec) };
            let mut bytes = BytesMut::new();
            oracle::RecordBatchEncoder::encode(&mut bytes, &parts, &options).unwrap();
            let batch = Batch::parse_checked(bytes.freeze()).unwrap();
            prop_assert_eq!(batch.header().compression(), codec);
            let batch = batch.expanded(LIMIT).unwrap();
            let read: Vec<_> = batch.records().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.iter().map(Parts::of_view).collect::<Vec<_>>(), &records[..]);
        }
    }

    #[test]
    fn noise_and_damage_neither_panic_nor_grow(
        noise in vec(any::<u8>(), 0..300),
        records in any_records(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for codec in codecs() {
            let sound = compressed(&stored(&records), codec);
            let mut damaged = sound.bytes()[HEADER_LEN..].to_vec();
            for (at, byte) in &damage {
                let at = at.index(damaged.len());
                damaged[at] = *byte;
            }
            let spliced = [&sound.bytes()[HEADER_LEN..], &noise].concat();
            for records in [&noise, &damaged, &spliced] {
                if let Ok(batch) = claiming(codec, records).expanded(LIMIT) {
                    assert!(batch.bytes().len() <= LIMIT);
                    batch.records().for_each(drop);
                }
            }
        }
    }
}

#[test]
fn bombs_are_put_out_at_the_limit() {
    let bomb = zeros(50 << 20);
    for codec in codecs() {
        let small = compressed(&bomb, codec);
        assert!(small.bytes().len() < 4 << 20, "{codec}: {}", small.bytes().len());
        for limit in [0, 100, LIMIT] {
            let refused = small.expanded(limit);
            assert_eq!(refused, Err(BatchError::DecompressedTooLarge { limit }), "{codec}");
        }
        assert_eq!(small.expanded(usize::MAX).unwrap(), bomb, "{codec}");
    }
}

#[test]
fn what_is_cut_short_is_never_whole() {
    let batch = zeros(200_000);
    for codec in codecs() {
        let records = compressed(&batch, codec).bytes().slice(HEADER_LEN..);
        for len in [0, 1, 10, records.len() / 2, records.len() - 9] {
            let cut = claiming(codec, &records[..len]).expanded(LIMIT);
            let whole = cut.is_ok_and(|cut| cut.bytes().len() == batch.bytes().len());
            assert!(!whole, "{codec}, {len}");
        }
    }
}

#[test]
fn a_batch_is_compressed_once_and_not_without_records() {
    let batch = stored(&small());
    assert_eq!(compress(batch.bytes(), Compression::None).unwrap(), batch.bytes());
    let mut emptied = BytesMut::new();
    put_emptied(batch.header(), &mut emptied);
    for codec in codecs() {
        let twice = compress(compressed(&batch, codec).bytes(), codec);
        assert!(matches!(twice, Err(BatchError::InvalidHeader { field: "compression", .. })));
        assert_eq!(compress(&emptied, codec).unwrap(), emptied);
        let claims = claiming(codec, b"");
        let claims = altered(&claims, |it| it.record_count = 0, b"");
        assert_eq!(claims.expanded(0).unwrap().header().compression(), Compression::None);
    }
    let cut = compress(&batch.bytes()[..HEADER_LEN], Compression::Gzip);
    assert!(matches!(cut, Err(BatchError::Truncated { .. })));
}

#[test]
fn codecs_that_are_not_built_in_are_named() {
    for codec in Compression::ALL.into_iter().filter(|codec| !codec.is_built_in()) {
        let unsupported = BatchError::UnsupportedCompression(codec);
        let batch = stored(&small());
        assert_eq!(compress(batch.bytes(), codec), Err(unsupported.clone()));
        let batch = Batch::parse(Bytes::from(batch.bytes().to_vec())).unwrap();
        let claims = claiming(codec, &batch.bytes()[HEADER_LEN..]);
        assert_eq!(claims.expanded(LIMIT), Err(unsupported.clone()));
        assert!(unsupported.to_string().contains(&format!("cargo feature `{codec}`")));
    }
}
