"""`bulk-export head`: a first look by one request."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest

import bulk_export
from bulk_export.cli.head import record_lines
from bulk_export.services.local import serving
from tests.support.command import run
from tests.support.exporting import FREE, TOKEN, settings

LOCAL = ("--environment", "local")
FREELY = {name: value for name, value in FREE.items() if name != "min_interval"}


async def test_one_request() -> None:
    """However many records there are, one request is sent."""
    async with serving(settings()) as service:
        batch = await bulk_export.head("npq-applications", limit=7, base_url=service.base_url, token=TOKEN, **FREELY)
        assert batch.num_rows == 7
        assert len(service.log) == 1


async def test_endpoint_without_records() -> None:
    """An empty list has no first records."""
    async with serving(settings()) as service:
        batch = await bulk_export.head("delivery-partners", base_url=service.base_url, token=TOKEN, **FREELY)
    assert list(record_lines(batch, 80)) == ["no records"]


def test_json_and_csv(tmp_path: Path) -> None:
    """For other programs, records are lines of JSON, or CSV."""
    lines = run("head", "statements", *LOCAL, "-n", "3", "--json", cwd=tmp_path).stdout.splitlines()
    rows = list(csv.DictReader(io.StringIO(run("head", "statements", *LOCAL, "-n", "3", "--csv", cwd=tmp_path).stdout)))
    assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in rows]
    assert len(rows) == 3


def test_unknown_endpoint(tmp_path: Path) -> None:
    """An endpoint that the service does not have is an error that names those it has."""
    done = run("head", "nothing", *LOCAL, cwd=tmp_path)
    assert done.returncode == 2
    assert "statements" in done.stderr


@pytest.mark.parametrize("width", [40, 60, 200])
def test_lines_fit_the_terminal(width: int) -> None:
    """Records are a table where it fits, and a line for each field elsewhere; no line is wider than the terminal."""
    batch = pa.RecordBatch.from_pylist(
        [{"id": "1", "name": "x" * 100, "tags": [{"a": "\x1b[31m"}], "empty": None, "n": 1.5}, {"id": "2"}],
        schema=pa.schema(
            [
                ("id", pa.string()),
                ("name", pa.string()),
                ("tags", pa.list_(pa.struct([("a", pa.string())]))),
                ("empty", pa.string()),
                ("n", pa.float64()),
            ]
        ),
    )
    lines = list(record_lines(batch, width))
    assert all(len(line) <= width for line in lines)
    assert "\x1b" not in "".join(lines)
    assert lines[0].startswith("id" if width == 200 else "record 1")
    assert not any("empty" in line for line in lines)
