"""Compares sweeps by fingerprints: whether two saw the same records, and which records not all saw alike.

Fingerprints come in blobs of 64-bit numbers and are compared in slices of the hash space, so that memory depends
on the size of a slice and not on the number of records. The fingerprint of a record without an identity is that of its
content. What counts is how often each stands in a sweep: several records of one answer may share an identity, but the
same record may stand in two answers.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from bulk_export.transform.dedup.fingerprints import column, slices

Within = Callable[[pa.Array], pa.Array]
# The answers of one sweep, a number with ids and contents each, from the beginning each time it is called. An answer
# may come in several pieces.
Sightings = Callable[[], Iterator[tuple[int, bytes, bytes]]]


def agree(before: Sightings, last: Sightings, rows: int, *, is_one_answer: bool) -> bool:
    """Whether the last sweep saw the records of the one before it and no others. `rows` is how many there are in both.

    If the last one `is_one_answer`, it shows a single moment. Otherwise the one before must have shown no record twice:
    an identity may stand in several of its answers only if these are records that the last sweep told apart, too.
    """
    return all(
        _agree_within(_rows(before, within), _rows(last, within), is_one_answer=is_one_answer)
        for within in slices(rows)
    )


def lacks(last: Sightings, earlier: Sequence[Sightings], rows: int) -> bool:
    """Whether a sweep saw fewer records of some identity than one of the earlier ones. `rows` is how many all have."""
    for within in slices(rows):
        seen = _counts(_rows(last, within))
        for sightings in earlier:
            proven = _counts(_rows(sightings, within))
            places = pc.index_in(proven["id"], value_set=seen["id"])
            found = pc.fill_null(pc.take(seen["total"], places), 0)
            if _any(pc.less(found, proven["proven"])):
                return True
    return False


def shared(sightings: Sightings, rows: int) -> int:
    """How many records of a sweep have an identity that another record of the same answer has, too."""
    found = 0
    for within in slices(rows):
        counts = _counts(_rows(sightings, within))
        twins = pc.and_(pc.greater(counts["most"], 1), pc.invert(counts["is_nameless"]))
        found += pc.sum(counts["most"].filter(twins)).as_py() or 0
    return found


def repetitions(sightings: Sightings, rows: int) -> int:
    """How many records of a sweep that nothing identifies hold the same as one of another answer."""
    found = 0
    for within in slices(rows):
        counts = _counts(_rows(sightings, within))
        beyond = pc.subtract(counts["total"], counts["most"])
        found += pc.sum(beyond.filter(counts["is_nameless"])).as_py() or 0
    return found


def distinct(sweeps: Sequence[Sightings], rows: int) -> int:
    """How many identities the sweeps saw together."""
    found = 0
    for within in slices(rows):
        seen = [_rows(sightings, within)["id"] for sightings in sweeps]
        found += len(pc.unique(pa.chunked_array([chunk for ids in seen for chunk in ids.chunks], pa.uint64())))
    return found


def unlike(sweeps: Sequence[Sightings], rows: int) -> frozenset[int]:
    """The ids that not every sweep saw equally often and with the same contents, or that stand in several answers."""
    found: set[int] = set()
    for within in slices(rows):
        tables = [_rows(sightings, within) for sightings in sweeps]
        for table in tables:
            counts = _counts(table)
            apart = pc.and_(pc.greater(counts["total"], counts["most"]), pc.invert(counts["is_nameless"]))
            found.update(counts["id"].filter(apart).to_pylist())
        copies = pa.concat_tables([_copies(table) for table in tables])
        groups = copies.group_by(["id", "content"]).aggregate(
            [("copies", "count"), ("copies", "min"), ("copies", "max")]
        )
        alike = pc.and_(
            pc.equal(groups["copies_count"], len(sweeps)), pc.equal(groups["copies_min"], groups["copies_max"])
        )
        found.update(groups["id"].filter(pc.invert(alike)).to_pylist())
    return frozenset(found)


def _agree_within(before: pa.Table, last: pa.Table, *, is_one_answer: bool) -> bool:
    one, other = _counts(before), _counts(last)
    if not one["id"].equals(other["id"]):
        return False
    wanted = one["most"] if is_one_answer else one["total"]
    if _any(pc.less(other["total"], wanted)) or _any(pc.greater(other["most"], one["total"])):
        return False
    if is_one_answer:
        return True
    apart = one["id"].filter(pc.and_(pc.greater(one["total"], one["most"]), pc.invert(one["is_nameless"])))
    if not len(apart):
        return True
    first, second = (_copies(table.filter(pc.is_in(table["id"], value_set=apart))) for table in (before, last))
    return bool(pc.max(first["copies"]).as_py() == 1) and all(
        first[name].equals(second[name]) for name in ("id", "content")
    )


def _rows(sightings: Sightings, within: Within) -> pa.Table:
    """The rows of a sweep that lie in a slice: id, content and answer."""
    return pa.concat_tables(
        [_ROWS.empty_table(), *(batch.filter(within(batch["id"])) for batch in _batches(sightings))]
    )


def _batches(sightings: Sightings) -> Iterator[pa.Table]:
    """All rows of a sweep, many answers at a time."""
    ids, contents, answers = bytearray(), bytearray(), array("q")
    for answer, of_ids, of_contents in sightings():
        ids += of_ids
        contents += of_contents
        answers.extend(array("q", [answer]) * (len(of_ids) // 8))
        if len(answers) >= _BATCH_ROWS:
            yield _batch(ids, contents, answers)
            ids, contents, answers = bytearray(), bytearray(), array("q")
    yield _batch(ids, contents, answers)


def _batch(ids: bytearray, contents: bytearray, answers: array[int]) -> pa.Table:
    numbers = pa.Array.from_buffers(pa.int64(), len(answers), [None, pa.py_buffer(answers.tobytes())])
    return pa.table([column(bytes(ids)), column(bytes(contents)), numbers], schema=_ROWS)


def _counts(rows: pa.Table) -> pa.Table:
    """By id, in order: how often it stands in a sweep (total), and in one answer at most (most).

    `is_nameless` says that it is no id but the content of a record without one; `proven` is how many records there are
    at least: those of one answer, or all of them where nothing says that two are the same.
    """
    answers = rows.group_by(["id", "answer"]).aggregate([("content", "count"), ("content", "min"), ("content", "max")])
    ids = (
        answers.group_by("id")
        .aggregate([("content_count", "sum"), ("content_count", "max"), ("content_min", "min"), ("content_max", "max")])
        .sort_by("id")
    )
    total, most = ids["content_count_sum"], ids["content_count_max"]
    nameless = pc.and_(pc.equal(ids["content_min_min"], ids["id"]), pc.equal(ids["content_max_max"], ids["id"]))
    return pa.table(
        {
            "id": ids["id"],
            "total": total,
            "most": most,
            "is_nameless": nameless,
            "proven": pc.if_else(nameless, total, most),
        }
    )


def _copies(rows: pa.Table) -> pa.Table:
    """How often each content of each id stands in a sweep, in order."""
    counted = rows.group_by(["id", "content"]).aggregate([("answer", "count")])
    return counted.rename_columns(["id", "content", "copies"]).sort_by([("id", "ascending"), ("content", "ascending")])


def _any(conditions: pa.ChunkedArray) -> bool:
    return bool(pc.any(conditions, min_count=0).as_py())


_ROWS = pa.schema([("id", pa.uint64()), ("content", pa.uint64()), ("answer", pa.int64())])
_BATCH_ROWS = 1 << 16
