//! What an administrator asks, wherever the broker is.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::broker::{ConfigEntry, TopicConfig, TopicDescription};
use crate::error::Result;
use crate::group::{CommittedOffset, GroupDescription};
use crate::topic::{TopicName, TopicPartition};

/// The calls behind `Admin`, which says what each means. All futures are cancel safe: dropped, what
/// was asked for may have happened.
#[async_trait]
pub(crate) trait Administration: Debug + Send + Sync {
    async fn create_topic(&self, name: TopicName, config: TopicConfig) -> Result<TopicDescription>;

    async fn delete_topic(&self, name: TopicName) -> Result<()>;

    async fn topics(&self) -> Result<Vec<TopicName>>;

    async fn describe_topic(&self, name: TopicName) -> Result<TopicDescription>;

    async fn create_partitions(&self, name: TopicName, total: i32) -> Result<()>;

    async fn describe_configs(&self, name: TopicName) -> Result<Vec<ConfigEntry>>;

    /// Names and new values; `None` puts a setting back. All change, or none does.
    async fn alter_configs(
        &self,
        name: TopicName,
        changes: Vec<(String, Option<String>)>,
    ) -> Result<()>;

    /// Returns the log start offset.
    async fn delete_records(&self, at: &TopicPartition, before: i64) -> Result<i64>;

    async fn groups(&self) -> Result<Vec<String>>;

    async fn describe_group(&self, group: &str) -> Result<GroupDescription>;

    async fn remove_member(&self, group: &str, instance_id: &str) -> Result<()>;

    async fn delete_group(&self, group: &str) -> Result<()>;

    async fn group_offsets(&self, group: &str) -> Result<Vec<(TopicPartition, CommittedOffset)>>;

    async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: Vec<(TopicPartition, i64)>,
    ) -> Result<()>;

    async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: Vec<TopicPartition>,
    ) -> Result<()>;
}
