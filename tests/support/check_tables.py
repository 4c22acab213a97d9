"""Small exports and Delta tables of the endpoints that checks read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

INSTANT = pa.timestamp("us", "UTC")
SCHEMAS = {
    "npq-applications": pa.schema([("id", pa.string()), ("funded_place", pa.bool_()), ("updated_at", INSTANT)]),
    "participants-npq": pa.schema([("id", pa.string())]),
    "participant-declarations": pa.schema(
        [
            *((name, pa.string()) for name in ("id", "declaration_type", "state", "application_id", "participant_id")),
            ("created_at", INSTANT),
        ]
    ),
}


def day(number: int) -> datetime:
    """Midnight of a day of January 2025."""
    return datetime(2025, 1, number, tzinfo=UTC)


def application(name: str, funded_place: bool | None, updated: int = 1) -> dict[str, Any]:
    return {"id": name, "funded_place": funded_place, "updated_at": day(updated)}


def declaration(name: str, application_id: str | None, state: str = "submitted", person: str = "p") -> dict[str, Any]:
    row = {"id": name, "declaration_type": "started", "state": state, "application_id": application_id}
    return {**row, "participant_id": person, "created_at": day(10)}


def table(endpoint: str, rows: list[dict[str, Any]], removed: tuple[str, ...] | None = None) -> pa.Table:
    """Return rows in the columns of an endpoint, with those of a copy if the ids of `removed` records are given."""
    made = pa.Table.from_pylist(rows, schema=SCHEMAS[endpoint])
    if removed is None:
        return made
    return made.append_column("_removed_at", pa.array([day(9) if r["id"] in removed else None for r in rows], INSTANT))


def write_export(directory: Path, parameters: dict[str, Any] | None = None, **rows: list[dict[str, Any]]) -> Path:
    """An export of some endpoints, which are named with underscores."""
    directory.mkdir(exist_ok=True)
    endpoints = {}
    for key, records in ({"participants_npq": [{"id": "p"}]} | rows).items():
        endpoint = key.replace("_", "-")
        (directory / endpoint).mkdir()
        pq.write_table(table(endpoint, records), directory / endpoint / "part-00000.parquet")
        endpoints[endpoint] = {"files": [{"path": f"{endpoint}/part-00000.parquet"}]}
    manifest = {"tool": {"name": "bulk-export"}, "parameters": parameters or {}, "endpoints": endpoints}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory
