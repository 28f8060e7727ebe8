//! OffsetDelete: offsets of a group go, of topics that its members do not consume. Version 0.

use super::answer::{Client, Handle, Outcome};
use super::errors::code_of;
use crate::group::Command;
use crate::topic::TopicPartition;
use crate::wire::ErrorCode;
use crate::wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

impl Handle for OffsetDeleteRequest {
    fn refuse(self, _: &Client, _: i16, error_code: ErrorCode) -> Outcome<OffsetDeleteResponse> {
        Outcome::Response(OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() })
    }

    async fn start(self, client: Client, version: i16) -> Outcome<OffsetDeleteResponse> {
        match client.knows(&self.group_id).await {
            Ok(true) => {}
            Ok(false) => return self.refuse(&client, version, ErrorCode::GROUP_ID_NOT_FOUND),
            Err(error) => return self.refuse(&client, version, error),
        }
        let mut topics = Vec::new();
        for topic in &self.topics {
            match delete(&client, &self.group_id, topic).await {
                Ok(deleted) => topics.push(deleted),
                Err(error) => return self.refuse(&client, version, error),
            }
        }
        Outcome::Response(OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() })
    }
}

/// Fails with what is wrong with the whole group.
async fn delete(
    client: &Client,
    group: &str,
    topic: &OffsetDeleteRequestTopic,
) -> Result<OffsetDeleteResponseTopic, ErrorCode> {
    let found = topic.partitions.iter().map(|asked| {
        let index = asked.partition_index;
        (index, client.server.partition(&topic.name, index).map(|it| it.at().clone()))
    });
    let found: Vec<(i32, Result<TopicPartition, _>)> = found.collect();
    let known = found.iter().filter_map(|(_, at)| at.as_ref().ok().cloned());
    let partitions: Vec<TopicPartition> = known.collect();
    let forgotten = match partitions.is_empty() {
        true => Ok(()),
        false => client.change(group, |answer| Command::Forget { partitions, answer }).await,
    };
    let error_code = match forgotten {
        Ok(()) => ErrorCode::NONE,
        Err(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC) => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
        Err(error) => return Err(error),
    };
    let partitions = found.into_iter().map(|(partition_index, at)| {
        let error_code = at.err().map_or(error_code, |error| code_of(&error));
        OffsetDeleteResponsePartition { partition_index, error_code }
    });
    Ok(OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: partitions.collect() })
}
