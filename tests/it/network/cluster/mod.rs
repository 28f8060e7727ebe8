//! Our client at a cluster of three Apache Kafka brokers, while they are killed, and come back. These
//! are ignored by default: `tests/kafka/cluster` runs them, and says in `OTTLA_TEST_CLUSTER` where it
//! has made the cluster. `OTTLA_KILLS=n` sets how often a broker goes.
//!
//! * `nodes`: the brokers, as processes;
//! * `load`: producers, and a group of consumers, at work all the time;
//! * `history`: what has to hold of what they were told, what there is, and what they have read.

mod history;
mod load;
mod nodes;

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ottla::{Client, ConfigEntry, Error, TopicConfig};
use tokio::sync::{Mutex, MutexGuard, watch};

use self::history::{Entry, check_log, check_reading};
use self::load::{Load, entry};
use self::nodes::{Nodes, patiently};
use crate::support::{take, tell};

const PARTITIONS: i32 = 12;
/// What is sent at least.
const RECORDS: usize = 20_000;
/// How many of each partition are to be acknowledged in each state of the cluster.
const SOME: usize = 20;
const KILLS: usize = 3;

/// The cluster is one test's at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

fn kills() -> usize {
    std::env::var("OTTLA_KILLS").map_or(KILLS, |text| text.parse().expect("a number of kills"))
}

/// A name that no run before has had.
fn fresh(name: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{name}-{}", now.as_nanos())
}

/// What happens to the cluster, by turns.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Who leads this partition is killed.
    Leader(i32),
    /// Who leads it hands over all that it leads, and ends; later it is given that back.
    Moved(i32),
    /// Who coordinates the group is killed.
    Coordinator,
}

impl Fault {
    fn of(nth: usize) -> Fault {
        let partition = (nth % PARTITIONS as usize) as i32;
        [Fault::Leader(partition), Fault::Moved(partition), Fault::Coordinator][nth % 3]
    }
}

/// Takes a broker away, and brings it back; records go through all the time.
async fn suffer(fault: Fault, nodes: &mut Nodes, load: &Load, topic: &str) {
    let begun = Instant::now();
    let node = match fault {
        Fault::Leader(partition) | Fault::Moved(partition) => {
            nodes.leaders(topic).await[partition as usize].node
        }
        Fault::Coordinator => nodes.coordinator(topic).await,
    };
    match fault {
        Fault::Moved(_) => nodes.stop(node).await,
        _ => nodes.kill(node).await,
    }
    load.goes_on(PARTITIONS, SOME).await;
    let without = begun.elapsed();
    assert!(nodes.leaders(topic).await.iter().all(|it| it.node != node), "{node} is away");
    nodes.start_again(node);
    nodes.settled().await;
    load.goes_on(PARTITIONS, SOME).await;
    if matches!(fault, Fault::Moved(_)) {
        let elect = "org.apache.kafka.tools.LeaderElectionCommand";
        nodes.tool(elect, &["--election-type", "preferred", "--all-topic-partitions"]).await;
        let are_back = async {
            while !nodes.leaders(topic).await.iter().all(|it| it.node == it.preferred) {
                load.goes_on(PARTITIONS, 1).await;
            }
        };
        patiently("leaders are those that are preferred", are_back).await;
        load.goes_on(PARTITIONS, SOME).await;
    }
    tell(&format!(
        "cluster: {fault:?}, node {node}: {without:?} without it, back and in sync after "
    ));
    tell(&format!("{:?}\n", begun.elapsed()));
}

#[ignore = "tests/kafka/cluster makes the three Apache Kafkas that it needs"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_brokers_go_and_come_back() {
    let _alone = alone().await;
    let mut nodes = Nodes::start().await;
    let client = Client::connect(&nodes.addresses()).await.unwrap();
    let topic = fresh("records");
    let admin = client.admin();
    admin.create_topic(&topic, TopicConfig::new().partitions(PARTITIONS)).await.unwrap();
    nodes.settled().await;
    let leaders = nodes.leaders(&topic).await;
    assert_eq!(leaders.len(), PARTITIONS as usize);
    let leading: BTreeSet<i32> = leaders.iter().map(|it| it.node).collect();
    assert_eq!(leading.len(), 3, "{leaders:?}");
    let configs = admin.describe_configs(&topic).await.unwrap();
    let is = |it: &&ConfigEntry| it.name == "min.insync.replicas";
    assert_eq!(configs.iter().find(is).unwrap().value, "2");

    let load = Load::start(&nodes.addresses(), &topic).await;
    load.goes_on(PARTITIONS, SOME).await;
    load.is_shared().await;
    for nth in 0..kills() {
        suffer(Fault::of(nth), &mut nodes, &load, &topic).await;
    }
    load.reaches(RECORDS).await;
    let (history, handed) = load.finish().await;
    let failed = history.iter().find(|(_, sent)| sent.told.is_err());
    assert!(failed.is_none(), "two minutes were not enough: {failed:?}");

    let lag = admin.group_lag(&topic).await.unwrap();
    assert!(lag.len() == PARTITIONS as usize && lag.values().all(|it| *it == 0), "{lag:?}");
    let ours = read(&client, &topic, history.len()).await;
    check_log(&history, &ours).unwrap();
    check_log(&history, &read_by_kafka(&nodes, &topic, history.len()).await).unwrap();
    let again = check_reading(&ours, &handed).unwrap();
    tell(&format!("cluster: {} records, {again} handed out again\n", history.len()));
    admin.delete_topic(&topic).await.unwrap();
}

