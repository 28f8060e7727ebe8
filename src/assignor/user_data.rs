//! What the sticky strategies remember by way of the coordinator: the user data of a subscription.
//!
//! Formats: `StickyAssignorUserData` v0 (previous assignment) and v1 (and its generation), told
//! apart by their length only; of `cooperative-sticky` the generation alone.

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{CodecError, Reader};
use crate::topic::TopicPartition;

use super::NO_GENERATION;
use super::java::{self, HashOrder};
use super::protocol::{TopicRun, put_topics, read_partitions, runs_of_topics};

pub(super) fn sticky(assigned: &[TopicPartition], generation: i32) -> Bytes {
    let mut buf = BytesMut::new();
    put_topics(&mut buf, &runs_as_hashed(assigned));
    buf.put_i32(generation);
    buf.freeze()
}

/// In the order of the map in which Java gathers them, with a `computeIfAbsent` a partition.
fn runs_as_hashed(assigned: &[TopicPartition]) -> Vec<TopicRun<'_>> {
    let runs = runs_of_topics(assigned);
    let Some(last) = assigned.last() else { return runs };
    let newest_is_last = runs.last().is_some_and(|run| run.0 == &last.topic && run.1.len() == 1);
    let mut order = HashOrder::new();
    for run in runs {
        order.compute_absent(java::string_hash(run.0.as_str()), run);
    }
    if !newest_is_last {
        order.compute_present();
    }
    order.into_vec()
}

pub(super) fn cooperative_sticky(generation: i32) -> Bytes {
    Bytes::copy_from_slice(&generation.to_be_bytes())
}

/// The previous assignment and its generation. What cannot be read is no assignment.
pub(super) fn read_sticky(user_data: &[u8]) -> (Vec<TopicPartition>, i32) {
    let read = || -> Result<_, CodecError> {
        let mut reader = Reader::new(user_data);
        let assigned = read_partitions(&mut reader)?;
        Ok((assigned, reader.i32().unwrap_or(NO_GENERATION)))
    };
    read().unwrap_or((Vec::new(), NO_GENERATION))
}

pub(super) fn read_cooperative_sticky(user_data: &[u8]) -> i32 {
    Reader::new(user_data).i32().unwrap_or(NO_GENERATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_previous_assignment_is_read_with_its_generation_or_without() {
        let assigned = [TopicPartition::new("a", 2), TopicPartition::new("b", 0)];
        let assigned = assigned.map(|partition| partition.expect("is legal")).to_vec();
        let bytes = sticky(&assigned, 5);
        assert_eq!(read_sticky(&bytes), (assigned.clone(), 5));
        assert_eq!(read_sticky(&bytes[..bytes.len() - 4]), (assigned.clone(), NO_GENERATION));
        assert_eq!(read_sticky(&bytes[..bytes.len() - 1]), (assigned, NO_GENERATION));
        assert_eq!(read_sticky(&bytes[..bytes.len() - 5]), (Vec::new(), NO_GENERATION));
        assert_eq!(read_sticky(&[]), (Vec::new(), NO_GENERATION));
    }

    /// Topics in the order of the bytes, with one partition for each time they are named.
    fn order(topics: &[&str]) -> Vec<String> {
        let named = topics.iter().map(|topic| TopicPartition::new(topic, 0).expect("is legal"));
        let assigned: Vec<TopicPartition> = named.collect();
        runs_as_hashed(&assigned).iter().map(|(topic, _)| topic.to_string()).collect()
    }

    /// The orders are those of OpenJDK 17. "q" is in the bucket after that of "Q1", or far behind.
    #[test]
    fn topics_stand_as_in_javas_map() {
        let topics = ["q", "Q1", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        assert_eq!(order(&topics)[..3], ["Q1", "q", "b"]);
        // The thirteenth key makes it too full, and the next call doubles it.
        assert_eq!(order(&[&topics[..], &["l"]].concat())[..2], ["Q1", "b"]);
        assert_eq!(order(&[&topics[..], &["b"]].concat())[..2], ["Q1", "b"]);

        // These have one hash. What comes later stands before.
        let colliding = ["AaAaAaAa", "BBAaAaAa", "AaBBAaAa", "BBBBAaAa", "AaAaBBAa", "BBAaBBAa"];
        let seven = [&["q", "1", "A"], &colliding[..], &["AaBBBBAa"]].concat();
        assert_eq!(order(&seven)[..4], ["A", "1", "q", "AaBBBBAa"]);
        assert_eq!(order(&seven)[9], "AaAaAaAa");
        let eight = [&seven[..], &["BBBBBBAa"]].concat();
        assert_eq!(order(&eight)[..3], ["A", "BBBBBBAa", "AaBBBBAa"]);
        assert_eq!(order(&eight)[9..], ["1", "q"]);
    }

    #[test]
    fn a_generation_is_four_bytes() {
        assert_eq!(read_cooperative_sticky(&cooperative_sticky(5)), 5);
        assert_eq!(read_cooperative_sticky(&[0, 0, 0]), NO_GENERATION);
    }
}
