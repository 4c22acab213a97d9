"""CSV rows: the kernel and Arrow write the same, and what the rules say."""

from __future__ import annotations

import datetime
import json
import struct
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulk_export.core.kernel_library import load_kernel
from bulk_export.transform.decode import Decoder, csv_rows
from bulk_export.transform.decode.csv_rows import CsvRows
from tests.support.batches import FIRST, LAST, batch_of, batches
from tests.support.decoding import body_of
from tests.support.described import THINGS, record
from tests.support.json_values import Raw

FORMULAS = "=+-@\t\r\n\0\uff1d\uff0b\uff0d\uff20"


def quoted(text: str, *, safe: bool) -> str:
    apostrophe = "'" if safe and text and text[0] in FORMULAS else ""
    return '"' + (apostrophe + text).replace('"', '""') + '"'


def cell(value: Any, *, safe: bool) -> str:
    """A cell by the rules."""
    if value is None:
        return ""
    if isinstance(value, str):
        return quoted(value, safe=safe)
    text = orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()
    if isinstance(value, list | dict):
        return quoted(text, safe=safe)
    return text.strip('"') if isinstance(value, datetime.date) else text


def expected(batch: pa.RecordBatch, *, safe: bool) -> bytes:
    columns = [[cell(value, safe=safe) for value in column.to_pylist()] for column in batch.columns]
    return "".join(",".join(row) + "\r\n" for row in zip(*columns, strict=True)).encode()


def text_of(rows: CsvRows, batch: pa.RecordBatch) -> bytes:
    return b"".join(bytes(piece) for piece in rows.pieces(batch))


def check(batch: pa.RecordBatch, *, is_taken: bool = True) -> None:
    """The rows are as the rules say, with the kernel and without, which takes the batch unless it has to decline."""
    for safe in (False, True):
        rows = CsvRows(batch.schema, safe=safe)
        wanted = expected(batch, safe=safe)
        assert text_of(rows, batch) == wanted
        if load_kernel() is not None:
            assert ((made := rows._compiled) is not None and made.text(batch) is not None) is is_taken
        rows._compiled = None
        assert text_of(rows, batch) == wanted


@given(batches(), st.data())
def test_drawn_batches(batch: pa.RecordBatch, data: st.DataObject) -> None:
    """Whole batches, parts of them, and chosen rows."""
    check(batch)
    begin = data.draw(st.integers(0, batch.num_rows))
    part = batch.slice(begin, data.draw(st.integers(0, batch.num_rows - begin)))
    check(part)
    rows = data.draw(st.lists(st.integers(0, part.num_rows - 1))) if part.num_rows else []
    check(part.take(pa.array(rows, pa.int64())))


@given(st.lists(st.text(st.sampled_from(FORMULAS + "\"',a\ufe66é"), max_size=5)))
@example([character + "1" for character in FORMULAS])
@example(["\uff1e", "\xef\xbc", "\uff40", "\uff42"])
@example(["", '"', '""', "\r\n", "a,b", " a ", "'=1"])
@example(['"' * 200_000, "x" * 200_000 + '"', "\0" * 200_000])
def test_texts(texts: list[str]) -> None:
    """Quotes, line ends, separators, and what spreadsheets take for formulas."""
    check(batch_of(texts, pa.string()))


@given(st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("d", struct.pack("Q", bits))[0]))
@example(5e-324)
@example(1e16)
@example(-1e-7)
def test_doubles_of_any_bits(double: float) -> None:
    """A double with an exponent, which the kernel declines."""
    if abs(double) < float("inf"):
        check(batch_of([1.5, double, None], pa.float64()), is_taken=double == 0 or 1e-5 <= abs(double) < 2**53)


EDGES = [
    ([None] * 9, pa.string()),
    ([None] * 9, pa.list_(pa.struct([("a", pa.int64())]))),
    ([{}, None], pa.struct([])),
    ([True, None, False] * 11, pa.bool_()),
    ([-(2**63), 2**63 - 1, 0, -1], pa.int64()),
    ([FIRST, LAST, datetime.date(2000, 2, 29), datetime.date(1969, 12, 31)], pa.date32()),
    ([-1, 0, 1, -62135596800000000, 253402300799999999, -86400000000], pa.timestamp("us", "UTC")),
    ([['=1"', None, 'a"b\n'], [], None, ['"' * 70_000]], pa.list_(pa.string())),
    ([[{"a": '"', "b": FIRST}], None], pa.list_(pa.struct([("a", pa.string()), ("b", pa.date32())]))),
]


@pytest.mark.parametrize(("values", "declared"), EDGES, ids=[str(declared)[:30] for _, declared in EDGES])
def test_edges(values: list[Any], declared: pa.DataType) -> None:
    """Also of a part of the rows, in which bitmaps and offsets begin anywhere."""
    batch = batch_of(values, declared)
    for begin in range(batch.num_rows + 1):
        check(batch.slice(begin))


def test_names_that_the_kernel_does_not_know() -> None:
    """Any name of a column can be in a header, and more columns than the kernel takes."""
    names = ["=a", 'quo"te', "line\r\nend", "b,c", ""]
    batch = pa.RecordBatch.from_arrays([pa.array(["é"])] * len(names), names)
    assert CsvRows(batch.schema).header == b'"=a","quo""te","line\r\nend","b,c",""\r\n'
    assert CsvRows(batch.schema, safe=True).header.startswith(b'"\'=a",')
    check(batch, is_taken=False)
    many = [str(number) for number in range(300)]
    check(pa.RecordBatch.from_arrays([pa.array(["é"])] * 300, many), is_taken=False)


def test_single_column_has_no_line_without_anything() -> None:
    """Readers pass over a line without anything, so a null that stands alone is an empty text."""
    batch = pa.record_batch([pa.array(["{}", None])], ["_extra"])
    rows = CsvRows(batch.schema)
    assert text_of(rows, batch) == b'"{}"\r\n""\r\n'
    rows._compiled = None
    assert text_of(rows, batch) == b'"{}"\r\n""\r\n'


def test_large_batches_are_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of huge records are written a few at a time, down to one."""
    monkeypatch.setattr(csv_rows, "_MOST_BYTES", 1_000)
    batch = batch_of(["x" * 700, "y", "z" * 5_000, None, ""], pa.string())
    assert len(list(CsvRows(batch.schema).pieces(batch))) > 2
    check(batch)


def test_extra_keeps_digits_and_surrogates() -> None:
    """What fits no column is JSON in `_extra`, with each digit, and lone surrogates escaped."""
    digits = "123456789012345678901234567890.00100"
    body = body_of([record(age=Raw(digits), name="\ud800"), record(aliases=["\udfff", '"'])])
    batch = Decoder(THINGS, columns=True, lines=None).decode([body]).batch
    assert batch is not None
    check(batch)
    texts = batch.column("_extra").to_pylist()
    assert digits in texts[0]
    assert "\\ud800" in texts[0].lower()
    written = text_of(CsvRows(batch.schema), batch).decode()
    for text in texts:
        assert json.loads(text)
        assert '"' + text.replace('"', '""') + '"\r\n' in written
