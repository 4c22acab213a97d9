"""Response bodies from records, in the shape and format of an endpoint."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from bulk_export.core.model import Endpoint, Kind, RecordShape


class Renderer:
    """Renders the records of one endpoint, which are made with the members `id`, `type` and `attributes`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._shape = endpoint.shape
        self._is_default_shape = replace(endpoint.shape, identity=()) == RecordShape()
        self._columns = [*endpoint.shape.id, *(endpoint.shape.type or ()), *(field.name for field in endpoint.fields)]
        self._is_csv = endpoint.format == "csv"
        self.media_type = "text/csv" if self._is_csv else "application/json"

    def body(self, records: Iterable[str]) -> bytes:
        """Return the body of a page with some records, given as JSON texts."""
        if self._is_csv:
            return self._csv(map(json.loads, records))
        if not self._is_default_shape:
            records = (json.dumps(self.render(json.loads(record)), ensure_ascii=False) for record in records)
        before = "".join(f"{{{json.dumps(name)}:" for name in self._shape.at)
        return f"{before}[{','.join(records)}]{'}' * len(self._shape.at)}".encode()

    def render(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record as it is sent; for CSV its cells by column, empty ones as None."""
        if self._is_default_shape:
            return record
        shape = self._shape
        rendered: dict[str, Any] = {}
        if shape.id:
            record_id = int(record["id"]) if shape.id_type is Kind.INTEGER and not self._is_csv else record["id"]
            _put(rendered, shape.id, record_id)
        if shape.type is not None:
            _put(rendered, shape.type, record["type"])
        for name, value in record["attributes"].items():
            _put(rendered, (*shape.attributes, name), value)
        return {name: _cell(value) or None for name, value in rendered.items()} if self._is_csv else rendered

    def _csv(self, records: Iterable[dict[str, Any]]) -> bytes:
        """Return CSV with a header; empty if there are no records, as the service does."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        for number, record in enumerate(records):
            if number == 0:
                writer.writerow(self._columns)
            row = self.render(record)
            writer.writerow([row.get(name) or "" for name in self._columns])
        return text.getvalue().encode()


def _put(record: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *parents, name = path
    for parent in parents:
        record = record.setdefault(parent, {})
    record[name] = value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
