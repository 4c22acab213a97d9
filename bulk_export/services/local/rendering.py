"""Records as a service of a given shape shows them: in JSON of any arrangement, or as a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from bulk_export.core.model import Endpoint, Kind, RecordShape


class Renderer:
    """Shows the records of one endpoint, which are made with `id`, `type` and `attributes`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._shape = endpoint.shape
        self._is_usual = replace(endpoint.shape, identity=()) == RecordShape()
        self._columns = [*endpoint.shape.id, *(endpoint.shape.type or ()), *(field.name for field in endpoint.fields)]
        self._is_table = endpoint.format == "csv"
        self.media_type = "text/csv" if self._is_table else "application/json"

    def body(self, records: Iterable[str]) -> bytes:
        """A page of records, given as JSON texts."""
        if self._is_table:
            return self._table(map(json.loads, records))
        if not self._is_usual:
            records = (json.dumps(self.shown(json.loads(record)), ensure_ascii=False) for record in records)
        before = "".join(f"{{{json.dumps(name)}:" for name in self._shape.at)
        return f"{before}[{','.join(records)}]{'}' * len(self._shape.at)}".encode()

    def shown(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record as it is sent; a row of a table as its cells by name, empty ones as None."""
        if self._is_usual:
            return record
        shape = self._shape
        shown: dict[str, Any] = {}
        if shape.id:
            identity = int(record["id"]) if shape.id_type is Kind.INTEGER and not self._is_table else record["id"]
            _put(shown, shape.id, identity)
        if shape.type is not None:
            _put(shown, shape.type, record["type"])
        for name, value in record["attributes"].items():
            _put(shown, (*shape.attributes, name), value)
        return {name: _cell(value) or None for name, value in shown.items()} if self._is_table else shown

    def _table(self, records: Iterable[dict[str, Any]]) -> bytes:
        """A table with the names of its columns first; where there are no records, not even these are sent."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        for number, record in enumerate(records):
            if number == 0:
                writer.writerow(self._columns)
            row = self.shown(record)
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
