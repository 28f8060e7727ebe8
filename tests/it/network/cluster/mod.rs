//! Our client at a cluster of three Apache Kafka brokers, while they are killed, and come back, and
//! while connections to them break, or pass nothing. These are ignored by default:
//! `tests/kafka/cluster` runs them, and says in `OTTLA_TEST_CLUSTER` where it has made the cluster.
//! `OTTLA_KILLS=n` sets how often a broker is killed, and connections are cut.
//!
//! * `nodes`: the brokers, as processes;
//! * `proxy`: what stands between a broker and its clients;
//! * `load`: producers, and two groups of consumers, one with Java's, at work all the time;
//! * `history`: what has to hold of what they were told, what there is, and what they have read;
//! * `mirrored`: a broker of ours that is mirrored to the cluster.

mod history;
mod load;
mod mirrored;
mod nodes;
pub(crate) mod proxy;

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla::{Client, ConfigEntry, Error, TopicConfig};
use tokio::sync::{Mutex, MutexGuard, watch};

use self::history::{Entry, Tally, check_log, check_reading};
use self::load::{IMPATIENCE, Load, entry, told_entry};
use self::nodes::{Leader, NODES, Nodes, patiently};
use self::proxy::Way;
use crate::support::{take, tell};

const PARTITIONS: i32 = 12;
/// What is sent at least.
const RECORDS: usize = 20_000;
/// How many of each partition are to be acknowledged in each state of the cluster.
const SOME: usize = 20;
const KILLS: usize = 3;
/// How much longer a frame takes if it is delayed.
const DELAY: Duration = Duration::from_millis(50);
/// Where frames are cut: within their length, within their header, and behind it.
const CUTS: [usize; 5] = [2, 7, 61, 300, usize::MAX];

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

/// What happens to the cluster.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Who leads this partition is killed.
    Leader(i32),
    /// Who coordinates the group is killed.
    Coordinator,
    /// Who leads it hands over all that it leads, and ends; later it is given that back.
    Moved(i32),
    /// One after the other ends, and comes back.
    Rolling,
    /// Connections to one broker or to all break within a frame.
    Cut(usize),
    /// Nothing comes through to who leads it, for longer than some wait.
    Stall(i32),
    /// What is under way to its leader arrives when others have long gone on.
    Late(i32),
    /// Each frame to and from its leader takes longer.
    Delay(i32),
    /// As above; but it is given back while whoever asks is told how it was before.
    Lagging(i32),
    /// There is one more partition.
    Grown,
}

impl Fault {
    /// As many cuts as kills, and something else between.
    fn plan(kills: usize) -> Vec<Fault> {
        let mut plan = Vec::new();
        for n in 0..kills {
            let partition = (n % PARTITIONS as usize) as i32;
            plan.push(if n % 2 == 0 { Fault::Leader(partition) } else { Fault::Coordinator });
            plan.push(Fault::Cut(n));
            plan.push(match n % 5 {
                0 => Fault::Late(partition),
                1 => Fault::Grown,
                2 if n % 10 == 2 => Fault::Lagging(partition),
                2 => Fault::Moved(partition),
                3 => Fault::Stall(partition),
                _ => Fault::Delay(partition),
            });
            if n % 20 == 10 {
                plan.push(Fault::Rolling);
            }
        }
        plan
    }
}

/// A cluster under load.
struct Scene {
    nodes: Nodes,
    client: Client,
    topic: String,
    partitions: i32,
    load: Load,
}

