//! What administrators do to topics, records and offsets, while others go on.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::{
    CleanupPolicy, ConfigEntry, ConfigSource, Error, GroupError, OffsetSpec, OutOfRange, Record,
    Timestamp, TopicConfig,
};

use crate::support::{
    Host, assert_error, at, is_at_end, on_all_backends, read_values, send_all, take, take_values,
    texts,
};

on_all_backends! {
    settings_say_who_set_them,
    records_are_deleted_up_to_an_offset,
    offsets_are_listed_by_time,
    offsets_of_groups_are_set_and_reset,
    a_deleted_topic_takes_its_commits_along,
    ; ottla "Kafka has more settings":
    settings_say_what_they_take,
    ; ottla "Kafka has no cap for a partition":
    a_partition_never_takes_more_than_its_cap,
    ; ottla "Kafka's time is the machine's":
    an_idle_segment_is_ended_in_time,
    ; ottla "statistics are those of a broker of this process":
    statistics_count_what_was_done,
    ; local "a topic that grows is noticed after a while":
    partitions_are_added_under_producers_and_consumers,
    ; local "settings of topics are the broker's to check":
    settings_are_altered_for_what_comes,
}

fn entry(entries: &[ConfigEntry], name: &str) -> ConfigEntry {
    entries.iter().find(|entry| entry.name == name).expect("a setting of Kafka's").clone()
}

async fn settings_say_who_set_them(host: Host) {
    let config = TopicConfig::new().retention(None);
    host.create_topic("t", config).await.unwrap();
    let entries = host.admin().describe_configs("t").await.unwrap();
    assert!(entries.is_sorted_by(|a, b| a.name < b.name) && entries.len() >= 12, "{entries:?}");
    let set = entry(&entries, "retention.ms");
    assert_eq!((set.value.as_str(), set.default.as_str()), ("-1", "604800000"));
    assert_eq!(set.source, ConfigSource::Topic);
    let unset = entry(&entries, "max.message.bytes");
    assert_eq!((unset.value.as_str(), unset.default.as_str()), ("1048588", "1048588"));
    assert_eq!(unset.source, ConfigSource::Default);
    let gone = host.admin().describe_configs("u").await;
    assert_error!(gone, Error::UnknownTopic { .. }, "\"u\"");
}

async fn settings_say_what_they_take(host: Host) {
    host.create_topic("t", TopicConfig::new()).await.unwrap();
    // What is told may be set.
    for ConfigEntry { name, value, default, allowed, .. } in
        host.admin().describe_configs("t").await.unwrap()
    {
        TopicConfig::new().set(&name, &value).unwrap().set(&name, default).unwrap();
        let wrong = TopicConfig::new().set(&name, "many").unwrap_err().to_string();
        assert!(wrong.contains(&*name) && wrong.contains(allowed) && wrong.contains("many"));
    }
}

async fn settings_are_altered_for_what_comes(host: Host) {
    let admin = host.admin();
    let day = Duration::from_secs(24 * 3600);
    host.create_topic("t", TopicConfig::new().segment_bytes(1024)).await.unwrap();
    let producer = host.client.producer().build();
    producer.send(Record::to("t").value(vec![0; 600])).await.unwrap();
    let set = |name: &str, value: &str| [(name.to_owned(), Some(value.to_owned()))];
    admin.alter_configs("t", set("max.message.bytes", "500")).await.unwrap();
    let large = producer.send(Record::to("t").value(vec![0; 600])).await;
    assert_error!(large, Error::MessageTooLarge { .. }, "max.message.bytes=500");
    producer.send(Record::to("t").value(vec![0; 300])).await.unwrap();

    // All or nothing, and only what is allowed.
    let mixed = [("retention.ms", Some("1000")), ("segment.bytes", Some("few"))];
    assert_error!(admin.alter_configs("t", mixed).await, Error::InvalidConfig { .. }, "\"few\"");
    let unknown = admin.alter_configs("t", set("retention", "1")).await;
    assert_error!(unknown, Error::InvalidConfig { .. }, "retention.ms", "segment.bytes");
    let unknown = admin.alter_configs("u", set("retention.ms", "1")).await;
    assert_error!(unknown, Error::UnknownTopic { .. }, "\"u\"");
    assert_eq!(host.describe_topic("t").await.unwrap().config.get("retention.ms"), None);

    admin.alter_configs("t", set("retention.ms", "86400000")).await.unwrap();
    host.clock.advance(day + Duration::from_millis(1));
    while host.describe_topic("t").await.unwrap().partitions[0].log_start_offset < 2 {
        tokio::task::yield_now().await;
    }
    // Back to what a new topic would get.
    let back = [("max.message.bytes", None::<&str>), ("cleanup.policy", Some("compact"))];
    admin.alter_configs("t", back).await.unwrap();
    let entries = admin.describe_configs("t").await.unwrap();
    assert_eq!(entry(&entries, "max.message.bytes").source, ConfigSource::Default);
    assert_eq!(entry(&entries, "cleanup.policy").value, "compact");
    let keyless = producer.send(Record::to("t").value(vec![0; 600])).await;
    assert_error!(keyless, Error::MissingKey { .. }, "t-0");
    producer.send(Record::to("t").key("k").value(vec![0; 600])).await.unwrap();
}

