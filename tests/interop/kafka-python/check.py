"""What kafka-python has to see, or fail: 2.0, which many programs still have, and 3.

    check.py version
    check.py work ADDRESS VECTORS         produces the matrix, and does the rest
    check.py read ADDRESS TOPIC...        each has the records of the matrix
    check.py group ADDRESS PREFIX         groups and administration; names begin with PREFIX
    check.py member ADDRESS GROUP TOPIC   consumes in a group until SIGTERM

Topics of the matrix begin with python2 or python3, or with what is in CLIENT.
"""

import os
import signal
import sys
import threading
import time
from functools import partial

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import KafkaError, for_code

MAJOR = int(kafka.__version__.split(".")[0])
CLIENT = os.environ.get("CLIENT", f"python{MAJOR}")
RECORDS = 200
TIMEOUT = 30  # seconds, for anything
# Of a call of `poll`. 3.0.12 forgets a join that outlives the call that began it, if that was for
# new metadata; these come a tenth of a second after a subscription.
POLL_MS = 1000
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
HEADERS = [("a", b"1"), ("a", b"2"), ("empty", b"")]
# Of the first record whose time is given; each is a second later than the one before.
FIRST_TIME = 1_700_000_000_000

ASSIGNORS = [RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor]
if MAJOR >= 3:
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

    ASSIGNORS.append(CooperativeStickyAssignor)

checks = 0


def same(what, seen, expected):
    global checks
    if seen != expected:
        sys.exit(f"{what} differs from what is expected\nseen: {seen}\nexpected: {expected}")
    checks += 1


def until(what, is_done):
    """Calls `is_done` until it says so."""
    deadline = time.monotonic() + TIMEOUT
    while not is_done():
        if time.monotonic() > deadline:
            sys.exit(f"not done in {TIMEOUT} s: {what}")
        time.sleep(0.01)


def refusal(call):
    """The name of the error that it raises."""
    try:
        result = call()
    except KafkaError as error:
        return type(error).__name__
    return f"no error, but {result}"


def record(number):
    value = f"value-{number:05} and on and on and on and on and on and on"
    return f"key-{number:05}".encode(), value.encode()


class Client:
    """All that talks to one server."""

    def __init__(self, address):
        self.address = address
        self.admin = KafkaAdminClient(bootstrap_servers=address)

    def consumer(self, **settings):
        return KafkaConsumer(**{
            "bootstrap_servers": self.address,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "fetch_max_wait_ms": 20,
        } | settings)

    def group_consumer(self, group, topic, *assignors):
        """A member that learns soon that its group is rebalanced: heartbeats tell it."""
        assignors = assignors or (RangePartitionAssignor,)
        consumer = self.consumer(group_id=group, session_timeout_ms=6000,
                                 heartbeat_interval_ms=200,
                                 partition_assignment_strategy=assignors)
        consumer.subscribe([topic])
        return consumer

    def produce(self, messages, **settings):
        """Messages are arguments of `KafkaProducer.send`. Where each is, in order."""
        producer = KafkaProducer(bootstrap_servers=self.address, **settings)
        sent = [producer.send(**message) for message in messages]
        producer.flush(TIMEOUT)
        places = [future.get(TIMEOUT) for future in sent]
        producer.close(TIMEOUT)
        return [(place.partition, place.offset) for place in places]

    def fill(self, topic, numbers, partitions=3):
        """The numbers as values, to the partitions in turn."""
        self.produce([
            {"topic": topic, "partition": at % partitions, "value": str(at).encode()}
            for at in numbers
        ])

    def create(self, topic, partitions, **configs):
        settings = {name.replace("_", "."): value for name, value in configs.items()}
        self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings)])

    def read(self, topics, count):
        """Partition 0 of these topics, `count` records in all, by topic."""
        consumer = self.consumer()
        consumer.assign([TopicPartition(topic, 0) for topic in topics])
        records = take(consumer, count)
        consumer.close()
        return {topic: [it for it in records if it.topic == topic] for topic in topics}


