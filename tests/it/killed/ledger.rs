//! What was acknowledged, as the parent has heard it, and what a broker must hold after a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::script::{Id, PRODUCERS, Script, TINY_BYTES, is_compacted, window};

type Answer<T = ()> = Result<T, String>;

/// A topic, and the partition.
type Place = (String, i32);

fn check(good: bool, why: impl FnOnce() -> String) -> Answer {
    if good { Ok(()) } else { Err(why()) }
}

fn number<T: FromStr>(text: &str) -> Answer<T> {
    text.parse().map_err(|_| format!("no number: {text:?}"))
}

/// Whether the next open must find that the last broker was shut down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Clean {
    No,
    /// The directory is new, or a kill met the shutdown, or the open after one.
    #[default]
    Maybe,
    Yes,
}

/// A record at an offset.
#[derive(Debug, Clone, Copy)]
struct Known {
    id: Id,
    /// `None` until it was read.
    epoch: Option<i32>,
}

/// A topic that is there.
#[derive(Debug, Clone)]
struct Topic {
    id: String,
    /// Whose records it holds, if it is one of those that come and go: life and producer.
    born: String,
}

#[derive(Debug)]
enum Change {
    Create { born: String },
    Delete,
}

/// What a group has committed in a partition, or may have.
#[derive(Debug, Default)]
struct Commit {
    sure: Option<i64>,
    maybe: Option<i64>,
}

/// Up to where records were deleted, and up to where they may have been.
#[derive(Debug, Default)]
struct Trim {
    sure: i64,
    maybe: i64,
}

/// What an open tells, until all is told.
#[derive(Debug, Default)]
struct View {
    clean: bool,
    topics: BTreeMap<String, String>,
    partitions: BTreeMap<Place, Partition>,
    offsets: BTreeMap<(String, Place), i64>,
}

#[derive(Debug, Default)]
struct Partition {
    start: i64,
    end: i64,
    epoch: i32,
    bytes: u64,
    found: BTreeMap<i64, Known>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    script: Script,
    clean: Clean,
    view: View,
    /// The life whose records may be there though nobody has heard of them.
    worked: Option<u64>,
    topics: BTreeMap<String, Topic>,
    pending: BTreeMap<String, Change>,
    known: BTreeMap<Place, BTreeMap<i64, Known>>,
    /// Epoch and end when it was last opened.
    seen: BTreeMap<Place, (i32, i64)>,
    /// How many records of a life's producer were acknowledged.
    acked: BTreeMap<(u64, u64), u64>,
    commits: BTreeMap<(String, Place), Commit>,
    trims: BTreeMap<Place, Trim>,
    /// Acknowledgements in all.
    pub(super) acks: u64,
}

impl Ledger {
    pub(super) fn new(script: Script) -> Self {
        Ledger {
            script,
            clean: Clean::default(),
            view: View::default(),
            worked: None,
            topics: BTreeMap::new(),
            pending: BTreeMap::new(),
            known: BTreeMap::new(),
            seen: BTreeMap::new(),
            acked: BTreeMap::new(),
            commits: BTreeMap::new(),
            trims: BTreeMap::new(),
            acks: 0,
        }
    }

