"""What confluent-kafka (librdkafka) has to see, or fail: called by ../run, which says what for.

    check.py version
    check.py work ADDRESS VECTORS    produces the matrix, and does the rest
    check.py read ADDRESS TOPIC...   each has the records of the matrix
    check.py through ADDRESS FIFO    goes on while the server is killed, at a line in the FIFO
    check.py refused ADDRESS         of a server that creates no topics
    check.py locked ADDRESS CA       logs in over TLS as alice, whose password is secret
"""

import sys
import threading
import time

import confluent_kafka
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

RECORDS = 200
TIMEOUT = 30  # seconds, for anything
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
HEADERS = [("a", b"1"), ("a", b"2"), ("empty", b"")]
# Of the first record whose time is given; each is a second later than the one before.
FIRST_TIME = 1_700_000_000_000

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


def refusal(call):
    """The name of the error that it raises."""
    try:
        result = call()
    except KafkaException as exception:
        return exception.args[0].name()
    return f"no error, but {result}"


def record(number):
    value = f"value-{number:05} and on and on and on and on and on and on"
    return f"key-{number:05}".encode(), value.encode()


class Client:
    """All that talks to one server."""

    def __init__(self, address):
        self.address = address
        self.admin = AdminClient({"bootstrap.servers": address})

    def producer(self, **settings):
        return Producer({"bootstrap.servers": self.address} | dotted(settings))

    def consumer(self, **settings):
        """Without a group, though librdkafka wants its name."""
        return Consumer(
            {
                "bootstrap.servers": self.address,
                "group.id": "none",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
            }
            | dotted(settings)
        )

    def create(self, *topics, **how):
        """The name of each one's error, `None` if it has none."""
        futures = self.admin.create_topics(list(topics), **how)
        return [
            None if future.exception() is None else future.exception().args[0].name()
            for future in futures.values()
        ]

    def delete(self, *topics):
        futures = self.admin.delete_topics(list(topics))
        return [
            None if future.exception() is None else future.exception().args[0].name()
            for future in futures.values()
        ]

    def produce(self, messages, **settings):
        """Messages are arguments of `Producer.produce`. What was reported of each, in order."""
        producer = self.producer(**settings)
        reports = [None] * len(messages)

        def report(at):
            def told(error, message):
                reports[at] = error.name() if error else (message.partition(), message.offset())

            return told

        for at, message in enumerate(messages):
            while True:
                try:
                    producer.produce(**message, on_delivery=report(at))
                    break
                except BufferError:
                    producer.poll(0.1)
        same("what is left to be sent", producer.flush(TIMEOUT), 0)
        return reports

    def read(self, *partitions, **settings):
        """All of these partitions, as (topic, partition, offset), to their ends."""
        consumer = self.consumer(**settings)
        consumer.assign([TopicPartition(*it) for it in partitions])
        messages = read_to_end(consumer, len(partitions))
        consumer.close()
        return messages


def dotted(settings):
    """The names of librdkafka's; the one with an underscore is confluent-kafka's own."""
    return {
        name if name == "error_cb" else name.replace("_", "."): value
        for name, value in settings.items()
    }


def read_to_end(consumer, partitions):
    messages, ended = [], set()

    def has_ended():
        message = consumer.poll(1)
        if message is None:
            return False
        if message.error() is None:
            messages.append(message)
        elif message.error().code() == KafkaError._PARTITION_EOF:
            ended.add((message.topic(), message.partition()))
        else:
            sys.exit(f"{message.topic()}-{message.partition()}: {message.error()}")
        return len(ended) == partitions

    until(f"reading to the end of {partitions} partitions, {len(messages)} messages", has_ended)
    return messages


def read_whole(client, topic):
    """The keys, values and offsets of all that is in partition 0."""
    messages = client.read((topic, 0, OFFSET_BEGINNING))
    return [(it.key(), it.value()) for it in messages], [it.offset() for it in messages]


