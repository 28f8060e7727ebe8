"""What aiokafka has to see, or fail.

    check.py version
    check.py work ADDRESS VECTORS         produces the matrix, and does the rest
    check.py read ADDRESS TOPIC...        each has the records of the matrix
    check.py group ADDRESS PREFIX         groups and administration; names begin with PREFIX
    check.py member ADDRESS GROUP TOPIC   consumes in a group until SIGTERM
"""

import asyncio
import signal
import sys
import time

import aiokafka
from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    TopicPartition,
)
from aiokafka.admin import (
    AIOKafkaAdminClient,
    NewPartitions,
    NewTopic,
    RecordsToDelete,
)
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError, for_code

RECORDS = 200
TIMEOUT = 30  # seconds, for anything
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
HEADERS = [("a", b"1"), ("a", b"2"), ("empty", b"")]
# Of the first record whose time is given; each is a second later than the one before.
FIRST_TIME = 1_700_000_000_000
ASSIGNORS = [RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor]

checks = 0


def same(what, seen, expected):
    global checks
    if seen != expected:
        sys.exit(f"{what} differs from what is expected\nseen: {seen}\nexpected: {expected}")
    checks += 1


async def until(what, is_done):
    """Awaits `is_done` until it says so."""
    deadline = time.monotonic() + TIMEOUT
    while not await is_done():
        if time.monotonic() > deadline:
            sys.exit(f"not done in {TIMEOUT} s: {what}")


async def refusal(call):
    """The name of the error that it raises."""
    try:
        result = await call
    except KafkaError as error:
        return type(error).__name__
    return f"no error, but {result}"


def record(number):
    value = f"value-{number:05} and on and on and on and on and on and on"
    return f"key-{number:05}".encode(), value.encode()


def resource(topic, configs=None):
    return ConfigResource(ConfigResourceType.TOPIC, topic, configs)


class Client:
    """All that talks to one server. Answers of the administration are mostly the protocol's own."""

    def __init__(self, address):
        self.address = address
        self.admin = AIOKafkaAdminClient(bootstrap_servers=address)

    async def consumer(self, topics=(), listener=None, **settings):
        consumer = AIOKafkaConsumer(**{
            "bootstrap_servers": self.address,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "fetch_max_wait_ms": 20,
        } | settings)
        if topics:
            consumer.subscribe(topics, listener=listener)
        await consumer.start()
        return consumer

    async def group_consumer(self, group, topic, assignor=RangePartitionAssignor, listener=None):
        """A member that learns soon that its group is rebalanced: heartbeats tell it."""
        return await self.consumer([topic], listener, group_id=group, session_timeout_ms=6000,
                                   heartbeat_interval_ms=200,
                                   partition_assignment_strategy=[assignor])

    async def produce(self, messages, **settings):
        """Messages are arguments of `AIOKafkaProducer.send`. Where each is, in order."""
        async with AIOKafkaProducer(bootstrap_servers=self.address, **settings) as producer:
            sent = [await producer.send(**message) for message in messages]
            places = await asyncio.wait_for(asyncio.gather(*sent), TIMEOUT)
        return [place and (place.partition, place.offset) for place in places]

    async def fill(self, topic, numbers, partitions=3):
        """The numbers as values, to the partitions in turn."""
        await self.produce([
            {"topic": topic, "partition": at % partitions, "value": str(at).encode()}
            for at in numbers
        ])

    async def create(self, topic, partitions, configs=None):
        """The name of the error."""
        new = NewTopic(topic, partitions, 1, topic_configs=configs or {})
        response = await self.admin.create_topics([new])
        [(_, error, *_)] = response.topic_errors
        return for_code(error).__name__

    async def delete(self, topic):
        """The name of the error."""
        response = await self.admin.delete_topics([topic])
        [(_, error)] = response.topic_error_codes
        return for_code(error).__name__

    async def configs(self, topic):
        """By name, the value and the number of its source."""
        [response] = await self.admin.describe_configs([resource(topic)])
        [(error, _, _, _, configs)] = response.resources
        if error:
            raise for_code(error)
        return {name: (value, source) for name, value, _, source, *_ in configs}

    async def alter(self, topic, configs):
        """The name of the error."""
        [response] = await self.admin.alter_configs([resource(topic, configs)])
        [(error, *_)] = response.resources
        return for_code(error).__name__

    async def described(self, group):
        """State, type and assignor, and the partitions of each member."""
        [response] = await self.admin.describe_consumer_groups([group])
        [(error, _, state, kind, assignor, members, *_)] = response.groups
        same(f"error of {group}", error, 0)
        # The last of the bytes of a member, which has an instance id in later versions.
        assignments = [
            ConsumerProtocolMemberAssignment.decode(
                [it for it in member if isinstance(it, bytes)][-1]
            )
            for member in members
        ]
        return state, kind, assignor, [it.partitions() for it in assignments]

    async def offsets(self, group):
        """By partition, the offset and its metadata."""
        offsets = await self.admin.list_consumer_group_offsets(group)
        return {place.partition: (it.offset, it.metadata) for place, it in offsets.items()}

    async def read(self, topics, count):
        """Partition 0 of these topics, `count` records in all, by topic."""
        consumer = await self.consumer()
        consumer.assign([TopicPartition(topic, 0) for topic in topics])
        records = await take(consumer, count)
        await consumer.stop()
        return {topic: [it for it in records if it.topic == topic] for topic in topics}


