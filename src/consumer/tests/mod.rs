//! What a consumer promises, against a transport that does as the test says.

mod control;
mod errors;
mod groups;
mod mock;
mod receiving;
mod topics;

use std::task::{Context, Poll, Waker};

use self::mock::Mock;
use super::{Consumer, Records};
use crate::error::{Error, Result};
use crate::record::ConsumerRecord;
use crate::topic::TopicPartition;

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition).unwrap()
}

/// What a record holds, after a check that it stands where it says.
fn text(record: &ConsumerRecord) -> String {
    let text = String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap();
    assert_eq!(text, format!("{}:{}", record.partition, record.offset));
    text
}

fn texts(records: &Records) -> Vec<String> {
    let texts: Vec<_> = records.iter().map(|record| text(&record.to_owned())).collect();
    assert_eq!(texts.len(), records.len());
    texts
}

/// The records that are at hand.
fn at_hand(consumer: &mut Consumer) -> Vec<String> {
    std::iter::from_fn(|| consumer.try_recv().unwrap()).map(|record| text(&record)).collect()
}

/// `partition:first` to `partition:last`.
fn run(partition: i32, offsets: std::ops::RangeInclusive<i64>) -> Vec<String> {
    offsets.map(|offset| format!("{partition}:{offset}")).collect()
}

/// Polls `recv` once and drops it.
fn recv_once(consumer: &mut Consumer) -> Option<Result<ConsumerRecord>> {
    poll_once(consumer.recv())
}

fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn offset_of(consumer: &Consumer, partition: i32) -> i64 {
    consumer.position(&tp(partition)).unwrap().offset
}

fn io_error() -> Error {
    Error::io("reading t", std::io::Error::other("bad sector"))
}