def check_matrix(client):
    for codec in CODECS:
        for acks in ["0", "1", "all", "idempotent"]:
            topic = f"confluent-{codec}-{acks}"
            is_idempotent = acks == "idempotent"
            how = {"enable_idempotence": True} if is_idempotent else {"acks": acks}
            messages = [
                {"topic": topic, "key": key, "value": value, "headers": HEADERS}
                for key, value in map(record, range(RECORDS))
            ]
            batches = {"batch_num_messages": 50, "linger_ms": 20}
            reports = client.produce(messages, compression_type=codec, **batches, **how)
            offsets = [None if acks == "0" else (0, at) for at in range(RECORDS)]
            seen = [None if acks == "0" else report for report in reports]
            same(f"reports of {topic}", seen, offsets)
            consumer = client.consumer()
            end = lambda: consumer.get_watermark_offsets(TopicPartition(topic, 0), TIMEOUT)
            until(f"what was sent to {topic} is there", lambda: end() == (0, RECORDS))
            consumer.close()
            print("topic", topic)


def check_admin(client):
    topic = NewTopic("confluent-admin", 3, 3, config={"retention.ms": "3600000"})
    same("a new topic", client.create(topic), [None])
    same("the same again", client.create(topic), ["TOPIC_ALREADY_EXISTS"])
    others = [
        NewTopic("confluent-asked", 1, 1),
        NewTopic("confluent/name", 1, 1),
        NewTopic("confluent-unknown", 1, 1, config={"no.such.config": "1"}),
        NewTopic("confluent-wrong", 1, 1, config={"retention.ms": "long"}),
    ]
    answers = [None, "TOPIC_EXCEPTION", "INVALID_CONFIG", "INVALID_CONFIG"]
    same("others", client.create(*others, validate_only=True), answers)
    same("no partitions", client.create(NewTopic("confluent-0", 0, 1)), ["INVALID_PARTITIONS"])
    default = NewTopic("confluent-default")
    same("defaults", client.create(default), [None])

    known = client.admin.list_topics(timeout=TIMEOUT)
    same("brokers", [(it.id, f"{it.host}:{it.port}") for it in known.brokers.values()],
         [(1, client.address)])
    same("controller", known.controller_id, 1)
    same("partitions", [it.leader for it in known.topics["confluent-admin"].partitions.values()],
         [1, 1, 1])
    same("partitions by default", len(known.topics["confluent-default"].partitions), 1)
    same("a topic that was only asked for", "confluent-asked" in known.topics, False)


def check_deletion(client):
    name = "confluent-deleted"
    for value in [b"before", b"after"]:
        same("a topic to delete", client.create(NewTopic(name, 1, 1)), [None])
        same("offset", client.produce([{"topic": name, "value": value}]), [(0, 0)])
        same("what is in it", read_whole(client, name), ([(None, value)], [0]))
        same("deletion", client.delete(name), [None])
        same("deletion again", client.delete(name), ["UNKNOWN_TOPIC_OR_PART"])
    same("no more there", name in client.admin.list_topics(timeout=TIMEOUT).topics, False)


def check_nulls(client):
    topic = "confluent-nulls"
    given = [
        (None, b"value", None),
        (b"key", None, None),
        (None, None, None),
        (b"", b"", [("null", None), ("", b"no name"), ("ß", bytes(range(256)))]),
    ]
    client.produce([
        {"topic": topic, "key": key, "value": value, "headers": headers}
        for key, value, headers in given
    ])
    seen = client.read((topic, 0, OFFSET_BEGINNING))
    same("nulls", [(it.key(), it.value(), it.headers()) for it in seen], given)


