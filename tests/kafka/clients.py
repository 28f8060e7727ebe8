"""Measures our client and librdkafka's performance tool by turns: `clients` says what is fair.

    clients.py OURS THEIRS ADDRESS PID ROUNDS SIZE:COUNT,SIZE:COUNT

OURS and THEIRS are programs, client/ and `rdkafka_performance`; ADDRESS and PID are the broker's.
"""

import itertools
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import figures

THROUGHPUT = 1.0
CPU = 1.2

PARTITIONS = [1, 6]

# Rounds are discarded until so many have not lowered the broker's CPU by a 20th.
SETTLED = 2
LOWER = 0.95
MAX_DISCARDED = 12

# The broker has done next to nothing if it took so many of the kernel's ticks in a fifth of a
# second; it is waited for so often.
QUIET_TICKS = 2
QUIET_LOOKS = 25

# No run takes so long.
PATIENCE_S = 300


class Load(NamedTuple):
    size: int
    count: int
    partitions: int


class Way(NamedTuple):
    """Settings of both, and what to call them."""

    name: str
    # linger.ms, batch.size, buffer.memory; or nothing.
    ours: list
    produces: list
    consumes: list


def properties(**settings):
    names = [name.replace("_", ".") for name in settings]
    return [word for pair in zip(names, settings.values()) for word in ["-X", "=".join(pair)]]


WAYS = [
    Way("as they come", [], [], []),
    Way(
        "alike",
        [5, 1_000_000, 32 << 20],
        properties(
            enable_idempotence="true",
            linger_ms="5",
            batch_size="1000000",
            batch_num_messages="1000000",
            queue_buffering_max_messages="1000000",
            queue_buffering_max_kbytes="32768",
        ),
        properties(check_crcs="true"),
    ),
]


class Cost(NamedTuple):
    records: int
    seconds: float
    cpu: float

    def __add__(self, other):
        return Cost(*(a + b for a, b in zip(self, other)))

    def __sub__(self, other):
        return Cost(*(a - b for a, b in zip(self, other)))

    def rate(self):
        return self.records / self.seconds

    def cpu_a_million(self):
        return self.cpu * 1e6 / self.records