class Administration2:
    """What 3.0 calls otherwise, as 2.0 has it: mostly the protocol's own answers."""

    def __init__(self, client):
        self.admin = client.admin

    def configs(self, topic):
        """By name, the value and the number of its source."""
        [response] = self.admin.describe_configs([resource(topic)])
        [(error, _, _, _, configs)] = response.resources
        if error:
            raise for_code(error)
        return {name: (value, source) for name, value, _, source, *_ in configs}

    def alter(self, topic, configs):
        """The name of the error."""
        response = self.admin.alter_configs([resource(topic, configs)])
        [(error, *_)] = response.resources
        return for_code(error).__name__

    def groups(self):
        return self.admin.list_consumer_groups()

    def described(self, group):
        """State, type and assignor, and the partitions of each member."""
        [it] = self.admin.describe_consumer_groups([group])
        partitions = [member.member_assignment.partitions() for member in it.members]
        return it.state, it.protocol_type, it.protocol, partitions

    def offsets(self, group):
        """By partition, the offset and its metadata."""
        offsets = self.admin.list_consumer_group_offsets(group)
        return {place.partition: (it.offset, it.metadata) for place, it in offsets.items()}

    def delete_group(self, group):
        """The name of the error."""
        [(_, error)] = self.admin.delete_consumer_groups([group])
        return error.__name__


class Administration3:
    def __init__(self, client):
        self.admin = client.admin

    def configs(self, topic):
        told = self.admin.describe_configs([resource(topic)], config_filter="all")
        sources = {"DYNAMIC_TOPIC_CONFIG": 1, "DEFAULT_CONFIG": 5}
        return {name: (config["value"], sources[config["config_source"]])
                for name, config in told["topic"][topic].items()}

    def alter(self, topic, configs):
        # Without `raise_on_unknown` it is the server that refuses.
        told = self.admin.alter_configs([resource(topic, configs)], raise_on_unknown=False)
        result = told["topic"][topic]
        return "NoError" if result == "OK" else result.split()[2].rstrip(":")

    def groups(self):
        return [(it["group_id"], it["protocol_type"]) for it in self.admin.list_groups()]

    def described(self, group):
        it = self.admin.describe_groups([group])[group]
        partitions = [
            [TopicPartition(of["topic"], partition) for of in
             member["member_assignment"]["assigned_partitions"] for partition in of["partitions"]]
            for member in it["members"]
        ]
        return it["group_state"], it["protocol_type"], it["protocol_data"], partitions

    def offsets(self, group):
        offsets = self.admin.list_group_offsets(group)[group]
        return {place.partition: (it.offset, it.metadata) for place, it in offsets.items()}

    def delete_group(self, group):
        result = self.admin.delete_groups([group])[group]
        return "NoError" if result == "OK" else result


class Member(threading.Thread):
    """A consumer in a thread of its own, for `poll` waits until the whole group has joined."""

    def __init__(self, consumer):
        super().__init__(daemon=True)
        self.consumer = consumer
        self.partitions = set()
        self.values = []
        self.leaving = threading.Event()
        self.has_left = False
        self.start()

    def run(self):
        while not self.leaving.is_set():
            batch = self.consumer.poll(POLL_MS)
            self.partitions = {it.partition for it in self.consumer.assignment()}
            self.values += [int(it.value) for records in batch.values() for it in records]
            if batch:
                self.consumer.commit()
        self.consumer.close()
        self.has_left = True

    def leave(self):
        self.leaving.set()
        self.join(TIMEOUT)
        same("a member has left", self.has_left, True)


def resource(topic, configs=None):
    return ConfigResource(ConfigResourceType.TOPIC, topic, configs)


def take(consumer, count):
    """The next records, `count` in all."""
    records = []

    def has_all():
        for batch in consumer.poll(POLL_MS).values():
            records.extend(batch)
        return len(records) >= count

    until(f"taking {count} records", has_all)
    same("how many records came", len(records), count)
    return records


def places(records):
    """By partition, the offsets in the order of their coming."""
    offsets = {}
    for it in records:
        offsets.setdefault(it.partition, []).append(it.offset)
    return offsets


def check_matrix(client):
    consumer = client.consumer()
    producers = {"0": {"acks": 0}, "1": {"acks": 1}, "all": {"acks": "all"}}
    if MAJOR >= 3:
        for settings in producers.values():
            settings["enable_idempotence"] = False
        producers["idempotent"] = {"enable_idempotence": True}
    for codec in CODECS:
        for acks, how in producers.items():
            topic = f"{CLIENT}-{codec}-{acks}"
            messages = [
                {"topic": topic, "key": key, "value": value, "headers": HEADERS}
                for key, value in map(record, range(RECORDS))
            ]
            compression = None if codec == "none" else codec
            reports = client.produce(messages, compression_type=compression, batch_size=4096,
                                     linger_ms=20, **how)
            # Of what was not acknowledged, 3 reports offsets within the batch.
            if acks != "0":
                same(f"reports of {topic}", reports, [(0, at) for at in range(RECORDS)])
            place = TopicPartition(topic, 0)
            until(f"what was sent to {topic} is there",
                  lambda: consumer.end_offsets([place]) == {place: RECORDS})
            print("topic", topic)
    consumer.close()


