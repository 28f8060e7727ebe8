//! What an administrator asks of a broker over the network, against what the broker itself says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::{
    Admin, Broker, CleanupPolicy, Client, ConfigEntry, ConfigSource, Consumer, Durability, Error,
    GroupError, GroupState, Listener, OffsetSpec, Record, TopicConfig,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::impatient;
use crate::support::{assert_error, at, send_all, take_values, within};

/// A broker in memory, and an administrator who reaches it over the network only.
struct Remote {
    broker: Broker,
    client: Client,
    admin: Admin,
    _listener: Listener,
}

async fn remote() -> Remote {
    remote_to(Broker::in_memory().await.unwrap()).await
}

async fn remote_to(broker: Broker) -> Remote {
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let client = Client::connect(&listener.local_addr().to_string()).await.unwrap();
    Remote { broker, admin: client.admin(), client, _listener: listener }
}

/// A member of group `g` in the broker's own process, which has its partitions of `t`.
async fn member(broker: &Broker, instance_id: Option<&str>) -> Consumer {
    let mut builder = broker.consumer().group("g");
    if let Some(id) = instance_id {
        builder = builder.group_instance_id(id);
    }
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    while consumer.assignment().is_empty() {
        consumer.try_recv().unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    consumer
}

#[tokio::test]
async fn topics_are_created_described_and_deleted() {
    within(async {
        let remote = remote().await;
        let Remote { broker, client, admin, .. } = &remote;
        assert!(admin.topics().await.unwrap().is_empty());
        let config = TopicConfig::new().partitions(3).retention(Some(Duration::from_secs(60)));
        let created = admin.create_topic("t", config).await.unwrap();
        let own = broker.describe_topic("t").unwrap();
        assert_eq!((&created.name, created.id), (&own.name, own.id));
        assert_eq!((created.durability, &created.config), (own.durability, &own.config));
        assert_eq!(created.config.get("retention.ms"), Some("60000"));
        assert_eq!(created.partitions.len(), 3);

        send_all(&broker.client(), "t", 0..5).await;
        broker.admin().delete_records(&at("t", 0), 2).await.unwrap();
        let told = admin.describe_topic("t").await.unwrap();
        let own = broker.describe_topic("t").unwrap();
        for (mut told, mut own) in told.partitions.into_iter().zip(own.partitions) {
            // That nobody tells.
            (told.segments, own.segments) = (0, 0);
            assert_eq!(told, own);
        }
        broker.create_topic("a", TopicConfig::new()).await.unwrap();
        assert_eq!(admin.topics().await.unwrap(), ["a", "t"]);

        assert_eq!(client.producer().build().partitions_for("t").await.unwrap(), 3);
        admin.delete_topic("t").await.unwrap();
        assert_eq!(admin.topics().await.unwrap(), ["a"]);
        assert_error!(admin.describe_topic("t").await, Error::UnknownTopic { .. }, "\"t\"");
        assert_error!(admin.delete_topic("t").await, Error::UnknownTopic { .. }, "\"t\"");
        // The client has forgotten it, too, and gets another one.
        assert_eq!(client.producer().build().partitions_for("t").await.unwrap(), 1);
        assert_ne!(broker.describe_topic("t").unwrap().id, created.id);
    })
    .await
}

#[tokio::test]
async fn what_is_wrong_with_a_new_topic_is_told() {
    within(async {
        let remote = remote().await;
        let Remote { broker, admin, .. } = &remote;
        admin.create_topic("a_b", TopicConfig::new()).await.unwrap();
        let again = admin.create_topic("a_b", TopicConfig::new().partitions(2)).await;
        assert_error!(again, Error::TopicAlreadyExists { existing: None, .. }, "\"a_b\"");
        let alike = admin.create_topic("a.b", TopicConfig::new()).await;
        assert_error!(
            alike,
            Error::TopicAlreadyExists { existing: Some(_), .. },
            "\"a.b\" exists already: \"a_b\""
        );
        for partitions in [-1, 0, 100_001] {
            let refused = admin.create_topic("t", TopicConfig::new().partitions(partitions)).await;
            assert_error!(
                refused,
                Error::InvalidPartitions { .. },
                format!("{partitions} partitions: it can have 1 to 100000")
            );
        }
        let small = admin.create_topic("t", TopicConfig::new().segment_bytes(1)).await;
        let error = assert_error!(small, Error::InvalidConfig { .. }, "1024 to 2147483647");
        let Error::InvalidConfig { name, reason } = error else { unreachable!() };
        assert_eq!(name, "segment.bytes");
        assert!(reason.starts_with("\"1\" is not allowed"), "{reason}");
        let power = TopicConfig::new().durability(Durability::Power);
        let refused = admin.create_topic("t", power).await;
        assert_error!(refused, Error::InvalidConfig { .. }, "durability");
        assert_error!(admin.create_topic("a b", TopicConfig::new()).await, Error::InvalidTopic(_));
        assert_eq!(broker.topics().unwrap(), ["a_b"]);
    })
    .await
}

#[tokio::test]
async fn durability_goes_over_the_network() {
    within(async {
        let dir = tempfile::TempDir::new().unwrap();
        let remote = remote_to(Broker::open(dir.path()).await.unwrap()).await;
        let Remote { broker, admin, .. } = &remote;
        for (name, config, durability) in [
            ("unset", TopicConfig::new(), Durability::Process),
            ("process", TopicConfig::new().durability(Durability::Process), Durability::Process),
            ("power", TopicConfig::new().durability(Durability::Power), Durability::Power),
        ] {
            let created = admin.create_topic(name, config).await.unwrap();
            let own = broker.describe_topic(name).unwrap();
            assert_eq!((created.durability, own.durability), (durability, durability), "{name}");
            assert_eq!(created.config, own.config, "{name}");
            let told = admin.describe_configs(name).await.unwrap();
            assert!(told.iter().all(|entry| entry.name != "flush.messages"), "{told:?}");
        }
    })
    .await
}

#[tokio::test]
async fn asking_creates_nothing() {
    within(async {
        let remote = remote().await;
        let Remote { broker, admin, .. } = &remote;
        let text = "\"t\"";
        assert_error!(admin.describe_topic("t").await, Error::UnknownTopic { .. }, text);
        assert_error!(admin.delete_topic("t").await, Error::UnknownTopic { .. }, text);
        assert_error!(admin.create_partitions("t", 2).await, Error::UnknownTopic { .. }, text);
        assert_error!(admin.describe_configs("t").await, Error::UnknownTopic { .. }, text);
        let altered = admin.alter_configs("t", [("retention.ms", Some("1"))]).await;
        assert_error!(altered, Error::UnknownTopic { .. }, text);
        let deleted = admin.delete_records(&at("t", 0), -1).await;
        assert_error!(deleted, Error::UnknownTopic { .. }, text);
        let altered = admin.alter_group_offsets("g", [(at("t", 0), 1)]).await;
        assert_error!(altered, Error::UnknownTopic { .. }, text);
        let reset = admin.reset_group_offsets("g", ["t"], OffsetSpec::Earliest).await;
        assert_error!(reset, Error::UnknownTopic { .. }, text);
        assert!(broker.topics().unwrap().is_empty());
        assert!(broker.admin().groups().await.unwrap().is_empty());
    })
    .await
}

#[tokio::test]
async fn partitions_are_added_and_known_at_once() {
    within(async {
        let remote = remote().await;
        let Remote { broker, client, admin, .. } = &remote;
        admin.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
        let producer = client.producer().build();
        assert_eq!(producer.partitions_for("t").await.unwrap(), 2);
        for total in [-1, 0, 1, 2, 100_001] {
            let refused = admin.create_partitions("t", total).await;
            let text = format!("{total} partitions: it can have 3 to 100000");
            assert_error!(refused, Error::InvalidPartitions { .. }, text);
        }
        admin.create_partitions("t", 5).await.unwrap();
        assert_eq!(producer.partitions_for("t").await.unwrap(), 5);
        assert_eq!(admin.describe_topic("t").await.unwrap().partitions.len(), 5);
        assert_eq!(broker.describe_topic("t").unwrap().partitions.len(), 5);
    })
    .await
}

fn entry<'a>(entries: &'a [ConfigEntry], name: &str) -> &'a ConfigEntry {
    entries.iter().find(|entry| entry.name == name).unwrap()
}

