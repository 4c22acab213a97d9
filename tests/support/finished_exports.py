"""Finished exports made of Arrow tables, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.core.files import sha256_of
from bulk_export.extract.journal import PartFile
from bulk_export.output.manifest import EndpointResult, RunCounters, build_manifest, manifest_text
from bulk_export.transform.schema import describe

ID = pa.field("id", pa.string(), nullable=False)
TYPE = pa.field("type", pa.string())
EXTRA = pa.field("_extra", pa.string())
INSTANT = pa.timestamp("us", "UTC")


def exported_table(rows: list[dict[str, Any]], *fields: pa.Field, id_field: pa.Field = ID) -> pa.Table:
    """A table with the columns that each export has, and further ones."""
    return pa.Table.from_pylist(rows, schema=pa.schema([id_field, TYPE, *fields, EXTRA]))


def write_export(
    directory: Path, tables: Mapping[str, pa.Table], *, parts: int = 1, service: str = "npq", **parameters: Any
) -> Path:
    """Write a finished export with one or several parts of each table. Returns its directory."""
    results = []
    for name, table in tables.items():
        (directory / name).mkdir(parents=True)
        size = max(1, -(-table.num_rows // parts))
        files = []
        for number in range(parts):
            piece = table.slice(number * size, size)
            path = f"{name}/part-{number:05d}.parquet"
            pq.write_table(piece, directory / path)
            target = directory / path
            files.append(PartFile(path, piece.num_rows, target.stat().st_size, sha256_of(target)))
        results.append(EndpointResult(name, table.num_rows, 1, 0, 1, describe(table.schema), {}, files))
    manifest = build_manifest(
        service=service,
        api_version="v3",
        base_url="https://service.example",
        parameters={"filters": {}, "updated_since": None, **parameters},
        started_at="2026-01-01T00:00:00Z",
        finished_at="2026-01-01T00:01:00Z",
        endpoints=results,
        run=RunCounters(1, 0, 0, 0),
    )
    (directory / "manifest.json").write_text(manifest_text(manifest))
    return directory