def check_times(client):
    """Times given by producers and by the broker, and looking for them."""
    topic, appended = "confluent-times", "confluent-appended"
    config = {"message.timestamp.type": "LogAppendTime"}
    same("topics", client.create(NewTopic(topic, 3, 1), NewTopic(appended, 1, 1, config=config)),
         [None, None])
    times = [FIRST_TIME + 1000 * at for at in range(90)]
    client.produce([
        {"topic": topic, "partition": at % 3, "value": str(at), "timestamp": times[at]}
        for at in range(90)
    ])
    seen = client.read(*[(topic, partition, OFFSET_BEGINNING) for partition in range(3)])
    same("times", sorted((int(it.value()), it.timestamp()) for it in seen),
         [(at, (TIMESTAMP_CREATE_TIME, time)) for at, time in enumerate(times)])

    consumer = client.consumer()
    wanted = [TopicPartition(topic, partition, times[45]) for partition in range(3)]
    found = consumer.offsets_for_times(wanted, TIMEOUT)
    same("offsets of a time", [it.offset for it in found], [15, 15, 15])
    wanted = [TopicPartition(topic, 0, times[0] - 1), TopicPartition(topic, 1, times[89] + 1),
              TopicPartition(topic, 2, times[88] + 1)]
    found = consumer.offsets_for_times(wanted, TIMEOUT)
    same("before, after, last", [it.offset for it in found], [0, OFFSET_END, 29])
    low_high = consumer.get_watermark_offsets(TopicPartition(topic, 2), TIMEOUT)
    same("watermarks", low_high, (0, 30))
    consumer.close()

    for spec, expected in [
        (OffsetSpec.earliest(), (0, -1)),
        (OffsetSpec.latest(), (30, -1)),
        (OffsetSpec.max_timestamp(), (29, times[87])),
        (OffsetSpec.for_timestamp(times[4]), (2, times[6])),
    ]:
        place = TopicPartition(topic, 0)
        told = client.admin.list_offsets({place: spec})[place].result(TIMEOUT)
        same(f"offset of {spec}", (told.offset, told.timestamp), expected)

    before = int(time.time() * 1000)
    client.produce([{"topic": appended, "value": "x", "timestamp": FIRST_TIME}])
    [message] = client.read((appended, 0, OFFSET_BEGINNING))
    kind, at = message.timestamp()
    same("whose time it is", kind, TIMESTAMP_LOG_APPEND_TIME)
    same("the broker's time", before <= at <= time.time() * 1000, True)


def check_sizes(client):
    topic = "confluent-sizes"
    large = bytes(at * 7919 % 251 for at in range(999_000))
    [report] = client.produce([{"topic": topic, "value": large}])
    same("offset of a large message", report, (0, 0))
    over = {"message_max_bytes": 9_000_000}
    [report] = client.produce([{"topic": topic, "value": bytes(2_000_000)}], **over)
    same("report of one over the limit", report, "MSG_SIZE_TOO_LARGE")
    # What counts is what it takes in the log.
    [report] = client.produce([{"topic": topic, "value": bytes(8_000_000)}],
                              compression_type="zstd", **over)
    same("offset of one under it when compressed", report, (0, 1))
    values = [it.value() for it in client.read((topic, 0, OFFSET_BEGINNING))]
    same("large messages", values == [large, bytes(8_000_000)], True)
    small = {"fetch_message_max_bytes": 1000, "max_partition_fetch_bytes": 1000}
    values = [it.value() for it in client.read((topic, 0, OFFSET_BEGINNING), **small)]
    same("large messages in small bites", values == [large, bytes(8_000_000)], True)


