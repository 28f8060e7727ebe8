//! What is checked of groups and of administration; each feature has its own topic and group.

use crate::{Produced, Result, Server, TIMEOUT, fail, same, until};
use rdkafka::admin::{
    AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, StreamConsumer};
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;
use tokio::time::timeout;

const PARTITIONS: i32 = 3;
/// Of the first record of each topic; each is a second later than the one before.
const FIRST_TIME: i64 = 1_700_000_000_000;

pub async fn all(server: &Server, prefix: &str) -> Result {
    let at = |name: &str| Feature { server, name: format!("{prefix}{name}"), produced: 0 };
    alone(at("alone")).await?;
    println!("feature alone");
    rebalance(at("rebalance")).await?;
    println!("feature rebalance");
    commit(at("commit")).await?;
    println!("feature commit");
    seek(at("seek")).await?;
    println!("feature seek");
    admin(at("admin")).await?;
    println!("feature admin");
    Ok(())
}

struct Feature<'a> {
    server: &'a Server,
    /// Of its topic and its group.
    name: String,
    produced: i32,
}

impl Feature<'_> {
    async fn create(&self) -> Result {
        self.server.create(&self.name, PARTITIONS).await
    }

    /// So many more records in each partition, whose values are their numbers from 0 on.
    async fn produce(&mut self, each: i32) -> Result {
        let numbers = self.produced..self.produced + PARTITIONS * each;
        self.produced = numbers.end;
        let records: Vec<_> = numbers
            .map(|number| Produced {
                topic: self.name.clone(),
                partition: Some(number % PARTITIONS),
                value: number.to_string(),
                timestamp: Some(FIRST_TIME + 1000 * i64::from(number)),
                ..Produced::default()
            })
            .collect();
        self.server.produce(&records, &[]).await?;
        Ok(())
    }

    fn join(&self) -> Result<Member> {
        let mut config = self.server.consumer(&self.name);
        // A member learns at its next heartbeat that another one has come.
        config.set("heartbeat.interval.ms", "200");
        let consumer: StreamConsumer = config.create()?;
        consumer.subscribe(&[&self.name])?;
        Ok(Member { consumer, values: Vec::new() })
    }

    /// These members together have read all that was produced, each record once; they commit.
    async fn read_all(&self, members: &mut [&mut Member]) -> Result {
        until("reading of all records", async || {
            poll(members).await?;
            let count: usize = members.iter().map(|it| it.values.len()).sum();
            Ok(count >= self.produced as usize)
        })
        .await?;
        let mut values: Vec<_> = members.iter().flat_map(|it| it.values.clone()).collect();
        values.sort();
        same("each record, once", values, Vec::from_iter(0..self.produced));
        for member in members {
            member.consumer.commit_consumer_state(CommitMode::Sync)?;
        }
        Ok(())
    }

    /// The members have partitions each, and together each partition once.
    async fn wait_until_shared(&self, members: &mut [&mut Member]) -> Result {
        until("sharing of partitions", async || {
            poll(members).await?;
            let mut all = Vec::new();
            for member in members.iter() {
                let partitions = member.partitions()?;
                if partitions.is_empty() {
                    return Ok(false);
                }
                all.extend(partitions);
            }
            all.sort();
            Ok(all == Vec::from_iter(0..PARTITIONS))
        })
        .await
    }

    fn offsets(&self, offset: impl Fn(i32) -> i64) -> Result<TopicPartitionList> {
        let mut offsets = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let offset = Offset::Offset(offset(partition));
            offsets.add_partition_offset(&self.name, partition, offset)?;
        }
        Ok(offsets)
    }
}

struct Member {
    consumer: StreamConsumer,
    values: Vec<i32>,
}

impl Member {
    fn partitions(&self) -> Result<Vec<i32>> {
        Ok(self.consumer.assignment()?.elements().iter().map(|it| it.partition()).collect())
    }
}

/// Takes all that is there, and waits a little if nothing is.
async fn poll(members: &mut [&mut Member]) -> Result {
    for member in members {
        while let Ok(message) = timeout(Duration::from_millis(20), member.consumer.recv()).await {
            let message = message?;
            let value = message.payload_view::<str>().unwrap_or_else(|| fail("a null value"))?;
            member.values.push(value.parse()?);
        }
    }
    Ok(())
}