impl Scene {
    async fn start() -> Scene {
        let mut nodes = Nodes::start().await;
        let client = Client::connect(&nodes.addresses()).await.unwrap();
        let (topic, partitions) = (fresh("records"), PARTITIONS);
        let admin = client.admin();
        admin.create_topic(&topic, TopicConfig::new().partitions(partitions)).await.unwrap();
        nodes.settled().await;
        let leaders = nodes.leaders(&topic).await;
        assert_eq!(leaders.len(), PARTITIONS as usize);
        let leading: BTreeSet<i32> = leaders.iter().map(|it| it.node).collect();
        assert_eq!(leading.len(), 3, "{leaders:?}");
        let configs = admin.describe_configs(&topic).await.unwrap();
        let is = |it: &&ConfigEntry| it.name == "min.insync.replicas";
        assert_eq!(configs.iter().find(is).unwrap().value, "2");
        let load = Load::start(&nodes, &topic).await;
        let scene = Scene { nodes, client, topic, partitions, load };
        scene.goes_on().await;
        scene.load.is_shared().await;
        scene
    }

    async fn goes_on(&self) {
        self.load.goes_on(self.partitions, SOME).await;
    }

    /// Records go through all the time.
    async fn suffer(&mut self, fault: Fault) {
        let begun = Instant::now();
        match fault {
            Fault::Leader(partition) => {
                let node = self.leader(partition).await;
                self.without(node, true).await;
            }
            Fault::Coordinator => {
                let node = self.nodes.coordinator(&self.topic).await;
                self.without(node, true).await;
            }
            Fault::Moved(partition) => {
                let node = self.leader(partition).await;
                self.without(node, false).await;
                self.gives_back().await;
            }
            Fault::Lagging(partition) => {
                let node = self.leader(partition).await;
                self.without(node, false).await;
                self.goes_on().await;
                NODES.iter().for_each(|node| self.nodes.proxy(*node).lag(true));
                self.gives_back().await;
                self.goes_on().await;
                NODES.iter().for_each(|node| self.nodes.proxy(*node).lag(false));
            }
            Fault::Rolling => {
                for node in NODES {
                    self.without(node, false).await;
                }
            }
            Fault::Cut(nth) => self.cut(nth).await,
            Fault::Stall(partition) => {
                let proxy = self.nodes.proxy(self.leader(partition).await);
                proxy.hold();
                tokio::time::sleep(IMPATIENCE * 2).await;
                proxy.release();
            }
            Fault::Late(partition) => {
                let proxy = self.nodes.proxy(self.leader(partition).await);
                proxy.hold_those_there();
                self.goes_on().await;
                proxy.release();
            }
            Fault::Delay(partition) => {
                let proxy = self.nodes.proxy(self.leader(partition).await);
                proxy.delay(DELAY);
                self.goes_on().await;
                proxy.delay(Duration::ZERO);
            }
            Fault::Grown => {
                self.partitions += 1;
                let admin = self.client.admin();
                admin.create_partitions(&self.topic, self.partitions).await.unwrap();
            }
        }
        self.goes_on().await;
        tell(&format!("cluster: {fault:?}: {:?} until all went on\n", begun.elapsed()));
    }

    /// Takes a broker away, and brings it back.
    async fn without(&mut self, node: i32, is_killed: bool) {
        match is_killed {
            true => self.nodes.kill(node).await,
            false => self.nodes.stop(node).await,
        }
        self.goes_on().await;
        let leaders = self.nodes.leaders(&self.topic).await;
        assert!(leaders.iter().all(|it| it.node != node), "{node} is away: {leaders:?}");
        self.nodes.start_again(node);
        self.nodes.settled().await;
    }

    /// Leaders are those again that should be.
    async fn gives_back(&self) {
        self.goes_on().await;
        let elect = "org.apache.kafka.tools.LeaderElectionCommand";
        self.nodes.tool(elect, &["--election-type", "preferred", "--all-topic-partitions"]).await;
        let are_back = async {
            let is_back = |it: &Leader| it.node == it.preferred;
            while !self.nodes.leaders(&self.topic).await.iter().all(is_back) {
                self.load.goes_on(self.partitions, 1).await;
            }
        };
        patiently("leaders are those that are preferred", are_back).await;
    }

    async fn cut(&self, nth: usize) {
        let way = [Way::Requests, Way::Answers][nth % 2];
        let bytes = CUTS[nth % CUTS.len()];
        if nth % 3 == 2 {
            return self.nodes.cut(&NODES, way, bytes).await;
        }
        let leader = self.leader((nth % PARTITIONS as usize) as i32).await;
        self.nodes.cut(&[leader], way, bytes).await;
    }

