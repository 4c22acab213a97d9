"""Bodies that hold everything: cut into pages, checked to the end."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Endpoint, Kind, Paging, RecordShape
from bulk_export.transform.decode import Decoder, InvalidPage, UnpagedBody
from bulk_export.transform.decode.unpaged import table_rows
from tests.support.described import endpoint

FIELDS = {"name": Kind.STRING, "paid": Kind.BOOLEAN, "age": Kind.INTEGER, "score": Kind.NUMBER, "day": Kind.DATE}
TABLE: Endpoint = replace(
    endpoint(dict(FIELDS)), format="csv", paging=Paging("none"), shape=RecordShape((), ("id",), None, ())
)
cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["", "true", "false", "7", "007", "-0", "1.5", "1e400", "2021-05-31", "a\nb", 'q"q', ",", "\r\n", "\ufeff", "\x00"]
)


def table(rows: list[list[str]], line_end: str = "\n") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode()


def pages_of(body: bytes, page_size: int = 3, *, is_framed: bool = True) -> list[bytes]:
    return [page for _, page in UnpagedBody(TABLE, body, page_size=page_size, is_framed=is_framed).pages()]


@settings(deadline=None, max_examples=80)
@given(
    names=st.lists(st.sampled_from(["id", *FIELDS, "other", ""]), min_size=1, max_size=6, unique=True),
    data=st.data(),
    page_size=st.integers(1, 4),
    line_end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
)
def test_every_cell_is_in_one_page(
    names: list[str], data: st.DataObject, page_size: int, line_end: str, bom: bool
) -> None:
    # A row of one empty cell cannot be told from an empty line.
    some = cells.filter(bool) if len(names) == 1 else cells
    rows = data.draw(st.lists(st.lists(some, min_size=len(names), max_size=len(names)), max_size=9))
    names = ["id", *names] if names == [""] else names
    rows = [["x", *row] if len(row) < len(names) else row for row in rows]
    body = (b"\xef\xbb\xbf" if bom else b"") + table([names, *rows], line_end)
    unpaged = UnpagedBody(TABLE, body, page_size=page_size, is_framed=True)
    pages = list(unpaged.pages())
    assert [len(records) for records, _ in pages] == unpaged.counts
    assert all(count == page_size for count in unpaged.counts[:-1])
    shown = [json.loads(record) for records, _ in pages for record in records]
    assert shown == [{name: cell or None for name, cell in zip(names, row, strict=True)} for row in rows]

    block = Decoder(TABLE, columns=True, lines=None).decode([page for _, page in pages])
    assert block.batch is not None
    for row, taken in zip(shown, block.batch.to_pylist(), strict=True):
        extra = json.loads(taken["_extra"] or "{}")
        for name, cell in row.items():
            if name == "id":
                assert taken["id"] == (cell or "")
            elif cell is not None and name in FIELDS and taken[name] is not None:
                assert name not in extra
                assert name != "name" or taken[name] == cell
                assert name != "age" or str(taken[name]) == cell
                assert name != "paid" or {"true": True, "false": False}[cell] is taken[name]
            elif cell is not None:
                assert extra[name] == cell


def test_ragged_rows_lose_nothing() -> None:
    body = b"id,name,age\n1,a\n2,b,3,4,5\n\n3\n"
    assert list(map(json.loads, table_rows(body))) == [
        {"id": "1", "name": "a"},
        {"id": "2", "name": "b", "age": "3", "/cells": ["4", "5"]},
        {"id": "3"},
    ]
    block = Decoder(TABLE, columns=True, lines=None).decode(pages_of(body))
    assert block.batch is not None
    assert [json.loads(text) if text else None for text in block.batch["_extra"].to_pylist()] == [
        None,
        {"//cells": ["4", "5"]},
        None,
    ]
    assert block.drift.missing["name"] == 1


def test_repeated_column_keeps_both_cells() -> None:
    block = Decoder(TABLE, columns=True, lines=None).decode(pages_of(b"id,name,name\n1,a,b\n"))
    assert block.batch is not None
    (row,) = block.batch.to_pylist()
    assert row["name"] == "b"
    assert json.loads(row["_extra"]) == {"/overridden": {"name": ["a"]}}


@pytest.mark.parametrize(
    ("body", "is_framed"),
    [
        (b"", False),
        (b"\n", True),
        (b'id,name\n1,"canary', True),
        (b'id,name\n1,"canary\n', True),
        (b"id,name\n1,canary\n2", True),
        (b"id,name\n1,canary\n2,b", False),
        (b"id,name\n1,\xff\n", True),
        (b'id,name\n1,"canary"b\n', True),
        (b"<html></html>\n", True),
        (b'{"errors":[]}\n', True),
    ],
)
def test_invalid_table_is_refused(body: bytes, is_framed: bool) -> None:
    """What was cut short, or is no table, is refused, and the message quotes no cell."""
    with pytest.raises(InvalidPage) as refused:
        pages_of(body, is_framed=is_framed)
    assert "canary" not in str(refused.value)


def test_cuts_within_a_row_are_found() -> None:
    """A cut within quotes or before the last cell is found."""
    body = table([["id", "name", "age"], ["1", "two\nlines, quoted", "3"], ["2", "x", "4"]])
    unseen = []
    for length in range(1, len(body)):
        try:
            pages_of(body[:length], is_framed=False)
        except InvalidPage:
            continue
        unseen.append(body[:length])
    # Where nothing says how long a body is, only a cut between two lines looks complete.
    assert all(cut.endswith(b"\n") for cut in unseen)
    assert len(unseen) == 2


def test_empty_table_is_one_empty_page() -> None:
    unpaged = UnpagedBody(TABLE, b"id,name\n", page_size=10, is_framed=True)
    assert (unpaged.counts, list(unpaged.pages())) == ([0], [([], b"[]")])


def test_empty_body_needs_framing() -> None:
    """An empty body is a table without records if the framing proves that it is complete."""
    unpaged = UnpagedBody(TABLE, b"", page_size=10, is_framed=True)
    assert (unpaged.counts, list(unpaged.pages())) == ([0], [([], b"[]")])


def test_json_list_is_divided_the_same_way() -> None:
    things = replace(endpoint(dict(FIELDS)), paging=Paging("none"), shape=RecordShape(at=("a", "b")))
    body = json.dumps({"a": {"b": [{"id": str(number)} for number in range(7)]}, "total": 7}).encode()
    unpaged = UnpagedBody(things, body, page_size=3, is_framed=True)
    assert unpaged.counts == [3, 3, 1]
    assert list(Decoder(things, columns=False, lines=None).decode([page for _, page in unpaged.pages()]).ids) == list(
        "0123456"
    )