def run(command):
    """What a program prints, and the processor time that it takes, the kernel's part included."""
    command = [str(word) for word in command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.alarm(PATIENCE_S)
    # Both write less than a pipe holds.
    _, status, usage = os.wait4(process.pid, 0)
    signal.alarm(0)
    process.returncode = os.waitstatus_to_exitcode(status)
    said, words = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{said}{words}")
    return said, usage.ru_utime + usage.ru_stime


class Ours:
    def __init__(self, program, address):
        self.program, self.address = program, address

    def cost(self, what, topic, size, count, *settings):
        said, cpu = run([self.program, what, self.address, topic, size, count, *settings])
        records, seconds = said.split()
        return Cost(int(records), float(seconds), cpu)

    def produce(self, topic, size, count, way):
        return self.cost("produce", topic, size, count, *way.ours)

    def consume(self, topic, load, way):
        return self.cost("consume", topic, load.size, load.count)

    def create(self, topic, load):
        run([self.program, "create", self.address, topic, load.size, load.partitions])

    def delete(self, topic):
        run([self.program, "delete", self.address, topic])


class Theirs:
    def __init__(self, program, address):
        self.program, self.address = program, address

    def cost(self, mode, topic, count, records, *settings):
        command = [self.program, mode, "-b", self.address, "-t", topic, "-c", count, "-u"]
        said, cpu = run([*command, *settings])
        # A head, a row for each second, and one for all.
        rows = [row.split("|")[1:] for row in said.splitlines() if row.startswith("|")]
        head, last = ([field.strip() for field in row] for row in (rows[0], rows[-1]))
        row = dict(zip(head, last))
        return Cost(int(row[records]), int(row["elapsed"]) / 1e3, cpu)

    def produce(self, topic, size, count, way):
        return self.cost("-P", topic, count, "dr", "-s", size, *way.produces)

    def consume(self, topic, load, way):
        partitions = [word for number in range(load.partitions) for word in ["-p", number]]
        where = ["-o", "beginning", *partitions]
        return self.cost("-C", topic, load.count, "msgs", *where, *way.consumes)


class Rounds:
    def __init__(self, clients, pid):
        self.clients, self.pid = clients, pid
        self.numbers = itertools.count()

    def broker_ticks(self):
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
        # The name of the program is in parentheses, and may hold anything.
        fields = stat[stat.rindex(")") + 2 :].split()
        return int(fields[11]) + int(fields[12])

    def await_quiet(self):
        for _ in range(QUIET_LOOKS):
            before = self.broker_ticks()
            time.sleep(0.2)
            if self.broker_ticks() - before <= QUIET_TICKS:
                return

    def round(self, load, way, number):
        """What producing and consuming have cost each client."""
        turns = self.clients if number % 2 == 0 else self.clients[::-1]
        ours = self.clients[0]
        topics = {client: f"clients-{next(self.numbers)}" for client in turns}
        produced = {}
        for client, topic in topics.items():
            ours.create(topic, load)
            self.await_quiet()
            begun = client.produce(topic, load.size, load.count // 4, way)
            whole = client.produce(topic, load.size, load.count + load.count // 4, way)
            produced[client] = whole - begun
        # Else the kernel writes it back meanwhile, on the same processors.
        os.sync()
        # All that is in a topic: the first records, too.
        there = load._replace(count=load.count + load.count // 4 * 2 + load.partitions)
        consumed = dict.fromkeys(turns, Cost(0, 0, 0))
        for topic in topics.values():
            for client in turns:
                self.await_quiet()
                consumed[client] += client.consume(topic, there, way)
        for topic in topics.values():
            ours.delete(topic)
        for client in turns:
            assert produced[client].records == load.count, "each record was acknowledged"
            assert consumed[client].records == 2 * there.count, "each record was consumed"
        return [(produced[client], consumed[client]) for client in self.clients]

    def warm_up(self, load, way):
        least, settled, discarded = float("inf"), 0, 0
        while settled < SETTLED and discarded < MAX_DISCARDED:
            before = self.broker_ticks()
            self.round(load, way, discarded)
            ticks = self.broker_ticks() - before
            settled = settled + 1 if ticks > least * LOWER else 0
            least = min(least, ticks)
            discarded += 1
        return discarded

    def load(self, load, way, rounds):
        # With one round nothing is to be learnt.
        discarded = self.warm_up(load, way) if rounds > 1 else 0
        costs = [self.round(load, way, number) for number in range(rounds)]
        plural = "" if load.partitions == 1 else "s"
        print(f"{load.size} B, {load.partitions} partition{plural}, {way.name} "
              f"({load.count:,} records, {discarded} rounds discarded)")
        for index, what in enumerate(["produce", "consume"]):
            pairs = [(ours[index], theirs[index]) for ours, theirs in costs]
            rates = [(ours.rate(), theirs.rate()) for ours, theirs in pairs]
            aim = f">= {THROUGHPUT:.1f}x"
            is_met = lambda ratio: ratio >= THROUGHPUT
            figures.compare(f"  {what}", rates, figures.per_second, aim, is_met)
            cpus = [(ours.cpu_a_million(), theirs.cpu_a_million()) for ours, theirs in pairs]
            what = "    … CPU of the client, a million records"
            aim = f"<= {CPU:.1f}x"
            figures.compare(what, cpus, figures.seconds, aim, lambda ratio: ratio <= CPU)


def main(ours, theirs, address, pid, rounds, sizes):
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"a run took over {PATIENCE_S} s"))
    for way in WAYS:
        told = " ".join(word for word in way.produces + way.consumes if word != "-X")
        names = ["linger.ms", "batch.size", "buffer.memory"]
        said = " ".join(f"{name}={value}" for name, value in zip(names, way.ours))
        print(f"{way.name}: ours {said or 'by its defaults'}; "
              f"librdkafka's {told or 'by its defaults'}")
    figures.line("what", "ottla", "librdkafka", "ratio (min-max)", "aim", "verdict")
    both = Rounds([Ours(ours, address), Theirs(theirs, address)], int(pid))
    loads = [tuple(map(int, load.split(":"))) for load in sizes.split(",")]
    for (size, count), partitions, way in itertools.product(loads, PARTITIONS, WAYS):
        both.load(Load(size, count, partitions), way, int(rounds))


main(*sys.argv[1:])
