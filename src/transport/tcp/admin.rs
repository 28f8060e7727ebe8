//! An administrator's way to a cluster.
//!
//! * `topics`: they come, grow and go; `seen` waits until that can be seen, `describe` tells all.
//! * `configs`: their settings; `records`: deleting records.
//! * `groups`: consumer groups; `group_offsets`: what they have committed.
//!
//! What fails in passing is tried again. Where the second attempt may meet what the first has done,
//! `doubt` knows.

mod configs;
mod describe;
mod doubt;
mod group_offsets;
mod groups;
mod records;
mod seen;
mod topics;

use std::sync::Arc;

use async_trait::async_trait;

use super::cluster::Cluster;
use super::group::TcpGroup;
use super::{TcpTransport, run_on};
use crate::broker::{ConfigEntry, TopicConfig, TopicDescription, check_not_internal};
use crate::error::Result;
use crate::group::{CommittedOffset, GroupDescription};
use crate::topic::{TopicName, TopicPartition};
use crate::transport::Administration;

impl TcpTransport {
    /// Does something on the client's runtime.
    async fn on<T, F>(&self, work: impl FnOnce(Arc<Cluster>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        run_on(&self.runtime, work(self.cluster.clone())).await
    }
}

#[async_trait]
impl Administration for TcpTransport {
    async fn create_topic(&self, name: TopicName, config: TopicConfig) -> Result<TopicDescription> {
        check_not_internal(&name)?;
        let create = |cluster: Arc<Cluster>| async move {
            topics::create(&cluster, &name, &config).await?;
            describe::topic(&cluster, &name).await
        };
        self.on(create).await
    }

    async fn delete_topic(&self, name: TopicName) -> Result<()> {
        // Kafka would do it, and forget what all groups have committed.
        check_not_internal(&name)?;
        self.on(|cluster| async move { topics::delete(&cluster, &name).await }).await
    }

    async fn topics(&self) -> Result<Vec<TopicName>> {
        let list = |cluster: Arc<Cluster>| async move {
            cluster.until_done("listing topics", || seen::names(&cluster)).await
        };
        self.on(list).await
    }

    async fn describe_topic(&self, name: TopicName) -> Result<TopicDescription> {
        self.on(|cluster| async move { describe::topic(&cluster, &name).await }).await
    }

    async fn create_partitions(&self, name: TopicName, total: i32) -> Result<()> {
        // Kafka would do it, and look for most groups in another partition.
        check_not_internal(&name)?;
        self.on(|cluster| async move { topics::grow(&cluster, &name, total).await }).await
    }

    async fn describe_configs(&self, name: TopicName) -> Result<Vec<ConfigEntry>> {
        self.on(|cluster| async move { configs::describe(&cluster, &name).await }).await
    }

    async fn alter_configs(
        &self,
        name: TopicName,
        changes: Vec<(String, Option<String>)>,
    ) -> Result<()> {
        self.on(|cluster| async move { configs::alter(&cluster, &name, changes).await }).await
    }

    async fn delete_records(&self, at: &TopicPartition, before: i64) -> Result<i64> {
        let at = at.clone();
        self.on(|cluster| async move { records::delete(&cluster, &at, before).await }).await
    }

    async fn groups(&self) -> Result<Vec<String>> {
        let list = |cluster: Arc<Cluster>| async move {
            cluster.until_done("listing groups", || groups::list(&cluster)).await
        };
        self.on(list).await
    }

    async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let group = group.to_owned();
        self.on(|cluster| async move { groups::describe(&cluster, &group).await }).await
    }

    async fn remove_member(&self, group: &str, instance_id: &str) -> Result<()> {
        let (group, instance_id) = (group.to_owned(), instance_id.to_owned());
        let remove = |cluster: Arc<Cluster>| async move {
            groups::remove_member(&cluster, &group, &instance_id).await
        };
        self.on(remove).await
    }

    async fn delete_group(&self, group: &str) -> Result<()> {
        let group = group.to_owned();
        self.on(|cluster| async move { groups::delete(&cluster, &group).await }).await
    }

    async fn group_offsets(&self, group: &str) -> Result<Vec<(TopicPartition, CommittedOffset)>> {
        groups::check_named(group)?;
        let (group, runtime) = (group.to_owned(), self.runtime.clone());
        let look = |cluster: Arc<Cluster>| async move {
            let session = TcpGroup::new(cluster.clone(), runtime, &group);
            let committed = session.all_committed().await?;
            group_offsets::of_topics_there(&cluster, &group, committed).await
        };
        self.on(look).await
    }

    async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: Vec<(TopicPartition, i64)>,
    ) -> Result<()> {
        let group = group.to_owned();
        self.on(|cluster| async move { group_offsets::alter(&cluster, &group, offsets).await })
            .await
    }

    async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: Vec<TopicPartition>,
    ) -> Result<()> {
        let group = group.to_owned();
        self.on(|cluster| async move { group_offsets::delete(&cluster, &group, partitions).await })
            .await
    }
}
