"""Finds records that stand on more than one page, in bounded memory, and says which of them counts.

Each row leaves 64 bits of what tells it from others. When an endpoint is through, these fingerprints are compared in
slices of the hash space, so that memory depends on the size of a slice and not on the number of records. Only records
whose fingerprints meet are then looked at again, exactly.

What one answer shows twice are two records, whatever identifies them: nothing changes within an answer. So an identity
that stands twice in one answer does not identify, and a record without an identity is never taken for another one.
"""

from __future__ import annotations

import functools
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from bulk_export.core.model import PageKey
from bulk_export.transform.decode import Key

_SLICE_ROWS = 1 << 19


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Where a record stands, and how new it is: `version` compares, None where the record does not say.

    `id` is the record's identity, or where it has none a digest of all of it, in bytes. `content` tells one text of a
    record from another.
    """

    id: Key
    page: PageKey
    row: int
    version: float | None
    content: int = 0

    @classmethod
    def of(cls, key: Key, page: PageKey, row: int, version: float | None, content: int) -> Occurrence:
        """The occurrence of a record by its key, of which no more is held than tells it from others."""
        return cls(key if isinstance(key, str) else xxhash.xxh3_128_digest(key), page, row, version, content)


@dataclass(frozen=True, slots=True)
class Repeats:
    """What records that were met more than once amount to: the rows to leave out, by page.

    `duplicates` counts the rows that another answer had shown before, `shared` the records whose identity another
    record of the same answer has. If they are `unexplained`, a record was shown again although it does not say that it
    was updated in between.
    """

    left_out: Mapping[PageKey, frozenset[int]]
    duplicates: int
    shared: int
    unexplained: bool


def fingerprints(keys: Iterable[Key]) -> bytes:
    """64 bits of what tells each record from others, the same on every run, in order."""
    return fingerprints_of(key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key for key in keys)


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


def settle(occurrences: Iterable[Occurrence], *, is_one_answer: bool = False) -> Repeats:
    """Decide which occurrences of each record are left out: all but one.

    The newest version stays; among equally new ones, and where versions are unknown, the first in the order of the
    pages. Where identities turn out to be shared, only what is repeated word for word is left out, and of records
    without an identity nothing is. Each page is an answer of its own unless all of them `is_one_answer`.
    """
    groups: dict[Key, list[Occurrence]] = {}
    for occurrence in in_order(occurrences):
        groups.setdefault(occurrence.id, []).append(occurrence)
    identified = [group for identity, group in groups.items() if isinstance(identity, str)]
    if is_one_answer:
        return Repeats({}, 0, sum(len(group) for group in identified if len(group) > 1), unexplained=False)
    shared = sum(most for group in identified if (most := len(largest_answer(group))) > 1)
    lost: list[Occurrence] = []
    unexplained = False
    for group in identified:
        unexplained = unexplained or _is_unexplained(group)
        if shared:
            lost.extend(one for copies in by_content(group) for one in _beyond(copies, largest_answer(copies)))
        else:
            lost.extend(_beyond(group, [_newest(group)]))
    # Two records may well hold the same, so these are counted and kept.
    again = sum(
        len(group) - len(largest_answer(group)) for identity, group in groups.items() if isinstance(identity, bytes)
    )
    left_out: dict[PageKey, set[int]] = {}
    for one in lost:
        left_out.setdefault(one.page, set()).add(one.row)
    return Repeats(
        {page: frozenset(rows) for page, rows in left_out.items()},
        duplicates=len(lost) + again,
        shared=shared,
        unexplained=unexplained or again > 0,
    )


def in_order(occurrences: Iterable[Occurrence]) -> list[Occurrence]:
    """Occurrences in the order in which their rows came."""
    return sorted(occurrences, key=lambda one: (one.page.sweep, one.page.page, one.row))


def by_content(group: Sequence[Occurrence]) -> list[list[Occurrence]]:
    """Occurrences that hold the same, together, in the order of the first of each."""
    alike: dict[int, list[Occurrence]] = {}
    for one in group:
        alike.setdefault(one.content, []).append(one)
    return list(alike.values())


def largest_answer(group: Sequence[Occurrence]) -> list[Occurrence]:
    """Those of the occurrences that stand on one page, for the page that has most of them, the first of equals."""
    pages = Counter(one.page for one in group)
    page = max(pages, key=pages.__getitem__)
    return [one for one in group if one.page == page]


def _is_unexplained(group: Sequence[Occurrence]) -> bool:
    pages: dict[float | None, set[PageKey]] = {}
    for one in group:
        pages.setdefault(one.version, set()).add(one.page)
    return any(len(on_pages) > 1 for on_pages in pages.values())


def _newest(group: Sequence[Occurrence]) -> Occurrence:
    kept = group[0]
    for one in group[1:]:
        if one.version is not None and (kept.version is None or one.version > kept.version):
            kept = one
    return kept


def _beyond(group: Sequence[Occurrence], kept: Sequence[Occurrence]) -> list[Occurrence]:
    places = {(one.page, one.row) for one in kept}
    return [one for one in group if (one.page, one.row) not in places]


def _in_slice(prints: pa.Array, shift: int, wanted: int) -> pa.Array:
    if shift == 64:
        return pc.is_valid(prints)
    return pc.equal(pc.shift_right(prints, pa.scalar(shift, pa.uint64())), pa.scalar(wanted, pa.uint64()))