#[tokio::test]
async fn settings_are_described_and_altered() {
    within(async {
        let remote = remote().await;
        let Remote { broker, admin, .. } = &remote;
        let config = TopicConfig::new().retention(None).cleanup_policy(CleanupPolicy::Compact);
        admin.create_topic("t", config).await.unwrap();
        let same = async || {
            let told = admin.describe_configs("t").await.unwrap();
            assert_eq!(told, broker.admin().describe_configs("t").await.unwrap());
            told
        };
        let told = same().await;
        assert_eq!(entry(&told, "retention.ms").source, ConfigSource::Topic);
        assert_eq!(entry(&told, "segment.ms").source, ConfigSource::Default);

        let changes = [
            ("retention.ms", None),
            ("cleanup.policy", Some("delete")),
            ("segment.bytes", Some("1")),
            ("segment.bytes", Some("2048")),
        ];
        admin.alter_configs("t", changes).await.unwrap();
        let told = same().await;
        assert_eq!(entry(&told, "retention.ms").source, ConfigSource::Default);
        assert_eq!(entry(&told, "cleanup.policy").value, "delete");
        assert_eq!(entry(&told, "segment.bytes").value, "2048");

        let mixed = [("retention.ms", Some("1000")), ("segment.bytes", Some("few"))];
        let refused = admin.alter_configs("t", mixed).await;
        let error = assert_error!(refused, Error::InvalidConfig { .. }, "\"few\"", "1024 to");
        assert!(matches!(error, Error::InvalidConfig { name, .. } if name == "segment.bytes"));
        let unknown = admin.alter_configs("t", [("retention", Some("1"))]).await;
        assert_error!(unknown, Error::InvalidConfig { .. }, "retention.ms", "segment.bytes");
        let decided = admin.alter_configs("t", [("flush.messages", Some("1"))]).await;
        assert_error!(decided, Error::InvalidConfig { .. }, "flush.messages", "is created");
        assert_eq!(same().await, told);
    })
    .await
}