    /// Takes in one line; or says what is wrong with it, or with all that was seen.
    pub(super) fn hear(&mut self, line: &str) -> Answer {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["opening"] => self.view = View::default(),
            ["opened", clean, "", ..] => return self.opened(number(clean)?),
            ["works", life] => self.worked = Some(number(life)?),
            ["viewed"] => return self.check(),
            ["acked", topic, n, offset, id] => {
                let place = (topic.to_owned(), number(n)?);
                return self.is_acked(place, number(offset)?, id.parse()?);
            }
            ["closing"] => self.clean = Clean::Maybe,
            ["closed"] => self.clean = Clean::Yes,
            _ => return self.hear_more(&words),
        }
        Ok(())
    }

    fn hear_more(&mut self, words: &[&str]) -> Answer {
        let place = |topic: &str, n| Ok::<Place, String>((topic.to_owned(), number(n)?));
        match *words {
            ["topic", name, id] => drop(self.view.topics.insert(name.to_owned(), id.to_owned())),
            ["partition", topic, n, start, end, epoch, bytes] => {
                let (start, end, bytes) = (number(start)?, number(end)?, number(bytes)?);
                let epoch = number(epoch)?;
                let seen = Partition { start, end, epoch, bytes, found: BTreeMap::new() };
                self.view.partitions.insert(place(topic, n)?, seen);
            }
            ["found", topic, n, offset, epoch, id] => {
                let partition = self.view.partitions.get_mut(&place(topic, n)?);
                let partition = partition.ok_or("a record of no partition")?;
                let known = Known { id: id.parse()?, epoch: Some(number(epoch)?) };
                let doubled = partition.found.insert(number(offset)?, known);
                check(doubled.is_none(), || format!("{topic}-{n}@{offset} was read twice"))?;
            }
            ["offset", group, topic, n, offset] => {
                let at = (group.to_owned(), place(topic, n)?);
                self.view.offsets.insert(at, number(offset)?);
            }
            ["committing", group, topic, n, offset] => {
                let at = (group.to_owned(), place(topic, n)?);
                self.commits.entry(at).or_default().maybe = Some(number(offset)?);
            }
            ["committed", group, topic, n, offset] => {
                let at = (group.to_owned(), place(topic, n)?);
                let sure = Some(number(offset)?);
                self.commits.insert(at, Commit { sure, maybe: None });
            }
            ["trimming", topic, n, to] => {
                self.trims.entry(place(topic, n)?).or_default().maybe = number(to)?;
            }
            ["trimmed", topic, n, to] => {
                self.trims.entry(place(topic, n)?).or_default().sure = number(to)?;
            }
            _ => return self.hear_of_topic(words),
        }
        Ok(())
    }

    fn hear_of_topic(&mut self, words: &[&str]) -> Answer {
        match *words {
            ["creating", name, born] => {
                self.pending.insert(name.to_owned(), Change::Create { born: born.to_owned() });
            }
            ["created", name, born, id] => {
                self.pending.remove(name);
                let topic = Topic { id: id.to_owned(), born: born.to_owned() };
                self.topics.insert(name.to_owned(), topic);
            }
            ["deleting", name] => {
                self.pending.insert(name.to_owned(), Change::Delete);
            }
            ["deleted", name] => {
                self.pending.remove(name);
                self.forget(name);
            }
            _ => return Err(words.join(" ")),
        }
        Ok(())
    }

    fn forget(&mut self, name: &str) {
        self.topics.remove(name);
        self.known.retain(|place, _| place.0 != name);
        self.seen.retain(|place, _| place.0 != name);
        self.commits.retain(|(_, place), _| place.0 != name);
    }

    fn opened(&mut self, clean: bool) -> Answer {
        let expected = self.clean;
        self.view.clean = clean;
        // If this open is cut short, it may have removed the mark, or not.
        if expected == Clean::Yes {
            self.clean = Clean::Maybe;
        }
        let good = expected == Clean::Maybe || clean == (expected == Clean::Yes);
        check(good, || format!("closed: {clean}, and should be {expected:?}"))
    }

    fn is_acked(&mut self, place: Place, offset: i64, id: Id) -> Answer {
        self.acks += 1;
        let count = self.acked.entry((id.life, id.producer)).or_default();
        check(*count == id.n, || format!("{id} is acknowledged after {count} others"))?;
        *count += 1;
        let known = self.known.entry(place.clone()).or_default();
        let before = known.insert(offset, Known { id, epoch: None });
        check(before.is_none(), || format!("{place:?}@{offset} is {before:?}, and {id}"))
    }

    /// A kill met the open, or nothing at all was heard of it.
    pub(super) fn is_cut_short(&mut self) {
        if self.clean == Clean::Yes {
            self.clean = Clean::Maybe;
        }
    }

    fn check(&mut self) -> Answer {
        let view = std::mem::take(&mut self.view);
        self.check_topics(&view)?;
        for (place, partition) in &view.partitions {
            let told = |why| format!("{}-{}: {why}", place.0, place.1);
            self.check_partition(place, partition, view.clean).map_err(told)?;
        }
        self.check_commits(&view)?;
        self.take_over(view);
        Ok(())
    }

    /// Each topic is there or not, as it was answered; of what was not answered, either way.
    fn check_topics(&mut self, view: &View) -> Answer {
        let mut pending = std::mem::take(&mut self.pending);
        let names = self.topics.keys().chain(pending.keys()).chain(view.topics.keys());
        for name in names.cloned().collect::<BTreeSet<String>>() {
            let id = view.topics.get(&name);
            match (self.topics.get(&name), pending.remove(&name), id) {
                (Some(topic), _, Some(id)) => {
                    check(topic.id == *id, || format!("{name} is {id}, and was {topic:?}"))?;
                }
                (Some(_), Some(Change::Delete), None) => self.forget(&name),
                (Some(topic), _, None) => return Err(format!("{name} is gone: {topic:?}")),
                (None, Some(Change::Create { born }), Some(id)) => {
                    let id = id.clone();
                    self.topics.insert(name, Topic { id, born });
                }
                (None, _, Some(id)) => return Err(format!("{name} is there again: {id}")),
                (None, _, None) => {}
            }
        }
        Ok(())
    }

    fn check_commits(&mut self, view: &View) -> Answer {
        let keys = self.commits.keys().chain(view.offsets.keys());
        for key in keys.cloned().collect::<BTreeSet<_>>() {
            let found = view.offsets.get(&key).copied();
            let commit = self.commits.entry(key.clone()).or_default();
            let good = found == commit.sure || found.is_some() && found == commit.maybe;
            check(good, || format!("{key:?} has committed {found:?}, and should {commit:?}"))?;
            *commit = Commit { sure: found, maybe: None };
        }
        Ok(())
    }

    fn check_partition(&self, place: &Place, seen: &Partition, clean: bool) -> Answer {
        let nothing = BTreeMap::new();
        let known = self.known.get(place).unwrap_or(&nothing);
        self.check_epochs(place, seen, clean)?;
        self.check_start(place, seen)?;
        for (offset, found) in &seen.found {
            let inside = (seen.start..seen.end).contains(offset);
            check(inside, || format!("{found:?} lies outside, at {offset}"))?;
            match known.get(offset) {
                Some(known) => {
                    let same = known.id == found.id
                        && known.epoch.is_none_or(|epoch| Some(epoch) == found.epoch);
                    check(same, || format!("{found:?} at {offset}, where {known:?} was"))?;
                }
                None => self.check_fresh(place, found.id)?,
            }
        }
        check_order(seen)?;
        if let Some((last, lost)) = known.range(seen.end..).next() {
            return Err(format!("{lost:?} at {last} is lost: the log ends at {}", seen.end));
        }
        if is_compacted(&place.0) {
            return self.check_compacted(place, seen, known);
        }
        let dense = seen.found.len() as i64 == seen.end - seen.start;
        check(dense, || {
            format!("{} records from {} to {}", seen.found.len(), seen.start, seen.end)
        })?;
        self.check_whole(place, seen)
    }

    /// An unclean open begins a new epoch; offsets and epochs rise together.
    fn check_epochs(&self, place: &Place, seen: &Partition, clean: bool) -> Answer {
        if let Some((epoch, end)) = self.seen.get(place) {
            let risen = seen.epoch > *epoch || (clean || *end == 0) && seen.epoch == *epoch;
            check(risen, || format!("epoch {} after {epoch}, closed: {clean}", seen.epoch))?;
        }
        let mut latest = 0;
        for (offset, found) in &seen.found {
            let epoch = found.epoch.unwrap_or(0);
            let good = (latest..=seen.epoch).contains(&epoch);
            check(good, || format!("{found:?} at {offset} behind epoch {latest}"))?;
            latest = epoch;
        }
        Ok(())
    }

    fn check_start(&self, place: &Place, seen: &Partition) -> Answer {
        let none = Trim::default();
        let trim = self.trims.get(place).unwrap_or(&none);
        let good = match place.0.as_str() {
            "tiny" => seen.start == 0 || seen.bytes >= TINY_BYTES * 3 / 4,
            _ => (trim.sure..=trim.maybe.max(trim.sure)).contains(&seen.start),
        };
        check(good, || format!("it begins at {}: {trim:?}, {} bytes", seen.start, seen.bytes))
    }

    /// Nobody has heard of it, so it was under way when the last life ended.
    fn check_fresh(&self, place: &Place, id: Id) -> Answer {
        let own = match id.producer {
            PRODUCERS.. => self.topics[&place.0].born == format!("{}.{}", id.life, id.producer),
            _ => true,
        };
        let acked = self.acked.get(&(id.life, id.producer)).copied().unwrap_or(0);
        let sent = self.worked == Some(id.life) && id.n < acked + window(id.producer);
        check(own && sent, || format!("{id} was not sent, after {acked} in life {:?}", self.worked))
    }

    /// What one producer sent in the last life is there without a gap.
    fn check_whole(&self, place: &Place, seen: &Partition) -> Answer {
        let mut last: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
        for found in seen.found.values().filter(|it| Some(it.id.life) == self.worked) {
            let (highest, count) = last.entry(found.id.producer).or_default();
            (*highest, *count) = (found.id.n, *count + 1);
        }
        for (producer, (highest, count)) in last.into_iter().filter(|_| seen.start == 0) {
            let life = self.worked.expect("it is that of some record");
            let here = (0..=highest).filter(|n| {
                let sent = self.script.sent(Id { life, producer, n: *n });
                (sent.topic, sent.partition) == (place.0.as_str(), place.1)
            });
            let sent = here.count();
            check(sent == count, || {
                format!("{count} of {sent} records up to {life}.{producer}.{highest}")
            })?;
        }
        Ok(())
    }

    /// The latest record of each key is there; if it is a tombstone, it or none of its key.
    fn check_compacted(
        &self,
        place: &Place,
        seen: &Partition,
        known: &BTreeMap<i64, Known>,
    ) -> Answer {
        let mut latest: BTreeMap<String, (i64, Id)> = BTreeMap::new();
        let mut there = BTreeSet::new();
        for (offset, record) in known.iter().chain(&seen.found) {
            let key = self.script.sent(record.id).key.expect("all of a table have keys");
            if seen.found.contains_key(offset) {
                there.insert(key.clone());
            }
            let entry = latest.entry(key).or_insert((*offset, record.id));
            *entry = (*entry).max((*offset, record.id));
        }
        for (key, (offset, id)) in &latest {
            let is_gone = !seen.found.contains_key(offset);
            let is_tombstone = self.script.sent(*id).value.is_none();
            let may = is_tombstone || self.tombstone_was_under_way(place, key);
            let good = !is_gone || may && !there.contains(key);
            check(good, || format!("{id} at {offset}, the latest of {key:?}, is gone"))?;
        }
        Ok(())
    }

    /// One that was not acknowledged may have been appended, and have gone with what it hides.
    fn tombstone_was_under_way(&self, place: &Place, key: &str) -> bool {
        let Some(life) = self.worked else { return false };
        let mut under_way = (0..PRODUCERS).flat_map(|producer| {
            let acked = self.acked.get(&(life, producer)).copied().unwrap_or(0);
            (acked..acked + window(producer)).map(move |n| Id { life, producer, n })
        });
        under_way.any(|id| {
            let sent = self.script.sent(id);
            let here = (sent.topic, sent.partition) == (place.0.as_str(), place.1);
            here && sent.value.is_none() && sent.key.as_deref() == Some(key)
        })
    }

    /// From now on this is what there is.
    fn take_over(&mut self, view: View) {
        self.clean = Clean::No;
        self.worked = None;
        for (place, partition) in view.partitions {
            self.seen.insert(place.clone(), (partition.epoch, partition.end));
            if let Some(trim) = self.trims.get_mut(&place) {
                *trim = Trim { sure: partition.start, maybe: partition.start };
            }
            self.known.insert(place, partition.found);
        }
    }
}

/// Of each producer, each record once, in the order in which it was sent.
fn check_order(seen: &Partition) -> Answer {
    let mut latest: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for (offset, found) in &seen.found {
        let id = found.id;
        let before = latest.insert((id.life, id.producer), id.n);
        let good = before.is_none_or(|before| before < id.n);
        check(good, || format!("{id} at {offset} comes after {before:?}"))?;
    }
    Ok(())
}