def check_partitions(client, vectors):
    """The default partitioner is that of Java's client."""
    topic = f"{CLIENT}-partitions"
    with open(vectors, encoding="ascii") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    rows = [(bytes.fromhex(row[0]), int(row[3])) for row in rows if row[1] == "12"]
    same("there are vectors", len(rows) >= 50, True)
    client.create(topic, 12)
    reports = client.produce([{"topic": topic, "key": key, "value": b""} for key, _ in rows])
    same("partitions of keys", [partition for partition, _ in reports], [it for _, it in rows])
    consumer = client.consumer()
    consumer.assign([TopicPartition(topic, partition) for partition in range(12)])
    seen = take(consumer, len(rows))
    same("keys in all partitions", sorted((it.key, it.partition) for it in seen), sorted(rows))
    consumer.close()


def check_nulls(client):
    topic = f"{CLIENT}-nulls"
    given = [
        (None, b"value", []),
        (b"key", None, []),
        (b"", b"", [("", b"no name"), ("ß", bytes(range(256)))]),
    ]
    client.produce([
        {"topic": topic, "key": key, "value": value, "headers": headers}
        for key, value, headers in given
    ])
    seen = client.read([topic], len(given))[topic]
    same("nulls", [(it.key, it.value, it.headers) for it in seen], given)


def check_sizes(client):
    topic = f"{CLIENT}-sizes"
    large = bytes(at * 7919 % 251 for at in range(999_000))
    over = {"max_request_size": 9_000_000}
    same("offset of a large message", client.produce([{"topic": topic, "value": large}], **over),
         [(0, 0)])
    too_large = [{"topic": topic, "value": bytes(2_000_000)}]
    same("one over the limit", refusal(lambda: client.produce(too_large, **over)),
         "MessageSizeTooLargeError")
    # What counts is what it takes in the log.
    same("offset of one under it when compressed",
         client.produce(too_large, compression_type="zstd", **over), [(0, 1)])
    values = [it.value for it in client.read([topic], 2)[topic]]
    same("large messages", values == [large, bytes(2_000_000)], True)


def check_transactions(client):
    producer = KafkaProducer(bootstrap_servers=client.address, transactional_id=CLIENT)
    same("transactions", refusal(producer.init_transactions),
         "TransactionalIdAuthorizationFailedError")
    producer.close(TIMEOUT)


def work(client, vectors):
    check_matrix(client)
    check_partitions(client, vectors)
    check_nulls(client)
    check_sizes(client)
    if MAJOR >= 3:
        check_transactions(client)
    print("checks", checks)


def read(client, *topics):
    expected = [(at, *record(at), HEADERS) for at in range(RECORDS)]
    records = client.read(topics, RECORDS * len(topics))
    for topic in topics:
        seen = [(it.offset, it.key, it.value, it.headers) for it in records[topic]]
        same(topic, seen, expected)
    print("records", RECORDS * len(topics))
    print("checks", checks)


def check_alone(client, prefix):
    name = f"{prefix}-alone"
    client.create(name, 3)
    client.fill(name, range(60))
    consumer = client.group_consumer(name, name)
    records = take(consumer, 60)
    same("the partitions of a member that is alone", consumer.assignment(),
         {TopicPartition(name, partition) for partition in range(3)})
    same("offsets", places(records), {partition: list(range(20)) for partition in range(3)})
    same("values", sorted(int(it.value) for it in records), list(range(60)))
    consumer.close()


