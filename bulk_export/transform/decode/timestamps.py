"""Parses columns of timestamps and dates at once, if all texts are in a usual form."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_MIDNIGHT = "T00:00:00+00:00"
# The first moment of the year 1: Arrow accepts earlier ones, Python does not.
_FIRST_TIMESTAMP = pa.scalar(-62_135_596_800_000_000, pa.timestamp("us", "UTC"))
_FIRST_DATE = pa.scalar(-719_162, pa.date32())
# YYYY-MM-DDTHH:MM:SSZ, with 1 to 6 digits of a second if there is a fraction.
_TIMESTAMP_LENGTHS = pa.array([20, 22, 23, 24, 25, 26, 27], pa.int32())


def parse_usual_timestamps(texts: pa.Array) -> pa.Array | None:
    """Timestamps, if all texts are RFC 3339 times that end in Z, in a form that Arrow reads the same way.

    None otherwise: then each has to be parsed by itself.
    """
    is_usual = pc.and_(
        pc.and_(pc.is_in(pc.binary_length(texts), _TIMESTAMP_LENGTHS), pc.equal(pc.find_substring(texts, "T"), 10)),
        pc.ends_with(texts, "Z"),
    )
    return _cast(texts, pa.timestamp("us", "UTC"), _FIRST_TIMESTAMP) if _all_true(is_usual) else None


def parse_usual_dates(texts: pa.Array) -> pa.Array | None:
    """Dates, if all texts are YYYY-MM-DD, or all are midnight in UTC; None otherwise."""
    lengths = pc.binary_length(texts)
    if not _all_true(pc.equal(lengths, 10)):
        if not _all_true(pc.and_(pc.equal(lengths, 25), pc.ends_with(texts, _MIDNIGHT))):
            return None
        texts = pc.utf8_slice_codeunits(texts, 0, 10)
    return _cast(texts, pa.date32(), _FIRST_DATE)


def _all_true(condition: pa.Array) -> bool:
    """Whether a condition holds for all values; nulls count as true."""
    return bool(pc.all(condition, skip_nulls=True, min_count=0).as_py())


def _cast(texts: pa.Array, target: pa.DataType, least: pa.Scalar) -> pa.Array | None:
    try:
        column = texts.cast(target)
    except pa.ArrowInvalid:
        return None
    return column if _all_true(pc.greater_equal(column, least)) else None
