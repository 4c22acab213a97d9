"""Flat lines: the kernel writes what orjson writes, or declines."""

from __future__ import annotations

import datetime
import struct
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulk_export.core.kernel_library import load_kernel
from bulk_export.transform.decode import Decoder
from bulk_export.transform.decode.flat_lines import FlatLines
from tests.support.batches import DOUBLES, FIRST, LAST, batch_of, batches
from tests.support.described import THINGS, page, record

compiled = pytest.mark.skipif(load_kernel() is None, reason="the kernel is not built, or not wanted")


def orjson_lines(batch: pa.RecordBatch) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_UTC_Z) + b"\n" for row in batch.to_pylist())


def check(batch: pa.RecordBatch, *, is_taken: bool = True) -> None:
    """The lines are orjson's, and the kernel made them unless it has to decline."""
    lines = FlatLines(batch.schema)
    assert lines.text(batch) == orjson_lines(batch)
    if load_kernel() is not None:
        assert ((made := lines._compiled) is not None and made.text(batch) is not None) is is_taken


@given(batches(), st.data())
def test_drawn_batches(batch: pa.RecordBatch, data: st.DataObject) -> None:
    """Whole batches, parts of them, and chosen rows."""
    check(batch)
    begin = data.draw(st.integers(0, batch.num_rows))
    part = batch.slice(begin, data.draw(st.integers(0, batch.num_rows - begin)))
    check(part)
    check(part.slice(part.num_rows // 2))
    rows = data.draw(st.lists(st.integers(0, part.num_rows - 1))) if part.num_rows else []
    check(part.take(pa.array(rows, pa.int64())))


@given(st.lists(DOUBLES))
@example([2251799813685248.25, 2251799813685248.75, 4503599627370497.5, 0.1 + 0.2, 5e-05, 1.2345678901234567e-05])
@example([1e-05, 9007199254740991.0, 1e15, 123456789012345.67, 9.999999999999999, 0.9999999999999999, 1 / 3, 2 / 3])
@example([float(2**power) for power in range(-16, 53)])
def test_doubles(doubles: list[float]) -> None:
    check(batch_of(doubles, pa.float64()))


@given(st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("d", struct.pack("Q", bits))[0]))
@example(float("nan"))
@example(float("-inf"))
@example(5e-324)
@example(2.0**53)
@example(1e16)
@example(9.999999999999999e-06)
def test_doubles_of_any_bits(double: float) -> None:
    """A double that has an exponent, or is no number, is orjson's to write."""
    check(batch_of([1.5, double], pa.float64()), is_taken=double == 0 or 1e-5 <= abs(double) < 2**53)


PLANES = "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\u2028" + "".join(chr(plane << 16 | 0xABCD) for plane in range(17))


@pytest.mark.parametrize("before", range(18))
def test_characters_at_every_position(before: int) -> None:
    """Control characters and every plane, relative to the sixteen bytes that are read at once."""
    characters = [*map(chr, range(0x80)), *PLANES]
    check(batch_of(["x" * before + one + "y" * 3 for one in characters] + ["x" * before], pa.string()))


EDGES = [
    ([None] * 9, pa.string()),
    ([None] * 9, pa.list_(pa.struct([("a", pa.int64())]))),
    ([{}, None], pa.struct([])),
    ([True, None, False] * 11, pa.bool_()),
    ([-(2**63), 2**63 - 1, 0, -1, 10**18, 10**18 - 1], pa.int64()),
    ([FIRST, LAST, datetime.date(2000, 2, 29), datetime.date(1900, 3, 1), datetime.date(1969, 12, 31)], pa.date32()),
    ([-1, 0, 1, -62135596800000000, 253402300799999999, -86400000000], pa.timestamp("us", "UTC")),
    (["x" * 200_000, '"' * 200_000, "", "\x00" * 200_000], pa.string()),
    ([[[[["a"], []], None], []], [[[[]]]]], pa.list_(pa.list_(pa.list_(pa.list_(pa.string()))))),
]


@pytest.mark.parametrize(("values", "declared"), EDGES, ids=[str(declared)[:30] for _, declared in EDGES])
def test_edges(values: list[Any], declared: pa.DataType) -> None:
    """Also of a part of the rows, in which bitmaps and offsets begin anywhere."""
    batch = batch_of(values, declared)
    for begin in range(batch.num_rows + 1):
        check(batch.slice(begin))
    check(batch.slice(0, 0))


def nested(number: int, depth: int) -> tuple[Any, pa.DataType]:
    """A number in lists and objects by turns."""
    declared: pa.DataType = pa.int64()
    value: Any = number
    for level in range(depth):
        declared, value = (pa.struct([("a", declared)]), {"a": value}) if level % 2 else (pa.list_(declared), [value])
    return value, declared


@pytest.mark.parametrize("depth", [62, 70, 200])
def test_deep_columns(depth: int) -> None:
    """The kernel takes columns up to some depth, and makes room for all their closing brackets."""
    values = [nested(-(10**18), depth)[0] for _ in range(250)]
    batch = batch_of([None, *values], nested(0, depth)[1])
    for size in range(0, 400, 8 if depth < 64 else 400):
        check(batch.set_column(3, "_extra", pa.array(["x" * size, *[None] * 250])), is_taken=depth < 64)


DECLINED_TYPES = [pa.large_string(), pa.int32(), pa.timestamp("ms", "UTC"), pa.timestamp("us"), pa.float32(), pa.null()]


@pytest.mark.parametrize("declared", DECLINED_TYPES, ids=str)
def test_other_types_are_left_to_orjson(declared: pa.DataType) -> None:
    check(batch_of([None], declared), is_taken=False)


def test_other_names_are_left_to_orjson() -> None:
    """Names that have to be escaped, and more columns than there is room for."""
    for names in (['quo"te', "a", "b"], ["line\nend", "a", "b"], [str(number) for number in range(300)]):
        check(pa.RecordBatch.from_arrays([pa.array(["é"])] * len(names), names), is_taken=False)


@compiled
@pytest.mark.parametrize(
    ("value", "declared"), [(-719163, pa.date32()), (2932897, pa.date32()), (2**63 - 1, pa.timestamp("us", "UTC"))]
)
def test_times_that_python_does_not_have_are_declined(value: int, declared: pa.DataType) -> None:
    """They cannot come up, so nothing more is asked than that the kernel writes none of them."""
    made = FlatLines(batch_of([], declared).schema)._compiled
    assert made is not None
    assert made.text(batch_of([value], declared)) is None


@compiled
def test_a_batch_of_another_schema_is_declined() -> None:
    made = FlatLines(batch_of([], pa.int64()).schema)._compiled
    assert made is not None
    assert made.text(batch_of([1], pa.int32())) is None


def test_decoder_gives_flat_lines() -> None:
    """The lines are those of the batch, also where the exact path made a part of it."""
    pages = [page(record(name="a\n", years=[1, None]), record(score=0.1)), page({"id": "b", "type": "thing"})]
    block = Decoder(THINGS, columns=True, lines="flat").decode(pages)
    assert block.batch is not None
    assert block.lines is not None
    assert b"".join(line + b"\n" for line in block.lines) == orjson_lines(block.batch)
    kept = block.without([0])
    assert kept.batch is not None
    check(kept.batch)
