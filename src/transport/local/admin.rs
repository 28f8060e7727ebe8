//! An administrator's way to the broker of this process.

use async_trait::async_trait;

use crate::broker::{BrokerHandle, ConfigEntry, TopicConfig, TopicDescription};
use crate::error::Result;
use crate::group::{CommittedOffset, GroupDescription};
use crate::topic::{TopicName, TopicPartition};

use super::LocalTransport;
use crate::transport::Administration;

#[async_trait]
impl Administration for LocalTransport {
    async fn create_topic(&self, name: TopicName, config: TopicConfig) -> Result<TopicDescription> {
        self.broker().create_topic(name, config).await
    }

    async fn delete_topic(&self, name: TopicName) -> Result<()> {
        self.broker().delete_topic(name).await
    }

    async fn topics(&self) -> Result<Vec<TopicName>> {
        Ok(self.broker().topics()?.iter().map(|topic| topic.name.clone()).collect())
    }

    async fn describe_topic(&self, name: TopicName) -> Result<TopicDescription> {
        self.broker().describe_topic(&name)
    }

    async fn create_partitions(&self, name: TopicName, total: i32) -> Result<()> {
        self.broker().create_partitions(name, total).await
    }

    async fn describe_configs(&self, name: TopicName) -> Result<Vec<ConfigEntry>> {
        self.broker().describe_configs(&name)
    }

    async fn alter_configs(
        &self,
        name: TopicName,
        changes: Vec<(String, Option<String>)>,
    ) -> Result<()> {
        self.broker().alter_configs(name, changes, false).await
    }

    async fn delete_records(&self, at: &TopicPartition, before: i64) -> Result<i64> {
        self.broker().delete_records(at, before).await
    }

    async fn groups(&self) -> Result<Vec<String>> {
        self.broker().groups().await
    }

    async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        self.broker().describe_group(group).await
    }

    async fn remove_member(&self, group: &str, instance_id: &str) -> Result<()> {
        self.broker().remove_member(group, instance_id).await
    }

    async fn delete_group(&self, group: &str) -> Result<()> {
        self.broker().delete_group(group).await
    }

    async fn group_offsets(&self, group: &str) -> Result<Vec<(TopicPartition, CommittedOffset)>> {
        self.broker().group_offsets(group).await
    }

    async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: Vec<(TopicPartition, i64)>,
    ) -> Result<()> {
        self.broker().alter_group_offsets(group, offsets).await
    }

    async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: Vec<TopicPartition>,
    ) -> Result<()> {
        self.broker().delete_group_offsets(group, partitions).await
    }
}

impl LocalTransport {
    fn broker(&self) -> &BrokerHandle {
        &self.handle
    }
}
