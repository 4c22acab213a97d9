"""What a published description says otherwise than the one at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bulk_export.core.model import Endpoint, Field, Service, fold_type

TableDiff = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: `added` is in the published description only, `removed` in the one at hand only.

    `name` is empty for a whole endpoint. `described` and `published` are types where there are any.
    """

    difference: TableDiff
    what: Literal["endpoint", "field", "filter", "sort", "record type"]
    endpoint: str
    name: str = ""
    described: str = ""
    published: str = ""

    def __str__(self) -> str:
        subject = f"{self.what} {self.endpoint}" + (f" {self.name}" if self.name else "")
        if self.difference == "changed":
            return f"changed: {subject} is {self.published} in the published description, {self.described} here"
        shown = self.published or self.described
        return f"{self.difference}: {subject}" + (f" ({shown})" if shown else "")


def compare(described: Service, published: Service) -> list[Change]:
    """The differences in endpoints (by path), their fields with types, filters with types, and sorts."""
    ours = {endpoint.path: endpoint for endpoint in described}
    theirs = {endpoint.path: endpoint for endpoint in published}
    changes = [Change("removed", "endpoint", ours[path].name) for path in ours if path not in theirs]
    changes += [Change("added", "endpoint", theirs[path].name) for path in theirs if path not in ours]
    for path in ours:
        if path in theirs:
            changes.extend(_endpoint_changes(ours[path], theirs[path]))
    return changes


def _endpoint_changes(ours: Endpoint, theirs: Endpoint) -> Iterator[Change]:
    if ours.shape.type and theirs.shape.type and ours.record_type != theirs.record_type:
        yield Change("changed", "record type", ours.name, "", ours.record_type, theirs.record_type)
    yield from _named_changes("field", ours.name, dict(_leaves(ours.fields)), dict(_leaves(theirs.fields)))
    yield from _named_changes("filter", ours.name, _filters(ours), _filters(theirs))
    yield from _named_changes("sort", ours.name, dict.fromkeys(ours.sorts, ""), dict.fromkeys(theirs.sorts, ""))


def _named_changes(
    what: Literal["field", "filter", "sort"], endpoint: str, ours: Mapping[str, str], theirs: Mapping[str, str]
) -> Iterator[Change]:
    for name in ours:
        if name not in theirs:
            yield Change("removed", what, endpoint, name, described=ours[name])
        elif ours[name] != theirs[name]:
            yield Change("changed", what, endpoint, name, ours[name], theirs[name])
    for name in theirs:
        if name not in ours:
            yield Change("added", what, endpoint, name, published=theirs[name])


def _filters(endpoint: Endpoint) -> dict[str, str]:
    types = dict(endpoint.filter_types)
    return {name: types.get(name, "string") for name in endpoint.filters}


def _leaves(fields: Iterable[Field]) -> Iterator[tuple[str, str]]:
    """The scalar types in fields by path: `a.b` is a member of an object, `a[]` an element of a list."""
    for field in fields:
        leaves = fold_type(
            field.type,
            scalar=lambda kind: [("", kind.value)],
            list_of=lambda item: [(f"[]{path}", kind) for path, kind in item],
            struct=_leaves_of_members,
        )
        for path, kind in leaves:
            yield field.name + path, kind


def _leaves_of_members(members: Sequence[tuple[str, list[tuple[str, str]]]]) -> list[tuple[str, str]]:
    if not members:
        return [("", "object")]
    return [(f".{name}{path}", kind) for name, leaves in members for path, kind in leaves]