async fn alone(mut feature: Feature<'_>) -> Result {
    feature.create().await?;
    feature.produce(30).await?;
    let mut member = feature.join()?;
    feature.read_all(&mut [&mut member]).await?;
    same("its partitions", member.partitions()?.len(), PARTITIONS as usize);
    Ok(())
}

async fn rebalance(mut feature: Feature<'_>) -> Result {
    feature.create().await?;
    feature.produce(10).await?;
    let mut first = feature.join()?;
    feature.read_all(&mut [&mut first]).await?;
    let mut second = feature.join()?;
    feature.wait_until_shared(&mut [&mut first, &mut second]).await?;
    feature.produce(20).await?;
    feature.read_all(&mut [&mut first, &mut second]).await?;
    same("has the second one read", second.values.is_empty(), false);
    let Member { consumer, values } = first;
    drop(consumer);
    feature.wait_until_shared(&mut [&mut second]).await?;
    feature.produce(10).await?;
    second.values.extend(values);
    feature.read_all(&mut [&mut second]).await
}

async fn commit(mut feature: Feature<'_>) -> Result {
    feature.create().await?;
    feature.produce(30).await?;
    let mut member = feature.join()?;
    feature.wait_until_shared(&mut [&mut member]).await?;
    let none = member
        .consumer
        .committed(TIMEOUT)?
        .elements_for_topic(&feature.name)
        .iter()
        .all(|it| it.offset() == Offset::Invalid);
    same("before any commit", none, true);
    let offsets = feature.offsets(|partition| 10 * i64::from(partition) + 1)?;
    member.consumer.commit(&offsets, CommitMode::Sync)?;
    drop(member);

    let mut member = feature.join()?;
    feature.wait_until_shared(&mut [&mut member]).await?;
    same("committed offsets", member.consumer.committed(TIMEOUT)?, offsets);
    // Record 3n + p is the nth of partition p.
    let mut left: Vec<_> = (0..90).filter(|it| it / 3 > 10 * (it % 3)).collect();
    until("what is left", async || {
        poll(&mut [&mut member]).await?;
        Ok(member.values.len() >= left.len())
    })
    .await?;
    member.values.sort();
    left.sort();
    same("what is left", &member.values, &left);
    Ok(())
}

async fn seek(mut feature: Feature<'_>) -> Result {
    feature.create().await?;
    feature.produce(30).await?;
    let mut member = feature.join()?;
    feature.wait_until_shared(&mut [&mut member]).await?;
    // Record 45 is offset 15 of partition 0.
    let found = member.consumer.offsets_for_timestamp(FIRST_TIME + 45_000, TIMEOUT)?;
    same("offsets of a time", &found, &feature.offsets(|_| 15)?);
    for partition in member.consumer.seek_partitions(found, TIMEOUT)?.elements() {
        partition.error()?;
    }
    member.values.clear();
    until("what comes from there on", async || {
        poll(&mut [&mut member]).await?;
        Ok(member.values.len() >= 45)
    })
    .await?;
    member.values.sort();
    same("what comes from there on", &member.values, &Vec::from_iter(45..90));
    let found = member.consumer.offsets_for_timestamp(FIRST_TIME + 88_001, TIMEOUT)?;
    let mut offsets: Vec<_> =
        found.elements().iter().map(|it| (it.partition(), it.offset())).collect();
    offsets.sort_by_key(|it| it.0);
    same("after the last", offsets, [(0, Offset::End), (1, Offset::End), (2, Offset::Offset(29))]);
    Ok(())
}

async fn admin(mut feature: Feature<'_>) -> Result {
    topic(&feature).await?;
    group(&mut feature).await?;
    deletion(&feature).await
}

