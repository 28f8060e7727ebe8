//! A stream of records that goes on while brokers come and go, and groups that read it meanwhile: one
//! of ours alone, and one with a member of Kafka's own kind.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla::{Client, ConsumerRecord, Error, GroupError, Record};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::history::{Entry, History, Id, Sent};
use super::nodes::{Nodes, patiently};

const PRODUCERS: usize = 4;
/// Of each group, those that are ours.
const OURS: usize = 2;
/// Many more than there are partitions.
const KEYS: usize = 240;
/// Of a producer, records that are not acknowledged yet.
const UNDER_WAY: usize = 200;
/// How many may be sent, and how often.
const SHARE: usize = 5;
const EVERY: Duration = Duration::from_millis(10);
/// After this, those that are impatient send again what they have no answer to. The others do not
/// in the time for which anything is held back.
pub(super) const IMPATIENCE: Duration = Duration::from_secs(2);

/// How many records were acknowledged, by partition.
type Acked = BTreeMap<i32, usize>;

/// What a group's members have been handed.
#[derive(Debug, Default)]
struct Handed {
    entries: Vec<Entry>,
    ends: BTreeMap<i32, i64>,
    /// Who has been handed something.
    members: BTreeSet<usize>,
}

impl Handed {
    fn take(&mut self, member: usize, entries: Vec<Entry>) {
        for entry in &entries {
            let end = self.ends.entry(entry.partition).or_default();
            *end = (*end).max(entry.offset + 1);
        }
        if !entries.is_empty() {
            self.members.insert(member);
        }
        self.entries.extend(entries);
    }

    fn distinct(&self) -> usize {
        self.ends.values().sum::<i64>() as usize
    }
}

pub(super) struct Load {
    permits: Arc<Semaphore>,
    acked: watch::Sender<Acked>,
    is_over: watch::Sender<bool>,
    granting: JoinHandle<()>,
    producers: JoinSet<History>,
    groups: Vec<Group>,
}

/// A group that reads the topic.
struct Group {
    name: String,
    handed: watch::Sender<Handed>,
    members: JoinSet<()>,
}

impl Group {
    /// Members of ours, each with a client of its own.
    async fn of_ours(
        name: &str,
        bootstrap: &str,
        topic: &str,
        is_over: &watch::Sender<bool>,
    ) -> Group {
        let (handed, mut members) = (watch::Sender::default(), JoinSet::new());
        for member in 0..OURS {
            let client = impatient(bootstrap).await;
            let names = (name.to_owned(), topic.to_owned());
            members.spawn(consume(client, names, member, handed.clone(), is_over.subscribe()));
        }
        Group { name: name.to_owned(), handed, members }
    }

    /// Waits until all its members together have been handed so many records.
    async fn is_read(&self, records: usize) {
        let mut handed = self.handed.subscribe();
        let enough = |handed: &Handed| handed.distinct() >= records;
        let what = format!("the group {} reads them", self.name);
        drop(patiently(&what, handed.wait_for(enough)).await.unwrap());
    }
}

impl Load {
    /// Sends to the topic, and reads it: as the group of the same name, with Java, and as another.
    pub(super) async fn start(nodes: &Nodes, topic: &str) -> Load {
        let bootstrap = &nodes.addresses();
        let permits = Arc::new(Semaphore::new(0));
        let acked = watch::Sender::default();
        let is_over = watch::Sender::new(false);
        let mut producers = JoinSet::new();
        for producer in 0..PRODUCERS {
            let client = match producer % 2 {
                0 => impatient(bootstrap).await,
                _ => Client::connect(bootstrap).await.unwrap(),
            };
            let (topic, permits) = (topic.to_owned(), permits.clone());
            producers.spawn(produce(client, topic, producer, permits, acked.clone()));
        }
        let alone = format!("{topic}-alone");
        let alone = Group::of_ours(&alone, bootstrap, topic, &is_over).await;
        let mut mixed = Group::of_ours(topic, bootstrap, topic, &is_over).await;
        let mut java = nodes.java("Member");
        java.args([bootstrap, topic, topic]);
        let handed = mixed.handed.clone();
        mixed.members.spawn(consume_in_java(java, OURS, handed, is_over.subscribe()));
        let groups = vec![mixed, alone];
        let granting = tokio::spawn(grant(permits.clone()));
        Load { permits, acked, is_over, granting, producers, groups }
    }

    /// Waits until of each partition so many more records are acknowledged, and the groups have read
    /// as far as they are now.
    pub(super) async fn goes_on(&self, partitions: i32, records: usize) {
        let before = self.acked.borrow().clone();
        let has_gone_on = |acked: &Acked| {
            (0..partitions).all(|it| {
                let before = before.get(&it).copied().unwrap_or(0);
                acked.get(&it).is_some_and(|now| *now >= before + records)
            })
        };
        let mut acked = self.acked.subscribe();
        let waited = patiently("records are acknowledged", acked.wait_for(has_gone_on)).await;
        let now = waited.unwrap().values().sum();
        for group in &self.groups {
            group.is_read(now).await;
        }
    }

    /// Waits until so many records are acknowledged.
    pub(super) async fn reaches(&self, records: usize) {
        let mut acked = self.acked.subscribe();
        let enough = |acked: &Acked| acked.values().sum::<usize>() >= records;
        drop(patiently("records are acknowledged", acked.wait_for(enough)).await.unwrap());
    }

