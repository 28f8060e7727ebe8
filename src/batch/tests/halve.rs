//! Batches in two.

use proptest::prelude::*;

use super::{Parts, any_records, build};
use crate::batch::*;

fn views(batch: &Batch) -> Vec<Parts> {
    let plain = batch.expanded(usize::MAX).unwrap();
    plain.records().map(|view| Parts::of_view(&view.unwrap())).collect()
}

proptest! {
    #[test]
    fn the_halves_have_the_records(records in any_records()) {
        let plain = build(&records).freeze();
        for codec in Compression::ALL.into_iter().filter(|codec| codec.is_built_in()) {
            let batch = Batch::parse(compress(&plain, codec).unwrap().freeze()).unwrap();
            let Some(halves) = halve(&batch).unwrap() else {
                prop_assert_eq!(records.len(), 1);
                continue;
            };
            let halves = halves.map(|half| Batch::parse_checked(half.freeze()).unwrap());
            let [first, second] = halves.each_ref().map(views);
            prop_assert!(!first.is_empty() && !second.is_empty());
            prop_assert_eq!([first, second].concat(), records.clone());
            for half in &halves {
                prop_assert_eq!(half.header().base_offset, 0);
                let codecs = [codec, Compression::None];
                prop_assert!(codecs.contains(&half.header().compression()));
            }
        }
    }
}

#[test]
fn halves_are_about_as_long() {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for n in 0..1000 {
        builder.push(n, None, Some(&vec![7; n as usize % 50]), &[]);
    }
    let batch = Batch::parse(builder.finish().freeze()).unwrap();
    let [first, second] = halve(&batch).unwrap().unwrap();
    let [first, second] = [first.len(), second.len()];
    assert!(first.abs_diff(second) <= 4 * HEADER_LEN, "{first} {second}");
}