async fn topic(feature: &Feature<'_>) -> Result {
    let (admin, how) = (feature.server.admin()?, AdminOptions::new());
    let name = &feature.name;
    let topic = NewTopic::new(name, 2, TopicReplication::Fixed(1)).set("retention.ms", "3600000");
    same("a new topic", admin.create_topics([&topic], &how).await?, [Ok(name.clone())]);
    let again = admin.create_topics([&topic], &how).await?;
    same("the same again", again, [Err((name.clone(), RDKafkaErrorCode::TopicAlreadyExists))]);

    let resource = ResourceSpecifier::Topic(name);
    let setting = async |setting| -> Result<_> {
        let resources = admin.describe_configs([&resource], &how).await?;
        let [Ok(resource)] = &resources[..] else { fail(&format!("settings: {resources:?}")) };
        Ok(resource.get(setting).and_then(|it| it.value.clone()))
    };
    same("a setting", setting("retention.ms").await?.as_deref(), Some("3600000"));
    // All settings at once, not incrementally: the first one is as by default then.
    let change = AlterConfig::new(resource).set("max.message.bytes", "2000000");
    admin.alter_configs([&change], &how).await?;
    same("what was altered", setting("max.message.bytes").await?.as_deref(), Some("2000000"));
    same("what was not said", setting("retention.ms").await?.as_deref(), Some("604800000"));
    // rdkafka keeps the error to itself; but nothing is altered.
    let wrong = AlterConfig::new(resource).set("retention.ms", "long");
    admin.alter_configs([&wrong], &how).await?;
    same("a wrong value", setting("retention.ms").await?.as_deref(), Some("604800000"));
    same("the other setting", setting("max.message.bytes").await?.as_deref(), Some("2000000"));

    let more = NewPartitions::new(name, PARTITIONS as usize);
    let told = admin.create_partitions([&more], &how).await?;
    same("more partitions", told, [Ok(name.clone())]);
    let told = admin.create_partitions([&more], &how).await?;
    let error = RDKafkaErrorCode::InvalidPartitions;
    same("as many partitions", told, [Err((name.clone(), error))]);
    let consumer: BaseConsumer = feature.server.consumer("none").create()?;
    let metadata = consumer.fetch_metadata(Some(name), TIMEOUT)?;
    same("partitions", metadata.topics()[0].partitions().len(), PARTITIONS as usize);
    Ok(())
}

/// Of groups it knows members, states and deletion.
async fn group(feature: &mut Feature<'_>) -> Result {
    let (admin, how) = (feature.server.admin()?, AdminOptions::new());
    let name = feature.name.clone();
    feature.produce(10).await?;
    let mut member = feature.join()?;
    feature.read_all(&mut [&mut member]).await?;
    let known = |consumer: &StreamConsumer| -> Result<_> {
        let list = consumer.fetch_group_list(Some(&name), TIMEOUT)?;
        let groups = list.groups().iter();
        let about = groups
            .map(|it| (it.state().to_string(), it.protocol().to_string(), it.members().len()));
        Ok(about.collect::<Vec<_>>())
    };
    let about = [("Stable".to_string(), "range".to_string(), 1)];
    same("a group with a member", known(&member.consumer)?, about);
    let all = member.consumer.fetch_group_list(None, TIMEOUT)?;
    same("is it among all groups", all.groups().iter().any(|it| it.name() == name), true);
    let told = admin.delete_groups(&[&name], &how).await?;
    let error = RDKafkaErrorCode::NonEmptyGroup;
    same("deletion of a group with a member", told, [Err((name.clone(), error))]);
    drop(member);
    same("deletion", admin.delete_groups(&[&name], &how).await?, [Ok(name.clone())]);
    let told = admin.delete_groups(&[&name], &how).await?;
    let error = RDKafkaErrorCode::GroupIdNotFound;
    same("deletion again", told, [Err((name.clone(), error))]);
    Ok(())
}

async fn deletion(feature: &Feature<'_>) -> Result {
    let (admin, how) = (feature.server.admin()?, AdminOptions::new());
    let name = &feature.name;
    let told = admin.delete_records(&feature.offsets(|_| 4)?, &how).await?;
    same("where logs begin then", told, feature.offsets(|_| 4)?);
    let consumer: BaseConsumer = feature.server.consumer("none").create()?;
    same("watermarks", consumer.fetch_watermarks(name, 0, TIMEOUT)?, (4, 10));
    let told = admin.delete_records(&feature.offsets(|_| 11)?, &how).await?;
    let errors: Vec<_> = told.elements().iter().map(|it| it.error().is_err()).collect();
    same("records that are not there", errors, [true; PARTITIONS as usize]);
    same("deletion", admin.delete_topics(&[name], &how).await?, [Ok(name.clone())]);
    let told = admin.delete_topics(&[name], &how).await?;
    let error = RDKafkaErrorCode::UnknownTopicOrPartition;
    same("deletion again", told, [Err((name.clone(), error))]);
    Ok(())
}
