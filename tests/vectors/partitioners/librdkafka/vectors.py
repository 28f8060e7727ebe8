"""Reads keys (hex, one a line) and prints the partition chosen by librdkafka's `consistent`.

Calls the function that librdkafka exports, in the library that the confluent-kafka package bundles.
"""

import ctypes
import pathlib
import sys

import confluent_kafka

PARTITION_COUNTS = (1, 2, 3, 6, 7, 12, 100, 1000)

bundled = pathlib.Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
library = ctypes.CDLL(str(next(bundled.glob("librdkafka-*.so*"))))
consistent = library.rd_kafka_msg_partitioner_consistent
consistent.restype = ctypes.c_int32
consistent.argtypes = [
    ctypes.c_void_p,  # the topic: `consistent` does not look at it
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.c_int32,
    ctypes.c_void_p,
    ctypes.c_void_p,
]

for line in sys.stdin:
    key = bytes.fromhex(line.strip())
    for partitions in PARTITION_COUNTS:
        print(consistent(None, key, len(key), partitions, None, None))