def check_partitions(client, vectors):
    """The default partitioner, many partitions at once, seeking."""
    topic = "confluent-partitions"
    with open(vectors, encoding="ascii") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    # An empty key is none to librdkafka.
    rows = [(bytes.fromhex(row[0]), int(row[4])) for row in rows if row[0] and row[1] == "12"]
    same("a topic", client.create(NewTopic(topic, 12, 1)), [None])
    reports = client.produce([{"topic": topic, "key": key, "value": b""} for key, _ in rows])
    same("partitions of keys", [report[0] for report in reports], [it for _, it in rows])
    seen = client.read(*[(topic, partition, OFFSET_BEGINNING) for partition in range(12)])
    same("keys in all partitions", sorted((it.key(), it.partition()) for it in seen), sorted(rows))

    topic = "confluent-many"
    same("a topic", client.create(NewTopic(topic, 3, 1)), [None])
    client.produce([{"topic": topic, "partition": at % 3, "value": str(at)} for at in range(3000)],
                   batch_num_messages=20)
    seen = client.read((topic, 0, 10), (topic, 1, OFFSET_BEGINNING), (topic, 2, 999))
    for partition, start in enumerate([10, 0, 999]):
        values = [int(it.value()) for it in seen if it.partition() == partition]
        same(f"partition {partition}", values, list(range(3 * start + partition, 3000, 3)))

    consumer = client.consumer()
    consumer.assign([TopicPartition(topic, 1, OFFSET_BEGINNING)])
    for offset in [500, 3, 999, 0]:
        consumer.seek(TopicPartition(topic, 1, offset))
        message = consumer.poll(TIMEOUT)
        while message.error() is not None:
            message = consumer.poll(TIMEOUT)
        same(f"after a seek to {offset}", (message.offset(), int(message.value())),
             (offset, 3 * offset + 1))
    consumer.close()

    beyond = (topic, 0, 100_000)
    seen = client.read(beyond, auto_offset_reset="earliest")
    same("from an offset that is not there", len(seen), 1000)
    consumer = client.consumer(auto_offset_reset="error")
    consumer.assign([TopicPartition(*beyond)])
    same("or an error", consumer.poll(TIMEOUT).error().name(), "_AUTO_OFFSET_RESET")
    consumer.close()


def check_following(client):
    """A consumer of several partitions is there while they are written, committed or not."""
    topic, count = "confluent-following", 5000
    same("a topic", client.create(NewTopic(topic, 3, 1)), [None])
    messages = [{"topic": topic, "partition": at % 3, "value": str(at)} for at in range(count)]
    writer = threading.Thread(target=client.produce, args=(messages,),
                              kwargs={"batch_num_messages": 10, "compression_type": "lz4"})
    consumer = client.consumer(isolation_level="read_committed", enable_partition_eof=False)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(3)])
    seen = [[], [], []]
    writer.start()

    def has_all():
        for message in consumer.consume(500, 1):
            if message.error() is not None:
                sys.exit(f"{message.error()}")
            seen[message.partition()].append((message.offset(), int(message.value())))
        return sum(map(len, seen)) == count

    until("following", has_all)
    writer.join()
    consumer.close()
    for partition in range(3):
        expected = list(enumerate(range(partition, count, 3)))
        same(f"partition {partition}", seen[partition], expected)


def check_transactions(client):
    producer = client.producer(transactional_id="confluent")
    begin = time.monotonic()
    try:
        producer.init_transactions(TIMEOUT)
        sys.exit("transactions began")
    except KafkaException as exception:
        error = exception.args[0]
    name = "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"
    same("error", (error.name(), error.fatal(), error.retriable()), (name, True, False))
    same("what it says", "this broker has no transactions" in error.str(), True)
    same("within ten seconds", time.monotonic() - begin < 10, True)


def work(client, vectors):
    check_matrix(client)
    check_admin(client)
    check_deletion(client)
    check_nulls(client)
    check_times(client)
    check_sizes(client)
    check_partitions(client, vectors)
    check_following(client)
    check_transactions(client)
    print("checks", checks)


def read(client, *topics):
    expected = list(map(record, range(RECORDS)))
    messages = client.read(*[(topic, 0, OFFSET_BEGINNING) for topic in topics])
    for topic in topics:
        its = [it for it in messages if it.topic() == topic]
        same(f"offsets of {topic}", [it.offset() for it in its], list(range(RECORDS)))
        same(topic, [(it.key(), it.value()) for it in its], expected)
        same(f"headers of {topic}", [it.headers() for it in its], [HEADERS] * RECORDS)
    print("records", len(messages))


