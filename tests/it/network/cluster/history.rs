//! Whether what is read is what was sent: pure functions of what producers were told, what is in the
//! log, and what a group's members were handed. They know no broker.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

type Answer<T = ()> = Result<T, String>;

/// The nth record of a producer. It is the record's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) producer: usize,
    pub(super) n: usize,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.producer, self.n)
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Answer<Id> {
        let parts = text.split_once('.').and_then(|(producer, n)| {
            Some(Id { producer: producer.parse().ok()?, n: n.parse().ok()? })
        });
        parts.ok_or_else(|| format!("{text:?} is no record of ours"))
    }
}

/// A record that was sent, and what its producer was told.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) key: String,
    /// Its partition and offset, which is -1 if it is there, but nobody knows where; or why it may
    /// not be there.
    pub(super) told: Result<(i32, i64), String>,
}

/// All that was sent.
pub(super) type History = BTreeMap<Id, Sent>;

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: String,
    pub(super) value: String,
}

fn check(good: bool, why: impl FnOnce() -> String) -> Answer {
    if good { Ok(()) } else { Err(why()) }
}

/// How a log differs from what was acknowledged, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) acknowledged: usize,
    /// Acknowledged, and not there.
    pub(super) lost: usize,
    /// There once more.
    pub(super) duplicated: usize,
    /// Behind a later one of the same producer, in the same partition.
    pub(super) reordered: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { acknowledged, lost, duplicated, reordered } = self;
        write!(f, "{acknowledged} records acknowledged, {lost} lost, {duplicated} duplicated, ")?;
        write!(f, "{reordered} reordered")
    }
}

impl Tally {
    pub(super) fn of(history: &History, log: &[Entry]) -> Tally {
        let mut tally = Tally::default();
        let mut found: BTreeSet<Id> = BTreeSet::new();
        let mut latest: BTreeMap<(usize, i32), usize> = BTreeMap::new();
        for entry in log {
            let Ok(id) = entry.value.parse::<Id>() else { continue };
            if !found.insert(id) {
                tally.duplicated += 1;
                continue;
            }
            let latest = latest.entry((id.producer, entry.partition)).or_default();
            tally.reordered += usize::from(id.n < *latest);
            *latest = id.n.max(*latest);
        }
        for (id, sent) in history {
            tally.acknowledged += usize::from(sent.told.is_ok());
            tally.lost += usize::from(sent.told.is_ok() && !found.contains(id));
        }
        tally
    }
}

/// The log, each partition from its beginning, has every record that was acknowledged where its
/// producer was told, and none twice; what else is there was sent as well. A partition's offsets
/// have no holes, a producer's records their order, and a key its partition: another one at most as
/// often as partitions were added.
pub(super) fn check_log(history: &History, log: &[Entry], added: usize) -> Answer {
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    let mut found: BTreeMap<Id, (i32, i64)> = BTreeMap::new();
    let mut latest: BTreeMap<(usize, i32), usize> = BTreeMap::new();
    let mut homes: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for Entry { partition, offset, key, value } in log {
        let next = next.entry(*partition).or_default();
        check(offset == next, || format!("{partition}@{offset}, where {next} should be next"))?;
        *next += 1;
        let id: Id = value.parse()?;
        let sent = history.get(&id).ok_or_else(|| format!("{id} was never sent"))?;
        check(sent.key == *key, || format!("{id} has the key {key}, and had {}", sent.key))?;
        if let Some((p, o)) = found.insert(id, (*partition, *offset)) {
            return Err(format!("{id} is there twice: {p}@{o} and {partition}@{offset}"));
        }
        let before = latest.insert((id.producer, *partition), id.n);
        check(before < Some(id.n), || {
            format!("{id} at {partition}@{offset} is behind {before:?}")
        })?;
        let homes = homes.entry(key).or_default();
        homes.insert(*partition);
        check(homes.len() <= 1 + added, || format!("{key} is in the partitions {homes:?}"))?;
    }
    for (id, sent) in history {
        let Ok((partition, offset)) = &sent.told else { continue };
        let (p, o) = found
            .get(id)
            .ok_or_else(|| format!("{id} is lost: acknowledged at {partition}@{offset}"))?;
        let is_there = p == partition && (o == offset || *offset == -1);
        check(is_there, || format!("{id} is at {p}@{o}, acknowledged at {partition}@{offset}"))?;
    }
    Ok(())
}

