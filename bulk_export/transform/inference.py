"""`--schema infer`: columns for attributes without a description, inferred from all records that hold one.

Types only ever widen, so the result depends on which records there are, and neither on their order nor on how they are
divided into pages. What has no common type gets no column, and stays in `_extra`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct
from bulk_export.transform import schema
from bulk_export.transform.column_names import can_name_a_column, distinct_names
from bulk_export.transform.decode import Decoder, Drift, RecordShaper, lossless_json
from bulk_export.transform.decode.values import NOTHING, fit, parse_date, parse_timestamp

# An object with more names than this is a map from ids to something, and not a row of columns.
_MAX_MEMBERS = 500
_MAX_DEPTH = 50
_DATE_LENGTH = len("2021-05-31")
_WIDER = {
    frozenset({Kind.INTEGER, Kind.NUMBER}): Kind.NUMBER,
    frozenset({Kind.DATE, Kind.TIMESTAMP}): Kind.TIMESTAMP,
    frozenset({Kind.DATE, Kind.STRING}): Kind.STRING,
    frozenset({Kind.TIMESTAMP, Kind.STRING}): Kind.STRING,
}


class SchemaScan:
    """Looks through the pages of an endpoint before they are converted, for what its description lacks.

    `scanned` counts the pages that were looked through.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.scanned = 0
        self._endpoint = endpoint
        self._decoder = Decoder(endpoint, columns=True, lines=None)
        self._shaper = RecordShaper(endpoint)
        self._observed = ObservedType()

    def scan(self, bodies: Sequence[bytes]) -> None:
        """Look through the next pages. Raises InvalidPage."""
        block = self._decoder.decode(bodies)
        if block.batch is not None and block.drift.unknown:
            # Imported with the first page that needs it.
            import pyarrow.compute as pc

            # Only records with something in `_extra` are parsed once more.
            rows = set(pc.indices_nonzero(pc.is_valid(block.batch.column(schema.EXTRA))).to_pylist())
            row = itertools.count()
            for body in bodies:
                for record in self._shaper.normalized_records(body):
                    if next(row) in rows:
                        self.observe(record)
        self.scanned += len(bodies)

    def observe(self, record: bytes) -> None:
        """Widen the types to one normalized record."""
        if lossless_json.nested_deeper_than(_MAX_DEPTH, record):
            return
        attributes = lossless_json.loads(record).get(schema.ATTRIBUTES)
        if isinstance(attributes, dict):
            _observe_undescribed(self._endpoint.fields, attributes, self._observed)

    def inferred(self) -> Endpoint:
        """The endpoint with fields for what was found: behind those described, sorted by name."""
        fields = _extended(self._endpoint.fields, self._observed, schema.RESERVED_NAMES)
        return replace(self._endpoint, fields=fields)


@dataclass(slots=True)
class ObservedType:
    """What was observed at one path: a scalar type, the items of lists, or the members of objects.

    Two of these, or scalars without a common type, make it mixed. Nulls do not count.
    """

    kind: Kind | None = None
    item: ObservedType | None = None
    members: dict[str, ObservedType] | None = None
    is_mixed: bool = False

    def widen(self, value: Any, depth: int = 0) -> None:
        """Widen the type to a value of `lossless_json.loads`."""
        if value is None or self.is_mixed:
            return
        if depth > _MAX_DEPTH:
            self._mix()
        elif isinstance(value, list):
            self.item = self.item or ObservedType()
            for element in value:
                self.item.widen(element, depth + 1)
        elif isinstance(value, dict):
            self.members = {} if self.members is None else self.members
            for name, member in value.items():
                self.members.setdefault(name, ObservedType()).widen(member, depth + 1)
            if len(self.members) > _MAX_MEMBERS:
                self._mix()
        else:
            self._widen_scalar(_kind_of(value))
        if (self.kind is not None) + (self.item is not None) + (self.members is not None) > 1:
            self._mix()

    def type(self) -> FieldType | None:
        """The type that takes every value observed; None if there is none, or only nulls were."""
        if self.item is not None:
            item = self.item.type()
            return None if item is None else ListOf(item)
        if self.members is not None:
            fields = _fields(self.members)
            return Struct(fields) if fields else None
        return self.kind

    def at(self, name: str) -> ObservedType:
        """What was observed at a member."""
        if self.is_mixed:
            return ObservedType()
        self.members = {} if self.members is None else self.members
        return self.members.setdefault(name, ObservedType())

    def _widen_scalar(self, kind: Kind | None) -> None:
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


def _observe_undescribed(fields: Sequence[Field], members: Mapping[str, Any], observed: ObservedType) -> None:
    """Observe the members of an object that have no field, and those inside of the ones that have."""
    described = {field.name: field.type for field in fields}
    observed.widen({name: value for name, value in members.items() if name not in described})
    for name, declared in described.items():
        value = members.get(name)
        if value is not None and not isinstance(declared, Kind):
            _observe_inside(declared, value, observed.at(name))


def _observe_inside(declared: FieldType, value: Any, observed: ObservedType) -> None:
    if isinstance(declared, ListOf):
        for element in value if isinstance(value, list) else ():
            _observe_inside(declared.item, element, observed)
    elif isinstance(declared, Struct) and isinstance(value, dict):
        _observe_undescribed(declared.fields, value, observed)


def _extended(fields: Sequence[Field], observed: ObservedType, reserved: Iterable[str] = ()) -> tuple[Field, ...]:
    """The fields with what was observed inside of them, and fields for what was observed beside them."""
    members = observed.members or {}
    described = tuple(
        Field(field.name, _extended_type(field.type, members[field.name])) if field.name in members else field
        for field in fields
    )
    return described + _fields(members, [*reserved, *(field.name for field in fields)])


def _extended_type(declared: FieldType, observed: ObservedType) -> FieldType:
    if isinstance(declared, ListOf):
        return ListOf(_extended_type(declared.item, observed))
    return Struct(_extended(declared.fields, observed)) if isinstance(declared, Struct) else declared


def _fields(members: Mapping[str, ObservedType], reserved: Iterable[str] = ()) -> tuple[Field, ...]:
    """Fields for members whose names no reader confuses with one another, nor with one that is `reserved`."""
    types = {name: declared for name in sorted(members) if (declared := members[name].type()) is not None}
    return tuple(Field(name, types[name]) for name in distinct_names(filter(_is_readable, types), reserved))


def _is_readable(name: str) -> bool:
    return name.isprintable() and can_name_a_column(name)


def _kind_of(value: Any) -> Kind | None:
    """The narrowest type that takes a scalar without loss; None if none does."""
    if isinstance(value, str) and not isinstance(value, lossless_json.Number):
        candidates: tuple[Kind, ...] = (Kind.STRING,)
        if len(value) == _DATE_LENGTH and parse_date(value) is not None:
            candidates = (Kind.DATE,)
        elif len(value) > _DATE_LENGTH and parse_timestamp(value) is not None:
            candidates = (Kind.TIMESTAMP,)
    else:
        candidates = (Kind.BOOLEAN, Kind.INTEGER, Kind.NUMBER)
    return next((kind for kind in candidates if fit(kind, value, "", Drift())[1] is NOTHING), None)
