"""Compares sweeps by fingerprints: whether two saw the same records, and which records not all saw alike.

Fingerprints come in blobs of 64-bit numbers and are compared in slices of the hash space, so that memory depends
on the size of a slice and not on the number of records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from bulk_export.duplicates import column, slices

# The blobs of one sweep, ids and contents of a page each, from the beginning each time it is called.
Sightings = Callable[[], Iterator[tuple[bytes, bytes]]]


def same_ids(one: Sightings, other: Sightings, rows: int) -> bool:
    """Whether two sweeps saw the same ids, and the first saw none twice. `rows` is how many there are in both."""
    for within in slices(rows):
        seen = _ids(one, within)
        distinct = pc.unique(seen)
        if len(distinct) < len(seen):
            return False
        others = pc.unique(_ids(other, within))
        if len(others) != len(distinct) or not pc.all(pc.is_in(others, value_set=distinct), min_count=0).as_py():
            return False
    return True


def unlike(sweeps: Sequence[Sightings], rows: int) -> frozenset[int]:
    """The ids that not every sweep saw exactly once and with the same content."""
    found: set[int] = set()
    for within in slices(rows):
        parts = []
        for number, sightings in enumerate(sweeps):
            for ids, contents in sightings():
                mask = within(column(ids))
                taken = column(ids).filter(mask)
                marks = pa.array([number] * len(taken), pa.int32())
                parts.append(pa.table([taken, column(contents).filter(mask), marks], ["id", "content", "sweep"]))
        if not parts:
            continue
        groups = (
            pa.concat_tables(parts)
            .group_by("id")
            .aggregate([("id", "count"), ("content", "count_distinct"), ("sweep", "count_distinct")])
        )
        alike = pc.and_(
            pc.and_(
                pc.equal(groups["id_count"], len(sweeps)),
                pc.equal(groups["content_count_distinct"], 1),
            ),
            pc.equal(groups["sweep_count_distinct"], len(sweeps)),
        )
        found.update(groups["id"].filter(pc.invert(alike)).to_pylist())
    return frozenset(found)


def _ids(sightings: Sightings, within: Callable[[pa.Array], pa.Array]) -> pa.ChunkedArray:
    pieces = [column(ids).filter(within(column(ids))) for ids, _ in sightings()]
    return pa.chunked_array(pieces, pa.uint64())
