"""The kernel and Arrow count the same different values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.transform.distinct_values import count_distinct

COLUMNS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), st.sampled_from(["", "a", "b", "é" * 100, "x" * 128, "x" * 129, "y" * 129]) | st.text()),
    (pa.int64(), st.integers(0, 3) | st.integers(-(1 << 63), (1 << 63) - 1)),
    (pa.float64(), st.sampled_from([0.0, -0.0, float("nan")]) | st.floats()),
    (
        pa.timestamp("us", "UTC"),
        st.integers(-2, 2).map(lambda days: datetime(2020, 1, 9, tzinfo=UTC) + timedelta(days=days)),
    ),
    (pa.date32(), st.dates(date(2020, 1, 1), date(2020, 1, 9)) | st.dates()),
    (pa.bool_(), st.booleans()),
    (pa.int32(), st.integers(-2, 2)),
    (pa.null(), st.none()),
]


@pytest.mark.parametrize(("declared", "values"), COLUMNS, ids=[str(declared) for declared, _ in COLUMNS])
@given(data=st.data())
def test_count(declared: pa.DataType, values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    """Nulls do not count, and neither does what stands before and behind a slice."""
    column = pa.array(data.draw(st.lists(st.none() | values, max_size=30)), declared)
    column = column.slice(data.draw(st.integers(0, len(column))), data.draw(st.integers(0, 30)))
    assert count_distinct(column) == (0 if declared == pa.null() else pc.count_distinct(column).as_py())


def test_count_of_many() -> None:
    """As many as a row group has, each value three times."""
    texts = [f"value {number % 10_922}" for number in range(32_766)]
    assert count_distinct(pa.array(texts)) == 10_922