#[tokio::test]
async fn records_are_deleted() {
    within(async {
        let remote = remote().await;
        let Remote { broker, admin, .. } = &remote;
        admin.create_topic("t", TopicConfig::new()).await.unwrap();
        send_all(&broker.client(), "t", 0..10).await;
        let start = || broker.describe_topic("t").unwrap().partitions[0].log_start_offset;
        assert_eq!(admin.delete_records(&at("t", 0), 4).await.unwrap(), 4);
        assert_eq!(start(), 4);
        assert_eq!(admin.delete_records(&at("t", 0), 3).await.unwrap(), 4);
        for offset in [11, -2] {
            let begun = std::time::Instant::now();
            let refused = admin.delete_records(&at("t", 0), offset).await;
            let text = format!("offset {offset} of t-0");
            assert_error!(refused, Error::OffsetOutOfRange { .. }, text, "4 to 10");
            assert!(begun.elapsed() < Duration::from_secs(20), "it was tried again");
        }
        assert_eq!(admin.delete_records(&at("t", 0), -1).await.unwrap(), 10);
        assert_eq!(start(), 10);
        for partition in [1, -1] {
            let refused = admin.delete_records(&at("t", partition), 0).await;
            assert_error!(refused, Error::UnknownPartition { .. }, "0 to 0");
        }
        let compacted = TopicConfig::new().cleanup_policy(CleanupPolicy::Compact);
        admin.create_topic("c", compacted).await.unwrap();
        let refused = admin.delete_records(&at("c", 0), 0).await;
        assert_error!(refused, Error::InvalidState(_), "cleanup.policy", "c-0");
    })
    .await
}

