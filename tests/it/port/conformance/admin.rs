//! DeleteRecords, CreatePartitions, DescribeCluster, DescribeLogDirs.

use ottla::wire::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsTopic,
};
use ottla::wire::describe_cluster::DescribeClusterRequest;
use ottla::wire::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};
use ottla::wire::list_offsets::EARLIEST;
use ottla::wire::{ApiKey, ErrorCode};

use super::super::client::{RawClient, batch};
use super::super::create;
use super::{fetch, fetched, metadata, offset_at, produced, records, targets};

async fn deleted(
    client: &mut RawClient,
    topic: &str,
    partition_index: i32,
    offset: i64,
    version: i16,
) -> DeleteRecordsPartitionResult {
    let partitions = vec![DeleteRecordsPartition { partition_index, offset }];
    let topics = vec![DeleteRecordsTopic { name: topic.to_owned(), partitions }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 10_000 };
    client.ask(&request, version).await.topics.remove(0).partitions.remove(0)
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset() {
    for target in targets("trim").await {
        let mut client = target.with_topic(&[]).await;
        let topic = &*target.topic;
        produced(&mut client, topic, batch(&["a", "b", "c"])).await;
        produced(&mut client, topic, batch(&["d", "e"])).await;
        let low = |it: DeleteRecordsPartitionResult| (it.error_code, it.low_watermark);
        for (version, offset, start) in [(0, 2, 2), (1, 1, 2), (2, 0, 2), (2, 3, 3)] {
            let answer = deleted(&mut client, topic, 0, offset, version).await;
            assert_eq!(low(answer), (ErrorCode::NONE, start), "version {version}");
            assert_eq!(offset_at(&mut client, topic, EARLIEST).await.offset, start);
        }
        let out_of_range = ErrorCode::OFFSET_OUT_OF_RANGE;
        let below = fetched(&mut client, &fetch(topic, 0, 2)).await;
        assert_eq!(below.error_code, out_of_range);
        // Within a batch it begins there, too: clients pass what is before.
        let rest = fetched(&mut client, &fetch(topic, 0, 3)).await;
        assert_eq!((records(&rest).len(), rest.log_start_offset), (2, 3));

        for (partition, offset, code) in [
            (0, 6, out_of_range),
            (0, -2, out_of_range),
            (1, 0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ] {
            let answer = deleted(&mut client, topic, partition, offset, 2).await;
            assert_eq!(low(answer), (code, -1), "{partition} {offset}");
        }
        let answer = deleted(&mut client, &format!("{topic}-none"), 0, 0, 2).await;
        assert_eq!(low(answer), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1));
        let answer = deleted(&mut client, topic, 0, -1, 2).await;
        assert_eq!(low(answer), (ErrorCode::NONE, 5), "all there are");
    }
}

#[tokio::test]
async fn records_of_compacted_topics_stay() {
    for target in targets("stay").await {
        let mut client = target.with_topic(&[("cleanup.policy", "compact")]).await;
        let answer = deleted(&mut client, &target.topic, 0, 0, 2).await;
        assert_eq!(answer.error_code, ErrorCode::POLICY_VIOLATION);
        let both = format!("{}-both", target.topic);
        create(target.address, &both, 1, &[("cleanup.policy", "compact,delete")]).await;
        drop(target.with_partitions(&both).await);
        assert_eq!(deleted(&mut client, &both, 0, 0, 2).await.error_code, ErrorCode::NONE);
    }
}

#[tokio::test]
async fn topics_get_more_partitions() {
    for target in targets("grow").await {
        let mut client = target.with_topic(&[]).await;
        let topic = |name: &str, count, assigned: Option<&[i32]>| CreatePartitionsTopic {
            name: name.to_owned(),
            count,
            assignments: assigned.map(|all| {
                let one = |&broker: &i32| CreatePartitionsAssignment { broker_ids: vec![broker] };
                all.iter().map(one).collect()
            }),
        };
        let own = &*target.topic;
        let none = format!("{own}-none");
        let ask = |topics: Vec<CreatePartitionsTopic>, validate_only| CreatePartitionsRequest {
            topics,
            timeout_ms: 10_000,
            validate_only,
        };
        for (topics, code) in [
            (vec![topic(own, 1, None)], ErrorCode::INVALID_PARTITIONS),
            (vec![topic(own, 0, None)], ErrorCode::INVALID_PARTITIONS),
            (vec![topic(own, -1, None)], ErrorCode::INVALID_PARTITIONS),
            (vec![topic(&none, 2, None)], ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            (vec![topic("a b", 2, None)], ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            (vec![topic(own, 2, None), topic(own, 3, None)], ErrorCode::INVALID_REQUEST),
            (vec![topic(own, 3, Some(&[1]))], ErrorCode::INVALID_REPLICA_ASSIGNMENT),
            (vec![topic(own, 2, Some(&[7]))], ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        ] {
            for version in ApiKey::CreatePartitions.versions() {
                let results = client.ask(&ask(topics.clone(), false), version).await.results;
                assert_eq!(results.len(), 1);
                assert_eq!(results[0].error_code, code, "{:?}", results[0]);
            }
        }
        let count = async |client: &mut RawClient| {
            let described = client.ask(&metadata(Some(&[own]), false), 12).await;
            described.topics[0].partitions.len()
        };
        let asked = client.ask(&ask(vec![topic(own, 9, None)], true), 3).await;
        assert_eq!(asked.results[0].error_code, ErrorCode::NONE);
        assert_eq!(count(&mut client).await, 1, "it was only asked");
        for (version, total) in (2..).enumerate().take(4) {
            let assigned = (total == 4).then_some(&[1][..]);
            let grown = topic(own, total, assigned);
            let answer = client.ask(&ask(vec![grown], false), version as i16).await;
            assert_eq!(answer.results[0].error_code, ErrorCode::NONE, "{:?}", answer.results);
            while count(&mut client).await != total as usize {}
        }
    }
}

#[tokio::test]
async fn the_cluster_is_this_broker() {
    for target in targets("cluster").await {
        let mut client = target.client().await;
        let named = client.ask(&metadata(Some(&[]), false), 12).await;
        for version in ApiKey::DescribeCluster.versions() {
            let request = DescribeClusterRequest {
                include_cluster_authorized_operations: true,
                ..DescribeClusterRequest::default()
            };
            let told = client.ask(&request, version).await;
            assert_eq!((told.error_code, told.controller_id), (ErrorCode::NONE, 1));
            assert_eq!(Some(&told.cluster_id), named.cluster_id.as_ref());
            let [broker] = &told.brokers[..] else { panic!("{told:?}") };
            let address = (&*broker.host, broker.port);
            assert_eq!(address, ("127.0.0.1", i32::from(target.address.port())));
            assert_eq!((broker.broker_id, broker.rack.as_ref()), (1, None));
            assert_eq!(told.cluster_authorized_operations, 0b1_1111_1010_0000);
        }
        let request = DescribeClusterRequest::default();
        let told = client.ask(&request, 1).await;
        assert_eq!(told.cluster_authorized_operations, i32::MIN, "nobody has asked");
        for (endpoint_type, code) in [
            (2, ErrorCode::MISMATCHED_ENDPOINT_TYPE),
            (3, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
            (0, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE),
        ] {
            let request = DescribeClusterRequest { endpoint_type, ..request.clone() };
            assert_eq!(client.ask(&request, 1).await.error_code, code, "{endpoint_type}");
        }
    }
}

#[tokio::test]
async fn log_dirs_say_what_partitions_take() {
    for target in targets("dirs").await {
        let mut client = target.with_topic(&[]).await;
        let topic = &*target.topic;
        let sent = batch(&["a value"]);
        produced(&mut client, topic, sent.clone()).await;
        let asked = |name: &str, partitions: &[i32]| DescribableLogDirTopic {
            topic: name.to_owned(),
            partitions: partitions.to_vec(),
        };
        for version in ApiKey::DescribeLogDirs.versions() {
            for topics in [None, Some(vec![asked(topic, &[0, 7]), asked("none", &[0])])] {
                let answer = client.ask(&DescribeLogDirsRequest { topics }, version).await;
                assert_eq!(answer.error_code, ErrorCode::NONE);
                let [dir] = &answer.results[..] else { panic!("{answer:?}") };
                assert_eq!(dir.error_code, ErrorCode::NONE);
                let found = dir.topics.iter().find(|it| it.name == topic).unwrap();
                let [only] = &found.partitions[..] else { panic!("{found:?}") };
                assert_eq!(only.partition_size, sent.len() as i64, "version {version}");
                assert_eq!((only.partition_index, only.offset_lag), (0, 0));
                assert!(!only.is_future_key);
                assert!(!dir.topics.iter().any(|it| it.name == "none"));
            }
            let none = DescribeLogDirsRequest { topics: Some(vec![asked(topic, &[9])]) };
            let answer = client.ask(&none, version).await;
            assert!(!answer.results[0].topics.iter().any(|it| !it.partitions.is_empty()));
        }
    }
}
