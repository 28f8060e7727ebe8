//! What brokers tell of topics now, whatever this client knows of them; none is created for the
//! asking.

use std::collections::BTreeMap;

use crate::broker::check_not_internal;
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicName, TopicPartition};
use crate::transport::TopicMetadata;
use crate::transport::tcp::cluster::{Cluster, leaderless};
use crate::transport::tcp::errors::of_code;
use crate::transport::tcp::settings::Address;
use crate::wire::ErrorCode;
use crate::wire::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseTopic,
};

/// A topic that is there.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Zeros from a broker that does not tell it.
    pub(super) id: TopicId,
    /// By their numbers.
    pub(super) leaders: BTreeMap<i32, Leader>,
}

/// Who leads a partition.
#[derive(Debug, Clone)]
pub(super) struct Leader {
    /// `None` while nobody does.
    pub(super) address: Option<Address>,
    pub(super) epoch: i32,
}

impl Seen {
    pub(super) fn partitions(&self) -> i32 {
        i32::try_from(self.leaders.len()).unwrap_or(i32::MAX)
    }

    /// Fails if it has no such partition.
    pub(super) fn check(&self, at: &TopicPartition) -> Result<&Leader> {
        self.leaders.get(&at.partition).ok_or_else(|| Error::UnknownPartition {
            topic: at.topic.to_string(),
            partition: at.partition,
            partitions: self.partitions(),
        })
    }

    /// Who leads a partition, and since which epoch.
    pub(super) fn leader(&self, at: &TopicPartition) -> Result<(&Address, i32)> {
        let leader = self.check(at)?;
        Ok((leader.address.as_ref().ok_or_else(|| leaderless(at))?, leader.epoch))
    }

    /// Whether it has so many partitions, or more, and they can be used.
    pub(super) fn is_ready(&self, partitions: i32) -> bool {
        self.partitions() >= partitions.max(1)
            && self.leaders.values().all(|leader| leader.address.is_some())
    }
}

/// The topics that there are, but for the brokers' own.
pub(super) async fn names(cluster: &Cluster) -> Result<Vec<TopicName>> {
    let mut names = Vec::new();
    for topic in ask(cluster, None).await?.topics {
        let name = topic.name.as_deref().map(TopicName::parse);
        let Some(Ok(name)) = name else { continue };
        // One that is about to get its leaders is there.
        let is_there =
            matches!(topic.error_code, ErrorCode::NONE | ErrorCode::LEADER_NOT_AVAILABLE);
        if is_there && !topic.is_internal && check_not_internal(&name).is_ok() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A topic as some broker sees it; `None` if it sees none.
pub(super) async fn look(cluster: &Cluster, name: &TopicName) -> Result<Option<Seen>> {
    let mut found = look_for(cluster, std::slice::from_ref(name)).await?;
    Ok(found.remove(name))
}

/// The same, or the error.
pub(super) async fn existing(cluster: &Cluster, name: &TopicName) -> Result<Seen> {
    look(cluster, name).await?.ok_or_else(|| unknown(name))
}

pub(super) fn unknown(name: &TopicName) -> Error {
    Error::UnknownTopic { topic: name.to_string() }
}

/// Those of these topics that some broker sees.
pub(super) async fn look_for(
    cluster: &Cluster,
    names: &[TopicName],
) -> Result<BTreeMap<TopicName, Seen>> {
    let mut found = BTreeMap::new();
    if names.is_empty() {
        return Ok(found);
    }
    let response = ask(cluster, Some(names)).await?;
    let brokers = response.brokers.into_iter().filter_map(|broker| {
        let port = u16::try_from(broker.port).ok()?;
        Some((broker.node_id, Address { host: broker.host, port }))
    });
    let brokers: BTreeMap<i32, Address> = brokers.collect();
    for topic in response.topics {
        let asked = names.iter().find(|name| Some(name.as_str()) == topic.name.as_deref());
        let Some(name) = asked else { continue };
        match topic.error_code {
            ErrorCode::NONE => drop(found.insert(name.clone(), seen(topic, &brokers))),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {}
            error => return Err(of_code(error, format!("looking at topic {name:?}"), None)),
        }
    }
    Ok(found)
}

fn seen(topic: MetadataResponseTopic, brokers: &BTreeMap<i32, Address>) -> Seen {
    let leaders = topic.partitions.into_iter().map(|partition| {
        let address = brokers.get(&partition.leader_id).cloned();
        (partition.partition_index, Leader { address, epoch: partition.leader_epoch })
    });
    Seen { id: topic.topic_id, leaders: leaders.collect() }
}

async fn ask(cluster: &Cluster, names: Option<&[TopicName]>) -> Result<MetadataResponse> {
    let named = |name: &TopicName| MetadataRequestTopic {
        name: Some(name.to_string()),
        ..MetadataRequestTopic::default()
    };
    let request = MetadataRequest {
        topics: names.map(|names| names.iter().map(named).collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    cluster.any_broker().await?.ask(&request).await
}

/// Waits until a broker sees a topic, or its absence, as it is to be. Brokers learn of changes one
/// after the other, and some of them late.
pub(super) async fn until(
    cluster: &Cluster,
    what: &str,
    name: &TopicName,
    is_so: impl Fn(Option<&Seen>) -> bool,
) -> Result<()> {
    let after = cluster.settings.api_timeout;
    let attempt = || async {
        match is_so(look(cluster, name).await?.as_ref()) {
            true => Ok(()),
            false => Err(Error::Timeout { what: what.to_owned(), after }),
        }
    };
    cluster.until_done(what, attempt).await
}

/// Waits until this client's producers and consumers know of a change, too. It is made: that they
/// do not is no error.
pub(super) async fn catch_up(
    cluster: &Cluster,
    name: &TopicName,
    is_known: impl Fn(Option<&TopicMetadata>) -> bool,
) {
    let what = format!("news of topic {name:?}");
    let patience = cluster.settings.topic_timeout;
    let attempt = || async {
        cluster.refresh().await?;
        match is_known(cluster.known_topic(name.as_str()).as_deref()) {
            true => Ok(()),
            false => Err(Error::Timeout { what: what.clone(), after: patience }),
        }
    };
    if let Err(error) = cluster.until_done_within(&what, patience, attempt).await {
        tracing::debug!(topic = %name, %error, "the change is made, and not known yet");
    }
}
