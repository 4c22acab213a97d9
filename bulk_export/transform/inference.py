"""Columns for attributes that no description knows, inferred from all records that hold one.

Types only ever widen, so the outcome depends on which records there are, and neither on their order nor on where
pages end. What has no common type gets no column, and stays in `_extra`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct
from bulk_export.transform import schema
from bulk_export.transform.column_names import can_name_a_column, distinct_names
from bulk_export.transform.decode import lossless_json as exact
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.values import NOTHING, day, fit, instant

# An object with more names than this is a map from ids to something, and no row of columns.
_MOST_NAMES = 500
_DEEPEST = 50
_DAY_LENGTH = len("2021-05-31")
_WIDER = {
    frozenset({Kind.INTEGER, Kind.NUMBER}): Kind.NUMBER,
    frozenset({Kind.DATE, Kind.TIMESTAMP}): Kind.TIMESTAMP,
    frozenset({Kind.DATE, Kind.STRING}): Kind.STRING,
    frozenset({Kind.TIMESTAMP, Kind.STRING}): Kind.STRING,
}


@dataclass(slots=True)
class ObservedType:
    """What was met at one place: a scalar type, the elements of lists, the members of objects. Nulls say nothing."""

    kind: Kind | None = None
    item: ObservedType | None = None
    members: dict[str, ObservedType] | None = None
    is_mixed: bool = False

    def take(self, value: Any, depth: int = 0) -> None:
        """Widen to a value of `exact.loads`."""
        if value is None or self.is_mixed:
            return
        if depth > _DEEPEST:
            self._mix()
        elif isinstance(value, list):
            self.item = self.item or ObservedType()
            for element in value:
                self.item.take(element, depth + 1)
        elif isinstance(value, dict):
            self.members = {} if self.members is None else self.members
            for name, member in value.items():
                self.members.setdefault(name, ObservedType()).take(member, depth + 1)
            if len(self.members) > _MOST_NAMES:
                self._mix()
        else:
            self._widen(_kind_of(value))
        if (self.kind is not None) + (self.item is not None) + (self.members is not None) > 1:
            self._mix()

    def type(self) -> FieldType | None:
        """The type that takes everything that was met, None where there is none, or nothing but nulls was."""
        if self.item is not None:
            item = self.item.type()
            return None if item is None else ListOf(item)
        if self.members is not None:
            fields = _fields(self.members)
            return Struct(fields) if fields else None
        return self.kind

    def _widen(self, kind: Kind | None) -> None:
        if kind is None:
            self._mix()
        elif self.kind is None or self.kind is kind:
            self.kind = kind
        else:
            self.kind = _WIDER.get(frozenset({self.kind, kind}))
            if self.kind is None:
                self._mix()

    def _mix(self) -> None:
        self.kind, self.item, self.members, self.is_mixed = None, None, None, True


@dataclass(slots=True)
class SchemaInference:
    """Takes in records of an endpoint, and describes it with what they hold beyond its description."""

    endpoint: Endpoint
    _top: ObservedType = field(default_factory=ObservedType)

    def take(self, record: bytes) -> None:
        """Take in an arranged record that holds something without a column."""
        if exact.nested_deeper_than(_DEEPEST, record):
            return
        attributes = exact.loads(record).get(schema.ATTRIBUTES)
        if isinstance(attributes, dict):
            _take_unknown(self.endpoint.fields, attributes, self._top)

    def described(self) -> Endpoint:
        """The endpoint with fields for what was met: after those described, in the order of names."""
        return replace(self.endpoint, fields=_extended(self.endpoint.fields, self._top, schema.RESERVED_NAMES))


def _take_unknown(fields: Sequence[Field], members: Mapping[str, Any], seen: ObservedType) -> None:
    """Take in what stands in an object beyond its described fields, and inside of those."""
    described = {one.name: one.type for one in fields}
    unknown = {name: value for name, value in members.items() if name not in described}
    seen.take(unknown)
    for name, declared in described.items():
        value = members.get(name)
        if value is not None and not isinstance(declared, Kind):
            _take_inside(declared, value, _place(seen, name))


def _take_inside(declared: FieldType, value: Any, seen: ObservedType) -> None:
    if isinstance(declared, ListOf):
        for element in value if isinstance(value, list) else ():
            _take_inside(declared.item, element, seen)
    elif isinstance(declared, Struct) and isinstance(value, dict):
        _take_unknown(declared.fields, value, seen)


def _place(seen: ObservedType, name: str) -> ObservedType:
    """Where is kept what was met inside of a described field."""
    if seen.is_mixed:
        return ObservedType()
    seen.members = {} if seen.members is None else seen.members
    return seen.members.setdefault(name, ObservedType())


def _extended(fields: Sequence[Field], seen: ObservedType, taken: Iterable[str] = ()) -> tuple[Field, ...]:
    members = seen.members or {}
    inside = tuple(
        Field(one.name, _type_extended(one.type, members[one.name])) if one.name in members else one for one in fields
    )
    return inside + _fields(members, [*taken, *(one.name for one in fields)])


def _type_extended(declared: FieldType, seen: ObservedType) -> FieldType:
    if isinstance(declared, ListOf):
        return ListOf(_type_extended(declared.item, seen))
    return Struct(_extended(declared.fields, seen)) if isinstance(declared, Struct) else declared


def _fields(members: Mapping[str, ObservedType], taken: Iterable[str] = ()) -> tuple[Field, ...]:
    """Fields for members whose names no reader takes for one another, nor for one that is `taken`."""
    types = {name: declared for name in sorted(members) if (declared := members[name].type()) is not None}
    return tuple(Field(name, types[name]) for name in distinct_names(filter(_is_readable, types), taken))


def _is_readable(name: str) -> bool:
    return name.isprintable() and can_name_a_column(name)


def _kind_of(value: Any) -> Kind | None:
    """The narrowest type that takes a scalar without loss, None where none does."""
    if isinstance(value, str) and not isinstance(value, exact.Number):
        candidates: tuple[Kind, ...] = (Kind.STRING,)
        if len(value) == _DAY_LENGTH and day(value) is not None:
            candidates = (Kind.DATE,)
        elif len(value) > _DAY_LENGTH and instant(value) is not None:
            candidates = (Kind.TIMESTAMP,)
    else:
        candidates = (Kind.BOOLEAN, Kind.INTEGER, Kind.NUMBER)
    return next((kind for kind in candidates if fit(kind, value, "", Drift())[1] is NOTHING), None)
