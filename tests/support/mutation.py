"""Bodies with a few bytes that are not as they were."""

from __future__ import annotations

import random

PIECES = [
    *(b'"', b":", b",", b" ", b"\n", b"}", b"{", b"[", b"]", b"\\", b"-", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0"),
    *(b"\\u0000", b"\\ud83d\\ude00", b"\\ud83d", b"\\/", b"\\x", b"null", b"true", b"0", b"1e5", b"00", b'"id":"x",'),
    *(b'"\\u0069d":"y",', b'"data":[],', b',"meta":{"a":[1,{}]}', b'"new":{"x":"\\u00e9\\/"},', b'"b":2,', b"+01:30"),
]


def mutated(chance: random.Random, body: bytes) -> bytes:
    """A body with a few bytes changed, inserted, repeated or taken away."""
    text = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(text) + 1)
        match chance.randrange(5):
            case 0 if at < len(text):
                text[at] = chance.randrange(256)
            case 1:
                text[at:at] = chance.choice(PIECES)
            case 2:
                del text[at : at + chance.randrange(1, 12)]
            case 3:
                other = chance.randrange(len(text) + 1)
                text[at:at] = text[other : other + chance.randrange(40)]
            case _:
                text[at : at + chance.randrange(1, 5)] = chance.choice(PIECES)
    return bytes(text)
