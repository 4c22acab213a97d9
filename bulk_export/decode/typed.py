"""The fast way from bytes to columns, for pages that hold just what was described.

msgspec decodes a page into structs made from the description; a page with anything unknown, missing, of
another type or repeated raises NotAsDescribed and is left to the exact way. Both give the same columns.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from bulk_export import schema
from bulk_export.decode.envelope import split_page
from bulk_export.decode.exact import repeats_keys
from bulk_export.model import Endpoint, Field, FieldType, Kind, ListOf, Struct

_KEY = b'":'
_ENVELOPE_KEYS = 1
_RECORD_KEYS = 3
_INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_MIDNIGHT = "T00:00:00+00:00"
_FIRST_INSTANT = pa.scalar(-62_135_596_800_000_000, pa.timestamp("us", "UTC"))
_FIRST_DAY = pa.scalar(-719_162, pa.date32())
_INSTANT_LENGTHS = pa.array([20, 22, 23, 24, 25, 26, 27], pa.int32())


class NotAsDescribed(Exception):
    """A page holds something that only the exact way can keep."""


class TypedDecoder:
    """Decodes pages of one endpoint. Raises NotAsDescribed where the description has no room for numbers."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._fields = endpoint.fields
        if len(schema.columns(endpoint)) != len(endpoint.fields) or _holds(endpoint.fields, Kind.NUMBER):
            raise NotAsDescribed
        attributes = _struct("Attributes", endpoint.fields)
        record = msgspec.defstruct(
            "Record",
            [("id", str), ("type", str), ("attributes", attributes)],
            forbid_unknown_fields=True,
            gc=False,
        )
        page = msgspec.defstruct("Page", [("data", list[record])], forbid_unknown_fields=True, gc=False)  # type: ignore[valid-type]  # made at run time
        self._decoder = msgspec.json.Decoder(page)
        self._count_keys = _key_counter(endpoint.fields)

    def decode(self, body: bytes) -> list[Any]:
        """The records of a page as structs. Raises NotAsDescribed."""
        try:
            page: Any = self._decoder.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise NotAsDescribed from None
        records: list[Any] = page.data
        # Every key is required and none unknown, so where there are more than that, a key stood twice, of
        # which msgspec keeps the last and says nothing; or a text looks like a key.
        keys = [_RECORD_KEYS + self._count_keys(record.attributes) for record in records]
        if body.count(_KEY) != _ENVELOPE_KEYS + sum(keys):
            for sent, expected in zip(split_page(body), keys, strict=True):
                if sent.count(_KEY) != expected and repeats_keys(sent):
                    raise NotAsDescribed
        return records

    def columns(self, records: Sequence[Any]) -> list[pa.Array]:
        """`id`, `type` and the attributes as arrays. Raises NotAsDescribed for a time or day that is none."""
        attributes = _transposed([record.attributes for record in records], len(self._fields))
        return [
            pa.array([record.id for record in records], pa.string()),
            pa.array([record.type for record in records], pa.string()),
            *(_column(field.type, values) for field, values in zip(self._fields, attributes, strict=True)),
        ]


def _holds(fields: Sequence[Field], kind: Kind) -> bool:
    def holds(declared: FieldType) -> bool:
        if isinstance(declared, ListOf):
            return holds(declared.item)
        return _holds(declared.fields, kind) if isinstance(declared, Struct) else declared is kind

    return any(holds(field.type) for field in fields)


def _struct(name: str, fields: Sequence[Field]) -> Any:
    members = [(f"f{position}", _python_type(field.type)) for position, field in enumerate(fields)]
    names = {f"f{position}": field.name for position, field in enumerate(fields)}
    return msgspec.defstruct(name, members, rename=names, forbid_unknown_fields=True, gc=False)


