"""Puts into a server what the tools are then to show, and stays a member of a group: called by run.

    fill.py ADDRESS

Says `filled` when all is there, and leaves the group when it is terminated.

    topic   partitions  records
    orders  3           100 each: JSON, with keys and two headers
    users   1           compacted; 20 keys, each twice, and one tombstone
    events  2           20 each; an hour of retention
    empty   1           none

    group    what it has committed                        lag
    billing  orders: 40, 70 and 100; has a member         60 + 30 + 0
    reports  events: 5 and 20; has none                   15 + 0
"""

import json
import signal
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TIMEOUT = 30  # seconds, for anything
TOPICS = [
    NewTopic("orders", 3, 1),
    NewTopic("users", 1, 1, config={"cleanup.policy": "compact"}),
    NewTopic("events", 2, 1, config={"retention.ms": "3600000"}),
    NewTopic("empty", 1, 1),
]


def records():
    """As arguments of `produce`."""
    for number in range(300):
        order = {"order": number, "item": f"item-{number % 7}", "cents": 100 + number}
        yield {
            "topic": "orders",
            "partition": number % 3,
            "key": f"customer-{number % 10}",
            "value": json.dumps(order),
            "headers": [("source", b"shop"), ("trace", str(number).encode())],
        }
    for number in range(40):
        user = {"name": f"user {number % 20}", "version": number // 20}
        yield {"topic": "users", "key": f"user-{number % 20}", "value": json.dumps(user)}
    yield {"topic": "users", "key": "user-7", "value": None}
    for number in range(40):
        yield {"topic": "events", "partition": number % 2, "value": f"event {number}"}


def commit(consumer, topic, offsets):
    partitions = [TopicPartition(topic, index, offset) for index, offset in enumerate(offsets)]
    for partition in consumer.commit(offsets=partitions, asynchronous=False):
        if partition.error is not None:
            sys.exit(f"not committed: {partition}")


def member(address, group, topic, partitions):
    """A member that has been given all of the topic, and is to read none of it."""
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": group,
            "client.id": f"{group}-1",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic], on_assign=lambda consumer, given: consumer.pause(given))
    deadline = time.monotonic() + TIMEOUT
    while len(consumer.assignment()) < partitions:
        consumer.poll(0.1)
        if time.monotonic() > deadline:
            sys.exit(f"{group} was given {consumer.assignment()}")
    return consumer


def main(address):
    admin = AdminClient({"bootstrap.servers": address})
    for future in admin.create_topics(TOPICS, request_timeout=TIMEOUT).values():
        future.result()

    refused = []
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True})
    for record in records():
        producer.produce(**record, on_delivery=lambda error, _: error and refused.append(error))
    if producer.flush(TIMEOUT) > 0 or refused:
        sys.exit(f"not delivered: {refused}")

    # It must be over before its member may leave.
    reports = member(address, "reports", "events", 2)
    commit(reports, "events", [5, 20])
    reports.close()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    billing = member(address, "billing", "orders", 3)
    commit(billing, "orders", [40, 70, 100])
    print("filled", flush=True)
    try:
        while True:
            message = billing.poll(0.5)
            if message is not None:
                sys.exit(f"a member that has paused was given {message.error() or message.value()}")
    finally:
        billing.close()


main(*sys.argv[1:])