def check_rebalance(client, prefix):
    """With each assignor: sticky has data of its own in the protocol, cooperative-sticky revokes
    only what moves."""
    for assignor in ASSIGNORS:
        name = f"{prefix}-rebalance-{assignor.name}"
        client.create(name, 3)
        client.fill(name, range(30))
        first = Member(client.group_consumer(name, name, assignor))
        until(f"{name}: one member reads", lambda: len(first.values) >= 30)
        same(f"{name}: its partitions", first.partitions, {0, 1, 2})

        second = Member(client.group_consumer(name, name, assignor))
        share = lambda: (first.partitions, second.partitions)
        until(f"{name}: both have partitions, which together are all",
              lambda: all(share()) and sorted([*first.partitions, *second.partitions]) == [0, 1, 2])
        client.fill(name, range(30, 90))
        read = lambda: sorted(first.values + second.values)
        until(f"{name}: two members read", lambda: len(read()) >= 90)
        same(f"{name}: what two read", read(), list(range(90)))
        same(f"{name}: both read", len(first.values) > 30 and second.values != [], True)

        first.leave()
        until(f"{name}: the other has all", lambda: second.partitions == {0, 1, 2})
        client.fill(name, range(90, 120))
        until(f"{name}: the other reads", lambda: len(read()) >= 120)
        same(f"{name}: all was read once", read(), list(range(120)))
        second.leave()


def check_commit(client, prefix, administration):
    name = f"{prefix}-commit"
    client.create(name, 3)
    client.fill(name, range(60))
    partitions = [TopicPartition(name, partition) for partition in range(3)]
    consumer = client.group_consumer(name, name)
    take(consumer, 60)
    same("before a commit", [consumer.committed(it) for it in partitions], [None] * 3)
    consumer.commit({partitions[0]: OffsetAndMetadata(5, "five"),
                     partitions[1]: OffsetAndMetadata(10, "")})
    consumer.close()

    consumer = client.group_consumer(name, name)
    records = take(consumer, 45)
    same("where it resumes", places(records),
         {0: list(range(5, 20)), 1: list(range(10, 20)), 2: list(range(20))})
    same("committed", [consumer.committed(it) for it in partitions], [5, 10, None])
    metadata = consumer.committed(partitions[0], metadata=True).metadata
    same("metadata", metadata, "five")
    same("committed, to others", administration.offsets(name), {0: (5, "five"), 1: (10, "")})
    consumer.commit()  # What was taken.
    consumer.close()

    client.fill(name, range(60, 63))
    consumer = client.group_consumer(name, name)
    same("where it resumes", places(take(consumer, 3)), {0: [20], 1: [20], 2: [20]})
    same("positions", [consumer.position(it) for it in partitions], [21, 21, 21])
    same("committed", [consumer.committed(it) for it in partitions], [20, 20, 20])
    consumer.close()


def check_seek(client, prefix):
    name = f"{prefix}-seek"
    client.create(name, 3)
    times = [FIRST_TIME + 1000 * at for at in range(90)]
    client.produce([
        {"topic": name, "partition": at % 3, "value": str(at).encode(), "timestamp_ms": times[at]}
        for at in range(90)
    ])
    partitions = [TopicPartition(name, partition) for partition in range(3)]
    consumer = client.consumer()
    consumer.assign(partitions)

    def found(*wanted):
        told = consumer.offsets_for_times(dict(zip(partitions, wanted)))
        return [told[it] and (told[it].offset, told[it].timestamp) for it in partitions]

    middle = [(15, times[45]), (15, times[46]), (15, times[47])]
    same("offsets of a time", found(times[45], times[45], times[45]), middle)
    same("before, after, last", found(times[0] - 1, times[89] + 1, times[88] + 1),
         [(0, times[0]), None, (29, times[89])])
    same("beginnings", consumer.beginning_offsets(partitions), dict.fromkeys(partitions, 0))
    same("ends", consumer.end_offsets(partitions), dict.fromkeys(partitions, 30))
    for partition, (offset, _) in zip(partitions, middle):
        consumer.seek(partition, offset)
    records = take(consumer, 45)
    same("from a time on", sorted((int(it.value), it.timestamp) for it in records),
         list(enumerate(times))[45:])
    consumer.close()