    async fn leader(&self, partition: i32) -> i32 {
        self.nodes.leaders(&self.topic).await[partition as usize].node
    }
}

#[ignore = "tests/kafka/cluster makes the three Apache Kafkas that it needs"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_brokers_go_and_come_back() {
    let _alone = alone().await;
    let mut scene = Scene::start().await;
    let plan = Fault::plan(kills());
    for fault in &plan {
        scene.suffer(*fault).await;
    }
    scene.load.reaches(RECORDS).await;
    let Scene { nodes, client, topic, partitions, load } = scene;
    let (history, handed) = load.finish().await;
    let ours = read(&client, &topic, partitions).await;
    let again = handed.iter().map(|(_, handed)| check_reading(&ours, handed));
    let again = again.sum::<Result<usize, String>>();
    let summary = summary(&plan, nodes.cuts(), Tally::of(&history, &ours), &again);
    tell(&format!("\n{summary}"));
    nodes.note("summary", &summary);

    let failed = history.iter().find(|(_, sent)| sent.told.is_err());
    assert!(failed.is_none(), "two minutes were not enough: {failed:?}");
    for (group, _) in &handed {
        let lag = client.admin().group_lag(group).await.unwrap();
        assert!(lag.len() == partitions as usize && lag.values().all(|it| *it == 0), "{lag:?}");
    }
    let added = (partitions - PARTITIONS) as usize;
    check_log(&history, &ours, added).unwrap();
    check_log(&history, &read_by_kafka(&nodes, &topic, history.len()).await, added).unwrap();
    again.unwrap();
    client.admin().delete_topic(&topic).await.unwrap();
}

/// What was done, and what came of it, for people.
fn summary(plan: &[Fault], cuts: usize, tally: Tally, again: &Result<usize, String>) -> String {
    let count = |is: fn(&Fault) -> bool| plan.iter().filter(|it| is(it)).count();
    let kills = count(|it| matches!(it, Fault::Leader(_) | Fault::Coordinator));
    let cut = count(|it| matches!(it, Fault::Cut(_)));
    let stalls = count(|it| matches!(it, Fault::Stall(_) | Fault::Late(_)));
    let delays = count(|it| matches!(it, Fault::Delay(_)));
    let moved = count(|it| matches!(it, Fault::Moved(_)));
    let lagging = count(|it| matches!(it, Fault::Lagging(_)));
    let rolling = count(|it| matches!(it, Fault::Rolling));
    let grown = count(|it| matches!(it, Fault::Grown));
    let group = match again {
        Ok(again) => format!("{again} handed to the groups again, none passed over"),
        Err(why) => format!("a group: {why}"),
    };
    format!(
        "{tally}; {group}.\n\
         {kills} brokers killed, {cut} cuts of {cuts} connections, {stalls} stalls, \
         {delays} delays, {moved} leaders moved, {lagging} under metadata that lag, \
         {rolling} rolling restarts, {grown} partitions added.\n"
    )
}

/// The whole log.
async fn read(client: &Client, topic: &str, partitions: i32) -> Vec<Entry> {
    let told = client.admin().describe_topic(topic).await.unwrap();
    assert_eq!(told.partitions.len(), partitions as usize);
    let count = told.partitions.iter().map(|it| it.high_watermark as usize).sum();
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
    let kills = kills().min(5);
    for _ in 0..kills {
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
    assert!(done.refused <= kills, "one call at a time meets a kill: {done:?}");
    nodes.settled().await;
    let there = client.admin().topics().await.unwrap();
    let there = there.iter().map(|it| it.to_string()).filter(|it| it.starts_with(&prefix));
    assert_eq!(there.collect::<BTreeSet<_>>(), done.topics);
    for name in done.topics {
        client.admin().delete_topic(&name).await.unwrap();
    }
}
