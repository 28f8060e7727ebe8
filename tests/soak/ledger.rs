//! What one group was handed out of each partition, and what it has committed.
//!
//! A partition has one owner at a time, whose commits reach the group in the order in which it
//! makes them. So the last commit is known, but for those that were given up, and automatic ones.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use ottla::TopicPartition;

#[derive(Debug)]
pub(crate) struct Ledger {
    accounts: BTreeMap<TopicPartition, (AtomicI64, Mutex<Account>)>,
    records: AtomicU64,
}

#[derive(Debug, Default)]
struct Account {
    /// Up to here each record was handed out to some member.
    frontier: i64,
    /// What is committed, unless one of `maybe` is, or an automatic commit was made.
    sure: i64,
    /// Commits that were begun, and not answered.
    maybe: Vec<i64>,
    /// Whether its owner commits automatically, so that anything from `sure` on may be.
    automatic: bool,
}

impl Ledger {
    pub(crate) fn new(partitions: &[TopicPartition]) -> Self {
        let account = |at: &TopicPartition| (at.clone(), Default::default());
        Ledger { accounts: partitions.iter().map(account).collect(), records: AtomicU64::new(0) }
    }

    /// How many records were handed out, those that came again included.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// What is known to be committed: less than that nobody needs any more.
    pub(crate) fn committed(&self, at: &TopicPartition) -> i64 {
        self.accounts[at].0.load(Ordering::Relaxed)
    }

    pub(crate) fn frontier(&self, at: &TopicPartition) -> i64 {
        self.with(at, |account| account.frontier)
    }

    /// A member goes on here, or the group does after the broker was opened again.
    pub(crate) fn starts(&self, at: &TopicPartition, position: i64) {
        self.with(at, |account| {
            let Account { frontier, sure, maybe, automatic } = account;
            let is_known = position == *sure || maybe.contains(&position);
            let is_automatic = *automatic && (*sure..=*frontier).contains(&position);
            assert!(
                is_known || is_automatic,
                "{at} goes on at {position}: {sure} was committed, or one of {maybe:?}; \
                 automatically: {automatic}; handed out up to {frontier}"
            );
            assert!(position <= *frontier, "{at}: {position} is committed, beyond {frontier}");
            account.is_committed(position);
        });
        self.publish(at);
    }

    /// The records from one offset up to another were handed out.
    pub(crate) fn delivered(&self, at: &TopicPartition, from: i64, to: i64, automatic: bool) {
        self.records.fetch_add((to - from) as u64, Ordering::Relaxed);
        self.with(at, |account| {
            assert!(from <= account.frontier, "{at}: {} is lost", account.frontier);
            account.frontier = account.frontier.max(to);
            account.automatic |= automatic;
        });
    }

    pub(crate) fn commits(&self, offsets: &[(TopicPartition, i64)]) {
        for (at, offset) in offsets {
            self.with(at, |account| account.maybe.push(*offset));
        }
    }

    pub(crate) fn has_committed(&self, offsets: &[(TopicPartition, i64)]) {
        for (at, offset) in offsets {
            self.with(at, |account| account.is_committed(*offset));
            self.publish(at);
        }
    }

    fn publish(&self, at: &TopicPartition) {
        let sure = self.with(at, |account| account.sure);
        self.accounts[at].0.store(sure, Ordering::Relaxed);
    }

    fn with<T>(&self, at: &TopicPartition, look: impl FnOnce(&mut Account) -> T) -> T {
        // After a violation nothing matters but its message.
        look(&mut self.accounts[at].1.lock().unwrap_or_else(|it| it.into_inner()))
    }
}

impl Account {
    fn is_committed(&mut self, offset: i64) {
        self.sure = offset;
        self.maybe.clear();
        self.automatic = false;
    }
}
