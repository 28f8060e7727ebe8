//! The state machine by hand, and against random histories.

mod exact;
mod random;
mod stored;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::request::{JoinGroup, Joined, MemberRef, ReplyId, SyncGroup, Synced};
use super::state::{Effect, Group, GroupLimits, GroupState};
use crate::error::GroupError;

const SECOND: Duration = Duration::from_secs(1);

/// A group with a clock, and the answers that it has given.
struct World {
    group: Group,
    now: Duration,
    next_reply: ReplyId,
    joins: BTreeMap<ReplyId, Result<Joined, GroupError>>,
    syncs: BTreeMap<ReplyId, Result<Synced, GroupError>>,
    /// Whether the store works.
    stores: bool,
    stored: usize,
}

impl World {
    fn new() -> Self {
        Self::with(GroupLimits::default())
    }

    fn with(limits: GroupLimits) -> Self {
        World {
            group: Group::new(limits),
            now: Duration::from_secs(1000),
            next_reply: 0,
            joins: BTreeMap::new(),
            syncs: BTreeMap::new(),
            stores: true,
            stored: 0,
        }
    }

    /// Does what the group wants done.
    fn settle(&mut self) {
        loop {
            let effects = self.group.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Joined(reply, result) => {
                        assert!(self.joins.insert(reply, result).is_none(), "answered twice");
                    }
                    Effect::Synced(reply, result) => {
                        assert!(self.syncs.insert(reply, result).is_none(), "answered twice");
                    }
                    Effect::Store => {
                        self.stored += usize::from(self.stores);
                        self.group.stored(self.now, self.group.generation(), self.stores);
                    }
                }
            }
        }
    }

    fn reply(&mut self) -> ReplyId {
        self.next_reply += 1;
        self.next_reply
    }

    fn join(&mut self, request: JoinGroup) -> ReplyId {
        let reply = self.reply();
        self.group.join(self.now, reply, request);
        self.settle();
        reply
    }

    fn sync(&mut self, id: &str, generation: i32, assignments: &[(&str, &str)]) -> ReplyId {
        let reply = self.reply();
        let assignments = assignments.iter().map(|(id, it)| ((*id).to_owned(), bytes(it)));
        let assignments = assignments.collect();
        let member = member(id);
        let request =
            SyncGroup { member, generation, protocol_type: None, protocol: None, assignments };
        self.group.sync(self.now, reply, request);
        self.settle();
        reply
    }

    fn heartbeat(&mut self, id: &str, generation: i32) -> Result<(), GroupError> {
        self.group.heartbeat(self.now, &member(id), generation)
    }

    fn leave(&mut self, id: &str) -> Result<(), GroupError> {
        let left = self.group.leave(self.now, &member(id));
        self.settle();
        left
    }

    /// Lets time pass, with a tick at each deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.group.next_deadline().filter(|at| *at <= end) {
            assert!(deadline >= self.now, "a deadline that has passed was not met");
            self.now = deadline;
            self.group.tick(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// Lets members join again and sync until the group is stable; the leader gives each its name.
    fn stabilise(&mut self, members: &[&str]) -> i32 {
        let joins: Vec<ReplyId> = members.iter().map(|id| self.join(request(id))).collect();
        for (id, reply) in members.iter().zip(joins) {
            let joined = self.joined(reply);
            let given: Vec<(&str, &str)> = members.iter().map(|id| (*id, *id)).collect();
            self.sync(id, joined.generation, if joined.leader == *id { &given } else { &[] });
        }
        assert_eq!(self.group.state(), GroupState::Stable);
        self.group.generation()
    }

    fn joined(&self, reply: ReplyId) -> Joined {
        self.joins[&reply].clone().unwrap()
    }

    fn assigned(&self, reply: ReplyId) -> Bytes {
        self.syncs[&reply].clone().unwrap().assignment
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn member(id: &str) -> MemberRef {
    MemberRef { member_id: id.to_owned(), instance_id: None }
}

fn fixed(id: &str, instance: &str) -> MemberRef {
    MemberRef { member_id: id.to_owned(), instance_id: Some(instance.to_owned()) }
}

/// A member of this id joins again.
fn request(id: &str) -> JoinGroup {
    JoinGroup {
        member_id: id.to_owned(),
        new_member_id: String::new(),
        instance_id: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: Some(10 * SECOND),
        rebalance_timeout: 60 * SECOND,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), bytes("meta"))],
        accepts_member_id: true,
        accepts_skip: true,
    }
}

/// A new member, to be called `id`.
fn new_member(id: &str) -> JoinGroup {
    let new_member_id = id.to_owned();
    JoinGroup { new_member_id, accepts_member_id: false, ..request("") }
}

/// A static member, to be called `id`.
fn static_member(id: &str, instance: &str) -> JoinGroup {
    JoinGroup { instance_id: Some(instance.to_owned()), ..new_member(id) }
}

fn offering(request: JoinGroup, protocols: &[&str]) -> JoinGroup {
    let protocols = protocols.iter().map(|name| ((*name).to_owned(), bytes("meta"))).collect();
    JoinGroup { protocols, ..request }
}