def check_topics(client, prefix, administration):
    name, unknown = f"{prefix}-admin", f"{prefix}-unknown"
    client.create(name, 2, retention_ms="3600000", max_message_bytes="100000")
    same("the same again", refusal(lambda: client.create(name, 2)), "TopicAlreadyExistsError")
    same("a wrong setting", refusal(lambda: client.create(unknown, 1, retention_ms="long")),
         "InvalidConfigurationError")

    def settings():
        told = administration.configs(name)
        return [told[it] for it in ["retention.ms", "max.message.bytes", "cleanup.policy"]]

    of_topic, default = 1, 5
    same("settings", settings(),
         [("3600000", of_topic), ("100000", of_topic), ("delete", default)])
    same("altered", administration.alter(name, {"retention.ms": "7200000"}), "NoError")
    # 2.0 has only the request that sets all, those that it does not name to their defaults.
    rest = ("1048588", default) if MAJOR < 3 else ("100000", of_topic)
    same("settings", settings(), [("7200000", of_topic), rest, ("delete", default)])
    same("altered to what is wrong", administration.alter(name, {"retention.ms": "long"}),
         "InvalidConfigurationError")
    same("altered where there is no topic", administration.alter(unknown, {"retention.ms": "1"}),
         "UnknownTopicOrPartitionError")

    grow = lambda topic, count: client.admin.create_partitions({topic: NewPartitions(count)})
    grow(name, 4)
    [told] = client.admin.describe_topics([name])
    same("more partitions", len(told["partitions"]), 4)
    same("fewer partitions", refusal(lambda: grow(name, 3)), "InvalidPartitionsError")
    same("partitions of no topic", refusal(lambda: grow(unknown, 3)),
         "UnknownTopicOrPartitionError")
    client.fill(name, range(40), partitions=4)
    if MAJOR >= 3:
        check_deleted_records(client, name)

    client.admin.delete_topics([name])
    same("no more there", name in client.admin.list_topics(), False)
    same("deletion again", refusal(lambda: client.admin.delete_topics([name])),
         "UnknownTopicOrPartitionError")


def check_deleted_records(client, topic):
    partition = TopicPartition(topic, 1)
    delete = lambda offset: client.admin.delete_records({partition: offset})[partition]
    same("low watermark", delete(4)["low_watermark"], 4)
    same("beyond the end", refusal(lambda: delete(11)), "OffsetOutOfRangeError")
    consumer = client.consumer()
    same("beginning", consumer.beginning_offsets([partition]), {partition: 4})
    consumer.assign([partition])
    same("what is left", places(take(consumer, 6)), {1: list(range(4, 10))})
    consumer.close()


def check_groups(client, prefix, administration):
    name = f"{prefix}-members"
    client.create(name, 3)
    client.fill(name, range(30))
    member = Member(client.group_consumer(name, name))
    until("a member reads", lambda: len(member.values) >= 30)
    same("it is in the list", (name, "consumer") in administration.groups(), True)
    state, kind, assignor, partitions = administration.described(name)
    same("a group with a member", (state, kind, assignor), ("Stable", "consumer", "range"))
    same("its partitions", [sorted(it) for it in partitions],
         [[TopicPartition(name, partition) for partition in range(3)]])
    same("deletion while it is there", administration.delete_group(name), "NonEmptyGroupError")
    until("its offsets are committed", lambda: len(administration.offsets(name)) == 3)
    member.leave()
    state, kind, _, partitions = administration.described(name)
    same("a group without members", (state, kind, partitions), ("Empty", "consumer", []))
    same("offsets are still there", administration.offsets(name),
         {partition: (10, "") for partition in range(3)})
    same("deletion", administration.delete_group(name), "NoError")
    same("deletion again", administration.delete_group(name), "GroupIdNotFoundError")
    same("a group that is not there", administration.described(name)[0], "Dead")
    same("offsets are gone", administration.offsets(name), {})
    same("no more in the list", (name, "consumer") in administration.groups(), False)


def group(client, prefix):
    administration = (Administration2 if MAJOR < 3 else Administration3)(client)
    features = {
        "alone": [check_alone],
        "rebalance": [check_rebalance],
        "commit": [partial(check_commit, administration=administration)],
        "seek": [check_seek],
        "admin": [partial(check_topics, administration=administration),
                  partial(check_groups, administration=administration)],
    }
    for feature, steps in features.items():
        for step in steps:
            step(client, prefix)
        print("feature", feature)
    if MAJOR < 3:
        print("without delete-records: the administration of 2.0 has no call for it")
    print("checks", checks)


def member(client, group, topic):
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    consumer = client.group_consumer(group, topic)
    while not stopped.is_set():
        batch = consumer.poll(POLL_MS)
        for records in batch.values():
            for it in records:
                print("record", it.partition, it.offset, flush=True)
        # It is `poll` that gives partitions back: what was printed is committed by then.
        if batch:
            consumer.commit()
    consumer.close()


def main(task, *arguments):
    if task == "version":
        print(kafka.__version__)
        return
    address, *rest = arguments
    tasks = {"work": work, "read": read, "group": group, "member": member}
    tasks[task](Client(address), *rest)


main(*sys.argv[1:])
