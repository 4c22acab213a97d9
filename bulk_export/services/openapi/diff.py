"""How a published description differs from the one at hand, and which differences are known and intended.

What a service sends counts, not what it publishes: where they differ, the built-in descriptions follow what is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from bulk_export.core.model import Endpoint, Field, Service, fold_type


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. The names of the attributes are those in the output of `endpoints --check --json`.

    Attributes:
        difference: `added` if only the published description has it, `removed` if only the one at hand has it.
        what: What differs.
        endpoint: The endpoint's name.
        name: The path of the field, or the name of the filter or sort; empty if the endpoint itself differs.
        described: The type in the description at hand; empty if there is none.
        published: The type in the published description; empty if there is none.
    """

    difference: Literal["added", "removed", "changed"]
    what: Literal["endpoint", "field", "filter", "sort", "record type"]
    endpoint: str
    name: str = ""
    described: str = ""
    published: str = ""

    def __str__(self) -> str:
        subject = f"{self.what} {self.endpoint}" + (f" {self.name}" if self.name else "")
        if self.difference == "changed":
            return f"changed: {subject} is {self.published} in the published description, {self.described} here"
        declared = self.published or self.described
        return f"{self.difference}: {subject}" + (f" ({declared})" if declared else "")


@dataclass(frozen=True, slots=True)
class KnownDifference:
    """An intended difference of a built-in description from the published one.

    Attributes:
        service: The name of the service.
        version: A version, or a pattern like `*`.
        endpoint: The name of an endpoint, or a pattern.
        name: The path of the field, or the name of the filter.
        published: Its published type; empty if it is not published.
        reason: Why the built-in description is different.
    """

    service: str
    version: str
    endpoint: str
    name: str
    published: str
    reason: str


_INSTANT = "published without a format; instants are sent"
_DAY = "published without a format; calendar days are sent"
_YEARS = "published as a list of unknown elements; years are sent"
KNOWN_DIFFERENCES = (
    KnownDifference("npq", "*", "participant-declarations", "has_passed", "string", "a boolean is sent"),
    KnownDifference("npq", "*", "participant-declarations", "declaration_date", "string", _INSTANT),
    KnownDifference("npq", "*", "participants-npq-outcomes", "completion_date", "string", "midnight of a day is sent"),
    KnownDifference("npq", "v3", "statements", "cut_off_date", "string", _DAY),
    KnownDifference("npq", "v3", "statements", "payment_date", "string", _DAY),
    KnownDifference("npq", "v3", "delivery-partners", "cohort[]", "string", "integers are sent"),
    KnownDifference("ecf", "v3", "statements", "cut_off_date", "string", _DAY),
    KnownDifference("ecf", "v3", "statements", "payment_date", "string", _DAY),
    KnownDifference("ect", "v3", "participants", "participant_id_changes[].changed_at", "string", _INSTANT),
    KnownDifference("ect", "v3", "participants-transfers", "transfers[].created_at", "date", "instants are sent"),
    KnownDifference("ect", "v3", "schools", "cohort", "years", "all but one year are ignored"),
    KnownDifference("ect", "v3", "statements", "cut_off_date", "string", _DAY),
    KnownDifference("ect", "v3", "statements", "payment_date", "string", _DAY),
    KnownDifference("ect", "v3", "delivery-partners", "cohort[]", "", _YEARS),
    KnownDifference("ect", "v3", "delivery-partners", "cohort[]", "any", _YEARS),
)


def compare(described: Service, published: Service) -> list[Change]:
    """Return the differences of endpoints (by path), fields, filters, sorts and record types."""
    ours = {endpoint.path: endpoint for endpoint in described}
    theirs = {endpoint.path: endpoint for endpoint in published}
    changes = [Change("removed", "endpoint", ours[path].name) for path in ours if path not in theirs]
    changes += [Change("added", "endpoint", theirs[path].name) for path in theirs if path not in ours]
    for path in ours:
        if path in theirs:
            changes.extend(_endpoint_changes(ours[path], theirs[path]))
    return changes


def unexpected_changes(described: Service, changes: Iterable[Change]) -> list[Change]:
    """Return the changes that are not among the known differences of a service."""
    return [change for change in changes if not any(_covers(known, described, change) for known in KNOWN_DIFFERENCES)]


def _covers(known: KnownDifference, described: Service, change: Change) -> bool:
    return (
        (known.service, known.name, known.published) == (described.name, change.name, change.published)
        and change.difference == ("changed" if known.published else "removed")
        and change.what in ("field", "filter")
        and fnmatchcase(described.version, known.version)
        and fnmatchcase(change.endpoint, known.endpoint)
    )


def _endpoint_changes(ours: Endpoint, theirs: Endpoint) -> Iterator[Change]:
    if ours.shape.type and theirs.shape.type and ours.record_type != theirs.record_type:
        yield Change("changed", "record type", ours.name, "", ours.record_type, theirs.record_type)
    yield from _named_changes("field", ours.name, dict(_leaves(ours.fields)), dict(_leaves(theirs.fields)))
    yield from _named_changes("filter", ours.name, _filter_types(ours), _filter_types(theirs))
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


def _filter_types(endpoint: Endpoint) -> dict[str, str]:
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
