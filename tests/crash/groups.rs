//! What groups have committed, as far as that can be known from outside.

use std::collections::{BTreeMap, BTreeSet};

use super::world::World;

/// What the folder begins with where groups' offsets are kept.
pub(super) const OFFSETS: &str = "__consumer_offsets";

/// A topic's name, which of its lives, and the partition.
pub(super) type Place = (String, u64, i32);

/// A commit.
#[derive(Debug, Clone)]
pub(super) struct Call {
    number: u64,
    group: String,
    offsets: Vec<(Place, i64)>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    calls: u64,
    groups: BTreeMap<String, BTreeMap<Place, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    /// What is committed for certain, unless one of `maybe` is.
    sure: Option<i64>,
    /// The call by which it was.
    since: u64,
    /// What may have been committed since, and by which call.
    maybe: Vec<(u64, i64)>,
    /// All that was, or may have been, committed since the broker was opened.
    history: Vec<Option<i64>>,
    /// All that ever was.
    ever: BTreeSet<i64>,
}

impl Ledger {
    /// A commit begins. Those of one group reach it in the order in which they begin.
    pub(super) fn begin(&mut self, group: &str, offsets: Vec<(Place, i64)>) -> Call {
        self.calls += 1;
        let number = self.calls;
        for (place, offset) in &offsets {
            let account = self.account(group, place);
            account.maybe.push((number, *offset));
            account.history.push(Some(*offset));
            account.ever.insert(*offset);
        }
        Call { number, group: group.to_owned(), offsets }
    }

    /// It was made; or it was refused, or (`unknown`) it can't be known.
    pub(super) fn end(&mut self, call: Call, made: bool, unknown: bool) {
        for (place, offset) in &call.offsets {
            let account = self.account(&call.group, place);
            match made {
                true if call.number > account.since => {
                    (account.sure, account.since) = (Some(*offset), call.number);
                    account.maybe.retain(|(later, _)| *later > call.number);
                }
                true => {}
                false if unknown => {}
                false => account.maybe.retain(|(number, _)| *number != call.number),
            }
        }
    }

    /// What is committed after opening. `kept` says whether the promise covers the crash,
    /// `damaged` whether records of commits may be lost besides.
    pub(super) fn observe(
        &mut self,
        group: &str,
        committed: &BTreeMap<Place, i64>,
        (kept, damaged): (bool, bool),
        is_there: impl Fn(&Place) -> bool,
    ) {
        for place in committed.keys() {
            assert!(
                damaged || is_there(place),
                "{group} has commits of a topic that is gone: {place:?}"
            );
            self.account(group, place);
        }
        let accounts = self.groups.entry(group.to_owned()).or_default();
        accounts.retain(|place, _| is_there(place));
        for (place, account) in accounts {
            let found = committed.get(place).copied();
            let maybe = account.maybe.iter().any(|(_, offset)| Some(*offset) == found);
            let earlier = !kept && (account.history.contains(&found) || found == account.first());
            let older = damaged && found.is_none_or(|it| account.ever.contains(&it));
            assert!(
                found == account.sure || maybe || earlier || older,
                "{group} at {place:?} has committed {found:?}: {account:?}"
            );
            let ever = std::mem::take(&mut account.ever);
            *account = Account { sure: found, history: vec![found], ever, ..Account::default() };
        }
    }

    /// What is committed, for all that is known: the least and the greatest offset.
    pub(super) fn may_be_committed(&self, group: &str, place: &Place) -> (i64, i64) {
        let account = self.groups.get(group).and_then(|it| it.get(place));
        let Some(account) = account else { return (0, 0) };
        let maybe = account.maybe.iter().map(|(_, offset)| *offset);
        let all = maybe.chain([account.sure.unwrap_or(0)]);
        let (least, most) = (all.clone().min(), all.max());
        (least.unwrap_or(0), most.unwrap_or(0))
    }

    /// All that was committed is durable.
    pub(super) fn is_durable(&mut self) {
        for account in self.groups.values_mut().flat_map(|it| it.values_mut()) {
            account.history = vec![account.sure];
            account.history.extend(account.maybe.iter().map(|(_, offset)| Some(*offset)));
            if account.history.is_empty() {
                account.history.push(None);
            }
        }
    }

    fn account(&mut self, group: &str, place: &Place) -> &mut Account {
        let accounts = self.groups.entry(group.to_owned()).or_default();
        let none = || Account { history: vec![None], ..Account::default() };
        accounts.entry(place.clone()).or_insert_with(none)
    }
}

impl Account {
    /// What was committed when the broker was opened.
    fn first(&self) -> Option<i64> {
        self.history.first().copied().flatten()
    }
}

impl World {
    /// Whether a commit that failed may have been made.
    pub(super) fn is_unknown(&self) -> bool {
        self.is_dead() || self.is_troubled(&[OFFSETS])
    }
}
