"""Batches of any columns, and strategies for their values."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

FIRST, LAST = datetime.date(1, 1, 1), datetime.date(9999, 12, 31)
INSTANTS = st.datetimes() | st.datetimes().map(lambda instant: instant.replace(microsecond=0))
ODD_CHARACTERS = 'a"\\\b\f\n\r\t\x00\x1f\x7f/é\u2028\ud7ff\U0010ffff'
TEXTS = st.text(max_size=40) | st.text(st.sampled_from(ODD_CHARACTERS), max_size=40)
# Those that the kernel writes itself: zeros, and what has no exponent and no more than 53 bits of integer.
DOUBLES = st.floats(1e-5, 2.0**53, exclude_max=True)
DOUBLES = st.sampled_from([0.0, -0.0]) | DOUBLES | DOUBLES.map(lambda double: -double) | st.integers(0, 99).map(float)
SCALARS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): TEXTS,
    pa.bool_(): st.booleans(),
    pa.int64(): st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100),
    pa.float64(): DOUBLES,
    pa.timestamp("us", "UTC"): INSTANTS,
    pa.date32(): st.dates() | st.sampled_from([FIRST, LAST]),
}


def struct_of(members: dict[str, pa.DataType]) -> pa.DataType:
    return pa.struct([pa.field(name, declared) for name, declared in members.items()])


NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)
TYPES = st.recursive(
    st.sampled_from(list(SCALARS)),
    lambda inner: inner.map(pa.list_) | st.dictionaries(NAMES, inner, max_size=3).map(struct_of),
    max_leaves=4,
)


def values_of(declared: pa.DataType) -> st.SearchStrategy[Any]:
    """Values of a type, with nulls at every level."""
    if pa.types.is_list(declared):
        values: st.SearchStrategy[Any] = st.lists(values_of(declared.value_type), max_size=3)
    elif pa.types.is_struct(declared):
        values = st.fixed_dictionaries({field.name: values_of(field.type) for field in declared})
    else:
        values = SCALARS[declared]
    return st.none() | values


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Batches of any columns between those that every batch has."""
    columns = draw(st.dictionaries(NAMES.filter(lambda name: name not in ("id", "type")), TYPES, max_size=3))
    columns = {"id": pa.string(), "type": pa.string(), **columns, "_extra": pa.string()}
    rows = draw(st.integers(0, 9))
    made = [pa.array(draw(st.lists(values_of(one), min_size=rows, max_size=rows)), one) for one in columns.values()]
    return pa.RecordBatch.from_arrays(made, names=list(columns))


def batch_of(values: list[Any], declared: pa.DataType) -> pa.RecordBatch:
    """A batch with one column beside those that every batch has."""
    texts = pa.array([f"id {row}" for row in range(len(values))], pa.string())
    nulls = pa.nulls(len(values), pa.string())
    return pa.RecordBatch.from_arrays([texts, texts, pa.array(values, declared), nulls], ["id", "type", "c", "_extra"])
