//! What one group was handed out and has committed, as far as that can be known from outside.
//!
//! Calls of a commit reach the group in the order in which they were made. So it is exact: which
//! commit was the last is open only where a call was given up, or is made by the consumer itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use ottla::TopicPartition;

/// The number of a call: later ones are greater.
pub(super) type Call = u64;

#[derive(Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
pub(super) struct Book {
    calls: Call,
    partitions: BTreeMap<TopicPartition, Account>,
}

#[derive(Default)]
struct Account {
    /// Up to here every record was handed out to some member.
    frontier: i64,
    /// What is committed for certain, unless one of `maybe` is; 0 is nothing.
    sure: i64,
    /// The call by which it was.
    since: Call,
    /// What may have been committed since, and by which call.
    maybe: BTreeSet<(i64, Call)>,
    /// Below this nothing has been committed since it was looked at.
    floor: i64,
    /// A member has given the partition up at this position, and commits it before it joins again.
    owed: Option<(String, i64)>,
    /// What happened, for whoever has to find out why it should not have.
    history: Vec<String>,
}

impl Ledger {
    pub(super) fn open(&self) -> MutexGuard<'_, Book> {
        // A panic is the test's end anyway.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Book {
    /// A commit begins.
    pub(super) fn begin(&mut self, offsets: &[(TopicPartition, i64)]) -> Call {
        self.calls += 1;
        let call = self.calls;
        for (at, offset) in offsets {
            let account = self.account(at);
            account.maybe.insert((*offset, call));
            account.history.push(format!("{call}: commits {offset}"));
        }
        call
    }

    /// As [`Book::begin`], where it is meant that the group goes back.
    pub(super) fn begin_back(&mut self, offsets: &[(TopicPartition, i64)]) -> Call {
        for (at, offset) in offsets {
            let account = self.account(at);
            account.floor = account.floor.min(*offset);
        }
        self.begin(offsets)
    }

    /// The commit was made, or refused.
    pub(super) fn end(&mut self, call: Call, offsets: &[(TopicPartition, i64)], made: bool) {
        for (at, offset) in offsets {
            let account = self.account(at);
            account.history.push(format!("{call}: committed {offset}: {made}"));
            match made {
                true => account.is_committed(*offset, call),
                // Another may have committed the same.
                false => {
                    account.maybe.remove(&(*offset, call));
                }
            }
        }
    }

    /// A member gives a partition up, and will commit this position first.
    pub(super) fn owes(&mut self, at: &TopicPartition, member_id: &str, position: i64) {
        self.begin(&[(at.clone(), position)]);
        let account = self.account(at);
        account.history.push(format!("{member_id} gives up at {position}"));
        account.owed = Some((member_id.to_owned(), position));
    }

    /// A member is gone without having left, so it commits nothing more. The group may not know: a
    /// static one is expected back.
    pub(super) fn dies(&mut self, member_id: &str) {
        for (at, position) in self.paid(member_id) {
            let account = self.account(&at);
            account.history.push(format!("{member_id} has not committed {position}"));
        }
    }

    /// What a member that has left as it should owed.
    pub(super) fn paid(&mut self, member_id: &str) -> Vec<(TopicPartition, i64)> {
        let mut paid = Vec::new();
        for (at, account) in &mut self.partitions {
            let owed = account.owed.take_if(|(owner, _)| owner == member_id);
            paid.extend(owed.map(|(_, position)| (at.clone(), position)));
        }
        paid
    }

    /// A member begins with a partition: where the group has committed. `is_member` says whether
    /// somebody is one now.
    pub(super) fn starts(
        &mut self,
        at: &TopicPartition,
        position: i64,
        is_member: impl Fn(&str) -> bool,
    ) {
        let account = self.account(at);
        if let Some((owner, owed)) = account.owed.take()
            && is_member(&owner)
        {
            let history = &account.history;
            assert_eq!(position, owed, "{at}, which {owner} has given up: {history:#?}");
        }
        self.observe(at, position);
    }

    /// The committed offset is this.
    pub(super) fn observe(&mut self, at: &TopicPartition, committed: i64) {
        self.calls += 1;
        let call = self.calls;
        let account = self.account(at);
        account.history.push(format!("{call}: found {committed}"));
        let Account { sure, maybe, floor, history, .. } = &*account;
        let is_allowed = committed == *sure || maybe.iter().any(|(offset, _)| *offset == committed);
        assert!(is_allowed, "{at}: not {sure} nor one of {maybe:?} is committed: {history:#?}");
        assert!(committed >= *floor, "{at}: {floor} was committed already: {history:#?}");
        account.floor = committed;
        account.is_committed(committed, call);
    }

    /// A record was handed out.
    pub(super) fn delivered(&mut self, at: &TopicPartition, offset: i64) {
        let account = self.account(at);
        let frontier = account.frontier;
        assert!(offset <= frontier, "{at}: {offset} is handed out, but not yet {frontier}");
        account.frontier = frontier.max(offset + 1);
    }

    /// Up to where all records were handed out.
    pub(super) fn frontier(&self, at: &TopicPartition) -> i64 {
        self.partitions.get(at).map_or(0, |account| account.frontier)
    }

    fn account(&mut self, at: &TopicPartition) -> &mut Account {
        self.partitions.entry(at.clone()).or_default()
    }
}

impl Account {
    fn is_committed(&mut self, offset: i64, call: Call) {
        if call > self.since {
            (self.sure, self.since) = (offset, call);
            self.maybe.retain(|(_, later)| *later > call);
        }
    }
}