async def take(consumer, count):
    """The next records, `count` in all."""
    records = []

    async def has_all():
        for batch in (await consumer.getmany(timeout_ms=100)).values():
            records.extend(batch)
        return len(records) >= count

    await until(f"taking {count} records", has_all)
    same("how many records came", len(records), count)
    return records


def places(records):
    """By partition, the offsets in the order of their coming."""
    offsets = {}
    for it in records:
        offsets.setdefault(it.partition, []).append(it.offset)
    return offsets


async def check_matrix(client):
    consumer = await client.consumer()
    producers = {"0": {"acks": 0}, "1": {"acks": 1}, "all": {"acks": "all"},
                 "idempotent": {"enable_idempotence": True}}
    for codec in CODECS:
        for acks, how in producers.items():
            topic = f"aiokafka-{codec}-{acks}"
            messages = [
                {"topic": topic, "key": key, "value": value, "headers": HEADERS}
                for key, value in map(record, range(RECORDS))
            ]
            compression = None if codec == "none" else codec
            reports = await client.produce(messages, compression_type=compression,
                                           max_batch_size=4096, linger_ms=20, **how)
            offsets = [None if acks == "0" else (0, at) for at in range(RECORDS)]
            same(f"reports of {topic}", reports, offsets)
            place = TopicPartition(topic, 0)

            async def is_there():
                return await consumer.end_offsets([place]) == {place: RECORDS}

            await until(f"what was sent to {topic} is there", is_there)
            print("topic", topic)
    await consumer.stop()


async def check_partitions(client, vectors):
    """The default partitioner is that of Java's client."""
    topic = "aiokafka-partitions"
    with open(vectors, encoding="ascii") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    rows = [(bytes.fromhex(row[0]), int(row[3])) for row in rows if row[1] == "12"]
    same("there are vectors", len(rows) >= 50, True)
    same("a topic", await client.create(topic, 12), "NoError")
    reports = await client.produce([{"topic": topic, "key": key, "value": b""} for key, _ in rows])
    same("partitions of keys", [partition for partition, _ in reports], [it for _, it in rows])
    consumer = await client.consumer()
    consumer.assign([TopicPartition(topic, partition) for partition in range(12)])
    seen = await take(consumer, len(rows))
    same("keys in all partitions", sorted((it.key, it.partition) for it in seen), sorted(rows))
    await consumer.stop()


async def check_nulls(client):
    topic = "aiokafka-nulls"
    given = [
        (None, b"value", []),
        (b"key", None, []),
        (b"", b"", [("null", None), ("", b"no name"), ("ß", bytes(range(256)))]),
    ]
    await client.produce([
        {"topic": topic, "key": key, "value": value, "headers": headers}
        for key, value, headers in given
    ])
    seen = (await client.read([topic], len(given)))[topic]
    same("nulls", [(it.key, it.value, list(it.headers)) for it in seen], given)