    /// Waits until each member has been handed something.
    pub(super) async fn is_shared(&self) {
        for group in &self.groups {
            let mut handed = group.handed.subscribe();
            let all = |handed: &Handed| handed.members.len() == group.members.len();
            drop(patiently("all members read", handed.wait_for(all)).await.unwrap());
        }
    }

    /// Ends it, once the groups have read all. What was sent, and what each group was handed.
    pub(super) async fn finish(self) -> (History, Vec<(String, Vec<Entry>)>) {
        self.granting.abort();
        self.permits.close();
        let told = self.producers.join_all();
        let told = patiently("the last records are acknowledged", told).await;
        let records = self.acked.borrow().values().sum();
        for group in &self.groups {
            group.is_read(records).await;
        }
        self.is_over.send_replace(true);
        let mut handed = Vec::new();
        for Group { name, handed: of_it, members } in self.groups {
            patiently("the members leave", members.join_all()).await;
            handed.push((name, of_it.send_replace(Handed::default()).entries));
        }
        (told.into_iter().flatten().collect(), handed)
    }
}

/// A client that does not wait long for an answer, and soon hears of new partitions.
async fn impatient(bootstrap: &str) -> Client {
    let client = Client::builder().request_timeout(IMPATIENCE).metadata_max_age(IMPATIENCE);
    client.connect(bootstrap).await.unwrap()
}

/// At a steady pace.
async fn grant(permits: Arc<Semaphore>) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        permits.add_permits(SHARE);
    }
}

/// Sends as many as it may, until there are no more permits to come.
async fn produce(
    client: Client,
    topic: String,
    producer: usize,
    permits: Arc<Semaphore>,
    acked: watch::Sender<Acked>,
) -> History {
    let (under_way, mut deliveries) = mpsc::channel(UNDER_WAY);
    let send = async move {
        let handle = client.producer().build();
        for n in 0.. {
            let Ok(permit) = permits.acquire().await else { break };
            permit.forget();
            let id = Id { producer, n };
            let key = format!("key-{}", (n + producer) % KEYS);
            let record = Record::to(&topic).key(key.clone()).value(id.to_string());
            let delivery = handle.enqueue(record).await.unwrap();
            under_way.send((id, key, delivery)).await.expect("they are heard until the end");
        }
    };
    let hear = async {
        let mut history = History::new();
        while let Some((id, key, delivery)) = deliveries.recv().await {
            let told = delivery.await.map(|at| (at.partition, at.offset));
            if let Ok((partition, _)) = told {
                acked.send_modify(|acked| *acked.entry(partition).or_default() += 1);
            }
            let told = told.map_err(|error| error.to_string());
            history.insert(id, Sent { key, told });
        }
        history
    };
    tokio::join!(send, hear).1
}

/// Reads as a member of a group, and commits what it has read, until it is told to leave.
async fn consume(
    client: Client,
    (group, topic): (String, String),
    member: usize,
    handed: watch::Sender<Handed>,
    mut is_over: watch::Receiver<bool>,
) {
    let mut consumer = client.consumer().group(&group).subscribe([&topic]).await.unwrap();
    loop {
        let records = tokio::select! {
            biased;
            _ = is_over.wait_for(|it| *it) => break,
            records = consumer.poll(500) => records.unwrap(),
        };
        let entries = records.iter().map(|record| entry(&record.to_owned())).collect();
        handed.send_modify(|handed| handed.take(member, entries));
        match consumer.commit().await {
            Ok(()) | Err(Error::Group { source: GroupError::RebalanceInProgress, .. }) => {}
            Err(error) => panic!("committing: {error}"),
        }
    }
    consumer.commit().await.unwrap();
    consumer.close().await.unwrap();
}

/// The same, as the Java program that this is does it. It says what it is handed, and hears when
/// that is written down, before it commits: so all members together hand out things in one order.
async fn consume_in_java(
    mut program: Command,
    member: usize,
    handed: watch::Sender<Handed>,
    mut is_over: watch::Receiver<bool>,
) {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut entries = Vec::new();
    loop {
        let line = tokio::select! {
            biased;
            _ = is_over.wait_for(|it| *it) => break,
            line = lines.next_line() => line.unwrap().expect("it goes on until it is told to end"),
        };
        if !line.is_empty() {
            entries.push(told_entry(&line).unwrap_or_else(|| panic!("{line:?}")));
            continue;
        }
        let entries = std::mem::take(&mut entries);
        handed.send_modify(|handed| handed.take(member, entries));
        input.write_all(b"\n").await.unwrap();
    }
    drop(input);
    // Nothing new is to come, but what it says has to go somewhere.
    while lines.next_line().await.unwrap().is_some() {}
    assert!(child.wait().await.unwrap().success(), "its end");
}

/// Of a line like `Partition:3⇥Offset:17⇥key⇥value`, as Kafka's console consumer prints them.
pub(super) fn told_entry(line: &str) -> Option<Entry> {
    let [partition, offset, key, value] = line.split('\t').collect::<Vec<_>>()[..] else {
        return None;
    };
    Some(Entry {
        partition: partition.strip_prefix("Partition:")?.parse().ok()?,
        offset: offset.strip_prefix("Offset:")?.parse().ok()?,
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

pub(super) fn entry(record: &ConsumerRecord) -> Entry {
    let text = |bytes: &Option<Bytes>| {
        String::from_utf8(bytes.as_deref().unwrap_or_default().to_vec()).unwrap()
    };
    let (key, value) = (text(&record.key), text(&record.value));
    Entry { partition: record.partition, offset: record.offset, key, value }
}
