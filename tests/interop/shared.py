"""What the members of a group were given, all together: every record, and none twice.

    shared.py EXPECTED FILE...   files have lines `record PARTITION OFFSET`

Members come and go while they read, and each commits what it has read before it gives a partition
up; so nothing is read twice, in whatever generation. Prints how many records each was given.
"""

import collections
import pathlib
import sys


def main(expected, *files):
    count = collections.Counter()
    for file in map(pathlib.Path, files):
        lines = [line.split() for line in file.read_text().splitlines()]
        records = [tuple(map(int, line[1:])) for line in lines if line[:1] == ["record"]]
        count.update(records)
        print("given", file.name, len(records))
    twice = sorted(record for record, times in count.items() if times > 1)
    if twice:
        sys.exit(f"{len(twice)} records were given out twice, the first is {twice[0]}")
    ends = collections.Counter()
    for partition, offset in count:
        ends[partition] = max(ends[partition], offset + 1)
    if sum(ends.values()) != len(count) or len(count) != int(expected):
        sys.exit(f"{len(count)} records were given out, where {expected} are there: {dict(ends)}")


main(*sys.argv[1:])