async def check_sizes(client):
    topic = "aiokafka-sizes"
    large = bytes(at * 7919 % 251 for at in range(999_000))
    over = {"max_request_size": 9_000_000}
    place = await client.produce([{"topic": topic, "value": large}], **over)
    same("offset of a large message", place, [(0, 0)])
    too_large = [{"topic": topic, "value": bytes(2_000_000)}]
    same("one over the limit", await refusal(client.produce(too_large, **over)),
         "MessageSizeTooLargeError")
    # What counts is what it takes in the log.
    place = await client.produce(too_large, compression_type="zstd", **over)
    same("offset of one under it when compressed", place, [(0, 1)])
    values = [it.value for it in (await client.read([topic], 2))[topic]]
    same("large messages", values == [large, bytes(2_000_000)], True)


async def check_transactions(client):
    producer = AIOKafkaProducer(bootstrap_servers=client.address, transactional_id="aiokafka")
    same("transactions", await refusal(producer.start()), "TransactionalIdAuthorizationFailed")
    await producer.stop()


async def work(client, vectors):
    await check_matrix(client)
    await check_partitions(client, vectors)
    await check_nulls(client)
    await check_sizes(client)
    await check_transactions(client)
    print("checks", checks)


async def read(client, *topics):
    expected = [(at, *record(at), HEADERS) for at in range(RECORDS)]
    records = await client.read(topics, RECORDS * len(topics))
    for topic in topics:
        seen = [(it.offset, it.key, it.value, list(it.headers)) for it in records[topic]]
        same(topic, seen, expected)
    print("records", RECORDS * len(topics))
    print("checks", checks)


async def check_alone(client, prefix):
    name = f"{prefix}-alone"
    same("a topic", await client.create(name, 3), "NoError")
    await client.fill(name, range(60))
    consumer = await client.group_consumer(name, name)
    records = await take(consumer, 60)
    same("the partitions of a member that is alone", consumer.assignment(),
         {TopicPartition(name, partition) for partition in range(3)})
    same("offsets", places(records), {partition: list(range(20)) for partition in range(3)})
    same("values", sorted(int(it.value) for it in records), list(range(60)))
    await consumer.stop()


class Member:
    """What came to a consumer of a group, committed as it came."""

    def __init__(self, consumer):
        self.consumer = consumer
        self.values = []

    async def poll(self):
        batch = await self.consumer.getmany(timeout_ms=100)
        self.values += [int(it.value) for records in batch.values() for it in records]
        if batch:
            await self.consumer.commit()

    def partitions(self):
        return {it.partition for it in self.consumer.assignment()}


async def check_rebalance(client, prefix):
    """With each assignor: sticky has data of its own in the protocol."""
    for assignor in ASSIGNORS:
        name = f"{prefix}-rebalance-{assignor.name}"
        same("a topic", await client.create(name, 3), "NoError")
        await client.fill(name, range(30))
        members = [Member(await client.group_consumer(name, name, assignor))]

        def partitions():
            return [member.partitions() for member in members]

        def values():
            return sorted(value for member in members for value in member.values)

        async def polled_until(what, is_done):
            async def polled():
                await asyncio.gather(*[member.poll() for member in members])
                return is_done()

            await until(f"{name}: {what}", polled)

        await polled_until("one member reads", lambda: len(values()) >= 30)
        same(f"{name}: its partitions", partitions(), [{0, 1, 2}])

        members.append(Member(await client.group_consumer(name, name, assignor)))
        await polled_until("both have partitions, which together are all",
                           lambda: all(partitions()) and sorted(sum(map(list, partitions()), []))
                           == [0, 1, 2])
        await client.fill(name, range(30, 90))
        await polled_until("two members read", lambda: len(values()) >= 90)
        same(f"{name}: what two read", values(), list(range(90)))
        first, second = members
        same(f"{name}: both read", len(first.values) > 30 and second.values != [], True)

        await first.consumer.stop()
        members.remove(first)
        await polled_until("the other has all", lambda: partitions() == [{0, 1, 2}])
        await client.fill(name, range(90, 120))
        await polled_until("the other reads", lambda: len(first.values + values()) >= 120)
        same(f"{name}: all was read once", sorted(first.values + values()), list(range(120)))
        await second.consumer.stop()