def through(client, fifo):
    """Every record is there once, in order, whatever happened to the server in between."""
    topic, count = "confluent-through", 4000
    delivered, errors = [], []
    producer = client.producer(enable_idempotence=True, batch_num_messages=5, linger_ms=0,
                               reconnect_backoff_max_ms=200, error_cb=errors.append)

    def told(error, message):
        if error is not None:
            sys.exit(f"{error}")
        delivered.append(message.offset())

    for at in range(count):
        producer.produce(topic, str(at), partition=0, on_delivery=told)
    until("a quarter", lambda: producer.poll(0.01) is not None and len(delivered) >= count // 4)
    same("more to come", len(delivered) < count, True)
    with open(fifo, "w", encoding="ascii") as file:
        file.write("a quarter\n")
    same("what is left to be sent", producer.flush(TIMEOUT), 0)
    same("the connection was lost", errors != [], True)
    same("reports", delivered, list(range(count)))
    seen, offsets = read_whole(client, topic)
    same("all once", [int(value) for _, value in seen], list(range(count)))
    same("offsets", offsets, list(range(count)))
    print("checks", checks)
    print("records", len(seen))


def refused(client):
    topic = "confluent-refused"
    soon = {"topic_metadata_propagation_max_ms": 500, "message_timeout_ms": 10_000}
    reports = client.produce([{"topic": topic, "value": b"value"}], **soon)
    same("a producer", reports, ["UNKNOWN_TOPIC_OR_PART"])
    consumer = client.consumer()
    place = TopicPartition(topic, 0)
    unknown = refusal(lambda: consumer.get_watermark_offsets(place, TIMEOUT))
    same("watermarks", unknown, "_UNKNOWN_PARTITION")
    consumer.close()
    same("all topics", list(client.admin.list_topics(timeout=TIMEOUT).topics), [])
    same("creation by name", client.create(NewTopic(topic, 1, 1)), [None])
    same("a producer", client.produce([{"topic": topic, "value": b"value"}], **soon), [(0, 0)])
    print("checks", checks)


def locked(client, authority):
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
        known = {
            "bootstrap.servers": client.address,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": authority,
            "sasl.mechanism": mechanism,
            "sasl.username": "alice",
            "sasl.password": "secret",
        }
        topic = f"confluent-locked-{mechanism}"
        reports = []
        producer = Producer(known)
        for number in range(RECORDS):
            producer.produce(topic, f"value {number}", callback=lambda e, _: reports.append(e))
        until("flushing", lambda: producer.flush(1) == 0)
        same("reports", reports, [None] * RECORDS)
        consumer = Consumer(known | {"group.id": topic, "auto.offset.reset": "earliest"})
        consumer.subscribe([topic])
        values = []
        until(
            "reading",
            lambda: values.extend(message.value() for message in consumer.consume(100, 1))
            or len(values) >= RECORDS,
        )
        consumer.close()
        same("values", values, [f"value {number}".encode() for number in range(RECORDS)])
        errors = []
        stranger = Producer(
            known | {"sasl.password": "other", "error_cb": lambda error: errors.append(error)}
        )
        stranger.produce(topic, b"value")
        until("an error", lambda: stranger.poll(0.1) and False or errors)
        same("a wrong password", errors[0].name(), "_AUTHENTICATION")
        stranger.purge()
    print("feature locked")
    print(f"checks {checks}")


def main(task, *arguments):
    if task == "version":
        print(f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})")
        return
    address, *rest = arguments
    tasks = {
        "work": work,
        "read": read,
        "through": through,
        "refused": refused,
        "locked": locked,
    }
    tasks[task](Client(address), *rest)


main(*sys.argv[1:])
