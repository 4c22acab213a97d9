"""Pages of statements as bytes from a raw socket, and options of an export of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bulk_export.extract.client import Timeouts
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.tuning import Tuning
from tests.support.raw_server import response

QUICK = Tuning(shortest_backoff=0.001, longest_backoff=0.01, timeouts=Timeouts(connect=1, read=1, total=2, settling=0))


def statement_options(base_url: str, output: Path, **changes: Any) -> ExportOptions:
    """Options of an export of statements with two retries."""
    given: dict[str, Any] = {"base_url": base_url, "token": "t", "output": output, "min_interval": 0, "retries": 2}
    return ExportOptions.of(["statements"], **given | changes)


def page_number(head: bytes) -> int:
    """The page that a request asks for, from its head."""
    parameter = re.search(rb"page%5Bpage%5D=(\d+)", head)
    assert parameter is not None
    return int(parameter[1])


def statements_body(first: int, count: int) -> bytes:
    """The body of a page with `count` statements, numbered from `first`."""
    records = [{"id": f"{number:08}", "type": "statement", "attributes": {}} for number in range(first, first + count)]
    return json.dumps({"data": records}).encode()


def ten_pages(head: bytes) -> bytes:
    """The answer to a request for a page of a list of ten pages with ten statements each."""
    number = page_number(head)
    return response(statements_body(number * 10, 10 if number <= 10 else 0))
