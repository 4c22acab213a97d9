"""Descriptions of services with records of any shape, and exports of them compared with what was served."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bulk_export.core.model import Endpoint
from bulk_export.pipelines.export import export
from bulk_export.services.local import LocalService
from bulk_export.services.local.rendering import Renderer
from tests.support.exporting import QUICK, options
from tests.support.outputs import read_ndjson, read_parquet
from tests.support.restore import canonical, restore

FIELDS = {
    "name": "string",
    "paid": "boolean",
    "size": "integer",
    "weight": "number",
    "day": "date",
    "created_at": "timestamp",
    "updated_at": "timestamp",
    "owner": {"email": "string", "left": {"at": "timestamp"}},
    "tags": ["string"],
    "parts": [{"made": "date", "number": "integer"}],
}
CELLS = {name: declared for name, declared in FIELDS.items() if isinstance(declared, str)}
OFFSET = {"style": "offset", "number": "offset", "size": "limit", "filter": "{name}", "sort": "order_by"}
ORDER = {"order": ["created_at", "id"], "order_is_total": True}


def as_sent(endpoint: Endpoint, row: Mapping[str, Any]) -> Any:
    """Return the record from which a row of columns was made, in the shape of the service."""
    record = canonical(restore(row)) if endpoint.format == "csv" else restore(row)
    record.setdefault("attributes", {})
    return Renderer(endpoint).render(record)


def cell(value: Any) -> Any:
    """Return a cell with one form for equal instants, as `canonical` does."""
    form = canonical(value)
    return json.dumps(form) if isinstance(form, tuple) else form


async def export_and_compare(service: LocalService, output: Path, **changes: Any) -> dict[str, Any]:
    """Export everything as Parquet and NDJSON, and compare both with what the service has; the manifest.

    Lines are compared as they are, and rows in the form that they were sent in. Records of an endpoint without a total
    order may stand in any order.
    """
    described = service.settings.service
    await export(options(service, output, service=described, format=["parquet", "ndjson"], **changes), tuning=QUICK)
    manifest: dict[str, Any] = json.loads((output / "manifest.json").read_text())
    for endpoint in described:
        directory = output / endpoint.name
        served, lines = list(service.truth(endpoint.name)), read_ndjson(directory)
        rows = [as_sent(endpoint, row) for row in read_parquet(directory)]
        assert lines == served or not endpoint.order_is_total
        if endpoint.format == "csv":
            served, rows = ([{k: cell(v) for k, v in row.items()} for row in table] for table in (served, rows))
        served, rows, lines = ([canonical(record) for record in table] for table in (served, rows, lines))
        if not endpoint.order_is_total:
            served, rows, lines = (sorted(table, key=repr) for table in (served, rows, lines))
            assert lines == served or endpoint.format == "csv"
        assert rows == served
        assert not manifest["endpoints"][endpoint.name]["drift"]["unknown"]
    return manifest
