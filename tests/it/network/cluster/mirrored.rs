//! A mirror whose target is the cluster: the process that it is in is killed, and brokers are, by
//! turns. What is checked is as in `crate::mirror::killed`.

use std::collections::BTreeSet;

use ottla::{Client, TopicConfig};
use tempfile::TempDir;
use tokio::task::block_in_place;

use super::nodes::{Nodes, patiently};
use super::{alone, kills};
use crate::mirror::killed::{Agent, Heard, PARTITIONS, TOPIC, open};
use crate::mirror::{Shown, assert_same, content, show};
use crate::support::{take, tell};

/// All that is there.
async fn read(client: &Client) -> Vec<Shown> {
    let told = client.admin().describe_topic(TOPIC).await.unwrap();
    let count: i64 = told.partitions.iter().map(|it| it.high_watermark).sum();
    let mut consumer = client.consumer().subscribe([TOPIC]).await.unwrap();
    let mut records = take(&mut consumer, count as usize).await;
    records.sort_by_key(|record| (record.partition, record.offset));
    records.iter().map(show).collect()
}

#[ignore = "tests/kafka/cluster makes the three Apache Kafkas that it needs"]
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_mirror_loses_and_doubles_nothing_while_either_side_is_killed() {
    let _alone = alone().await;
    let mut nodes = Nodes::start().await;
    let addresses = nodes.addresses();
    let client = Client::connect(&addresses).await.unwrap();
    let config = TopicConfig::new().partitions(PARTITIONS);
    client.admin().create_topic(TOPIC, config).await.unwrap();
    let dir = TempDir::new().unwrap();
    let mut heard = Heard::default();
    for life in 0..kills() {
        let mut agent = Agent::start(dir.path(), &addresses, life, false);
        let some = 1 + (life as u64 * 37) % 300;
        block_in_place(|| agent.listen(&mut heard, some, usize::MAX));
        let leader = nodes.leaders(TOPIC).await[life % PARTITIONS as usize].node;
        nodes.kill(leader).await;
        block_in_place(|| agent.listen(&mut heard, 1 + some / 2, usize::MAX));
        nodes.start_again(leader);
        block_in_place(|| agent.listen(&mut heard, 1 + some / 3, 3_000));
        agent.kill(&mut heard);
        nodes.settled().await;
        tell(&format!("cluster: a mirror, and broker {leader}: {} mirrored\n", heard.mirrored));
    }
    let mut last = Agent::start(dir.path(), &addresses, kills(), true);
    block_in_place(|| last.listen(&mut heard, u64::MAX, usize::MAX));
    let source = open(dir.path()).await;
    let sent = content(&source.client(), TOPIC).await;
    let found = patiently("all is read", read(&client)).await;
    let value = |it: &Option<Vec<u8>>| String::from_utf8(it.clone().unwrap()).unwrap();
    let there: BTreeSet<_> = found.iter().map(|it| value(&it.3)).collect();
    let lost = heard.acknowledged.difference(&there).count();
    let summary = format!(
        "A mirror: {} records acknowledged by its source, {lost} lost, {} duplicated; the process \
         killed {} times, and brokers as often.\n",
        heard.acknowledged.len(),
        found.len() - there.len(),
        kills(),
    );
    tell(&format!("\n{summary}"));
    nodes.note("mirror", &summary);
    // The same records in the same order.
    assert_same(&sent, &found);
    assert_eq!((lost, found.len()), (0, there.len()));
    client.admin().delete_topic(TOPIC).await.unwrap();
}
