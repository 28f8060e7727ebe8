"""kaskade, driven as at a terminal by Textual's own pilot: called by run.

    kaskade_check.py ADDRESS PICTURE TRANSCRIPT

Both modes are started with what kaskade's command line passes; keys are pressed, and what the
screen then holds is compared with what fill.py has put in. PICTURE is an SVG of the list of
topics, TRANSCRIPT the same as text. `checks NUMBER` is how many comparisons there were.
"""

import asyncio
import pathlib
import re
import sys
import time

from confluent_kafka.admin import AdminClient
from kaskade.admin import CreateTopicScreen, DescribeTopicScreen, KaskadeAdmin
from kaskade.configs import AUTO_OFFSET_RESET, BOOTSTRAP_SERVERS, EARLIEST
from kaskade.consumer import KaskadeConsumer, TopicScreen
from kaskade.deserializers import Deserialization
from textual.widgets import DataTable, Input

TIMEOUT = 30  # seconds, for anything
SIZE = (118, 14)
# Partitions, replicas, in sync, groups, members, records, lag; these two may change meanwhile.
TOPICS = {
    "empty": ["1", "1", "1", "0", "0", "≈0", "≈0"],
    "events": ["2", "1", "1", "1", "0", "≈40", "≈15"],
    "orders": ["3", "1", "1", "1", "1", "≈300", "≈90"],
    "users": ["1", "1", "1", "0", "0", "≈41", "≈0"],
}

checks = 0


def same(what, seen, expected):
    global checks
    if seen != expected:
        sys.exit(f"kaskade: {what} differs\nseen: {seen}\nexpected: {expected}")
    checks += 1


async def until(pilot, what, is_done):
    """Lets the screen go on until `is_done` says so."""
    deadline = time.monotonic() + TIMEOUT
    while not is_done():
        if time.monotonic() > deadline:
            notes = [str(note.message) for note in pilot.app._notifications]
            sys.exit(f"kaskade: not done in {TIMEOUT} s: {what}; it says {notes}")
        await pilot.pause(0.1)


def rows(screen, table):
    table = screen.query_one(table, DataTable)
    return [[str(cell) for cell in table.get_row_at(index)] for index in range(table.row_count)]


def topics(app):
    table = rows(app.screen_stack[0], "#topics-table")
    return {row[0]: row[1:] for row in table if not row[0].startswith("__")}


async def settled(pilot):
    """Waits for the end of a refresh; kaskade fails when it is left before."""
    frame = pilot.app.screen_stack[0].query_one("#topics-frame")
    await until(pilot, "a refresh", lambda: "Updated" in str(frame.border_subtitle))


async def select(pilot, topic):
    await until(pilot, f"a row of {topic}", lambda: topic in topics(pilot.app))
    await settled(pilot)
    table = pilot.app.query_one("#topics-table", DataTable)
    table.focus()
    table.move_cursor(row=table.get_row_index(topic), animate=False)
    await pilot.pause(0.2)


async def administration(address, picture, transcript):
    app = KaskadeAdmin({BOOTSTRAP_SERVERS: address}, refresh_interval=0)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        same("topics", topics(app), TOPICS)
        same("columns", len(app.query_one("#topics-table", DataTable).columns), 8)
        await select(pilot, "orders")
        picture.write_text(drawn(app))
        transcript.write_text(text(app))

        await pilot.press("d")
        await until(pilot, "the topic", lambda: isinstance(app.screen, DescribeTopicScreen))
        await pilot.pause(0.2)
        same(
            "partitions",
            rows(app.screen, "#partitions-table"),
            [[str(index), "1", "0", "100", "100", "[1]", "[1]"] for index in range(3)],
        )
        configurations = dict(rows(app.screen, "#configurations-table"))
        same("cleanup.policy", configurations["cleanup.policy"], "delete")
        [group] = rows(app.screen, "#groups-table")
        same("group", [group[0], *group[2:]], ["billing", "stable", "range", "3", "1", "90"])
        same(
            "group's offsets",
            rows(app.screen, "#group-offsets-table"),
            [
                ["billing", str(index), str(committed), "100", str(100 - committed)]
                for index, committed in enumerate([40, 70, 100])
            ],
        )
        [member] = rows(app.screen, "#group-members-table")
        same("member", [member[0], member[1]], ["billing", "billing-1"])
        same("assignment", member[4], "[0, 1, 2]")
        await pilot.press("escape")

        await pilot.press("n")
        await until(pilot, "a form", lambda: isinstance(app.screen, CreateTopicScreen))
        app.screen.query_one("#name", Input).focus()
        await pilot.press(*"console-made")
        app.screen.query_one("#partitions", Input).value = "2"
        await pilot.press("f2")
        await until(pilot, "creation", lambda: topics(app).get("console-made", [0])[0] == "2")

        await select(pilot, "console-made")
        await pilot.press("e")
        await until(pilot, "a form", lambda: bool(app.screen.query("#retention")))
        same("retention", app.screen.query_one("#retention", Input).value, "604800000")
        app.screen.query_one("#partitions", Input).value = "4"
        app.screen.query_one("#retention", Input).value = "7200000"
        await pilot.press("f2")
        await until(pilot, "more partitions", lambda: topics(app)["console-made"][0] == "4")

        await select(pilot, "console-made")
        same("its records", topics(app)["console-made"][5], "≈0")
        await pilot.press("d")
        await until(pilot, "the topic", lambda: isinstance(app.screen, DescribeTopicScreen))
        configurations = dict(rows(app.screen, "#configurations-table"))
        same("altered retention", configurations["retention.ms"], "7200000")
        await pilot.press("escape")

        await pilot.press("ctrl+d", *"console-made", "enter")
        await until(pilot, "deletion", lambda: "console-made" not in topics(app))
        await settled(pilot)
    left = AdminClient({BOOTSTRAP_SERVERS: address}).list_topics(timeout=TIMEOUT).topics
    same("the deleted topic", "console-made" in left, False)


async def records(address):
    config = {BOOTSTRAP_SERVERS: address, AUTO_OFFSET_RESET: EARLIEST}
    formats = (Deserialization.STRING, Deserialization.JSON)
    app = KaskadeConsumer("orders", config, {}, {}, {}, *formats)
    async with app.run_test(size=SIZE) as pilot:
        table = "#records-table"
        await until(pilot, "records", lambda: app.query_one(table, DataTable).row_count >= 25)
        same("a row's record", len(rows(app, table)) % 25, 0)
        app.query_one(table, DataTable).focus()
        await pilot.press("enter")
        await until(pilot, "a record", lambda: isinstance(app.screen, TopicScreen))
        record = app.screen.record
        number = record.offset * 3 + record.partition
        same("key", record.key_outcome().content, f"customer-{number % 10}")
        order = {"order": number, "item": f"item-{number % 7}", "cents": 100 + number}
        same("value", record.value_outcome().content, order)
        headers = [(header.key, header.value) for header in record.headers]
        same("headers", headers, [("source", b"shop"), ("trace", str(number).encode())])


def drawn(app):
    """What is on the screen, as SVG; it is to fetch no fonts."""
    svg = app.export_screenshot(title="kaskade admin", simplify=True)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def text(app):
    """What is on the screen, without colours."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(part.text for part in line).rstrip() for line in lines).rstrip() + "\n"


def main(address, picture, transcript):
    asyncio.run(administration(address, pathlib.Path(picture), pathlib.Path(transcript)))
    asyncio.run(records(address))
    print(f"checks {checks}")


main(*sys.argv[1:])
