//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use std::collections::BTreeMap;

use ottla::wire::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource as Resource, AlterableConfig as Setting,
};
use ottla::wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResult,
};
use ottla::wire::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla::wire::{ApiKey, ErrorCode};

use super::super::client::RawClient;
use super::targets;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Kafka's `ConfigSource`.
const OF_TOPIC: i8 = 1;
const DEFAULT: i8 = 5;

/// Kafka's `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn describe(
    client: &mut RawClient,
    kind: i8,
    name: &str,
    keys: Option<&[&str]>,
    version: i16,
) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configuration_keys: keys.map(|keys| keys.iter().map(|it| (*it).to_owned()).collect()),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    client.ask(&request, version).await.results.remove(0)
}

type Settings = BTreeMap<String, DescribeConfigsResourceResult>;

async fn settings(client: &mut RawClient, topic: &str, version: i16) -> Settings {
    let told = describe(client, TOPIC, topic, None, version).await;
    assert_eq!((told.error_code, &*told.resource_name), (ErrorCode::NONE, topic));
    told.configs.into_iter().map(|it| (it.name.clone(), it)).collect()
}

/// Value and source of a topic's setting.
async fn value(client: &mut RawClient, topic: &str, name: &str) -> (String, i8) {
    let setting = settings(client, topic, 4).await.remove(name).unwrap();
    (setting.value.unwrap(), setting.config_source)
}

/// Until it is so: Kafka's controller decides, and its broker hears of it later.
async fn becomes(client: &mut RawClient, topic: &str, name: &str, wanted: (&str, i8)) {
    let wanted = (wanted.0.to_owned(), wanted.1);
    let mut seen = value(client, topic, name).await;
    for _ in 0..1000 {
        if seen == wanted {
            return;
        }
        seen = value(client, topic, name).await;
    }
    assert_eq!(seen, wanted, "{name}");
}

