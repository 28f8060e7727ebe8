"""Tools with a command line, and what they have to say of fill.py's records: called by run.

    commands_check.py TOOL ADDRESS PROGRAM TRANSCRIPT

TOOL is kafkatop, kafka-util or kafka-console, PROGRAM what it is started by; some of what it said
goes to TRANSCRIPT. `checks NUMBER` is how many comparisons there were. kafkatop comes first: it is
to see the groups as they were made; the others add some and delete some.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

TIMEOUT = 60  # seconds, for a command
PARTITIONS = {"empty": 1, "events": 2, "orders": 3, "users": 1}

checks = 0
transcript = []


def same(what, seen, expected):
    global checks
    if seen != expected:
        sys.exit(f"{what} differs from what is expected\nseen: {seen}\nexpected: {expected}")
    checks += 1


class Tool:
    """A program, and what it is told each time."""

    def __init__(self, program, name, always=()):
        self.program, self.name, self.always = program, name, list(always)

    def __call__(self, *arguments, status=0, given="", shown=None, lines=None):
        """What it says. With `shown` it goes into the transcript, under these arguments."""
        done = subprocess.run(
            [self.program, *self.always, *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        if status is not None and done.returncode != status:
            said = f"{done.stdout}{done.stderr}"
            sys.exit(f"{self.name} {arguments}: status {done.returncode}, not {status}\n{said}")
        if shown:
            said = [line.rstrip() for line in done.stdout.splitlines() if line.strip()][:lines]
            transcript.append("\n".join([f"$ {self.name} {shown}", *said]))
        return done.stdout if status == 0 else done.stdout + done.stderr


def order(number):
    """Of an order, all that there is: partition, offset, key, value and headers."""
    value = {"order": number, "item": f"item-{number % 7}", "cents": 100 + number}
    headers = {"source": "shop", "trace": str(number)}
    return number % 3, number // 3, f"customer-{number % 10}", value, headers


ORDERS = sorted(order(number) for number in range(300))


def kafkatop(address, program):
    tool = Tool(program, "kafkatop", ["--kafka-broker", address, "--text"])

    def group(state, topic, partitions, least, most):
        lag = {"partitions": partitions, "lag_max": most, "lag_min": least}
        return {"state": f"ConsumerGroupState.{state}", "topics": {topic: lag}}

    billing = group("STABLE", "orders", 3, 0, 60)
    reports = group("EMPTY", "events", 2, 0, 15)
    same("groups with members", json.loads(tool("--summary-json")), {"billing": billing})
    groups = json.loads(tool("--summary-json", "--all"))
    same("all groups", groups, {"billing": billing, "reports": reports})

    told = json.loads(tool("--topicinfo"))
    topics = {name: topic["partitions"] for name, topic in told["topics"].items()}
    topics = {name: count for name, count in topics.items() if not name.startswith("__")}
    same("topics", topics, PARTITIONS)
    host, port = address.rsplit(":", 1)
    same("brokers", told["brokers"], {"1": {"id": 1, "host": host, "port": int(port)}})

    rows = tool(
        "--all", "--poll-period", "1", "--poll-iterations", "1", shown="--text --all", lines=5
    ).splitlines()
    rows = [row.split() for row in rows if row.startswith(("billing", "reports"))]
    numbers = [["0.0", "60.0", "30.0"], ["0.0", "15.0", "7.5"]]
    same("least, greatest and median lag", [row[-3:] for row in rows[:2]], numbers)

    # It finds fault with a member that has something to read, and does not.
    health = json.loads(tool("--status", "--poll-period", "1"))
    same("health", health["billing-orders"]["rate"]["status"], "ERROR")


def kafka_util(address, program):
    tool = Tool(program, "kafka")
    settings = pathlib.Path(os.environ["HOME"], ".kafka-cli", "config.yaml")
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(
        "default: {organization: ottla, cluster: local}\n"
        "organizations:\n"
        "  ottla:\n"
        "    name: ottla\n"
        f'    clusters: {{local: {{bootstrap_servers: "{address}"}}}}\n'
    )

    def ask(*arguments):
        return json.loads(tool(*arguments, "-O", "json"))

    tool("cluster", "info", shown="cluster info")
    same("health", "UP" in tool("cluster", "health"), True)
    topics = {topic["name"]: topic["partitions"] for topic in ask("topic", "list")}
    same("topics", topics, PARTITIONS)

    groups = {group["group_id"]: group["state"] for group in ask("group", "list")}
    same("groups", groups, {"billing": "STABLE", "reports": "EMPTY"})
    tool("group", "describe", "billing", shown="group describe billing")
    group = ask("group", "describe", "billing")
    offsets = [(each["current_offset"], each["lag"]) for each in group["offsets"]]
    same("offsets and lag", offsets, [(40, 60), (70, 30), (100, 0)])
    [member] = group["members"]
    same("member", member["client_id"], "billing-1")
    given = [(each["topic"], each["partition"]) for each in member["assignments"]]
    same("what it is given", sorted(given), [("orders", index) for index in range(3)])

    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "records")
        tool("consume", "orders", "--from-beginning", "--timeout", "2", "--dump", str(path))
        records = json.loads(path.read_text())
    records = [
        (
            record["partition"],
            record["offset"],
            record["key"],
            record["value"],
            {header["key"]: header["value"] for header in record["headers"]},
        )
        for record in records
    ]
    same("records", sorted(records), ORDERS)

    def settings_of(topic):
        told = ask("topic", "describe", topic)
        return len(told["partitions"]), {each["name"]: each["value"] for each in told["configs"]}

    same("a compacted topic", settings_of("users")[1]["cleanup.policy"], "compact")
    tool("topic", "create", "util-made", "-p", "2", "--retention", "1h", "-y")
    partitions, settings = settings_of("util-made")
    same("a new topic", (partitions, settings["retention.ms"]), (2, "3600000"))
    tool("topic", "alter", "util-made", "-p", "4")
    tool("topic", "alter", "util-made", "--config", "retention.ms=7200000")
    partitions, settings = settings_of("util-made")
    same("an altered topic", (partitions, settings["retention.ms"]), (4, "7200000"))
    tool("topic", "delete", "util-made", "-y")
    same("a deleted topic", len(ask("topic", "list")), 4)

    reset = ["group", "reset-offsets", "-t", "events", "--to-earliest", "--execute"]
    tool(*reset, "reports", shown="group reset-offsets -t events --to-earliest --execute reports")
    group = ask("group", "describe", "reports")
    offsets = [(each["current_offset"], each["lag"]) for each in group["offsets"]]
    same("offsets that were reset", offsets, [(0, 20), (0, 20)])
    tool("group", "delete", "reports", "-y")
    refused = tool("group", "delete", "billing", "-y", status=None)
    same("a group with members", bool(re.search(r"(?i)not.?empty", refused)), True)
    # What it has consumed with, it may have left there.
    left = {group["group_id"] for group in ask("group", "list")}
    left = {group for group in left if not group.startswith("kafka-cli-")}
    same("groups left", left, {"billing"})


def kafka_console(address, program):
    tool = Tool(program, "kafka-console", ["--brokers", address, "--timeout", "20000"])

    def ask(*arguments, **options):
        return [json.loads(line) for line in tool(*arguments, **options).splitlines()]

    same("topics", ask("list"), sorted(PARTITIONS))
    [metadata] = ask("metadata")
    same("controller", metadata["controllerId"], 1)
    topics = {each["topic"]: len(each["partitionMetadata"]) for each in metadata["topicMetadata"]}
    same("partitions", topics, PARTITIONS)
    [settings] = ask("config", "--resource", "topic", "--resourceName", "users")
    settings = {each["name"]: each["value"] for each in settings["configs"]}
    same("a setting", settings["cleanup.policy"], "compact")
    ends = ask("topic:offsets", "orders", shown="topic:offsets orders")
    same("ends", [(each["low"], each["high"]) for each in ends], [("0", "100")] * 3)
    shown = "topic:offsets orders -g billing"
    [offsets] = ask(*shown.split(), shown=shown)
    offsets = [each["offset"] for each in offsets["partitions"]]
    same("what a group has committed", offsets, ["40", "70", "100"])

    def dump(topic):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "records")
            tool("topic:dump", topic, "--output", str(path))
            records = [json.loads(line) for line in path.read_text().splitlines()]
        return [
            (
                record["partition"],
                int(record["offset"]),
                record["key"],
                json.loads(record["value"]),
                record["headers"],
            )
            for record in records
        ]

    same("records", sorted(dump("orders")), ORDERS)
    tool("topic:create", "console-copy", "--partitions", "2")
    tool("topic:copy", "orders", "console-copy")
    copied = sorted((record[2:] for record in dump("console-copy")), key=lambda it: it[1]["order"])
    same("copies", copied, [order(number)[2:] for number in range(300)])

    new = {"key": "k", "value": {"made": "by hand"}, "headers": {"from": "a console"}}
    tool("produce", "console-copy", given=json.dumps(new) + "\n")
    count = ["consume", "console-copy", "--from", "0", "--count", "301"]
    records = [{name: record[name] for name in new} for record in ask(*count)]
    same("a record that was typed in", records.count(new), 1)
    shown = "consume users --from 0 --count 2"
    ask(*shown.split(), shown=shown)

    tool("topic:delete", "console-copy")
    same("topics left", ask("list"), sorted(PARTITIONS))


def main(name, address, program, path):
    tools = {"kafkatop": kafkatop, "kafka-util": kafka_util, "kafka-console": kafka_console}
    tools[name](address, program)
    pathlib.Path(path).write_text("\n\n".join(transcript) + "\n")
    print(f"checks {checks}")


main(*sys.argv[1:])
