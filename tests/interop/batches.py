"""Looks at the batches of the topics CLIENT-CODEC-ACKS in a data directory: each has that codec,
and a producer's id if, and only if, the producer was idempotent. Prints how many there are of each
kind.

    batches.py DIRECTORY
"""

import collections
import pathlib
import re
import struct
import sys

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
# base_offset, length, leader epoch, magic, CRC, attributes, last offset delta, two timestamps,
# producer id
HEADER = struct.Struct(">qiibIhiqqq")
BEFORE_LENGTH_COUNTS = 12


def batches(log):
    """The codec of each batch, and whether it has a producer's id."""
    at = 0
    while at < len(log):
        _, length, _, magic, _, attributes, _, _, _, producer_id = HEADER.unpack_from(log, at)
        assert magic == 2, f"magic {magic} at {at}"
        yield CODECS[attributes & 7], producer_id >= 0
        at += BEFORE_LENGTH_COUNTS + length
    assert at == len(log), "the last batch is whole"


def main(directory):
    counts = collections.Counter()
    for path in sorted(pathlib.Path(directory).glob("*-0/*.log")):
        name = re.fullmatch(r".+-(\w+)-(0|1|all|idempotent)-0", path.parent.name)
        if name is None or name[1] not in CODECS:
            continue
        expected = name[1], name[2] == "idempotent"
        seen = list(batches(path.read_bytes()))
        assert seen and set(seen) == {expected}, f"{path.parent.name} has {set(seen)}"
        counts[expected] += len(seen)
    assert len(counts) == 2 * len(CODECS), f"not all are there: {counts}"
    print("| codec | batches | of idempotent producers |\n|---|--:|--:|")
    for codec in CODECS:
        plain, idempotent = counts[codec, False], counts[codec, True]
        print(f"| {codec} | {plain + idempotent} | {idempotent} |")


main(sys.argv[1])
