//! A cluster's nodes, each a process of this test: what `kafka_format_cluster` of `tests/kafka/broker`
//! has made. They are killed, at the latest, when this is dropped. Clients come to each through a
//! proxy; the nodes themselves, Kafka's tools, and whoever looks here how it goes do not.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use ottla::wire::find_coordinator::FindCoordinatorRequest;
use ottla::wire::metadata::{MetadataRequest, MetadataResponse};
use ottla::wire::{ErrorCode, Request, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::proxy::{Proxy, Way};

pub(super) const NODES: [i32; 3] = [1, 2, 3];

/// How long anything may take. A broker that is killed is missed after three seconds, and one that is
/// started is there after five, unless the machine has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// The future's output; a panic that says what does not happen if it hangs.
pub(super) async fn patiently<F: Future>(what: &str, future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not in {PATIENCE:?}"))
}

pub(super) struct Nodes {
    folder: PathBuf,
    running: BTreeMap<i32, Child>,
    proxies: BTreeMap<i32, Proxy>,
    cuts: watch::Sender<usize>,
}

/// Who leads a partition, and who should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) node: i32,
    pub(super) preferred: i32,
}

impl Nodes {
    /// All of them, ready.
    pub(super) async fn start() -> Nodes {
        let folder = std::env::var("OTTLA_TEST_CLUSTER").expect("tests/kafka/cluster makes one");
        let (running, proxies) = (BTreeMap::new(), BTreeMap::new());
        let cuts = watch::Sender::new(0);
        let mut nodes = Nodes { folder: folder.into(), running, proxies, cuts };
        for node in NODES {
            let parsed = |name| nodes.noted(node, name).parse::<SocketAddr>().unwrap();
            let (address, behind) = (parsed("address"), parsed("behind"));
            let proxy = Proxy::start(address, behind, nodes.cuts.clone()).await;
            nodes.proxies.insert(node, proxy);
            nodes.start_again(node);
        }
        nodes.settled().await;
        nodes
    }

    /// Starts a node, which is not waited for.
    pub(super) fn start_again(&mut self, node: i32) {
        let program = self.folder.join(node.to_string()).join("start");
        let child = Command::new(program).kill_on_drop(true).spawn().unwrap();
        assert!(self.running.insert(node, child).is_none(), "node {node} runs already");
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self, node: i32) {
        self.running.remove(&node).expect("it runs").kill().await.unwrap();
    }

    /// SIGTERM: it hands over what it leads, and ends.
    pub(super) async fn stop(&mut self, node: i32) {
        let mut child = self.running.remove(&node).expect("it runs");
        let pid = child.id().expect("it has not been waited for").to_string();
        assert!(Command::new("kill").arg(pid).status().await.unwrap().success());
        patiently(&format!("node {node} ends"), child.wait()).await.unwrap();
    }

    /// What stands before the node.
    pub(super) fn proxy(&self, node: i32) -> &Proxy {
        &self.proxies[&node]
    }

    /// Cuts the connections that there are to these, and waits until one is.
    pub(super) async fn cut(&self, nodes: &[i32], way: Way, bytes: usize) {
        let before = self.cuts();
        for node in nodes {
            self.proxy(*node).cut(way, bytes);
        }
        let mut cuts = self.cuts.subscribe();
        drop(patiently("a connection is cut", cuts.wait_for(|now| *now > before)).await.unwrap());
    }

    /// How many connections were cut.
    pub(super) fn cuts(&self) -> usize {
        *self.cuts.borrow()
    }

    /// Where clients find all, with commas between.
    pub(super) fn addresses(&self) -> String {
        NODES.map(|node| self.noted(node, "address")).join(",")
    }

    fn noted(&self, node: i32, name: &str) -> String {
        let file = self.folder.join(node.to_string()).join(name);
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    /// Keeps what a test wants to be known, beside the nodes.
    pub(super) fn note(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    /// Waits until all nodes run, know each other, and each has all of its replicas in sync.
    pub(super) async fn settled(&mut self) {
        let settle = async {
            'again: loop {
                for node in NODES {
                    self.assert_running(node);
                    let told = self.metadata(node, None).await;
                    if !told.is_some_and(|told| is_settled(&told)) {
                        sleep(PAUSE).await;
                        continue 'again;
                    }
                }
                break;
            }
        };
        patiently("all replicas are in sync", settle).await;
    }

    fn assert_running(&mut self, node: i32) {
        let child = self.running.get_mut(&node).expect("it was started");
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "node {node} has ended by itself, {ended:?}: its file `said`");
    }