#[tokio::test]
async fn members_are_called_as_their_client_unless_they_say_otherwise() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let client = impatient().client_id("billing");
        let client = client.connect(&listener.local_addr().to_string()).await.unwrap();
        client.producer().build().send(Record::to("t").value("0")).await.unwrap();
        for (group, own) in [("a", None), ("b", Some("audit"))] {
            let mut member = client.consumer().group(group);
            if let Some(own) = own {
                member = member.client_id(own);
            }
            let mut member = member.subscribe(["t"]).await.unwrap();
            assert_eq!(take_values(&mut member, 1).await, ["0"]);
            let told = broker.admin().describe_group(group).await.unwrap();
            assert_eq!(told.members[0].client_id, own.unwrap_or("billing"));
        }
    })
    .await
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted() {
    within(async {
        let remote = remote().await;
        let Remote { broker, admin, .. } = &remote;
        admin.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
        assert!(admin.groups().await.unwrap().is_empty());
        let _first = member(broker, Some("one")).await;
        admin.alter_group_offsets("f", [(at("t", 0), 7)]).await.unwrap();
        assert_eq!(admin.groups().await.unwrap(), ["f", "g"]);

        let mut own = broker.admin().describe_group("g").await.unwrap();
        // That nobody tells.
        own.generation = -1;
        assert_eq!(admin.describe_group("g").await.unwrap(), own);
        assert_eq!(own.members[0].assignment, [at("t", 0), at("t", 1)]);
        let simple = admin.describe_group("f").await.unwrap();
        assert_eq!((simple.state, simple.members.len()), (GroupState::Empty, 0));
        assert_eq!((simple.protocol_type, simple.strategy), (None, None));

        let used = admin.delete_group("g").await;
        assert_error!(used, Error::Group { source: GroupError::NonEmptyGroup { members: 1 }, .. });
        let unknown = admin.remove_member("g", "two").await;
        assert_error!(
            unknown,
            Error::Group { source: GroupError::UnknownMember { .. }, .. },
            "two"
        );
        admin.remove_member("g", "one").await.unwrap();
        let left = broker.admin().describe_group("g").await.unwrap();
        assert!(left.members.is_empty(), "{left:?}");
        admin.delete_group("g").await.unwrap();
        assert_eq!(broker.admin().groups().await.unwrap(), ["f"]);

        for name in ["g", ""] {
            for missing in [
                admin.describe_group(name).await.map(drop),
                admin.remove_member(name, "one").await,
                admin.delete_group(name).await,
                admin.group_offsets(name).await.map(drop),
                admin.delete_group_offsets(name, &[at("t", 0)]).await,
            ] {
                let text = format!("{name:?}");
                let is_missing = GroupError::GroupIdNotFound;
                let error = assert_error!(missing, Error::Group { .. }, text);
                assert!(matches!(error, Error::Group { source, .. } if source == is_missing));
            }
        }
    })
    .await
}

#[tokio::test]
async fn offsets_of_groups_are_altered_and_deleted() {
    within(async {
        let remote = remote().await;
        let Remote { broker, admin, .. } = &remote;
        for topic in ["t", "u"] {
            admin.create_topic(topic, TopicConfig::new().partitions(2)).await.unwrap();
            send_all(&broker.client(), topic, 0..10).await;
        }
        let offsets = [(at("t", 0), 3), (at("t", 1), 99), (at("u", 0), 1), (at("t", 0), 4)];
        admin.alter_group_offsets("g", offsets).await.unwrap();
        let offsets = async || {
            let told = admin.group_offsets("g").await.unwrap();
            let own = broker.admin().group_offsets("g").await.unwrap();
            let short = |it: BTreeMap<_, ottla::CommittedOffset>| {
                it.into_iter().map(|(at, it)| (at, it.offset)).collect::<Vec<_>>()
            };
            let told = short(told);
            assert_eq!(told, short(own));
            told
        };
        assert_eq!(offsets().await, [(at("t", 0), 4), (at("t", 1), 99), (at("u", 0), 1)]);
        let lag = admin.group_lag("g").await.unwrap();
        assert_eq!(lag.into_values().collect::<Vec<_>>(), [6, 0, 9]);
        for (partition, offset, text) in [(0, -1, "offset -1 for t-0"), (2, 0, "0 to 1")] {
            let mixed = [(at("t", 1), 5), (at("t", partition), offset)];
            let refused = admin.alter_group_offsets("g", mixed).await;
            assert_error!(refused, Error::InvalidState(_) | Error::UnknownPartition { .. }, text);
        }
        let nobody = admin.alter_group_offsets("", [(at("t", 0), 0)]).await;
        assert_error!(nobody, Error::Group { source: GroupError::InvalidGroupId, .. });

        let mut consumer = member(broker, None).await;
        assert_eq!(take_values(&mut consumer, 1).await, ["4"]);
        let used = admin.alter_group_offsets("g", [(at("t", 0), 0)]).await;
        assert_error!(used, Error::Group { source: GroupError::NonEmptyGroup { members: 1 }, .. });
        let used = admin.delete_group_offsets("g", &[at("t", 1)]).await;
        assert_error!(
            used,
            Error::Group { source: GroupError::GroupSubscribedToTopic { .. }, .. },
            "\"t\""
        );
        admin.delete_group_offsets("g", &[at("u", 0), at("gone", 0)]).await.unwrap();
        consumer.close().await.unwrap();
        assert!(!offsets().await.iter().any(|(at, _)| at.topic == "u"));
        admin.delete_group_offsets("g", &[at("t", 1)]).await.unwrap();
        assert_eq!(offsets().await.len(), 1);
        // What was committed for a topic goes with it; the group stays, as it had members.
        admin.delete_topic("t").await.unwrap();
        assert!(offsets().await.is_empty());
    })
    .await
}

