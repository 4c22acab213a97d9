"""Batches in a segment: the bodies of pages together with the rows that describe them, durable after one sync.

    header      see `_HEADER`; it is written last, so without it nothing else of the batch counts
    bodies      one behind the other
    rows        JSON: the rows of the pages, counts of requests, and facts

The digest covers the header and the rows, and the rows hold a CRC of each body, so a batch is whole or not there. Each
batch names the journal, its number and the digest of the one before. So what an earlier append left at the same place
is not taken for a later batch, unless it was written whole.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bulk_export.extract.content_encoding import crc32
from bulk_export.extract.journal.entries import InvalidRow, StoredPage, requests_from_row
from bulk_export.extract.journal.segment import Segment

_MAGIC = b"\x89batch\r\n"
# Magic bytes, token of the journal, number of the batch, digest of the batch before, sizes of bodies and rows, digest.
_HEADER = struct.Struct(">8s16sQ8sQQ8s")
_DIGEST_BYTES = 8
HEADER_BYTES = _HEADER.size
_SEARCHED_AT_ONCE = 1 << 20
# What describes a page: the columns of its row without the sum.
_COLUMNS = 11
# The rows of a batch describe at most some thousand pages.
_MOST_ROW_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Tip:
    """Where the next batch goes: its position in the segment, and number and digest of the batch before it.

    `token` is of the journal: 16 random bytes.
    """

    token: bytes
    position: int
    number: int
    digest: bytes

    @classmethod
    def from_row(cls, values: Sequence[Any]) -> Tip:
        """Return the tip that a row of the table `batches` describes. Raises InvalidRow, ValueError or TypeError."""
        token, position, number, digest = values
        tip = cls(bytes.fromhex(token), position, number, bytes.fromhex(digest))
        sizes = (len(tip.token), len(tip.digest))
        if not (type(position) is type(number) is int and 0 <= position < 2**53 and 0 <= number < 2**53):
            raise InvalidRow("is not described as a batch")
        if sizes != (16, _DIGEST_BYTES):
            raise InvalidRow("is not described as a batch")
        return tip

    def row(self) -> tuple[str, int, int, str]:
        """Return the row of the table `batches`."""
        return (self.token.hex(), self.position, self.number, self.digest.hex())


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit stored: rows of pages without their sums, requests for each endpoint, and facts."""

    pages: Sequence[Sequence[Any]]
    requests: Mapping[str, int]
    facts: Mapping[str, str]

    @classmethod
    def from_text(cls, text: bytes, *, cap: int, first: int, end: int) -> Batch:
        """Parse the rows of a batch, whose bodies lie between two positions. Raises InvalidRow or ValueError."""
        read = json.loads(text)
        if not (isinstance(read, list) and len(read) == 3):
            raise InvalidRow("does not say what it holds")
        pages, requests, facts = read
        if not (isinstance(pages, list) and isinstance(requests, dict) and isinstance(facts, dict)):
            raise InvalidRow("does not say what it holds")
        for row in pages:
            if len(row) != _COLUMNS:
                raise InvalidRow("holds a page that is not described")
            StoredPage.from_row(row, cap)
            position, size = row[-2:]
            if not first <= position <= position + size <= end:
                raise InvalidRow("holds pages that lie elsewhere")
        for counted in requests.items():
            requests_from_row(counted)
        if not all(isinstance(text, str) for text in facts.values()):
            raise InvalidRow("holds an entry that is no text")
        return cls(pages, requests, facts)

    def text(self) -> bytes:
        """Return the rows as they stand in the segment."""
        return json.dumps([self.pages, self.requests, self.facts], separators=(",", ":")).encode()


class DamagedBatch(Exception):
    """A batch that was durable is not as it was stored; the position is in the message."""


