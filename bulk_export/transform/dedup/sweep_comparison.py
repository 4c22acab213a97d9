"""Compares sweeps by fingerprints: do two of them have the same records, and which records differ between them?

A sweep gives, for each response, the fingerprints of the identities and of the contents of its records. They are
compared in slices of the hash space, so that memory depends on the size of a slice and not on the number of records.

What is compared are multisets: how often a fingerprint occurs in a sweep matters. One record may be in two responses
(it moved between two requests), and several records of one response may share an identity. So for each identity,

- `total` counts its rows in the sweep: no fewer records have it than `most`, and no more than `total`;
- `most` counts its rows in the response that has most of them: a response shows one moment, so these are different
  records.

A record without an identity has the fingerprint of its content as its identity. Nothing says that two such records are
the same, so all rows count.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from bulk_export.transform.dedup.fingerprints import InSlice, fingerprint_array, slices

# The responses of one sweep, from the first each time it is called: a number, and the fingerprints of identities and of
# contents, 8 bytes for each record. A response may come in several pieces.
SweepFingerprints = Callable[[], Iterator[tuple[int, bytes, bytes]]]

_ROWS = pa.schema([("id", pa.uint64()), ("content", pa.uint64()), ("response", pa.int64())])
_BATCH_ROWS = 1 << 16


def sweeps_agree(before: SweepFingerprints, last: SweepFingerprints, rows: int, *, is_one_response: bool) -> bool:
    """Whether the last sweep saw the records of the sweep before it, and no others.

    Args:
        before: The sweep before the last one.
        last: The last sweep.
        rows: How many rows the two have together.
        is_one_response: Whether the last sweep is a single response, which shows one moment. Otherwise the sweep before
            must have shown no record twice: an identity may be in several of its responses only if the last sweep, too,
            shows that these are different records.
    """
    return all(
        _agree_in_slice(_rows_in(before, in_slice), _rows_in(last, in_slice), is_one_response=is_one_response)
        for in_slice in slices(rows)
    )


def lacks_records(last: SweepFingerprints, earlier: Sequence[SweepFingerprints], rows: int) -> bool:
    """Whether the last sweep has fewer rows of some identity than an earlier one proves records.

    `rows` is how many rows all sweeps have together.
    """
    for in_slice in slices(rows):
        seen = _counts(_rows_in(last, in_slice))
        for sweep in earlier:
            expected = _counts(_rows_in(sweep, in_slice))
            positions = pc.index_in(expected["id"], value_set=seen["id"])
            totals = pc.fill_null(pc.take(seen["total"], positions), 0)
            if _any(pc.less(totals, expected["proven"])):
                return True
    return False


def count_shared_ids(sweep: SweepFingerprints, rows: int) -> int:
    """How many records of a sweep share their identity with another record of the same response."""
    shared = 0
    for in_slice in slices(rows):
        counts = _counts(_rows_in(sweep, in_slice))
        is_shared = pc.and_(pc.greater(counts["most"], 1), pc.invert(counts["has_no_id"]))
        shared += pc.sum(counts["most"].filter(is_shared)).as_py() or 0
    return shared


def count_repeats_without_id(sweep: SweepFingerprints, rows: int) -> int:
    """How many records without an identity have the content of one of another response."""
    repeats = 0
    for in_slice in slices(rows):
        counts = _counts(_rows_in(sweep, in_slice))
        in_others = pc.subtract(counts["total"], counts["most"])
        repeats += pc.sum(in_others.filter(counts["has_no_id"])).as_py() or 0
    return repeats


def count_ids(sweeps: Sequence[SweepFingerprints], rows: int) -> int:
    """How many different identities the sweeps saw together."""
    count = 0
    for in_slice in slices(rows):
        ids = [chunk for sweep in sweeps for chunk in _rows_in(sweep, in_slice)["id"].chunks]
        count += len(pc.unique(pa.chunked_array(ids, pa.uint64())))
    return count


def differing_ids(sweeps: Sequence[SweepFingerprints], rows: int) -> frozenset[int]:
    """Return the identities of the records that differ between sweeps.

    1. A sweep has the identity in several responses.
    2. Not every sweep has the same contents of it, each equally often.
    """
    differing: set[int] = set()
    for in_slice in slices(rows):
        tables = [_rows_in(sweep, in_slice) for sweep in sweeps]
        for table in tables:
            counts = _counts(table)
            differing.update(counts["id"].filter(_in_several_responses(counts)).to_pylist())
        copies = pa.concat_tables([_copies(table) for table in tables])
        groups = copies.group_by(["id", "content"]).aggregate(
            [("copies", "count"), ("copies", "min"), ("copies", "max")]
        )
        is_alike = pc.and_(
            pc.equal(groups["copies_count"], len(sweeps)), pc.equal(groups["copies_min"], groups["copies_max"])
        )
        differing.update(groups["id"].filter(pc.invert(is_alike)).to_pylist())
    return frozenset(differing)


def _agree_in_slice(before: pa.Table, last: pa.Table, *, is_one_response: bool) -> bool:
    before_counts, last_counts = _counts(before), _counts(last)
    # 1. The same identities.
    if not before_counts["id"].equals(last_counts["id"]):
        return False
    # 2. The last sweep shows every record that the one before proves, and proves none that the one before did not show.
    expected = before_counts["most"] if is_one_response else before_counts["total"]
    if _any(pc.less(last_counts["total"], expected)) or _any(pc.greater(last_counts["most"], before_counts["total"])):
        return False
    if is_one_response:
        return True
    # 3. If the sweep before has an identity in several responses, that is one record twice, and then another one may
    #    have been missed; unless each row has another content, and the last sweep shows the same contents.
    doubtful = before_counts["id"].filter(_in_several_responses(before_counts))
    if not len(doubtful):
        return True
    first, second = (_copies(table.filter(pc.is_in(table["id"], value_set=doubtful))) for table in (before, last))
    return bool(pc.max(first["copies"]).as_py() == 1) and all(
        first[name].equals(second[name]) for name in ("id", "content")
    )


def _in_several_responses(counts: pa.Table) -> pa.ChunkedArray:
    return pc.and_(pc.greater(counts["total"], counts["most"]), pc.invert(counts["has_no_id"]))


def _rows_in(sweep: SweepFingerprints, in_slice: InSlice) -> pa.Table:
    """The rows of a sweep whose identity is in a slice."""
    return pa.concat_tables([_ROWS.empty_table(), *(batch.filter(in_slice(batch["id"])) for batch in _batches(sweep))])


def _batches(sweep: SweepFingerprints) -> Iterator[pa.Table]:
    """All rows of a sweep, many responses at a time."""
    ids, contents, responses = bytearray(), bytearray(), array("q")
    for response, of_ids, of_contents in sweep():
        ids += of_ids
        contents += of_contents
        responses.extend(array("q", [response]) * (len(of_ids) // 8))
        if len(responses) >= _BATCH_ROWS:
            yield _batch(ids, contents, responses)
            ids, contents, responses = bytearray(), bytearray(), array("q")
    yield _batch(ids, contents, responses)


def _batch(ids: bytearray, contents: bytearray, responses: array[int]) -> pa.Table:
    numbers = pa.Array.from_buffers(pa.int64(), len(responses), [None, pa.py_buffer(responses.tobytes())])
    return pa.table([fingerprint_array(bytes(ids)), fingerprint_array(bytes(contents)), numbers], schema=_ROWS)


def _counts(rows: pa.Table) -> pa.Table:
    """Rows by identity, sorted: `total` in the sweep, `most` in one response.

    `has_no_id` says that the identity is the fingerprint of a content. `proven` is the least number of records.
    """
    responses = rows.group_by(["id", "response"]).aggregate(
        [("content", "count"), ("content", "min"), ("content", "max")]
    )
    ids = (
        responses.group_by("id")
        .aggregate([("content_count", "sum"), ("content_count", "max"), ("content_min", "min"), ("content_max", "max")])
        .sort_by("id")
    )
    total, most = ids["content_count_sum"], ids["content_count_max"]
    has_no_id = pc.and_(pc.equal(ids["content_min_min"], ids["id"]), pc.equal(ids["content_max_max"], ids["id"]))
    return pa.table(
        {
            "id": ids["id"],
            "total": total,
            "most": most,
            "has_no_id": has_no_id,
            "proven": pc.if_else(has_no_id, total, most),
        }
    )


def _copies(rows: pa.Table) -> pa.Table:
    """How often each content of each identity is in a sweep, sorted."""
    counted = rows.group_by(["id", "content"]).aggregate([("response", "count")])
    return counted.rename_columns(["id", "content", "copies"]).sort_by([("id", "ascending"), ("content", "ascending")])


def _any(conditions: pa.ChunkedArray) -> bool:
    return bool(pc.any(conditions, min_count=0).as_py())