#[tokio::test]
async fn groups_are_reset_over_the_network() {
    within(async {
        let remote = remote().await;
        let Remote { broker, admin, .. } = &remote;
        admin.create_topic("t", TopicConfig::new()).await.unwrap();
        send_all(&broker.client(), "t", 0..10).await;
        let reset = admin.reset_group_offsets("g", ["t"], OffsetSpec::Latest).await.unwrap();
        assert_eq!(reset, BTreeMap::from([(at("t", 0), 10)]));
        broker.producer().build().send(Record::to("t").value("new")).await.unwrap();
        assert_eq!(take_values(&mut member(broker, None).await, 1).await, ["new"]);
    })
    .await
}

/// Between client and broker: loses the first answer to each of some requests, with its
/// connection.
struct Lossy {
    to_lose: Mutex<Vec<i16>>,
}

const DELETE_GROUPS: i16 = 42;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;
const CREATE_PARTITIONS: i16 = 37;
const LEAVE_GROUP: i16 = 13;

impl Lossy {
    async fn serve(self: Arc<Self>, listener: TcpListener, to: std::net::SocketAddr) {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_broker, to_broker) = TcpStream::connect(to).await.unwrap().into_split();
            let this = self.clone();
            tokio::spawn(async move {
                let asked = Mutex::default();
                tokio::select! {
                    _ = requests(from_client, to_broker, &asked) => {}
                    _ = this.answers(from_broker, to_client, &asked) => {}
                }
            });
        }
    }

    async fn answers(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        asked: &Mutex<VecDeque<i16>>,
    ) -> std::io::Result<()> {
        loop {
            let frame = frame(&mut from).await?;
            let key = asked.lock().unwrap().pop_front().unwrap();
            let lost = {
                let mut to_lose = self.to_lose.lock().unwrap();
                let place = to_lose.iter().position(|it| *it == key);
                place.map(|place| to_lose.remove(place))
            };
            if lost.is_some() {
                return Ok(());
            }
            to.write_all(&frame).await?;
        }
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: &Mutex<VecDeque<i16>>,
) -> std::io::Result<()> {
    loop {
        let frame = frame(&mut from).await?;
        asked.lock().unwrap().push_back(i16::from_be_bytes([frame[4], frame[5]]));
        to.write_all(&frame).await?;
    }
}

/// With its length.
async fn frame(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let len = from.read_u32().await?;
    let mut frame = len.to_be_bytes().to_vec();
    frame.resize(4 + len as usize, 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

#[tokio::test]
async fn changes_whose_answers_are_lost_are_made_once() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = between.local_addr().unwrap();
        let listener = broker.listener().advertise("127.0.0.1", address.port());
        let listener = listener.bind("127.0.0.1:0").await.unwrap();
        let lossy = Arc::new(Lossy { to_lose: Mutex::default() });
        let serving = tokio::spawn(lossy.clone().serve(between, listener.local_addr()));
        let client = Client::connect(&address.to_string()).await.unwrap();
        let admin = client.admin();
        let lose = |key| lossy.to_lose.lock().unwrap().push(key);

        lose(CREATE_TOPICS);
        let created = admin.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
        assert_eq!(created.id, broker.describe_topic("t").unwrap().id);
        // One of other partitions is not what was asked for.
        lose(CREATE_TOPICS);
        let other = admin.create_topic("t", TopicConfig::new().partitions(3)).await;
        assert_error!(other, Error::TopicAlreadyExists { existing: None, .. });
        lose(CREATE_PARTITIONS);
        admin.create_partitions("t", 4).await.unwrap();
        assert_eq!(broker.describe_topic("t").unwrap().partitions.len(), 4);
        lose(LEAVE_GROUP);
        let _member = member(&broker, Some("one")).await;
        admin.remove_member("g", "one").await.unwrap();
        lose(DELETE_GROUPS);
        admin.alter_group_offsets("f", [(at("t", 0), 1)]).await.unwrap();
        admin.delete_group("f").await.unwrap();
        assert!(!broker.admin().groups().await.unwrap().contains(&"f".to_owned()));
        lose(DELETE_TOPICS);
        admin.delete_topic("t").await.unwrap();
        assert!(broker.topics().unwrap().is_empty());
        assert!(lossy.to_lose.lock().unwrap().is_empty(), "some were not lost");
        serving.abort();
    })
    .await
}
