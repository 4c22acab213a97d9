"""Values as JSON texts."""

from __future__ import annotations

import json

import pyarrow as pa

from bulk_export.transform.decode.json_texts import JsonTexts


def test_line_ends_in_values() -> None:
    """Characters that some libraries take for line ends are no ends of values."""
    texts = ["a\u2028b", "c\x85d", "e\x1cf", "g\rh\ni"]
    column = pa.array([[text] for text in texts])
    assert [json.loads(value) for value in JsonTexts(column.type).of(column).to_pylist()] == [[text] for text in texts]


def test_null_stays_null() -> None:
    """Null is no text, and neither is a column of nulls, nor one without rows."""
    column = pa.array([None, [], None], pa.list_(pa.int64()))
    assert JsonTexts(column.type).of(column).to_pylist() == [None, "[]", None]
    assert JsonTexts(column.type).of(column.slice(0, 0)).to_pylist() == []
