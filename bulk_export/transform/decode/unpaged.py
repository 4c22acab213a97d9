"""One response with all records of an endpoint, divided into pages: a list in JSON, or a table in CSV.

The body is held once; pages are made from it one at a time. Rows of a table become objects of strings, with the names
in its first line; `record_shape` gives them types later, when the pages are decoded.
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO

from bulk_export.core.model import Endpoint
from bulk_export.transform.decode.body import InvalidPage
from bulk_export.transform.decode.record_shape import RecordShaper

_BOM = b"\xef\xbb\xbf"
# The member for the cells that a row has beyond the columns.
SURPLUS = "/cells"

Page = tuple[list[bytes], bytes]


class UnpagedBody:
    """A response with all records of an endpoint.

    `counts` holds the number of records of each page; there is always one page.
    """

    def __init__(self, endpoint: Endpoint, body: bytes, *, page_size: int, is_framed: bool) -> None:
        """Check a body to its end.

        Args:
            endpoint: The description of the records, and whether they come as JSON or CSV.
            body: The inflated body.
            page_size: How many records a page gets.
            is_framed: Whether the HTTP framing proves that the body is complete.

        Raises:
            InvalidPage: The body is neither, or may have been cut short.
        """
        self._shaper = RecordShaper(endpoint)
        self._page_size = page_size
        self._body = body
        self._records: Sequence[bytes] | None = None
        if endpoint.format == "csv":
            rows = _check_table(body, is_framed=is_framed)
        else:
            self._records = self._shaper.split(body)
            rows = len(self._records)
        full, rest = divmod(rows, page_size)
        self.counts = [page_size] * full + [rest] * (rest > 0 or not full)

    def pages(self) -> Iterator[Page]:
        """The records and the body of each page."""
        records = iter(self._records) if self._records is not None else table_rows(self._body)
        for count in self.counts:
            page = list(itertools.islice(records, count))
            yield page, self._shaper.join(page)


def table_rows(body: bytes) -> Iterator[bytes]:
    """The rows of a table as JSON objects of strings; empty cells are null. Raises InvalidPage."""
    rows = _rows(body)
    names = next(rows, None)
    if names is None:
        return
    keys = [json.dumps(name, ensure_ascii=False) + ":" for name in names]
    width = len(keys)
    encode = json.JSONEncoder(ensure_ascii=False).encode
    for row in rows:
        if not row:
            continue
        cells = [key + (encode(cell) if cell else "null") for key, cell in zip(keys, row)]  # noqa: B905  # rows may be short
        if len(row) > width:
            cells.append(f"{json.dumps(SURPLUS)}:{json.dumps(row[width:], ensure_ascii=False)}")
        yield ("{" + ",".join(cells) + "}").encode()


def _check_table(body: bytes, *, is_framed: bool) -> int:
    """Count the rows of a table. Raises InvalidPage for a body that shows that it was cut short.

    1. An empty body is a list without records, but only if the framing proves that it is complete.
    2. A last line without an end may be cut, unless the framing proves otherwise.
    3. Even then, a last row with fewer cells than the first is cut.
    """
    if not body and is_framed:
        return 0
    if not body.strip():
        raise InvalidPage("empty, without even the names of columns")
    if body.removeprefix(_BOM).lstrip()[:1] in (b"<", b"{"):
        raise InvalidPage("not a table")
    ends_a_line = body.endswith((b"\n", b"\r"))
    if not ends_a_line and not is_framed:
        raise InvalidPage(f"cut short at byte {len(body)}: its last line has no end")
    width, last, count = 0, 0, -1
    for row in _rows(body):
        if not row:
            continue
        count += 1
        last = len(row)
        width = width or last
    if not ends_a_line and last < width:
        raise InvalidPage(f"cut short at byte {len(body)}: its last row lacks cells")
    return count


def _rows(body: bytes) -> Iterator[list[str]]:
    # The limit holds for the whole process; bodies are capped already.
    csv.field_size_limit(sys.maxsize)
    lines = 0

    def text() -> Iterator[str]:
        nonlocal lines
        for line in BytesIO(body):
            lines += 1
            yield (line.removeprefix(_BOM) if lines == 1 else line).decode()

    try:
        yield from csv.reader(text(), strict=True)
    except UnicodeDecodeError:
        raise InvalidPage(f"not UTF-8 in line {lines}") from None
    except csv.Error:
        # Its message may quote a cell.
        raise InvalidPage(f"not CSV in line {lines}") from None
