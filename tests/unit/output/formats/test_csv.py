"""CSV part files: what other readers read in them is what was written."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.output.formats import CsvStyle, open_part
from bulk_export.output.formats.csv_reading import csv_rows
from bulk_export.output.formats.reading import count_rows
from bulk_export.transform.decode import Decoder
from bulk_export.transform.decode.csv_rows import CsvRows
from tests.support.decoding import body_of
from tests.support.described import FIELDS, THINGS, record
from tests.support.json_values import Raw

# Everything that a careless reader or writer of CSV makes something else of.
TEXTS = [
    *["plain", "", None, 'quo"ted', "a,b", "line\nfeed", "both\r\nof them", "return\ralone", " around ", "nul\0x"],
    *["null", "NA", "NaN", "é\u2028\U0001f600", "007", "1e5", "true", "2024-01-01", "#comment", "\ufeffbom", "a\\b"],
    *["\n", "\r\n", ",", '"', '""', "=1+1", "+44", "-1", "@name", "\ttab", "'quoted'"],
]
DIGITS = "12345678901234567890.000"
DECODER = Decoder(THINGS, columns=True, lines=None)
BLOCK = DECODER.decode([body_of([record(name=text) for text in TEXTS])])
# The options under which each reader tells a null from an empty text.
ARROW = {
    "parse_options": pa_csv.ParseOptions(newlines_in_values=True),
    "convert_options": pa_csv.ConvertOptions(
        strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""], column_types={"name": pa.string()}
    ),
}
DUCKDB = "read_csv(?, header = true, quote = '\"', escape = '\"', allow_quoted_nulls = false, types = {'name': 'text'})"


def write(path: Path, *drawn: Any, style: CsvStyle) -> Path:
    """A part with some records, or with TEXTS."""
    part = open_part(path, "csv", "none", DECODER.schema, style)
    part.write(DECODER.decode([body_of(list(drawn))]) if drawn else BLOCK)
    part.close()
    return path


@pytest.fixture(params=[CsvStyle(), CsvStyle(bom=True)], ids=["plain", "with a byte order mark"])
def part(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(tmp_path / "part-00000.csv", style=request.param)


def test_duckdb_reads_every_text(part: Path) -> None:
    with duckdb.connect() as connection:
        rows = connection.execute(f"select name from {DUCKDB}", [str(part)]).fetchall()
    assert [name for (name,) in rows] == TEXTS


def test_polars_reads_every_text(part: Path) -> None:
    read = pl.read_csv(part, infer_schema=False)
    assert read.columns[0] == "id"
    assert read["name"].to_list() == TEXTS


def test_pyarrow_reads_every_text(part: Path) -> None:
    read = pa_csv.read_csv(part, **ARROW)
    assert read.column_names[0] == "id"
    assert read["name"].to_pylist() == TEXTS


def test_python_reads_every_text(part: Path) -> None:
    """Python's module reads a null as an empty text, unless it is new enough and told to tell them apart."""
    with part.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert [row["name"] for row in rows] == [text or "" for text in TEXTS]
    if sys.version_info >= (3, 13):
        with part.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, strict=True, quoting=csv.QUOTE_NOTNULL))
        assert [row["name"] for row in rows] == TEXTS


@settings(max_examples=50)
@given(st.lists(st.none() | st.text(max_size=5) | st.text(st.sampled_from('",\r\n =\0'), max_size=5), min_size=1))
def test_drawn_texts_come_back(texts: list[str | None]) -> None:
    """Any text at all, in the middle of a row and at its end."""
    batch = pa.record_batch([pa.array(["a"] * len(texts)), *[pa.array(texts, pa.string())] * 2], ["id", "name", "last"])
    rows = CsvRows(batch.schema)
    content = rows.header + b"".join(rows.pieces(batch))
    assert csv_rows([content]) == len(texts)
    by_polars = pl.read_csv(io.BytesIO(content), infer_schema=False)
    assert by_polars["name"].to_list() == by_polars["last"].to_list() == texts
    assert pa_csv.read_csv(io.BytesIO(content), **ARROW)["name"].to_pylist() == texts


def test_rows_are_counted_whatever_they_hold(part: Path) -> None:
    assert count_rows(part) == len(TEXTS)


def test_bytes_of_a_part(tmp_path: Path) -> None:
    """Text is in quotes, nothing else is, a null is nothing, and lines end in CR LF."""
    path = write(
        tmp_path / "part-00000.csv",
        record(
            name="",
            paid=True,
            age=-5,
            score=1.5,
            updated_at="2025-03-25T03:21:32.5+01:00",
            day="2025-03-25",
            years=[1, None],
            aliases=['a"b', "=1"],
            enrolments=[{"email": "é"}],
        ),
        record(age=Raw(DIGITS), name="\ud800"),
        style=CsvStyle(safe=True),
    )
    header, first, second, end = path.read_bytes().decode().split("\r\n")
    assert header == ",".join(f'"{name}"' for name in ["id", "type", *FIELDS, "_extra"])
    assert first == (
        '"a","thing","",true,-5,1.5,2025-03-25T02:21:32.500000Z,2025-03-25,"[1,null]","[""a\\""b"",""=1""]",'
        '"[{""email"":""é"",""left"":null}]",'
    )
    assert second == '"a","thing",,,,,,,,,,"{""name"":""\\ud800"",""age"":' + DIGITS + '}"'
    assert end == ""


def test_types_come_back(tmp_path: Path) -> None:
    """Readers that infer types infer those of the columns; what is nested is JSON."""
    path = write(
        tmp_path / "part-00000.csv",
        *[record(paid=True, age=7, score=0.5, updated_at="2025-03-25T02:21:32Z", day="2025-03-25", years=[1])] * 3,
        style=CsvStyle(),
    )
    moment, day = datetime(2025, 3, 25, 2, 21, 32, tzinfo=UTC), date(2025, 3, 25)
    wanted = {"paid": True, "age": 7, "score": 0.5, "updated_at": moment, "day": day}
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        rows = connection.execute("select paid, age, score, epoch(updated_at), day from read_csv(?)", [str(path)])
        assert rows.fetchone() == (True, 7, 0.5, moment.timestamp(), day)
    for row in (
        pl.read_csv(path, try_parse_dates=True).row(0, named=True),
        pa_csv.read_csv(path).to_pylist()[0],
    ):
        assert {name: row[name] for name in wanted} == wanted
        assert json.loads(row["years"]) == [1]


def test_formulas_are_defused_in_text_only(tmp_path: Path) -> None:
    """With `safe`, text that begins like a formula gets an apostrophe, and a negative number stays a number."""
    drawn = [record(name=text, age=-1) for text in TEXTS]
    path = write(tmp_path / "part-00000.csv", *drawn, style=CsvStyle(safe=True))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    changed = {was: row["name"] for was, row in zip(TEXTS, rows, strict=True) if row["name"] != (was or "")}
    assert changed == {text: "'" + text for text in ["\n", "\r\n", "=1+1", "+44", "-1", "@name", "\ttab"]}
    assert {row["age"] for row in rows} == {"-1"}
    assert count_rows(path) == len(TEXTS)


def test_part_of_no_rows_has_a_header(tmp_path: Path) -> None:
    part = open_part(tmp_path / "part-00000.csv", "csv", "none", DECODER.schema, CsvStyle(bom=True))
    part.close()
    assert (tmp_path / "part-00000.csv").read_bytes().startswith(b'\xef\xbb\xbf"id","type","name",')
    assert count_rows(tmp_path / "part-00000.csv") == 0
