"""A body that holds all records of an endpoint, cut into pages: a list in JSON, or a table in CSV.

The body is held once; pages are made from it one at a time. Rows of a table become objects of texts by the names
in its first line: what the texts mean is for those to say who read the pages.
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
# Where the cells go that a row has beyond the columns.
SURPLUS = "/cells"

Page = tuple[list[bytes], bytes]


class UnpagedBody:
    """All records of an endpoint, checked to the end. `counts` are those of its pages; there is always one.

    `is_framed` says whether it is known by other means that the body is whole. Raises UnusablePage.
    """

    def __init__(self, endpoint: Endpoint, body: bytes, *, page_size: int, is_framed: bool) -> None:
        self._arrangement = RecordShaper(endpoint)
        self._page_size = page_size
        self._body = body
        self._records: Sequence[bytes] | None = None
        if endpoint.format == "csv":
            rows = _check_table(body, is_framed=is_framed)
        else:
            self._records = self._arrangement.split(body)
            rows = len(self._records)
        full, rest = divmod(rows, page_size)
        self.counts = [page_size] * full + [rest] * (rest > 0 or not full)

    def pages(self) -> Iterator[Page]:
        """The records of each page, and its body."""
        records = iter(self._records) if self._records is not None else table_rows(self._body)
        for count in self.counts:
            page = list(itertools.islice(records, count))
            yield page, self._arrangement.join(page)


def table_rows(body: bytes) -> Iterator[bytes]:
    """The rows of a table as JSON objects of strings; empty cells are null. Raises UnusablePage."""
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
    """How many rows a table has; none is a body of nothing, too, as services send it for a list without records.

    A body that ends within a row is refused as far as that can be seen.
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
    # The limit is one for the whole process; bodies are capped already.
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
