"""Counting rows of CSV: line ends in quotes end no row, and whatever is no row is noticed."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.output.formats import UnreadablePart, csv_reading
from bulk_export.output.formats.csv_reading import csv_rows

CELLS = st.text(st.sampled_from('",\r\n\ufeffaé\U0001f600'), max_size=4)


def cut(content: bytes, sizes: list[int]) -> list[bytes]:
    """The content in chunks of these sizes, and the rest."""
    chunks = []
    for size in sizes:
        chunks.append(content[:size])
        content = content[size:]
    return [*chunks, content]


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5), st.lists(st.integers(1, 9)), st.booleans())
def test_rows_of_any_cells_in_any_chunks(rows: list[tuple[str, str]], sizes: list[int], is_quoted: bool) -> None:
    """The count does not depend on what cells hold, whether they are quoted without need, or where chunks end."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL)
    writer.writerows([("id", "name"), *rows])
    for mark in (b"", b"\xef\xbb\xbf"):
        assert csv_rows(cut(mark + file.getvalue().encode(), sizes)) == len(rows)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=3), st.data())
def test_cut_file_is_noticed_or_ends_with_a_row(rows: list[tuple[str, str]], data: st.DataObject) -> None:
    """A file that is cut short within a row is never counted as whole."""
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    content = file.getvalue().encode()
    ends = {0: -1}
    for number in range(len(rows)):
        file = io.StringIO(newline="")
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows[: number + 1])
        ends[len(file.getvalue().encode())] = number
    size = data.draw(st.integers(0, len(content)))
    try:
        counted = csv_rows([content[:size]])
    except UnreadablePart:
        assert ends.get(size, -1) < 0
    else:
        assert counted == ends[size]


DAMAGES = {
    "nothing": (b"", "no header"),
    "a cell less": (b"a,b\r\n1,2\r\n1\r\n", "row 2 has another number"),
    "a cell more": (b'a,b\r\n"1,2","2","3"\r\n', "row 1 has another number"),
    "an empty line": (b"a,b\r\n\r\n", "row 1 has another number"),
    "a quote inside": (b'a,b\r\n1,x"y"\r\n', "row 1 is no row"),
    "text behind a quote": (b'a,b\r\n"1"x,2\r\n', "row 1 is no row"),
    "a line feed alone": (b"a,b\r\n1,2\n1,2\r\n", "row 1 is no row"),
    "a bad header": (b'a"b",c\r\n', "its header"),
    "an open quote": (b'a,b\r\n1,"2\r\n', "cut short"),
    "no last line end": (b"a,b\r\n1,2", "cut short"),
    "half a line end": (b"a,b\r\n1,2\r", "cut short"),
    "bytes that are no text": (b'a,b\r\n1,"\xff"\r\n', "not UTF-8"),
    "half a character": (b'a,b\r\n1,"\xc3', "not UTF-8"),
}


@pytest.mark.parametrize(("content", "reason"), DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("size", [1, 1_000])
def test_damage_is_noticed(content: bytes, reason: str, size: int) -> None:
    """A reason is given, which quotes nothing of the file."""
    with pytest.raises(UnreadablePart, match=reason):
        csv_rows(content[at : at + size] for at in range(0, len(content), size))


def test_line_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of one endless line does not fill the memory, while quoted text may be of any length."""
    monkeypatch.setattr(csv_reading, "LONGEST_LINE", 1_000)
    with pytest.raises(UnreadablePart, match="without an end"):
        csv_rows([b"a" * 100] * 20)
    assert csv_rows([b'a\r\n"', *[b"x" * 100] * 20, b'"\r\n']) == 1