    async fn metadata(&self, node: i32, topic: Option<&str>) -> Option<MetadataResponse> {
        let name = |topic: &str| ottla::wire::metadata::MetadataRequestTopic {
            name: Some(topic.to_owned()),
            ..Default::default()
        };
        let topics = topic.map(|topic| vec![name(topic)]);
        let request = MetadataRequest { topics, ..MetadataRequest::default() };
        ask(&self.noted(node, "direct"), &request).await
    }

    /// Who leads the topic's partitions, as a node that runs has heard.
    pub(super) async fn leaders(&self, topic: &str) -> Vec<Leader> {
        let look = async {
            loop {
                for node in self.running.keys() {
                    let told = self.metadata(*node, Some(topic)).await;
                    let Some(mut told) = told.and_then(|it| it.topics.into_iter().next()) else {
                        continue;
                    };
                    told.partitions.sort_by_key(|it| it.partition_index);
                    let leader = |it: &ottla::wire::metadata::MetadataResponsePartition| Leader {
                        node: it.leader_id,
                        preferred: it.replica_nodes[0],
                    };
                    return told.partitions.iter().map(leader).collect();
                }
                sleep(PAUSE).await;
            }
        };
        patiently("a node knows the topic", look).await
    }

    /// Which node coordinates the group.
    pub(super) async fn coordinator(&self, group: &str) -> i32 {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![group.to_owned()],
            ..FindCoordinatorRequest::default()
        };
        let look = async {
            loop {
                for node in self.running.keys() {
                    let told = ask(&self.noted(*node, "direct"), &request).await;
                    let found = told.and_then(|it| it.coordinators.into_iter().next());
                    match found {
                        Some(found) if found.error_code == ErrorCode::NONE => return found.node_id,
                        _ => sleep(PAUSE).await,
                    }
                }
            }
        };
        patiently("the group has a coordinator", look).await
    }

    /// Which node is the active controller. Clients are not told.
    pub(super) async fn controller(&self) -> i32 {
        let class = "org.apache.kafka.tools.MetadataQuorumCommand";
        let said = self.tool(class, &["describe", "--status"]).await;
        let id = said.lines().find_map(|line| line.strip_prefix("LeaderId:"));
        id.and_then(|id| id.trim().parse().ok()).unwrap_or_else(|| panic!("no LeaderId: {said}"))
    }

    /// One of Kafka's programs, or of ours beside them.
    pub(super) fn java(&self, class: &str) -> Command {
        let mut command = Command::new(self.folder.join("java"));
        command.arg(class).kill_on_drop(true);
        command
    }

    /// What one of Kafka's programs says.
    pub(super) async fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let mut command = self.java(class);
        let direct = NODES.map(|node| self.noted(node, "direct")).join(",");
        command.args(["--bootstrap-server", &direct]).args(arguments);
        let output = patiently(class, command.output()).await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{class} {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn is_settled(told: &MetadataResponse) -> bool {
    let brokers: BTreeSet<i32> = told.brokers.iter().map(|it| it.node_id).collect();
    let mut partitions = told.topics.iter().flat_map(|topic| &topic.partitions);
    brokers == BTreeSet::from(NODES)
        && partitions.all(|it| {
            it.error_code == ErrorCode::NONE && it.isr_nodes.len() == it.replica_nodes.len()
        })
}

/// What is answered there; `None` if nothing is, for two seconds.
async fn ask<R: Request>(address: &str, request: &R) -> Option<R::Response> {
    let version = *R::KEY.versions().end();
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let mut frame = encode_request(request, version, 1, &None).unwrap();
        stream.write_all(&frame.copy_to_bytes(frame.remaining())).await.ok()?;
        let mut len = [0; 4];
        stream.read_exact(&mut len).await.ok()?;
        let mut frame = BytesMut::zeroed(i32::from_be_bytes(len) as usize);
        stream.read_exact(&mut frame).await.ok()?;
        Some(decode_response::<R>(&frame.freeze(), version).unwrap().1)
    };
    timeout(Duration::from_secs(2), asked).await.ok()?
}