def append_batch(
    segment: Segment, tip: Tip, bodies: Iterable[bytes], describe: Callable[[Sequence[int]], Batch]
) -> tuple[Batch, Tip]:
    """Make a batch durable behind a tip, in one sync.

    Args:
        segment: The file; nobody else appends to it meanwhile.
        tip: Where the batch goes. What lies there is of an append that failed.
        bodies: The bodies of its pages, taken one at a time.
        describe: Returns the batch, from the positions of all bodies.

    Returns:
        The batch, and the tip behind it.

    Raises:
        OSError: It could not be stored, and the next one goes to the same place.
    """
    positions = []
    first = end = tip.position + HEADER_BYTES
    for body in bodies:
        positions.append(end)
        segment.write(body, end)
        end += len(body)
    batch = describe(positions)
    rows = batch.text()
    segment.write(rows, end)
    fields = (_MAGIC, tip.token, tip.number + 1, tip.digest, end - first, len(rows))
    digest = _digest(fields, rows)
    segment.write(_HEADER.pack(*fields, digest), tip.position)
    segment.sync()
    return batch, Tip(tip.token, end + len(rows), tip.number + 1, digest)


def batches_behind(segment: Segment, tip: Tip, *, cap: int) -> Iterator[tuple[Batch, Tip]]:
    """Yield the whole batches behind a tip, each with the tip behind it.

    What follows the last one is the rest of an append that was cut short, and is not there. It can only be at the end,
    since an append begins after the one before was synced. So

    1. a batch that is not whole, with nothing behind it, is torn;
    2. a batch that is not whole, with the header of a later one behind it, is damaged.

    Raises:
        DamagedBatch: Case 2, or a batch is whole but does not hold what this program writes.
        OSError: The segment cannot be read.
    """
    while True:
        found = _whole(segment, tip, cap)
        if found is None:
            later = _later_batch(segment, tip)
            if later is not None:
                raise DamagedBatch(
                    f"what it stored from byte {tip.position} on is not as it was, and byte {later} is of later pages"
                )
            return
        yield found
        tip = found[1]


def _whole(segment: Segment, tip: Tip, cap: int) -> tuple[Batch, Tip] | None:
    """The batch right behind a tip, None if it is not whole."""
    read = _header_at(segment, tip.position, tip.token)
    if read is None:
        return None
    number, previous, body_bytes, rows, digest = read
    if (number, previous) != (tip.number + 1, tip.digest):
        return None
    first = tip.position + HEADER_BYTES
    end = first + body_bytes
    try:
        batch = Batch.from_text(rows, cap=cap, first=first, end=end)
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        reason = str(error) if isinstance(error, InvalidRow) else "does not say what it holds"
        raise DamagedBatch(f"what it stored at byte {tip.position} {reason}") from None
    for row in batch.pages:
        position, size = row[-2:]
        stored = segment.read(position, size)
        if len(stored) != size or crc32(stored) != row[8]:
            return None
    return batch, Tip(tip.token, end + len(rows), number, digest)


def _header_at(segment: Segment, position: int, token: bytes) -> tuple[int, bytes, int, bytes, bytes] | None:
    """Number, previous digest, size of bodies, rows and digest of a batch, None if header and rows are not whole."""
    packed = segment.read(position, HEADER_BYTES)
    if len(packed) < HEADER_BYTES:
        return None
    *fields, digest = _HEADER.unpack(packed)
    magic, named, number, previous, body_bytes, row_bytes = fields
    if magic != _MAGIC or named != token or row_bytes > _MOST_ROW_BYTES:
        return None
    rows_at = position + HEADER_BYTES + body_bytes
    if rows_at + row_bytes > segment.size():
        return None
    rows = segment.read(rows_at, row_bytes)
    if len(rows) != row_bytes or _digest(fields, rows) != digest:
        return None
    return number, previous, body_bytes, rows, digest


def _later_batch(segment: Segment, tip: Tip) -> int | None:
    """The position of a batch with a higher number than the one that should be at a tip, None if there is none."""
    wanted = _MAGIC + tip.token
    position = tip.position
    while True:
        read = segment.read(position, _SEARCHED_AT_ONCE)
        at = read.find(wanted)
        while at >= 0:
            found = _header_at(segment, position + at, tip.token)
            if found is not None and found[0] > tip.number + 1:
                return position + at
            at = read.find(wanted, at + 1)
        if len(read) < _SEARCHED_AT_ONCE:
            return None
        position += len(read) - len(wanted) + 1


def _digest(fields: Sequence[Any], rows: bytes) -> bytes:
    hashed = hashlib.blake2b(_HEADER.pack(*fields, bytes(_DIGEST_BYTES)), digest_size=_DIGEST_BYTES)
    hashed.update(rows)
    return hashed.digest()
