"""Prints the keys of the vectors, one a line, in hex. Everything is fixed: no randomness."""

ALPHABET = b"abcdefghijklmnop"

keys = [b""]
# Every length from 1 to 16: murmur2 works in words of four bytes and treats the tail by itself.
keys += [ALPHABET[:length] for length in range(1, 17)]
# Ordinary keys.
keys += [b"N14228", b"N24211", b"N668DN", b"N619AA", b"N39463", b"N516JB", b"N829AS", b"N0EGMQ"]
keys += [b"alice", b"bob", b"orders", b"user-42", b"0", b"00000000-0000-0000-0000-000000000000"]
# UTF-8 of two, three and four bytes a character.
keys += [text.encode() for text in ("Praha-Žižkov", "přítel", "東京", "ключ", "🐞", "Straße 22")]
# Bytes that a signed `char` or `byte` would get wrong, at each place of a murmur2 tail.
keys += [b"\x00", b"\x00" * 4, b"\xff", b"\xff" * 2, b"\xff" * 3, b"\xff" * 4, b"\xff" * 5]
keys += [b"\x00\xff", b"\xff\x00", b"\x80\x7f\x80", bytes(range(0xF0, 0x100)), bytes(range(256))]
keys += [bytes(at % 251 for at in range(1024))]
# FNV-1a is 0x80000000 (i32::MIN, found by counting up): its absolute value does not exist.
keys += [b"2304669687", b"7845390393"]

assert len(set(keys)) == len(keys)
for key in keys:
    print(key.hex())