def _python_type(declared: FieldType) -> Any:
    if isinstance(declared, ListOf):
        return list[_python_type(declared.item)] | None  # type: ignore[misc]  # made at run time
    if isinstance(declared, Struct):
        return _struct("Members", declared.fields) | None
    return {Kind.BOOLEAN: bool | None, Kind.INTEGER: _INT64 | None}.get(declared, str | None)


def _key_counter(fields: Sequence[Field]) -> Callable[[Any], int]:
    """How many keys the JSON of a struct with these fields has, nested ones included."""
    nested = [
        (operator.attrgetter(f"f{position}"), counter)
        for position, field in enumerate(fields)
        if (counter := _nested_counter(field.type)) is not None
    ]
    own = len(fields)
    if not nested:
        return lambda _: own
    return lambda struct: own + sum(count(member(struct)) for member, count in nested)


def _nested_counter(declared: FieldType) -> Callable[[Any], int] | None:
    if isinstance(declared, ListOf):
        count_element = _nested_counter(declared.item)
        return None if count_element is None else lambda elements: sum(map(count_element, elements or ()))
    if isinstance(declared, Struct):
        count = _key_counter(declared.fields)
        return lambda struct: 0 if struct is None else count(struct)
    return None


def _transposed(structs: Sequence[Any], width: int) -> list[Sequence[Any]]:
    if not structs:
        return [()] * width
    return list(zip(*map(msgspec.structs.astuple, structs), strict=True))


def _column(declared: FieldType, values: Sequence[Any]) -> pa.Array:
    if declared is Kind.TIMESTAMP:
        return _instants(pa.array(values, pa.string()))
    if declared is Kind.DATE:
        return _days(pa.array(values, pa.string()))
    if isinstance(declared, Kind):
        return pa.array(values, schema.arrow_type(declared))
    absent = pa.array([value is None for value in values], pa.bool_())
    if isinstance(declared, ListOf):
        offsets = [0]
        elements: list[Any] = []
        for value in values:
            elements.extend(value or ())
            offsets.append(len(elements))
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()),
            _column(declared.item, elements),
            type=schema.arrow_type(declared),
            mask=absent,
        )
    blank = (None,) * len(declared.fields)
    rows = [blank if value is None else msgspec.structs.astuple(value) for value in values]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(declared.fields)
    return pa.StructArray.from_arrays(
        [_column(field.type, column) for field, column in zip(declared.fields, columns, strict=True)],
        fields=list(schema.arrow_type(declared)),
        mask=absent,
    )


def _instants(texts: pa.Array) -> pa.Array:
    """Only the forms that Arrow reads as RFC 3339 would be read, ending in Z; the exact way takes the rest."""
    usual = pc.and_(
        pc.and_(pc.is_in(pc.binary_length(texts), _INSTANT_LENGTHS), pc.equal(pc.find_substring(texts, "T"), 10)),
        pc.ends_with(texts, "Z"),
    )
    if not _all_true(usual):
        raise NotAsDescribed
    instants = _cast(texts, pa.timestamp("us", "UTC"))
    if not _all_true(pc.greater_equal(instants, _FIRST_INSTANT)):
        raise NotAsDescribed
    return instants


def _days(texts: pa.Array) -> pa.Array:
    lengths = pc.binary_length(texts)
    if not _all_true(pc.equal(lengths, 10)):
        if not _all_true(pc.and_(pc.equal(lengths, 25), pc.ends_with(texts, _MIDNIGHT))):
            raise NotAsDescribed
        texts = pc.utf8_slice_codeunits(texts, 0, 10)
    days = _cast(texts, pa.date32())
    if not _all_true(pc.greater_equal(days, _FIRST_DAY)):
        raise NotAsDescribed
    return days


def _all_true(condition: pa.Array) -> bool:
    """Nulls count as true."""
    return bool(pc.all(condition, skip_nulls=True, min_count=0).as_py())


def _cast(texts: pa.Array, target: pa.DataType) -> pa.Array:
    try:
        return texts.cast(target)
    except pa.ArrowInvalid:
        raise NotAsDescribed from None
