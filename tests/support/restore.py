"""From a row of an export back to the record that the service sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from bulk_export.transform.decode.values import parse_timestamp


def restore(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a row, from its columns and `_extra`. Repeated keys keep their last value."""
    columns = dict(row)
    extra = json.loads(columns.pop("_extra") or "{}")
    record: dict[str, Any] = {"id": columns.pop("id"), "type": columns.pop("type")}
    around = {_plain(name): value for name, value in extra.pop("/record", {}).items() if name != "/overridden"}
    attributes = _merge(columns, extra)
    record.update(around)
    record.setdefault("attributes", attributes)
    return record


def _plain(name: str) -> str:
    return name[1:] if name.startswith("//") else name


def _merge(value: Any, overlay: Any) -> Any:
    if value is None:
        return overlay
    if isinstance(value, Mapping):
        members = {name: _merge(member, None) for name, member in value.items()}
        for name, left in (overlay or {}).items():
            if name == "/overridden":
                continue
            members[_plain(name)] = _merge(value.get(_plain(name)), left)
        return members
    if isinstance(value, list):
        return [_merge(element, (overlay or {}).get(str(position))) for position, element in enumerate(value)]
    return value


def canonical(value: Any) -> Any:
    """Return a value without what an export does not keep: null members, and the spelling of instants."""
    if isinstance(value, Mapping):
        members = {name: canonical(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member is not None}
    if isinstance(value, list):
        return [canonical(element) for element in value]
    if isinstance(value, datetime):
        value = value.astimezone(UTC).isoformat()
    elif isinstance(value, date):
        value = value.isoformat()
    moment = parse_timestamp(value)
    return value if moment is None else ("instant", moment)