async fn partitions_are_added_under_producers_and_consumers(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    let mut reader = host.client.consumer().subscribe(["t"]).await.unwrap();
    let member = || host.client.consumer().group("g").subscribe(["t"]);
    let (mut a, mut b) = (member().await.unwrap(), member().await.unwrap());
    let producer = host.client.producer().build();
    let far = producer.send(Record::to("t").partition(4).value("0")).await;
    assert_error!(far, Error::UnknownPartition { .. }, "0 to 1");

    for total in [-1, 0, 1, 2, 100_001] {
        let refused = host.admin().create_partitions("t", total).await;
        assert_error!(refused, Error::InvalidPartitions { .. }, "3 to 100000", total.to_string());
    }
    host.admin().create_partitions("t", 5).await.unwrap();
    assert_eq!(host.describe_topic("t").await.unwrap().partitions.len(), 5);
    assert_eq!(producer.partitions_for("t").await.unwrap(), 5);
    for partition in 0..5 {
        let record = Record::to("t").partition(partition).value(partition.to_string());
        assert_eq!(producer.send(record).await.unwrap().offset, 0);
    }
    let mut values = take_values(&mut reader, 5).await;
    values.sort_unstable();
    assert_eq!(values, texts(0..5));
    // The members share them, too: everything comes once.
    let mut shared = Vec::new();
    while shared.len() < 5 || a.assignment().len() + b.assignment().len() < 5 {
        for consumer in [&mut a, &mut b] {
            shared.extend(consumer.try_recv().unwrap().map(|it| it.partition));
        }
        tokio::task::yield_now().await;
    }
    shared.sort_unstable();
    assert_eq!(shared, [0, 1, 2, 3, 4]);
    let mut told = host.admin().describe_group("g").await.unwrap().members;
    let mut assigned: Vec<_> = told.iter_mut().flat_map(|it| it.assignment.drain(..)).collect();
    assigned.sort();
    assert_eq!(assigned, (0..5).map(|partition| at("t", partition)).collect::<Vec<_>>());
}

async fn records_are_deleted_up_to_an_offset(host: Host) {
    let admin = host.admin();
    host.create_topic("t", host.small_segments()).await.unwrap();
    let producer = host.client.producer().build();
    for n in 0..20 {
        // Batches of five.
        producer.enqueue(Record::to("t").value(n.to_string())).await.unwrap();
        if n % 5 == 4 {
            producer.flush().await;
        }
    }
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    let builder = host.client.consumer().out_of_range(OutOfRange::Earliest);
    let mut lenient = builder.assign([at("t", 0)]).await.unwrap();
    assert_eq!(take_values(&mut consumer, 1).await, ["0"]);
    assert_eq!(take_values(&mut lenient, 1).await, ["0"]);
    assert_eq!(admin.delete_records(&at("t", 0), 7).await.unwrap(), 7);
    assert_eq!(read_values(&host.client, "t").await, texts(7..20));
    // What was deleted is not there again, whoever asks.
    assert_eq!(admin.delete_records(&at("t", 0), 3).await.unwrap(), 7);
    consumer.seek(&at("t", 0), 2).unwrap();
    assert_error!(consumer.recv().await, Error::OffsetOutOfRange { .. }, "offset 2", "7 to 20");
    assert_eq!(take_values(&mut consumer, 2).await, ["7", "8"]);
    lenient.seek(&at("t", 0), 0).unwrap();
    assert_eq!(take_values(&mut lenient, 1).await, ["7"]);

    let beyond = admin.delete_records(&at("t", 0), 21).await;
    assert_error!(beyond, Error::OffsetOutOfRange { .. }, "offset 21", "t-0");
    let negative = admin.delete_records(&at("t", 0), -2).await;
    assert_error!(negative, Error::OffsetOutOfRange { .. }, "offset -2");
    assert_eq!(admin.delete_records(&at("t", 0), -1).await.unwrap(), 20);
    assert!(read_values(&host.client, "t").await.is_empty());
    send_all(&host.client, "t", [20]).await;
    assert_eq!(read_values(&host.client, "t").await, ["20"]);

    let unknown = admin.delete_records(&at("t", 1), 0).await;
    assert_error!(unknown, Error::UnknownPartition { .. }, "0 to 0");
    let compacted = TopicConfig::new().cleanup_policy(CleanupPolicy::Compact);
    host.create_topic("c", compacted).await.unwrap();
    let refused = admin.delete_records(&at("c", 0), 0).await;
    assert_error!(refused, Error::InvalidState(_), "cleanup.policy", "c-0");
}