async def check_commit(client, prefix):
    name = f"{prefix}-commit"
    same("a topic", await client.create(name, 3), "NoError")
    await client.fill(name, range(60))
    partitions = [TopicPartition(name, partition) for partition in range(3)]
    committed = lambda: asyncio.gather(*map(consumer.committed, partitions))
    consumer = await client.group_consumer(name, name)
    await take(consumer, 60)
    same("before a commit", await committed(), [None] * 3)
    await consumer.commit({partitions[0]: (5, "five"), partitions[1]: 10})
    await consumer.stop()

    consumer = await client.group_consumer(name, name)
    records = await take(consumer, 45)
    same("where it resumes", places(records),
         {0: list(range(5, 20)), 1: list(range(10, 20)), 2: list(range(20))})
    same("committed", await committed(), [5, 10, None])
    same("committed, to others", await client.offsets(name), {0: (5, "five"), 1: (10, "")})
    await consumer.commit()  # What was taken.
    await consumer.stop()

    await client.fill(name, range(60, 63))
    consumer = await client.group_consumer(name, name)
    same("where it resumes", places(await take(consumer, 3)), {0: [20], 1: [20], 2: [20]})
    positions = await asyncio.gather(*map(consumer.position, partitions))
    same("positions", positions, [21, 21, 21])
    same("committed", await committed(), [20, 20, 20])
    await consumer.stop()


async def check_seek(client, prefix):
    name = f"{prefix}-seek"
    same("a topic", await client.create(name, 3), "NoError")
    times = [FIRST_TIME + 1000 * at for at in range(90)]
    await client.produce([
        {"topic": name, "partition": at % 3, "value": str(at).encode(), "timestamp_ms": times[at]}
        for at in range(90)
    ])
    partitions = [TopicPartition(name, partition) for partition in range(3)]
    consumer = await client.consumer()
    consumer.assign(partitions)

    async def found(*wanted):
        told = await consumer.offsets_for_times(dict(zip(partitions, wanted)))
        return [told[it] and (told[it].offset, told[it].timestamp) for it in partitions]

    middle = [(15, times[45]), (15, times[46]), (15, times[47])]
    same("offsets of a time", await found(times[45], times[45], times[45]), middle)
    same("before, after, last", await found(times[0] - 1, times[89] + 1, times[88] + 1),
         [(0, times[0]), None, (29, times[89])])
    same("beginnings", await consumer.beginning_offsets(partitions), dict.fromkeys(partitions, 0))
    same("ends", await consumer.end_offsets(partitions), dict.fromkeys(partitions, 30))
    for partition, (offset, _) in zip(partitions, middle):
        consumer.seek(partition, offset)
    records = await take(consumer, 45)
    same("from a time on", sorted((int(it.value), it.timestamp) for it in records),
         list(enumerate(times))[45:])
    await consumer.stop()


