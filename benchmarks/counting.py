"""Counts what an exporter left, and how many different ids there are in it.

    python -m benchmarks.counting FORM DIRECTORY

Prints `[records, ids]`. FORM: `parquet` and `ndjson` (files below `out`, compressed or not), `airbyte` and `singer`
(messages on standard output), `said` (a number on standard output). Other tables that a peer leaves are not counted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.throughput import STANDARD_OUTPUT

RECORD_TYPE = "npq_application"
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}


def count(form: str, directory: Path) -> tuple[int, int]:
    """Records and different ids."""
    if form == "said":
        said = json.loads((directory / STANDARD_OUTPUT).read_text().splitlines()[-1])
        return said["records"], said["records"]
    if form == "parquet":
        ids = list(_parquet_ids(directory / "out"))
    elif form == "ndjson":
        ids = list(_line_ids(directory / "out"))
    else:
        ids = list(_message_ids(directory / STANDARD_OUTPUT, nested=form == "airbyte"))
    return len(ids), len(set(ids))


def _parquet_ids(directory: Path) -> Iterator[str]:
    for path in sorted(directory.rglob("*.parquet")):
        file = pq.ParquetFile(path)
        if {"id", "type"} <= set(file.schema_arrow.names):
            yield from file.read(columns=["id"]).column("id").to_pylist()


def _line_ids(directory: Path) -> Iterator[str]:
    for path in sorted(file for file in directory.rglob("*") if {".ndjson", ".jsonl"} & set(file.suffixes)):
        with path.open("rb") as file:
            compression = _MAGIC.get(file.read(2))
        with pa.input_stream(str(path), compression=compression) as stream:
            for line in stream.read().split(b"\n"):
                if line and (record := json.loads(line)).get("type") == RECORD_TYPE:
                    yield record["id"]


def _message_ids(path: Path, *, nested: bool) -> Iterator[str]:
    with path.open("rb") as lines:
        for message in map(json.loads, lines):
            if message["type"] == "RECORD":
                record = message["record"]
                yield record["data"]["id"] if nested else record["id"]


if __name__ == "__main__":
    print(json.dumps(count(sys.argv[1], Path(sys.argv[2]))))
