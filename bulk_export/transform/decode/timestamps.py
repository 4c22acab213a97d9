"""Columns of times from columns of text, where all of it is in a usual form."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_MIDNIGHT = "T00:00:00+00:00"
_FIRST_INSTANT = pa.scalar(-62_135_596_800_000_000, pa.timestamp("us", "UTC"))
_FIRST_DAY = pa.scalar(-719_162, pa.date32())
_INSTANT_LENGTHS = pa.array([20, 22, 23, 24, 25, 26, 27], pa.int32())


def usual_instants(texts: pa.Array) -> pa.Array | None:
    """Instants where all are in a form that Arrow reads as RFC 3339 would be read, ending in Z."""
    usual = pc.and_(
        pc.and_(pc.is_in(pc.binary_length(texts), _INSTANT_LENGTHS), pc.equal(pc.find_substring(texts, "T"), 10)),
        pc.ends_with(texts, "Z"),
    )
    return _cast(texts, pa.timestamp("us", "UTC"), _FIRST_INSTANT) if _all_true(usual) else None


def usual_days(texts: pa.Array) -> pa.Array | None:
    """Days where all are written as days, or all as midnight in UTC."""
    lengths = pc.binary_length(texts)
    if not _all_true(pc.equal(lengths, 10)):
        if not _all_true(pc.and_(pc.equal(lengths, 25), pc.ends_with(texts, _MIDNIGHT))):
            return None
        texts = pc.utf8_slice_codeunits(texts, 0, 10)
    return _cast(texts, pa.date32(), _FIRST_DAY)


def _all_true(condition: pa.Array) -> bool:
    """Nulls count as true."""
    return bool(pc.all(condition, skip_nulls=True, min_count=0).as_py())


def _cast(texts: pa.Array, target: pa.DataType, least: pa.Scalar) -> pa.Array | None:
    try:
        column = texts.cast(target)
    except pa.ArrowInvalid:
        return None
    return column if _all_true(pc.greater_equal(column, least)) else None
