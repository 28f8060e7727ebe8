"""What confluent-kafka (librdkafka) has to see of groups and administration, or fail.

    group.py group ADDRESS PREFIX         names of topics and groups begin with PREFIX
    group.py member ADDRESS GROUP TOPIC   consumes in a group until SIGTERM
"""

import signal
import sys
import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    TIMESTAMP_CREATE_TIME,
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

TIMEOUT = 30  # seconds, for anything
# Of the first record whose time is given; each is a second later than the one before.
FIRST_TIME = 1_700_000_000_000
ASSIGNORS = ["range", "roundrobin", "cooperative-sticky"]

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


def only(futures):
    """The result of the only one of these."""
    [future] = futures.values()
    return future.result(TIMEOUT)


def refusal(call):
    """The name of the error that it raises."""
    try:
        result = call()
    except KafkaException as exception:
        return exception.args[0].name()
    return f"no error, but {result}"


class Client:
    """All that talks to one server."""

    def __init__(self, address):
        self.address = address
        self.admin = AdminClient({"bootstrap.servers": address})

    def consumer(self, group, assignor="range"):
        """A member that learns soon that its group is rebalanced: heartbeats tell it."""
        return Consumer({
            "bootstrap.servers": self.address,
            "group.id": group,
            "partition.assignment.strategy": assignor,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 200,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
        })

    def member(self, group, topic, assignor="range"):
        consumer = self.consumer(group, assignor)
        consumer.subscribe([topic])
        return consumer

    def fill(self, topic, numbers, partitions=3, time_of=lambda _: 0):
        """The numbers as values, to the partitions in turn. A time of 0 is that of now."""
        producer = Producer({"bootstrap.servers": self.address, "linger.ms": 0})
        errors = []
        for at in numbers:
            producer.produce(topic, str(at), partition=at % partitions, timestamp=time_of(at),
                             on_delivery=lambda error, _: errors.append(error))
        same(f"what is left to be sent to {topic}", producer.flush(TIMEOUT), 0)
        same(f"errors of {topic}", errors, [None] * len(numbers))

    def create(self, topic, partitions, **configs):
        settings = {name.replace("_", "."): value for name, value in configs.items()}
        only(self.admin.create_topics([NewTopic(topic, partitions, 1, config=settings)]))

    def configs(self, topic):
        """By name, the value and whose it is."""
        told = only(self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
        return {name: (it.value, ConfigSource(it.source)) for name, it in told.items()}

    def alter(self, topic, name, value):
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        only(self.admin.incremental_alter_configs([resource]))

    def alter_all(self, topic, **configs):
        settings = {name.replace("_", "."): value for name, value in configs.items()}
        only(self.admin.alter_configs([ConfigResource(ResourceType.TOPIC, topic, settings)]))

    def groups(self):
        """By name, their states."""
        told = self.admin.list_consumer_groups().result(TIMEOUT)
        same("errors of the list of groups", told.errors, [])
        return {it.group_id: it.state for it in told.valid}

    def described(self, group):
        """State and assignor, and the partitions of each member."""
        it = only(self.admin.describe_consumer_groups([group]))
        partitions = [
            sorted(of.partition for of in member.assignment.topic_partitions)
            for member in it.members
        ]
        return it.state, it.partition_assignor, partitions

    def offsets(self, group):
        """By partition, the offset and its metadata."""
        told = only(self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
        return {it.partition: (it.offset, it.metadata or "") for it in told.topic_partitions}

    def delete_group(self, group):
        only(self.admin.delete_consumer_groups([group]))


def poll(consumer):
    """What came within a tenth of a second."""
    messages = consumer.consume(500, 0.1)
    for message in messages:
        if message.error() is not None:
            sys.exit(f"{message.topic()}-{message.partition()}: {message.error()}")
    return messages


def take(consumer, count):
    """The next messages, `count` in all."""
    messages = []

    def has_all():
        messages.extend(poll(consumer))
        return len(messages) >= count

    until(f"taking {count} messages", has_all)
    same("how many messages came", len(messages), count)
    return messages


def places(messages):
    """By partition, the offsets in the order of their coming."""
    offsets = {}
    for it in messages:
        offsets.setdefault(it.partition(), []).append(it.offset())
    return offsets


def assigned(consumer):
    return {it.partition for it in consumer.assignment()}


def check_alone(client, prefix):
    name = f"{prefix}-alone"
    client.create(name, 3)
    client.fill(name, range(60))
    consumer = client.member(name, name)
    messages = take(consumer, 60)
    same("the partitions of a member that is alone", assigned(consumer), {0, 1, 2})
    same("offsets", places(messages), {partition: list(range(20)) for partition in range(3)})
    same("values", sorted(int(it.value()) for it in messages), list(range(60)))
    consumer.close()


def check_rebalance(client, prefix):
    """With each assignor: cooperative-sticky revokes only what moves."""
    for assignor in ASSIGNORS:
        name = f"{prefix}-rebalance-{assignor}"
        client.create(name, 3)
        client.fill(name, range(30))
        members, values = [client.member(name, name, assignor)], [[]]

        def polled_until(what, is_done):
            def polled():
                for consumer, its in zip(members, values):
                    messages = poll(consumer) if consumer else []
                    if messages:
                        its.extend(int(it.value()) for it in messages)
                        consumer.commit(asynchronous=False)
                return is_done()

            until(f"{name}: {what}", polled)

        read = lambda: sorted(sum(values, []))
        polled_until("one member reads", lambda: len(read()) >= 30)
        same(f"{name}: its partitions", assigned(members[0]), {0, 1, 2})

        members.append(client.member(name, name, assignor))
        values.append([])

        def is_shared():
            first, second = map(assigned, members)
            return first and second and sorted([*first, *second]) == [0, 1, 2]

        polled_until("both have partitions, which together are all", is_shared)
        client.fill(name, range(30, 90))
        polled_until("two members read", lambda: len(read()) >= 90)
        same(f"{name}: what two read", read(), list(range(90)))
        same(f"{name}: both read", len(values[0]) > 30 and values[1] != [], True)

        members[0].close()
        members[0] = None
        polled_until("the other has all", lambda: assigned(members[1]) == {0, 1, 2})
        client.fill(name, range(90, 120))
        polled_until("the other reads", lambda: len(read()) >= 120)
        same(f"{name}: all was read once", read(), list(range(120)))
        members[1].close()


def check_commit(client, prefix):
    name = f"{prefix}-commit"
    client.create(name, 3)
    client.fill(name, range(60))
    partitions = [TopicPartition(name, partition) for partition in range(3)]
    committed = lambda: [(it.offset, it.metadata) for it in consumer.committed(partitions, TIMEOUT)]
    consumer = client.member(name, name)
    take(consumer, 60)
    same("before a commit", committed(), [(OFFSET_INVALID, None)] * 3)
    given = [TopicPartition(name, 0, 5, metadata="five"), TopicPartition(name, 1, 10)]
    consumer.commit(offsets=given, asynchronous=False)
    consumer.close()

    consumer = client.member(name, name)
    messages = take(consumer, 45)
    same("where it resumes", places(messages),
         {0: list(range(5, 20)), 1: list(range(10, 20)), 2: list(range(20))})
    same("committed", committed(), [(5, "five"), (10, None), (OFFSET_INVALID, None)])
    same("committed, to others", client.offsets(name), {0: (5, "five"), 1: (10, "")})
    consumer.commit(asynchronous=False)  # What was taken.
    consumer.close()

    client.fill(name, range(60, 63))
    consumer = client.member(name, name)
    same("where it resumes", places(take(consumer, 3)), {0: [20], 1: [20], 2: [20]})
    same("positions", [it.offset for it in consumer.position(partitions)], [21, 21, 21])
    same("committed", committed(), [(20, None)] * 3)
    consumer.close()

    def error_of_move():
        moved = ConsumerGroupTopicPartitions(name, [TopicPartition(name, 2, 7)])
        [it] = only(client.admin.alter_consumer_group_offsets([moved])).topic_partitions
        return it.error and it.error.name()

    same("moved by others", error_of_move(), None)
    consumer = client.member(name, name)
    same("where it resumes after others moved it", places(take(consumer, 16)),
         {0: [20], 1: [20], 2: list(range(7, 21))})
    same("moved while there are members", error_of_move(), "UNKNOWN_MEMBER_ID")
    consumer.close()


def check_seek(client, prefix):
    name = f"{prefix}-seek"
    client.create(name, 3)
    times = [FIRST_TIME + 1000 * at for at in range(90)]
    client.fill(name, range(90), time_of=lambda at: times[at])
    consumer = client.consumer(name)

    def found(*wanted):
        places = [TopicPartition(name, at, time) for at, time in enumerate(wanted)]
        return [it.offset for it in consumer.offsets_for_times(places, TIMEOUT)]

    middle = found(times[45], times[45], times[45])
    same("offsets of a time", middle, [15, 15, 15])
    same("before, after, last", found(times[0] - 1, times[89] + 1, times[88] + 1),
         [0, OFFSET_END, 29])
    consumer.assign([TopicPartition(name, at, offset) for at, offset in enumerate(middle)])
    from_there = [(at, (TIMESTAMP_CREATE_TIME, time)) for at, time in enumerate(times)][45:]
    seen = lambda: sorted((int(it.value()), it.timestamp()) for it in take(consumer, 45))
    same("from a time on", seen(), from_there)
    for at, offset in enumerate(middle):
        consumer.seek(TopicPartition(name, at, offset))
    same("from a time on, again", seen(), from_there)
    consumer.close()


def check_topics(client, prefix):
    name, unknown = f"{prefix}-admin", f"{prefix}-unknown"
    client.create(name, 2, retention_ms="3600000", max_message_bytes="100000")
    same("the same again", refusal(lambda: client.create(name, 2)), "TOPIC_ALREADY_EXISTS")
    same("a wrong setting", refusal(lambda: client.create(unknown, 1, retention_ms="long")),
         "INVALID_CONFIG")

    def settings():
        told = client.configs(name)
        return [told[it] for it in ["retention.ms", "max.message.bytes", "cleanup.policy"]]

    of_topic = ConfigSource.DYNAMIC_TOPIC_CONFIG
    default = ("delete", ConfigSource.DEFAULT_CONFIG)
    same("settings", settings(), [("3600000", of_topic), ("100000", of_topic), default])
    client.alter(name, "retention.ms", "7200000")
    same("one is altered", settings(), [("7200000", of_topic), ("100000", of_topic), default])
    client.alter_all(name, max_message_bytes="200000")
    same("all are", settings(),
         [("604800000", ConfigSource.DEFAULT_CONFIG), ("200000", of_topic), default])
    same("altered to what is wrong", refusal(lambda: client.alter(name, "retention.ms", "long")),
         "INVALID_CONFIG")
    same("altered where there is no topic",
         refusal(lambda: client.alter(unknown, "retention.ms", "1")), "UNKNOWN_TOPIC_OR_PART")
    same("settings of no topic", refusal(lambda: client.configs(unknown)), "UNKNOWN_TOPIC_OR_PART")

    grow = lambda topic, count: only(client.admin.create_partitions([NewPartitions(topic, count)]))
    grow(name, 4)
    known = client.admin.list_topics(name, TIMEOUT).topics[name]
    same("more partitions", sorted(known.partitions), [0, 1, 2, 3])
    same("fewer partitions", refusal(lambda: grow(name, 3)), "INVALID_PARTITIONS")
    same("partitions of no topic", refusal(lambda: grow(unknown, 3)), "UNKNOWN_TOPIC_OR_PART")

    client.fill(name, range(40), partitions=4)
    delete = lambda offset: only(client.admin.delete_records([TopicPartition(name, 1, offset)]))
    same("low watermark", delete(4).low_watermark, 4)
    same("beyond the end", refusal(lambda: delete(11)), "OFFSET_OUT_OF_RANGE")
    consumer = client.consumer(name)
    watermarks = consumer.get_watermark_offsets(TopicPartition(name, 1), TIMEOUT)
    same("watermarks", watermarks, (4, 10))
    consumer.assign([TopicPartition(name, 1, OFFSET_BEGINNING)])
    same("what is left", places(take(consumer, 6)), {1: list(range(4, 10))})
    consumer.close()

    delete_topic = lambda: only(client.admin.delete_topics([name]))
    delete_topic()
    same("no more there", name in client.admin.list_topics(timeout=TIMEOUT).topics, False)
    same("deletion again", refusal(delete_topic), "UNKNOWN_TOPIC_OR_PART")


def check_groups(client, prefix):
    name = f"{prefix}-members"
    client.create(name, 3)
    client.fill(name, range(30))
    consumer = client.member(name, name)
    take(consumer, 30)
    consumer.commit(asynchronous=False)
    same("it is in the list", client.groups().get(name), ConsumerGroupState.STABLE)
    same("a group with a member", client.described(name),
         (ConsumerGroupState.STABLE, "range", [[0, 1, 2]]))
    same("deletion while it is there", refusal(lambda: client.delete_group(name)),
         "NON_EMPTY_GROUP")
    consumer.close()
    same("without members, in the list", client.groups().get(name), ConsumerGroupState.EMPTY)
    same("a group without members", client.described(name), (ConsumerGroupState.EMPTY, "", []))
    same("offsets are still there", client.offsets(name),
         {partition: (10, "") for partition in range(3)})
    client.delete_group(name)
    same("deletion again", refusal(lambda: client.delete_group(name)), "GROUP_ID_NOT_FOUND")
    same("a group that is not there", client.described(name), (ConsumerGroupState.DEAD, "", []))
    same("offsets are gone", client.offsets(name), {})
    same("no more in the list", name in client.groups(), False)


def group(client, prefix):
    features = {
        "alone": [check_alone],
        "rebalance": [check_rebalance],
        "commit": [check_commit],
        "seek": [check_seek],
        "admin": [check_topics, check_groups],
    }
    for feature, steps in features.items():
        for step in steps:
            step(client, prefix)
        print("feature", feature)
    print("checks", checks)


def member(client, group, topic):
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    consumer = client.member(group, topic)
    while not stopped:
        messages = poll(consumer)
        for it in messages:
            print("record", it.partition(), it.offset(), flush=True)
        # It is `poll` that gives partitions back: what was printed is committed by then.
        if messages:
            consumer.commit(asynchronous=False)
    consumer.close()


def main(task, address, *rest):
    tasks = {"group": group, "member": member}
    tasks[task](Client(address), *rest)


main(*sys.argv[1:])