#[tokio::test]
async fn settings_of_topics_are_described() {
    for target in targets("configs").await {
        let own = [("retention.ms", "1000"), ("cleanup.policy", "compact,delete")];
        let mut client = target.with_topic(&own).await;
        for version in ApiKey::DescribeConfigs.versions() {
            let all = settings(&mut client, &target.topic, version).await;
            // Name, value, source, type.
            for (name, value, source, kind) in [
                ("cleanup.policy", "compact,delete", OF_TOPIC, 7),
                ("compression.type", "producer", DEFAULT, 2),
                ("delete.retention.ms", "86400000", DEFAULT, 5),
                ("flush.messages", "9223372036854775807", DEFAULT, 5),
                ("index.interval.bytes", "4096", DEFAULT, 3),
                ("max.message.bytes", "1048588", DEFAULT, 3),
                ("message.timestamp.after.max.ms", "3600000", DEFAULT, 5),
                ("message.timestamp.before.max.ms", "9223372036854775807", DEFAULT, 5),
                ("message.timestamp.type", "CreateTime", DEFAULT, 2),
                ("min.cleanable.dirty.ratio", "0.5", DEFAULT, 6),
                ("min.compaction.lag.ms", "0", DEFAULT, 5),
                ("retention.bytes", "-1", DEFAULT, 5),
                ("retention.ms", "1000", OF_TOPIC, 5),
                ("segment.bytes", "1073741824", DEFAULT, 3),
                ("segment.ms", "604800000", DEFAULT, 5),
            ] {
                let told = &all[name];
                let seen = (told.value.as_deref().unwrap(), told.config_source);
                assert_eq!(seen, (value, source), "{name}");
                let kind = if version >= 3 { kind } else { 0 };
                assert_eq!(told.config_type, kind, "{name}, version {version}");
                assert!(!told.read_only && !told.is_sensitive);
                let documented = told.documentation.as_deref().is_some_and(|it| !it.is_empty());
                assert_eq!(documented, version >= 3, "{name}: {:?}", told.documentation);
            }
            let synonyms = all["retention.bytes"].synonyms.iter();
            let synonyms: Vec<(&str, i8)> = synonyms.map(|it| (&*it.name, it.source)).collect();
            assert_eq!(synonyms, [("log.retention.bytes", DEFAULT)]);
            let first = &all["retention.ms"].synonyms[0];
            assert_eq!((&*first.name, first.source), ("retention.ms", OF_TOPIC));
        }
        let (topic, none) = (&*target.topic, format!("{}-none", target.topic));
        let some = ["retention.ms", "no.such.setting"];
        let told = describe(&mut client, TOPIC, topic, Some(&some), 4).await;
        assert_eq!((told.error_code, told.configs.len()), (ErrorCode::NONE, 1));
        for (kind, name, code) in [
            (TOPIC, &*none, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            (TOPIC, "a b", ErrorCode::INVALID_TOPIC_EXCEPTION),
            (BROKER, "7", ErrorCode::INVALID_REQUEST),
            (BROKER, "one", ErrorCode::INVALID_REQUEST),
            (99, "1", ErrorCode::INVALID_REQUEST),
        ] {
            let told = describe(&mut client, kind, name, None, 4).await;
            assert_eq!(told.error_code, code, "{kind} {name}: {:?}", told.error_message);
            assert!(told.configs.is_empty() && told.error_message.is_some());
        }
    }
}

#[tokio::test]
async fn settings_of_the_broker_are_described() {
    for target in targets("broker").await {
        let mut client = target.client().await;
        let told = describe(&mut client, BROKER, "1", None, 4).await;
        assert_eq!(told.error_code, ErrorCode::NONE);
        let all: BTreeMap<&str, &DescribeConfigsResourceResult> =
            told.configs.iter().map(|it| (&*it.name, it)).collect();
        for (name, value, kind) in [
            ("auto.create.topics.enable", "true", 1),
            ("group.initial.rebalance.delay.ms", "0", 3),
            ("log.retention.bytes", "-1", 5),
            ("message.max.bytes", "1048588", 3),
            ("node.id", "1", 3),
            ("num.partitions", "1", 3),
            ("offsets.retention.minutes", "10080", 3),
        ] {
            let told = all[name];
            assert_eq!((told.value.as_deref(), told.config_type), (Some(value), kind), "{name}");
        }
        assert!(all["node.id"].read_only);
        let some = describe(&mut client, BROKER, "1", Some(&["node.id"]), 4).await;
        assert_eq!(some.configs.len(), 1);
        // What is set for all brokers of a cluster.
        let told = describe(&mut client, BROKER, "", None, 4).await;
        assert_eq!(told.error_code, ErrorCode::NONE);
    }
}

fn altering(topic: &str, changes: &[(&str, i8, Option<&str>)]) -> IncrementalAlterConfigsRequest {
    let change = |(name, config_operation, value): &(&str, i8, Option<&str>)| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: *config_operation,
        value: value.map(str::to_owned),
    };
    let resource = AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.to_owned(),
        configs: changes.iter().map(change).collect(),
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

#[tokio::test]
async fn settings_are_altered_one_by_one() {
    for target in targets("alter").await {
        let mut client = target.with_topic(&[]).await;
        let topic = &*target.topic;
        for (name, operation, new, seen) in [
            ("retention.ms", SET, Some("1000"), ("1000", OF_TOPIC)),
            ("retention.ms", SET, Some(" 2000 "), ("2000", OF_TOPIC)),
            ("retention.ms", DELETE, None, ("604800000", DEFAULT)),
            ("cleanup.policy", APPEND, Some("compact"), ("delete,compact", OF_TOPIC)),
            ("cleanup.policy", SUBTRACT, Some("delete"), ("compact", OF_TOPIC)),
            ("cleanup.policy", SUBTRACT, Some("delete"), ("compact", OF_TOPIC)),
            ("cleanup.policy", DELETE, None, ("delete", DEFAULT)),
        ] {
            let request = altering(topic, &[(name, operation, new)]);
            let only_asked =
                IncrementalAlterConfigsRequest { validate_only: true, ..request.clone() };
            let before = value(&mut client, topic, name).await;
            let told = client.ask(&only_asked, 0).await.responses.remove(0);
            assert_eq!(told.error_code, ErrorCode::NONE, "{name} {operation} {new:?}");
            assert_eq!(value(&mut client, topic, name).await, before, "only asked");
            let told = client.ask(&request, 1).await.responses.remove(0);
            assert_eq!(told.error_code, ErrorCode::NONE, "{name} {operation} {new:?}");
            becomes(&mut client, topic, name, seen).await;
        }
        // All or nothing.
        let both = [("segment.ms", SET, Some("5000")), ("retention.ms", SET, Some("soon"))];
        let none = format!("{topic}-none");
        let twice = [("segment.ms", SET, Some("5000")), ("segment.ms", DELETE, None)];
        for (request, code) in [
            (altering(topic, &both), ErrorCode::INVALID_CONFIG),
            (altering(topic, &[("no.such", SET, Some("1"))]), ErrorCode::INVALID_CONFIG),
            (altering(topic, &[("retention.ms", APPEND, Some("1"))]), ErrorCode::INVALID_CONFIG),
            (altering(topic, &[("retention.ms", SET, None)]), ErrorCode::INVALID_REQUEST),
            (altering(topic, &twice), ErrorCode::INVALID_REQUEST),
            (
                altering(&none, &[("retention.ms", SET, Some("1"))]),
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ),
        ] {
            let told = client.ask(&request, 1).await.responses.remove(0);
            assert_eq!(told.error_code, code, "{request:?}: {:?}", told.error_message);
            assert!(told.error_message.is_some());
        }
        let (segment, source) = value(&mut client, topic, "segment.ms").await;
        assert_eq!((&*segment, source), ("604800000", DEFAULT));
        // A resource that is named twice is not altered at all.
        let mut request = altering(topic, &[("segment.ms", SET, Some("5000"))]);
        request.resources.push(request.resources[0].clone());
        let told = client.ask(&request, 1).await.responses;
        assert_eq!((told.len(), told[1].error_code), (2, ErrorCode::INVALID_REQUEST));
    }
}

/// What is not named goes back to its default.
#[tokio::test]
async fn settings_are_altered_all_at_once() {
    for target in targets("replace").await {
        let own = [("retention.ms", "1000"), ("segment.ms", "5000")];
        let mut client = target.with_topic(&own).await;
        let topic = &*target.topic;
        let ask = |name: &str, value: Option<&str>| AlterConfigsRequest {
            resources: vec![Resource {
                resource_type: TOPIC,
                resource_name: topic.to_owned(),
                configs: vec![Setting { name: name.to_owned(), value: value.map(str::to_owned) }],
            }],
            validate_only: false,
        };
        for (name, value, code) in [
            ("retention.ms", Some("soon"), ErrorCode::INVALID_CONFIG),
            ("no.such", Some("1"), ErrorCode::INVALID_CONFIG),
            ("retention.ms", None, ErrorCode::INVALID_REQUEST),
        ] {
            let told = client.ask(&ask(name, value), 2).await.responses.remove(0);
            assert_eq!(told.error_code, code, "{name}: {:?}", told.error_message);
        }
        for version in ApiKey::AlterConfigs.versions() {
            let wanted = format!("{}", 100_000 + i64::from(version));
            let request = ask("segment.ms", Some(&wanted));
            let told = client.ask(&request, version).await.responses.remove(0);
            assert_eq!(told.error_code, ErrorCode::NONE, "{:?}", told.error_message);
            becomes(&mut client, topic, "segment.ms", (&wanted, OF_TOPIC)).await;
            becomes(&mut client, topic, "retention.ms", ("604800000", DEFAULT)).await;
        }
    }
}