async def check_topics(client, prefix):
    name, unknown = f"{prefix}-admin", f"{prefix}-unknown"
    given = {"retention.ms": "3600000", "max.message.bytes": "100000"}
    same("a topic", await client.create(name, 2, given), "NoError")
    same("the same again", await client.create(name, 2), "TopicAlreadyExistsError")
    same("a wrong setting", await client.create(unknown, 1, {"retention.ms": "long"}),
         "InvalidConfigurationError")

    async def settings():
        told = await client.configs(name)
        return [told[it] for it in ["retention.ms", "max.message.bytes", "cleanup.policy"]]

    of_topic, default = 1, 5
    same("settings", await settings(),
         [("3600000", of_topic), ("100000", of_topic), ("delete", default)])
    same("altered", await client.alter(name, {"retention.ms": "7200000"}), "NoError")
    # aiokafka has only the request that sets all, those that it does not name to their defaults.
    same("settings", await settings(),
         [("7200000", of_topic), ("1048588", default), ("delete", default)])
    same("altered to what is wrong", await client.alter(name, {"retention.ms": "long"}),
         "InvalidConfigurationError")
    same("altered where there is no topic", await client.alter(unknown, {"retention.ms": "1"}),
         "UnknownTopicOrPartitionError")
    same("settings of no topic", await refusal(client.configs(unknown)),
         "UnknownTopicOrPartitionError")

    grow = lambda topic, count: client.admin.create_partitions({topic: NewPartitions(count)})
    await grow(name, 4)
    [told] = await client.admin.describe_topics([name])
    same("more partitions", len(told["partitions"]), 4)
    same("fewer partitions", await refusal(grow(name, 3)), "InvalidPartitionsError")
    same("partitions of no topic", await refusal(grow(unknown, 3)),
         "UnknownTopicOrPartitionError")

    await client.fill(name, range(40), partitions=4)
    partition = TopicPartition(name, 1)
    delete = lambda offset: client.admin.delete_records({partition: RecordsToDelete(offset)})
    same("low watermark", await delete(4), {partition: 4})
    same("beyond the end", await refusal(delete(11)), "OffsetOutOfRangeError")
    consumer = await client.consumer()
    consumer.assign([partition])
    same("beginning", await consumer.beginning_offsets([partition]), {partition: 4})
    same("what is left", places(await take(consumer, 6)), {1: list(range(4, 10))})
    await consumer.stop()

    same("deletion", await client.delete(name), "NoError")
    same("no more there", name in await client.admin.list_topics(), False)
    same("deletion again", await client.delete(name), "UnknownTopicOrPartitionError")


async def check_groups(client, prefix):
    name = f"{prefix}-members"
    same("a topic", await client.create(name, 3), "NoError")
    await client.fill(name, range(30))
    consumer = await client.group_consumer(name, name)
    await take(consumer, 30)
    await consumer.commit()
    same("it is in the list", (name, "consumer") in await client.admin.list_consumer_groups(), True)
    state, kind, assignor, partitions = await client.described(name)
    same("a group with a member", (state, kind, assignor), ("Stable", "consumer", "range"))
    same("its partitions", [sorted(it) for it in partitions],
         [[TopicPartition(name, partition) for partition in range(3)]])
    await consumer.stop()
    same("a group without members", await client.described(name), ("Empty", "consumer", "", []))
    same("offsets are still there", await client.offsets(name),
         {partition: (10, "") for partition in range(3)})
    same("a group that is not there", (await client.described(f"{name}-not"))[0], "Dead")
    same("offsets of none", await client.offsets(f"{name}-not"), {})


async def group(client, prefix):
    features = {
        "alone": [check_alone],
        "rebalance": [check_rebalance],
        "commit": [check_commit],
        "seek": [check_seek],
        "admin": [check_topics, check_groups],
    }
    for feature, steps in features.items():
        for step in steps:
            await step(client, prefix)
        print("feature", feature)
    print("without delete-group: its client of the administration has no call for it")
    print("checks", checks)


class CommittedFirst(ConsumerRebalanceListener):
    """Partitions are given back when what was handed out is committed."""

    def __init__(self):
        self.lock = asyncio.Lock()

    async def on_partitions_revoked(self, revoked):
        async with self.lock:
            pass

    async def on_partitions_assigned(self, assigned):
        pass


async def member(client, group, topic):
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    listener = CommittedFirst()
    consumer = await client.group_consumer(group, topic, listener=listener)
    while not stopped.is_set():
        # Not with the lock, for it waits for a rebalance that has begun.
        batch = await consumer.getmany(timeout_ms=200)
        if batch:
            async with listener.lock:
                for records in batch.values():
                    for it in records:
                        print("record", it.partition, it.offset, flush=True)
                await consumer.commit()
    await consumer.stop()


async def main(task, *arguments):
    if task == "version":
        print(aiokafka.__version__)
        return
    address, *rest = arguments
    client = Client(address)
    await client.admin.start()
    tasks = {"work": work, "read": read, "group": group, "member": member}
    await tasks[task](client, *rest)
    await client.admin.close()


asyncio.run(main(*sys.argv[1:]))
