"""Reads the files of an export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def read_ndjson(directory: Path) -> list[Any]:
    """The records in the NDJSON parts of a directory, in order."""
    return [
        json.loads(line)
        for path in sorted(directory.glob("*.ndjson"))
        for line in path.read_bytes().split(b"\n")
        if line
    ]


def read_parquet(directory: Path) -> list[dict[str, Any]]:
    """The rows in the Parquet parts of a directory, in order."""
    return [row for path in sorted(directory.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def files_under(directory: Path) -> Iterator[Path]:
    """All files below a directory, by path."""
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


def file_digests(directory: Path) -> dict[str, str]:
    """SHA-256 of all files of an export but its manifest and the log of its run, by their paths in it."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files_under(directory)
        if path.name not in ("manifest.json", "run.jsonl")
    }
