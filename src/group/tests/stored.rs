//! What is stored comes back, and is what Kafka writes.

use crate::group::offsets::{CommittedOffset, Offsets};
use crate::group::records::{GroupMetadata, GroupRecord};
use crate::topic::{TopicId, TopicPartition};

use super::*;

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition).unwrap()
}

fn committed(topic_id: Option<TopicId>) -> CommittedOffset {
    let metadata = "note".to_owned();
    CommittedOffset { offset: 42, leader_epoch: 3, metadata, timestamp: 1_000, topic_id }
}

fn again(record: &GroupRecord) -> GroupRecord {
    let value = record.value();
    GroupRecord::decode(&record.key(), value.as_deref()).unwrap().unwrap()
}

#[test]
fn offsets_are_kafkas_bytes() {
    let group = "g".to_owned();
    let record = GroupRecord::Offset { group, at: at("t", 7), value: Some(committed(None)) };
    assert_eq!(record.key()[..], *b"\0\x01\0\x01g\0\x01t\0\0\0\x07");
    let expected = b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x03\0\x04note\0\0\0\0\0\0\x03\xe8";
    assert_eq!(record.value().unwrap()[..], expected[..]);
    assert_eq!(again(&record), record);
    // Versions before had no epoch, or an expiry.
    let v1 = b"\0\x01\0\0\0\0\0\0\0\x2a\0\x04note\0\0\0\0\0\0\x03\xe8\0\0\0\0\0\0\0\x09";
    let old = GroupRecord::decode(&record.key(), Some(v1)).unwrap().unwrap();
    let Ok(GroupRecord::Offset { value: Some(old), .. }) = Ok::<_, ()>(old) else { panic!() };
    assert_eq!(old, CommittedOffset { leader_epoch: -1, ..committed(None) });
}

#[test]
fn topic_ids_and_tombstones_come_back() {
    let (group, id) = ("g".to_owned(), TopicId([7; 16]));
    let value = Some(committed(Some(id)));
    let record = GroupRecord::Offset { group: group.clone(), at: at("t", 0), value };
    assert_eq!(again(&record), record);
    let gone = GroupRecord::Offset { group: group.clone(), at: at("t", 0), value: None };
    assert_eq!((gone.value(), again(&gone)), (None, gone));
    let gone = GroupRecord::Group { group, value: None };
    assert_eq!((gone.value(), again(&gone)), (None, gone));
}

#[test]
fn a_stable_group_comes_back_with_its_sessions() {
    let mut world = World::new();
    world.join(new_member("a"));
    world.sync("a", 1, &[]);
    world.join(static_member("s", "one"));
    world.join(request("a"));
    world.sync("s", 2, &[]);
    world.sync("a", 2, &[("a", "x"), ("s", "y")]);
    let metadata = world.group.metadata(5_000);
    let record = GroupRecord::Group { group: "g".to_owned(), value: Some(metadata.clone()) };
    assert_eq!(again(&record), record);
    let restored = Group::restore(GroupLimits::default(), world.now, &metadata);
    assert_eq!(restored.metadata(5_000), metadata);
    world.group = restored;
    assert_eq!(world.group.state(), GroupState::Stable);
    world.heartbeat("a", 2).unwrap();
    let s = world.join(static_member("s2", "one"));
    assert_eq!(world.joined(s).generation, 2);
    world.pass(10 * SECOND);
    assert_eq!(world.group.members().len(), 0);
}

#[test]
fn members_of_a_process_that_is_gone_are_gone() {
    let mut world = World::new();
    world.join(JoinGroup { session_timeout: None, ..new_member("a") });
    world.sync("a", 1, &[]);
    let alone = Group::restore(GroupLimits::default(), world.now, &world.group.metadata(0));
    assert_eq!((alone.state(), alone.generation()), (GroupState::Empty, 1));
    world.join(new_member("b"));
    world.join(JoinGroup { session_timeout: None, ..request("a") });
    world.sync("b", 2, &[]);
    world.sync("a", 2, &[]);
    // The leader was in the process. Who is left is to join again.
    world.group = Group::restore(GroupLimits::default(), world.now, &world.group.metadata(0));
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    let b = world.join(request("b"));
    assert_eq!((world.joined(b).generation, &*world.joined(b).leader), (3, "b"));
}

#[test]
fn no_bytes_panic_or_take_much_memory() {
    let key = GroupRecord::Group { group: "g".to_owned(), value: None }.key();
    let metadata = GroupMetadata { protocol_type: "consumer".to_owned(), ..Default::default() };
    let record = GroupRecord::Group { group: "g".to_owned(), value: Some(metadata) };
    let mut value = record.value().unwrap().to_vec();
    let members = value.len() - 4;
    value[members..].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(GroupRecord::decode(&key, Some(&value)).is_err());
    for end in 0..value.len() {
        assert!(GroupRecord::decode(&key, Some(&value[..end])).is_err());
    }
    for end in 0..key.len() {
        assert!(GroupRecord::decode(&key[..end], None).is_err());
    }
    // Of a later version.
    value[1] = 4;
    assert_eq!(GroupRecord::decode(&key, Some(&value)), Ok(None));
    assert_eq!(GroupRecord::decode(b"\0\x09later", None), Ok(None));
}

#[test]
fn offsets_grow_old_but_not_those_subscribed_to() {
    let mut offsets = Offsets::default();
    offsets.insert(at("old", 0), committed(None));
    offsets.insert(at("used", 0), committed(None));
    offsets.insert(at("new", 0), CommittedOffset { timestamp: 2_000, ..committed(None) });
    assert_eq!(offsets.older_than(1_000, |topic| topic == "used"), [at("old", 0)]);
    offsets.remove(&at("old", 0));
    assert_eq!(offsets.older_than(999, |_| false), []);
    assert_eq!((offsets.iter().count(), offsets.is_empty()), (2, false));
    assert_eq!(offsets.get(&at("new", 0)).unwrap().timestamp, 2_000);
}