async fn offsets_are_listed_by_time(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    let producer = host.client.producer().build();
    for n in 0..10 {
        let time = Timestamp::from_millis(1_000 + n * 10);
        producer.send(Record::to("t").partition(0).timestamp(time).value("v")).await.unwrap();
    }
    let (full, empty) = (at("t", 0), at("t", 1));
    let listed = async |spec| {
        let offsets =
            host.admin().list_offsets(&[full.clone(), empty.clone()], spec).await.unwrap();
        (offsets[&full], offsets[&empty])
    };
    assert_eq!(listed(OffsetSpec::Earliest).await, (Some(0), Some(0)));
    assert_eq!(listed(OffsetSpec::Latest).await, (Some(10), Some(0)));
    let time = |millis| OffsetSpec::Timestamp(Timestamp::from_millis(millis));
    assert_eq!(listed(time(1_041)).await, (Some(5), None));
    assert_eq!(listed(time(2_000)).await, (None, None));
    let unknown = host.admin().list_offsets(&[at("t", 2)], OffsetSpec::Latest).await;
    assert_error!(unknown, Error::UnknownPartition { .. }, "0 to 1");
}

async fn offsets_of_groups_are_set_and_reset(host: Host) {
    let admin = host.admin();
    host.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    let producer = host.client.producer().build();
    for n in 0..10 {
        let time = Timestamp::from_millis(1_000 + n * 10);
        let record = Record::to("t").partition((n % 2) as i32).timestamp(time);
        producer.send(record.value(n.to_string())).await.unwrap();
    }
    let time = OffsetSpec::Timestamp(Timestamp::from_millis(1_050));
    let reset = admin.reset_group_offsets("g", ["t"], time).await.unwrap();
    assert_eq!(reset, BTreeMap::from([(at("t", 0), 3), (at("t", 1), 2)]));
    let mut member = host.client.consumer().group("g").subscribe(["t"]).await.unwrap();
    let mut values = take_values(&mut member, 5).await;
    values.sort_unstable();
    assert_eq!(values, texts(5..10));
    assert!(is_at_end(&mut member).await);
    let used = admin.alter_group_offsets("g", [(at("t", 0), 0)]).await;
    assert_error!(used, Error::Group { source: GroupError::NonEmptyGroup { members: 1 }, .. });
    member.commit().await.unwrap();
    member.close().await.unwrap();

    // Any offset is taken that might be one.
    admin.alter_group_offsets("g", [(at("t", 0), 1), (at("t", 1), 99)]).await.unwrap();
    let offsets = admin.group_offsets("g").await.unwrap();
    assert_eq!((offsets[&at("t", 0)].offset, offsets[&at("t", 1)].offset), (1, 99));
    for (partition, offset, text) in [(0, -1, "offset -1"), (2, 0, "0 to 1")] {
        let refused = admin.alter_group_offsets("g", [(at("t", partition), offset)]).await;
        assert_error!(refused, Error::InvalidState(_) | Error::UnknownPartition { .. }, text);
    }
    let nobody = admin.alter_group_offsets("", [(at("t", 0), 0)]).await;
    assert_error!(nobody, Error::Group { source: GroupError::InvalidGroupId, .. });
    let missing = admin.group_offsets("h").await;
    assert_error!(missing, Error::Group { source: GroupError::GroupIdNotFound, .. }, "\"h\"");
    admin.delete_group_offsets("g", &[at("t", 1)]).await.unwrap();
    assert_eq!(admin.group_offsets("g").await.unwrap().len(), 1);
    admin.delete_group("g").await.unwrap();
    assert!(admin.groups().await.unwrap().is_empty());
}

