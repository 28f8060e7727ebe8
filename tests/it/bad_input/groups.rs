//! Groups that are too many, too large, or meant for nobody.

use std::collections::BTreeSet;

use ottla::{Broker, Error, GroupError, Record, TopicConfig, TopicPartition};

use crate::support::{assert_error, at, send_all, take_values, within};

#[tokio::test]
async fn limits_on_groups_members_and_topics_are_named() {
    within(async {
        let builder = Broker::builder().max_topics(2).max_groups(2).group_max_size(1);
        let broker = builder.in_memory().await.unwrap();
        for topic in ["a", "b"] {
            send_all(&broker.client(), topic, 0..3).await;
        }
        let third = broker.create_topic("c", TopicConfig::new()).await;
        assert_error!(third, Error::InvalidState(_), "2 topics", "max_topics");

        let mut first = broker.consumer().group("g").subscribe(["a"]).await.unwrap();
        take_values(&mut first, 1).await;
        let mut second = broker.consumer().group("g").subscribe(["a"]).await.unwrap();
        let refused = second.recv().await;
        let full = assert_error!(
            refused,
            Error::Group { source: GroupError::GroupMaxSizeReached { limit: 1 }, .. },
            "group.max.size",
            "\"g\""
        );
        // It stays out, and says so.
        assert_eq!(second.recv().await.unwrap_err().to_string(), full.to_string());
        drop(second);

        first.commit().await.unwrap();
        let admin = broker.admin();
        admin.alter_group_offsets("h", [(at("a", 0), 1)]).await.unwrap();
        let third = admin.alter_group_offsets("i", [(at("a", 0), 1)]).await;
        assert_error!(
            third,
            Error::Group { source: GroupError::TooManyGroups { limit: 2 }, .. },
            "max_groups",
            "\"i\""
        );
        let mut outside = broker.consumer().group("i").subscribe(["a"]).await.unwrap();
        assert_error!(outside.recv().await, Error::Group { .. }, "max_groups");
        // What it has committed may be asked for: nothing.
        let mut asking = broker.consumer().group("i").assign([at("a", 0)]).await.unwrap();
        assert!(asking.committed(&[at("a", 0)]).await.unwrap().is_empty());
        // A group that goes makes room.
        admin.delete_group("h").await.unwrap();
        assert_eq!(admin.groups().await.unwrap(), ["g"]);
    })
    .await;
}

#[tokio::test]
async fn names_that_are_none() {
    let broker = Broker::in_memory().await.unwrap();
    let long = "g".repeat(32_768);
    let mut member = broker.consumer().group(&long).subscribe(["t"]).await.unwrap();
    assert_error!(member.recv().await, Error::Group { .. }, "32767 bytes at most");
    let refused = broker.admin().alter_group_offsets(&long, [(at("t", 0), 0)]).await;
    assert_error!(refused, Error::Group { .. }, "32767 bytes at most");
    let member = || broker.consumer().group("g");
    let refused = member().group_instance_id("a/b").subscribe(["t"]).await;
    assert_error!(refused, Error::InvalidConfig { .. }, "group.instance.id", "\"a/b\"");
    let refused = member().client_id("x".repeat(250)).subscribe(["t"]).await;
    assert_error!(refused, Error::InvalidConfig { .. }, "client.id", "249");
}

#[tokio::test]
async fn a_topic_of_the_groups_own_is_nobodys() {
    let dir = tempfile::TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    let admin = broker.admin();
    send_all(&broker.client(), "t", 0..1).await;
    admin.alter_group_offsets("g", [(at("t", 0), 1)]).await.unwrap();
    let own = TopicPartition::new("__consumer_offsets", 0).unwrap();
    let name = own.topic.as_str();
    let text = "the consumer groups' own";
    assert_error!(admin.delete_topic(name).await, Error::InvalidState(_), text);
    let written = broker.producer().build().send(Record::to(name).key("k").value("v")).await;
    assert_error!(written, Error::InvalidState(_), text);
    let altered = admin.alter_configs(name, [("cleanup.policy", Some("delete"))]).await;
    assert_error!(altered, Error::InvalidState(_), text);
    assert_error!(admin.create_partitions(name, 2).await, Error::InvalidState(_), text);
    assert_error!(admin.delete_records(&own, 0).await, Error::InvalidState(_), text);
    let topics: BTreeSet<_> = admin.topics().await.unwrap().into_iter().collect();
    assert_eq!(topics.len(), 1);
}