/// The whole log, which has so many records.
async fn read(client: &Client, topic: &str, count: usize) -> Vec<Entry> {
    let mut consumer = client.consumer().subscribe([topic]).await.unwrap();
    let records = patiently("our consumer reads all", take(&mut consumer, count)).await;
    let lag = consumer.lag().await.unwrap();
    assert!(lag.values().all(|it| *it == 0), "there is more: {lag:?}");
    records.iter().map(entry).collect()
}

/// The same by Kafka's own tools.
async fn read_by_kafka(nodes: &Nodes, topic: &str, count: usize) -> Vec<Entry> {
    let said = nodes.tool("org.apache.kafka.tools.GetOffsetShell", &["--topic", topic]).await;
    let ends = said.lines().map(|line| line.rsplit(':').next().unwrap().parse::<usize>().unwrap());
    assert_eq!(ends.sum::<usize>(), count, "{said}");
    let count = count.to_string();
    let mut arguments = vec!["--topic", topic, "--from-beginning", "--max-messages", &count];
    for property in ["print.partition=true", "print.offset=true", "print.key=true"] {
        arguments.extend(["--formatter-property", property]);
    }
    let consumer = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    let said = nodes.tool(consumer, &arguments).await;
    said.lines().map(|line| told_entry(line).unwrap_or_else(|| panic!("{line:?}"))).collect()
}

/// Of a line like `Partition:3⇥Offset:17⇥key⇥value`.
fn told_entry(line: &str) -> Option<Entry> {
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

/// What an administrator has done.
#[derive(Debug, Default)]
struct Done {
    /// Those that are there.
    topics: BTreeSet<String>,
    /// Who was told of something done that it was done already: a broker that has passed a request
    /// on, and lost the controller before the answer, passes it on to the next one (KIP-590), and
    /// that one refuses.
    refused: usize,
}

/// Creates topics, describes them, and deletes every other one, until it is told to end.
async fn administer(
    client: Client,
    prefix: String,
    rounds: watch::Sender<usize>,
    is_over: watch::Receiver<bool>,
) -> Done {
    let admin = client.admin();
    let mut done = Done::default();
    for n in 0.. {
        if *is_over.borrow() {
            break;
        }
        let name = format!("{prefix}-{n}");
        let created = admin.create_topic(&name, TopicConfig::new().partitions(2)).await;
        match created {
            Ok(created) => {
                let told = admin.describe_topic(&name).await.unwrap();
                assert_eq!((told.id, told.partitions.len()), (created.id, 2));
            }
            Err(Error::TopicAlreadyExists { .. }) => {
                done.refused += 1;
                // The one that is asked may not have heard of it.
                while admin.describe_topic(&name).await.is_err() {}
            }
            Err(error) => panic!("creating {name}: {error}"),
        }
        if n % 2 == 1 {
            done.topics.insert(name);
        } else {
            match admin.delete_topic(&name).await {
                Ok(()) => {}
                Err(Error::UnknownTopic { .. }) => done.refused += 1,
                Err(error) => panic!("deleting {name}: {error}"),
            }
        }
        rounds.send_modify(|rounds| *rounds += 1);
    }
    done
}

#[ignore = "tests/kafka/cluster makes the three Apache Kafkas that it needs"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_come_and_go_while_controllers_are_killed() {
    let _alone = alone().await;
    let mut nodes = Nodes::start().await;
    let client = Client::connect(&nodes.addresses()).await.unwrap();
    let (prefix, rounds) = (fresh("topic"), watch::Sender::new(0));
    let is_over = watch::Sender::new(false);
    let work = administer(client.clone(), prefix.clone(), rounds.clone(), is_over.subscribe());
    let mut work = tokio::spawn(work);
    let mut goes_on = async |count: usize| {
        let (mut heard, before) = (rounds.subscribe(), *rounds.borrow());
        let waited = async {
            tokio::select! {
                waited = heard.wait_for(|now| *now >= before + count) => drop(waited.unwrap()),
                ended = &mut work => panic!("{ended:?}"),
            }
        };
        patiently("topics come and go", waited).await;
    };
    for _ in 0..kills() {
        goes_on(3).await;
        let controller = nodes.controller().await;
        let begun = Instant::now();
        nodes.kill(controller).await;
        goes_on(3).await;
        let without = begun.elapsed();
        nodes.start_again(controller);
        nodes.settled().await;
        tell(&format!(
            "cluster: controller {controller} killed: {without:?} until topics went on\n"
        ));
    }
    is_over.send_replace(true);
    let done = patiently("the last topic comes", work).await.unwrap();
    assert!(done.refused <= kills(), "one call at a time meets a kill: {done:?}");
    nodes.settled().await;
    let there = client.admin().topics().await.unwrap();
    let there = there.iter().map(|it| it.to_string()).filter(|it| it.starts_with(&prefix));
    assert_eq!(there.collect::<BTreeSet<_>>(), done.topics);
    for name in done.topics {
        client.admin().delete_topic(&name).await.unwrap();
    }
}