async fn a_deleted_topic_takes_its_commits_along(host: Host) {
    let admin = host.admin();
    for topic in ["t", "u"] {
        send_all(&host.client, topic, 0..3).await;
    }
    admin.reset_group_offsets("g", ["t", "u"], OffsetSpec::Latest).await.unwrap();
    admin.reset_group_offsets("h", ["t"], OffsetSpec::Latest).await.unwrap();
    host.delete_topic("t").await.unwrap();
    let left = admin.group_offsets("g").await.unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), [&at("u", 0)]);
    let left = admin.group_offsets("h").await.unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
}

async fn a_partition_never_takes_more_than_its_cap(host: Host) {
    const CAP: u64 = 20_000;
    let config = TopicConfig::new().max_partition_bytes(Some(CAP));
    let refused = host.create_topic("t", config.clone()).await;
    let name = "ottla.partition.max.bytes";
    assert_error!(refused, Error::InvalidConfig { .. }, name, "max.message.bytes=1048588");
    let config = config.max_message_bytes(2_000);
    host.create_topic("t", config.clone()).await.unwrap();
    host.create_topic("c", config.cleanup_policy(CleanupPolicy::Compact)).await.unwrap();
    let producer = host.client.producer().build();
    let mut most = 0;
    for n in 0..200 {
        for topic in ["t", "c"] {
            let record = Record::to(topic).key(n.to_string()).value(vec![7; 1_000]);
            producer.send(record).await.unwrap();
            let now = host.describe_topic(topic).await.unwrap().partitions[0];
            assert!(now.size_bytes <= CAP, "{now:?}");
            most = most.max(now.size_bytes);
        }
    }
    assert!(most > CAP / 2, "{most}");
    let now = host.describe_topic("t").await.unwrap().partitions[0];
    assert!(now.log_end_offset == 200 && now.log_start_offset > 180, "{now:?}");
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    let first = take(&mut consumer, 1).await.remove(0);
    assert_eq!(first.key.unwrap(), first.offset.to_string());
}

async fn an_idle_segment_is_ended_in_time(host: Host) {
    let hour = Duration::from_secs(3600);
    let config = TopicConfig::new().set("segment.ms", hour.as_millis()).unwrap();
    host.create_topic("t", config).await.unwrap();
    send_all(&host.client, "t", 0..3).await;
    let segments = || host.broker().describe_topic("t").unwrap().partitions[0].segments;
    host.clock.advance(hour / 2);
    send_all(&host.client, "t", 3..4).await;
    assert_eq!(segments(), 1);
    while segments() < 2 {
        // A look that finds the one before still at work is left out.
        host.clock.advance(Duration::from_secs(300));
        tokio::task::yield_now().await;
    }
    assert_eq!(read_values(&host.client, "t").await, texts(0..4));
}

async fn statistics_count_what_was_done(host: Host) {
    let fresh = host.broker().stats().unwrap();
    assert_eq!((fresh.topics, fresh.records_appended, fresh.groups), (0, 0, None));
    host.clock.advance(Duration::from_secs(5));
    host.create_topic("t", TopicConfig::new().partitions(3).max_message_bytes(200)).await.unwrap();
    send_all(&host.client, "t", 0..7).await;
    let mut member = host.client.consumer().group("g").subscribe(["t"]).await.unwrap();
    take(&mut member, 7).await;
    let now = host.broker().stats().unwrap();
    assert_eq!((now.topics, now.partitions, now.segments), (1, 3, 1));
    assert_eq!((now.records_appended, now.batches_appended), (7, 7));
    assert_eq!((now.bytes_appended, now.bytes_read), (now.size_bytes, now.size_bytes));
    assert_eq!((now.groups, now.read_only_partitions), (Some(1), 0));
    assert_eq!(now.uptime, Duration::from_secs(5));
    assert!(now.memory_limit > now.memory_used);
    host.delete_topic("t").await.unwrap();
    let after = host.broker().stats().unwrap();
    assert_eq!((after.topics, after.size_bytes), (0, 0));
    assert_eq!((after.records_appended, after.bytes_read), (7, now.bytes_read));
    host.broker().shutdown().await.unwrap();
    assert_error!(host.broker().stats(), Error::Closed { .. });
}
