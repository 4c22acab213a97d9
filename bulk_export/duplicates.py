"""Finds records that stand on more than one page, in bounded memory, and says which of them counts.

Each row leaves 64 bits of its id. When an endpoint is through, the fingerprints are compared in slices
of the hash space, so that memory depends on the size of a slice and not on the number of records. Only ids
whose fingerprints meet are then looked at again, exactly.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from bulk_export.model import PageKey

_SLICE_ROWS = 1 << 19


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Where a record stands, and how new it is: `version` compares, None where the record does not say.

    `content` tells one text of a record from another, where that was asked for.
    """

    id: str
    page: PageKey
    row: int
    version: float | None
    content: int = 0


def fingerprints(ids: Iterable[str]) -> bytes:
    """64 bits of each id, the same on every run, in order."""
    return fingerprints_of(identity.encode("utf-8", "surrogatepass") for identity in ids)


def fingerprints_of(texts: Iterable[bytes]) -> bytes:
    """64 bits of each text, the same on every run, in order."""
    return array("Q", map(xxhash.xxh3_64_intdigest, texts)).tobytes()


def repeated(blobs: Callable[[], Iterator[bytes]], rows: int) -> frozenset[int]:
    """The fingerprints that occur more than once. `blobs` gives all of them, in pieces, each time it is called."""
    found: set[int] = set()
    for within in slices(rows):
        pieces = [column(blob).filter(within(column(blob))) for blob in blobs()]
        values = pa.concat_arrays([pa.array([], pa.uint64()), *pieces])
        # A third of the memory that counting in a table takes.
        ordered = values.take(pc.array_sort_indices(values))
        found.update(ordered[1:].filter(pc.equal(ordered[1:], ordered[:-1])).to_pylist())
    return frozenset(found)


def slices(rows: int) -> Iterator[Callable[[pa.Array], pa.Array]]:
    """Conditions on fingerprints, each met by a part of the hash space that holds few of so many rows."""
    count = 1 << max(0, (rows // _SLICE_ROWS).bit_length())
    shift = 64 - (count.bit_length() - 1)
    for wanted in range(count):
        yield functools.partial(_in_slice, shift=shift, wanted=wanted)


def column(blob: bytes) -> pa.Array:
    """Fingerprints as an array of unsigned 64-bit numbers."""
    return pa.Array.from_buffers(pa.uint64(), len(blob) // 8, [None, pa.py_buffer(blob)])


def superseded(occurrences: Iterable[Occurrence]) -> Mapping[PageKey, frozenset[int]]:
    """The rows to leave out, by page: all occurrences of an id but one.

    The newest version stays; among equally new ones, and where versions are unknown, the first in the
    order of the pages.
    """
    kept: dict[str, Occurrence] = {}
    left_out: dict[PageKey, set[int]] = {}
    for occurrence in sorted(occurrences, key=lambda one: (one.page.sweep, one.page.page, one.row)):
        rival = kept.get(occurrence.id)
        loser = occurrence
        if rival is None or _newer(occurrence, rival):
            kept[occurrence.id] = occurrence
            if rival is None:
                continue
            loser = rival
        left_out.setdefault(loser.page, set()).add(loser.row)
    return {page: frozenset(rows) for page, rows in left_out.items()}


def _newer(occurrence: Occurrence, rival: Occurrence) -> bool:
    if occurrence.version is None:
        return False
    return rival.version is None or occurrence.version > rival.version


def _in_slice(prints: pa.Array, shift: int, wanted: int) -> pa.Array:
    if shift == 64:
        return pc.is_valid(prints)
    return pc.equal(pc.shift_right(prints, pa.scalar(shift, pa.uint64())), pa.scalar(wanted, pa.uint64()))
