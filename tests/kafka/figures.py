"""Measures `ottla serve` alone, and makes a table of what java/Rounds.java has measured. Its tables
are those of clients.py, too.

    figures.py alone PROGRAM STARTS CONNECTIONS
    figures.py beside < ROUNDS
"""

import collections
import contextlib
import os
import pathlib
import resource
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

API_VERSIONS, METADATA = 18, 3

READY_MS = 20
SERVER_MIB = 15
CONNECTION_KIB = 16
THROUGHPUT = 1.0
CPU = 0.5

PATIENCE_S = 10


def line(what, ours, theirs="-", ratio="-", aim="-", verdict="-"):
    row = f"{what:<46} | {ours:>10} | {theirs:>10} | {ratio:>18} | {aim:>10} | {verdict}"
    print(row, flush=True)


def verdict(is_met):
    return "meets aim" if is_met else "below aim"


def median_ms(times):
    return f"{statistics.median(times):.1f} ms"


def range_ms(times):
    return f"({min(times):.1f}-{max(times):.1f} ms)"


@contextlib.contextmanager
def server(program, *arguments):
    """A server that is ready, its address, and how many seconds that has taken."""
    began = time.monotonic()
    command = [program, "serve", "--listen", "127.0.0.1:0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert select.select([process.stdout], [], [], PATIENCE_S)[0], "it gets ready"
        said = process.stdout.readline()
        seconds = time.monotonic() - began
        assert said.startswith(b"listening on "), said
        host, port = said.split()[-1].decode().rsplit(":", 1)
        yield process.pid, (host, int(port)), seconds
    finally:
        process.terminate()
        process.wait()


def ready(program, starts):
    def fresh():
        with tempfile.TemporaryDirectory() as directory:
            with server(program, "--data-dir", directory) as (_, _, seconds):
                return seconds

    def in_memory():
        with server(program) as (_, _, seconds):
            return seconds

    kept = tempfile.TemporaryDirectory()

    def again():
        with server(program, "--data-dir", kept.name) as (_, _, seconds):
            return seconds

    ways = [
        ("in memory", in_memory),
        ("a fresh data directory", fresh),
        ("one that was there", again),
    ]
    for name, start in ways:
        start()  # the program is in the page cache from here on
        # By turns: the disk is not the same for long.
        pairs = [(start(), ten_syncs()) for _ in range(starts)]
        times, syncs = ([1000 * pair[i] for pair in pairs] for i in range(2))
        line(
            f"ready, {name}",
            median_ms(times),
            ratio=range_ms(times),
            aim=f"<= {READY_MS} ms",
            verdict=verdict(statistics.median(times) <= READY_MS),
        )
        if start is fresh:
            what = "  … ten syncs of that disk, by themselves"
            line(what, median_ms(syncs), ratio=range_ms(syncs))


def ten_syncs():
    """What a fresh data directory takes of the disk: five small files, each put in place safely."""
    with tempfile.TemporaryDirectory() as directory:
        began = time.monotonic()
        for number in range(5):
            path = pathlib.Path(directory, str(number))
            with open(path.with_suffix(".tmp"), "xb") as file:
                file.write(b"as long as a line")
                file.flush()
                os.fdatasync(file.fileno())
            path.with_suffix(".tmp").rename(path)
            folder = os.open(directory, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        return time.monotonic() - began


def memory_kib(pid, field):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(row.split()[1]) for row in status.splitlines() if row.startswith(field + ":"))


def ask(connection, api, version, body):
    """One request; the length of its answer."""
    header = struct.pack(">hhih7s", api, version, 1, 7, b"figures")
    connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
    (length,) = struct.unpack(">i", receive(connection, 4))
    receive(connection, length)
    return length


def receive(connection, length):
    received = b""
    while len(received) < length:
        part = connection.recv(length - len(received))
        assert part, "the server has ended the connection"
        received += part
    return received


def connect(address):
    """A connection that has done what a client's does first."""
    connection = socket.create_connection(address, timeout=PATIENCE_S)
    ask(connection, API_VERSIONS, 0, b"")
    ask(connection, METADATA, 1, struct.pack(">i", -1))
    return connection


def idle(program, connections):
    with server(program) as (pid, address, _), contextlib.ExitStack() as stack:
        stack.enter_context(connect(address))
        before = memory_kib(pid, "VmRSS")
        own = memory_kib(pid, "RssAnon")
        mib = before / 1024
        line(
            "idle server, resident",
            f"{mib:.1f} MiB",
            aim=f"<= {SERVER_MIB} MiB",
            verdict=verdict(mib <= SERVER_MIB),
        )
        line("  … of that not the program's file (RssAnon)", f"{own / 1024:.1f} MiB")
        for _ in range(connections):
            stack.enter_context(connect(address))
        kib = (memory_kib(pid, "VmRSS") - before) / connections
        line(
            f"idle connection, of {connections:,}",
            f"{kib:.1f} KiB",
            aim=f"<= {CONNECTION_KIB} KiB",
            verdict=verdict(kib <= CONNECTION_KIB),
        )


def alone(program, starts, connections):
    # Here and in the server, which inherits it.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    line("what", "ottla", "Kafka", "ratio (min-max)", "aim", "verdict")
    ready(program, starts)
    room = connections if most == resource.RLIM_INFINITY else min(connections, most - 100)
    idle(program, room)


def per_second(rate):
    return f"{rate / 1e6:.2f} M/s" if rate >= 1e6 else f"{rate / 1e3:.1f} k/s"


def seconds(cpu):
    return f"{cpu:.2f} s"


def percent(part):
    return f"{part:.0%}"


def compare(what, pairs, show, aim, is_met):
    """Pairs of ours and theirs, one of a round. The aim is the median ratio's."""
    ratios = [ours / theirs for ours, theirs in pairs if min(ours, theirs) > 0]
    ours, theirs = (show(statistics.median(side)) for side in zip(*pairs))
    if len(ratios) < len(pairs):
        # The kernel counts in hundredths of a second, and a quick round has none; or it takes no
        # longer than what is taken off.
        return line(what, ours, theirs, verdict="too short")
    ratio = statistics.median(ratios)
    spread = f"{ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    line(what, ours, theirs, spread, aim, verdict(is_met(ratio)))


def beside(rows):
    rounds = collections.defaultdict(list)
    for row in rows:
        kind, *fields = row.rstrip("\n").split("\t")
        if kind == "settings":
            print(*fields, flush=True)
        elif kind == "round":
            *load, broker, rate, cpu, busy = fields
            rounds[*load, broker].append((float(rate), float(cpu), float(busy)))
        else:
            size, partitions, discarded, count = fields
            table(rounds, size, partitions, f"{int(count):,} records, {discarded} rounds discarded")


def table(rounds, size, partitions, how):
    plural = "" if partitions == "1" else "s"
    print(f"{size} B, {partitions} partition{plural} ({how})")
    for way in ["produce", "consume"]:
        ours = rounds[size, partitions, way, "ottla"]
        theirs = rounds[size, partitions, way, "Kafka"]
        rates, cpus = ([(a[i], b[i]) for a, b in zip(ours, theirs)] for i in range(2))
        aim = f">= {THROUGHPUT:.1f}x"
        compare(f"  {way}", rates, per_second, aim, lambda ratio: ratio >= THROUGHPUT)
        aim = f"<= {CPU:.1f}x"
        what = "    … CPU of the broker, a million records"
        compare(what, cpus, seconds, aim, lambda ratio: ratio <= CPU)
        if way == "consume":
            ours, theirs = (percent(statistics.median(it[2] for it in side))
                            for side in (ours, theirs))
            line("    … of the time the client was busy", ours, theirs)


def main(what, *arguments):
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if what == "alone":
        program, starts, connections = arguments
        alone(program, int(starts), int(connections))
    else:
        beside(sys.stdin)


if __name__ == "__main__":
    main(*sys.argv[1:])