/// What all members of a group were handed, in this order, is the log: they have passed over
/// nothing, and come to the end. How often one was handed out again.
pub(super) fn check_reading(log: &[Entry], handed: &[Entry]) -> Answer<usize> {
    let records: BTreeMap<_, _> = log.iter().map(|it| ((it.partition, it.offset), it)).collect();
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    let mut again = 0;
    for entry in handed {
        let there = records.get(&(entry.partition, entry.offset));
        check(there == Some(&entry), || format!("{entry:?} was handed out, and is {there:?}"))?;
        let next = next.entry(entry.partition).or_default();
        check(entry.offset <= *next, || format!("{entry:?} was handed out before {next}"))?;
        again += usize::from(entry.offset < *next);
        *next = (*next).max(entry.offset + 1);
    }
    for entry in log {
        let next = next.get(&entry.partition).copied().unwrap_or(0);
        check(entry.offset < next, || format!("{entry:?} was handed to nobody"))?;
    }
    Ok(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two producers, two partitions, of which each key has one; the last record is not known to be
    /// there, and the one before it is there somewhere.
    fn sound() -> (History, Vec<Entry>) {
        let (mut history, mut log, mut ends) = (History::new(), Vec::new(), [0, 0]);
        for n in 0..20 {
            let partition = n % 4 / 2;
            let id = Id { producer: n % 2, n: n / 2 };
            let (key, offset) = (format!("key {partition}"), ends[partition]);
            ends[partition] += 1;
            let partition = partition as i32;
            let told = match n {
                19 => Err("timed out".to_owned()),
                18 => Ok((partition, -1)),
                _ => Ok((partition, offset)),
            };
            history.insert(id, Sent { key: key.clone(), told });
            log.push(Entry { partition, offset, key, value: id.to_string() });
        }
        (history, log)
    }

    /// What is said of a history that was sound before this.
    fn said(harm: impl FnOnce(&mut History, &mut Vec<Entry>)) -> String {
        let (mut history, mut log) = sound();
        harm(&mut history, &mut log);
        check_log(&history, &log, 0).err().unwrap_or_default()
    }

    fn nobody_was_told_where(history: &mut History) {
        for sent in history.values_mut() {
            sent.told = sent.told.clone().map(|(partition, _)| (partition, -1));
        }
    }

    #[test]
    fn a_sound_history_is_sound() {
        assert_eq!(said(|_, _| {}), "");
        // It was not acknowledged.
        assert_eq!(said(|_, log| drop(log.pop())), "");
    }

    #[test]
    fn what_is_lost_is_missed() {
        // At the end, in the middle, and a whole partition.
        assert!(said(|_, log| log.truncate(18)).contains("9 is lost: acknowledged at 1@-1"));
        assert!(said(|_, log| drop(log.remove(4))).contains("0@3, where 2 should be next"));
        assert!(said(|_, log| log.retain(|it| it.partition == 0)).contains("lost"));
    }

    #[test]
    fn what_is_there_twice_is_noticed() {
        let twice = said(|_, log| {
            let again = Entry { offset: 10, ..log[4].clone() };
            log.push(again);
        });
        assert_eq!(twice, "0.2 is there twice: 0@2 and 0@10");
        let elsewhere =
            said(|_, log| log.push(Entry { partition: 2, offset: 0, ..log[4].clone() }));
        assert_eq!(elsewhere, "0.2 is there twice: 0@2 and 2@0");
    }

    #[test]
    fn what_is_in_another_order_is_noticed() {
        let swapped = said(|history, log| {
            nobody_was_told_where(history);
            let (one, other) = (log[0].value.clone(), log[4].value.clone());
            (log[0].value, log[4].value) = (other, one);
        });
        assert_eq!(swapped, "0.0 at 0@2 is behind Some(2)");
        // Of two producers either may be first, if nobody was told otherwise.
        let swap = |log: &mut Vec<Entry>| {
            let (one, other) = (log[0].value.clone(), log[1].value.clone());
            (log[0].value, log[1].value) = (other, one);
        };
        assert_eq!(said(|_, log| swap(log)), "0.0 is at 0@1, acknowledged at 0@0");
        let unknown = said(|history, log| {
            nobody_was_told_where(history);
            swap(log);
        });
        assert_eq!(unknown, "");
    }

    #[test]
    fn what_is_not_where_it_was_acknowledged_is_noticed() {
        let id = Id { producer: 0, n: 3 };
        let moved = |told| said(|history, _| history.get_mut(&id).unwrap().told = Ok(told));
        assert_eq!(moved((1, 3)), "0.3 is at 1@2, acknowledged at 1@3");
        assert_eq!(moved((0, -1)), "0.3 is at 1@2, acknowledged at 0@-1");
        assert_eq!(moved((1, -1)), "");
    }

    #[test]
    fn what_nobody_sent_is_noticed() {
        assert_eq!(said(|_, log| log[3].value = "7.7".to_owned()), "7.7 was never sent");
        assert_eq!(said(|_, log| log[3].value = "x".to_owned()), "\"x\" is no record of ours");
        assert!(said(|_, log| log[3].key = "other".to_owned()).contains("has the key other"));
    }

    #[test]
    fn a_key_that_moves_is_noticed_unless_partitions_were_added() {
        let (mut history, mut log) = sound();
        history.get_mut(&Id { producer: 0, n: 1 }).unwrap().key = "key 0".to_owned();
        log[2].key = "key 0".to_owned();
        let why = check_log(&history, &log, 0).unwrap_err();
        assert_eq!(why, "key 0 is in the partitions {0, 1}");
        assert_eq!(check_log(&history, &log, 1), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_counted() {
        let counted = |harm: fn(&mut Vec<Entry>)| {
            let (history, mut log) = sound();
            harm(&mut log);
            Tally::of(&history, &log)
        };
        let sound = Tally { acknowledged: 19, ..Tally::default() };
        assert_eq!(counted(|_| {}), sound);
        assert_eq!(counted(|log| drop(log.pop())), sound, "it was not acknowledged");
        assert_eq!(counted(|log| log.truncate(17)), Tally { lost: 2, ..sound });
        let twice = counted(|log| log.extend_from_within(4..7));
        assert_eq!(twice, Tally { duplicated: 3, ..sound });
        let swapped = counted(|log| log.swap(0, 4));
        assert_eq!(swapped, Tally { reordered: 1, ..sound });
        let said = "19 records acknowledged, 0 lost, 0 duplicated, 1 reordered";
        assert_eq!(swapped.to_string(), said);
        assert_eq!(counted(|log| log[3].value = "x".to_owned()), Tally { lost: 1, ..sound });
    }

    #[test]
    fn a_group_reads_all_of_it_and_perhaps_something_again() {
        let (_, log) = sound();
        assert_eq!(check_reading(&log, &log), Ok(0));
        let mut handed = log.clone();
        handed.splice(8..8, log[4..8].to_vec());
        assert_eq!(check_reading(&log, &handed), Ok(4));
        handed.remove(2);
        let why = check_reading(&log, &handed).unwrap_err();
        assert!(why.contains("was handed out before 0"), "{why}");
        let why = check_reading(&log, &log[..19]).unwrap_err();
        assert!(why.contains("was handed to nobody"), "{why}");
        let mut garbled = log.clone();
        garbled[5].value = "0.0".to_owned();
        let why = check_reading(&log, &garbled).unwrap_err();
        assert!(why.contains("was handed out, and is Some"), "{why}");
    }
}
